"""The same dataset, whoever builds it, in whatever pieces, and however often it is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import TINY, command, files, many, rejected, run_build
from photos import write_gazefollow

from builders.building import finalise as finalise_module
from builders.building.verify import verify
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import TEMPORARY_PATTERN

MANY: dict[str, Any] = {"recipe": "mixed", "settings": many(8)}
FEW: dict[str, Any] = {"recipe": "mixed", "settings": TINY}


def test_workers_and_time_change_nothing(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=6, test=5, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    one = run_build(tmp_path / "one", pair, **MANY)
    two = run_build(tmp_path / "two", pair, **MANY, workers=2)
    assert (one.info.label_digest, one.info.pixel_digest) == (two.info.label_digest, two.info.pixel_digest)
    assert (tmp_path / "one" / "manifest.jsonl").read_bytes() == (tmp_path / "two" / "manifest.jsonl").read_bytes()
    assert Dataset.open(tmp_path / "one").annotations.equals(Dataset.open(tmp_path / "two").annotations)
    other = run_build(tmp_path / "other", pair, recipe="mixed", settings=(*many(8), "seed=1"))
    assert other.info.label_digest != one.info.label_digest
    again = run_build(tmp_path / "one", pair, **MANY)
    assert (again.made, again.kept) == (0, one.made)


def test_a_limit_keeps_ids_and_labels(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=6, test=5, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    run_build(tmp_path / "all", pair, **MANY)
    run_build(tmp_path / "some", pair, **MANY, limit=2)
    everyone = Dataset.open(tmp_path / "all").annotations.set_index("sample_id")
    some = Dataset.open(tmp_path / "some").annotations.set_index("sample_id")
    assert 0 < len(some) < len(everyone)
    assert some.drop(columns="repairs").equals(everyone.loc[some.index].drop(columns="repairs"))
    assert {r["image"] for r in rejected(tmp_path / "some")} | set(some["source_image"]) == set(everyone["source_image"])


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted build; ``gf`` beside it is its source."""
    folder = tmp_path_factory.mktemp("resume")
    write_gazefollow(folder / "gf", test=10, scale=4)
    run_build(folder / "whole", f"gazefollow={folder / 'gf'}", recipe="mixed", settings=many(20), name="mixed-custom")
    return folder / "whole"


def test_builds_killed_at_random_end_the_same(whole: Path, tmp_path: Path) -> None:
    """kill -9, of the process and its workers, at random moments of its life, until the build is done for all that."""
    rng = np.random.default_rng(0)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "srgaze360"]
    words += command(out, f"gazefollow={whole.parent / 'gf'}", settings=many(20), workers=2)
    shards = out / ".build" / "shards"
    for done in (1, 5):  # so many shards are done at least when it is killed, a moment later
        process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(shards.glob("[0-9]*.json"))) < done and process.poll() is None:
            assert time.monotonic() < deadline, "the build makes no progress"
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = len(list(shards.glob("[0-9]*.json")))
    assert kept >= 1
    if not (out / "dataset.yaml").exists():
        with pytest.raises(InputError, match="has no dataset.yaml.*the same build command resumes it"):
            Dataset.open(out)
    finished = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report["kept"] > 32 * (kept - 1)  # what was done is not done again; the last shard is a short one
    assert report["made"] + report["kept"] == 200
    assert files(out) == files(whole)
    assert not list(out.rglob(TEMPORARY_PATTERN))
    assert verify(out) == []


class Killed(BaseException):
    """What ends a process at once."""


@pytest.mark.parametrize(
    "moment", ["write_rejected", "annotations_writer", "write_card", "write_citation", "write_croissant", "write_info"]
)
def test_builds_that_end_while_the_dataset_is_written_end_the_same(
    moment: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    out, pair = tmp_path / "out", f"gazefollow={whole.parent / 'gf'}"
    build = {"recipe": "mixed", "settings": many(20), "name": "mixed-custom"}
    shutil.copytree(whole, out)  # all shards are done
    for file in [path for path in out.iterdir() if path.is_file()]:
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(finalise_module, moment, killed)
        with pytest.raises(Killed):
            run_build(out, pair, **build)
    assert not (out / "dataset.yaml").exists()
    (out / ".annotations.99.tmp.parquet").write_bytes(b"left behind")
    report = run_build(out, pair, **build)
    assert (report.made, report.kept) == (0, 200)
    assert files(out) == files(whole)
    assert not list(out.rglob(TEMPORARY_PATTERN))


# --- the folder is safe -----------------------------------------------------------------------------------------------


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=2, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="to be new, empty, or a build to resume, found there: thesis.tex"):
        run_build(tmp_path / "mine", pair, **FEW)
    with pytest.raises(InputError, match="removes only what a build wrote, but .* also holds: thesis.tex"):
        run_build(tmp_path / "mine", pair, **FEW, overwrite=True)
    run_build(tmp_path / "out", pair, **FEW)
    with pytest.raises(InputError, match="begun with another recipe, other sources or another --limit"):
        run_build(tmp_path / "out", pair, recipe="mixed", settings=(*TINY, "seed=1"))
    assert run_build(tmp_path / "out", pair, recipe="mixed", settings=(*TINY, "seed=1"), overwrite=True).made > 0


def test_versions_are_not_mixed_in_one_build(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=2, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    run_build(tmp_path / "out", pair, **FEW)
    record = tmp_path / "out" / ".build" / "build.json"
    content = json.loads(record.read_text())
    content["machine"]["opencv-python"] = "4.14.0"
    record.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"other versions \(opencv-python 4.14.0 \(now 5"):
        run_build(tmp_path / "out", pair, **FEW)
