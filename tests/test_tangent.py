"""Patches cut out of the sphere and laid back, against slow float64 look-ups that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.nets import tangent
from srgaze360 import sphere

DOUBLE = torch.float64


def directions(lon_deg, lat_deg):
    return torch.from_numpy(sphere.direction_from_lonlat(np.radians(lon_deg), np.radians(lat_deg)))


def random_directions(count, seed=0):
    return torch.from_numpy(sphere.normalise(np.random.default_rng(seed).normal(size=(count, 3))))


def everywhere(count=60):
    """Random directions, and rays around the seam and the poles."""
    lon, lat = np.meshgrid([-180, -179.6, 179.5, 90, 3], [-89.9, -80, 0, 45, 89.99])
    return torch.cat([random_directions(count), directions(lon.ravel(), lat.ravel())])


def looked_up(values, ray):
    """Bilinear value (C,) of a map (C, H, W) at a ray: four cells, each found by its direction."""
    _, height, width = values.shape
    x, y = sphere.pixel_from_direction(ray, width, height) - 0.5
    total = 0.0
    for row, fy in ((np.floor(y), 1 - y % 1), (np.floor(y) + 1, y % 1)):
        for column, fx in ((np.floor(x), 1 - x % 1), (np.floor(x) + 1, x % 1)):
            lon, lat = 2 * np.pi * ((column + 0.5) / width - 0.5), np.pi * (0.5 - (row + 0.5) / height)
            i, j = np.floor(sphere.pixel_from_direction(sphere.direction_from_lonlat(lon, lat), width, height)).astype(int)
            total = total + fy * fx * values[:, j, i]
    return total


# --- frames and rays --------------------------------------------------------------------------------------------------


def test_patches_stand_upright_on_the_sphere():
    centres = torch.cat([everywhere(), directions([0, 0], [90, -90])])
    np.testing.assert_allclose(tangent.patch_frames(centres), sphere.tangent_frame(centres.numpy()), atol=1e-9)


def test_roll_turns_a_patch_as_it_turns_a_camera():
    yaw, pitch, roll = np.radians([[20, -170, 95], [10, -60, 30], [15, -100, 180]])
    pose = sphere.rotation_from_pose(yaw, pitch, roll)  # columns right, down, forward
    frames = tangent.patch_frames(torch.from_numpy(pose[..., 2].copy()), torch.from_numpy(roll))
    wanted = np.stack([pose[..., 0], -pose[..., 1], pose[..., 2]], axis=-2)
    np.testing.assert_allclose(frames, wanted, atol=1e-12)


def test_rays_run_from_left_to_right_and_from_top_to_bottom():
    frames = tangent.patch_frames(directions([0], [0]))
    rays = tangent.patch_rays(frames, torch.tensor([np.pi / 4], dtype=DOUBLE), 2)[0]
    wanted = sphere.normalise([[[-0.5, -0.5, 1], [0.5, -0.5, 1]], [[-0.5, 0.5, 1], [0.5, 0.5, 1]]])
    np.testing.assert_allclose(rays, wanted, atol=1e-12)


def test_a_patch_spans_twice_its_reach():
    centres, reach = random_directions(4).reshape(2, 2, 3), torch.tensor([[0.1, 0.5], [1.0, 1.4]], dtype=DOUBLE)
    size = 301
    rays = tangent.patch_rays(tangent.patch_frames(centres), reach, size).numpy()
    assert rays.shape == (2, 2, size, size, 3)
    middle = size // 2
    np.testing.assert_allclose(rays[..., middle, middle, :], centres, atol=1e-12)
    edge = np.arctan(np.tan(reach.numpy()) * (1 - 1 / size))
    np.testing.assert_allclose(sphere.angle_between(rays[..., middle, 0, :], centres.numpy()), edge, atol=1e-9)
    spacing = sphere.angle_between(rays[0, 1, middle, middle], rays[0, 1, middle + 1, middle])
    assert tangent.patch_spacing(0.5, size) == pytest.approx(spacing, rel=1e-6)


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_samples_are_bilinear_over_seam_and_poles(dtype):
    maps = torch.randn(3, 2, 8, 16, dtype=dtype)
    rays = everywhere()[:84].reshape(21, 2, 2, 3)
    owner = torch.arange(21) % 3
    found = tangent.sample_sphere(maps, owner, rays.to(dtype))
    assert found.shape == (21, 2, 2, 2)
    for n in range(21):
        for i in range(2):
            for j in range(2):
                wanted = looked_up(maps[owner[n]].numpy(), rays[n, i, j].numpy())
                np.testing.assert_allclose(found[n, :, i, j], wanted, atol=1e-9 if dtype == DOUBLE else 3e-4)


def test_a_cell_centre_gives_the_cell():
    maps = torch.randn(2, 1, 4, 8, dtype=DOUBLE)
    cells = torch.from_numpy(sphere.cell_directions(8, 4))
    found = tangent.sample_sphere(maps, torch.tensor([1, 0]), torch.stack([cells, cells]))
    np.testing.assert_allclose(found, maps.flip(0), atol=1e-12)


@pytest.mark.parametrize(("centre", "heading"), [((180, 20), (90, 0)), ((0, 90), (37, 0)), ((0, -90), (-110, 0))])
def test_samples_are_continuous_across_seam_and_poles(centre, heading):
    """Along a great circle over the border, steps of a millidegree change little."""
    maps = torch.randn(1, 4, 8, 16, dtype=DOUBLE)
    start, towards = directions(*centre), directions(*heading)
    side = functional.normalize(towards - (towards * start).sum() * start, dim=-1)
    angle = torch.deg2rad(torch.linspace(-0.01, 0.01, 21, dtype=DOUBLE) + 5e-4)[:, None]
    found = tangent.sample_sphere(maps, torch.tensor([0]), (torch.cos(angle) * start + torch.sin(angle) * side)[None])[0]
    assert (found[:, 1:] - found[:, :-1]).abs().max() < 1e-3


def test_gradients_of_samples_are_right():
    maps = torch.randn(2, 2, 4, 8, dtype=DOUBLE, requires_grad=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, [8, 5], (6, 2)) + rng.uniform(0.6, 0.9, (6, 2)) - [0, 1]  # inside the quads of cell centres
    rays = torch.from_numpy(sphere.direction_from_pixel(pixels.clip(0.05, [8, 3.95]), 8, 4)).reshape(3, 2, 3).requires_grad_()
    owner = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda m, r: tangent.sample_sphere(m, owner, r), (maps, rays))


def test_a_ray_at_a_pole_has_a_finite_gradient():
    rays = directions([0, 0], [90, -90])[:, None].requires_grad_()
    found = tangent.sample_sphere(torch.randn(1, 1, 4, 8, dtype=DOUBLE), torch.zeros(2, dtype=torch.int64), rays)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(rays.grad).all()


def test_turning_map_and_rays_together_changes_nothing():
    maps = torch.randn(1, 3, 8, 16, dtype=DOUBLE)
    rays, owner = everywhere()[None], torch.tensor([0])
    turn = torch.from_numpy(sphere.rotation_from_pose(2 * np.pi * 5 / 16, 0.0, 0.0))
    turned = tangent.sample_sphere(torch.roll(maps, 5, dims=-1), owner, rays @ turn.T)
    torch.testing.assert_close(turned, tangent.sample_sphere(maps, owner, rays))


@pytest.mark.parametrize(
    ("cells", "height", "block"),
    [(0.5, 64, 1), (1.3, 64, 1), (1.5, 64, 2), (2.7, 64, 2), (3.0, 64, 4), (100, 64, 16), (4, 12, 2), (8, 5, 1)],
)
def test_maps_are_averaged_to_within_root_2_of_the_spacing(cells, height, block):
    assert tangent.pooling(cells * np.pi / height, height) == block


def test_coarse_patches_read_averages():
    maps = torch.randn(1, 2, 16, 32, dtype=DOUBLE)
    rays, owner = everywhere()[None], torch.tensor([0])
    found = tangent.sample_sphere(maps, owner, rays, spacing=2 * np.pi / 16)
    torch.testing.assert_close(found, tangent.sample_sphere(functional.avg_pool2d(maps, 2), owner, rays))
    stripes = torch.ones(1, 1, 16, 32, dtype=DOUBLE)
    stripes[..., 1::2] = -1.0
    assert tangent.sample_sphere(stripes, owner, rays).abs().max() > 0.9
    assert tangent.sample_sphere(stripes, owner, rays, spacing=2 * np.pi / 16).abs().max() < 1e-12


def test_halves_are_read_in_full_precision():
    maps, rays, owner = torch.randn(1, 2, 64, 128).bfloat16(), everywhere()[None].float(), torch.tensor([0])
    wanted = tangent.sample_sphere(maps.float(), owner, rays)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(tangent.sample_sphere(maps, owner, rays), wanted)


# --- laying back ------------------------------------------------------------------------------------------------------


def laid_slowly(patch, frame, reach, height):
    """What every cell of a grid finds in a patch (C, s, s), or None outside, float64."""
    size = patch.shape[-1]
    for cell in sphere.cell_directions(2 * height, height).reshape(-1, 3):
        right, up, ahead = frame @ cell
        x, y = (np.array([right, -up]) / ahead / np.tan(reach)) if ahead > 0 else (np.inf, np.inf)
        if abs(x) > 1 or abs(y) > 1:
            yield None
            continue
        column, row = np.clip((np.array([x, y]) + 1) / 2 * size - 0.5, 0, size - 1)
        a, b = min(int(row), size - 2), min(int(column), size - 2)
        fr, fc = row - a, column - b
        yield np.einsum("i,cij,j->c", [1 - fr, fr], patch[:, a : a + 2, b : b + 2], [1 - fc, fc])


def test_laying_back_is_what_each_cell_finds_in_the_patch():
    centres = torch.cat([random_directions(3), directions([180, 10, 0], [5, 90, -88])]).reshape(2, 3, 3)
    reach = torch.tensor([[0.3, 0.9, 0.6], [0.5, 0.7, 1.2]], dtype=DOUBLE)
    frames = tangent.patch_frames(centres, torch.linspace(0, 3, 6, dtype=DOUBLE).reshape(2, 3))
    maps = torch.randn(2, 3, 2, 4, 4, dtype=DOUBLE)
    laid, inside = tangent.splat(maps, frames, reach, 12)
    assert (laid.shape, inside.shape, inside.dtype) == ((2, 3, 2, 12, 24), (2, 3, 12, 24), torch.bool)
    for b in range(2):
        for n in range(3):
            wanted = list(laid_slowly(maps[b, n].numpy(), frames[b, n].numpy(), reach[b, n].item(), 12))
            np.testing.assert_array_equal(inside[b, n].flatten(), [value is not None for value in wanted])
            assert 0 < inside[b, n].sum() < 288
            filled = np.array([np.zeros(2) if value is None else value for value in wanted]).T
            np.testing.assert_allclose(laid[b, n].flatten(1), filled, atol=1e-5)


def test_the_upper_right_of_a_patch_lies_up_and_to_the_right():
    maps = torch.zeros(1, 1, 1, 8, 8)
    maps[..., 0, 7] = 1.0
    laid, _ = tangent.splat(maps, tangent.patch_frames(directions([[0]], [[0]])).float(), torch.tensor([[0.6]]), 64)
    row, column = divmod(int(laid.flatten().argmax()), 128)
    lon, lat = sphere.cell_lonlat(128, 64)
    assert np.degrees(lon[column]) == pytest.approx(31, abs=4)
    assert np.degrees(lat[row]) == pytest.approx(27, abs=4)


@pytest.mark.parametrize("lat_deg", [0, 60, 90])
def test_the_mask_covers_the_solid_angle_of_a_square_pyramid(lat_deg):
    reach = torch.tensor([[0.5]])
    _, inside = tangent.splat(
        torch.zeros(1, 1, 1, 2, 2), tangent.patch_frames(directions([[170]], [[lat_deg]])).float(), reach, 128
    )
    covered = (inside[0, 0].numpy() * sphere.cell_solid_angles(256, 128)).sum()
    assert covered == pytest.approx(4 * np.arcsin(np.sin(0.5) ** 2), rel=0.04)


def test_cutting_out_and_laying_back_gives_a_smooth_map_again():
    height = 32
    cells = torch.from_numpy(sphere.cell_directions(2 * height, height)).float()
    smooth = (cells @ torch.tensor([0.3, -0.8, 0.5]))[None, None]
    frames = tangent.patch_frames(directions([[179, 40, 0, 0]], [[0, 50, 90, -80]])).float()
    reach = torch.full((1, 4), 0.6)
    patches = tangent.sample_sphere(smooth, torch.zeros(4, dtype=torch.int64), tangent.patch_rays(frames, reach, 16)[0])
    laid, inside = tangent.splat(patches[None], frames, reach, height)
    error = (laid[0, :, 0] - smooth[0]).abs()[inside[0]]
    assert inside.sum(dim=(-2, -1)).min() > 50
    assert error.max() < 0.05
    assert error.mean() < 0.005


def test_gradients_of_laying_back_are_right():
    maps = torch.randn(1, 2, 1, 3, 3, dtype=DOUBLE, requires_grad=True)
    frames = tangent.patch_frames(directions([[31.3, 170.1]], [[12.4, -77.7]])).requires_grad_()
    reach = torch.tensor([[0.7, 1.0]], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, f, r: tangent.splat(m, f, r, 4)[0], (maps, frames, reach))
