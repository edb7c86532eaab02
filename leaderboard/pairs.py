"""`srgaze360 compare`: methods against a reference on the same people, overall, by condition and by group.

Conventions
-----------
The first method is the reference; differences are method - reference, so below 0 is better where small values are good. Results
of one name and different training seeds are one method, each person's error their mean. Overall is the ranking suite and stands
for itself; the p values of conditions, and those of breakdowns, are corrected by Holm's method over all groups of their kind
and all methods (:func:`leaderboard.comparison.holm`). ``verdict`` is ``better`` or ``worse`` where the corrected p value is
below :data:`leaderboard.comparison.ALPHA`, else ``undecided``: no proof of equality.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from leaderboard.board import differences_of
from leaderboard.comparison import ALPHA, Aligned, aligned, enough, few, holm
from leaderboard.protocols import find_protocol
from leaderboard.records import ScoreRecord, read_record, read_samples, samples_path
from leaderboard.seeds import GroupKey, Row, members, rows_of
from srgaze360.bootstrap import paired_differences
from srgaze360.errors import CheckFailed, InputError, first_ids, suggestion
from srgaze360.files import generator

KINDS = ("overall", "condition", "breakdown")
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


class Difference(NamedTuple):
    """A method against the reference on a group of people who have a value under both.

    ``kind`` is one of :data:`KINDS`, ``by`` what groups the people, ``suite`` and ``group`` where. Means, ``difference`` and
    its interval from ``low`` to ``high`` are in the metric's unit. Numbers are None where fewer people are in the group than a
    record shows numbers for. ``few`` marks groups below 150 people or 50 clusters.
    """

    method: str
    reference: str
    metric: str
    kind: str
    by: str
    suite: str
    group: str
    people: int
    clusters: int
    few: bool
    reference_mean: float | None
    method_mean: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    verdict: str


def compare_files(
    results: Sequence[Path],
    *,
    metric: str | None = None,
    reference: str | None = None,
    breakdowns: bool = True,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Difference]:
    """Compare score records with a reference.

    Parameters
    ----------
    results
        Two or more ``RESULT.json``, each with its ``RESULT.samples.parquet`` beside it, of at least two methods.
    metric
        Metric of each person; the protocol's primary one by default.
    reference
        Name of the method the others are compared with; that of the first result by default.
    breakdowns
        Whether groups of people and targets are compared too, beside conditions.
    resamples, seed
        Bootstrap replicates (at least 100 per question that p values are corrected for), and the seed that they are a function
        of.

    Returns
    -------
    list of Difference
        By method, in the order of the results; overall first, then conditions, then breakdowns.

    Raises
    ------
    CheckFailed
        The records must not stand beside each other; the message has every reason.
    InputError
        There are fewer than two methods; metric or reference is unknown; a record cannot be read.
    """
    rows = _rows(results)
    if human := [row.name for row in rows if row.human]:
        raise InputError(
            f"Expected results of methods, found the annotators' own, {human[0]!r}: each of them is compared with one "
            "annotation less than a method is. Read that row beside the others; leave it out here."
        )
    names = [row.name for row in rows]
    if len(rows) < 2:
        raise InputError(
            f"Expected results of two methods or more to compare, found {first_ids(names) or 'none'} alone. Training seeds of "
            "one method are one method: give the result of another."
        )
    if reference is not None and reference not in names:
        raise InputError(f"Unknown --reference {reference!r}. {suggestion(reference, names)}")
    first = next(row for row in rows if row.name == (reference or names[0]))
    chosen = metric or first.protocol.primary
    known = [name for name in first.protocol.metrics if all(name in row.samples for row in rows)]
    if chosen not in known:
        raise InputError(f"No metric {chosen!r} of each person in all results. {suggestion(chosen, known)}")
    others = [row for row in rows if row is not first]
    return _differences(first, others, chosen, breakdowns=breakdowns, resamples=resamples, seed=seed)


def _rows(results: Sequence[Path]) -> list[Row]:
    """Methods in the order of their first results, which may stand beside each other."""
    loaded: list[tuple[ScoreRecord, pd.DataFrame]] = []
    for path in results:
        record = read_record(path)
        if reasons := differences_of(record, [one for one, _ in loaded], "that of the first"):
            raise CheckFailed(
                f"Expected results that may be compared, but {path} may not with {results[0]}: {'; '.join(reasons)}. Score "
                "both on the same people under the same protocol."
            )
        loaded.append((record, read_samples(samples_path(path), record)))
    order = [record.predictor.name.casefold() for record, _ in loaded]
    seeds = [(record.predictor.name.casefold(), record.predictor.seed) for record, _ in loaded]
    if twice := [path for path, key in zip(results, seeds, strict=True) if seeds.count(key) > 1]:
        raise InputError(
            f"Expected results of different methods or training seeds, found two of one name and seed: {first_ids(twice)}. "
            "Give one of them another name or seed."
        )
    return sorted(rows_of(loaded), key=lambda row: order.index(row.name.casefold()))


def _differences(
    first: Row, others: Sequence[Row], metric: str, *, breakdowns: bool, resamples: int, seed: int
) -> list[Difference]:
    record = first.record
    data = aligned({row.name: row.samples for row in (first, *others)}, metric)
    lower = find_protocol(record.protocol).metrics[metric].better == "lower"
    groups = [("overall", record.overall.key), *(("condition", group.key) for group in record.conditions)]
    groups += [("breakdown", group.key) for group in record.breakdowns] if breakdowns else []
    kinds = [kind for kind, _ in groups]
    resamples = enough(resamples, max(kinds.count(kind) for kind in KINDS) * len(others))
    found = [
        one
        for kind, key in groups
        for one in _of_group(
            data.of(members(data.people, key, record.ranking_suite)), kind, key, metric, record, resamples, seed
        )
    ]
    adjusted: dict[str, float] = {}
    for kind in KINDS:
        p_values = {str(place): one.p for place, one in enumerate(found) if one.kind == kind and one.p is not None}
        # overall is one question per method, not a family of them
        adjusted |= p_values if kind == "overall" else holm(p_values)
    done = [_judged(one, adjusted.get(str(place)), lower) for place, one in enumerate(found)]
    return sorted(done, key=lambda one: data.methods.index(one.method))


def _of_group(
    data: Aligned, kind: str, key: GroupKey, metric: str, record: ScoreRecord, resamples: int, seed: int
) -> list[Difference]:
    errors, clusters = data.errors, data.clusters
    reference = errors[:, 0]
    columns = {name: errors[:, place] - reference for place, name in enumerate(data.methods) if place}
    # the same stream for every group: equal people are resampled alike
    results = paired_differences(columns, clusters, generator(seed, "compare"), n_resamples=resamples) if len(errors) else {}
    found = []
    for place, name in enumerate(data.methods):
        if not place:
            continue
        both = ~np.isnan(columns[name])
        people, groups = int(both.sum()), len(set(clusters[both]))
        shown = people >= record.minimum_people and name in results
        numbers = dict.fromkeys(("reference_mean", "method_mean", "difference", "low", "high", "p"), np.nan)
        if shown:
            (estimate, low, high, *_), p = results[name]
            means = {"reference_mean": reference[both].mean(), "method_mean": errors[both, place].mean()}
            numbers |= {**means, "difference": estimate, "low": low, "high": high, "p": p}
        found.append(
            Difference(
                method=name,
                reference=data.methods[0],
                metric=metric,
                kind=kind,
                by=key[0],
                suite=key[1],
                group=key[2],
                people=people,
                clusters=groups,
                few=few(people, groups),
                p_holm=None,
                verdict=UNDECIDED,
                **{name: None if np.isnan(number) else float(number) for name, number in numbers.items()},
            )
        )
    return found


def _judged(one: Difference, p_holm: float | None, lower: bool) -> Difference:
    verdict = UNDECIDED
    if p_holm is not None and p_holm < ALPHA and one.difference is not None and one.difference != 0.0:
        verdict = BETTER if (one.difference < 0.0) == lower else WORSE
    return one._replace(p_holm=p_holm, verdict=verdict)
