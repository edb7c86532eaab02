"""GOO reader: the true format with planted faults, the traps of its labels, and the real sample."""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from listings import people_of, reasons
from pydantic import ValidationError

from builders.sources import goo
from builders.sources.base import Listing, resolve_person
from builders.sources.goo import GooOptions
from srgaze360.errors import InputError
from srgaze360.safe_images import read_image

HEAD = [320.0, 96.0, 400.0, 192.0]


def entry(**changes: object) -> dict:
    """An entry of GOO-Synth."""
    return {
        "filename": "0.png", "width": 640, "height": 480,
        "ann": {"bboxes": np.array([[10, 20, 30, 40], [100, 200, 140, 260], HEAD], np.float32), "labels": np.array([3, 7, 25])},
        "envparams": {"cab": 1, "hum": 20, "light": 0.1, "cam": 49, "env": 6}, "gaze_item": 7, "gazeIdx": 1, "gaze_cx": 128,
        "gaze_cy": 240, "hx": 360, "hy": 140, "pitch": 14.5, "yaw": 151.25, "roll": -50.0, "segm_gazeIdx": 105, "occluded": 0,
    } | changes  # fmt: skip


def real_entry(**changes: object) -> dict:
    """An entry of GOO-Real: another size of photo, the same scale of labels, lists, no scene, no pose."""
    boxes = {"bboxes": [[10.0, 20.0, 30.0, 40.0], HEAD], "labels": [3, -1]}
    made = entry(filename="49\\cam1\\cam00001_img00524.jpg", width=1920, height=1080, ann=boxes, seg=[[1, 2], [3, 4]])
    return {key: value for key, value in made.items() if key not in ("envparams", "pitch", "yaw", "roll")} | changes


def write(root: Path, *entries: object, name: str = "test.pickle", images: str = "images", protocol: int = 4) -> None:
    (root / images).mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(pickle.dumps(list(entries), protocol))


def read(root: Path, **options: object) -> Listing:
    return goo.read(root, GooOptions(**options))


def test_an_entry_becomes_a_photo_with_one_person(tmp_path):
    write(tmp_path, entry())
    (photo,) = read(tmp_path).photos
    assert (photo.image, photo.split, photo.cluster) == ("images/0.png", "test", "human 20, shelf 1, camera 49")
    (person,) = photo.people
    assert (person.row, person.in_frame, person.repairs) == ("test.pickle:1", True, ())
    assert person.head_box == (0.5, 0.2, 0.625, 0.4)
    assert person.gaze == ((0.2, 0.5),)
    assert (person.head_unit, person.gaze_unit) == ("fraction", "fraction")
    assert person.extras == {
        "occluded": False, "gaze_item": 7.0, "released_pitch": 14.5, "released_yaw": 151.25, "released_roll": -50.0
    }  # fmt: skip


def test_labels_are_on_640_by_480_whatever_the_photo(tmp_path):
    """The trap: labels taken for pixels of a 1920 x 1080 photo, or scaled by one factor for both sides."""
    write(tmp_path, real_entry(), images="finalrealdatasetImgsV3", name="testrealhumansNew.pickle", protocol=3)
    (photo,) = read(tmp_path).photos
    assert photo.image == "finalrealdatasetImgsV3/49/cam1/cam00001_img00524.jpg"
    assert photo.cluster == "participant 49"
    resolved = resolve_person(photo, photo.people[0], 1920, 1080)
    assert resolved.head_box == (960.0, 216.0, 1200.0, 432.0)
    assert resolved.gaze == ((384.0, 540.0),)
    assert photo.people[0].extras == {"occluded": False, "gaze_item": 7.0}


def test_hidden_goods_do_not_make_the_head_the_target(tmp_path):
    """The trap: gazeIdx is -1 where the goods are hidden, and the box of that index is the head."""
    write(tmp_path, entry(occluded=1, gazeIdx=-1, gaze_item=-1, segm_gazeIdx=0))
    (person,) = people_of(read(tmp_path))
    assert person.gaze == ((0.2, 0.5),)
    assert person.in_frame
    assert person.extras["occluded"] is True
    assert "gaze_item" not in person.extras


def test_inverted_heads_are_swapped_and_counted(tmp_path):
    write(tmp_path, entry(ann={"bboxes": [[1, 2, 3, 4], [400, 192, 320, 96]], "labels": [3, 25]}), entry(filename="1.png"))
    listing = read(tmp_path)
    assert {person.head_box for person in people_of(listing)} == {(0.5, 0.2, 0.625, 0.4)}
    assert listing.repaired == {goo.INVERTED: 1}


