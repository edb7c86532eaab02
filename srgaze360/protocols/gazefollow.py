"""The ``gazefollow`` protocol: gaze following in photos with several annotators, as on GazeFollow's test split.

Task
----
Given a photo and the head of a person in it, say where in the photo that person looks: a point, optionally a heatmap. The truth
is the points of up to some twenty annotators. All targets are inside the photo, so there is no in-frame metric.

Conventions
-----------
Those of :mod:`srgaze360.protocols.planar`: points in fractions of the photo's sides, heatmaps (n, H, W). ``eyes`` (n, 2) are
where the person's eyes are, for the angle alone.

Metrics
-------
"Avg. distance" means two things in the literature, and a table that mixes them compares nothing. Here both have a name of their
own, and always stand side by side with the third:

* ``distance_to_mean``: to the mean annotation (Lian et al. 2018, Chong et al. 2020 and all later code: "Avg L2"). The mean of
  the annotations themselves has 0.
* ``distance_mean``: the mean of the distances to the annotations (what reproduces the "Dist." of Recasens et al., NeurIPS 2015,
  for their trivial rows). The mean of the annotations has 0.077 on GazeFollow's test split: nobody can have 0.
* ``distance_min``: to the nearest annotation.
* ``angle_to_mean_deg``, ``angle_mean_deg``: the angle at the eye to the mean annotation, and the mean of those to each.
* ``auc``: area under the ROC curve of the heatmap at the photo's size, positive where a pixel holds an annotation.

Compatibility
-------------
``compat`` of :func:`evaluate` follows the code of a publication where it differs, bug for bug (:data:`COMPAT`), so that a
heatmap gets the number that code would give. The point is then decoded from the heatmap, as all of that code does; without
``compat`` the predicted point is scored. None of them differs in how the distances are taken.

==========  ================  =====================================================================================
compat      decoding          AUC
==========  ================  =====================================================================================
lian        corner            heatmap at 5 x 5; ``code/cal_auc.py`` of svip-lab/GazeFollowing
chong       corner            photo size, by Pillow from 256 grey levels between minimum and maximum (the former
                              ``scipy.misc.imresize``); ``eval_on_gazefollow.py`` of ejcgt/attention-target-detection
gazelle     corner            photo size, bilinear; ``gazelle/utils.py`` of fkryan/gazelle (PaGE: the same)
vitgaze     dark              photo size, by Pillow (smoothing where the photo is smaller than the heatmap);
                              ``tools/eval_on_gazefollow.py`` of hustvl/ViTGaze with ``--use_dark_inference``
sharingan   far-corner        heatmap's own size, pixel floor(x (W - 1)); ``src/metrics.py`` of idiap/sharingan
==========  ================  =====================================================================================

Two details of ``lian`` are kept as well: its angle adds 1e-6 to the product of lengths before the arc cosine, so that a perfect
direction has an angle above 0. On the same heatmaps the AUC of ``chong`` can be 0.05 below the others: 256 levels make ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.errors import InputError
from srgaze360.protocols import planar
from srgaze360.protocols.checks import check_compat, point_faults, size_faults
from srgaze360.protocols.ragged import smallest, weighted_mean, weights_of
from srgaze360.protocols.spherical import Evaluation, Metric
from srgaze360.sphere import FloatArray

VERSION = "1.0.0"

Compat = Literal["lian", "chong", "gazelle", "vitgaze", "sharingan"]
COARSE_GRID = 5
LIAN_EPSILON = 1e-6
_CHUNK = 512  # maps ranked together: a few megabytes at 64 x 64


def _fraction(description: str) -> Metric:
    return Metric("fraction of the photo's sides", "lower", "mean over samples", "direction", description)


def _degrees(description: str) -> Metric:
    return Metric("deg", "lower", "mean over samples", "direction", description)


METRICS: dict[str, Metric] = {
    "distance_to_mean": _fraction("distance to the mean annotation; the primary metric"),
    "distance_mean": _fraction("mean distance to the annotations of the person"),
    "distance_min": _fraction("distance to the nearest annotation of the person"),
    "angle_to_mean_deg": _degrees("angle at the eye to the mean annotation"),
    "angle_mean_deg": _degrees("mean angle at the eye to the annotations of the person"),
    "auc": Metric("fraction", "higher", "mean over samples", "heatmap", "area under the ROC curve, positive pixels annotated"),
}


# --- input ------------------------------------------------------------------------------------------------------------


def validate(
    prediction: ArrayLike | None,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    eyes: ArrayLike | None = None,
    heatmaps: ArrayLike | None = None,
    image_sizes: ArrayLike | None = None,
    compat: str | None = None,
) -> None:
    """Check the input of :func:`evaluate` and report every fault at once.

    Raises
    ------
    InputError
        Shapes that do not fit; points that are not finite; annotations outside [0, 1]; heatmaps with negative, NaN or infinite
        values; an unknown ``compat``, or one without the heatmaps it decodes; with counts and the first indices.
    """
    check_compat("gazefollow", compat, get_args(Compat))
    faults = point_faults(prediction, annotations, weights, eyes, heatmaps, compat)
    if image_sizes is not None:
        faults += size_faults(image_sizes, len(np.asarray(annotations)))
    if heatmaps is not None and image_sizes is None and compat not in ("lian", "sharingan"):
        faults.append("the AUC is taken at the photos' sizes, and image_sizes is missing")
    if faults:
        raise InputError(f"The gazefollow protocol cannot score this: {'; '.join(faults)}. Correct the arrays and score again.")


# --- metrics of points ------------------------------------------------------------------------------------------------


def distance_to_mean(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Distance (n,), fractions, of points (n, 2) to the mean of annotations (n, m, 2)."""
    return planar.distances(prediction, planar.mean_annotation(annotations, weights)[:, None])[:, 0]


