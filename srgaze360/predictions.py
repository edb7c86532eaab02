"""Predictions of gaze: the records that predictors write and scorers read.

Format
------
``predictions.parquet``: ``sample_id``, two columns of points, optional ``in_frame_score`` in [0, 1], optional ``heatmap``
(float16, row-major). The header's ``frame`` says where the points lie, as :data:`FRAMES` lists: on the ``sphere``
(``gaze_lon_deg, gaze_lat_deg``; heatmaps are equirectangular, densities per steradian at any scale) or in a ``photo``
(``gaze_x, gaze_y``, fractions of its sides; heatmaps are values on the photo at any scale). CSV and JSON lines are read for
points. The header is JSON under the Parquet key ``srgaze360``, or a file beside the predictions with ``.json`` added to its
name. Reading checks types; whether the predictions fit a dataset is the checker's business.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srgaze360 import sphere
from srgaze360.dataset import explain
from srgaze360.errors import InputError, first_ids
from srgaze360.files import atomic_path, read_json
from srgaze360.untrusted import open_parquet

HEADER_KEY = b"srgaze360"
FrameName = Literal["sphere", "photo"]
OPTIONAL_COLUMNS = ("in_frame_score",)
SUFFIXES = (".parquet", ".csv", ".jsonl")
MAX_BYTES = 4 * 2**30  # of a file, and of what is decoded from it
MAX_TEXT_BYTES = 2**30
MAX_HEADER_BYTES = 2**20
MAX_ROWS = 5_000_000
MAX_ID_LETTERS = 1000
MAX_NAME = 100  # letters of a predictor's name
MAX_COLUMNS = 1000
_BATCH_ROWS, _BATCH_CELLS = 2**13, 2**20  # read at a time: rows of points, cells of heatmaps
_ROW_BYTES = 64  # of the points of a row, about


class Frame(NamedTuple):
    """Where predictions lie: the two columns of their points, and the shape of heatmaps unless the header says otherwise."""

    points: tuple[str, str]
    heatmap_shape: tuple[int, int]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a table of points must have."""
        return ("sample_id", *self.points)


FRAMES: dict[FrameName, Frame] = {
    "sphere": Frame(("gaze_lon_deg", "gaze_lat_deg"), (64, 128)),
    "photo": Frame(("gaze_x", "gaze_y"), (64, 64)),
}
HEATMAP_SHAPE = FRAMES["sphere"].heatmap_shape
TEXT_COLUMNS = tuple(dict.fromkeys(name for frame in FRAMES.values() for name in (*frame.columns, *OPTIONAL_COLUMNS)))


class TrainingKey(BaseModel):
    """What a training has in common with others, and what it was restricted to.

    ``predictor`` is the registered name; ``digest`` is that of all that decides a training but its seed and its restriction:
    predictor, settings, dataset and split. ``where`` maps groupings of people to the values that were trained on
    (:mod:`srgaze360.groups`); empty for everybody of the split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    predictor: str = Field(min_length=1, max_length=MAX_NAME)
    digest: str
    where: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(default_factory=dict)


class PredictorCard(BaseModel):
    """What made the predictions: name, where it comes from, what it was trained on, and what it reads.

    ``training`` is that of a training run, None for a predictor that is not trained, or was trained elsewhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=MAX_NAME)
    summary: str = ""
    source: str = ""
    seed: int | None = None
    training_data: list[str] = Field(default_factory=list)
    training: TrainingKey | None = None
    reads: list[str] = Field(default_factory=list, description="annotation columns read beyond the panorama and the head")
    notes: str = ""


