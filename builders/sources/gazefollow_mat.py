"""GazeFollow's original MATLAB labels: no head boxes, but the name that each photo had in the dataset it comes from.

Conventions
-----------
``train_annotations.mat`` and ``test2_annotations.mat`` are MATLAB v5 files with one entry per person in the variables
``{train,test}_path``, ``_bbox`` (body box x, y, width, height), ``_eyes`` (x, y), ``_gaze`` (n x 2, one row per annotator) and
``_meta`` (``dataset`` and ``name``: where the photo comes from), all numbers fractions of the photo. Entries are numbered from
1, as MATLAB does. Variables may be rows or columns, of cells or plain, and cells may be nested. The older
``test_annotations.mat`` holds wrong labels, as its users found; ``test2`` replaces it.

Reading executes nothing, and is bounded (:mod:`builders.sources.matlab`).

**Estimated heads.** The head's size follows from the body box (width w, height h) and from t, the depth of the eye below the
body box's upper edge, all fractions: it is 0.52 w^0.6 t^0.4 wide and 1.07 h^0.2 t^0.8 high; the eye lies at half its width and
at 0.6 of its height. The exponents of each add up to 1, so that a photo cropped to half its sides doubles the head. Constants
and errors are medians over 823 people of the 4,499 released rows of ``val_annotations_new.txt``, which have eye, body and head:
those from COCO and VOC, whose longer side is known to be 640 and 500 pixels (the shorter was inferred from the label). The
estimate misses a width by 23 % and a height by 15 %, the head's centre by 0.21 of its width and 0.08 of its height, and
overlaps the labelled box with an intersection over union of 0.48 (0.37 or less for a quarter, 0.27 or less for a tenth). It
says which head is meant; it is no head box to train a detector with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builders.sources.matlab import read_matlab
from srgaze360.errors import InputError

FIELDS = ("path", "bbox", "eyes", "gaze", "meta")
ADVICE = "Take the file from the dataset's release again, or leave it out."

LEAST_DEPTH = 0.02  # body boxes are rounded to 0.01

Malformed = tuple[int, str, str]


def read_people(path: Path, split: str) -> tuple[pd.DataFrame, list[Malformed]]:
    """Read the labels of a ``.mat`` file.

    Parameters
    ----------
    path, split
        The file, and ``"train"`` or ``"test"``, which its variables are named after.

    Returns
    -------
    table, malformed
        One row per annotation: ``number`` of the entry, ``path``, ``eye_x``, ``eye_y``, ``gaze_x``, ``gaze_y``, the estimated
        head box ``bbox_x_min`` … ``bbox_y_max`` (all fractions, not checked for range), ``source`` and ``meta``; and the
        entries of another form, as (number, path, reason).

    Raises
    ------
    InputError
        If this is no MATLAB v5 file, it is too large, or a variable is missing or has another number of entries.
    """
    variables = _load(path, split, FIELDS)
    sound: list[tuple[Any, ...]] = []
    points: list[NDArray[np.float64]] = []
    malformed: list[Malformed] = []
    for number, (name, body, eye, gaze, origin) in enumerate(zip(*(variables[f] for f in FIELDS), strict=True), 1):
        image = _text(name)
        box, centre, targets = _numbers(body, 4), _numbers(eye, 2), _points(gaze)
        if box is None or not (np.isfinite(box).all() and (box[2:] > 0).all()):
            malformed.append((number, image, f"body box is not x, y, width and height ({_short(body)})"))
        elif centre is None:
            malformed.append((number, image, f"eye is not x and y ({_short(eye)})"))
        elif targets is None:
            malformed.append((number, image, f"gaze is not a list of points ({_short(gaze)})"))
        else:
            sound.append((number, image, *box, *centre, *_origin(origin)))
            points.append(targets)
    people = pd.DataFrame(sound, columns=["number", "path", *"xywh", "eye_x", "eye_y", "source", "meta"])
    heads = estimate_heads(people[list("xywh")].to_numpy(np.float64), people[["eye_x", "eye_y"]].to_numpy(np.float64))
    people = people.drop(columns=list("xywh"))
    people[["bbox_x_min", "bbox_y_min", "bbox_x_max", "bbox_y_max"]] = heads
    table = people.loc[people.index.repeat([len(targets) for targets in points])].reset_index(drop=True)
    table[["gaze_x", "gaze_y"]] = np.concatenate([np.empty((0, 2)), *points])
    return table, malformed


def read_origins(path: Path, split: str) -> dict[str, tuple[str, str]]:
    """Dataset and file name from which each photo of a ``.mat`` file comes; raises as :func:`read_people`."""
    variables = _load(path, split, ("path", "meta"))
    return {_text(name): _origin(origin) for name, origin in zip(variables["path"], variables["meta"], strict=True)}


def estimate_heads(bodies: NDArray[np.float64], eyes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Head boxes (n, 4: x0, y0, x1, y1) from body boxes (n, 4: x, y, width, height) and eyes (n, 2), all fractions.

    The rule and its error are in the module's description. A box may reach beyond the photo.
    """
    width, height = bodies[:, 2], bodies[:, 3]
    depth = np.maximum(eyes[:, 1] - bodies[:, 1], LEAST_DEPTH)
    sizes = np.stack([0.52 * width**0.6 * depth**0.4, 1.07 * height**0.2 * depth**0.8], axis=1)
    corners = eyes - sizes * (0.5, 0.6)
    return np.hstack([corners, corners + sizes])


