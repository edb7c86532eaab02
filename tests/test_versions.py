"""New versions of a dataset: what was edited is changed, all that follows from it, and nothing else; digests hold."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from building import run_build
from hypothesis import given
from hypothesis import strategies as st
from photos import write_gazefollow
from sound import Row, rows_of, sound_dataset, write_sound

from annotation.applying import BOX, apply_edits, photo_shows
from annotation.edits import Addition, Edit
from annotation.versions import CHANGELOG_FILE, CHANGES_FILE, next_version, revise
from builders.building.verify import verify
from builders.publishing.diff import diff
from leaderboard.sealing import seal
from srgaze360 import headbox, sphere
from srgaze360.croissant import write_croissant
from srgaze360.dataset import COLUMNS, SEAM_CONDITIONS, Dataset, read_manifest
from srgaze360.errors import InputError
from srgaze360.files import digest_file

DERIVED = {
    "head": {*BOX, "head_lon_deg", "head_lat_deg", "head_radius_deg", "head_band", "crosses_seam"},
    "gaze": {"gaze_points_deg", "gaze_annotators", "gaze_lon_deg", "gaze_lat_deg", "gaze_band", "crosses_seam"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """48 people on 24 panoramas; not to be changed."""
    found = sound_dataset(tmp_path_factory.mktemp("versions") / "data", people=12)
    assert verify(found.root) == []
    return found


def content(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def person(data: Dataset, index: int = 0, *, in_frame: bool = True) -> Row:
    return [row for row in rows_of(data.root) if row["in_frame"] == in_frame][index]


def row_of(root: Path, sample_id: str) -> Row:
    [row] = [row for row in rows_of(root) if row["sample_id"] == sample_id]
    return row


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def slow_direction(lon_deg: float, lat_deg: float) -> np.ndarray:
    lon, lat = np.radians([lon_deg, lat_deg])
    return np.array([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)])


# --- a whole version --------------------------------------------------------------------------------------------------


def test_a_version_verifies_says_what_it_is_and_leaves_the_original_alone(data: Dataset, tmp_path: Path) -> None:
    before = content(data.root)
    moved, gone, flagged = person(data, 0), person(data, 5), person(data, 9)
    edits = [
        Edit(sample_id=moved["sample_id"], gaze_points_deg=[[10.0, 5.0]], gaze_annotators=["ann"], comment="off by a person"),
        Edit(sample_id=gone["sample_id"], rejected=True, annotator="bob", comment="no\nhead"),
        Edit(sample_id=flagged["sample_id"], ambiguous=True, in_frame=False),
    ]
    info, counts = revise(data, edits, tmp_path / "new", note="After a look.", date="2026-01-31")
    assert content(data.root) == before
    assert verify(tmp_path / "new") == []
    assert counts == {"gaze moved": 1, "removed": 1, "in-frame flag": 1, "ambiguous flag": 1}

    new = Dataset.open(tmp_path / "new")
    assert new.info == info
    assert (info.name, info.version, info.rejected) == ("fake", "1.0.1", 1)
    assert info.label_digest != data.info.label_digest
    assert info.pixel_digest == data.info.pixel_digest
    assert [revision.model_dump() for revision in info.revisions] == [
        {"version": "1.0.0", "label_digest": data.info.label_digest, "changes": counts}
    ]
    assert info.splits[gone["split"]].people == data.info.splits[gone["split"]].people - 1
    assert len(new) == 47

    old_rows = {row["sample_id"]: row for row in rows_of(data.root)}
    for row in rows_of(tmp_path / "new"):
        old = old_rows[row["sample_id"]]
        changed = {name for name in COLUMNS if row[name] != old[name]}
        allowed = {moved["sample_id"]: DERIVED["gaze"], flagged["sample_id"]: {"in_frame"}}.get(row["sample_id"], set())
        assert changed <= allowed
        assert row["face"] == old["face"]
        assert row["ambiguous"] == (True if row["sample_id"] == flagged["sample_id"] else None)

    changelog = (tmp_path / "new" / CHANGELOG_FILE).read_text()
    assert "## 1.0.1 (2026-01-31)" in changelog
    assert "After a look." in changelog
    assert "| gaze moved | 1 |" in changelog
    assert data.info.label_digest in changelog
    listed = {line["what"]: line for line in lines(tmp_path / "new" / CHANGES_FILE)}
    assert json.loads(listed["gaze moved"]["before"]) == moved["gaze_points_deg"]
    assert json.loads(listed["gaze moved"]["after"]) == [[10.0, 5.0]]
    away = np.degrees(np.arccos(slow_direction(10.0, 5.0) @ slow_direction(moved["gaze_lon_deg"], moved["gaze_lat_deg"])))
    assert float(listed["gaze moved"]["moved_deg"]) == pytest.approx(away, abs=1e-5)
    assert listed["removed"]["annotator"] == "bob"
    rejected = lines(tmp_path / "new" / "rejected.csv")
    assert [line["reason"] for line in rejected] == ["blurred", "taken out in version 1.0.1: no head"]
    assert (rejected[1]["image"], rejected[1]["person"]) == (gone["source_image"], gone["source_person"])

    citation = yaml.safe_load((tmp_path / "new" / "CITATION.cff").read_text())
    assert (citation["version"], citation["authors"]) == ("1.0.1", [{"name": "Somebody"}])
    assert citation["identifiers"][0]["value"] == f"sha256:{info.label_digest}"
    readme = (tmp_path / "new" / "README.md").read_text()
    assert readme.startswith("# fake 1.0.1\n\n47 people on 24 panoramas.")
    assert readme.endswith("The card.\n")
    croissant = json.loads((tmp_path / "new" / "croissant.json").read_text())
    assert "Changed after version 1.0.0: ambiguous flag (1)" in croissant["rai:dataAnnotationProtocol"][1]
    assert diff(data.root, tmp_path / "new", pixels=True).levels == ["labels"]


def test_a_version_of_a_version_keeps_the_history(data: Dataset, tmp_path: Path) -> None:
    one, two = person(data, 0), person(data, 1)
    revise(data, [Edit(sample_id=one["sample_id"], gaze_points_deg=[])], tmp_path / "one")
    revise(
        Dataset.open(tmp_path / "one"), [Edit(sample_id=two["sample_id"], in_frame=False)], tmp_path / "two", version="1.1.0"
    )
    assert verify(tmp_path / "two") == []
    info = Dataset.open(tmp_path / "two").info
    assert [revision.version for revision in info.revisions] == ["1.0.0", "1.0.1"]
    changelog = (tmp_path / "two" / CHANGELOG_FILE).read_text()
    assert changelog.index("## 1.1.0") < changelog.index("## 1.0.1")
    assert changelog.count("# Changes of fake") == 1
    assert [line["version"] for line in lines(tmp_path / "two" / CHANGES_FILE)] == ["1.0.1", "1.1.0"]
    readme = (tmp_path / "two" / "README.md").read_text()
    assert readme.count("The card.") == readme.count("Labels were changed") == 1
    assert "describes version 1.0.0" in readme


def test_the_same_edits_give_the_same_bytes_and_links_share_the_panoramas(data: Dataset, tmp_path: Path) -> None:
    edits = [Edit(sample_id=person(data)["sample_id"], head_box=(0.9, 0.4, 1.1, 0.6))]
    revise(data, edits, tmp_path / "copied")
    revise(data, edits, tmp_path / "deep" / "linked", link=True)
    assert content(tmp_path / "copied") == content(tmp_path / "deep" / "linked")
    path = person(data)["image_path"]
    assert (data.root / path).samefile(tmp_path / "deep" / "linked" / path)
    assert not (data.root / path).samefile(tmp_path / "copied" / path)


def test_a_panorama_without_people_goes(data: Dataset, tmp_path: Path) -> None:
    name = person(data)["panorama_id"]
    own = [row["sample_id"] for row in rows_of(data.root) if row["panorama_id"] == name]
    info, _ = revise(data, [Edit(sample_id=sample, rejected=True) for sample in own], tmp_path / "new")
    assert verify(tmp_path / "new") == []
    assert name not in {entry["panorama_id"] for entry in read_manifest(tmp_path / "new")}
    assert sum(split.panoramas for split in info.splits.values()) == 23
    assert info.pixel_digest != data.info.pixel_digest


def test_a_sealed_version_does_not_tell_the_digests_of_what_it_was(data: Dataset, tmp_path: Path) -> None:
    info, _ = revise(data, [Edit(sample_id=person(data)["sample_id"], gaze_points_deg=[])], tmp_path / "new")
    seal(Dataset.open(tmp_path / "new"), "test", tmp_path / "public", tmp_path / "labels.parquet", write_croissant)
    for path in (tmp_path / "public").iterdir():
        if path.suffix in (".yaml", ".json", ".jsonl", ".md", ".csv"):
            assert data.info.label_digest not in path.read_text(), path
            assert info.label_digest not in path.read_text(), path


def test_links_to_another_file_system_are_told(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", elsewhere)
    with pytest.raises(InputError, match="as hard links need it, found another. Leave out --link"):
        revise(data, [Edit(sample_id=person(data)["sample_id"], gaze_points_deg=[])], tmp_path / "new", link=True)
    assert list(tmp_path.iterdir()) == []


# --- what follows from a label ----------------------------------------------------------------------------------------


@given(
    u0=st.floats(0.0, 0.999),
    width=st.floats(0.01, 0.4),
    v0=st.floats(0.0, 0.9),
    height=st.floats(0.01, 0.1),
    points=st.lists(st.tuples(st.floats(-180.0, 180.0), st.floats(-90.0, 90.0)), min_size=1, max_size=6),
)
def test_everything_follows_from_box_and_points(
    data: Dataset, u0: float, width: float, v0: float, height: float, points: list[tuple[float, float]]
) -> None:
    rows = rows_of(data.root)[:4]
    box = (u0, v0, u0 + width, v0 + height)
    edit = Edit(sample_id=rows[1]["sample_id"], head_box=box, gaze_points_deg=points)
    row = apply_edits(rows, [edit]).rows[1]
    head = headbox.centre(box)
    np.testing.assert_allclose(slow_direction(row["head_lon_deg"], row["head_lat_deg"]), head, atol=1e-12)
    assert np.radians(row["head_radius_deg"]) == pytest.approx(float(headbox.radius(box)))
    total = np.sum([slow_direction(*point) for point in points], axis=0)
    if np.linalg.norm(total) < 1e-9 * len(points):  # they cancel out
        return
    gaze = total / np.linalg.norm(total)
    np.testing.assert_allclose(slow_direction(row["gaze_lon_deg"], row["gaze_lat_deg"]), gaze, atol=1e-9)
    assert -180.0 <= row["gaze_lon_deg"] < 180.0
    assert all(-180.0 <= lon < 180.0 for lon, _ in row["gaze_points_deg"])
    assert row["crosses_seam"] == bool(sphere.arc_crosses_seam(head, slow_direction(row["gaze_lon_deg"], row["gaze_lat_deg"])))
    for end, lat in (("head", row["head_lat_deg"]), ("gaze", row["gaze_lat_deg"])):
        low, high = (float(limit) for limit in row[f"{end}_band"].removesuffix(" deg").split("-"))
        assert low - 1e-8 <= abs(lat) <= high + 1e-8


def test_points_that_cancel_out_have_no_consensus(data: Dataset) -> None:
    rows = rows_of(data.root)[:2]
    row = apply_edits(rows, [Edit(sample_id=rows[0]["sample_id"], gaze_points_deg=[[0.0, 90.0], [3.0, -90.0]])]).rows[0]
    assert (row["gaze_lon_deg"], row["gaze_lat_deg"], row["gaze_band"], row["crosses_seam"]) == (None, None, None, False)
    assert row["gaze_points_deg"] == [[0.0, 90.0], [3.0, -90.0]]


def test_what_is_the_same_direction_is_no_change(data: Dataset) -> None:
    rows = rows_of(data.root)[:2]
    rows[0]["gaze_points_deg"] = [[-180.0, 10.0], [20.0, 90.0]]
    same = [[180.0, 10.0 + 1e-8], [-70.0, 90.0]]  # across the seam; at a pole, where longitude has no meaning
    box = tuple(rows[0][side] + 1e-8 for side in BOX)
    edit = Edit(sample_id=rows[0]["sample_id"], gaze_points_deg=same, head_box=box, in_frame=rows[0]["in_frame"])
    applied = apply_edits(rows, [edit])
    assert applied.changes == []
    assert applied.rows == rows
    named = apply_edits(rows, [Edit(sample_id=rows[0]["sample_id"], gaze_points_deg=same, gaze_annotators=["a", ""])])
    assert named.counts == {"annotators named": 1}
    assert named.rows[0]["gaze_annotators"] == ["a", ""]


def test_flags_of_nobody_asked_count_as_not(data: Dataset) -> None:
    rows = rows_of(data.root)[:2]
    sample = rows[0]["sample_id"]
    assert apply_edits(rows, [Edit(sample_id=sample, ambiguous=False)]).changes == []
    flagged = apply_edits(rows, [Edit(sample_id=sample, ambiguous=True)])
    assert flagged.counts == {"ambiguous flag": 1}
    assert apply_edits(flagged.rows, [Edit(sample_id=sample, ambiguous=False)]).counts == {"ambiguous flag": 1}


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_all_faults_are_told_at_once(data: Dataset, tmp_path: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(data.root)]
    edits = [
        Edit(sample_id="stranger", rejected=True),
        Edit(sample_id=ids[0], in_frame=True),
        Edit(sample_id=ids[0], in_frame=False),
        Edit(sample_id=ids[1], head_box=(0.5, 0.4, 0.4, 0.6)),
        Edit(sample_id=ids[2], head_box=(0.0, 0.4, 1.0, 0.6)),
        Edit(sample_id=ids[3], gaze_points_deg=[[181.0, 0.0]]),
        Edit(sample_id=ids[4], gaze_points_deg=[[0.0, float("nan")]]),
        Edit(sample_id=ids[5], gaze_points_deg=[[0.0, 0.0, 0.0]]),
        Edit(sample_id=ids[6], gaze_points_deg=[[0.0, 0.0]], gaze_annotators=["a", "b"]),
        Edit(sample_id=ids[7], gaze_annotators=["a"]),
    ]
    with pytest.raises(InputError) as caught:
        revise(data, edits, tmp_path / "new", additions=[Addition(panorama_id="nowhere", head_box=(0.1, 0.1, 0.2, 0.2))])
    told = str(caught.value)
    assert "1 of people who are not in the dataset: stranger" in told
    assert "1 that add people to panoramas that it has not: nowhere" in told
    assert f"1 more than one for a person: {ids[0]}" in told
    assert "2 with a head box that is none (0 <= u0 < 1, u0 < u1 <= u0 + 1, 0 <= v0 < v1 <= 1; full width only" in told
    assert f"up to a pole): {ids[1]}, {ids[2]}" in told
    assert f"3 with gaze points that are none (longitude within 180, latitude within 90 degrees): {ids[3]}, {ids[4]}" in told
    assert f"2 with more or fewer names of annotators than gaze points: {ids[6]}, {ids[7]}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_what_makes_no_version_is_refused(data: Dataset, tmp_path: Path) -> None:
    rows = rows_of(data.root)
    sample = rows[0]["sample_id"]
    edit = Edit(sample_id=sample, rejected=True)
    with pytest.raises(InputError, match="found none that does"):
        revise(data, [], tmp_path / "new")
    with pytest.raises(InputError, match="found none that does"):
        revise(data, [Edit(sample_id=sample, gaze_points_deg=rows[0]["gaze_points_deg"])], tmp_path / "new")
    with pytest.raises(InputError, match="found all 48 people taken out"):
        revise(data, [Edit(sample_id=row["sample_id"], rejected=True) for row in rows], tmp_path / "new")
    with pytest.raises(InputError, match="another version than that of the dataset, found '1.0.0'"):
        revise(data, [edit], tmp_path / "new", version="1.0.0")
    with pytest.raises(InputError, match="three numbers, such as 1.0.0, found 'final'"):
        revise(data, [edit], tmp_path / "new", version="final")
    for inside in (data.root, data.root / "new", data.root.parent):
        with pytest.raises(InputError, match="apart from the dataset"):
            revise(data, [edit], inside)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_next_version() -> None:
    assert next_version("1.0.9") == "1.0.10"
    assert next_version("0.3.0+sealed.test") == "0.3.1+sealed.test"
    with pytest.raises(InputError, match="found '1.0'"):
        next_version("1.0")


def test_labels_changed_behind_the_manifest_are_not_waved_through(tmp_path: Path) -> None:
    copied = sound_dataset(tmp_path / "data", people=4)
    rows = rows_of(copied.root)
    manifest = (copied.root / "manifest.jsonl").read_bytes()
    rows[3]["head_v1"] += 0.01
    write_sound(copied.root, copied, rows)
    (copied.root / "manifest.jsonl").write_bytes(manifest)
    with pytest.raises(InputError, match=f"found 1 panoramas where they are not: {rows[3]['panorama_id']}"):
        revise(copied, [Edit(sample_id=rows[0]["sample_id"], rejected=True)], tmp_path / "new")


def test_a_missing_panorama_and_a_broken_citation_leave_nothing_behind(tmp_path: Path) -> None:
    copied = sound_dataset(tmp_path / "data", people=4)
    edits = [Edit(sample_id=person(copied)["sample_id"], gaze_points_deg=[])]
    (copied.root / "CITATION.cff").write_text("- a list")
    with pytest.raises(InputError, match="Expected a citation"):
        revise(copied, edits, tmp_path / "new")
    (copied.root / person(copied)["image_path"]).unlink()
    with pytest.raises(InputError, match="Expected a panorama at"):
        revise(copied, edits, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


# --- on a build -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seam, pole and crowd from six photos; not to be changed."""
    folder = tmp_path_factory.mktemp("versions-built")
    write_gazefollow(folder / "gf", train=2, test=4, scale=4)
    settings = (
        "output.width=256", "output.format=png", "suites.mixed.draw.background=black",
        *(f"suites.{name}=null" for name in ("fov", "latitude", "roll", "lens", "tilt16", "background", "rotated", "rendered")),
    )  # fmt: skip
    run_build(folder / "data", f"gazefollow={folder / 'gf'}", settings=settings)
    return Dataset.open(folder / "data")


