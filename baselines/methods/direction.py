"""`direction`: the gaze direction from the head alone, and the point of the sphere that it meets.

The gaze-direction-estimation module of Li, Shen, Gao, Zhu, Zhai and Guo, "Looking here or there? Gaze following in
360-degree images" (ICCV 2021): features of the head crop and of the head's latitude give a direction d in the head's frame,
and the person looks at Q = P - 2 (P.d) d, where the ray from the head P leaves the unit sphere again. The scene is not looked
at: how far one gets on the person alone.

Conventions
-----------
Directions are unit vectors in the head's frame (east, north, radial); a gaze into the ball has a negative third component.

What it is trained by
---------------------
By the angle of the direction to the true chord, and by the heatmap around Q together. Never by Q alone: d and -d meet the
sphere in the same point. Nor by the angle alone: who cannot tell left from right had best point between them, which is into
the ball, and meets the sphere behind the camera, far from both; most targets are near. The heatmap's gradient through Q says
so, and trains how *concentrated* the answer is. The answer is Q itself: no symmetric spread around Q has a better point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets import geometry
from baselines.nets.blocks import HeadEncoder, crop_standardised, mlp
from baselines.nets.spot import START, concentration, spot
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings

LI_2021 = "Li et al., Looking here or there? Gaze following in 360-degree images, ICCV 2021"


class SightLine(NamedTuple):
    """Where heads look.

    ``direction`` (B, 3), unit, in the head's frame; ``exit`` (B, 3), where it meets the sphere; ``kappa`` (B,),
    concentration of the answer around ``exit``.
    """

    direction: Tensor
    exit: Tensor
    kappa: Tensor

    def heatmap(self, height: int) -> Tensor:
        """Logits (B, h, 2h) of the von Mises-Fisher density around the exit points."""
        return spot(self.exit, self.kappa, height)


class DirectionEstimator(nn.Module):
    """Gaze direction from head crop and latitude; shared by the methods that start from the sight line.

    Parameters
    ----------
    width
        Channels of the head encoder's finest features.
    hidden
        Length of the vector that crop and latitude give together.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.encoder = HeadEncoder(width, hidden)
        self.latitude = mlp([1, 16, 16])
        self.trunk = mlp([hidden + 16, hidden])
        self.direction = mlp([hidden, hidden, 3])
        self.spread = nn.Linear(hidden, 1)
        nn.init.constant_(self.spread.bias, START)

    def features(self, batch: Batch) -> Tensor:
        """Vectors (B, hidden) of heads: crop and sine of the latitude; the longitude is not told."""
        latitude = self.latitude(-batch.heads[:, 1:2])
        seen = torch.relu(self.encoder(crop_standardised(batch.crops)))
        return torch.relu(self.trunk(torch.cat([seen, torch.relu(latitude)], dim=1)))

    def forward(self, batch: Batch, features: Tensor | None = None) -> SightLine:
        """Sight lines of the people of a batch, from :meth:`features` where they are at hand."""
        features = self.features(batch) if features is None else features
        direction = geometry.normalised(self.direction(features).float())
        exit_point = geometry.exit_points(batch.heads, batch.frames, direction)
        return SightLine(direction, exit_point, concentration(self.spread(features).float().squeeze(-1)))


class DirectionOptions(Options):
    """Options of ``direction``."""

    hidden: int = Field(128, ge=16, le=2048, description="length of the vector of a head")
    heatmap: int = Field(32, ge=16, le=256, multiple_of=16, description="rows of the heatmap")


class DirectionNet(GazeModel):
    """The estimator alone; the heatmap is a von Mises-Fisher density around the exit point."""

    equivariant: ClassVar[bool] = True

    def __init__(self, width: int, hidden: int, height: int) -> None:
        super().__init__()
        self.height = height
        self.estimator = DirectionEstimator(width, hidden)

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        line = self.estimator(batch)
        return Output(heatmap=line.heatmap(self.height), direction=line.direction, points=line.exit)


class Direction(NeuralPredictor):
    """Gaze direction from the head crop and the latitude, and the point of the sphere that it meets; blind to the scene."""

    name = "direction"
    summary = "Gaze direction from the head crop, met with the sphere (GDE module of the ICCV 2021 paper); no scene."
    source = LI_2021
    inputs = ("head crop", "head latitude")
    options = DirectionOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {"model": {"width": 32, "hidden": 256, "heatmap": 64}, "data": {"height": 256, "crop": 128}},
        "large": {"model": {"width": 64, "hidden": 512, "heatmap": 64}, "data": {"height": 512, "crop": 128}},
    }
    changes = (
        "a small residual network with group normalisation reads the head crop, where the paper has a ResNet-50",
        "of the head's place only the latitude is used, as in the paper (its re-implementation feeds x, y and z): "
        "turning the sphere about the vertical turns the answer",
        "the head crop is gnomonic with local north up, so that crop and direction do not change with longitude",
        "the exit point is Q = P - 2 (P.d) d: no division by a component of d, none of the NaN that come with it",
        "the loss is the angle, its gradient finite at 0 and at 180 degrees, and with it that of the heatmap through Q; "
        "never Q alone",
        "the heatmap is a von Mises-Fisher density around Q whose concentration is learnt; the answer is Q",
    )

    @classmethod
    def network(cls, options: DirectionOptions, settings: Settings) -> DirectionNet:
        """Make the network with fresh weights."""
        del settings
        return DirectionNet(options.width, options.hidden, options.heatmap)
