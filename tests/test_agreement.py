"""Agreement: against slow references, a second library, published examples and simulations whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from building import run_command
from listings import test_row, write_labels
from scipy.optimize import minimize
from scipy.stats import binomtest, vonmises_fisher

from annotation.agreement import alpha as alphas
from annotation.agreement.alpha import krippendorff, nominal, squared_angle, squared_distance
from annotation.agreement.annotated import Annotated, of_dataset, of_source, turned_to_heads
from annotation.agreement.annotators import angles_to_median, annotators, fence, median_interval, offsets
from annotation.agreement.measure import measure
from annotation.agreement.report import write_agreement
from annotation.agreement.spread import (
    LINK_DEG,
    concentration,
    confidence_cone,
    maximum_likelihood,
    modes,
    quantile,
    spread,
)
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError

NORTH = np.array([0.0, -1.0, 0.0])


def scattered(kappa: float, number: int, people: int, seed: int = 0, mean: np.ndarray = NORTH) -> np.ndarray:
    """Annotations (people, number, 3) of a von Mises-Fisher distribution."""
    drawn = vonmises_fisher(mean, kappa).rvs(people * number, random_state=np.random.default_rng(seed))
    return np.asarray(drawn).reshape(people, number, 3)


def ragged(people: int = 40, most: int = 9, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Annotations with different numbers of them, rubbish where there is none, anywhere on the sphere."""
    rng = np.random.default_rng(seed)
    base = sphere.normalise(rng.normal(size=(people, 3)))
    points = sphere.exp_map(base[:, None], rng.normal(size=(people, most, 2)) * rng.uniform(0.01, 0.5, (people, 1, 1)))
    weights = (np.arange(most) < rng.integers(1, most + 1, (people, 1))).astype(float)
    points[weights == 0.0] = np.nan
    return points, weights


# --- the spread of a person's annotations -----------------------------------------------------------------------------


def test_spread_agrees_with_a_slow_reference() -> None:
    points, weights = ragged()
    found = spread(points, weights)
    for row in range(len(points)):
        own = points[row][weights[row] > 0.0]
        total = own.sum(axis=0)
        mean = total / np.linalg.norm(total)
        angles = np.array([np.arctan2(np.linalg.norm(np.cross(p, mean)), p @ mean) for p in own])
        assert found.number[row] == len(own)
        np.testing.assert_allclose(found.mean[row], mean, atol=1e-12)
        assert found.resultant[row] == pytest.approx(np.linalg.norm(total) / len(own), abs=1e-12)
        for got, want in (
            (found.deviation_mean[row], angles.mean()),
            (found.deviation_median[row], np.median(angles)),
            (found.deviation_95[row], np.quantile(angles, 0.95)),
        ):
            assert got == pytest.approx(want, abs=1e-7)
        if len(own) > 2:
            _, kappa = vonmises_fisher.fit(own)
            lack = len(own) - np.linalg.norm(total)
            assert maximum_likelihood(np.array([len(own)]), np.array([lack]))[0] == pytest.approx(kappa, rel=1e-6)


