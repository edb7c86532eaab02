"""Qualitative panels: what methods answered for the best, the median and the worst person of the first of them, and at random.

Conventions
-----------
Best, median and worst are over the people of one suite whose target is known, by the angular distance of the first method or
another metric of the ``spherical`` protocol. Equal scores are in the order of their sample ids; of two people in the middle the
better one is the median. Who is drawn at random follows from the seed and the ids. What is drawn, and how, is said in
:mod:`leaderboard.panel_figure`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaderboard.panel_figure import COLOURS, DPI, TYPE, Chosen, Method, Panels, panels_figure
from leaderboard.plots import save_drawn
from leaderboard.protocols import PRIMARY
from leaderboard.scoring import ranking_suite
from leaderboard.submissions import Submission, checked
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.drawing import style
from srgaze360.errors import InputError, suggestion
from srgaze360.files import generator
from srgaze360.predictions import PredictorCard
from srgaze360.protocols import spherical
from srgaze360.protocols.ragged import consensus

NAME = "panels"
BEST, MEDIAN, WORST, RANDOM = "best", "median", "worst", "random"
# what can order people: everything that a person has a value of
ORDERS = {name: metric for name, metric in spherical.METRICS.items() if metric.aggregation == "mean over samples"}


def draw_panels(
    files: Sequence[Path],
    data: Dataset,
    split: str,
    out: Path,
    *,
    suite: str | None = None,
    by: str = PRIMARY,
    random: int = 1,
    seed: int = 0,
    heatmap: bool = False,
) -> list[Path]:
    """Draw ``panels.png`` and ``panels.svg`` into folder ``out``, with what they show as ``panels.csv``.

    Parameters
    ----------
    files
        Predictions files of one to six methods; the first one decides who is best, median and worst.
    data, split, suite
        The dataset, its split, and the suite: the one that ranks where it is None.
    by
        Metric of the ``spherical`` protocol that orders people.
    random, seed
        How many people are drawn at random, and from which seed.
    heatmap
        Lay the first method's heatmap over the pictures.

    Raises
    ------
    CheckFailed
        A predictions file has faults.
    InputError
        A file cannot be read; there are too many; split, suite or metric is unknown; too few people have a known target;
        heatmaps are needed and not there; a panorama cannot be read.
    """
    panels = read_panels(files, data, split, suite=suite, by=by, random=random, seed=seed, heatmap=heatmap)
    with style(TYPE):
        return save_drawn(panels_figure(panels), out, NAME, DPI)


# --- who is shown -----------------------------------------------------------------------------------------------------


def read_panels(
    files: Sequence[Path],
    data: Dataset,
    split: str,
    *,
    suite: str | None = None,
    by: str = PRIMARY,
    random: int = 1,
    seed: int = 0,
    heatmap: bool = False,
) -> Panels:
    """Read predictions and choose whom to show; arguments and errors as :func:`draw_panels`."""
    if not 1 <= len(files) <= len(COLOURS):
        raise InputError(f"Expected one to {len(COLOURS)} predictions files, found {len(files)}. Draw the others apart.")
    if by not in ORDERS:
        raise InputError(f"Unknown metric {by!r} of a person. {suggestion(by, list(ORDERS))}")
    suite = suite or ranking_suite(data.select(split=split))
    rows = data.select(split=split, suite=suite)
    first = checked(files[0], data, split, suite)
    if first.predictions.heatmaps is None and (heatmap or ORDERS[by].needs == "heatmap"):
        why = "to lay over the pictures" if heatmap else f"for {by}"
        raise InputError(f"Expected heatmaps in {files[0]} {why}, found points alone. Put a file that has them first.")
    cards, methods = [first.predictions.header.predictor], [_method(files[0], first, rows)]
    for file in files[1:]:
        other = checked(file, data, split, suite)
        cards.append(other.predictions.header.predictor)
        methods.append(_method(file, other, rows))
    methods = [method._replace(label=label) for method, label in zip(methods, _labels(files, cards), strict=True)]
    score = methods[0].distances if by == PRIMARY else _score(first, rows, by)
    order = np.where(np.isnan(methods[0].distances), np.nan, score if ORDERS[by].better == "lower" else -score)
    chosen = choose(order, rows.annotations["sample_id"].tolist(), random, seed)
    truth = rows.truth()
    targets = consensus(truth.points, truth.weights)
    places = [one.place for one in chosen]
    humans = spherical.leave_one_out_human(truth.points[places], truth.weights[places])[PRIMARY].tolist()
    return Panels(rows, targets, methods, by, score, chosen, humans, first.predictions.heatmaps if heatmap else None)


def choose(scores: sphere.FloatArray, ids: Sequence[str], random: int, seed: int) -> list[Chosen]:
    """Best, median and worst of ``scores`` (n,), lower is better, NaN for people not to be shown; ``random`` others at random.

    Raises
    ------
    InputError
        Fewer people have a score than are to be shown.
    """
    known = sorted(np.flatnonzero(~np.isnan(scores)).tolist(), key=lambda place: (scores[place], ids[place]))
    if len(known) < 3 + random:
        raise InputError(
            f"Expected at least {3 + random} people with a known target to show (best, median, worst and {random} at random), "
            f"found {len(known)} of {len(ids)}. Choose a split and suite that have them, or a smaller --random."
        )
    shown = [Chosen(why, known[at]) for why, at in ((BEST, 0), (MEDIAN, (len(known) - 1) // 2), (WORST, len(known) - 1))]
    left = sorted(set(known) - {one.place for one in shown}, key=lambda place: ids[place])
    drawn = generator(seed, "panels").permutation(len(left))[:random]
    return shown + [Chosen(RANDOM, left[at]) for at in drawn.tolist()]


def _labels(files: Sequence[Path], cards: Sequence[PredictorCard]) -> list[str]:
    """Names of methods; those of one name by seed, or by file where that does not tell them apart."""
    names, seeds = Counter(card.name for card in cards), Counter((card.name, card.seed) for card in cards)
    return [
        card.name if names[card.name] == 1
        else f"{card.name} (seed {card.seed})" if seeds[card.name, card.seed] == 1
        else f"{card.name} ({file.stem})"
        for file, card in zip(files, cards, strict=True)
    ]  # fmt: skip


def _method(file: Path, submission: Submission, rows: Dataset) -> Method:
    truth = rows.truth()
    directions = submission.predictions.directions
    distances = np.degrees(spherical.angular_distance(directions, truth.points, truth.weights))
    return Method(submission.predictions.header.predictor.name, file, directions, distances)


def _score(submission: Submission, rows: Dataset, by: str) -> sphere.FloatArray:
    truth, predictions = rows.truth(), submission.predictions
    heatmaps = predictions.heatmaps if ORDERS[by].needs == "heatmap" else None
    return spherical.evaluate(predictions.directions, truth.points, truth.weights, heatmaps=heatmaps).per_sample[by]
