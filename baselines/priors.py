"""Priors: distributions of targets fitted on a train split, which see no pixel. They show what a dataset's layout gives away.

Conventions
-----------
Fitting uses one direction per person, the consensus, of the rows whose target is known. A run holds one file,
``state.json``: plain, versioned, a few kilobytes. Angles are radians here and degrees in the file. Heatmaps are densities per
steradian (:mod:`srgaze360.heatmaps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.optimize import brentq
from scipy.special import i0e

from srgaze360 import heatmaps, sphere
from srgaze360.dataset import Dataset, explain
from srgaze360.errors import InputError
from srgaze360.files import read_json, write_text
from srgaze360.predictors import Guess, Predictor, Query, TrainingJob

STATE_FILE = "state.json"

KERNEL_SIGMA_DEG = 5.0  # the blur of the truth in the spherical protocol
LATITUDES_DEG = np.linspace(-90.0, 90.0, 361)
CHUNK = 4096

# beyond these a heatmap of float16 is flat, or narrower than one of its cells
KAPPA_RANGE = (0.01, 3283.0)

NonNegative = Annotated[float, Field(ge=0.0)]


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


State = TypeVar("State", bound=_State)


def _load(run: Path, state: type[State]) -> State:
    path = run / STATE_FILE
    try:
        return state.model_validate(read_json(path, "fitted prior (made by `srgaze360 train`)"))
    except ValidationError as error:
        raise InputError(f"Expected a fitted prior in {path}, found: {explain(error)}. Train again.") from None


def _known_targets(data: Dataset, name: str) -> tuple[sphere.FloatArray, sphere.FloatArray]:
    """Heads (n, 3) and consensus targets (n, 3) of the rows whose target is known."""
    known = np.isfinite(data.gazes).all(axis=-1)
    if not known.any():
        raise InputError(
            f"Expected people whose gaze is known to fit {name!r}, found none among the {len(data)} rows chosen from "
            f"{data.root}. Train on a dataset with annotated targets."
        )
    return data.heads[known], data.gazes[known]


# --- latitude ---------------------------------------------------------------------------------------------------------


class LatitudeState(_State):
    """Density per steradian at latitudes -90, -89.5, ... 90 degrees."""

    schema_version: Literal[1] = 1
    predictor: Literal["latitude-prior"] = "latitude-prior"
    people: int = Field(ge=1)
    kernel_sigma_deg: float = Field(gt=0.0)
    density: list[NonNegative] = Field(min_length=len(LATITUDES_DEG), max_length=len(LATITUDES_DEG))

    @model_validator(mode="after")
    def _has_a_peak(self) -> Self:
        if not any(self.density):
            raise ValueError("a density must be positive somewhere")
        return self


def latitude_density(targets: sphere.FloatArray, latitudes: sphere.FloatArray, kappa: float) -> sphere.FloatArray:
    """Kernel estimate of the density per steradian of targets (n, 3) as a function of latitude (m,) alone, radians.

    The mean over longitude of the kernel density estimate on the sphere with a von Mises-Fisher kernel (Hall, Watson and
    Cabrera, Biometrika 74, 1987). With the modified Bessel function I0,

        f(lat) = 1/n sum_i  kappa / (4 pi sinh kappa)  exp(kappa sin lat sin lat_i)  I0(kappa cos lat cos lat_i),

    written below with exponentially scaled terms. The kernel is equally wide, in angle, at every latitude, and needs no
    correction at the poles: f integrates to 1 over the sphere for any targets.
    """
    _, target_lat = sphere.lonlat_from_direction(targets)
    scale = kappa / (2.0 * np.pi * -np.expm1(-2.0 * kappa))
    total = np.zeros(len(latitudes))
    for start in range(0, len(target_lat), CHUNK):
        part = target_lat[None, start : start + CHUNK]
        along = np.exp(kappa * (np.cos(latitudes[:, None] - part) - 1.0))
        total += np.sum(along * i0e(kappa * np.cos(latitudes)[:, None] * np.cos(part)), axis=1)
    return np.asarray(scale * total / len(target_lat))


class LatitudePrior(Predictor):
    """The distribution of the targets' latitude on a train split; reads neither image nor head.

    The heatmap is a kernel density estimate over latitude with a 5 degree kernel (:func:`latitude_density`). Since the
    `spherical` protocol blurs its truth by the same kernel, this is the mean truth of the train split averaged over
    longitude: no heatmap that depends on latitude alone has a lower expected KLD there. The point is the direction of the
    highest density, at longitude 0 by convention.

    Source: the equator bias of panoramas (Sitzmann et al., Saliency in VR, IEEE TVCG 24, 2018), which alone reaches a high AUC
    on planar protocols; kernel density on the sphere after Hall, Watson and Cabrera (Biometrika 74, 1987).

    Expected: mean angular distance pi / 2 = 90 degrees where the azimuth of targets is uniform and their latitudes are
    symmetric about the horizon (then targets come in antipodal pairs), or where the peak lies on the horizon, whatever the
    latitudes. A peak at the targets' own latitude off the horizon gives less.
    """

    name = "latitude-prior"
    summary = "The train split's distribution of target latitude; its peak, at longitude 0."
    source = "equator bias: Sitzmann et al., TVCG 2018"
    trained = True

    def __init__(self, state: LatitudeState) -> None:
        self.state = state

    @classmethod
    def train(cls, job: TrainingJob) -> Self:
        """Estimate the density; nothing about it is random."""
        _, targets = _known_targets(job.data, cls.name)
        kappa = float(heatmaps.concentration(np.radians(KERNEL_SIGMA_DEG)))
        density = latitude_density(targets, np.radians(LATITUDES_DEG), kappa)
        return cls(LatitudeState(people=len(targets), kernel_sigma_deg=KERNEL_SIGMA_DEG, density=density.tolist()))

    def save(self, run: Path) -> None:
        """Write the density."""
        write_text(run / STATE_FILE, self.state.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read the density."""
        return cls(_load(run, LatitudeState))

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Give every query the same answer."""
        peak = np.radians(LATITUDES_DEG[np.argmax(self.state.density)])
        directions = np.tile(sphere.direction_from_lonlat(0.0, peak), (len(queries), 1))
        _, rows = sphere.cell_lonlat(heatmaps.WIDTH, heatmaps.HEIGHT)
        density = np.interp(rows, np.radians(LATITUDES_DEG), self.state.density).astype(np.float32)
        return Guess(directions, np.tile(density[:, None], (len(queries), 1, heatmaps.WIDTH)))


# --- head frame -------------------------------------------------------------------------------------------------------


class HeadState(_State):
    """Mean target in the head's frame (east, north, radial), a unit vector, and the concentration around it."""

    schema_version: Literal[1] = 1
    predictor: Literal["head-prior"] = "head-prior"
    people: int = Field(ge=1)
    mean: tuple[float, float, float]
    kappa: float = Field(ge=KAPPA_RANGE[0], le=KAPPA_RANGE[1])

    @model_validator(mode="after")
    def _is_a_direction(self) -> Self:
        if abs(float(np.linalg.norm(self.mean)) - 1.0) > 1e-6:
            raise ValueError(f"the mean must have length 1, not {np.linalg.norm(self.mean):g}")
        return self


