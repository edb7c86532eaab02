"""Who beats whom: paired differences between learnt methods and trivial predictors.

Conventions
-----------
A difference is mean angular distance of the first minus that of the second, in degrees, over the people who have one: negative
where the first is better. Its 95 % interval and p value are those of :func:`srgaze360.bootstrap.paired_difference` over
clusters. A method with several seeds stands with the mean of its seeds' distances, person by person: the interval is that of
sampling people, and the spread of seeds is shown apart, as the range of their mean distances. The annotators are no trivial
predictor, and are not compared here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from leaderboard.comparison import mean_over_seeds, paired
from leaderboard.scoring import MINIMUM_PEOPLE
from srgaze360.bootstrap import PairedDifference
from srgaze360.errors import InputError, first_ids
from srgaze360.files import generator

DISTANCE = "angular_distance_deg"
TRIVIAL = ("random", "centre", "latitude-prior", "head-prior", "region-chance")  # what any real method has to beat
RESAMPLES = 2000
HEADS = ("learnt", "mean °", "seeds", "trivial", "mean °", "difference °", "95 %", "people / clusters", "")
BETTER, WORSE, NOT_APART = "better", "worse", "undecided"


class Comparison(NamedTuple):
    """A learnt method beside a trivial predictor in a suite. Angles in degrees.

    Numbers are None where there is none, or where it rests on fewer people than a board shows numbers for.
    ``seed_low_deg`` to ``seed_high_deg`` is the range of the seeds' mean distances; ``difference_deg`` is learnt minus trivial,
    with its 95 % interval from ``low_deg`` to ``high_deg``.
    """

    learnt: str
    trivial: str
    suite: str
    seeds: int
    learnt_deg: float | None
    seed_low_deg: float | None
    seed_high_deg: float | None
    trivial_deg: float | None
    difference_deg: float | None
    low_deg: float | None
    high_deg: float | None
    p_value: float | None
    people: int
    clusters: int

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the 95 % interval excludes 0, else ``undecided``."""
        if self.low_deg is None or self.high_deg is None:
            return NOT_APART
        return BETTER if self.high_deg < 0.0 else WORSE if self.low_deg > 0.0 else NOT_APART


def beats(
    first_samples: pd.DataFrame, second_samples: pd.DataFrame, rng: np.random.Generator, n_resamples: int = RESAMPLES
) -> PairedDifference:
    """Compare two methods on the same people: the first beats the second where the interval ends below 0.

    Parameters
    ----------
    first_samples, second_samples
        Per-person errors of each (``RESULT.samples.parquet``): ``sample_id``, ``cluster_id``, ``angular_distance_deg``; in any
        order, of the same people.
    rng
        Source of randomness of the bootstrap.
    n_resamples
        Bootstrap replicates.

    Returns
    -------
    PairedDifference
        Of the first minus the second, degrees.

    Raises
    ------
    InputError
        They are not of the same people.
    """
    apart = set(first_samples["sample_id"]) ^ set(second_samples["sample_id"])
    if apart:
        raise InputError(
            f"Expected the errors of two methods on the same people, found {len(apart)} who are in one alone: "
            f"{first_ids(sorted(apart))}. Score both on the same split and suites."
        )
    return paired(first_samples, second_samples, DISTANCE, rng, n_resamples=n_resamples)


