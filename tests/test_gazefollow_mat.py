"""GazeFollow's MATLAB labels: the true format in all its shapes, damaged and hostile files, heads, clusters."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listings import people_of, reasons, test_row, train_row, write_labels
from pydantic import ValidationError
from scipy.io import loadmat, savemat

from builders.sources import gazefollow, gazefollow_mat, matlab
from builders.sources.base import Listing, resolve_person
from builders.sources.gazefollow import ESTIMATED, TEST_FILE, TEST_ORIGINAL, TRAIN_FILE, TRAIN_ORIGINAL, GazeFollowOptions
from srgaze360.errors import InputError

SOUND = {
    "path": "test2/00000000/a.jpg", "bbox": [[0.2, 0.1, 0.4, 0.8]], "eyes": [[0.4, 0.2]], "gaze": [[0.7, 0.5], [0.6, 0.5]],
    "dataset": "coco", "name": "COCO_train2014_000000000001.jpg",
}  # fmt: skip


def cells(values: list, column: bool) -> np.ndarray:
    array = np.empty((len(values), 1) if column else (1, len(values)), dtype=object)
    array.ravel()[:] = [None] * len(values)
    for index, value in enumerate(values):
        array.ravel()[index] = value
    return array


def write_mat(path: Path, *people: dict, split: str = "test", transposed: bool = False, **changes: object) -> None:
    """Labels in the released layout: paths and origins in columns, the rest in rows of cells."""
    people = tuple(SOUND | person for person in people)
    variables = {
        f"{split}_path": cells([person["path"] for person in people], not transposed),
        **{
            f"{split}_{field}": cells([np.asarray(person[field]) for person in people], transposed)
            for field in ("bbox", "eyes", "gaze")
        },
        f"{split}_meta": cells([{key: person[key] for key in ("dataset", "name")} for person in people], not transposed),
    }
    savemat(path, {name: value for name, value in (variables | changes).items() if value is not None}, do_compression=True)


def read(root: Path, **options: object) -> Listing:
    return gazefollow.read(root, GazeFollowOptions(**options))


def clusters(listing: Listing) -> dict[str, str]:
    return {photo.image: photo.cluster for photo in listing.photos}


def test_original_labels_become_people_with_estimated_heads(tmp_path):
    other = {"eyes": [[0.9, 0.4]], "bbox": [[0.8, 0.3, 0.2, 0.7]], "gaze": [[0.1, 0.2]]}
    write_mat(tmp_path / TEST_ORIGINAL, {}, {"path": "test2/b.jpg", "name": "b.jpg"}, other)
    listing = read(tmp_path)
    first, second = listing.photos
    assert (first.image, first.split, first.cluster) == (SOUND["path"], "test", "coco/COCO_train2014_000000000001.jpg")
    assert [(person.person, person.row) for person in first.people] == [
        ("1", f"{TEST_ORIGINAL}:1"),
        ("3", f"{TEST_ORIGINAL}:3"),
    ]
    person = first.people[0]
    assert person.gaze == ((0.7, 0.5), (0.6, 0.5))
    assert (person.head_unit, person.gaze_unit, person.in_frame) == ("fraction", "fraction", True)
    assert person.extras == {"origin": "coco"}
    width, height = 0.52 * 0.4**0.6 * 0.1**0.4, 1.07 * 0.8**0.2 * 0.1**0.8
    expected = (0.4 - width / 2, 0.2 - 0.6 * height, 0.4 + width / 2, 0.2 + 0.4 * height)
    np.testing.assert_allclose(person.head_box, expected, atol=1e-12)
    assert second.cluster == "coco/b.jpg"
    assert {person.repairs for person in people_of(listing)} == {(ESTIMATED,)}
    assert listing.repaired == {ESTIMATED: 3}
    assert not listing.rejected


def test_original_train_labels_are_read_beside_original_test_labels(tmp_path):
    write_mat(tmp_path / TRAIN_ORIGINAL, {"path": "train/a.jpg", "name": "x.jpg", "gaze": [[0.5, 0.5]]}, split="train")
    write_mat(tmp_path / TEST_ORIGINAL, {})
    assert [(photo.image, photo.split) for photo in read(tmp_path).photos] == [
        ("test2/00000000/a.jpg", "test"),
        ("train/a.jpg", "train"),
    ]
    assert len(read(tmp_path, test_file=None).photos) == 1


def test_layouts_of_variables_do_not_matter(tmp_path):
    people = [{}, {"path": "b.jpg", "eyes": [[0.5, 0.5]], "gaze": [[0.1, 0.2]]}, {"path": "c.jpg", "gaze": [[0.3], [0.4]]}]
    write_mat(tmp_path / TEST_ORIGINAL, *people)
    expected = read(tmp_path)
    assert people_of(expected)[1].gaze == ((0.3, 0.4),)
    numbers = {field: np.array([(SOUND | p)[field][0] for p in people]) for field in ("bbox", "eyes")}
    nested = cells([cells([np.asarray((SOUND | p)["gaze"])], True) for p in people], True)
    records = np.array([tuple((SOUND | p)[k] for k in ("dataset", "name")) for p in people], [("dataset", "O"), ("name", "O")])
    for changes in (
        {"transposed": True},
        {"test_bbox": numbers["bbox"], "test_eyes": numbers["eyes"]},
        {"test_bbox": numbers["bbox"].T, "test_eyes": numbers["eyes"].T},
        {"test_gaze": nested},
        {"test_meta": records},
        {"test_path": np.array([(SOUND | p)["path"] for p in people])},  # a matrix of characters, padded with spaces
    ):
        write_mat(tmp_path / TEST_ORIGINAL, *people, **changes)
        assert read(tmp_path) == expected, changes.keys()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [[0.1, 0.2, 0.3]]}, "body box is not x, y, width and height (0.1, 0.2, 0.3)"),
        ({"bbox": [[0.1, 0.2, 0.3, np.nan]]}, "body box is not x, y, width and height (0.1, 0.2, 0.3, nan)"),
        ({"bbox": [[0.1, 0.2, 0.0, 0.5]]}, "body box is not x, y, width and height (0.1, 0.2, 0, 0.5)"),
        ({"eyes": [[0.1]]}, "eye is not x and y (0.1)"),
        ({"eyes": "ab"}, "eye is not x and y (one of something else)"),
        ({"eyes": [[np.inf, 0.1]]}, "eye_x is not a finite number ('inf')"),
        ({"gaze": [[0.1, 0.2, 0.3]]}, "gaze is not a list of points (0.1, 0.2, 0.3)"),
        ({"gaze": np.empty((0, 2))}, "gaze is not a list of points (nothing)"),
        ({"gaze": [[0.1, np.nan]]}, "gaze_y is not a finite number ('nan')"),
        ({"gaze": [[0.1, -0.2]]}, "gaze is marked in frame but lies outside the photo (0.1, -0.2)"),
        ({"path": "../secret.jpg"}, "path leaves the source's folder ('../secret.jpg')"),
        ({"path": [[7.0]]}, "path is not a plain relative path ('')"),
    ],
)
def test_entries_that_cannot_be_used_are_rejected_by_number(changes, reason, tmp_path):
    write_mat(tmp_path / TEST_ORIGINAL, {}, {"gaze": [[0.5, 0.5]], "name": "bad.jpg"} | changes, {"path": "c.jpg"})
    listing = read(tmp_path)
    assert [(row.row, row.reason) for row in listing.rejected] == [(f"{TEST_ORIGINAL}:2", reason)]
    assert sum(len(photo.people) for photo in listing.photos) == 2


def test_one_bad_point_costs_one_point(tmp_path):
    write_mat(tmp_path / TEST_ORIGINAL, {"gaze": [[0.1, 0.2], [1.2, 0.3], [0.3, 0.4]]})
    listing = read(tmp_path)
    assert people_of(listing)[0].gaze == ((0.1, 0.2), (0.3, 0.4))
    assert reasons(listing) == ["gaze is marked in frame but lies outside the photo (1.2, 0.3)"]


def test_files_that_are_not_such_labels(tmp_path, monkeypatch):
    path = tmp_path / TEST_ORIGINAL
    write_mat(path, {}, test_gaze=None)
    with pytest.raises(InputError, match=r"Expected the variables test_path, .*; missing: .*; there: test_path, .* Take the"):
        read(tmp_path)
    write_mat(path, {}, {}, test_eyes=cells([np.array([[0.1, 0.2]])] * 3, True))
    with pytest.raises(InputError, match=r"one entry per person .* found test_path: 2, test_bbox: 2, test_eyes: 3, "):
        read(tmp_path)
    write_mat(path, {})
    whole = path.read_bytes()
    damaged = whole[:300] + bytes(200) + whole[500:]
    for data in (b"", b"path,id\n", whole[: len(whole) // 2], damaged, b"MATLAB 7.3 MAT-file" + bytes(105) + b"\0\2IM"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"Expected (a MATLAB v5 file|the variables) .*\. Take"):
            read(tmp_path)
    path.write_bytes(whole)
    monkeypatch.setattr(matlab, "MAX_ENTRIES", 0)
    with pytest.raises(InputError, match=r"at most 0 entries in .*; test_path, .* claims more"):
        read(tmp_path)
    monkeypatch.setattr(matlab, "MAX_BYTES", 100)
    with pytest.raises(InputError, match=r"Expected a label file of up to 0 MiB.* it is larger"):
        read(tmp_path)


def test_compressed_bombs_are_not_inflated(tmp_path, monkeypatch):
    """A variable of 64 MiB of zeros in 64 KiB: found out in steps of a MiB, however much it says it holds."""
    monkeypatch.setattr(matlab, "MAX_UNPACKED_BYTES", 2**22)
    monkeypatch.setattr(matlab.scipy.io, "loadmat", lambda *_, **__: pytest.fail("opened"))
    bomb = zlib.compress(bytes(2**26), 9)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    for order in ("<", ">"):
        data = header if order == "<" else header[:124] + b"\1\0MI"
        (tmp_path / TEST_ORIGINAL).write_bytes(data + struct.pack(f"{order}II", 15, len(bomb)) + bomb)
        with pytest.raises(InputError, match="MiB unpacked, at .* it is larger"):
            read(tmp_path)
    assert matlab._inflated_size(zlib.compress(bytes(5000)), 2**20) == 5000


def test_extended_labels_win_and_the_option_names_the_original_ones(tmp_path):
    write_labels(tmp_path, TEST_FILE, [test_row(path="t.jpg")])
    write_mat(tmp_path / TEST_ORIGINAL, {}, {"path": "b.jpg"})
    write_mat(tmp_path / TRAIN_ORIGINAL, {"path": "train/a.jpg"}, split="train")
    assert [photo.image for photo in read(tmp_path).photos] == ["t.jpg"]
    assert len(read(tmp_path, test_file=TEST_ORIGINAL).photos) == 2
    with pytest.raises(InputError, match="named by the option test_metadata"):
        read(tmp_path, test_metadata="absent.mat")
    with pytest.raises(ValidationError, match="leaves the source's folder"):
        GazeFollowOptions(train_metadata="../x.mat")


def test_paths_of_one_photo_share_a_cluster_whatever_their_order(tmp_path):
    origins = {"a": "coco,x.jpg", "b": "coco,y.jpg", "c": "coco,x.jpg", "d": "sun,x.jpg", "e": "coco,False", "f": "coco,"}
    rows = [test_row(path=f"{path}.jpg").rsplit(",", 2)[0] + "," + origin for path, origin in origins.items()]
    expected = {"a": "coco/x.jpg", "b": "coco/y.jpg", "c": "coco/x.jpg", "d": "sun/x.jpg", "e": "e.jpg", "f": "f.jpg"}
    for order in (rows, rows[::-1], rows[2:]):
        write_labels(tmp_path, TEST_FILE, order)
        found = clusters(read(tmp_path))
        assert found == {f"{path}.jpg": name for path, name in expected.items() if f"{path}.jpg" in found}
        assert len(found) == len(order)


def test_rows_of_a_photo_that_disagree_about_its_origin_share_one(tmp_path):
    rows = [test_row(path="a.jpg", eye_x=x, source="coco", meta=name) for x, name in ((0.1, "y.jpg"), (0.2, "x.jpg"))]
    for order in (rows, rows[::-1]):
        write_labels(tmp_path, TEST_FILE, order)
        assert clusters(read(tmp_path)) == {"a.jpg": "coco/x.jpg"}


def test_metadata_tells_origins_where_the_text_does_not(tmp_path, monkeypatch):
    write_labels(tmp_path, TEST_FILE, [test_row(path="a.jpg"), test_row(path="b.jpg"), test_row(path="z.jpg")])
    alone = read(tmp_path)
    assert clusters(alone) == {"a.jpg": "a.jpg", "b.jpg": "b.jpg", "z.jpg": "z.jpg"}
    write_mat(tmp_path / TEST_ORIGINAL, {"path": "b.jpg", "name": "x.jpg"}, {"path": "a.jpg", "name": "x.jpg"})
    assert clusters(read(tmp_path)) == {"a.jpg": "coco/x.jpg", "b.jpg": "coco/x.jpg", "z.jpg": "z.jpg"}
    assert clusters(read(tmp_path, test_metadata=None)) == clusters(alone)
    (tmp_path / TEST_ORIGINAL).rename(tmp_path / "other.mat")
    assert clusters(read(tmp_path, test_metadata="other.mat"))["a.jpg"] == "coco/x.jpg"

    write_labels(tmp_path, TEST_FILE, [test_row(path="a.jpg", meta="x.jpg")])
    told = read(tmp_path)
    (tmp_path / "other.mat").rename(tmp_path / TEST_ORIGINAL)
    monkeypatch.setattr(gazefollow_mat, "read_origins", lambda *_: pytest.fail("opened"))
    assert read(tmp_path) == told  # so that its presence cannot change a dataset


def test_a_photo_of_a_test_cluster_is_no_train_photo(tmp_path):
    write_labels(tmp_path, TEST_FILE, [test_row(path="test2/a.jpg", meta="x.jpg")])
    write_labels(
        tmp_path, TRAIN_FILE, [train_row(path="train/a.jpg", meta="x.jpg"), train_row(path="train/b.jpg", meta="y.jpg")]
    )
    listing = read(tmp_path)
    assert clusters(listing) == {"test2/a.jpg": "coco/x.jpg", "train/b.jpg": "coco/y.jpg"}
    assert reasons(listing) == ["the photo belongs to the test split too, and is kept there"]


def test_real_original_labels(real):
    root = real / "gazefollow"
    listing = read(root, test_file=TEST_ORIGINAL, train_file=None)
    people = people_of(listing)
    assert (len(listing.photos), len(people), sum(len(person.gaze) for person in people)) == (4782, 4782, 44191)
    sizes = Counter(Counter(photo.cluster for photo in listing.photos).values())
    assert sizes == {1: 1883, 2: 720, 3: 276, 4: 86, 5: 39, 6: 9, 7: 2, 8: 3}
    assert sum(sizes.values()) == 3018
    assert not listing.rejected
    raw = loadmat(root / TEST_ORIGINAL)
    by_path = {photo.image: photo for photo in listing.photos}
    for index in range(0, 4782, 97):
        person = by_path[str(raw["test_path"][index, 0].item())].people[0]
        np.testing.assert_array_equal(person.gaze, raw["test_gaze"][0, index])
        x, y = raw["test_eyes"][0, index][0]
        x0, y0, x1, y1 = person.head_box
        assert x0 < x < x1
        assert y0 < y < y1
        assert not isinstance(resolve_person(by_path[str(raw["test_path"][index, 0].item())], person, 640, 480), str)


def test_real_text_and_original_labels_tell_the_same_clusters(real):
    text, original = read(real / "gazefollow"), read(real / "gazefollow", test_file=TEST_ORIGINAL)
    assert len(text.photos) == 8
    assert clusters(text).items() <= clusters(original).items()


def test_real_heads_are_estimated_as_well_as_is_said(real):
    """A head beyond 485 pixels of a COCO photo tells that it is 640 wide; nearly all such are 427 or 480 high, say 453."""
    names = ("path", "id", *"xywh", "eye_x", "eye_y", "gaze_x", "gaze_y", "x0", "y0", "x1", "y1", "inout", "source", "meta")
    rows = pd.read_csv(real / "gazefollow" / "val_annotations_new.txt", names=list(names), encoding="utf-8-sig")
    rows = rows[rows["source"].isin(("coco", "coco_val")) & (rows["x1"] > 485)]
    heads = gazefollow_mat.estimate_heads(rows[list("xywh")].to_numpy(), rows[["eye_x", "eye_y"]].to_numpy())
    assert len(rows) > 100
    labelled = rows[["x0", "y0", "x1", "y1"]].to_numpy() / (640, 453, 640, 453)
    size, guess = labelled[:, 2:] - labelled[:, :2], heads[:, 2:] - heads[:, :2]
    errors = np.log(guess / size)
    assert (np.median(np.abs(errors), axis=0) < (0.28, 0.22)).all()
    assert (np.abs(np.median(errors, axis=0)) < 0.15).all()  # neither too large nor too small
    misses = np.abs((heads[:, :2] + heads[:, 2:]) - (labelled[:, :2] + labelled[:, 2:])) / 2 / size
    assert (np.median(misses, axis=0) < (0.35, 0.15)).all()  # right of the middle most look left, so eyes are left of heads
