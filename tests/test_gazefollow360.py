"""GazeFollow360 reader: MATLAB files as the release has them, boxes at the seam, no record lost, and the real samples."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from listings import people_of, reasons, rows_of, write_picture

from builders.sources import gazefollow360
from builders.sources.base import Listing, resolve_person
from builders.sources.gazefollow360 import CROSSING, FLATTENED, SWAPPED, UNCLEAR, GazeFollow360Options, read_boxes
from builders.sources.matlab import read_matlab, texts
from srgaze360.errors import InputError
from srgaze360.safe_images import read_size

WIDTH, HEIGHT = 400, 200
TEST = "train_vali_test_data/test_data.mat"
TRAIN = "train_vali_test_data/train_data.mat"
VALI = "train_vali_test_data/vali_data.mat"


def write_records(root: Path, records: list[tuple], name: str = TEST, images: bool = True, **options) -> str:
    """Records of (path, [[x1, y1], [x2, y2]], [gx, gy]), written by the library that MATLAB's users read with."""
    paths = [record[0] for record in records]
    data = {
        "path": np.array([path.ljust(40) for path in paths]),
        "face_box": np.array([record[1] for record in records], dtype=np.int32),
        "gaze": np.array([record[2] for record in records], dtype=np.float64),
    }
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / name, data, **options)
    for path in set(paths) if images else ():
        write_picture(root / "all the videos" / path, WIDTH, HEIGHT)
    return name


def read_frames(root: Path, **options) -> Listing:
    return gazefollow360.read(root, GazeFollow360Options(**options))


def one(box: list, path: str = "room/v_1.png", gaze: tuple = (0.25, 0.5)) -> tuple:
    return (path, box, gaze)


@pytest.mark.parametrize("compressed", [False, True])
def test_gazefollow360_records(compressed, tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]]), one([[90, 20], [120, 50]], gaze=(1.0, 0.0))], do_compression=compressed)
    (photo,) = read_frames(tmp_path).photos
    assert (photo.image, photo.split, photo.cluster) == ("all the videos/room/v_1.png", "test", "room/v")
    assert (photo.projection, photo.size, photo.camera) == ("equirectangular", None, None)
    first, second = photo.people
    assert (first.person, first.row, first.head_box, first.head_unit) == ("1", f"{TEST}:1", (10, 20, 30, 50), "pixel")
    assert (first.gaze, first.gaze_unit, first.in_frame, first.repairs) == (((0.25, 0.5),), "fraction", True, ())
    assert (second.person, second.row, second.gaze) == ("2", f"{TEST}:2", ((1.0, 0.0),))


def test_gazefollow360_a_single_record_is_not_lost_with_its_dimension(tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]])])
    path = write_records(tmp_path, [one([[10, 20], [30, 50]], path="w_1.png")], name=TRAIN)
    data = scipy.io.loadmat(tmp_path / path, squeeze_me=True)
    assert data["face_box"].shape == (2, 2)  # as MATLAB's own readers would save it again
    scipy.io.savemat(tmp_path / path, {name: data[name] for name in ("path", "face_box", "gaze")})
    listing = read_frames(tmp_path)
    assert [person.head_box for person in people_of(listing)] == [(10, 20, 30, 50)] * 2


def test_gazefollow360_paths_in_cells(tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]])])
    cells = np.array([["room/v_1.png "]], dtype=object)
    box, gaze = np.array([[[10, 20], [30, 50]]]), np.array([[0.5, 0.5]])
    scipy.io.savemat(tmp_path / TEST, {"path": cells, "face_box": box, "gaze": gaze})
    assert [photo.image for photo in read_frames(tmp_path).photos] == ["all the videos/room/v_1.png"]


def test_gazefollow360_equal_boxes_are_one_person(tmp_path):
    box, other = [[10, 20], [30, 50]], [[60, 20], [80, 50]]
    name = write_records(tmp_path, [one(box), one(other), one(box, gaze=(0.5, 0.75))])
    first, second = people_of(read_frames(tmp_path))
    assert (first.row, first.gaze) == (f"{name}:1,3", ((0.25, 0.5), (0.5, 0.75)))
    assert (second.person, second.row) == ("2", f"{name}:2")


