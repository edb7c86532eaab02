"""The planar gazefollow protocol: scikit-learn at the photo's size, each code base written out, and the real labels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from srgaze360.errors import InputError
from srgaze360.protocols import gazefollow, planar

SIZES = np.array([[480, 640], [333, 500], [640, 427], [90, 120], [40, 50]])  # the last is smaller than the heatmap


@pytest.fixture(scope="module")
def people():
    """Annotations (5, 6, 2) with weights, eyes and smooth heatmaps (5, 64, 64) float32 with plateaus."""
    rng = np.random.default_rng(4)
    points = rng.random((5, 6, 2))
    points[:, 1] = points[:, 0]  # two annotators on the same pixel
    weights = np.ones((5, 6))
    weights[0, 3:] = 0.0
    points[0, 3:] = np.nan
    cells = (np.arange(64) + 0.5) / 64
    peak = rng.uniform(0.2, 0.8, (5, 2))
    squared = (cells - peak[:, :1])[:, None, :] ** 2 + (cells - peak[:, 1:])[:, :, None] ** 2
    maps = np.exp(-squared / 0.02).astype(np.float32)
    maps[maps < 0.01] = 0.0
    return points, weights, rng.random((5, 2)), maps


def kept(people, index):
    points, weights, _, _ = people
    return points[index][weights[index] > 0]


def by_sklearn(values, points, height, width, scale=None):
    positive = np.zeros((height, width), dtype=int)
    for x, y in points:
        w, h = scale or (width, height)
        positive[min(int(y * h), height - 1), min(int(x * w), width - 1)] = 1
    return roc_auc_score(positive.ravel(), np.asarray(values, dtype=np.float64).ravel())


def imresized(heatmap, height, width):
    """``scipy.misc.imresize`` of a float array, from its description: bytes between minimum and maximum, then Pillow."""
    scale = 255.0 / (heatmap.max() - heatmap.min())
    data = np.floor((heatmap.astype(np.float64) - heatmap.min()) * scale + 0.5).astype(np.uint8)
    return np.asarray(Image.fromarray(data).resize((width, height), Image.Resampling.BILINEAR))


def reference_auc(compat, heatmap, points, height, width):
    if compat == "lian":
        return by_sklearn(cv2.resize(heatmap, (5, 5)), points, 5, 5)
    if compat == "sharingan":
        return by_sklearn(heatmap, points, 64, 64, scale=(63, 63))
    if compat == "chong":
        return by_sklearn(imresized(heatmap, height, width), points, height, width)
    if compat == "vitgaze":
        large = np.asarray(Image.fromarray(heatmap).resize((width, height), Image.Resampling.BILINEAR))
        return by_sklearn(large, points, height, width)
    return by_sklearn(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR), points, height, width)


@pytest.mark.parametrize("compat", [None, *gazefollow.COMPAT])
def test_auc_is_that_of_each_code_base(compat, people):
    points, weights, _, maps = people
    found = gazefollow.evaluate(
        np.full((5, 2), 0.5), np.nan_to_num(points), weights, heatmaps=maps, image_sizes=SIZES, compat=compat
    ).per_sample["auc"]
    for index, (height, width) in enumerate(SIZES):
        expected = reference_auc(compat, maps[index], kept(people, index), int(height), int(width))
        # resampling in another order of additions turns ties on plateaus, which are a few pixels, into steps
        assert found[index] == pytest.approx(expected, abs=2e-4 if compat in (None, "gazelle", "lian") else 1e-12), index


def test_auc_of_plateaus_counts_ties_half():
    maps = np.ones((1, 64, 64))
    points = np.array([[[0.3, 0.4]]])
    for compat in (None, *gazefollow.COMPAT):
        found = gazefollow.evaluate(points[:, 0], points, heatmaps=maps, image_sizes=SIZES[:1], compat=compat)
        assert found.per_sample["auc"] == pytest.approx(0.5)


def test_grey_levels_cost_what_was_measured():
    """Sharp heatmaps lose some 0.05 of AUC to 256 levels, blurry ones next to nothing."""
    rng = np.random.default_rng(0)
    n, cells = 60, (np.arange(64) + 0.5) / 64
    centre = rng.uniform(0.15, 0.85, (n, 2))
    points = np.clip(centre[:, None] + rng.normal(0.0, 0.09, (n, 8, 2)), 0.0, 0.999)
    sizes = np.tile([240, 320], (n, 1))
    lost = []
    for sigma in (3.0, 8.0):
        squared = (cells - centre[:, :1])[:, None, :] ** 2 + (cells - centre[:, 1:])[:, :, None] ** 2
        maps = np.exp(-squared * 64**2 / (2 * sigma**2)).astype(np.float32)
        exact, grey = (
            gazefollow.evaluate(None, points, heatmaps=maps, image_sizes=sizes, compat=compat).per_sample["auc"].mean()
            for compat in ("gazelle", "chong")
        )
        lost.append(exact - grey)
    assert lost[0] > 0.02
    assert lost[1] < 0.2 * lost[0]


# --- points -----------------------------------------------------------------------------------------------------------


def test_the_three_distances_in_closed_form():
    points = np.array([[[0.2, 0.5], [0.8, 0.5], [9.0, 9.0]]])
    weights = np.array([[1.0, 1.0, 0.0]])
    at = np.array([[0.5, 0.9]])
    assert gazefollow.distance_to_mean(at, points, weights) == pytest.approx(0.4)
    assert gazefollow.distance_mean(at, points, weights) == pytest.approx(0.5)
    assert gazefollow.distance_min(np.array([[0.2, 0.4]]), points, weights) == pytest.approx(0.1)


def test_the_mean_annotation_is_perfect_by_one_definition_only():
    points = np.random.default_rng(1).random((20, 7, 2))
    mean = points.mean(axis=1)
    assert gazefollow.distance_to_mean(mean, points) == pytest.approx(0.0, abs=1e-12)
    assert (gazefollow.distance_mean(mean, points) > 0.1).all()


def test_angles_in_closed_form_and_at_the_eye():
    eyes = np.array([[0.5, 0.5]] * 3)
    points = np.array([[[0.5, 0.1], [0.9, 0.5]]] * 3)  # up, and right
    at = np.array([[0.7, 0.3], [0.5, 0.9], [0.5, 0.5]])
    assert np.degrees(gazefollow.angle_mean(at, points, eyes=eyes)) == pytest.approx([45.0, 135.0, 90.0])
    assert np.degrees(gazefollow.angle_to_mean(at, points, eyes=eyes)) == pytest.approx([0.0, 135.0, 90.0], abs=1e-6)


def test_the_angle_of_lian_is_never_nothing():
    maps = np.zeros((1, 64, 64))
    maps[0, 32, 16] = 1.0
    found = gazefollow.evaluate(None, [[[0.25, 0.5]]], eyes=[[0.5, 0.5]], heatmaps=maps, compat="lian").per_sample
    assert found["distance_to_mean"] == pytest.approx(0.0, abs=1e-12)
    assert found["angle_to_mean_deg"] == pytest.approx(np.degrees(np.arccos(0.0625 / (0.0625 + 1e-6))), rel=1e-6)


@pytest.mark.parametrize(("decoder", "expected"), [("centre", (10.5, 20.5)), ("corner", (10, 20)), ("far-corner", (11, 21))])
def test_decoders(decoder, expected):
    maps = np.zeros((1, 64, 32))
    maps[0, 20, 10] = 1.0
    maps[0, 30, 10] = 1.0  # the first by rows counts
    assert planar.DECODERS[decoder](maps)[0] == pytest.approx(np.array(expected) / (32, 64))


def reference_dark(heatmap):
    """Distribution-aware decoding, one map at a time, with OpenCV's blur; a map's size is added on each side beforehand."""
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    padded = np.pad(heatmap.astype(np.float64), 19)
    blurred = cv2.GaussianBlur(padded, (39, 39), 0)[19:-19, 19:-19]
    log = np.log(np.maximum(blurred * heatmap.max() / blurred.max(), 1e-10))
    if not (1 < x < heatmap.shape[1] - 2 and 1 < y < heatmap.shape[0] - 2):
        return float(x), float(y)
    gradient = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
    mixed = log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]
    hessian = np.array(
        [[log[y, x + 2] - 2 * log[y, x] + log[y, x - 2], mixed], [mixed, log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]]]
    )
    shift = -np.linalg.inv(hessian / 4) @ gradient
    return x + shift[0], y + shift[1]


def test_dark_is_that_of_a_slow_reference():
    rng = np.random.default_rng(2)
    cells = np.arange(64.0)
    centres = np.vstack([rng.uniform(6, 57, (10, 2)), [[0.4, 30.0], [62.0, 63.0]]])
    maps = np.exp(-((cells - centres[:, :1])[:, None] ** 2 + ((cells - centres[:, 1:])[:, :, None]) ** 2) / 18.0)
    maps += rng.random(maps.shape) * 0.01
    found = planar.dark(maps) * 64
    assert found == pytest.approx(np.array([reference_dark(heatmap) for heatmap in maps]), abs=1e-6)
    whole = planar.DECODERS["corner"](maps) * 64
    assert np.abs(found[:10] - centres[:10]).mean() < 0.5 * np.abs(whole[:10] - centres[:10]).mean()


def test_decoding_costs_what_was_measured():
    """A perfect predictor of the mean loses 0.012 to the corner, half of that to the centre (64 x 64, measured beforehand)."""
    truth = np.random.default_rng(3).random((4000, 1, 2))
    maps = planar.multi_hot(planar.cells_of(truth, 64, 64), np.ones((4000, 1)), 64, 64)
    lost = [
        gazefollow.distance_to_mean(planar.DECODERS[name](maps), truth).mean() for name in ("corner", "centre", "far-corner")
    ]
    assert lost == pytest.approx([0.0120, 0.0060, 0.0120], abs=2e-4)


# --- people who are not there -----------------------------------------------------------------------------------------


def test_nobody_annotated_is_no_number(people):
    points, weights, eyes, maps = people
    weights = weights.copy()
    weights[2] = 0.0
    for compat in (None, *gazefollow.COMPAT):
        found = gazefollow.evaluate(
            eyes, np.nan_to_num(points), weights, eyes=eyes, heatmaps=maps, image_sizes=SIZES, compat=compat
        ).per_sample
        assert set(found) == set(gazefollow.METRICS)
        for values in found.values():
            assert np.isnan(values).tolist() == [False, False, True, False, False]


def test_human_leaves_itself_out():
    points = np.array([[[0.2, 0.5], [0.4, 0.5], [0.6, 0.5]], [[0.5, 0.5], [np.nan, np.nan], [np.nan, np.nan]]])
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    left = gazefollow.human(points, weights)
    assert left["distance_to_mean"][0] == pytest.approx((0.3 + 0.0 + 0.3) / 3)
    assert left["distance_mean"][0] == pytest.approx((0.3 + 0.2 + 0.3) / 3)
    assert left["distance_min"][0] == pytest.approx(0.2)
    assert all(np.isnan(values[1]) for values in left.values())
    own = gazefollow.human(points, weights, leave_out=False)
    assert own["distance_min"].tolist() == [0.0, 0.0]
    assert own["distance_to_mean"][0] == pytest.approx(0.4 / 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"compat": "chnog"}, "Unknown compat 'chnog' of the gazefollow protocol. Did you mean 'chong'"),
        ({"compat": "chong", "heatmaps": None}, "compat=chong decodes heatmaps, and there are none"),
        ({"prediction": None}, "there are no predicted points"),
        ({"image_sizes": None}, "the AUC is taken at the photos' sizes, and image_sizes is missing"),
        ({"annotations": np.full((5, 6, 2), 1.2)}, r"5 of 5 samples have annotations outside \[0, 1\]"),
        ({"annotations": np.zeros((5, 2))}, r"annotations must be points \(n, m, 2\)"),
        ({"weights": np.ones((5, 5))}, "weights must have the shape"),
        ({"weights": np.full((5, 6), -1.0)}, "weights that are negative or not finite"),
        ({"prediction": np.full((5, 2), np.nan)}, "5 of 5 predictions are not finite"),
        ({"eyes": np.zeros((4, 2))}, r"eyes must be points \(5, 2\)"),
        ({"heatmaps": np.full((5, 64, 64), -1.0)}, "heatmaps hold NaN, infinity or negative"),
        ({"image_sizes": np.zeros((5, 2), dtype=int)}, "image sizes must be whole numbers"),
    ],
)
def test_faults_are_said(change, match, people):
    points, weights, eyes, maps = people
    given = {
        "prediction": eyes, "annotations": np.nan_to_num(points), "weights": weights, "eyes": eyes, "heatmaps": maps,
        "image_sizes": SIZES, "compat": None,
    } | change  # fmt: skip
    with pytest.raises(InputError, match=match):
        gazefollow.evaluate(given.pop("prediction"), given.pop("annotations"), given.pop("weights"), **given)
