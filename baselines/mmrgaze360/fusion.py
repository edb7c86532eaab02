"""Fusion: scene, 360-FoV and the patches' evidence become the final heatmap.

Conventions
-----------
Scene features (P, C, h, 2h) are computed once per panorama and shared by its people; all that is done per person is light.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from baselines.mmrgaze360.reborn import Reinject
from baselines.nets.blocks import ConvBlock
from baselines.nets.padding import upsample_sphere

COARSER = 4


class Fused(NamedTuple):
    """Heatmap logits (B, h, 2h), and the features (B, C, h, 2h) they were made of."""

    heatmap: Tensor
    features: Tensor


class Fusion(nn.Module):
    """Heatmap logits (B, h, 2h) from scene features, the maps of a person, and the head's vector.

    The person's maps are lifted to C channels, scaled and shifted by the head's vector (FiLM: Perez et al., AAAI 2018), and
    added to the scene's: what of the scene counts depends on who looks, in channels and in space. Perceptrons cell by cell
    follow; then convolutions on a grid :data:`COARSER` times as coarse, so that a cell knows of other places where the target
    may be, and one over neighbours.

    Parameters
    ----------
    channels
        Of scene features.
    maps
        Channels of the person's maps.
    features
        Length of the head's vector.
    coarse
        Whether the coarse convolutions are there.
    reinject
        Whether earlier features re-enter later blocks.
    """

    def __init__(self, channels: int, maps: int, features: int, *, coarse: bool, reinject: bool) -> None:
        super().__init__()
        self.lift = nn.Conv2d(maps, channels, 1)
        self.film = nn.Linear(features, 2 * channels)
        self.scene = nn.Conv2d(channels, channels, 1)
        self.cells = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU()
        )
        self.coarse = None
        if coarse:
            self.coarse = nn.Sequential(ConvBlock(channels, 2 * channels), ConvBlock(2 * channels, channels))
        self.body = Reinject([ConvBlock(channels, channels), ConvBlock(channels, channels, 1)], channels, on=reinject)
        self.out = nn.Conv2d(channels, 1, 1, bias=False)  # a constant changes no heatmap

    def forward(self, scene: Tensor, owner: Tensor, maps: Tensor, features: Tensor) -> Fused:
        """Fuse scene (P, C, h, 2h), maps (B, M, h, 2h) and head vectors (B, F)."""
        gain, shift = self.film(features)[..., None, None].chunk(2, dim=1)
        x = self.lift(maps) * (1.0 + gain) + shift + self.scene(scene)[owner]
        x = self.cells(x)
        if self.coarse is not None:
            x = x + upsample_sphere(self.coarse(nn.functional.avg_pool2d(x, COARSER)), COARSER)
        return Fused(self.out(x + self.body(x))[:, 0], x)
