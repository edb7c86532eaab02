"""People by group: what scores are reported by, and what a training can be restricted to.

Conventions
-----------
A *grouping* labels each person of a dataset: ``suite``, ``condition``, a breakdown (:data:`BREAKDOWNS`, such as the absolute
latitude of the target), ``tenth``, or any column of the annotations that holds one value per person. ``tenth`` is 0 to 9 by a
hash of the cluster: folds that are the same on every machine, and share no photo, clip or scene. A *restriction* (``where``)
maps groupings to the values that are kept: people have one of the values of every grouping. Columns of numbers take bands
``LOW..HIGH`` besides, which include LOW and exclude HIGH. People whose value is unknown are in no band of numbers; in a
breakdown they are the group ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import pandas as pd

from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.files import digest
from srgaze360.photo_labels import PhotoLabels
from srgaze360.protocols import breakdown
from srgaze360.sphere import BoolArray

Where = Mapping[str, Sequence[str]]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_BAND = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")


class Breakdown(NamedTuple):
    """A way to group people: its title in tables, and the order of its groups (by name if None)."""

    title: str
    order: tuple[str, ...] | None


BREAKDOWNS: dict[str, Breakdown] = {
    "head_view": Breakdown("Target and the 90° view centred on the head", (breakdown.INSIDE_VIEW, breakdown.OUTSIDE_VIEW)),
    "head_target_arc": Breakdown("Arc from head to target", breakdown.band_names(breakdown.ARC_BANDS)),
    "target_latitude": Breakdown("Absolute latitude of the target", breakdown.band_names(breakdown.LATITUDE_BANDS)),
    "head_latitude": Breakdown("Absolute latitude of the head", breakdown.band_names(breakdown.LATITUDE_BANDS)),
    "head_radius": Breakdown("Angular radius of the head", breakdown.band_names(breakdown.HEAD_RADIUS_BANDS)),
    "face": Breakdown("Side of the face that is seen", None),
    "target_kind": Breakdown("Kind of target", None),
    "reach": Breakdown("Distance from eyes to target, of the photo's sides", breakdown.band_names(breakdown.REACH_BANDS, "")),
    "head_height": Breakdown("Height of the head, of the photo's", breakdown.band_names(breakdown.HEAD_HEIGHT_BANDS, "")),
}
# Groupings that are neither breakdowns nor free to choose: a split is chosen by its own option.
LISTED = ("suite", "condition")
NOT_CHOSEN = ("split",)
TENTH = "tenth"


def breakdown_labels(rows: Dataset | PhotoLabels) -> dict[str, breakdown.Labels]:
    """Group names (n,) of every breakdown that the dataset allows, in the order of :data:`BREAKDOWNS`.

    Columns that a source provides (such as ``face``) are breakdowns where they are there. People whose target is unknown are in
    no group of a breakdown by target: no metric of direction has a value for them.
    """
    table = rows.annotations
    if isinstance(rows, PhotoLabels):
        heights = (table["head_v1"] - table["head_v0"]).to_numpy(dtype=np.float64)
        found = breakdown.photo_groups(rows.eyes, heights, rows.points, rows.weights)
    else:
        found = breakdown.groups(rows.heads, np.radians(table["head_radius_deg"].to_numpy(dtype=np.float64)), rows.gazes)
    columns = {by: table[by].fillna(breakdown.UNKNOWN).to_numpy(dtype=str) for by in BREAKDOWNS if by in table}
    both = {**found, **columns}
    return {by: both[by] for by in BREAKDOWNS if by in both}


# --- restrictions -------------------------------------------------------------------------------------------------------


def parse_where(words: Sequence[str]) -> dict[str, list[str]]:
    """Restriction from words ``NAME=VALUE``; the same name again allows another value.

    Raises
    ------
    InputError
        A word has another form.
    """
    where: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise InputError(f"Expected --where in the form NAME=VALUE, found {word!r}. Example: --where target_latitude=0-30")
        where.setdefault(name, []).append(value)
    return where


def describe(where: Where) -> str:
    """A restriction in one line, for instance ``suite=mixed, head_latitude=0-30 deg or 30-60 deg``."""
    return ", ".join(f"{name}={' or '.join(values)}" for name, values in where.items())


def shortly(where: Where) -> str:
    """A restriction as part of a name, for instance ``head_latitude 0-30/30-60, mixed``; suite and condition by value alone."""
    parts = {name: "/".join(value.removesuffix(" deg") for value in values) for name, values in where.items()}
    ordered = sorted(parts, key=lambda name: (name == "suite", name))  # what tells names apart comes first
    return ", ".join(parts[name] if name in LISTED else f"{name} {parts[name]}" for name in ordered)


def restricted(rows: Dataset, where: Where) -> Dataset:
    """The people of ``rows`` whom a restriction keeps, which may be none; its values are taken as they are."""
    kept = np.ones(len(rows), dtype=bool)
    for name, values in where.items():
        kept &= _members(_column(rows, name), values)
    return replace(rows, annotations=rows.annotations[kept].reset_index(drop=True))


def checked_where(rows: Dataset, where: Where) -> dict[str, list[str]]:
    """A restriction as records have it: groupings and values that ``rows`` have, values written in full.

    Parameters
    ----------
    rows
        The people to be restricted; some must be left.
    where
        The restriction. ``deg`` may be left out of the name of a band: ``0-30`` means ``0-30 deg``.

    Raises
    ------
    InputError
        A grouping or a value is unknown, or nobody is left.
    """
    full = {name: [_in_full(rows, name, value) for value in dict.fromkeys(values)] for name, values in sorted(where.items())}
    if not len(restricted(rows, full)):
        alone = [f"{describe({name: values})} has {len(restricted(rows, {name: values}))}" for name, values in full.items()]
        raise InputError(
            f"Expected people where {describe(full)} among the {len(rows)} there are, found none: {'; '.join(alone)}. Widen "
            "or leave out one of them."
        )
    return full


def _column(rows: Dataset, name: str) -> pd.Series:
    """The label or number of each person under a grouping."""
    table = rows.annotations
    labels = breakdown_labels(rows) if name in BREAKDOWNS else {}
    if name in labels:
        return pd.Series(labels[name], index=table.index)
    if name == TENTH and name not in table:
        folds = {cluster: int(digest([TENTH, cluster])[:8], 16) % 10 for cluster in table["cluster_id"].unique()}
        return table["cluster_id"].map(folds).astype(np.int64)
    lists = name in table and table[name].map(lambda value: isinstance(value, (list, np.ndarray))).any()
    if name not in table or name in NOT_CHOSEN or lists:
        groups = [*LISTED, TENTH, *(by for by in BREAKDOWNS if by in breakdown_labels(rows))]
        columns = [str(column) for column in table if column not in NOT_CHOSEN]
        close = get_close_matches(name, [*groups, *columns], n=1)
        reason = (
            "holds a list for each person" if lists else "is chosen by an option of its own" if name in table else "is unknown"
        )
        raise InputError(
            f"Expected a grouping of the people in {rows.root}, but {name!r} {reason}. "
            + (f"Did you mean {close[0]!r}? " if close and close[0] != name else "")
            + f"Known: {', '.join(groups)}, and columns of the annotations with one value per person."
        )
    return table[name]


def _numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _members(column: pd.Series, values: Iterable[str]) -> BoolArray:
    """Who (n,) has one of the values."""
    kept = np.zeros(len(column), dtype=bool)
    for value in values:
        band = _BAND.fullmatch(value)
        if band and _numbers(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            kept |= (numbers >= float(band[1])) & (numbers < float(band[2]))
        elif _numbers(column):
            kept |= column.to_numpy(dtype=np.float64, na_value=np.nan) == float(value)
        else:
            kept |= np.asarray(column.notna() & (column.astype(str) == value))
    return kept


def _in_full(rows: Dataset, name: str, value: str) -> str:
    column = _column(rows, name)
    if _numbers(column):
        band = _BAND.fullmatch(value)
        if band is None and not re.fullmatch(_NUMBER, value):
            raise InputError(f"Expected a number or a band LOW..HIGH for {name}, found {value!r}. Example: {name}=40..60")
        if band is not None and float(band[1]) >= float(band[2]):
            raise InputError(f"Expected a band LOW..HIGH with LOW below HIGH for {name}, found {value!r}. Turn it round.")
        return value
    known = sorted({str(label) for label in column.dropna()})
    match = next((label for label in (value, f"{value} deg") if label in known), None)
    if match is None:
        close = suggestion(value, known) if len(known) <= 30 else f"There are {len(known)}, such as {first_ids(known)}."
        raise InputError(f"Expected a value of {name} that somebody has, found {value!r}. {close}")
    return match
