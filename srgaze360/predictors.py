"""Predictors of gaze: the protocol they follow, the record of a training run, and the registry they are found through.

A predictor sees the panorama, the head, and nothing else. One that reads further columns of the annotations names them in
``reads``; they are handed to it, and every table that shows its scores says so. Nothing is ever fitted on test: a predictor
that is ``trained`` learns from a train split (:meth:`Predictor.train`), is saved as a *run* and predicts from that run.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srgaze360 import sphere
from srgaze360.dataset import Dataset, Sample, explain
from srgaze360.errors import InputError
from srgaze360.files import digest, read_json, write_text
from srgaze360.groups import describe, shortly
from srgaze360.images import UInt8Array, read_panorama
from srgaze360.predictions import MAX_NAME, DatasetKey, PredictorCard, TrainingKey
from srgaze360.registry import Registry

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Query:
    """What a predictor may know of one person: the panorama and the head.

    ``head`` is a unit direction (3,), ``head_box`` (u0, v0, u1, v1) in fractions with u1 > 1 across the seam, ``head_radius``
    radians; ``extra`` holds the columns the predictor declared in ``reads`` and no others.
    """

    sample_id: str
    panorama_path: Path
    head: sphere.FloatArray
    head_box: tuple[float, float, float, float]
    head_radius: float
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sample: Sample, reads: Sequence[str]) -> Query:
        """The part of a sample that a predictor which declares ``reads`` may see."""
        extra = {name: sample.row[name] for name in reads}
        return cls(sample.sample_id, sample.panorama_path, sample.head, sample.head_box, sample.head_radius, extra)

    def panorama(self) -> UInt8Array:
        """Read the panorama: RGB (H, W, 3), uint8."""
        return read_panorama(self.panorama_path)


class Guess(NamedTuple):
    """Predictions for n queries: directions (n, 3); heatmaps (n, H, W), densities per steradian at any scale; scores (n,)."""

    directions: sphere.FloatArray
    heatmaps: NDArray[Any] | None = None
    in_frame_scores: sphere.FloatArray | None = None


@dataclass(frozen=True)
class TrainingJob:
    """What a predictor is trained on and with.

    ``data`` holds the rows of a train split and ``val`` those of the val split (None where the dataset has none): whatever is
    chosen while training, is chosen on ``val``. ``folder`` is the run's: state that lets a stopped training go on is kept
    there. ``settings`` are those of the user (``--set``), nested; ``device`` is ``auto``, ``cpu``, ``cuda`` or ``cuda:1``;
    ``cache`` is a folder that several runs may share for what they prepare from the same dataset, or None.
    """

    data: Dataset
    folder: Path
    seed: int = 0
    val: Dataset | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    cache: Path | None = None


class Predictor(abc.ABC):
    """Base of every predictor. Its class docstring says what it does; the class variables are its card.

    ``inputs`` names what it looks at, in words; ``reads`` the columns it needs beyond what every predictor may see; ``needs``
    says what it cannot do without and does not bring along (pretrained weights), empty for nothing. ``cache`` may be set to a
    folder in which predictors keep what they prepare from panoramas, for others who are asked the same.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[bool] = False
    needs: ClassVar[str] = ""
    cache: Path | None = None

    @abc.abstractmethod
    def predict(self, queries: Sequence[Query]) -> Guess:
        """Predict where each person looks. The answer to a query must not depend on the other queries of the batch."""

    @classmethod
    def untrained(cls, seed: int) -> Self:
        """Make a predictor that needs no training."""
        del seed
        raise InputError(
            f"Predictor {cls.name!r} must be trained first. Run `srgaze360 train {cls.name} --data DIR --out RUN`, then "
            "predict with that folder instead of the name."
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any], device: str) -> None:
        """Raise InputError or EnvironmentProblem where a training could not begin with these; most take anything."""
        del settings, device

    @classmethod
    def card(cls) -> dict[str, Any]:
        """What there is to say of the predictor besides the class variables (sizes, parameters), as JSON values."""
        return {}

    def predict_batches(self, batches: Iterable[Sequence[Query]]) -> Iterator[Guess]:
        """Answer batch after batch, in order; a predictor that can read ahead in other processes does it here."""
        return map(self.predict, batches)

    def place(self, device: str) -> None:
        """Move to a device (``auto``, ``cpu``, ``cuda``, ``cuda:1``); predictors that compute on none ignore it."""
        del device

    @classmethod
    def train(cls, job: TrainingJob) -> Self:
        """Fit to the train split of a job and return the fitted predictor."""
        del job
        raise InputError(f"Predictor {cls.name!r} has nothing to train. Run `srgaze360 predict {cls.name} ...` directly.")

    def facts(self) -> dict[str, Any]:
        """What a record should say of the training (steps, scores on val, seconds ...), as JSON values."""
        return {}

    def save(self, run: Path) -> None:
        """Write what was learnt to folder ``run``."""
        raise InputError(f"Predictor {self.name!r} has nothing to save to {run}.")

    def finish(self, run: Path) -> None:
        """Remove from ``run`` what only a training that goes on would need; called when the run is written."""
        del run

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read what :meth:`save` wrote."""
        raise InputError(f"Predictor {cls.name!r} has nothing to load from {run}.")


class RunRecord(BaseModel):
    """``run.json`` of a training run: which predictor, on what, from which seed.

    ``where`` is what the people of the split were restricted to (:mod:`srgaze360.groups`), empty for all of them; ``people``
    are those that were left. ``settings`` are those of the user that departed from the defaults; ``facts`` what the predictor
    reports of its training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    predictor: str
    seed: int
    dataset: DatasetKey
    split: str
    where: dict[str, list[str]] = Field(default_factory=dict)
    people: int
    settings: dict[str, Any] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str]

    @property
    def key(self) -> TrainingKey:
        """What the run has in common with others of the same predictor, settings, dataset and split."""
        common = [self.predictor, self.settings, self.dataset.model_dump(), self.split]
        return TrainingKey(predictor=self.predictor, digest=digest(common), where=self.where)

    @property
    def name(self) -> str:
        """Name of what was trained: the predictor's, with the restriction where there is one, in 100 letters or fewer."""
        name = f"{self.predictor} ({shortly(self.where)})" if self.where else self.predictor
        return name if len(name) <= MAX_NAME else f"{self.predictor} ({digest(self.where)[:8]})"


