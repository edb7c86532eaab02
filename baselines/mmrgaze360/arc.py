"""The sight line as a density on the sphere: what the head alone says of where the target is.

Conventions
-----------
A cell is seen from the head P in polar coordinates: its *azimuth* t, the unit vector (east, north) in which the great circle
from P to the cell leaves the head, and its *arc*, the angle between both. Depths are unknown: however far away the target is,
it lies on the great circle in whose azimuth the person looks, at an arc that depends on the depth. So the azimuth is what a
head shows, and the arc is what it leaves open; the density has one factor for each.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.nets.blocks import mlp
from baselines.nets.geometry import cell_cosines, normalised, rotated

KNOTS_DEG = (0.0, 4.0, 8.0, 12.0, 18.0, 25.0, 35.0, 50.0, 70.0, 95.0, 130.0, 180.0)  # denser where most targets are
SHARPNESS = (4.0, 40.0)  # of the wedges around the azimuth
ARC_MAPS = 2 + len(SHARPNESS)
START_DEG = 20.0  # a fresh profile falls by a factor of e in so many degrees: where most targets are
RINGS = 180  # that the mass along an arc is counted in
FAINTEST = -20.0  # of a log-density below its peak, as a network is told of it


class Polar(NamedTuple):
    """Cells as heads see them.

    ``azimuths`` (B, 2, h, 2h): unit vectors (east, north) that shrink to 0 within a degree of the head and of its antipode;
    ``arcs`` (B, h, 2h), radians.
    """

    azimuths: Tensor
    arcs: Tensor


def polar(frames: Tensor, height: int) -> Polar:
    """Polar coordinates of the cells of a grid about heads with frames (B, 3, 3)."""
    seen = cell_cosines(frames, height)  # east, north, radial
    square = (seen[:, :2] ** 2).sum(1)
    return Polar(seen[:, :2] / torch.sqrt(square + 1e-4)[:, None], torch.atan2(torch.sqrt(square), seen[:, 2]))


class Along(NamedTuple):
    """``density`` (B, h, 2h): logits; ``profile`` (B, knots): the logits' part that depends on the arc, at the knots."""

    density: Tensor
    profile: Tensor


class SightArc(nn.Module):
    """The density with logits a . t + f(arc): a von Mises density about a's azimuth, times a profile along the arc.

    ``a`` (B, 2) is the natural parameter of the von Mises density (Mardia and Jupp, Directional Statistics, 2000, section
    3.5.4): its length says how sure the azimuth is, and a head turned to the camera, whose azimuth means nothing, has a short
    one. ``f`` is linear between knots.

    Parameters
    ----------
    features
        Length of the head's vector.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.say = mlp((features, features, 2 + len(KNOTS_DEG)))
        with torch.no_grad():
            self.say[-1].bias[2:] = -torch.tensor(KNOTS_DEG) / START_DEG

    def forward(self, features: Tensor, cells: Polar) -> Along:
        """The density from head vectors (B, F)."""
        said = self.say(features).float()
        azimuth, values = said[:, :2, None, None], said[:, 2:]
        return Along((azimuth * cells.azimuths).sum(1) + profile(values, cells.arcs), values)


def profile(values: Tensor, arcs: Tensor) -> Tensor:
    """Values (B, h, 2h) at arcs (B, h, 2h), linear between values (B, K) at the knots."""
    knots = torch.deg2rad(arcs.new_tensor(KNOTS_DEG))
    after = torch.searchsorted(knots, arcs.contiguous(), right=True).clamp(1, len(KNOTS_DEG) - 1)
    part = (arcs - knots[after - 1]) / (knots[after] - knots[after - 1])
    low, high = (values.gather(1, index.flatten(1)).view_as(arcs) for index in (after - 1, after))
    return torch.lerp(low, high, part)


def quantiles(values: Tensor, count: int) -> Tensor:
    """Arcs (B, count), radians: the middles of ``count`` parts of equal mass of densities with values (B, knots) at the knots.

    Whatever the azimuth, the mass between two arcs is that of a ring around the head: the integral of exp(f) sin(arc). So
    points at these arcs are close where the target is likely and lie in both of two likely places, not between them. Where
    they are is learnt by the density's own loss: no gradient passes.
    """
    with torch.no_grad():
        middles = (torch.arange(RINGS, device=values.device, dtype=values.dtype) + 0.5) * (math.pi / RINGS)
        logits = profile(values, middles.expand(len(values), 1, -1))[:, 0] + torch.sin(middles).log()
        mass = torch.softmax(logits, dim=-1)
        up_to = mass.cumsum(-1)
        levels = (torch.arange(count, device=values.device, dtype=values.dtype) + 0.5) / count
        ring = torch.searchsorted(up_to, levels.expand(len(values), -1).contiguous()).clamp_max(RINGS - 1)
        share = mass.gather(1, ring)
        part = (levels - up_to.gather(1, ring)) / share.clamp_min(1e-12) + 1.0
        return (ring + part.clamp(0.0, 1.0)) * (math.pi / RINGS)


def points_along(arcs: Tensor, heads: Tensor, frames: Tensor, azimuth: Tensor) -> Tensor:
    """Points (B, K, 3) at arcs (B, K) from heads (B, 3), with frames (B, 3, 3), in azimuths (B, 2) = (east, north)."""
    tangent = rotated(frames.transpose(-1, -2), torch.cat([azimuth, torch.zeros_like(azimuth[:, :1])], dim=-1))
    return normalised(torch.cos(arcs)[..., None] * heads[:, None] + torch.sin(arcs)[..., None] * tangent[:, None])


def arc_maps(density: Tensor, azimuth: Tensor, cells: Polar) -> Tensor:
    """Maps (B, ARC_MAPS, h, 2h): the log-density below its peak, wedges max(0, cos)^gamma around the azimuth, and the arc."""
    below = (density - density.amax((-2, -1), keepdim=True)).clamp_min(FAINTEST) / 5.0
    cosine = (azimuth[:, :, None, None] * cells.azimuths).sum(1).clamp_min(1e-4)
    return torch.stack([below, *(cosine**gamma for gamma in SHARPNESS), cells.arcs], dim=1)
