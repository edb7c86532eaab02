"""Small random batches on the sphere, for tests of networks.

Conventions
-----------
Pictures are float in [0, 1], as on the device. ``turned`` turns the whole world by whole columns of the panorama: heads, frames
and targets go along, and a head crop with local north up does not change.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from baselines.data.batch import Batch
from baselines.nets.geometry import head_frames, normalised, rotated

CROP_REACH = 1.6


def random_directions(*shape: int, generator: torch.Generator) -> Tensor:
    """Uniform directions (*shape, 3)."""
    return normalised(torch.randn(*shape, 3, generator=generator))


def make_batch(
    panoramas: int = 2, people: int = 5, height: int = 64, crop: int = 32, seed: int = 0, *, targets: bool = True
) -> Batch:
    """People anywhere on the sphere before panoramas of blurred noise; every panorama has someone if ``people`` suffice.

    Two annotations per person, the second padded (weight 0) for every other one.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(panoramas, 3, height // 4, height // 2, generator=generator)
    pictures = coarse.repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)
    pictures = 0.8 * pictures + 0.2 * torch.rand(panoramas, 3, height, 2 * height, generator=generator)
    heads = random_directions(people, generator=generator)
    radii = 0.05 + 0.15 * torch.rand(people, generator=generator)
    crops = torch.rand(people, 3, crop // 4, crop // 4, generator=generator).repeat_interleave(4, -2).repeat_interleave(4, -1)
    batch = Batch(
        ids=[f"person-{index}" for index in range(people)],
        panoramas=pictures,
        owner=(torch.arange(people) % panoramas).sort().values,
        heads=heads,
        frames=head_frames(heads),
        radii=radii,
        crops=crops,
        reach=(CROP_REACH * radii).clamp_max(math.pi / 3.0),
    )
    if not targets:
        return batch
    gazes = random_directions(people, generator=generator)
    points = torch.stack([gazes, normalised(gazes + 0.05 * torch.randn(people, 3, generator=generator))], dim=1)
    weights = torch.ones(people, 2)
    weights[1::2, 1] = 0.0
    in_frame = (torch.arange(people) % 2 == 0).to(torch.float32)
    photo = (torch.rand(people, height, 2 * height, generator=generator) < 0.3).to(torch.float32)
    return replace(batch, gazes=gazes, points=points, weights=weights, in_frame=in_frame, photo=photo)


def yaw_by(columns: int, width: int) -> Tensor:
    """Rotation (3, 3) that moves what lies at longitude lon to lon + 2 pi columns / width: the roll of the columns."""
    angle = 2.0 * math.pi * columns / width
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def turned(batch: Batch, columns: int) -> Batch:
    """The same people with the world turned to the right by ``columns`` columns of the panorama; crops stay as they are."""
    matrix = yaw_by(columns, batch.panoramas.shape[-1])
    return replace(
        batch,
        panoramas=torch.roll(batch.panoramas, columns, dims=-1),
        photo=None if batch.photo is None else torch.roll(batch.photo, columns, dims=-1),
        heads=rotated(matrix, batch.heads),
        frames=batch.frames @ matrix.T,
        gazes=None if batch.gazes is None else rotated(matrix, batch.gazes),
        points=None if batch.points is None else rotated(matrix, batch.points),
    )


def alone(batch: Batch, index: int) -> Batch:
    """One person of a batch, on their panorama and no other."""
    rows = slice(index, index + 1)
    owner = int(batch.owner[index])
    chosen = {
        name: None if (value := getattr(batch, name)) is None else value[rows]
        for name in ("heads", "frames", "radii", "crops", "reach", "gazes", "points", "weights", "in_frame", "photo")
    }
    picture = batch.panoramas[owner : owner + 1]
    return replace(batch, ids=list(batch.ids[rows]), panoramas=picture, owner=torch.zeros(1, dtype=torch.int64), **chosen)
