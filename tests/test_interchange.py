"""Round trips through every format: what it carries comes back to the last digit, also from a tool that rounds."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from building import run_build, run_command
from conftest import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interchanging import HEIGHT, ONE, PEOPLE, WIDTH, changes_of, known_dataset, labels, places_of, rows_with
from photos import write_gazefollow
from sound import Row, rows_of

from annotation.applying import BOX
from annotation.interchange.comparing import compare
from annotation.interchange.formats import FORMATS, export, import_file
from annotation.interchange.pixels import box_of_rectangles, point_of_pixel, rectangles_of_box, same_pixels, upright
from annotation.interchange.records import Faults, Person, Places
from annotation.interchange.shapes import people_of_shapes, shapes_of_row
from builders.building.verify import verify
from builders.publish_commands import export as builders_export
from srgaze360.dataset import COLUMNS, Dataset
from srgaze360.errors import InputError

DOCS = REPOSITORY / "docs" / "annotation" / "interchange.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five people on three panoramas; not to be changed."""
    found = known_dataset(tmp_path_factory.mktemp("interchange") / "data")
    assert verify(found.root) == []
    return found


# --- what a tool does to a file that nobody edits ---------------------------------------------------------------------


def as_cvat_writes(path: Path) -> None:
    """Coordinates to a hundredth, attributes of shapes in another order, an id of its own for groups."""
    tree = ElementTree.parse(path)  # noqa: S314 - our own file
    for element in tree.iter():
        for name in ("xtl", "ytl", "xbr", "ybr"):
            if name in element.attrib:
                element.set(name, f"{float(element.get(name)):.2f}")
        if "points" in element.attrib:
            element.set("points", ",".join(f"{float(value):.2f}" for value in element.get("points").split(",")))
        if element.tag in ("box", "points"):
            element.set("group_id", str(int(element.get("group_id")) + 700))
            element[:] = reversed(list(element))
    for image in tree.iter("image"):
        image[:] = list(reversed(list(image)))  # shapes come by the number the server gave them
    tree.write(path, encoding="utf-8", xml_declaration=True)


