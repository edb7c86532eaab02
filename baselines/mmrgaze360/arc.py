"""The sight line as a density on the sphere: what the head alone says of where the target is.

Conventions
-----------
A cell is seen from the head P in polar coordinates: its *azimuth* t, the unit vector (east, north) in which the great circle
from P to the cell leaves the head, and its *arc*, the angle between both. Depths are unknown: however far away the target is,
it lies on the great circle in whose azimuth the person looks, at an arc that depends on the depth. So the azimuth is what a
head shows, and the arc is what it leaves open; the density has one factor for each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.nets.blocks import mlp
from baselines.nets.geometry import cell_cosines

KNOTS_DEG = (0.0, 4.0, 8.0, 12.0, 18.0, 25.0, 35.0, 50.0, 70.0, 95.0, 130.0, 180.0)  # denser where most targets are
SHARPNESS = (4.0, 40.0)  # of the wedges around the azimuth
ARC_MAPS = 2 + len(SHARPNESS)
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


class SightArc(nn.Module):
    """Logits (B, h, 2h) of the density a . t + f(arc): a von Mises density about a's azimuth, times a profile along the arc.

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

    def forward(self, features: Tensor, cells: Polar) -> Tensor:
        """Logits from head vectors (B, F)."""
        said = self.say(features).float()
        return (said[:, :2, None, None] * cells.azimuths).sum(1) + profile(said[:, 2:], cells.arcs)


def profile(values: Tensor, arcs: Tensor) -> Tensor:
    """Values (B, h, 2h) at arcs (B, h, 2h), linear between values (B, K) at the knots."""
    knots = torch.deg2rad(arcs.new_tensor(KNOTS_DEG))
    after = torch.searchsorted(knots, arcs.contiguous(), right=True).clamp(1, len(KNOTS_DEG) - 1)
    part = (arcs - knots[after - 1]) / (knots[after] - knots[after - 1])
    low, high = (values.gather(1, index.flatten(1)).view_as(arcs) for index in (after - 1, after))
    return torch.lerp(low, high, part)


def arc_maps(density: Tensor, azimuth: Tensor, cells: Polar) -> Tensor:
    """Maps (B, ARC_MAPS, h, 2h): the log-density below its peak, wedges max(0, cos)^gamma around the azimuth, and the arc."""
    below = (density - density.amax((-2, -1), keepdim=True)).clamp_min(FAINTEST) / 5.0
    cosine = (azimuth[:, :, None, None] * cells.azimuths).sum(1).clamp_min(1e-4)
    return torch.stack([below, *(cosine**gamma for gamma in SHARPNESS), cells.arcs], dim=1)
