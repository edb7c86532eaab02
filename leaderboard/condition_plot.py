"""Error by condition: a small panel for each, a line for each predictor, on as many pages as that takes.

Conventions
-----------
Panels stand in rows of :data:`ACROSS`, suites in the order of the records, every line in its place and colour and named on the
left, so that nothing has to be looked up in a legend. A page is as high as a paper's text at most (:data:`PAGE_IN`); a suite
stays on one page where it fits on one. All pages have the same axis of errors, so that they can be compared; it is logarithmic
(:mod:`leaderboard.scale`), since trivial predictors are ten times as far off as good ones and equal parts of both should be as
long. Every panel says over how many people and clusters it is; where a predictor has no number, its line is empty.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leaderboard.comparison import few
from leaderboard.plots import Drawn, Plot, Series, data_rows, short_name, with_interval
from leaderboard.records import GroupScores
from leaderboard.scale import scale_of
from leaderboard.tables import FEW_MARK, BoardTables
from srgaze360.figures import WIDTH_IN

ACROSS = 4
PAGE_IN = 9.5  # of a page whose text is 7 inches wide
LINE_IN, HEAD_IN, FOOT_IN = 0.12, 0.56, 0.45  # a predictor; what stands over the panels of a row; the axis
LETTERS, NAME_LINES = 23, 3  # of a title over a panel


def condition_plots(board: BoardTables) -> dict[str, Plot]:
    """A plot for each page, by the name of its files; none where there are no conditions, or too few people in all of them."""
    primary = board.protocol.primary
    if all(g.metrics[primary].value is None for record in board.records for g in record.conditions):
        return {}
    groups = board.records[0].conditions
    found = pages(groups, ACROSS * rows_of_panels(len(board.rows)))
    plots = {}
    for place, shown in enumerate(found, start=1):
        suites = ", ".join(dict.fromkeys(short_name(group.suite) for group in shown))
        name, part = ("conditions", "") if len(found) == 1 else (f"conditions-{place}", f" {place} of {len(found)}: {suites}")
        plots[name] = Plot(
            f"Error by condition{part}",
            "Means with their 95 % intervals; conditions of a suite show the same photos. Over each panel: people / clusters, "
            f"{FEW_MARK} where they are too few to lean on.",
            partial(conditions_figure, groups=shown),
        )
    return plots


def rows_of_panels(predictors: int) -> int:
    """How many rows of panels a page has room for, at least one."""
    return max(1, int((PAGE_IN - FOOT_IN) / (HEAD_IN + LINE_IN * predictors)))


def pages(groups: Sequence[GroupScores], room: int) -> list[list[GroupScores]]:
    """Groups in pages of at most ``room``; a suite is torn apart only if no page holds it."""
    found: list[list[GroupScores]] = []
    for _, of_suite in groupby(groups, key=lambda group: group.suite):
        members = list(of_suite)
        if not found or len(found[-1]) + len(members) > room:
            found.append([])
        for group in members:
            if len(found[-1]) == room:
                found.append([])
            found[-1].append(group)
    return found


def conditions_figure(board: BoardTables, drawn: Sequence[Series], *, groups: Sequence[GroupScores]) -> Drawn:
    """One page: mean error of each predictor under each of ``groups``, with intervals."""
    primary = drawn[0].primary
    scores = {one.row.name: {group.key: group for group in one.record.conditions} for one in drawn}
    across = min(ACROSS, len(groups))
    down = -(-len(groups) // across)
    scale = scale_of(group.metrics[primary] for record in board.records for group in record.conditions)
    high = down * (HEAD_IN + LINE_IN * len(drawn)) + FOOT_IN
    figure = Figure(figsize=(WIDTH_IN, high), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(panels.flat):
        axes.set_visible(place < len(groups))
        axes.tick_params(axis="x", labelbottom=place >= len(groups) - across)  # the last panel of every column
    for group, axes in zip(groups, panels.flat, strict=False):
        estimates = [scores[one.row.name].get(group.key, group).metrics[primary] for one in drawn]
        value, bars = with_interval(estimates, scale.start)
        for y, one in enumerate(drawn):
            axes.errorbar(
                value[[y]], [y], xerr=bars[:, [y]], linestyle="none", elinewidth=1.4, **{**one.point_style, "markersize": 2.4}
            )
        if np.isnan(value).all():
            axes.text(0.5, 0.5, "no number:\ntoo few people", transform=axes.transAxes, ha="center", va="center", size=7.0)
        axes.set_title(_title(group, primary), loc="left", pad=2.5, size=7.0, weight="normal", linespacing=1.15)
        axes.grid(visible=False, axis="y")
    first = panels[0, 0]
    first.set_yticks(range(len(drawn)), [one.label for one in drawn])
    first.set_ylim(len(drawn) - 0.5, -0.5)
    first.set_xscale("log")
    first.set_xlim(scale.start, scale.end)
    first.set_xticks(scale.ticks, [f"{tick:g}" for tick in scale.ticks])
    first.minorticks_off()
    for axes in panels.flat:
        axes.tick_params(axis="both", length=0, labelsize=7.0)
    figure.supxlabel(f"mean {drawn[0].error}", size=8.0)
    shown = {group.key for group in groups}
    rows = [row for one in drawn for row in data_rows(one, [g for g in one.record.conditions if g.key in shown])]
    return Drawn(figure, pd.DataFrame(rows))


def _title(group: GroupScores, primary: str) -> str:
    """Suite, condition, and people / clusters, in lines that fit over a panel."""
    counted = group.metrics[primary]
    condition = group.group.removeprefix(f"{group.suite}=").replace(",", ", ") if group.group != group.suite else ""
    name = short_name(": ".join(filter(None, (group.suite, condition))), NAME_LINES * LETTERS)
    mark = f" {FEW_MARK}" if few(counted.people, counted.clusters) else ""
    return "\n".join([*textwrap.wrap(name, LETTERS)[:NAME_LINES], f"{counted.people} / {counted.clusters}{mark}"])
