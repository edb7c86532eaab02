"""360-Gaze: from the head to a sight line on the sphere, and points on it where the target may be.

Conventions
-----------
Directions are in the head's frame (east, north, radial). Depths are unknown: a gaze that leaves the head at P in direction d
projects to the great-circle arc from P towards d, and the target lies somewhere on it: P + s d, seen from the camera, for some
depth s > 0 in distances of the head. The exit point of the ray from the unit ball (Li et al., ICCV 2021), s = -2 P.d, is one
guess; on scenes with depth it is often a bad one, so several points are estimated: here at learnt depths, or where the arc's
own density puts them (:mod:`baselines.mmrgaze360.arc`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch
from baselines.mmrgaze360.reborn import Reinject
from baselines.nets.blocks import HeadEncoder, crop_standardised, mlp
from baselines.nets.geometry import exit_points, normalised, rotated
from baselines.nets.spot import START, concentration

NEAREST = (
    0.3  # depth of the exit point, in distances of the head, that is assumed at least: where it vanishes so would the line
)
DEPTHS = (1.0, 0.5, 2.0, 0.25, 4.0, 0.7, 1.4, 8.0)  # where points begin: multiples of the depth of the exit point


class SightLine(NamedTuple):
    """What the head says.

    ``features`` (B, F); ``direction`` (B, 3), unit, in the head's frame; ``azimuth`` (B, 2): unit vector (east, north) along
    which the line leaves the head; ``exit`` (B, 3): where the ray leaves the unit ball, and ``kappa`` (B,) how sure that is, as
    a concentration; ``points`` (B, K, 3) on the line.
    """

    features: Tensor
    direction: Tensor
    azimuth: Tensor
    exit: Tensor
    kappa: Tensor
    points: Tensor


class GazeGenerator(nn.Module):
    """Sight line from the head crop and the head's latitude: the *360-Gaze* generator.

    Only the latitude of the head enters, so that turning the panorama turns the line. The direction is an estimate of the
    chord to the target and is supervised as a direction, never through its exit point alone: d and -d share that point. The
    spot around the exit point is supervised besides: by angle alone, an uncertain direction would point into the ball, and its
    line end behind the camera.

    Parameters
    ----------
    width
        Channels of the head encoder at stride 2.
    features
        Length F of the head's vector.
    points
        Number K of points on the line, at depths that are learnt multiples of that of the exit point, per person. 0 where they
        come from elsewhere.
    reinject
        Whether earlier features re-enter the perceptron (:mod:`baselines.mmrgaze360.reborn`).
    """

    def __init__(self, width: int, features: int, points: int, *, reinject: bool) -> None:
        super().__init__()
        self.crop = HeadEncoder(width, features)
        self.place = nn.Linear(3, features)
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, features)) for _ in range(2)
        ]
        self.mix = Reinject([_Residual(block) for block in blocks], features, on=reinject)
        self.direction = mlp((features, features, 3))
        self.multiples = nn.Linear(features, points) if points else None
        self.spread = nn.Linear(features, 1)
        nn.init.constant_(self.spread.bias, START)
        with torch.no_grad():
            if self.multiples is not None:
                self.multiples.weight.zero_()
                self.multiples.bias.copy_(torch.tensor(DEPTHS[:points]).log())
            self.direction[-1].bias.copy_(torch.tensor([0.0, 0.0, -0.3]))  # targets lie inside the ball, as seen from the head

    def forward(self, batch: Batch) -> SightLine:
        """Sight lines of the B people of a batch."""
        heads, frames = batch.heads, batch.frames
        place = torch.stack([heads[:, 1], torch.hypot(heads[:, 0], heads[:, 2]), 10.0 * batch.radii], dim=-1)
        features = self.mix(torch.relu(self.crop(crop_standardised(batch.crops)) + self.place(place)))
        direction = normalised(self.direction(features))
        azimuth = direction[:, :2] / torch.sqrt((direction[:, :2] ** 2).sum(-1, keepdim=True) + 1e-4)
        leaving = exit_points(heads, frames, direction)
        kappa = concentration(self.spread(features).float().squeeze(-1))
        return SightLine(features, direction, azimuth, leaving, kappa, self._points(heads, frames, direction, features))

    def _points(self, heads: Tensor, frames: Tensor, direction: Tensor, features: Tensor) -> Tensor:
        """Points (B, K, 3): where P + s d is seen, for K depths s."""
        if self.multiples is None:
            return heads[:, None][:, :0]
        exit_depth = (-2.0 * direction[:, 2]).clamp_min(NEAREST)
        depths = exit_depth[:, None] * self.multiples(features).exp()
        world = rotated(frames.transpose(-1, -2), direction)
        return normalised(heads[:, None] + depths[..., None] * world[:, None])


class _Residual(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.block(x))
