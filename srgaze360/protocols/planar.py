"""What the planar protocols share: points and heatmaps on a photo, distances between them, and the area under the ROC curve.

Conventions
-----------
Points are (x, y), fractions of a photo's width and height, [0, 1] from its outer edges, as GazeFollow stores them: one unit of
x is the width, one of y the height, so distances and angles change with the aspect ratio of the photo. That is the field's
convention. Annotations are ragged sets (n, m, 2) with weights (n, m), 0 where a person has fewer than m
(:mod:`srgaze360.protocols.ragged`). Heatmaps (n, H, W) are values on the photo, 0 or more, at any scale. Functions return
float64 (n,), NaN for people without annotations.

Decoding
--------
:data:`DECODERS` are the ways in which published code turns the arg-max of a heatmap into a point; ties go to the first cell by
rows. With cell (i, j), i the column:

* ``centre``: (i + 1/2, j + 1/2) / (W, H), the middle of the cell: what the index means, and the default here;
* ``corner``: (i, j) / (W, H), its upper left corner (Lian et al. 2018, Chong et al. 2020, Gaze-LLE 2025 and most others);
* ``far-corner``: (i + 1, j + 1) / (W, H), its lower right corner (``spatial_argmax2d`` of Sharingan, CVPR 2024);
* ``dark``: the corner, moved to the maximum of a parabola through the logarithm of the blurred heatmap (distribution-aware
  coordinate representation, Zhang et al., CVPR 2020, with a kernel of 39 cells: ViTGaze's ``--use_dark_inference``).

Resampling is bilinear with half-pixel centres and replicated edges, without smoothing: ``cv2.resize`` and torch's
``interpolate`` without aligned corners.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.protocols.ragged import weighted_mean, weights_of
from srgaze360.sphere import FloatArray

DARK_KERNEL = 39
DARK_FLOOR = 1e-10


# --- resampling -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _places(length: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of ``target`` pixels: the two of ``length`` pixels it lies between, and how far it is on the way."""
    at = np.clip((np.arange(target) + 0.5) * length / target - 0.5, 0.0, length - 1.0)
    first = np.minimum(np.floor(at), max(length - 2, 0)).astype(np.intp)
    return first, np.minimum(first + 1, length - 1), (at - first).astype(np.float32)


def between(values: NDArray[np.floating], axis: int, target: int, part: slice = slice(None)) -> NDArray[np.floating]:
    """Values resampled to ``target`` pixels along an axis; as a + (b - a) t, so that plateaus stay plateaus to the last bit."""
    if values.shape[axis] == target:
        return np.take(values, np.arange(target)[part], axis=axis)  # exactly, which a + (b - a) 1 is not
    first, second, share = _places(values.shape[axis], target)
    left = np.take(values, first[part], axis=axis)
    step = np.take(values, second[part], axis=axis)
    step -= left
    step *= share[part].reshape([-1 if place == axis % values.ndim else 1 for place in range(values.ndim)])
    left += step
    return left


def resized(heatmaps: ArrayLike, height: int, width: int) -> NDArray[np.floating]:
    """Heatmaps (..., H, W) resampled bilinearly to (..., height, width), as ``cv2.resize`` does; float32 or wider."""
    maps = np.asarray(heatmaps)
    maps = maps.astype(np.float32 if maps.dtype.itemsize < 8 else np.float64)
    return between(between(maps, maps.ndim - 2, height), maps.ndim - 1, width)


# --- points -----------------------------------------------------------------------------------------------------------


