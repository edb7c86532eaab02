"""Augmentation that is exact on the sphere: pixels and labels are moved by one and the same map of the sphere.

Conventions
-----------
What was seen in direction d is seen in direction M Z(d), M = tilt yaw mirror: the mirror takes x to -x, the yaw turns right by
a whole number of columns, the tilt turns the whole sphere about a horizontal axis. Mirror and yaw do not resample.
Z, where there is one, zooms the sphere about somebody's head (:mod:`srgaze360.zoom`): photos grow wider or narrower, heads
with them, and sight lines keep the azimuth at which they leave that head. Circles stay circles, so that a small head is only
enlarged and turned, which is how its crop is cut; gaze and annotations move exactly.
Crops are cut again from the stored ones by homography: local north at a head changes with a tilt, and a head box that is a
little off shows the head off-centre, with the direction of the head moved along and the gaze left where it is.
Everything is drawn in one fixed order, whatever is switched on.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from baselines.data.crops import Picture, homography, inner, intrinsics, reach_of, recrop, view_rotation
from baselines.data.people import Prepared
from baselines.training.settings import AugmentSettings, DataSettings
from srgaze360 import sphere
from srgaze360.reproject import rotate_sphere
from srgaze360.sphere import FloatArray
from srgaze360.zoom import zoom, zoom_rotation, zoom_scale, zoom_sphere

_LARGEST_DEVIATION = 2.5  # standard deviations; what lies beyond is cut
_JITTER_SHARES = np.array([1.0, 0.75, 0.5, 0.25, 0.0])
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class Change(NamedTuple):
    """One draw: M = ``turn`` after the mirror, a colour matrix (3, 4), and per head two shifts and a log-scale (n, 3).

    Shifts are to the east and north, in head radii. The sphere is zoomed by ``factor`` about the head of person ``about``.
    """

    mirror: bool
    turn: FloatArray
    colour: FloatArray
    jitter: FloatArray
    factor: float = 1.0
    about: int = 0

    @property
    def matrix(self) -> FloatArray:
        """The orthogonal matrix M (3, 3)."""
        return self.turn * np.array([-1.0, 1.0, 1.0]) if self.mirror else self.turn


def draw(settings: AugmentSettings, width: int, people: int, mean: float, rng: np.random.Generator) -> Change:
    """Draw a change of a panorama ``width`` pixels wide with so many ``people`` and ``mean`` brightness (0 to 255)."""
    columns = int(rng.integers(width))
    mirror = bool(rng.random() < settings.mirror)
    azimuth = rng.uniform(0.0, 2.0 * np.pi)
    tilt = abs(_normal(rng, 1)[0]) * np.radians(settings.tilt_deg)
    brightness, contrast, saturation = 1.0 + rng.uniform(-1.0, 1.0, 3) * settings.colour
    jitter = _normal(rng, (people, 3)) * settings.jitter
    if rng.random() >= settings.tilted:
        tilt = 0.0
    factor = float(settings.zoom ** rng.uniform(-1.0, 1.0))
    about = int(rng.integers(people))
    if rng.random() >= settings.zoomed:
        factor = 1.0
    turn = sphere.rotation_from_pose(columns * 2.0 * np.pi / width if settings.yaw else 0.0, 0.0, 0.0)
    if tilt > 0.0:
        axis = sphere.rotation_from_pose(azimuth, 0.0, 0.0)
        turn = axis @ sphere.rotation_from_pose(0.0, tilt, 0.0) @ axis.T @ turn
    return Change(mirror, turn, colour_matrix(brightness, contrast, saturation, mean), jitter, factor, about)


def colour_matrix(brightness: float, contrast: float, saturation: float, mean: float) -> FloatArray:
    """Matrix (3, 4) that scales saturation about a pixel's grey, contrast about ``mean``, and brightness; 1 changes nothing."""
    grey = np.tile(_LUMA, (3, 1))
    linear = saturation * np.eye(3) + (1.0 - saturation) * grey
    offset = np.full((3, 1), (1.0 - contrast) * mean)
    return brightness * np.hstack([contrast * linear, offset])


