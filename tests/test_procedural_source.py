"""The reader of rendered folders: what is damaged, missing or contradictory is said, and nothing vanishes."""

from __future__ import annotations

import shutil

import pytest
from rendered import read_rows, write_rows

from builders.procedural import write_gazefollow_folder
from builders.procedural.sidecar import COLUMNS, PANORAMA_COLUMNS, PANORAMA_FILE, SIDECAR_FILE
from builders.sources.procedural import SOURCE
from srgaze360.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered") / "pictures"
    write_gazefollow_folder(out, 8, 5, panoramas=4, width=128, test_share=0.5, supersample=1)
    return out


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_missing_or_foreign_sidecar_is_an_error(copy):
    sidecar = copy / SIDECAR_FILE
    rows = read_rows(sidecar)
    sidecar.unlink()
    with pytest.raises(InputError, match=r"Expected procedural\.csv beside the pictures.*write it again"):
        SOURCE.read(copy, SOURCE.options())
    write_rows(sidecar, rows, columns=[name for name in COLUMNS if name != "face"])
    with pytest.raises(InputError, match="missing: face; unknown: none"):
        SOURCE.read(copy, SOURCE.options())
    sidecar.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        SOURCE.read(copy, SOURCE.options())
    shutil.rmtree(copy)
    with pytest.raises(InputError, match="does not exist"):
        SOURCE.read(copy, SOURCE.options())


def annotated_row(rows):
    return next(row for row in rows if row["in_frame"] == "true")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[2].update(face="top"), "one of front, side, back in column face.*found 'top' in line 4"),
        (lambda rows: rows[1].update(hfov_deg="wide"), "finite number in column hfov_deg.*'wide' in line 3"),
        (lambda rows: rows[1].update(hfov_deg="nan"), "finite number in column hfov_deg"),
        (lambda rows: rows[0].update(scene=""), "text in column scene"),
        (lambda rows: rows[0].update(target_x="", target_y="0.5"), "half of a target point in line 2"),
        (lambda rows: rows.append(rows[3]), "a person listed before"),
        (lambda rows: rows.remove(annotated_row(rows)), "found 1 only in the annotations"),
        (lambda rows: rows[0].update(person="999"), "only in the annotations|only in the sidecar"),
        (lambda rows: rows.append({**annotated_row(rows), "person": "999"}), "1 only in the sidecar.*999"),
        (lambda rows: annotated_row(rows).update(head_x_min="1.5"), "another split, in-frame flag or head box"),
        (lambda rows: rows[0].update(image="../secret.jpg"), "leaves the source's folder|only in the annotations"),
        (lambda rows: rows[0].update(split="test" if rows[0]["split"] == "train" else "train"), "one split per scene"),
        (lambda rows: rows[1].update(scene="scene-999999"), "one scene per image"),
    ],
)  # fmt: skip
def test_a_sidecar_that_does_not_fit_is_an_error(copy, spoil, message):
    rows = read_rows(copy / SIDECAR_FILE)
    spoil(rows)
    write_rows(copy / SIDECAR_FILE, rows)
    with pytest.raises(InputError, match=message):
        SOURCE.read(copy, SOURCE.options())


def test_rejected_annotations_are_listed_and_not_missed(copy):
    """A person whose label the common reader rejects is neither used nor taken for an inconsistency."""
    path = copy / "train_annotations_release.txt"
    lines = path.read_text("utf-8-sig").splitlines()
    cells = lines[0].split(",")
    cells[6] = "nowhere"
    path.write_text("\n".join([",".join(cells), *lines[1:]]) + "\n", encoding="utf-8-sig")
    listing = SOURCE.read(copy, SOURCE.options())
    assert [(row.image, row.person) for row in listing.rejected] == [(cells[0], cells[1])]
    assert cells[1] not in {person.person for photo in listing.photos for person in photo.people}


# --- panoramas ----------------------------------------------------------------------------------------------------------


