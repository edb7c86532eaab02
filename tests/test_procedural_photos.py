"""Folders of rendered photos: the labels that the scenes have, in the layout of the real ones, whatever the workers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from rendered import contents, read_rows

from builders.procedural import plan_photo, sample_scene, write_gazefollow_folder
from builders.procedural.sidecar import SIDECAR_FILE
from builders.sources.base import resolve_person
from builders.sources.procedural import SOURCE
from srgaze360.errors import EnvironmentProblem, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered") / "photos"
    done = []
    written = write_gazefollow_folder(out, 12, 5, test_share=0.5, supersample=1, progress=done.append)
    assert written.photos == sum(done) == 12
    return out


def test_the_folder_is_what_was_asked_for(folder):
    """Read back by the source: the labels that the scenes have, photo by photo."""
    listing = SOURCE.read(folder, SOURCE.options())
    assert not listing.rejected
    assert not listing.repaired
    photos = {photo.image: photo for photo in listing.photos}
    record = json.loads((folder / "scenes.json").read_text())
    views = {view["image"]: (scene, view) for scene in record["scenes"] for view in scene["photos"]}
    assert len(views) == 12
    assert set(photos) == set(views) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    assert {scene["split"] for scene in record["scenes"]} == {"train", "test"}
    outside = 0
    for image, (entry, view) in views.items():
        scene = sample_scene(record["settings"]["seed"], entry["index"])
        number = [v["image"] for v in entry["photos"]].index(image)
        planned, labels = plan_photo(scene, number)
        assert view["hfov_deg"] == pytest.approx(planned.hfov_deg, abs=1e-6)
        pixels = cv2.imread(str(folder / image))
        assert pixels.shape[:2] == (view["height"], view["width"]) == (planned.camera.height, planned.camera.width)
        photo = photos[image]
        assert (photo.split, photo.cluster) == (entry["split"], entry["scene"])
        assert len(photo.people) == len(labels)
        for person, label in zip(photo.people, labels, strict=True):
            np.testing.assert_allclose(person.head_box, label.head_box, atol=1e-3)
            flags = label.flags
            assert {name: person.extras[name] for name in ("face", "visibility", "sight_line", "target_kind")} == vars(flags)
            assert person.in_frame == label.in_frame
            assert not isinstance(resolve_person(photo, person, view["width"], view["height"]), str)
            if label.in_frame:
                assert len(person.gaze) == 1 if photo.split == "train" else 8 <= len(person.gaze) <= 10
            elif label.target is None:
                assert person.gaze == ()
            else:
                np.testing.assert_allclose(person.gaze, [label.target], atol=1e-6)
                outside += 1
    assert outside >= 1
    assert len({p.person for photo in listing.photos for p in photo.people}) == sum(len(p.people) for p in listing.photos)


def test_annotation_files_have_the_layout_of_the_real_ones(folder, real):
    true = (real / "gazefollow" / "test_annotations_release.txt").read_bytes()
    made = (folder / "test_annotations_release.txt").read_bytes()
    assert made[:3] == true[:3] == b"\xef\xbb\xbf"
    ours, theirs = (data.decode("utf-8-sig").splitlines() for data in (made, true))
    assert {line.count(",") for line in ours} == {line.count(",") for line in theirs} == {15}
    train = (folder / "train_annotations_release.txt").read_text("utf-8-sig").splitlines()
    assert {line.count(",") for line in train} == {16}
    cells = [line.split(",") for line in train]
    assert {row[14] for row in cells} <= {"0", "1"}
    assert all(float(value) > 1.0 for row in cells for value in row[12:14])  # head boxes in pixels
    assert all(-0.001 <= float(value) <= 1.0 for row in cells for value in row[6:8])
    assert all(row[8:10] == ["-1", "-1"] for row in cells if row[14] == "0")
    assert ours[0].split("/")[0] == theirs[0].split("/")[0] == "test2"
    assert [len(part) for part in ours[0].split(",")[0].split("/")] == [5, 8, 12]
    people = {tuple(line.split(",")[:2]) for line in ours}
    rows = [row for row in read_rows(folder / SIDECAR_FILE) if row["split"] == "test"]
    assert people == {(row["image"], row["person"]) for row in rows if row["in_frame"] == "true"}


def test_without_noise_annotations_are_the_exact_targets(tmp_path):
    write_gazefollow_folder(tmp_path / "out", 2, 3, test_share=1.0, noise_deg=0.0, supersample=1)
    targets = {
        row["person"]: (float(row["target_x"]), float(row["target_y"]))
        for row in read_rows(tmp_path / "out" / SIDECAR_FILE)
        if row["target_x"]
    }
    listing = SOURCE.read(tmp_path / "out", SOURCE.options())
    people = [person for photo in listing.photos for person in photo.people if person.in_frame]
    assert people
    for person in people:
        np.testing.assert_allclose(person.gaze, np.tile(targets[person.person], (len(person.gaze), 1)), atol=1.1e-6)


def test_content_depends_neither_on_workers_nor_on_how_many_are_asked_for(tmp_path):
    for name, photos, workers in (("one", 4, 1), ("two", 4, 2), ("fewer", 2, 1)):
        write_gazefollow_folder(tmp_path / name, photos, 9, supersample=1, workers=workers)
    one, two, fewer = (contents(tmp_path / name) for name in ("one", "two", "fewer"))
    assert one == two
    photos = [path for path in fewer if path.endswith(".jpg")]
    assert len(photos) == 2
    assert all(fewer[path] == one[path] for path in photos)
    assert one[SIDECAR_FILE].startswith(fewer[SIDECAR_FILE])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fewer", "one", "two"]  # nothing is left beside


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": -1}, "Expected photos from 0"),
        ({"photos": 0}, "Expected photos and panoramas from 1"),
        ({"panoramas": -1}, "Expected panoramas from 0"),
        ({"panoramas": 1, "width": 32}, "Expected width from 64 to 16384.*found 32"),
        ({"panoramas": 1, "width": 513}, "even number of pixels; found 513"),
        ({"seed": -1}, "Expected seed from 0"),
        ({"test_share": 1.5}, "Expected test_share from 0 to 1.*found 1.5"),
        ({"noise_deg": -2.0}, "Expected noise_deg from 0"),
        ({"supersample": 0}, "Expected supersample from 1"),
        ({"quality": 101}, "Expected quality from 1 to 100"),
        ({"workers": 0}, "Expected workers from 1"),
        ({"arrangement": "line"}, "must be group or around; found 'line'"),
    ],
)
def test_bad_arguments_leave_nothing_behind(tmp_path, change, message):
    arguments = {"photos": 1, "seed": 0} | change
    with pytest.raises(InputError, match=message):
        write_gazefollow_folder(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="empty or a new folder.*holds something"):
        write_gazefollow_folder(tmp_path, 1, 0)
    with pytest.raises(InputError, match="holds something"):
        write_gazefollow_folder(tmp_path / "notes.txt", 1, 0)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="the system refused"):
        write_gazefollow_folder(tmp_path / "file" / "below", 1, 0)


def test_leftovers_of_a_killed_run_are_replaced(tmp_path):
    left = tmp_path / ".out.partial" / "train"
    left.mkdir(parents=True)
    (left / "old.jpg").write_bytes(b"")
    write_gazefollow_folder(tmp_path / "out", 1, 0, supersample=1)
    assert not (tmp_path / ".out.partial").exists()
    assert not (tmp_path / "out" / "train" / "old.jpg").exists()
