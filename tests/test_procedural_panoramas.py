"""Folders of rendered panoramas: files, labels and pictures against the scenes, read back by the source."""

from __future__ import annotations

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
from rendered import contents, read_rows

from builders.procedural import panorama_label, render_panorama, sample_scene, write_gazefollow_folder
from builders.procedural.sidecar import PANORAMA_COLUMNS, PANORAMA_FILE, SIDECAR_FILE
from builders.sources.base import resolve_person
from builders.sources.procedural import SOURCE

WIDTH = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Panoramas only, in two of which a head lies across the seam."""
    out = tmp_path_factory.mktemp("rendered") / "panoramas"
    done = []
    written = write_gazefollow_folder(out, 0, 31, panoramas=8, width=WIDTH, test_share=0.5, supersample=1, progress=done.append)
    assert (written.photos, written.panoramas, written.scenes, sum(done)) == (0, 8, 8, 8)
    assert written.people_around == len(read_rows(out / PANORAMA_FILE))
    return out


def scene_of(folder, image):
    record = json.loads((folder / "scenes.json").read_text())
    entry = next(entry for entry in record["scenes"] if entry["panoramas"][0]["image"] == image)
    return entry, sample_scene(record["settings"]["seed"], entry["index"], "around")


def direction(x, y):
    """Direction (3,) of fractions of an equirectangular picture."""
    lon, lat = 2.0 * np.pi * (x - 0.5), np.pi * (0.5 - y)
    return np.array([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)])


def degrees_between(a, b):
    return np.degrees(2.0 * np.arcsin(np.linalg.norm(a - b) / 2.0))  # unlike arccos exact for small angles


def test_the_source_reads_back_what_the_scenes_hold(folder):
    listing = SOURCE.read(folder, SOURCE.options())
    assert not listing.rejected
    assert not listing.repaired
    assert [photo.image for photo in listing.photos] == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    assert {photo.split for photo in listing.photos} == {"train", "test"}
    assert len({photo.cluster for photo in listing.photos}) == len(listing.photos) == 8
    names = [person.person for photo in listing.photos for person in photo.people]
    assert len(set(names)) == len(names)
    for photo in listing.photos:
        entry, scene = scene_of(folder, photo.image)
        assert (photo.split, photo.cluster) == (entry["split"], entry["scene"])
        assert photo.projection == "equirectangular"
        assert photo.size == (WIDTH, WIDTH // 2)
        assert len(photo.people) == len(scene.figures)
        for person, figure in zip(photo.people, scene.figures, strict=True):
            label = panorama_label(scene, figure)
            box = np.array(person.head_box) / (WIDTH, WIDTH / 2, WIDTH, WIDTH / 2)
            np.testing.assert_allclose(box, label.head_box, atol=1e-8)
            assert {name: person.extras[name] for name in vars(label.flags)} == vars(label.flags)
            assert person.in_frame
            assert len(person.gaze) == 1 if photo.split == "train" else 8 <= len(person.gaze) <= 10
            off = [degrees_between(direction(*point), label.gaze) for point in person.gaze]
            assert np.median(off) < 12.0
            resolved = resolve_person(photo, person, WIDTH, WIDTH // 2)
            assert not isinstance(resolved, str)
            np.testing.assert_allclose(resolved.head_box, person.head_box)
            assert resolved.repairs == ()
    assert sum(person.head_box[2] > WIDTH for photo in listing.photos for person in photo.people) == 2


def test_the_table_states_exact_targets_and_arcs(folder):
    rows = read_rows(folder / PANORAMA_FILE)
    people = iter(rows)
    for image in sorted({row["image"] for row in rows}):
        _, scene = scene_of(folder, image)
        for figure in scene.figures:
            row = next(people)
            assert row["image"] == image
            target = direction(float(row["target_x"]), float(row["target_y"]))
            offset = figure.gaze.point - scene.camera
            assert degrees_between(target, offset / np.linalg.norm(offset)) < 1e-6
            x0, y0, x1, y1 = (float(row[f"head_{corner}"]) for corner in ("x_min", "y_min", "x_max", "y_max"))
            head = direction((x0 + x1) / 2.0 / WIDTH, (y0 + y1) / WIDTH)
            assert float(row["arc_deg"]) == pytest.approx(degrees_between(head, target), abs=1e-5)
            entity = figure.gaze.entity
            assert row["target_name"] == ("bare surface" if entity is None else scene.entities[entity].name)
    assert next(people, None) is None


def test_pictures_show_their_scenes(folder):
    listing = SOURCE.read(folder, SOURCE.options())
    for photo in listing.photos[:3]:
        _, scene = scene_of(folder, photo.image)
        stored = cv2.imread(str(folder / photo.image))[..., ::-1].astype(float)
        truth = render_panorama(scene, WIDTH).astype(float)
        assert stored.shape == truth.shape == (WIDTH // 2, WIDTH, 3)
        assert 10.0 * np.log10(255.0**2 / np.mean((stored - truth) ** 2)) > 30.0
        assert np.mean((stored - np.roll(truth, 8, axis=1)) ** 2) > 3.0 * np.mean((stored - truth) ** 2)


def test_without_noise_annotations_are_the_exact_targets(tmp_path):
    write_gazefollow_folder(tmp_path / "out", 0, 3, panoramas=2, width=64, test_share=1.0, noise_deg=0.0, supersample=1)
    rows = {row["person"]: row for row in read_rows(tmp_path / "out" / PANORAMA_FILE)}
    people = [person for photo in SOURCE.read(tmp_path / "out", SOURCE.options()).photos for person in photo.people]
    assert len(people) == len(rows) >= 4
    for person in people:
        exact = direction(float(rows[person.person]["target_x"]), float(rows[person.person]["target_y"]))
        assert 8 <= len(person.gaze) <= 10
        assert max(degrees_between(direction(*point), exact) for point in person.gaze) < 1e-5


def test_content_depends_neither_on_workers_nor_on_how_many_are_asked_for(tmp_path):
    for name, photos, panoramas, workers in (("one", 1, 4, 1), ("two", 1, 4, 2), ("fewer", 0, 2, 1)):
        size = {"width": 128, "supersample": 1}
        write_gazefollow_folder(tmp_path / name, photos, 9, panoramas=panoramas, workers=workers, **size)
    one, two, fewer = (contents(tmp_path / name) for name in ("one", "two", "fewer"))
    assert one == two
    pictures = [path for path in fewer if path.endswith(".jpg")]
    assert len(pictures) == 2
    assert all(fewer[path] == one[path] for path in pictures)
    assert one[PANORAMA_FILE].startswith(fewer[PANORAMA_FILE])
    assert SIDECAR_FILE not in fewer


def test_photos_and_panoramas_never_share_a_scene(tmp_path):
    """Even where photos are taken in scenes of the same arrangement: not by name, nor by what is in the picture."""
    write_gazefollow_folder(tmp_path / "out", 3, 9, panoramas=3, width=64, arrangement="around", supersample=1)
    record = json.loads((tmp_path / "out" / "scenes.json").read_text())
    names = {kind: {entry["scene"] for entry in record["scenes"] if kind in entry} for kind in ("photos", "panoramas")}
    assert all(names.values())
    assert not names["photos"] & names["panoramas"]
    cameras = [sample_scene(9, entry["index"], "around").camera for entry in record["scenes"]]
    assert all(not np.allclose(one, other) for one, other in pairwise(sorted(cameras, key=tuple)))


def test_photos_are_the_same_with_and_without_panoramas(tmp_path):
    write_gazefollow_folder(tmp_path / "with", 2, 9, panoramas=1, width=64, supersample=1)
    write_gazefollow_folder(tmp_path / "without", 2, 9, supersample=1)
    beside, alone = contents(tmp_path / "with"), contents(tmp_path / "without")
    same = [path for path in alone if path not in ("README.md", "scenes.json")]
    assert len(same) >= 4
    assert all(beside[path] == alone[path] for path in same)
    assert set(beside) - set(alone) == {PANORAMA_FILE, "panoramas/00000000/00000000.jpg"}


def test_the_readme_explains_what_is_there(folder, tmp_path):
    text = (folder / "README.md").read_text()
    assert all(f"| `{name}` | {column.meaning} |" in text for name, column in PANORAMA_COLUMNS.items())
    assert "## Photos" not in text
    write_gazefollow_folder(tmp_path / "out", 1, 0, supersample=1)
    assert "## Panoramas" not in (tmp_path / "out" / "README.md").read_text()
