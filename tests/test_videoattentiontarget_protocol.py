"""The planar videoattentiontarget protocol: published label maps drawn out, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from srgaze360.errors import InputError
from srgaze360.protocols import planar
from srgaze360.protocols import videoattentiontarget as vat


def drawn(x, y, cut=64):
    """A Gaussian of 3 cells pasted at (x, y) cells of a 64 x 64 map, as far as 9 cells, then binarised."""
    found = np.zeros((64, 64), dtype=bool)
    for row in range(max(0, int(y - 9)), min(cut, int(y + 10))):
        for column in range(max(0, int(x - 9)), min(cut, int(x + 10))):
            found[row, column] = True
    return found


def around(x, y):
    rows, columns = np.mgrid[:64, :64]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18.0) * ((columns - x) ** 2 + (rows - y) ** 2 <= 90.0) > 0


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    target = np.vstack([rng.random((40, 2)), [[0.0, 0.0], [1.0, 1.0], [0.999, 0.02], [0.1, 0.13]]])
    in_frame = rng.random(44) < 0.7
    in_frame[-4:] = True
    maps = rng.random((44, 64, 64)).astype(np.float32) ** 4
    score = np.where(in_frame, rng.uniform(0.3, 1.0, 44), rng.uniform(0.0, 0.7, 44)).round(1)
    return target, in_frame, maps, score


REGIONS = {None: drawn, "chong": drawn, "sharingan": drawn, "gazelle": lambda x, y: drawn(x, y, 63), "vitgaze": around}


@pytest.mark.parametrize("compat", [None, *vat.COMPAT])
def test_auc_is_that_of_each_code_base(compat, rows):
    target, in_frame, maps, score = rows
    found = vat.evaluate(target, target, in_frame, heatmaps=maps, in_frame_score=score, compat=compat)
    for index in np.flatnonzero(in_frame):
        values = maps[index].astype(np.float64)
        if compat == "chong":
            values = np.floor((values - values.min()) * 255.0 / (values.max() - values.min()) + 0.5)
        expected = roc_auc_score(REGIONS[compat](*(target[index] * 64)).ravel(), values.ravel())
        assert found.per_sample["auc"][index] == pytest.approx(expected, abs=1e-12), index
    for values in found.per_sample.values():
        assert (np.isnan(values) == ~in_frame).all()
    assert found.over_set["in_frame_ap"] == pytest.approx(average_precision_score(in_frame, score))


@pytest.mark.parametrize(("compat", "decoder"), [("chong", "corner"), ("vitgaze", "dark"), ("sharingan", "far-corner")])
def test_distance_is_of_the_decoded_point(compat, decoder, rows):
    target, in_frame, maps, _ = rows
    found = vat.evaluate(None, target, in_frame, heatmaps=maps, compat=compat).per_sample["distance"]
    expected = np.linalg.norm(planar.DECODERS[decoder](maps) - target, axis=1)
    assert found[in_frame] == pytest.approx(expected[in_frame])


def test_a_square_inside_has_361_cells():
    assert vat.square([[0.5, 0.5]]).sum() == 19 * 19
    assert vat.square([[0.0, 0.0]]).sum() == 10 * 10
    assert vat.disk([[0.5, 0.5]]).sum() == 293  # lattice points within sqrt(90) of one: fewer than the square has


def test_heatmaps_of_other_sizes_are_brought_to_64():
    cells = (np.arange(128) + 0.5) / 128
    map_128 = np.exp(-((cells - 0.3) ** 2 + (cells[:, None] - 0.6) ** 2) / 0.01)[None]
    target, inside = np.array([[0.3, 0.6]]), np.array([True])
    assert vat.auc(map_128, target, inside)[0] > 0.99


def test_all_out_of_frame_is_no_number():
    found = vat.evaluate([[0.5, 0.5]], [[-1.0, -1.0]], np.array([False]), heatmaps=np.ones((1, 64, 64)), in_frame_score=[0.4])
    assert np.isnan(found.per_sample["distance"]).all()
    assert np.isnan(found.per_sample["auc"]).all()
    assert np.isnan(found.over_set["in_frame_ap"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"in_frame": np.ones(2)}, r"in_frame must be boolean, \(2,\), found float64"),
        ({"target": np.array([[0.5, 0.5], [3.0, 0.5]])}, r"1 of 2 samples have annotations outside \[0, 1\]"),
        ({"compat": "lian"}, "Unknown compat 'lian' of the videoattentiontarget protocol"),
        ({"compat": "chong"}, "compat=chong decodes heatmaps, and there are none"),
        ({"prediction": None}, "there are no predicted points"),
        ({"in_frame_score": np.array([0.1, 1.1])}, r"1 of 2 in_frame_score values are outside \[0, 1\]"),
        ({"in_frame_score": np.array([0.1])}, r"in_frame_score must have the shape \(2,\)"),
    ],
)
def test_faults_are_said(change, match):
    given = {"prediction": np.full((2, 2), 0.5), "target": np.full((2, 2), 0.5), "in_frame": np.array([True, True])} | change
    with pytest.raises(InputError, match=match):
        vat.evaluate(given.pop("prediction"), given.pop("target"), given.pop("in_frame"), **given)
