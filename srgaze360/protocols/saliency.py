"""Metrics of heatmaps on the sphere: AUC, NSS, KLD, CC and SIM with every cell weighted by its exact solid angle.

Conventions
-----------
Heatmaps (n, H, W) are finite densities per steradian, 0 or more, at any scale (:mod:`srgaze360.heatmaps`). Annotations are
ragged sets of directions (:mod:`srgaze360.protocols.ragged`). Functions return an array (n,) in float64; a sample without
annotations is NaN. They hold their intermediate maps in memory: hand them thousands of maps in pieces, as
:func:`srgaze360.protocols.spherical.evaluate` does. A constant map says nothing and gets AUC 0.5, NSS 0 and CC 0; a map of
zeros counts as the uniform density. These definitions belong to the version of the ``spherical`` protocol.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.heatmaps import HEIGHT, WIDTH, cell_of, concentration, mark_caps, normalised, row_solid_angles, von_mises_fisher
from srgaze360.protocols.ragged import weighted_mean, weights_of
from srgaze360.sphere import BoolArray, FloatArray

POSITIVE_RADIUS = float(np.radians(10.0))
TRUTH_SIGMA = float(np.radians(5.0))
# Floor of both densities in KLD, relative to the uniform density: the customary one, made independent of the grid.
KLD_FLOOR = float(np.finfo(np.float64).eps)
_MAPS = 8  # maps counted together: a megabyte, which a processor's cache holds
_BLOCK = 32  # neighbouring values that are summed up together
_BELOW = np.tril(np.ones((_BLOCK, _BLOCK)), -1) + np.eye(_BLOCK) / 2.0  # row i: what counts as below the i-th of them


def positive_cells(
    annotations: ArrayLike, weights: ArrayLike | None = None, *, height: int = HEIGHT, width: int = WIDTH
) -> BoolArray:
    """Cells (n, H, W) that count as right for the AUC.

    Those whose centre lies within 10 degrees of any annotation, and those that contain an annotation: the latter add nothing
    on grids finer than 10 degrees, and see to it that on coarser ones there is a right cell at all.
    """
    annotations = np.asarray(annotations, dtype=np.float64)
    w = weights_of(annotations, weights)
    cells = np.zeros((len(annotations), height, width), dtype=np.bool_)
    sample, which = np.nonzero(w > 0.0)
    points = annotations[sample, which]
    mark_caps(cells, points, POSITIVE_RADIUS, sample)
    cells[sample, *cell_of(points, height=height, width=width)] = True
    return cells


def auc(heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Area under the ROC curve (n,), in [0, 1], of heatmaps (n, H, W) against annotations (n, m, 3).

    The probability that a cell drawn from :func:`positive_cells` has a higher value than one drawn from all others, ties
    counting half; both are drawn in proportion to solid angle. Only the order of values matters. NaN without annotations.
    """
    maps = np.asarray(heatmaps)
    return _weighted_auc(maps, positive_cells(annotations, weights, height=maps.shape[1], width=maps.shape[2]))


def _weighted_auc(maps: NDArray[np.generic], positive: BoolArray) -> FloatArray:
    """AUC (n,) of maps (n, H, W) for positive cells (n, H, W), cells weighted by solid angle.

    With W(< p) and W(= p) the weight of all cells below and at the value of a positive cell, the sum over positive cells of
    w_p (W(< p) + W(= p) / 2) counts the pairs of positive cells too, and their share is half the square of their weight
    whatever their order. So one cumulative sum over the sorted cells suffices, read at the ends of the tied runs that hold
    positive cells.
    """
    if maps.dtype == np.float16 and (bits := _ordered_bits(maps)) is not None:
        parts = [slice(start, start + _MAPS) for start in range(0, len(maps), _MAPS)]
        return np.concatenate([_auc_by_counting(bits[part], positive[part]) for part in parts])
    n, height, width = maps.shape
    cells = height * width
    # a cell is known by its row, which has its weight, and by whether it is positive
    code = (np.arange(height, dtype=np.int32)[:, None] << 1) + positive
    value, code = _sort_cells(maps.reshape(n, cells), code.reshape(n, cells))
    solid = np.repeat(row_solid_angles(height, width), 2)

    below = np.zeros((n, cells + 1))
    np.cumsum(solid[code], axis=1, out=below[:, 1:])
    change = np.ones((n, cells), dtype=np.bool_)
    np.not_equal(value[:, 1:], value[:, :-1], out=change[:, 1:])
    runs = np.append(np.flatnonzero(change), n * cells)
    at = np.flatnonzero(code & 1)
    run = np.searchsorted(runs, at, side="right") - 1
    sample = at // cells
    before = below[sample, runs[run] - sample * cells]
    upto = below[sample, runs[run + 1] - sample * cells]
    return _area(sample, solid[code.reshape(-1)[at]], (before + upto) / 2.0, below[:, -1], positive)