def compare(
    learnt: Mapping[str, Sequence[pd.DataFrame]],
    trivial: Mapping[str, Sequence[pd.DataFrame]],
    suites: Sequence[str],
    *,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Every pair of a learnt method and a trivial predictor, in every suite; per-person errors are given by seed."""
    pooled = {name: mean_over_seeds(list(samples), [DISTANCE]) for name, samples in {**learnt, **trivial}.items()}
    found = []
    for suite in suites:
        inside = {name: table[table["suite"] == suite] for name, table in pooled.items()}
        means = {name: float(table[DISTANCE].mean()) for name, table in inside.items()}
        for name, samples in learnt.items():
            by_seed = [float(table.loc[table["suite"] == suite, DISTANCE].mean()) for table in samples]
            for other in trivial:
                rng = generator(seed, "comparison")  # the same stream for all: equal people are resampled alike
                (estimate, low, high, people, clusters, _), p_value = beats(inside[name], inside[other], rng, n_resamples)
                number = _number if people >= MINIMUM_PEOPLE else _withheld
                found.append(
                    Comparison(
                        learnt=name,
                        trivial=other,
                        suite=suite,
                        seeds=len(samples),
                        learnt_deg=number(means[name]),
                        seed_low_deg=number(min(by_seed)),
                        seed_high_deg=number(max(by_seed)),
                        trivial_deg=number(means[other]),
                        difference_deg=number(estimate),
                        low_deg=number(low),
                        high_deg=number(high),
                        p_value=number(p_value),
                        people=people,
                        clusters=clusters,
                    )
                )
    return found


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Comparisons as Markdown: a table for each suite."""
    lines = [
        "# Learnt methods beside trivial predictors",
        "",
        "Difference of mean angular distance in degrees, learnt minus trivial, with its paired 95 % interval (bootstrap over",
        "clusters); below 0 the learnt method is better. Several seeds: mean over seeds, and the range of their means.",
        "Intervals are not corrected for the number of pairs; the first groups of the board are.",
    ]
    for suite in dict.fromkeys(item.suite for item in comparisons):
        lines += ["", f"## {suite}", "", f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
        lines += [f"| {' | '.join(cells(item))} |" for item in comparisons if item.suite == suite]
    if not comparisons:
        lines += ["", "There is no pair of a learnt method and a trivial predictor to compare."]
    return "\n".join(lines) + "\n"


def cells(item: Comparison) -> tuple[str, ...]:
    """A comparison as the cells of a table, under :data:`HEADS`."""
    return (
        item.learnt,
        _text(item.learnt_deg),
        f"{item.seeds} ({_text(item.seed_low_deg)} to {_text(item.seed_high_deg)})" if item.seeds > 1 else str(item.seeds),
        item.trivial,
        _text(item.trivial_deg),
        _text(item.difference_deg, "+.2f"),
        f"{_text(item.low_deg, '+.2f')} to {_text(item.high_deg, '+.2f')}",
        f"{item.people} / {item.clusters}",
        item.verdict,
    )


def table(comparisons: Sequence[Comparison]) -> Any:  # noqa: ANN401 - a rich table; rich is imported late
    """Comparisons as a table for the terminal, 80 columns wide or less; who was compared is said below it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = any(item.seeds > 1 for item in comparisons)
    counts = [cells(item)[7] for item in comparisons]
    caption = f"people / clusters: {', '.join(dict.fromkeys(counts))}" if counts else None
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    heads = [HEADS[0], HEADS[1], *([HEADS[2]] if several else []), HEADS[3], HEADS[4], "difference ° (95 %)", ""]
    for head in heads:
        shown.add_column(head, justify="left" if head in ("learnt", "trivial", "") else "right", no_wrap=True)
    colours = {BETTER: "green", WORSE: "red"}
    for item in comparisons:
        learnt, _, _, trivial, *_, verdict = cells(item)
        interval = f"({_text(item.low_deg, '+.1f')}, {_text(item.high_deg, '+.1f')})"
        difference = f"{_text(item.difference_deg, '+.1f')} {interval}"
        means = [_text(item.learnt_deg, ".1f"), _text(item.trivial_deg, ".1f")]
        facts = (learnt, means[0], *([str(item.seeds)] if several else []), trivial, means[1], difference)
        shown.add_row(*map(Text, facts), Text(verdict, style=colours.get(verdict, "")))
    return shown


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _withheld(_: float) -> None:
    """As on a board: so few people are counted and get no number."""


def _text(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
