"""What is handed in: folders and zips, traps in them, files that are small and decode to much, and packing."""

from __future__ import annotations

import errno
import io
import json
import shutil
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from building import run_command
from test_submissions import valid

from leaderboard import deliveries
from leaderboard.submissions import check_file, checked
from srgaze360 import predictions as records
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.predictions import read_predictions, write_predictions


@pytest.fixture
def file(fake: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, valid(fake))
    return path


def zipped(path: Path, entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda _: None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return path


def as_text(fake: Dataset, folder: Path) -> Path:
    predictions = valid(fake, heatmaps=False)
    folder.mkdir()
    predictions.table.to_csv(folder / "points.csv", index=False)
    (folder / "points.csv.json").write_text(predictions.header.model_dump_json())
    return folder


def test_a_folder_and_a_zip_are_the_file_inside(fake: Dataset, file: Path, tmp_path: Path) -> None:
    plain = check_file(file, fake, "test")
    folder = tmp_path / "handed in"
    folder.mkdir()
    shutil.copy(file, folder)
    (folder / "README.txt").write_text("ours")
    (folder / ".DS_Store").write_bytes(b"\0")
    packed = zipped(
        tmp_path / "a.zip", {"mine/predictions.parquet": file.read_bytes(), "__MACOSX/mine/._predictions.parquet": b"x"}
    )
    for handed in (folder, packed):
        report = check_file(handed, fake, "test")
        assert report.valid
        assert (report.file_digest, report.file) == (plain.file_digest, handed.name)
        assert checked(handed, fake, "test").file_digest == plain.file_digest


def test_text_brings_its_header_along(fake: Dataset, tmp_path: Path) -> None:
    folder = as_text(fake, tmp_path / "text")
    entries = {f"x/{path.name}": path.read_bytes() for path in folder.iterdir()}
    for handed in (folder, zipped(tmp_path / "text.zip", entries)):
        assert check_file(handed, fake, "test").valid
    del entries["x/points.csv.json"]
    with pytest.raises(InputError, match=r"Expected a header of points.csv at .*points.csv.json, but there is no such file"):
        check_file(zipped(tmp_path / "bare.zip", entries), fake, "test")


def link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def test_traps_in_zips_are_refused(fake: Dataset, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file.read_bytes()
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, match in (
        ("../outside/p.parquet", "stays inside"),
        ("/outside/p.parquet", "stays inside"),
        ("a/../../outside/p.parquet", "stays inside"),
    ):
        with pytest.raises(InputError, match=match):
            check_file(zipped(tmp_path / "a.zip", {name: content}), fake, "test")
    assert not list(outside.iterdir())
    with pytest.raises(InputError, match="'p.parquet' is a symbolic link"):
        check_file(zipped(tmp_path / "b.zip", {"p.parquet": b"/etc/passwd"}, link), fake, "test")
    with pytest.raises(InputError, match=r"found a.parquet, b.parquet. Hand in one"):
        check_file(zipped(tmp_path / "c.zip", {"a.parquet": content, "b.parquet": content}), fake, "test")
    with pytest.raises(InputError, match="found none among 1 files"):
        check_file(zipped(tmp_path / "d.zip", {"a.txt": content}), fake, "test")
    with pytest.raises(InputError, match="found no file"):
        check_file(zipped(tmp_path / "e.zip", {}), fake, "test")
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("p.parquet", content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("p.parquet", content)
    with pytest.raises(InputError, match="'p.parquet' is there twice"):
        check_file(tmp_path / "f.zip", fake, "test")
    many = zipped(tmp_path / "g.zip", {f"{index}.txt": b"" for index in range(deliveries.MAX_ENTRIES + 1)})
    with pytest.raises(InputError, match="Expected at most 1000 files in .*g.zip, found 1001"):
        check_file(many, fake, "test")
    monkeypatch.setattr(deliveries, "MAX_BYTES", 1 << 20)
    bomb = zipped(tmp_path / "h.zip", {"p.csv": b"0" * (1 << 24)})
    assert bomb.stat().st_size < 1 << 17
    with pytest.raises(InputError, match="Expected at most 1048576 bytes in 'p.csv' of .*h.zip, found more when unpacking"):
        check_file(bomb, fake, "test")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_that_unpack_all_at_once_are_refused(method: int, fake: Dataset, file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.write(file, "p.parquet")
    with pytest.raises(InputError, match=rf"'p.parquet' is packed in a way that is not read \(method {method}; use deflate\)"):
        check_file(tmp_path / "a.zip", fake, "test")


def peak_of(path: Path) -> int:
    """Memory that reading a submission takes at most, in bytes of Python's and numpy's own."""
    tracemalloc.start()
    try:
        with suppress(InputError):
            read_predictions(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_wide_text_takes_no_more_room_than_it_needs(fake: Dataset, tmp_path: Path) -> None:
    header = valid(fake).header.model_dump_json()
    n = 2000
    rows = [{"sample_id": f"p{index}", "gaze_lon_deg": 0, "gaze_lat_deg": 0, f"k{index}": 0} for index in range(n)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    head = ",".join(["sample_id", "gaze_lon_deg", "gaze_lat_deg", *(f"k{index}" for index in range(n))])
    (tmp_path / "a.csv").write_text("\n".join([head, *(f"p{index},0,0" + "," * n for index in range(200))]))
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / f"{name}.json").write_text(header)
        assert len(read_predictions(tmp_path / name).table) in (200, n)
        assert peak_of(tmp_path / name) < 20 << 20, name


@pytest.mark.parametrize("shape", [[-2, -4], [0, 0], [10**12, 2 * 10**12]])
def test_shapes_that_are_none_are_refused(shape: list[int], fake: Dataset, tmp_path: Path) -> None:
    content = json.loads(valid(fake).header.model_dump_json()) | {"heatmap_shape": shape}
    empty = pa.array([[]] * 3, type=pa.list_(pa.float32()))
    path = parquet(tmp_path / "a.parquet", {**points(3), "heatmap": empty}, json.dumps(content).encode())
    with pytest.raises(InputError, match="Expected a predictions header .* heatmap_shape"):
        read_predictions(path)


def test_a_zip_that_says_it_is_small_is_counted(fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_BYTES", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"p.csv": b"0" * (1 << 22)})
    honest, lying = (1 << 22).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(honest, lying))
    with pytest.raises(InputError, match="Expected at most|cannot be unpacked"):
        check_file(path, fake, "test")


def test_damaged_and_encrypted_zips_are_said(fake: Dataset, file: Path, tmp_path: Path) -> None:
    whole = zipped(tmp_path / "a.zip", {"p.parquet": file.read_bytes()}).read_bytes()
    broken = tmp_path / "b.zip"
    broken.write_bytes(whole[:100] + bytes(50) + whole[150:])
    with pytest.raises(InputError, match="Expected a zip at .*b.zip, but it cannot be unpacked"):
        check_file(broken, fake, "test")
    locked = bytearray(whole)
    locked[whole.rindex(b"PK\x01\x02") + 8] |= 1
    broken.write_bytes(bytes(locked))
    with pytest.raises(InputError, match="'p.parquet' is encrypted"):
        check_file(broken, fake, "test")


def test_a_full_disk_is_not_the_fault_of_the_zip(
    fake: Dataset, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    whole = zipped(tmp_path / "a.zip", {"p.parquet": file.read_bytes()})
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", **rest: Full() if mode == "wb" else real(self, mode, **rest))
    with pytest.raises(EnvironmentProblem, match=r"the system refused after \d+ bytes: No space left on device. Make room"):
        check_file(whole, fake, "test")


def test_links_in_folders_are_refused(fake: Dataset, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "handed in"
    folder.mkdir()
    (folder / "predictions.parquet").symlink_to(file)
    with pytest.raises(InputError, match="found the symbolic link predictions.parquet"):
        check_file(folder, fake, "test")


# --- files that are small and decode to much --------------------------------------------------------------------------


def parquet(path: Path, columns: dict[str, pa.Array], header: bytes = b"{}", **options: object) -> Path:
    table = pa.table(columns).replace_schema_metadata({b"srgaze360": header})
    pq.write_table(table, path, **options)
    return path


def points(n: int) -> dict[str, pa.Array]:
    return {
        "sample_id": pa.array([f"p{index}" for index in range(n)]),
        "gaze_lon_deg": pa.array(np.zeros(n)),
        "gaze_lat_deg": pa.array(np.zeros(n)),
    }


def test_equal_heatmaps_take_no_room_in_a_file_and_are_counted(
    fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, cells = 2000, 8192
    flat = pa.array(np.zeros(n * cells, dtype=np.float32))
    columns = {**points(n), "heatmap": pa.FixedSizeListArray.from_arrays(flat, cells)}
    header = valid(fake).header.model_copy(update={"heatmap_shape": (64, 128)}).model_dump_json().encode()
    path = parquet(tmp_path / "a.parquet", columns, header, compression="zstd")
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(records, "MAX_BYTES", 1 << 24)
    with pytest.raises(
        InputError, match="Expected at most 5000000 rows and 16777216 bytes, decoded, in .* found 2000 rows of 6"
    ):
        read_predictions(path)


def test_long_ids_columns_and_headers_are_refused(fake: Dataset, tmp_path: Path) -> None:
    header = valid(fake).header.model_dump_json().encode()
    n = 50
    long = {**points(n), "sample_id": pa.array(["x" * 100_000] * n)}
    with pytest.raises(InputError, match="ids of at most 1000 letters"):
        read_predictions(parquet(tmp_path / "a.parquet", long, header))
    nested = {**points(n), "gaze_lat_deg": pa.array([[0.0]] * n)}
    with pytest.raises(InputError, match="Expected a plain column gaze_lat_deg"):
        read_predictions(parquet(tmp_path / "b.parquet", nested, header))
    wide = {**points(n), **{f"c{index}": pa.array(np.zeros(n)) for index in range(1000)}}
    with pytest.raises(InputError, match="Expected at most 1000 columns in .*, found 1003"):
        read_predictions(parquet(tmp_path / "c.parquet", wide, header))
    with pytest.raises(InputError, match="header of at most 1048576 bytes"):
        read_predictions(parquet(tmp_path / "d.parquet", points(n), b"[" * ((1 << 20) + 1)))
    with pytest.raises(InputError, match="Expected JSON in the header"):
        read_predictions(parquet(tmp_path / "e.parquet", points(n), b"[" * 100_000))
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["sample_id", "sample_id"])
    pq.write_table(table.replace_schema_metadata({b"srgaze360": header}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match="Expected each column once in .*, found sample_id twice"):
        read_predictions(tmp_path / "f.parquet")


def test_nesting_without_end_is_said(fake: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="Expected one JSON object per line"):
        read_predictions(path)
    folder = as_text(fake, tmp_path / "text")
    (folder / "points.csv.json").write_text('{"a":' * 100_000)
    with pytest.raises(InputError, match="Expected a header of points.csv in JSON"):
        read_predictions(folder / "points.csv")


# --- angles read in another way ---------------------------------------------------------------------------------------


def near_heads(fake: Dataset) -> pd.DataFrame:
    rows = fake.select(split="test").annotations
    lon, lat = rows["head_lon_deg"].to_numpy() + 3.0, rows["head_lat_deg"].to_numpy() * 0.95
    return pd.DataFrame({"sample_id": rows["sample_id"], "gaze_lon_deg": (lon + 180.0) % 360.0 - 180.0, "gaze_lat_deg": lat})


@pytest.mark.parametrize("kind", ["as they are", "radians", "swapped"])
def test_radians_and_swapped_angles_are_noted(kind: str, fake: Dataset, tmp_path: Path) -> None:
    table = near_heads(fake)
    angles = table[["gaze_lon_deg", "gaze_lat_deg"]].to_numpy()
    if kind == "radians":
        angles = np.radians(angles)
    if kind == "swapped":
        angles = angles[:, ::-1]
    table[["gaze_lon_deg", "gaze_lat_deg"]] = angles
    predictions = records.Predictions(valid(fake).header, table)
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions)
    notes = [note for note in check_file(path, fake, "test").notes if note.startswith("Are these")]
    expected = {"as they are": None, "radians": "radians?", "swapped": "latitude and longitude in each other's place?"}[kind]
    assert len(notes) == (expected is not None)
    if expected:
        assert notes[0].startswith(f"Are these {expected} Longitudes run from ")
        assert "degrees of the head; as given, within" in notes[0]


# --- packing ----------------------------------------------------------------------------------------------------------


def test_pack_makes_a_valid_file(fake: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = near_heads(fake)
    table.to_csv(tmp_path / "points.csv", index=False)
    maps = np.random.default_rng(0).random((len(table), 8, 16)) * 1e9
    np.save(tmp_path / "maps.npy", maps)
    out = tmp_path / "new" / "p.parquet"
    words = ("submission", "pack", str(tmp_path / "points.csv"), "--data", str(fake.root), "--name", "mine", "--out", str(out))
    more = ("--heatmaps", str(tmp_path / "maps.npy"), "--seed", "3", "--training-data", "a", "--training-data", "b")
    ran = run_command(capsys, *words, *more)
    assert ran.code == 0, ran.err
    assert "no faults" in ran.out
    done = checked(out, fake, "test").predictions
    assert done.header.predictor.model_dump(include={"name", "seed", "training_data"}) == {
        "name": "mine", "seed": 3, "training_data": ["a", "b"],
    }  # fmt: skip
    assert done.header.heatmap_shape == (8, 16)
    expected = maps / maps.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(np.asarray(done.heatmaps, dtype=np.float64), expected, atol=1e-3)
    np.testing.assert_allclose(done.table["gaze_lat_deg"], table["gaze_lat_deg"])
    assert [path.name for path in out.parent.iterdir()] == ["p.parquet"]


def test_pack_writes_nothing_where_something_is_wrong(
    fake: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near_heads(fake).iloc[1:].to_csv(tmp_path / "points.csv", index=False)
    out = tmp_path / "new" / "p.parquet"
    words = ("submission", "pack", str(tmp_path / "points.csv"), "--data", str(fake.root), "--name", "mine", "--out", str(out))
    ran = run_command(capsys, *words)
    assert ran.code == 1
    assert "[missing-id]" in ran.out
    assert not list(out.parent.iterdir())
    np.save(tmp_path / "maps.npy", np.zeros((3, 8, 16)))
    ran = run_command(capsys, *words, "--heatmaps", str(tmp_path / "maps.npy"))
    assert ran.code == 2
    assert "one for each row of points, found float64 (3, 8, 16)" in ran.err.replace("\n", " ")
    np.save(tmp_path / "maps.npy", np.array([{}], dtype=object), allow_pickle=True)
    ran = run_command(capsys, *words, "--heatmaps", str(tmp_path / "maps.npy"))
    assert ran.code == 2
    assert "Expected a .npy array of heatmaps" in ran.err


def test_pack_says_what_is_wrong_with_its_options(fake: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = near_heads(fake)
    table.to_csv(tmp_path / "points.csv", index=False)
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 no more")
    np.save(tmp_path / "flat.npy", np.zeros((len(table), 0, 0)))
    words = ("submission", "pack", str(tmp_path / "points.csv"), "--data", str(fake.root))
    out = ("--out", str(tmp_path / "p.parquet"))
    (tmp_path / "folder.parquet").mkdir()
    for more, match in (
        (("--name", "", *out), "Expected a card of the model"),
        (("--name", "x" * 101, *out), "Expected a card of the model"),
        (("--name", "x", "--out", str(tmp_path / "folder.parquet")), "found a folder"),
        (("--name", "x", "--out", str(tmp_path / "p.zip")), "ends in .parquet"),
        (("--name", "x", *out, "--heatmaps", str(tmp_path / "zip.npy")), "Expected a .npy array"),
        (("--name", "x", *out, "--heatmaps", str(tmp_path / "flat.npy")), "one for each row of points"),
    ):
        ran = run_command(capsys, *words, *more)
        assert ran.code == 2
        assert match in ran.err.replace("\n", " ")


def test_the_header_of_text_may_not_be_a_book(fake: Dataset, tmp_path: Path) -> None:
    folder = as_text(fake, tmp_path / "text")
    content = json.loads((folder / "points.csv.json").read_text())
    content["predictor"]["notes"] = "x" * (1 << 20)
    (folder / "points.csv.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="Expected a header of at most 1048576 bytes"):
        read_predictions(folder / "points.csv")


def test_what_is_no_zip_is_for_the_reader_to_say(fake: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(io.BytesIO(b"PK\x03\x04 and nothing more").read())
    with pytest.raises(InputError, match="found p.zip, whose content is not Parquet"):
        check_file(path, fake, "test")