def test_the_median_has_the_least_summed_distance() -> None:
    points, weights = ragged(12)
    found = spread(points, weights).median
    for row in range(len(points)):
        own = points[row][weights[row] > 0.0]

        def cost(step: np.ndarray, row: int = row, own: np.ndarray = own) -> float:
            return float(sphere.angle_between(sphere.exp_map(found[row], step), own).sum())

        best = minimize(cost, np.full(2, 1e-3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun
        assert cost(np.zeros(2)) <= best + 1e-9


def test_spread_does_not_depend_on_the_rotation_of_the_sphere() -> None:
    points, weights = ragged()
    turn = sphere.rotation_from_pose(2.9, 1.2, -0.7)
    one, other = spread(points, weights), spread(points @ turn.T, weights)
    for name in ("resultant", "deviation_mean", "deviation_median", "deviation_95", "kappa", "cone", "modes", "ambiguous"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(one.median @ turn.T, other.median, atol=1e-6)


def test_annotations_that_say_nothing_of_spread_are_guarded() -> None:
    pole = np.broadcast_to(NORTH, (6, 3))
    points = np.stack([pole, pole, pole, np.stack([NORTH, -NORTH] * 3)])
    weights = np.array([[0.0] * 6, [1.0] + [0.0] * 5, [1.0] * 6, [1.0, 1.0] + [0.0] * 4])
    found = spread(points, weights)
    assert found.number.tolist() == [0, 1, 6, 2]
    assert found.kappa[2] == np.inf  # identical: no finite concentration
    assert np.isnan(found.kappa[[0, 1, 3]]).all()
    assert found.modes.tolist() == [0, 1, 1, 1]
    assert found.ambiguous.tolist() == [False, False, False, True]  # two opposite ones have no mean
    assert np.isnan(found.mean[3]).all()
    assert found.deviation_mean[2] < 1e-9
    assert np.isnan(found.deviation_mean[[0, 3]]).all()
    assert np.isnan(found.cone[:2]).all()
    assert found.cone[2] < 1e-7


def test_close_annotations_keep_their_digits() -> None:
    """A hundred-thousandth of a degree: k - R is 1e-13, below what k and R by themselves resolve to three digits."""
    points = sphere.exp_map(NORTH, np.random.default_rng(0).normal(size=(500, 10, 2)) * np.radians(1e-3))
    found = spread(points, np.ones((500, 10)))
    assert np.mean(found.kappa) == pytest.approx(1.0 / np.radians(1e-3) ** 2, rel=0.03)


@pytest.mark.parametrize("kappa", [5.0, 50.0, 500.0])
@pytest.mark.parametrize("number", [5, 10, 20])
def test_kappa_is_free_of_the_bias_that_maximum_likelihood_has(kappa: float, number: int) -> None:
    points = scattered(kappa, number, 20_000)
    count = np.full(len(points), number)
    lack = count - np.linalg.norm(points.sum(axis=1), axis=1)
    assert concentration(count, lack).mean() == pytest.approx(kappa, rel=0.025)
    assert maximum_likelihood(count, lack).mean() == pytest.approx(kappa * number / (number - 2), rel=0.03)


def test_kappa_of_loose_annotations_is_nearly_right_and_of_uniform_ones_small() -> None:
    count = np.full(20_000, 10)
    for kappa, tolerance in ((1.0, 0.14), (2.0, 0.06)):
        lack = 10 - np.linalg.norm(scattered(kappa, 10, 20_000).sum(axis=1), axis=1)
        assert concentration(count, lack).mean() == pytest.approx(kappa, rel=tolerance)
    uniform = sphere.normalise(np.random.default_rng(0).normal(size=(20_000, 10, 3)))
    lack = 10 - np.linalg.norm(uniform.sum(axis=1), axis=1)
    assert np.median(concentration(count, lack)) == 0.0
    assert np.median(maximum_likelihood(count, lack)) > 0.8


@pytest.mark.parametrize(("kappa", "number"), [(20.0, 3), (20.0, 10), (300.0, 6)])
def test_the_cone_holds_the_true_mean_as_often_as_it_says(kappa: float, number: int) -> None:
    points = scattered(kappa, number, 10_000)
    found = spread(points, np.ones(points.shape[:2]))
    held = sphere.angle_between(found.mean, NORTH) <= found.cone
    assert held.mean() == pytest.approx(0.95, abs=0.008)
    assert np.isnan(confidence_cone(np.array([1]), np.array([0.0]))).all()


@pytest.mark.parametrize(("number", "most"), [(5, 0.12), (8, 0.05), (10, 0.04), (15, 0.02)])
def test_one_target_seldom_has_two_modes(number: int, most: float) -> None:
    for deg in (2.0, 8.0, 20.0):
        points = scattered(1.0 / np.radians(deg) ** 2, number, 3000)
        assert np.mean(spread(points, np.ones(points.shape[:2])).modes > 1) < most


def test_two_targets_have_two_modes() -> None:
    points = scattered(1.0 / np.radians(2.0) ** 2, 10, 3000)
    points[:, 5:] = points[:, 5:] @ sphere.rotation_from_pose(0.0, np.radians(20.0), 0.0).T
    found = spread(points, np.ones(points.shape[:2]))
    assert np.mean(found.modes == 2) > 0.8
    assert np.mean(found.ambiguous) > 0.8
    alone = points.copy()
    alone[:, 6:] = alone[:, :4]  # one annotation elsewhere is an outlier, no mode
    assert np.mean(spread(alone, np.ones(alone.shape[:2])).modes > 1) < 0.02


def test_modes_are_chains_of_links() -> None:
    lon = np.radians([[0.0, 8.0, 16.0, 24.0, 90.0, 97.0, 180.0]])
    points = sphere.direction_from_lonlat(lon, 0.0)
    link = np.array([np.radians(LINK_DEG)])
    assert modes(points, np.ones((1, 7)), link).tolist() == [2]
    assert modes(points, np.array([[1.0, 1, 1, 1, 1, 0, 1]]), link).tolist() == [1]
    assert modes(points, np.zeros((1, 7)), link).tolist() == [0]


def test_quantiles_leave_out_what_is_missing() -> None:
    values = np.array([[3.0, np.nan, 1.0, 2.0], [np.nan] * 4, [5.0, np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(quantile(values, 0.5), [2.0, np.nan, 5.0])
    np.testing.assert_allclose(quantile(values, 0.95), [np.quantile([1.0, 2.0, 3.0], 0.95), np.nan, 5.0])


# --- Krippendorff's alpha ---------------------------------------------------------------------------------------------

N = np.nan
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
# The example of the encyclopaedia's article: three coders, fifteen units
THREE = [
    [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
    [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
    [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
]
# The same paper, section A: binary data, two observers
TWO = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]


def coded(table: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(table, dtype=float)
    observer, unit = np.nonzero(~np.isnan(values))
    return values[observer, unit], unit


@pytest.mark.parametrize(
    ("table", "of_nominal", "of_interval"), [(FOUR, 0.743, 0.849), (THREE, 0.691, 0.811), (TWO, 0.095, 0.095)]
)
def test_published_examples_of_alpha_come_out(table: list[list[float]], of_nominal: float, of_interval: float) -> None:
    values, unit = coded(table)
    rng = np.random.default_rng(0)
    assert round(krippendorff(values, unit, unit, rng, nominal, n_resamples=100).estimate, 3) == of_nominal
    assert round(krippendorff(values[:, None], unit, unit, rng, squared_distance, n_resamples=100).estimate, 3) == of_interval
    # along a great circle squared geodesic distances are those of numbers on a line, wherever the circle lies
    turn = sphere.rotation_from_pose(1.0, 0.8, 2.0)
    points = sphere.direction_from_lonlat(np.radians(values), 0.0) @ turn.T
    assert round(krippendorff(points, unit, unit, rng, squared_angle, n_resamples=100).estimate, 3) == of_interval


def slow_alpha(points: np.ndarray, units: np.ndarray, times: np.ndarray) -> float:
    """Alpha from its definition, every pair by itself; ``times`` (v,) is how often the cluster of each value was drawn."""
    several = np.array([np.sum(units == unit) > 1 for unit in units])
    points, units, times = points[several], units[several], times[several]
    observed = sum(
        times[i] * sphere.angle_between(points[i], points[j]) ** 2 / (np.sum(units == units[i]) - 1)
        for i in range(len(points))
        for j in range(len(points))
        if i != j and units[i] == units[j]
    )
    pairs = [(i, j) for i in range(len(points)) for j in range(i)]
    chance = sum(times[i] * times[j] * sphere.angle_between(points[i], points[j]) ** 2 for i, j in pairs)
    return float(1.0 - (observed / times.sum()) / (chance / sum(times[i] * times[j] for i, j in pairs)))


def some_values(people: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, weights = ragged(people, 5, seed=3)
    row, column = np.nonzero(weights > 0.0)
    return points[row, column], row, row // 3


def test_alpha_and_its_replicates_agree_with_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    values, units, clusters = some_values()
    kept: list[np.ndarray] = []
    draws = alphas.cluster_draws
    monkeypatch.setattr(alphas, "cluster_draws", lambda *args: (kept.append(times) or times for times in draws(*args)))
    sums, n = alphas._sums(values, units, clusters, np.random.default_rng(0), squared_angle, 10**6)
    assert sums.alpha() == pytest.approx(slow_alpha(values, units, np.ones(len(values))), abs=1e-12)
    assert n == len([unit for unit in set(units.tolist()) if np.sum(units == unit) > 1])
    replicates = sums.replicates(np.random.default_rng(1), 100)
    names = np.unique(clusters[np.isin(units, [u for u in set(units.tolist()) if np.sum(units == u) > 1])])
    for draw in (0, 1, 7):
        times = dict(zip(names.tolist(), kept[0][draw], strict=True))
        weights = np.array([times.get(cluster, 0.0) for cluster in clusters.tolist()])
        assert replicates[draw] == pytest.approx(slow_alpha(values, units, weights), abs=1e-9)
    for place, left in enumerate(sums.left_out()):
        assert left == pytest.approx(slow_alpha(values, units, (clusters != names[place]).astype(float)), abs=1e-9)


def test_drawn_pairs_give_nearly_the_alpha_of_all() -> None:
    values, units, clusters = some_values(400)
    exact = krippendorff(values, units, clusters, np.random.default_rng(0), n_resamples=100, pairs=10**7)
    drawn = krippendorff(values, units, clusters, np.random.default_rng(0), n_resamples=100, pairs=100_000)
    assert drawn.estimate == pytest.approx(exact.estimate, abs=0.01 * (1.0 - exact.estimate))
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_alpha_is_one_for_agreement_about_nought_for_chance_and_nothing_without_difference() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(300), 4)
    truth = sphere.normalise(rng.normal(size=(300, 3)))[units]
    assert krippendorff(truth, units, units, rng, n_resamples=100).estimate == 1.0
    chance = krippendorff(sphere.normalise(rng.normal(size=(1200, 3))), units, units, rng, n_resamples=200)
    assert chance.low < 0.0 < chance.high
    nothing = krippendorff(np.ones(1200, dtype=bool), units, units, rng, nominal, n_resamples=100)
    assert np.isnan(nothing.estimate)
    assert nothing.method == "none"
    alone = krippendorff(truth[:4], np.arange(4), np.arange(4), rng, n_resamples=100)
    assert np.isnan(alone.estimate)
    assert alone.n == 0


# --- annotators -------------------------------------------------------------------------------------------------------


def crew(people: int = 300, seed: int = 0) -> Annotated:
    """Five annotators: c is two degrees to the right and one too low, d is far off one time in five."""
    rng = np.random.default_rng(seed)
    targets = sphere.normalise(rng.normal(size=(people, 3)) * [1.0, 0.3, 1.0])
    noise = rng.normal(size=(people, 5, 2)) * np.radians(1.0)
    noise[:, 2] += np.radians([2.0, -1.0])
    far = rng.random(people) < 0.2
    noise[far, 3] += np.radians(30.0)
    points = sphere.exp_map(targets[:, None], noise)
    weights = (rng.random((people, 5)) < 0.8).astype(float)
    weights[:, :2] = 1.0
    names = np.where(weights > 0.0, np.array(list("abcde"), dtype=object), "")
    return Annotated(
        title="crew", ids=np.arange(people).astype(str), clusters=(np.arange(people) // 2).astype(str), points=points,
        weights=weights, local=points, heads=np.broadcast_to([0.0, 0.0, 1.0], (people, 3)), inside=weights > 0.0, names=names,
        planar=None, planar_heads=None, left_out=0,
    )  # fmt: skip


def test_annotators_are_told_by_their_habits() -> None:
    found = crew()
    each = offsets(found)
    told = {one.name: one for one in annotators(found, each, np.random.default_rng(0), 300)}
    assert list(told) == list("abcde")
    assert told["a"].annotations == 300
    # against the others, whose mean c itself does not move: two degrees right of them, but for d's share of outliers
    assert told["c"].right_deg.estimate == pytest.approx(2.0, abs=1.6)
    assert told["c"].right_deg.estimate > max(told[name].right_deg.estimate for name in "abe") + 2.0
    assert told["c"].up_deg.estimate < min(told[name].up_deg.estimate for name in "abe") - 1.0
    assert told["d"].outliers.estimate == pytest.approx(0.2, abs=0.08)
    assert told["d"].outliers.low > told["a"].outliers.high
    assert told["a"].median_deg.low < told["a"].median_deg.estimate < told["a"].median_deg.high
    assert 3.0 < fence(angles_to_median(found, each)) < 10.0


def test_nobody_is_without_outliers_for_certain() -> None:
    """Somebody who was never far off has an interval all the same: that of no success in as many trials as photos."""
    found = crew(40)
    told = {one.name: one.outliers for one in annotators(found, offsets(found), np.random.default_rng(0), 100)}
    exact = binomtest(0, 20).proportion_ci(0.95, method="exact")
    assert (told["a"].estimate, told["a"].method, told["a"].clusters) == (0.0, "exact", 20)
    assert (told["a"].low, told["a"].high) == pytest.approx((exact.low, exact.high))
    assert (told["d"].method, told["d"].estimate > 0.1) == ("BCa", True)


def test_offsets_are_against_the_others() -> None:
    found = crew(20)
    each = offsets(found)
    for row, column, angle in zip(each.row, each.column, each.angle_deg, strict=True):
        others = [found.local[row, j] for j in range(5) if found.weights[row, j] > 0.0 and j != column]
        assert angle == pytest.approx(
            np.degrees(sphere.angle_between(np.sum(others, axis=0), found.local[row, column])), abs=1e-9
        )


def test_intervals_of_medians_cover_the_true_median() -> None:
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        clusters = np.repeat(np.arange(60), 2).astype(str)
        values = rng.exponential(size=120) * np.repeat(rng.choice([0.7, 1.3], 60), 2)
        interval = median_interval(values, clusters, rng, 200)
        assert interval.estimate == np.median(values)
        held += interval.low <= 0.645 <= interval.high  # the median of this mixture
    assert held / 200 == pytest.approx(0.95, abs=0.05)
    assert median_interval(np.array([1.0, 2.0]), np.array(["a", "a"]), np.random.default_rng(0), 200).method == "none"


# --- from datasets and sources ----------------------------------------------------------------------------------------


def test_a_dataset_is_measured_in_the_photos_that_were_annotated(clean: Path) -> None:
    """The same people under other conditions: what concerns the photo stays as it was."""
    data = Dataset.open(clean)
    first = of_dataset(data, suite="latitude")
    assert set(np.unique(first.names)) == set("abcd")
    assert first.inside[first.weights > 0.0].all()
    by_person = data.annotations.set_index("sample_id")
    keys = by_person.loc[first.ids, ["source_image", "source_person"]].agg("/".join, axis=1).to_numpy()
    for key in set(keys):
        own = first.local[keys == key][:, :4]
        assert len(own) == 5  # conditions
        np.testing.assert_allclose(own, np.broadcast_to(own[0], own.shape), atol=1e-9)
        np.testing.assert_allclose(first.heads[keys == key], np.broadcast_to(first.heads[keys == key][0], (5, 3)), atol=1e-9)
    assert not np.allclose(first.points[keys == keys[0]][0], first.points[keys == keys[0]][1])
    front = turned_to_heads(first)
    np.testing.assert_allclose(
        sphere.angle_between(front, [0.0, 0.0, 1.0]), sphere.angle_between(first.local, first.heads[:, None]), atol=1e-9
    )


def test_the_ranking_suite_is_taken_and_what_cannot_be_compared_is_refused(clean: Path) -> None:
    data = Dataset.open(clean)
    assert ", suite mixed, split test" in of_dataset(data, "test").title
    assert of_dataset(data).left_out == 12  # train, and the targets beyond their photos
    with pytest.raises(InputError, match=r"two annotations or more in .*suite mixed, split train\), found none among 10"):
        of_dataset(data, "train")
    with pytest.raises(InputError, match="have suite 'lenses'. Did you mean 'lens'"):
        of_dataset(data, suite="lenses")


def gazefollow_folder(root: Path, people: int = 30, annotators: int = 6) -> Path:
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for person in range(people):
        target = rng.uniform(0.2, 0.8, 2)
        for x, y in np.clip(target + rng.normal(0, 0.05, (annotators, 2)), 0.0, 1.0):
            rows.append(test_row(path=f"test2/{person:03d}.jpg", gaze_x=x, gaze_y=y, eye_x=0.5, eye_y=0.2))
    write_labels(root, "test_annotations_release.txt", rows)
    return root


def test_labels_without_photos_are_lifted(tmp_path: Path) -> None:
    found = of_source("gazefollow", gazefollow_folder(tmp_path), {}, fov_deg=60.0, aspect=(4, 3))
    assert (len(found), found.weights.sum()) == (30, 180)
    assert found.planar is not None
    # the camera by hand: 60 degrees across, four wide and three high
    x, y = np.moveaxis(found.planar - 0.5, -1, 0)
    scale = 2.0 * np.tan(np.radians(30.0))
    by_hand = sphere.normalise(np.stack([x * scale, y * scale * 0.75, np.ones_like(x)], axis=-1))
    np.testing.assert_allclose(found.points, by_hand, atol=1e-12)
    told = measure(found, resamples=100)
    spread_of = np.linalg.norm(found.planar - found.planar.mean(axis=1, keepdims=True), axis=-1)
    assert told.planar["deviation_mean"].estimate == pytest.approx(spread_of.mean())
    assert told.annotators == []
    assert np.isnan(told.alpha["in_frame"].estimate)
    with pytest.raises(InputError, match="Expected options of source 'gazefollow', found: tset_file: Extra inputs"):
        of_source("gazefollow", tmp_path, {"tset_file": "x"})
    with pytest.raises(InputError, match="Unknown source 'gazefolow'. Did you mean 'gazefollow'"):
        of_source("gazefolow", tmp_path, {})


def test_what_is_measured_is_written_and_drawn_alike_every_time(clean: Path, tmp_path: Path) -> None:
    found = measure(of_dataset(Dataset.open(clean), suite="latitude"), resamples=100)
    files = write_agreement(found, tmp_path / "one")
    names = {path.name for path in files}
    assert names >= {
        "people.csv",
        "annotators.csv",
        "agreement.json",
        "deviations.png",
        "offsets.svg",
        "arc.csv",
        "annotators.png",
    }
    write_agreement(measure(of_dataset(Dataset.open(clean), suite="latitude"), resamples=100), tmp_path / "two")
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    people = pd.read_csv(tmp_path / "one" / "people.csv")
    assert len(people) == len(found.annotated)
    consensus = Dataset.open(clean).annotations.set_index("sample_id").loc[people["sample_id"]]
    np.testing.assert_allclose(people["mean_lon_deg"], consensus["gaze_lon_deg"], atol=1e-9)
    assert (people["annotations"] == 4).all()
    record = json.loads((tmp_path / "one" / "agreement.json").read_text())
    assert record["people"] == len(people)
    assert record["overall"]["deviation_mean_deg"]["value"] == pytest.approx(people["deviation_mean_deg"].mean())
    assert {one["annotator"] for one in record["annotators"]} == set("abcd")


def test_the_command_tells_writes_and_explains(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["annotate", "agree", str(clean), "--split", "test", "--resamples", "100"]
    ran = run_command(capsys, *words, "--out", str(tmp_path / "out"))
    assert ran.code == 0, ran.err
    for text in (
        "suite mixed, split test",
        "mean deviation from the mean",
        "Krippendorff's α",
        "does not exist",
        "a (",
        "hit@10°",
    ):
        assert text in ran.out, text
    assert (tmp_path / "out" / "agreement.json").is_file()
    assert json.loads(run_command(capsys, *words, "--json").out)["annotations"] > 0
    labels = gazefollow_folder(tmp_path / "gf")
    ran = run_command(capsys, "annotate", "agree", str(labels), "--source", "gazefollow", "--resamples", "100")
    assert "In the plane, fractions of the photo's sides" in ran.out
    assert "lifted at 4:3 and 60 degrees" in ran.out
    for extra, message in (
        (["--set", "a=b"], "Expected --set with --source KIND"),
        (["--source", "gazefollow", "--split", "test"], "Expected --split and --suite with a built dataset"),
        (["--source", "gazefollow", "--aspect", "wide"], "Expected --aspect W:H in whole numbers, found 'wide'"),
    ):
        ran = run_command(capsys, "annotate", "agree", str(labels), *extra)
        assert (ran.code, message in ran.err) == (2, True), ran.err


@pytest.mark.slow
def test_gazefollow_as_it_was_annotated(real: Path) -> None:
    """The golden numbers of the released labels, planar; and lifted, what the documentation says."""
    options = {"test_file": "test2_annotations.mat", "train_file": None}
    found = measure(of_source("gazefollow", real / "gazefollow", options), resamples=100)
    assert (len(found.annotated), int(found.spread.number.sum())) == (4782, 44191)
    planar = {name: round(interval.estimate, 4) for name, interval in found.planar.items()}
    assert planar["deviation_mean"] == 0.0766
    assert planar["human_distance_to_mean"] == 0.0867
    assert planar["human_distance_mean"] == 0.1095
    assert planar["human_distance_min"] == 0.0373
    assert planar["human_with_itself_distance_mean"] == 0.0969
    assert planar["human_auc"] == 0.9268
    assert found.human["angular_distance_deg"].estimate == pytest.approx(4.66, abs=0.005)
    assert found.alpha["gaze"].estimate == pytest.approx(0.880, abs=0.002)
    assert found.alpha["gaze_from_head"].estimate == pytest.approx(0.915, abs=0.002)
    assert found.overall["several_modes"].estimate == pytest.approx(0.092, abs=0.001)
