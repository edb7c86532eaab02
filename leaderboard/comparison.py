"""Comparing methods on the same people: paired differences, and who cannot be told from the best.

Conventions
-----------
Per-person errors are tables as beside a score record: ``sample_id``, ``cluster_id`` and a column per metric. Methods are
compared on the ids that all of them have; a person without a value under either of two methods is left out of their
comparison. Differences are first - second. Intervals and p values are of a bootstrap over clusters
(:func:`srgaze360.bootstrap.paired_difference`).

The *first group* holds the best method, by mean error, and every method that is not significantly worse: whose difference from
the best has a p value of :data:`ALPHA` or more after Holm's correction over the methods compared (Scandinavian Journal of
Statistics 6, 1979). Being in it is no proof of being equal: with few clusters hardly anything can be told apart, which is why
:func:`few` marks small groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360.bootstrap import PairedDifference, paired_difference, paired_differences
from srgaze360.errors import InputError, first_ids
from srgaze360.sphere import BoolArray, FloatArray

ALPHA = 0.05
RESAMPLES = 2000
REPLICATES_PER_QUESTION = 100
FEW_PEOPLE = 150
FEW_CLUSTERS = 50


class Comparison(NamedTuple):
    """A method against the best: mean of its error - the best's with interval, p value, and p value after Holm."""

    difference: PairedDifference
    adjusted: float


class FirstGroup(NamedTuple):
    """Who is first on a set of people.

    ``members`` are the best method and those not significantly worse, by mean error; ``against`` holds the comparison of every
    other method with the best. ``people`` in ``clusters`` have a value under every method.
    """

    best: str
    members: tuple[str, ...]
    against: dict[str, Comparison]
    people: int
    clusters: int


