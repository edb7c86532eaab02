"""The spherical protocol: closed forms, slow loops, scikit-learn, humans, input checks, chunks."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError
from srgaze360.protocols import saliency, spherical

POINT_METRICS = [name for name, metric in spherical.METRICS.items() if metric.needs == "direction"]
HEATMAP_METRICS = [name for name, metric in spherical.METRICS.items() if metric.needs == "heatmap"]


def at(lon_deg, lat_deg):
    return sphere.direction_from_lonlat(np.radians(lon_deg), np.radians(lat_deg))


def random_input(seed, n=20, m=4):
    """Predictions and ragged annotations; sample 3 has no annotation, places without one hold NaN."""
    rng = np.random.default_rng(seed)
    middle = sphere.normalise(rng.normal(size=(n, 1, 3)))
    annotations = sphere.normalise(middle + 0.2 * rng.normal(size=(n, m, 3)))
    weights = (np.arange(m) < rng.integers(1, m + 1, size=(n, 1))).astype(float)
    weights[3] = 0.0
    annotations[weights == 0.0] = np.nan
    prediction = sphere.normalise(middle[:, 0] + 0.5 * rng.normal(size=(n, 3)))
    return prediction, annotations, weights


def loop_point_scores(prediction, points):
    """One sample by the definitions, with math alone."""

    def distance(a, b):
        return math.degrees(2.0 * math.asin(min(1.0, math.dist(a, b) / 2.0)))

    total = [math.fsum(values) for values in zip(*points, strict=True)]
    mean = [value / math.hypot(*total) for value in total]
    scores = {
        "angular_distance_deg": distance(prediction, mean),
        "angular_distance_mean_deg": math.fsum(distance(prediction, p) for p in points) / len(points),
        "angular_distance_min_deg": min(distance(prediction, p) for p in points),
    }
    return {**scores, **{f"hit@{t}": float(scores["angular_distance_deg"] <= t) for t in (5, 10, 20, 30)}}


# --- metrics of directions --------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**31))
def test_point_metrics_are_the_definitions(seed):
    prediction, annotations, weights = random_input(seed, n=6)
    scores = spherical.evaluate(prediction, annotations, weights).per_sample
    assert list(scores) == POINT_METRICS
    for i in range(6):
        got = {name: values[i] for name, values in scores.items()}
        if i == 3:
            assert all(math.isnan(value) for value in got.values())
        else:
            there = annotations[i][weights[i] > 0.0].tolist()
            assert got == pytest.approx(loop_point_scores(prediction[i].tolist(), there), abs=1e-9)


def test_distances_in_closed_form():
    prediction = np.stack([at(0, 0), at(0, 0), at(179, 0), at(40, 89), at(0, 0)])
    annotations = np.stack([at(0, 0), at(180, 0), at(-179, 0), at(-140, 89), at(0, 25)])[:, None]
    scores = spherical.evaluate(prediction, annotations).per_sample
    np.testing.assert_allclose(scores["angular_distance_deg"], [0, 180, 2, 2, 25], atol=1e-9)
    np.testing.assert_array_equal(scores["hit@5"], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(scores["hit@20"], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(scores["hit@30"], [1, 0, 1, 1, 1])


def test_mean_minimum_and_consensus_differ():
    annotations = np.stack([at(-10, 0), at(10, 0), at(0, 0)])[None]
    scores = spherical.evaluate(at(10, 0)[None], annotations).per_sample
    assert scores["angular_distance_deg"][0] == pytest.approx(10.0)
    assert scores["angular_distance_mean_deg"][0] == pytest.approx(10.0)
    assert scores["angular_distance_min_deg"][0] == pytest.approx(0.0, abs=1e-9)


def test_antipodal_annotations_have_no_consensus_but_distances():
    annotations = np.stack([at(0, 0), at(180, 0)])[None]
    scores = spherical.evaluate(at(30, 0)[None], annotations, heatmaps=np.ones((1, 8, 16))).per_sample
    assert all(np.isnan(scores[name][0]) for name in ("angular_distance_deg", "hit@5", "hit@30"))
    assert scores["angular_distance_mean_deg"][0] == pytest.approx(90.0)
    assert scores["angular_distance_min_deg"][0] == pytest.approx(30.0)
    assert scores["auc"][0] == pytest.approx(0.5)


def test_hit_includes_its_limit():
    np.testing.assert_array_equal(spherical.hit([5.0, 5.0 + 1e-12, np.nan], 5.0), [1.0, 0.0, np.nan])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), yaw=st.floats(-3, 3), pitch=st.floats(-1.5, 1.5), roll=st.floats(-3, 3))
def test_point_metrics_do_not_depend_on_the_pose_of_the_sphere(seed, yaw, pitch, roll):
    prediction, annotations, weights = random_input(seed)
    rotation = sphere.rotation_from_pose(yaw, pitch, roll)
    before = spherical.evaluate(prediction, annotations, weights).per_sample
    after = spherical.evaluate(sphere.rotate(rotation, prediction), sphere.rotate(rotation, annotations), weights).per_sample
    for name in POINT_METRICS[:3]:
        np.testing.assert_allclose(after[name], before[name], atol=1e-9)


# --- in frame ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=40).filter(
        lambda rows: any(inside for inside, _ in rows)
    )
)
def test_average_precision_is_scikit_learns(rows):
    inside, score = (list(column) for column in zip(*rows, strict=True))
    assert spherical.in_frame_ap(inside, score) == pytest.approx(average_precision_score(inside, score), abs=1e-12)


def test_average_precision_in_closed_form():
    assert spherical.in_frame_ap([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx((1.0 + 2.0 / 3.0) / 2.0)
    assert spherical.in_frame_ap([True, False, False, True], [0.5] * 4) == 0.5
    assert math.isnan(spherical.in_frame_ap([False, False], [0.1, 0.2]))
    assert math.isnan(spherical.in_frame_ap([], []))


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate_returns_the_metrics_of_the_table():
    prediction, annotations, weights = random_input(0)
    maps = np.random.default_rng(1).random((20, 16, 32)).astype(np.float16)
    inside = weights.any(axis=1)
    full = spherical.evaluate(
        prediction, annotations, weights, heatmaps=maps, in_frame=inside, in_frame_score=np.linspace(0, 1, 20)
    )
    assert list(full.summary()) == list(spherical.METRICS)
    for name in HEATMAP_METRICS:
        known = np.flatnonzero(inside)
        assert np.isnan(full.per_sample[name][3])
        truth = saliency.truth_density(annotations[known], weights[known], height=16, width=32)
        alone = (
            getattr(saliency, name)(maps[known], truth)
            if name in ("kld", "cc", "sim")
            else getattr(saliency, name)(maps[known], annotations[known], weights[known])
        )
        np.testing.assert_array_equal(full.per_sample[name][known], alone)
    assert full.over_set["in_frame_ap"] == pytest.approx(average_precision_score(inside, np.linspace(0, 1, 20)))
    distances = full.per_sample["angular_distance_deg"]
    assert full.summary()["angular_distance_deg"] == pytest.approx(np.mean(np.delete(distances, 3)))


def test_a_set_without_any_direction_has_nan_and_no_warning():
    result = spherical.evaluate(at(0, 0)[None], np.full((1, 2, 3), np.nan), np.zeros((1, 2)), heatmaps=np.ones((1, 4, 8)))
    assert set(result.summary()) == {*POINT_METRICS, *HEATMAP_METRICS}
    assert all(math.isnan(value) for value in result.summary().values())


def test_samples_without_any_place_for_annotations():
    result = spherical.evaluate(at(0, 0)[None], np.empty((1, 0, 3)), heatmaps=np.ones((1, 4, 8)))
    assert all(math.isnan(value) for value in result.summary().values())


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_chunks_change_nothing(monkeypatch, dtype):
    prediction, annotations, weights = random_input(4)
    maps = np.random.default_rng(1).random((20, 16, 32)).astype(dtype)
    whole = spherical.evaluate(prediction, annotations, weights, heatmaps=maps).per_sample
    human = spherical.leave_one_out_human(annotations, weights, height=16, width=32)
    monkeypatch.setattr(spherical, "_CHUNK_CELLS", 3 * 16 * 32)
    for name, values in spherical.evaluate(prediction, annotations, weights, heatmaps=maps).per_sample.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)
    for name, values in spherical.leave_one_out_human(annotations, weights, height=16, width=32).items():
        np.testing.assert_array_equal(values, human[name], err_msg=name)


def test_order_of_samples_changes_nothing():
    prediction, annotations, weights = random_input(4)
    maps = np.random.default_rng(1).random((20, 16, 32))
    shuffled = np.random.default_rng(2).permutation(20)
    before = spherical.evaluate(prediction, annotations, weights, heatmaps=maps).per_sample
    after = spherical.evaluate(
        prediction[shuffled], annotations[shuffled], weights[shuffled], heatmaps=maps[shuffled]
    ).per_sample
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values[shuffled], err_msg=name)


def test_memory_stays_small():
    n = 2000
    rng = np.random.default_rng(0)
    prediction = sphere.normalise(rng.normal(size=(n, 3)))
    maps = np.broadcast_to(rng.random((1, 64, 128)).astype(np.float16), (n, 64, 128))
    tracemalloc.start()
    try:
        spherical.evaluate(prediction, prediction[:, None], heatmaps=maps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # all maps at once in float64 would be 131 MB for each intermediate result
    assert peak < 40e6


# --- human ------------------------------------------------------------------------------------------------------------


def test_human_is_each_annotation_scored_against_the_others():
    _, annotations, weights = random_input(7, n=8, m=4)
    weights[0] = [1, 0, 0, 0]
    human = spherical.leave_one_out_human(annotations, weights, height=32, width=64)
    assert set(human) == {*POINT_METRICS, "auc"}
    for i in range(8):
        there = annotations[i][weights[i] > 0.0]
        if len(there) < 2:
            assert all(np.isnan(values[i]) for values in human.values())
            continue
        rows = []
        for j in range(len(there)):
            others = np.delete(there, j, axis=0)[None]
            closeness = -sphere.angle_between(sphere.cell_directions(64, 32), there[j])
            point = spherical.evaluate(there[j][None], others).per_sample
            rows.append({**{k: v[0] for k, v in point.items()}, "auc": saliency.auc(closeness[None], others)[0]})
        for name, values in human.items():
            assert values[i] == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-9), name


def test_human_of_two_is_their_distance():
    annotations = np.stack([at(170, 5), at(-178, 5)])[None]
    human = spherical.leave_one_out_human(annotations)
    expected = np.degrees(sphere.angle_between(annotations[:, 0], annotations[:, 1]))
    for name in POINT_METRICS[:3]:
        np.testing.assert_allclose(human[name], expected)
    assert human["auc"][0] > 0.97


def test_identical_annotators_are_perfect():
    human = spherical.leave_one_out_human(np.tile(at(20, 40), (1, 5, 1)))
    np.testing.assert_allclose(human["angular_distance_deg"], 0.0, atol=1e-9)
    np.testing.assert_allclose(human["auc"], 1.0)


def test_human_skips_annotations_whose_others_are_antipodal():
    human = spherical.leave_one_out_human(np.stack([at(0, 0), at(180, 0), at(40, 0)])[None])
    # left out in turn: 0 against the mean of 180 and 40 (110), 180 against that of 0 and 40 (20); 40 has none
    assert human["angular_distance_deg"][0] == pytest.approx((110.0 + 160.0) / 2.0)
    assert human["angular_distance_mean_deg"][0] == pytest.approx((110.0 + 160.0 + 90.0) / 3.0)


# --- input checks -----------------------------------------------------------------------------------------------------


def good():
    prediction, annotations, weights = random_input(0, n=5)
    return {
        "prediction": prediction,
        "annotations": annotations,
        "weights": weights,
        "heatmaps": np.ones((5, 4, 8)),
        "in_frame": weights.any(axis=1),
        "in_frame_score": np.full(5, 0.5),
    }


def broken(name, index, value):
    data = good()
    data[name] = data[name].astype(float)
    data[name][index] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (broken("prediction", 2, np.nan), r"1 of 5 predictions are not unit vectors \(index 2\)"),
        (broken("prediction", 4, 2.0), r"1 of 5 predictions are not unit vectors \(index 4\)"),
        (broken("annotations", (1, 0), np.nan), r"1 of 5 samples have annotations that are not unit vectors.*\(index 1\)"),
        (broken("weights", (0, 0), -1.0), r"1 of 5 samples have weights that are negative or not finite \(index 0\)"),
        (broken("heatmaps", (1, 2, 3), np.nan), r"1 of 5 heatmaps hold NaN.*\(index 1\)"),
        (broken("heatmaps", (1, 2, 3), np.inf), "1 of 5 heatmaps"),
        (broken("heatmaps", (1, 2, 3), -0.1), "logits need exp or softmax"),
        (broken("in_frame_score", 3, 1.1), r"outside \[0, 1\] or NaN \(index 3\)"),
        (broken("in_frame", 0, 1.0), "in_frame must be boolean, found float64"),
        ({**good(), "in_frame": None}, "without the truth in_frame"),
        ({**good(), "prediction": np.ones((5, 2))}, r"directions \(n, 3\).*found the shape \(5, 2\)"),
        ({**good(), "prediction": np.empty((0, 3))}, "n >= 1"),
        ({**good(), "annotations": np.ones((4, 1, 3))}, r"\(5, m, 3\), found the shape \(4, 1, 3\)"),
        ({**good(), "weights": np.ones((5, 1))}, r"weights must have the shape \(5, 4\)"),
        ({**good(), "heatmaps": np.ones((5, 1, 4, 8))}, r"\(5, H, W\), found \(5, 1, 4, 8\)"),
        ({**good(), "in_frame_score": np.ones(4)}, r"in_frame_score must have the shape \(5,\), found \(4,\)"),
    ],
)
def test_faults_are_named(data, message):
    spherical.validate(**good())
    with pytest.raises(InputError, match=message):
        spherical.validate(**data)


def test_all_faults_are_reported_at_once():
    data = good()
    data["prediction"][0] = 0.0
    data["heatmaps"][3] = -1.0
    with pytest.raises(InputError, match=r"predictions are not unit.*; 1 of 5 heatmaps"):
        spherical.evaluate(data["prediction"], data["annotations"], data["weights"], heatmaps=data["heatmaps"])


def test_the_table_names_every_metric_once():
    assert len(spherical.METRICS) == len({metric.description for metric in spherical.METRICS.values()})
    for (name, metric), need in itertools.product(spherical.METRICS.items(), ("direction", "heatmap")):
        if metric.needs == need:
            assert metric.aggregation == "mean over samples", name


def test_a_good_heatmap_beats_a_bad_one_in_every_metric():
    prediction, annotations, weights = random_input(2)
    rng = np.random.default_rng(3)
    good_maps = heatmaps.von_mises_fisher(annotations, 30.0, weights)
    good_maps[3] = 1.0
    bad_maps = heatmaps.von_mises_fisher(sphere.normalise(rng.normal(size=(20, 1, 3))), 30.0)
    better = spherical.evaluate(prediction, annotations, weights, heatmaps=good_maps).summary()
    worse = spherical.evaluate(prediction, annotations, weights, heatmaps=bad_maps).summary()
    for name in HEATMAP_METRICS:
        gain = better[name] - worse[name]
        assert gain > 0.0 if spherical.METRICS[name].better == "higher" else gain < 0.0, name
