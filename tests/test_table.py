"""The user's own table: every column, every fault, CSV and Parquet alike, no row lost, cameras that build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import people_of, reasons, rows_of
from pydantic import ValidationError

from builders.sources import columns, table
from builders.sources.base import Listing, Person, resolve_person
from builders.sources.table import DIFFERING, DIFFERING_EXTRAS, INVERTED, TableOptions, typed_values
from builders.sources.table_columns import COLUMNS, REQUIRED
from srgaze360 import dataset
from srgaze360.cameras import Camera
from srgaze360.errors import InputError

ROW = {
    "image": "a/1.jpg", "person": "p", "head_x0": 10, "head_y0": 20.5, "head_x1": 60, "head_y1": 80,
    "gaze_x": 300, "gaze_y": 200,
}  # fmt: skip
OUT = {"in_frame": "false", "gaze_x": "", "gaze_y": ""}
PANORAMA = {"projection": "equirectangular"}
CAMERA = {"fx": 500.0, "fy": 510.0, "cx": 320.5, "cy": 240.5}


def write_table(root: Path, rows: list[dict], parquet: bool = False) -> str:
    """Rows with ROW's values where they say nothing else; the header has every column that some row has."""
    names = list(dict.fromkeys([*ROW, *(name for row in rows for name in row)]))
    full = [ROW | row for row in rows]
    if parquet:
        frame = pd.DataFrame([{name: None if row.get(name) == "" else row.get(name) for name in names} for row in full])
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), root / "labels.parquet")
        return "labels.parquet"
    lines = [names, *([str(row.get(name, "")) for name in names] for row in full)]
    (root / "labels.csv").write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return "labels.csv"


def read_rows(root: Path, **options) -> Listing:
    return table.read(root, TableOptions(**options))


@pytest.mark.parametrize("parquet", [False, True])
def test_table_people_with_several_annotations(parquet, tmp_path):
    rows = [
        {"annotator": "x"},
        {"annotator": "y", "gaze_x": 310.25},
        {"person": "q", "in_frame": False, "gaze_x": "", "gaze_y": ""},
        {"image": "b.png", "annotator": ""},
    ]
    file = write_table(tmp_path, [{"in_frame": True, "annotator": ""} | row for row in rows], parquet)
    listing = read_rows(tmp_path)
    assert not listing.rejected
    first, second = listing.photos
    assert (first.image, first.split, first.cluster) == ("a/1.jpg", "train", "a/1.jpg")
    assert (first.projection, first.size, first.camera) == ("perspective", None, None)
    shift = 0 if parquet else 1  # of a CSV file, the header is the first line
    assert first.people == (
        Person(
            person="p", row=f"{file}:{1 + shift}-{2 + shift}", head_box=(10.0, 20.5, 60.0, 80.0), head_unit="pixel",
            gaze=((300.0, 200.0), (310.25, 200.0)), gaze_unit="pixel", in_frame=True, annotators=("x", "y"),
        ),
        Person(
            person="q", row=f"{file}:{3 + shift}", head_box=(10.0, 20.5, 60.0, 80.0), head_unit="pixel", gaze=(),
            gaze_unit="pixel", in_frame=False,
        ),
    )  # fmt: skip
    assert (second.image, second.people[0].annotators) == ("b.png", ())


def test_table_defaults_are_options_and_columns_win(tmp_path):
    fraction = {"head_x0": 0.1, "head_y0": 0.2, "head_x1": 0.3, "head_y1": 0.4, "gaze_x": 0.5, "gaze_y": 0.6}
    write_table(tmp_path, [fraction])
    (photo,) = read_rows(tmp_path, units="fraction", split="test", projection="equirectangular").photos
    assert (photo.split, photo.projection) == ("test", "equirectangular")
    assert (photo.people[0].head_unit, photo.people[0].gaze_unit) == ("fraction", "fraction")
    write_table(tmp_path, [{"split": "val", "units": "pixel", "projection": "perspective", "cluster": "v"}])
    (photo,) = read_rows(tmp_path, units="fraction", split="test", projection="equirectangular").photos
    assert (photo.split, photo.projection, photo.people[0].head_unit, photo.cluster) == ("val", "perspective", "pixel", "v")


