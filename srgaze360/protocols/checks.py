"""What protocols ask of their input: directions, points, weights, heatmaps, sizes, scores; faults are said all at once.

Functions named after faults return them as clauses of one sentence, with how many and the first indices; none is an empty list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.protocols.ragged import weights_of
from srgaze360.sphere import BoolArray, FloatArray


def counted(fault: str, bad: BoolArray) -> list[str]:
    """The fault, and of how many samples (n,) it is true; nothing if of none."""
    return [f"{np.count_nonzero(bad)} of {bad.size} {fault} (index {first_ids(np.flatnonzero(bad))})"] if np.any(bad) else []


def direction_faults(prediction: FloatArray, annotations: FloatArray, weights: ArrayLike | None) -> list[str]:
    """Faults of predictions (n, 3), annotations (n, m, 3) and their weights (n, m)."""
    n = len(prediction) if prediction.ndim else 0
    faults = []
    if prediction.ndim != 2 or prediction.shape[1:] != (3,) or n == 0:
        faults.append(f"predictions must be directions (n, 3) with n >= 1, found the shape {prediction.shape}")
    else:
        faults += counted("predictions are not unit vectors", ~_is_unit(prediction))
    if annotations.ndim != 3 or annotations.shape[-1] != 3 or len(annotations) != n:
        faults.append(f"annotations must be directions ({n}, m, 3), found the shape {annotations.shape}")
    else:
        unit = _is_unit(annotations)
        faults += annotation_faults(annotations, weights, unit, "annotations that are not unit vectors")
    return faults


def annotation_faults(annotations: FloatArray, weights: ArrayLike | None, good: BoolArray, fault: str) -> list[str]:
    """Faults of weights (n, m) of annotations (n, m, ...), and of those of positive weight that are not ``good`` (n, m)."""
    if weights is not None and np.shape(weights) != annotations.shape[:2]:
        return [f"weights must have the shape {annotations.shape[:2]} of the annotations, found {np.shape(weights)}"]
    w = weights_of(annotations, weights)
    faults = counted("samples have weights that are negative or not finite", ~np.all((w >= 0.0) & np.isfinite(w), axis=1))
    off = np.any((w > 0.0) & ~good, axis=1)
    return faults + counted(f"samples have {fault} (those left out need weight 0)", off)


def point_faults(
    prediction: ArrayLike | None,
    annotations: ArrayLike,
    weights: ArrayLike | None,
    eyes: ArrayLike | None,
    heatmaps: ArrayLike | None,
    compat: str | None,
) -> list[str]:
    """Faults of points (n, 2), annotations (n, m, 2), weights (n, m), eyes (n, 2) and heatmaps (n, H, W) on photos.

    Without ``compat`` the points are scored and must be there; with it they are decoded from the heatmaps, which must.
    """
    truth = np.asarray(annotations, dtype=np.float64)
    if truth.ndim != 3 or truth.shape[-1] != 2 or not len(truth):
        return [f"annotations must be points (n, m, 2) with n >= 1, found the shape {truth.shape}"]
    n = len(truth)
    inside = np.asarray(np.all((truth >= 0.0) & (truth <= 1.0), axis=-1))
    faults = annotation_faults(truth, weights, inside, "annotations outside [0, 1]")
    for name, given in (("predictions", prediction), ("eyes", eyes)):
        if given is None:
            continue
        points = np.asarray(given, dtype=np.float64)
        if points.shape != (n, 2):
            faults.append(f"{name} must be points ({n}, 2), found the shape {points.shape}")
        else:
            faults += counted(f"{name} are not finite", np.asarray(~np.isfinite(points).all(axis=1)))
    if heatmaps is not None:
        faults += heatmap_faults(np.asarray(heatmaps), n)
    elif compat is not None:
        faults.append(f"compat={compat} decodes heatmaps, and there are none")
    if compat is None and prediction is None:
        faults.append("there are no predicted points; only compat decodes them from heatmaps")
    return faults


def check_compat(protocol: str, compat: str | None, known: Sequence[str]) -> None:
    """Raise InputError where a protocol follows no code base of that name."""
    if compat is not None and compat not in known:
        raise InputError(f"Unknown compat {compat!r} of the {protocol} protocol. {suggestion(compat, known)}")


def size_faults(image_sizes: ArrayLike, n: int) -> list[str]:
    """Faults of image sizes (n, 2): whole numbers of one pixel or more."""
    sizes = np.asarray(image_sizes)
    if sizes.shape == (n, 2) and sizes.dtype.kind in "iu" and np.all(sizes >= 1):
        return []
    return [f"image sizes must be whole numbers (height, width), ({n}, 2), found {sizes.dtype} {sizes.shape}"]


def score_faults(in_frame_score: ArrayLike, n: int) -> list[str]:
    """Faults of in-frame scores (n,), which must be in [0, 1]."""
    score = np.asarray(in_frame_score, dtype=np.float64)
    if score.shape != (n,):
        return [f"in_frame_score must have the shape ({n},), found {score.shape}"]
    return counted("in_frame_score values are outside [0, 1] or NaN", ~((score >= 0.0) & (score <= 1.0)))


def heatmap_faults(maps: NDArray[np.generic], n: int) -> list[str]:
    """Faults of heatmaps (n, H, W), which must be finite and 0 or more."""
    if maps.ndim != 3 or len(maps) != n or 0 in maps.shape:
        return [f"heatmaps must have the shape ({n}, H, W), found {maps.shape}"]
    lowest, highest = np.min(maps, axis=(1, 2)), np.max(maps, axis=(1, 2))  # NaN passes through both
    return counted(
        "heatmaps hold NaN, infinity or negative values (logits need exp or softmax)", ~((lowest >= 0) & (highest < np.inf))
    )


def _is_unit(directions: FloatArray) -> BoolArray:
    return np.asarray(np.abs(np.linalg.norm(directions, axis=-1) - 1.0) <= 1e-6)
