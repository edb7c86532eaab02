"""Predictors that learn nothing: chance on the sphere, its centre, chance inside the photo. The rows a method must beat.

Conventions
-----------
Random draws are a function of (seed, predictor, sample_id) alone, so an answer does not depend on the batch, its order, or
the machine's number of workers. Where a method has nothing to say beyond its point, its heatmap is a von Mises-Fisher bump of
:data:`BUMP_SIGMA` around that point. A constant heatmap would be more honest about chance, but it ranks nothing: NSS and CC
are undefined on it and its arg-max is arbitrary. The width was not tuned and does not move distances, hits or AUC.

Expected angular distances hold for any head and any image: they follow from the symmetry of the guess, and a row that misses
them says something about the targets or about the scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError
from srgaze360.files import generator
from srgaze360.placement import POSE, Photo
from srgaze360.predictors import Guess, Predictor, Query

BUMP_SIGMA = float(np.radians(15.0))


FORWARD = sphere.direction_from_lonlat(0.0, 0.0)
DRAWS_PER_ROUND = 256
MAX_ROUNDS = 4096  # a million draws: a photo that they all miss covers nothing


def uniform_directions(rng: np.random.Generator, count: int) -> sphere.FloatArray:
    """``count`` directions (count, 3), uniform on the sphere: longitude and the sine of latitude are uniform (Archimedes)."""
    lon, sin_lat = rng.uniform(-1.0, 1.0, size=(2, count))
    return sphere.direction_from_lonlat(np.pi * lon, np.arcsin(sin_lat))


def bumps(directions: sphere.FloatArray) -> NDArray[np.float32]:
    """Von Mises-Fisher heatmaps (n, H, W) of spread :data:`BUMP_SIGMA` around directions (n, 3)."""
    kappa = float(heatmaps.concentration(BUMP_SIGMA))
    return heatmaps.von_mises_fisher(directions[:, None, :], kappa).astype(np.float32)


class Random(Predictor):
    """A direction drawn uniformly from the sphere for each person; reads neither image nor head.

    Source: the "Random" row of GazeFollow (Recasens, Khosla, Vondrick and Torralba, NeurIPS 2015) and of GazeFollow360 (Li et
    al., ICCV 2021, 1.5357 rad on its test set), with a draw that is uniform per steradian rather than per pixel.

    Expected, whatever the targets: mean angular distance pi / 2 = 90 degrees (a guess is as likely as its antipode, and their
    distances add up to pi), hit@r = sin^2(r / 2), that is 0.8 % at 10 and 6.7 % at 30 degrees, AUC 0.5.
    """

    name = "random"
    summary = "A direction drawn uniformly from the sphere."
    source = "'Random' of Recasens et al., NeurIPS 2015"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @classmethod
    def untrained(cls, seed: int) -> Self:
        """Make one whose draws follow from ``seed``."""
        return cls(seed)

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Draw a direction for each query."""
        drawn = [uniform_directions(generator(self.seed, self.name, query.sample_id), 1) for query in queries]
        directions = np.concatenate([np.empty((0, 3)), *drawn])
        return Guess(directions, bumps(directions))


class Centre(Predictor):
    """Always longitude 0, latitude 0, the middle of the panorama; reads neither image nor head.

    Source: the "Center" row of GazeFollow (Recasens et al., NeurIPS 2015).

    Expected: mean angular distance pi / 2 = 90 degrees where the azimuth of targets is uniform given their latitude (a turn by
    180 degrees in azimuth maps the distance d to a point of the horizon to pi - d). Less means that the panoramas are
    centred on something, and that a model can profit from it.
    """

    name = "centre"
    summary = "The middle of the panorama: longitude 0, latitude 0."
    source = "'Center' of Recasens et al., NeurIPS 2015"

    @classmethod
    def untrained(cls, seed: int) -> Self:
        """Make one; the seed has no influence."""
        del seed
        return cls()

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Give every query the same answer."""
        directions = np.tile(FORWARD, (len(queries), 1))
        return Guess(directions, bumps(directions))


class RegionChance(Predictor):
    """A direction drawn uniformly, per steradian, from the part of the sphere that the person's source photo covers.

    This is what knowing *where the photo was pasted* is worth, and it reads the annotations to know it: a method that beats
    `random` but not this one may have found the photo's outline and nothing else. The heatmap is 1 in cells whose centre lies
    in the photo and 0 elsewhere. Where the grid cannot show the footprint, because every cell or none lies in it (true
    panoramas, tiny photos), it is a bump around the draw, as for `random`, which this then is.

    Source: this project, after the remark that one photo covers only 4 to 17 % of the sphere.

    Expected: no closed form; never more than the footprint's longest arc for targets inside the photo.
    """

    name = "region-chance"
    summary = "A direction drawn uniformly from inside the pasted photo."
    source = "this project"
    reads = ("camera", *POSE)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @classmethod
    def untrained(cls, seed: int) -> Self:
        """Make one whose draws follow from ``seed``."""
        return cls(seed)

    def predict(self, queries: Sequence[Query]) -> Guess:
        """Draw a direction for each query; people of one photo share its footprint."""
        directions = np.empty((len(queries), 3))
        maps = np.empty((len(queries), heatmaps.HEIGHT, heatmaps.WIDTH), dtype=np.float32)
        by_photo: dict[tuple[Any, ...], list[int]] = {}
        for index, query in enumerate(queries):
            by_photo.setdefault(tuple(query.extra[name] for name in self.reads), []).append(index)
        for members in by_photo.values():
            photo = Photo.of(queries[members[0]].extra, queries[members[0]].sample_id)
            for index in members:
                sample_id = queries[index].sample_id
                directions[index] = _drawn(photo, generator(self.seed, self.name, sample_id), sample_id)
            footprint = photo.footprint(heatmaps.HEIGHT)
            told_apart = footprint.any() and not footprint.all()
            maps[members] = footprint if told_apart else bumps(directions[members])
        return Guess(directions, maps)


def _drawn(photo: Photo, rng: np.random.Generator, sample_id: str) -> sphere.FloatArray:
    """Direction (3,) in the world, uniform per steradian among those the photo sees: the first of many that it does."""
    for _ in range(MAX_ROUNDS):
        rays = uniform_directions(rng, DRAWS_PER_ROUND)
        inside = np.flatnonzero(photo.sees(rays))
        if inside.size:
            return sphere.rotate(photo.world_from_photo, rays[inside[0]])
    raise InputError(
        f"Expected the photo of sample {sample_id} to cover part of the sphere, but none of {MAX_ROUNDS * DRAWS_PER_ROUND} "
        "directions falls into it. Check its camera; build the dataset again."
    )
