"""The leaderboard as one object: tables of cells, which Markdown, CSV and the page only arrange differently.

Conventions
-----------
A :class:`Cell` is one estimate of one predictor for one group, and it alone decides how its numbers are written, so that every
output shows the same ones. Predictors are ranked by mean angular distance on the ranking suite, smaller first; equal numbers
share a rank (1, 2, 2, 4). Annotators stand apart and have no rank, as has a predictor without a number. Clusters are those
of the bootstrap: photos, clips or scenes.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from leaderboard.records import Estimate, GroupScores, ScoreRecord
from leaderboard.scoring import BREAKDOWNS, HUMAN, PRIMARY, PRIMARY_RAD
from srgaze360.protocols.spherical import METRICS, Metric

BLANK = "–"
READS_MARK = "†"
DECIMALS = {"deg": 2, "rad": 3, "fraction": 3, "standard deviations": 2, "nats": 2, "correlation": 3}
UNIT_SIGNS = {"deg": "°", "rad": "rad", "standard deviations": "sd", "nats": "nats"}
ARROWS = {"lower": "↓", "higher": "↑"}

ALL_METRICS: dict[str, Metric] = {
    **METRICS,
    PRIMARY_RAD: Metric("rad", "lower", "mean over samples", "direction", "the primary metric in radians"),
}
LABELS = {
    PRIMARY: "Angular distance",
    PRIMARY_RAD: "Angular distance",
    "angular_distance_mean_deg": "Mean over annotations",
    "angular_distance_min_deg": "Nearest annotation",
    **{name: f"Hit@{name[4:]}°" for name in METRICS if name.startswith("hit@")},
    "auc": "AUC",
    "nss": "NSS",
    "kld": "KLD",
    "cc": "CC",
    "sim": "SIM",
    "in_frame_ap": "In-frame AP",
}
HIT_METRICS = tuple(name for name in LABELS if name.startswith("hit@"))
DISTANCE_METRICS = tuple(name for name in LABELS if ALL_METRICS[name].needs == "direction" and name not in HIT_METRICS)
MAP_METRICS = tuple(name for name in LABELS if ALL_METRICS[name].needs != "direction")


class Heading(NamedTuple):
    """Head of a column: title, unit and arrow (empty where they have no meaning), what it means, whether it is the human's."""

    title: str
    unit: str = ""
    arrow: str = ""
    meaning: str = ""
    human: bool = False


@dataclass(frozen=True)
class Cell:
    """One estimate of one predictor for one group. ``best`` marks the best of those compared."""

    predictor: str
    metric: str
    group: GroupScores
    best: bool = False

    @property
    def estimate(self) -> Estimate | None:
        """The estimate, or None where the predictor has none."""
        return self.group.metrics.get(self.metric)

    def written(self, number: float | None) -> str:
        """A number of this metric as every output writes it; empty if there is none."""
        return "" if number is None else f"{number:.{DECIMALS[ALL_METRICS[self.metric].unit]}f}"

    @property
    def value(self) -> str:
        """The estimate as written, empty if there is none."""
        return self.written(self.estimate.value if self.estimate else None)

    @property
    def interval(self) -> tuple[str, str] | None:
        """Ends of the interval as written, or None."""
        if self.estimate is None or self.estimate.low is None or self.estimate.high is None:
            return None
        return self.written(self.estimate.low), self.written(self.estimate.high)


