"""Whatever is missing or damaged in a dataset is found, made again, and comes out as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from building import files, run_build, run_command
from photos import write_gazefollow

from builders.building import repair as repair_module
from builders.building.folder import machine
from builders.building.repair import Repaired, repair
from builders.building.verify import verify
from srgaze360.dataset import read_info
from srgaze360.errors import EnvironmentProblem, InputError

SETTINGS = ("output.width=256", "suites.mixed.draw.background=black", "suites.mixed.copies=6")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 36 panoramas in two shards; ``gf`` beside it is its source."""
    folder = tmp_path_factory.mktemp("repair")
    write_gazefollow(folder / "gf", test=6, scale=4)
    run_build(folder / "sound", f"gazefollow={folder / 'gf'}", recipe="mixed", settings=SETTINGS)
    return folder / "sound"


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "out")
    return tmp_path / "out"


def flip(path: Path, position: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0x10
    path.write_bytes(content)


def paths(root: Path) -> list[str]:
    return [json.loads(line)["path"] for line in (root / "manifest.jsonl").read_text().splitlines()]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


SHARD = ".build/shards/000001.json"
DAMAGE: dict[str, tuple[Callable[[Path], object], str, Repaired]] = {
    "a truncated panorama": (lambda root: truncate(root / paths(root)[3]), "files", Repaired(1, 0)),
    "a missing panorama": (lambda root: (root / paths(root)[34]).unlink(), "files", Repaired(1, 0)),
    "a flipped bit in a panorama": (lambda root: flip(root / paths(root)[7], 0.6), "files", Repaired(1, 0)),
    "a whole split lost": (lambda root: shutil.rmtree(root / "panoramas" / "test"), "files", Repaired(36, 0)),
    "annotations cut short": (lambda root: truncate(root / "annotations.parquet"), "labels", Repaired(0, 0)),
    "no annotations": (lambda root: (root / "annotations.parquet").unlink(), "labels", Repaired(0, 0)),
    "no manifest": (lambda root: (root / "manifest.jsonl").unlink(), "labels", Repaired(0, 0)),
    "a manifest of noise": (lambda root: (root / "manifest.jsonl").write_bytes(b"\xff\x00{"), "labels", Repaired(0, 0)),
    "a manifest cut short": (lambda root: truncate(root / "manifest.jsonl"), "labels", Repaired(0, 0)),
    "a line of the manifest changed": (
        lambda root: rewrite(root / "manifest.jsonl", '"bytes":', '"bytes":1'),
        "files",
        Repaired(0, 0),
    ),
    "another recipe": (
        lambda root: rewrite(root / "dataset.yaml", "quality: 92", "quality: 93"),
        "recipe",
        Repaired(0, 0),
    ),
    "no list of rejected rows": (lambda root: (root / "rejected.csv").unlink(), "files", Repaired(0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended_to_the_same_dataset(what: str, sound: Path, out: Path) -> None:
    damage, level, expected = DAMAGE[what]
    damage(out)
    findings = verify(out)
    assert level in {finding.level for finding in findings}, findings
    assert repair(out) == expected
    assert verify(out) == []
    assert files(out) == files(sound)


@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_anywhere_in_the_annotations_is_found(position: float, sound: Path, out: Path) -> None:
    flip(out / "annotations.parquet", position)
    assert verify(out, "files")
    repair(out)
    assert (out / "annotations.parquet").read_bytes() == (sound / "annotations.parquet").read_bytes()


def test_levels_stop_where_they_say(out: Path) -> None:
    truncate(out / paths(out)[3])
    (out / "annotations.parquet").unlink()
    assert verify(out, "recipe") == []
    assert [finding.level for finding in verify(out, "labels")] == ["labels"]
    assert [finding.level for finding in verify(out, "files")] == ["labels", "files", "files"]


def test_a_lost_or_damaged_record_of_a_shard_is_made_again(sound: Path, out: Path) -> None:
    flip(out / SHARD, 0.5)
    assert verify(out) == []  # the dataset is sound without it
    assert repair(out) == Repaired(0, 1)
    (out / SHARD).unlink()
    (out / "dataset.yaml").write_text("name: [")
    assert repair(out) == Repaired(0, 1)
    assert verify(out) == []
    assert files(out) == files(sound)


def test_foreign_files_are_named_and_left_alone(out: Path) -> None:
    stranger = out / "panoramas" / "test" / "notes.txt"
    stranger.write_text("mine")
    (out / "panoramas" / "test" / ".half.123.tmp.jpg").write_bytes(b"x")  # left by a process that was killed
    repair(out)
    assert [(finding.kind, finding.where) for finding in verify(out)] == [("not in the manifest", "panoramas/test/notes.txt")]
    assert stranger.read_text() == "mine"


def test_sources_that_moved_are_asked_for(sound: Path, out: Path) -> None:
    record = out / ".build" / "build.json"
    content = json.loads(record.read_text())
    content["sources"][0]["root"] = "/nowhere/gazefollow"
    record.write_text(json.dumps(content))
    (out / "annotations.parquet").unlink()
    repair(out)  # tables need no source
    truncate(out / paths(out)[0])
    message = r"no folder for gazefollow at /nowhere/gazefollow. .*srgaze360 verify .* --repair --source gazefollow=DIR"
    with pytest.raises(InputError, match=message) as raised:
        repair(out)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="was not built from childplay, but from gazefollow"):
        repair(out, {"childplay": sound.parent / "gf"})
    assert repair(out, {"gazefollow": sound.parent / "gf"}) == Repaired(1, 0)
    assert files(out) == files(sound)


def test_sources_that_changed_are_refused(sound: Path, out: Path, tmp_path: Path) -> None:
    truncate(out / paths(out)[0])
    write_gazefollow(tmp_path / "fewer", test=5, scale=4)
    with pytest.raises(InputError, match="their photos or labels have changed"):
        repair(out, {"gazefollow": tmp_path / "fewer"})
    shutil.copytree(sound.parent / "gf", tmp_path / "other")
    for here, there in (("0", "5"), ("5", "0")):
        shutil.copy(sound.parent / "gf" / "test2" / f"0000000{here}.png", tmp_path / "other" / "test2" / f"0000000{there}.png")
    with pytest.raises(InputError, match="1 panoramas of .* came out otherwise .* Their source photos have changed"):
        repair(out, {"gazefollow": tmp_path / "other"})
    flip(out / SHARD, 0.5)  # and where there is no record to compare with, the dataset's own digests tell
    (out / paths(out)[0]).write_bytes((sound / paths(out)[0]).read_bytes())
    with pytest.raises(InputError, match="as it was, with label digest .* They have changed: build anew with --overwrite"):
        repair(out, {"gazefollow": tmp_path / "other"})
    repair(out)
    assert files(out) == files(sound)


def test_other_versions_are_refused_unless_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = machine() | {"opencv-python": "5.9.9"}
    (out / paths(out)[33]).unlink()
    monkeypatch.setattr(repair_module, "machine", lambda: now)
    with pytest.raises(EnvironmentProblem, match=r"1 panoramas and 0 shards .* \(now 5.9.9\).*--other-versions"):
        repair(out)
    monkeypatch.setattr("builders.building.shards.machine", lambda: now)
    assert repair(out, other_versions=True) == Repaired(0, 1)
    assert verify(out) == []
    assert read_info(out).versions["opencv-python"] == f"{machine()['opencv-python']} and 5.9.9"


def test_without_records_of_the_build_there_is_nothing_to_repair_with(out: Path) -> None:
    shutil.rmtree(out / ".build")
    assert verify(out) == []
    with pytest.raises(InputError, match="its working files were left out when it was copied"):
        repair(out)


def test_the_command_finds_repairs_and_ends_clean(sound: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = partial(run_command, capsys, "verify", str(out))
    truncate(out / paths(out)[0])
    flip(out / paths(out)[35], 0.5)
    found = run()
    assert found.code == 1
    assert f"2 findings in {out}. Run srgaze360 verify {out} --repair" in found.err
    assert run("--level", "labels").code == 0
    mended = run("--repair", "--workers", "1")
    assert mended.code == 0, mended.err
    assert "Made again: 2 panoramas, 0 whole shards, and the tables." in mended.err
    assert "all is as it was built, down to level pixels" in mended.out
    assert files(out) == files(sound)
    assert "Did you mean 'labels'" in run("--level", "label").err