def as_label_studio_writes(path: Path) -> None:
    """Percentages that went through a canvas of 1137 pixels, keys that it adds, regions with ids of its own."""

    def through(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: through(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [through(item, key) for item in value]
        if key == "id" and isinstance(value, str):
            return value[::-1]
        return value / 100.0 * 1137.0 * 100.0 / 1137.0 if key in ("x", "y", "width", "height") else value

    tasks = [
        through(task) | {"id": number, "drafts": [], "predictions": [], "file_upload": None, "meta": {}, "total_annotations": 1}
        for number, task in enumerate(json.loads(path.read_text()))
    ]
    path.write_text(json.dumps(tasks))


def as_a_coco_editor_writes(path: Path) -> None:
    """What is COCO's is kept, ours besides the id is not; numbers to a hundredth."""
    content = json.loads(path.read_text())
    kept = (
        "id",
        "image_id",
        "category_id",
        "bbox",
        "keypoints",
        "num_keypoints",
        "area",
        "iscrowd",
        "segmentation",
        "sample_id",
    )
    content["annotations"] = [{name: item[name] for name in kept} for item in content["annotations"]]
    for item in content["annotations"]:
        item["bbox"] = [round(value, 2) for value in item["bbox"]]
        item["keypoints"] = [round(value, 2) for value in item["keypoints"]]
    path.write_text(json.dumps(content))


def as_a_spreadsheet_writes(path: Path) -> None:
    """Byte order mark, semicolons, quotes where there need be none, Windows line ends."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)


TOOLS: dict[str, Callable[[Path], None]] = {
    "cvat": as_cvat_writes,
    "labelstudio": as_label_studio_writes,
    "coco": as_a_coco_editor_writes,
    "csv": as_a_spreadsheet_writes,
}


# --- lossless ---------------------------------------------------------------------------------------------------------


def written(name: str, rows: list[Row], data: Dataset, path: Path) -> Places:
    places = Places(rows)
    path.write_text(FORMATS[name].write(list(places.by_id.values()), data.info, ""), encoding="utf-8", newline="")
    return places


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(people=st.lists(labels(), min_size=1, max_size=4))
def test_what_a_format_carries_comes_back_to_the_last_digit(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory, name: str, people: list[dict[str, Any]]
) -> None:
    rows = rows_with(rows_of(data.root)[0], people)
    path = tmp_path_factory.getbasetemp() / f"round-trip-{name}"
    places = written(name, rows, data, path)
    content = FORMATS[name].read(path, places, "somebody else")
    found: dict[str, Person] = {person.sample_id: person for picture in content.pictures for person in picture.people}
    assert len(found) == len(rows)
    for row in rows:
        person = found[row["sample_id"]]
        assert person.head_box == tuple(row[side] for side in BOX)
        assert [[point.lon_deg, point.lat_deg] for point in person.points] == row["gaze_points_deg"]
        assert [point.annotator for point in person.points] == (row["gaze_annotators"] or [""] * len(row["gaze_points_deg"]))
        assert (person.in_frame, person.ambiguous, person.rejected) == (row["in_frame"], row["ambiguous"], False)
    changes = compare(content, places, path, "")
    assert (changes.edits, changes.additions) == ([], [])


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(people=st.lists(labels(), min_size=1, max_size=4))
def test_what_went_through_a_tool_untouched_changes_nothing(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory, name: str, people: list[dict[str, Any]]
) -> None:
    rows = rows_with(rows_of(data.root)[0], people)
    path = tmp_path_factory.getbasetemp() / f"through-{name}"
    places = written(name, rows, data, path)
    TOOLS[name](path)
    changes = compare(FORMATS[name].read(path, places, "somebody else"), places, path, "")
    assert (changes.edits, changes.additions) == ([], [])


@given(
    x=st.floats(-500.0, 2500.0), y=st.floats(0.0, float(HEIGHT)), width=st.floats(0.5, 1500.0), height=st.floats(0.5, 200.0),
    gaze=st.tuples(st.floats(-100.0, 2100.0), st.floats(0.0, float(HEIGHT))),
)  # fmt: skip
def test_what_was_moved_means_its_pixels(
    data: Dataset, x: float, y: float, width: float, height: float, gaze: tuple[float, float]
) -> None:
    place = places_of(data).by_id[ONE]
    shapes = {shape.label: shape for shape in shapes_of_row(place.row("plain"), "1")}
    bottom = min(y + height, float(HEIGHT))
    if bottom - y < 0.1:
        return
    moved = [replace(shapes["head"], pixels=(x, y, x + width, bottom)), replace(shapes["gaze"], pixels=gaze)]
    faults = Faults(Path("file"))
    [person] = people_of_shapes(place, moved, "me", faults)
    assert faults.found == []
    u0, v0, u1, v1 = person.head_box
    assert 0.0 <= u0 < 1.0
    assert (u0 - x / WIDTH + 0.5) % 1.0 - 0.5 == pytest.approx(0.0, abs=1e-9)
    assert (u1 - u0, v0, v1) == pytest.approx((width / WIDTH, y / HEIGHT, bottom / HEIGHT), abs=1e-9)
    [point] = person.points
    lon, lat = 360.0 * (gaze[0] / WIDTH - 0.5), 180.0 * (0.5 - gaze[1] / HEIGHT)
    assert (point.lon_deg - lon + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-9)
    assert point.lat_deg == pytest.approx(lat, abs=1e-9)
    near = np.hypot((gaze[0] - shapes["gaze"].pixels[0]), gaze[1] - shapes["gaze"].pixels[1]) < 0.02
    assert near or point.annotator == "me"


@given(box=labels().map(lambda person: person["box"]))
def test_rectangles_become_the_box_again(box: tuple[float, float, float, float]) -> None:
    rectangles = rectangles_of_box(box, WIDTH, HEIGHT)
    assert len(rectangles) == (2 if box[2] > 1.0 else 1)
    again = box_of_rectangles(rectangles[::-1], WIDTH, HEIGHT)
    assert (
        np.array(again) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        == pytest.approx(np.array(box) * [WIDTH, HEIGHT, WIDTH, HEIGHT], abs=1e-6)
        or (box[2] - box[0]) * WIDTH > WIDTH - 1.0
    )


def test_two_numbers_that_were_both_rounded_are_rounding() -> None:
    exact = (10.00499, 5.0, 20.00998, 9.0)  # x 10.00, width 10.00 to a hundredth: the right edge is off by twice as much
    assert same_pixels(exact, (10.0, 5.0, 20.0, 9.0), WIDTH)
    assert same_pixels(exact, (10.0 - WIDTH, 5.0, 20.0 - WIDTH, 9.0), WIDTH)
    assert not same_pixels(exact, (10.0, 5.0, 20.1, 9.0), WIDTH)
    assert not same_pixels((0.0, 5.0, float(WIDTH), 9.0), (0.0, 5.0, 0.0, 9.0), WIDTH)  # all around is not nothing


@pytest.mark.parametrize(
    ("rectangle", "degrees", "about_corner", "expected"),
    [
        ((10.0, 20.0, 30.0, 24.0), 90.0, False, (18.0, 12.0, 22.0, 32.0)),
        ((10.0, 20.0, 30.0, 24.0), 90.0, True, (6.0, 20.0, 10.0, 40.0)),  # clockwise: what lay to the right is below
        ((10.0, 20.0, 30.0, 24.0), 360.0, True, (10.0, 20.0, 30.0, 24.0)),
        ((0.0, 0.0, 2.0, 2.0), 45.0, False, (1.0 - 2.0**0.5, 1.0 - 2.0**0.5, 1.0 + 2.0**0.5, 1.0 + 2.0**0.5)),
    ],
)
def test_upright_boxes_around_rotated_ones(
    rectangle: tuple[float, float, float, float], degrees: float, about_corner: bool, expected: tuple[float, ...]
) -> None:
    assert upright(rectangle, degrees, about_corner=about_corner) == pytest.approx(expected, abs=1e-9)


def test_pixels_are_continuous_and_their_centres_at_one_half() -> None:
    # the second pixel of the top row of four by two: its centre is 45 degrees to the left, 45 up
    assert point_of_pixel(1.5, 0.5, 4, 2) == pytest.approx((-45.0, 45.0))
    assert point_of_pixel(4.0, 0.0, 4, 2) == pytest.approx((-180.0, 90.0))
    assert point_of_pixel(4.5, 1.0, 4, 2) == pytest.approx((-135.0, 0.0))  # on at the other edge
    with pytest.raises(ValueError, match="outside of the picture"):
        point_of_pixel(1.0, 4.0, 4, 2)


@pytest.mark.parametrize(
    ("rectangles", "expected"),
    [
        ([(1900.0, 100.0, 2100.0, 200.0)], (1900.0, 100.0, 2100.0, 200.0)),  # beyond the width, as some tools write
        ([(-48.0, 100.0, 52.0, 200.0)], (2000.0, 100.0, 2100.0, 200.0)),
        ([(2000.0, 100.0, 2047.5, 200.0), (0.0, 110.0, 52.0, 210.0)], (2000.0, 100.0, 2100.0, 210.0)),
        ([(10.0, -5.0, 20.0, 7.0)], (10.0, 0.0, 20.0, 7.0)),
        ([(0.4, 0.5, 2047.7, 90.0)], (0.0, 0.0, 2048.0, 90.0)),  # drawn by hand around a pole
        ([(0.0, 900.0, 2048.0, 1023.6)], (0.0, 900.0, 2048.0, 1024.0)),
    ],
)
def test_boxes_of_drawn_rectangles(rectangles: list[Any], expected: tuple[float, ...]) -> None:
    box = np.array(box_of_rectangles(rectangles, WIDTH, HEIGHT)) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    assert box == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rectangles", "told"),
    [
        ([(10.0, 10.0, 10.0, 20.0)], "without area"),
        ([(10.0, -20.0, 20.0, -1.0)], "outside of the picture"),
        ([(10.0, 10.0, 20.0, 20.0), (40.0, 10.0, 50.0, 20.0)], "do not meet at the seam"),
        ([(0.0, 10.0, 20.0, 20.0)] * 3, "has 3 head boxes"),
    ],
)
def test_rectangles_that_are_no_head(rectangles: list[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        box_of_rectangles(rectangles, WIDTH, HEIGHT)


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_says_what_it_cannot_carry_and_comes_back(data: Dataset, tmp_path: Path, name: str) -> None:
    out = tmp_path / f"labels{FORMATS[name].suffix}"
    done = export(data, name, out)
    assert done.counts == {"panoramas": 3, "people": 5, "gaze points": 7}
    assert [Path(path) for path in done.files] == sorted(tmp_path.iterdir(), key=lambda path: path != out)
    told = " ".join(done.notes)
    for column in (*COLUMNS, "face"):  # everything is carried, follows, or is told
        carried = column in {*BOX, "sample_id", "panorama_id", "image_path", "gaze_points_deg", "gaze_annotators", "in_frame"}
        assert (re.search(rf"\b{column}\b", told) is None) == (carried or column in FORMATS[name].also), column
    assert ("1 heads across the seam are two boxes each" in told) == (name != "csv")
    same = import_file(out, data, name, tmp_path / "new")
    assert (same.counts, same.version, same.panoramas) == ({}, "", 3)
    assert not (tmp_path / "new").exists()
    again = tmp_path / f"again{FORMATS[name].suffix}"
    export(data, name, again)
    assert again.read_bytes() == out.read_bytes()


def test_one_split_is_exported_and_the_others_stay(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=3, test=2, scale=4)
    small = ("output.width=128", "output.format=png", "suites.mixed.draw.background=black")
    run_build(tmp_path / "data", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=small)
    built = Dataset.open(tmp_path / "data")
    path = tmp_path / "test.csv"
    assert export(built, "csv", path, split="test").counts["people"] == 2
    text = path.read_text().splitlines()
    path.write_text("\n".join([text[0], *(line.replace(",true,,false,", ",true,,true,") for line in text[1:4])]) + "\n")
    done = import_file(path, built, "csv", tmp_path / "new")
    assert done.counts == {"removed": 1}
    assert verify(tmp_path / "new") == []
    assert len(Dataset.open(tmp_path / "new")) == len(built) - 1
    with pytest.raises(InputError, match="Did you mean 'test'"):
        export(built, "csv", tmp_path / "x.csv", split="tset")


def test_files_are_not_overwritten_nor_put_in_the_dataset(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "labels.labels.json").write_text("mine")
    with pytest.raises(InputError, match=r"no file at .*labels\.labels\.json yet"):
        export(data, "cvat", tmp_path / "labels.xml")
    assert not (tmp_path / "labels.xml").exists()
    with pytest.raises(InputError, match="outside of the dataset"):
        export(data, "csv", data.root / "labels.csv")
    with pytest.raises(InputError, match="Did you mean 'cvat'"):
        export(data, "cvta", tmp_path / "x.xml")
    with pytest.raises(InputError, match="Did you mean 'coco'"):
        import_file(tmp_path / "x", data, "cocoo", tmp_path / "new")


@pytest.mark.parametrize("name", FORMATS)
def test_files_that_are_none_are_told(data: Dataset, tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    with pytest.raises(InputError, match="there is no such file"):
        changes_of(name, path, data)
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="found a zip archive. Unpack it"):
        changes_of(name, path, data)
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"Expected .* in .*file"):
        changes_of(name, path, data)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"Expected .* in .*file"):
        changes_of(name, path, data)


@pytest.mark.parametrize("name", ["cvat", "labelstudio", "coco"])
def test_a_file_without_anybody_takes_nobody_out(data: Dataset, tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    places = written(name, rows_of(data.root), data, path)
    text = path.read_text()
    if name == "cvat":
        path.write_text(re.sub(r"    <(box|points) .*\n", "", text))
    else:
        content = json.loads(text)
        for task in content if name == "labelstudio" else []:
            task["annotations"][0]["result"] = []
        if name == "coco":
            content["annotations"] = []
        path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="found nobody. Where labels were never loaded into the tool, load them"):
        compare(FORMATS[name].read(path, places, ""), places, path, "")


@pytest.mark.parametrize(
    "image",
    [
        f"panoramas/test/{ONE}.jpg", f"{ONE}.jpg", ONE, f"/data/upload/1/0f3a9c21-{ONE}.jpg", rf"C:\data\{ONE}.png",
        f"/data/local-files/?d=panoramas/test/{ONE}.jpg", f"https://example.org/some%20place/{ONE}.jpg?token=a/b",
        f"/data/local-files/?d=a%20folder/{ONE}.jpg", f"s3://bucket/{ONE}.jpeg",
    ],
)  # fmt: skip
def test_images_are_found_by_what_tools_call_them(data: Dataset, image: str) -> None:
    place = places_of(data).find(image)
    assert place is not None
    assert place.panorama_id == ONE


@pytest.mark.parametrize("image", ["", "/", "unknown.jpg", f"x-{ONE}.jpg", f"{ONE}/other.jpg", "http://[bad"])
def test_images_that_are_none_are_not_found(data: Dataset, image: str) -> None:
    assert places_of(data).find(image) is None


def test_names_with_dots_are_found_with_their_suffix_and_without(data: Dataset) -> None:
    places = Places([rows_of(data.root)[0] | {"panorama_id": "p", "image_path": "panoramas/test/clip.0004.jpg"}])
    for image in ("clip.0004.jpg", "x/clip.0004", "/data/upload/1/0f3a9c21-clip.0004.png", "0f3a9c21-clip.0004"):
        assert places.find(image).panorama_id == "p", image
    assert places.find("clip") is None


def test_sides_that_nobody_moved_are_exact(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "labels.xml"
    rows = rows_of(data.root)
    rows[0]["head_v1"] = 0.5174123456789
    places = written("cvat", rows, data, path)
    as_cvat_writes(path)
    path.write_text(path.read_text().replace('xtl="600.00"', 'xtl="610.00"'))
    [edit] = compare(FORMATS["cvat"].read(path, places, ""), places, path, "").edits
    assert edit.head_box == pytest.approx((610.0 / WIDTH, 480.0 / HEIGHT, 640.0 / WIDTH, 0.5174123456789), abs=1e-15)


def test_of_panoramas_of_one_name_the_folder_decides(data: Dataset) -> None:
    rows = [
        dict(rows_of(data.root)[0], sample_id=f"s{i}", panorama_id=f"p{i}", image_path=f"panoramas/{i}/same.jpg") for i in "ab"
    ]
    places = Places(rows)
    assert places.find("images/panoramas/b/same.jpg").panorama_id == "pb"
    assert places.find("a/same.jpg").panorama_id == "pa"
    assert places.find("same.jpg") is None


# --- commands ---------------------------------------------------------------------------------------------------------


def test_the_commands_go_there_and_back(data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, file = str(data.root), tmp_path / "labels.xml"
    ran = run_command(capsys, "annotate", "export", root, "--format", "cvat", "--out", str(file))
    assert ran.code == 0, ran.err
    assert "3 panoramas, 5 people, 7 gaze points" in ran.out
    assert "note: Not in the file, and kept as they are by an import: " in ran.err
    file.write_text(file.read_text().replace('xtl="600.0000"', 'xtl="601.0000"'))
    words = ("annotate", "import", str(file), "--data", root, "--format", "cvat")
    ran = run_command(capsys, *words, "--dry-run")
    assert (ran.code, ran.out) == (0, f"3 panoramas in {file}: 1 head moved\n")
    ran = run_command(capsys, *words, "--out", str(tmp_path / "new"), "--annotator", "me", "--note", "A look.", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["counts"] == {"head moved": 1}
    assert verify(tmp_path / "new") == []
    changelog = (tmp_path / "new" / "CHANGELOG.md").read_text()
    assert re.search(r"## 1\.0\.1 \(\d{4}-\d\d-\d\d\)", changelog)
    assert "A look." in changelog
    with (tmp_path / "new" / "changes.csv").open(newline="") as stream:
        [line] = list(csv.DictReader(stream))
    assert (line["sample_id"], line["annotator"]) == ("plain", "me")
    ran = run_command(capsys, *words)
    assert (ran.code, "either --out NEWDIR or --dry-run" in ran.err) == (2, True)


def test_coco_of_the_other_export_comes_back(data: Dataset, tmp_path: Path) -> None:
    """``srgaze360 export --format coco``, with the panoramas, is the same labels."""
    builders_export(data.root, "coco", tmp_path / "coco")
    path = tmp_path / "coco" / "annotations" / "heads_test.json"
    changes = changes_of("coco", path, data)
    assert (changes.edits, changes.additions) == ([], [])


def test_the_docs_name_every_format_and_attribute() -> None:
    text = DOCS.read_text(encoding="utf-8")
    from annotation.interchange.shapes import GAZE_ATTRIBUTES, HEAD_ATTRIBUTES
    from annotation.interchange.table import COLUMNS as TABLE_COLUMNS

    for name in (*FORMATS, *TABLE_COLUMNS, *(attribute.name for attribute in (*HEAD_ATTRIBUTES, *GAZE_ATTRIBUTES))):
        assert f"`{name}`" in text, name
    assert set(PEOPLE)  # the people of the fixtures


def test_a_real_build_goes_through_every_format(real: Path, tmp_path: Path) -> None:
    run_build(tmp_path / "data", f"gazefollow={real / 'gazefollow'}", f"gazefollow360={real / 'gazefollow360'}", recipe="mixed",
              settings=("output.width=256", "output.format=jpeg", "suites.mixed.draw.background=black"))  # fmt: skip
    built = Dataset.open(tmp_path / "data")
    for name, chosen in FORMATS.items():
        path = tmp_path / f"{name}{chosen.suffix}"
        export(built, name, path)
        TOOLS[name](path)
        assert import_file(path, built, name, None).counts == {}