@pytest.mark.parametrize("parquet", [False, True])
def test_table_empty_cells_of_a_choice_take_the_option(parquet, tmp_path):
    """A table of photos and panoramas says of the panoramas only what they are."""
    around = {"image": "b.jpg", "projection": "equirectangular", "split": "val", "units": "fraction"}
    around |= {"head_x0": 0.1, "head_y0": 0.4, "head_x1": 0.2, "head_y1": 0.5, "gaze_x": 0.5, "gaze_y": 0.5}
    write_table(tmp_path, [{"projection": "", "split": "", "units": ""}, around], parquet)
    listing = read_rows(tmp_path, split="test")
    assert not listing.rejected
    assert [(photo.projection, photo.split) for photo in listing.photos] == [
        ("perspective", "test"),
        ("equirectangular", "val"),
    ]
    assert [photo.people[0].head_unit for photo in listing.photos] == ["pixel", "fraction"]


def test_table_sizes_and_cameras(tmp_path):
    """The camera is built from what the listing says: a pixel it sees at the edge of the field of view tells fx and cx."""
    size = {"width": 640, "height": 480}
    rows = [
        {"image": "bare.jpg", **CAMERA},
        {"image": "lens.jpg", **size, **CAMERA, "lens": "brown-conrady", "lens_params": "-0.1; 0.02 0 0"},
        {"image": "list.jpg", **CAMERA, "lens": "kannala-brandt", "lens_params": "[0.01 -0.002]"},
        {"image": "size.jpg", **size},
    ]
    write_table(tmp_path, rows)
    listing = read_rows(tmp_path)
    assert not listing.rejected
    bare, lens, fish, sized = listing.photos
    assert (bare.size, bare.camera) == (None, {"lens": "pinhole", **CAMERA, "params": []})
    assert (lens.size, lens.camera["params"], fish.camera["params"]) == ((640, 480), [-0.1, 0.02, 0.0, 0.0], [0.01, -0.002])
    assert (sized.size, sized.camera) == ((640, 480), None)
    camera = Camera.from_dict({**bare.camera, "width": 640, "height": 480})
    ray = camera.rays([[320.5 + 500.0, 240.5]]).directions[0]
    np.testing.assert_allclose(ray, [np.sqrt(0.5), 0.0, np.sqrt(0.5)], atol=1e-12)
    scaled = resolve_person(sized, sized.people[0], 320, 240)
    assert scaled.head_box == (5.0, 10.25, 30.0, 40.0)


