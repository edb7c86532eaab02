"""Suspects of a dataset: evidence of models, annotators and lint for every label, and its quality.

Conventions
-----------
A row of the dataset is a label. The same label of a source stands on the panoramas of several suites: rows of one person of a
source photo share a ``label`` number, so that a list can show each once. Rows whose target has no known direction cannot be
judged, and are counted. In tables angles are degrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.agreement.spread import Spread, spread
from annotation.lint.run import lint
from annotation.suspects.opinions import Opinions, read_opinions
from annotation.suspects.quality import LINT, Opinion, label_quality, opinion
from annotation.suspects.trial import Trial, count, plant
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import generator
from srgaze360.groups import breakdown_labels
from srgaze360.sphere import BoolArray, FloatArray

# What says how hard a label is for models and does not depend on the label. (The arc to the target does.)
HARDNESS = ("head_latitude", "head_radius", "face")
LABEL_RULES = ("heads", "gaze", "copies")  # modules of lint whose rules are about a person's own label
BELOW = 0.05
PERSON = ["source", "source_image", "source_person"]


@dataclass(frozen=True)
class Suspects:
    """Labels (n,) of ``people`` with the evidence for and against each, and their quality; ``order`` is worst first.

    ``findings`` are names of lint rules, ``dispersion`` radians (NaN below two annotations), ``unknown`` the number of rows
    without a direction, ``dataset_findings`` errors of lint that are about the whole dataset.
    """

    people: Dataset
    labels: FloatArray
    opinions: Opinions
    opinion: Opinion
    spread: Spread
    usual_dispersion: float
    findings: Sequence[Sequence[str]]
    quality: FloatArray
    label: NDArray[np.intp]
    below: float
    unknown: int
    dataset_findings: Sequence[str]

    @property
    def order(self) -> NDArray[np.intp]:
        """Rows from the worst to the best; equal ones by id."""
        return np.lexsort((self.people.annotations["sample_id"].to_numpy(dtype=str), self.quality))

    @property
    def suspect(self) -> BoolArray:
        """(n,) whose quality is below the limit."""
        return np.asarray(self.quality < self.below)

    @property
    def dispersion(self) -> FloatArray:
        """Mean angle (n,) of a person's annotations to their mean, radians; NaN below two annotations."""
        return np.where(self.spread.number > 1, self.spread.deviation_mean, np.nan)

    def table(self) -> pd.DataFrame:
        """A row per label, worst first: quality, rank, what they are made of, the consensus of models. Angles in degrees."""
        rows, said = self.people.annotations, self.opinion
        lon, lat = np.degrees(sphere.lonlat_from_direction(said.consensus))
        table = pd.DataFrame(
            {
                "rank": np.argsort(self.order) + 1,
                "quality": self.quality,
                **{name: rows[name] for name in ("sample_id", "panorama_id", "split", "suite", "condition", *PERSON)},
                "gaze_lon_deg": rows["gaze_lon_deg"],
                "gaze_lat_deg": rows["gaze_lat_deg"],
                "consensus_lon_deg": lon,
                "consensus_lat_deg": lat,
                "residual_deg": np.degrees(said.residual),
                "usual_residual_deg": np.degrees(said.scale),
                "models": said.models,
                "in_sample": self.opinions.only_seen,
                "models_spread_deg": np.degrees(said.spread),
                "annotations": self.spread.number,
                "dispersion_deg": np.degrees(self.dispersion),
                "findings": ["; ".join(found) for found in self.findings],
                **{
                    f"residual_deg: {name}": np.degrees(said.residuals[:, place])
                    for place, name in enumerate(self.opinions.names)
                },
            }
        )
        return table.iloc[self.order].reset_index(drop=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what was looked at, every model, and every label, worst first."""
        table = self.table()
        return {
            "dataset": f"{self.people.info.name} {self.people.info.version}",
            "labels": len(table),
            "without_direction": self.unknown,
            "without_predictions": int((self.opinion.models == 0).sum()),
            "in_sample": int(self.opinions.only_seen.sum()),
            "below": self.below,
            "suspects": int(self.suspect.sum()),
            "models": self.models(),
            "dataset_findings": list(self.dataset_findings),
            "people": table.astype(object).where(table.notna(), None).to_dict("records"),
        }

    def models(self) -> list[dict[str, Any]]:
        """Every model: its name and file, what it was trained on, for how many it speaks and is asked, its median residual."""
        given, asked = self.opinions.given, self.opinions.asked
        return [
            {
                "model": name,
                "file": file.name,
                "split": header.split,
                "training_data": list(header.predictor.training_data),
                "predictions": int(given[:, place].sum()),
                "in_sample": int(self.opinions.seen[:, place].sum()),
                "used": int(asked[:, place].sum()),
                "median_residual_deg": _median_deg(self.opinion.residuals[asked[:, place], place]),
            }
            for place, (name, file, header) in enumerate(
                zip(self.opinions.names, self.opinions.files, self.opinions.headers, strict=True)
            )
        ]


def _median_deg(angles: FloatArray) -> float | None:
    return float(np.degrees(np.median(angles))) if len(angles) else None


def find_suspects(
    data: Dataset,
    files: Sequence[Path],
    *,
    split: str | None = None,
    suite: str | None = None,
    below: float = BELOW,
) -> Suspects:
    """Judge the labels of a dataset.

    Parameters
    ----------
    data, split, suite
        The dataset, and which part of it.
    files
        Predictions files, of one model each.
    below
        Labels of less quality are suspects.

    Raises
    ------
    InputError
        There is no such split or suite, nobody there has a label with a direction, or predictions cannot be used
        (:func:`annotation.suspects.opinions.read_opinions`).
    """
    chosen = data.select(split=split, suite=suite)
    known = np.asarray(np.isfinite(chosen.gazes).all(axis=1))
    if not known.any():
        raise InputError(
            f"Expected people with a known gaze direction in {data.root}, found none among {len(chosen)}. Choose another "
            "--split or --suite."
        )
    people = Dataset(chosen.root, chosen.info, chosen.annotations.loc[known].reset_index(drop=True))
    opinions = read_opinions(files, data, people)
    rows = people.annotations
    said = _opinion(people, people.gazes, opinions)
    truth = people.truth()
    found = spread(truth.points, truth.weights)
    several = found.number > 1
    typical = float(np.median(found.deviation_mean[several])) if several.any() else 0.0
    findings, odds, everywhere = _lint(data.root, rows["sample_id"])
    dispersion = np.where(several, found.deviation_mean, np.nan)
    return Suspects(
        people=people,
        labels=people.gazes,
        opinions=opinions,
        opinion=said,
        spread=found,
        usual_dispersion=typical,
        findings=findings,
        quality=label_quality(said.residual, said.scale, dispersion, typical, odds),
        label=np.asarray(rows.groupby(PERSON, sort=False).ngroup(), dtype=np.intp),
        below=below,
        unknown=int((~known).sum()),
        dataset_findings=everywhere,
    )


def _opinion(people: Dataset, labels: FloatArray, opinions: Opinions) -> Opinion:
    """What models say of labels (n, 3) of people, by the condition and what of the head makes it hard."""
    rows, groups = people.annotations, breakdown_labels(people)
    condition = (rows["suite"].astype(str) + "/" + rows["condition"].astype(str)).to_numpy(dtype=str)
    # where the target is said to be out of the photo, nobody can see it; whether it is said does not change with where it is
    hardness = [condition, rows["in_frame"].to_numpy(dtype=bool), *(groups[by] for by in HARDNESS if by in groups)]
    directions = np.where(opinions.asked[..., None], opinions.directions, np.nan)
    return opinion(labels, directions, opinions.seen, hardness, people.heads)


def try_out(found: Suspects, share: float, seed: int) -> Trial:
    """Plant errors in a share of the labels that models speak of, and count which of them are found again, without lint.

    Raises
    ------
    InputError
        There are too few labels.
    """
    panorama = np.asarray(found.people.annotations.groupby("panorama_id", sort=False).ngroup(), dtype=np.intp)
    allowed = np.asarray(found.opinion.models > 0)
    planted = plant(found.labels, panorama, allowed, share, generator(seed, "suspects"))
    said = _opinion(found.people, planted.labels, found.opinions)
    quality = label_quality(said.residual, said.scale, found.dispersion, found.usual_dispersion)
    ids = found.people.annotations["sample_id"].to_numpy(dtype=str)
    return count(quality[allowed], planted.kind[allowed], found.below, ids[allowed].tolist())


def _lint(root: Path, ids: pd.Series) -> tuple[list[list[str]], FloatArray, list[str]]:
    """Names of the rules of :data:`LABEL_RULES` that each label breaks, the odds that they add, errors of the whole dataset."""
    from annotation.lint.registry import rules

    own = {name for name, rule in rules().items() if rule.check.__module__.rpartition(".")[2] in LABEL_RULES}
    by_id: dict[str, list[str]] = {}
    worst: dict[str, float] = {}
    everywhere: Counter[str] = Counter()
    for one in lint(root).findings:
        if not one.sample_id and one.severity == "error":
            everywhere[one.rule] += 1
        elif one.rule in own:
            by_id.setdefault(one.sample_id, []).append(one.rule)
            worst[one.sample_id] = max(worst.get(one.sample_id, 0.0), LINT[one.severity])
    return (
        [by_id.get(one, []) for one in ids],
        np.array([worst.get(one, 0.0) for one in ids]),
        [f"{name} ({times})" for name, times in everywhere.items()],
    )
