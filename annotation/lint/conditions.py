"""The rule of conditions: a row's pose, lens and background are those that its condition and the recipe's suite give it.

Conventions
-----------
The recipe in ``dataset.yaml`` says for every suite what each axis of distortion is: a value, ``strata`` (intervals) or
``levels`` (any of several); a condition's name says the axes that vary, ``latitude=30,roll=-15``. What neither says is not
checked, and neither is what a pose was solved for (``clear``, ``apart``), or a lens that may be the photo's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from annotation.cameras import Rows
from annotation.lint.labels import PHOTO, Labels
from annotation.lint.poses import poles_inside
from annotation.lint.registry import Found, rule
from srgaze360.lenses import LENSES
from srgaze360.sphere import BoolArray, FloatArray

TOLERANCE_DEG = 1e-3
# Columns that hold the value of an axis; that of the field of view is the camera's, along the photo's longer side.
COLUMNS: Mapping[str, str] = {
    "latitude_deg": "pitch_deg",
    "longitude_deg": "yaw_deg",
    **{axis: axis for axis in ("roll_deg", "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg")},
}
OF_PHOTOS = ("fov_deg", "lens", "background")  # a whole panorama has none of them
AXES = (*COLUMNS, *OF_PHOTOS)
POLES = ("zenith", "nadir")
ACROSS = {"across": True, "beside": False}  # conditions of suite seam


@rule(
    "condition", "error", needs=["suite", "condition", "background", "crosses_seam", *PHOTO],
    fix="Correct the condition, or the pose: one of them is another row's.",
)  # fmt: skip
def condition(labels: Labels) -> Iterator[Found]:
    """Pose, lens and background are those of the row's condition, and those that the recipe gives its suite."""
    suites, names, crosses = labels.texts("suite"), labels.texts("condition"), labels.flags("crosses_seam")
    code = labels.codes("suite", "condition")
    known, flat = labels.cameras.known(), ~labels.cameras.is_panorama()
    reasons: dict[int, str] = {}
    for place, first in enumerate(np.unique(code, return_index=True)[1].tolist()):
        rows = np.flatnonzero((code == place) & known)
        for axis, choices in expected(labels.info.recipe, suites[first], names[first]).items():
            of = rows[flat[rows]] if axis in OF_PHOTOS else rows
            for row, found in _contradictions(labels, of, axis, choices):
                reasons.setdefault(row, f"{axis.removesuffix('_deg')} is {found}, not {_in_words(choices)}")
        if names[first] in ACROSS:
            for row in rows[crosses[rows] != ACROSS[names[first]]].tolist():
                reasons.setdefault(row, f"condition is {names[first]}, crosses_seam {crosses[row]}")
    yield from labels.told(reasons)


# --- what must be -----------------------------------------------------------------------------------------------------


def expected(recipe: Mapping[str, Any], suite: str, name: str) -> dict[str, list[Any]]:
    """What each axis may be under a condition: values, intervals (low, high), or (lens, parameters); no entry where unknown."""
    own = _mapping(_mapping(recipe, "suites"), suite)
    vary = _mapping(own, "vary")
    axes = {axis: value for axis, value in {**_mapping(recipe, "base"), **_mapping(own, "draw")}.items() if axis not in vary}
    for part in name.split(","):
        key, equals, value = part.partition("=")
        if equals:
            axes |= {axis: _number(value) for axis in AXES if axis.removesuffix("_deg") == key}
    choices = {axis: _choices(axes[axis]) for axis in AXES if axis in axes}
    if "own" in choices.get("lens", ()):  # the camera may be one that the source knows
        choices.pop("lens")
        choices.pop("fov_deg", None)
    if "apart" in choices.get("longitude_deg", ()):  # where there was no room, the latitude was changed
        choices.pop("latitude_deg", None)
    if "lens" in choices:
        choices["lens"] = [_lens(recipe, name) for name in choices["lens"]]
    named = {"longitude_deg": ("clear", "seam", "apart")}
    return {
        axis: given
        for axis, given in choices.items()
        if given and None not in given and not set(map(str, given)) & set(named.get(axis, ()))
    }


def _choices(value: Any) -> list[Any]:  # noqa: ANN401 - a setting of a recipe
    if isinstance(value, Mapping):
        return [tuple(pair) for pair in value.get("strata", ())] or list(value.get("levels", ()))
    return [value]


def _lens(recipe: Mapping[str, Any], name: object) -> tuple[str, tuple[float, ...]] | None:
    """Model and parameters, all of them, of a lens that a recipe names."""
    preset = _mapping(recipe, "lenses").get(str(name), {"lens": name})
    model = LENSES.get(str(preset.get("lens"))) if isinstance(preset, Mapping) else None
    if model is None:
        return None
    given = tuple(map(float, preset.get("params", ())))
    return model.name, given + (0.0,) * (len(model.parameters) - len(given))


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _in_words(choices: Sequence[Any]) -> str:
    words = []
    for one in choices:
        if not isinstance(one, tuple):
            words.append(one if isinstance(one, str) else f"{one:g}")
        elif isinstance(one[0], str):
            words.append(_lens_in_words(*one))
        else:
            words.append(f"{one[0]:g} to {one[1]:g}")
    return " or ".join(dict.fromkeys(words))


def _lens_in_words(name: str, params: Sequence[float]) -> str:
    return f"{name} ({', '.join(f'{value:g}' for value in params)})" if params else name


# --- what is ----------------------------------------------------------------------------------------------------------


def _contradictions(labels: Labels, rows: Rows, axis: str, choices: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Rows in which an axis is none of its choices, and what it is."""
    if axis == "lens":
        cameras = labels.cameras
        wrong = np.array([one is None or (one.lens, one.params) not in choices for one in cameras.distinct], dtype=bool)
        for row in rows[wrong[cameras.index[rows]]].tolist():
            found = cameras.distinct[cameras.index[row]]
            yield row, _lens_in_words(found.lens, found.params) if found else "none"
    elif axis == "background":
        values = labels.texts("background")[rows]
        yield from ((row, str(value)) for row, value in zip(rows.tolist(), values, strict=True) if value not in choices)
    else:
        degrees = _degrees(labels, axis)[rows]
        good = np.zeros(len(rows), dtype=bool)
        for choice in choices:
            if choice in POLES:
                good |= poles_inside(labels)[rows, POLES.index(choice)]
            else:
                low, high = choice if isinstance(choice, tuple) else (choice, choice)
                good |= _within(degrees, float(low), float(high))
        yield from ((row, f"{value:.6g}") for row, value in zip(rows[~good].tolist(), degrees[~good].tolist(), strict=True))


def _degrees(labels: Labels, axis: str) -> FloatArray:
    if axis == "fov_deg":
        return np.degrees(labels.cameras.fields_of_view()[1])
    return labels.numbers(COLUMNS[axis])


def _within(degrees: FloatArray, low: float, high: float) -> BoolArray:
    """Whether angles lie in an interval, in whichever turn."""
    turns = degrees[:, None] + [-360.0, 0.0, 360.0]
    return np.asarray(((turns >= low - TOLERANCE_DEG) & (turns <= high + TOLERANCE_DEG)).any(axis=1))
