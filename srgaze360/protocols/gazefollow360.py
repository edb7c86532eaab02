"""The ``gazefollow360`` protocol: numbers that can stand beside those published on GazeFollow360. Legacy: not for ranking.

Task
----
As in :mod:`srgaze360.protocols.spherical`, but what is scored is the heatmap, by the definitions of published code. These are
planar: they squash the panorama into a square, cut it at the seam, stretch it towards the poles, and take the corner of a cell
for its place. The ``spherical`` protocol has none of that; this one has it on purpose, each variant under a name of its own.

Conventions
-----------
Heatmaps (n, H, W) are values on the image plane of the panorama, 0 or more, at any scale, of any size; densities per steradian
are taken as they are. Resampling is bilinear with half-pixel centres and replicated edges, without smoothing and without
wrapping at the seam: ``cv2.resize``, and torch's ``interpolate``. The truth is one direction per sample, the consensus of its
annotations (n, m, 3), as GazeFollow360 has one annotation per person; samples without one are NaN. Functions return radians
or fractions (n,) in float64.

Metrics
-------
Distance (Li et al., ICCV 2021: "spherical distance"): the great-circle angle between the truth and the arg-max of the heatmap
on a grid, ties to the first cell by rows. How the paper decoded is not known; public code resamples to ``64`` or ``56`` cells a
side and divides the index by that number, which is the upper left ``corner`` of the cell. ``centre`` adds the half cell that
this leaves out. ``own`` is the grid of the heatmap itself. ``distance_point_rad`` uses no heatmap: it is the predicted
direction's distance. The primary metric is that of the 64 x 64 grid, cell corner (Chong et al., CVPR 2020, decode so too).

AUC: ``auc_box_64`` compares the heatmap at 64 x 64 with a Gaussian of standard deviation 3 cells around the target's cell,
drawn as far as 3 standard deviations and counted positive wherever it is above 0 (``eval_on_videoatttarget.py`` of Chong et
al.): a box of 19 x 19 cells, 8.8 % of the image, cut at its edges. ``auc_onehot_full`` brings the heatmap to the size of the
panorama and has one positive pixel (test code of GazeFollow). The same predictions of one public re-implementation got 0.780
under the first and 0.867 under the second.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.protocols.checks import direction_faults, heatmap_faults, size_faults
from srgaze360.protocols.planar import auc_of_regions, between, resized
from srgaze360.protocols.ragged import consensus
from srgaze360.protocols.spherical import Evaluation, Metric
from srgaze360.sphere import BoolArray, FloatArray

VERSION = "1.0.0"

GRIDS = (64, 56)
BOX_GRID = 64
BOX_REACH = 9  # cells on each side: 3 standard deviations of 3 cells
Place = Literal["corner", "centre"]
_BLOCK_CELLS = 1 << 18  # pixels of an enlarged heatmap worked on at a time: fits the cache


def _distance(description: str) -> Metric:
    return Metric("rad", "lower", "mean over samples", "heatmap", f"great-circle distance of {description}")


METRICS: dict[str, Metric] = {
    **{
        f"distance_{grid}_{place}_rad": _distance(f"the arg-max at {grid} x {grid}, decoded at the cell's {place}{note}")
        for grid, place, note in (
            (64, "corner", "; the primary metric"),
            (64, "centre", ""),
            (56, "corner", ""),
            (56, "centre", ""),
        )
    },
    "distance_own_centre_rad": _distance("the arg-max on the heatmap's own grid, decoded at the cell's centre"),
    "distance_point_rad": Metric(
        "rad", "lower", "mean over samples", "direction", "great-circle distance of the predicted direction, without a heatmap"
    ),
    "auc_box_64": Metric(
        "fraction", "higher", "mean over samples", "heatmap", "area under the ROC curve at 64 x 64, positives in a 19 x 19 box"
    ),
    "auc_onehot_full": Metric(
        "fraction", "higher", "mean over samples", "heatmap", "area under the ROC curve at image size, one positive pixel"
    ),
}


# --- input ------------------------------------------------------------------------------------------------------------


def validate(
    prediction: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    heatmaps: ArrayLike | None = None,
    image_sizes: ArrayLike | None = None,
) -> None:
    """Check the input of :func:`evaluate` and report every fault at once.

    Raises
    ------
    InputError
        No heatmaps; shapes that do not fit; directions that are not unit vectors; heatmaps with negative, NaN or infinite
        values; sizes below one pixel; with counts and the first indices.
    """
    prediction, annotations = np.asarray(prediction, dtype=np.float64), np.asarray(annotations, dtype=np.float64)
    n = len(prediction) if prediction.ndim else 0
    if heatmaps is None:
        faults = ["there are no heatmaps, and it decodes the arg-max of heatmaps (the spherical protocol needs none)"]
    else:
        faults = heatmap_faults(np.asarray(heatmaps), n)
    faults += direction_faults(prediction, annotations, weights)
    if image_sizes is not None:
        faults += size_faults(image_sizes, n)
    if faults:
        raise InputError(
            f"The gazefollow360 protocol cannot score this: {'; '.join(faults)}. Correct the arrays and score again."
        )


# --- cells ------------------------------------------------------------------------------------------------------------


def _pixel_of(directions: FloatArray, height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column (n,) of the pixel that directions (n, 3) fall in."""
    pixel = np.floor(sphere.pixel_from_direction(directions, width, height)).astype(np.intp)
    return np.minimum(pixel[:, 1], height - 1), np.minimum(pixel[:, 0], width - 1)