def test_table_further_columns_are_typed(tmp_path):
    rows = [
        {"age": 7, "child": "true", "note": "7", "mixed": "7", "empty": ""},
        {"person": "q", "age": "", "child": "False", "note": "x", "mixed": "true", "empty": ""},
    ]
    write_table(tmp_path, rows)
    first, second = people_of(read_rows(tmp_path))
    assert first.extras == {"age": 7.0, "child": True, "note": "7", "mixed": "7"}
    assert second.extras == {"child": False, "note": "x", "mixed": "true"}
    (tmp_path / "labels.csv").unlink()
    write_table(
        tmp_path,
        [{"code": "7", "age": 7, "child": True}, {"person": "q", "code": "8", "age": None, "child": None}],
        parquet=True,
    )
    first, second = people_of(read_rows(tmp_path))
    assert first.extras == {"code": "7", "age": 7.0, "child": True}  # the file says that code is text
    assert second.extras == {"code": "8"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_table_numbers_come_back_exactly(values):
    assert typed_values(np.array([repr(value) for value in values], dtype=object), "unknown") == values


def test_table_repairs_are_counted(tmp_path):
    rows = [{"head_x0": 60, "head_x1": 10, "note": "a"}, {"gaze_x": 1, "note": "b"}, {"person": "q", "note": "a"}]
    write_table(tmp_path, rows)
    listing = read_rows(tmp_path)
    assert listing.repaired == {INVERTED: 1, DIFFERING: 1, DIFFERING_EXTRAS: 1}
    assert people_of(listing)[0].head_box == (10.0, 20.5, 60.0, 80.0)
    assert people_of(listing)[0].extras == {"note": "a"}


def test_table_targets_out_of_frame(tmp_path):
    """A point beyond the edge is the target; nothing, or -1,-1, is an unknown one; a point inside contradicts the flag."""
    size = {"width": 640, "height": 480, "in_frame": 0}
    rows = [{"gaze_x": 900, "gaze_y": 100}, {"gaze_x": "", "gaze_y": ""}, {"gaze_x": -1, "gaze_y": -1}, {}, {"gaze_y": ""}]
    write_table(tmp_path, [row | size | {"person": number} for number, row in enumerate(rows)])
    listing = read_rows(tmp_path)
    assert [(person.person, person.gaze, person.in_frame) for person in people_of(listing)] == [
        ("0", ((900.0, 100.0),), False),
        ("1", (), False),
        ("2", (), False),
    ]
    assert reasons(listing) == ["gaze is marked out of frame but lies inside the photo (300, 200)", "gaze has one coordinate"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image": "../b.jpg"}, "path leaves the source's folder ('../b.jpg')"),
        ({"image": ""}, "path is not a plain relative path ('')"),
        ({"person": ""}, "person is empty"),
        ({"head_x0": "left"}, "head_x0 is not a finite number ('left')"),
        ({"head_y1": "inf"}, "head_y1 is not a finite number ('inf')"),
        ({"gaze_x": ""}, "gaze_x is not a finite number ('')"),
        ({"in_frame": "yes"}, "in_frame is none of true, 1, false, 0 ('yes')"),
        ({"split": "validation"}, "split is none of train, val, test ('validation')"),
        ({"units": "px"}, "units is none of pixel, fraction ('px')"),
        ({"projection": "360"}, "projection is none of perspective, equirectangular ('360')"),
        ({"width": 640}, "width and height are not whole numbers of pixels, both or neither"),
        ({"width": 640.5, "height": 480}, "width and height are not whole numbers of pixels, both or neither"),
        ({"width": 0, "height": 0}, "width and height are not whole numbers of pixels, both or neither"),
        ({"width": "inf", "height": "inf"}, "width is not a finite number ('inf')"),
        ({"width": 200, "height": 480}, "gaze is marked in frame but lies outside the photo (300, 200)"),
        ({**PANORAMA, "width": 640, "height": 480}, "panorama is not twice as wide as high (640 x 480 pixels)"),
        ({**PANORAMA, "head_x0": 90}, "head_x0 lies right of head_x1; across the seam, head_x1 is beyond the width"),
        ({**PANORAMA, **CAMERA}, "a panorama has no intrinsics and no lens; its projection says it all"),
        ({**CAMERA, "cy": ""}, "intrinsics are incomplete (cy missing)"),
        ({"lens": "pinhole"}, "intrinsics are incomplete (fx, fy, cx, cy missing)"),
        ({**CAMERA, "lens_params": "a b"}, "lens_params are not numbers ('a b')"),
        (
            {"fx": 0.8, "fy": 1, "cx": 0.5, "cy": 0.5, "width": 640, "height": 480},
            "photo reaches 799 focal lengths from its principal point; are the intrinsics in pixels?",
        ),
    ],
)  # fmt: skip
def test_table_faulty_rows_are_rejected_with_line_and_reason(row, reason, tmp_path):
    sound = {"in_frame": "true", "split": "train", "units": "pixel", "projection": "perspective"}
    filler = {name: sound.get(name, "") for name in row if name not in ROW}
    file = write_table(tmp_path, [filler, {"image": "b.jpg", **row}, {"image": "c.jpg", **filler}])
    listing = read_rows(tmp_path)
    assert [(bad.source, bad.row, bad.reason) for bad in listing.rejected] == [("table", f"{file}:3", reason)]
    assert rows_of(listing) == {(file, line): 1 for line in (2, 3, 4)}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({**CAMERA, "lens": "pinehole"}, "camera is not usable (Unknown lens 'pinehole'. Did you mean 'pinhole'?"),
        ({**CAMERA, "fx": -1}, "camera is not usable (Camera fx must be a focal length in pixels, above 0"),
        ({**CAMERA, "lens_params": "1"}, "camera is not usable (The pinhole lens takes these parameters: none"),
    ],
)
def test_table_cameras_that_do_not_build_say_why(row, text, tmp_path):
    write_table(tmp_path, [row])
    (bad,) = read_rows(tmp_path).rejected
    assert bad.reason.startswith(text)
    assert bad.fault == "camera is not usable"


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("split", "train", "val"),
        ("cluster", "v", "w"),
        ("width", 640, 641),
        ("fx", 500, 501),
        ("lens", "pinhole", "equidistant"),
    ],
)
def test_table_rows_of_a_photo_must_agree(column, one, other, tmp_path):
    base = {"width": 640, "height": 480, **CAMERA, "lens": "pinhole"}
    rows = [base | {column: one}, base | {column: other, "person": "q"}, base | {column: one, "image": "b.jpg"}]
    file = write_table(tmp_path, rows)
    listing = read_rows(tmp_path)
    assert [photo.image for photo in listing.photos] == ["b.jpg"]
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [
        (f"{file}:{line}", f"rows of the photo disagree about {column}") for line in (2, 3)
    ]


