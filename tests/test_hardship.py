"""Bad input and a failing machine: each has its defined outcome, and no photo ever stops a build."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import TINY, files, many, rejected, run_build
from photos import write_gazefollow
from PIL import Image

from builders.building.verify import verify
from builders.commands import open_sources
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError


def test_bad_photos_and_labels_are_rejected_with_reasons(tmp_path: Path) -> None:
    gf = tmp_path / "gf"
    planted = write_gazefollow(gf, test=8, annotators=1, scale=4)
    rows = (gf / "test_annotations_release.txt").read_text(encoding="utf-8-sig").splitlines()
    paths = [item.path for item in planted]
    (gf / paths[0]).unlink()
    (gf / paths[1]).write_bytes(b"this is no picture")
    (gf / paths[2]).write_bytes(b"")
    (gf / paths[3]).write_bytes((gf / paths[3]).read_bytes()[:200])
    fields = rows[4].split(",")
    fields[10:14] = [fields[12], fields[13], fields[10], fields[11]]
    rows[4] = ",".join(fields)  # inverted head box: repaired
    fields = rows[5].split(",")
    rows[5] = ",".join([*fields[:8], "nan", *fields[9:]])  # NaN gaze: rejected
    fields = rows[6].split(",")
    rows[6] = ",".join([*fields[:10], "900", "10", "950", "60", *fields[14:]])  # head box beyond the photo: rejected
    (gf / "test_annotations_release.txt").write_text("\n".join(rows))
    report = run_build(tmp_path / "out", f"gazefollow={gf}", recipe="mixed", settings=many(2))
    data = Dataset.open(tmp_path / "out").annotations
    assert set(data["source_image"]) == {paths[4], paths[7]}
    repairs = data[data["source_image"] == paths[4]]["repairs"].iloc[0]
    assert any("inverted" in repair for repair in repairs)
    reasons = {row["image"]: row["reason"] for row in rejected(tmp_path / "out")}
    assert set(reasons) == {paths[0], paths[1], paths[2], paths[3], paths[5], paths[6]}
    for path, word in [(0, "missing"), (1, "photo"), (2, "empty"), (3, "photo"), (5, "gaze_x"), (6, "outside the photo")]:
        assert word in reasons[paths[path]], reasons[paths[path]]
    assert sum(report.reasons.values()) == len(rejected(tmp_path / "out"))
    # once per row, not once per suite: the fault is the photo's
    assert len(rejected(tmp_path / "out")) == 6


def test_a_label_the_lens_cannot_image_is_rejected_there_and_kept_elsewhere(tmp_path: Path) -> None:
    gf = tmp_path / "gf"
    write_gazefollow(gf, test=1, annotators=1)
    row = (gf / "test_annotations_release.txt").read_text(encoding="utf-8-sig").split(",")
    row[8:10] = ["0.999", "0.999"]
    (gf / "test_annotations_release.txt").write_text(",".join(row))
    fold = "lenses.folding={lens: brown-conrady, params: [-0.35, 0, 0, 0, 0, 0, 0, 0]}"
    settings = (*TINY, fold, "suites.roll={vary: {lens: [pinhole, folding]}, draw: {fov_deg: 88}}")
    run_build(tmp_path / "out", f"gazefollow={gf}", recipe="mixed", settings=settings)
    lost = [row for row in rejected(tmp_path / "out") if row["suite"] != "mixed"]
    assert [(item["suite"], item["condition"], item["reason"]) for item in lost] == [
        ("roll", "lens=folding", "gaze lies beyond what the lens can image")
    ]
    assert "lens=pinhole" in set(Dataset.open(tmp_path / "out").annotations["condition"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda gf: (gf / "test_annotations_release.txt").write_text(""), "test_annotations_release.txt"),
        (lambda gf: (gf / "test_annotations_release.txt").unlink(), "annotations_release.txt"),
    ],
)
def test_empty_files_and_wrong_folders_stop_with_one_paragraph(tmp_path: Path, spoil: Any, message: str) -> None:
    write_gazefollow(tmp_path / "gf", test=1, scale=4)
    spoil(tmp_path / "gf")
    with pytest.raises(InputError, match=message) as raised:
        run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=TINY)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_build_in_which_everything_is_rejected_says_why(tmp_path: Path) -> None:
    planted = write_gazefollow(tmp_path / "gf", test=2, scale=4)
    for item in planted:
        (tmp_path / "gf" / item.path).unlink()
    with pytest.raises(InputError, match=r"every source row was rejected. Reasons: .*missing.* \(2\)"):
        run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=TINY)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["gazefollow"], "Expected --source KIND=DIR, found 'gazefollow'"),
        (["gazefolow=x"], "Unknown source 'gazefolow'. Did you mean 'gazefollow'"),
        ([], "Expected at least one --source with gaze labels"),
        (["gazefollow={gf}", "gazefollow={gf}"], "several folders for: gazefollow"),
    ],
)
def test_wrong_sources_are_explained(tmp_path: Path, pairs: list[str], message: str) -> None:
    write_gazefollow(tmp_path / "gf", test=1, scale=4)
    with pytest.raises(InputError, match=message):
        open_sources([pair.format(gf=tmp_path / "gf") for pair in pairs], {})


def test_giant_photos_do_not_stop_a_build(tmp_path: Path) -> None:
    """A header that claims more pixels than the limit is rejected before anything is decoded."""
    gf = tmp_path / "gf"
    planted = write_gazefollow(gf, test=2, scale=4)
    bomb = bytearray((gf / planted[0].path).read_bytes())
    bomb[16:24] = (60000).to_bytes(4, "big") * 2  # PNG header: width, height
    (gf / planted[0].path).write_bytes(bomb)
    run_build(tmp_path / "out", f"gazefollow={gf}", recipe="mixed", settings=TINY)
    assert "60000 x 60000" in rejected(tmp_path / "out")[0]["reason"]


# --- photos of every kind ---------------------------------------------------------------------------------------------


def stored(path: Path, mode: str, kind: str, **options: Any) -> None:
    """Store a photo again under its name, in another mode and format."""
    image = Image.open(path).convert("RGB")
    deep = mode == "I;16"
    image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if deep else image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    path.write_bytes(stream.getvalue())


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


USED: list[Any] = [
    lambda path: stored(path, "L", "JPEG"),
    lambda path: stored(path, "CMYK", "JPEG"),
    lambda path: stored(path, "RGB", "JPEG", exif=turned()),
    lambda path: stored(path, "RGB", "JPEG", progressive=True),
    lambda path: stored(path, "I;16", "PNG"),
    lambda path: stored(path, "RGBA", "PNG"),
    lambda path: stored(path, "P", "PNG"),
]


def cut(path: Path, end: int) -> None:
    path.write_bytes(path.read_bytes()[:end])


def patch(path: Path, start: int, content: bytes) -> None:
    old = path.read_bytes()
    path.write_bytes(old[:start] + content + old[start + len(content) :])


REFUSED: list[Any] = [
    (lambda path: path.unlink(), "photo is missing"),
    (lambda path: cut(path, 0), "photo is empty (0 bytes)"),
    (lambda path: cut(path, 300), "photo is truncated (the PNG has no end chunk)"),
    (lambda path: (stored(path, "RGB", "JPEG"), cut(path, -20)), "photo is truncated (the JPEG has no end marker)"),
    (lambda path: stored(path, "RGB", "GIF"), "photo is neither JPEG nor PNG (GIF)"),
    (lambda path: path.write_bytes(b"<html>404"), "photo is neither JPEG nor PNG (text)"),
    (lambda path: (path.unlink(), path.mkdir()), "photo is a folder"),
    (
        lambda path: patch(path, 16, (60000).to_bytes(4, "big") * 2),
        "photo has more than 200 megapixels (60000 x 60000 pixels)",
    ),
    (lambda path: patch(path, 60, b"??"), "photo is damaged: a PNG chunk fails its checksum (b'IDAT')"),
]


def test_every_photo_is_used_or_rejected_with_a_reason(tmp_path: Path) -> None:
    gf = tmp_path / "gf"
    photos = [item.path for item in write_gazefollow(gf, test=len(USED) + len(REFUSED), annotators=1, scale=4)]
    for path, change in zip(photos, [*USED, *(change for change, _ in REFUSED)], strict=True):
        change(gf / path)
    report = run_build(tmp_path / "out", f"gazefollow={gf}", recipe="mixed", settings=TINY, workers=2)
    assert list(Dataset.open(tmp_path / "out").annotations["source_image"]) == photos[: len(USED)]
    reasons = {row["image"]: row["reason"] for row in rejected(tmp_path / "out")}
    assert reasons == dict(zip(photos[len(USED) :], (reason for _, reason in REFUSED), strict=True))
    assert sum(report.reasons.values()) == len(REFUSED)
    assert verify(tmp_path / "out") == []


def test_a_photo_that_may_not_be_read_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [item.path for item in write_gazefollow(tmp_path / "gf", test=3, annotators=1, scale=4)]
    forbid(tmp_path / "gf" / photos[1], monkeypatch)
    run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=many(1))
    assert {row["image"]: row["reason"] for row in rejected(tmp_path / "out")} == {
        photos[1]: "photo may not be read (permission denied)"
    }


def forbid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the permission to read a file; from root it cannot be taken, so there the system's answer is put on."""
    if os.geteuid():
        path.chmod(0)
        return
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["panorama", "shard record", "manifest"])
def test_a_full_disk_stops_with_one_paragraph_and_the_build_goes_on_later(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gazefollow(tmp_path / "gf", test=6, scale=4)
    build: dict[str, Any] = {"recipe": "mixed", "settings": many(12)}
    pair = f"gazefollow={tmp_path / 'gf'}"
    run_build(tmp_path / "whole", pair, **build)
    names = {"panorama": ".jpg", "shard record": "000001", "manifest": "manifest"}
    replace, written = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        written.append(target)
        if names[when] in target.name and len(written) > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(EnvironmentProblem, match="the system refused: No space left on device. Check free space") as raised:
            run_build(tmp_path / "out", pair, **build)
    assert "run the same command again" in str(raised.value)
    assert "\n" not in str(raised.value)
    report = run_build(tmp_path / "out", pair, **build)
    assert report.kept >= 32
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_photo_that_breaks_the_program_holds_up_its_shard_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what a photo may do; whatever it is, the rest is built and the shard is named."""
    from builders.building import shards

    write_gazefollow(tmp_path / "gf", test=6, scale=4)
    make, seen = shards.make_panorama, []

    def breaks(task: Any, job: Any) -> Any:
        seen.append(task)
        if len(seen) == 40:
            raise MemoryError("Unable to allocate 3.2 GiB")
        return make(task, job)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "make_panorama", breaks)
        with pytest.raises(EnvironmentProblem, match=r"but 1 cannot .*: 1 \(1: MemoryError: Unable to allocate 3.2 GiB\)"):
            run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=many(12))
    report = run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=many(12))
    assert (report.made, report.kept) == (32, 40)
