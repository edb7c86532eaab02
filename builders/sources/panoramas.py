"""Panoramas as backgrounds: a folder of equirectangular images, nobody labelled in them.

Conventions
-----------
Every ``.jpg``, ``.jpeg`` and ``.png`` below the root, at any depth and in any case, sorted by path; hidden files and folders
are skipped, links to folders not followed. A full panorama has width = 2 height, to within one pixel; the size is read from
the header alone.
All are listed as ``train``: splitting them (by ``cluster``, the file) is the builder's part, as backgrounds are split with
the dataset they are drawn into.
"""

from __future__ import annotations

from pathlib import Path

from builders.sources.base import Listing, Photo, Rejected, Source, SourceOptions, wrong_folder
from builders.sources.rows import path_fault
from srgaze360.safe_images import UnreadableImage, read_size

KIND = "panoramas"
CITATION = "No single source: cite the origin of each panorama that you use."
LICENCE = "The user's own panoramas: their licences pass to the images of the dataset that is built with them."
OBTAIN = "any folder of equirectangular photographs, for example exported from a 360-degree camera."
LAYOUT = "a folder (searched recursively) of equirectangular .jpg, .jpeg or .png images, twice as wide as high"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
TOLERANCE = 1  # pixels by which the width may differ from twice the height


def read(root: Path, options: SourceOptions) -> Listing:  # noqa: ARG001 - every source is read with its options
    """List the panoramas under ``root``; only their headers are read.

    Raises
    ------
    InputError
        If the folder is missing or holds no image.
    """
    below = [path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    images = sorted(path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts))
    if not images:
        raise wrong_folder(root, LAYOUT, OBTAIN)
    faults = {image: path_fault(image) or _image_fault(root / image) for image in images}
    return Listing(
        photos=tuple(Photo(image, "train", image, ()) for image in images if not faults[image]),
        rejected=tuple(Rejected(KIND, image, image, "", fault) for image, fault in faults.items() if fault),
    )


def _image_fault(path: Path) -> str:
    try:
        width, height = read_size(path)
    except UnreadableImage as error:
        return str(error)
    if abs(width - 2 * height) > TOLERANCE:
        return f"panorama is not twice as wide as high ({width} x {height} pixels)"
    return ""


SOURCE = Source(
    kind=KIND,
    title="Panoramas for backgrounds",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    role="background",
)
