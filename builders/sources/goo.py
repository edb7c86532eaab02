"""GOO (Gaze On Objects): shoppers in front of shelves, rendered (GOO-Synth) or filmed (GOO-Real), one person per photo.

Conventions
-----------
One pickle file per split, a list of dictionaries, one per photo; rows are numbered from 1. It is read by
``restricted_pickle``, which runs nothing. The file's name tells the split: ``test``, ``val``, and ``train`` or ``oneshot``.

All coordinates are pixels of a 640 x 480 image, *also where the photo is 1920 x 1080, of another shape* (GOO-Real): divided by
640 and 480, they are fractions here. ``ann.bboxes`` (x0, y0, x1, y1) holds the goods and, as its last box, the head. The target
is ``gaze_cx, gaze_cy``, valid also where the goods looked at are hidden (``occluded``). ``gazeIdx`` is the number of their box,
and -1 where they are hidden: as an index into a Python list that is the last box, the head. It is not used.

Extras: ``occluded``; ``gaze_item``, the class of the goods (1 to 24), where they are visible; ``released_pitch``, ``…_yaw`` and
``…_roll`` of the head in degrees as released: their axes are undocumented (photos of one camera share the pitch).

**Clusters.** GOO-Synth renders each combination of 20 humans, 6 shelves, 50 cameras, 4 lights and 8 skies once, 192,000 photos;
humans 1 and 20 are its test set. A cluster is human, shelf and camera: 32 photos of one view, which differ in light, sky and
target, and 600 clusters in test. (By human there would be two, and nothing to resample: intervals speak of these two humans.)
GOO-Real: the participant, the first folder of the file name (``49/cam1/…``); a photo in no folder is its own cluster. A cluster
that is in several splits stays in the first of test, val and train.

Inverted head boxes are swapped and counted in ``repaired``. Boxes and points beyond the photo are left to ``resolve_person``.
Photos are RGBA PNG (GOO-Synth, opaque) or JPEG.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
from pydantic import field_validator

from builders.sources.base import Listing, Person, Photo, Rejected, Source, SourceOptions, wrong_folder
from builders.sources.restricted_pickle import read_plain_pickle
from builders.sources.rows import path_fault, row_reference
from srgaze360.errors import InputError

KIND = "goo"
CITATION = """@inproceedings{tomas2021goo,
  author = {Tomas, Henri and Reyes, Marcus and Dionido, Raimarc and Ty, Mark and Mirando, Jonric and Casimiro, Joel and
    Atienza, Rowel and Guinto, Richard},
  title = {GOO: A Dataset for Gaze Object Prediction in Retail Environments},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year = {2021}
}"""
LICENCE = (
    "Apache-2.0 as the repository of its authors says (code and labels). GOO-Real shows people who were filmed for research: "
    "read the terms where you obtain it, and do not redistribute its photos."
)
OBTAIN = (
    "linked from dataset/goosynth-download.txt and dataset/gooreal-download.txt of https://github.com/upeee/GOO-GAZE2021 "
    "(label files without segmentation: trainPickleNoSegm, testPickleNoSegm; GOO-Real: oneshotrealhumans, valrealhumans, "
    "testrealhumans). Take GOO-Synth and GOO-Real as two folders."
)
LAYOUT = "label files *.pickle, named after their split (train or oneshot, val, test), beside a folder of photos"

WIDTH, HEIGHT = 640, 480
IMAGE_FOLDERS = ("images", "finalrealdatasetImgsV3", "finalrealdatasetImgsV2")
GOODS = range(1, 25)  # classes of goods; a head has 25 (GOO-Synth) or -1 (GOO-Real)
POSE = ("pitch", "yaw", "roll")
PERSON = "shopper"
INVERTED = "inverted head box swapped"

Split = Literal["train", "val", "test"]
SPLITS: Mapping[Split, tuple[str, ...]] = {
    "test": ("test",),
    "val": ("val",),
    "train": ("train", "oneshot"),
}  # first come first


class GooOptions(SourceOptions):
    """Where labels and photos lie under the root.

    ``train_file``, ``val_file``, ``test_file``: label files; by default the ``*.pickle`` or ``*.pkl`` whose name tells the
    split (those of the sparse shelves, which are photos of their own, must be named). A file that was named must exist.

    ``images``: folder of the photos that the labels' file names start from, ``"."`` for the root; by default the first of
    ``images``, ``finalrealdatasetImgsV3`` and ``finalrealdatasetImgsV2`` that is there. ``train_images``, ``val_images`` and
    ``test_images`` are for splits that have folders of their own.
    """

    train_file: str | None = None
    val_file: str | None = None
    test_file: str | None = None
    images: str | None = None
    train_images: str | None = None
    val_images: str | None = None
    test_images: str | None = None

    @field_validator("*")
    @classmethod
    def _inside_the_root(cls, name: str | None) -> str | None:
        if name not in (None, ".") and (fault := path_fault(name)):
            raise ValueError(fault)
        return name


class _Unusable(Exception):
    """Why an entry cannot be used."""


def read(root: Path, options: GooOptions) -> Listing:
    """List the photos and people of GOO under ``root``; opens no photo.

    Raises
    ------
    InputError
        If no label file is there, a split has several, one is not a list of plain data, or there is no folder of photos.
    """
    files = _label_files(root, options)
    folders = {split: _image_folder(root, split, options) for split in files}
    photos: dict[str, Photo] = {}
    splits: dict[str, str] = {}
    rejected: list[Rejected] = []
    for split, name in files.items():
        entries = read_plain_pickle(root / name)
        if not isinstance(entries, list) or not entries:
            raise InputError(
                f"Expected a list of dictionaries, one per photo, in {root / name}; found {_kind(entries)}. Take the label "
                "file that merges all photos from the dataset's release."
            )
        for number, entry in enumerate(entries, 1):
            row, image = row_reference(name, [number]), ""
            try:
                image = _image(entry, folders[split])
                photo = _photo(entry, image, split, row)
                _check_new(photo, photos, splits)
            except _Unusable as reason:
                rejected.append(Rejected(KIND, row, image, PERSON, str(reason)))
            else:
                photos[image] = photo
    ordered = tuple(photos[image] for image in sorted(photos))
    repaired = Counter(repair for photo in ordered for person in photo.people for repair in person.repairs)
    return Listing(ordered, tuple(rejected), repaired)


def _label_files(root: Path, options: GooOptions) -> dict[Split, str]:
    """Label file of each split that has one, in the order in which splits keep their clusters."""
    found = sorted(path.name for path in root.glob("*") if path.suffix in (".pickle", ".pkl") and not path.name.startswith("."))
    files: dict[Split, str] = {}
    for split, words in SPLITS.items():
        named: str | None = getattr(options, f"{split}_file")
        if named is not None and not (root / named).is_file():
            raise wrong_folder(root, f"the label file {named}, named by the option {split}_file", OBTAIN)
        names = [name for name in found if any(word in name.lower() for word in words) and "spars" not in name.lower()]
        if named is None and len(names) > 1:
            raise InputError(
                f"Expected one label file for the {split} split in {root}; found {len(names)}: {', '.join(names)}. Name one by "
                f"the option {split}_file, or keep GOO-Synth and GOO-Real in two folders."
            )
        if named is not None or names:
            files[split] = named or names[0]
    if not files:
        raise wrong_folder(root, LAYOUT, OBTAIN)
    return files


def _image_folder(root: Path, split: Split, options: GooOptions) -> str:
    named: str | None = getattr(options, f"{split}_images") or options.images
    folders = IMAGE_FOLDERS if named is None else (named,)
    for folder in folders:
        if (root / folder).is_dir():
            return folder
    raise wrong_folder(root, f"the photos of the {split} split in a folder {' or '.join(folders)} (option images)", OBTAIN)


def _image(entry: Any, folder: str) -> str:  # noqa: ANN401 - what a label file holds
    """Path of an entry's photo under the root."""
    if not isinstance(entry, dict):
        raise _Unusable(f"entry is not a dictionary ({_kind(entry)})")
    name = entry.get("filename")
    if not isinstance(name, str):
        raise _Unusable(f"filename is not text ({_kind(name)})")
    name = name.replace("\\", "/")  # GOO-Real was labelled on Windows
    if fault := path_fault(name):
        raise _Unusable(fault)
    return name if folder == "." else f"{folder}/{name}"


