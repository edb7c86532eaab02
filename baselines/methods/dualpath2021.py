"""`dualpath2021`: the dual-pathway model of Li et al. (ICCV 2021), with crops that lie on the sphere.

Li, Shen, Gao, Zhu, Zhai and Guo, "Looking here or there? Gaze following in 360-degree images" (ICCV 2021). A person looks at
something near along the sight line, or at something far, where the sight line leaves the unit sphere again. So there are two
regions: a *distant* one centred on that exit point, seen with a Gaussian map of it, and a *local* one beside the head, on the
side the person looks to, seen with a cone of attention along the projected sight line. A convolutional pathway answers in
each; both answers are pasted back into the panorama and fused there by convolutions.

Conventions
-----------
Regions are tangent (gnomonic) views with local north up. Half the angle a region shows across is its reach: 45 degrees, so
that a region spans 90 x 90 degrees, as wide as the boxes of the public re-implementation (a quarter of the panorama's width by
a quarter of its height, 90 x 45 degrees) and twice as high. The local region's centre lies (reach - head radius) from the
head's along the projected sight line, so that the head touches the edge of its region, as there; but the region moves along
the sight line in any direction, not only to the left or right.

What it is trained by
---------------------
Everything is trained at once: the direction and the concentration of the Gaussian map as in :mod:`baselines.methods.direction`
(the map is one of the deeply supervised ones), the fused heatmap and the two pasted ones against the target. The
re-implementation trains in three stages and freezes what came before. The places of the regions are detached, so nothing that
is seen in them moves them: that is what freezing comes to.

Not copied
----------
The public re-implementation (Rao2000/gazefollow360) departs from the paper, or from what it means to do, in ways that are not
repeated here. It divides by the third component of the direction (NaN at 0) where it seeks the exit point. Crops are cut off at
the seam and then stretched, which moves the Gaussian off the hit point; target maps are cut off there too. Its local
attention map is a Gaussian in the middle of the crop, not the paper's cone. Pathways and fusion have no non-linearity, so they
are affine. Frozen parts stay in training mode, and their batch statistics drift. One part reads BGR from 0 to 255, another
normalised RGB. The head's longitude is an input. The loss is the arc cosine of the batch's mean cosine, not the mean angle, and
its gradient at 0 is infinite. Mirrored pictures keep their labels. A head box that grows uses its new left edge for the right
one. A process pool is started in every forward pass. The answer is decoded at the corner of a cell, not at its centre; the
area under the curve changed its definition between versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.methods.direction import LI_2021, DirectionEstimator
from baselines.nets import geometry, tangent
from baselines.nets.blocks import ConvBlock, CropBlock, group_norm, standardised
from baselines.nets.padding import SphereConv2d
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings

REACH = math.radians(45.0)
OUTSIDE = -3.0


def sideways(frames: Tensor, directions: Tensor) -> Tensor:
    """Where sight lines leave on the sphere: unit tangents (B, 3) at heads with frames (B, 3, 3), of directions (B, 3) in them.

    The zero vector for a direction straight through the centre of the sphere: then all ways are alike.
    """
    flat = torch.cat([directions[:, :2], torch.zeros_like(directions[:, 2:])], dim=1)
    return geometry.rotated(frames.transpose(-1, -2), geometry.normalised(flat))


def beside(heads: Tensor, tangents: Tensor, angles: Tensor) -> Tensor:
    """Points (B, 3) at ``angles`` (B,) from heads (B, 3) along unit tangents (B, 3); the head itself where the tangent is 0."""
    angles = angles[:, None]
    return geometry.normalised(torch.cos(angles) * heads + torch.sin(angles) * tangents)


def cone(heads: Tensor, tangents: Tensor, rays: Tensor) -> Tensor:
    """Attention (B, ...) at rays (B, ..., 3): max(0, cosine) of the angle at the head between the ray and the sight line.

    The angle is that of the two great circles, seen from the head: A_l of the paper's figure 3, on the sphere.
    """
    shape = (len(heads), *[1] * (rays.dim() - 2), 3)
    heads, tangents = heads.view(shape), tangents.view(shape)
    away = geometry.normalised(rays - (rays * heads).sum(-1, keepdim=True) * heads)
    return (away * tangents).sum(-1).clamp_min(0.0)


class Pathway(nn.Module):
    """From a view with its map (N, 4, s, s) to logits (N, 1, s / 2, s / 2): down to s / 8 and up again, with skips.

    Views have borders, unlike the panorama; convolutions put zeros there.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(4, width, 4, stride=2, padding=1, bias=False), group_norm(width), nn.ReLU(inplace=True)
        )
        self.down = nn.ModuleList([CropBlock(width, 2 * width), CropBlock(2 * width, 4 * width)])
        self.reduce = nn.ModuleList([nn.Conv2d(2 * width, width, 1), nn.Conv2d(4 * width, 2 * width, 1)])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), group_norm(c), nn.ReLU(inplace=True))
            for c in (width, 2 * width)
        )
        self.answer = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of views (N, 4, s, s)."""
        fine = self.stem(x)
        middle = self.down[0](fine)
        x = self.down[1](middle)
        for level, skip in ((1, middle), (0, fine)):
            enlarged = nn.functional.interpolate(self.reduce[level](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.blocks[level](enlarged + skip)
        return self.answer(x)


class DualPathOptions(Options):
    """Options of ``dualpath2021``."""

    hidden: int = Field(128, ge=16, le=2048, description="length of the vector of a head")
    view: int = Field(64, ge=16, le=512, multiple_of=8, description="pixels along a side of a region")
    heatmap: int = Field(32, ge=16, le=256, multiple_of=16, description="rows of the heatmap")


class DualPathNet(GazeModel):
    """Direction, two regions, a pathway in each, and their fusion on the panorama."""

    equivariant: ClassVar[bool] = True

    def __init__(self, options: DualPathOptions) -> None:
        super().__init__()
        self.view, self.height = options.view, options.heatmap
        self.estimator = DirectionEstimator(options.width, options.hidden)
        self.distant, self.local = Pathway(options.width), Pathway(options.width)
        self.floor = nn.Parameter(torch.full((2,), OUTSIDE))
        self.fusion = nn.Sequential(
            ConvBlock(4, options.width), ConvBlock(options.width, options.width), SphereConv2d(options.width, 1, 3)
        )

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        line = self.estimator(batch)
        ways = sideways(batch.frames, line.direction.detach())
        exits = line.exit.detach()
        centres = torch.stack([exits, beside(batch.heads, ways, (REACH - batch.radii).clamp_min(0.0))], dim=1)
        frames = tangent.patch_frames(centres)
        reach = torch.full_like(centres[..., 0], REACH)
        rays = tangent.patch_rays(frames, reach, self.view)
        spacing = tangent.patch_spacing(REACH, self.view)
        seen = tangent.sample_sphere(standardised(batch.panoramas), batch.owner, rays, spacing).transpose(1, 2)
        spots = torch.exp(line.kappa.detach()[:, None, None] * ((rays[:, 0] * exits[:, None, None]).sum(-1) - 1.0))
        maps = torch.stack([spots, cone(batch.heads, ways, rays[:, 1])], dim=1)
        views = torch.cat([seen, maps[:, :, None]], dim=2)
        answers = torch.stack([self.distant(views[:, 0]), self.local(views[:, 1])], dim=1)
        pasted, inside = tangent.splat(answers.float(), frames, reach, self.height)
        floor = self.floor[:, None, None]
        pasted = torch.where(inside, pasted[:, :, 0], floor)
        stacked = torch.cat([pasted, inside.to(pasted.dtype)], dim=1)
        heatmap = pasted.sum(dim=1) + self.fusion(stacked)[:, 0]
        return Output(heatmap=heatmap, direction=line.direction, deep=(pasted[:, 0], pasted[:, 1], line.heatmap(self.height)))


class DualPath2021(NeuralPredictor):
    """Sight line in three dimensions, a local and a distant region of the panorama, and the fusion of what is seen in both."""

    name = "dualpath2021"
    summary = "Gaze direction, then a local and a distant region along the sight line, fused on the panorama (ICCV 2021)."
    source = LI_2021
    inputs = ("panorama", "head crop", "head direction", "head radius")
    options = DualPathOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {
            "model": {"width": 32, "hidden": 256, "view": 128, "heatmap": 64},
            "data": {"height": 256, "crop": 128},
        },
        "large": {
            "model": {"width": 64, "hidden": 512, "view": 224, "heatmap": 64},
            "data": {"height": 512, "crop": 128},
        },
    }
    changes = (
        "regions are tangent views of 90 x 90 degrees across seam and poles, not boxes of 90 x 45 degrees of the map",
        "the local region lies beside the head along the projected sight line, not to its left or right only",
        "the cone max(0, cos) is measured between great circles at the head",
        "the Gaussian map of the exit point has the concentration that the direction module predicts for itself",
        "the direction module is that of `direction`: latitude only, no division, small residual network",
        "pathways are small U-Nets with group normalisation and ReLU; answers return to the sphere by inverse warping",
        "outside a region its pathway says a learnt constant; the fusion adds to the sum of both and is told where they reach",
        "trained end to end with the places of the regions detached, where the re-implementation trains in three stages",
    )

    @classmethod
    def network(cls, options: DualPathOptions, settings: Settings) -> DualPathNet:
        """Make the network with fresh weights."""
        del settings
        return DualPathNet(options)
