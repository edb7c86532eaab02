"""Batches: what is in them, and that they are functions of seed, epoch and panorama alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import fake_dataset
from sphere_pictures import PLACES, encoded, prepared, subject

from baselines.data import loader as module
from baselines.data.ahead import ahead
from baselines.data.augment import plain
from baselines.data.batch import Batch
from baselines.data.loader import TrainingLoader, collate, query_batches, validation_batches
from baselines.data.prepared import PreparedSplit
from baselines.nets.geometry import head_frames
from baselines.training.settings import AugmentSettings, DataSettings, Settings, TrainSettings
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.images import read_panorama, write_image
from srgaze360.predictors import Query

SETTINGS = Settings(
    data=DataSettings(height=32, crop=16), augment=AugmentSettings(tilt_deg=5.0), train=TrainSettings(steps=7, panoramas=4)
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A train split of 12 people on 6 panoramas."""
    return fake_dataset(tmp_path_factory.mktemp("loader") / "data", people=12, images=True).select(split="train")


@pytest.fixture(scope="module")
def split(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    return PreparedSplit.open(data, SETTINGS.data, tmp_path_factory.mktemp("cache"))


def same(one: Batch, other: Batch) -> bool:
    return list(one.ids) == list(other.ids) and all(
        torch.equal(torch.nan_to_num(getattr(one, field.name), 9.0), torch.nan_to_num(getattr(other, field.name), 9.0))
        for field in fields(Batch)
        if field.name != "ids" and getattr(one, field.name) is not None
    )


def training(split: PreparedSplit, seed: int = 3, rank: int = 0, world: int = 1, **train: int) -> TrainingLoader:
    settings = SETTINGS.model_copy(update={"train": SETTINGS.train.model_copy(update=train)})
    return TrainingLoader(split, settings, seed, rank, world)


# --- what is in a batch -----------------------------------------------------------------------------------------------


def test_a_batch_holds_everything_in_its_place(tmp_path: Path) -> None:
    settings = DataSettings(height=32, crop=16)
    one = plain(prepared(tmp_path, encoded(48), [subject("a", PLACES["seam"], PLACES["ahead"])], settings), settings)
    others = [subject("b", PLACES["zenith"]), subject("c", PLACES["anywhere"], PLACES["near nadir"], radius=0.2)]
    two = plain(prepared(tmp_path, encoded(64)[:, ::-1].copy(), others, settings), settings)
    two = two._replace(people=(two.people[0], two.people[1]._replace(points=np.eye(3))))
    batch = collate([one, two])
    assert list(batch.ids) == ["a", "b", "c"]
    assert batch.panoramas.shape == (2, 3, 32, 64)
    assert batch.panoramas.dtype == batch.crops.dtype == torch.uint8
    np.testing.assert_array_equal(batch.panoramas[1].permute(1, 2, 0), two.panorama)
    np.testing.assert_array_equal(batch.crops[2].permute(1, 2, 0), two.people[1].crop)
    assert batch.owner.dtype == torch.int64
    assert batch.owner.tolist() == [0, 1, 1]
    assert torch.allclose(batch.heads[2], torch.tensor(PLACES["anywhere"]).float())
    assert torch.allclose(batch.frames, head_frames(batch.heads), atol=1e-5)
    assert batch.radii.tolist() == pytest.approx([0.12, 0.12, 0.2])
    assert batch.reach.tolist() == pytest.approx([0.192, 0.192, 0.32])
    assert batch.gazes is not None
    assert batch.gazes.isnan().any(dim=1).tolist() == [False, True, False]
    assert torch.allclose(batch.gazes[2], torch.tensor(PLACES["near nadir"]).float())
    assert batch.points is not None
    assert batch.points.shape == (3, 3, 3)
    assert torch.allclose(batch.points[2], torch.eye(3))
    assert batch.weights is not None
    assert batch.weights.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert batch.in_frame is not None
    assert batch.in_frame.tolist() == [1, 0, 1]
    assert batch.photo is None
    half = np.tile(np.array([255, 0], np.uint8), (8, 8))
    known = [page._replace(people=tuple(person._replace(photo=half) for person in page.people)) for page in (one, two)]
    shown = collate(known).photo
    assert shown is not None
    assert torch.equal(shown, torch.from_numpy(half).expand(3, 8, 16))
    assert collate([known[0], two]).photo is None
    assert collate(known, targets=False).photo is None
    floats = (batch.heads, batch.frames, batch.radii, batch.reach, batch.gazes, batch.points, batch.weights, batch.in_frame)
    assert {tensor.dtype for tensor in floats} == {torch.float32}


def test_a_batch_where_nobody_has_annotations(tmp_path: Path) -> None:
    settings = DataSettings(height=32, crop=16)
    batch = collate([plain(prepared(tmp_path, encoded(32), [subject("a", PLACES["seam"])], settings), settings)])
    assert batch.points is not None
    assert batch.weights is not None
    assert batch.points.shape == (1, 1, 3)
    assert batch.weights.tolist() == [[0.0]]


# --- training ---------------------------------------------------------------------------------------------------------


def test_every_epoch_shows_every_panorama_once_in_another_order(split: PreparedSplit, data: Dataset) -> None:
    stream = [name for batch in training(split, steps=6).batches() for name in batch.ids[::2]]  # two people a panorama
    assert len(stream) == 24
    epochs = [stream[start : start + 6] for start in range(0, 24, 6)]
    everybody = set(data.annotations["sample_id"][::2])
    assert all(set(epoch) == everybody for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_batches_are_the_same_wherever_training_is_resumed(split: PreparedSplit) -> None:
    through = list(training(split).batches())
    assert len(through) == 7
    resumed = list(training(split).batches(3))
    assert len(resumed) == 4
    assert all(same(one, other) for one, other in zip(through[3:], resumed, strict=True))
    assert not any(same(one, other) for one, other in zip(through, training(split, seed=4).batches(), strict=True))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_parts_of_all_processes_are_the_batch_of_one(split: PreparedSplit, world: int) -> None:
    parts = [list(training(split, rank=rank, world=world).batches()) for rank in range(world)]
    for step, whole in enumerate(training(split).batches()):
        pieces = [part[step] for part in parts]
        assert [name for piece in pieces for name in piece.ids] == list(whole.ids)
        for name in ("panoramas", "crops", "heads", "gazes"):
            joined = torch.cat([getattr(piece, name) for piece in pieces])
            assert torch.equal(joined.nan_to_num(9.0), getattr(whole, name).nan_to_num(9.0))
        assert all(piece.owner[0] == 0 and piece.owner[-1] == len(piece.panoramas) - 1 for piece in pieces)


def test_more_processes_than_panoramas_in_a_batch_is_an_error(split: PreparedSplit) -> None:
    with pytest.raises(InputError, match=r"each of 5 processes, found train.panoramas=4"):
        training(split, world=5)


def test_augmentation_depends_on_seed_epoch_and_panorama_alone(split: PreparedSplit) -> None:
    """The same panorama looks the same in an epoch, whatever the order and the size of the batches."""

    def heads(loader: TrainingLoader) -> dict[tuple[int, str], list[float]]:
        seen: dict[tuple[int, str], list[float]] = {}
        count = 0
        for batch in loader.batches():
            for name, head, owner in zip(batch.ids, batch.heads, batch.owner, strict=True):
                seen[((count + int(owner)) // 6, name)] = head.tolist()
            count += len(batch.panoramas)
        return seen

    by_four, by_three = heads(training(split, steps=3)), heads(training(split, steps=4, panoramas=3))
    assert by_four == by_three
    assert len(by_four) == 24
    first, second = ({name: head for (epoch, name), head in by_four.items() if epoch == wanted} for wanted in (0, 1))
    assert all(first[name] != second[name] for name in first)


def test_waiting_is_counted(split: PreparedSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    loader = training(split)
    assert len(list(loader.batches(3))) == 4
    assert loader.waited_s == 5.0  # four batches, and that there is no fifth


# --- validation and prediction ----------------------------------------------------------------------------------------


def test_validation_shows_everybody_once_in_order_and_unchanged(split: PreparedSplit, data: Dataset) -> None:
    batches = list(validation_batches(split, SETTINGS, panoramas=4))
    assert [len(batch.panoramas) for batch in batches] == [4, 2]
    assert [name for batch in batches for name in batch.ids] == list(data.annotations["sample_id"])
    assert same(batches[1], collate([plain(split[index], SETTINGS.data) for index in (4, 5)]))
    assert torch.allclose(torch.cat([batch.heads for batch in batches]), torch.from_numpy(data.heads).float())


def test_queries_are_answered_in_their_order_on_panoramas_decoded_once(
    split: PreparedSplit, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    original = module.prepare
    monkeypatch.setattr(module, "prepare", lambda path, *rest: decoded.append(path) or original(path, *rest))
    queries = [Query.of(sample, ()) for sample in data.samples()]
    mixed = [queries[index] for index in (7, 0, 3, 6, 1)]
    (batch,) = query_batches([mixed], SETTINGS.data)
    assert len(decoded) == 3
    assert len(batch.panoramas) == 3
    assert list(batch.ids) == [query.sample_id for query in mixed]
    assert [batch.gazes, batch.points, batch.weights, batch.in_frame, batch.photo] == [None] * 5
    everybody = next(validation_batches(split, SETTINGS, panoramas=6))
    for at, index in enumerate((7, 0, 3, 6, 1)):
        for name in ("heads", "frames", "radii", "reach", "crops"):
            assert torch.equal(getattr(batch, name)[at], getattr(everybody, name)[index]), name
        assert torch.equal(batch.panoramas[batch.owner[at]], everybody.panoramas[everybody.owner[index]])


def test_queries_are_read_lazily(data: Dataset) -> None:
    queries = [Query.of(sample, ()) for sample in data.samples()]
    taken: list[int] = []

    def batches() -> Iterator[list[Query]]:
        for start in range(0, 12, 3):
            taken.append(start)
            yield queries[start : start + 3]

    stream = query_batches(batches(), SETTINGS.data)
    assert len(next(stream)) == 3
    assert taken == [0]
    assert [name for batch in stream for name in batch.ids] == [query.sample_id for query in queries[3:]]


def test_a_cache_answers_alike_and_is_shared(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [Query.of(sample, ()) for sample in data.samples()]
    batches = [[queries[index] for index in chosen] for chosen in ((7, 0, 3), (6, 1), (2, 11, 4, 5))]
    fresh = list(query_batches(batches, SETTINGS.data))
    first = list(query_batches(iter(batches), SETTINGS.data, cache=tmp_path))
    monkeypatch.setattr("baselines.data.prepared.prepare", lambda *_: pytest.fail("decoded again"))
    again = list(query_batches(batches, SETTINGS.data, cache=tmp_path))
    for one, two, three in zip(fresh, first, again, strict=True):
        assert same(one, two)
        assert same(one, three)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_a_cache_knows_when_panorama_or_head_changed(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "data", people=4, images=True).select(split="train")
    queries = [Query.of(sample, ()) for sample in data.samples()][:2]
    (before,) = query_batches([queries], SETTINGS.data, cache=tmp_path / "cache")
    moved = [replace(query, head=PLACES["ahead"]) for query in queries]
    (after,) = query_batches([moved], SETTINGS.data, cache=tmp_path / "cache")
    assert not torch.equal(before.crops, after.crops)
    panorama = read_panorama(queries[0].panorama_path)
    write_image(queries[0].panorama_path, 255 - panorama)
    (inverted,) = query_batches([queries], SETTINGS.data, cache=tmp_path / "cache")
    assert (inverted.panoramas[0].float() + before.panoramas[0].float() - 255.0).abs().mean() < 8.0


def test_a_cache_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "data", people=4, images=True).select(split="train")
    queries = [Query.of(sample, ()) for sample in data.samples()]
    queries[0].panorama_path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"Expected every panorama to be readable, found 1 of \d+ that are not; the first is"):
        query_batches([queries], SETTINGS.data, cache=tmp_path / "cache")


def test_a_query_without_its_panorama_is_an_error() -> None:
    query = Query("x", Path("no-such-panorama.jpg"), PLACES["ahead"], (0.4, 0.4, 0.6, 0.6), 0.1)
    with pytest.raises(InputError, match="no-such-panorama"):
        list(query_batches([[query]], SETTINGS.data))


# --- workers ----------------------------------------------------------------------------------------------------------


def fragile(key: int) -> tuple[int, int]:
    """Key 3 is bad input, key 4 kills its process."""
    if key == 3:
        raise InputError("Expected anything but 3.")
    if key == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return key, os.getpid()


def test_a_worker_makes_the_same_batches_and_leaves_the_random_numbers_alone(split: PreparedSplit) -> None:
    alone = list(training(split, steps=4).batches(1))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    spread = list(training(split, steps=4, workers=1).batches(1))
    assert torch.equal(torch.rand(3), expected)
    assert len(spread) == 3
    assert all(same(one, other) for one, other in zip(alone, spread, strict=True))


@pytest.mark.slow
def test_workers_read_queries_ahead_in_order(data: Dataset) -> None:
    queries = [Query.of(sample, ()) for sample in data.samples()]
    batches = [queries[start : start + 3] for start in range(0, 12, 3)]
    spread = query_batches(iter(batches), SETTINGS.data, workers=2)
    assert all(same(one, other) for one, other in zip(query_batches(batches, SETTINGS.data), spread, strict=True))


@pytest.mark.slow
def test_errors_of_workers_come_out_as_they_are() -> None:
    stream = ahead(fragile, [0, 1, 3, 5], 2)
    results = [next(stream), next(stream)]
    assert [key for key, _ in results] == [0, 1]
    assert os.getpid() not in [process for _, process in results]
    with pytest.raises(InputError, match=r"^Expected anything but 3\.$"):
        next(stream)


@pytest.mark.slow
def test_a_dead_worker_is_an_error_of_the_machine() -> None:
    with pytest.raises(EnvironmentProblem, match=r"2 worker processes to read ahead, but one died.*train.workers=0"):
        list(ahead(fragile, [0, 1, 4, 5], 2))
