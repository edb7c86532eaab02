"""Simulated annotators: they err as promised, where pictures end and where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from builders.procedural.annotators import OUTLIER_FACTOR, OUTLIER_SHARE, annotator_count, clicks_on_panorama, clicks_on_photo
from srgaze360 import sphere
from srgaze360.cameras import Camera


def test_annotators_err_as_promised():
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(60.0))
    points = clicks_on_photo(np.random.default_rng(1), (0.55, 0.5), camera, 40_000, 2.0)
    exact = camera.rays([0.55 * 640, 240.0]).directions
    errors = np.degrees(sphere.log_map(exact, camera.rays(points * [640, 480]).directions))
    expected = 2.0 * np.sqrt(1.0 - OUTLIER_SHARE + OUTLIER_SHARE * OUTLIER_FACTOR**2)
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2, axis=0)), expected, rtol=0.04)
    np.testing.assert_allclose(errors.mean(axis=0), 0.0, atol=0.06)
    assert np.median(np.hypot(*errors.T)) == pytest.approx(2.0 * np.sqrt(2.0 * np.log(2.0)), rel=0.08)


@pytest.mark.parametrize("target", [(0.0005, 0.0005), (0.9995, 0.5), (0.5, 0.9999)])
def test_annotators_click_inside_the_photo(target):
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(60.0))
    points = clicks_on_photo(np.random.default_rng(2), target, camera, 500, 4.0)
    assert points.shape == (500, 2)
    assert ((points > 0.0) & (points < 1.0)).all()
    exact = clicks_on_photo(np.random.default_rng(2), target, camera, 3, 0.0)
    np.testing.assert_allclose(exact, np.tile(target, (3, 1)), atol=1e-12)


@pytest.mark.parametrize("lonlat", [(0.3, 0.2), (np.pi - 1e-4, 0.0), (1.0, np.pi / 2.0), (-2.0, -1.5)])
def test_annotators_of_panoramas_agree_on_the_exact_direction(lonlat):
    """Also across the seam and at the poles: the mean direction nears the exact one, at the rate of the noise."""
    exact, count = sphere.direction_from_lonlat(*lonlat), 20_000
    points = clicks_on_panorama(np.random.default_rng(3), exact, count, 2.5)
    assert points.shape == (count, 2)
    assert ((points >= 0.0) & (points <= 1.0)).all()
    assert (points[:, 0] < 1.0).all()
    lon, lat = 2.0 * np.pi * (points[:, 0] - 0.5), np.pi * (0.5 - points[:, 1])
    clicks = np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)], axis=1)
    spread = 2.5 * np.sqrt(1.0 - OUTLIER_SHARE + OUTLIER_SHARE * OUTLIER_FACTOR**2)
    mean = clicks.mean(axis=0) / np.linalg.norm(clicks.mean(axis=0))
    assert np.degrees(np.arcsin(np.linalg.norm(np.cross(mean, exact)))) < 4.0 * spread / np.sqrt(count)
    off = np.degrees(np.arccos(np.clip(clicks @ exact, -1.0, 1.0)))
    assert np.sqrt(np.mean(off**2) / 2.0) == pytest.approx(spread, rel=0.04)


def test_counts_of_annotators():
    counts = {annotator_count(np.random.default_rng(seed), "test") for seed in range(60)}
    assert counts == {8, 9, 10}
    assert annotator_count(np.random.default_rng(0), "train") == 1
