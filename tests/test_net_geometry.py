"""The sphere in torch against the float64 original, and against what needs no code: numbers one can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.nets import geometry
from srgaze360 import heatmaps, sphere

FORWARD, RIGHT, DOWN = (torch.eye(3, dtype=torch.float64)[axis] for axis in (2, 0, 1))
POLES = torch.stack([-DOWN, DOWN])
CPU = torch.device("cpu")


def random_directions(count, seed=0):
    return torch.from_numpy(sphere.normalise(np.random.default_rng(seed).normal(size=(count, 3))))


def everywhere(count=40, seed=0):
    """Random directions, the poles, the six axes, both sides of the seam, and places close to a pole."""
    lon, lat = np.radians([179.999, -179.999, 30.0, -120.0]), np.radians([10.0, 10.0, 89.99, -89.99])
    special = torch.from_numpy(sphere.direction_from_lonlat(lon, lat))
    axes = torch.eye(3, dtype=torch.float64)
    return torch.cat([random_directions(count, seed), axes, -axes, special])


def close(found, wanted, atol=1e-9):
    np.testing.assert_allclose(np.asarray(found.detach()), np.asarray(wanted), rtol=0, atol=atol)


@pytest.mark.parametrize("height", [2, 32])
def test_the_cells_are_those_of_the_sphere(height):
    close(geometry.cell_directions(height, CPU), sphere.cell_directions(2 * height, height), 1e-7)
    close(geometry.cell_solid_angles(height, CPU), sphere.cell_solid_angles(2 * height, height), 1e-6)


def test_means_over_the_sphere_are_integrals_of_known_value():
    """Mean of 1 is 1, of z^2 is 1/3, of max(0, z) is 1/4; the mean over the picture's cells would give poles too much."""
    z = -geometry.cell_directions(256, CPU)[..., 1].double()
    found = geometry.sphere_mean(torch.stack([torch.ones_like(z), z**2, z.clamp_min(0.0)]).expand(2, -1, -1, -1))
    close(found, np.tile([1.0, 1.0 / 3.0, 0.25], (2, 1)), 1e-4)


def test_cells_first_asked_for_in_inference_serve_in_training():
    with torch.inference_mode():
        geometry.cell_cosines(torch.zeros(1, 3), 22)
        geometry.log_probabilities(torch.zeros(1, 22, 44))
    direction = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    geometry.cell_cosines(direction, 22).sum().backward()
    geometry.mixture(direction[:, None], torch.ones(1, 1), 10.0, 22).max().backward()
    assert torch.isfinite(direction.grad).all()


# --- frames -----------------------------------------------------------------------------------------------------------


def test_head_frames_are_the_tangent_frames_poles_included():
    heads = everywhere()
    close(geometry.head_frames(heads), sphere.tangent_frame(heads.numpy()))


def test_the_frame_ahead_has_east_to_the_right_and_north_up():
    close(geometry.head_frames(FORWARD[None])[0], torch.stack([RIGHT, -DOWN, FORWARD]))
    close(geometry.head_frames(-DOWN[None])[0], torch.stack([RIGHT, -FORWARD, -DOWN]))  # north of the zenith lies behind


def test_head_frames_take_any_leading_shape():
    heads = everywhere(2).reshape(2, 3, 2, 3)
    close(geometry.head_frames(heads)[1, 2, 0], geometry.head_frames(heads[1, 2, 0]))


def test_head_frames_have_a_gradient_at_the_poles():
    heads = POLES.clone().requires_grad_()
    (geometry.head_frames(heads) * torch.randn(2, 3, 3)).sum().backward()
    assert torch.isfinite(heads.grad).all()


# --- chords -----------------------------------------------------------------------------------------------------------


def test_the_chord_to_a_target_at_the_right_points_right_and_back_through_the_ball():
    frames = geometry.head_frames(FORWARD[None])
    half = 0.5**0.5
    close(geometry.chords(FORWARD[None], frames, RIGHT[None])[0], [half, 0.0, -half])
    close(geometry.chords(FORWARD[None], frames, -DOWN[None])[0], [0.0, half, -half])
    close(geometry.chords(FORWARD[None], frames, -FORWARD[None])[0], [0.0, 0.0, -1.0])


def test_chords_and_exit_points_undo_each_other_for_every_head_and_target():
    points = everywhere(20)
    heads, gazes = (x.reshape(-1, 3) for x in torch.broadcast_tensors(points[:, None], points[None]))
    apart = torch.from_numpy(sphere.angle_between(heads.numpy(), gazes.numpy())) > 1e-3
    heads, gazes = heads[apart], gazes[apart]
    frames = geometry.head_frames(heads)
    directions = geometry.chords(heads, frames, gazes)
    close(directions[:, 2], -(gazes - heads).norm(dim=-1) / 2)
    assert sphere.angle_between(geometry.exit_points(heads, frames, directions).numpy(), gazes.numpy()).max() < 1e-6


