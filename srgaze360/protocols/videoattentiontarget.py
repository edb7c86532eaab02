"""The ``videoattentiontarget`` protocol: gaze following in frames of video, with one annotation and targets out of frame.

Task
----
Given a frame and the head of a person in it, say where in the frame that person looks, and whether the target is in the frame
at all. Used on VideoAttentionTarget and ChildPlay; every row is a head in a frame, so long tracks weigh more.

Conventions
-----------
Those of :mod:`srgaze360.protocols.planar`. The truth is a point (n, 2) and ``in_frame`` (n,); the point of a row that is out of
frame may hold anything. Heatmaps (n, H, W) are brought to 64 x 64 first. Distance and AUC are over the rows in frame; average
precision is over all.

Metrics
-------
* ``distance``: to the annotation, fractions of the frame's sides; the primary metric.
* ``auc``: area under the ROC curve at 64 x 64. Positive is a square of 19 x 19 cells around the target (a Gaussian of 3 cells'
  standard deviation, drawn as far as 3 of them, wherever it is above 0), cut at the frame's edges.
* ``in_frame_ap``: average precision of the target being in the frame; scores at random have the share of rows in frame, 0.646
  on VideoAttentionTarget's test split.

Compatibility
-------------
``compat`` follows the code of a publication where it differs (:data:`COMPAT`); the point is then decoded from the heatmap.

==========  ==========  ==========================================================================================
compat      decoding    AUC
==========  ==========  ==========================================================================================
chong       corner      256 grey levels between minimum and maximum; ``eval_on_videoatttarget.py``
gazelle     corner      the square loses the frame's last row and column; ``vat_auc`` of ``gazelle/utils.py``
vitgaze     dark        a disk instead of the square: at most 9.49 cells from the target to a cell's index;
                        ``draw_labelmap_no_quant`` of ``data/data_utils.py``
sharingan   far-corner  as here
==========  ==========  ==========================================================================================

Not followed: the moving average of head boxes over a track, which several code bases take before they predict (it is input, not
scoring), and code that scores a random fifth of the rows or counts the targets out of frame as positive for the AP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.errors import InputError
from srgaze360.protocols import planar
from srgaze360.protocols.checks import check_compat, point_faults, score_faults
from srgaze360.protocols.spherical import Evaluation, Metric, in_frame_ap
from srgaze360.sphere import BoolArray, FloatArray

VERSION = "1.0.0"

Compat = Literal["chong", "gazelle", "vitgaze", "sharingan"]
GRID = 64
REACH = 9  # cells: 3 standard deviations of 3 cells
DISK = 90.0  # squared radius in cells: 10 variances of 3 cells' standard deviation

METRICS: dict[str, Metric] = {
    "distance": Metric(
        "fraction of the photo's sides",
        "lower",
        "mean over samples",
        "direction",
        "distance to the annotation; the primary metric",
    ),
    "auc": Metric(
        "fraction", "higher", "mean over samples", "heatmap", "area under the ROC curve at 64 x 64, 19 x 19 positive"
    ),
    "in_frame_ap": Metric("fraction", "higher", "over the set", "in_frame_score", "average precision of the target in frame"),
}


def validate(
    prediction: ArrayLike | None,
    target: ArrayLike,
    in_frame: ArrayLike,
    *,
    heatmaps: ArrayLike | None = None,
    in_frame_score: ArrayLike | None = None,
    compat: str | None = None,
) -> None:
    """Check the input of :func:`evaluate` and report every fault at once.

    Raises
    ------
    InputError
        Shapes that do not fit; points that are not finite; targets in frame outside [0, 1]; heatmaps with negative, NaN or
        infinite values; scores outside [0, 1]; an unknown ``compat``, or one without the heatmaps it decodes.
    """
    check_compat("videoattentiontarget", compat, get_args(Compat))
    points, inside = np.asarray(target, dtype=np.float64), np.asarray(in_frame)
    n = len(points) if points.ndim else 0
    if inside.shape != (n,) or inside.dtype != np.bool_:
        faults = [f"in_frame must be boolean, ({n},), found {inside.dtype} {inside.shape}"]
    else:
        faults = point_faults(prediction, points[:, None], inside[:, None].astype(float), None, heatmaps, compat)
    if in_frame_score is not None:
        faults += score_faults(in_frame_score, n)
    if faults:
        raise InputError(
            f"The videoattentiontarget protocol cannot score this: {'; '.join(faults)}. Correct the arrays and score again."
        )


def distance(prediction: ArrayLike, target: ArrayLike, in_frame: ArrayLike) -> FloatArray:
    """Distance (n,), fractions, of points (n, 2) to targets (n, 2); NaN where the target is out of frame."""
    found = planar.distances(prediction, np.asarray(target, dtype=np.float64)[:, None])[:, 0]
    return np.where(np.asarray(in_frame), found, np.nan)


# --- AUC --------------------------------------------------------------------------------------------------------------


def square(target: ArrayLike, *, last: int = GRID) -> BoolArray:
    """Cells (n, 64, 64) of the square around targets (n, 2), from 9 cells before to 9 behind; none at ``last`` or beyond."""
    at = np.asarray(target, dtype=np.float64) * GRID
    cells = np.arange(GRID)
    low, high = np.trunc(at - REACH)[..., None], np.minimum(np.trunc(at + REACH + 1), last)[..., None]
    near = (cells >= low) & (cells < high)
    return np.asarray(near[:, 1, :, None] & near[:, 0, None, :])


def disk(target: ArrayLike) -> BoolArray:
    """Cells (n, 64, 64) whose index is at most sqrt(90) cells from targets (n, 2)."""
    x, y = np.moveaxis(np.asarray(target, dtype=np.float64) * GRID, -1, 0)
    cells = np.arange(GRID)
    squared = (cells[None, None, :] - x[:, None, None]) ** 2 + (cells[None, :, None] - y[:, None, None]) ** 2
    return np.asarray(squared <= DISK)


def auc(
    heatmaps: ArrayLike, target: ArrayLike, in_frame: ArrayLike, *, region: Callable[[ArrayLike], BoolArray] = square
) -> FloatArray:
    """Area under the ROC curve (n,), in [0, 1], of heatmaps (n, H, W) at 64 x 64; ties half, NaN out of frame.

    ``region`` gives the positive cells (m, 64, 64) of targets (m, 2).
    """
    rows = np.flatnonzero(np.asarray(in_frame))
    scores = np.full(len(np.asarray(in_frame)), np.nan)
    if rows.size:
        maps = planar.resized(np.asarray(heatmaps)[rows], GRID, GRID)
        scores[rows] = planar.auc_of_regions(maps, region(np.asarray(target, dtype=np.float64)[rows]))
    return scores


def _cut_square(target: ArrayLike) -> BoolArray:
    return square(target, last=GRID - 1)


def _in_grey_levels(heatmaps: NDArray[np.generic]) -> NDArray[np.generic]:
    values = heatmaps.astype(np.float64)
    low, high = np.min(values, axis=(1, 2), keepdims=True), np.max(values, axis=(1, 2), keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray(np.floor((values - low) * (255.0 / span) + 0.5))


class CodeBase(NamedTuple):
    """How a publication's code differs: how it decodes, which cells are positive, and what it does to a heatmap first."""

    decoder: str
    region: Callable[[ArrayLike], BoolArray] = square
    prepare: Callable[[NDArray[np.generic]], NDArray[np.generic]] = np.asarray


