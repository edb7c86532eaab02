"""Who beats whom: paired differences of planted size, aligned by person, seeds joined, and words that fit the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from srgaze360.bootstrap import paired_difference
from srgaze360.cli.benchmark.report import BETTER, DISTANCE, NOT_APART, WORSE, Comparison, beats, compare, markdown, table
from srgaze360.console import OUT
from srgaze360.errors import InputError


def samples_of(distances: np.ndarray, suite: str = "mixed", per_cluster: int = 2) -> pd.DataFrame:
    index = np.arange(len(distances))
    return pd.DataFrame(
        {
            "sample_id": [f"{suite}-{i}" for i in index],
            "cluster_id": [f"c{i // per_cluster}" for i in index],
            "suite": suite,
            DISTANCE: distances,
        }
    )


def planted(seed: int, gap: float, spread: float = 1.0, n: int = 200) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors that differ by ``gap`` on average, with person by person noise, and much larger differences between people."""
    rng = np.random.default_rng(seed)
    common = rng.uniform(0, 90, n)
    return samples_of(common + gap + rng.normal(0, spread, n)), samples_of(common)


def test_a_difference_is_that_of_the_bootstrap() -> None:
    first, second = planted(1, -3.0)
    found = beats(first, second, np.random.default_rng(5), 500)
    wanted = paired_difference(
        first[DISTANCE], second[DISTANCE], first["cluster_id"], np.random.default_rng(5), n_resamples=500
    )
    assert found == wanted
    assert found.difference.estimate == pytest.approx((first[DISTANCE] - second[DISTANCE]).mean())


def test_people_are_paired_by_id_and_not_by_order() -> None:
    """Unpaired, a gap of 3 drowns in the spread of 90 between people."""
    first, second = planted(2, -3.0)
    shuffled = first.sample(frac=1.0, random_state=3)
    found = beats(shuffled, second, np.random.default_rng(0))
    assert found.difference.estimate == pytest.approx(beats(first, second, np.random.default_rng(0)).difference.estimate)
    assert found.difference.high < -2.5


def test_other_people_are_refused() -> None:
    first, second = planted(3, 0.0, n=10)
    with pytest.raises(InputError, match="on the same people, found 2 who are in one alone: mixed-0, mixed-9"):
        beats(first[1:], second[:-1], np.random.default_rng(0))


@pytest.mark.parametrize(("gap", "verdict"), [(-3.0, BETTER), (3.0, WORSE), (0.0, NOT_APART)])
def test_verdicts(gap: float, verdict: str) -> None:
    first, second = planted(4, gap)
    if gap == 0.0:  # exactly none: each person's difference has its opposite
        noise = np.tile([1.0, -1.0], len(first) // 2)
        first = second.assign(**{DISTANCE: second[DISTANCE] + noise})
    (found,) = compare({"a": [first]}, {"b": [second]}, ["mixed"])
    assert found.verdict == verdict
    assert found.low_deg is not None
    assert found.high_deg is not None
    assert found.low_deg <= found.difference_deg <= found.high_deg  # type: ignore[operator]


def test_seeds_are_joined_person_by_person_and_their_range_is_apart() -> None:
    _, trivial = planted(5, 0.0)
    good, bad = (trivial.assign(**{DISTANCE: trivial[DISTANCE] + gap}) for gap in (-4.0, 2.0))
    (found,) = compare({"a": [good, bad.sample(frac=1.0, random_state=0)]}, {"b": [trivial]}, ["mixed"])
    mean = trivial[DISTANCE].mean()
    assert found.seeds == 2
    assert (found.seed_low_deg, found.seed_high_deg) == pytest.approx((mean - 4.0, mean + 2.0))
    assert found.learnt_deg == pytest.approx(mean - 1.0)
    assert (found.low_deg, found.high_deg) == pytest.approx((-1.0, -1.0))  # of people there is no spread at all


def test_every_pair_in_every_suite_and_suites_apart() -> None:
    def both(mixed: float, pole: float) -> pd.DataFrame:
        return pd.concat([samples_of(np.full(20, mixed)), samples_of(np.full(20, pole), "pole")], ignore_index=True)

    found = compare({"a": [both(1, 50)], "b": [both(2, 2)]}, {"t": [both(10, 10)], "u": [both(20, 20)]}, ["mixed", "pole"])
    assert {(i.learnt, i.trivial, i.suite): i.difference_deg for i in found} == pytest.approx(
        {
            ("a", "t", "mixed"): -9.0, ("a", "u", "mixed"): -19.0, ("b", "t", "mixed"): -8.0, ("b", "u", "mixed"): -18.0,
            ("a", "t", "pole"): 40.0, ("a", "u", "pole"): 30.0, ("b", "t", "pole"): -8.0, ("b", "u", "pole"): -18.0,
        }
    )  # fmt: skip


def test_people_without_a_target_do_not_count_and_one_cluster_says_nothing() -> None:
    first, second = planted(6, -3.0, n=10)
    first.loc[:7, DISTANCE] = np.nan
    (found,) = compare({"a": [first]}, {"b": [second]}, ["mixed"])
    assert (found.people, found.clusters) == (2, 1)
    assert (found.low_deg, found.high_deg, found.p_value) == (None, None, None)
    assert (found.learnt_deg, found.trivial_deg, found.difference_deg) == (None, None, None)  # too few, as on a board
    assert found.verdict == NOT_APART
    assert "– to –" in markdown([found])


def test_tables_say_the_numbers() -> None:
    found = Comparison("ours", "random", "mixed", 3, 12.34, 12.0, 13.0, 89.9, -77.56, -80.0, -75.0, 0.001, 200, 100)
    text = markdown([found])
    assert "| ours | 12.34 | 3 (12.00 to 13.00) | random | 89.90 | -77.56 | -80.00 to -75.00 | 200 / 100 | better |" in text
    assert "## mixed" in text
    with OUT.capture() as captured:
        OUT.print(table([found]), width=140)
    assert "better" in captured.get()
    assert "There is no pair" in markdown([])
