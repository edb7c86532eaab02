"""Queues: whom to look at, in which order, and why.

Conventions
-----------
A queue is a kind and a value: ``lint`` and a rule, ``random`` and a seed, ``filter`` and a restriction as in
:mod:`srgaze360.groups` (``NAME=VALUE``, several separated by ``;``). Its items are rows of the dataset in order, each with a
reason in words; what has been decided is not looked at here but for ``undone``. The same dataset and inputs give the same
queues.

Reviewers who work blind get the queues that tell nothing of a label: no findings, no reasons, and filters by
:data:`BLIND_COLUMNS` alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from annotation.agreement.spread import spread
from annotation.lint.run import COLUMNS as FINDING_COLUMNS
from annotation.lint.run import Finding
from annotation.review.labels import DECIDED
from annotation.review.store import NOTHING, State
from srgaze360.dataset import SEAM_CONDITIONS, Dataset
from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.files import generator
from srgaze360.groups import checked_where, parse_where, restricted

SCORE_COLUMNS = ("score", "quality", "label_quality")
SEVERITIES = ("error", "warning")
# What the pose, the lens and the head say; nothing that follows from where somebody looks.
BLIND_COLUMNS = (
    "suite", "condition", "source", "source_image", "source_person", "cluster_id", "panorama_id", "sample_id", "width",
    "height", "head_u0", "head_v0", "head_u1", "head_v1", "head_lon_deg", "head_lat_deg", "head_radius_deg", "head_band",
    "head_latitude", "head_radius", "head_height", "hfov_deg", "lens", "yaw_deg", "pitch_deg", "roll_deg", "tilt_pitch_deg",
    "tilt_roll_deg", "tilt_yaw_deg", "background", "photos", "near_pole", "contains_pole", "minification",
    "worst_minification", "footprint", "face",
)  # fmt: skip


States = Mapping[str, State]


class Item(NamedTuple):
    """A person in a queue: row of the dataset, and why."""

    row: int
    why: str = ""


class Queue(NamedTuple):
    """A kind of queue: its name for people, the values to choose from (None: any, or none is needed), its items for one."""

    label: str
    choices: list[str] | None
    items: Callable[[str, States], list[Item]]


class Queues:
    """The queues of a dataset, by kind.

    Parameters
    ----------
    data
        The people to review.
    findings
        What lint found; None where it was not run.
    suspects
        Quality of labels by sample, low where a label is probably wrong; None where nobody said.
    blind
        Leave out what tells of labels.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        findings: Sequence[Finding] | None,
        suspects: Mapping[str, float] | None,
        blind: bool = False,
    ) -> None:
        self._data = data = without_seam_conditions(data) if blind else data
        self._ids: list[str] = data.annotations["sample_id"].tolist()
        self._blind = blind
        self.kinds: dict[str, Queue] = {
            "all": Queue("Everybody", None, lambda *_: [Item(row) for row in range(len(self._ids))]),
            "undone": Queue("Not decided yet", None, self._undone),
        }
        if findings is not None and not blind:
            by_rule = _by_rule(data, findings)
            self.kinds["lint"] = Queue("Findings of lint", list(by_rule), lambda rule, _: _of_rule(by_rule, rule))
        if suspects is not None:
            order = _suspects(self._ids, suspects)
            self.kinds["suspects"] = Queue("Suspect labels", None, lambda *_: self._told(order))
        if (data.annotations["gaze_points_deg"].map(len) > 1).any():
            self.kinds["disagreement"] = Queue("Annotators disagree", None, lambda *_: self._told(self._disagreement))
        conditions = _conditions(data)
        self.kinds["condition"] = Queue("Condition", list(conditions), lambda value, _: _known(conditions, value, "condition"))
        self.kinds["random"] = Queue("Random order", None, self._random)
        self.kinds["filter"] = Queue("Filter", None, self._filter)

    def items(self, kind: str, value: str = "", states: States = MappingProxyType({})) -> list[Item]:
        """Items of a queue; ``states`` of the review are looked at by ``undone``.

        Raises
        ------
        InputError
            There is no such kind or value.
        """
        if kind not in self.kinds:
            raise InputError(f"Expected a queue that there is, found {kind!r}. {suggestion(kind, list(self.kinds))}")
        return self.kinds[kind].items(value, states)

    @cached_property
    def _disagreement(self) -> list[Item]:
        return _disagreement(self._data)  # seconds for a large dataset: when it is asked for

    def _told(self, items: list[Item]) -> list[Item]:
        return [Item(item.row) for item in items] if self._blind else items

    def _undone(self, _: str, states: States) -> list[Item]:
        found = [(row, states.get(name, NOTHING).verdict) for row, name in enumerate(self._ids)]
        fresh = [Item(row) for row, verdict in found if verdict is None]
        return fresh + [Item(row, "skipped before") for row, verdict in found if verdict not in (None, *DECIDED)]

    def _random(self, value: str, _: States) -> list[Item]:
        try:
            seed = int(value or 0)
        except ValueError:
            raise InputError(f"Expected a whole number as the seed of the random queue, found {value[:40]!r}.") from None
        return [Item(row) for row in generator(seed, "review").permutation(len(self._ids)).tolist()]

    def _filter(self, value: str, _: States) -> list[Item]:
        where = parse_where([word for word in value.split(";") if word.strip()])
        if not where:
            raise InputError(
                "Expected a filter such as suite=mixed; head_latitude=60-90, found none. Say whom you want to see."
            )
        if told := sorted(where.keys() - set(BLIND_COLUMNS)) if self._blind else []:
            raise InputError(
                f"Expected a filter that tells nothing of labels in a blind review, found {first_ids(told)}. "
                f"Allowed: {', '.join(BLIND_COLUMNS)}."
            )
        kept = set(restricted(self._data, checked_where(self._data, where)).annotations["sample_id"])
        return [Item(row) for row, name in enumerate(self._ids) if name in kept]


