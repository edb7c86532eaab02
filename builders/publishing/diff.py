"""Where two built datasets differ: in their recipe, their labels or their pixels, and by how much.

Conventions
-----------
Three levels, each meaningful only where the one before agrees. *recipe*: digest, and the keys that differ. *labels*: panoramas
and samples that only one side has; label digests of the manifests, then which samples and columns, and how many degrees heads
and gazes moved. *pixels*: pixel digests of the manifests, then grey levels (0 to 255, over all three channels). What digests
call equal is not opened. Names, versions and samplers that differ are told, but make no difference by themselves.

Panoramas are matched by id. Ids depend on the recipe, so where none is shared they are matched by *place*: suite, condition
and photos, in the order of the annotations; samples always by photo and person. Numbers are compared as the label digest
compares them, rounded to 1e-6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builders.publishing.diff_report import SHOWN, DiffReport, LabelDifference, Names, PixelDifference
from srgaze360 import sphere
from srgaze360.console import silent
from srgaze360.dataset import COLUMNS, Dataset, read_manifest
from srgaze360.files import canonical_json, path_inside
from srgaze360.images import read_panorama

BATCH = 64
DECIMALS = 6
PERSON = ["source", "source_image", "source_person"]
IDENTITY = ("sample_id", "panorama_id", "image_path")
ABSENT = "absent"

Figures = tuple[int, float, float]  # maximum, mean, share of pixels


def diff(a: Path, b: Path, *, pixels: bool = True, advance: Callable[[int], None] = silent) -> DiffReport:
    """Compare the datasets in folders ``a`` and ``b``.

    Parameters
    ----------
    a, b
        Folders of built datasets.
    pixels
        Open the panoramas whose pixel digests differ and measure by how much; otherwise they are only counted.
    advance
        Told the number of panoramas just measured.

    Raises
    ------
    InputError
        One of them is no dataset, or a panorama that has to be opened cannot be read.
    """
    data = Dataset.open(a), Dataset.open(b)
    manifests = [{entry["panorama_id"]: entry for entry in read_manifest(root)} for root in (a, b)]
    by_id = bool(manifests[0].keys() & manifests[1].keys())
    keys = [dict(zip(m, m, strict=True)) if by_id else _places(d, m) for d, m in zip(data, manifests, strict=True)]
    inverse = {key: name for name, key in keys[1].items()}
    pairs = [(name, inverse[key]) for name, key in keys[0].items() if key in inverse]
    matched = {name for pair in pairs for name in pair}
    info = data[0].info, data[1].info
    recipes = [_flat(item.recipe) for item in info]
    facts = [
        {"name": item.name, "version": item.version, "sampler": item.sampler, **_flat({"versions": item.versions})}
        for item in info
    ]
    differing = [pair for pair in pairs if _differs(manifests, pair, "label_digest")]  # other ids: always
    return DiffReport(
        a=str(a),
        b=str(b),
        matched=len(pairs),
        matched_by="id" if by_id else "place",
        only_a=Names.of([name for name in manifests[0] if name not in matched]),
        only_b=Names.of([name for name in manifests[1] if name not in matched]),
        remarks=_pairs(*facts),
        same_recipe=info[0].recipe_digest == info[1].recipe_digest,
        recipe=_pairs(*recipes),
        labels=_label_difference(data, differing, by_id=by_id),
        pixels=_pixel_difference(
            (a, b), manifests, [p for p in pairs if _differs(manifests, p, "pixel_digest")], measure=pixels, advance=advance
        ),
    )


def _differs(manifests: Sequence[Mapping[str, Mapping[str, Any]]], pair: tuple[str, str], key: str) -> bool:
    return bool(manifests[0][pair[0]][key] != manifests[1][pair[1]][key])


def _places(data: Dataset, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Place of every panorama of the manifest: suite, conditions, photos, and the how-manieth such panorama it is."""
    rows = data.annotations
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for name, group in rows.groupby("panorama_id", sort=False):
        parts = [sorted(set(group[column])) for column in ("suite", "condition")]
        place = canonical_json([*parts, sorted(set(group["source"] + "/" + group["source_image"]))])
        found[str(name)] = f"{place}#{seen[place]}"
        seen[place] += 1
    return {name: found[name] for name in manifest if name in found}


# --- recipes ----------------------------------------------------------------------------------------------------------


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    both = {key: (a.get(key, ABSENT), b.get(key, ABSENT)) for key in (*a, *b)}
    return {key: pair for key, pair in both.items() if pair[0] != pair[1]}


# --- labels -----------------------------------------------------------------------------------------------------------


