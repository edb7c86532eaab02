"""A network as a predictor: what a run keeps, what it refuses, and how it answers when memory is short."""

from __future__ import annotations

import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import fake_dataset
from queries import BRIEFLY, queries_of
from safetensors.torch import load_file

from baselines.methods.direction import Direction
from baselines.nets import spot
from baselines.neural import NeuralPredictor
from baselines.training import trainer
from baselines.training.runs import STARTED_FILE, train_predictor
from baselines.training.tensors import digest_tensors
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, EnvironmentProblem, InputError
from srgaze360.images import write_image
from srgaze360.predictors import RUN_FILE, TrainingJob, open_predictor, read_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("neural") / "data", people=12, images=True)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neural") / "run"
    train_predictor("direction", data, folder, seed=4, settings=BRIEFLY)
    return folder


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def opened(run: Path) -> NeuralPredictor:
    predictor, _ = open_predictor(str(run), device="cpu")
    assert isinstance(predictor, NeuralPredictor)
    return predictor


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_holds_what_it_says_and_nothing_that_is_only_for_going_on(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["log.csv", "model.safetensors", "run.json", "settings.json"]
    record = read_run(run)
    assert record.settings == BRIEFLY
    assert record.facts["steps"] == 1
    assert record.facts["chosen_by"].startswith("the last step: there is no val split")
    assert record.facts["parameters"] == Direction.card()["sizes"]["tiny"]
    assert json.loads((run / "settings.json").read_text())["model"]["hidden"] == 128  # complete, defaults included


def test_a_run_answers_to_the_last_bit_what_was_trained(data: Dataset, tmp_path: Path) -> None:
    rows = data.select(split="train")
    trained = Direction.train(TrainingJob(rows, tmp_path / "run", seed=4, settings=BRIEFLY))
    trained.save(tmp_path / "run")
    asked = queries_of(data.select(split="test"), ())
    before, after = trained.predict(asked), Direction.load(tmp_path / "run").predict(asked)
    np.testing.assert_array_equal(after.directions, before.directions)
    np.testing.assert_array_equal(after.heatmaps, before.heatmaps)


def test_seeds_differ_and_repeat(data: Dataset, run: Path, tmp_path: Path) -> None:
    train_predictor("direction", data, tmp_path / "same", seed=4, settings=BRIEFLY)
    train_predictor("direction", data, tmp_path / "other", seed=5, settings=BRIEFLY)
    digests = [
        digest_tensors(load_file(folder / "model.safetensors")) for folder in (run, tmp_path / "same", tmp_path / "other")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_runs_that_were_tampered_with_are_refused(run: Path, tmp_path: Path) -> None:
    cut = copied(run, tmp_path / "cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=r"Expected weights of a model as safetensors at .*truncated"):
        opened(cut)
    pickled = copied(run, tmp_path / "pickled")
    (pickled / "model.safetensors").write_bytes(b"PK\x03\x04" + weights)
    with pytest.raises(InputError, match="it is a pickled file, which could run any program when opened and never is"):
        opened(pickled)
    changed = copied(run, tmp_path / "changed")
    settings = json.loads((changed / "settings.json").read_text())
    settings["model"]["hidden"] = 64
    (changed / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="They belong to another method, other settings or another training"):
        opened(changed)
    foreign = copied(run, tmp_path / "foreign")
    record = json.loads((foreign / RUN_FILE).read_text())
    record["predictor"] = "chong2020"
    (foreign / RUN_FILE).write_text(json.dumps(record))
    with pytest.raises(InputError, match="options of chong2020"):
        opened(foreign)


# --- a training that is stopped, and bad input --------------------------------------------------------------------------


def test_a_stopped_training_goes_on_and_another_is_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**BRIEFLY, "train": {**BRIEFLY["train"], "steps": 4, "validations": 4}}
    train_predictor("direction", data, tmp_path / "whole", settings=settings)

    looks: list[Path] = []
    write = trainer.write_checkpoint

    def interrupted(*arguments: Any) -> Path:
        looks.append(write(*arguments))
        if len(looks) == 2:
            raise KeyboardInterrupt
        return looks[-1]

    monkeypatch.setattr(trainer, "write_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_predictor("direction", data, tmp_path / "run", settings=settings)
    assert (tmp_path / "run" / STARTED_FILE).is_file()
    with pytest.raises(InputError, match=r"a training that was stopped, with other settings, data or versions"):
        train_predictor("direction", data, tmp_path / "run", settings=BRIEFLY)
    with pytest.raises(InputError, match=r"found folder .* without run\.json"):
        open_predictor(str(tmp_path / "run"))
    train_predictor("direction", data, tmp_path / "run", settings=settings)
    digests = [digest_tensors(load_file(tmp_path / name / "model.safetensors")) for name in ("run", "whole")]
    assert digests[0] == digests[1]
    assert not (tmp_path / "run" / STARTED_FILE).exists()


def test_only_runs_are_replaced(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"a run to replace, found thesis\.tex and no run\.json"):
        train_predictor("direction", data, tmp_path / "precious", settings=BRIEFLY, overwrite=True)
    assert (tmp_path / "precious" / "thesis.tex").is_file()


def test_a_corrupt_panorama_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = fake_dataset(tmp_path / "data", people=12, images=True)
    path = data.root / data.select(split="train").annotations["image_path"].iloc[0]
    path.write_bytes(b"not a picture")
    record = train_predictor("direction", data, tmp_path / "run", settings=BRIEFLY)
    assert record.facts["skipped_panoramas"] == [str(path)]
    assert record.facts["panoramas"] == 5
    assert f"1 of 6 panoramas of train cannot be read and are left out: {path}" in " ".join(capsys.readouterr().err.split())


def test_people_without_a_known_gaze_are_refused(data: Dataset, tmp_path: Path) -> None:
    rows = data.select(split="train")
    unknown = rows.annotations.assign(gaze_lon_deg=np.nan, gaze_lat_deg=np.nan)
    with pytest.raises(InputError, match="no gaze"):
        Direction.train(TrainingJob(replace(rows, annotations=unknown), tmp_path / "run", settings=BRIEFLY))


def test_a_loss_that_is_no_number_names_the_people(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.methods.direction.spot", lambda *a: spot.spot(*a) * float("nan"))
    with pytest.raises(CheckFailed, match=r"to be finite, found NaN or infinity at step 1 on mixed-mixed-train-photo"):
        train_predictor("direction", data, tmp_path / "run", settings=BRIEFLY)


# --- answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "device", "match"),
    [
        ({"train": {"stpes": 5}}, "auto", "found: .*stpes"),
        ({"train": {"clip": float("inf")}}, "auto", "found: .*clip"),
        ({"size": [1]}, "auto", "Unknown size"),
        ({}, "cuda:99", "Expected a GPU cuda:99"),
    ],
    ids=str,
)
def test_a_mistyped_setting_costs_no_run(
    settings: dict[str, Any], device: str, match: str, data: Dataset, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises((InputError, EnvironmentProblem), match=match):
        train_predictor("direction", data, tmp_path / "run", settings=settings, device=device, overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


class Cramped:
    """A network for which more than two people at once are too many."""

    def __init__(self, model: torch.nn.Module, most: int) -> None:
        self.model, self.most, self.sizes = model, most, list[int]()

    def __call__(self, batch: Any) -> Any:
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.model(batch)


def test_what_does_not_fit_is_halved_and_said(data: Dataset, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = queries_of(data.select(split="test"), ())[:7]
    asked = [asked[index] for index in (5, 0, 3, 6, 1, 4, 2)]  # people of a panorama apart
    predictor = opened(run)
    expected = predictor.predict(asked)
    cramped = Cramped(predictor.model, 2)
    predictor.model = cramped  # type: ignore[assignment]
    guess = predictor.predict(asked)
    np.testing.assert_allclose(guess.directions, expected.directions, atol=1e-5)
    np.testing.assert_allclose(guess.heatmaps, expected.heatmaps, atol=1e-4)
    assert cramped.sizes == [7, 3, 1, 2, 4, 2, 2]
    assert "direction: 7 people at once do not fit in the memory of cpu; taking half as many." in capsys.readouterr().err
    cramped.most = 0
    with pytest.raises(EnvironmentProblem, match="Expected one person's answer to fit in the memory of cpu"):
        predictor.predict(asked[:2])


def test_what_did_not_fit_is_let_go_before_halves_are_tried(data: Dataset, run: Path) -> None:
    predictor = opened(run)
    model, held = predictor.model, list[weakref.ref[torch.Tensor]]()
    alive: list[bool] = []

    def cramped(batch: Any) -> Any:
        alive.extend(reference() is not None for reference in held)
        activations = torch.zeros(len(batch))
        held.append(weakref.ref(activations))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return model(batch)

    predictor.model = cramped  # type: ignore[assignment]
    predictor.predict(queries_of(data.select(split="test"), ())[:4])
    assert len(held) == 7
    assert not any(alive)


def test_panoramas_are_computed_once_for_all_their_people(data: Dataset, tmp_path: Path) -> None:
    train_predictor("chong2020", data, tmp_path / "run", settings=BRIEFLY)
    predictor = opened(tmp_path / "run")
    seen: list[int] = []
    predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0].panoramas)))
    rows = data.select(split="test")
    asked = queries_of(rows, ())
    guess = predictor.predict(asked)
    assert seen == [rows.annotations["panorama_id"].nunique()]
    assert seen[0] < len(asked) == len(guess.directions)
    assert guess.in_frame_scores is not None
    assert ((guess.in_frame_scores >= 0.0) & (guess.in_frame_scores <= 1.0)).all()


def test_a_panorama_of_another_shape_is_an_error(run: Path, data: Dataset, tmp_path: Path) -> None:
    asked = queries_of(data.select(split="test"), ())[:1]
    write_image(tmp_path / "square.png", np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"square\.png"):
        opened(run).predict([replace(asked[0], panorama_path=tmp_path / "square.png")])