def test_exit_points_solve_the_quadratic_of_ray_and_sphere():
    heads, local = random_directions(30, 2), random_directions(30, 3)
    local[:, 2] = -local[:, 2].abs()
    frames = geometry.head_frames(heads)
    found = geometry.exit_points(heads, frames, local)
    for head, frame, direction, exit_point in zip(heads, frames, local, found, strict=True):
        world = frame.numpy().T @ direction.numpy()
        start = head.numpy()
        roots = np.roots([1.0, 2.0 * start @ world, start @ start - 1.0])
        close(exit_point, start + roots[np.argmax(np.abs(roots))] * world, 1e-7)


def test_a_ray_out_of_the_ball_is_answered_with_the_head_and_only_the_inward_of_two_opposite_rays_with_the_target():
    heads = random_directions(10)
    frames = geometry.head_frames(heads)
    gazes = random_directions(10, 5)
    inward = geometry.chords(heads, frames, gazes)
    close(geometry.exit_points(heads, frames, inward), gazes)
    outward = (-inward).requires_grad_()
    found = geometry.exit_points(heads, frames, outward)
    close(found, heads)
    found.sum().backward()
    close(outward.grad, torch.zeros_like(outward))


def test_an_error_of_direction_moves_the_target_by_twice_as_much():
    angle = torch.tensor([0.0, 0.2, 0.7, 1.4], dtype=torch.float64)
    heads = FORWARD.expand(4, 3)
    local = torch.stack([torch.sin(angle), torch.zeros(4, dtype=torch.float64), -torch.cos(angle)], dim=-1)
    found = geometry.exit_points(heads, geometry.head_frames(heads), local)
    close(geometry.angle_between(found, -heads), 2 * angle, 2e-6)
    assert (found[1:, 0] > 0).all()


def test_the_chord_is_the_same_after_a_turn_of_the_panorama():
    heads, gazes = random_directions(20), random_directions(20, 1)
    turn = torch.from_numpy(sphere.rotation_from_pose(1.1, 0.0, 0.0))
    turned = [geometry.rotated(turn, x) for x in (heads, gazes)]
    close(turned[0], sphere.rotate(turn.numpy(), heads.numpy()))
    before = geometry.chords(heads, geometry.head_frames(heads), gazes)
    close(geometry.chords(turned[0], geometry.head_frames(turned[0]), turned[1]), before)


def test_a_target_at_the_head_has_no_chord_but_a_gradient():
    gazes = FORWARD[None].clone().requires_grad_()
    chord = geometry.chords(FORWARD[None], geometry.head_frames(FORWARD[None]), gazes)
    close(chord, torch.zeros(1, 3))
    chord.sum().backward()
    assert torch.isfinite(gazes.grad).all()


def test_cell_chords_are_chords_to_the_cells():
    heads = everywhere(5).float()
    frames = geometry.head_frames(heads)
    field = geometry.cell_chords(heads, frames, 8)
    cells = geometry.cell_directions(8, CPU).reshape(-1, 3)
    for b, head in enumerate(heads):
        many = head.expand(len(cells), 3)
        wanted = geometry.chords(many, frames[b].expand(len(cells), 3, 3), cells)
        far = geometry.angle_between(many, cells) > 0.1
        close(field[b].flatten(1).T[far], wanted[far], 2e-4)
    at_a_cell = geometry.cell_chords(cells[5:6], geometry.head_frames(cells[5:6]), 8).flatten(2)[0, :, 5]
    close(at_a_cell, torch.zeros(3), 1e-3)


# --- angles and arcs --------------------------------------------------------------------------------------------------


def test_angles_are_those_of_the_sphere():
    a, b = everywhere(30), everywhere(30, 9)
    close(geometry.angle_between(a, b), sphere.angle_between(a.numpy(), b.numpy()), 2e-6)


@pytest.mark.parametrize("end", [FORWARD, -FORWARD], ids=["same", "antipode"])
def test_the_angle_has_a_finite_gradient_at_0_and_pi(end):
    a = FORWARD.float().clone().requires_grad_()
    angle = geometry.angle_between(a, end.float())
    angle.backward()
    assert torch.isfinite(a.grad).all()
    assert a.grad.abs().max() <= 1.01
    close(angle, sphere.angle_between(FORWARD.numpy(), end.numpy()), 1e-5)


def test_arcs_are_great_circles():
    start, end = random_directions(10), random_directions(10, 1)
    fractions = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64).expand(10, 3)
    wanted = sphere.slerp(start[:, None].numpy(), end[:, None].numpy(), fractions.numpy())
    close(geometry.arc(start, end, fractions), wanted, 5e-6)