# --- metrics ----------------------------------------------------------------------------------------------------------


def distance(
    heatmaps: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    grid: int | None = 64,
    place: Place = "corner",
) -> FloatArray:
    """Great-circle distance (n,), radians in [0, pi], of the decoded arg-max of heatmaps (n, H, W) to the consensus.

    ``grid`` is the side of the square the heatmap is resampled to first, None its own grid; ``place`` is the point of the
    largest cell that is taken for the prediction. NaN where there is no consensus.
    """
    maps = np.asarray(heatmaps) if grid is None else resized(heatmaps, grid, grid)
    height, width = maps.shape[-2:]
    row, column = np.divmod(np.argmax(maps.reshape(len(maps), -1), axis=1), width)
    shift = 0.0 if place == "corner" else 0.5
    decoded = sphere.direction_from_pixel(np.stack([column + shift, row + shift], axis=-1), width, height)
    return sphere.angle_between(decoded, consensus(annotations, weights))


def box_cells(directions: ArrayLike) -> BoolArray:
    """Cells (n, 64, 64) of the 19 x 19 box around the cell that directions (n, 3) fall in, cut at the image's edges."""
    row, column = _pixel_of(np.asarray(directions, dtype=np.float64), BOX_GRID, BOX_GRID)
    cells = np.arange(BOX_GRID)
    near_row, near_column = (np.abs(cells - at[:, None]) <= BOX_REACH for at in (row, column))
    return np.asarray(near_row[:, :, None] & near_column[:, None, :])


def auc_box(heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Area under the ROC curve (n,), in [0, 1], of heatmaps (n, H, W) at 64 x 64, positives :func:`box_cells`; ties half."""
    truth = consensus(annotations, weights)
    scores = np.full(len(truth), np.nan)
    known = np.flatnonzero(~np.isnan(truth).any(axis=-1))
    if known.size:
        positive = box_cells(truth[known])
        scores[known] = auc_of_regions(resized(np.asarray(heatmaps)[known], BOX_GRID, BOX_GRID), positive)
    return scores


def auc_onehot(
    heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, image_sizes: ArrayLike
) -> FloatArray:
    """Area under the ROC curve (n,), in [0, 1], of heatmaps (n, H, W) at the sizes (n, 2) of their panoramas, one positive.

    That is the share of the other pixels whose value is below that of the pixel which holds the consensus, ties half.
    """
    truth, maps, sizes = consensus(annotations, weights), np.asarray(heatmaps), np.asarray(image_sizes)
    scores = np.full(len(truth), np.nan)
    for index in np.flatnonzero(~np.isnan(truth).any(axis=-1)):  # each is an image of half a million pixels or more
        height, width = (int(size) for size in sizes[index])
        (row,), (column,) = _pixel_of(truth[index : index + 1], height, width)
        narrow = resized(maps[index], height, maps.shape[2])
        value = between(narrow[row], 0, width, slice(column, column + 1))[0]
        below = equal = 0
        rows = max(1, _BLOCK_CELLS // width)
        for start in range(0, height, rows):
            block = between(narrow[start : start + rows], 1, width)
            below += int(np.count_nonzero(block < value))
            equal += int(np.count_nonzero(block == value))
        # the positive pixel equals itself; a panorama of one pixel has nothing to tell it from
        scores[index] = (below + (equal - 1) / 2.0) / (height * width - 1) if height * width > 1 else np.nan
    return scores


# --- everything at once -----------------------------------------------------------------------------------------------


def evaluate(
    prediction: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    heatmaps: ArrayLike | None = None,
    image_sizes: ArrayLike | None = None,
) -> Evaluation:
    """Score heatmaps with every variant that the input allows.

    Parameters
    ----------
    prediction
        Directions (n, 3), for ``distance_point_rad`` alone.
    annotations, weights
        Directions (n, m, 3) and their weights (n, m), 0 where there is none; all 1 by default.
    heatmaps
        Values (n, H, W) on the panorama, finite and 0 or more; required.
    image_sizes
        Height and width (n, 2) of the panoramas, pixels; ``auc_onehot_full`` is absent without them.

    Returns
    -------
    Evaluation
        Scores under the names of :data:`METRICS`.

    Raises
    ------
    InputError
        See :func:`validate`.
    """
    validate(prediction, annotations, weights, heatmaps, image_sizes)
    maps, truth = np.asarray(heatmaps), np.asarray(annotations, dtype=np.float64)
    places: tuple[Place, ...] = ("corner", "centre")
    scores = {
        f"distance_{grid}_{place}_rad": distance(maps, truth, weights, grid=grid, place=place)
        for grid in GRIDS
        for place in places
    }
    scores["distance_own_centre_rad"] = distance(maps, truth, weights, grid=None, place="centre")
    scores["distance_point_rad"] = sphere.angle_between(np.asarray(prediction, dtype=np.float64), consensus(truth, weights))
    scores["auc_box_64"] = auc_box(maps, truth, weights)
    if image_sizes is not None:
        scores["auc_onehot_full"] = auc_onehot(maps, truth, weights, image_sizes=image_sizes)
    return Evaluation(scores, {})
