"""Making a submission from a table of points and, if there are any, an array of heatmaps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from leaderboard.people import Labels, frame_of, key_of
from leaderboard.predicting import storable
from leaderboard.submissions import CheckReport, check_file
from srgaze360.errors import InputError
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, read_points, write_predictions

_CHUNK = 512  # heatmaps converted together: a few megabytes


def pack(
    points: Path, data: Labels, split: str, card: PredictorCard, out: Path, *, heatmaps: Path | None = None
) -> CheckReport:
    """Write a predictions file, with its header, if the predictions are without fault.

    Parameters
    ----------
    points
        CSV or JSON lines with ``sample_id``, the points of the data's frame (``gaze_lon_deg``, ``gaze_lat_deg`` on the sphere,
        ``gaze_x``, ``gaze_y`` in photos) and, if wanted, ``in_frame_score``.
    data, split
        What was predicted.
    card
        Who predicted.
    out
        Parquet file to write.
    heatmaps
        ``.npy`` array (n, H, W), row i for row i of ``points``, densities at any scale. Each is divided by its maximum, because
        float16 ends at 65504 and rounds to 0 below 6e-8.

    Returns
    -------
    CheckReport
        Of the file; it is written only if there are no faults.

    Raises
    ------
    InputError
        A file cannot be read, or heatmaps and points are not equally many.
    """
    if out.suffix != ".parquet":
        raise InputError(f"Expected a name that ends in .parquet for the packed file, found {out.name}. Rename it.")
    if out.is_dir():
        raise InputError(f"Expected a file at {out}, found a folder. Give another --out.")
    frame = frame_of(data)
    table = read_points(points, frame)
    maps = None if heatmaps is None else _scaled(_load(heatmaps, len(table)))
    header = PredictionHeader(dataset=key_of(data), split=split, predictor=card, frame=frame)
    if maps is not None:
        header = header.model_copy(update={"heatmap_shape": (maps.shape[1], maps.shape[2])})
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as place:
        packed = Path(place) / out.name
        write_predictions(packed, Predictions(header, table, maps))
        report = check_file(packed, data, split)
        if report.valid:
            packed.replace(out)
    return report


def _load(path: Path, rows: int) -> NDArray[np.floating]:
    try:
        with path.open("rb") as stream:
            np.lib.format.read_magic(stream)  # numpy reads zips of several arrays, too; those are none
        maps = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"Expected a .npy array of heatmaps at {path}, but it cannot be read: {error}. Save it again."
        ) from None
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or maps.dtype.kind != "f" or len(maps) != rows or not maps.size:
        found = f"{maps.dtype} {maps.shape}" if isinstance(maps, np.ndarray) else type(maps).__name__
        raise InputError(
            f"Expected floating-point heatmaps ({rows}, H, W) in {path}, one for each row of points, found {found}. Save one "
            "map per row, in the order of the points."
        )
    return maps


def _scaled(maps: NDArray[np.floating]) -> NDArray[np.float16]:
    """Heatmaps as they are stored, converted piece by piece: the array may be larger than memory in float64."""
    return np.concatenate([storable(maps[start : start + _CHUNK]) for start in range(0, len(maps), _CHUNK)])
