"""VideoAttentionTarget reader: the true format with planted faults, no row lost, and the real clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import people_of, reasons, rows_of
from pydantic import ValidationError

from builders.sources import videoattentiontarget
from builders.sources.base import Listing, Person, resolve_person
from builders.sources.videoattentiontarget import VideoAttentionTargetOptions, smooth
from srgaze360.errors import InputError
from srgaze360.safe_images import read_size

SHOW, CLIP = "Hell's Kitchen", "10_20"


def write_track(root: Path, rows: list[str], person: str = "s00", split: str = "test", clip: str = CLIP) -> str:
    file = f"annotations/{split}/{SHOW}/{clip}/{person}.txt"
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return file


def read_clips(root: Path, **options) -> Listing:
    return videoattentiontarget.read(root, VideoAttentionTargetOptions(**options))


def test_vat_frames_with_everyone_in_them(tmp_path):
    first = write_track(tmp_path, ["00000010.jpg,1,2,30,40,100,200", "00000011.jpg,1,2,30,40,-1,-1"])
    write_track(tmp_path, ["00000011.jpg,50,2,90,40,0,0"], person="s01")
    write_track(tmp_path, ["00000010.jpg,50,2,90,40,5,6"], split="train", clip="1_9")
    listing = read_clips(tmp_path)
    assert not listing.rejected
    alone, both, train = listing.photos
    assert alone.image == f"images/{SHOW}/{CLIP}/00000010.jpg"
    assert (alone.split, alone.cluster, train.split, train.cluster) == ("test", f"{SHOW}/{CLIP}", "train", f"{SHOW}/1_9")
    assert alone.people == (
        Person(
            person="s00", row=f"{first}:1", head_box=(1.0, 2.0, 30.0, 40.0), head_unit="pixel", gaze=((100.0, 200.0),),
            gaze_unit="pixel", in_frame=True,
        ),
    )  # fmt: skip
    assert [(person.person, person.in_frame, person.gaze) for person in both.people] == [
        ("s00", False, ()),
        ("s01", True, ((0.0, 0.0),)),
    ]


@pytest.mark.parametrize(("gaze", "mended"), [("-1,300", (0.0, 300.0)), ("300,-7", (300.0, 0.0)), ("0,-1", (0.0, 0.0))])
def test_vat_one_negative_coordinate_is_moved_to_the_edge(gaze, mended, tmp_path):
    write_track(tmp_path, [f"a.jpg,1,2,30,40,{gaze}"])
    listing = read_clips(tmp_path)
    (person,) = people_of(listing)
    assert (person.in_frame, person.gaze) == (True, (mended,))
    assert listing.repaired == {videoattentiontarget.CLAMPED: 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b.jpg,1,2,30,40,-2,-3", "gaze is negative in both coordinates, but not -1,-1 (-2, -3)"),
        ("b.jpg,nan,2,30,40,5,5", "xmin is not a finite number ('nan')"),
        ("b.jpg,1,2,30,,5,5", "ymax is not a finite number ('')"),
        ("b.jpg,1,2,30,40,x,5", "gazex is not a finite number ('x')"),
        ("b.jpg,1,2,30,40,5", "row has not 7 columns (6)"),
        ("../b.jpg,1,2,30,40,5,5", f"path leaves the source's folder ({f'images/{SHOW}/{CLIP}/../b.jpg'!r})"),
        ("sub/b.jpg,1,2,30,40,5,5", "path is not the name of a frame"),
        (",1,2,30,40,5,5", f"path is not a plain relative path ({f'images/{SHOW}/{CLIP}/'!r})"),
        ("a.jpg,1,2,30,40,5,5", "the track has this frame already"),
    ],
)
def test_vat_faulty_rows_are_rejected_with_line_and_reason(row, reason, tmp_path):
    file = write_track(tmp_path, ["a.jpg,1,2,30,40,5,5", row, "c.jpg,1,2,30,40,5,5"])
    listing = read_clips(tmp_path)
    assert [(bad.source, bad.row, bad.person, bad.reason) for bad in listing.rejected] == [
        ("videoattentiontarget", f"{file}:2", "s00", reason)
    ]
    assert rows_of(listing) == {(file, line): 1 for line in (1, 2, 3)}


def test_vat_a_faulty_row_does_not_bar_a_good_one_of_its_frame(tmp_path):
    file = write_track(tmp_path, ["a.jpg,nan,2,30,40,5,5", "a.jpg,1,2,30,40,5,5"])
    listing = read_clips(tmp_path)
    assert [person.row for person in people_of(listing)] == [f"{file}:2"]


def test_vat_inverted_boxes_are_swapped_and_counted(tmp_path):
    write_track(tmp_path, ["a.jpg,30,40,1,2,5,5"])
    listing = read_clips(tmp_path)
    assert people_of(listing)[0].head_box == (1.0, 2.0, 30.0, 40.0)
    assert listing.repaired == {videoattentiontarget.INVERTED: 1}


def test_vat_stride_counts_the_frames_of_the_clip_not_the_rows_of_a_track(tmp_path):
    """Unpadded names: 9 comes before 10. The second person is absent from the first two frames."""
    first = write_track(tmp_path, [f"{frame}.jpg,1,2,30,40,5,5" for frame in (8, 9, 10, 11, 12)])
    second = write_track(tmp_path, [f"{frame}.jpg,1,2,30,40,5,5" for frame in (10, 11, 12)], person="s01")
    listing = read_clips(tmp_path, stride=2)
    assert {photo.image.rpartition("/")[2] for photo in listing.photos} == {"8.jpg", "10.jpg", "12.jpg"}
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [
        (f"{first}:2,4", "frames skipped (stride 2)"),
        (f"{second}:2", "frames skipped (stride 2)"),
    ]
    assert set(rows_of(listing).values()) == {1}
    assert sum(rows_of(listing).values()) == 8


def slow_average(values: list[float], window: int) -> list[float]:
    """What the reference evaluation does, row by row: the ends are repeated."""
    half = window // 2
    at = lambda index: values[min(max(index, 0), len(values) - 1)]  # noqa: E731
    return [sum(at(index + step) for step in range(-half, half + 1)) / window for index in range(len(values))]


@given(track=st.lists(st.tuples(*[st.integers(-50, 2000)] * 4), min_size=1, max_size=30), window=st.sampled_from([1, 3, 11]))
def test_vat_smoothing_is_the_reference_moving_average(track, window):
    boxes = np.array(track, dtype=np.float64)
    expected = np.transpose([slow_average(column.tolist(), window) for column in boxes.T])
    np.testing.assert_allclose(smooth(boxes, window), expected, atol=1e-9)


def test_vat_smoothing_stays_within_a_track_and_comes_before_the_stride(tmp_path):
    steps = [0.0, 10.0, 40.0, 90.0, 160.0]
    write_track(tmp_path, [f"{frame}.jpg,{x},0,{x + 10},10,5,5" for frame, x in enumerate(steps)])
    write_track(tmp_path, [f"{frame}.jpg,1000,0,1010,10,5,5" for frame in range(5)], person="s01")
    listing = read_clips(tmp_path, smooth_window=3, stride=2)
    lefts = {
        (photo.image.rpartition("/")[2], person.person): person.head_box[0]
        for photo in listing.photos
        for person in photo.people
    }
    average = slow_average(steps, 3)
    assert [lefts[f"{frame}.jpg", "s00"] for frame in (0, 2, 4)] == pytest.approx([average[0], average[2], average[4]])
    assert [lefts[f"{frame}.jpg", "s01"] for frame in (0, 2, 4)] == pytest.approx([1000.0] * 3)


@pytest.mark.parametrize("options", [{"smooth_window": 4}, {"smooth_window": -1}, {"stride": 0}])
def test_vat_options_are_checked(options):
    with pytest.raises(ValidationError, match=r"must be odd|greater than or equal to"):
        VideoAttentionTargetOptions(**options)


def test_vat_clip_in_both_splits_stays_in_test(tmp_path):
    write_track(tmp_path, ["a.jpg,1,2,30,40,5,5"])
    write_track(tmp_path, ["a.jpg,1,2,30,40,5,5"], split="train")
    listing = read_clips(tmp_path)
    assert [photo.split for photo in listing.photos] == ["test"]
    assert reasons(listing) == ["the clip belongs to the test split too, and is kept there"]


def test_vat_empty_and_stray_files(tmp_path):
    empty = write_track(tmp_path, [])
    write_track(tmp_path, ["a.jpg,1,2,30,40,5,5"], person="._s01")
    with pytest.raises(InputError, match=r"Expected rows of 7 .* in the 1 track files .*; found none"):
        read_clips(tmp_path)
    write_track(tmp_path, ["a.jpg,1,2,30,40,5,5"], person="s02")
    (tmp_path / "annotations" / "notes.txt").write_text("x", encoding="utf-8")
    listing = read_clips(tmp_path)
    assert {(bad.row, bad.reason.partition(":")[0]) for bad in listing.rejected} == {
        (empty, "track file is empty"),
        ("annotations/notes.txt", "not a track"),
    }
    assert [person.person for person in people_of(listing)] == ["s02"]


def test_real_videoattentiontarget_clip(real):
    root = real / "videoattentiontarget"
    listing = read_clips(root)
    people = people_of(listing)
    assert (len(listing.photos), {person.person for person in people}, len(people)) == (26, {"s00", "s01"}, 52)
    assert {photo.cluster for photo in listing.photos} == {"Jamie Oliver/2575_2675"}
    assert not listing.rejected
    for photo in listing.photos:
        width, height = read_size(root / photo.image)
        for person in photo.people:
            resolved = resolve_person(photo, person, width, height)
            assert not resolved.repairs
            assert all(0 <= x <= width and 0 <= y <= height for x, y in resolved.gaze)
    assert len(read_clips(root, stride=5).photos) == 6
