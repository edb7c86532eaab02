"""`spherical-unet`: a U-Net of distortion-aware convolutions on the panorama, told of the head.

Stands for works that rely on spherical networks: the convolutions are those of SphereNet (Coors, Condurache and Geiger, ECCV
2018; :mod:`baselines.nets.spherenet`), the shape is a U-Net (Ronneberger, Fischer and Brox, MICCAI 2015), and the head enters
as in Chong et al. (CVPR 2020): a mask of its place and features of its crop. No sight line is computed and no region is singled
out.

Conventions
-----------
The encoder halves the panorama until 8 rows are left. Its features are computed once per panorama; the person enters at the
*bottleneck*, and bottleneck and decoder run per person. The bottleneck sees the scene, a mask of the head, and the direction
from the head to every cell, in the head's frame; the vector of the head crop scales and shifts the channels of every block
(FiLM, Perez et al., AAAI 2018). Where the decoder joins the encoder's finer maps, their 1 x 1 convolution is shared too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets import geometry
from baselines.nets.blocks import HeadEncoder, crop_standardised, group_norm, mlp, standardised
from baselines.nets.padding import upsample_sphere
from baselines.nets.spherenet import SphereNetConv2d
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings
from srgaze360.errors import InputError

COARSEST = 8
# what the bottleneck is told of a cell beside the scene: head mask, direction from the head (3)
PLACE = 4


class SphericalBlock(nn.Module):
    """Distortion-aware convolution, group normalisation, ReLU: (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = SphereNetConv2d(inputs, outputs, 3, stride=stride, bias=False)
        self.norm = group_norm(outputs)

    def forward(self, x: Tensor, film: Tensor | None = None) -> Tensor:
        """Apply the block; ``film`` (N, 2 outputs) scales and shifts the normalised channels."""
        x = self.norm(self.conv(x))
        if film is not None:
            scale, shift = film[..., None, None].chunk(2, dim=1)
            x = x * (1.0 + scale) + shift
        return torch.relu_(x)


class SphericalUNetOptions(Options):
    """Options of ``spherical-unet``."""

    hidden: int = Field(128, ge=16, le=2048, description="length of the vector of a head")
    heatmap: int = Field(32, ge=16, le=256, multiple_of=16, description="rows of the heatmap: the panorama's over a power of 2")


class SphericalUNet(GazeModel):
    """Encoder per panorama, bottleneck and decoder per person.

    Parameters
    ----------
    options
        Width, length of the head's vector, rows of the heatmap.
    height
        Rows of the panorama: 8 times a power of 2.
    """

    equivariant: ClassVar[bool] = True

    def __init__(self, options: SphericalUNetOptions, height: int) -> None:
        super().__init__()
        width = options.width
        rows = [height]
        while rows[-1] > COARSEST:
            rows.append(rows[-1] // 2)
        if options.heatmap not in rows[1:]:
            raise InputError(
                f"Expected the heatmap of spherical-unet to have as many rows as one of its maps, {rows[1:]}, found "
                f"model.heatmap={options.heatmap} for panoramas of {height} rows. Change it, or data.height, with --set."
            )
        widths = [3, *(width * min(4, 2**level) for level in range(len(rows) - 1))]
        self.encoder = nn.ModuleList(SphericalBlock(a, b, stride=2) for a, b in pairwise(widths))
        self.head = HeadEncoder(width, options.hidden)
        deep = widths[-1]
        self.join = SphericalBlock(deep + PLACE, deep)
        self.bottleneck = nn.ModuleList(SphericalBlock(deep, deep) for _ in range(2))
        self.finer = [level for level in range(len(rows) - 2, -1, -1) if rows[level] <= options.heatmap]
        # per person and at many cells: a quarter of the encoder's channels there
        outs = [widths[level] // 4 for level in self.finer]
        self.reduce = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise([deep, *outs]))
        self.skip = nn.ModuleList(nn.Conv2d(widths[level], out, 1) for level, out in zip(self.finer, outs, strict=True))
        self.decoder = nn.ModuleList(SphericalBlock(out, out) for out in outs)
        self.answer = nn.Conv2d(outs[-1], 1, 1)
        self.sizes = [2 * deep] * (1 + len(self.bottleneck)) + [2 * out for out in outs]
        self.film = mlp([options.hidden, options.hidden, sum(self.sizes)])

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        maps = [standardised(batch.panoramas)]
        for block in self.encoder:
            maps.append(block(maps[-1]))
        vector = torch.relu(self.head(crop_standardised(batch.crops)))
        films = iter(self.film(vector).split(self.sizes, dim=1))
        rows = maps[-1].shape[-2]
        place = [geometry.head_masks(batch.heads, batch.radii, rows), geometry.cell_chords(batch.heads, batch.frames, rows)]
        x = self.join(torch.cat([maps[-1][batch.owner], *place], dim=1), next(films))
        for block in self.bottleneck:
            x = x + block(x, next(films))
        for level, reduce, skip, block in zip(self.finer, self.reduce, self.skip, self.decoder, strict=True):
            x = block(upsample_sphere(reduce(x)) + skip(maps[level])[batch.owner], next(films))
        return Output(heatmap=self.answer(x)[:, 0])


class SphericalUNetPredictor(NeuralPredictor):
    """A U-Net of distortion-aware convolutions over the panorama, with the head's place and crop at its bottleneck."""

    name = "spherical-unet"
    summary = "U-Net of SphereNet convolutions on the panorama, head mask and head crop at the bottleneck."
    source = "Coors, Condurache and Geiger, SphereNet, ECCV 2018; Ronneberger et al., U-Net, MICCAI 2015"
    inputs = ("panorama", "head crop", "head direction", "head radius")
    options = SphericalUNetOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {"model": {"width": 32, "hidden": 256, "heatmap": 64}, "data": {"height": 256, "crop": 128}},
        "large": {"model": {"width": 64, "hidden": 512, "heatmap": 64}, "data": {"height": 512, "crop": 128}},
    }
    changes = (
        "no published gaze follower: SphereNet's convolutions in a U-Net, with the head given as in Chong et al. (CVPR 2020)",
        "the encoder runs once per panorama; the person enters at the bottleneck, not at the first layer",
        "beside the head's mask the bottleneck is told the direction from the head to every cell, in the head's frame",
        "down by strided distortion-aware convolutions whose centres are those of the coarser cells; group normalisation",
    )

    @classmethod
    def network(cls, options: SphericalUNetOptions, settings: Settings) -> SphericalUNet:
        """Make the network with fresh weights."""
        return SphericalUNet(options, settings.data.height)