def boxes(*rows: object, labels: object = None) -> dict:
    return {"ann": {"bboxes": list(rows), "labels": [25] * len(rows) if labels is None else labels}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"filename": None}, "filename is not text (nothing)"),
        ({"filename": "../0.png"}, "path leaves the source's folder ('../0.png')"),
        ({"filename": "..\\0.png"}, "path leaves the source's folder ('../0.png')"),
        ({"filename": "C:\\0.png"}, "path leaves the source's folder ('C:/0.png')"),
        ({"filename": ""}, "path is not a plain relative path ('')"),
        ({"gaze_cx": None}, "gaze_cx is not a finite number (nothing)"),
        ({"gaze_cx": "12"}, "gaze_cx is not a finite number (str)"),
        ({"gaze_cy": float("nan")}, "gaze_cy is not a finite number (nan)"),
        ({"gaze_cy": 10**400}, "gaze_cy is not a finite number (int)"),
        ({"gaze_cx": 641}, "gaze lies outside the photo (641, 240)"),
        ({"gaze_cx": -1, "gaze_cy": -1}, "gaze lies outside the photo (-1, -1)"),
        ({"ann": None}, "ann is not a dictionary (nothing)"),
        ({"ann": {}}, "the last box of ann.bboxes is not four finite numbers"),
        (boxes(), "the last box of ann.bboxes is not four finite numbers"),
        (boxes([1, 2, 3]), "the last box of ann.bboxes is not four finite numbers"),
        (boxes([1, 2, 3, float("inf")]), "the last box of ann.bboxes is not four finite numbers"),
        (boxes([1, 2, 3, [4]]), "the last box of ann.bboxes is not four finite numbers"),
        ({"ann": {"bboxes": np.float32(3)}}, "the last box of ann.bboxes is not four finite numbers"),
        (boxes(HEAD, labels=[24]), "the last box of ann.bboxes is goods, not a head (class 24)"),
        (boxes(HEAD, labels=np.array([1])), "the last box of ann.bboxes is goods, not a head (class 1)"),
        ({"filename": "0.png"}, "the photo has an entry already"),
    ],
)
def test_faulty_entries_are_rejected_with_number_and_reason(changes, reason, tmp_path):
    write(tmp_path, entry(), entry(filename="1.png") | changes, "no entry", entry(filename="2.png"))
    listing = read(tmp_path)
    assert [(row.source, row.row, row.reason) for row in listing.rejected] == [
        ("goo", "test.pickle:2", reason),
        ("goo", "test.pickle:3", "entry is not a dictionary (str)"),
    ]
    assert [photo.image for photo in listing.photos] == ["images/0.png", "images/2.png"]


def test_extras_that_are_absent_or_odd_are_left_out(tmp_path):
    write(tmp_path, entry(occluded=None, gaze_item="7", pitch=float("nan"), yaw=None, roll=[1]))
    assert people_of(read(tmp_path))[0].extras == {}


def test_clusters_are_views_participants_or_photos(tmp_path):
    views = [{"hum": hum, "cab": cab, "cam": cam, "light": light, "env": 1} for hum, cab, cam, light in
             [(1, 2, 3, 0.1), (1, 2, 3, 1.9), (1, 2, 4, 0.1), (20, 2, 3, 0.1)]]  # fmt: skip
    write(tmp_path, *[entry(filename=f"{index}.png", envparams=view) for index, view in enumerate(views)])
    found = [photo.cluster for photo in read(tmp_path).photos]
    assert found == ["human 1, shelf 2, camera 3"] * 2 + ["human 1, shelf 2, camera 4", "human 20, shelf 2, camera 3"]
    names = ["8/cam1/a.jpg", "8/cam2/b.jpg", "9\\cam1\\c.jpg", "d.jpg"]
    write(tmp_path, *[real_entry(filename=name) for name in names])
    assert [photo.cluster for photo in read(tmp_path).photos] == [
        "participant 8", "participant 8", "participant 9", "images/d.jpg"
    ]  # fmt: skip


