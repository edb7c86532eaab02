"""Geometry of the sphere in torch, differentiable, for networks; :mod:`srgaze360.sphere` is the float64 original.

Conventions
-----------
Axes, equirectangular grids and head frames as in :mod:`srgaze360.sphere`. Heads P and targets Q are unit vectors. The *chord*
is the direction from P to Q through the ball, in the head's frame (east, north, radial): Li et al. (ICCV 2021) define the gaze
direction so, since depths are unknown. Grids of heatmaps and features are (h, 2h), row 0 at the zenith, column 0 right of
the seam; the value of a cell belongs to its centre.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor

from srgaze360 import sphere

EPSILON = 1e-8
Arguments = ParamSpec("Arguments")


@lru_cache(maxsize=32)
def _cells(height: int, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # what is kept here is used in training too, whoever asked first
        directions = torch.from_numpy(sphere.cell_directions(2 * height, height)).float().to(device)
        areas = torch.from_numpy(sphere.cell_solid_angles(2 * height, height)).float().to(device)
    return directions, areas


def cell_directions(height: int, device: torch.device) -> Tensor:
    """Directions (h, 2h, 3) of the centres of a grid's cells."""
    return _cells(height, device)[0]


def cell_solid_angles(height: int, device: torch.device) -> Tensor:
    """Exact solid angles (h, 2h) of a grid's cells, steradian."""
    return _cells(height, device)[1]


def sphere_mean(maps: Tensor) -> Tensor:
    """Means (B, C) of maps (B, C, h, 2h) over the sphere: cells count by their solid angle."""
    areas = cell_solid_angles(maps.shape[-2], maps.device)
    return (maps * (areas / areas.sum())).sum((-2, -1))


def full_precision(x: Tensor) -> Tensor:
    """At least float32: the halves of mixed precision have three digits, which would cost half a degree."""
    return x if x.dtype == torch.float64 else x.float()


