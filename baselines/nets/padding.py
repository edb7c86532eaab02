"""Convolution on a panorama without borders: columns wrap at the seam, rows continue over the poles.

Conventions
-----------
Feature maps are (B, C, H, W) on the equirectangular grid. Going up from row 0 one crosses the zenith and comes down on the
opposite meridian: the row above row 0 is row 0 turned by half the width. So it is at the nadir. W must be even.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from srgaze360.errors import InputError


def pad_sphere(x: Tensor, rows: int, columns: int) -> Tensor:
    """Pad (B, C, H, W) to (B, C, H + 2 rows, W + 2 columns) by what lies there on the sphere.

    Raises
    ------
    InputError
        W is odd, or the padding is larger than the map.
    """
    height, width = x.shape[-2:]
    if width % 2 or rows > height or columns > width:
        raise InputError(
            f"A feature map of a panorama must have an even width and at least {rows} rows and {columns} columns to be padded; "
            f"found {height} x {width}. Use a larger panorama (data.height) or fewer halvings."
        )
    if torch.is_grad_enabled() and x.requires_grad:
        return _PadSphere.apply(x, rows, columns)
    return _padded(x, rows, columns)


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    half = x.shape[-1] // 2
    if rows:
        above = torch.roll(x[..., :rows, :].flip(-2), half, dims=-1)
        below = torch.roll(x[..., -rows:, :].flip(-2), half, dims=-1)
        x = torch.cat([above, x, below], dim=-2)
    if columns:
        x = torch.cat([x[..., -columns:], x, x[..., :columns]], dim=-1)
    return x


class _PadSphere(torch.autograd.Function):
    """The padding with its gradient written out: borders are folded back onto where they were taken.

    Autograd's own makes a map of zeros for each of the six slices, and takes more than twice as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int, columns: int) -> Tensor:  # noqa: ANN401 - torch's context
        ctx.rows, ctx.columns, ctx.size = rows, columns, x.shape[-2:]
        return _padded(x, rows, columns)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 - torch's context
        rows, columns, (height, width) = ctx.rows, ctx.columns, ctx.size
        folded = gradient[..., columns : columns + width].clone()
        if columns:
            folded[..., -columns:] += gradient[..., :columns]
            folded[..., :columns] += gradient[..., columns + width :]
        inner = folded[..., rows : rows + height, :]
        if rows:
            inner[..., :rows, :] += torch.roll(folded[..., :rows, :].flip(-2), width // 2, dims=-1)
            inner[..., -rows:, :] += torch.roll(folded[..., rows + height :, :].flip(-2), width // 2, dims=-1)
        return inner, None, None


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
