"""Blocks that all methods share: convolutions on the panorama, encoders of panorama and head crop, decoder, perceptrons.

Conventions
-----------
Pictures are floats in [0, 1], (N, 3, rows, columns). Feature maps of panoramas are (P, C, h, 2h) on the equirectangular grid
and never have a border (:mod:`baselines.nets.padding`): every block turns its answer by k columns when its input is turned by
k times its stride. Blocks that halve the grid look at whole 2 x 2 or 4 x 4 cells centred on the new cell, so that features
stay registered with the cell centres of their own grid and a mirrored panorama is seen alike. Head crops are no spheres: they
are padded by zeros. Normalisation is over groups of channels of one picture, never over the batch, so that an answer does not
depend on what else is asked. ReLU, not GELU: the same in quality at these sizes and half as expensive on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from baselines.nets.padding import SphereConv2d, upsample_sphere

# mean and spread of ImageNet's channels: the pictures of every dataset here are photographs, or meant to look like them
MEAN = (0.485, 0.456, 0.406)
SPREAD = (0.229, 0.224, 0.225)


def standardised(panoramas: Tensor) -> Tensor:
    """Panoramas (P, 3, H, W) in [0, 1] less a fixed mean, over a fixed spread: the same for every picture."""
    mean = panoramas.new_tensor(MEAN)[:, None, None]
    spread = panoramas.new_tensor(SPREAD)[:, None, None]
    return (panoramas - mean) / spread


def crop_standardised(crops: Tensor) -> Tensor:
    """Crops (B, 3, S, S) in [0, 1], each with mean 0 and spread 1 over its pixels and channels; a constant crop becomes 0.

    One mean and spread for all three channels keep the hue. Spreads well below 0.03 (eight levels of 255) are not blown up.
    """
    centred = crops - crops.mean(dim=(-3, -2, -1), keepdim=True)
    variance = (centred * centred).mean(dim=(-3, -2, -1), keepdim=True)
    return centred * torch.rsqrt(variance + 1e-3)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with the largest number of groups up to 8 that leaves at least four channels in each."""
    groups = next(g for g in range(min(8, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Perceptron through layers of the given sizes, ReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# --- the panorama -----------------------------------------------------------------------------------------------------


class ConvBlock(nn.Module):
    """Convolution on the sphere, group normalisation, ReLU: (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = SphereConv2d(inputs, outputs, kernel, stride=stride, dilation=dilation, bias=False)
        self.norm = group_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (N, inputs, h, w)."""
        return torch.relu_(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """x + two convolutions on the sphere (He et al., CVPR 2016, basic block), (N, channels, h, w), same size.

    The second normalisation starts at 0, so that the block starts as the identity (Goyal et al., arXiv 1706.02677, 5.1).
    """

    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, dilation=dilation)
        self.conv = SphereConv2d(channels, channels, 3, bias=False)
        self.norm = group_norm(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (N, channels, h, w)."""
        return torch.relu_(x + self.norm(self.conv(self.first(x))))


class PanoramaEncoder(nn.Module):
    """Features of a panorama at strides 2, 4, 8, ...: the finest have ``width`` channels, each next one twice as many.

    Parameters
    ----------
    width
        Channels at stride 2.
    depth
        Number of strides. The rows of the panorama must be a multiple of 2^depth.
    inputs
        Channels of the panorama: more than 3 where maps are stacked on it.

    Attributes
    ----------
    channels, strides
        Of the feature maps that :meth:`forward` returns, finest first.
    """

    def __init__(self, width: int, depth: int = 4, inputs: int = 3) -> None:
        super().__init__()
        self.channels = [width * 2**level for level in range(depth)]
        self.strides = [2 ** (level + 1) for level in range(depth)]
        coarser = (nn.Sequential(ConvBlock(c // 2, c, 2, stride=2), ResidualBlock(c)) for c in self.channels[1:])
        self.levels = nn.ModuleList([ConvBlock(inputs, width, 4, stride=2), *coarser])

    def forward(self, panoramas: Tensor) -> list[Tensor]:
        """Feature maps, finest first, of standardised panoramas (P, inputs, H, 2H)."""
        x = panoramas
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class PanoramaDecoder(nn.Module):
    """From the maps of a :class:`PanoramaEncoder` back to one map at a given stride.

    A U-Net (Ronneberger et al., MICCAI 2015) of constant width, as in feature pyramids (Lin et al., CVPR 2017): the coarse map
    is enlarged, the next finer one is added through a 1 x 1 convolution, the sum goes through a block; and so on.

    Parameters
    ----------
    channels
        Channels of the maps to come, finest first: ``encoder.channels``, with what a method has joined to them.
    width_out
        Channels of the answer.
    stride
        Of the answer: 2, 4, ...; maps finer than this are not looked at.
    """

    def __init__(self, channels: Sequence[int], width_out: int, *, stride: int = 4) -> None:
        super().__init__()
        self.finest = stride.bit_length() - 2
        used = channels[self.finest :]
        self.laterals = nn.ModuleList(nn.Conv2d(c, width_out, 1) for c in used)
        self.blocks = nn.ModuleList(ConvBlock(width_out, width_out) for _ in used[1:])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features (N, width_out, h, 2h) at the decoder's stride from maps, finest first."""
        *finer, x = (lateral(m) for lateral, m in zip(self.laterals, maps[self.finest :], strict=True))
        for lateral, block in zip(reversed(finer), reversed(self.blocks), strict=True):
            x = block(upsample_sphere(x) + lateral)
        return x


# --- the head crop ----------------------------------------------------------------------------------------------------


class CropBlock(nn.Module):
    """Halves a crop's sides, then a residual block: (B, inputs, s, s) to (B, outputs, s / 2, s / 2), zeros outside."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 2, stride=2, bias=False)
        self.norm = group_norm(outputs)
        self.first = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.first_norm = group_norm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = group_norm(outputs)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, inputs, s, s)."""
        x = torch.relu_(self.norm(self.down(x)))
        y = torch.relu_(self.first_norm(self.first(x)))
        return torch.relu_(x + self.second_norm(self.second(y)))


class HeadEncoder(nn.Module):
    """Vector (B, out) of a standardised head crop (B, 3, S, S), S >= 16: a small residual network.

    Where in the crop something is tells where the head faces, so the last map is brought to 4 x 4 and laid out as it is,
    beside its mean.

    Parameters
    ----------
    width
        Channels at stride 2; each halving doubles them, up to four times ``width``.
    out
        Length of the vector.
    depth
        Number of halvings: S / 2^depth should be 4 or more.
    """

    SIDE = 4

    def __init__(self, width: int, out: int, depth: int = 4, inputs: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, width, 4, stride=2, padding=1, bias=False), group_norm(width), nn.ReLU(inplace=True)
        )
        widths = [width * min(4, 2**level) for level in range(depth)]
        self.stages = nn.Sequential(*(CropBlock(a, b) for a, b in pairwise(widths)))
        self.pool = nn.AdaptiveAvgPool2d(self.SIDE)
        self.project = nn.Linear(widths[-1] * (self.SIDE**2 + 1), out)

    def forward(self, crops: Tensor) -> Tensor:
        """Vectors (B, out) of crops (B, inputs, S, S)."""
        features = self.pool(self.stages(self.stem(crops)))
        return self.project(torch.cat([features.flatten(1), features.mean(dim=(-2, -1))], dim=1))
