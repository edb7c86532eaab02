"""GazeFollow reader: the true format with planted faults, no row lost, and the real samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listings import people_of, reasons, rows_of, test_row, train_row, write_labels
from pydantic import ValidationError

from builders.sources import gazefollow
from builders.sources.base import Listing, Person, resolve_person
from builders.sources.gazefollow import TEST_FILE, TRAIN_FILE, GazeFollowOptions
from srgaze360.errors import InputError
from srgaze360.safe_images import read_size


def read_train(root: Path, *rows: str) -> Listing:
    write_labels(root, TRAIN_FILE, list(rows))
    return gazefollow.read(root, GazeFollowOptions())


def read_test(root: Path, *rows: str) -> Listing:
    write_labels(root, TEST_FILE, list(rows))
    return gazefollow.read(root, GazeFollowOptions())


def test_gazefollow_row_becomes_a_person(tmp_path):
    listing = read_train(tmp_path, train_row())
    (photo,) = listing.photos
    (person,) = photo.people
    assert (photo.image, photo.split, photo.cluster) == ("train/00000000/a.jpg", "train", "train/00000000/a.jpg")
    assert person == Person(
        person="7", row=f"{TRAIN_FILE}:1", head_box=(10.0, 20.0, 60.0, 80.0), head_unit="pixel", gaze=((0.75, 0.5),),
        gaze_unit="fraction", in_frame=True, extras={"origin": "coco"}, eye=(0.25, 0.125),
    )  # fmt: skip
    assert not listing.rejected
    assert not listing.repaired


def test_gazefollow_annotators_of_a_person_are_one_person_with_many_points(tmp_path):
    points = [(0.5, 0.5), (0.25, 0.75), (0.5, 0.5), (0.0, 1.0)]
    rows = [test_row(gaze_x=x, gaze_y=y, id=index) for index, (x, y) in enumerate(points)]
    other = [test_row(eye_x=0.9, id=50), test_row(path="test2/00000000/b.jpg", id=51)]
    listing = read_test(tmp_path, rows[0], other[0], *rows[1:3], other[1], rows[3])
    assert [photo.image for photo in listing.photos] == ["test2/00000000/b.jpg", "test2/00000000/t.jpg"]
    assert {photo.split for photo in listing.photos} == {"test"}
    many, single = listing.photos[1].people
    assert many.gaze == tuple(points)
    assert (many.person, many.row) == ("0", f"{TEST_FILE}:1,3-4,6")
    assert (single.person, single.row) == ("50", f"{TEST_FILE}:2")


def test_gazefollow_people_with_one_id_get_their_eyes_as_names(tmp_path):
    rows = [
        train_row(eye_x=0.1),
        train_row(eye_x=0.2),
        train_row(eye_x=0.3, id=8),
        train_row(eye_x=0.3, eye_y=0.7, id=9),
        train_row(path="b.jpg"),
    ]
    listing = read_train(tmp_path, *rows)
    assert [person.person for person in people_of(listing)] == ["7", "7@0.1,0.125", "7@0.2,0.125", "8", "9"]


def test_gazefollow_a_fault_does_not_rename_a_person(tmp_path):
    listing = read_test(tmp_path, test_row(id=1, gaze_x="nan"), test_row(id=2))
    assert [person.person for person in people_of(listing)] == ["1"]
    assert listing.rejected[0].person == "1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inout": -1}, "inout is -1, the mark of an invalid label"),
        ({"inout": 2}, "inout is none of 1, 0 and -1"),
        ({"inout": "in"}, "inout is not a finite number ('in')"),
        ({"gaze_x": "nan"}, "gaze_x is not a finite number ('nan')"),
        ({"gaze_y": ""}, "gaze_y is not a finite number ('')"),
        ({"eye_x": "inf"}, "eye_x is not a finite number ('inf')"),
        ({"eye_y": "n/a"}, "eye_y is not a finite number ('n/a')"),
        ({"bbox_x_min": "NaN"}, "bbox_x_min is not a finite number ('NaN')"),
        ({"bbox_y_max": "ten"}, "bbox_y_max is not a finite number ('ten')"),
        ({"bbox_y_max": "ten", "inout": 0}, "bbox_y_max is not a finite number ('ten')"),
        ({"gaze_x": 1.001}, "gaze is marked in frame but lies outside the photo (1.001, 0.5)"),
        ({"gaze_x": -1, "gaze_y": -1}, "gaze is marked in frame but lies outside the photo (-1, -1)"),
        ({"path": "../../secret.jpg"}, "path leaves the source's folder ('../../secret.jpg')"),
        ({"path": "/secret.jpg"}, "path leaves the source's folder ('/secret.jpg')"),
        ({"path": ""}, "path is not a plain relative path ('')"),
        ({"meta": "a,b"}, "row has not 17 columns (18)"),
    ],
)
def test_gazefollow_faulty_rows_are_rejected_with_line_and_reason(changes, reason, tmp_path):
    bad = train_row(**({"path": "train/bad.jpg"} | changes))
    listing = read_train(tmp_path, train_row(), "", bad, train_row(path="train/c.jpg"))
    assert [(row.source, row.row, row.reason) for row in listing.rejected] == [("gazefollow", f"{TRAIN_FILE}:3", reason)]
    assert [photo.image for photo in listing.photos] == ["train/00000000/a.jpg", "train/c.jpg"]
    assert reason.startswith(listing.rejected[0].fault)
    assert "(" not in listing.rejected[0].fault


def test_gazefollow_a_row_that_lost_a_column_is_not_shifted(tmp_path):
    """A train row of 16 columns would parse as a test row, with every number after the gap in the wrong place."""
    lost = ",".join(train_row(path="train/b.jpg").split(",")[:5] + train_row().split(",")[6:])
    listing = read_train(tmp_path, train_row(), lost)
    assert reasons(listing) == ["row has not 17 columns (16)"]


def test_gazefollow_columns_that_are_not_used_are_not_checked(tmp_path):
    assert len(read_train(tmp_path, train_row(body_bbox_x="", meta="")).photos) == 1


def test_gazefollow_out_of_frame_has_no_target(tmp_path):
    listing = read_train(tmp_path, train_row(inout=0), train_row(path="b.jpg", inout="0", gaze_x="nan", gaze_y=7))
    assert [(person.in_frame, person.gaze) for person in people_of(listing)] == [(False, ()), (False, ())]
    assert not listing.rejected


def test_gazefollow_annotations_that_disagree_about_the_frame(tmp_path):
    listing = read_train(tmp_path, train_row(inout=0), train_row(), train_row(path="b.jpg", inout=0))
    assert [(person.in_frame, person.row) for person in people_of(listing)] == [
        (False, f"{TRAIN_FILE}:3"),
        (True, f"{TRAIN_FILE}:2"),
    ]
    assert reasons(listing) == ["marked out of frame, while another annotation of the same person is in frame"]


def test_gazefollow_one_bad_annotation_costs_one_annotation(tmp_path):
    listing = read_test(tmp_path, test_row(), test_row(gaze_x=1.5), test_row(gaze_y="nan"), test_row(gaze_x=0.1))
    (person,) = people_of(listing)
    assert person.gaze == ((0.75, 0.5), (0.1, 0.5))
    assert person.row == f"{TEST_FILE}:1,4"
    assert [row.row for row in listing.rejected] == [f"{TEST_FILE}:2", f"{TEST_FILE}:3"]


def test_gazefollow_inverted_boxes_are_swapped_and_counted_once_a_person(tmp_path):
    inverted = {"bbox_x_min": 60.0, "bbox_x_max": 10.0, "bbox_y_min": 80.0, "bbox_y_max": 20.0}
    listing = read_test(tmp_path, *[test_row(**inverted)] * 3, test_row(path="b.jpg", bbox_x_min=60.0, bbox_x_max=10.0))
    assert {person.head_box for person in people_of(listing)} == {(10.0, 20.0, 60.0, 80.0)}
    assert listing.repaired == {gazefollow.INVERTED: 2}
    assert all(person.repairs == (gazefollow.INVERTED,) for person in people_of(listing))


def test_gazefollow_boxes_that_differ_between_annotations(tmp_path):
    listing = read_test(tmp_path, test_row(), test_row(bbox_x_min=11.0))
    (person,) = people_of(listing)
    assert person.head_box == (10.0, 20.0, 60.0, 80.0)
    assert listing.repaired == {gazefollow.DIFFERING: 1}


def test_gazefollow_negative_corners_are_clipped_when_the_photo_is_opened(tmp_path):
    listing = read_train(tmp_path, train_row(bbox_x_min=-22.0, bbox_y_max=400.0))
    assert not listing.repaired
    resolved = resolve_person(listing.photos[0], people_of(listing)[0], 100, 50)
    assert resolved.head_box == (0.0, 20.0, 60.0, 50.0)
    assert resolved.gaze == ((75.0, 25.0),)
    assert resolved.repairs == ("head box clipped",)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_gazefollow_blank_lines_and_line_endings(ending, tmp_path):
    write_labels(tmp_path, TRAIN_FILE, ["", train_row(), "   ", train_row(path="b.jpg", inout=-1), ""], ending)
    listing = gazefollow.read(tmp_path, GazeFollowOptions())
    assert rows_of(listing) == {(TRAIN_FILE, 2): 1, (TRAIN_FILE, 4): 1}
    assert people_of(listing)[0].extras == {"origin": "coco"}


def test_gazefollow_test_file_may_have_the_inout_column(tmp_path):
    """Rendered data know who looks out of frame in their test split too."""
    listing = read_test(tmp_path, train_row(), train_row(path="b.jpg", inout=0), test_row())
    assert [person.in_frame for person in people_of(listing)] == [False, True]
    assert reasons(listing) == ["row has not 17 columns (16)"]


def test_gazefollow_photo_in_both_splits_stays_in_test(tmp_path):
    write_labels(tmp_path, TEST_FILE, [test_row(path="a.jpg")])
    listing = read_train(tmp_path, train_row(path="a.jpg"), train_row(path="b.jpg"))
    assert [(photo.image, photo.split) for photo in listing.photos] == [("a.jpg", "test"), ("b.jpg", "train")]
    assert reasons(listing) == ["the photo belongs to the test split too, and is kept there"]
    assert sum(rows_of(listing).values()) == 3


def test_gazefollow_empty_file(tmp_path):
    for rows in ([], ["", "  "]):
        with pytest.raises(InputError, match=rf"Expected labels in .*{TRAIN_FILE}; the file is empty\. Take it"):
            read_train(tmp_path, *rows)


def test_gazefollow_file_of_another_format(tmp_path):
    with pytest.raises(InputError, match=r"Expected rows of 17 .* found 2 rows, most of 3 columns\. The original GazeFollow"):
        read_train(tmp_path, "a,b,c", "d,e,f")


def test_gazefollow_file_that_is_not_text(tmp_path):
    (tmp_path / TEST_FILE).write_bytes(b"a,b\n\xff\xfe\x00")
    with pytest.raises(InputError, match=r"Expected UTF-8 text in .*; line 2 holds byte 0xff"):
        gazefollow.read(tmp_path, GazeFollowOptions())


def test_gazefollow_named_file_must_exist(tmp_path):
    write_labels(tmp_path, TEST_FILE, [test_row()])
    with pytest.raises(
        InputError, match=r"Expected the label file mine\.txt, named by the option train_file; .* holds test_ann"
    ):
        gazefollow.read(tmp_path, GazeFollowOptions(train_file="mine.txt"))
    assert len(gazefollow.read(tmp_path, GazeFollowOptions(train_file=None)).photos) == 1


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"train_file": "../a.txt"}, "leaves the source's folder"),
        ({"test_file": "/a.txt"}, "leaves the source's folder"),
        ({"train_file": None, "test_file": None}, "one of them must be named"),
        ({"train_file": "a.txt", "test_file": "a.txt"}, "must differ"),
    ],
)
def test_gazefollow_file_names_are_checked(names, match):
    with pytest.raises(ValidationError, match=match):
        GazeFollowOptions(**names)


NUMBERS = st.sampled_from(["0.5", "0.25", "1", "0", "-0.1", "1.1", "nan", "", "x", "inf", "1e400"])
ROWS = st.lists(
    st.one_of(
        st.sampled_from(["", "  ", "a,b", ","]),
        st.builds(
            train_row,
            path=st.sampled_from(["a.jpg", "b.jpg", "../c.jpg", ""]),
            id=st.integers(0, 2),
            eye_x=st.sampled_from(["0.1", "0.2", "nan"]),
            gaze_x=NUMBERS,
            gaze_y=NUMBERS,
            bbox_x_min=st.sampled_from(["10", "70", "-5", "nan"]),
            inout=st.sampled_from(["1", "1.0", "0", "-1", "", "3"]),
        ),
        st.builds(test_row, path=st.sampled_from(["a.jpg", "t.jpg"]), gaze_x=NUMBERS),
    ),
    max_size=25,
)


@given(train=ROWS, test=ROWS)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_gazefollow_loses_no_row_and_lists_only_sound_people(train, test, tmp_path):
    write_labels(tmp_path, TRAIN_FILE, [train_row(path="z.jpg"), *train])
    write_labels(tmp_path, TEST_FILE, [test_row(path="y.jpg"), *test])
    listing = gazefollow.read(tmp_path, GazeFollowOptions())
    written = {
        (name, line): 1
        for name, rows in ((TRAIN_FILE, train), (TEST_FILE, test))
        for line, row in enumerate(["first", *rows], 1)
        if row.strip()
    }
    assert rows_of(listing) == written
    images = [photo.image for photo in listing.photos]
    assert images == sorted(set(images))
    for photo in listing.photos:
        names = [person.person for person in photo.people]
        assert len(names) == len(set(names))
        for person in photo.people:
            assert person.head_box[0] <= person.head_box[2]
            assert bool(person.gaze) == person.in_frame
            assert not isinstance(resolve_person(photo, person, 640, 480), str)


def test_real_gazefollow_test_photos(real):
    listing = gazefollow.read(real / "gazefollow", GazeFollowOptions())
    people = people_of(listing)
    assert (len(listing.photos), len(people), sum(len(person.gaze) for person in people)) == (8, 8, 74)
    assert Counter(len(person.gaze) for person in people) == {10: 5, 9: 1, 8: 1, 7: 1}
    assert not listing.rejected
    assert not listing.repaired
    assert set(rows_of(listing)) == {(TEST_FILE, line) for line in range(1, 75)}
    for photo in listing.photos:
        width, height = read_size(real / "gazefollow" / photo.image)
        resolved = resolve_person(photo, photo.people[0], width, height)
        x0, y0, x1, y1 = resolved.head_box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert all(0 <= x <= width and 0 <= y <= height for x, y in resolved.gaze)
        assert not resolved.repairs


def test_real_gazefollow_points_are_the_released_ones(real):
    """Second source: the MATLAB file of all released test labels, by path."""
    scipy_io = pytest.importorskip("scipy.io")
    released = scipy_io.loadmat(real / "gazefollow" / "test2_annotations.mat")
    by_path = {str(path[0][0]): index for index, path in enumerate(released["test_path"])}
    for photo in gazefollow.read(real / "gazefollow", GazeFollowOptions()).photos:
        gaze = released["test_gaze"][0, by_path[photo.image]]
        np.testing.assert_allclose(sorted(photo.people[0].gaze), sorted(map(tuple, gaze)), atol=1e-12)


def test_real_gazefollow_train_rows(real):
    listing = gazefollow.read(real / "gazefollow", GazeFollowOptions(train_file="val_annotations_new.txt", test_file=None))
    people = people_of(listing)
    assert (len(listing.photos), len(people)) == (4486, 4499)
    assert all(person.in_frame and len(person.gaze) == 1 for person in people)
    assert sum(min(person.head_box) < 0 for person in people) == 4
    assert (min(person.head_box[0] for person in people), min(person.head_box[1] for person in people)) == (-22.0, -35.0)
    assert Counter(person.extras["origin"] for person in people)["places_top"] == 3383
    assert set(rows_of(listing)) == {("val_annotations_new.txt", line) for line in range(1, 4500)}
    resolved = [resolve_person(photo, person, 4000, 4000) for photo in listing.photos for person in photo.people]
    assert sum("head box clipped" in person.repairs for person in resolved) == 4
