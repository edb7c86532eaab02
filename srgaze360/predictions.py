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
from dataclasses import dataclass
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
_BYTES = {"FLOAT": 4, "FIXED_LEN_BYTE_ARRAY": 2}  # of a value as Arrow holds it; float16 is the only fixed-length type read


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
    try:
        # ids as a dictionary: a long one that stands in every row takes its room once
        file = pq.ParquetFile(
            path, read_dictionary=["sample_id"], thrift_string_size_limit=2**26, thrift_container_size_limit=2**20
        )
        names = _wanted_columns(file, path)
        metadata = file.schema_arrow.metadata or {}
        table = file.read(columns=names)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Expected a Parquet predictions file at {path}, but it cannot be read: {error}. Write it again."
        ) from None
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
    header = _header(content, path)
    heatmaps = _heatmaps(table.column("heatmap"), header, path) if "heatmap" in table.column_names else None
    points = table.select([name for name in table.column_names if name != "heatmap"])
    return Predictions(header, _points(_frame(points, path), FRAMES[header.frame], path), heatmaps)


def _wanted_columns(file: pq.ParquetFile, path: Path) -> list[str]:
    """Names of the columns to read, of a file that is not too large once it is decoded.

    Runs and dictionaries make a column of equal values as small as one likes, so what counts is the number of values.
    """
    metadata, schema = file.metadata, file.schema_arrow
    wanted = {*TEXT_COLUMNS, "heatmap"}
    names = [name for name in schema.names if name in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Expected each column once in {path}, found {first_ids(twice)} twice. Drop one of them.")
    if metadata.num_columns > MAX_COLUMNS:
        raise InputError(
            f"Expected at most {MAX_COLUMNS} columns in {path}, found {metadata.num_columns}. Drop what is not read."
        )
    size = 0
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(index) for index in range(metadata.num_columns)]
        size += sum(
            max(column.num_values * _BYTES.get(column.physical_type, 8), column.total_uncompressed_size)
            for column in columns
            if column.path_in_schema.partition(".")[0] in wanted
        )
    if metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
        raise InputError(
            f"Expected at most {MAX_ROWS} rows and {MAX_BYTES} bytes, decoded, in {path}, found {metadata.num_rows} rows of "
            f"{size} bytes. Store heatmaps as float16."
        )
    return names


def _frame(table: pa.Table, path: Path) -> pd.DataFrame:
    """Columns of points as pandas has them; ids that are a dictionary must not be too long to be written out."""
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
        elif pa.types.is_nested(texts):
            raise InputError(f"Expected a plain column {name} in {path}, found one of type {kind}. Write one value per row.")
    return pd.DataFrame(table.to_pandas())


def _heatmaps(column: pa.ChunkedArray, header: PredictionHeader, path: Path) -> NDArray[np.float16]:
    height, width = header.heatmap_shape
    wanted = f"Expected heatmaps of {height} x {width} = {height * width} values (float16, no nulls) in {path}"
    if column.null_count:
        raise InputError(f"{wanted}, found {column.null_count} rows without one. Give a heatmap for every row or for none.")
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)):
        raise InputError(f"{wanted}, found a column of type {kind}. Write it as a list of numbers, row by row.")
    if not pa.types.is_floating(kind.value_type):
        raise InputError(f"{wanted}, found lists of {kind.value_type}. Write floating-point numbers.")
    lengths = {int(n) for n in column.combine_chunks().value_lengths().unique().to_pylist()}
    if lengths - {height * width}:
        raise InputError(
            f"{wanted}, found lists of {first_ids(sorted(lengths))} values. Say the shape in the header's heatmap_shape."
        )
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float16).reshape(len(column), height, width)


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