COMPAT: dict[Compat, CodeBase] = {
    "chong": CodeBase("corner", prepare=_in_grey_levels),
    "gazelle": CodeBase("corner", region=_cut_square),
    "vitgaze": CodeBase("dark", region=disk),
    "sharingan": CodeBase("far-corner"),
}
_OURS = CodeBase("centre")


# --- everything at once -----------------------------------------------------------------------------------------------


def evaluate(
    prediction: ArrayLike | None,
    target: ArrayLike,
    in_frame: ArrayLike,
    *,
    heatmaps: ArrayLike | None = None,
    in_frame_score: ArrayLike | None = None,
    compat: Compat | None = None,
) -> Evaluation:
    """Score points, heatmaps and in-frame scores with every metric that the input allows.

    Parameters
    ----------
    prediction
        Points (n, 2), fractions of the frame's sides. Not used with ``compat``, which decodes the heatmaps.
    target, in_frame
        Annotated points (n, 2), and whether they are in the frame (n,).
    heatmaps
        Values (n, H, W) on the frame, finite and 0 or more; without them there is no AUC.
    in_frame_score
        Scores (n,) in [0, 1]; without them, or where no row is in frame, there is no average precision.
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
    validate(prediction, target, in_frame, heatmaps=heatmaps, in_frame_score=in_frame_score, compat=compat)
    code = _OURS if compat is None else COMPAT[compat]
    point = prediction if compat is None else planar.DECODERS[code.decoder](np.asarray(heatmaps))
    scores = {"distance": distance(np.asarray(point, dtype=np.float64), target, in_frame)}
    if heatmaps is not None:
        scores["auc"] = auc(code.prepare(np.asarray(heatmaps)), target, in_frame, region=code.region)
    over_set = {} if in_frame_score is None else {"in_frame_ap": in_frame_ap(in_frame, in_frame_score)}
    return Evaluation(scores, over_set)