def few(people: int, clusters: int) -> bool:
    """Whether a group is too small for its numbers to be leaned on: below 150 people or 50 clusters."""
    return people < FEW_PEOPLE or clusters < FEW_CLUSTERS


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P values after Holm's step-down correction: at most ``ALPHA`` of families with no difference show one.

    The i-th smallest of m, i from 0, is multiplied by m - i; none becomes smaller than the one before it or larger than 1. NaN
    (nothing to compare) stays NaN and does not count.
    """
    order = sorted((name for name in p_values if not np.isnan(p_values[name])), key=lambda name: p_values[name])
    steps = [p_values[name] * (len(order) - place) for place, name in enumerate(order)]
    running = np.minimum(np.maximum.accumulate(np.array(steps, dtype=np.float64)), 1.0)
    found = dict(zip(order, running.tolist(), strict=True))
    return {name: found.get(name, float("nan")) for name in p_values}


def enough(n_resamples: int, questions: int) -> int:
    """Bootstrap replicates for so many questions: the smallest p value, 2 / (B + 1), must be small after a correction, too."""
    return max(n_resamples, REPLICATES_PER_QUESTION * questions)


class Aligned(NamedTuple):
    """Errors (people, methods) of methods on the same people, the cluster (people,) of each person, and what is known of them.

    ``people`` has a row per person, with the columns of the first method's table.
    """

    methods: tuple[str, ...]
    errors: FloatArray
    clusters: NDArray[np.str_]
    people: pd.DataFrame

    def of(self, chosen: BoolArray) -> Aligned:
        """The chosen people (people,) alone."""
        return Aligned(self.methods, self.errors[chosen], self.clusters[chosen], self.people[chosen])


def lined_up(samples: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """The tables of methods on the people that all of them have, in the order of the first.

    Raises
    ------
    InputError
        No method, an id that stands twice, no common id, or a person in two clusters.
    """
    if not samples:
        raise InputError("Expected the per-person errors of at least one method, found none. Give two to compare.")
    ids = [table["sample_id"].to_numpy(dtype=object) for table in samples.values()]
    for name, own in zip(samples, ids, strict=True):
        if len(set(own)) < len(own):
            raise InputError(f"Expected one row per person of {name!r}, found ids that stand twice. Score it again.")
    tables = list(samples.values())
    if not all(np.array_equal(ids[0], other) for other in ids[1:]):
        common = set.intersection(*map(set, ids))
        order = [name for name in ids[0] if name in common]
        tables = [table.set_index("sample_id").loc[order].reset_index() for table in tables]
    if not len(tables[0]):
        raise InputError(f"Expected people that {first_ids(samples)} all have, found none. Compare scores of one dataset.")
    clusters = tables[0]["cluster_id"].to_numpy(dtype=object)
    for name, table in zip(samples, tables, strict=True):
        if not np.array_equal(clusters, table["cluster_id"].to_numpy(dtype=object)):
            raise InputError(f"Expected every person in one cluster, but {name!r} has others. Compare scores of one dataset.")
    return tables


def aligned(samples: Mapping[str, pd.DataFrame], metric: str) -> Aligned:
    """Line up the errors of methods by ``sample_id``, on the people that all of them have, in the order of the first.

    Raises
    ------
    InputError
        See :func:`lined_up`; also where a method lacks the metric.
    """
    lacking = [name for name, table in samples.items() if metric not in table]
    if lacking:
        raise InputError(f"Expected the metric {metric!r} of every method, but {first_ids(lacking)} lack it. Score them again.")
    tables = lined_up(samples)
    errors = np.column_stack([table[metric].to_numpy(dtype=np.float64) for table in tables])
    return Aligned(tuple(samples), errors, tables[0]["cluster_id"].to_numpy(dtype=str), tables[0])


def paired(
    samples_a: pd.DataFrame,
    samples_b: pd.DataFrame,
    metric: str,
    rng: np.random.Generator,
    *,
    confidence: float = 1.0 - ALPHA,
    n_resamples: int = RESAMPLES,
) -> PairedDifference:
    """Mean of a's metric - b's over the people both have, with interval and p value (see :func:`aligned` for errors)."""
    both = aligned({"a": samples_a, "b": samples_b}, metric)
    return paired_difference(
        both.errors[:, 0], both.errors[:, 1], both.clusters, rng, confidence=confidence, n_resamples=n_resamples
    )


def first_group(
    samples: Mapping[str, pd.DataFrame],
    metric: str,
    rng: np.random.Generator,
    *,
    better: Literal["lower", "higher"] = "lower",
    n_resamples: int = RESAMPLES,
) -> FirstGroup | None:
    """Who is first on a set of people: the best method by mean, and those that are not significantly worse.

    Parameters
    ----------
    samples
        Per-person errors of each method; those of several training seeds as their mean.
    metric
        Column that is compared.
    rng
        Source of randomness; one draw is taken.
    better
        Whether small or large values are good.
    n_resamples
        Bootstrap replicates, at least 100; more where there are many methods (:func:`enough`).

    Returns
    -------
    FirstGroup or None
        None where no person has a value under every method.

    Raises
    ------
    InputError
        See :func:`aligned`.
    """
    return first_of(aligned(samples, metric), rng, better=better, n_resamples=n_resamples)


def first_of(
    data: Aligned,
    rng: np.random.Generator,
    *,
    better: Literal["lower", "higher"] = "lower",
    n_resamples: int = RESAMPLES,
) -> FirstGroup | None:
    """As :func:`first_group`, of errors that are lined up already."""
    errors, clusters = data.errors, data.clusters
    known = ~np.isnan(errors).any(axis=1)
    if not known.any():
        return None
    means = errors[known].mean(axis=0) * (1.0 if better == "lower" else -1.0)
    order = np.argsort(means, kind="stable")
    best = order[0]
    differences = {data.methods[place]: errors[:, place] - errors[:, best] for place in order[1:]}
    n_resamples = enough(n_resamples, len(differences))
    found = paired_differences(differences, clusters, rng, confidence=1.0 - ALPHA, n_resamples=n_resamples)
    corrected = holm({name: one.p_value for name, one in found.items()})
    # a comparison without a p value (one cluster) cannot show that a method is worse
    members = [name for name, p in corrected.items() if not p < ALPHA]
    return FirstGroup(
        best=data.methods[best],
        members=(data.methods[best], *members),
        against={name: Comparison(found[name], corrected[name]) for name in found},
        people=int(np.count_nonzero(known)),
        clusters=len(set(clusters[known])),
    )


def mean_over_seeds(tables: Sequence[pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    """Per-person means of metrics over training seeds; NaN where a seed has no value; other columns are the first's.

    Raises
    ------
    InputError
        See :func:`aligned`; also when seeds were scored on different people.
    """
    common = lined_up({f"result {place}": table for place, table in enumerate(tables, start=1)})
    if any(len(table) != len(common[0]) for table in tables):
        counts = ", ".join(str(len(table)) for table in tables)
        raise InputError(
            f"Expected the results of all seeds on the same people, found {counts} people, {len(common[0])} in common. Score "
            "them again."
        )
    means = {metric: np.mean([table[metric].to_numpy(dtype=np.float64) for table in common], axis=0) for metric in metrics}
    return common[0].reset_index(drop=True).assign(**means)