def exact(function: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Let a function of vectors compute in full precision under autocast, which would turn its products into halves."""

    @wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        device = next(a.device.type for a in args if isinstance(a, torch.Tensor))
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def normalised(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) at unit length; a gradient exists everywhere, at zero too."""
    vectors = full_precision(vectors)
    return vectors / torch.sqrt((vectors * vectors).sum(-1, keepdim=True) + EPSILON**2)


def rotated(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (..., 3, 3) times vectors (..., 3)."""
    return (full_precision(matrices) * full_precision(vectors).unsqueeze(-2)).sum(-1)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) between unit vectors (..., 3), radians: atan2(|a x b|, a.b), with a finite gradient at 0 and pi."""
    a, b = full_precision(a), full_precision(b)
    sine = torch.sqrt((torch.linalg.cross(a, b) ** 2).sum(-1) + EPSILON**1.5)
    return torch.atan2(sine, (a * b).sum(-1))


def head_frames(heads: Tensor) -> Tensor:
    """Frames (..., 3, 3) of heads (..., 3), unit vectors: rows east, north, radial.

    As :func:`srgaze360.sphere.tangent_frame`, but for heads within 1e-6 of a pole, which all get the frame of longitude 0.
    """
    heads = full_precision(heads)
    x, y, z = heads.unbind(-1)
    square = x * x + z * z
    polar = square < 1e-12
    # where() passes no gradient to what it does not choose, but 0 times infinity is NaN: no root of 0 may be taken at all
    flat = torch.sqrt(torch.where(polar, torch.ones_like(square), square))
    sin_lon = torch.where(polar, torch.zeros_like(x), x / flat)
    cos_lon = torch.where(polar, torch.ones_like(z), z / flat)
    zero = torch.zeros_like(x)
    east = torch.stack([cos_lon, zero, -sin_lon], dim=-1)
    north = torch.stack([y * sin_lon, torch.where(polar, zero, -flat), y * cos_lon], dim=-1)
    return torch.stack([east, north, heads], dim=-2)


def chords(heads: Tensor, frames: Tensor, gazes: Tensor) -> Tensor:
    """Unit directions (B, 3), in the heads' frames, of the chords from heads (B, 3) to targets (B, 3).

    All point into the ball: their radial part is -|Q - P| / 2. Where target and head coincide the answer is 0.
    """
    return rotated(frames, normalised(gazes - heads))


def exit_points(heads: Tensor, frames: Tensor, directions: Tensor) -> Tensor:
    """Where the ray from a head leaves the unit ball again: Q = P - 2 (P.d) d, a unit vector (B, 3).

    ``directions`` (B, 3) are unit vectors in the heads' frames. Q is that of the ray: one that points out of the ball never
    comes back and is answered with the head itself, without a gradient. (The formula alone would give d and -d the same Q.)
    So nothing must be trained through Q alone: it cannot bring back a ray that has turned outwards.
    """
    inward = directions[..., 2:].clamp_max(0.0)
    world = rotated(frames.transpose(-1, -2), directions)
    return normalised(heads - 2.0 * inward * world)


@exact
def cell_cosines(directions: Tensor, height: int) -> Tensor:
    """Cosines (..., h, 2h) between directions (..., 3) and the cells of a grid."""
    directions = full_precision(directions)
    cells = cell_directions(height, directions.device).to(directions.dtype)
    return torch.einsum("...c,hwc->...hw", directions, cells)


@exact
def cell_chords(heads: Tensor, frames: Tensor, height: int) -> Tensor:
    """Unit chord directions (B, 3, h, 2h), in the heads' frames, from heads (B, 3) to every cell of a grid.

    Where a cell lies at the head itself there is no direction; the vector shrinks to zero there.
    """
    heads, frames = full_precision(heads), full_precision(frames)
    cells = cell_directions(height, heads.device).to(heads.dtype)
    away = cells[None] - heads[:, None, None, :]
    length = torch.sqrt((away * away).sum(-1, keepdim=True) + 1e-6)
    return torch.einsum("bij,bhwj->bihw", frames, away / length)


def arc(start: Tensor, end: Tensor, fractions: Tensor) -> Tensor:
    """Points (..., k, 3) on the great circle from ``start`` (..., 3) towards ``end`` (..., 3).

    ``fractions`` (..., k) of the arc, 0 at the start, 1 at the end; beyond 1 the circle goes on. Where the end is the start's
    antipode the arc leaves due north, as in :func:`srgaze360.sphere.slerp`.
    """
    start, end, fractions = full_precision(start), full_precision(end), full_precision(fractions)
    side = end - (start * end).sum(-1, keepdim=True) * start
    nowhere = (side * side).sum(-1, keepdim=True) < 1e-12
    side = normalised(torch.where(nowhere, head_frames(start)[..., 1, :], side))
    angle = angle_between(start, end).unsqueeze(-1) * fractions
    return torch.cos(angle).unsqueeze(-1) * start.unsqueeze(-2) + torch.sin(angle).unsqueeze(-1) * side.unsqueeze(-2)


@exact
def mixture(points: Tensor, weights: Tensor, kappa: float, height: int) -> Tensor:
    """Probability (B, h, 2h) of each cell under an equal-kernel von Mises-Fisher mixture around points (B, M, 3).

    The density at the cell's centre times its solid angle, scaled to sum to 1 on the grid, as
    :func:`srgaze360.heatmaps.von_mises_fisher` does. Rows of total weight 0 are uniform over the sphere.
    """
    points, weights = full_precision(points), full_precision(weights)
    areas = cell_solid_angles(height, points.device).to(points.dtype)
    log_kernel = kappa * (cell_cosines(points, height) - 1.0)
    parts = torch.softmax((log_kernel + areas.log()).flatten(-2), dim=-1)
    total = weights.sum(-1, keepdim=True)
    share = weights / total.clamp_min(EPSILON)
    mixed = torch.einsum("bm,bmc->bc", share, torch.nan_to_num(parts))
    uniform = (areas / areas.sum()).flatten()
    return torch.where(total > 0, mixed, uniform).unflatten(-1, (height, 2 * height))


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probability (B, h, 2h) of each cell: log-softmax of logits (B, h, 2h) plus the log of the cells' solid angles."""
    areas = cell_solid_angles(logits.shape[-2], logits.device)
    return torch.log_softmax((full_precision(logits) + areas.log()).flatten(-2), dim=-1).unflatten(-1, logits.shape[-2:])


def head_masks(heads: Tensor, radii: Tensor, height: int) -> Tensor:
    """Mask (B, 1, h, 2h): 1 within the cap of a head, falling to 0 over one cell; a head smaller than a cell keeps a peak."""
    cell = torch.pi / height
    angle = torch.acos(cell_cosines(heads, height).clamp(-1.0 + 1e-7, 1.0 - 1e-7))
    return ((radii.clamp_min(cell)[:, None, None] + cell - angle) / cell).clamp(0.0, 1.0).unsqueeze(1)