def told_condition(suite: str, condition: str) -> str:
    """A condition as blind reviewers are told it: whether an arc from head to gaze crosses the seam would tell of the gaze."""
    return suite if condition in SEAM_CONDITIONS else condition


def without_seam_conditions(data: Dataset) -> Dataset:
    """A dataset with conditions as :func:`told_condition`."""
    rows = data.annotations
    told = [told_condition(*pair) for pair in zip(rows["suite"], rows["condition"], strict=True)]
    return replace(data, annotations=rows.assign(condition=told))


# --- orders -----------------------------------------------------------------------------------------------------------


def _by_rule(data: Dataset, findings: Iterable[Finding]) -> dict[str, list[Item]]:
    """People with findings, by rule, errors first; a panorama's finding is that of everybody on it."""
    samples = {name: row for row, name in enumerate(data.annotations["sample_id"])}
    panoramas: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(data.annotations["panorama_id"]):
        panoramas[name].append(row)
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for one in sorted(findings, key=lambda one: SEVERITIES.index(one.severity)):
        known = one.sample_id in samples
        for row in [samples[one.sample_id]] if known else [] if one.sample_id else panoramas.get(one.panorama_id, []):
            told = found[one.rule].get(row)
            found[one.rule][row] = f"{told}; {one.evidence}" if told else f"{one.rule}: {one.evidence}"
    return {rule: [Item(row, why) for row, why in rows.items()] for rule, rows in found.items()}


def _of_rule(by_rule: Mapping[str, list[Item]], rule: str) -> list[Item]:
    """Items of one rule; without one, everybody with a finding once, with all of their reasons."""
    if rule:
        return _known(by_rule, rule, "rule with findings")
    reasons: dict[int, list[str]] = defaultdict(list)
    for items in by_rule.values():
        for item in items:
            reasons[item.row].append(item.why)
    return [Item(row, "; ".join(whys)) for row, whys in reasons.items()]


