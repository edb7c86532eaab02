"""Distortion-aware convolution on a panorama: kernel taps keep their place on the sphere, not on the grid.

SphereNet (Coors, Condurache and Geiger, ECCV 2018, equations 1 to 5) and, for other tasks, Tateno, Navab and Tombari (ECCV
2018). The taps of a kernel lie on the plane that touches the sphere at the kernel's centre, where a kernel on the equator would
have them: tap (i, j) at (tan(j D), tan(i D) / cos(j D)) with D the spacing of the grid. Projected back to the sphere that is
the direction of latitude i D and longitude j D, turned to the centre's latitude: so it is computed here. At the equator this
is an ordinary convolution; towards the poles the taps spread in longitude, and they continue over the pole.

Conventions
-----------
Feature maps are (B, C, H, W) on the equirectangular grid of :mod:`baselines.nets.padding`, W = 2 H. A kernel's rows go from
north to south and its columns from west to east, along the local north: turning the sphere about its vertical axis turns the
output; another rotation does so (up to interpolation) wherever it leaves the local north as it was, and everywhere for kernels
that are the same in all directions. Values between the centres of cells are bilinear and know the seam and the poles.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from baselines.nets.padding import pad_sphere
from srgaze360 import sphere


def tap_pixels(height: int, kernel: int, stride: int = 1) -> sphere.FloatArray:
    """Continuous pixels (h, kernel, kernel, 2) of the taps on a grid of ``height`` rows: x from the centre, y absolute.

    h = height / stride. They are the same for every column of a row of the output. A tap on a pole, where longitude has no
    meaning, keeps that of the kernel's centre.
    """
    offsets = (np.arange(kernel) - kernel // 2) * (np.pi / height)
    local = sphere.direction_from_lonlat(offsets[None, :], -offsets[:, None])
    _, latitudes = sphere.cell_lonlat(2 * height // stride, height // stride)
    taps = sphere.rotate(sphere.rotation_from_pose(0.0, latitudes, 0.0)[:, None, None], local)
    polar = np.hypot(taps[..., 0], taps[..., 2]) < 1e-9
    lon, lat = sphere.lonlat_from_direction(taps)
    return np.stack([np.where(polar, 0.0, lon) * height / np.pi, (0.5 - lat / np.pi) * height], axis=-1)


@lru_cache(maxsize=64)
def _sampling(height: int, kernel: int, stride: int, device: torch.device) -> Tensor:
    """Where to sample a map of ``height`` rows padded by one cell: (1, h kernel, w kernel, 2) for ``grid_sample``."""
    taps, columns = tap_pixels(height, kernel, stride), 2 * height // stride
    centres = (np.arange(columns) + 0.5) * stride
    x = np.mod(centres[None, :, None, None] + taps[:, None, ..., 0], 2.0 * height)
    y = np.broadcast_to(taps[:, None, ..., 1], x.shape)
    scaled = np.stack([(x + 1.0) / (height + 1.0), (y + 1.0) / (height / 2.0 + 1.0)], axis=-1) - 1.0
    laid_out = scaled.swapaxes(1, 2).reshape(1, len(taps) * kernel, columns * kernel, 2)
    with torch.inference_mode(False):  # what is kept here is used in training too, whoever asked first
        return torch.from_numpy(laid_out).float().to(device)


class SphereNetConv2d(nn.Conv2d):
    """A convolution whose taps lie on the tangent plane of each cell.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel
        Cells along a side, odd.
    stride
        Cells of the input to a cell of the output; the output's cells have their centres between those of the input then.
    bias
        As of :class:`torch.nn.Conv2d`.

    Notes
    -----
    Where to sample depends on the number of rows only. It is computed once per size and device, and is no part of a checkpoint.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, bias: bool = True) -> None:
        # each output cell reads its own kernel x kernel block of samples: the blocks do not overlap
        super().__init__(inputs, outputs, kernel, stride=kernel, bias=bias)
        self.spacing = stride

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, outputs, H / stride, W / stride)."""
        grid = _sampling(x.shape[-2], self.kernel_size[0], self.spacing, x.device)
        # places on the grid need all digits, also where features are kept in half precision
        precise = torch.promote_types(x.dtype, torch.float32)
        places = grid.to(precise).expand(len(x), -1, -1, -1)
        samples = nn.functional.grid_sample(pad_sphere(x.to(precise), 1, 1), places, mode="bilinear", align_corners=False)
        return super().forward(samples.to(x.dtype))
