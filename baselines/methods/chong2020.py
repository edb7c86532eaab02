"""Chong et al. (CVPR 2020), the spatial part, on the sphere: the head says where in the scene features to look.

Conventions
-----------
Attention is a density per steradian on the coarsest grid (g, 2g), scaled to a mean of 1 over the sphere. It is laid out about
the head's own meridian, column 0 right of longitude lon(head) - pi, and shifted to the panorama with linear interpolation
between columns: rows are absolute latitudes, columns are relative longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.methods.saliency import SCENE_CHANNELS, SceneOptions, scene
from baselines.nets.blocks import ConvBlock, HeadEncoder, PanoramaEncoder, crop_standardised, group_norm
from baselines.nets.geometry import cell_solid_angles, head_masks
from baselines.nets.padding import SphereConv2d, upsample_sphere
from baselines.neural import GazeModel, NeuralPredictor
from baselines.training.settings import Settings


def from_head_meridian(maps: Tensor, frames: Tensor) -> Tensor:
    """Maps (B, g, w) over longitudes relative to the heads, on the panorama's own grid, linear between columns.

    The heads' longitudes are those of their frames (B, 3, 3), which are defined at the poles too.
    """
    width = maps.shape[-1]
    east = frames[:, 0]
    shift = torch.atan2(-east[:, 2], east[:, 0]) * (width / (2.0 * math.pi))
    whole = torch.floor(shift)
    part = (shift - whole)[:, None, None]
    columns = torch.arange(width, device=maps.device) - whole.long()[:, None]
    right = maps.gather(2, columns.remainder(width)[:, None, :].expand_as(maps))
    left = maps.gather(2, (columns - 1).remainder(width)[:, None, :].expand_as(maps))
    return (1.0 - part) * right + part * left


class Attention(nn.Module):
    """Weights of the scene's cells from head features and head mask, by one linear layer (Chong et al., section 4.1)."""

    def __init__(self, features: int, rows: int, mask_rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.linear = nn.Linear(features + mask_rows, 2 * rows * rows)

    def forward(self, vectors: Tensor, masks: Tensor, frames: Tensor) -> Tensor:
        """Weights (B, 1, g, 2g) of mean 1 over the sphere, from head features (B, F) and masks (B, 1, h, 2h)."""
        # about the head's meridian a mask says how high and how large the head is; that is what is left over all longitudes
        profile = masks.amax(dim=-1).flatten(1)
        logits = self.linear(torch.cat([vectors, profile], dim=1)).unflatten(1, (self.rows, 2 * self.rows))
        logits = from_head_meridian(logits, frames)
        areas = cell_solid_angles(self.rows, logits.device)
        shares = torch.softmax((logits + areas.log()).flatten(1), dim=1).unflatten(1, areas.shape)
        return (4.0 * math.pi * shares / areas).unsqueeze(1)


class Beside(nn.Module):
    """1 x 1 convolution over scene features (B, C, g, 2g) with a person's head features (B, F) beside them in every cell.

    Computed as a sum of two, which is the same; then group normalisation and ReLU: (B, outputs, g, 2g).
    """

    def __init__(self, channels: int, features: int, outputs: int) -> None:
        super().__init__()
        self.of_scene = nn.Conv2d(channels, outputs, 1, bias=False)
        self.of_head = nn.Linear(features, outputs, bias=False)
        self.norm = group_norm(outputs)

    def forward(self, attended: Tensor, vectors: Tensor) -> Tensor:
        """Compress attended scene features and head features."""
        return torch.relu(self.norm(self.of_scene(attended) + self.of_head(vectors)[:, :, None, None]))


class Enlarge(nn.Module):
    """Twice the rows and columns, (B, inputs, g, 2g) to (B, outputs, 2g, 4g), as a transposed convolution would."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.block = ConvBlock(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (B, inputs, g, 2g)."""
        return self.block(upsample_sphere(self.reduce(x)))


class ChongNet(GazeModel):
    """Scene features times attention, head features beside them, compressed, then enlarged to a heatmap.

    ``height``, the rows of the panorama, fixes the attention's grid, as the original's 224 x 224 pixels do.
    """

    equivariant: ClassVar[bool] = True

    def __init__(self, options: SceneOptions, height: int) -> None:
        super().__init__()
        width = options.width
        features, coarse, code = 8 * width, 8 * width, 4 * width
        rows = height // 2**options.depth
        self.mask_rows = 4 * rows
        self.head = HeadEncoder(width, features)
        self.encoder = PanoramaEncoder(width, options.depth - 1, inputs=SCENE_CHANNELS)
        self.of_scene = nn.Conv2d(self.encoder.channels[-1], code, 1)
        self.of_mask = SphereConv2d(1, code, 4, stride=2, bias=False)
        self.last = nn.Sequential(ConvBlock(code, coarse, 2, stride=2), ConvBlock(coarse, coarse))
        self.attention = Attention(features, rows, self.mask_rows)
        self.compress = Beside(coarse, features, coarse)
        self.judge = Beside(coarse, features, code)
        self.in_frame = nn.Linear(code, 1)
        doublings = options.depth - int(math.log2(options.stride))
        widths = [max(width, code // 2**level) for level in range(doublings + 1)]
        self.decode = nn.Sequential(ConvBlock(coarse, code, 1), *(Enlarge(a, b) for a, b in pairwise(widths)))
        self.predict = nn.Conv2d(widths[-1], 1, 1, bias=False)

    def forward(self, batch: Batch) -> Output:
        """Heatmaps (B, h, 2h) and logits (B,) of being in frame."""
        vectors = torch.relu(self.head(crop_standardised(batch.crops)))
        masks = head_masks(batch.heads, batch.radii, self.mask_rows)
        shared = self.of_scene(self.encoder(scene(batch.panoramas))[-1])
        features = self.last(torch.relu(shared[batch.owner] + self.of_mask(masks)))
        attended = features * self.attention(vectors, masks, batch.frames)
        heatmap = self.predict(self.decode(self.compress(attended, vectors))).squeeze(1)
        verdict = self.judge(attended, vectors).mean(dim=(-2, -1))
        return Output(heatmap=heatmap, in_frame=self.in_frame(verdict).squeeze(1))


class Chong2020(NeuralPredictor):
    """Head features and head place say where in the scene features to look; a heatmap and an in-frame score come from there.

    The original's spatial part has two ResNet-50s with one more stage each. The scene branch reads the picture with the
    head's mask as fourth channel and gives 1024 maps of 7 x 7; the head branch reads the crop. Averaged head features and the
    mask, max-pooled to 28 x 28, go through one linear layer and a softmax to 7 x 7 weights, which multiply the scene maps.
    These, with the head maps beside them, are compressed by two 1 x 1 convolutions and enlarged by three transposed ones to a
    heatmap of 64 x 64 (squared error against a Gaussian); a second pair of 1 x 1 convolutions and a linear layer judge
    whether the target is in the frame.

    Kept: what each branch sees, the head mask in the scene branch and in the attention, attention by one linear layer and a
    softmax, attended scene beside head features, compression by 1 x 1 convolutions, a decoder without connections to finer
    scene features, the in-frame branch. There are no direction fields and no supervision of the direction, as there are none
    in the original. Dropped: ConvLSTM and video, pretrained ResNets (trained from scratch), squared error (the losses common
    to all methods here: cross-entropy of a softmax over the heatmap's cells), the heatmap's rescaling by the in-frame score.
    """

    name = "chong2020"
    summary = "Attention over scene features from head crop and head mask; heatmap and in-frame score (spatial part)."
    source = "Chong, Wang, Ruiz and Rehg, Detecting Attended Visual Targets in Video, CVPR 2020 (spatial part)"
    inputs = ("panorama", "head crop", "head mask")
    changes = (
        "the attention is laid out about the head's own meridian and shifted to the panorama: turning by yaw is exact",
        "attention is a density per steradian, so that the cells at the poles weigh what they cover",
        "the head mask is a cap on the sphere; it joins the scene features before their last stage: people share the rest",
        "head features stand beside every cell as one vector: a 7 x 7 crop has no place on the panorama's grid",
        "no borders (seam, poles): transposed convolutions became enlargements and convolutions",
        "small encoders instead of ResNet-50; that of the scene is told the latitude",
        "the in-frame branch averages over cells, where the original has a weight for each absolute place",
    )
    options = SceneOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"loss": {"in_frame": 0.1}},
        "base": {
            "model": {"width": 32, "depth": 5},
            "data": {"height": 256, "crop": 128},
            "loss": {"in_frame": 0.1},
        },
        "large": {
            "model": {"width": 48, "depth": 5, "stride": 8},
            "data": {"height": 512, "crop": 192},
            "loss": {"in_frame": 0.1},
        },
    }

    @classmethod
    def network(cls, options: SceneOptions, settings: Settings) -> ChongNet:
        """Make the network with fresh weights."""
        return ChongNet(options, settings.data.height)
