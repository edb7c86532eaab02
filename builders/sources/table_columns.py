"""The columns of a user's table of labels: what each means, and why a header or a row cannot be used.

Conventions
-----------
Those of ``table``. :data:`COLUMNS` is the documentation; every other constant is a selection of it. A *fault* is a reason in
words, ``""`` means sound. Cells are text; numbers stand beside their text in columns of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builders.sources.columns import Columns
from builders.sources.rows import mark, mark_not_finite, path_faults, to_numbers
from srgaze360 import dataset
from srgaze360.cameras import Camera
from srgaze360.errors import InputError, suggestion

HEAD_BOX = ("head_x0", "head_y0", "head_x1", "head_y1")
GAZE = ("gaze_x", "gaze_y")
SIZE = ("width", "height")
INTRINSICS = ("fx", "fy", "cx", "cy")
REQUIRED = ("image", "person", *HEAD_BOX, *GAZE)
COLUMNS: Mapping[str, str] = {
    "image": "path of the photo, relative to the folder, with forward slashes",
    "person": "who it is, unique within the photo",
    **dict(zip(HEAD_BOX, (f"{side} side of the head box" for side in ("left", "upper", "right", "lower")), strict=True)),
    **dict(zip(GAZE, ("where the person looks, to the right; empty where unknown", "the same, down"), strict=True)),
    "annotator": "who gave this annotation",
    "in_frame": "true, false, 1 or 0: the target lies inside the photo; without the column, true",
    "split": "train, val or test; empty or without the column, the option split",
    "cluster": "what is split and resampled as one, such as a video; empty: the photo",
    "units": "pixel or fraction; empty or without the column, the option units",
    "projection": "perspective or equirectangular; empty or without the column, the option projection",
    "width": "width in pixels that labels and intrinsics refer to, where the photo is stored in another size",
    "height": "height, likewise",
    **{name: f"{name} of a known camera, in pixels" for name in INTRINSICS},
    "lens": "lens of the known camera, such as pinhole, brown-conrady or kannala-brandt; empty: pinhole",
    "lens_params": "its parameters in the lens's order, separated by spaces or semicolons",
}
PHOTO_LEVEL = ("split", "cluster", "units", "projection", *SIZE, *INTRINSICS, "lens", "lens_params")
NUMBERS = (*HEAD_BOX, *GAZE, *SIZE, *INTRINSICS)
CHOICES = {"split": dataset.SPLITS, "units": ("pixel", "fraction"), "projection": ("perspective", "equirectangular")}
FLAGS = {"true": True, "1": True, "false": False, "0": False}
FLAT_LENSES = ("pinhole", "brown-conrady")
FARTHEST_FLAT = 10.0  # focal lengths from principal point to image edge, 84 degrees: beyond, they are not in pixels

Faults = NDArray[np.object_]


def check_header(path: Path, table: Columns) -> list[str]:
    """Names of the columns that are not in :data:`COLUMNS`.

    Raises
    ------
    InputError
        A required column is missing, a name stands twice or cannot be used, a column of numbers holds text, there are no rows.
    """
    if faults := list(_header_faults(table)):
        optional = ", ".join(name for name in COLUMNS if name not in REQUIRED)
        raise InputError(
            f"Expected in {path} the columns {', '.join(REQUIRED)}, and of {optional} those that are known; found that "
            f"{'; '.join(faults)}. Mend the header, and run the same command again."
        )
    if not table.numbers:
        raise InputError(f"Expected rows of labels in {path}; found none as wide as its header. Check how it was written.")
    return [name for name in table.names if name not in COLUMNS]


def _header_faults(table: Columns) -> Iterator[str]:
    extras = [name for name in dict.fromkeys(table.names) if name not in COLUMNS]
    for name in dict.fromkeys(table.names):
        if (count := table.names.count(name)) > 1:
            yield f"{name!r} stands there {count} times"
    for name in REQUIRED:
        if name not in table.names:
            hint = suggestion(name, extras)
            yield f"{name!r} is missing" + (f" ({hint.partition('?')[0]}?)" if hint.startswith("Did") else "")
    for name in extras:
        if name in dataset.COLUMNS:
            yield f"{name!r} is a column of every built dataset (rename it, for example to table_{name})"
        elif not name.isidentifier():
            yield f"{name!r} is not a plain name of letters, digits and underscores"
    for name in NUMBERS:
        if table.types.get(name) in ("text", "flag"):
            yield f"{name!r} holds {table.types[name]}s, not numbers"


def known_columns(table: Columns, absent: Mapping[str, str]) -> pd.DataFrame:
    """The known columns and ``line``; ``<name>_text`` keeps a number's text.

    ``absent`` fills in columns that are not there, and empty cells of :data:`CHOICES`.
    """
    data: dict[str, Any] = {"line": table.numbers}
    for name in COLUMNS:
        texts = table.texts.get(name, np.full(len(table.numbers), absent.get(name, ""), dtype=object))
        if name in CHOICES:
            texts = np.where(texts == "", absent[name], texts)
        if name in NUMBERS:
            data |= {f"{name}_text": texts, name: to_numbers(texts)}
        else:
            data[name] = texts
    data["in_frame"] = np.array([text.lower() for text in data["in_frame"]], dtype=object)
    data["cluster"] = np.where(data["cluster"] == "", data["image"], data["cluster"])
    return pd.DataFrame(data)


def check_units(path: Path, table: pd.DataFrame) -> None:
    """Refuse a table whose pixels are fractions: every head would be a speck in the corner of its photo.

    Raises
    ------
    InputError
        There are rows in pixels, and no side of a head box among them lies beyond 1.5.
    """
    boxes = np.abs(table.loc[(table["units"] == "pixel").to_numpy(), list(HEAD_BOX)].to_numpy(dtype=np.float64))
    if np.isfinite(boxes).any() and np.nanmax(boxes) <= 1.5:
        raise InputError(
            f"Expected head boxes in pixels in {path}; found none beyond 1.5 in {len(boxes)} rows, as in fractions of the "
            "photo. Add a column units that says fraction, or set the option units."
        )


def row_faults(table: pd.DataFrame) -> tuple[Faults, list[dict[str, Any] | None]]:
    """Why each row cannot be used (``""`` where it can): the first fault found, in the order below; and its photo's camera."""
    faults = np.array(path_faults(table["image"].tolist()), dtype=object)
    texts = {name: table[name].to_numpy(dtype=object) for name in COLUMNS if name not in NUMBERS}
    mark(faults, np.equal(texts["person"], "").astype(bool), "person is empty")
    for name, known in (*CHOICES.items(), ("in_frame", tuple(FLAGS))):
        unknown = ~table[name].isin(known).to_numpy(dtype=bool)
        mark(faults, unknown, [f"{name} is none of {', '.join(known)} ({text!r})" for text in texts[name][unknown]])
    inside = in_frame(table)
    for name in NUMBERS:
        written = (table[f"{name}_text"] != "").to_numpy(dtype=bool)
        where = np.full(len(table), True) if name in HEAD_BOX else inside | written if name in GAZE else written
        mark_not_finite(faults, name, table[f"{name}_text"].tolist(), table[name].to_numpy(dtype=np.float64), where)
    cameras = _mark_photos(faults, table)
    crossed = ((table["projection"] == "equirectangular") & (table["head_x0"] > table["head_x1"])).to_numpy(dtype=bool)
    mark(faults, crossed, "head_x0 lies right of head_x1; across the seam, head_x1 is beyond the width")
    _mark_gaze(faults, table, inside)
    _mark_disagreement(faults, table, inside)
    return faults, cameras