class DatasetKey(BaseModel):
    """Which dataset the predictions are for: its name, version and label digest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    digest: str


Side = Annotated[int, Field(ge=1, le=1 << 16)]  # of a heatmap, cells


class PredictionHeader(BaseModel):
    """Header of a predictions file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    dataset: DatasetKey
    split: str
    predictor: PredictorCard
    frame: FrameName = "sphere"
    heatmap_shape: tuple[Side, Side] = Field(default_factory=lambda data: FRAMES[data["frame"]].heatmap_shape)
    versions: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Predictions as read from a file: points by row, in the columns of their frame; heatmaps (n, H, W) float16 or None."""

    header: PredictionHeader
    table: pd.DataFrame
    heatmaps: NDArray[np.float16] | None = None

    @property
    def points(self) -> sphere.FloatArray:
        """Predicted points (n, 2) as they stand in the file: longitude and latitude in degrees, or fractions of a photo."""
        return self.table[list(FRAMES[self.header.frame].points)].to_numpy(dtype=np.float64)

    @property
    def directions(self) -> sphere.FloatArray:
        """Predicted directions (n, 3), of predictions on the sphere."""
        lonlat = np.radians(self.points)
        return sphere.direction_from_lonlat(lonlat[:, 0], lonlat[:, 1])


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a Parquet predictions file atomically."""
    table = pa.Table.from_pandas(predictions.table, preserve_index=False)
    if predictions.heatmaps is not None:
        cells = int(np.prod(predictions.header.heatmap_shape))
        flat = pa.array(np.ascontiguousarray(predictions.heatmaps, dtype=np.float16).reshape(-1))
        table = table.append_column("heatmap", pa.FixedSizeListArray.from_arrays(flat, cells))
    table = table.replace_schema_metadata({HEADER_KEY: predictions.header.model_dump_json().encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file: Parquet (by content), CSV or JSON lines (by suffix).

    Raises
    ------
    InputError
        The file is missing, too large, of another format, without a valid header, or lacks a required column.
    """
    if not path.is_file():
        raise InputError(f"Expected a predictions file at {path}, but there is no such file. Check the path.")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(
            f"Expected at most {MAX_BYTES} bytes in {path}, found {path.stat().st_size}. Store heatmaps as float16."
        )
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic == b"PAR1":
        return _read_parquet(path)
    raw = _read_text(path)
    sidecar = path.with_name(path.name + ".json")
    if sidecar.is_file() and sidecar.stat().st_size > MAX_HEADER_BYTES:
        raise InputError(f"Expected a header of at most {MAX_HEADER_BYTES} bytes in {sidecar}, found more. Write it again.")
    header = _header(read_json(sidecar, f"header of {path.name}"), sidecar)
    return Predictions(header, _points(raw, FRAMES[header.frame], path))


def read_points(path: Path, frame: FrameName = "sphere") -> pd.DataFrame:
    """Read a table of points of a frame from CSV or JSON lines (by suffix); types are checked, nothing else.

    Raises
    ------
    InputError
        The file is missing, too large, of another format, or lacks a required column.
    """
    return _points(_read_text(path), FRAMES[frame], path)


def _read_text(path: Path) -> pd.DataFrame:
    """Known columns of CSV or JSON lines, as they stand."""
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    if not path.is_file():
        raise InputError(f"Expected a table of points at {path}, but there is no such file. Check the path.")
    if path.suffix not in readers:
        raise InputError(
            f"Expected Parquet, or a name that ends in .csv or .jsonl, found {path.name}, whose content is not Parquet. "
            "Rename or convert it."
        )
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise InputError(f"Expected at most {MAX_TEXT_BYTES} bytes of text in {path}, found more. Write Parquet instead.")
    table = readers[path.suffix](path)
    if len(table) > MAX_ROWS:
        raise InputError(f"Expected at most {MAX_ROWS} rows in {path}, found {len(table)}. Predict one split alone.")
    return table


def _header(content: object, path: Path) -> PredictionHeader:
    try:
        return PredictionHeader.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"Expected a predictions header (schema 1) in {path}, found: {explain(error)}. Mend the header."
        ) from None


def _read_parquet(path: Path) -> Predictions:
    """Read Parquet piece by piece, with no more memory than it has a right to, whatever it says about itself."""
    opened = partial(open_parquet, path, "a Parquet predictions file", "Write it again.")
    with opened() as file:
        names = _wanted_columns(file, path)
        header = _parquet_header(file, path)
        size = _decoded_bytes(file, names, header, path)
    with opened(holds=2 * size) as file:  # pages, too, may be as large as what they hold
        frames, heatmaps = _read_batches(file, names, header, path)
    return Predictions(header, _points(pd.concat(frames, ignore_index=True), FRAMES[header.frame], path), heatmaps)


def _parquet_header(file: pq.ParquetFile, path: Path) -> PredictionHeader:
    metadata = file.schema_arrow.metadata or {}
    if HEADER_KEY not in metadata:
        raise InputError(
            f"Expected a header under the Parquet metadata key {HEADER_KEY.decode()!r} in {path}, found none. Write the file "
            "with `srgaze360 predict`, or add the JSON header that docs/submissions.md shows."
        )
    if len(metadata[HEADER_KEY]) > MAX_HEADER_BYTES:
        raise InputError(f"Expected a header of at most {MAX_HEADER_BYTES} bytes in {path}, found more. Write it again.")
    try:
        content = json.loads(metadata[HEADER_KEY])
    except (ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON in the header of {path}, but it cannot be read: {error}. Write it again.") from None
    return _header(content, path)


def _wanted_columns(file: pq.ParquetFile, path: Path) -> list[str]:
    """Names of the columns to read, of a schema that allows it."""
    schema, count = file.schema_arrow, file.metadata.num_columns
    names = [name for name in schema.names if name in (*TEXT_COLUMNS, "heatmap")]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Expected each column once in {path}, found {first_ids(twice)} twice. Drop one of them.")
    if count > MAX_COLUMNS:
        raise InputError(f"Expected at most {MAX_COLUMNS} columns in {path}, found {count}. Drop what is not read.")
    for name in names:
        kind = schema.field(name).type
        if name != "heatmap" and pa.types.is_nested(kind):
            raise InputError(f"Expected a plain column {name} in {path}, found one of type {kind}. Write one value per row.")
    return names


def _decoded_bytes(file: pq.ParquetFile, names: list[str], header: PredictionHeader, path: Path) -> int:
    """Size of a file once it is decoded, by its rows, its types and the header: bytes of a file say nothing of it.

    Runs and dictionaries make a column of equal values as small as one likes. What Parquet says of its column chunks is not
    asked for: it may be wrong, and to some of it pyarrow answers by ending the program.
    """
    rows, size = file.metadata.num_rows, _ROW_BYTES
    if "heatmap" in names:
        kind = file.schema_arrow.field("heatmap").type
        if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)):
            raise InputError(
                f"{_wanted_heatmaps(header, path)}, found a column of type {kind}. Write it as a list of numbers, row by row."
            )
        if not pa.types.is_floating(kind.value_type):
            raise InputError(
                f"{_wanted_heatmaps(header, path)}, found lists of {kind.value_type}. Write floating-point numbers."
            )
        size += math.prod(header.heatmap_shape) * kind.value_type.bit_width // 8
    if not 0 <= rows <= MAX_ROWS or rows * size > MAX_BYTES:
        raise InputError(
            f"Expected at most {MAX_ROWS} rows and {MAX_BYTES} bytes, decoded, in {path}, found {rows} rows of {rows * size} "
            "bytes. Store heatmaps as float16."
        )
    return int(rows * size)


def _wanted_heatmaps(header: PredictionHeader, path: Path) -> str:
    height, width = header.heatmap_shape
    return f"Expected heatmaps of {height} x {width} = {height * width} values (float16, no nulls) in {path}"


def _read_batches(
    file: pq.ParquetFile, names: list[str], header: PredictionHeader, path: Path
) -> tuple[list[pd.DataFrame], NDArray[np.float16] | None]:
    """Points, in pieces, and heatmaps, which are checked and put where they belong piece by piece."""
    rows, cells = file.metadata.num_rows, math.prod(header.heatmap_shape)
    plain = [name for name in names if name != "heatmap"]
    with_maps = "heatmap" in names
    frames = [_frame(file.schema_arrow.empty_table().select(plain), path)] if not rows else []
    heatmaps = np.empty((rows, cells), np.float16) if with_maps else None
    done = nulls = 0
    lengths: set[int] = set()
    step = max(1, min(_BATCH_ROWS, _BATCH_CELLS // cells)) if with_maps else _BATCH_ROWS
    for batch in file.iter_batches(step, columns=names, use_threads=False):
        batch.validate(full=True)
        if done + len(batch) <= rows:
            frames.append(_frame(pa.Table.from_batches([batch]).select(plain), path))
            if heatmaps is not None:
                column = batch.column("heatmap")
                nulls += column.null_count
                lengths |= {length for length in column.value_lengths().unique().to_pylist() if length is not None}
                if not nulls and lengths == {cells}:
                    values = column.flatten().to_numpy(zero_copy_only=False)
                    heatmaps[done : done + len(batch)] = values.astype(np.float16, copy=False).reshape(len(batch), cells)
        done += len(batch)
    if nulls:
        raise InputError(
            f"{_wanted_heatmaps(header, path)}, found {nulls} rows without one. Give a heatmap for every row or for none."
        )
    if lengths - {cells}:
        raise InputError(
            f"{_wanted_heatmaps(header, path)}, found lists of {first_ids(sorted(lengths))} values. Say the shape in the "
            "header's heatmap_shape."
        )
    if done != rows:
        raise InputError(f"Expected the {rows} rows that {path} says it has, found {done}. Write it again.")
    return frames, None if heatmaps is None else heatmaps.reshape(rows, *header.heatmap_shape)


def _frame(table: pa.Table, path: Path) -> pd.DataFrame:
    """Columns of points as pandas has them; ids, equal ones in one place, must not be too long."""
    for name in table.column_names:
        kind = table.schema.field(name).type
        texts = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(texts) or pa.types.is_large_string(texts) or pa.types.is_binary(texts):
            for chunk in table.column(name).chunks:
                words = chunk.dictionary if pa.types.is_dictionary(kind) else chunk
                if (pc.max(pc.binary_length(words)).as_py() or 0) > MAX_ID_LETTERS:
                    raise InputError(
                        f"Expected ids of at most {MAX_ID_LETTERS} letters in {path}, found a longer one in {name}."
                    )
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)  # an index of the writer's is a column like others
    if "sample_id" in frame:  # no category: another piece has others
        frame["sample_id"] = frame["sample_id"].astype(object)
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """The columns that are read, and no others: a wide table of short rows would take far more room than its file."""
    options: dict[str, Any] = {"dtype": {"sample_id": str}, "encoding": "utf-8-sig", "quoting": csv.QUOTE_MINIMAL}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = next(csv.reader(stream), [])
        known = [name for name in head if name in TEXT_COLUMNS]
        table = pd.read_csv(path, usecols=sorted(set(known)), nrows=MAX_ROWS + 1, **options) if known else None
    except (ValueError, csv.Error) as error:  # of decoding too
        raise InputError(f"Expected CSV with a header row in {path}, but it cannot be read: {error}. Write it again.") from None
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise InputError(f"Expected each column once in {path}, found {first_ids(twice)} twice. Drop one of them.")
    return pd.DataFrame(columns=head[:MAX_COLUMNS]) if table is None else pd.DataFrame(table)


def _read_jsonl(path: Path) -> pd.DataFrame:
    """The keys that are read, and no others, as above."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"Expected one JSON object per line in {path}, found other values. Write it again.")
                rows.append({name: row[name] for name in TEXT_COLUMNS if name in row})
                if len(rows) > MAX_ROWS:
                    break
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Expected one JSON object per line in {path}, but it cannot be read: {error}. Write it again."
        ) from None
    try:
        return pd.DataFrame(rows)
    except (OverflowError, UnicodeError) as error:
        raise InputError(f"Expected ids and numbers in {path}, found one that is neither: {error}. Write it again.") from None


def _points(table: pd.DataFrame, frame: Frame, path: Path) -> pd.DataFrame:
    missing = [name for name in frame.columns if name not in table.columns]
    if missing:
        raise InputError(
            f"Expected the columns {', '.join(frame.columns)} in {path}, found {', '.join(map(str, table.columns)) or 'none'}: "
            f"missing {', '.join(missing)}. Add them; see docs/submissions.md."
        )
    names = [name for name in (*frame.columns, *OPTIONAL_COLUMNS) if name in table.columns]
    points = table[names].copy()
    try:
        return _typed(points, path)
    except (OverflowError, UnicodeError) as error:  # a whole number of hundreds of digits, half of a pair of characters
        raise InputError(f"Expected ids and numbers in {path}, found one that is neither: {error}. Write it again.") from None


def _typed(points: pd.DataFrame, path: Path) -> pd.DataFrame:
    points["sample_id"] = points["sample_id"].astype(str)
    for name in points.columns[1:]:
        values = pd.to_numeric(points[name], errors="coerce")
        text = points[name][values.isna() & points[name].notna()]
        text = text[[not isinstance(value, float) for value in text]]
        if len(text):
            raise InputError(f"Expected numbers in column {name} of {path}, found {len(text)} that are not: {first_ids(text)}.")
        points[name] = values.astype(np.float64)
    return points
