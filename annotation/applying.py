"""Applying edits to the rows of a dataset, with a list of what became of each.

Conventions
-----------
Rows are those of ``annotations.parquet`` (:data:`srgaze360.dataset.COLUMNS`) as plain values. What an edit does not change
stays as it was, to the last digit; so does what differs by less than digests resolve (:data:`SAME`).

What follows from a label follows again. Of a new head box: direction, angular radius and latitude band, from the box's middle
and its sides (a build has them from the box in the photo). Of new gaze points: their consensus, the normalised vector mean, and
its latitude band. Of either: whether the arc from head to gaze crosses the seam, and the condition where it says just that.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from annotation.edits import ADDED, RULES, Addition, Edit, Points
from srgaze360 import headbox, sphere
from srgaze360.dataset import COLUMNS, SEAM_CONDITIONS
from srgaze360.errors import InputError, first_ids
from srgaze360.placement import Photo
from srgaze360.protocols.breakdown import latitude_band

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

# Further columns, null where nobody was asked: people cannot agree on a target; the panorama does not show enough to tell.
AMBIGUOUS = "ambiguous"
BAD_IMAGE = "bad_image"
SAME = 1e-6  # degrees between directions, fractions between sides of a box: what digests resolve
BOX = ("head_u0", "head_v0", "head_u1", "head_v1")
_FLAGS = {"in-frame flag": "in_frame", "ambiguous flag": AMBIGUOUS, "bad-image flag": BAD_IMAGE}


class Change(NamedTuple):
    """What an edit changed: of whom, what, by how many degrees where that has a meaning, from what to what (as JSON)."""

    sample_id: str
    panorama_id: str
    what: str
    moved_deg: float | None
    before: str
    after: str
    annotator: str
    comment: str


class Applied(NamedTuple):
    """Rows after all edits, rows that were taken out, and the changes, in the order of the rows."""

    rows: list[Row]
    removed: list[Row]
    changes: list[Change]

    @property
    def counts(self) -> dict[str, int]:
        """Number of people with each kind of change."""
        return dict(Counter(change.what for change in self.changes))


def apply_edits(rows: Rows, edits: Iterable[Edit], additions: Iterable[Addition] = ()) -> Applied:
    """Apply edits to the rows of a dataset; the rows given are not changed. New people follow those of their panorama.

    Raises
    ------
    InputError
        Edits of people who are not there, or several of one person; boxes, points or names that no label can have; new people
        outside of every photo. All faults are told at once.
    """
    edits, additions = list(edits), list(additions)
    wanted: dict[str, list[Addition]] = defaultdict(list)
    for item in additions:
        wanted[item.panorama_id].append(item)
    neighbours: dict[str, list[Mapping[str, Any]]] = {name: [] for name in wanted}
    last = {}
    for index, row in enumerate(rows):
        last[row["panorama_id"]] = index
        if row["panorama_id"] in neighbours:
            neighbours[row["panorama_id"]].append(row)
    _check(rows, edits, additions, neighbours)

    waiting = {edit.sample_id: edit for edit in edits}
    applied, touched = Applied([], [], []), []
    for index, row in enumerate(rows):
        edit = waiting.get(row["sample_id"])
        if edit is not None and edit.rejected:
            applied.removed.append(dict(row))
            applied.changes.append(_change(row, edit, "removed"))
        else:
            applied.rows.append(dict(row))
            found = [] if edit is None else _edited(applied.rows[-1], row, edit)
            touched += [applied.rows[-1]] * bool(found)
            applied.changes.extend(found)
        for item in wanted[row["panorama_id"]] if last[row["panorama_id"]] == index else ():
            applied.rows.append(_new_row(item, neighbours[item.panorama_id]))
            touched.append(applied.rows[-1])
            applied.changes.append(_change(touched[-1], item, "added", after=list(item.head_box)))
    _derive(touched)
    return applied


# --- one person -------------------------------------------------------------------------------------------------------


def same_box(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two head boxes are the same one, as far as digests resolve; a turn more or less makes no difference."""
    turn = (a[0] - b[0] + 0.5) % 1.0 - 0.5
    sides = (turn, a[1] - b[1], (a[2] - a[0]) - (b[2] - b[0]), a[3] - b[3])
    return all(abs(side) < SAME for side in sides)


