"""Files as other tools export them: what they say is taken, what they cannot mean is told with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interchanging import HEIGHT, ONE, PEOPLE, THREE, TWO, WIDTH, changes_of, degrees_of, imported, known_dataset
from sound import Row, rows_of, write_sound

from annotation.applying import apply_edits
from annotation.interchange import reading
from annotation.interchange.comparing import Changes
from annotation.interchange.formats import FORMATS, export
from builders.building.verify import verify
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError

FIXTURES = Path(__file__).resolve().parent / "interchange"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five people on three panoramas; not to be changed."""
    return known_dataset(tmp_path_factory.mktemp("foreign") / "data")


def box_of(row: Row) -> list[float]:
    return [row["head_u0"] * WIDTH, row["head_v0"] * HEIGHT, row["head_u1"] * WIDTH, row["head_v1"] * HEIGHT]


def one_new(rows: dict[str, Row]) -> Row:
    [new] = [row for name, row in rows.items() if name not in PEOPLE]
    return new


# --- CVAT -------------------------------------------------------------------------------------------------------------


def test_a_task_of_cvat(data: Dataset, tmp_path: Path) -> None:
    rows = imported("cvat", FIXTURES / "cvat_task.xml", data, tmp_path / "new", "rev")
    assert verify(tmp_path / "new") == []
    # a point left alone, one moved, two set without saying whose; flags of the box
    plain = rows["plain"]
    assert plain["gaze_points_deg"][0] == [-30.0, 10.0]
    assert np.array(plain["gaze_points_deg"][1:]) == pytest.approx(
        np.array([degrees_of(900.0, 400.0), degrees_of(700.5, 300.25), degrees_of(1024.0, 512.0)])
    )
    assert plain["gaze_annotators"] == ["ann", "rev", "rev", "rev"]
    assert (plain["in_frame"], plain["ambiguous"]) == (False, True)
    assert box_of(plain) == pytest.approx([600.0, 480.0, 640.0, 530.0])
    # a head in two parts, the right one first; nothing was moved
    assert rows["seam"] == _old(data, "seam") | {"ambiguous": None}
    # a picture of half the size; nobody said what became of the one who looks nowhere: taken out
    assert rows["pole"] == _old(data, "pole") | {"ambiguous": None}
    assert "nowhere" not in rows
    # somebody new: the upright box around one that was turned by a right angle about its middle, at twice the size
    new = one_new(rows)
    assert new["panorama_id"] == TWO
    assert box_of(new) == pytest.approx([820.0, 380.0, 860.0, 460.0])
    assert new["gaze_points_deg"] == [pytest.approx(degrees_of(1024.0, 512.0))]
    # taken out by the box's own attribute
    assert "late" not in rows
    changes = changes_of("cvat", FIXTURES / "cvat_task.xml", data)
    assert {edit.sample_id: edit.comment for edit in changes.edits if edit.rejected} == {
        "late": "a poster",
        "nowhere": "not in cvat_task.xml",
    }
    assert changes.notes == [
        "1 boxes are rotated; the upright box around each was taken.",
        "Left out, being neither boxes labelled head nor points labelled gaze: 1 polygon labelled head, 1 mask labelled table, "
        "1 tag labelled checked.",
    ]


def _old(data: Dataset, sample: str) -> Row:
    [row] = [row for row in rows_of(data.root) if row["sample_id"] == sample]
    return row


def test_a_job_and_a_project_of_cvat_have_another_head(data: Dataset, tmp_path: Path) -> None:
    text = (FIXTURES / "cvat_task.xml").read_text()
    before, _, rest = text.partition("<task>")
    meta, _, images = rest.partition("</task>")
    for head in (
        f"{before}<job>{meta}</job>{images}",
        f"{before}<project><tasks><task>{meta}</task></tasks></project>{images}",
    ):
        path = tmp_path / "cvat.xml"
        path.write_text(head.replace("<image id", '<image subset="default" task_id="41" id'))
        assert len(changes_of("cvat", path, data).edits) == len(changes_of("cvat", FIXTURES / "cvat_task.xml", data).edits)