def augment(prepared: Prepared, augment: AugmentSettings, data: DataSettings, rng: np.random.Generator) -> Prepared:
    """Change a panorama and its people at random.

    Parameters
    ----------
    prepared
        A panorama with stored crops, as :func:`baselines.data.prepared.prepare` makes it.
    augment
        What is changed, and how much.
    data
        Size and reach of the crops.
    rng
        Source of the draw, which is a function of it, of the panorama's width, and of the number of people.

    Returns
    -------
    Prepared
        The changed panorama, with the crops that a network sees.
    """
    mean = float(np.dot(cv2.mean(prepared.panorama)[:3], _LUMA))
    change = draw(augment, prepared.panorama.shape[1], len(prepared.people), mean, rng)
    return apply(change, prepared, data)


def apply(change: Change, prepared: Prepared, data: DataSettings) -> Prepared:
    """Apply a change to a panorama and its people."""
    matrix = change.matrix
    stored = np.array([person.head for person in prepared.people])
    radii, reaches = np.array([(person.radius, person.crop_reach) for person in prepared.people]).T
    about = (stored[change.about], change.factor)
    scale, zoomed = zoom_scale(stored, *about), zoom(stored, *about)
    from_views = matrix @ zoom_rotation(stored, *about) @ view_rotation(stored)
    from_intrinsics = intrinsics(reaches, prepared.people[0].crop.shape[0])
    from_intrinsics[:, :2, :2] /= scale[:, None, None]
    radii = radii * scale

    def moved(picture: Picture) -> Picture:
        if change.factor != 1.0:
            return np.asarray(zoom_sphere(picture, *about, matrix))
        return np.asarray(rotate_sphere(picture[:, ::-1] if change.mirror else picture, change.turn))

    # where a jittered crop would reach beyond the stored one, a smaller share of the jitter is taken
    shares = _JITTER_SHARES[:, None, None]
    heads = sphere.exp_map(zoomed @ matrix.T, shares * change.jitter[:, :2] * radii[:, None])
    radii = radii * np.exp(shares[..., 0] * change.jitter[:, 2])
    reaches = reach_of(radii, data.crop_reach)
    cuts = homography(from_views, from_intrinsics, view_rotation(heads), intrinsics(reaches, data.crop))
    take = np.argmax(_within(cuts, data.crop, prepared.people[0].crop.shape[0]), axis=0)

    photos = {id(photo): moved(photo) for photo in (person.photo for person in prepared.people) if photo is not None}
    people = []
    for at, (share, person) in enumerate(zip(take, prepared.people, strict=True)):
        people.append(
            person._replace(
                head=heads[share, at],
                radius=float(radii[share, at]),
                crop=_coloured(recrop(person.crop, cuts[share, at], data.crop), change.colour),
                crop_reach=float(reaches[share, at]),
                gaze=None if person.gaze is None else matrix @ zoom(person.gaze, *about),
                points=zoom(person.points, *about) @ matrix.T,
                photo=photos.get(id(person.photo)),
            )
        )
    return Prepared(prepared.panorama_id, _coloured(moved(prepared.panorama), change.colour), tuple(people))


def plain(prepared: Prepared, data: DataSettings) -> Prepared:
    """The panorama as it is, with the crops that a network sees: what validation and prediction are given."""
    people = tuple(
        person._replace(crop=inner(person.crop, data.crop), crop_reach=float(reach_of(person.radius, data.crop_reach)))
        for person in prepared.people
    )
    return prepared._replace(people=people)


def _normal(rng: np.random.Generator, shape: int | tuple[int, ...]) -> FloatArray:
    return np.clip(rng.normal(size=shape), -_LARGEST_DEVIATION, _LARGEST_DEVIATION)


def _coloured(picture: Picture, matrix: FloatArray) -> Picture:
    """Picture with its colours changed; rounded, and saturated at 0 and 255."""
    return picture if np.array_equal(matrix, np.eye(3, 4)) else np.asarray(cv2.transform(picture, matrix))


def _within(cuts: FloatArray, size: int, stored: int) -> sphere.BoolArray:
    """Whether crops of ``size`` cut by homographies (shares, n, 3, 3) lie within the stored ones; (shares, n).

    The last share, no jitter at all, always passes: any roll of the plain crop lies within the stored one.
    """
    corners = np.array([[0.0, size, 0.0, size], [0.0, 0.0, size, size], [1.0, 1.0, 1.0, 1.0]])
    places = cuts @ corners
    x, y, w = np.moveaxis(places, -2, 0)
    inside = (w > 0.0) & (x >= 0.0) & (y >= 0.0) & (x <= stored * w) & (y <= stored * w)
    within = inside.all(axis=-1)
    within[-1] = True
    return np.asarray(within)
