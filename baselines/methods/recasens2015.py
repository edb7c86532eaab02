"""Recasens et al. (NeurIPS 2015) on the sphere: a saliency map times a gaze mask.

Conventions
-----------
The gaze mask is a D x D picture of the sphere as the head sees it. A cell of the sphere lies in it by the *chord* that leads
there from the head (:mod:`baselines.nets.geometry`): the chord's angle to the inward radius, 0 towards the antipode of the
head and pi / 2 at the head itself, is the distance from the picture's centre (the rim of the inscribed disc is pi / 2); its
azimuth is that in the head's frame, north up, east to the right. Bilinear between the picture's cells, clamped at its edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.methods.saliency import SaliencyMap, SceneOptions
from baselines.nets.blocks import HeadEncoder, crop_standardised, mlp
from baselines.nets.geometry import cell_chords
from baselines.neural import GazeModel, NeuralPredictor
from baselines.training.settings import Settings


class RecasensOptions(SceneOptions):
    """What can be set about the network."""

    mask: int = Field(26, ge=5, le=64, description="cells along a side of the gaze mask")


def mask_places(chords: Tensor) -> Tensor:
    """Where chords (B, 3, h, 2h) in the head's frame fall in the gaze mask: (B, h, 2h, 2), x right and y down in [-1, 1]."""
    east, north, radial = chords.unbind(1)
    sideways = torch.hypot(east, north)
    distance = torch.atan2(sideways, -radial) / (math.pi / 2.0)
    scale = distance / sideways.clamp_min(1e-6)
    return torch.stack([scale * east, -scale * north], dim=-1)


class RecasensNet(GazeModel):
    """log(S G): the saliency map S of the panorama times the gaze mask G of the person, as a density."""

    equivariant: ClassVar[bool] = True

    def __init__(self, options: RecasensOptions) -> None:
        super().__init__()
        width = options.width
        self.side = options.mask
        self.saliency = SaliencyMap(options)
        self.head = HeadEncoder(width, 8 * width)
        self.gaze = mlp([8 * width + 1, 8 * width, 8 * width, options.mask**2])

    def masks(self, batch: Batch) -> Tensor:
        """Logits (B, 1, D, D) of the gaze masks: from the crop and the head's latitude, and nothing else."""
        vector = torch.relu(self.head(crop_standardised(batch.crops)))
        latitude = -batch.heads[:, 1:2]
        return self.gaze(torch.cat([vector, latitude], dim=1)).unflatten(1, (1, self.side, self.side))

    def forward(self, batch: Batch) -> Output:
        """Heatmaps (B, h, 2h)."""
        saliency = self.saliency(batch.panoramas)
        places = mask_places(cell_chords(batch.heads, batch.frames, saliency.shape[-2]))
        masks = self.masks(batch).float()
        mask = nn.functional.grid_sample(masks, places, padding_mode="border", align_corners=False).squeeze(1)
        # S = exp(saliency) > 0 and G = sigmoid(mask): the logarithm of their product
        return Output(heatmap=saliency[batch.owner] + nn.functional.logsigmoid(mask))


class Recasens2015(NeuralPredictor):
    """Two pathways: a saliency map of the whole picture and a gaze mask from head crop and head place, multiplied.

    The original (AlexNet on 227 x 227 pictures) has a saliency pathway that sees the picture and not the person: five
    convolutions from a network for scenes, then one map of 13 x 13 as their weighted sum. Its gaze pathway sees head crop
    and head place and not the picture: five convolutions from ImageNet, fully connected layers, a sigmoid, a mask of
    13 x 13. A fully connected layer reads their element-wise product and classifies the target into the cells of five
    shifted 5 x 5 grids. Nothing but the target supervises either pathway.

    Kept: the two pathways and what each may see; the single saliency map, a weighted sum of features; the coarse mask
    through fully connected layers and a sigmoid; the element-wise product as the only place where person and scene meet;
    no supervision but the target's. Dropped: pretrained AlexNets (both pathways are trained from scratch), the fully
    connected layer after the product (it is tied to absolute places) and with it the shifted grids, whose purpose, smooth
    answers from coarse classes, a softmax over the heatmap's cells against a soft target serves.
    """

    name = "recasens2015"
    summary = "Saliency map of the panorama times a gaze mask from the head crop."
    source = "Recasens, Khosla, Vondrick and Torralba, Where are they looking?, NeurIPS 2015"
    inputs = ("panorama", "head crop", "head direction (for its frame)")
    changes = (
        "the gaze mask lives in the head's frame, over chord directions, resampled to the panorama: turning by yaw is exact",
        "the mask has 26 x 26 cells, not 13 x 13: it spans the whole sphere",
        "of the head's place only the latitude enters the gaze pathway",
        "logits per cell, log(S G), instead of a fully connected layer and five shifted 5 x 5 grids",
        "saliency pathway: a U-Net without borders (seam, poles) that is told the latitude, instead of AlexNet",
    )
    options = RecasensOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {"model": {"width": 32, "depth": 5}, "data": {"height": 256, "crop": 128}},
        "large": {
            "model": {"width": 48, "depth": 5, "stride": 8},
            "data": {"height": 512, "crop": 192},
        },
    }

    @classmethod
    def network(cls, options: RecasensOptions, settings: Settings) -> RecasensNet:
        """Make the network with fresh weights."""
        del settings
        return RecasensNet(options)
