"""The shared decoder against brute force over a fine grid of directions, and against the float64 geometric median."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.nets import decode
from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError

POINTS_DEG = [(0, 0), (179.9, 3), (-179.9, -3), (180, 60), (12, 89.9), (-100, -89.9), (0, 90), (0, -90), (75, -40), (-33.3, 71)]


def directions(points_deg):
    lon, lat = np.radians(np.array(points_deg, dtype=float)).T
    return sphere.direction_from_lonlat(lon, lat)


def log_of(maps):
    """Logits of densities, float32; 0 becomes -infinity."""
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(maps)).float()


def bumps(points, sigma_deg, weights=None, height=32):
    kappa = heatmaps.concentration(np.radians(sigma_deg))
    return log_of(heatmaps.von_mises_fisher(points, float(kappa), weights, height=height, width=2 * height))


def away_deg(found, wanted):
    return np.degrees(sphere.angle_between(found.numpy().astype(float), wanted))


def rough(count, height, seed=0):
    """Maps with several blobs, noise and a background: nothing symmetrical about them."""
    rng = np.random.default_rng(seed)
    points = sphere.normalise(rng.normal(size=(count, 4, 3)))
    maps = heatmaps.von_mises_fisher(points, 8.0, rng.uniform(0, 1, (count, 4)), height=height, width=2 * height)
    return log_of(maps * rng.uniform(0.2, 1.8, maps.shape) + 0.01)


def expected(maps, candidates, split):
    """Expected angle (B, n), radians, float64, to candidates (n, 3) under piecewise constant densities (B, h, 2h).

    Each cell is cut into ``split`` x ``split``: what the score averages, without any code of the decoder.
    """
    height = maps.shape[1]
    fine = np.repeat(np.repeat(maps, split, axis=1), split, axis=2)
    mass = fine * sphere.cell_solid_angles(2 * height * split, height * split)
    mass = (mass / mass.sum(axis=(1, 2), keepdims=True)).reshape(len(maps), -1)
    points = sphere.cell_directions(2 * height * split, height * split).reshape(-1, 3)
    return mass @ np.arccos(np.clip(points @ candidates.T, -1.0, 1.0))


# --- decode -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [8, 32, 64])
def test_a_single_cell_is_answered_with_its_centre(height):
    cells = sphere.cell_directions(2 * height, height)
    rows = np.array([0, 0, height - 1, height - 1, height // 2, height // 2, height // 3])
    columns = np.array([0, height, 2 * height - 1, 3, 0, 2 * height - 1, 5])
    maps = np.zeros((7, height, 2 * height))
    maps[np.arange(7), rows, columns] = 1.0
    assert away_deg(decode.decode(log_of(maps)), cells[rows, columns]).max() < 0.01


@pytest.mark.parametrize(
    ("height", "sigma_deg", "mean_deg", "worst_deg"), [(32, 5, 0.25, 0.4), (64, 5, 0.06, 0.12), (32, 15, 0.08, 0.2)]
)
def test_a_bump_is_answered_with_its_middle_off_the_grid(height, sigma_deg, mean_deg, worst_deg):
    points = np.concatenate([directions(POINTS_DEG), sphere.normalise(np.random.default_rng(0).normal(size=(12, 3)))])
    away = away_deg(decode.decode(bumps(points[:, None], sigma_deg, height=height)), points)
    assert away.mean() < mean_deg
    assert away.max() < worst_deg


def test_no_direction_has_a_smaller_expected_distance():
    """Brute force over the sphere, then over a fine patch around the best; cells of 11 degrees, cut into 16."""
    height, count = 16, 12
    logits = rough(count, height)
    maps = np.exp(logits.numpy().astype(float))
    found = decode.decode(logits).numpy().astype(float)
    reached = np.diagonal(expected(maps, found, 4))
    everywhere = sphere.cell_directions(64, 32).reshape(-1, 3)
    best = everywhere[expected(maps, everywhere, 4).argmin(axis=1)]
    offsets = np.stack(np.meshgrid(*[np.radians(np.linspace(-5, 5, 15))] * 2), axis=-1).reshape(-1, 2)
    around = sphere.exp_map(best[:, None], offsets[None])
    lowest = np.array([expected(maps[b : b + 1], around[b], 4).min() for b in range(count)])
    assert np.all(reached - lowest < 2e-4), reached - lowest
    # the test has teeth: other sensible answers are worse
    cells, areas = sphere.cell_directions(2 * height, height).reshape(-1, 3), sphere.cell_solid_angles(2 * height, height)
    means = sphere.normalise((maps * areas).reshape(count, -1) @ cells)
    assert np.mean(np.diagonal(expected(maps, means, 4)) - lowest) > 2e-3
    assert np.mean(np.diagonal(expected(maps, heatmaps.decode_argmax(maps), 4)) - lowest) > 2e-3


def test_it_is_the_geometric_median_to_within_a_fraction_of_a_cell():
    height = 16
    rng = np.random.default_rng(3)
    centres = np.concatenate([directions(POINTS_DEG[:6]), sphere.normalise(rng.normal(size=(4, 3)))])
    cells = sphere.cell_directions(2 * height, height).reshape(-1, 3)
    inside = sphere.angle_between(cells, centres[:, None]) < np.radians(40)
    maps = np.where(inside, rng.uniform(0, 1, inside.shape) ** 2, 0.0).reshape(-1, height, 2 * height)
    weights = (maps * sphere.cell_solid_angles(2 * height, height)).reshape(len(maps), -1)
    wanted = np.array([sphere.geometric_median(cells[w > 0], w[w > 0]) for w in weights])
    assert away_deg(decode.decode(log_of(maps)), wanted).max() < 0.25 * 180 / height


@pytest.mark.parametrize("other", [(90, 10), (-175, 0), (35, 0), (-10, -80)])
@pytest.mark.parametrize(("share", "drawn_deg"), [(0.6, 7.5), (0.9, 1.5)])
def test_of_two_modes_the_heavier_is_answered(other, share, drawn_deg):
    """A direction between them would be wrong for both. The lighter draws the median off by about the spread at most."""
    points = directions([(5, 0), other])
    maps = bumps(np.stack([points, points]), 5, np.array([[share, 1 - share], [1 - share, share]]))
    assert away_deg(decode.decode(maps), points).max() < drawn_deg


def test_maps_without_a_best_direction_have_a_finite_answer():
    points = directions([(0, 0), (180, 0)])
    maps = torch.cat([torch.zeros(1, 32, 64), bumps(points[None], 5), torch.full((1, 32, 64), -1e6)])
    found = decode.decode(maps)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3))


def test_turning_the_map_turns_the_answer():
    logits = rough(6, 32)
    turn = sphere.rotation_from_pose(2 * np.pi * 14 / 64, 0.0, 0.0)
    wanted = sphere.rotate(turn, decode.decode(logits).numpy())
    assert away_deg(decode.decode(torch.roll(logits, 14, dims=-1)), wanted).max() < 0.01


@pytest.mark.parametrize("height", [32, 48])
def test_the_answer_does_not_depend_on_the_batch(height, monkeypatch):
    logits = torch.cat([rough(9, height), torch.zeros(1, height, 2 * height)])
    together = decode.decode(logits)
    assert torch.equal(together, torch.cat([decode.decode(one[None]) for one in logits]))
    assert torch.equal(together, decode.decode(torch.cat([logits, logits, logits]))[10:20])
    monkeypatch.setattr(decode, "_AT_ONCE", 1)
    assert torch.equal(together, decode.decode(logits))


def test_a_broken_map_is_not_hidden_and_breaks_no_other():
    logits = rough(3, 32)
    whole = decode.decode(logits)
    logits[1, 4, 7] = torch.nan
    found = decode.decode(logits)
    assert torch.isnan(found[1]).all()
    assert torch.equal(found[::2], whole[::2])


def test_mixed_precision_and_gradients_stay_out_of_it():
    logits = rough(3, 32).requires_grad_()
    plain = decode.decode(logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decode.decode(logits), plain)
    assert not plain.requires_grad
    assert plain.dtype == decode.decode(logits.double()).dtype == torch.float32
    assert decode.decode(logits[:0]).shape == (0, 3)


# --- densities --------------------------------------------------------------------------------------------------------


def test_a_density_of_the_same_size_is_the_exponential():
    logits = rough(2, 64) * 40
    wanted = np.exp(logits.numpy() - logits.numpy().max(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(decode.densities(logits), wanted, atol=1e-6)


def test_a_finer_map_keeps_its_integral_over_every_cell():
    logits = rough(2, 32)
    found = decode.densities(logits, height=16).numpy()
    mass = np.exp(logits.numpy()) * sphere.cell_solid_angles(64, 32)
    mass = mass.reshape(2, 16, 2, 32, 2).sum(axis=(2, 4))
    held = found * sphere.cell_solid_angles(32, 16)
    np.testing.assert_allclose(
        held / held.sum(axis=(1, 2), keepdims=True), mass / mass.sum(axis=(1, 2), keepdims=True), atol=1e-7
    )


def test_a_coarser_map_is_enlarged_to_about_the_same_density():
    points = directions(POINTS_DEG)[:, None]
    found = decode.densities(bumps(points, 15)).numpy()
    wanted = np.exp(bumps(points, 15, height=64).numpy())
    assert (found.shape, found.dtype) == ((len(points), 64, 128), np.float32)
    np.testing.assert_allclose(found, wanted / wanted.max(axis=(1, 2), keepdims=True), atol=0.06)


@pytest.mark.parametrize("height", [32, 64])
def test_densities_are_finite_have_the_maximum_1_and_are_never_constant_as_stored(height):
    flat = torch.full((height, 2 * height), 3.0)
    faint = flat + 1e-5 * rough(1, height)[0]
    hard = torch.full((height, 2 * height), -1e4)
    hard[height // 2, 7 : 7 + 2 * height // 64] = 1e4
    found = decode.densities(torch.stack([flat, faint, hard, -flat * 1e5]))
    assert torch.isfinite(found).all()
    assert (found.amin(dim=(-2, -1)) >= 0).all()
    assert torch.equal(found.amax(dim=(-2, -1)), torch.ones(4))
    stored = found.numpy().astype(np.float16)
    assert (stored.max(axis=(1, 2)) > stored.min(axis=(1, 2))).all()
    assert stored[:2].min() > 0.98


def test_the_relief_of_a_flat_map_points_where_it_is_decoded():
    flat = torch.zeros(1, 32, 64)
    top = heatmaps.decode_argmax(decode.densities(flat).numpy())
    assert away_deg(decode.decode(flat), top)[0] < 3


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"64 rows are wanted; a map of 48 rows.*grid of 32, 64 or 128"):
        decode.densities(torch.zeros(1, 48, 96))
