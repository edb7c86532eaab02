"""Published numbers recomputed from the real labels: which definition gives them, and where none does.

Conventions
-----------
The trivial rows of Recasens et al. (NeurIPS 2015, Table 1) need no image: they follow from the labels. "Dist." there has been
quoted beside numbers of another definition ever since, so every definition is computed and shown beside what was printed. A
definition *reproduces* a number if it rounds to the digits that were printed, and has its *last digit off* if it is less than
one unit of that digit away. ``Random`` was one draw: it is drawn anew from
many seeds, and a definition has it *in the draws* if the printed number is at most two of their standard deviations off.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    import pandas as pd

    from srgaze360.sphere import FloatArray

SOURCE = "Recasens, Khosla, Vondrick and Torralba, Where are they looking?, NeurIPS 2015, Table 1"
DRAWS = 20
BIAS_GRID = 5  # cells a side in which the fixed bias looks up a head
REPRODUCED, DRAWN, NEAR, NOT = "yes", "in the draws", "last digit off", "no"


class Name(StrEnum):
    """What can be reproduced."""

    GAZEFOLLOW_BASELINES = "gazefollow-baselines"
    PROCEDURAL_BENCHMARK = "procedural-benchmark"


class Definition(NamedTuple):
    """A way to compute a column of the table: the column, the metric's key, and in words."""

    column: str
    key: str
    words: str


DEFINITIONS: tuple[Definition, ...] = (
    Definition("AUC", "auc_5", "5 x 5 grid"),
    Definition("AUC", "auc_64", "64 x 64 grid"),
    Definition("Dist.", "distance_mean", "mean over annotators"),
    Definition("Dist.", "distance_to_mean", "to the mean annotation"),
    Definition("Min Dist.", "distance_min", "nearest annotation"),
    Definition("Ang.", "angle_mean_deg", "mean over annotators"),
    Definition("Ang.", "angle_to_mean_deg", "to the mean annotation"),
)

# Columns of the published table as :mod:`leaderboard.published` has it.
PUBLISHED_AS = {"AUC": "auc", "Dist.": "distance", "Min Dist.": "distance_min", "Ang.": "angle_deg"}
VARIANTS = {"One human": ("one left out", "itself included")}


class Labels(NamedTuple):
    """Annotations (n, m, 2) with weights (n, m), eyes (n, 2), and how many photos they are of."""

    points: FloatArray
    weights: FloatArray
    eyes: FloatArray
    photos: int


class Row(NamedTuple):
    """A published number beside what a definition gives; ``spread`` is the standard deviation over draws, if there are any.

    ``variant`` says how the predictor itself was understood, where that can be done in several ways.
    """

    predictor: str
    variant: str
    column: str
    published: str
    definition: str
    value: float
    spread: float | None
    reproduced: str


