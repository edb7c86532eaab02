"""Scoring a submission: metrics per person, then means with intervals, overall and by group.

Conventions
-----------
Ranking suite
    The suites of a split show the same photos under different conditions. Pooling them would count a photo many times over
    and make the overall number depend on how many suites there are. Overall numbers and breakdowns are therefore those of one
    suite: ``mixed``, which is stratified over all axes; where it is absent ``canonical``, else the first by name. Every suite
    and condition is reported beside it.
Intervals
    95 % (BCa) from a bootstrap over ``cluster_id``. Every group starts from the same stream of random numbers, so groups of the
    same photos are resampled alike. Metrics over the set (average precision) have no interval.
Small groups
    A metric over fewer than :data:`MINIMUM_PEOPLE` people shows how many they are and no number.
Human
    The word ``human`` in the place of a file scores the annotators: each annotation is taken in turn as a prediction of the
    others, so it is compared with one annotation less than a predictor is. ``./human`` is a file of that name. Protocols that
    score heatmaps alone have no human row.
Errors of every person
    The table beside a record holds, besides the metrics, the group of each person in every breakdown (``group_<breakdown>``),
    so that groups can be compared, and results joined over training seeds, without the dataset.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from leaderboard.people import Labels, answers_of, frame_of, key_of, parts, people_of
from leaderboard.protocols import PRIMARY, PRIMARY_RAD, PROTOCOLS, Protocol, find_protocol
from leaderboard.records import GROUP_PREFIX, Estimate, GroupScores, ScoreRecord, samples_digest, write_record
from leaderboard.rotations import rotation_metrics
from leaderboard.submissions import checked
from srgaze360.bootstrap import Interval, cluster_bootstrap
from srgaze360.console import Advance, silent
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import digest, generator
from srgaze360.groups import BREAKDOWNS, breakdown_labels
from srgaze360.photo_labels import PhotoLabels
from srgaze360.predictions import PredictorCard
from srgaze360.protocols import breakdown, spherical
from srgaze360.sphere import BoolArray, FloatArray
from srgaze360.versions import code_revision, environment

__all__ = ["HUMAN", "PRIMARY", "PRIMARY_RAD", "PROTOCOLS", "ranking_suite", "score_file"]

HUMAN = "human"
RANKING_SUITES = ("mixed", "canonical")
MINIMUM_PEOPLE = 10
_OF_POINTS = {"sphere": "the spherical protocol", "photo": "the gazefollow protocol"}
_OTHER_FRAME = {
    "sphere": "Expected a built dataset for the {} protocol, found a source of photos. Build one from it, or give --protocol "
    "gazefollow or videoattentiontarget.",
    "photo": "Expected a source of photos (--data KIND=DIR, such as gazefollow=DIR) for the {} protocol, which scores points "
    "in photos, found a built dataset. Give the source, or leave --protocol out.",
}
CONFIDENCE = 0.95


class Scored(NamedTuple):
    """What is scored: whose predictions, from which file, made with what, on which rows; each metric and in-frame score."""

    protocol: Protocol
    card: PredictorCard
    file_digest: str
    predicted_with: dict[str, str]
    rows: Labels
    metrics: dict[str, FloatArray]
    in_frame_score: FloatArray | None
    notes: list[str]


def score_file(
    file: str | Path,
    data: Labels,
    split: str,
    out: Path,
    *,
    suite: str | None = None,
    protocol: str = "spherical",
    resamples: int = 2000,
    seed: int = 0,
    advance: Advance = silent,
) -> ScoreRecord:
    """Score a predictions file, or the annotators themselves, and write the record.

    Parameters
    ----------
    file
        A predictions file, or the word ``human``.
    data
        The whole dataset; for a planar protocol, the people of a source of photos.
    split, suite
        What to score; all suites of the split by default, which is what a board needs.
    out
        ``RESULT.json``; the per-person errors go to ``RESULT.samples.parquet`` beside it.
    protocol
        Metric protocol.
    resamples, seed
        Bootstrap replicates, and the seed that they are a function of.
    advance
        Called with the number of people scored since the last call.

    Raises
    ------
    CheckFailed
        The submission has faults; all are listed.
    InputError
        The file cannot be read; split, suite or protocol is unknown, or the protocol is of the other frame; the protocol needs
        heatmaps and the file has none; nobody has two annotations, or the protocol has no human row (``human``).
    """
    rules = find_protocol(protocol)
    if rules.frame != frame_of(data):
        raise InputError(_OTHER_FRAME[rules.frame].format(protocol))
    if out.suffix != ".json":
        raise InputError(f"Expected a name that ends in .json for the record of a score, found {out.name}. Rename it.")
    started = time.perf_counter()
    human = str(file) == HUMAN
    if human:
        scored = _score_human(rules, data.select(split=split, suite=suite), advance)
    else:
        scored = _score_predictions(rules, Path(file), data, split, suite, advance)
    rows = scored.rows
    if isinstance(rows, PhotoLabels) and rows.unused:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(rows.unused.items()))
        scored.notes.append(f"Rows of the source that are not scored: {reasons}.")
    if isinstance(rows, Dataset) and rules.primary == PRIMARY:
        scored.metrics.update(rotation_metrics(rows, scored.metrics[PRIMARY]))
    labels = breakdown_labels(rows)
    samples = rows.annotations[["sample_id", "cluster_id", "suite", "condition"]].assign(
        **{GROUP_PREFIX + by: names for by, names in labels.items()}, **scored.metrics
    )
    ranking = ranking_suite(rows)
    groups = list(_groups(rows, ranking, labels))
    by_name = {name: [_group_scores(scored, g, resamples, seed) for g in groups if g.kind == name] for name in _KINDS}
    record = ScoreRecord(
        kind="human" if human else "predictions",
        protocol=protocol,
        protocol_version=rules.version,
        dataset=key_of(data),
        split=split,
        suite=suite,
        ranking_suite=ranking,
        predictor=scored.card,
        predictions_digest=scored.file_digest,
        samples_digest=samples_digest(samples),
        people=len(rows),
        clusters=_clusters(rows.annotations),
        split_people=len(data.select(split=split)),
        overall=by_name["overall"][0],
        suites=by_name["suite"],
        conditions=by_name["condition"],
        breakdowns=by_name["breakdown"],
        resamples=resamples,
        confidence=CONFIDENCE,
        seed=seed,
        minimum_people=MINIMUM_PEOPLE,
        notes=scored.notes,
        versions=environment(),
        predicted_with=scored.predicted_with,
        revision=code_revision(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=round(time.perf_counter() - started, 3),
    )
    write_record(out, record, samples)
    return record


def ranking_suite(rows: Labels) -> str:
    """The suite whose numbers rank: ``mixed``, else ``canonical``, else the first by name."""
    return next((suite for suite in RANKING_SUITES if suite in rows.suites), rows.suites[0])


# --- per person -------------------------------------------------------------------------------------------------------


def _score_predictions(protocol: Protocol, path: Path, data: Labels, split: str, suite: str | None, advance: Advance) -> Scored:
    submission = checked(path, data, split, suite)
    predictions, rows = submission.predictions, submission.data
    if protocol.needs_heatmaps and predictions.heatmaps is None:
        raise InputError(
            f"Expected heatmaps in {path}, because the {protocol.name} protocol scores the arg-max of heatmaps, found points "
            f"alone. Submit heatmaps, or score under {_OF_POINTS[protocol.frame]}."
        )
    people, answers = people_of(rows), answers_of(predictions)
    metrics = []
    for part in parts(len(rows)):
        metrics.append(protocol.score(people.part(part), answers.part(part)))
        advance(part.stop - part.start)
    in_frame = predictions.table.get("in_frame_score")
    card = predictions.header.predictor
    return Scored(
        protocol,
        card,
        submission.file_digest,
        predictions.header.versions,
        rows,
        _joined(metrics),
        None if in_frame is None else in_frame.to_numpy(dtype=np.float64),
        submission.notes,
    )


def _score_human(protocol: Protocol, rows: Labels, advance: Advance) -> Scored:
    if protocol.human is None:
        raise InputError(
            f"The {protocol.name} protocol has no human row: it scores heatmaps, which annotators do not give, or people with "
            f"one annotation. Score `human` under {_OF_POINTS[protocol.frame]}."
        )
    people = people_of(rows)
    found = []
    for part in parts(len(rows)):
        found.append(protocol.human(people.part(part)))
        advance(part.stop - part.start)
    metrics = _joined(found)
    several = int(np.count_nonzero(~np.isnan(metrics[protocol.primary])))
    if not several:
        raise InputError(
            f"Expected people with two or more annotations in {rows.root}, to score each annotation against the others, found "
            "none. This dataset cannot have a human row."
        )
    card = PredictorCard(
        name=HUMAN,
        summary="Annotators: each annotation in turn predicts the others; mean over the annotations of a person.",
        source="the annotations of the dataset",
    )
    note = (
        f"Human row: {several} of {len(rows)} people have two or more annotations. The consensus is that of the others, so it "
        "rests on one annotation less than for predictors."
    )
    return Scored(protocol, card, digest([HUMAN, key_of(rows).digest]), {}, rows, metrics, None, [note])


def _joined(parts: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# --- by group ---------------------------------------------------------------------------------------------------------

_KINDS = ("overall", "suite", "condition", "breakdown")


class _Group(NamedTuple):
    """People who are scored together. ``kind`` is one of :data:`_KINDS`, ``by`` names the grouping, ``chosen`` is (n,)."""

    kind: str
    by: str
    suite: str
    name: str
    chosen: BoolArray


def _groups(rows: Labels, ranking: str, labels: Mapping[str, breakdown.Labels]) -> Iterator[_Group]:
    """Every group that is reported: the ranking suite, suites, conditions, and breakdowns of the ranking suite."""
    table = rows.annotations
    in_suite = {suite: (table["suite"] == suite).to_numpy() for suite in rows.suites}
    yield _Group("overall", "overall", ranking, "overall", in_suite[ranking])
    for suite in rows.suites:
        yield _Group("suite", "suite", suite, suite, in_suite[suite])
    for suite, condition in sorted(rows.conditions, key=lambda pair: _recipe_order(rows, *pair)):
        yield _Group("condition", "condition", suite, condition, in_suite[suite] & (table["condition"] == condition).to_numpy())
    for by, found in labels.items():
        order = BREAKDOWNS[by].order
        for name in sorted(set(found)) if order is None else order:
            yield _Group("breakdown", by, ranking, name, in_suite[ranking] & (found == name))


def _recipe_order(rows: Labels, suite: str, condition: str) -> tuple[str, int, str]:
    """Key that sorts conditions by suite and, within it, as the recipe lists them."""
    listed = rows.info.suites.get(suite, []) if isinstance(rows, Dataset) else []
    return suite, listed.index(condition) if condition in listed else len(listed), condition


def _clusters(table: pd.DataFrame) -> int:
    return int(table["cluster_id"].nunique())


def _group_scores(scored: Scored, group: _Group, resamples: int, seed: int) -> GroupScores:
    rows = scored.rows.annotations[group.chosen]
    values = {name: column[group.chosen] for name, column in scored.metrics.items()}
    rng = generator(seed, "bootstrap")
    intervals = cluster_bootstrap(
        values, rows["cluster_id"].to_numpy(dtype=str), rng, confidence=CONFIDENCE, n_resamples=resamples
    )
    metrics = estimates(intervals)
    if scored.in_frame_score is not None and "in_frame_ap" in scored.protocol.metrics and group.kind != "breakdown":
        inside = rows["in_frame"].to_numpy(dtype=bool)
        # where all targets are inside, or none, there is nothing to find and every order of scores gets the same number
        value = spherical.in_frame_ap(inside, scored.in_frame_score[group.chosen]) if len(set(inside)) == 2 else np.nan
        metrics["in_frame_ap"] = _estimate(value, np.nan, np.nan, len(rows), _clusters(rows))
    return GroupScores(
        by=group.by, suite=group.suite, group=group.name, people=len(rows), clusters=_clusters(rows), metrics=metrics
    )


def estimates(intervals: Mapping[str, Interval]) -> dict[str, Estimate]:
    """Intervals of a group as a record has them: none over few people, and the primary metric in radians beside degrees."""
    metrics: dict[str, Estimate] = {}
    for name, found in intervals.items():
        metrics[name] = _estimate(found.estimate, found.low, found.high, found.n, found.clusters)
        if name == PRIMARY:
            value, low, high = np.radians(found[:3])
            metrics[PRIMARY_RAD] = _estimate(value, low, high, found.n, found.clusters)
    return metrics


def _estimate(value: float, low: float, high: float, people: int, clusters: int) -> Estimate:
    shown = [None if people < MINIMUM_PEOPLE or np.isnan(number) else float(number) for number in (value, low, high)]
    return Estimate(value=shown[0], low=shown[1], high=shown[2], people=people, clusters=clusters)
