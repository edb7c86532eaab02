"""Preparing a split: what is in it, the cache, panoramas that cannot be read, and what stops it."""

from __future__ import annotations

import copy
import errno
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_dataset
from sphere_pictures import PLACES, encoded, same, subject

from baselines.data import prepared as module
from baselines.data.crops import head_crop, resized, wide_reach, wide_size
from baselines.data.photos import photo_map, photos_of
from baselines.data.prepared import PreparedSplit, prepare
from baselines.data.store import ArrayWriter
from baselines.training.settings import DataSettings
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.images import read_panorama, write_image

SETTINGS = DataSettings(height=32, crop=16)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """A train split of 12 people on 6 panoramas of 128 x 64 pixels."""
    return fake_dataset(tmp_path / "data", people=12, images=True).select(split="train")


def folders(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def image_paths(data: Dataset) -> list[Path]:
    return [data.root / path for path in dict.fromkeys(data.annotations["image_path"])]


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    monkeypatch.setattr(module, "read_panorama", lambda path: read.append(path) or read_panorama(path))
    return read


# --- one panorama -----------------------------------------------------------------------------------------------------


def test_a_panorama_is_shrunk_and_its_heads_are_cut_from_the_full_one(tmp_path: Path) -> None:
    full = encoded(96)
    write_image(tmp_path / "full.png", full)
    people = [subject(name, head, PLACES["ahead"]) for name, head in PLACES.items()]
    ready = prepare(tmp_path / "full.png", people, SETTINGS)
    assert ready.panorama_id == str(tmp_path / "full.png")
    np.testing.assert_array_equal(ready.panorama, resized(full, 32))
    for given, person in zip(people, ready.people, strict=True):
        assert person.crop_reach == pytest.approx(wide_reach(1.6 * 0.12, 16))
        np.testing.assert_array_equal(person.crop, head_crop(full, given.head, person.crop_reach, wide_size(16)))
        assert (person.sample_id, person.radius, person.in_frame) == (given.sample_id, given.radius, True)


def test_a_panorama_smaller_than_wanted_is_enlarged(tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", encoded(16))
    assert prepare(tmp_path / "small.png", [], SETTINGS).panorama.shape == (32, 64, 3)


# --- a split ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_a_split_holds_everybody_as_the_dataset_has_them(data: Dataset, tmp_path: Path, cached: bool) -> None:
    done: list[int] = []
    split = PreparedSplit.open(data, SETTINGS, tmp_path / "cache" if cached else None, photos=True, advance=done.append)
    assert (len(split), split.people, split.skipped, sum(done)) == (6, 12, [], 6)
    people = [person for page in split for person in page.people]
    assert [page.panorama_id for page in split] == list(dict.fromkeys(data.annotations["panorama_id"]))
    photos = photos_of(data)
    assert all(np.array_equal(person.photo, photo_map(photos[person.sample_id])) for person in people)
    for sample, person in zip(data.samples(), people, strict=True):
        assert person.sample_id == sample.sample_id
        assert person.in_frame == sample.in_frame
        assert person.radius == pytest.approx(sample.head_radius)
        np.testing.assert_allclose(person.head, sample.head)
        np.testing.assert_allclose(person.points, sample.points)
        assert (person.gaze is None) == (sample.gaze is None)
        if sample.gaze is not None:
            np.testing.assert_allclose(person.gaze, sample.gaze)


def test_gazes_that_are_unknown_stay_unknown(data: Dataset, tmp_path: Path) -> None:
    split = PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    assert all(person.photo is None for page in split for person in page.people)  # they were not asked for
    unknown = [person for page in split for person in page.people if person.gaze is None]
    assert len(unknown) == 4
    assert all(not person.in_frame and person.points.shape == (0, 3) for person in unknown)


def test_the_cache_gives_the_same_pixels_as_no_cache(data: Dataset, tmp_path: Path) -> None:
    cached, fresh = PreparedSplit.open(data, SETTINGS, tmp_path / "cache"), PreparedSplit.open(data, SETTINGS)
    assert all(same(one, other) for one, other in zip(cached, fresh, strict=True))
    assert same(cached[-1], cached[5])
    assert not same(cached[0], cached[1])
    with pytest.raises(IndexError):
        cached[6]


def test_what_is_in_the_cache_is_not_decoded_again(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    read = count_reads(monkeypatch)
    again = PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    assert all(same(one, other) for one, other in zip(first, again, strict=True))
    assert read == []


def test_whatever_changes_the_pictures_or_the_labels_is_prepared_anew(data: Dataset, tmp_path: Path) -> None:
    def moved(column: str) -> Dataset:
        return replace(data, annotations=data.annotations.assign(**{column: data.annotations[column] + 1.0}))

    variants: list[tuple[Dataset, DataSettings]] = [
        (data, SETTINGS),
        (data, SETTINGS.model_copy(update={"height": 64})),
        (data, SETTINGS.model_copy(update={"crop": 24})),
        (data, SETTINGS.model_copy(update={"crop_reach": 2.0})),
        (replace(data, annotations=data.annotations.iloc[:8]), SETTINGS),
        (replace(data, info=data.info.model_copy(update={"pixel_digest": "c" * 64})), SETTINGS),
        *((moved(column), SETTINGS) for column in ("head_lon_deg", "head_radius_deg", "gaze_lat_deg")),
    ]
    for count, (rows, settings) in enumerate(variants, start=1):
        PreparedSplit.open(rows, settings, tmp_path / "cache")
        assert len(folders(tmp_path / "cache")) == count


def test_a_moved_dataset_finds_its_cache(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    data.root.rename(tmp_path / "elsewhere")
    read = count_reads(monkeypatch)
    assert len(PreparedSplit.open(replace(data, root=tmp_path / "elsewhere"), SETTINGS, tmp_path / "cache")) == 6
    assert read == []


@pytest.mark.parametrize("cached", [True, False])
def test_a_split_sent_to_another_process_is_the_same_there(data: Dataset, tmp_path: Path, cached: bool) -> None:
    split = PreparedSplit.open(data, SETTINGS, tmp_path / "cache" if cached else None)
    assert len(pickle.dumps(split)) < 30_000  # no pictures
    sent = copy.deepcopy(split)  # takes apart and puts together as sending does
    assert all(same(one, other) for one, other in zip(split, sent, strict=True))


def test_two_runs_that_share_a_cache_prepare_it_once(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        splits = list(pool.map(lambda _: PreparedSplit.open(data, SETTINGS, tmp_path / "cache"), range(2)))
    assert len(read) == 6
    assert [len(split) for split in splits] == [6, 6]


# --- what cannot be read ----------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "no such file"),
    "truncated": (truncate, "cannot be decoded"),
    "not a picture": (lambda path: path.write_text("hello"), "cannot be decoded"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be decoded"),
    "not a panorama": (lambda path: write_image(path, np.zeros((64, 64, 3), dtype=np.uint8)), "twice as wide"),
}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_broken_panorama_is_skipped_and_named(
    data: Dataset, tmp_path: Path, cached: bool, damage: Callable[[Path], Any], reason: str
) -> None:
    broken = image_paths(data)[2]
    damage(broken)
    split = PreparedSplit.open(data, SETTINGS, tmp_path / "cache" if cached else None)
    assert (len(split), split.people) == (5, 10)
    ((path, why),) = split.skipped
    assert path == str(broken)
    assert reason in why
    assert broken.stem not in [page.panorama_id for page in split]
    expected = [name for name in data.annotations["sample_id"] if not name.startswith(f"{broken.stem}-")]
    assert [person.sample_id for page in split for person in page.people] == expected


def test_a_panorama_that_was_mended_is_taken_in(data: Dataset, tmp_path: Path) -> None:
    broken = image_paths(data)[0]
    content = broken.read_bytes()
    broken.unlink()
    assert len(PreparedSplit.open(data, SETTINGS, tmp_path / "cache").skipped) == 1
    assert len(PreparedSplit.open(data, SETTINGS, tmp_path / "cache").skipped) == 1
    broken.write_bytes(content)
    split = PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    assert (len(split), split.skipped) == (6, [])


@pytest.mark.parametrize("cached", [True, False])
def test_nothing_readable_at_all_is_an_error(data: Dataset, tmp_path: Path, cached: bool) -> None:
    for path in image_paths(data):
        path.unlink()
    with pytest.raises(InputError, match=r"none of 6 can be read; the first is .*no such file"):
        PreparedSplit.open(data, SETTINGS, tmp_path / "cache" if cached else None)


def test_nobody_at_all_is_an_error(data: Dataset) -> None:
    with pytest.raises(InputError, match=r"Expected people in the chosen rows of .*, found none"):
        PreparedSplit.open(replace(data, annotations=data.annotations.iloc[:0]), SETTINGS)


def test_no_known_gaze_is_an_error(data: Dataset) -> None:
    blind = data.annotations.assign(gaze_lon_deg=np.nan, gaze_lat_deg=np.nan)
    with pytest.raises(InputError, match="found 12 people and no gaze"):
        PreparedSplit.open(replace(data, annotations=blind), SETTINGS)


# --- accidents --------------------------------------------------------------------------------------------------------


def lose_the_end(folder: Path) -> None:
    truncate(folder / "crops.npy")


def lose_the_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def spoil_the_index(folder: Path) -> None:
    (folder / "index.json").write_text('{"panoramas": []}')


def spoil_the_labels(folder: Path) -> None:
    (folder / "labels.npz").write_bytes(b"PK nothing")


def forget_a_person(folder: Path) -> None:
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace('"people":[', '"people":["one too many",'))


@pytest.mark.parametrize("accident", [lose_the_end, lose_the_index, spoil_the_index, spoil_the_labels, forget_a_person])
def test_a_cache_that_is_not_whole_is_made_again(data: Dataset, tmp_path: Path, accident: Callable[[Path], None]) -> None:
    PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    pages = list(PreparedSplit.open(data, SETTINGS))
    (folder,) = folders(tmp_path / "cache")
    accident(folder)
    again = PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    assert all(same(one, other) for one, other in zip(pages, again, strict=True))


def test_what_a_killed_run_left_does_not_matter(data: Dataset, tmp_path: Path) -> None:
    PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    (folder,) = folders(tmp_path / "cache")
    folder.rename(folder.with_name(f".{folder.name}.partial"))
    assert len(PreparedSplit.open(data, SETTINGS, tmp_path / "cache")) == 6
    assert folders(tmp_path / "cache") == [folder]


def test_a_full_disk_is_an_error_of_the_machine_and_leaves_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def append(self: ArrayWriter, row: np.ndarray) -> None:
        written.append(len(row))
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, row)

    original = ArrayWriter.append
    monkeypatch.setattr(ArrayWriter, "append", append)
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        PreparedSplit.open(data, SETTINGS, tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_is_an_error_of_the_machine(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EnvironmentProblem, match=r"Expected to keep prepared panoramas in .*cache"):
        PreparedSplit.open(data, SETTINGS, tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_workers_prepare_the_same(data: Dataset, tmp_path: Path, cached: bool) -> None:
    broken = image_paths(data)[2]
    broken.unlink()
    cache = tmp_path / "cache" if cached else None
    spread = PreparedSplit.open(data, SETTINGS, cache, workers=2)
    alone = PreparedSplit.open(data, SETTINGS)
    assert spread.skipped == alone.skipped
    assert all(same(one, other) for one, other in zip(spread, alone, strict=True))