def test_splits_are_told_by_file_names_and_share_no_cluster(tmp_path):
    write(tmp_path, real_entry(filename="1/a.jpg"), real_entry(filename="2/b.jpg"), real_entry(filename="3/c.jpg"),
          name="oneshotrealhumansNew.pickle")  # fmt: skip
    write(tmp_path, real_entry(filename="2/d.jpg"), name="valrealhumansNew.pickle")
    write(tmp_path, real_entry(filename="3/e.jpg"), name="testrealhumansNew.pkl")
    write(tmp_path, real_entry(filename="4/f.jpg"), name="testrealhumansSparsedNew.pickle")
    (tmp_path / "notes.pickle").write_bytes(b"")
    (tmp_path / ".test.pickle").write_bytes(b"")
    listing = read(tmp_path)
    assert {photo.image: photo.split for photo in listing.photos} == {
        "images/1/a.jpg": "train", "images/2/d.jpg": "val", "images/3/e.jpg": "test"
    }  # fmt: skip
    assert reasons(listing) == [
        "the cluster belongs to the val split too, and is kept there",
        "the cluster belongs to the test split too, and is kept there",
    ]
    sparse = read(tmp_path, test_file="testrealhumansSparsedNew.pickle")
    assert {photo.image for photo in sparse.photos if photo.split == "test"} == {"images/4/f.jpg"}


def test_files_and_folders_are_named_by_options(tmp_path):
    write(tmp_path, entry(), name="a/labels.pickle", images="a/photos")
    assert read(tmp_path, train_file="a/labels.pickle", images="a/photos").photos[0].image == "a/photos/0.png"
    write(tmp_path, entry(filename="1.png"), images="held out")
    both = read(tmp_path, train_file="a/labels.pickle", images="a/photos", test_images="held out").photos
    assert [photo.image for photo in both] == ["held out/1.png"]  # of one cluster: test keeps it
    assert read(tmp_path, images=".").photos[0].image == "1.png"
    with pytest.raises(InputError, match=r"label file x\.pickle, named by the option val_file; .* holds "):
        read(tmp_path, val_file="x.pickle")
    with pytest.raises(InputError, match=r"the photos of the test split in a folder images or final\w+V3 or final\w+V2 "):
        read(tmp_path)
    write(tmp_path, entry(), name="test_2.pickle")
    with pytest.raises(
        InputError, match=r"one label file for the test split in .*; found 2: test\.pickle, test_2\.pickle\. Name"
    ):
        read(tmp_path)
    for options in ({"test_file": "../x.pickle"}, {"images": "/x"}, {"train_images": ".."}):
        with pytest.raises(ValidationError, match="leaves the source's folder"):
            GooOptions(**options)


@pytest.mark.parametrize("content", [[], {}, "text", None, np.ones(3)])
def test_files_without_a_list_of_entries(content, tmp_path):
    write(tmp_path)
    (tmp_path / "test.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(
        InputError, match=r"Expected a list of dictionaries, one per photo, in .*test\.pickle; found \w+\. Take"
    ):
        read(tmp_path)


def test_hostile_label_files_do_nothing(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    write(tmp_path, entry(), entry(filename="1.png", seg=Payload()))
    with pytest.raises(InputError, match=r"found a request for (posix|nt)\.system at byte \d+\. Such files can run programs"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()
    laughs: list = [1.0, 2.0, 3.0, 4.0]
    for _ in range(200):
        laughs = [laughs] * 10
    write(tmp_path, entry(ann={"bboxes": laughs, "labels": laughs}, envparams=laughs, gaze_cx=laughs))
    assert reasons(read(tmp_path)) == ["the last box of ann.bboxes is not four finite numbers"]


class ArraysOnly(pickle.Unpickler):
    """A second reader, Python's own, that finds NumPy's three names and no others."""

    def find_class(self, module, name):
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype", "scalar"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def test_real_goo_synth(real):
    root = real / "goosynth"
    listing = read(root)
    assert len(listing.photos) == 16
    assert not listing.rejected
    assert not listing.repaired
    assert Counter(person.extras["occluded"] for person in people_of(listing)) == {False: 12, True: 4}
    released = {f"images/{row['filename']}": row for row in ArraysOnly(io.BytesIO((root / "test.pickle").read_bytes())).load()}
    for photo in listing.photos:
        image, row = read_image(root / photo.image), released[photo.image]
        assert image.shape == (480, 640, 3)
        resolved = resolve_person(photo, photo.people[0], 640, 480)
        np.testing.assert_allclose(resolved.head_box, row["ann"]["bboxes"][-1], atol=1e-9)
        np.testing.assert_allclose(resolved.gaze, [(row["gaze_cx"], row["gaze_cy"])], atol=1e-9)
        x0, y0, x1, y1 = resolved.head_box
        assert x0 <= row["hx"] <= x1
        assert y0 <= row["hy"] <= y1
        if row["gazeIdx"] >= 0:
            left, top, right, bottom = row["ann"]["bboxes"][row["gazeIdx"]]
            assert left <= resolved.gaze[0][0] <= right
            assert top <= resolved.gaze[0][1] <= bottom
        else:
            assert not (x0 <= resolved.gaze[0][0] <= x1 and y0 <= resolved.gaze[0][1] <= y1)