def _label_difference(data: tuple[Dataset, Dataset], pairs: Sequence[tuple[str, str]], *, by_id: bool) -> LabelDifference:
    if not pairs:
        return LabelDifference()
    sides = []
    for side, item in enumerate(data):
        numbers = {pair[side]: number for number, pair in enumerate(pairs)}
        table = item.annotations[item.annotations["panorama_id"].isin(list(numbers))]
        table = table.assign(_pair=table["panorama_id"].map(numbers), _at=table.index)
        sides.append(table.assign(_repeat=table.groupby(["_pair", *PERSON]).cumcount()))
    keys = ["_pair", *PERSON, "_repeat"]
    columns = [*keys, "_at", "sample_id"]
    joined = sides[0][columns].merge(sides[1][columns], on=keys, how="outer", suffixes=("_a", "_b"), indicator=True)
    both = joined[joined["_merge"] == "both"].sort_values("_at_a")
    at = [both[f"_at_{side}"].to_numpy(dtype=np.int64) for side in "ab"]
    rows = [item.annotations.iloc[places] for item, places in zip(data, at, strict=True)]
    compared = [name for name in COLUMNS if name not in IDENTITY]
    unequal = {name: _unequal(rows[0][name], rows[1][name]) for name in compared}
    moved = np.any(list(unequal.values()), axis=0) if len(both) else np.zeros(0, dtype=bool)
    alone = [(side, joined["_merge"] == which) for side, which in (("a", "left_only"), ("b", "right_only"))]
    lonely = [Names.of(joined.loc[flags, f"sample_id_{side}"].tolist()) for side, flags in alone]
    touched = set(both["_pair"][moved]) | set(joined.loc[joined["_merge"] != "both", "_pair"])
    names = [pair[0] for number, pair in enumerate(pairs) if by_id or number in touched]
    return LabelDifference(
        panoramas=Names.of(names),
        samples=Names.of(both["sample_id_a"][moved].tolist()),
        samples_only_a=lonely[0],
        samples_only_b=lonely[1],
        columns={name: int(flags.sum()) for name, flags in unequal.items() if flags.any()},
        moved_deg=_moved(data, at),
    )


def _unequal(a: pd.Series[Any], b: pd.Series[Any]) -> NDArray[np.bool_]:
    """Rows in which two columns differ; numbers rounded as the label digest rounds them."""
    if pd.api.types.is_float_dtype(a) and pd.api.types.is_float_dtype(b):
        x, y = (np.round(column.to_numpy(dtype=np.float64), DECIMALS) for column in (a, b))
        return np.asarray((x != y) & ~(np.isnan(x) & np.isnan(y)))
    return np.array([_comparable(x) != _comparable(y) for x, y in zip(a, b, strict=True)], dtype=np.bool_)


def _comparable(value: Any) -> Any:  # noqa: ANN401 - a cell of a data frame
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) if value == value else None
    return value


def _moved(data: tuple[Dataset, Dataset], at: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """The farthest, in degrees, that the head, the gaze and an annotation of a sample moved."""
    truths = [item.truth() for item in data]
    deepest = min(truth.points.shape[1] for truth in truths)
    points = [truth.points[places, :deepest] for truth, places in zip(truths, at, strict=True)]
    given = [truth.weights[places, :deepest] > 0.0 for truth, places in zip(truths, at, strict=True)]
    angles = {
        "head": sphere.angle_between(data[0].heads[at[0]], data[1].heads[at[1]]),
        "gaze": sphere.angle_between(data[0].gazes[at[0]], data[1].gazes[at[1]]),
        "annotation": np.where(given[0] & given[1], sphere.angle_between(points[0], points[1]), 0.0),
    }
    return {name: round(float(np.degrees(np.nanmax(angle, initial=0.0))), DECIMALS) for name, angle in angles.items()}


# --- pixels -----------------------------------------------------------------------------------------------------------


def _pixel_difference(
    roots: tuple[Path, Path],
    manifests: Sequence[Mapping[str, Mapping[str, Any]]],
    pairs: Sequence[tuple[str, str]],
    *,
    measure: bool,
    advance: Callable[[int], None],
) -> PixelDifference:
    files = [[manifests[side][pair[side]] for side in (0, 1)] for pair in pairs]
    found = list(_measured(roots, pairs, files, advance)) if measure else []
    measured = [item for item in found if item[1] is not None]
    figures = np.array([item[1] for item in measured], dtype=np.float64).reshape(-1, 3)
    worst = sorted(measured, key=lambda item: item[1][1] if item[1] else 0.0, reverse=True)[:SHOWN]
    return PixelDifference(
        panoramas=Names.of([pair[0] for pair in pairs]),
        same_bytes=sum(one["sha256"] == other["sha256"] for one, other in files),
        other_size=Names.of([name for name, figure in found if figure is None]),
        measured=len(measured),
        maximum=int(figures[:, 0].max(initial=0.0)),
        mean=float(figures[:, 1].mean()) if measured else 0.0,
        share=float(figures[:, 2].mean()) if measured else 0.0,
        worst=tuple((name, *figure) for name, figure in worst if figure is not None),
    )


def _measured(
    roots: tuple[Path, Path],
    pairs: Sequence[tuple[str, str]],
    files: Sequence[Sequence[Mapping[str, Any]]],
    advance: Callable[[int], None],
) -> Iterator[tuple[str, Figures | None]]:
    """Name and figures of each pair of panoramas; None where their sizes differ."""

    def look(place: int) -> tuple[str, Figures | None]:
        one, other = (read_panorama(path_inside(root, f["path"])) for root, f in zip(roots, files[place], strict=True))
        return pairs[place][0], grey_levels(one, other)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pairs), BATCH):  # bounded: a queue of everything would hold every result
            batch = range(start, min(start + BATCH, len(pairs)))
            yield from pool.map(look, batch)
            advance(len(batch))


def grey_levels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Figures | None:
    """Largest and mean difference in grey levels, and share of pixels that differ in any channel; None for other sizes."""
    if a.shape != b.shape:
        return None
    levels = cv2.absdiff(a, b)
    return int(levels.max()), float(levels.mean()), float(np.any(levels, axis=2).mean())
