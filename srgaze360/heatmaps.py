"""Heatmaps on the equirectangular grid.

Conventions
-----------
A heatmap is a *density per steradian*, at any scale, on an equirectangular grid (..., H, W), row-major, row 0 at the zenith,
column 0 right of the seam at longitude -180 degrees; 64 x 128 unless said otherwise. The value of a cell belongs to its
centre. What a cell holds of the whole is its value times its exact solid angle
(:func:`srgaze360.sphere.cell_solid_angles`), so the most likely *direction* is the arg-max of the density itself.

Directions are unit vectors (..., 3), angles are in radians. All functions are vectorised over leading axes, compute in
float64, and give every map the same bits whatever stands beside it; they hold whole results in memory, so callers with
thousands of maps work through them in chunks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360 import sphere
from srgaze360.errors import InputError, first_ids
from srgaze360.sphere import BoolArray, FloatArray

HEIGHT = 64
WIDTH = 128
_BLOCK_CELLS = 1 << 17  # looked at together: a megabyte

IntArray = NDArray[np.intp]


def concentration(sigma: ArrayLike) -> FloatArray:
    """Concentration kappa = 1 / sigma^2 of the von Mises-Fisher distribution whose spread per axis is ``sigma`` (radians).

    The limit of small spreads (Mardia and Jupp, Directional Statistics, 2000, section 9.3.2); 5 degrees give 131.3.
    """
    sigma = np.asarray(sigma, dtype=np.float64)
    if not np.all((sigma > 0.0) & np.isfinite(sigma)):
        raise InputError(f"A spread must be positive and finite, in radians; found {sigma}. For a point use a one-hot map.")
    return np.asarray(1.0 / sigma**2)


def row_solid_angles(height: int, width: int) -> FloatArray:
    """Solid angle (H,), steradian, of one cell of each row: all cells of a row are alike."""
    return sphere.cell_solid_angles(width, height)[:, 0]


def cell_of(directions: ArrayLike, *, height: int = HEIGHT, width: int = WIDTH) -> tuple[IntArray, IntArray]:
    """Row (...) and column (...) of the cell that contains directions (..., 3), which must be finite."""
    pixels = sphere.pixel_from_direction(directions, width, height)
    column = np.floor(pixels[..., 0]).astype(np.intp)
    row = np.minimum(np.floor(pixels[..., 1]).astype(np.intp), height - 1)  # the nadir itself belongs to the last row
    return row, column


def cell_cosines(directions: ArrayLike, *, height: int = HEIGHT, width: int = WIDTH) -> FloatArray:
    """Cosine (..., H, W) of the angle between directions (..., 3) and every cell centre.

    The scalar product, with what depends on the column alone computed once per column. Angles below 1e-7 rad are not
    resolved, which is far below the size of a cell. NaN in, NaN out.
    """
    directions = np.asarray(directions, dtype=np.float64)
    lon, lat = sphere.cell_lonlat(width, height)
    x, y, z = (directions[..., axis, None] for axis in range(3))
    horizontal = x * np.sin(lon) + z * np.cos(lon)
    cosines = np.cos(lat)[:, None] * horizontal[..., None, :]
    cosines -= (y * np.sin(lat))[..., None]
    return np.asarray(cosines)


def cap_mask(centres: ArrayLike, radius: float, *, height: int = HEIGHT, width: int = WIDTH) -> BoolArray:
    """Cells (..., H, W) whose centre lies within ``radius`` (radians, boundary included) of ``centres`` (..., 3).

    All False around a centre that is NaN, and possibly so on a grid coarser than the cap.
    """
    return np.asarray(cell_cosines(centres, height=height, width=width) >= np.cos(radius))


def mark_caps(cells: BoolArray, centres: FloatArray, radius: float, maps: IntArray | None = None) -> None:
    """Set the cells (n, H, W) that :func:`cap_mask` says of centres (k, 3), without a NaN among them, and no other.

    ``maps`` (k,) says in which map each centre is, one in each by default. Only rows and columns that a cap can reach are
    looked at, with the same arithmetic: for caps of 10 degrees a fortieth of the cells, more near a pole.
    """
    height, width = cells.shape[1:]
    maps = np.arange(len(centres)) if maps is None else maps
    cell_lon, cell_lat = sphere.cell_lonlat(width, height)
    lat = sphere.lonlat_from_direction(centres)[1]
    row, column = cell_of(centres, height=height, width=width)
    down = math.ceil(radius / np.pi * height) + 1
    # a cap spans arcsin(sin radius / cos latitude) to either side, and all longitudes where it holds a pole
    holds_pole = np.abs(lat) + radius >= np.pi / 2.0
    span = np.arcsin(np.minimum(np.sin(radius) / np.where(holds_pole, 1.0, np.cos(lat)), 1.0))
    across = np.where(holds_pole, width, np.ceil(span / (2.0 * np.pi) * width).astype(np.intp) + 1)
    order = np.argsort(across)
    step = max(1, _BLOCK_CELLS // ((2 * down + 1) * width))
    for start in range(0, len(order), step):
        block = order[start : start + step]  # caps of about the same width
        rows = np.clip(row[block, None] + np.arange(-down, down + 1), 0, height - 1)  # at the poles some twice
        reach = min(int(across[block[-1]]), width // 2)
        columns = (column[block, None] + np.arange(-reach, reach + 1)) % width  # all of them where the cap goes round
        x, y, z = (centres[block, axis, None] for axis in range(3))
        horizontal = x * np.sin(cell_lon)[columns] + z * np.cos(cell_lon)[columns]
        cosines = np.cos(cell_lat)[rows][..., None] * horizontal[:, None, :]
        cosines -= (y * np.sin(cell_lat)[rows])[..., None]
        near = cosines >= np.cos(radius)
        places = ((maps[block, None] * height + rows) * width)[..., None] + columns[:, None, :]
        np.put(cells, places[near], True)


def von_mises_fisher(
    points: ArrayLike, kappa: float, weights: ArrayLike | None = None, *, height: int = HEIGHT, width: int = WIDTH
) -> FloatArray:
    """Mixture (..., H, W) of von Mises-Fisher densities around points (..., m, 3), integrating to 1 on the grid.

    Each component is exp(kappa (cos t - 1)) at angle t from its point, scaled so that the sum over cells of density times
    solid angle is 1. The largest exponent of a map is subtracted first: however large kappa, the map stays finite, and in the
    limit it is one-hot at the cell centre nearest to the point.

    Parameters
    ----------
    points
        Unit vectors (..., m, 3). Entries of weight 0 may hold anything, NaN included.
    kappa
        Concentration, positive; see :func:`concentration`.
    weights
        (..., m), 0 or more, for ragged sets and unequal mixtures; an equal mixture by default.

    Returns
    -------
    FloatArray
        Densities per steradian (..., H, W). A set of total weight 0 gives a map of NaN.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise InputError(f"Points of a mixture must have the shape (..., m, 3); found {points.shape}. Add an axis for m = 1.")
    if not (np.isfinite(kappa) and kappa > 0.0):
        raise InputError(f"The concentration kappa must be positive and finite; found {kappa}. It is 1 / sigma^2.")
    leading, m = points.shape[:-2], points.shape[-2]
    share = np.ones((*leading, m)) if weights is None else np.broadcast_to(np.asarray(weights, np.float64), (*leading, m))
    points, share = points.reshape(-1, m, 3), share.reshape(-1, m)
    if not np.all(share >= 0.0):
        raise InputError("Weights of points must be 0 or more; found negative ones or NaN. Use 0 to leave a point out.")
    if not np.all(np.isfinite(points[share > 0.0])):
        bad = np.flatnonzero(np.any((share > 0.0) & ~np.isfinite(points).all(axis=-1), axis=-1))
        raise InputError(
            f"Points of a mixture must be finite; found {bad.size} sets with NaN or infinity (index {first_ids(bad)}). "
            "Give points that are not there the weight 0."
        )

    total = np.sum(share, axis=-1)
    solid = row_solid_angles(height, width)
    maps = np.zeros((len(points), height, width))
    for j in range(m):  # ragged sets are mostly empty places: only the points that are there are drawn
        rows = np.flatnonzero(share[:, j] > 0.0)
        if not rows.size:
            continue
        component = cell_cosines(points[rows, j], height=height, width=width)
        component -= np.max(component, axis=(-2, -1), keepdims=True)
        component *= kappa
        np.exp(component, out=component)
        integral = np.sum(np.sum(component, axis=-1) * solid, axis=-1)
        component *= (share[rows, j] / total[rows] / integral)[:, None, None]
        maps[rows] += component
    maps[total == 0.0] = np.nan
    return maps.reshape(*leading, height, width)


