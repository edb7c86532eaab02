"""Tangent patches: gnomonic views cut out of maps on the sphere, and laid back onto it; differentiable both ways.

Conventions
-----------
A *patch* is a square pinhole view. Its frame has the rows right, up and forward, orthonormal: ``frame @ v`` takes a vector to
the patch, whose centre is ``forward``. ``reach`` is half the angle that a patch shows across, radians, below pi / 2. Patch
maps are (..., s, s), row 0 at the top; the value of a cell belongs to its centre. Maps on the sphere are (P, C, H, 2H) on the
equirectangular grid of :mod:`srgaze360.sphere`; ``owner`` (N,) says on which of the P maps a patch lies.

Sampling puts the maps, padded by what lies beyond seam and poles, one below the other and reads them all by one call of
``grid_sample``: in training on a CPU this takes a third to two thirds of the time of gathering by flat indices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from baselines.nets import geometry
from baselines.nets.padding import pad_sphere


def patch_frames(centres: Tensor, roll: Tensor | None = None) -> Tensor:
    """Frames (..., 3, 3) of patches centred on directions (..., 3): local north up, at a pole the north of longitude 0.

    ``roll`` (...), radians, turns a patch clockwise as seen by who looks at it, as in
    :func:`srgaze360.sphere.rotation_from_pose`; what it shows turns the other way.
    """
    upright = geometry.head_frames(centres)
    if roll is None:
        return upright
    right, up, forward = upright.unbind(-2)
    cos, sin = torch.cos(roll).unsqueeze(-1), torch.sin(roll).unsqueeze(-1)
    return torch.stack([cos * right - sin * up, cos * up + sin * right, forward], dim=-2)


def patch_rays(frames: Tensor, reach: Tensor, size: int) -> Tensor:
    """Unit directions (..., s, s, 3) of the cells of patches with frames (..., 3, 3) and reach (...)."""
    frames, reach = geometry.full_precision(frames), geometry.full_precision(reach)
    place = (torch.arange(size, device=frames.device, dtype=frames.dtype) + 0.5) * (2.0 / size) - 1.0
    tangent = torch.tan(reach)[..., None] * place
    right, up, forward = (row[..., None, None, :] for row in frames.unbind(-2))
    rays = forward + tangent[..., None, :, None] * right - tangent[..., :, None, None] * up
    return geometry.normalised(rays)


def patch_spacing(reach: float, size: int) -> float:
    """Angle between neighbouring cells at the centre of a patch of ``size`` cells and ``reach`` radians, radians."""
    return math.atan(2.0 * math.tan(reach) / size)


def pooling(spacing: float, height: int) -> int:
    """Cells of a map of ``height`` rows, a power of two, to average before it is read every ``spacing`` radians.

    Bilinear sampling sees two cells each way, so reading a map more coarsely than its cells skips some of them and what the
    patch shows flickers when it moves. Averaging blocks of k = 2^l cells first, l the rounded log2 of spacing over the size
    of a cell, brings both within a factor of sqrt 2; l is as large as rows allow to be halved, and at least four remain.
    """
    level = max(0, round(math.log2(spacing * height / math.pi)))
    while level and (height % (1 << level) or height >> level < 4):
        level -= 1
    return 1 << level


def sample_sphere(features: Tensor, owner: Tensor, rays: Tensor, spacing: float | None = None) -> Tensor:
    """Bilinear samples (N, C, ...) of maps at directions: exact at the seam and over the poles.

    Parameters
    ----------
    features
        (P, C, H, 2H), H even.
    owner
        (N,), int64, 0 to P - 1.
    rays
        Unit directions (N, ..., 3).
    spacing
        Angle between neighbouring rays, radians (:func:`patch_spacing`). Where it is given and coarser than the map, the map
        is averaged first: :func:`pooling`.

    Notes
    -----
    Differentiable in features and rays. Within 1e-6 of a pole, where longitude means nothing, it is 0 and has no gradient.
    """
    features = geometry.full_precision(features)  # grid_sample takes places in the type of the maps
    block = 1 if spacing is None else pooling(spacing, features.shape[-2])
    if block > 1:
        features = functional.avg_pool2d(features, block)
    count, channels, height, width = features.shape
    # places need more digits than bfloat16 has, and grid_sample wants maps and places of one type
    features = features.to(torch.promote_types(features.dtype, rays.dtype))
    padded = pad_sphere(features, 1, 1).transpose(0, 1).reshape(1, channels, count * (height + 2), width + 2)

    x, y, z = geometry.full_precision(rays).unbind(-1)
    square = x * x + z * z
    polar = square < 1e-12
    flat = torch.sqrt(torch.where(polar, torch.full_like(square, 1e-12), square))
    lon = torch.atan2(torch.where(polar, torch.zeros_like(x), x), torch.where(polar, torch.ones_like(z), z))
    lat = torch.atan2(-y, flat)
    # grid_sample without aligned corners: -1 and 1 are the outer edges of the padded stack
    column = (lon / (2.0 * torch.pi) + 0.5) * width + 1.0
    start = (owner * (height + 2) + 1).view(-1, *(1,) * (lat.dim() - 1))
    row = (0.5 - lat / torch.pi) * height + start
    grid = torch.stack([column * (2.0 / (width + 2)) - 1.0, row * (2.0 / (count * (height + 2))) - 1.0], dim=-1)
    samples = functional.grid_sample(padded, grid.reshape(1, len(rays), -1, 2).to(padded.dtype), align_corners=False)
    return samples[0].transpose(0, 1).unflatten(-1, rays.shape[1:-1])


def splat(maps: Tensor, frames: Tensor, reach: Tensor, height: int) -> tuple[Tensor, Tensor]:
    """Lay patch maps back onto the sphere by inverse warping: every cell of the grid looks up what the patch has there.

    Parameters
    ----------
    maps
        (B, N, C, s, s).
    frames, reach
        (B, N, 3, 3) and (B, N), radians.
    height
        Rows h of the grid on the sphere.

    Returns
    -------
    laid, inside
        (B, N, C, h, 2h), bilinear, the patch's outer half cell continued, 0 outside; and the mask (B, N, h, 2h), bool, of the
        cells whose centre lies within the patch. What is behind the patch's plane is outside. A patch smaller than the cells
        may hold none.

    Notes
    -----
    Differentiable in maps, frames and reach. Takes about 30 + 8 C bytes for each of the B N 2h^2 cells: 60 MB for 48 people
    with ten patches of 4 channels on 32 x 64 cells.
    """
    maps = geometry.full_precision(maps)
    batch, patches, channels, size, _ = maps.shape
    right, up, forward = geometry.cell_cosines(frames, height).flatten(-2).unbind(-2)
    ahead = forward > 1e-4
    depth = torch.where(ahead, forward, torch.ones_like(forward)) * torch.tan(reach).unsqueeze(-1)
    grid = torch.stack([right / depth, -up / depth], dim=-1)
    inside = ahead & (grid.abs() <= 1.0).all(dim=-1)
    grid = torch.where(inside.unsqueeze(-1), grid, torch.zeros_like(grid))
    maps = maps.to(torch.promote_types(maps.dtype, frames.dtype))  # places need more digits than bfloat16 has
    laid = functional.grid_sample(
        maps.reshape(batch * patches, channels, size, size),
        grid.reshape(batch * patches, height, 2 * height, 2).to(maps.dtype),
        padding_mode="border",
        align_corners=False,
    ).unflatten(0, (batch, patches))
    inside = inside.unflatten(-1, (height, 2 * height))
    return laid * inside.unsqueeze(2), inside
