"""Lian et al. (ACCV 2018) on the sphere: a gaze direction, fields of view around it at three widths, a feature pyramid.

Conventions
-----------
The gaze direction is the chord from head to target in the head's frame (:mod:`baselines.nets.geometry`). The field of a
person at exponent gamma is max(0, cos)^gamma, cos being that of the angle at the head between the gaze direction and the chord
to a cell: 1 on the line of sight, 0 where it is more than 90 degrees away, 0 at the head itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.methods.saliency import SCENE_CHANNELS, SceneOptions, scene
from baselines.nets.blocks import ConvBlock, HeadEncoder, PanoramaEncoder, crop_standardised, mlp
from baselines.nets.geometry import cell_chords, normalised
from baselines.nets.padding import upsample_sphere
from baselines.neural import GazeModel, NeuralPredictor
from baselines.training.settings import Settings

EXPONENTS = (5, 2, 1)


def fields(directions: Tensor, heads: Tensor, frames: Tensor, height: int) -> Tensor:
    """Fields (B, 3, h, 2h) of gaze directions (B, 3), one for each of :data:`EXPONENTS` (Lian et al., section 3.1)."""
    cosines = (directions[:, :, None, None] * cell_chords(heads, frames, height)).sum(1).clamp_min(0.0)
    return torch.stack([cosines**gamma for gamma in EXPONENTS], dim=1)


class FieldPyramid(nn.Module):
    """Feature pyramid (Lin et al., CVPR 2017) over shared panorama features and the fields of each person.

    At every level the features of the panorama and the fields go side by side through a 1 x 1 convolution (computed as the
    sum of two, so that the part of the panorama is computed once for all its people). Upwards, from the second finest level
    on, blocks carry what a person's fields select to coarser grids; downwards, coarse maps are enlarged and added.
    """

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.of_scene = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.of_fields = nn.ModuleList(nn.Conv2d(len(EXPONENTS), width, 1, bias=False) for _ in channels)
        self.blocks = nn.ModuleList(ConvBlock(width, width) for _ in channels[1:])
        self.halve = nn.ModuleList(ConvBlock(width, width, 2, stride=2) for _ in channels[2:])
        self.merge = nn.ModuleList(ConvBlock(width, width) for _ in channels[1:])

    def forward(self, maps: list[Tensor], views: list[Tensor], owner: Tensor) -> Tensor:
        """Features (B, width, h, 2h) at the finest level from maps (P, C, h, 2h) and fields (B, 3, h, 2h), finest first."""
        levels = [
            torch.relu(of_scene(features)[owner] + of_fields(view))
            for of_scene, of_fields, features, view in zip(self.of_scene, self.of_fields, maps, views, strict=True)
        ]
        for level, block in enumerate(self.blocks, start=1):
            from_finer = self.halve[level - 2](levels[level - 1]) if level > 1 else 0.0
            levels[level] = block(levels[level] + from_finer)
        x = levels[-1]
        for level in reversed(range(len(self.merge))):
            x = self.merge[level](levels[level] + upsample_sphere(x))
        return x


class LianNet(GazeModel):
    """First a direction from the head, then a heatmap from the panorama and the fields around that direction."""

    equivariant: ClassVar[bool] = True

    def __init__(self, options: SceneOptions) -> None:
        super().__init__()
        width = options.width
        self.head = HeadEncoder(width, 8 * width)
        self.place = nn.Linear(1, 2 * width)
        self.fuse = mlp([10 * width, 4 * width, 3])
        self.encoder = PanoramaEncoder(width, options.depth, inputs=SCENE_CHANNELS)
        self.finest = self.encoder.strides.index(options.stride)
        self.pyramid = FieldPyramid(self.encoder.channels[self.finest :], width)
        self.predict = nn.Conv2d(width, 1, 1, bias=False)

    def directions(self, batch: Batch) -> Tensor:
        """Unit gaze directions (B, 3) in the heads' frames, from crop and latitude."""
        face = torch.relu(self.head(crop_standardised(batch.crops)))
        place = torch.relu(self.place(-batch.heads[:, 1:2]))
        return normalised(self.fuse(torch.cat([face, place], dim=1)))

    def forward(self, batch: Batch) -> Output:
        """Heatmaps (B, h, 2h) and directions (B, 3)."""
        directions = self.directions(batch)
        maps = self.encoder(scene(batch.panoramas))[self.finest :]
        # the direction learns from its own loss alone: see Lian2018
        given = directions.detach()
        views = [fields(given, batch.heads, batch.frames, features.shape[-2]) for features in maps]
        return Output(heatmap=self.predict(self.pyramid(maps, views, batch.owner)).squeeze(1), direction=directions)


class Lian2018(NeuralPredictor):
    """Two stages: a gaze direction from head crop and head place, then a heatmap from picture and direction fields.

    The original has a ResNet-50 on the head crop (512 features) beside the head's place (256 features) and fully connected
    layers to a 2-D direction. The angle of each pixel with it, seen from the head, gives the fields max(0, cos)^gamma for
    gamma 5, 2 and 1, which are stacked on the picture; a feature pyramid on ResNet-50 turns the six channels into a heatmap
    of 56 x 56. Losses: 1 - cos of the direction and binary cross-entropy of the heatmap; trained direction first, heatmap
    next, then both together.

    Kept: both stages, the three exponents, place and crop as separate features, fields beside the picture's features, a
    top-down pyramid with lateral connections, supervision of direction and heatmap. Dropped: pretrained ResNets (trained from
    scratch) and the stagewise schedule. Both losses count from the start (those common to all methods here: angle, and
    cross-entropy of a softmax over the heatmap's cells), and no gradient of the heatmap enters the direction, as in the
    original's first two stages.
    """

    name = "lian2018"
    summary = "Gaze direction from the head, direction fields at three widths on the panorama, feature pyramid."
    source = "Lian, Yu and Gao, Believe It or Not, We Know What You Are Looking At!, ACCV 2018"
    inputs = ("panorama", "head crop", "head direction (for its frame)")
    changes = (
        "the direction is 3-D, the chord from head to target in the head's frame; so is the angle of a cell with it",
        "of the head's place only the latitude enters: turning by yaw is exact",
        "fields join the panorama's features on the heatmap's and every coarser grid, not the picture: people share those",
        "the pyramid has no borders (seam, poles); its encoder is told the latitude and is a small one, not ResNet-50",
        "both losses from the start, the direction by its own alone, instead of three stages: direction, heatmap, both",
    )
    options = SceneOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {"model": {"width": 32, "depth": 5}, "data": {"height": 256, "crop": 128}},
        "large": {
            "model": {"width": 48, "depth": 5, "stride": 8},
            "data": {"height": 512, "crop": 192},
        },
    }

    @classmethod
    def network(cls, options: SceneOptions, settings: Settings) -> LianNet:
        """Make the network with fresh weights."""
        del settings
        return LianNet(options)
