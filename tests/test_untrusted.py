"""Parquet files of strangers: bombs, footers that lie, and what is left of memory. Files are made byte by byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from boards import result
from conftest import REPOSITORY
from parquet_lies import (
    COLUMNS,
    LIST,
    STRUCT,
    body_of,
    bombs,
    groups_of,
    many_words,
    read_footer,
    with_column,
    with_footer,
    with_rows,
    with_size_statistics,
    written,
)

from leaderboard.records import read_record, read_samples, samples_path
from srgaze360 import predictions as records
from srgaze360 import untrusted
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictions import DatasetKey, PredictionHeader, Predictions, PredictorCard, read_predictions, write_predictions
from srgaze360.untrusted import memory_limit, open_parquet

PEOPLE = 4
MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the system holds the limit on Linux only")


def submission(people: int = PEOPLE, shape: tuple[int, int] = (4, 8)) -> Predictions:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"sample_id": [f"p{i}" for i in range(people)], "gaze_lon_deg": rng.uniform(-180, 180, people)})
    table["gaze_lat_deg"] = rng.uniform(-90, 90, people)
    key = DatasetKey(name="fake", version="1.0.0", digest="a" * 64)
    header = PredictionHeader(dataset=key, split="test", predictor=PredictorCard(name="x"), heatmap_shape=shape)
    return Predictions(header, table, rng.random((people, *shape)).astype(np.float16))


@pytest.fixture
def honest(tmp_path: Path) -> bytes:
    write_predictions(tmp_path / "honest.parquet", submission())
    return (tmp_path / "honest.parquet").read_bytes()


def test_the_tools_of_these_tests_change_nothing_by_themselves(honest: bytes) -> None:
    footer = read_footer(honest)
    assert with_footer(body_of(honest), footer) == honest
    assert written(STRUCT, footer) == honest[len(body_of(honest)) : -8]


# --- bombs ------------------------------------------------------------------------------------------------------------

# Reads files in a process of its own and prints what each ended with, and by how much the process has grown since the start.
READER = r"""
import contextlib, json, re, sys
from pathlib import Path
from srgaze360 import untrusted
from srgaze360.errors import InputError
from srgaze360.predictions import read_predictions
untrusted.WORKING_BYTES = int(sys.argv[2])
if sys.argv[1] == "unlimited":
    untrusted.memory_limit = contextlib.nullcontext
def peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
read_predictions(Path(sys.argv[3]))
start = peak()
for name in sys.argv[4:]:
    try:
        found = f"read {len(read_predictions(Path(name)).table)}"
    except InputError as error:
        found = str(error)
    print(json.dumps([Path(name).stem, found, peak() - start]))
"""


def ended(how: str, working: int, *files: Path) -> list[tuple[str, str, int]]:
    """What reading ``files`` ends with; the first is not told, it warms the program up."""
    done = subprocess.run(
        [sys.executable, "-c", READER, how, str(working), *map(str, files)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@linux
def test_bombs_are_refused_before_they_take_memory(honest: bytes, tmp_path: Path) -> None:
    files = [tmp_path / "honest.parquet"]
    for name, content in bombs(honest, PEOPLE, 1 << 29).items():
        assert len(content) < (len(honest) + 40_000 if name != "footer" else 4 * MIB), name
        files.append(tmp_path / f"{name}.parquet")
        files[-1].write_bytes(content)
    limited = ended("limited", 64 * MIB, *files)
    assert {name for name, _, _ in limited} == set(bombs(honest, PEOPLE, 1000))
    for name, found, grown in limited:
        assert "asks for more than what it can hold needs, or memory is short here. Write it again." in found, name
        assert f"Expected to read {tmp_path / name}.parquet with at most 671" in found, name
        assert grown < 100 * MIB, name
    # without the limit they are unpacked
    unlimited = ended("unlimited", 0, files[0], *(tmp_path / f"{name}.parquet" for name in ("runs", "page", "dictionary")))
    (_, runs, grown), (_, page, _), (_, dictionary, at_last) = unlimited
    assert "to be of size=32 but index 1 had size=67108864" in runs
    assert page == dictionary == f"read {PEOPLE}"
    assert grown > 250 * MIB
    assert at_last > 500 * MIB


@linux
def test_files_that_need_much_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest ones, in one page, in one run, as wide lists; with hardly anything to work with beside what they hold."""
    monkeypatch.setattr(untrusted, "WORKING_BYTES", 64 * MIB)
    whole = submission(500, (64, 128))
    write_predictions(tmp_path / "a.parquet", whole)
    table = pq.read_table(tmp_path / "a.parquet")
    flat = np.asarray(whole.heatmaps, np.float32).reshape(-1)
    wide = pa.LargeListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, 64 * 128)), pa.array(flat))
    wide_table = table.set_column(3, "heatmap", wide)
    even = table.set_column(
        3, "heatmap", pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(flat), np.float16)), 64 * 128)
    )
    pq.write_table(table, tmp_path / "page.parquet", data_page_size=2**30, compression="none", use_dictionary=False)
    pq.write_table(wide_table, tmp_path / "wide.parquet", row_group_size=200)
    pq.write_table(even, tmp_path / "even.parquet", compression="zstd")
    for name in ("a", "page", "wide", "even"):
        read = read_predictions(tmp_path / f"{name}.parquet")
        np.testing.assert_array_equal(read.heatmaps, np.zeros_like(whole.heatmaps) if name == "even" else whole.heatmaps)
        pd.testing.assert_frame_equal(read.table, whole.table, check_dtype=False)


