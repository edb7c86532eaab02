"""Rows of a board arranged in tables: ranked, compared in every group, best and second found.

Conventions
-----------
Predictors are ranked by the mean of the protocol's primary metric on the ranking suite, smaller first; equal numbers share a
rank (1, 2, 2, 4). Annotators stand apart and have no rank, as has a predictor without a number. In every group the predictors
are compared by the primary metric (:mod:`leaderboard.comparison`). What a table is, and how its numbers are written, is said in
:mod:`leaderboard.tables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from leaderboard.bands import BandMatrix, band_matrices
from leaderboard.comparison import RESAMPLES, Aligned, FirstGroup, aligned, few, first_of
from leaderboard.notices import Notice
from leaderboard.protocols import ALL_METRICS, LABELS, MetricTable
from leaderboard.published import published
from leaderboard.records import GroupScores, ScoreRecord
from leaderboard.scoring import MINIMUM_PEOPLE
from leaderboard.seeds import GroupKey, Row, members
from leaderboard.tables import ARROWS, UNIT_SIGNS, BoardTables, Cell, Heading, Line, Standing, Table, group_label
from srgaze360.bootstrap import rank_intervals
from srgaze360.files import generator
from srgaze360.groups import BREAKDOWNS


def board_tables(rows: Sequence[Row], notices: Sequence[Notice] = ()) -> BoardTables:
    """Rank rows and arrange them in tables.

    Parameters
    ----------
    rows
        At least one, all of one dataset, split, protocol and ranking suite; the board sees to that when they are added.
    notices
        Predictors without a number.
    """
    protocol = rows[0].protocol
    ordered = sorted(rows, key=_order)
    ranks, compared = _ranks(ordered), _compared(ordered)
    first = ordered[0].record
    intervals = _rank_intervals(compared, first) if compared else {}
    firsts = _firsts(compared, first, [first.overall, *first.conditions, *first.breakdowns]) if compared else {}
    error, unit = protocol.error, protocol.unit
    shown = [table for table in protocol.tables if not table.suite or any(g.group == table.suite for g in first.suites)]
    tables = [_predictor_table(table, ordered, ranks, intervals, firsts) for table in shown]
    tables += [
        _group_table(
            "conditions",
            "By condition",
            f"Mean {error} in {unit}. Conditions show the same photos, so rows can be compared within a column.",
            "Condition",
            ordered,
            [(scores, scores.suite, scores.group) for scores in first.conditions],
            firsts,
        ),
        _group_table(
            "breakdowns",
            "By person and target",
            f"Mean {error} in {unit}, suite {first.ranking_suite}.",
            "Group",
            ordered,
            [(s, BREAKDOWNS[s.by].title if s.by in BREAKDOWNS else s.by, group_label(s.group)) for s in first.breakdowns],
            firsts,
        ),
    ]
    tables = [table for table in tables if table.lines]  # photos of a source have no conditions
    matrices = band_matrices(ordered)
    tables += [_matrix_table(matrix, place) for place, matrix in enumerate(matrices, start=1)]
    places = [(first.overall, "Overall", first.ranking_suite), *((s, s.suite, s.group) for s in first.conditions)]
    standings = [Standing(section, label, firsts[s.key]) for s, section, label in places if s.key in firsts]
    also = published(first.protocol, first.dataset.name, first.split)
    return BoardTables(ordered, ranks, intervals, tables, matrices, standings, list(notices), also)


def _order(row: Row) -> tuple[bool, bool, float, str]:
    value = row.record.overall.metrics[row.protocol.primary].value
    return row.human, value is None, value if value is not None else 0.0, row.name


def _ranks(ordered: Sequence[Row]) -> dict[str, str]:
    """Competition ranks of rows in ascending order; empty for annotators and where there is no number."""
    ranks: dict[str, str] = {}
    before: tuple[str, float] | None = None
    for place, row in enumerate(ordered, start=1):
        value = row.record.overall.metrics[row.protocol.primary].value
        if row.human or value is None:
            ranks[row.name] = ""
            continue
        rank = before[0] if before is not None and before[1] == value else str(place)
        ranks[row.name], before = rank, (rank, value)
    return ranks


def _compared(ordered: Sequence[Row]) -> Aligned | None:
    """Primary errors of the predictors that can be compared: annotators and those without a number do not take part."""
    primary = ordered[0].protocol.primary
    known = [row for row in ordered if not row.human and row.record.overall.metrics[primary].value is not None]
    return aligned({row.name: row.samples for row in known}, primary) if len(known) > 1 else None


def _rank_intervals(data: Aligned, record: ScoreRecord) -> dict[str, tuple[int, int]]:
    """Intervals of the ranks on the ranking suite."""
    shown = data.of(members(data.people, record.overall.key, record.ranking_suite))
    values = dict(zip(shown.methods, shown.errors.T, strict=True))
    rng = generator(record.seed, "rank intervals")
    return rank_intervals(values, shown.clusters, rng, confidence=record.confidence, n_resamples=RESAMPLES)


def _firsts(data: Aligned, record: ScoreRecord, groups: Sequence[GroupScores]) -> dict[GroupKey, FirstGroup]:
    """Who is first in each group."""
    found = {}
    for group in groups:
        own = data.of(members(data.people, group.key, record.ranking_suite))
        if np.count_nonzero(~np.isnan(own.errors).any(axis=1)) < MINIMUM_PEOPLE:
            continue
        result = first_of(own, generator(record.seed, "first group"))
        if result is not None:
            found[group.key] = result
    return found


def _cell(row: Row, metric: str, scores: GroupScores, firsts: Mapping[GroupKey, FirstGroup], places: Places) -> Cell:
    """The cell of a row for a group, with what is known of its seeds and of its comparison with the best."""
    result = firsts.get(scores.key) if metric == row.protocol.primary else None
    against = result.against.get(row.name) if result else None
    return Cell(
        predictor=row.name,
        metric=metric,
        group=scores,
        best=row.name in places.best,
        second=row.name in places.second,
        leads=result is not None and row.name == result.best,
        first=result is not None and row.name in result.members and row.name not in places.best,
        seeds=len(row.parts),
        sd=row.spread.get(scores.key, {}).get(metric),
        p=against.adjusted if against and not np.isnan(against.adjusted) else None,
    )


def _predictor_table(
    table: MetricTable,
    rows: Sequence[Row],
    ranks: Mapping[str, str],
    intervals: Mapping[str, tuple[int, int]],
    firsts: Mapping[GroupKey, FirstGroup],
) -> Table:
    """A table with a line per predictor and a column per metric, over the ranking suite."""
    own = {row.name: _group_of(row, table.suite) for row in rows}
    places = {
        metric: _best([Cell(row.name, metric, own[row.name]) for row in rows if not row.human]) for metric in table.metrics
    }
    lines = []
    for row in rows:
        overall = own[row.name]
        counted = overall.metrics[row.protocol.primary]
        lines.append(
            Line(
                label=row.name,
                cells=[_cell(row, m, overall, firsts, places[m]) for m in table.metrics],
                people=counted.people,
                clusters=counted.clusters,
                rank=ranks[row.name],
                rank_interval=intervals.get(row.name) if table.key == "ranking" else None,
                human=row.human,
                reads=row.record.predictor.reads,
                seeds=len(row.parts),
                tier=row.record.tier,
            )
        )
    metrics = rows[0].protocol.metrics  # what a metric means is a protocol's own; AUC is several things
    headings = [
        Heading(LABELS[m], UNIT_SIGNS.get(metrics[m].unit, ""), ARROWS[metrics[m].better], metrics[m].description)
        for m in table.metrics
    ]
    caption = f"Suite {table.suite or rows[0].record.ranking_suite}; {table.caption}"
    return Table(table.key, table.title, caption, "Predictor", headings, lines, ranked=True)


def _group_of(row: Row, suite: str) -> GroupScores:
    """The scores of a row that a table shows: those of a suite, or overall."""
    return next((group for group in row.record.suites if suite and group.group == suite), row.record.overall)


def _group_table(
    key: str,
    title: str,
    caption: str,
    stub: str,
    rows: Sequence[Row],
    groups: Sequence[tuple[GroupScores, str, str]],
    firsts: Mapping[GroupKey, FirstGroup],
) -> Table:
    """A table of mean errors with a line per group (scores, section, label) and a column per predictor."""
    primary = rows[0].protocol.primary
    scored = {row.name: {scores.key: scores for scores in row.record.groups} for row in rows}
    lines = []
    for scores, section, label in groups:
        # a record of an older scorer may lack the group: its cell stays blank
        blank = scores.model_copy(update={"metrics": {}})
        found = {row.name: scored[row.name].get(scores.key, blank) for row in rows}
        places = _best([Cell(row.name, primary, found[row.name]) for row in rows if not row.human])
        cells = [_cell(row, primary, found[row.name], firsts, places) for row in rows]
        counted = scores.metrics[primary]
        small = few(counted.people, counted.clusters)
        lines.append(Line(label, cells, counted.people, counted.clusters, section=section, few=small))
    headings = [Heading(row.name, human=row.human) for row in rows]
    return Table(key, title, caption, stub, headings, lines)


def _matrix_table(matrix: BandMatrix, place: int) -> Table:
    """A method trained on several bands: a line per band tested on, a column per band trained on."""
    rows = [one.row for one in matrix.trained]
    first = rows[0].record
    compared = _compared(rows)
    protocol = rows[0].protocol
    names = ", ".join(f"{group_label(one.label)}: {one.row.name}" for one in matrix.trained)
    table = _group_table(
        f"bands-{place}",
        matrix.heading,
        f"Mean {protocol.error} in {protocol.unit}. A column is a training on people of that band alone, a line the people of "
        f"the {first.split} split that it is tested on. Columns: {names}.",
        "Tested on",
        rows,
        [(scores, "", group_label(scores.group)) for scores in matrix.groups],
        _firsts(compared, first, matrix.groups) if compared else {},
    )
    return replace(table, headings=[Heading(group_label(one.label)) for one in matrix.trained])


class Places(NamedTuple):
    """Predictors with the best number of a comparison, as written, and with the next."""

    best: frozenset[str] = frozenset()
    second: frozenset[str] = frozenset()


def _best(cells: Sequence[Cell]) -> Places:
    """Who has the best and the second number as written, if there are two or more to compare; ties share a place."""
    written = [cell for cell in cells if cell.value]
    if len(written) < 2:
        return Places()
    numbers = sorted({float(cell.value) for cell in written}, reverse=ALL_METRICS[written[0].metric].better == "higher")
    holders = [frozenset(cell.predictor for cell in written if float(cell.value) == number) for number in numbers[:2]]
    # as in a race: after two firsts there is no second
    return Places(holders[0], holders[1] if len(holders) > 1 and len(holders[0]) == 1 else frozenset())