def _ordered_bits(maps: NDArray[np.generic]) -> NDArray[np.uint16] | None:
    """Float16 values (n, H, W) as whole numbers of equal order, -0 as 0; None where one is negative or not finite."""
    bits = np.ascontiguousarray(maps).view(np.uint16)
    if bits.size and bits.max() >= 0x7C00:
        bits = np.where(bits == 0x8000, np.uint16(0), bits)
    return bits if bits.size and bits.max() < 0x7C00 else None


def _auc_by_counting(bits: NDArray[np.uint16], positive: BoolArray) -> FloatArray:
    """AUC (n,) as :func:`_weighted_auc` of maps with few possible values: weights are counted by value, nothing is sorted.

    What lies below a value is what lies below its block of neighbouring values, and below it in the block: only the values of
    positive cells are asked for, so only blocks are summed up from the bottom.
    """
    n, height, width = bits.shape
    cells, blocks = height * width, int(bits.max()) // _BLOCK + 1
    solid = _cell_weights(height, width)
    places = (bits.reshape(n, cells) + np.arange(n)[:, None] * (blocks * _BLOCK)).reshape(-1)
    counted = np.bincount(places, weights=np.broadcast_to(solid, (n, cells)).reshape(-1), minlength=n * blocks * _BLOCK)
    by_block = counted.reshape(-1, _BLOCK)
    weight: FloatArray = np.einsum("ij->i", by_block)
    upto: FloatArray = np.cumsum(weight.reshape(n, blocks), axis=1)
    at = np.flatnonzero(positive)
    sample, cell = np.divmod(at, cells)
    block, value = np.divmod(places[at], _BLOCK)
    within = np.einsum("ij,ij->i", by_block[block], _BELOW[value])
    return _area(sample, solid[cell], upto.reshape(-1)[block] - weight[block] + within, upto[:, -1], positive)


@lru_cache(maxsize=8)
def _cell_weights(height: int, width: int) -> FloatArray:
    """Solid angle of every cell (H * W,), row by row."""
    weights = np.repeat(row_solid_angles(height, width), width)
    weights.setflags(write=False)
    return weights


def _area(
    sample: NDArray[np.intp], weight: FloatArray, below: FloatArray, total: FloatArray, positive: BoolArray
) -> FloatArray:
    """AUC (n,) from the positive cells: their map, their weight, the weight below their value with half of that at it; and all.

    ``total`` (n,) is the weight of all cells of a map.
    """
    n, cells = len(positive), positive.shape[1] * positive.shape[2]
    won = np.bincount(sample, weights=weight * below, minlength=n)
    right = np.bincount(sample, weights=weight, minlength=n)
    pairs = right * (total - right)
    # decided by counting: where all cells are positive, the difference of weights is 0 but for rounding
    possible = (right > 0.0) & (np.count_nonzero(positive, axis=(1, 2)) < cells)
    area = (won - right**2 / 2.0) / np.where(possible, pairs, 1.0)
    return np.where(possible, np.clip(area, 0.0, 1.0), np.nan)  # a perfect map may come out one rounding above 1