def distance_mean(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Mean (n,), fractions, of the distances of points (n, 2) to annotations (n, m, 2)."""
    truth = np.asarray(annotations, dtype=np.float64)
    return weighted_mean(planar.distances(prediction, truth), weights_of(truth, weights))


def distance_min(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Smallest (n,), fractions, of the distances of points (n, 2) to annotations (n, m, 2)."""
    truth = np.asarray(annotations, dtype=np.float64)
    return smallest(planar.distances(prediction, truth), weights_of(truth, weights))


def angle_to_mean(
    prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, eyes: ArrayLike
) -> FloatArray:
    """Angle (n,), radians, at the eyes (n, 2) between points (n, 2) and the mean of annotations (n, m, 2)."""
    return planar.angles(prediction, planar.mean_annotation(annotations, weights)[:, None], eyes)[:, 0]


def angle_mean(
    prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, eyes: ArrayLike
) -> FloatArray:
    """Mean (n,), radians, of the angles at the eyes (n, 2) between points (n, 2) and annotations (n, m, 2)."""
    truth = np.asarray(annotations, dtype=np.float64)
    return weighted_mean(planar.angles(prediction, truth, eyes), weights_of(truth, weights))


def _angle_of_lian(
    prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, eyes: ArrayLike
) -> FloatArray:
    """Angle (n,), radians, to the mean annotation as ``test_gazefollow.py`` of Lian et al. takes it."""
    ours = np.asarray(prediction, dtype=np.float64) - np.asarray(eyes, dtype=np.float64)
    theirs = planar.mean_annotation(annotations, weights) - np.asarray(eyes, dtype=np.float64)
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    return np.asarray(np.arccos(np.clip(np.sum(ours * theirs, axis=-1) / (lengths + LIAN_EPSILON), -1.0, 1.0)))


# --- AUC --------------------------------------------------------------------------------------------------------------


def auc(heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, image_sizes: ArrayLike) -> FloatArray:
    """Area under the ROC curve (n,), in [0, 1], of heatmaps (n, H, W) at the photos' sizes (n, 2: height, width).

    Pixels that hold an annotation are positive, each once however many it holds; ties count half.
    """
    return _at_photo_size(planar.resized, heatmaps, annotations, weights, image_sizes)


def auc_on_grid(
    heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, grid: int | None = COARSE_GRID
) -> FloatArray:
    """Area under the ROC curve (n,) of heatmaps (n, H, W) resampled to a square grid (None: their own), as in :func:`auc`."""
    maps = np.asarray(heatmaps) if grid is None else planar.resized(heatmaps, grid, grid)
    return _auc_of_cells(maps, planar.cells_of(annotations, *maps.shape[1:]), annotations, weights)


def _auc_of_cells(
    maps: NDArray[np.generic], cells: NDArray[np.intp], annotations: ArrayLike, weights: ArrayLike | None
) -> FloatArray:
    w = weights_of(np.asarray(annotations, dtype=np.float64), weights)
    parts = [slice(start, start + _CHUNK) for start in range(0, len(maps), _CHUNK)]
    return np.concatenate(
        [planar.auc_of_regions(maps[part], planar.multi_hot(cells[part], w[part], *maps.shape[1:])) for part in parts]
    )


def _at_photo_size(
    resize: Callable[[NDArray[np.generic], int, int], NDArray[np.generic]],
    heatmaps: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None,
    image_sizes: ArrayLike,
) -> FloatArray:
    maps, truth, sizes = np.asarray(heatmaps), np.asarray(annotations, dtype=np.float64), np.asarray(image_sizes)
    w = weights_of(truth, weights)
    scores = np.full(len(maps), np.nan)
    for index in np.flatnonzero(np.any(w > 0.0, axis=1)):  # each is an image of hundreds of thousands of pixels
        height, width = (int(size) for size in sizes[index])
        row, column = np.moveaxis(planar.cells_of(truth[index][w[index] > 0.0], height, width), -1, 0)
        scores[index] = planar.auc_of(resize(maps[index], height, width), np.unique(row * width + column))
    return scores


def _by_pillow(heatmap: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    from PIL import Image

    return np.asarray(Image.fromarray(heatmap.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def _by_grey_levels(heatmap: NDArray[np.generic], height: int, width: int) -> NDArray[np.generic]:
    """As the former ``scipy.misc.imresize``: minimum to maximum as 0 to 255, rounded, then resized in 8 bits."""
    from PIL import Image

    values = heatmap.astype(np.float64)
    span = float(np.ptp(values)) or 1.0
    grey = (np.clip((values - values.min()) * (255.0 / span), 0.0, 255.0) + 0.5).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


def _auc_of_sharingan(
    heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, image_sizes: ArrayLike | None = None
) -> FloatArray:
    del image_sizes
    maps, truth = np.asarray(heatmaps), np.asarray(annotations, dtype=np.float64)
    height, width = maps.shape[1:]
    cells = np.nan_to_num(np.floor(truth[..., ::-1] * (height - 1, width - 1))).astype(np.intp)
    return _auc_of_cells(maps, cells, truth, weights)


def _auc_of_lian(
    heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, image_sizes: ArrayLike | None = None
) -> FloatArray:
    del image_sizes
    return auc_on_grid(heatmaps, annotations, weights)


def _auc_by(resize: Callable[[NDArray[np.generic], int, int], NDArray[np.generic]]) -> Callable[..., FloatArray]:
    def score(
        heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None, *, image_sizes: ArrayLike
    ) -> FloatArray:
        return _at_photo_size(resize, heatmaps, annotations, weights, image_sizes)

    return score


class CodeBase(NamedTuple):
    """How a publication's code differs: a key of :data:`srgaze360.protocols.planar.DECODERS`, its AUC, its angle."""

    decoder: str
    auc: Callable[..., FloatArray]
    angle_to_mean: Callable[..., FloatArray] = angle_to_mean


COMPAT: dict[Compat, CodeBase] = {
    "lian": CodeBase("corner", _auc_of_lian, _angle_of_lian),
    "chong": CodeBase("corner", _auc_by(_by_grey_levels)),
    "gazelle": CodeBase("corner", auc),
    "vitgaze": CodeBase("dark", _auc_by(_by_pillow)),
    "sharingan": CodeBase("far-corner", _auc_of_sharingan),
}
_OURS = CodeBase("centre", auc)


# --- everything at once -----------------------------------------------------------------------------------------------


def evaluate(
    prediction: ArrayLike | None,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    eyes: ArrayLike | None = None,
    heatmaps: ArrayLike | None = None,
    image_sizes: ArrayLike | None = None,
    compat: Compat | None = None,
) -> Evaluation:
    """Score points and heatmaps with every metric that the input allows.

    Parameters
    ----------
    prediction
        Points (n, 2), fractions of the photo's sides; may lie outside the photo. Not used with ``compat``, which decodes.
    annotations, weights
        Points (n, m, 2) in [0, 1] and their weights (n, m), 0 where there is none; all 1 by default.
    eyes
        Points (n, 2); without them there are no angles.
    heatmaps
        Values (n, H, W) on the photo, finite and 0 or more; without them there is no AUC.
    image_sizes
        Heights and widths (n, 2) of the photos, pixels, for the AUC.
    compat
        A code base to follow, see *Compatibility* above.

    Returns
    -------
    Evaluation
        Scores under the names of :data:`METRICS`; metrics whose input is missing are absent.

    Raises
    ------
    InputError
        See :func:`validate`.
    """
    validate(prediction, annotations, weights, eyes=eyes, heatmaps=heatmaps, image_sizes=image_sizes, compat=compat)
    code = _OURS if compat is None else COMPAT[compat]
    point = np.asarray(prediction if compat is None else planar.DECODERS[code.decoder](np.asarray(heatmaps)), dtype=np.float64)
    truth = np.asarray(annotations, dtype=np.float64)
    scores = {
        "distance_to_mean": distance_to_mean(point, truth, weights),
        "distance_mean": distance_mean(point, truth, weights),
        "distance_min": distance_min(point, truth, weights),
    }
    if eyes is not None:
        scores["angle_to_mean_deg"] = np.degrees(code.angle_to_mean(point, truth, weights, eyes=eyes))
        scores["angle_mean_deg"] = np.degrees(angle_mean(point, truth, weights, eyes=eyes))
    if heatmaps is not None:
        scores["auc"] = code.auc(np.asarray(heatmaps), truth, weights, image_sizes=image_sizes)
    return Evaluation(scores, {})


def human(
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    eyes: ArrayLike | None = None,
    grid: int = COARSE_GRID,
    leave_out: bool = True,
) -> dict[str, FloatArray]:
    """Score each annotation as a prediction of the others, and average over the annotations of the person.

    Parameters
    ----------
    annotations, weights, eyes
        As for :func:`evaluate`.
    grid
        Side of the square grid of the AUC; its score map falls with the distance to the annotation that predicts.
    leave_out
        False compares each annotation with all, itself included, which flatters the annotators: the nearest annotation to it
        is then itself. Published human rows agree better with that.

    Returns
    -------
    dict
        Arrays (n,) under the names of :data:`METRICS`; NaN for people who have nobody to compare with.
    """
    truth = np.asarray(annotations, dtype=np.float64)
    w = weights_of(truth, weights)
    n, m = w.shape
    names = [name for name in METRICS if eyes is not None or not name.startswith("angle")]
    scores = {name: np.full((n, m), np.nan) for name in names}
    for j in range(m):
        rows = np.flatnonzero(w[:, j] > 0.0)
        others = (w * (np.arange(m) != j) if leave_out else w)[rows]
        at = None if eyes is None else np.asarray(eyes)[rows]
        found = evaluate(truth[rows, j], truth[rows], others, eyes=at).per_sample
        found["auc"] = auc_on_grid(distance_map(truth[rows, j], grid), truth[rows], others, grid=None)
        for name in names:
            scores[name][rows, j] = found[name]
    return {name: weighted_mean(values, np.where(np.isnan(values), 0.0, w)) for name, values in scores.items()}


def distance_map(points: ArrayLike, grid: int) -> FloatArray:
    """Score maps (n, grid, grid) that fall with the distance from points (n, 2) to the centres of cells; 0 or more."""
    centres = (np.arange(grid) + 0.5) / grid
    x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    return np.asarray(2.0 - np.hypot(centres[None, None, :] - x[:, None, None], centres[None, :, None] - y[:, None, None]))
