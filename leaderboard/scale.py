"""Axes of errors, and of their differences, on which small intervals can be seen beside numbers ten times as large.

Conventions
-----------
Errors are 0 or more, in the unit of a protocol's primary metric, on a logarithmic axis that begins and ends at one of
:data:`ENDS` times a power of ten. What is smaller than its start, 0 above all, is drawn at the start. Differences have an axis
that is linear around 0 and logarithmic further out. Axes are marked at :data:`MARKS` times powers of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log, log10
from statistics import median
from typing import NamedTuple

from leaderboard.records import Estimate

ENDS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
MARKS = (1.0, 2.0, 5.0)
MOST_DECADES = 3  # an interval that reaches to almost 0 must not make all others small


class Scale(NamedTuple):
    """From ``start`` to ``end``, both above 0, with the numbers that are marked."""

    start: float
    end: float
    ticks: list[float]

    def share(self, value: float) -> float:
        """Place of a value, from 0 at the start to 1 at the end."""
        return log(min(max(value, self.start), self.end) / self.start) / log(self.end / self.start)


def scale_of(estimates: Iterable[Estimate]) -> Scale:
    """The scale that holds all numbers and the ends of their intervals; from 1 to 10 if there are none."""
    numbers = [n for one in estimates for n in (one.value, one.low, one.high) if n is not None and n > 0.0] or [1.0, 10.0]
    most = max(numbers)
    least = max(min(numbers), most / 10.0**MOST_DECADES)
    ends = _around(ENDS, least, most)
    start = max(end for end in ends if end <= least)
    end = min(end for end in ends if end >= most and end > start)
    ticks = [mark for mark in _around(MARKS, least, most) if start <= mark <= end]
    return Scale(start, end, ticks if len(ticks) > 1 else [start, end])


class BothWays(NamedTuple):
    """An axis of differences from ``start`` to ``end``, 0 within: linear up to ``linear`` from 0, logarithmic beyond."""

    start: float
    end: float
    linear: float
    ticks: list[float]


def both_ways(intervals: Sequence[tuple[float, float]]) -> BothWays:
    """The axis of differences whose intervals, from low to high, are given; linear about as far as one of them is long."""
    known = [(low, high) for low, high in intervals if low <= high]  # not NaN
    typical = median([high - low for low, high in known if high > low] or [1.0])
    linear = max(end for end in _around(ENDS, typical, typical) if end <= typical)
    low, high = min((0.0, *(low for low, _ in known))), max((0.0, *(high for _, high in known)))
    marks = [mark for mark in _around(MARKS, linear, max(-low, high, linear)) if mark >= linear]
    ticks = [tick for tick in (*(-mark for mark in reversed(marks)), 0.0, *marks) if low <= tick <= high]
    return BothWays(1.15 * low - 0.15 * linear, 1.15 * high + 0.15 * linear, linear, ticks)


def _around(digits: Sequence[float], least: float, most: float) -> list[float]:
    """Digits times powers of ten, ascending, from below ``least`` to above ``most``."""
    places = range(floor(log10(least)) - 1, floor(log10(most)) + 2)
    return [float(f"{digit:g}e{place}") for place in places for digit in digits]