def _suspects(ids: Sequence[str], scores: Mapping[str, float]) -> list[Item]:
    """People with a score, lowest first."""
    scored = [(scores[name], row) for row, name in enumerate(ids) if name in scores]
    return [Item(row, f"label quality {score:.3f}") for score, row in sorted(scored)]


def _disagreement(data: Dataset) -> list[Item]:
    """People with two annotations or more, by their mean angle to the mean direction, largest first; without a mean, before."""
    truth = data.truth()
    several = np.flatnonzero(truth.weights.sum(axis=1) > 1)
    found = spread(truth.points[several], truth.weights[several])
    apart = np.degrees(np.where(np.isnan(found.deviation_mean), np.inf, found.deviation_mean))
    items = []
    for place in np.argsort(-apart, kind="stable").tolist():
        modes = f", {found.modes[place]} groups" if found.modes[place] > 1 else ""
        how = f"{apart[place]:.1f}° from their mean{modes}" if np.isfinite(apart[place]) else "no mean direction"
        items.append(Item(int(several[place]), f"{found.number[place]} annotations, {how}"))
    return items


def _conditions(data: Dataset) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {f"{suite}/{condition}": [] for suite, condition in data.conditions}
    for row, (suite, condition) in enumerate(zip(data.annotations["suite"], data.annotations["condition"], strict=True)):
        found[f"{suite}/{condition}"].append(Item(row))
    return found


def _known(items: Mapping[str, list[Item]], value: str, what: str) -> list[Item]:
    if value not in items:
        raise InputError(f"Expected a {what}, found {value[:80]!r}. {suggestion(value, list(items))}")
    return items[value]


# --- files ------------------------------------------------------------------------------------------------------------


def read_findings(path: Path) -> list[Finding]:
    """Findings that ``srgaze360 annotate lint --csv`` wrote.

    Raises
    ------
    InputError
        The file is missing or is none.
    """
    table = _table(path, "findings of lint", FINDING_COLUMNS, "srgaze360 annotate lint DIR --csv FILE")
    if strange := sorted(set(table["severity"]) - set(SEVERITIES)):
        raise InputError(f"Expected severity error or warning in {path}, found {first_ids(strange)}. Write it again.")
    return [Finding(*map(str, values)) for values in table[list(FINDING_COLUMNS)].itertuples(index=False)]  # type: ignore[arg-type]


def read_suspects(path: Path, ids: Sequence[str]) -> dict[str, float]:
    """Quality of labels by sample from a table with ``sample_id`` and one of :data:`SCORE_COLUMNS`; low is suspect.

    Raises
    ------
    InputError
        The file is missing or is none, or names people who are not in ``ids``, or somebody twice.
    """
    table = _table(path, "scores of labels", ("sample_id",), "srgaze360 annotate suspects")
    column = next((name for name in SCORE_COLUMNS if name in table), None)
    if column is None:
        raise InputError(
            f"Expected a column {' or '.join(SCORE_COLUMNS)} in {path}, found {', '.join(map(str, table.columns))}. Name it so."
        )
    scores = pd.to_numeric(table[column], errors="coerce")
    faults = {
        "that are no numbers": table["sample_id"][~np.isfinite(scores)],
        "of people who are not in the dataset": table["sample_id"][~table["sample_id"].isin(set(ids))],
        "of people who are there twice": table["sample_id"][table["sample_id"].duplicated()],
    }
    if told := [f"{len(names)} {fault}: {first_ids(names)}" for fault, names in faults.items() if len(names)]:
        raise InputError(f"Expected a score for each person in {path}, found {'; '.join(told)}. Is it of another dataset?")
    return dict(zip(table["sample_id"], scores.astype(float), strict=True))


def _table(path: Path, what: str, columns: Sequence[str], maker: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"Expected {what} at {path}, but there is no such file. `{maker}` writes one.") from None
    except (ValueError, OSError) as error:  # of decoding and of parsing, too
        raise InputError(f"Expected {what} in CSV at {path}, but it cannot be read: {error}. `{maker}` writes one.") from None
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"Expected {what} in {path}, found no column {', '.join(missing)}. `{maker}` writes such a file.")
    return table
