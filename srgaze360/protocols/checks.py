"""What every protocol asks of its input: directions that are unit vectors, weights, heatmaps; faults are said all at once.

Each function returns faults as clauses of one sentence, with how many and the first indices; none is an empty list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.errors import first_ids
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
    elif weights is not None and np.shape(weights) != annotations.shape[:2]:
        faults.append(f"weights must have the shape {annotations.shape[:2]} of the annotations, found {np.shape(weights)}")
    else:
        w = weights_of(annotations, weights)
        faults += counted("samples have weights that are negative or not finite", ~np.all((w >= 0.0) & np.isfinite(w), axis=1))
        off = np.any((w > 0.0) & ~_is_unit(annotations), axis=1)
        faults += counted("samples have annotations that are not unit vectors (those left out need weight 0)", off)
    return faults


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