def test_table_a_camera_of_one_row_only_is_a_disagreement(tmp_path):
    write_table(tmp_path, [CAMERA, dict.fromkeys(CAMERA, "") | {"person": "q"}])
    assert reasons(read_rows(tmp_path)) == ["rows of the photo disagree about fx"] * 2


def test_table_rows_contradict_each_other(tmp_path):
    rows = [
        {"annotator": "x", "in_frame": 1}, {"annotator": "x", "in_frame": 1}, {"annotator": "y", **OUT},
        {"image": "t.jpg", "split": "test", "cluster": "v"}, {"image": "u.jpg", "cluster": "v"},
    ]  # fmt: skip
    file = write_table(tmp_path, [{"annotator": "", "in_frame": 1, "split": "train", "cluster": ""} | row for row in rows])
    listing = read_rows(tmp_path)
    assert [(bad.row, bad.reason) for bad in listing.rejected] == [
        (f"{file}:3", "the annotator has annotated this person already"),
        (f"{file}:4", "marked out of frame, while another annotation of the same person is in frame"),
        (f"{file}:6", "the cluster belongs to the test split too, and is kept there"),
    ]


def test_table_heads_across_the_seam_of_a_panorama(tmp_path):
    write_table(tmp_path, [{"projection": "equirectangular", "head_x0": 390, "head_x1": 420, "gaze_x": 5, "gaze_y": 6}])
    (photo,) = read_rows(tmp_path).photos
    resolved = resolve_person(photo, photo.people[0], 400, 200)
    assert resolved.head_box == (390.0, 20.5, 420.0, 80.0)
    assert not resolved.repairs


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("image,person,heax_x0,head_y0,head_x1,head_y1,gaze_x,gaze_y", r"'head_x0' is missing \(Did you mean 'heax_x0'\?\)"),
        ("image,person,head_x0,head_y0,head_x1,head_y1,gaze_x", r"found that 'gaze_y' is missing\. Mend the header"),
        (f"{','.join(REQUIRED)},person", r"'person' stands there 2 times"),
        (f"{','.join(REQUIRED)},yaw_deg", r"'yaw_deg' is a column of every built .* example to table_yaw_deg\)"),
        (f"{','.join(REQUIRED)},my age", r"'my age' is not a plain name"),
        (f"{','.join(REQUIRED)},", r"'' is not a plain name"),
        (",".join(REQUIRED), r"Expected rows of labels in .*; found none as wide as its header"),
    ],
)  # fmt: skip
def test_table_headers_are_explained(header, text, tmp_path):
    (tmp_path / "labels.csv").write_text(header + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=text):
        read_rows(tmp_path)


def test_table_documented_columns_do_not_hide_the_dataset_s_own():
    """A further column may not take a name that the dataset writes; the table's own columns are never written under it."""
    assert set(REQUIRED) <= set(COLUMNS)
    assert all(COLUMNS.values())
    assert {"split", "in_frame"} <= set(COLUMNS) & set(dataset.COLUMNS)


def test_table_fractions_that_pass_for_pixels_are_refused(tmp_path):
    write_table(tmp_path, [{"head_x0": 0.1, "head_y0": 0.2, "head_x1": 0.3, "head_y1": 0.4, "gaze_x": 0.5, "gaze_y": 0.6}])
    with pytest.raises(InputError, match=r"none beyond 1\.5 in 1 rows, as in fractions .* Add a column units"):
        read_rows(tmp_path)


