"""Convolution on a panorama without borders: columns wrap at the seam, rows continue over the poles.

Conventions
-----------
Feature maps are (B, C, H, W) on the equirectangular grid. Going up from row 0 one crosses the zenith and comes down on the
opposite meridian: the row above row 0 is row 0 turned by half the width. So it is at the nadir. W must be even.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pad_sphere(x: Tensor, rows: int, columns: int) -> Tensor:
    """Pad (B, C, H, W) to (B, C, H + 2 rows, W + 2 columns) by what lies there on the sphere."""
    half = x.shape[-1] // 2
    if rows:
        above = torch.roll(x[..., :rows, :].flip(-2), half, dims=-1)
        below = torch.roll(x[..., -rows:, :].flip(-2), half, dims=-1)
        x = torch.cat([above, x, below], dim=-2)
    if columns:
        x = torch.cat([x[..., -columns:], x, x[..., :columns]], dim=-1)
    return x


class SphereConv2d(nn.Conv2d):
    """A convolution whose padding is :func:`pad_sphere`; equivariant to turning the panorama by whole strides.

    Arguments as of :class:`torch.nn.Conv2d`; ``padding`` defaults to what keeps the size at stride 1.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, dilation=dilation, groups=groups, bias=bias)
        self.reach = dilation * (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        return super().forward(pad_sphere(x, self.reach, self.reach))


def upsample_sphere(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear enlargement of (B, C, H, W) that knows the seam and the poles."""
    padded = pad_sphere(x, 1, 1)
    enlarged = nn.functional.interpolate(padded, scale_factor=factor, mode="bilinear", align_corners=False)
    return enlarged[..., factor:-factor, factor:-factor]