@pytest.mark.parametrize(
    ("corners", "box", "repair"),
    [
        ([[10, 20], [30, 50]], (10, 20, 30, 50), ""),
        ([[30, 50], [10, 20]], (10, 20, 30, 50), SWAPPED),
        ([[10, 50], [30, 20]], (10, 20, 30, 50), SWAPPED),  # upside down only
        ([[30, 20], [10, 50]], (10, 20, 30, 50), SWAPPED),
        ([[390, 20], [15, 50]], (390, 20, 415, 50), CROSSING),
        ([[15, 20], [390, 50]], (390, 20, 415, 50), FLATTENED),  # the same head, after the reference code sorted it
        ([[0, 20], [399, 50]], (399, 20, 400, 50), FLATTENED),
        ([[15, 0], [390, 50]], (15, 0, 390, 50), ""),  # a head around a pole
        ([[0, 150], [400, 200]], (0, 150, 400, 200), ""),
        ([[50, 20], [340, 50]], (50, 20, 340, 50), ""),  # less than three quarters: as written
        ([[110, 20], [10, 50]], (10, 20, 110, 50), SWAPPED),  # a quarter exactly, either way
        ([[310, 20], [10, 50]], (310, 20, 410, 50), CROSSING),
        ([[390, 20], [430, 50]], (390, 20, 430, 50), ""),  # unrolled already
        ([[-20, 20], [30, 50]], (-20, 20, 30, 50), ""),
    ],
)
def test_gazefollow360_swapped_corners_and_seam_crossings_are_told_apart(corners, box, repair, tmp_path):
    write_records(tmp_path, [one(corners)])
    listing = read_frames(tmp_path)
    assert not listing.rejected
    ((photo,), (person,)) = listing.photos, people_of(listing)
    assert person.head_box == box
    assert listing.repaired == ({repair: 1} if repair else {})
    resolved = resolve_person(photo, person, WIDTH, HEIGHT)
    assert 0 <= resolved.head_box[0] < WIDTH
    assert resolved.head_box[2] - resolved.head_box[0] == pytest.approx(box[2] - box[0])
    # the middle of the head is where it was, whichever way the box was told
    assert (resolved.head_box[0] + resolved.head_box[2] - box[0] - box[2]) % (2 * WIDTH) == pytest.approx(0.0)


@given(
    left=st.integers(0, 399),
    span=st.integers(1, 100),
    top=st.integers(1, 150),
    bottom=st.integers(151, 199),
    swap=st.booleans(),
)
def test_gazefollow360_a_head_is_found_however_its_corners_were_written(left, span, top, bottom, swap):
    """Up to a quarter wide, anywhere: sorted, or in order around the seam, or swapped, the head stays where it is."""
    right = (left + span) % 400
    xs = (min(left, right), max(left, right)) if swap else (left, right)
    if span == 100 and swap and right < left:
        return  # sorted crossings of exactly a quarter stay as written: a margin has an edge
    boxes, readings = read_boxes(np.array([[xs[0], top, xs[1], bottom]], float), np.array([400.0]), np.array([200.0]))
    assert readings[0] != UNCLEAR
    assert boxes[0, 2] - boxes[0, 0] == span
    assert boxes[0, 0] % 400 == left
    assert tuple(boxes[0, 1::2]) == (top, bottom)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (one([[200, 20], [40, 50]], path="b.png"), f"{UNCLEAR} (x1 200, x2 40, width 400)"),
        (one([[0, 20], [400, 50]], path="b.png"), "head box is as wide as the panorama, but reaches no pole"),
        (one([[10, 20], [10, 50]], path="b.png"), "head box is empty"),
        (one([[410, 20], [430, 50]], path="b.png"), "head box lies beyond the panorama; was the image resized?"),
        (one([[10, 220], [30, 250]], path="b.png"), "head box lies beyond the panorama; was the image resized?"),
        (one([[10, 20], [30, 50]], path="b.png", gaze=(1.5, 0.5)), "gaze lies outside the panorama (1.5, 0.5)"),
        (one([[10, 20], [30, 50]], path="b.png", gaze=(0.5, -0.01)), "gaze lies outside the panorama (0.5, -0.01)"),
        (one([[10, 20], [30, 50]], path="b.png", gaze=(np.nan, 0.5)), "gaze is not finite"),
        (one([[10, 20], [30, 50]], path="x/../b.png"), "path leaves the source's folder ('all the videos/x/../b.png')"),
        (one([[10, 20], [30, 50]], path=""), "path is not a plain relative path ('all the videos/')"),
    ],
)
def test_gazefollow360_faulty_records_are_rejected_with_number_and_reason(record, reason, tmp_path):
    sound = one([[10, 20], [30, 50]], path="a.png")
    name = write_records(tmp_path, [sound, record, sound], images=False)
    for image in ("a.png", "b.png"):
        write_picture(tmp_path / "all the videos" / image, WIDTH, HEIGHT)
    listing = read_frames(tmp_path)
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [(f"{name}:2", reason)]
    assert rows_of(listing) == {(name, number): 1 for number in (1, 2, 3)}


def test_gazefollow360_infinite_boxes_are_rejected(tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]])])
    box = np.array([[[np.inf, 20.0], [np.inf, 50.0]]])
    scipy.io.savemat(tmp_path / TEST, {"path": np.array(["room/v_1.png"]), "face_box": box, "gaze": np.array([[0.5, 0.5]])})
    assert reasons(read_frames(tmp_path)) == ["head box is not finite"]


