"""Rows of a board: one per method, however many training seeds it was scored with.

Conventions
-----------
Results of one name and different ``PredictorCard.seed`` are one method. Two kinds of uncertainty are kept apart:

* *over people*: each person's error is averaged over the seeds, and the interval is that of a bootstrap over clusters of these
  means, as for a single result. It says how sure the mean of these seeds is.
* *over training*: the standard deviation (n - 1) of the seeds' own means. It says how much a further seed would differ.

The rest of a row is that of the seeds' common record; its tier of trust is the lowest of theirs. Metrics over the set (average
precision) are averaged over the seeds and have no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from leaderboard.comparison import mean_over_seeds
from leaderboard.protocols import Protocol, find_protocol
from leaderboard.records import GROUP_PREFIX, SAMPLE_KEYS, TIERS, Estimate, GroupScores, ScoreRecord
from leaderboard.scoring import HUMAN, estimates
from srgaze360.bootstrap import cluster_bootstrap
from srgaze360.files import generator
from srgaze360.sphere import BoolArray

GroupKey = tuple[str, str, str]


@dataclass(frozen=True)
class Row:
    """A method on a board.

    ``record`` is its result, or that of all its seeds together; ``samples`` are its per-person errors, means over the seeds;
    ``parts`` are the results themselves, by seed; ``spread`` is the standard deviation over seeds by group and metric, empty
    for a single result.
    """

    record: ScoreRecord
    samples: pd.DataFrame
    parts: list[ScoreRecord]
    spread: dict[GroupKey, dict[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.record.predictor.name

    @property
    def human(self) -> bool:
        """Whether the row is the annotators'."""
        return self.record.kind == HUMAN

    @property
    def protocol(self) -> Protocol:
        """The protocol it was scored under."""
        return find_protocol(self.record.protocol)


def members(samples: pd.DataFrame, key: GroupKey, ranking_suite: str) -> BoolArray:
    """Which people (n,) belong to the group (by, suite, group)."""
    by, suite, group = key
    inside = (samples["suite"] == (ranking_suite if by == "overall" else suite)).to_numpy()
    if by in ("overall", "suite"):
        return np.asarray(inside)
    column = "condition" if by == "condition" else GROUP_PREFIX + by
    return np.asarray(inside & (samples[column] == group).to_numpy() if column in samples else np.zeros_like(inside))


def seed_name(record: ScoreRecord) -> tuple[str, int | None]:
    """What tells a result from the others of a board: its method, whatever the case of the letters, and its seed."""
    return record.predictor.name.casefold(), record.predictor.seed


def rows_of(results: Sequence[tuple[ScoreRecord, pd.DataFrame]]) -> list[Row]:
    """Join the results of each method over its seeds.

    Parameters
    ----------
    results
        Records of one dataset, split and protocol, each with its per-person errors.

    Raises
    ------
    InputError
        The seeds of a method were scored on different people.
    """
    methods: dict[str, list[tuple[ScoreRecord, pd.DataFrame]]] = {}
    for record, samples in results:
        methods.setdefault(record.predictor.name.casefold(), []).append((record, samples))
    single = [Row(*found[0], [found[0][0]]) for found in methods.values() if len(found) == 1]
    several = [_joined(sorted(found, key=lambda one: _seed_order(one[0]))) for found in methods.values() if len(found) > 1]
    return [*single, *_with_intervals(several)]


def _seed_order(record: ScoreRecord) -> tuple[bool, int]:
    seed = record.predictor.seed
    return seed is None, seed or 0


def _joined(results: list[tuple[ScoreRecord, pd.DataFrame]]) -> Row:
    """One row of several results, its numbers still those of the first."""
    records = [record for record, _ in results]
    first = records[0]
    shared = set.intersection(*(set(table.columns) for _, table in results))
    metrics = [name for name in results[0][1].columns if name in first.overall.metrics and name in shared]
    keys = [name for name in results[0][1].columns if name in SAMPLE_KEYS or (name.startswith(GROUP_PREFIX) and name in shared)]
    samples = mean_over_seeds([table[[*keys, *metrics]] for _, table in results], metrics)
    notes = "; ".join(dict.fromkeys(record.predictor.notes for record in records if record.predictor.notes))
    data = list(dict.fromkeys(text for record in records for text in record.predictor.training_data))
    card = first.predictor.model_copy(update={"seed": None, "notes": notes, "training_data": data})
    joined = first.model_copy(
        update={
            "predictor": card,
            "notes": list(dict.fromkeys(note for record in records for note in record.notes)),
            "tier": min((record.tier for record in records), key=TIERS.index),
        }
    )
    return Row(joined, samples, records, {group.key: _spread(records, group.key) for group in first.groups})


