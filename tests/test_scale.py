"""Axes of bars: what they hold, where they begin and end, and that places on them are logarithmic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.records import Estimate
from leaderboard.scale import both_ways, scale_of


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high, people=20, clusters=10)


@given(st.lists(st.floats(1e-3, 180.0), min_size=1, max_size=8))
def test_a_scale_holds_its_numbers_and_is_no_longer_than_needed(values: list[float]) -> None:
    scale = scale_of([estimate(value) for value in values])
    least = max(min(values), max(values) / 1000.0)
    assert scale.start <= least < 1.67 * scale.start
    assert max(values) <= scale.end
    assert scale.end <= 1.67 * max(max(values), scale.start)
    assert len(scale.ticks) >= 2
    assert all(scale.start <= tick <= scale.end for tick in scale.ticks)


def test_ends_of_intervals_count_and_numbers_that_are_not_there_do_not() -> None:
    scale = scale_of([estimate(14.6, 13.7, 15.6), estimate(90.7, 87.4, 94.1), estimate(4.6), estimate(None)])
    assert (scale.start, scale.end) == (3.0, 100.0)
    assert scale.ticks == [5.0, 10.0, 20.0, 50.0, 100.0]
    assert scale.share(math.sqrt(300.0)) == pytest.approx(0.5)
    assert (scale.share(3.0), scale.share(100.0)) == (0.0, 1.0)


def test_zero_stands_at_the_start() -> None:
    scale = scale_of([estimate(0.0, 0.0, 0.2), estimate(0.3)])
    assert scale.start == 0.2
    assert scale.share(0.0) == 0.0
    far = scale_of([estimate(1e-9), estimate(50.0)])
    assert far.start == pytest.approx(0.05)


def test_there_is_a_scale_without_a_number() -> None:
    assert scale_of([estimate(None)]) == scale_of([])


def test_marks_are_the_ends_where_hardly_any_lie_within() -> None:
    scale = scale_of([estimate(0.031), estimate(0.045)])
    assert scale.ticks == [0.03, 0.05] == [scale.start, scale.end]


def test_differences_are_linear_as_far_as_an_interval_is_long() -> None:
    axis = both_ways([(0.2, 1.4), (-0.4, 1.0), (70.0, 78.0)])
    assert axis.linear == 1.0  # the median of 1.2, 1.4 and 8 is 1.4
    assert axis.start < -0.4
    assert axis.end > 78.0
    assert axis.ticks == [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]


def test_differences_of_one_cluster_have_no_intervals() -> None:
    axis = both_ways([(math.nan, math.nan)])
    assert axis.ticks == [0.0]
    assert axis.start < 0.0 < axis.end
