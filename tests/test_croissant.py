"""``croissant.json``: its makers' validator accepts it without a network, reads the records, and refuses changed files."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fakes import fake_dataset

from srgaze360.croissant import CONTEXT, FILES, croissant, write_croissant
from srgaze360.dataset import COLUMNS, Dataset
from srgaze360.errors import InputError
from srgaze360.files import digest_file

needs_mlcroissant = pytest.mark.skipif(find_spec("mlcroissant") is None, reason="mlcroissant is not installed (extra: publish)")

# Its own process: it warns of what it uses itself. Whoever opens a connection fails.
OFFLINE = "import socket\ndef refuse(*_): raise OSError('no network here')\nsocket.socket.connect = refuse\n"
VALIDATE = OFFLINE + "from mlcroissant.scripts.cli import main\nmain()\n"  # the program mlcroissant
READ = OFFLINE + (
    "import sys, json, mlcroissant\n"
    "data = mlcroissant.Dataset(sys.argv[1])\n"
    "people = list(data.records('people'))\n"
    "panoramas = list(data.records('panoramas'))\n"
    "say = lambda v: v.decode() if isinstance(v, bytes) else [say(i) for i in v] if isinstance(v, list) else v\n"
    "print(json.dumps({\n"
    "  'people': [{k: say(v) for k, v in p.items()} for p in people],\n"
    "  'panoramas': [[say(p['panoramas/path']), *p['panoramas/image'].size] for p in panoramas],\n"
    "}, default=lambda v: v.item()))\n"
)


@pytest.fixture
def built(tmp_path: Path) -> Dataset:
    data = fake_dataset(tmp_path / "data", people=6, images=True)
    for name in set(FILES) - {"annotations.parquet", "dataset.yaml"}:
        (data.root / name).write_text("{}\n", encoding="utf-8")
    write_croissant(data.root, data.info)
    return data


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)


def read(data: Dataset) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data.root / "croissant.json").read_text(encoding="utf-8"))
    return content


@needs_mlcroissant
def test_the_validator_accepts_it(built: Dataset) -> None:
    done = run("-c", VALIDATE, "validate", "--jsonld", built.root / "croissant.json")
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert "not standard" not in done.stderr  # its word for a context that is not the official one
    assert done.stderr.count("recommended") == 1  # datePublished, which the builder cannot know
    write_croissant(built.root, built.info, url="https://example.org/data", date_published="2026-01-31")
    done = run("-c", VALIDATE, "validate", "--jsonld", built.root / "croissant.json")
    assert (done.returncode, "recommended" in done.stderr) == (0, False), done.stderr


@needs_mlcroissant
def test_the_validator_can_fail(built: Dataset) -> None:
    content = read(built)
    del content["distribution"][0]["sha256"]
    (built.root / "croissant.json").write_text(json.dumps(content), encoding="utf-8")
    done = run("-c", VALIDATE, "validate", "--jsonld", built.root / "croissant.json")
    assert done.returncode == 1
    assert "sha256" in done.stderr


@needs_mlcroissant
def test_records_read_through_it_are_the_annotations(built: Dataset) -> None:
    done = run("-c", READ, built.root / "croissant.json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = built.annotations.to_dict("records")
    assert len(found["people"]) == len(rows)
    for record, row in zip(found["people"], rows, strict=True):
        assert record["people/sample_id"] == row["sample_id"]
        assert record["people/in_frame"] == row["in_frame"]
        assert record["people/head_lon_deg"] == row["head_lon_deg"]
        assert (record["people/gaze_lon_deg"] is None) == (row["gaze_lon_deg"] != row["gaze_lon_deg"])
        assert record["people/gaze_points_deg"] == [list(point) for point in row["gaze_points_deg"]]
    assert sorted(found["panoramas"]) == sorted([path, 128, 64] for path in set(built.annotations["image_path"]))


@needs_mlcroissant
def test_a_changed_file_is_refused(built: Dataset) -> None:
    table = pq.read_table(built.root / "annotations.parquet")
    pq.write_table(table.slice(0, 3), built.root / "annotations.parquet")
    done = run("-c", READ, built.root / "croissant.json")
    assert done.returncode != 0
    assert "is not identical with the reference" in done.stderr


def test_every_column_has_a_typed_field_and_every_file_its_digest(built: Dataset) -> None:
    content = read(built)
    people = {field["name"]: field for field in content["recordSet"][0]["field"]}
    assert set(people) == {*COLUMNS, "face"}
    expected = {
        "sample_id": ("sc:Text", None),
        "width": ("cr:Int32", None),
        "in_frame": ("sc:Boolean", None),
        "hfov_deg": ("cr:Float64", None),
        "lens_params": ("cr:Float64", "-1"),
        "gaze_points_deg": ("cr:Float64", "-1,2"),
        "repairs": ("sc:Text", "-1"),
    }
    for name, (data_type, shape) in expected.items():
        assert (people[name]["dataType"], people[name].get("arrayShape")) == (data_type, shape)
        assert people[name]["description"] == COLUMNS[name].meaning
    files = {item["@id"]: item for item in content["distribution"] if item["@type"] == "cr:FileObject"}
    assert set(files) == set(FILES)
    assert all(item["sha256"] == digest_file(built.root / name) for name, item in files.items())


def test_it_depends_on_the_dataset_alone(built: Dataset) -> None:
    once = (built.root / "croissant.json").read_bytes()
    write_croissant(built.root, built.info)
    assert (built.root / "croissant.json").read_bytes() == once
    assert "datePublished" not in read(built)
    assert {"cr", "rai", "dct", "sc"} <= set(CONTEXT)
    published = croissant(built.root, built.info, url="https://example.org", date_published="2026-01-31")
    assert (published["url"], published["datePublished"]) == ("https://example.org", "2026-01-31")


def test_a_folder_without_annotations_is_refused(built: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected the annotations of a built dataset in"):
        write_croissant(tmp_path, built.info)