def _values(records: Sequence[ScoreRecord], key: GroupKey) -> dict[str, list[float]]:
    """The value of each metric in a group under every seed, of the metrics that all seeds have a number for."""
    found = [next((group.metrics for group in record.groups if group.key == key), {}) for record in records]
    values = {name: [metrics[name].value for metrics in found if name in metrics] for name in found[0]}
    return {name: [v for v in column if v is not None] for name, column in values.items() if _full(column, len(records))}


def _full(column: Sequence[float | None], count: int) -> bool:
    return len(column) == count and None not in column


def _spread(records: Sequence[ScoreRecord], key: GroupKey) -> dict[str, float]:
    return {name: float(np.std(column, ddof=1)) for name, column in _values(records, key).items()}


def _with_intervals(rows: Sequence[Row]) -> list[Row]:
    """Rows with the numbers of their joined errors.

    Rows of one board draw the same clusters, so all of them are resampled at once: that is what takes the time.
    """
    alike: dict[tuple[int, int, float, bytes], list[Row]] = {}
    for row in rows:
        people = row.samples[[name for name in row.samples if name not in row.record.overall.metrics]]
        same = pd.util.hash_pandas_object(people, index=False).to_numpy().tobytes()
        alike.setdefault((row.record.resamples, row.record.seed, row.record.confidence, same), []).append(row)
    return [
        done for (resamples, seed, confidence, _), of in alike.items() for done in _resampled(of, resamples, seed, confidence)
    ]


def _resampled(rows: Sequence[Row], resamples: int, seed: int, confidence: float) -> list[Row]:
    """Rows over the same people in the same order, with the numbers of their joined errors."""
    samples, ranking = rows[0].samples, rows[0].record.ranking_suite
    clusters = samples["cluster_id"].to_numpy(dtype=str)
    columns = {
        (place, name): row.samples[name].to_numpy(dtype=np.float64)
        for place, row in enumerate(rows)
        for name in row.samples
        if name in row.record.overall.metrics
    }
    numbers: list[dict[GroupKey, dict[str, Estimate]]] = [{} for _ in rows]
    for key in dict.fromkeys(group.key for row in rows for group in row.record.groups):
        chosen = members(samples, key, ranking)
        intervals = cluster_bootstrap(
            {f"{place}/{name}": column[chosen] for (place, name), column in columns.items()},
            clusters[chosen],
            generator(seed, "bootstrap"),
            confidence=confidence,
            n_resamples=resamples,
        )
        for place, row in enumerate(rows):
            own = estimates({name: intervals[f"{at}/{name}"] for at, name in columns if at == place})
            numbers[place][key] = own | _over_the_set(row, key, own)
    return [replace(row, record=_renumbered(row.record, found)) for row, found in zip(rows, numbers, strict=True)]


def _over_the_set(row: Row, key: GroupKey, per_person: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Metrics that are one number over a group: their mean over the seeds, without an interval."""
    values = {name: found for name, found in _values(row.parts, key).items() if name not in per_person}
    first = {group.key: group for group in row.parts[0].groups}.get(key)
    if not values or first is None:
        return {}
    blank = {"low": None, "high": None}
    return {name: first.metrics[name].model_copy(update={"value": float(np.mean(v)), **blank}) for name, v in values.items()}


def _renumbered(record: ScoreRecord, numbers: Mapping[GroupKey, dict[str, Estimate]]) -> ScoreRecord:
    def renew(group: GroupScores) -> GroupScores:
        return group.model_copy(update={"metrics": numbers[group.key]})

    kinds = {name: [renew(group) for group in getattr(record, name)] for name in ("suites", "conditions", "breakdowns")}
    return record.model_copy(update={"overall": renew(record.overall), **kinds})
