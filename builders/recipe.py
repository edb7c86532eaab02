"""Recipes: what a dataset is, as data.

Conventions
-----------
A recipe is YAML. Angles are degrees and say so (``_deg``). ``base`` gives each axis of distortion its value or the way it is
drawn; a suite overrides axes by ``draw`` (drawn per photo) or ``vary`` (every level for every photo: a paired comparison).
Draws are functions of (seed, photo, axis), so a suite that varies one axis leaves the rest of each photo as it was. Strata and
levels are dealt out over the photos that a suite takes: suites that share them must take the same sample to be paired.
Unknown keys are refused with a suggestion. ``extends`` names a recipe to start from.

Axes belong to the photo (:data:`PHOTO_AXES`) or to the whole sphere (:data:`SPHERE_AXES`). A suite takes photos, one or several
on a sphere, or panoramas, which are turned as a whole: the pose and the tilt are their only axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from builders.backgrounds import BACKGROUNDS
from srgaze360.dataset import explain
from srgaze360.errors import InputError, suggestion
from srgaze360.files import digest
from srgaze360.settings import parse_setting, read_mapping, shipped

Split = Literal["train", "val", "test"]
MOST_PHOTOS = 6  # on one sphere: six photos of 60 degrees leave room to place them apart


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
    """The panoramas: width (height is half), file format, JPEG quality, anti-aliasing.

    ``feather_deg`` is the width of the band inside a photo's edge over which it passes into a background that shows a scene.
    """

    width: Annotated[int, Field(ge=64, le=16384, multiple_of=2)] = 2048
    format: Literal["jpeg", "png"] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    antialias: bool = True
    feather_deg: Annotated[float, Field(ge=0.0, le=20.0)] = 2.0


class Axes(_Strict):
    """The axes of distortion.

    ``fov_deg`` is the field of view of the photo's longer side. ``latitude_deg`` is a number, ``zenith`` or ``nadir`` (solved
    so that the photo contains that pole). ``longitude_deg`` is a number, ``clear`` (drawn so that the photo's footprint stays
    clear of the seam), ``seam`` (solved so that the arc from head to gaze crosses the seam), or ``apart`` (solved so that
    several photos do not overlap). ``lens`` is ``own`` (the photo's own camera where the source knows it, else a pinhole),
    ``pinhole``, or the name of one of the recipe's lenses.
    """

    fov_deg: Draw = 60.0
    latitude_deg: Draw = 0.0
    longitude_deg: Draw = "clear"
    roll_deg: Draw = 0.0
    lens: Draw = "own"
    tilt_pitch_deg: Draw = 0.0
    tilt_roll_deg: Draw = 0.0
    tilt_yaw_deg: Draw = 0.0
    background: Draw = "black"


SPHERE_AXES = ("tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg", "background")
PHOTO_AXES = tuple(axis for axis in Axes.model_fields if axis not in SPHERE_AXES)
FLAT_AXES = ("fov_deg", "lens", "background")  # of photos only: a panorama has all its rays, and nothing around it
RANGES: Mapping[str, tuple[float, float]] = {
    "fov_deg": (1.0, 359.0),
    "latitude_deg": (-90.0, 90.0),
    "longitude_deg": (-180.0, 180.0),
    "roll_deg": (-180.0, 180.0),
    "tilt_pitch_deg": (-90.0, 90.0),
    "tilt_roll_deg": (-180.0, 180.0),
    "tilt_yaw_deg": (-180.0, 360.0),
}
NAMED: Mapping[str, tuple[str, ...]] = {
    "latitude_deg": ("zenith", "nadir"),
    "longitude_deg": ("clear", "seam", "apart"),
    "lens": ("own", "pinhole"),
    "background": tuple(BACKGROUNDS),
}
SOLVED = ("seam", "zenith", "nadir")  # poses that hold for an upright sphere only


class Suite(_Strict):
    """A set of conditions on the photos of some splits; every combination of ``vary`` is a condition.

    ``takes`` says whether the suite is made from a source's photos or from its panoramas; ``sources`` names the kinds of source
    it is made from (all, if empty); ``photos`` is the largest number of photos on one sphere; ``sample`` the largest number of
    photos of each source and split: by a hash, so that suites of the same sample share their photos.
    """

    splits: tuple[Split, ...] = ("test",)
    takes: Literal["photos", "panoramas"] = "photos"
    sources: tuple[str, ...] = ()
    photos: Annotated[int, Field(ge=1, le=MOST_PHOTOS)] = 1
    sample: Annotated[int, Field(ge=1)] | None = None
    draw: dict[str, Draw] = Field(default_factory=dict)
    vary: dict[str, tuple[float | str, ...]] = Field(default_factory=dict)
    copies: Annotated[int, Field(ge=1, le=1000)] = 1


class Rendered(_Strict):
    """A procedural source that the build renders itself: photos, panoramas with people, rooms for backgrounds."""

    photos: Annotated[int, Field(ge=1, le=100_000)]
    panoramas: Annotated[int, Field(ge=0, le=100_000)] = 0
    backgrounds: Annotated[int, Field(ge=0, le=10_000)] = 0
    seed: Annotated[int, Field(ge=0)] = 360


class Recipe(_Strict):
    """A dataset, as data.

    ``made_from`` names the kinds of source a standard dataset is made from, no more and no less; any, if empty. ``rendered``
    is the procedural source of a dataset that needs no other.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    title: str
    seed: Annotated[int, Field(ge=0)] = 360
    val_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    output: Output = Output()
    lenses: dict[str, LensPreset] = Field(default_factory=dict)
    made_from: tuple[str, ...] = ()
    rendered: Rendered | None = None
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    base: Axes = Axes()
    suites: dict[str, Suite] = Field(min_length=1)

    @model_validator(mode="after")
    def _suites_make_sense(self) -> Recipe:
        for name, suite in self.suites.items():
            for axis in (*suite.draw, *suite.vary):
                if axis not in Axes.model_fields:
                    raise ValueError(f"suite {name}: unknown axis {axis!r}. {suggestion(axis, list(Axes.model_fields))}")
                if suite.takes == "panoramas" and axis in FLAT_AXES:
                    raise ValueError(f"suite {name}: {axis} is an axis of photos; a suite that takes panoramas only turns them")
            if both := set(suite.draw) & set(suite.vary):
                raise ValueError(f"suite {name}: {', '.join(sorted(both))} is both drawn and varied; choose one")
            axes = self.axes(name)
            for axis, draw in axes.items():
                for value in _values(draw):
                    self._check(f"suite {name}", axis, value)
            self._check_pose(name, suite, axes)
            for axis, levels in suite.vary.items():
                if len({level_name(level) for level in levels}) < len(levels) or not levels:
                    raise ValueError(
                        f"suite {name}: the levels of {axis} must differ in their first six digits, found {levels}"
                    )
        return self

    @staticmethod
    def _check_pose(name: str, suite: Suite, axes: Mapping[str, Draw]) -> None:
        poses = {*_values(axes["latitude_deg"]), *_values(axes["longitude_deg"])}
        tilted = any(set(_values(axes[axis])) - {0.0} for axis in SPHERE_AXES if axis.startswith("tilt"))
        if tilted and (solved := poses & set(SOLVED)):
            raise ValueError(
                f"suite {name}: {', '.join(sorted(map(str, solved)))} is solved for an upright sphere; leave tilts at 0"
            )
        if suite.takes == "panoramas" and (suite.photos > 1 or poses & {"zenith", "nadir", "apart"}):
            raise ValueError(f"suite {name}: a panorama fills its sphere; photos: 1, and numbers, clear or seam for its pose")
        if "apart" in poses and poses & {"zenith", "nadir"}:
            raise ValueError(f"suite {name}: photos that are placed apart may move off a pole; give their latitude in numbers")
        if suite.photos > 1 and _values(axes["longitude_deg"]) != ("apart",):
            raise ValueError(f"suite {name}: {suite.photos} photos on a sphere need longitude_deg: apart")

    def _check(self, where: str, axis: str, value: float | str) -> None:
        if isinstance(value, str):
            known = (*NAMED.get(axis, ()), *(self.lenses if axis == "lens" else ()))
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
        if self.suites[suite].takes == "panoramas":
            chosen = {axis: draw for axis, draw in chosen.items() if axis not in FLAT_AXES}
        return chosen

    def without_panoramas(self) -> list[str]:
        """The settings (``a.b=c``) that take panoramas of a background source out of the recipe; none, if it uses none."""
        settings = []
        for name, suite in self.suites.items():
            levels = _values(self.axes(name).get("background", "none"))
            if "panorama" in levels:
                rest = ", ".join(str(level) for level in dict.fromkeys(levels) if level != "panorama") or "black"
                change = f"vary.background=[{rest}]" if "background" in suite.vary else f"draw.background={{levels: [{rest}]}}"
                settings.append(f"suites.{name}.{change}")
        return settings

    def lens(self, name: str) -> LensPreset:
        """The lens preset called ``name``; ``pinhole`` and ``own`` (of a photo whose camera is unknown) need no entry."""
        return self.lenses.get(name, LensPreset(lens="pinhole"))

    def digest(self) -> str:
        """Digest of everything that decides the dataset."""
        return digest(self.model_dump(mode="json"))


def level_name(level: float | str) -> str:
    """A level as the name of its condition says it."""
    return level if isinstance(level, str) else f"{level:g}"


def _values(draw: Draw) -> tuple[float | str, ...]:
    if isinstance(draw, Levels):
        return draw.levels
    if isinstance(draw, Strata):
        return tuple(bound for interval in draw.strata for bound in interval)
    return (draw,)


# --- reading ----------------------------------------------------------------------------------------------------------


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the project, sorted."""
    return shipped(files("builders.recipes"))


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its shipped name or from a YAML file, with ``a.b=c`` settings applied.

    Raises
    ------
    InputError
        There is no such recipe, it is not YAML, a key is unknown (the closest is suggested), or a value is out of range.
    """
    content = _resolve(name, ())
    for setting in settings:
        apply_setting(content, setting)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(f"Expected a valid recipe in {name!r}, found: {_explain(error)}") from None


def _resolve(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if name in seen:
        raise InputError(f"Recipe {name!r} extends itself through {' -> '.join(seen)}. Break the circle.")
    content = read_mapping(name, "recipe", files("builders.recipes"))
    parent = content.pop("extends", None)
    return _merged(_resolve(str(parent), (*seen, name)), content) if parent is not None else content


def _merged(base: dict[str, Any], change: Mapping[str, Any], *, nulls: bool = False) -> dict[str, Any]:
    """Merge mappings key by key; ``null`` removes a key, anything else replaces it. Axis draws are replaced whole.

    Among the options of ``sources`` null is a value like any other (``nulls``).
    """
    result = dict(base)
    for key, value in change.items():
        if value is None and not nulls:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict) and not {"strata", "levels"} & set(value):
            result[key] = _merged(result[key], value, nulls=nulls or key == "sources")
        else:
            result[key] = value
    return result


def apply_setting(content: dict[str, Any], setting: str) -> None:
    """Apply ``a.b=c`` to the content of a recipe, in place; null removes a key, but is a value among the options of sources.

    Raises
    ------
    InputError
        The setting has another form, ``c`` is no YAML, or ``a`` is no mapping.
    """
    (*parents, last), value = parse_setting(setting, "output.width=1024")
    suites = content.get("suites", {})
    if parents[:1] == ["suites"] and len(parents) > 1 and isinstance(suites, dict) and parents[1] not in suites:
        raise InputError(f"--set {setting!r}: this recipe has no suite {parents[1]!r}. {suggestion(parents[1], list(suites))}")
    node = content
    for key in parents:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(f"--set {setting!r}: {key!r} is a single value in this recipe and has no keys of its own.")
        node = child
    if value is None and parents[:1] != ["sources"]:
        node.pop(last, None)
    else:
        node[last] = value


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return explain(error).replace("Value error, ", "").rstrip(".") + ". Mend the recipe or the --set."
    models: tuple[type[BaseModel], ...] = (Recipe, Output, Axes, Suite, LensPreset, Strata, Levels, Rendered)
    known = sorted({field for model in models for field in model.model_fields})
    where = ".".join(map(str, first["loc"]))
    return f"unknown key {where!r}. {suggestion(str(first['loc'][-1]), known)}"