@dataclass(frozen=True)
class Line:
    """A row of a table. ``section`` groups consecutive lines under a heading; ``rank`` is empty where there is none."""

    label: str
    cells: list[Cell]
    people: int
    clusters: int
    rank: str = ""
    section: str = ""
    human: bool = False
    reads: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A table: ``stub`` heads the column of labels; ``ranked`` tables have a column of ranks."""

    key: str
    title: str
    caption: str
    stub: str
    headings: list[Heading]
    lines: list[Line]
    ranked: bool = False

    @property
    def cells(self) -> Iterable[Cell]:
        """All cells, line by line."""
        return (cell for line in self.lines for cell in line.cells)


@dataclass(frozen=True)
class BoardTables:
    """Everything a board shows: the records in the order of their ranks, their ranks, and the tables."""

    records: list[ScoreRecord]
    ranks: dict[str, str]
    tables: list[Table]

    @property
    def facts(self) -> dict[str, str]:
        """What all rows have in common, and how many they rest on."""
        first = self.records[0]
        overall = first.overall
        known = overall.metrics[PRIMARY].people
        people = f"{overall.people} in {overall.clusters} clusters, {known} with a known target direction"
        versions = sorted({record.protocol_version for record in self.records})
        return {
            "Dataset": f"{first.dataset.name} {first.dataset.version}",
            "Label digest": first.dataset.digest,
            "Split": first.split,
            "Protocol": f"{first.protocol} {', '.join(versions)}",
            "Ranking suite": first.ranking_suite,
            "People": people,
        }


def board_tables(records: Sequence[ScoreRecord]) -> BoardTables:
    """Rank records and arrange them in tables.

    Parameters
    ----------
    records
        At least one, all of one dataset, split, protocol and ranking suite; the board sees to that when they are added.
    """
    ordered = sorted(records, key=_order)
    ranks = _ranks(ordered)
    suite = ordered[0].ranking_suite
    tables = [
        _predictor_table(
            "ranking", "Ranking", f"Suite {suite}; ranked by mean angular distance.", ordered, ranks, DISTANCE_METRICS
        ),
        _predictor_table(
            "hits", "Hits", f"Suite {suite}; share of people whose error is at most so large.", ordered, ranks, HIT_METRICS
        ),
        _predictor_table(
            "maps",
            "Heatmaps and in-frame scores",
            f"Suite {suite}; blank where a predictor gives no heatmaps or scores.",
            ordered,
            ranks,
            MAP_METRICS,
        ),
        _group_table(
            "conditions",
            "By condition",
            "Mean angular distance in degrees. Conditions show the same photos, so rows can be compared within a column.",
            "Condition",
            ordered,
            [(scores, scores.suite, scores.group) for scores in ordered[0].conditions],
        ),
        _group_table(
            "breakdowns",
            "By person and target",
            f"Mean angular distance in degrees, suite {suite}.",
            "Group",
            ordered,
            [(s, BREAKDOWNS[s.by].title if s.by in BREAKDOWNS else s.by, group_label(s.group)) for s in ordered[0].breakdowns],
        ),
    ]
    return BoardTables(ordered, ranks, tables)


def group_label(group: str) -> str:
    """Name of a band as tables and plots show it: ``"0-30 deg"`` → ``"0–30°"``."""
    return re.sub(r"(?<=\d)-(?=\d)", "–", group).replace(" deg", "°")


def _order(record: ScoreRecord) -> tuple[bool, bool, float, str]:
    value = record.overall.metrics[PRIMARY].value
    return record.kind == HUMAN, value is None, value if value is not None else 0.0, record.predictor.name


def _ranks(ordered: Sequence[ScoreRecord]) -> dict[str, str]:
    """Competition ranks of records in ascending order; empty for annotators and where there is no number."""
    ranks: dict[str, str] = {}
    before: tuple[str, float] | None = None
    for place, record in enumerate(ordered, start=1):
        value = record.overall.metrics[PRIMARY].value
        if record.kind == HUMAN or value is None:
            ranks[record.predictor.name] = ""
            continue
        rank = before[0] if before is not None and before[1] == value else str(place)
        ranks[record.predictor.name], before = rank, (rank, value)
    return ranks


def _predictor_table(
    key: str, title: str, caption: str, records: Sequence[ScoreRecord], ranks: dict[str, str], metrics: Sequence[str]
) -> Table:
    """A table with a line per predictor and a column per metric, over the ranking suite."""
    compared = [record for record in records if record.kind != HUMAN]
    best = {metric: _best([Cell(r.predictor.name, metric, r.overall) for r in compared]) for metric in metrics}
    lines = [
        Line(
            label=record.predictor.name,
            cells=[Cell(record.predictor.name, m, record.overall, record.predictor.name in best[m]) for m in metrics],
            people=record.overall.metrics[PRIMARY].people,
            clusters=record.overall.metrics[PRIMARY].clusters,
            rank=ranks[record.predictor.name],
            human=record.kind == HUMAN,
            reads=record.predictor.reads,
        )
        for record in records
    ]
    headings = [
        Heading(LABELS[m], UNIT_SIGNS.get(ALL_METRICS[m].unit, ""), ARROWS[ALL_METRICS[m].better], ALL_METRICS[m].description)
        for m in metrics
    ]
    return Table(key, title, caption, "Predictor", headings, lines, ranked=True)


def _group_table(
    key: str,
    title: str,
    caption: str,
    stub: str,
    records: Sequence[ScoreRecord],
    groups: Sequence[tuple[GroupScores, str, str]],
) -> Table:
    """A table of mean angular distances with a line per group (scores, section, label) and a column per predictor."""
    scored = {r.predictor.name: {(s.by, s.suite, s.group): s for s in [*r.conditions, *r.breakdowns]} for r in records}
    humans = {record.predictor.name for record in records if record.kind == HUMAN}
    lines = []
    for scores, section, label in groups:
        # a record of an older scorer may lack the group: its cell stays blank
        blank = scores.model_copy(update={"metrics": {}})
        cells = [
            Cell(name, PRIMARY, found.get((scores.by, scores.suite, scores.group), blank)) for name, found in scored.items()
        ]
        best = _best([cell for cell in cells if cell.predictor not in humans])
        cells = [replace(cell, best=cell.predictor in best) for cell in cells]
        counted = scores.metrics[PRIMARY]
        lines.append(Line(label, cells, counted.people, counted.clusters, section=section))
    headings = [Heading(record.predictor.name, human=record.kind == HUMAN) for record in records]
    return Table(key, title, caption, stub, headings, lines)


def _best(cells: Sequence[Cell]) -> set[str]:
    """Predictors with the best number as written, if there are two or more to compare."""
    written = [cell for cell in cells if cell.value]
    if len(written) < 2:
        return set()
    pick = min if ALL_METRICS[written[0].metric].better == "lower" else max
    target = pick(float(cell.value) for cell in written)
    return {cell.predictor for cell in written if float(cell.value) == target}


# --- Markdown and CSV -------------------------------------------------------------------------------------------------


def markdown(board: BoardTables) -> str:
    """The board as Markdown, with tables in the syntax of GitHub."""
    lines = ["# SRGaze360 leaderboard", ""]
    lines += [f"- **{name}:** {_plain(value)}" for name, value in board.facts.items()]
    lines += ["", "Numbers are means with 95 % intervals in brackets; the best of each comparison is bold."]
    for table in board.tables:
        lines += ["", f"## {table.title}", "", table.caption, "", *_markdown_table(table)]
    reading = [record.predictor for record in board.records if record.predictor.reads]
    if reading:
        lines += ["", f"{READS_MARK} reads more of the annotations than the panorama and the head:", ""]
        lines += [f"- {_plain(card.name)}: {_plain(', '.join(card.reads))}" for card in reading]
    lines += ["", "## Metrics", ""]
    lines += [
        f"- **{LABELS[name]}** ({metric.unit}, {metric.better} is better): {metric.description}."
        for name, metric in ALL_METRICS.items()
        if name != PRIMARY_RAD
    ]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> list[str]:
    heads = [_plain(h.title) + (f" [{h.unit}]" if h.unit else "") + (f" {h.arrow}" if h.arrow else "") for h in table.headings]
    first = ["Rank", table.stub] if table.ranked else [table.stub]
    rows = []
    section = ""
    for line in table.lines:
        if line.section != section:
            section = line.section
            rows.append([f"**{_plain(section)}**", *[""] * (len(heads) + 2)])
        label = _plain(line.label) + (f" {READS_MARK}" if line.reads else "")
        label = f"*{label}*" if line.human else label
        stub = [line.rank or BLANK, label] if table.ranked else [label]
        rows.append([*stub, *map(_markdown_cell, line.cells), str(line.people), str(line.clusters)])
    align = ["---:"] * table.ranked + ["---"] + ["---:"] * (len(heads) + 2)
    return ["| " + " | ".join(row) + " |" for row in [[*first, *heads, "People", "Clusters"], align, *rows]]


def _markdown_cell(cell: Cell) -> str:
    if not cell.value:
        return BLANK
    value = f"**{cell.value}**" if cell.best else cell.value
    return f"{value} [{cell.interval[0]}, {cell.interval[1]}]" if cell.interval else value


def _plain(text: str) -> str:
    """Text of a submitter's as Markdown that shows it as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]|!#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


CSV_COLUMNS = (
    "table", "predictor", "rank", "suite", "by", "group", "metric", "value", "low", "high", "people", "clusters", "reads",
)  # fmt: skip


def to_csv(board: BoardTables) -> str:
    """Every cell of the board as a row of CSV: tidy, for programs and spreadsheets."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    reads = {record.predictor.name: " ".join(record.predictor.reads) for record in board.records}
    for table in board.tables:
        for cell in table.cells:
            low, high = cell.interval or ("", "")
            n = (cell.estimate.people, cell.estimate.clusters) if cell.estimate else (0, 0)
            name, group = cell.predictor, cell.group
            place = (table.key, name, board.ranks[name], group.suite, group.by, group.group)
            writer.writerow([*place, cell.metric, cell.value, low, high, *n, reads[name]])
    return stream.getvalue()