PREDICTORS: Registry[type[Predictor]] = Registry("srgaze360.predictors", "predictor")


def dataset_key(data: Dataset) -> DatasetKey:
    """Name, version and label digest of a dataset."""
    return DatasetKey(name=data.info.name, version=data.info.version, digest=data.info.label_digest)


def write_run(run: Path, record: RunRecord, predictor: Predictor) -> None:
    """Save a fitted predictor and its record in folder ``run``."""
    predictor.save(run)
    write_text(run / RUN_FILE, record.model_dump_json(indent=2) + "\n")


def read_run(run: Path, name: str = RUN_FILE) -> RunRecord:
    """Read the record of the training run in folder ``run``."""
    try:
        return RunRecord.model_validate(read_json(run / name, "run record (made by `srgaze360 train`)"))
    except ValidationError as error:
        raise InputError(f"Expected a run record in {run / name}, found: {explain(error)}. Train again.") from None


def open_predictor(model: str, seed: int = 0, device: str = "auto") -> tuple[Predictor, PredictorCard]:
    """Make a predictor ready to predict: ``model`` is a registered name, or the folder of a training run.

    ``device`` is where it computes, if it computes on a device: ``auto`` is a GPU where there is one.

    Returns
    -------
    tuple
        The predictor, and the card that goes into the header of its predictions.
    """
    run = Path(model)
    if (run / RUN_FILE).is_file():
        record = read_run(run)
        kind = PREDICTORS.get(record.predictor)
        data = record.dataset
        only = f" where {describe(record.where)}" if record.where else ""
        training = [f"{data.name} {data.version} ({data.digest[:12]}), {record.split}{only}: {record.people} people"]
        predictor, seed, name, key = kind.load(run), record.seed, record.name, record.key
    elif run.is_dir() and model not in PREDICTORS.names():
        raise InputError(
            f"Expected the name of a predictor or the folder of a training run, found folder {run} without {RUN_FILE}."
        )
    else:
        kind, training, key = PREDICTORS.get(model), [], None
        predictor, name = kind.untrained(seed), kind.name
    card = PredictorCard(
        name=name,
        summary=kind.summary,
        source=kind.source,
        seed=seed,
        training_data=training,
        training=key,
        reads=list(kind.reads),
    )
    predictor.place(device)
    return predictor, card


def concatenate(guesses: Sequence[Guess]) -> Guess:
    """Join the guesses of consecutive batches; heatmaps and scores only if every batch has them."""
    directions = np.concatenate([guess.directions for guess in guesses])
    maps = [guess.heatmaps for guess in guesses if guess.heatmaps is not None]
    scores = [guess.in_frame_scores for guess in guesses if guess.in_frame_scores is not None]
    return Guess(
        directions,
        np.concatenate(maps) if len(maps) == len(guesses) else None,
        np.concatenate(scores) if len(scores) == len(guesses) else None,
    )
