"""Recipes: what a dataset is, as data.

Conventions
-----------
A recipe is YAML. Angles are degrees and say so (``_deg``). ``base`` gives each axis of distortion its value or the way it is
drawn; a suite overrides axes by ``draw`` (drawn per photo) or ``vary`` (every level for every photo: a paired comparison).
Draws are functions of (seed, photo, axis), so a suite that varies one axis leaves the rest of each photo as it was.
Unknown keys are refused with a suggestion. ``extends`` names a recipe to start from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from srgaze360.dataset import explain
from srgaze360.errors import InputError, suggestion
from srgaze360.files import digest

Split = Literal["train", "val", "test"]
Background = Literal["black", "blur", "panorama"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Strata(_Strict):
    """Uniform within intervals; every interval gets the same number of photos, give or take one."""

    strata: tuple[tuple[float, float], ...] = Field(min_length=1)

    @field_validator("strata")
    @classmethod
    def _ordered(cls, strata: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for low, high in strata:
            if low > high:
                raise ValueError(f"interval [{low}, {high}] ends before it starts")
        return strata


class Levels(_Strict):
    """One of several values; every value gets the same number of photos, give or take one."""

    levels: tuple[float | str, ...] = Field(min_length=1)


Draw = float | str | Strata | Levels


class LensPreset(_Strict):
    """A lens model with parameters, under a name of the recipe's own."""

    lens: str
    params: tuple[float, ...] = ()


class Output(_Strict):
    """The panoramas: width (height is half), file format, JPEG quality, anti-aliasing."""

    width: Annotated[int, Field(ge=64, le=16384, multiple_of=2)] = 2048
    format: Literal["jpeg", "png"] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    antialias: bool = True


class Axes(_Strict):
    """The axes of distortion.

    ``fov_deg`` is the field of view of the photo's longer side. ``longitude_deg`` is a number, ``clear`` (drawn so that the
    photo's footprint stays clear of the seam) or ``seam`` (solved so that the arc from head to gaze crosses the seam).
    """

    fov_deg: Draw = 60.0
    latitude_deg: Draw = 0.0
    longitude_deg: Draw = "clear"
    roll_deg: Draw = 0.0
    lens: Draw = "pinhole"
    tilt_pitch_deg: Draw = 0.0
    tilt_roll_deg: Draw = 0.0
    tilt_yaw_deg: Draw = 0.0
    background: Draw = "black"


RANGES: Mapping[str, tuple[float, float]] = {
    "fov_deg": (1.0, 359.0),
    "latitude_deg": (-90.0, 90.0),
    "longitude_deg": (-180.0, 180.0),
    "roll_deg": (-180.0, 180.0),
    "tilt_pitch_deg": (-90.0, 90.0),
    "tilt_roll_deg": (-180.0, 180.0),
    "tilt_yaw_deg": (-180.0, 360.0),
}
NAMED: Mapping[str, tuple[str, ...]] = {"longitude_deg": ("clear", "seam"), "background": ("black", "blur", "panorama")}


class Suite(_Strict):
    """A set of conditions on the photos of some splits; every combination of ``vary`` is a condition."""

    splits: tuple[Split, ...] = ("test",)
    draw: dict[str, Draw] = Field(default_factory=dict)
    vary: dict[str, tuple[float | str, ...]] = Field(default_factory=dict)
    copies: Annotated[int, Field(ge=1, le=1000)] = 1


