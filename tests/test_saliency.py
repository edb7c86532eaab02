"""Heatmap metrics on the sphere: scikit-learn, slow float64 loops, closed forms, rotations, seam and poles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from srgaze360 import heatmaps, sphere
from srgaze360.protocols import saliency

FOUR_PI = 4.0 * math.pi


def random_annotations(rng, n, m):
    """Ragged annotations, clustered around a point per sample; NaN where there is none."""
    middle = sphere.normalise(rng.normal(size=(n, 1, 3)))
    annotations = sphere.normalise(middle + 0.2 * rng.normal(size=(n, m, 3)))
    weights = (np.arange(m) < rng.integers(1, m + 1, size=(n, 1))).astype(float)
    annotations[weights == 0.0] = np.nan
    return annotations, weights


def sklearn_auc(maps, annotations, weights):
    height, width = maps.shape[1:]
    solid, directions = sphere.cell_solid_angles(width, height), sphere.cell_directions(width, height)
    areas = []
    for values, points, w in zip(maps, annotations, weights, strict=True):
        near = sphere.angle_between(directions[:, :, None], points[w > 0.0]) <= np.radians(10.0)
        areas.append(roc_auc_score(near.any(axis=-1).ravel(), values.ravel().astype(float), sample_weight=solid.ravel()))
    return np.array(areas)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1"])
@pytest.mark.parametrize("kind", ["continuous", "tied", "signed"])
def test_auc_is_scikit_learns(dtype, kind):
    rng = np.random.default_rng(11)
    annotations, weights = random_annotations(rng, 12, 4)
    maps = rng.random((12, 64, 128)) * heatmaps.von_mises_fisher(sphere.normalise(rng.normal(size=(12, 1, 3))), 3.0)
    if kind == "tied":
        maps = np.floor(maps * 8.0)
    if kind == "signed":
        maps = np.round(np.log(maps + 1e-3), 2) * np.array([0.0, -0.0, 1.0])[rng.integers(0, 3, maps.shape)]
    maps = (maps * (100.0 if dtype == "u1" else 1.0)).clip(0.0 if dtype == "u1" else None).astype(dtype)
    np.testing.assert_allclose(saliency.auc(maps, annotations, weights), sklearn_auc(maps, annotations, weights), atol=1e-9)


def loop_scores(values, points, height, width):
    """NSS, KLD, CC, SIM of one map by the formulas, one cell at a time."""
    cells = []
    for i in range(height):
        top, bottom = math.pi * (0.5 - i / height), math.pi * (0.5 - (i + 1) / height)
        for j in range(width):
            lon, lat = 2 * math.pi * ((j + 0.5) / width - 0.5), math.pi * (0.5 - (i + 0.5) / height)
            centre = (math.cos(lat) * math.sin(lon), -math.sin(lat), math.cos(lat) * math.cos(lon))
            cells.append((2 * math.pi / width * (math.sin(top) - math.sin(bottom)), centre, float(values[i, j])))
    kappa = 1.0 / math.radians(5.0) ** 2
    truth = [0.0] * len(cells)
    for point in points:
        component = [math.exp(kappa * (sum(a * b for a, b in zip(c, point, strict=True)) - 1.0)) for _, c, _ in cells]
        whole = math.fsum(w * v for (w, _, _), v in zip(cells, component, strict=True))
        truth = [t + v / whole / len(points) for t, v in zip(truth, component, strict=True)]
    whole = math.fsum(w * v for w, _, v in cells)
    mass = [w * v / whole for w, _, v in cells]
    true_mass = [w * t for (w, _, _), t in zip(cells, truth, strict=True)]
    share = [w / FOUR_PI for w, _, _ in cells]
    mean_p, mean_q = (math.fsum(s * v for s, v in zip(share, x, strict=True)) for x in ([v for _, _, v in cells], truth))
    var_p = math.fsum(s * (v - mean_p) ** 2 for s, (_, _, v) in zip(share, cells, strict=True))
    var_q = math.fsum(s * (t - mean_q) ** 2 for s, t in zip(share, truth, strict=True))
    cov = math.fsum(s * (v - mean_p) * (t - mean_q) for s, (_, _, v), t in zip(share, cells, truth, strict=True))
    at = [
        cells[max(range(len(cells)), key=lambda k: sum(a * b for a, b in zip(cells[k][1], p, strict=True)))][2] for p in points
    ]
    eps = 2.0**-52
    return {
        "nss": sum((v - mean_p) / math.sqrt(var_p) for v in at) / len(at),
        "kld": math.fsum(q * math.log((q / s + eps) / (p / s + eps)) for p, q, s in zip(mass, true_mass, share, strict=True)),
        "cc": cov / math.sqrt(var_p * var_q),
        "sim": math.fsum(min(p, q) for p, q in zip(mass, true_mass, strict=True)),
    }


def test_nss_kld_cc_sim_are_the_formulas():
    rng = np.random.default_rng(5)
    height, width = 24, 48
    annotations, weights = random_annotations(rng, 6, 3)
    # at cell centres, where "the cell that contains" and "the nearest centre" are the same
    rows, columns = heatmaps.cell_of(np.nan_to_num(annotations, nan=1.0), height=height, width=width)
    annotations = sphere.cell_directions(width, height)[rows, columns]
    maps = rng.random((6, height, width)) ** 3
    truth = saliency.truth_density(annotations, weights, height=height, width=width)
    got = {
        "nss": saliency.nss(maps, annotations, weights),
        "kld": saliency.kld(maps, truth),
        "cc": saliency.cc(maps, truth),
        "sim": saliency.sim(maps, truth),
    }
    for i in range(6):
        expected = loop_scores(maps[i], annotations[i][weights[i] > 0.0].tolist(), height, width)
        assert {name: values[i] for name, values in got.items()} == pytest.approx(expected, rel=1e-10)


def all_scores(maps, annotations, weights=None):
    maps = np.asarray(maps)
    truth = saliency.truth_density(annotations, weights, height=maps.shape[1], width=maps.shape[2])
    return {
        "auc": saliency.auc(maps, annotations, weights),
        "nss": saliency.nss(maps, annotations, weights),
        "kld": saliency.kld(maps, truth),
        "cc": saliency.cc(maps, truth),
        "sim": saliency.sim(maps, truth),
    }


SOMEWHERE = sphere.direction_from_lonlat([[0.4], [3.1], [-2.0], [0.0]], [[0.1], [-0.3], [1.5], [-np.pi / 2.0]])


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 3e4])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_a_constant_map_says_nothing(value, dtype):
    scores = all_scores(np.full((4, 64, 128), value, dtype=dtype), SOMEWHERE)
    np.testing.assert_allclose(scores["auc"], 0.5, atol=1e-12)
    np.testing.assert_array_equal(scores["nss"], 0.0)
    np.testing.assert_array_equal(scores["cc"], 0.0)
    # against the uniform density the divergence is log(4 pi) less the entropy of the truth: for the von Mises-Fisher
    # distribution 4 pi kappa / (2 pi (1 - exp(-2 kappa))) has the logarithm log(2 kappa), and E[kappa (cos t - 1)] = -1
    kappa = float(heatmaps.concentration(saliency.TRUTH_SIGMA))
    np.testing.assert_allclose(scores["kld"], np.log(2.0 * kappa) - 1.0, rtol=0.01)
    # the truth exceeds the uniform density within t0 of the point: what it holds there is what is not shared
    inside = 1.0 - 1.0 / (2.0 * kappa)
    cap = np.log(2.0 * kappa) / (2.0 * kappa)
    np.testing.assert_allclose(scores["sim"], 1.0 - (inside - cap), rtol=0.1)


def test_the_truth_itself_is_perfect():
    truth = saliency.truth_density(SOMEWHERE)
    scores = all_scores(truth, SOMEWHERE)
    np.testing.assert_allclose(scores["auc"], 1.0, atol=1e-12)
    np.testing.assert_allclose(scores["kld"], 0.0, atol=1e-12)
    np.testing.assert_allclose(scores["cc"], 1.0, atol=1e-12)
    np.testing.assert_allclose(scores["sim"], 1.0, atol=1e-12)
    assert np.all(scores["nss"] > 10.0)


def test_the_antipode_is_the_worst():
    scores = all_scores(heatmaps.von_mises_fisher(-SOMEWHERE, 20.0), SOMEWHERE)
    np.testing.assert_allclose(scores["auc"], 0.0, atol=1e-3)
    assert np.all(scores["nss"] < 0.0)
    assert np.all(scores["cc"] < 0.0)
    assert np.all(scores["kld"] > 20.0)
    assert np.all(scores["sim"] < 1e-6)


def test_one_hot_closed_forms():
    # one cell holds everything: its share s of the sphere is all there is to know
    cell = sphere.cell_directions(128, 64)[20, 100]
    share = sphere.cell_solid_angles(128, 64)[20, 100] / FOUR_PI
    maps = np.zeros((2, 64, 128))
    maps[0, 20, 100] = 5.0  # right
    maps[1, 50, 3] = 5.0  # wrong
    annotations = np.stack([cell, cell])[:, None]
    scores = all_scores(maps, annotations)
    positive = np.sum(saliency.positive_cells(annotations[:1]) * sphere.cell_solid_angles(128, 64)) / FOUR_PI
    wrong = sphere.cell_solid_angles(128, 64)[50, 3] / FOUR_PI
    assert scores["nss"][0] == pytest.approx(math.sqrt((1.0 - share) / share))
    assert scores["nss"][1] == pytest.approx(-math.sqrt(wrong / (1.0 - wrong)))
    # the share of positives at the peak wins against everything, all others tie with everything
    assert scores["auc"][0] == pytest.approx(0.5 + 0.5 * share / positive)
    assert scores["auc"][1] == pytest.approx(0.5 - 0.5 * wrong / (1.0 - positive))
    truth = saliency.truth_density(annotations[:1])[0]
    assert scores["sim"][0] == pytest.approx(truth[20, 100] * share * FOUR_PI)
    assert np.all(np.isfinite(scores["kld"]))


def test_cap_shaped_map_gets_one():
    maps = saliency.positive_cells(SOMEWHERE).astype(np.float16)
    np.testing.assert_allclose(saliency.auc(maps, SOMEWHERE), 1.0, atol=1e-12)


@settings(max_examples=20)
@given(columns=st.integers(-128, 128), seed=st.integers(0, 2**31))
def test_yaw_by_whole_cells_changes_nothing(columns, seed):
    rng = np.random.default_rng(seed)
    annotations, weights = random_annotations(rng, 3, 2)
    maps = rng.random((3, 32, 64)).astype(np.float32)
    turned = sphere.rotate(sphere.rotation_from_pose(2.0 * np.pi * columns / 64, 0.0, 0.0), annotations)
    before, after = all_scores(maps, annotations, weights), all_scores(np.roll(maps, columns, axis=2), turned, weights)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("pose_deg", [(0, 90, 0), (33, 61, 140), (180, -75, 20), (10, 0, 90)])
def test_any_rotation_changes_little_on_a_fine_grid(pose_deg):
    height, width = 256, 512
    truth = sphere.direction_from_lonlat([[0.2, 0.3]], [[0.05, -0.1]])
    guess = sphere.direction_from_lonlat([[0.5, 2.5]], [[0.1, 0.4]])
    rotation = sphere.rotation_from_pose(*np.radians(pose_deg))

    def scores(annotations, points):
        maps = 0.001 + heatmaps.von_mises_fisher(points, 8.0, height=height, width=width)
        return {name: float(values[0]) for name, values in all_scores(maps, annotations).items()}

    straight = scores(truth, guess)
    assert scores(sphere.rotate(rotation, truth), sphere.rotate(rotation, guess)) == pytest.approx(straight, rel=1e-2)


def test_positives_cross_the_seam_and_the_poles():
    width, height = 128, 64
    points = sphere.direction_from_lonlat([[np.pi], [0.3]], [[0.0], [np.pi / 2.0]])
    cells = saliency.positive_cells(points)
    assert cells[0][:, :4].sum() == cells[0][:, -4:].sum() > 0  # both sides of the seam alike
    assert cells[1].all(axis=1).sum() == 4  # whole rows around the zenith: centres at 1.4, 4.2, 7.0 and 9.8 degrees
    solid = sphere.cell_solid_angles(width, height)
    np.testing.assert_allclose((cells * solid).sum(axis=(1, 2)), sphere.cap_solid_angle(np.radians(10.0)), rtol=0.3)


def test_a_coarse_grid_has_the_annotations_own_cell_as_positive():
    corner = sphere.direction_from_lonlat([[1e-3, 2.0]], [[1e-3, -0.6]])  # far from all centres of cells 45 degrees wide
    cells = saliency.positive_cells(corner, height=4, width=8)
    assert cells.sum() == 2
    assert saliency.auc(cells.astype(float), corner) == 1.0


def test_a_metric_without_negatives_is_nan():
    everywhere = sphere.cell_directions(4, 2).reshape(1, -1, 3)
    assert np.isnan(saliency.auc(np.ones((1, 2, 4)), everywhere)).all()


def test_without_annotations_all_is_nan():
    maps = np.random.default_rng(0).random((2, 8, 16))
    annotations = np.full((2, 3, 3), np.nan)
    for name, values in all_scores(maps, annotations, np.zeros((2, 3))).items():
        assert np.isnan(values).all(), name


def test_nss_is_the_mean_over_annotations():
    rng = np.random.default_rng(2)
    annotations, weights = random_annotations(rng, 5, 4)
    maps = rng.random((5, 64, 128))
    together = saliency.nss(maps, annotations, weights)
    for i in range(5):
        alone = [saliency.nss(maps[i : i + 1], annotations[i : i + 1, j : j + 1])[0] for j in np.flatnonzero(weights[i])]
        assert together[i] == pytest.approx(np.mean(alone), rel=1e-12)


@settings(max_examples=25)
@given(scale=st.floats(1e-6, 1e3), seed=st.integers(0, 2**31))
def test_scale_does_not_matter_and_ranges_hold(scale, seed):
    rng = np.random.default_rng(seed)
    annotations, weights = random_annotations(rng, 2, 3)
    maps = rng.random((2, 16, 32)) ** rng.integers(1, 30)
    scores = all_scores(maps, annotations, weights)
    for name, values in all_scores(maps * scale, annotations, weights).items():
        np.testing.assert_allclose(values, scores[name], rtol=1e-7, atol=1e-9, err_msg=name)
    assert np.all((scores["auc"] >= 0.0) & (scores["auc"] <= 1.0))
    assert np.all((scores["sim"] >= 0.0) & (scores["sim"] <= 1.0 + 1e-12))
    assert np.all(np.abs(scores["cc"]) <= 1.0 + 1e-12)
    assert np.all(scores["kld"] >= -1e-12)


def test_counting_float16_is_sorting_it():
    """Files hold float16, whose few values are counted; wider values are sorted: the same number from the same values."""
    rng = np.random.default_rng(11)
    maps = np.round(rng.random((70, 16, 32)) ** 3, 2).astype(np.float16)  # many ties, more than one piece
    maps[0] = 0.0
    maps[1, :8] = -0.0
    maps[1, 8:] = 0.0
    maps[2, 3, 4] = 65504.0
    maps[3] *= np.float16(6e-8) / maps[3].max()  # subnormal
    points = sphere.normalise(rng.normal(size=(70, 3, 3)))
    counted, sorted_ = saliency.auc(maps, points), saliency.auc(maps.astype(np.float64), points)
    np.testing.assert_allclose(counted, sorted_, atol=1e-12)
    assert counted[:2] == pytest.approx(0.5)
    signed = maps.astype(np.float16) - np.float16(0.5)  # nobody hands these in; they are sorted
    np.testing.assert_allclose(saliency.auc(signed, points), saliency.auc(signed.astype(np.float64), points), atol=1e-12)
    assert saliency.auc(np.empty((0, 16, 32), np.float16), np.empty((0, 3, 3))).shape == (0,)


def test_auc_of_a_map_does_not_depend_on_those_beside_it():
    """To the last bit, whatever values the other maps have, and in whichever piece it is counted."""
    rng = np.random.default_rng(4)
    annotations, weights = random_annotations(rng, 30, 3)
    for dtype in (np.float16, np.float32):
        maps = (rng.random((30, 32, 64)) * 10.0 ** rng.integers(-6, 4, (30, 1, 1))).astype(dtype)
        together = saliency.auc(maps, annotations, weights)
        alone = [saliency.auc(maps[i : i + 1], annotations[i : i + 1], weights[i : i + 1])[0] for i in range(30)]
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("levels", [2, 3, 31, 32, 33, 1000])
def test_ties_within_and_across_blocks_of_values_count_half(levels):
    """Values that follow each other as float16, so that some share a block of the count and some do not: every pair by hand."""
    rng = np.random.default_rng(levels)
    start = np.float16(0.37).view(np.uint16)
    maps = (start + rng.integers(0, levels, (3, 12, 24))).astype(np.uint16).view(np.float16)
    annotations = sphere.normalise(rng.normal(size=(3, 2, 3)))
    positive, solid = saliency.positive_cells(annotations, height=12, width=24), sphere.cell_solid_angles(24, 12)
    expected = []
    for values, near in zip(maps.astype(float), positive, strict=True):
        wins = (values[near][:, None] > values[~near]) + 0.5 * (values[near][:, None] == values[~near])
        pairs = solid[near][:, None] * solid[~near]
        expected.append((wins * pairs).sum() / pairs.sum())
    np.testing.assert_allclose(saliency.auc(maps, annotations), expected, atol=1e-13)