def test_table_lines_of_another_width_and_two_files(tmp_path):
    file = write_table(tmp_path, [{}])
    path = tmp_path / file
    path.write_text(path.read_text(encoding="utf-8") + "\nc.jpg,p,1\n", encoding="utf-8")
    assert [(bad.row, bad.reason) for bad in read_rows(tmp_path).rejected] == [(f"{file}:4", "row has not 8 columns (3)")]
    write_table(tmp_path, [{"image": "z.jpg"}], parquet=True)
    with pytest.raises(InputError, match=r"Expected one table in .*; found labels\.csv and labels\.parquet"):
        read_rows(tmp_path)
    assert read_rows(tmp_path, file="labels.parquet").photos[0].image == "z.jpg"
    with pytest.raises(
        InputError, match=r"Expected the table other\.csv, named by the option file; .* holds labels\.csv, labels"
    ):
        read_rows(tmp_path, file="other.csv")


@pytest.mark.parametrize("file", ["../labels.csv", "labels.txt"])
def test_table_options_are_checked(file):
    with pytest.raises(ValidationError, match=r"leaves the source's folder|must be a \.csv"):
        TableOptions(file=file)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"when": pa.array([0], pa.timestamp("ms"))}, r"found when \(timestamp\[ms\]\)\. Write them as text"),
        ({"raw": pa.array([b"x"])}, r"found raw \(binary\)"),
        ({"head_x0": pa.array(["10"])}, r"'head_x0' holds texts, not numbers"),
        ({"gaze_x": pa.array([True])}, r"'gaze_x' holds flags, not numbers"),
    ],
)
def test_table_parquet_of_other_types_is_refused(changes, text, tmp_path):
    plain = {name: pa.array([value]) for name, value in ROW.items()}
    pq.write_table(pa.table(plain | changes), tmp_path / "labels.parquet")
    with pytest.raises(InputError, match=text):
        read_rows(tmp_path)


def test_table_parquet_with_a_name_twice(tmp_path):
    arrays = [pa.array([value]) for value in ROW.values()] + [pa.array(["p"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=[*ROW, "person"]), tmp_path / "labels.parquet")
    with pytest.raises(InputError, match=r"'person' stands there 2 times"):
        read_rows(tmp_path)


def test_table_parquet_dictionaries_and_lists(tmp_path):
    plain = {name: pa.array([value, value]) for name, value in (ROW | CAMERA).items()}
    more = {
        "image": pa.array(["a.jpg", "b.jpg"]).dictionary_encode(),
        "lens": pa.array(["brown-conrady", None]),
        "lens_params": pa.array([[-0.1, 0.02], None], pa.list_(pa.float64())),
    }
    pq.write_table(pa.table(plain | more), tmp_path / "labels.parquet")
    first, second = read_rows(tmp_path).photos
    assert (first.camera["lens"], first.camera["params"]) == ("brown-conrady", [-0.1, 0.02])
    assert (second.image, second.camera["lens"]) == ("b.jpg", "pinhole")


def test_table_damaged_parquet(tmp_path):
    write_table(tmp_path, [{}], parquet=True)
    path = tmp_path / "labels.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"Expected a Parquet file at .*; it cannot be read: .* Write it again\."):
        read_rows(tmp_path)


def test_table_parquet_bombs_are_refused_or_stay_small(tmp_path, monkeypatch):
    """Text that repeats in every row is a file of nothing; it is kept once, whether the file calls it a dictionary or not."""
    rows, path = 20_000, tmp_path / "labels.parquet"
    plain = {name: pa.array([value] * rows) for name, value in ROW.items()}
    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["x" * 1_000_000]))
    for text in (once, pa.array(["y" * 1000] * rows)):
        pq.write_table(pa.table(plain | {"note": text}), path)
        assert path.stat().st_size < 200_000
        assert len({id(value) for value in columns.read_columns(path, "").texts["note"]}) < 3
    monkeypatch.setattr(columns, "MAX_ROWS", rows - 1)
    with pytest.raises(InputError, match=r"Expected a table of up to 19999 rows, .* found 20000 rows, 9 columns"):
        read_rows(tmp_path)
    monkeypatch.setattr(columns, "MAX_ROWS", rows)
    monkeypatch.setattr(columns, "MAX_BYTES", 100_000)  # claims 3 kB, unpacks to more than 1 MB
    with pytest.raises(InputError, match=r"and 0\.1 MB \(unpacked\) at .*; found 1 MB in its first rows"):
        read_rows(tmp_path)
    monkeypatch.setattr(columns, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"0\.001 MB \(unpacked\) at .*; found 0 MB\. Split it"):
        read_rows(tmp_path)
