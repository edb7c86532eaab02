"""Queries and planted targets, for tests of predictors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from baselines.training.runs import train_predictor
from srgaze360 import heatmaps, sphere
from srgaze360.dataset import Dataset
from srgaze360.predictors import PREDICTORS, Predictor, Query, TrainingJob, open_predictor

BRIEFLY = {
    "data": {"height": 128, "crop": 16},
    "train": {"steps": 1, "panoramas": 2, "validations": 1, "cache": False},
}
REPOSITORY = Path(__file__).resolve().parent.parent
SHAPE = (heatmaps.HEIGHT, heatmaps.WIDTH)
TRIVIAL = ["centre", "head-prior", "latitude-prior", "random", "region-chance"]
KERNEL_KAPPA = float(1.0 / np.radians(5.0) ** 2)


def query(sample_id: str, head: Any = (0.0, 0.0, 1.0), **extra: Any) -> Query:
    return Query(sample_id, Path("no-such-panorama.jpg"), np.asarray(head, dtype=np.float64), (0.4, 0.4, 0.6, 0.6), 0.1, extra)


def queries_of(data: Dataset, reads: tuple[str, ...]) -> list[Query]:
    return [Query.of(sample, reads) for sample in data.samples()]


def job_on(data: Dataset) -> TrainingJob:
    """A job for predictors that keep nothing on disk while they train."""
    return TrainingJob(data, Path("no-such-run"))


def ready(name: str, data: Dataset, folder: Path) -> Predictor:
    """A predictor that can predict; trained on the fake train split if it must be, a network as briefly as can be."""
    kind = PREDICTORS.get(name)
    if not kind.trained:
        return open_predictor(name, seed=3)[0]
    train_predictor(name, data, folder / name, settings=BRIEFLY if hasattr(kind, "network") else None)
    return open_predictor(str(folder / name))[0]


def with_targets(data: Dataset, heads: np.ndarray, targets: np.ndarray) -> Dataset:
    """The first rows of the train split, with planted heads and targets."""
    rows = data.select(split="train").annotations
    rows = rows.iloc[np.arange(len(heads)) % len(rows)].reset_index(drop=True).copy()
    rows["sample_id"] = [f"planted-{index}" for index in range(len(heads))]
    for prefix, directions in (("head", heads), ("gaze", targets)):
        lon, lat = sphere.lonlat_from_direction(directions)
        rows[f"{prefix}_lon_deg"], rows[f"{prefix}_lat_deg"] = np.degrees(lon), np.degrees(lat)
    return replace(data, annotations=rows)


def on_the_sphere(rng: np.random.Generator, n: int) -> np.ndarray:
    return sphere.normalise(rng.normal(size=(n, 3)))


def in_chunks(predictor: Predictor, queries: list[Query], size: int = 500) -> np.ndarray:
    return np.concatenate([predictor.predict(queries[i : i + size]).directions for i in range(0, len(queries), size)])
