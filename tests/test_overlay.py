"""Patches laid onto the sphere together: against laying each by itself, and where a planted mark ends up."""

from __future__ import annotations

import math

import numpy as np
import torch

from baselines.nets.overlay import gather, meetings, read
from baselines.nets.tangent import patch_frames, splat
from srgaze360 import sphere

CENTRES = [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [0.02, 0.999, 0.03], [-0.6, 0.3, -0.74]]


def patches(people: int, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (people, count, 3, 3) at awkward places and anywhere else, and reaches (people, count)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(people, count, 3, generator=generator)
    centres.view(-1, 3)[: len(CENTRES)] = torch.tensor(CENTRES)
    centres = torch.nn.functional.normalize(centres, dim=-1)
    return patch_frames(centres), torch.linspace(0.15, 0.9, people * count).view(people, count)


def test_sums_are_those_of_patches_laid_one_by_one() -> None:
    frames, reach = patches(3, 4)
    maps = torch.randn(3, 4, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    laid, inside = splat(maps, frames, reach, 16)
    met = meetings(frames, reach, 16)
    assert len(met.patch) == int(inside.sum())
    torch.testing.assert_close(gather(read(maps, met), met), laid.sum(1), atol=5e-5, rtol=0)
    ones = gather(torch.ones(1, len(met.patch)), met)
    torch.testing.assert_close(ones[:, 0], inside.sum(1).float(), atol=0, rtol=0)


def test_a_mark_planted_in_a_patch_lies_in_its_direction() -> None:
    """A peak in the upper right of a patch: the largest cell on the sphere is the one nearest to its ray."""
    frames, reach = patches(1, len(CENTRES))
    for index in range(len(CENTRES)):
        maps = torch.zeros(1, len(CENTRES), 1, 9, 9)
        maps[0, index, 0, 2, 6] = 1.0  # third row from the top, third column from the right
        met = meetings(frames, reach, 64)
        total = gather(read(maps, met), met)[0, 0].double().numpy()
        frame, edge = frames[0, index].double().numpy(), math.tan(float(reach[0, index]))
        ray = frame[2] + edge * (2 * 6.5 / 9 - 1) * frame[0] - edge * (2 * 2.5 / 9 - 1) * frame[1]
        row, column = np.unravel_index(np.argmax(total), total.shape)
        found = sphere.cell_directions(128, 64)[row, column]
        assert sphere.angle_between(found, sphere.normalise(ray)) < math.radians(2.3)  # within the cell


def test_gradients_flow_to_what_patches_say() -> None:
    frames, reach = patches(2, 3)
    maps = torch.randn(2, 3, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    met = meetings(frames.double(), reach.double(), 8)
    assert torch.autograd.gradcheck(lambda m: gather(read(m, met), met), (maps,))


def test_what_is_behind_a_patch_is_not_in_it() -> None:
    frames = patch_frames(torch.tensor([[[0.0, 0.0, 1.0]]]))
    met = meetings(frames, torch.tensor([[1.2]]), 16)
    cells = torch.from_numpy(sphere.cell_directions(32, 16)).reshape(-1, 3)[met.cell]
    assert (cells[:, 2] > 0.2).all()
    assert len(met.cell) > 50


def test_under_mixed_precision_patches_hold_the_same_cells_at_the_same_places() -> None:
    frames, reach = patches(2, 6)
    plain = meetings(frames, reach, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = meetings(frames, reach, 32)
    for before, after in zip(plain[:3], mixed[:3], strict=True):
        torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_places_keep_their_digits_in_half_precision() -> None:
    frames, reach = patches(1, 5)
    maps = torch.randn(1, 5, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    met = meetings(frames, reach, 32)
    exact, rough = read(maps, met), read(maps.to(torch.bfloat16), met)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.03, rtol=0)  # the maps' own rounding
