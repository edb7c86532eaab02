"""Parts of a build made apart, in one folder or in several, join to the dataset that one process makes."""

from __future__ import annotations

import json
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from building import command, files, many, run_build, run_command
from photos import write_gazefollow

from builders.building.folder import say_shards
from builders.building.merging import merge
from builders.building.verify import verify
from srgaze360.errors import CheckFailed, InputError

SHARDS = 4  # of 120 panoramas


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted build; ``gf`` beside it is its source."""
    folder = tmp_path_factory.mktemp("merge")
    write_gazefollow(folder / "gf", test=10, scale=4)
    (folder / "gf" / "test2" / "00000004.png").unlink()  # something to reject
    run_part(folder / "whole", folder)
    return folder / "whole"


def run_part(out: Path, folder: Path, **rest: Any) -> Any:
    return run_build(out, f"gazefollow={folder / 'gf'}", recipe="mixed", settings=many(12), **rest)


def test_parts_in_one_folder_make_the_same_dataset(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reports = [run_part(out, whole.parent, part=(i, 3)) for i in (3, 1)]
    assert [(r.made, r.kept, r.shards, r.missing) for r in reports] == [(32, 0, SHARDS, 3), (56, 0, SHARDS, 1)]
    assert not (out / "dataset.yaml").exists()
    with pytest.raises(CheckFailed, match="Expected 4 shards in .*, but 1 are missing: 1. Run the parts that failed again"):
        merge(out)
    again = run_part(out, whole.parent, part=(1, 3))
    assert (again.made, again.kept) == (0, 56)
    assert run_part(out, whole.parent, part=(2, 3)).missing == 0
    info, reasons = merge(out)
    assert files(out) == files(whole)
    assert reasons == {"photo is missing": 1}
    assert merge(out) == (info, reasons)  # once more does no harm
    assert verify(out) == []


def test_more_parts_than_shards_leave_some_with_nothing_to_do(whole: Path, tmp_path: Path) -> None:
    reports = [run_part(tmp_path / "out", whole.parent, part=(i, 6)) for i in range(1, 7)]
    assert [report.made for report in reports] == [32, 32, 32, 24, 0, 0]
    merge(tmp_path / "out")
    assert files(tmp_path / "out") == files(whole)


def test_folders_built_apart_are_joined(whole: Path, tmp_path: Path) -> None:
    for i in (1, 2):
        run_part(tmp_path / f"part{i}", whole.parent, part=(i, 2))
    out = tmp_path / "out"
    with pytest.raises(CheckFailed, match="2 are missing: 1, 3"):
        merge(out, [tmp_path / "part1"])
    merge(out, [tmp_path / "part1", tmp_path / "part2"])
    assert files(out) == files(whole)
    assert verify(out) == []


def test_only_sound_parts_of_the_same_build_are_joined(whole: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "one" / "dataset.yaml").unlink()
    (tmp_path / "one" / ".build" / "shards" / "000001.json").unlink()
    record = tmp_path / "two" / ".build" / "build.json"
    sound = record.read_text()
    for change, message in (
        ({"plan": "0" * 64}, "two to hold shards of the build in .*one, but it was begun with another recipe"),
        ({"machine": json.loads(sound)["machine"] | {"numpy": "1.0"}}, r"begun with other versions \(numpy .*\(now 1.0\)"),
    ):
        record.write_text(json.dumps(json.loads(sound) | change))
        with pytest.raises(InputError, match=message):
            merge(tmp_path / "one", [tmp_path / "two"])
    record.write_text(sound)
    lines = (tmp_path / "two" / "manifest.jsonl").read_text().splitlines()
    panorama = tmp_path / "two" / json.loads(lines[40])["path"]
    panorama.write_bytes(panorama.read_bytes()[:-1])
    with pytest.raises(InputError, match="to be as shard 1 made it, but it is damaged. Delete .*000001.json, build that part"):
        merge(tmp_path / "one", [tmp_path / "two"])
    assert not (tmp_path / "one" / "dataset.yaml").exists()


def test_a_folder_without_a_build_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a build in .*nothing was begun in this folder"):
        merge(tmp_path)


def test_a_damaged_record_of_a_shard_is_named(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "out")
    (tmp_path / "out" / "dataset.yaml").unlink()
    shard = tmp_path / "out" / ".build" / "shards" / "000002.json"
    shard.write_text(shard.read_text().replace('"split":"test"', '"split":"tesT"', 1))
    with pytest.raises(InputError, match="000002.json, but it cannot be used: its content is not what its first line says"):
        merge(tmp_path / "out")
    shard.unlink()
    run_part(tmp_path / "out", whole.parent)
    assert files(tmp_path / "out") == files(whole)


def test_the_commands_say_what_is_left_and_what_to_do(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = partial(run_command, capsys)
    out = tmp_path / "out"
    words = command(out, f"gazefollow={whole.parent / 'gf'}", settings=many(12), workers=1)
    part = run(*words, "--shard", "2/2")
    assert part.code == 0, part.err
    assert "Part 2/2: 56 panoramas made, 0 found; 2 of 4 shards are missing. Next: srgaze360 merge" in part.err
    early = run("merge", str(out))
    assert early.code == 1
    advice = early.err.partition("with one command: ")[2].strip().removesuffix(".")
    assert advice.startswith("srgaze360 build mixed --source gazefollow=")
    assert "--shard" not in advice
    for wrong, message in (
        (["--shard", "0/2"], "from 1 to n, found '0/2'"),
        (["--shard", "1/2", "--overwrite"], "other parts"),
    ):
        refused = run(*words, *wrong)
        assert refused.code == 2
        assert message in refused.err
    finished = run(*shlex.split(advice)[1:], "--workers", "1")  # what it says to do works as it stands
    assert finished.code == 0, finished.err
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    merged = run("merge", str(out), "--json")
    assert json.loads(merged.out)["info"]["name"] == "mixed-custom"


def test_runs_of_shards_are_short_to_say() -> None:
    assert say_shards([0, 1, 2, 5, 8, 9]) == "0-2, 5, 8-9"