def _photo(entry: Mapping[str, Any], image: str, split: Split, row: str) -> Photo:
    head, inverted = _head(entry.get("ann"))
    x, y = _number(entry, "gaze_cx"), _number(entry, "gaze_cy")
    if not (0 <= x <= WIDTH and 0 <= y <= HEIGHT):
        raise _Unusable(f"gaze lies outside the photo ({x:g}, {y:g})")
    person = Person(
        person=PERSON,
        row=row,
        head_box=(head[0] / WIDTH, head[1] / HEIGHT, head[2] / WIDTH, head[3] / HEIGHT),
        head_unit="fraction",
        gaze=((x / WIDTH, y / HEIGHT),),
        gaze_unit="fraction",
        in_frame=True,
        extras=_extras(entry),
        repairs=(INVERTED,) * inverted,
    )
    return Photo(image, split, _cluster(entry, image), (person,))


def _check_new(photo: Photo, photos: Mapping[str, Photo], splits: dict[str, str]) -> None:
    """Refuse a photo that is there already, or whose cluster another split has."""
    if photo.image in photos:
        raise _Unusable("the photo has an entry already")
    kept = splits.setdefault(photo.cluster, photo.split)
    if kept != photo.split:
        raise _Unusable(f"the cluster belongs to the {kept} split too, and is kept there")


