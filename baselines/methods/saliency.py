"""Saliency: the scene alone, as far as it gets without a look at the person; and the scene pathway that the classics share.

Conventions
-----------
Panoramas are (P, 3, H, 2H) in [0, 1], answers are logits on the grid (h, 2h) with h = H / stride (:mod:`baselines.data.batch`).
A convolution on the sphere has no border and cannot tell rows apart, while one padded by zeros learns where in the picture it
is; the sine of the latitude therefore goes in as a fourth channel. Nothing tells columns apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets.blocks import PanoramaDecoder, PanoramaEncoder, standardised
from baselines.nets.geometry import cell_directions
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings

SCENE_CHANNELS = 4


class SceneOptions(Options):
    """What can be set about a network that looks at the whole panorama."""

    depth: int = Field(4, ge=3, le=5, description="times the panorama is halved")
    stride: Literal[4, 8] = Field(4, description="rows of the panorama per row of the heatmap")


def scene(panoramas: Tensor) -> Tensor:
    """Standardised panoramas with the sine of the latitude as a fourth channel: (P, 4, H, 2H) of (P, 3, H, 2H)."""
    sines = -cell_directions(panoramas.shape[-2], panoramas.device)[..., 1].to(panoramas.dtype)
    plane = sines.expand(panoramas.shape[0], 1, *sines.shape)
    return torch.cat([standardised(panoramas), plane], dim=1)


class SaliencyMap(nn.Module):
    """From panoramas to one map each: a U-Net (Ronneberger et al., MICCAI 2015) on the sphere.

    The last convolution is a weighted sum of the decoder's maps. It has no bias: a constant cancels in the softmax.
    """

    def __init__(self, options: SceneOptions) -> None:
        super().__init__()
        self.encoder = PanoramaEncoder(options.width, options.depth, inputs=SCENE_CHANNELS)
        self.decoder = PanoramaDecoder(self.encoder.channels, 2 * options.width, stride=options.stride)
        self.weigh = nn.Conv2d(2 * options.width, 1, 1, bias=False)

    def forward(self, panoramas: Tensor) -> Tensor:
        """Log-saliency (P, h, 2h) of panoramas (P, 3, H, 2H)."""
        return self.weigh(self.decoder(self.encoder(scene(panoramas)))).squeeze(1)


class SaliencyNet(GazeModel):
    """The map of a panorama is the answer for everyone on it."""

    equivariant: ClassVar[bool] = True

    def __init__(self, options: SceneOptions) -> None:
        super().__init__()
        self.saliency = SaliencyMap(options)

    def forward(self, batch: Batch) -> Output:
        """Heatmaps (B, h, 2h): the same for all people of a panorama."""
        return Output(heatmap=self.saliency(batch.panoramas)[batch.owner])


class Saliency(NeuralPredictor):
    """Scene only: a U-Net on the panorama that never sees the head, trained on where people look.

    The control for every method that claims to follow a person's gaze. On GazeFollow360 a planar saliency network (SALICON,
    Huang et al., ICCV 2015) came second of eight in AUC and far behind in distance (0.8002 and 1.0940 rad; Li et al., ICCV
    2021). This is not that network: no weights from fixations of viewers are used, the map is learnt from the gaze targets
    of the train split. It knows picture and latitude; people of one panorama all get the same answer.
    """

    name = "saliency"
    summary = "Scene only: a U-Net on the panorama that does not look at the head."
    source = "Ours (U-Net: Ronneberger, Fischer and Brox, MICCAI 2015), in the place of SALICON in Li et al., ICCV 2021"
    inputs = ("panorama",)
    changes = (
        "convolutions without borders: columns wrap at the seam, rows continue over the poles",
        "the sine of the latitude is a fourth channel, since nothing else tells rows apart",
        "trained on gaze targets with cells weighted by solid angle, not on fixations of viewers",
    )
    options = SceneOptions
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {},
        "base": {"model": {"width": 32, "depth": 5}, "data": {"height": 256}},
        "large": {"model": {"width": 48, "depth": 5, "stride": 8}, "data": {"height": 512}},
    }

    @classmethod
    def network(cls, options: SceneOptions, settings: Settings) -> SaliencyNet:
        """Make the network with fresh weights."""
        del settings
        return SaliencyNet(options)