class Recipe(_Strict):
    """A dataset, as data."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    title: str
    seed: Annotated[int, Field(ge=0)] = 360
    val_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    output: Output = Output()
    lenses: dict[str, LensPreset] = Field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    base: Axes = Axes()
    suites: dict[str, Suite] = Field(min_length=1)

    @model_validator(mode="after")
    def _axes_make_sense(self) -> Recipe:
        for name, suite in self.suites.items():
            for axis in (*suite.draw, *suite.vary):
                if axis not in Axes.model_fields:
                    raise ValueError(f"suite {name}: unknown axis {axis!r}. {suggestion(axis, list(Axes.model_fields))}")
            if both := set(suite.draw) & set(suite.vary):
                raise ValueError(f"suite {name}: {', '.join(sorted(both))} is both drawn and varied; choose one")
            axes = self.axes(name)
            for axis, draw in axes.items():
                for value in _values(draw):
                    self._check(f"suite {name}", axis, value)
            if "seam" in _values(axes["longitude_deg"]) and any(set(_values(axes[a])) - {0.0} for a in axes if "tilt" in a):
                raise ValueError(f"suite {name}: longitude_deg seam is solved for an upright sphere; leave the tilts at 0")
        return self

    def _check(self, where: str, axis: str, value: float | str) -> None:
        if isinstance(value, str):
            known = (*self.lenses, "pinhole") if axis == "lens" else NAMED.get(axis, ())
            if value not in known:
                raise ValueError(f"{where}: {axis} cannot be {value!r}. {suggestion(value, known)}")
        elif axis not in RANGES:
            raise ValueError(f"{where}: {axis} must be a name, found {value}")
        elif not RANGES[axis][0] <= value <= RANGES[axis][1]:
            low, high = RANGES[axis]
            raise ValueError(f"{where}: {axis} must lie in [{low:g}, {high:g}], found {value:g}")

    def axes(self, suite: str) -> dict[str, Draw]:
        """How each axis is set in a suite, before drawing; a varied axis shows its levels."""
        chosen: dict[str, Draw] = {axis: getattr(self.base, axis) for axis in Axes.model_fields}
        chosen.update(self.suites[suite].draw)
        chosen.update({axis: Levels(levels=levels) for axis, levels in self.suites[suite].vary.items()})
        return chosen

    def uses_background(self) -> bool:
        """Whether any suite puts photos on panoramas of a background source."""
        return any("panorama" in _values(self.axes(name)["background"]) for name in self.suites)

    def lens(self, name: str) -> LensPreset:
        """The lens preset called ``name``; ``pinhole`` needs no entry."""
        return self.lenses.get(name, LensPreset(lens=name))

    def digest(self) -> str:
        """Digest of everything that decides the dataset."""
        return digest(self.model_dump(mode="json"))


def _values(draw: Draw) -> tuple[float | str, ...]:
    if isinstance(draw, Levels):
        return draw.levels
    if isinstance(draw, Strata):
        return tuple(bound for interval in draw.strata for bound in interval)
    return (draw,)


# --- reading ----------------------------------------------------------------------------------------------------------


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the project, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("builders.recipes").iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its shipped name or from a YAML file, with ``a.b=c`` settings applied.

    Raises
    ------
    InputError
        There is no such recipe, it is not YAML, a key is unknown (the closest is suggested), or a value is out of range.
    """
    content = _resolve(name, ())
    for setting in settings:
        _apply(content, setting)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(f"Expected a valid recipe in {name!r}, found: {_explain(error)}") from None


def _resolve(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if name in seen:
        raise InputError(f"Recipe {name!r} extends itself through {' -> '.join(seen)}. Break the circle.")
    if name in recipe_names():
        text = (files("builders.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise InputError(
            f"Expected the name of a shipped recipe or a YAML file, found {name!r}. {suggestion(name, recipe_names())}"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Expected YAML in recipe {name!r}, but it cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"Expected a mapping at the top of recipe {name!r}, found {type(content).__name__}.")
    parent = content.pop("extends", None)
    return _merged(_resolve(str(parent), (*seen, name)), content) if parent is not None else content


def _merged(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings key by key; ``null`` removes a key, anything else replaces it. Axis draws are replaced whole."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict) and not {"strata", "levels"} & set(value):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _apply(content: dict[str, Any], setting: str) -> None:
    path, equals, text = setting.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
        raise InputError(f"Expected --set in the form a.b=c, found {setting!r}. Example: --set output.width=1024")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Expected YAML after = in --set {setting!r}, but it cannot be read: {error}") from None
    *parents, last = path.split(".")
    node = content
    for key in parents:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(f"--set {setting!r}: {key!r} is a single value in this recipe and has no keys of its own.")
        node = child
    node[last] = value


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return explain(error).replace("Value error, ", "") + ". Mend the recipe or the --set."
    models: tuple[type[BaseModel], ...] = (Recipe, Output, Axes, Suite, LensPreset, Strata, Levels)
    known = sorted({field for model in models for field in model.model_fields})
    where = ".".join(map(str, first["loc"]))
    return f"unknown key {where!r}. {suggestion(str(first['loc'][-1]), known)}"
