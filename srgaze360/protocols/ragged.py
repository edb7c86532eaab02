"""Ragged sets of annotations: every sample has its own number of them.

Conventions
-----------
Annotations are directions (n, m, 3) with weights (n, m), 0 or more: 0 where a sample has fewer than m (the direction may then
hold anything, NaN included), else 1; unequal weights weigh. ``None`` stands for weights of 1 throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from srgaze360 import sphere
from srgaze360.sphere import FloatArray


def weights_of(annotations: FloatArray, weights: ArrayLike | None) -> FloatArray:
    """Weights (n, m) of annotations (n, m, 3), or of points (n, m, 2)."""
    shape = annotations.shape[:-1]
    return np.ones(shape) if weights is None else np.broadcast_to(np.asarray(weights, dtype=np.float64), shape)


def weighted_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over the last axis of the values of positive weight; NaN where there is none."""
    total = np.sum(weights, axis=-1)
    summed = np.sum(np.where(weights > 0.0, values, 0.0) * weights, axis=-1)
    return np.where(total > 0.0, summed / np.where(total > 0.0, total, 1.0), np.nan)


def smallest(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Smallest over the last axis of the values of positive weight; NaN where there is none."""
    least = np.min(np.where(weights > 0.0, values, np.inf), axis=-1, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)


def consensus(annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Normalised vector mean (n, 3) of annotations (n, m, 3); NaN where it does not exist."""
    return sphere.spherical_mean(annotations, weights).direction
