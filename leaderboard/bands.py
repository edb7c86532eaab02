"""One method trained on several bands of people, tested on every band: which rows of a board make such a matrix.

Conventions
-----------
Records say what their training was restricted to (``PredictorCard.training``: grouping → values). An *axis* is a grouping that
scores are reported by as well: a breakdown such as ``head_latitude``, the conditions of a suite, or the suites. Rows belong to
one matrix if their trainings have everything in common but the seed and the values on that axis (predictor, settings, dataset,
split, and the restrictions on other axes), and there are two bands or more; the row of the same training without restriction
on the axis stands beside them as :data:`EVERYBODY`. Bands to train on may join several bands to test on. What a card says is
its submitter's word, as everything of a submission is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leaderboard.records import GroupScores, ScoreRecord
from leaderboard.seeds import Row
from srgaze360.files import digest
from srgaze360.groups import BREAKDOWNS, LISTED, describe
from srgaze360.predictions import TrainingKey

EVERYBODY = "all"
AXES = (*LISTED, *BREAKDOWNS)


class Trained(NamedTuple):
    """A row of a board, the key of its training, and the bands of an axis that it was trained on; all, if there are none."""

    row: Row
    key: TrainingKey
    bands: tuple[str, ...]

    @property
    def label(self) -> str:
        """The bands in one line."""
        return ", ".join(self.bands) or EVERYBODY


class BandMatrix(NamedTuple):
    """Trained on (bands of ``trained``) × tested on (``groups``), along a grouping of people ``axis``.

    ``predictor`` is the registered name of the method, ``rest`` in words what all trainings were restricted to besides.
    """

    predictor: str
    axis: str
    rest: str
    trained: list[Trained]
    groups: list[GroupScores]

    @property
    def title(self) -> str:
        """The axis in words, and what all trainings were restricted to besides."""
        title = BREAKDOWNS[self.axis].title if self.axis in BREAKDOWNS else self.axis
        return title[0].lower() + title[1:] + (f" ({self.rest})" if self.rest else "")

    @property
    def heading(self) -> str:
        """Heading of its table and plot."""
        return f"Trained on one band, tested on all: {self.predictor}, {self.title}"


def band_matrices(rows: Sequence[Row]) -> list[BandMatrix]:
    """The matrices that the rows of a board make, by method and axis."""
    found: dict[tuple[str, str, str], list[Trained]] = {}
    keys = [(row, key) for row in rows if (key := row.record.predictor.training) is not None]
    for row, key in keys:
        for axis in _axes(row.record):
            rest = {name: sorted(values) for name, values in key.where.items() if name != axis}
            found.setdefault((key.digest, axis, digest(rest)), []).append(Trained(row, key, tuple(key.where.get(axis, ()))))
    matrices = []
    for (_, axis, _), trained in found.items():
        bands = {frozenset(one.bands) for one in trained if one.bands}
        groups = _tested(trained[0].row.record, axis, {value for band in bands for value in band})
        if len(bands) > 1 and groups:
            key = trained[0].key
            rest = {name: values for name, values in key.where.items() if name != axis}
            matrices.append(BandMatrix(key.predictor, axis, describe(rest), _ordered(trained, groups), groups))
    return sorted(matrices, key=lambda one: (one.predictor, AXES.index(one.axis), one.rest))


def _axes(record: ScoreRecord) -> list[str]:
    """Groupings that the groups of a record belong to."""
    return [by for by in AXES if any(group.by == by for group in record.groups)]


def _tested(record: ScoreRecord, axis: str, bands: set[str]) -> list[GroupScores]:
    """The groups of an axis that are tested on: of conditions, those of the suites that were trained on."""
    groups = [group for group in record.groups if group.by == axis]
    suites = {group.suite for group in groups if group.group in bands}
    return [group for group in groups if group.suite in suites] if axis == "condition" else groups


def _ordered(trained: Sequence[Trained], groups: Sequence[GroupScores]) -> list[Trained]:
    """Bands in the order of the groups tested on; everybody last."""
    places = {group.group: place for place, group in reversed(list(enumerate(groups)))}

    def place(one: Trained) -> tuple[bool, list[int], str]:
        return not one.bands, sorted(places.get(value, len(places)) for value in one.bands), one.row.name

    return sorted(trained, key=place)