def test_the_condition_of_the_seam_follows_the_arc(built: Dataset, tmp_path: Path) -> None:
    rows = [row for row in rows_of(built.root) if row["suite"] == "seam"]
    assert {row["condition"] for row in rows} == {SEAM_CONDITIONS[True]}
    head = [rows[0]["head_lon_deg"], rows[0]["head_lat_deg"]]
    edit = Edit(sample_id=rows[0]["sample_id"], gaze_points_deg=[head])
    info, _ = revise(built, [edit], tmp_path / "new")
    assert verify(tmp_path / "new") == []
    row = row_of(tmp_path / "new", rows[0]["sample_id"])
    assert (row["crosses_seam"], row["condition"]) == (False, "beside")
    assert sorted(info.suites["seam"]) == ["across", "beside"]
    assert len(Dataset.open(tmp_path / "new").select(suite="seam", condition="beside")) == 1


def test_a_new_person_gets_the_photo_that_shows_them(built: Dataset, tmp_path: Path) -> None:
    crowd = [row for row in rows_of(built.root) if row["suite"] == "crowd"]
    name = max(
        {row["panorama_id"] for row in crowd}, key=lambda n: len({r["source_image"] for r in crowd if r["panorama_id"] == n})
    )
    own = [row for row in crowd if row["panorama_id"] == name]
    photos = {row["source_image"]: row for row in own}
    assert len(photos) > 1
    additions = []
    for row in photos.values():  # beside the middle of each photo
        lon, lat = row["yaw_deg"] + row["tilt_yaw_deg"], row["pitch_deg"]
        u, v = (lon / 360.0 + 0.5) % 1.0, 0.5 - lat / 180.0
        u0 = (u - 0.01) % 1.0
        additions.append(Addition(panorama_id=name, head_box=(u0, v - 0.01, u0 + 0.02, v + 0.01), gaze_points_deg=[[lon, lat]]))
    info, counts = revise(built, [], tmp_path / "new", additions=additions)
    assert counts == {"added": len(photos)}
    assert verify(tmp_path / "new") == []
    for item, row in zip(additions, photos.values(), strict=True):
        new = row_of(tmp_path / "new", item.sample_id)
        kept = ("source_image", "cluster_id", "camera", "yaw_deg", "split", "suite", "condition", "background", "image_path")
        assert all(new[column] == row[column] for column in kept)
        assert new["source_person"] == f"added-{item.sample_id[-8:]}"
        assert new["in_frame"] is True
    assert sum(split.people for split in info.splits.values()) == len(rows_of(built.root)) + len(photos)
    again = Dataset.open(tmp_path / "new")
    with pytest.raises(InputError, match="that add people who are there already"):
        revise(again, [], tmp_path / "two", additions=additions[:1])


def test_photos_show_the_people_in_them(built: Dataset) -> None:
    """What decides where new people belong, on people of whom that is known: lenses, tilts, poles, several photos."""
    for row in rows_of(built.root):
        assert photo_shows(slow_direction(row["head_lon_deg"], row["head_lat_deg"]), row)
        assert photo_shows(slow_direction(row["gaze_lon_deg"], row["gaze_lat_deg"]), row) == row["in_frame"]


def test_nobody_is_added_in_a_background(built: Dataset, tmp_path: Path) -> None:
    row: Any = next(row for row in rows_of(built.root) if row["suite"] == "canonical")
    behind = (row["yaw_deg"] / 360.0 + 1.0) % 1.0
    item = Addition(panorama_id=row["panorama_id"], head_box=(behind, 0.49, behind + 0.02, 0.51))
    with pytest.raises(InputError, match="1 that add people outside of every photo"):
        revise(built, [], tmp_path / "new", additions=[item])