def reproduce(
    name: Annotated[Name, typer.Argument(help="What to reproduce.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="gazefollow-baselines: GazeFollow's test labels, test2_annotations.mat or the extended text file.",
            show_default="required there",
        ),
    ] = None,
    train_labels: Annotated[
        Path | None,
        typer.Option(
            help="Training labels for the row Fixed bias: train_annotations_release.txt, or .mat.", show_default="none"
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="procedural-benchmark: folder of a finished `srgaze360 benchmark procedural`.", show_default="required there"
        ),
    ] = None,
    published: Annotated[Path, typer.Option(help="procedural-benchmark: the records published with the project.")] = Path(
        "docs/results/procedural"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Recompute published numbers and say which come out.

    Example: srgaze360 reproduce gazefollow-baselines --labels test2_annotations.mat

    Example: srgaze360 benchmark procedural --out DIR, then srgaze360 reproduce procedural-benchmark --results DIR
    """
    from srgaze360.errors import InputError

    needed, given = ("--results", results) if name is Name.PROCEDURAL_BENCHMARK else ("--labels", labels)
    if given is None:
        raise InputError(f"Expected {needed} for {name.value}, found none. See srgaze360 reproduce --help.")
    if name is Name.PROCEDURAL_BENCHMARK:
        _benchmark(given, published, json)
    else:
        _baselines(given, train_labels, json)


def _benchmark(results: Path, published: Path, json: bool) -> None:
    from leaderboard.protocols import find_protocol
    from srgaze360.cli import reproduce_benchmark as benchmark
    from srgaze360.console import OUT, print_json

    known = benchmark.read_results(published)
    rows, sd = benchmark.compare_results(known, benchmark.read_results(results))
    if json:
        print_json({"published": str(published), "sd_of_seeds": sd, "rows": [row._asdict() for row in rows]})
    else:
        OUT.print(benchmark.table(rows, find_protocol(known[0].protocol).unit), soft_wrap=False)
        OUT.print(f"Standard deviation over seeds, pooled: {sd:.2f}.", markup=False)
    if any(row.reproduced == benchmark.NOT for row in rows):
        raise typer.Exit(1)


def _baselines(labels: Path, train_labels: Path | None, json: bool) -> None:
    from builders.sources.gazefollow import read_annotations
    from srgaze360.console import OUT, print_json, say

    test = as_arrays(read_annotations(labels, "test"))
    train = learnable(read_annotations(train_labels, "train")) if train_labels else None
    rows = gazefollow_baselines(test, train)
    facts = {"source": SOURCE, "people": len(test.points), "annotations": int(test.weights.sum()), "photos": test.photos}
    none = unexplained(rows)
    if json:
        learnt = None if train is None else len(train)
        print_json({**facts, "training_annotations": learnt, "rows": [r._asdict() for r in rows], "no_definition_gives": none})
        return
    OUT.print(table(rows), soft_wrap=False)
    OUT.print(f"Printed numbers that no definition comes near: {'; '.join(none) or 'none'}", markup=False)
    OUT.print(f"{facts['people']} people, {facts['annotations']} annotations, {test.photos} photos.", markup=False)
    OUT.print(f"Published: {SOURCE}.", markup=False)
    if train is None:
        say("Fixed bias is learnt from training labels: give --train-labels for its row.")
    else:
        OUT.print(f"Fixed bias: learnt from {len(train)} training annotations.", markup=False)


def as_arrays(table: pd.DataFrame) -> Labels:
    """Annotations in arrays from a row per annotation; people in the order of the file.

    Raises
    ------
    InputError
        A coordinate is no number, or a target is outside its photo.
    """
    import numpy as np

    from srgaze360.errors import InputError, first_ids

    numbers = table[["eye_x", "eye_y", "gaze_x", "gaze_y"]].to_numpy(dtype=np.float64)
    off = ~(np.isfinite(numbers).all(axis=1) & ((numbers[:, 2:] >= 0.0) & (numbers[:, 2:] <= 1.0)).all(axis=1))
    if off.any():
        raise InputError(
            f"Expected eyes and targets as fractions of the photo, targets inside it, found {int(off.sum())} rows without: "
            f"{first_ids(table['path'][off].unique())}. Take the labels from the release again."
        )
    person = table["group"].to_numpy()
    slot = table.groupby("group", sort=False).cumcount().to_numpy()
    shape = (int(person.max()) + 1, int(slot.max()) + 1)
    points, weights, eyes = np.zeros((*shape, 2)), np.zeros(shape), np.zeros((shape[0], 2))
    points[person, slot], weights[person, slot], eyes[person] = numbers[:, 2:], 1.0, numbers[:, :2]
    if shape[1] < 2:
        raise InputError(
            "Expected people with two annotations or more, which GazeFollow's test labels have, found none. Give the test "
            "labels with --labels; training labels are for --train-labels."
        )
    return Labels(points, weights, eyes, int(table["cluster"].nunique()))


def learnable(table: pd.DataFrame) -> pd.DataFrame:
    """Training annotations from which a bias can be learnt: in frame, eye and target in numbers."""
    known = table[["eye_x", "eye_y", "gaze_x", "gaze_y"]].notna().all(axis=1)
    return table[(table["inout"] == 1) & known]


def gazefollow_baselines(test: Labels, train: pd.DataFrame | None = None, draws: int = DRAWS) -> list[Row]:
    """Every published number of the trivial predictors and the annotators, beside every definition."""
    rows = _rows("Random", _random(test, draws))
    rows += _rows("Center", [_centre(test)])
    if train is not None:
        rows += _rows("Fixed bias", [_fixed_bias(test, train)])
    for leave_out, variant in zip((True, False), VARIANTS["One human"], strict=True):
        rows += _rows("One human", [_human(test, leave_out)], variant)
    return rows


def _rows(predictor: str, draws: list[dict[str, float]], variant: str = "") -> list[Row]:
    import numpy as np

    from leaderboard.published import published_table

    # as printed, text and all: the number of digits says how exactly a definition can be told from another
    rows = published_table("gazefollow").rows
    numbers = next(row.printed for row in rows if (row.method, row.source) == (predictor, "recasens2015"))
    found = []
    for column, key, words in DEFINITIONS:
        if key not in draws[0]:
            continue
        values = np.array([draw[key] for draw in draws])
        value, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
        printed = numbers[PUBLISHED_AS[column]]
        digits = len(printed.partition(".")[2])
        off = abs(value - float(printed))
        if spread is not None:
            verdict = DRAWN if off <= 2.0 * spread else NOT
        else:
            verdict = REPRODUCED if round(value, digits) == float(printed) else NEAR if off < 10.0**-digits else NOT
        found.append(Row(predictor, variant, column, printed, words, value, spread, verdict))
    return found


def _score(
    test: Labels, points: FloatArray, maps: Callable[[int], FloatArray], grids: tuple[int, ...] = (5, 64)
) -> dict[str, float]:
    """Every definition for predicted points (n, 2) and score maps (n, grid, grid) by side of the grid."""
    from srgaze360.protocols import gazefollow

    scores = gazefollow.evaluate(points, test.points, test.weights, eyes=test.eyes).per_sample
    for grid in grids:
        scores[f"auc_{grid}"] = gazefollow.auc_on_grid(maps(grid), test.points, test.weights, grid=None)
    return {name: float(values.mean()) for name, values in scores.items()}


def _centre(test: Labels) -> dict[str, float]:
    import numpy as np

    from srgaze360.protocols.gazefollow import distance_map

    points = np.full((len(test.points), 2), 0.5)
    return _score(test, points, lambda grid: distance_map(points, grid))


def _random(test: Labels, draws: int) -> list[dict[str, float]]:
    """Points at random in the photo, and maps of noise; a generator for each draw."""
    from srgaze360.files import generator

    n, found = len(test.points), []
    for draw in range(draws):
        rng = generator(draw, "reproduce", "random")
        noise = rng.random((n, 5, 5))
        found.append(_score(test, rng.random((n, 2)), lambda _, noise=noise: noise, grids=(5,)))  # type: ignore[misc]
    return found


def _fixed_bias(test: Labels, train: pd.DataFrame) -> dict[str, float]:
    """Look where people with a head in the same cell of the photo looked in training, on average."""
    import numpy as np

    from srgaze360.protocols.gazefollow import distance_map
    from srgaze360.protocols.planar import cells_of

    places = [train[[f"{what}_x", f"{what}_y"]].to_numpy(dtype=np.float64) for what in ("eye", "gaze")]

    def cell(points: FloatArray) -> Any:  # noqa: ANN401 - whole numbers (n,)
        row, column = np.moveaxis(cells_of(points, BIAS_GRID, BIAS_GRID), -1, 0)
        return row * BIAS_GRID + column

    home = cell(places[0])
    people = np.bincount(home, minlength=BIAS_GRID**2)
    sums = [np.bincount(home, places[1][:, axis], BIAS_GRID**2) for axis in (0, 1)]
    # where no head was seen in training: the middle of the photo
    means = np.where(people[:, None] > 0, np.stack(sums, axis=-1) / np.maximum(people, 1)[:, None], 0.5)
    points = means[cell(test.eyes)]
    return _score(test, points, lambda grid: distance_map(points, grid))


def _human(test: Labels, leave_out: bool) -> dict[str, float]:
    import numpy as np

    from srgaze360.protocols import gazefollow

    scores = gazefollow.human(test.points, test.weights, eyes=test.eyes, leave_out=leave_out)
    return {name if name != "auc" else "auc_5": float(np.nanmean(values)) for name, values in scores.items()}


def unexplained(rows: list[Row]) -> list[str]:
    """Printed numbers that no definition comes near, whichever way the predictor is understood."""
    verdicts: dict[str, set[str]] = {}
    for row in rows:
        verdicts.setdefault(f"{row.predictor}, {row.column}", set()).add(row.reproduced)
    return [name for name, found in verdicts.items() if found == {NOT}]


def table(rows: list[Row]) -> Any:  # noqa: ANN401 - a rich table; rich is imported late
    """Rows as a table for the terminal, 80 columns wide or less."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("", "printed", "ours", "definition", "reproduced"):
        shown.add_column(head, justify="right" if head in ("printed", "ours") else "left", no_wrap=True)
    last: tuple[str, str, str] = ("", "", "")
    for row in rows:
        angle = row.column == "Ang."
        value = f"{row.value:.1f}°" if angle else f"{row.value:.4f}"
        if row.spread is not None:
            value += f" ± {row.spread:.1f}" if angle else f" ± {row.spread:.4f}"
        here = (row.predictor, row.variant, row.column)
        if here[:2] != last[:2]:
            if last[0]:
                shown.add_section()
            shown.add_row(Text(row.predictor, style="bold"), "", "", Text(row.variant))
        column, printed = (row.column, row.published + ("°" if angle else "")) if here != last else ("", "")
        style = {REPRODUCED: "green", DRAWN: "green", NEAR: "yellow"}.get(row.reproduced, "dim")
        shown.add_row(f"  {column}", printed, value, row.definition, Text(row.reproduced, style=style))
        last = here
    return shown