# (what is changed, what is told)
CVAT_FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "no xml": (lambda text: text.replace("</image>", "", 1), r"it is no XML: line 137, column \d+: mismatched tag"),
    "cut": (lambda text: text[:5000], r"it is no XML: line \d+, column \d+: (unclosed token|no element found)"),
    "root": (lambda text: text.replace("annotations>", "root>"), r"the root <root> instead of <annotations> in line 2"),
    "entity": (
        lambda text: text.replace("<annotations>", '<!DOCTYPE a [<!ENTITY lol "lol">]><annotations>', 1),
        "found a document type, which no annotation tool writes and which is not read, in line 2",
    ),
    "external": (
        lambda text: text.replace("<annotations>", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations>', 1),
        "found a document type",
    ),
    "deep": (lambda text: text.replace("<mask ", "<a>" * 40 + "<mask "), "more than 32 elements .* in line 105"),
    "track": (
        lambda text: text.replace("  <image", '  <track id="0" label="head"></track>\n  <image', 1),
        "found a track in line 57: the file is of CVAT for video",
    ),
    "number": (lambda text: text.replace('xtl="600.00"', 'xtl="6OO"'), "line 58: xtl='6OO' of <box> is not a number"),
    "nan": (lambda text: text.replace('xtl="600.00"', 'xtl="nan"'), "line 58: xtl='nan' of <box> is not a number"),
    "side": (lambda text: text.replace(' xtl="600.00"', ""), "line 58: <box> has no xtl"),
    "points": (lambda text: text.replace("900.00,400.00", "900.00"), "line 73: points '900.00', which is not x,y"),
    "image": (lambda text: text.replace(f"test/{TWO}", "test/other"), "line 110: image .*/other.jpg is no panorama"),
    "shape": (
        lambda text: text.replace('width="1024"', 'width="1000"'),
        "line 110: 1000 x 512 pixels are not the shape of a panorama of 2048 x 1024",
    ),
    "twice": (
        lambda text: text.replace(f"test/{TWO}.jpg", f"test/{ONE}.jpg"),
        "line 111: sample_id 'pole' is nobody on panorama 1a2b3c4d5e6f7081",
    ),
    "copied": (
        lambda text: text.replace('sample_id">seam', 'sample_id">plain'),
        "line 58: plain has 3 head boxes",
    ),
    "apart": (
        lambda text: text.replace('xbr="2048.00"', 'xbr="2040.00"'),
        "line 81: seam has two head boxes that do not meet at the seam",
    ),
    "area": (lambda text: text.replace('xbr="640.00"', 'xbr="600.00"'), "line 58: plain has a head box without area"),
    "outside": (lambda text: text.replace("900.00,400.00", "900.00,4000.00"), "plain has a gaze point outside of the picture"),
    "flag": (
        lambda text: text.replace('"ambiguous">true', '"ambiguous">perhaps'),
        "line 58: plain has ambiguous 'perhaps', which is neither true nor false",
    ),
    "angles": (lambda text: text.replace(">-30.0 10.0<", ">north<"), "plain has angles 'north', which are not 2 numbers"),
    "nobody": (
        lambda text: text.replace(' group_id="9">\n    </points>', ">\n    </points>"),
        r"line 121: a gaze point belongs to nobody: give it the sample_id of a head, or group it with one \(panorama 2b3c",
    ),
    "headless": (
        lambda text: text.replace('"sample_id">pole</attribute>\n      <attribute name="angles">0.0', '"x">y</attribute><attribute name="angles">0.0'),  # noqa: E501
        "line 114: a gaze point of 'pole' has no head box",
    ),
    "labels": (lambda text: text.replace('label="head"', 'label="face"').replace('label="gaze"', 'label="eye"'), "found none, but 8 points labelled eye, 6 box labelled face"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("fault", CVAT_FAULTS)
def test_what_a_file_of_cvat_cannot_mean(data: Dataset, tmp_path: Path, fault: str) -> None:
    change, told = CVAT_FAULTS[fault]
    text = (FIXTURES / "cvat_task.xml").read_text()
    assert change(text) != text
    path = tmp_path / "cvat.xml"
    path.write_text(change(text))
    with pytest.raises(InputError, match=told):
        changes_of("cvat", path, data)


def test_all_faults_of_a_file_are_counted(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "cvat.xml"
    path.write_text((FIXTURES / "cvat_task.xml").read_text().replace('xtl="', 'xtl="x'))
    with pytest.raises(InputError, match=r"found \d+ faults: line 58: .*; and \d+ more\. Mend that, then import again"):
        changes_of("cvat", path, data)


def test_a_billion_laughs_are_not_expanded(data: Dataset, tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    path = tmp_path / "cvat.xml"
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{entities}]><annotations>&l9;</annotations>')
    with pytest.raises(InputError, match="document type"):
        changes_of("cvat", path, data)


def test_files_and_texts_have_limits(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cvat.xml"
    text = (FIXTURES / "cvat_task.xml").read_text()
    path.write_text(text.replace("a poster", "a poster " * 10000))
    with pytest.raises(InputError, match=r"more than 65536 characters in <attribute> in line \d+"):
        changes_of("cvat", path, data)
    monkeypatch.setattr(reading, "LARGEST", 2**20)
    path.write_text(text + " " * 2**20)
    for name in FORMATS:
        with pytest.raises(InputError, match="of at most 1 MB"):
            changes_of(name, path, data)


def test_what_xml_cannot_hold_is_told(data: Dataset, tmp_path: Path) -> None:
    copied = known_dataset(tmp_path / "data")
    rows = rows_of(copied.root)
    rows[0]["gaze_annotators"] = ["a<b>&\"'", "two\nlines\r\n", "ends \t"]
    copied = write_sound(copied.root, copied, rows)
    export(copied, "cvat", tmp_path / "labels.xml")
    assert changes_of("cvat", tmp_path / "labels.xml", copied) == Changes([], [], [])
    rows[0]["gaze_annotators"][0] = "\x00"
    copied = write_sound(copied.root, copied, rows)
    with pytest.raises(InputError, match=r"found the character '\\x00'"):
        export(copied, "cvat", tmp_path / "other.xml")
    assert len(data) == len(copied)


# --- Label Studio -----------------------------------------------------------------------------------------------------


def test_a_project_of_label_studio(data: Dataset, tmp_path: Path) -> None:
    rows = imported("labelstudio", FIXTURES / "labelstudio_project.json", data, tmp_path / "new")
    assert verify(tmp_path / "new") == []
    # two people's work, the older one second in the file: head and flag of the later, points of both, each by who set it
    plain = rows["plain"]
    assert box_of(plain) == pytest.approx([600.0, 480.0, 640.0, 530.0])
    assert (plain["in_frame"], plain["ambiguous"]) == (False, True)
    assert np.array(plain["gaze_points_deg"]) == pytest.approx(np.array([[-90.0, 45.0], [0.0, 0.0]]))
    assert plain["gaze_annotators"] == ["2", "zoe@example.org"]
    # across the seam, missing in one of the two: kept; its point is where one of two equal ones was
    seam = rows["seam"]
    assert box_of(seam) == pytest.approx([2028.0, 500.0, 2068.0, 540.0])
    assert seam["gaze_points_deg"] == [[170.0, 0.0]]
    # rectangle and label apart; around the pole; nothing was moved
    assert rows["pole"] == _old(data, "pole") | {"ambiguous": None}
    assert "nowhere" not in rows
    # 2 % x 1 % of 2048 x 1024, turned clockwise by a right angle about the upper left corner
    new = one_new(rows)
    assert box_of(new) == pytest.approx([1024.0 - 10.24, 512.0, 1024.0, 512.0 + 40.96])
    assert (new["gaze_points_deg"], new["gaze_annotators"]) == ([pytest.approx([90.0, 0.0])], ["2"])
    # not worked on: as it was
    assert rows["late"] == _old(data, "late") | {"ambiguous": None}
    assert changes_of("labelstudio", FIXTURES / "labelstudio_project.json", data).notes == [
        "1 tasks have no finished annotation: their panoramas stay as they are.",
        "1 tasks have several annotations, which were pooled.",
        "1 people are missing in some annotations of their task and were kept.",
        "1 boxes are rotated; the upright box around each was taken.",
        "1 regions are neither rectangles labelled head nor points labelled gaze; left out.",
    ]


def test_completions_of_old(data: Dataset) -> None:
    changes = changes_of("labelstudio", FIXTURES / "labelstudio_old.json", data, "me")
    [edit] = changes.edits
    assert (edit.sample_id, edit.head_box, edit.gaze_annotators) == ("late", None, ["me"])
    assert edit.gaze_points_deg == [pytest.approx([-144.0, 0.0])]


def test_equal_points_of_one_annotation_stay_two_when_several_are_pooled(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    export(data, "labelstudio", path)
    tasks = json.loads(path.read_text())
    tasks[0]["annotations"] *= 3
    path.write_text(json.dumps(tasks))
    changes = changes_of("labelstudio", path, data)
    assert (changes.edits, changes.additions) == ([], [])


def _set(*keys: Any, to: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        if to is None:
            del content[keys[-1]]
        else:
            content[keys[-1]] = to

    return change


RESULT = (0, "annotations", 0, "result")
LABEL_STUDIO_FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "no data": (_set(0, "data", to=None), r"\[0\]\.data: field required"),
    "text": (_set(*RESULT, 0, "value", "x", to="left"), r"\[0\]\.annotations\[0\]\.result\[0\]\.value\.x: input should be .* \(found 'left'\)"),  # noqa: E501
    "infinite": (_set(*RESULT, 0, "value", "x", to=float("inf")), r"\[0\]\.annotations\[0\]\.result\[0\]\.value\.x: input should be a finite"),  # noqa: E501
    "list": (_set(*RESULT, to={}), r"\[0\]\.annotations\[0\]\.result: input should be a valid list"),
    "image": (_set(1, "data", "image", to="/data/upload/7/x.jpg"), r"\[1\]\.data: image /data/upload/7/x.jpg.* is no panorama"),
    "stranger": (_set(*RESULT, 1, "value", "text", to=["stranger"]), r"\[0\]\.annotations\[0\]\.result\[0\]: sample_id 'stranger' is nobody"),  # noqa: E501
    "alone": (_set(*RESULT, 3, "parentID", to="gone"), r"result\[3\]: a gaze point belongs to nobody"),
    "flat": (_set(*RESULT, 0, "value", "height", to=0), r"plain has a head box without area"),
    "twice": (_set(1, "data", "image", to=f"{THREE}.jpg"), "sample_id 'pole' is nobody on panorama"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LABEL_STUDIO_FAULTS)
def test_what_a_file_of_label_studio_cannot_mean(data: Dataset, tmp_path: Path, fault: str) -> None:
    change, told = LABEL_STUDIO_FAULTS[fault]
    content = json.loads((FIXTURES / "labelstudio_project.json").read_text())
    change(content)
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=told):
        changes_of("labelstudio", path, data)


def test_two_tasks_of_one_panorama_are_told(data: Dataset, tmp_path: Path) -> None:
    content = json.loads((FIXTURES / "labelstudio_old.json").read_text())
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(content * 2))
    with pytest.raises(InputError, match=rf"\[1\]\.data: panorama {THREE} is there already \(\[0\]\.data\)"):
        changes_of("labelstudio", path, data)


def test_json_min_and_broken_json_are_told(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    task = {"image": f"{ONE}.jpg", "id": 1, "head": [{"x": 1, "rectanglelabels": ["head"]}], "annotator": 1, "annotation_id": 3}
    path.write_text(json.dumps([task]))
    with pytest.raises(InputError, match=r"found JSON-MIN. It does not say which region a sample_id is of.*again as JSON"):
        changes_of("labelstudio", path, data)
    path.write_text(json.dumps([{"image": f"{ONE}.jpg", "id": 1}]))
    with pytest.raises(InputError, match=r"not JSON-MIN\) in .*: \[0\]\.data: field required"):
        changes_of("labelstudio", path, data)
    path.write_text('[\n {"data": {},\n  "annotations": [}\n]')
    with pytest.raises(InputError, match="it is no JSON: line 3, column 19: Expecting value"):
        changes_of("labelstudio", path, data)
    path.write_text("[" * 100000)
    with pytest.raises(InputError, match="cannot be read: maximum recursion depth|it is no JSON"):
        changes_of("labelstudio", path, data)


# --- COCO -------------------------------------------------------------------------------------------------------------


def test_a_file_of_a_coco_editor(data: Dataset, tmp_path: Path) -> None:
    rows = imported("coco", FIXTURES / "coco_editor.json", data, tmp_path / "new", "me")
    assert verify(tmp_path / "new") == []
    # pictures of twice the size; the keypoint is where the consensus is, within rounding of an editor: all points stay
    plain = rows["plain"]
    assert len(plain["gaze_points_deg"]) == 1  # 0.07 pixels away: it was moved
    assert plain["gaze_points_deg"][0] == pytest.approx(degrees_of(853.3, 455.1))
    assert plain["gaze_annotators"] == ["me"]
    # beyond the width; the keypoint was moved and is all there is
    seam = rows["seam"]
    assert box_of(seam) == pytest.approx([2028.0, 500.0, 2068.0, 540.0])
    assert seam["gaze_points_deg"] == [pytest.approx([90.0, 0.0])]
    new = one_new(rows)
    assert box_of(new) == pytest.approx([1000.0, 500.0, 1010.0, 510.0])
    assert new["gaze_points_deg"] == [pytest.approx([0.0, 45.0])]
    assert "pole" not in rows
    assert rows["nowhere"]["gaze_points_deg"] == []
    assert "late" in rows  # of a panorama that is not in the file


def test_a_keypoint_that_stands_for_many_annotations(data: Dataset, tmp_path: Path) -> None:
    """Left alone, all annotations stay; moved, it is the only one; taken away, there is none."""
    path = tmp_path / "coco.json"
    export(data, "coco", path)
    content = json.loads(path.read_text())
    [item] = [item for item in content["annotations"] if item["sample_id"] == "plain"]
    before = list(item["keypoints"])
    for gaze, expected in (([1024.0, 512.0, 2], [[0.0, 0.0]]), ([0, 0, 0], []), (before[3:], None)):
        item["keypoints"] = [*before[:3], *gaze]
        path.write_text(json.dumps(content))
        edits = changes_of("coco", path, data).edits
        assert [edit.gaze_points_deg for edit in edits] == ([] if expected is None else [expected])


def _coco_fault(*keys: Any, to: Any) -> Callable[[Any], None]:
    return _set(*keys, to=to)


COCO_FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "bbox": (_set("annotations", 3, "bbox", to=[1, 2, 3]), r"annotations\[3\]\.bbox: list should have at least 4 items"),
    "number": (_set("annotations", 3, "bbox", 2, to="wide"), r"annotations\[3\]\.bbox\[2\]: input should be .*'wide'"),
    "nan": (_set("annotations", 1, "keypoints", 3, to=float("nan")), r"annotations\[1\]\.keypoints\[3\]: .* finite"),
    "no image": (_set("annotations", 2, "image_id", to=99), r"annotations\[2\]\.image_id: there is no image 99"),
    "category": (_set("annotations", 2, "category_id", to=99), r"annotations\[2\]\.category_id: there is no category 99"),
    "chair": (_set("annotations", 3, "category_id", to=1), r"annotations\[3\]\.category_id: nowhere is of category 'chair', not 'head'"),  # noqa: E501
    "flag": (_set("annotations", 3, "in_frame", to="perhaps"), r"annotations\[3\]\.in_frame: input should be a valid boolean"),
    "heads": (
        lambda content: [item.update(category_id=1, sample_id="", attributes={}) for item in content["annotations"]],
        r"categories: none has a keypoint named gaze or is named head; annotations are 4 of 'chair'",
    ),
    "keypoints": (_set("annotations", 2, "keypoints", to=[1, 2, 2]), r"annotations\[2\]\.keypoints: 3 numbers, too few"),
    "ids": (_set("images", 1, "id", to=10), "images: 2 images have the id 10"),
    "file": (_set("images", 1, "file_name", to="x.jpg"), r"images\[1\]: image x\.jpg is no panorama"),
    "shape": (_set("images", 1, "height", to=900), r"images\[1\]: 2048 x 900 pixels are not the shape"),
    "size": (_set("images", 1, "height", to=0), r"images\[1\]\.height: input should be greater than 0"),
    "missing": (_set("images", to=None), r"images: field required"),
    "names": (
        lambda content: content["annotations"][1].update(gaze_points_deg=[[1, 2]], gaze_annotators=["a", "b"]),
        r"annotations\[1\]\.gaze_annotators: 2 names for 1 gaze points",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_what_a_coco_file_cannot_mean(data: Dataset, tmp_path: Path, fault: str) -> None:
    change, told = COCO_FAULTS[fault]
    content = json.loads((FIXTURES / "coco_editor.json").read_text())
    change(content)
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=told):
        changes_of("coco", path, data)


def test_instances_of_coco_as_cvat_writes_them(data: Dataset, tmp_path: Path) -> None:
    """Boxes with attributes as text, no keypoints: heads may have moved, the gaze of whoever is known stays."""
    rows = imported("coco", FIXTURES / "coco_instances.json", data, tmp_path / "new", "rev")
    assert verify(tmp_path / "new") == []
    for sample in ("seam", "pole"):
        assert rows[sample] == _old(data, sample) | {"ambiguous": None}
    plain = rows["plain"]
    assert box_of(plain) == pytest.approx([605.0, 480.0, 640.0, 530.0])
    assert plain["gaze_points_deg"] == _old(data, "plain")["gaze_points_deg"]
    assert plain["gaze_annotators"] == ["ann", "bob", "cid"]
    assert (plain["in_frame"], plain["ambiguous"]) == (True, True)
    assert "nowhere" not in rows  # taken out by its attribute
    new = one_new(rows)
    assert (box_of(new), new["gaze_points_deg"]) == (pytest.approx([1500.0, 500.0, 1530.0, 540.0]), [])
    assert changes_of("coco", FIXTURES / "coco_instances.json", data).notes == [
        "Left out, being of other categories than head: 1 of gaze."
    ]


def test_coco_results_are_no_labels(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "keypoints": [], "score": 0.5}]))
    with pytest.raises(
        InputError, match=r"Expected COCO keypoints or instances .* the whole file: input should be a valid dictionary"
    ):
        changes_of("coco", path, data)


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_a_table_of_a_spreadsheet(data: Dataset, tmp_path: Path) -> None:
    rows = imported("csv", FIXTURES / "spreadsheet.csv", data, tmp_path / "new")
    assert verify(tmp_path / "new") == []
    assert rows["plain"]["gaze_points_deg"] == [[12.5, -3.0], [13.0, -4.0]]
    assert rows["plain"]["gaze_annotators"] == ["zoe", "yan"]
    assert box_of(rows["plain"]) == box_of(_old(data, "plain"))
    assert "nowhere" not in rows
    new = one_new(rows)
    assert (new["panorama_id"], new["gaze_points_deg"], new["in_frame"]) == (THREE, [[0.0, 0.0], [1.0, 0.0]], True)
    assert {"seam", "pole", "late"} <= set(rows)  # who is not in the table stays
    assert changes_of("csv", FIXTURES / "spreadsheet.csv", data).notes == ["1 columns are not known and were not read."]


CSV_FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "header": (lambda text: text.replace("sample_id;", "id;"), "found the columns id, panorama_id"),
    "twice": (lambda text: text.replace(";comment;", ";rejected;"), "each column once"),
    "cells": (lambda text: text.replace("plain;;13;-4", "plain;13;-4"), "found others in line 3"),
    "id": (lambda text: text.replace("\nplain;;13", "\n;;13"), "line 3: no sample_id"),
    "stranger": (lambda text: text.replace("nowhere", "nobody"), "line 4: sample_id 'nobody' is nobody in the dataset"),
    "number": (lambda text: text.replace(";12.5;", ";12,5;"), "line 2: plain has gaze_lon_deg '12,5', which is not a number"),
    "half": (lambda text: text.replace(";13;-4", ";13;"), "line 2: plain has gaze_lon_deg alone"),
    "mixed": (lambda text: text.replace(";13;-4", ";;"), "line 2: plain has lines with and lines without a gaze point"),
    "flag": (lambda text: text.replace("TRUE", "perhaps"), "line 4: nowhere has rejected 'perhaps'"),
    "box": (lambda text: text.replace("yan;0.5;0.5;0.52;0.54", "yan;0.5;0.5;0.52;0.55"), "new 1 has another head_v1 in line 6"),
    "half box": (lambda text: text.replace(";0.5;0.5;0.52;0.54;", ";0.5;0.5;0.52;;"), "new 1 has head_u0, but not all of"),
    "no box": (lambda text: text.replace(";0.5;0.5;0.52;0.54;", ";;;;;"), "line 5: new 1 is new, but has no head box"),
    "place": (lambda text: text.replace(THREE, "elsewhere"), "line 5: image elsewhere is no panorama"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CSV_FAULTS)
def test_what_a_table_cannot_mean(data: Dataset, tmp_path: Path, fault: str) -> None:
    change, told = CSV_FAULTS[fault]
    text = (FIXTURES / "spreadsheet.csv").read_text(encoding="utf-8")
    assert change(text) != text
    path = tmp_path / "table.csv"
    path.write_text(change(text), encoding="utf-8")
    with pytest.raises(InputError, match=told):
        changes_of("csv", path, data)


def test_numbers_out_of_range_are_told_by_the_edits(data: Dataset, tmp_path: Path) -> None:
    text = (FIXTURES / "spreadsheet.csv").read_text(encoding="utf-8")
    path = tmp_path / "table.csv"
    path.write_text(text.replace(";12.5;-3;", ";12.5;-93;").replace("0.5;0.5;0.52;0.54", "0.5;0.5;0.4;0.54"), encoding="utf-8")
    with pytest.raises(InputError, match=r"1 with a head box that is none .*1 with gaze points that are none .*: plain"):
        imported("csv", path, data, tmp_path / "new")


# --- whatever it may be -----------------------------------------------------------------------------------------------

FILES = {
    "cvat": "cvat_task.xml",
    "labelstudio": "labelstudio_project.json",
    "coco": "coco_editor.json",
    "csv": "spreadsheet.csv",
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_a_damaged_file_is_read_or_refused(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory, name: str, drawn: st.DataObject
) -> None:
    """Bytes changed, cut out or doubled anywhere: nothing but InputError comes out, and nothing but that."""
    content = (FIXTURES / FILES[name]).read_bytes()
    for _ in range(drawn.draw(st.integers(1, 3))):
        start = drawn.draw(st.integers(0, len(content) - 1))
        end = start + drawn.draw(st.integers(0, 60))
        put = drawn.draw(st.one_of(st.binary(max_size=6), st.just(content[start:end] * 2), st.sampled_from(SHOCKING)))
        content = content[:start] + put + content[end:] or b" "
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    path.write_bytes(content)
    with suppress(InputError):
        changes = changes_of(name, path, data)
        apply_edits(rows_of(data.root), changes.edits, changes.additions)


SHOCKING = [
    b"null",
    b"1e999",
    b"-1",
    b"{}",
    b"[[",
    b"\x00",
    b"&lol;",
    b"NaN",
    b"99999999999999999999",
    b"true",
    b'""',
    b"]]>",
    b"\n",
]


@pytest.mark.parametrize("name", ["labelstudio", "coco"])
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_json_of_another_kind_is_read_or_refused(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory, name: str, drawn: st.DataObject
) -> None:
    content = json.loads((FIXTURES / FILES[name]).read_text())
    keys: list[Any] = []
    place = content
    while isinstance(place, (dict, list)) and place and (len(keys) < 2 or drawn.draw(st.integers(0, 3))):
        keys.append(drawn.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))))
        place = place[keys[-1]]
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    _set(*keys[:-1], keys[-1], to=drawn.draw(st.one_of(leaf.filter(lambda v: v is not None), st.lists(leaf, max_size=3))))(
        content
    )
    path = tmp_path_factory.getbasetemp() / f"strange-{name}"
    path.write_text(json.dumps(content))
    with suppress(InputError):
        changes = changes_of(name, path, data)
        apply_edits(rows_of(data.root), changes.edits, changes.additions)