def _sort_cells(
    values: NDArray[np.generic], codes: NDArray[np.signedinteger]
) -> tuple[NDArray[np.generic], NDArray[np.signedinteger]]:
    """Sort values (n, cells) along rows and carry the codes along; the values may come back as integers of equal order.

    Sorting values with the codes packed in takes a third of the time of an indirect sort for float16, which is what files
    hold, and less memory for float32; wider values leave no room for the codes.
    """
    if values.dtype not in (np.float16, np.float32):
        order = np.argsort(values, axis=1)
        return np.take_along_axis(values, order, axis=1), np.take_along_axis(codes, order, axis=1)
    size, shift = 8 * values.dtype.itemsize, int(codes.max(initial=1)).bit_length()
    wide: type[np.signedinteger] = np.int32 if size + shift < 32 else np.int64
    packed: NDArray[np.signedinteger] = values.view(f"i{size // 8}").astype(wide)
    # floats are sign and magnitude, integers two's complement; -0 and 0 become equal
    sign = packed >> (size - 1)
    packed &= (1 << (size - 1)) - 1
    packed ^= sign
    packed -= sign
    packed <<= shift
    packed |= codes
    packed.sort(axis=1)
    return packed >> shift, packed & ((1 << shift) - 1)


def _moments(maps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Maps (n, H, W) less their mean over the sphere, and their standard deviation (n,): exactly 0 for constant maps."""
    share = row_solid_angles(*maps.shape[1:]) / (4.0 * np.pi)
    mean = np.sum(np.sum(maps, axis=2) * share, axis=1)
    deviation = maps - mean[:, None, None]
    variance = np.sum(np.sum(deviation**2, axis=2) * share, axis=1)
    constant = np.max(maps, axis=(1, 2)) == np.min(maps, axis=(1, 2))
    return deviation, np.where(constant, 0.0, np.sqrt(variance))


def nss(heatmaps: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Normalised scanpath saliency (n,) of heatmaps (n, H, W) at annotations (n, m, 3).

    The value of the cell that contains the annotation, less the mean of the map over the sphere, in units of its standard
    deviation over the sphere; mean over annotations. 0 for a constant map, NaN without annotations.
    """
    annotations = np.asarray(annotations, dtype=np.float64)
    w = weights_of(annotations, weights)
    deviation, spread = _moments(normalised(heatmaps))
    n, height, width = deviation.shape
    row, column = cell_of(np.where((w > 0.0)[..., None], annotations, 1.0), height=height, width=width)
    at = deviation[np.arange(n)[:, None], row, column] / np.where(spread > 0.0, spread, 1.0)[:, None]
    return weighted_mean(np.where((spread > 0.0)[:, None], at, 0.0), w)


def truth_density(
    annotations: ArrayLike, weights: ArrayLike | None = None, *, height: int = HEIGHT, width: int = WIDTH
) -> FloatArray:
    """Truth (n, H, W) for KLD, CC and SIM: mixture of von Mises-Fisher densities, spread 5 degrees, around annotations."""
    return von_mises_fisher(annotations, float(concentration(TRUTH_SIGMA)), weights, height=height, width=width)


def kld(heatmaps: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Kullback-Leibler divergence (n,), nats, 0 or more, of heatmaps (n, H, W) from truth densities (n, H, W).

    sum over cells of Q log((q + e) / (p + e)), with Q the truth's mass in the cell and q, p the densities relative to the
    uniform one. e = 2.2e-16 keeps it finite where the heatmap is 0: no worse than 36 nats above the uniform heatmap.
    """
    p, q = normalised(heatmaps), normalised(truth)
    p *= 4.0 * np.pi
    q *= 4.0 * np.pi
    share = row_solid_angles(*p.shape[1:]) / (4.0 * np.pi)
    return np.asarray(np.sum(np.sum(q * np.log((q + KLD_FLOOR) / (p + KLD_FLOOR)), axis=2) * share, axis=1))


def cc(heatmaps: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Pearson correlation (n,), in [-1, 1], of heatmaps and truth (n, H, W) over the sphere; 0 if either is constant."""
    (p, p_spread), (q, q_spread) = _moments(normalised(heatmaps)), _moments(normalised(truth))
    share = row_solid_angles(*p.shape[1:]) / (4.0 * np.pi)
    covariance = np.sum(np.sum(p * q, axis=2) * share, axis=1)
    spread = p_spread * q_spread
    return np.where(spread == 0.0, 0.0, covariance / np.where(spread == 0.0, 1.0, spread))


def sim(heatmaps: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Similarity (n,), in [0, 1]: sum over cells of the smaller of the two masses of heatmap and truth (n, H, W)."""
    p, q = normalised(heatmaps), normalised(truth)
    return np.asarray(np.sum(np.sum(np.minimum(p, q), axis=2) * row_solid_angles(*p.shape[1:]), axis=1))