def test_pieces_come_together_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_BATCH_CELLS", 32 * 7)  # seven rows at a time
    whole = submission(100)
    write_predictions(tmp_path / "a.parquet", whole)
    table = pq.read_table(tmp_path / "a.parquet")
    dictionary = table.set_column(0, "sample_id", table.column("sample_id").dictionary_encode())
    pq.write_table(dictionary, tmp_path / "b.parquet", row_group_size=30)
    for name in "ab":
        read = read_predictions(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(read.table, whole.table, check_dtype=False)
        np.testing.assert_array_equal(read.heatmaps, whole.heatmaps)


def test_ids_may_be_an_index_of_pandas(tmp_path: Path) -> None:
    whole = submission(10)
    table = pa.Table.from_pandas(whole.table.set_index("sample_id"))
    header = whole.header.model_dump_json().encode()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"srgaze360": header}), tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "a.parquet").table, whole.table, check_dtype=False)


@pytest.mark.parametrize("kept", [["gaze_lon_deg", "gaze_lat_deg", "heatmap"], ["sample_id"], []])
def test_columns_that_are_not_there_are_told(tmp_path: Path, kept: list[str]) -> None:
    write_predictions(tmp_path / "a.parquet", submission())
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.append_column("else", table.column(1)).select([*kept, "else"]), tmp_path / "b.parquet")
    missing = ", ".join(name for name in ("sample_id", "gaze_lon_deg", "gaze_lat_deg") if name not in kept)
    with pytest.raises(InputError, match=rf"Expected the columns .* in .*b\.parquet, found .*: missing {missing}\. Add them"):
        read_predictions(tmp_path / "b.parquet")


