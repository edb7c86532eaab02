"""Opening every panorama once: why it cannot be used, if so, and what the photos on it look like.

Conventions
-----------
Nothing is decoded whose header says another size than its labels. A thumbnail is not of the panorama but of a photo on it: the
view through the camera and pose that placed it, without its edge, :data:`SIDE` x :data:`SIDE` grey values. It is the same
whatever the condition.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360.errors import InputError
from srgaze360.files import digest_pixels, path_inside
from srgaze360.reproject import sphere_to_view
from srgaze360.safe_images import UnreadableImage, decode_image, read_size

if TYPE_CHECKING:
    from annotation.cameras import Rows
    from annotation.lint.labels import Labels

SIDE = 32
MARGIN = 2  # of 36: the edge of a photo may pass softly into its background
_BATCH = 64  # panoramas between two reports of progress

Thumbnail = NDArray[np.uint8]


class Seen(NamedTuple):
    """What opening a panorama showed: the rule that it breaks and how, or none; thumbnails of its photos by row."""

    rule: str
    evidence: str
    thumbnails: dict[int, Thumbnail]


def survey(labels: Labels) -> list[Seen]:
    """Open every panorama, in the order of ``labels.first_rows``; those whose file is not there have nothing to show."""
    photos = _rows_of_photos(labels)
    found: list[Seen] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            found += pool.map(lambda rows: _open(labels, rows), batch)
            labels.advance(len(batch))
    return found


def _rows_of_photos(labels: Labels) -> list[Rows]:
    """For every panorama, a row of each photo on it."""
    home = labels.codes("panorama_id")
    table = pd.DataFrame({"home": home, "photo": labels.codes("source", "source_image"), "row": np.arange(len(labels))})
    table = table.drop_duplicates(["home", "photo"]).sort_values(["home", "row"])
    starts = np.flatnonzero(np.diff(table["home"].to_numpy(), prepend=-1))
    return np.split(table["row"].to_numpy(dtype=np.intp), starts[1:])


def _open(labels: Labels, rows: Rows) -> Seen:
    row = int(rows[0])
    try:
        path = path_inside(labels.root, str(labels.image_paths[row]))
    except InputError:
        return Seen("", "", {})
    if not path.is_file():
        return Seen("", "", {})
    told = tuple(labels.sizes[row].tolist())
    try:
        size = read_size(path)
        if size[0] != 2 * size[1]:
            return Seen("image-shape", f"{size[0]} x {size[1]} pixels", {})
        if size != told:
            return Seen("image-size", f"{size[0]} x {size[1]} pixels, by its labels {told[0]} x {told[1]}", {})
        content = path.read_bytes()
        image = decode_image(content)
    except UnreadableImage as error:
        return Seen("image-unreadable", str(error).replace("photo", "panorama"), {})
    thumbnails = {one: thumbnail(labels, image, one) for one in rows.tolist() if labels.cameras.known()[one]}
    entry = {} if isinstance(labels.manifest, str) else labels.manifest.get(labels.panorama_ids[row], {})
    if entry and hashlib.sha256(content).hexdigest() != entry["sha256"]:
        found = digest_pixels(image)
        if found != entry["pixel_digest"]:
            return Seen(
                "pixels-changed", f"pixel digest {found[:12]}, in the manifest {entry['pixel_digest'][:12]}", thumbnails
            )
    return Seen("", "", thumbnails)


def thumbnail(labels: Labels, panorama: NDArray[np.uint8], row: int) -> Thumbnail:
    """The photo that a row's person is on, as its camera sees it on the panorama: grey values (SIDE, SIDE)."""
    camera = labels.cameras.distinct[labels.cameras.index[row]]
    if camera is None:
        raise InputError(f"Expected a camera in row {row}, found none. Correct the column camera.")
    side = SIDE + 2 * MARGIN
    view = sphere_to_view(panorama, camera.resized(2 * side if camera.is_panorama else side, side), labels.rotations[row])
    grey = cv2.cvtColor(np.ascontiguousarray(view), cv2.COLOR_RGB2GRAY)
    square = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(square[MARGIN:-MARGIN, MARGIN:-MARGIN], dtype=np.uint8)
