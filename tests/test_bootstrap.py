"""Cluster bootstrap: scipy's BCa on the same replicates, closed forms, coverage, order, degenerate input."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from srgaze360 import bootstrap
from srgaze360.errors import InputError


def generator(seed=0):
    return np.random.default_rng(seed)


def clustered(rng, clusters, *, spread=1.0, noise=0.3):
    """Skewed values with a common part per cluster, 1 to 8 per cluster, and ids; the true mean is exp(0.18)."""
    sizes = rng.integers(1, 9, size=clusters)
    ids = np.repeat(np.arange(clusters), sizes)
    common = rng.normal(size=clusters)[ids] * spread
    sigma = 0.6 / math.hypot(spread, noise)
    return np.exp(sigma * (common + noise * rng.normal(size=ids.size))), ids


TRUE_MEAN = math.exp(0.18)


# --- against scipy and closed forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("n", [12, 200])
@pytest.mark.parametrize("kind", ["continuous", "hits"])
def test_bca_is_scipys_on_the_same_replicates(monkeypatch, confidence, n, kind):
    values = generator(1).lognormal(size=n)
    if kind == "hits":  # many replicates equal the estimate
        values = (values > 1.5).astype(float)
    kept = []
    original = bootstrap._resampled_means
    monkeypatch.setattr(bootstrap, "_resampled_means", lambda *args: kept.append(original(*args)) or kept[-1])
    ours = bootstrap.cluster_bootstrap({"x": values}, np.arange(n), generator(), confidence=confidence)["x"]
    replicates = SimpleNamespace(bootstrap_distribution=kept[0][:, 0])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=0, method="BCa", confidence_level=confidence, bootstrap_result=replicates
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert ours.method == "BCa"
    assert (ours.n, ours.clusters) == (n, n)
    assert ours.estimate == pytest.approx(values.mean())


def test_bca_is_scipys_with_its_own_replicates():
    values = generator(2).lognormal(size=60)
    ours = bootstrap.cluster_bootstrap({"x": values}, np.arange(60), generator(), n_resamples=40_000)["x"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", rng=generator(5)).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * (theirs.high - theirs.low))


def test_estimate_is_the_mean_over_samples_not_over_clusters():
    result = bootstrap.cluster_bootstrap({"x": [1, 1, 1, 5]}, ["a", "a", "a", "b"], generator())["x"]
    assert result.estimate == 2.0
    assert (result.n, result.clusters) == (4, 2)


def test_standard_error_is_that_of_a_ratio():
    # Cochran, Sampling Techniques, 1977, eq. 6.13: var(R) = sum (S - R N)^2 / (C mean(N))^2 for a ratio of sums
    values, ids = clustered(generator(3), 400)
    fit = bootstrap._fit({"x": values}, ids, generator(), 0.95, 20_000)["x"]
    sums, counts = np.bincount(ids, weights=values), np.bincount(ids)
    ratio = sums.sum() / counts.sum()
    assert fit.replicates.std() == pytest.approx(math.sqrt(np.sum((sums - ratio * counts) ** 2)) / counts.sum(), rel=0.02)


def test_acceleration_is_the_jackknifes():
    values, ids = clustered(generator(4), 30)
    fit = bootstrap._fit({"x": values}, ids, generator(), 0.95, 100)["x"]
    left_out = np.array([values[ids != c].mean() for c in range(30)])
    d = left_out.mean() - left_out
    assert fit.acceleration == pytest.approx((d**3).sum() / (6.0 * (d**2).sum() ** 1.5), rel=1e-9)


# --- what results may and may not depend on ---------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_order_of_samples_does_not_matter(seed):
    rng = generator(seed)
    values, ids = clustered(rng, 25)
    other = np.where(rng.random(values.size) < 0.3, np.nan, values**2)
    shuffled = rng.permutation(values.size)
    names = np.array([f"photo {i}" for i in ids])
    first = bootstrap.cluster_bootstrap({"a": values, "b": other}, names, generator(), n_resamples=200)
    second = bootstrap.cluster_bootstrap(
        {"a": values[shuffled], "b": other[shuffled]}, names[shuffled], generator(), n_resamples=200
    )
    assert first == second  # to the last bit


def test_missing_values_and_company_do_not_matter():
    values, ids = clustered(generator(6), 40)
    holes = np.where((ids < 10) | (generator(7).random(values.size) < 0.4), np.nan, values)
    together = bootstrap.cluster_bootstrap({"full": values, "holes": holes, "again": holes}, ids, generator())
    there = ~np.isnan(holes)
    alone = bootstrap.cluster_bootstrap({"holes": holes[there]}, ids[there], generator())["holes"]
    for name in ("holes", "again"):
        assert together[name][:3] == pytest.approx(alone[:3], rel=1e-12)
        assert together[name][3:] == alone[3:] == (there.sum(), np.unique(ids[there]).size, "BCa")
    assert list(together) == ["full", "holes", "again"]


def test_blocks_do_not_matter(monkeypatch):
    values, ids = clustered(generator(8), 50)
    metrics = {"a": values, "b": np.sqrt(values)}
    whole = bootstrap.cluster_bootstrap(metrics, ids, generator(), n_resamples=500)
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 50)
    for name, interval in bootstrap.cluster_bootstrap(metrics, ids, generator(), n_resamples=500).items():
        assert interval[:3] == pytest.approx(whole[name][:3], rel=1e-12)


def test_seed_matters_and_repeats():
    values, ids = clustered(generator(9), 50)
    run = [bootstrap.cluster_bootstrap({"x": values}, ids, generator(s), n_resamples=500)["x"] for s in (1, 1, 2)]
    assert run[0] == run[1] != run[2]
    rng = generator(1)
    again = [bootstrap.cluster_bootstrap({"x": values}, ids, rng, n_resamples=500)["x"] for _ in range(2)]
    assert again[0] == run[0] != again[1]  # the generator moves on


@given(scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0))
@settings(max_examples=20)
def test_units_do_not_matter(scale, shift):
    values, ids = clustered(generator(10), 30)
    plain = bootstrap.cluster_bootstrap({"x": values}, ids, generator(), n_resamples=300)["x"]
    moved = bootstrap.cluster_bootstrap({"x": scale * values + shift}, ids, generator(), n_resamples=300)["x"]
    assert moved[:3] == pytest.approx(scale * np.array(plain[:3]) + shift, rel=1e-9, abs=1e-9)


# --- coverage ---------------------------------------------------------------------------------------------------------


def coverage(trials, clusters, n_resamples, seed):
    """Share of trials whose interval holds the true mean: by cluster, and wrongly by sample."""
    rng = generator(seed)
    by_cluster = by_sample = 0
    for _ in range(trials):
        values, ids = clustered(rng, clusters)
        right = bootstrap.cluster_bootstrap({"x": values}, ids, rng, n_resamples=n_resamples)["x"]
        wrong = bootstrap.cluster_bootstrap({"x": values}, np.arange(ids.size), rng, n_resamples=200)["x"]
        by_cluster += right.low <= TRUE_MEAN <= right.high
        by_sample += wrong.low <= TRUE_MEAN <= wrong.high
    return by_cluster / trials, by_sample / trials


def test_coverage_and_failure_of_independent_resampling():
    right, wrong = coverage(200, 100, 500, seed=11)
    assert 0.89 <= right <= 0.985  # 95 % less 2 for skewness, give or take 2.6 standard errors
    assert wrong <= 0.80


@pytest.mark.slow
def test_coverage_in_full():
    right, wrong = coverage(1000, 400, 2000, seed=12)
    assert 0.93 <= right <= 0.97
    assert wrong <= 0.80


def test_p_values_are_uniform_without_a_difference():
    rng = generator(13)
    p = []
    for _ in range(200):
        values, ids = clustered(rng, 80)
        partner = values + rng.normal(size=80)[ids] + 0.3 * rng.normal(size=ids.size)
        p.append(bootstrap.paired_difference(values, partner, ids, rng, n_resamples=400).p_value)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


# --- paired differences -----------------------------------------------------------------------------------------------


def test_paired_difference_is_the_bootstrap_of_differences():
    rng = generator(14)
    first, ids = clustered(rng, 60)
    second = first + 0.1 * rng.normal(size=first.size)
    second[:5] = np.nan
    result = bootstrap.paired_difference(first, second, ids, generator())
    assert result.difference == bootstrap.cluster_bootstrap({"d": first - second}, ids, generator())["d"]
    assert result.difference.n == first.size - 5
    # pairing removes what both share
    assert result.difference.high - result.difference.low < 0.1


@pytest.mark.parametrize("shift", [-0.2, -0.12, -0.05, 0.05, 0.12, 0.2])
def test_the_interval_at_the_confidence_of_the_p_value_ends_at_zero(shift):
    values, ids = clustered(generator(15), 40)
    first, second = values - values.mean() + shift, np.zeros(values.size)
    p = bootstrap.paired_difference(first, second, ids, generator()).p_value
    assert 1e-3 < p < 0.8
    difference = bootstrap.paired_difference(first, second, ids, generator(), confidence=1.0 - p).difference
    nearest = difference.low if shift > 0.0 else difference.high
    assert nearest == pytest.approx(0.0, abs=0.01 * (difference.high - difference.low))


def test_p_value_close_to_a_paired_t_test():
    rng = generator(16)
    first, second = rng.normal(0.12, 1.0, 300), rng.normal(0.0, 0.3, 300)
    ours = bootstrap.paired_difference(first, second, np.arange(300), generator(), n_resamples=40_000)
    assert ours.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.25)
    swapped = bootstrap.paired_difference(second, first, np.arange(300), generator(), n_resamples=40_000)
    assert swapped.p_value == pytest.approx(ours.p_value, rel=1e-6)
    assert swapped.difference.low == pytest.approx(-ours.difference.high)


def test_p_value_of_the_clearest_difference_is_its_resolution():
    rng = generator(17)
    result = bootstrap.paired_difference(
        5.0 + rng.normal(size=50), rng.normal(size=50), np.arange(50), generator(), n_resamples=999
    )
    assert result.p_value == pytest.approx(2.0 / 1000.0, abs=2e-3)
    assert result.p_value >= 2.0 / 1000.0


# --- degenerate input -------------------------------------------------------------------------------------------------


def test_one_cluster_has_no_interval():
    result = bootstrap.cluster_bootstrap({"x": [1.0, 2.0, 3.0]}, ["a"] * 3, generator())["x"]
    assert result.estimate == 2.0
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result[3:] == (3, 1, "none")
    assert math.isnan(bootstrap.paired_difference([1.0, 2.0], [0.0, 0.0], ["a", "a"], generator()).p_value)


def test_no_value_at_all():
    result = bootstrap.cluster_bootstrap({"x": [np.nan, np.nan]}, ["a", "b"], generator())["x"]
    assert all(math.isnan(value) for value in result[:3])
    assert result[3:] == (0, 0, "none")
    assert bootstrap.cluster_bootstrap({"x": []}, [], generator())["x"].n == 0


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-9, 1e12])
def test_equal_values_have_an_interval_of_width_zero(value):
    result = bootstrap.cluster_bootstrap({"x": np.full(30, value)}, np.arange(30) // 3, generator())["x"]
    assert result.low == result.high == result.estimate == pytest.approx(value)
    assert result.method == "percentile"
    same = bootstrap.paired_difference(np.full(30, value), np.full(30, value), np.arange(30) // 3, generator())
    assert same.p_value == 1.0
    assert same.difference[:3] == (0.0, 0.0, 0.0)


def test_two_clusters_and_rare_events_stay_finite():
    few = bootstrap.cluster_bootstrap({"x": [0.0, 1.0]}, ["a", "b"], generator())["x"]
    assert 0.0 <= few.low <= few.high <= 1.0
    hits = np.zeros(500)
    hits[7] = 1.0
    rare = bootstrap.cluster_bootstrap({"x": hits}, np.arange(500), generator())["x"]
    assert 0.0 <= rare.low <= 1.0 / 500.0 <= rare.high <= 0.05


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"one value per cluster id, \(2,\); found \(3,\) for 'x'"):
        bootstrap.cluster_bootstrap({"x": [1, 2, 3]}, ["a", "b"], generator())
    with pytest.raises(InputError, match=r"1 of 2 without an id \(first at index 1\)"):
        bootstrap.cluster_bootstrap({"x": [1, 2]}, np.array(["a", None], dtype=object), generator())
    with pytest.raises(InputError, match="1 of 2 without an id"):
        bootstrap.cluster_bootstrap({"x": [1, 2]}, np.array(["a", np.nan], dtype=object), generator())
    with pytest.raises(InputError, match="one per sample"):
        bootstrap.cluster_bootstrap({"x": [1]}, "a", generator())
    with pytest.raises(InputError, match="1 infinite ones for 'x'"):
        bootstrap.cluster_bootstrap({"x": [1, np.inf]}, ["a", "b"], generator())
    with pytest.raises(InputError, match="between 0 and 1; found 95"):
        bootstrap.cluster_bootstrap({"x": [1, 2]}, ["a", "b"], generator(), confidence=95)
    with pytest.raises(InputError, match="At least 100"):
        bootstrap.cluster_bootstrap({"x": [1, 2]}, ["a", "b"], generator(), n_resamples=10)
    with pytest.raises(InputError, match="aligned sample by sample"):
        bootstrap.paired_difference([1, 2], [1], ["a", "b"], generator())


# --- ranks ------------------------------------------------------------------------------------------------------------


def slow_ranks(values, ids, replicates, rng):
    """Ranks (replicates, k) by drawing clusters one by one."""
    members = [np.flatnonzero(ids == one) for one in np.unique(ids)]
    found = []
    for _ in range(replicates):
        rows = np.concatenate([members[place] for place in rng.integers(0, len(members), len(members))])
        means = [float(column[rows].mean()) for column in values.values()]
        found.append([1 + sum(other < mean for other in means) for mean in means])
    return np.array(found)


def test_rank_intervals_are_those_of_a_slow_bootstrap():
    rng = generator(21)
    common, ids = clustered(rng, 60)
    values = {f"m{place}": common + 0.05 * place + 0.6 * rng.normal(size=ids.size) for place in range(5)}
    found = bootstrap.rank_intervals(values, ids, generator(1), n_resamples=4000)
    ranks = slow_ranks(values, ids, 4000, generator(2))
    for place, name in enumerate(values):
        expected = np.quantile(ranks[:, place], [0.025, 0.975], method="inverted_cdf")
        assert np.abs(np.array(found[name]) - expected).max() <= 1
        assert found[name][0] <= 1 + sum(v.mean() < values[name].mean() for v in values.values()) <= found[name][1]


def test_ranks_of_what_is_far_apart_equal_or_unknown():
    rng = generator(22)
    x = rng.normal(size=90)
    ids = np.repeat(np.arange(30), 3)
    far = {"c": x + 20.0, "a": x, "b": x + 10.0}
    assert bootstrap.rank_intervals(far, ids, generator(1), n_resamples=200) == {"c": (3, 3), "a": (1, 1), "b": (2, 2)}
    same = bootstrap.rank_intervals({"a": x, "b": x.copy(), "c": x + 1.0}, ids, generator(1), n_resamples=200)
    assert same == {"a": (1, 1), "b": (1, 1), "c": (3, 3)}
    hole = x.copy()
    hole[:3] = np.nan
    assert bootstrap.rank_intervals({"a": hole, "b": x + 9.0}, ids, generator(1), n_resamples=200) == {"a": (1, 1), "b": (2, 2)}
    assert bootstrap.rank_intervals(far, np.zeros(90), generator(1), n_resamples=200) == {}