def mean_annotation(annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Mean point (n, 2) of annotations (n, m, 2)."""
    points = np.asarray(annotations, dtype=np.float64)
    return np.stack([weighted_mean(points[..., axis], weights_of(points, weights)) for axis in (0, 1)], axis=-1)


def distances(prediction: ArrayLike, annotations: ArrayLike) -> FloatArray:
    """Euclidean distances (n, m) of points (n, 2) to annotations (n, m, 2), in fractions of the photo's sides."""
    difference = np.asarray(prediction, dtype=np.float64)[..., None, :] - np.asarray(annotations, dtype=np.float64)
    return np.asarray(np.linalg.norm(difference, axis=-1))


def angles(prediction: ArrayLike, annotations: ArrayLike, eyes: ArrayLike) -> FloatArray:
    """Angles (n, m), radians in [0, pi], at the eyes (n, 2) between points (n, 2) and annotations (n, m, 2).

    In the plane of fractions: no angle of the world. A point on the eye itself has no direction: it counts as a right angle,
    neither towards the target nor away from it.
    """
    eye = np.asarray(eyes, dtype=np.float64)[..., None, :]
    ours = np.asarray(prediction, dtype=np.float64)[..., None, :] - eye
    theirs = np.asarray(annotations, dtype=np.float64) - eye
    cross = ours[..., 0] * theirs[..., 1] - ours[..., 1] * theirs[..., 0]
    dot = np.sum(ours * theirs, axis=-1)
    nowhere = np.all(ours == 0.0, axis=-1) | np.all(theirs == 0.0, axis=-1)
    return np.asarray(np.where(nowhere & ~np.isnan(dot), np.pi / 2.0, np.arctan2(np.abs(cross), dot)))


# --- decoding ---------------------------------------------------------------------------------------------------------


def _shifted(shift: float) -> Callable[[ArrayLike], FloatArray]:
    def decode(heatmaps: ArrayLike) -> FloatArray:
        maps = np.asarray(heatmaps)
        row, column = _largest(maps)
        return np.stack([(column + shift) / maps.shape[2], (row + shift) / maps.shape[1]], axis=-1)

    return decode


def _largest(maps: NDArray[np.generic]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    row, column = np.divmod(np.argmax(maps.reshape(len(maps), -1), axis=1), maps.shape[2])
    return row, column


def dark(heatmaps: ArrayLike) -> FloatArray:
    """Points (n, 2) decoded as ViTGaze does; see *Decoding* above. The arg-max within 2 cells of an edge is not moved."""
    import cv2
    from scipy.ndimage import convolve1d

    maps = np.asarray(heatmaps, dtype=np.float64)
    height, width = maps.shape[1:]
    row, column = _largest(maps)
    kernel = cv2.getGaussianKernel(DARK_KERNEL, 0)[:, 0]
    blurred = convolve1d(convolve1d(maps, kernel, axis=1, mode="constant"), kernel, axis=2, mode="constant")
    highest = np.max(blurred, axis=(1, 2))
    scale = np.max(maps, axis=(1, 2)) / np.where(highest > 0.0, highest, 1.0)  # of nothing there is nothing to move
    log = np.log(np.maximum(blurred * scale[:, None, None], DARK_FLOOR))
    inner = np.flatnonzero((column > 1) & (column < width - 2) & (row > 1) & (row < height - 2))

    def at(down: int, right: int) -> FloatArray:
        return np.asarray(log[inner, row[inner] + down, column[inner] + right])

    dx, dy = 0.5 * (at(0, 1) - at(0, -1)), 0.5 * (at(1, 0) - at(-1, 0))
    dxx = 0.25 * (at(0, 2) - 2.0 * at(0, 0) + at(0, -2))
    dyy = 0.25 * (at(2, 0) - 2.0 * at(0, 0) + at(-2, 0))
    dxy = 0.25 * (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1))
    determinant = dxx * dyy - dxy**2
    solvable = determinant != 0.0
    safe = np.where(solvable, determinant, 1.0)
    moved = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1) / safe[:, None]
    cells = np.stack([column, row], axis=-1).astype(np.float64)
    cells[inner] += np.where(solvable[:, None], moved, 0.0)
    return cells / (width, height)


DECODERS: dict[str, Callable[[ArrayLike], FloatArray]] = {
    "centre": _shifted(0.5),
    "corner": _shifted(0.0),
    "far-corner": _shifted(1.0),
    "dark": dark,
}


# --- area under the ROC curve -----------------------------------------------------------------------------------------


def cells_of(annotations: ArrayLike, height: int, width: int) -> NDArray[np.intp]:
    """Row and column (n, m, 2) of the pixel that each annotation (n, m, 2) lies in: floor(y H), floor(x W), on the photo."""
    cells = np.floor(np.asarray(annotations, dtype=np.float64)[..., ::-1] * (height, width))
    return np.asarray(np.clip(np.nan_to_num(cells), 0, (height - 1, width - 1)), dtype=np.intp)


def multi_hot(cells: NDArray[np.intp], weights: FloatArray, height: int, width: int) -> NDArray[np.bool_]:
    """Maps (n, H, W) of the cells (n, m, 2: row, column) of positive weight (n, m)."""
    maps = np.zeros((len(cells), height, width), dtype=np.bool_)
    person, slot = np.nonzero(weights > 0.0)
    row, column = np.moveaxis(cells[person, slot], -1, 0)
    maps[person, row, column] = True
    return maps


def auc_of(values: NDArray[np.generic], positives: NDArray[np.intp]) -> float:
    """Area under the ROC curve of flat ``values`` with the given ones positive, ties half; NaN if all or none is positive.

    The Mann-Whitney statistic: a positive pixel beats those below it and half of those that equal it. Counted over all
    pixels, the pairs of positives among themselves add half the square of their number, whatever their order.
    """
    flat = values.reshape(-1)
    k, rest = len(positives), flat.size - len(positives)
    if not k or not rest:
        return float("nan")
    at = flat[positives]
    below = sum(int(np.count_nonzero(flat < value)) for value in at)
    equal = sum(int(np.count_nonzero(flat == value)) for value in at)
    return (below + equal / 2.0 - k * k / 2.0) / (k * rest)


def auc_of_regions(maps: NDArray[np.generic], positive: NDArray[np.bool_]) -> FloatArray:
    """Area under the ROC curve (n,) of maps (n, H, W) with many positive cells (n, H, W); ties half."""
    from scipy.stats import rankdata

    n = len(maps)
    chosen = positive.reshape(n, -1)
    ranks = rankdata(maps.reshape(n, -1), axis=1)
    right = np.count_nonzero(chosen, axis=1)
    wrong = chosen.shape[1] - right
    with np.errstate(invalid="ignore"):
        return np.asarray((np.sum(ranks * chosen, axis=1) - right * (right + 1) / 2.0) / (right * wrong))
