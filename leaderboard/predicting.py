"""Running a predictor on a split of a dataset and writing what it says.

Conventions
-----------
People on one panorama are asked about together, so that a predictor can read the panorama once; the file has the rows in the
order of the annotations. Directions are unit vectors inside, degrees in the file. Each heatmap is a density at any scale: it
is scaled to maximum 1 before it becomes float16, whose largest number is 65504. What a predictor returns is checked here,
where its name is known, so that a fault is not found in a file hours later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360 import sphere
from srgaze360.console import Advance, silent
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.predictions import HEATMAP_SHAPE, PredictionHeader, Predictions, PredictorCard, write_predictions
from srgaze360.predictors import Guess, Predictor, Query, concatenate, dataset_key, open_predictor
from srgaze360.versions import environment

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PredictionSummary:
    """What :func:`predict_split` did: the file, whose predictions, how many, with heatmaps or not, and how long it took."""

    path: Path
    predictor: PredictorCard
    people: int
    panoramas: int
    heatmaps: bool
    seconds: float

    @property
    def people_per_second(self) -> float:
        """Throughput, image reading included."""
        return self.people / max(self.seconds, 1e-9)


def predict_split(
    model: str,
    data: Dataset,
    split: str,
    out: Path,
    *,
    suite: str | None = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    cache: Path | None = None,
    advance: Advance = silent,
) -> PredictionSummary:
    """Run a predictor on a split and write ``predictions.parquet``.

    Parameters
    ----------
    model
        Name of a registered predictor, or folder of a training run.
    data
        The whole dataset.
    split, suite
        Which rows to predict; all suites of the split by default, which is what a board needs.
    out
        File to write.
    seed
        Seed of predictors that draw random numbers; a training run brings its own.
    batch_size
        Largest number of people given to the predictor at once.
    device
        Where a predictor that computes on a device does so; ``auto`` is a GPU where there is one.
    cache
        Folder in which predictors keep what they prepare from panoramas, for others that are asked the same.
    advance
        Called with the number of people done since the last call.

    Raises
    ------
    InputError
        The model, split or suite is unknown, or the predictor returns something that is not a prediction.
    """
    if batch_size < 1:
        raise InputError(f"Expected a batch size of 1 or more, found {batch_size}. Leave --batch-size out for the default.")
    rows = data.select(split=split, suite=suite)
    predictor, card = open_predictor(model, seed, device)
    unknown = [name for name in card.reads if name not in rows.annotations.columns]
    if unknown:
        raise InputError(
            f"Predictor {card.name!r} reads the columns {first_ids(card.reads)}, but dataset {data.root} lacks "
            f"{first_ids(unknown)}. Use a dataset that has them, or another predictor."
        )
    predictor.cache = cache
    started = time.perf_counter()
    guess = predict_rows(predictor, card, rows, batch_size, advance)
    seconds = time.perf_counter() - started
    device = str(getattr(predictor, "device", "cpu"))  # what computes on none computes here
    write_predictions(out, _as_predictions(guess, rows, split, card, data, device))
    panoramas = int(rows.annotations["panorama_id"].nunique())
    return PredictionSummary(out, card, len(rows), panoramas, guess.heatmaps is not None, seconds)


def predict_rows(predictor: Predictor, card: PredictorCard, rows: Dataset, batch_size: int, advance: Advance = silent) -> Guess:
    """Predict every row of ``rows``; the answer is in their order, its heatmaps float16 with maximum 1."""
    queries = [Query.of(sample, card.reads) for sample in rows.samples()]
    panoramas = rows.annotations["panorama_id"].to_numpy(dtype=str)
    order = np.argsort(panoramas, kind="stable")
    asked_together = [[queries[index] for index in order[batch]] for batch in batches(panoramas[order], batch_size)]
    guesses: list[Guess] = []
    for asked, guess in zip(asked_together, predictor.predict_batches(asked_together), strict=True):
        guesses.append(usable(guess, asked, card.name))
        if _layout(guesses[-1]) != _layout(guesses[0]):
            raise InputError(
                f"Predictor {card.name!r} must return heatmaps of one shape and in-frame scores for all people or none, but "
                f"its batches differ, first at {first_ids(query.sample_id for query in asked)}. Mend the predictor."
            )
        advance(len(asked))
    joined = concatenate(guesses)
    back = np.argsort(order)
    maps, scores = (None if part is None else part[back] for part in (joined.heatmaps, joined.in_frame_scores))
    return Guess(joined.directions[back], maps, scores)


def _layout(guess: Guess) -> tuple[object, bool]:
    return None if guess.heatmaps is None else guess.heatmaps.shape[1:], guess.in_frame_scores is None


def batches(panoramas: NDArray[np.str_], size: int) -> Iterator[slice]:
    """Cut sorted rows into slices of at most ``size`` that split a panorama only where it has more people than that."""
    starts = np.flatnonzero(np.r_[True, panoramas[1:] != panoramas[:-1]])
    begin, count = 0, len(panoramas)
    while begin < count:
        end = min(begin + size, count)
        if end < count:
            last = int(starts[np.searchsorted(starts, end, side="right") - 1])
            end = last if last > begin else end
        yield slice(begin, end)
        begin = end


def usable(guess: Guess, asked: Sequence[Query], name: str) -> Guess:
    """The guess for a batch, checked: directions of exact unit length, heatmaps in storage form.

    Raises
    ------
    InputError
        A shape is wrong or a value is not one a prediction can have; the message names the predictor and the samples.
    """
    n = len(asked)
    ids = np.array([query.sample_id for query in asked])

    def require(right: NDArray[np.bool_], what: str) -> None:
        if not right.all():
            raise InputError(
                f"Predictor {name!r} must return {what}; its answers for {np.count_nonzero(~right)} of {n} people of a batch "
                f"are not: {first_ids(ids[~right])}. Mend the predictor."
            )

    directions = _array(guess.directions, (n, 3), name, "directions")
    require(np.isfinite(directions).all(axis=1), "finite directions")
    require(np.abs(np.linalg.norm(directions, axis=1) - 1.0) <= UNIT_TOLERANCE, "directions of unit length")
    scores, maps = guess.in_frame_scores, guess.heatmaps
    if scores is not None:
        scores = _array(scores, (n,), name, "in-frame scores")
        require((scores >= 0.0) & (scores <= 1.0), "in-frame scores in [0, 1]")
    if maps is not None:
        height = np.shape(maps)[1] if np.ndim(maps) == 3 else HEATMAP_SHAPE[0]
        maps = _array(maps, (n, height, 2 * height), name, "equirectangular heatmaps")
        require(np.isfinite(maps).all(axis=(1, 2)), "finite heatmaps")
        require(maps.min(axis=(1, 2)) >= 0.0, "heatmaps without negative values")
        require(maps.max(axis=(1, 2)) > 0.0, "heatmaps that are not zero everywhere")
        maps = storable(maps)
        require(maps.max(axis=(1, 2)) > maps.min(axis=(1, 2)), "heatmaps that are not constant, once stored as float16")
    return Guess(sphere.normalise(directions), maps, scores)


def _array(values: Any, shape: tuple[int, ...], name: str, what: str) -> NDArray[Any]:  # noqa: ANN401 - predictors return anything
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise InputError(
            f"Predictor {name!r} must return {what} as numbers of shape {shape}, found shape {array.shape} and type "
            f"{array.dtype}. Mend the predictor."
        )
    return array


def storable(heatmaps: NDArray[Any]) -> NDArray[np.float16]:
    """Heatmaps (n, H, W) scaled to maximum 1, as float16; one that has no maximum above 0 is left as it is."""
    heatmaps = np.asarray(heatmaps, dtype=np.float64)
    most = heatmaps.max(axis=(1, 2), keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):  # what is no density is for a check to find
        return np.asarray(heatmaps / np.where(most > 0.0, most, 1.0), dtype=np.float16)


def _as_predictions(guess: Guess, rows: Dataset, split: str, card: PredictorCard, data: Dataset, device: str) -> Predictions:
    lon, lat = sphere.lonlat_from_direction(guess.directions)
    table = pd.DataFrame(
        {
            "sample_id": rows.annotations["sample_id"].to_numpy(),
            "gaze_lon_deg": np.degrees(lon),
            "gaze_lat_deg": np.degrees(lat),
        }
    )
    if guess.in_frame_scores is not None:
        table["in_frame_score"] = np.asarray(guess.in_frame_scores, dtype=np.float64)
    shape = HEATMAP_SHAPE if guess.heatmaps is None else (guess.heatmaps.shape[1], guess.heatmaps.shape[2])
    versions = {**environment(), "device": device}
    header = PredictionHeader(dataset=dataset_key(data), split=split, predictor=card, heatmap_shape=shape, versions=versions)
    return Predictions(header, table, guess.heatmaps)