def same_points(a: Points, b: Points) -> bool:
    """Whether two lists of points [longitude, latitude] (degrees) are the same directions in the same order."""
    if len(a) != len(b):
        return False
    return not len(a) or bool(np.all(sphere.angle_between(_directions(a), _directions(b)) < np.radians(SAME)))


def consensus(points: Points) -> tuple[float, float] | tuple[None, None]:
    """Normalised vector mean of points, as longitude and latitude (degrees); None where there are none, or they cancel out."""
    mean = sphere.spherical_mean(_directions(points)).direction if len(points) else np.full(3, np.nan)
    if np.isnan(mean).any():
        return None, None
    lon, lat = np.degrees(sphere.lonlat_from_direction(mean)).tolist()
    return lon, lat


def _edited(row: Row, old: Mapping[str, Any], edit: Edit) -> list[Change]:
    """Change a row, a copy of ``old``, by an edit, but for what follows from it; returns what makes a difference."""
    found = []
    if edit.head_box is not None and not same_box(edit.head_box, box := [old[side] for side in BOX]):
        row |= _head_columns(edit.head_box)
        found.append(_change(old, edit, "head moved", _apart(edit.head_box, box), box, list(edit.head_box)))
    if edit.gaze_points_deg is not None:
        found += _edited_gaze(row, old, edit, edit.gaze_points_deg)
    for what, name in _FLAGS.items():
        flag = getattr(edit, name)
        if flag is None:
            continue
        row[name] = flag
        if flag != bool(old.get(name)):  # where nobody was asked it counts as not
            found.append(_change(old, edit, what, None, old.get(name), flag))
    return found


def _apart(box: Sequence[float], old: Sequence[float]) -> float | None:
    """Degrees between the middles of two head boxes; None where the old one is none, which is what edits mend."""
    try:
        before = headbox.centre(old)
    except InputError:
        return None
    return float(np.degrees(sphere.angle_between(headbox.centre(box), before)))


def _edited_gaze(row: Row, old: Mapping[str, Any], edit: Edit, points: Points) -> list[Change]:
    before, names = old["gaze_points_deg"], edit.gaze_annotators
    if same_points(before, points):
        if names is None or list(names) == old["gaze_annotators"]:
            return []
        row["gaze_annotators"] = list(names)
        return [_change(old, edit, "annotators named", None, old["gaze_annotators"], row["gaze_annotators"])]
    row |= _gaze_columns(points, names)
    moved = None
    if old["gaze_lon_deg"] is not None and row["gaze_lon_deg"] is not None:
        ends = _directions([[side["gaze_lon_deg"], side["gaze_lat_deg"]] for side in (old, row)])
        moved = float(np.degrees(sphere.angle_between(*ends)))
    what = "gaze moved" if len(before) and len(points) else "gaze added" if len(points) else "gaze removed"
    return [_change(old, edit, what, moved, before, row["gaze_points_deg"])]


def _new_row(item: Addition, neighbours: Rows) -> Row:
    """Row of a new person: that of a neighbour in the same photo, but for what concerns the person."""
    photo = _photo_of(item, neighbours) or neighbours[0]
    gaze = _gaze_columns(item.gaze_points_deg, item.gaze_annotators)
    in_frame = item.in_frame
    if in_frame is None:
        lonlat = [gaze["gaze_lon_deg"], gaze["gaze_lat_deg"]]
        in_frame = lonlat[0] is not None and photo_shows(_directions(lonlat), photo)
    return {
        **{name: value if name in COLUMNS else None for name, value in photo.items()},
        **_head_columns(item.head_box),
        **gaze,
        "sample_id": item.sample_id,
        "source_person": f"{ADDED}-{item.sample_id.rpartition('-')[2]}",
        "in_frame": in_frame,
        "repairs": [],
        **({} if item.ambiguous is None else {AMBIGUOUS: item.ambiguous}),
    }


def _photo_of(item: Addition, neighbours: Rows) -> Mapping[str, Any] | None:
    """The first of some rows whose photo shows the head of a new person."""
    photos: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in neighbours:
        photos.setdefault((row["source"], row["source_image"]), row)
    head = headbox.centre(item.head_box)
    return next((row for row in photos.values() if photo_shows(head, row)), None)