def fitted_concentration(resultant: float) -> float:
    """Concentration whose von Mises-Fisher distribution on the sphere has the given mean resultant length, in [0, 1].

    Solves A_3(kappa) = coth kappa - 1 / kappa = resultant, the maximum-likelihood equation (Mardia and Jupp, Directional
    Statistics, 2000, section 10.3; Banerjee, Dhillon, Ghosh and Sra, JMLR 6, 2005, approximate it), within
    :data:`KAPPA_RANGE`.
    """

    def excess(kappa: float) -> float:
        return float(1.0 / np.tanh(kappa) - 1.0 / kappa - resultant)

    low, high = KAPPA_RANGE
    if excess(low) >= 0.0:
        return low
    return high if excess(high) <= 0.0 else float(brentq(excess, low, high, xtol=1e-12))


class HeadPrior(Predictor):
    """The mean target in the head's tangent frame (east, north, radial) on a train split; reads the head's direction only.

    Fitted are the spherical mean m of the targets in that frame and a von Mises-Fisher concentration kappa. At test, m is
    carried to the head by its frame: turning the panorama and the head in azimuth turns the answer by the same angle, exactly.

    Source: "Fixed bias" of GazeFollow (Recasens et al., NeurIPS 2015: the mean target of training heads at a similar place),
    moved to the head's own frame, where all heads are at a similar place. Fit as in Mardia and Jupp (Directional Statistics,
    2000).

    Expected, where targets do follow the fitted distribution: mean angular distance
    pi (I0(kappa) - exp(-kappa)) / (2 sinh kappa), which is pi / 2 for kappa = 0 and sqrt(pi / (2 kappa)) for large kappa.
    """

    name = "head-prior"
    summary = "The train split's mean target relative to the head (east, north, radial)."
    source = "after 'Fixed bias' of Recasens et al., NeurIPS 2015"
    inputs = ("head direction",)
    trained = True

    def __init__(self, state: HeadState) -> None:
        self.state = state

    @classmethod
    def train(cls, job: TrainingJob) -> Self:
        """Fit mean and concentration; nothing about it is random."""
        heads, targets = _known_targets(job.data, cls.name)
        mean, resultant = sphere.spherical_mean(sphere.rotate(sphere.tangent_frame(heads), targets))
        if np.isnan(mean).any():
            raise InputError(
                f"Expected a mean target relative to the head, but the {len(targets)} targets chosen from {job.data.root} "
                "cancel out. Train on more people."
            )
        east, north, radial = mean.tolist()
        return cls(HeadState(people=len(targets), mean=(east, north, radial), kappa=fitted_concentration(float(resultant))))

    def save(self, run: Path) -> None:
        """Write mean and concentration."""
        write_text(run / STATE_FILE, self.state.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read mean and concentration."""
        return cls(_load(run, HeadState))

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Carry the mean to each head."""
        heads = np.array([query.head for query in queries]).reshape(-1, 3)
        world_from_head = np.swapaxes(sphere.tangent_frame(heads), -1, -2)
        directions = sphere.normalise(sphere.rotate(world_from_head, np.array(self.state.mean)))
        maps = heatmaps.von_mises_fisher(directions[:, None, :], self.state.kappa).astype(np.float32)
        return Guess(directions, maps)
