"""From heatmap logits to the one direction that is scored, and to the density that a submission holds.

Conventions
-----------
Logits (B, h, 2h) as in :mod:`baselines.data.batch`: the log of a density per steradian up to a constant. The score is the mean
angular distance, so the answer is the direction with the smallest expected angular distance under the heatmap: its geometric
median on the sphere. It lies within the heavier of two modes, where a mean would lie between them, and is not tied to the
centres of cells, as the arg-max is.

A cell is not a point: what it holds is spread over it. The distance to a cell at angle t is taken as sqrt(t^2 + e^2) with e the
mean distance of a cell's points from its centre, 0.3826 of its side. Without this every cell centre is a trap, since the
distance to a point has a kink there.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.nets import geometry
from baselines.nets.padding import upsample_sphere
from srgaze360 import sphere
from srgaze360.errors import InputError

COARSE = 32
ITERATIONS = 6
WITHIN_CELL = 0.3826  # mean distance of the points of a unit square from its centre: (sqrt 2 + asinh 1) / 6
_AT_ONCE = 1 << 18  # cells of all maps worked on at a time: they stay in the cache, and memory is bounded
_FAINT = 2.0**-7  # relief given to a map without any; float16 has 11 bits


@lru_cache(maxsize=8)
def _angles(height: int, device: torch.device) -> Tensor:
    """Angles (2h^2, 2h^2) between the cells of a grid, radians, float64: 34 MB at 32 rows."""
    with torch.inference_mode(False):
        cells = torch.from_numpy(sphere.cell_directions(2 * height, height)).reshape(-1, 3)
        chords = torch.cdist(cells, cells, compute_mode="donot_use_mm_for_euclid_dist")
        return (2.0 * torch.asin((chords / 2.0).clamp_max(1.0))).to(device)


def _start(mass: Tensor) -> Tensor:
    """Centre (B, 3) of the cell, of at most 32 rows, with the smallest expected angular distance under masses (B, h, 2h)."""
    block = math.ceil(mass.shape[-2] / COARSE)
    if mass.shape[-2] % block:
        block = 1
    pooled = functional.avg_pool2d(mass.unsqueeze(1), block).squeeze(1)
    height = pooled.shape[-2]
    # in float64 and rounded, so that equal cells stay equal whatever the order of summation, which depends on the batch's size
    expected = pooled.double().flatten(1) @ _angles(height, mass.device)
    best = torch.round(expected * block**2, decimals=9).argmin(dim=-1)
    return geometry.cell_directions(height, mass.device).reshape(-1, 3)[best]


class _View(NamedTuple):
    """Expected distance (B,) from directions (B, 3), and where to go from there to lower it (B, 2) = (east, north)."""

    cost: Tensor
    weiszfeld: Tensor
    newton: Tensor


def _view(base: Tensor, frames: Tensor, mass: Tensor, cells: Tensor, spread: float) -> _View:
    """Look at all cells (n, 3) with masses (B, n) from ``base`` (B, 3)."""
    x, y, cosine = (
        axis[:, 0, None] * cells[:, 0] + axis[:, 1, None] * cells[:, 1] + axis[:, 2, None] * cells[:, 2]
        for axis in (frames[:, 0], frames[:, 1], base)
    )
    sine = torch.hypot(x, y)
    angle = torch.atan2(sine, cosine)
    smooth = torch.sqrt(angle**2 + spread**2)
    # unit tangents towards the cells; one that is here lies nowhere in particular, and pulls nowhere
    length = sine.clamp_min(1e-6)
    x, y = x / length, y / length
    pull = mass / smooth
    force = pull * angle
    east, north = (force * x).sum(-1), (force * y).sum(-1)
    # Hessian of a function g of the angle t on the sphere: g'' along the arc, g' cot t across; here g = sqrt(t^2 + e^2)
    along = pull * (spread / smooth) ** 2
    across = force * cosine / length
    across = torch.where(sine > 1e-6, across, along)
    a, c = ((along - across) * x * x + across).sum(-1), ((along - across) * y * y + across).sum(-1)
    b = ((along - across) * x * y).sum(-1)
    determinant = a * c - b * b
    convex = (a + c > 0) & (determinant > 1e-6 * (a + c) ** 2)
    weiszfeld = torch.stack([east, north], dim=-1) / pull.sum(-1, keepdim=True)
    newton = torch.stack([c * east - b * north, a * north - b * east], dim=-1)
    newton = newton / torch.where(convex, determinant, torch.ones_like(determinant)).unsqueeze(-1)
    return _View((mass * smooth).sum(-1), weiszfeld, torch.where(convex.unsqueeze(-1), newton, weiszfeld))


def _moved(base: Tensor, frames: Tensor, step: Tensor) -> Tensor:
    """Exponential map: where a tangent vector (B, 2) = (east, north) leads from ``base`` (B, 3)."""
    length = step.norm(dim=-1, keepdim=True)
    tangent = (step.unsqueeze(-1) * frames[:, :2]).sum(1)
    return functional.normalize(torch.cos(length) * base + torch.sinc(length / torch.pi) * tangent, dim=-1)


def decode(logits: Tensor) -> Tensor:
    """Directions (B, 3), float32, of smallest expected angular distance under heatmap logits (B, h, 2h).

    The best cell of a grid of at most 32 rows, then a few steps off the grid over all cells: Newton's, or where that does not
    help Weiszfeld's in the tangent plane (Fletcher, Venkatasubramanian and Joshi, NeuroImage 45, 2009), or half of it. Never
    worse than the cell. NaN where the logits hold NaN. The answer for one map does not depend on what else is in the batch.
    """
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        parts = logits.split(max(1, _AT_ONCE // logits[0:1].numel())) if len(logits) else [logits]
        return torch.cat([_decoded(part) for part in parts])


def _decoded(logits: Tensor) -> Tensor:
    height = logits.shape[-2]
    mass = torch.exp(geometry.log_probabilities(logits))
    cells = geometry.cell_directions(height, logits.device).reshape(-1, 3)
    spread = WITHIN_CELL * math.pi / height
    here = _start(mass)
    mass = mass.flatten(1)
    frames = geometry.head_frames(here)
    view = _view(here, frames, mass, cells, spread)
    best, step, retreat = view.cost, view.newton, view.weiszfeld
    for _ in range(ITERATIONS):
        there = _moved(here, frames, step)
        there_frames = geometry.head_frames(there)
        view = _view(there, there_frames, mass, cells, spread)
        better = view.cost < best
        best = torch.where(better, view.cost, best)
        better = better.unsqueeze(-1)
        here, frames = torch.where(better, there, here), torch.where(better.unsqueeze(-1), there_frames, frames)
        step, retreat = torch.where(better, view.newton, retreat), torch.where(better, view.weiszfeld, retreat / 2.0)
    return torch.where(torch.isfinite(best).unsqueeze(-1), here, torch.full_like(here, torch.nan))


def densities(logits: Tensor, height: int = 64) -> Tensor:
    """Densities per steradian (B, height, 2 height), float32, maximum 1, of heatmap logits (B, h, 2h), for submissions.

    A coarser map is enlarged bilinearly, a finer one averaged by solid angle. A map that would be constant once stored as
    float16, which ranks nothing and which submissions may not hold, gets the faintest relief: it falls off by under a
    hundredth from its decoded direction (:func:`decode`) to the antipode.

    Raises
    ------
    InputError
        Neither of the two heights is a multiple of the other.
    """
    rows = logits.shape[-2]
    if rows % height and height % rows:
        raise InputError(
            f"Heatmaps of {height} rows are wanted; a map of {rows} rows cannot be brought to that by whole factors. "
            "Let the network answer on a grid of 32, 64 or 128 rows."
        )
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        maps = torch.exp(logits - logits.amax(dim=(-2, -1), keepdim=True)).unsqueeze(1)
        if rows > height:
            areas = geometry.cell_solid_angles(rows, logits.device)
            block = rows // height
            maps = functional.avg_pool2d(maps * areas, block) / functional.avg_pool2d(areas[None, None], block)
        elif rows < height:
            maps = upsample_sphere(maps, height // rows)
        maps = maps.squeeze(1)
        maps = maps / maps.amax(dim=(-2, -1), keepdim=True)
        flat = maps.amin(dim=(-2, -1), keepdim=True) > 1.0 - _FAINT / 4.0
        if not flat.any():
            return maps
        relief = 1.0 - _FAINT / 2.0 * (1.0 - geometry.cell_cosines(decode(logits), height))
        maps = torch.where(flat, maps * relief, maps)
        return maps / maps.amax(dim=(-2, -1), keepdim=True)