def _head(annotation: Any) -> tuple[list[float], bool]:  # noqa: ANN401
    """The last box, in pixels of the labels' image, low corner first, and whether it was inverted."""
    if not isinstance(annotation, dict):
        raise _Unusable(f"ann is not a dictionary ({_kind(annotation)})")
    last, label = _last(annotation.get("bboxes")), _last(annotation.get("labels"))
    if not isinstance(last, (list, tuple)) or len(last) != 4 or not all(map(_is_number, last)):
        raise _Unusable("the last box of ann.bboxes is not four finite numbers")
    if _is_number(label) and label in GOODS:
        raise _Unusable(f"the last box of ann.bboxes is goods, not a head (class {label})")
    x0, y0, x1, y1 = map(float, last)
    box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    return box, box != [x0, y0, x1, y1]


def _last(values: Any) -> Any:  # noqa: ANN401
    """The last of some values, arrays as lists; None if there is none."""
    if not isinstance(values, (list, tuple, np.ndarray)) or (isinstance(values, np.ndarray) and not values.ndim):
        return None
    if not len(values):
        return None
    last = values[-1]
    return last.tolist() if isinstance(last, (np.ndarray, np.generic)) else last


def _extras(entry: Mapping[str, Any]) -> dict[str, str | float | bool]:
    item, occluded = entry.get("gaze_item"), entry.get("occluded")
    extras: dict[str, str | float | bool] = {}
    if _is_number(occluded):
        extras["occluded"] = bool(occluded)
    if _is_number(item) and item in GOODS:
        extras["gaze_item"] = float(item)
    return extras | {f"released_{angle}": float(entry[angle]) for angle in POSE if _is_number(entry.get(angle))}


def _cluster(entry: Mapping[str, Any], image: str) -> str:
    scene = entry.get("envparams")
    if isinstance(scene, dict) and all(_is_number(scene.get(key)) for key in ("hum", "cab", "cam")):
        return f"human {scene['hum']:g}, shelf {scene['cab']:g}, camera {scene['cam']:g}"
    participant, folder, _ = str(entry["filename"]).replace("\\", "/").partition("/")
    return f"participant {participant}" if folder else image


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and abs(value) < 1e9  # neither NaN nor infinite


def _number(entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    if not _is_number(value):
        raise _Unusable(f"{key} is not a finite number ({value if isinstance(value, float) else _kind(value)})")
    return float(value)


def _kind(value: object) -> str:
    """What a value is, in a word: file contents are not quoted at length."""
    return "nothing" if value is None else f"{type(value).__name__}"


SOURCE = Source(
    kind=KIND,
    title="GOO (Gaze On Objects)",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=GooOptions,
)