def _load(path: Path, split: str, fields: Sequence[str]) -> dict[str, list[Any]]:
    """Variables of a file, each as the list of its entries."""
    names = {field: f"{split}_{field}" for field in fields}
    loaded = read_matlab(path, names.values(), ADVICE)
    count = loaded[names["path"]].size
    entries = {field: _entries(loaded[name], count) for field, name in names.items()}
    if len({len(listed) for listed in entries.values()}) != 1:
        found = ", ".join(f"{names[field]}: {len(listed)}" for field, listed in entries.items())
        raise InputError(f"Expected one entry per person in every variable of {path}; found {found}. {ADVICE}")
    return entries


def _entries(variable: NDArray[Any], count: int) -> list[Any]:
    """One entry per person: cells or structures of any layout; plain numbers by row, or by column if there are ``count``."""
    if variable.dtype.kind not in "fiu":
        return list(variable.ravel())
    return list(variable.T if variable.shape[0] != count else variable)


def _unwrap(cell: Any) -> Any:  # noqa: ANN401 - whatever MATLAB's cells hold
    """What a cell holds, however often it is wrapped in cells of one."""
    while (
        isinstance(cell, np.ndarray) and cell.size == 1 and (cell.dtype == object or cell.dtype.names or cell.dtype.kind == "U")
    ):
        cell = cell.ravel()[0]
    return cell


def _text(cell: Any) -> str:  # noqa: ANN401
    value = _unwrap(cell)
    return str(value).rstrip() if isinstance(value, str) else ""


def _numbers(cell: Any, count: int) -> NDArray[np.float64] | None:  # noqa: ANN401
    value = np.asarray(_unwrap(cell))
    return value.ravel().astype(np.float64) if value.dtype.kind in "fiu" and value.size == count else None


def _points(cell: Any) -> NDArray[np.float64] | None:  # noqa: ANN401
    """Points (n, 2), n >= 1; a single one may be a column."""
    value = np.asarray(_unwrap(cell))
    if value.dtype.kind not in "fiu" or not value.size or (value.size != 2 and value.shape[1:] != (2,)):
        return None
    return value.reshape(-1, 2).astype(np.float64)


def _origin(cell: Any) -> tuple[str, str]:  # noqa: ANN401
    """Dataset and name; empty where an entry does not tell them."""
    value = _unwrap(cell)
    if not isinstance(value, np.void) or not {"dataset", "name"} <= set(value.dtype.names or ()):
        return "", ""
    return _text(value["dataset"]), _text(value["name"])


def _short(cell: Any) -> str:  # noqa: ANN401
    """A few characters of what an entry holds, for a reason."""
    value = np.asarray(_unwrap(cell))
    if value.size > 4 or value.dtype.kind not in "fiu":
        return f"{' x '.join(map(str, value.shape)) or 'one'} of {'numbers' if value.dtype.kind in 'fiu' else 'something else'}"
    return ", ".join(f"{number:g}" for number in value.ravel().tolist()) or "nothing"