def test_a_folder_may_hold_photos_panoramas_or_both(copy):
    both = SOURCE.read(copy, SOURCE.options()).photos
    assert [photo.image for photo in both] == sorted(photo.image for photo in both)
    parts = {kind: [photo for photo in both if photo.projection == kind] for kind in ("perspective", "equirectangular")}
    assert [len(part) for part in parts.values()] == [8, 4]
    for name in ("train_annotations_release.txt", "test_annotations_release.txt", SIDECAR_FILE):
        (copy / name).unlink()
    for name in ("train", "test2"):
        shutil.rmtree(copy / name)
    assert list(SOURCE.read(copy, SOURCE.options()).photos) == parts["equirectangular"]
    (copy / PANORAMA_FILE).unlink()
    with pytest.raises(InputError, match=r"Expected panoramas\.csv beside the pictures.*write it again"):
        SOURCE.read(copy, SOURCE.options())
    shutil.rmtree(copy / "panoramas")
    with pytest.raises(InputError, match=r"panoramas\.csv beside the folder panoramas/; .* holds README\.md, scenes\.json"):
        SOURCE.read(copy, SOURCE.options())


def test_photos_without_their_labels_are_not_passed_over(copy):
    for name in ("train_annotations_release.txt", "test_annotations_release.txt", SIDECAR_FILE):
        (copy / name).unlink()
    with pytest.raises(InputError, match=r"Expected train_annotations_release\.txt and/or"):
        SOURCE.read(copy, SOURCE.options())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[2].update(face="top"), "one of front, side, back in column face.*panoramas.csv.*'top' in line 4"),
        (lambda rows: rows[1].update(width="127"), "even number of pixels in column width.*'127' in line 3"),
        (lambda rows: rows[1].update(width="wide"), "even number of pixels in column width.*'wide' in line 3"),
        (lambda rows: rows[0].update(target_x=""), "finite number in column target_x.*'' in line 2"),
        (lambda rows: rows[0].update(head_x_min="inf"), "finite number in column head_x_min.*'inf'"),
        (lambda rows: rows[0].update(annotations=""), r"points \(x y;x y;...\) in column annotations.*'' in line 2"),
        (lambda rows: rows[0].update(annotations="0.5"), "points .* in column annotations.*'0.5' in line 2"),
        (lambda rows: rows[0].update(annotations="0.5 0.1;nan 0.2"), "points .* in column annotations.*nan 0.2"),
        (lambda rows: rows.append(rows[3]), "a person listed before in line"),
        (lambda rows: rows.clear(), "Expected a row for every person.*found none"),
        (lambda rows: rows[0].update(image="../secret.jpg"), "leaves the source's folder"),
        (lambda rows: rows[0].update(width="256"), "one width per image .*panoramas/00000000/00000000.jpg"),
        (lambda rows: rows[0].update(scene="scene-999999"), "one scene per image"),
        (lambda rows: rows[0].update(split="test" if rows[0]["split"] == "train" else "train"), "one split per scene"),
        (
            lambda rows: [row.update(scene="scene-000000") for row in rows if row["image"] == rows[0]["image"]],
            "no scene to be both in procedural.csv and in panoramas.csv.*found 1: scene-000000",
        ),
    ],
)  # fmt: skip
def test_a_damaged_panorama_table_is_an_error(copy, spoil, message):
    rows = read_rows(copy / PANORAMA_FILE)
    spoil(rows)
    write_rows(copy / PANORAMA_FILE, rows, columns=list(PANORAMA_COLUMNS))
    with pytest.raises(InputError, match=message):
        SOURCE.read(copy, SOURCE.options())


def test_a_truncated_or_foreign_panorama_table_is_an_error(copy):
    path = copy / PANORAMA_FILE
    text = path.read_text()
    path.write_text(text[: text.rindex(",clear,") + 3])
    with pytest.raises(InputError, match=r"Expected one of clear, blocked in column sight_line"):
        SOURCE.read(copy, SOURCE.options())
    path.write_text(text[: text.rindex(",")])
    with pytest.raises(InputError, match=r"Expected points .* in column annotations"):
        SOURCE.read(copy, SOURCE.options())
    path.write_text(text.replace("annotations", "clicks", 1))
    with pytest.raises(InputError, match="missing: annotations; unknown: clicks"):
        SOURCE.read(copy, SOURCE.options())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        SOURCE.read(copy, SOURCE.options())