def photo_shows(direction: sphere.FloatArray, row: Mapping[str, Any]) -> bool:
    """Whether a direction lies in the photo of a row, through its camera."""
    return bool(Photo.of(row, row["sample_id"]).shows(direction))


def _change(
    row: Mapping[str, Any],
    edit: Edit | Addition,
    what: str,
    moved_deg: float | None = None,
    before: Any = None,  # noqa: ANN401 - any JSON value
    after: Any = None,  # noqa: ANN401
) -> Change:
    old, new = ("" if value is None else json.dumps(value) for value in (before, after))
    return Change(row["sample_id"], row["panorama_id"], what, moved_deg, old, new, edit.annotator, edit.comment)


# --- what follows from a label ----------------------------------------------------------------------------------------


def _head_columns(box: Sequence[float]) -> Row:
    lon, lat = np.degrees(sphere.lonlat_from_direction(headbox.centre(box)))
    return {
        **dict(zip(BOX, map(float, box), strict=True)),
        "head_lon_deg": float(lon),
        "head_lat_deg": float(lat),
        "head_radius_deg": float(np.degrees(headbox.radius(box))),
    }


def _gaze_columns(points: Points, names: Sequence[str] | None) -> Row:
    """Annotations, with longitudes in [-180, 180), and their consensus."""
    lon, lat = consensus(points)
    return {
        "gaze_lon_deg": lon,
        "gaze_lat_deg": lat,
        "gaze_points_deg": [[float(x) - 360.0 * (x >= 180.0), float(y)] for x, y in points],
        "gaze_annotators": list(names or []),
    }


def _derive(rows: Sequence[Row]) -> None:
    """Set the columns that follow from head and gaze together, and the bands, in rows that were changed."""
    if not rows:
        return
    # None becomes NaN
    heads, gazes = (_directions([[row[f"{end}_lon_deg"], row[f"{end}_lat_deg"]] for row in rows]) for end in ("head", "gaze"))
    known = np.asarray(np.isfinite(gazes).all(axis=-1))
    crosses = sphere.arc_crosses_seam(heads, np.where(known[:, None], gazes, heads))  # nobody's arc to themselves does
    bands = zip(latitude_band(heads).tolist(), latitude_band(gazes).tolist(), strict=True)
    for row, is_known, crossing, (head_band, gaze_band) in zip(rows, known.tolist(), crosses.tolist(), bands, strict=True):
        row |= {"head_band": head_band, "gaze_band": gaze_band if is_known else None, "crosses_seam": crossing}
        if row["condition"] in SEAM_CONDITIONS:
            row["condition"] = SEAM_CONDITIONS[crossing]


def _directions(points: Any) -> sphere.FloatArray:  # noqa: ANN401 - whatever NumPy takes
    lonlat = np.radians(np.asarray(points, dtype=np.float64))
    return sphere.direction_from_lonlat(lonlat[..., 0], lonlat[..., 1])


# --- checks -----------------------------------------------------------------------------------------------------------


def _check(
    rows: Rows, edits: Sequence[Edit], additions: Sequence[Addition], neighbours: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    everything: list[Edit | Addition] = [*edits, *additions]
    present = {row["sample_id"] for row in rows}
    ids = Counter(item.sample_id for item in everything)
    faults = {
        "of people who are not in the dataset": [edit.sample_id for edit in edits if edit.sample_id not in present],
        "that add people to panoramas that it has not": [a.panorama_id for a in additions if not neighbours[a.panorama_id]],
        "that add people who are there already": [item.sample_id for item in additions if item.sample_id in present],
        "more than one for a person": [name for name, count in ids.items() if count > 1],
        **{fault: [item.sample_id for item in everything if not right(item)] for fault, right in RULES.items()},
    }
    if not any(faults.values()):
        lost = [item.sample_id for item in additions if _photo_of(item, neighbours[item.panorama_id]) is None]
        faults["that add people outside of every photo (nobody in a background is labelled)"] = lost
    told = [f"{len(names)} {fault}: {first_ids(names)}" for fault, names in faults.items() if names]
    if told:
        raise InputError(f"Expected edits that fit the dataset, found {'; '.join(told)}. Mend them, then try again.")
