"""Heat maps of a board: one method trained on several bands of people, tested on every band.

Conventions
-----------
As in the table, a column is a band that was trained on and a line one that is tested on. The colour is the mean of the primary
metric, in its unit, on one scale from the smallest to the largest number of the map; the numbers stand in the cells, the best
of each line bold, with their intervals below. Cells whose band was trained on have a frame. The colours are matplotlib's
``cividis`` reversed (Nuñez, Anderton and Renslow, PLOS ONE 13, 2018): darker is worse, in any kind of colour vision and in
print. Cells without a number are hatched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from leaderboard.bands import BandMatrix, Trained
from leaderboard.comparison import few
from leaderboard.plots import Drawn, Plot, Series
from leaderboard.protocols import ALL_METRICS
from leaderboard.records import Estimate, GroupScores
from leaderboard.tables import DECIMALS, FEW_MARK, BoardTables, group_label
from srgaze360.figures import GRID, WIDTH_IN

LINE_LETTERS = 26  # of a label beside a line
NARROW = 5  # more columns than these leave no room for an interval on one line
COLOURS = "cividis_r"
DARK, BRIGHT = "#111111", "#fefefe"  # on cells: not the colour of ink, which changes on a dark page


def band_plots(board: BoardTables) -> dict[str, Plot]:
    """A plot for each matrix of a board, by the name of its files."""
    return {
        f"bands-{place}": Plot(
            matrix.heading,
            "Means with their 95 % intervals. A column is a training on people of that band alone, a line the people it is "
            f"tested on; frames: tested on what was trained on. {FEW_MARK} marks groups too small to lean on.",
            partial(matrix_figure, matrix),
        )
        for place, matrix in enumerate(board.matrices, start=1)
    }


def matrix_figure(matrix: BandMatrix, board: BoardTables, drawn: Sequence[Series]) -> Drawn:
    """The heat map of a matrix."""
    del board, drawn
    protocol = matrix.trained[0].row.protocol
    written = f"{{:.{DECIMALS[ALL_METRICS[protocol.primary].unit]}f}}".format
    cells = [[_estimate(one, group, protocol.primary) for one in matrix.trained] for group in matrix.groups]
    values = np.array([[np.nan if e is None or e.value is None else e.value for e in line] for line in cells])
    narrow = len(matrix.trained) > NARROW
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.25 * narrow + (0.55 if narrow else 0.42) * len(cells)), layout="constrained")
    axes = figure.subplots()
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    scale = mpl.colors.Normalize(low, high if high > low else low + 1.0)
    colours = mpl.colormaps[COLOURS]
    for y, (group, line) in enumerate(zip(matrix.groups, cells, strict=True)):
        numbers = [written(value) for value in values[y] if np.isfinite(value)]
        best = min(numbers, key=float) if len(numbers) > 1 else ""
        for x, (one, estimate) in enumerate(zip(matrix.trained, line, strict=True)):
            if estimate is None or estimate.value is None:
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, fill=False, hatch="///", edgecolor=GRID, linewidth=0.0))
                continue
            colour = colours(scale(estimate.value))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, facecolor=colour, edgecolor="none"))
            _write(axes, (x, y), estimate, written, colour, best=written(estimate.value) == best, narrow=narrow)
            if group.group in one.bands:
                for edge, width in ((BRIGHT, 2.6), (DARK, 1.1)):  # to be seen on any cell
                    axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor=edge, linewidth=width))
    axes.set_xlim(-0.5, len(matrix.trained) - 0.5)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    columns = [
        _wrapped(group_label(one.label), LINE_LETTERS if narrow else 84 // len(matrix.trained)) for one in matrix.trained
    ]
    slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if narrow else {}
    axes.set_xticks(range(len(columns)), columns, **slant)
    axes.set_yticks(range(len(cells)), [_head(group, protocol.primary) for group in matrix.groups])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(_wrapped(f"trained on: {matrix.title}", 90))
    axes.set_ylabel("tested on (people / clusters)")
    bar = figure.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=axes, pad=0.02, aspect=24)
    if bar.solids is not None:  # as shapes: a picture within the SVG is nothing that a page may load
        bar.solids.set(rasterized=False, edgecolor="face")
    bar.outline.set_visible(False)
    bar.set_label(f"mean {protocol.error} ({protocol.unit})")
    return Drawn(figure, pd.DataFrame(_data(matrix, cells)))


def _estimate(one: Trained, group: GroupScores, primary: str) -> Estimate | None:
    """The estimate of a training on a group, None where its record lacks the group."""
    scores = next((scores for scores in one.row.record.groups if scores.key == group.key), None)
    return scores.metrics.get(primary) if scores else None


def _write(
    axes: Axes,
    place: tuple[int, int],
    estimate: Estimate,
    written: Callable[[float], str],
    colour: tuple[float, ...],
    *,
    best: bool,
    narrow: bool,
) -> None:
    """The number of a cell and its interval."""
    x, y = place
    # the luma of the cell (ITU-R BT.709) tells which letters can be read on it
    style: Any = {
        "ha": "center",
        "va": "center",
        "color": DARK if np.dot(colour[:3], (0.2126, 0.7152, 0.0722)) > 0.45 else BRIGHT,
    }
    axes.text(
        x, y - (0.22 if narrow else 0.14), written(estimate.value or 0.0), size=8.5, weight="bold" if best else None, **style
    )
    if estimate.low is not None and estimate.high is not None:
        ends = (written(estimate.low), written(estimate.high))
        axes.text(x, y + 0.17, ("\nto " if narrow else " to ").join(ends), size=6.5, linespacing=1.05, **style)


def _head(group: GroupScores, primary: str) -> str:
    """A band tested on, with its people and clusters."""
    counted = group.metrics[primary]
    mark = f" {FEW_MARK}" if few(counted.people, counted.clusters) else ""
    return f"{_wrapped(group_label(group.group), LINE_LETTERS)}{mark}\n{counted.people} / {counted.clusters}"


def _wrapped(label: str, letters: int) -> str:
    printable = "".join(letter for letter in label if letter.isprintable())
    return "\n".join(textwrap.wrap(printable, max(letters, 8))[:3])


def _data(matrix: BandMatrix, cells: Sequence[Sequence[Estimate | None]]) -> list[dict[str, object]]:
    """A row per cell: what was trained on, what is tested on, the estimate."""
    return [
        {
            "predictor": one.row.name,
            "axis": matrix.axis,
            "trained_on": one.label,
            "suite": group.suite,
            "tested_on": group.group,
            "same_band": group.group in one.bands,
            **(estimate.model_dump() if estimate else dict.fromkeys(Estimate.model_fields)),
        }
        for group, line in zip(matrix.groups, cells, strict=True)
        for one, estimate in zip(matrix.trained, line, strict=True)
    ]
