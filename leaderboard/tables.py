"""The leaderboard as one object: tables of cells, which Markdown, CSV and the page only write differently.

Conventions
-----------
A :class:`Cell` is one estimate of one predictor for one group, and it alone decides how its numbers are written, so that every
output shows the same ones. Clusters are those of the bootstrap: photos, clips or scenes. The best of a comparison is bold;
those not significantly worse carry :data:`FIRST_MARK`, groups of few people or clusters :data:`FEW_MARK`. How rows are ranked
and arranged is said in :mod:`leaderboard.arranging`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from leaderboard.bands import BandMatrix
from leaderboard.comparison import FirstGroup, few
from leaderboard.notices import Notice
from leaderboard.protocols import ALL_METRICS, Protocol
from leaderboard.published import PublishedTable
from leaderboard.records import Estimate, GroupScores, ScoreRecord
from leaderboard.seeds import Row

BLANK = "–"
READS_MARK = "†"
FIRST_MARK = "ᵃ"
FEW_MARK = "‡"
DECIMALS = {
    "deg": 2,
    "rad": 3,
    "fraction": 3,
    "fraction of the photo's sides": 3,
    "standard deviations": 2,
    "nats": 2,
    "correlation": 3,
}
UNIT_SIGNS = {"deg": "°", "rad": "rad", "standard deviations": "sd", "nats": "nats"}
ARROWS = {"lower": "↓", "higher": "↑"}


class Heading(NamedTuple):
    """Head of a column: title, unit and arrow (empty where they have no meaning), what it means, whether it is the human's."""

    title: str
    unit: str = ""
    arrow: str = ""
    meaning: str = ""
    human: bool = False


@dataclass(frozen=True)
class Cell:
    """One estimate of one predictor for one group.

    ``best`` marks the best number of those compared, as written, ``second`` the next. Of the comparison by per-person errors,
    ``leads`` marks the best, ``first`` the members of the first group that are not bold, and ``p`` is the corrected p value of
    the difference from the best. ``sd`` is the standard deviation over ``seeds`` training seeds, None for one.
    """

    predictor: str
    metric: str
    group: GroupScores
    best: bool = False
    second: bool = False
    leads: bool = False
    first: bool = False
    seeds: int = 1
    sd: float | None = None
    p: float | None = None

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
    def spread(self) -> str:
        """The standard deviation over training seeds as written, empty if there is none."""
        return self.written(self.sd) if self.value else ""

    @property
    def interval(self) -> tuple[str, str] | None:
        """Ends of the interval as written, or None."""
        if self.estimate is None or self.estimate.low is None or self.estimate.high is None:
            return None
        return self.written(self.estimate.low), self.written(self.estimate.high)


@dataclass(frozen=True)
class Line:
    """A row of a table. ``section`` groups consecutive lines under a heading; ``rank`` is empty where there is none.

    ``few`` says that a group is too small to lean on; ``seeds`` are the training seeds of a predictor, ``tier`` how far the
    keeper of the board vouches for it, ``rank_interval`` the ranks it may have on another set of clusters.
    """

    label: str
    cells: list[Cell]
    people: int
    clusters: int
    rank: str = ""
    section: str = ""
    human: bool = False
    reads: list[str] = field(default_factory=list)
    few: bool = False
    seeds: int = 1
    tier: str = ""
    rank_interval: tuple[int, int] | None = None

    @property
    def ranks(self) -> str:
        """The interval of the rank as written, empty if there is none, or no other rank in it."""
        settled = self.rank_interval is None or set(map(str, self.rank_interval)) == {self.rank}
        return "" if settled else "–".join(str(end) for end in dict.fromkeys(self.rank_interval or ()))


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


class Standing(NamedTuple):
    """Who is first in a condition, or overall: the section it belongs to, its name, and the comparison."""

    section: str
    label: str
    result: FirstGroup

    @property
    def few(self) -> bool:
        """Whether it rests on too few people or clusters to lean on."""
        return few(self.result.people, self.result.clusters)

    @property
    def others(self) -> tuple[str, ...]:
        """Those that are not significantly worse than the best."""
        return self.result.members[1:]


@dataclass(frozen=True)
class BoardTables:
    """Everything a board shows: its rows in the order of their ranks, their ranks with intervals, and the tables.

    ``matrices`` are methods trained on several bands of people, ``standings`` say who is first overall and in each
    condition (none with fewer than two predictors to compare); ``notices`` are the predictors without a number;
    ``published`` are numbers of others, a table of their own, or None.
    """

    rows: list[Row]
    ranks: dict[str, str]
    rank_intervals: dict[str, tuple[int, int]]
    tables: list[Table]
    matrices: list[BandMatrix]
    standings: list[Standing]
    notices: list[Notice]
    published: PublishedTable | None

    @property
    def records(self) -> list[ScoreRecord]:
        """The record of each row."""
        return [row.record for row in self.rows]

    @property
    def protocol(self) -> Protocol:
        """The protocol of the board."""
        return self.rows[0].protocol

    @property
    def facts(self) -> dict[str, str]:
        """What all rows have in common, and how many they rest on."""
        first = self.records[0]
        overall = first.overall
        known = overall.metrics[self.protocol.primary].people
        people = f"{overall.people} in {overall.clusters} clusters, {known} with a known target direction"
        versions = sorted({part.protocol_version for row in self.rows for part in row.parts})
        return {
            "Dataset": f"{first.dataset.name} {first.dataset.version}",
            "Label digest": first.dataset.digest,
            "Split": first.split,
            "Protocol": f"{first.protocol} {', '.join(versions)}",
            "Ranking suite": first.ranking_suite,
            "People": people,
        }

    def behind(self, name: str) -> list[Standing]:
        """Where a predictor is not in the first group: overall and by condition."""
        return [standing for standing in self.standings if name not in standing.result.members]


def group_label(group: str) -> str:
    """Name of a band as tables and plots show it: ``"0-30 deg"`` → ``"0–30°"``."""
    return re.sub(r"(?<=\d)-(?=\d)", "–", group).replace(" deg", "°")
