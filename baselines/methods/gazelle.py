"""Gaze-LLE on the panorama: a frozen encoder of the scene, a prompt for the head, a light decoder.

Ryan, Bati, Lee, Bolya, Hoffman and Rehg, "Gaze-LLE: Gaze Target Estimation via Large-Scale Learned Encoders", CVPR 2025
(arXiv 2412.09586). The encoder (DINOv2) is never trained and sees the scene once, whoever is asked about. Its tokens are
projected to 256 channels, positions are added, and a learnt vector is added to the tokens on the person's head: the only thing
that says who is asked about. There is no head crop. Three transformer layers follow; the scene's tokens become a heatmap, one
further token says whether the target is inside the photo.

What was changed for the sphere is listed in :attr:`Gazelle.changes`. Positions are relative to the person's longitude: a
panorama has no first column. That makes the decoder equivariant to turning the panorama by whole tokens; the method is not,
because a vision transformer's position embedding knows absolute places (:mod:`baselines.nets.backbones`).

Conventions
-----------
Token maps are (N, D, h, w). P panoramas, B people. Without pretrained weights the method says nothing about Gaze-LLE: its facts
then say ``weights: random``, and tables show no number for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets.backbones import open_backbone
from baselines.nets.blocks import mlp
from baselines.nets.geometry import head_masks
from baselines.nets.padding import upsample_sphere
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings
from srgaze360 import sphere
from srgaze360.errors import InputError

FINEST = 16  # encoders with several maps: the coarsest one of at most this stride is taken, as fine as DINOv2's


class GazelleOptions(Options):
    """What can be set about Gaze-LLE; the defaults are those of the paper."""

    width: int = Field(256, ge=8, le=1024, multiple_of=8, description="channels of the decoder")
    backbone: str = Field("hub:facebook/dinov2-base", description="tiny, random:NAME, local:FOLDER or hub:ID")
    layers: int = Field(3, ge=1, le=24, description="transformer layers")
    attention_heads: int = Field(8, ge=1, le=16, description="heads of attention; they divide the width")
    rows: int = Field(64, ge=16, le=512, multiple_of=8, description="rows of the heatmap")


# --- parts ------------------------------------------------------------------------------------------------------------


def position_embedding(lon: Tensor, lat: Tensor, width: int, rows: int) -> Tensor:
    """Sines and cosines (..., width) of whole multiples of longitudes and latitudes (...), radians.

    The original takes sines of the column's number at geometrically spaced wavelengths (Vaswani et al. 2017, in two
    dimensions), so that the first and the last column of a panorama are farthest apart. Here the frequencies are whole: the
    embedding has period 2 pi. They are spaced geometrically from 1 to ``rows``, the highest that a grid of that many rows and
    twice as many columns can tell apart.
    """
    count = width // 4
    frequencies = torch.from_numpy(np.round(np.geomspace(1.0, rows, count))).to(lon)
    phases = torch.cat([lon.unsqueeze(-1) * frequencies, lat.unsqueeze(-1) * frequencies], dim=-1)
    return torch.cat([torch.sin(phases), torch.cos(phases)], dim=-1)


class Block(nn.Module):
    """Transformer layer with normalisation first (Dosovitskiy et al., ICLR 2021): tokens (N, T, width) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        parts = self.queries_keys_values(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(queries, keys, values)
        x = x + self.mixed(attended.transpose(1, 2).flatten(-2))
        return x + self.perceptron(self.norm(x))


class GazeDecoder(nn.Module):
    """From prompted tokens of the scene to a heatmap of twice the size, and to a token about the whole.

    Parameters
    ----------
    width, layers, heads
        Channels, transformer layers and heads of attention of each.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"Expected model.attention_heads to divide model.width, found {heads} and {width}. Change one.")
        self.in_out_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.enlarge = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.heat = nn.Conv2d(width, 1, 1, bias=False)

    def forward(self, tokens: Tensor, further: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (N, 2h, 2w) and the in/out token (N, D) from tokens (N, D, h, w) and further ones (N, K, D)."""
        size = tokens.shape[-2:]
        first = self.in_out_token.expand(len(tokens), 1, -1)
        ahead = first if further is None else torch.cat([first, further], dim=1)
        x = self.blocks(torch.cat([ahead, tokens.flatten(2).transpose(1, 2)], dim=1))
        scene = x[:, ahead.shape[1] :].transpose(1, 2).unflatten(-1, size)
        return self.heat(self.enlarge(scene)).squeeze(1), x[:, 0]


class PromptedGaze(GazeModel):
    """What Gaze-LLE on panoramas and on views share: encoder, projection, head token, decoder, in/out head."""

    def __init__(self, options: GazelleOptions, *, wraps: bool) -> None:
        super().__init__()
        width = options.width
        self.backbone = open_backbone(options.backbone, trainable=False, sphere=wraps)
        fine = [level for level, stride in enumerate(self.backbone.strides) if stride <= FINEST]
        self.level = fine[-1] if fine else 0
        self.stride = self.backbone.strides[self.level]
        self.project = nn.Conv2d(self.backbone.channels[self.level], width, 1)
        self.head_token = nn.Parameter(0.02 * torch.randn(width))
        self.decoder = GazeDecoder(width, options.layers, options.attention_heads)
        self.in_out = mlp([width, width // 2, 1])

    def scene(self, pictures: Tensor) -> Tensor:
        """Projected tokens (N, D, h, w) of pictures (N, 3, H, W)."""
        return self.project(self.backbone(pictures)[self.level])

    def facts(self) -> dict[str, Any]:
        """What a record should say of the encoder."""
        return self.backbone.facts()


# --- the method on the panorama ---------------------------------------------------------------------------------------


class GazelleNetwork(PromptedGaze):
    """Gaze-LLE with features on the equirectangular grid."""

    def __init__(self, options: GazelleOptions, height: int) -> None:
        super().__init__(options, wraps=True)
        self.backbone.require(height, "data.height")
        tokens = height // self.stride
        if options.rows % (2 * tokens):
            raise InputError(
                f"Expected model.rows to be a multiple of {2 * tokens}, twice the rows of tokens (data.height {height} over "
                f"stride {self.stride}); found {options.rows}. Take {2 * tokens}."
            )
        self.width = options.width
        self.factor = options.rows // (2 * tokens)

    def positions(self, heads: Tensor, rows: int) -> Tensor:
        """Position embedding (B, D, h, 2h) of a grid's cells, longitudes counted from the heads (B, 3)."""
        lon, lat = (torch.from_numpy(a).to(heads) for a in sphere.cell_lonlat(2 * rows, rows))
        away = lon - torch.atan2(heads[:, :1], heads[:, 2:])
        lon, lat = torch.broadcast_tensors(away[:, None, :], lat[:, None])
        return position_embedding(lon, lat, self.width, rows).permute(0, 3, 1, 2)

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        scene = self.scene(batch.panoramas)
        rows = scene.shape[-2]
        prompt = head_masks(batch.heads, batch.radii, rows) * self.head_token[:, None, None]
        logits, token = self.decoder(scene[batch.owner] + self.positions(batch.heads, rows) + prompt)
        heatmap = logits if self.factor == 1 else upsample_sphere(logits.float().unsqueeze(1), self.factor).squeeze(1)
        return Output(heatmap, in_frame=self.in_out(token).squeeze(-1))


class Gazelle(NeuralPredictor):
    """Gaze-LLE (Ryan et al., CVPR 2025) on the panorama: frozen DINOv2 encoder, head prompt, light transformer decoder."""

    name = "gazelle"
    summary = "Frozen DINOv2 features of the panorama, head prompt, light transformer decoder."
    source = "Ryan et al., Gaze-LLE: Gaze Target Estimation via Large-Scale Learned Encoders, CVPR 2025, arXiv 2412.09586"
    inputs = ("panorama", "head position and size")
    needs = "pretrained DINOv2 weights"
    options = GazelleOptions
    changes = (
        "the whole panorama is encoded once, 1 : 2, instead of a square photo",
        "positions: latitude, and longitude counted from the person's, both by whole frequencies (period 360 degrees)",
        "head prompt: a geodesic disc with a soft edge instead of a box, and never less than one token",
        "the heatmap is a density on the sphere, enlarged across seam and poles; it is trained by cross-entropy",
        "no stochastic depth and no dropout in the decoder",
    )
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "model": {"backbone": "random:dinov2-tiny", "width": 64, "layers": 2, "attention_heads": 4, "rows": 32},
            "loss": {"in_frame": 0.1},
        },
        "base": {
            "data": {"height": 448},
            "loss": {"in_frame": 0.1},
        },
        "large": {
            "model": {"backbone": "hub:facebook/dinov2-large"},
            "data": {"height": 448},
            "loss": {"in_frame": 0.1},
        },
    }

    @classmethod
    def outline(cls, size: str) -> Settings:
        """Settings of a size with a fresh encoder in the place of the pretrained one."""
        settings = cls.settings_of({"size": size})
        name = str(settings.model["backbone"]).rpartition("/")[2].removeprefix("random:")
        return cls.settings_of({"size": size, "model": {"backbone": f"random:{name}"}})

    @classmethod
    def network(cls, options: GazelleOptions, settings: Settings) -> GazelleNetwork:
        """Make the network; the encoder is opened here, so that missing weights are known before any training."""
        return GazelleNetwork(options, settings.data.height)
