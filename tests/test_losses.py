"""Losses: against float64 references and closed forms, on the seam, at the poles, where angles have no derivative."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import toy_batch

from baselines.data.batch import Batch, Output, Patches
from baselines.nets import geometry
from baselines.training import losses
from baselines.training.parts import cut
from baselines.training.settings import LossSettings
from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError
from srgaze360.sphere import FloatArray

ALL = LossSettings(distance=0.5, in_frame=0.3, photo=0.4)
# straight ahead, on the seam from both sides, at both poles, anywhere
PLACES = [(0.3, 0.2), (np.pi, 0.1), (-np.pi + 1e-6, -0.4), (0.0, np.pi / 2), (1.0, -np.pi / 2), (-2.0, 1.0)]
TARGETS = sphere.direction_from_lonlat(*np.array(PLACES).T)


def people(heads: Any, gazes: Any, points: Any = None, weights: Any = None, in_frame: Any = None) -> Batch:
    heads = torch.as_tensor(np.asarray(heads), dtype=torch.float32)
    gazes = torch.as_tensor(np.asarray(gazes), dtype=torch.float32)
    points = gazes[:, None] if points is None else torch.as_tensor(np.asarray(points), dtype=torch.float32)
    n = len(heads)
    return Batch(
        ids=[f"p{k}" for k in range(n)],
        panoramas=torch.zeros(1, 3, 2, 4),
        owner=torch.zeros(n, dtype=torch.int64),
        heads=heads,
        frames=geometry.head_frames(heads),
        radii=torch.full((n,), 0.1),
        crops=torch.zeros(n, 3, 2, 2),
        reach=torch.full((n,), 0.2),
        gazes=gazes,
        points=points,
        weights=torch.ones(points.shape[:2]) if weights is None else torch.as_tensor(weights, dtype=torch.float32),
        in_frame=None if in_frame is None else torch.as_tensor(in_frame, dtype=torch.float32),
        photo=photos(n),
    )


def photos(n: int) -> Tensor:
    """Maps (n, 32, 64) of what is photo, at random; the same for the first people however many there are."""
    return torch.stack([(torch.rand(32, 64, generator=torch.Generator().manual_seed(k)) < 0.3).float() for k in range(n)])


def elsewhere(gazes: FloatArray) -> FloatArray:
    """Heads that are far from their targets."""
    return sphere.normalise(np.roll(gazes, 1, axis=-1) * [1.0, -1.0, 0.5] - 0.3 * gazes)


def full_output(n: int, seed: int = 0) -> Output:
    """Everything a method can say, at random; every tensor a leaf with a gradient."""
    made = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made).requires_grad_()

    forward = geometry.normalised(torch.randn(n, 5, 3, generator=made))
    patches = Patches(
        frames=geometry.head_frames(forward.flatten(0, 1)).unflatten(0, (n, 5)),
        reach=torch.rand(n, 5, generator=made) * 0.5 + 0.3,
        holds=leaf(n, 5),
        where=leaf(n, 5, 6, 6),
        directions=leaf(n, 5, 3),
    )
    deep = (leaf(n, 8, 16), leaf(n, 4, 8))
    return Output(leaf(n, 16, 32), leaf(n, 3), leaf(n), leaf(n, 16, 32), deep=deep, patches=patches)


def leaves(output: Output) -> list[Tensor]:
    patches = output.patches
    ours = [output.heatmap, output.direction, output.in_frame, output.photo, *output.deep]
    return [*ours, patches.holds, patches.where, patches.directions]


def of_people(output: Output, chosen: Tensor) -> Output:
    patches = Patches(*(part[chosen] for part in output.patches))
    return Output(
        output.heatmap[chosen],
        output.direction[chosen],
        output.in_frame[chosen],
        output.photo[chosen],
        deep=tuple(m[chosen] for m in output.deep),
        patches=patches,
    )


# --- heatmaps -----------------------------------------------------------------------------------------------------------


def test_cross_entropy_is_that_of_the_float64_reference() -> None:
    rng = np.random.default_rng(1)
    points = sphere.normalise(TARGETS[:, None] + rng.normal(0, 0.2, size=(6, 3, 3)))
    weights = np.array([[1, 1, 1], [1, 0, 0], [2, 1, 0], [1, 1, 0], [1, 1, 3], [0, 0, 1]], dtype=float)
    batch = people(elsewhere(TARGETS), TARGETS, points, weights)
    logits = rng.normal(size=(6, 32, 64))
    areas = sphere.cell_solid_angles(64, 32)
    for sigma in (5.0, 12.0):
        truth = heatmaps.von_mises_fisher(points, 1.0 / np.radians(sigma) ** 2, weights, height=32, width=64) * areas
        mass = np.exp(logits) * areas
        expected = -(truth * np.log(mass / mass.sum((1, 2), keepdims=True))).sum((1, 2))
        found = losses.cross_entropy(torch.from_numpy(logits), losses.truth(batch, sigma).target(32))
        assert np.allclose(found, expected, rtol=2e-5)


def test_equal_logits_are_the_uniform_distribution_on_the_sphere() -> None:
    batch = people(elsewhere(TARGETS), TARGETS)
    flat = torch.full((6, 64, 128), 3.0)
    target = losses.truth(batch, 5.0).target(64)
    areas = torch.from_numpy(sphere.cell_solid_angles(128, 64)).float()
    expected = -(target * (areas / (4 * np.pi)).log()).sum((1, 2))
    assert torch.allclose(losses.cross_entropy(flat, target), expected, rtol=1e-5)
    # the mean angle from any point to all points of the sphere is a right angle
    assert np.allclose(losses.expected_angle(flat, batch.gazes), np.pi / 2, atol=2e-3)


def test_the_target_itself_is_the_best_heatmap() -> None:
    batch = people(elsewhere(TARGETS), TARGETS)
    target = losses.truth(batch, 5.0).target(32)
    density = (target / geometry.cell_solid_angles(32, target.device)).clamp_min(1e-30).log().requires_grad_()
    value = losses.cross_entropy(density, target)
    entropy = -(target * target.clamp_min(1e-30).log()).sum((1, 2))
    assert torch.allclose(value, entropy, atol=1e-4)
    value.sum().backward()
    assert density.grad.abs().max() < 1e-5


def test_expected_angle_of_a_one_hot_map_is_the_angle_to_its_cell() -> None:
    batch = people(elsewhere(TARGETS), TARGETS)
    cells = sphere.cell_directions(64, 32)
    row, column = heatmaps.cell_of(-elsewhere(TARGETS), height=32, width=64)
    logits = torch.full((6, 32, 64), -200.0)
    logits[torch.arange(6), torch.from_numpy(row), torch.from_numpy(column)] = 0.0
    found = losses.expected_angle(logits, batch.gazes)
    assert np.allclose(found, sphere.angle_between(cells[row, column], TARGETS), atol=1e-4)


def test_deep_maps_are_compared_each_on_its_own_grid() -> None:
    batch, output = people(elsewhere(TARGETS), TARGETS), full_output(6)
    true = losses.truth(batch, ALL.sigma_deg)
    by_hand = [losses.cross_entropy(m, true.target(m.shape[1])).sum() for m in output.deep]
    assert torch.allclose(losses.sums(output, batch, ALL)["deep"], sum(by_hand) / 2)


# --- directions ---------------------------------------------------------------------------------------------------------


def test_direction_loss_is_the_angle_to_the_chord() -> None:
    heads = elsewhere(TARGETS)
    batch = people(heads, TARGETS)
    chord = np.einsum("nij,nj->ni", sphere.tangent_frame(heads), sphere.normalise(TARGETS - heads))
    guess = sphere.normalise(np.random.default_rng(2).normal(size=(6, 3)))
    output = Output(torch.zeros(6, 4, 8), direction=torch.from_numpy(guess))
    expected = sphere.angle_between(guess, chord).mean()
    assert np.isclose(losses.losses(output, batch, LossSettings())["direction"], expected, atol=1e-4)


def test_a_direction_and_its_opposite_are_told_apart_though_they_leave_the_ball_at_one_point() -> None:
    heads = elsewhere(TARGETS)
    batch = people(heads, TARGETS)
    chord = geometry.chords(batch.heads, batch.frames, batch.gazes)

    def loss(direction: Tensor) -> Tensor:
        return losses.losses(Output(torch.zeros(6, 4, 8), direction=direction), batch, LossSettings())["direction"]

    # the whole line through the head meets the sphere in the same two points
    mirrored = batch.heads - 2.0 * (batch.heads * geometry.rotated(batch.frames.mT, -chord)).sum(-1, keepdim=True) * (
        geometry.rotated(batch.frames.mT, -chord)
    )
    assert torch.allclose(mirrored, batch.gazes, atol=1e-5)
    assert loss(chord) < 1e-3
    assert abs(float(loss(-chord)) - np.pi) < 1e-3
    # descent from nearly the opposite direction ends at the true one
    vector = (-chord + 0.05 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    for step in range(50):
        (gradient,) = torch.autograd.grad(6.0 * loss(geometry.normalised(vector)), vector)
        vector = geometry.normalised(vector - 0.3 * 0.94**step * gradient).detach().requires_grad_()
    assert torch.rad2deg(geometry.angle_between(vector, chord)).max() < 3.0


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["on the truth", "opposite"])
def test_gradients_are_finite_where_the_angle_has_none(sign: float) -> None:
    gazes = np.concatenate([TARGETS, TARGETS])
    heads = np.concatenate([elsewhere(TARGETS), TARGETS])  # the last six look at themselves: there is no chord
    batch = people(heads, gazes, in_frame=np.ones(12))
    output = full_output(12)
    chord = geometry.chords(batch.heads, batch.frames, batch.gazes)
    with torch.no_grad():
        output.direction.copy_(sign * chord)
        output.patches.directions.copy_(sign * chord[:, None])
        output.patches.frames.copy_(sign * geometry.head_frames(batch.gazes)[:, None])  # target in the middle, or right behind
    value = losses.losses(output, batch, ALL)["total"]
    for gradient in torch.autograd.grad(value, leaves(output)):
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(value)


# --- patches ------------------------------------------------------------------------------------------------------------


def patch_at(centre: FloatArray, reach: float, size: int = 8) -> Patches:
    frame = torch.from_numpy(sphere.tangent_frame(centre)).float()
    return Patches(frame[None, None], torch.tensor([[reach]]), torch.zeros(1, 1), torch.zeros(1, 1, size, size), None)


@pytest.mark.parametrize(("lon", "lat"), PLACES)
def test_a_patch_holds_what_its_square_shows(lon: float, lat: float) -> None:
    centre = sphere.direction_from_lonlat(lon, lat)
    frame = sphere.tangent_frame(centre)
    reach = np.radians(35.0)

    def seen(x: float, y: float, z: float = 1.0) -> bool:
        gaze = sphere.normalise(np.array([x, y, z]) @ frame)
        _, inside = losses.in_patches(patch_at(centre, reach), torch.from_numpy(gaze).float()[None])
        return bool(inside)

    edge = np.tan(reach)
    assert seen(0, 0)
    assert not seen(0, 0, -1.0)
    for x, y in [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1)]:
        assert seen(0.99 * edge * x, 0.99 * edge * y)
        assert not seen(1.01 * edge * x, 1.01 * edge * y)
        assert not seen(0.5 * edge * x, 0.5 * edge * y, -1.0)


def test_patch_targets_lie_where_the_target_is_seen() -> None:
    reach = torch.full((1, 3), np.radians(30.0))
    edge = np.tan(np.radians(30.0))
    corner, centre = edge * 7 / 8, edge * 1 / 8
    local = geometry.normalised(torch.tensor([[[corner, corner, 1.0], [-corner, centre, 1.0], [centre, -centre, 1.0]]]))
    peak = losses.patch_target(local, reach, 8, 5000.0).flatten(2).argmax(-1)[0]
    # up and right; left, just above the middle; just right of and below the middle
    assert peak.tolist() == [0 * 8 + 7, 3 * 8 + 0, 4 * 8 + 4]


def test_patch_targets_are_masses_on_the_sphere() -> None:
    """Against the sum over a grid so fine that every cell of the patch is the sum of its parts."""
    local, reach = geometry.normalised(torch.tensor([[[0.4, -0.3, 1.0]]])).double(), torch.tensor([[0.9]]).double()
    coarse = losses.patch_target(local, reach, 45, 20.0)
    steps = (np.arange(450) + 0.5) / 450 * 2 - 1
    x, y = np.meshgrid(np.tan(0.9) * steps, -np.tan(0.9) * steps)
    rays = sphere.normalise(np.stack([x, y, np.ones_like(x)], axis=-1))
    mass = np.exp(20.0 * (rays @ local[0, 0].numpy() - 1.0)) * rays[..., 2] ** 3
    fine = mass.reshape(45, 10, 45, 10).sum((1, 3))
    assert np.abs(coarse[0, 0].numpy() - fine / fine.sum()).max() < 0.02 * float(coarse.max())
    assert np.isclose(float(coarse.sum()), 1.0)


def test_patch_losses_in_closed_form() -> None:
    gazes = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    heads = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    batch = people(heads, gazes)
    frames = torch.from_numpy(sphere.tangent_frame(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))).float().expand(2, 2, 3, 3)
    patches = Patches(frames, torch.full((2, 2), 0.5), torch.tensor([[2.0, -1.0], [0.0, 0.0]]), torch.zeros(2, 2, 4, 4), None)
    found = losses.losses(Output(torch.zeros(2, 4, 8), patches=patches), batch, LossSettings())
    softplus = np.log1p(np.exp([-2.0, -1.0])).mean()
    assert np.isclose(found["holds"], (softplus + np.log(2.0)) / 2, atol=1e-6)
    # one patch of the first person holds the target: 16 equal cells; none of the second's does
    assert np.isclose(found["where"], np.log(16.0) / 2, atol=1e-5)
    assert "refined" not in found


# --- the whole ----------------------------------------------------------------------------------------------------------


def test_turning_the_world_changes_nothing() -> None:
    heads, rng = elsewhere(TARGETS), np.random.default_rng(5)
    points = sphere.normalise(TARGETS[:, None] + rng.normal(0, 0.2, size=(6, 2, 3)))
    output = full_output(6)
    before = losses.losses(output, people(heads, TARGETS, points, in_frame=np.ones(6)), ALL)
    quarter = sphere.rotation_from_pose(np.pi / 2, 0.0, 0.0)  # whole columns of every grid
    turned = people(*(sphere.rotate(quarter, v) for v in (heads, TARGETS, points)), in_frame=np.ones(6))
    # heads at a pole have the frame of longitude 0: turn frames with the world
    matrix = torch.from_numpy(quarter).float()
    turned = replace(turned, frames=people(heads, TARGETS).frames @ matrix.T, photo=photos(6).roll(16, -1))
    rolled = replace(
        output,
        heatmap=output.heatmap.roll(8, -1),
        photo=output.photo.roll(8, -1),
        deep=tuple(m.roll(m.shape[-1] // 4, -1) for m in output.deep),
        patches=output.patches._replace(frames=output.patches.frames @ matrix.T),
    )
    after = losses.losses(rolled, turned, ALL)
    assert set(before) == {*losses.TERMS, "total"}
    for name, value in before.items():
        assert torch.allclose(after[name], value, rtol=1e-4), name
    assert not torch.allclose(losses.losses(output, turned, ALL)["heatmap"], before["heatmap"], rtol=1e-3)


def test_people_with_unknown_targets_count_for_in_frame_and_photo_alone() -> None:
    known = people(elsewhere(TARGETS), TARGETS, in_frame=np.ones(6))
    heads = np.concatenate([elsewhere(TARGETS), TARGETS[:2]])
    gazes = np.concatenate([TARGETS, np.full((2, 3), np.nan)])
    weights = np.concatenate([np.ones((6, 1)), np.zeros((2, 1))])
    more = people(heads, gazes, weights=weights, in_frame=[1.0] * 6 + [0.0] * 2)
    output = full_output(8)
    without = losses.losses(of_people(output, torch.arange(6)), known, ALL)
    found = losses.losses(output, more, ALL)
    for name in set(losses.TERMS) - {"in_frame", "photo"}:
        assert torch.allclose(found[name], without[name]), name
    expected = torch.nn.functional.softplus(torch.cat([-output.in_frame[:6], output.in_frame[6:]])).mean()
    assert torch.allclose(found["in_frame"], expected)
    beyond = losses.losses(
        of_people(output, torch.arange(6, 8)),
        replace(people(TARGETS[:2], -TARGETS[:2], in_frame=np.ones(2)), photo=photos(8)[6:]),
        ALL,
    )["photo"]
    assert torch.allclose(found["photo"], (6.0 * without["photo"] + 2.0 * beyond) / 8.0)
    gradients = torch.autograd.grad(found["total"], leaves(output))
    for leaf, gradient in zip(leaves(output), gradients, strict=True):
        assert torch.isfinite(gradient).all()
        assert leaf is output.in_frame or leaf is output.photo or not gradient[6:].any()
        assert gradient[:6].any()


def test_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    batch = toy_batch("parts", panoramas=range(5)).to("cpu")
    batch = replace(batch, photo=photos(len(batch)))
    output = full_output(len(batch))
    whole = torch.autograd.grad(losses.losses(output, batch, ALL)["total"], leaves(output), retain_graph=True)
    parts = cut(batch, 3)
    assert len(parts) == 3
    assert len({len(part) for part in parts}) > 1  # unevenly split
    numbers = losses.counts(batch)
    added: list[Tensor] = [torch.zeros_like(leaf) for leaf in leaves(output)]
    start = 0
    for part in parts:
        said = of_people(output, torch.arange(start, start + len(part)))
        start += len(part)
        value = losses.objective(losses.sums(said, part, ALL), numbers, ALL)
        added = [a + g for a, g in zip(added, torch.autograd.grad(value, leaves(output)), strict=True)]
    for part_wise, at_once in zip(added, whole, strict=True):
        assert torch.allclose(part_wise, at_once, atol=1e-7)


def test_the_map_of_what_is_photo_is_compared_by_area_on_any_grid() -> None:
    photo = torch.zeros(6, 32, 64)
    photo[0, :8] = 1.0  # the uppermost 45 degrees: (1 - cos 45) / 2 of the sphere
    batch = replace(people(elsewhere(TARGETS), TARGETS), photo=photo)
    cap, outside = (1.0 - np.cos(np.pi / 4)) / 2.0, np.log1p(np.exp(-2.0))
    for rows in (16, 64):
        flat = Output(full_output(6).heatmap, photo=torch.full((6, rows, 2 * rows), -2.0))
        assert float(losses.losses(flat, replace(batch, in_frame=torch.ones(6)), ALL)["photo"]) == pytest.approx(
            outside + 2.0 * cap / 6.0, rel=1e-5
        )
    assert "photo" not in losses.losses(flat, replace(batch, photo=None), ALL)


def test_cutting_a_batch_keeps_every_person_with_their_panorama() -> None:
    batch = toy_batch("cut", panoramas=range(7))
    for parts in (1, 2, 3, 7, 50):
        pieces = cut(batch, parts)
        assert len(pieces) == min(parts, 7)
        assert [name for piece in pieces for name in piece.ids] == list(batch.ids)
        shown = torch.cat([piece.panoramas[piece.owner] for piece in pieces])
        assert torch.equal(shown, batch.panoramas[batch.owner])
        assert torch.equal(torch.cat([piece.crops for piece in pieces]), batch.crops)
        assert torch.equal(torch.cat([piece.heads for piece in pieces]), batch.heads)


def test_terms_without_a_weight_are_left_out_and_none_at_all_is_an_error() -> None:
    batch, output = people(elsewhere(TARGETS), TARGETS), full_output(6)
    only = dict.fromkeys(losses.TERMS, 0.0)
    assert set(losses.losses(output, batch, LossSettings(**{**only, "deep": 2.0}))) == {"deep", "total"}
    with pytest.raises(InputError, match="at least one loss to learn from, found none: .*'heatmap': 0.0"):
        losses.losses(output, batch, LossSettings(**only))
    with pytest.raises(InputError, match="a batch with targets to learn from, found one without .people p0, p1"):
        losses.losses(output, replace(batch, gazes=None), ALL)


def test_bf16_outputs_are_compared_in_float32() -> None:
    batch, output = people(elsewhere(TARGETS), TARGETS, in_frame=np.ones(6)), full_output(6)
    rounded = Output(
        output.heatmap.bfloat16(),
        output.direction.bfloat16(),
        output.in_frame.bfloat16(),
        output.photo.bfloat16(),
        deep=tuple(m.bfloat16() for m in output.deep),
        patches=Patches(*(part.bfloat16() for part in output.patches)),
    )
    for name, value in losses.losses(rounded, batch, ALL).items():
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value), name