def test_an_arc_goes_on_beyond_its_end_and_leaves_for_the_antipode_due_north():
    ahead = geometry.arc(FORWARD[None], RIGHT[None], torch.tensor([[1.5, 2.0]], dtype=torch.float64))[0]
    half = 0.5**0.5
    close(ahead, [[half, 0.0, -half], [0.0, 0.0, -1.0]], 1e-5)
    over = geometry.arc(FORWARD[None], -FORWARD[None], torch.tensor([[0.5, 1.0]], dtype=torch.float64))[0]
    close(over, torch.stack([-DOWN, -FORWARD]), 1e-5)


def test_an_arc_without_length_stays_where_it_is_and_has_a_gradient():
    end = FORWARD[None].clone().requires_grad_()
    points = geometry.arc(FORWARD[None], end, torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64))
    close(points[0], FORWARD.expand(3, 3), 1e-5)
    points.sum().backward()
    assert torch.isfinite(end.grad).all()


# --- maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [3.0, 131.3])
def test_mixtures_are_those_of_the_scorer_times_solid_angle(kappa):
    points = everywhere(14).reshape(8, 3, 3)
    weights = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (8, 3)).astype(float))
    weights[:, 0] += 1.0
    points[3, 1], weights[3, 1] = torch.nan, 0.0
    wanted = heatmaps.von_mises_fisher(points.numpy(), kappa, weights.numpy(), height=16, width=32)
    wanted = wanted * sphere.cell_solid_angles(32, 16)
    found = geometry.mixture(points.float(), weights.float(), kappa, 16)
    close(found, wanted, 2e-5 * wanted.max())
    close(found.sum(dim=(-2, -1)), np.ones(8), 1e-5)


def test_a_mixture_of_nothing_is_uniform_over_the_sphere():
    found = geometry.mixture(torch.full((1, 2, 3), torch.nan), torch.zeros(1, 2), 10.0, 16)
    close(found[0], sphere.cell_solid_angles(32, 16) / (4 * np.pi), 1e-6)


def test_log_probabilities_weigh_cells_by_solid_angle():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 8, 16)) * 30)
    areas = sphere.cell_solid_angles(16, 8)
    weighed = np.exp(logits.numpy()) * areas
    close(geometry.log_probabilities(logits).exp(), weighed / weighed.sum(axis=(1, 2), keepdims=True), 1e-6)
    close(geometry.log_probabilities(torch.full((1, 8, 16), 7.0))[0].exp(), areas / (4 * np.pi), 1e-6)


def test_head_masks_are_caps_that_fall_off_over_one_cell():
    heads = everywhere(10)
    radii = torch.linspace(0.01, 0.6, len(heads), dtype=torch.float64)
    height = 32
    masks = geometry.head_masks(heads.float(), radii.float(), height)[:, 0].numpy()
    cells = sphere.cell_directions(2 * height, height)
    cell = np.pi / height
    for mask, head, radius in zip(masks, heads.numpy(), radii.numpy(), strict=True):
        angle = sphere.angle_between(cells, head)
        cap = max(radius, cell)
        assert np.all(mask[angle < cap - 2e-3] == 1.0)
        assert np.all(mask[angle > cap + cell + 2e-3] == 0.0)
        edge = (angle > cap) & (angle < cap + cell)
        np.testing.assert_allclose(mask[edge], (cap + cell - angle[edge]) / cell, atol=1e-2)
        assert mask.max() == 1.0


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halves", [False, True], ids=["float32", "bfloat16"])
def test_mixed_precision_does_not_blur_directions(halves):
    heads, gazes = random_directions(6).float(), random_directions(6, 1).float()
    if halves:  # what a layer under autocast answers
        gazes = geometry.normalised(gazes.bfloat16())
    frames = geometry.head_frames(heads)

    def everything():
        chords = geometry.chords(heads, frames, gazes)
        return [
            chords,
            geometry.exit_points(heads, frames, chords),
            geometry.angle_between(heads, gazes),
            geometry.cell_cosines(gazes, 8),
            geometry.cell_chords(heads, frames, 8),
            geometry.mixture(gazes[:, None], torch.ones(6, 1), 131.0, 8),
            geometry.arc(heads, gazes, torch.full((6, 2), 0.3)),
            geometry.log_probabilities(geometry.cell_cosines(gazes, 8)),
            geometry.head_masks(heads, torch.full((6,), 0.2), 8),
        ]

    plain = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = everything()
    for a, b in zip(plain, mixed, strict=True):
        assert b.dtype == torch.float32
        close(b, a, 1e-5)