def test_gazefollow360_images_of_another_shape_and_absent_ones(tmp_path):
    name = write_records(
        tmp_path, [one([[10, 20], [30, 50]], path="flat.png"), one([[30, 20], [10, 50]], path="gone.png")], images=False
    )
    write_picture(tmp_path / "all the videos" / "flat.png", 402, 200)
    listing = read_frames(tmp_path)
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [
        (f"{name}:1", "panorama is not twice as wide as high (402 x 200 pixels)")
    ]
    assert [(photo.image, photo.people[0].head_box) for photo in listing.photos] == [
        ("all the videos/gone.png", (10, 20, 30, 50))
    ]


@pytest.mark.parametrize(
    ("path", "video"),
    [
        ("a/b_0012.jpg", "a/b"),
        ("a/b/0012.jpg", "a/b"),
        ("a/b/frame12.jpg", "a/b/frame"),
        ("a/tea_cups.jpg", "a/tea_cups"),
        ("12_07.jpg", "12"),
        ("0012.jpg", "all the videos/0012.jpg"),
    ],
)
def test_gazefollow360_clusters_are_videos_as_far_as_paths_tell(path, video, tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]], path=path)])
    assert read_frames(tmp_path).photos[0].cluster == video
    assert read_frames(tmp_path, cluster="image").photos[0].cluster == f"all the videos/{path}"


def test_gazefollow360_videos_stay_in_one_split(tmp_path):
    box = [[10, 20], [30, 50]]
    write_records(tmp_path, [one(box, path="v_3.png"), one(box, path="v_9.png")], name=TEST)
    write_records(tmp_path, [one(box, path="v_1.png"), one(box, path="w_1.png"), one(box, path="v_9.png")], name=VALI)
    write_records(tmp_path, [one(box, path="w_2.png"), one(box, path="x_2.png")], name=TRAIN)
    listing = read_frames(tmp_path)
    assert {photo.image[-7:]: photo.split for photo in listing.photos} == {
        "v_3.png": "test", "v_9.png": "test", "w_1.png": "val", "x_2.png": "train",
    }  # fmt: skip
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [
        (f"{TRAIN}:1", "the video belongs to the val split too, and is kept there"),
        (f"{VALI}:1", "the video belongs to the test split too, and is kept there"),
        (f"{VALI}:3", "the video belongs to the test split too, and is kept there"),
    ]
    alone = read_frames(tmp_path, cluster="image")
    assert [(bad.row, bad.reason) for bad in alone.rejected] == [
        (f"{VALI}:3", "the image belongs to the test split too, and is kept there")
    ]


def test_gazefollow360_damaged_files(tmp_path):
    write_records(tmp_path, [one([[10, 20], [30, 50]])])
    sound = (tmp_path / TEST).read_bytes()
    for content in (b"", b"no MATLAB", sound[:200], sound[:128] + b"\xff" * 300):
        (tmp_path / TEST).write_bytes(content)
        with pytest.raises(InputError, match=r"(?s)Expected .*test_data\.mat.*: linked from https"):
            read_frames(tmp_path)
    scipy.io.savemat(tmp_path / TEST, {"path": np.array(["a"]), "gaze": np.array([[0.5, 0.5]])})
    with pytest.raises(InputError, match=r"missing: face_box; there: path, gaze"):
        read_frames(tmp_path)
    scipy.io.savemat(tmp_path / TEST, {"path": np.array(["a", "b"]), "face_box": np.ones((2, 2, 2)), "gaze": np.ones((1, 2))})
    with pytest.raises(InputError, match=r"Expected N strings in path, .* gaze \(1, 2\) float64"):
        read_frames(tmp_path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_matlab_bombs_are_known_before_they_unpack(order, tmp_path):
    """An element of a few bytes that claims two gigabytes, in either byte order."""
    inner = zlib.compress(struct.pack(f"{order}II", 14, 2_000_000_000) + bytes(64))
    mark = b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + mark
    path = tmp_path / "bomb.mat"
    path.write_bytes(header + struct.pack(f"{order}II", 15, len(inner)) + inner)
    with pytest.raises(
        InputError, match=r"Expected a label file of up to 256 MiB, .* at .*bomb\.mat; it is larger\. Get another\."
    ):
        read_matlab(path, ["gaze"], "Get another.")


def test_matlab_texts_lose_their_padding():
    assert texts(np.array(["a b ", " c\0\0"])) == ["a b", " c"]


def test_real_gazefollow360_samples(real):
    root = real / "gazefollow360"
    listing = read_frames(root)
    assert not listing.rejected
    assert not listing.repaired
    assert {(photo.image.rpartition("/")[2], photo.split, len(photo.people)) for photo in listing.photos} == {
        ("office.jpg", "train", 2),
        ("train_carriage.jpg", "val", 1),
        ("tea_cups.jpg", "test", 1),
    }
    for photo in listing.photos:
        width, height = read_size(root / photo.image)
        for person in photo.people:
            resolved = resolve_person(photo, person, width, height)
            assert resolved.head_box == person.head_box
            assert not resolved.repairs