def normalised(heatmaps: ArrayLike) -> FloatArray:
    """Scale heatmaps (..., H, W), 0 or more, to integrate to 1 over the sphere; a map of zeros becomes the uniform density.

    A map of zeros says nothing about the direction, and so does the uniform density.
    """
    maps = np.array(heatmaps, dtype=np.float64)
    maps /= np.maximum(np.max(maps, axis=(-2, -1), keepdims=True), np.finfo(np.float64).tiny)  # subnormal or huge scales
    integral = np.sum(np.sum(maps, axis=-1) * row_solid_angles(*maps.shape[-2:]), axis=-1)
    empty = integral == 0.0
    maps /= np.where(empty, 1.0, integral)[..., None, None]
    maps[empty] = 1.0 / (4.0 * np.pi)
    return maps


def decode_argmax(heatmaps: ArrayLike) -> FloatArray:
    """Direction (..., 3) of the centre of the largest cell of heatmaps (..., H, W).

    Ties go to the first cell in row-major order: the northernmost row, in it the column furthest to the left. A constant map
    is therefore decoded just below the zenith.

    Raises
    ------
    InputError
        A map holds NaN or +infinity.
    """
    maps = np.asarray(heatmaps)
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise InputError(f"Heatmaps must have the shape (..., H, W); found {maps.shape}. Squeeze the channel axis away.")
    height, width = maps.shape[-2:]
    cells = maps.reshape(*maps.shape[:-2], height * width)
    best = np.argmax(cells, axis=-1)
    peak = np.take_along_axis(cells, best[..., None], axis=-1)[..., 0]
    if not np.all(np.isfinite(peak)):
        bad = np.flatnonzero(~np.isfinite(peak))
        raise InputError(
            f"Heatmaps must be finite; {bad.size} of {peak.size} hold NaN or infinity (index {first_ids(bad)}). "
            "Look for overflow in float16, or for a division by zero where the maps were normalised."
        )
    return np.asarray(sphere.cell_directions(width, height).reshape(-1, 3)[best])
