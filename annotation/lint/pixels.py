"""Rules that open the panoramas: they can be read, have their size, are the pixels of the manifest, and leak no photo.

Conventions
-----------
:mod:`annotation.lint.survey` opens every panorama once; a panorama has one fault, the first that is true of it.

**Photos that look alike.** A photo may be stored under two names, in two sizes or qualities, and its panoramas differ by
condition besides; thumbnails of the photos themselves are compared. Of each the perceptual hash is taken, 64 bits: its 8 x 8
lowest discrete cosine coefficients, above their median or not (Zauner, Implementation and Benchmarking of Perceptual Image Hash
Functions, 2010). Photos of different clusters and splits whose hashes differ in at most :data:`HASH_BITS` bits look alike if
their thumbnails correlate by :data:`CORRELATION`. Measured on 13 photos and panoramas: half size, JPEG quality 30, grey for
colour, brightness, contrast, and one per cent cropped on every side keep within both limits; two per cent do not always, a
mirror image never does. Among 4.4 million pairs of different photos of 2,980 procedural panoramas the largest correlation was
0.87, and every photo had 0.98 or more with itself under all its conditions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from annotation.cameras import Rows
from annotation.lint.labels import PHOTO, Labels
from annotation.lint.leakage import PHOTO_NAME, split_order
from annotation.lint.registry import Check, Found, rule
from srgaze360.sphere import FloatArray

HASH_SIDE = 8
HASH_BITS = 10
CORRELATION = 0.95
LEAST_CONTRAST = 4.0  # standard deviation in grey levels: flat pictures all look alike
_PAIRS = 1 << 22  # compared at a time
FILE = ("image_path", "width", "height", "fold_back", *PHOTO_NAME, *PHOTO)
REPAIR = "Run `srgaze360 verify DIR --repair`, or fetch the file again."


def _of_survey(name: str) -> Check:
    def check(labels: Labels) -> Iterator[Found]:
        for row, seen in zip(labels.first_rows.tolist(), labels.panoramas, strict=True):
            if seen.rule == name:
                yield Found("", labels.panorama_ids[row], seen.evidence)

    return check


@rule("image-unreadable", "error", needs=FILE, fix=REPAIR, pixels=True)
def image_unreadable(labels: Labels) -> Iterator[Found]:
    """A panorama's file is a JPEG or PNG image, whole and undamaged."""
    yield from _of_survey("image-unreadable")(labels)


@rule("image-shape", "error", needs=FILE, fix=REPAIR, pixels=True)
def image_shape(labels: Labels) -> Iterator[Found]:
    """A panorama's file is twice as wide as high."""
    yield from _of_survey("image-shape")(labels)


@rule("image-size", "error", needs=FILE, fix="Store the size of the file, or fetch the file again.", pixels=True)
def image_size(labels: Labels) -> Iterator[Found]:
    """A panorama's file has the size that its labels say."""
    yield from _of_survey("image-size")(labels)


@rule("pixels-changed", "error", needs=FILE, fix=REPAIR, pixels=True)
def pixels_changed(labels: Labels) -> Iterator[Found]:
    """A panorama's pixels are those that its labels were made with: their digest is the manifest's."""
    yield from _of_survey("pixels-changed")(labels)


# --- photos that look alike -------------------------------------------------------------------------------------------


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Perceptual hashes (n, 64) of grey pictures (n, side, side)."""
    low = dctn(thumbnails.astype(np.float64), axes=(1, 2), norm="ortho")[:, :HASH_SIDE, :HASH_SIDE].reshape(len(thumbnails), -1)
    return np.asarray(low > np.median(low, axis=1, keepdims=True))


def _standardised(thumbnails: NDArray[np.uint8]) -> FloatArray:
    """Thumbnails as rows (n, side * side) of mean 0 and length 1."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def look_alikes(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> list[tuple[int, int, int, float]]:
    """Pairs of pictures, one of each stack (n, side, side), that look alike: their numbers, bits that differ, correlation."""
    if not len(first) or not len(second):
        return []
    signs = [np.where(perceptual_hashes(stack), 1.0, -1.0).astype(np.float32) for stack in (first, second)]
    rows = [_standardised(stack) for stack in (first, second)]
    found = []
    block = max(1, _PAIRS // len(second))
    for start in range(0, len(first), block):
        bits = (HASH_SIDE**2 - signs[0][start : start + block] @ signs[1].T) / 2.0
        for a, b in zip(*np.nonzero(bits <= HASH_BITS), strict=True):
            correlation = float(rows[0][start + a] @ rows[1][b])
            if correlation >= CORRELATION:
                found.append((start + int(a), int(b), round(float(bits[a, b])), correlation))
    return found


@rule(
    "photo-look-alike", "error", needs=["split", "cluster_id", *FILE], pixels=True,
    fix="Look at both; if they are one photo, keep it in one split.",
)  # fmt: skip
def photo_look_alike(labels: Labels) -> Iterator[Found]:
    """Photos of different splits do not look alike."""
    thumbnails = {row: picture for seen in labels.panoramas for row, picture in seen.thumbnails.items()}
    photo, cluster, order = labels.codes(*PHOTO_NAME), labels.codes("cluster_id"), split_order(labels)
    one_of_each: dict[int, int] = {}
    lost = labels.numbers("fold_back")
    for row in sorted(thumbnails, key=lambda row: (lost[row], row)):  # where most of the photo is seen
        if np.std(thumbnails[row]) >= LEAST_CONTRAST:
            one_of_each.setdefault(int(photo[row]), row)
    rows = np.array(sorted(one_of_each.values()), dtype=np.intp)
    splits, images = labels.texts("split"), labels.texts("source_image")
    told: set[int] = set()
    for later, earlier in _pairs_of_splits(order[rows]):
        a, b = rows[later], rows[earlier]
        for i, j, bits, correlation in look_alikes(_stack(thumbnails, a), _stack(thumbnails, b)):
            row, other = int(a[i]), int(b[j])
            if cluster[row] == cluster[other] or row in told:
                continue
            told.add(row)
            text = f"{images[row]} ({splits[row]}) looks like {images[other]} ({splits[other]}): "
            yield Found("", labels.panorama_ids[row], text + f"{bits} of 64 bits differ, correlation {correlation:.3f}")


def _pairs_of_splits(order: NDArray[np.intp]) -> Iterator[tuple[Rows, Rows]]:
    """Places of each later split, and of all earlier ones."""
    for split in np.unique(order)[1:]:
        yield np.flatnonzero(order == split), np.flatnonzero(order < split)


def _stack(thumbnails: dict[int, NDArray[np.uint8]], rows: Rows) -> NDArray[np.uint8]:
    return np.stack([thumbnails[row] for row in rows.tolist()]) if len(rows) else np.empty((0, 1, 1), dtype=np.uint8)