def in_frame(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each row says that the target lies inside the photo."""
    return np.array([FLAGS.get(text, True) for text in table["in_frame"]], dtype=bool)


def known_target(x: float, y: float) -> bool:
    """Whether the gaze of a row that is out of frame is a point, and not the mark of an unknown one."""
    return bool(np.isfinite(x) and np.isfinite(y)) and (x, y) != (-1.0, -1.0)


def _mark_photos(faults: Faults, table: pd.DataFrame) -> list[dict[str, Any] | None]:
    """Mark rows that say of their photo what cannot be; the same facts are looked at once."""
    facts = table[["projection", "lens", "lens_params", *SIZE, *INTRINSICS]].astype(object)
    rows = list(facts.where(facts.notna(), None).itertuples(index=False, name=None))
    outcomes = {row: _photo(*row) for row in dict.fromkeys(rows)}
    for index, row in enumerate(rows):
        faults[index] = faults[index] or outcomes[row][0]
    return [outcomes[row][1] for row in rows]


def _photo(
    projection: str, lens: str, lens_params: str, width: float | None, height: float | None, *intrinsics: float | None
) -> tuple[str, dict[str, Any] | None]:
    """A photo's fault and its known camera (without the size, as ``Photo.camera`` has it); None stands for an empty cell."""
    size = [value for value in (width, height) if value is not None]
    if len(size) == 1 or any(value < 1 or value % 1 for value in size):
        return "width and height are not whole numbers of pixels, both or neither", None
    panorama = projection == "equirectangular"
    if panorama and size and abs(size[0] - 2 * size[1]) > 1:
        return f"panorama is not twice as wide as high ({size[0]:g} x {size[1]:g} pixels)", None
    missing = [name for name, value in zip(INTRINSICS, intrinsics, strict=True) if value is None]
    if len(missing) == len(INTRINSICS) and not lens and not lens_params:
        return "", None
    if panorama or lens == "equirectangular":
        return "a panorama has no intrinsics and no lens; its projection says it all", None
    if missing:
        return f"intrinsics are incomplete ({', '.join(missing)} missing)", None
    try:
        params = [float(text) for text in lens_params.strip(" []").replace(";", " ").replace(",", " ").split()]
    except ValueError:
        return f"lens_params are not numbers ({lens_params!r})", None
    known: dict[str, Any] = {"lens": lens or "pinhole", **dict(zip(INTRINSICS, intrinsics, strict=True)), "params": params}
    try:
        camera = Camera.from_dict(known | {"width": int(size[0]) if size else 1, "height": int(size[1]) if size else 1})
    except InputError as error:
        return f"camera is not usable ({error})", None
    farthest = max(abs(camera.width - camera.cx), abs(camera.cx)) / camera.fx
    if size and camera.lens in FLAT_LENSES and farthest > FARTHEST_FLAT:
        return f"photo reaches {farthest:.0f} focal lengths from its principal point; are the intrinsics in pixels?", None
    return "", known


def _mark_gaze(faults: Faults, table: pd.DataFrame, inside: NDArray[np.bool_]) -> None:
    """Mark points that contradict ``in_frame``, where the size of the photo is known or not needed."""
    fraction = (table["units"] == "fraction").to_numpy(dtype=bool)
    x, y, width, height = (table[name].to_numpy(dtype=np.float64) for name in (*GAZE, *SIZE))
    u = x / np.where(fraction, 1.0, np.where(width > 0, width, np.nan))
    v = y / np.where(fraction, 1.0, np.where(height > 0, height, np.nan))
    mark(faults, ~inside & (np.isfinite(x) != np.isfinite(y)), "gaze has one coordinate")
    outside = inside & ((u < 0) | (u > 1) | (v < 0) | (v > 1))
    points = zip(x[outside].tolist(), y[outside].tolist(), strict=True)
    mark(faults, outside, [f"gaze is marked in frame but lies outside the photo ({gx:g}, {gy:g})" for gx, gy in points])
    within = ~inside & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    points = zip(x[within].tolist(), y[within].tolist(), strict=True)
    mark(faults, within, [f"gaze is marked out of frame but lies inside the photo ({gx:g}, {gy:g})" for gx, gy in points])


def _mark_disagreement(faults: Faults, table: pd.DataFrame, inside: NDArray[np.bool_]) -> None:
    """Mark rows that contradict other rows of their photo, cluster or person."""
    sound = faults == ""
    for name in PHOTO_LEVEL:
        counts = table[sound].groupby("image")[name].nunique(dropna=False)
        mixed = table["image"].isin(counts.index[counts > 1]).to_numpy(dtype=bool)
        mark(faults, mixed, f"rows of the photo disagree about {name}")
    for kept in ("test", "val"):
        others = table["split"].isin(dataset.SPLITS[: dataset.SPLITS.index(kept)]).to_numpy(dtype=bool)
        clusters = table.loc[(table["split"] == kept).to_numpy() & (faults == ""), "cluster"]
        shared = others & table["cluster"].isin(clusters).to_numpy(dtype=bool)
        mark(faults, shared, f"the cluster belongs to the {kept} split too, and is kept there")
    people = table[["image", "person", "annotator"]].assign(agreed=inside & (faults == ""))
    agreed = people.groupby(["image", "person"])["agreed"].transform("any").to_numpy(dtype=bool)
    mark(faults, ~inside & agreed, "marked out of frame, while another annotation of the same person is in frame")
    repeated = np.zeros(len(table), dtype=bool)
    sound = (faults == "") & (table["annotator"] != "").to_numpy(dtype=bool)
    repeated[sound] = people[sound].duplicated(["image", "person", "annotator"]).to_numpy()
    mark(faults, repeated, "the annotator has annotated this person already")
