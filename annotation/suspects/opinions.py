"""Predictions of several models for the people of a dataset: read, checked, aligned, and whom of them a model was trained on.

Conventions
-----------
A file is a model here, one column (n, M). A file may hold some of the people alone: a split, a suite, a fold; people of train
are covered by models that were not trained on them if there is a file for each fold. A model has *seen* a label if its header
says that it was trained on this dataset, on a split (and a restriction of it) that has somebody of the same cluster: photo,
clip or scene. Text that names the dataset and no split counts as training on all of it. A prediction for a label that the model
has seen tells little, since the model may have learnt the error; it is used for people of whom there is no other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360.dataset import SPLITS, Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.groups import restricted
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, read_predictions
from srgaze360.predictors import dataset_key
from srgaze360.sphere import BoolArray, FloatArray


@dataclass(frozen=True)
class Opinions:
    """Predictions (n, M, 3) of M models for n people, NaN where there is none; ``seen`` (n, M) says who was trained on.

    ``files`` and ``headers`` are those of the models, ``names`` tell them apart.
    """

    files: Sequence[Path]
    headers: Sequence[PredictionHeader]
    names: Sequence[str]
    directions: FloatArray
    seen: BoolArray

    @property
    def given(self) -> BoolArray:
        """(n, M) whether a model says something of a person."""
        return np.asarray(np.isfinite(self.directions).all(axis=-1))

    @property
    def asked(self) -> BoolArray:
        """(n, M) whether a prediction is used: those of models that have not seen the label, where there are any."""
        fresh = self.given & ~self.seen
        return np.asarray(np.where(fresh.any(axis=1, keepdims=True), fresh, self.given))

    @property
    def only_seen(self) -> BoolArray:
        """(n,) people of whom only models speak that were trained on them."""
        return np.asarray(self.given.any(axis=1) & ~(self.given & ~self.seen).any(axis=1))


def read_opinions(files: Sequence[Path], data: Dataset, people: Dataset) -> Opinions:
    """Read predictions files for ``people``, some or all rows of ``data``.

    Raises
    ------
    InputError
        A file cannot be read, is for another dataset or for photos, has faults, has nobody of the people, or says exactly what
        another one does.
    """
    ids = pd.Index(people.annotations["sample_id"])
    found = [read_predictions(file) for file in files]
    directions = np.stack([_aligned(file, one, data, ids) for file, one in zip(files, found, strict=True)], axis=1)
    headers = [one.header for one in found]
    names = _names(files, [header.predictor for header in headers])
    _refuse_repeated(files, directions)
    seen = np.stack([trained_on(header.predictor, data, people) for header in headers], axis=1)
    return Opinions(files, headers, names, directions, seen & np.isfinite(directions).all(axis=-1))


def _aligned(file: Path, predictions: Predictions, data: Dataset, ids: pd.Index) -> FloatArray:
    """Directions (n, 3) of a file in the order of ``ids``, NaN where it has nothing."""
    header, key = predictions.header, dataset_key(data)
    if header.frame != "sphere":
        raise InputError(
            f"Expected predictions on the sphere in {file}, found frame {header.frame!r}. Predict on the dataset, not "
            "on photos."
        )
    if header.dataset != key:
        other = header.dataset
        raise InputError(
            f"Expected predictions for {key.name} {key.version} (label digest {key.digest[:12]}) in {file}, found some for "
            f"{other.name} {other.version} ({other.digest[:12]}). Predict again on the dataset in {data.root}, or give the "
            "dataset that was predicted on."
        )
    rows = predictions.table["sample_id"]
    faults = [*_faults(predictions, rows, pd.Index(data.annotations["sample_id"]))]
    if faults:
        raise InputError(
            f"Expected predictions without fault in {file}, found {'; '.join(faults)}. `srgaze360 submission check {file} "
            f"--data {data.root} --split {header.split}` lists all of them; mend them, or predict again."
        )
    place = pd.Index(rows).get_indexer(ids)
    if not (place >= 0).any():
        raise InputError(
            f"Expected predictions for some of the {len(ids)} people in {file}, found {len(rows)} for others (split "
            f"{header.split!r}: {first_ids(rows)}). Choose the split or suite that was predicted, or predict this one."
        )
    return np.asarray(np.where((place >= 0)[:, None], predictions.directions[place], np.nan))


def _faults(predictions: Predictions, rows: pd.Series, known: pd.Index) -> Iterator[str]:
    """What is wrong with the rows of a file, in words."""
    lon, lat = predictions.points.T
    with np.errstate(invalid="ignore"):
        inside = (np.abs(lon) <= 180.0) & (np.abs(lat) <= 90.0)  # not NaN either
    for what, wrong in (
        ("ids that the dataset does not have", ~rows.isin(known)),
        ("ids with several rows", rows.duplicated()),
        ("longitudes or latitudes out of range, or none", pd.Series(~inside)),
    ):
        if wrong.any():
            yield f"{int(wrong.sum())} {what} ({first_ids(rows[wrong])})"


def _refuse_repeated(files: Sequence[Path], directions: FloatArray) -> None:
    """Two models that say exactly the same are one: their agreement would be no evidence."""
    for second in range(len(files)):
        for first in range(second):
            both = np.isfinite(directions[:, [first, second]]).all(axis=(1, 2))
            if both.sum() > 1 and np.array_equal(directions[both, first], directions[both, second]):
                raise InputError(
                    f"Expected predictions of different models, found the same directions for {both.sum()} people in "
                    f"{files[first]} and {files[second]}. Their agreement would say nothing: leave one of them out."
                )


def _names(files: Sequence[Path], cards: Sequence[PredictorCard]) -> list[str]:
    """Names that tell models apart: the predictor's, with its seed or else the file where that is needed."""
    names, seeds = Counter(card.name for card in cards), Counter((card.name, card.seed) for card in cards)
    told = [
        card.name if names[card.name] == 1
        else f"{card.name} (seed {card.seed})" if seeds[card.name, card.seed] == 1
        else f"{card.name} ({file.stem})"
        for file, card in zip(files, cards, strict=True)
    ]  # fmt: skip
    times = Counter(told)
    return [name if times[name] == 1 else f"{name} {place}" for place, name in enumerate(told, 1)]


# --- what a model was trained on --------------------------------------------------------------------------------------


def trained_on(card: PredictorCard, data: Dataset, people: Dataset) -> BoolArray:
    """Whose cluster (n,) of ``people`` a model was trained on, by what its card says."""
    splits = set().union(*(_splits_named(text, data.info.name) for text in card.training_data))
    rows = data.annotations
    learnt = Dataset(data.root, data.info, rows[rows["split"].isin(splits)].reset_index(drop=True))
    if card.training is not None and card.training.where and len(learnt):
        learnt = restricted(learnt, card.training.where)
    clusters: NDArray[np.bool_] = people.annotations["cluster_id"].isin(set(learnt.annotations["cluster_id"])).to_numpy()
    return clusters


def _splits_named(text: str, dataset: str) -> set[str]:
    """Splits of a dataset that a text on training data names: all if it names the dataset alone, none if not even that."""
    words = set(re.findall(r"[\w.+-]+", text.partition(" where ")[0].casefold()))
    if not re.search(rf"(?<![\w-]){re.escape(dataset.casefold())}(?![\w-])", text.casefold()):
        return set()
    return words & set(SPLITS) or set(SPLITS)