def test_no_rows_are_no_fault(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.parquet", submission(0))
    read = read_predictions(tmp_path / "a.parquet")
    assert len(read.table) == 0
    assert read.heatmaps is not None
    assert read.heatmaps.shape == (0, 4, 8)


# --- lies -------------------------------------------------------------------------------------------------------------


def without_columns(content: bytes) -> bytes:
    footer = read_footer(content)
    groups_of(footer)[0][COLUMNS] = (LIST, (STRUCT, []))
    return with_footer(body_of(content), footer)


def with_long_footer(content: bytes) -> bytes:
    footer = read_footer(content)
    footer[5][1][1].append({1: (8, b"x"), 2: (8, b"y" * (5 * MIB))})
    return with_footer(body_of(content), footer)


LIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "fewer rows than there are": (lambda c: with_rows(c, 3), r"Expected the 3 rows that .*p\.parquet says it has, found 4"),
    "more rows than there are": (lambda c: with_rows(c, 5), r"Expected the 5 rows that .*p\.parquet says it has, found 4"),
    "rows below nothing": (lambda c: with_rows(c, -1), r"Expected at most 5000000 rows .* found -1 rows"),
    "rows without end": (lambda c: with_rows(c, 2**62), r"Expected at most 5000000 rows .* found 4611686018427387904 rows"),
    "no columns": (without_columns, r"Expected a Parquet predictions file at .*p\.parquet, but it cannot be read"),
    "a long footer": (with_long_footer, r"Expected a footer of at most 4194304 bytes in .*p\.parquet, found 5\d{6}"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_told(honest: bytes, tmp_path: Path, name: str) -> None:
    change, message = LIES[name]
    (tmp_path / "p.parquet").write_bytes(change(honest))
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / "p.parquet")


def test_statistics_that_do_not_fit_do_not_end_the_program(honest: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(with_size_statistics(honest, 1))
    ((_, found, _),) = ended("limited", 2**29, tmp_path / "honest.parquet", tmp_path / "p.parquet")
    assert found == "read 4" or "cannot be read" in found


# Reads files with lies drawn at random in a process of its own, because the last word on some of them is the library's.
LIAR = """
import collections, io, json, random, sys
from pathlib import Path
import pyarrow.parquet as pq
from parquet_lies import lie
from srgaze360 import untrusted
from srgaze360.errors import InputError
from srgaze360.predictions import read_predictions
untrusted.WORKING_BYTES = 1 << 27
base, out, first, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
table = pq.read_table(base)
bases = [base.read_bytes()]
for options in ({"compression": "none", "use_dictionary": False}, {"data_page_version": "2.0"}, {"compression": "snappy"}):
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    bases.append(stream.getvalue())
found = collections.Counter()
for seed in range(first, first + count):
    print(seed, file=sys.stderr, flush=True)
    rng = random.Random(seed)
    out.write_bytes(lie(rng.choice(bases), rng))
    try:
        found["read", len(read_predictions(out).table)] += 1
    except InputError as error:
        assert str(out) in str(error), error
        found["refused", 0] += 1
print(json.dumps([[*key, count] for key, count in found.items()]))
"""


def lied(folder: Path, first: int, count: int) -> dict[str, int]:
    """How many files with lies were read, and how many refused; nothing else may happen."""
    words = [sys.executable, "-W", "error", "-c", LIAR, str(folder / "honest.parquet"), str(folder / "lie.parquet")]
    done = subprocess.run(
        [*words, str(first), str(count)], capture_output=True, text=True, check=False, cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, int] = {}
    for what, rows, number in json.loads(done.stdout):
        assert what == "refused" or rows <= PEOPLE  # nobody is invented; that people are missing is for the check to say
        found[what] = found.get(what, 0) + number
    return found


@pytest.mark.usefixtures("honest")
def test_lies_drawn_at_random_are_refused_or_harmless(tmp_path: Path) -> None:
    found = lied(tmp_path, 0, 300)
    assert found["read"] > 30
    assert found["refused"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 21000, 2000))
@pytest.mark.usefixtures("honest")
def test_many_lies_drawn_at_random(tmp_path: Path, first: int) -> None:
    assert sum(lied(tmp_path, first, 2000).values()) == 2000


# --- the limit itself -------------------------------------------------------------------------------------------------


@linux
def test_the_limit_holds_and_ends() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), memory_limit(64 * MIB):
        np.zeros(128 * MIB, np.uint8)
    with memory_limit(256 * MIB):
        np.zeros(128 * MIB, np.uint8)
        with memory_limit(2**40):  # no way out
            assert resource.getrlimit(resource.RLIMIT_AS)[0] < 2**40
            with pytest.raises(MemoryError):
                np.zeros(512 * MIB, np.uint8)
    with pytest.raises(KeyError), memory_limit(MIB):
        raise KeyError
    with pytest.raises(InputError, match="bad"), memory_limit(0):
        raise InputError("bad")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_elsewhere_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with memory_limit(0):
        np.zeros(128 * MIB, np.uint8)


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_parquet(tmp_path / "none", "a file", "Look for it."):
        pass
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"x" * 100):
        (tmp_path / "p").write_bytes(content)
        message = r"Expected a file at .*p, but it cannot be read: .*\. Mend it\."
        with pytest.raises(InputError, match=message), open_parquet(tmp_path / "p", "a file", "Mend it."):
            pass


@linux
def test_errors_of_strangers_are_read_with_a_limit(fake: Dataset, tmp_path: Path) -> None:
    """A board takes records from everybody, and the per-person errors beside them."""
    record_file = result(tmp_path, fake, "ours", 0.3)
    record, samples = read_record(record_file), samples_path(record_file)
    assert len(read_samples(samples, record)) == record.people
    content = samples.read_bytes()
    footer = read_footer(content)
    place = next(i for i, chunk in enumerate(groups_of(footer)[0][COLUMNS][1][1]) if chunk[3][1][3][1][1] == [b"suite"])
    samples.write_bytes(with_column(content, place, many_words(1 << 27, record.people), dictionary=True))
    with pytest.raises(InputError, match=r"Expected to read .*\.samples\.parquet with at most .* Score again\."):
        read_samples(samples, record)
