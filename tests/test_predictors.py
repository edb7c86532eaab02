"""The contract every registered predictor keeps, training runs, commands and plug-ins."""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_dataset
from queries import REPOSITORY, SHAPE, TRIVIAL, job_on, queries_of, ready

from baselines.priors import STATE_FILE, HeadPrior, LatitudePrior
from baselines.training.runs import train_predictor
from baselines.trivial import RegionChance
from srgaze360 import heatmaps
from srgaze360.cli import main
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictors import PREDICTORS, RUN_FILE, Guess, Predictor, TrainingJob, open_predictor, read_run

# --- the contract -----------------------------------------------------------------------------------------------------


def test_the_trivial_predictors_are_registered() -> None:
    assert set(TRIVIAL) <= set(PREDICTORS.names())


@pytest.mark.parametrize("name", PREDICTORS.names())
class TestContract:
    def test_card(self, name: str) -> None:
        kind = PREDICTORS.get(name)
        assert issubclass(kind, Predictor)
        assert kind.name == name
        assert len(kind.summary) > 10
        assert len(kind.source) > 5
        assert len(inspect.getdoc(kind) or "") > len(kind.summary)
        assert inspect.getdoc(kind) != inspect.getdoc(Predictor)

    def test_answers_are_well_formed(self, name: str, tmp_path: Path) -> None:
        data = fake_dataset(tmp_path / "data", people=20, images=True)
        predictor = ready(name, data, tmp_path)
        asked = queries_of(data.select(split="test"), predictor.reads)
        guess = predictor.predict(asked)
        assert guess.directions.shape == (len(asked), 3)
        assert guess.directions.dtype == np.float64
        np.testing.assert_allclose(np.linalg.norm(guess.directions, axis=-1), 1.0, atol=1e-12)
        assert guess.heatmaps is not None
        assert guess.heatmaps.shape == (len(asked), *SHAPE)
        assert np.isfinite(guess.heatmaps).all()
        assert guess.heatmaps.min() >= 0.0
        stored = (guess.heatmaps / guess.heatmaps.max(axis=(1, 2), keepdims=True)).astype(np.float16)
        assert (stored.max(axis=(1, 2)) > stored.min(axis=(1, 2))).all()  # the checker refuses constant ones

    def test_answers_do_not_depend_on_the_batch(self, name: str, tmp_path: Path) -> None:
        """To the last bit, but for networks: a larger batch sums in another order, and maps are flat after one step."""
        data = fake_dataset(tmp_path / "data", people=20, images=True)
        predictor = ready(name, data, tmp_path)
        network = hasattr(predictor, "model")
        alike = partial(np.testing.assert_allclose, atol=0.02 if network else 0.0, rtol=0.0)
        # where a map is nearly flat, the point of smallest expected distance moves by more than the map does
        near = partial(np.testing.assert_allclose, atol=0.1 if network else 0.0, rtol=0.0)
        asked = queries_of(data.select(split="test"), predictor.reads)
        together = predictor.predict(asked)
        assert together.heatmaps is not None
        order = np.random.default_rng(0).permutation(len(asked))
        shuffled = predictor.predict([asked[i] for i in order])
        near(shuffled.directions, together.directions[order])
        alike(shuffled.heatmaps, together.heatmaps[order])
        for index in (0, 7, len(asked) - 1):
            alone = predictor.predict([asked[index]])
            near(alone.directions[0], together.directions[index])
            alike(alone.heatmaps[0], together.heatmaps[index])

    def test_only_declared_columns_are_read(self, name: str, tmp_path: Path) -> None:
        data = fake_dataset(tmp_path / "data", people=4, images=True)
        predictor = ready(name, data, tmp_path)
        asked = queries_of(data.select(split="test"), predictor.reads)
        assert all(tuple(q.extra) == predictor.reads for q in asked)
        for column in predictor.reads:  # what is declared is needed: a board must not warn of nothing
            short = [replace(q, extra={k: v for k, v in q.extra.items() if k != column}) for q in asked]
            with pytest.raises(KeyError, match=column):
                predictor.predict(short)

    def test_trained_or_not(self, name: str, fake: Dataset, tmp_path: Path) -> None:
        kind = PREDICTORS.get(name)
        if kind.trained:
            with pytest.raises(InputError, match=f"{name}.*must be trained first"):
                open_predictor(name)
        else:
            with pytest.raises(InputError, match=f"{name}.*nothing to train"):
                train_predictor(name, fake, tmp_path / "run")
            assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [HeadPrior, LatitudePrior])
def test_a_run_answers_like_what_was_trained(kind: type[Predictor], fake: Dataset, tmp_path: Path) -> None:
    fitted = kind.train(job_on(fake.select(split="train")))
    train_predictor(kind.name, fake, tmp_path / "run")
    loaded, card = open_predictor(str(tmp_path / "run"))
    asked = queries_of(fake.select(split="test"), ())
    np.testing.assert_array_equal(loaded.predict(asked).directions, fitted.predict(asked).directions)
    np.testing.assert_array_equal(loaded.predict(asked).heatmaps, fitted.predict(asked).heatmaps)
    assert card.name == kind.name
    assert card.training_data == ["fake 1.0.0 (aaaaaaaaaaaa), train: 60 people"]
    assert (tmp_path / "run" / STATE_FILE).stat().st_size < 20_000


@pytest.mark.parametrize("name", ["centre", "random", "region-chance"])
def test_no_queries_no_answers(name: str) -> None:
    guess = open_predictor(name)[0].predict([])
    assert guess.directions.shape == (0, 3)
    assert guess.heatmaps is not None
    assert guess.heatmaps.shape == (0, *SHAPE)


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_writes_a_run(fake: Dataset, tmp_path: Path) -> None:
    record = train_predictor("head-prior", fake, tmp_path / "deep" / "run", seed=7)
    assert read_run(tmp_path / "deep" / "run") == record
    assert (record.predictor, record.seed, record.split, record.people) == ("head-prior", 7, "train", 60)
    assert record.dataset.digest == fake.info.label_digest
    assert record.versions["numpy"] == np.__version__


def test_training_on_test_is_refused(fake: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 'test': nothing is ever fitted on test"):
        train_predictor("head-prior", fake, tmp_path / "run", split="test")
    assert not (tmp_path / "run").exists()


def test_training_never_sees_other_splits(fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Dataset] = []

    def spy(job: TrainingJob) -> Predictor:
        seen.append(job.data)
        return fit(job)

    fit = HeadPrior.train
    monkeypatch.setattr(HeadPrior, "train", spy)
    train_predictor("head-prior", fake, tmp_path / "run")
    assert [set(data.annotations["split"]) for data in seen] == [{"train"}]


def test_a_split_that_is_not_there_is_refused(fake: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="to have a split 'val' to train 'head-prior' on, found train, test"):
        train_predictor("head-prior", fake, tmp_path / "run", split="val")
    only_test = fake.select(split="test")
    with pytest.raises(InputError, match=r"to have a split 'train' .* found test\. Train on a dataset that has one"):
        train_predictor("head-prior", only_test, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_predictors_are_refused(fake: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'head-prior'"):
        train_predictor("head-prio", fake, tmp_path / "run")


def test_a_run_is_replaced_only_on_demand(fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    train_predictor("head-prior", fake, run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(InputError, match=r"new or empty folder .* found run\.json, state\.json in .*--overwrite"):
        train_predictor("latitude-prior", fake, run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    train_predictor("latitude-prior", fake, run, overwrite=True)
    assert isinstance(open_predictor(str(run))[0], LatitudePrior)
    assert {path.name for path in run.iterdir()} == set(before)

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    # stopped half way: what is there no longer passes for a run
    monkeypatch.setattr(HeadPrior, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        train_predictor("head-prior", fake, run, overwrite=True)
    assert not (run / RUN_FILE).exists()


def test_a_file_in_the_way_is_refused(fake: Dataset, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="found a file at"):
        train_predictor("head-prior", fake, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").read_text() == "mine"


# --- commands and plug-ins --------------------------------------------------------------------------------------------


def run_program(monkeypatch: pytest.MonkeyPatch, *words: object) -> object:
    monkeypatch.setattr(sys, "argv", ["srgaze360", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Register a module as another installed package would."""

    def add(name: str, text: str, attribute: str) -> None:
        module = name.replace("-", "_") + "_module"
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        points = [*entry_points(group=PREDICTORS.group), *added, EntryPoint(name, f"{module}:{attribute}", PREDICTORS.group)]
        added.append(points[-1])
        monkeypatch.setattr("srgaze360.registry.entry_points", lambda **_: points)

    added: list[EntryPoint] = []
    return add


@pytest.mark.parametrize("columns", [80, 100, 240])
def test_models_table_fits(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_program(monkeypatch, "models") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    for name in TRIVIAL:
        kind = PREDICTORS.get(name)
        what = "fitted on a train split" if kind.trained else "nothing to train"
        assert re.search(rf"^{name} +{what}", out, re.MULTILINE)
    for column in RegionChance.reads:
        assert column in out
    assert "…" not in out
    assert re.search(r"^mmrgaze360  tiny [0-9.]+ [kM], base [0-9.]+ M, large [0-9.]+ M parameters", out, re.MULTILINE)
    assert "Needs pretrained DINOv2 weights." in out.replace("\n    ", " ")


def test_models_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(monkeypatch, "models", "--json") == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["region-chance"]["reads"] == list(RegionChance.reads)
    assert cards["head-prior"] == {
        "name": "head-prior", "trained": True, "inputs": ["head direction"], "reads": [], "needs": "", "sizes": {},
        "source": HeadPrior.source, "summary": HeadPrior.summary, "description": inspect.getdoc(HeadPrior), "error": None,
    }  # fmt: skip
    assert all(card["error"] is None for card in cards.values())


def test_a_card_in_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(monkeypatch, "models", "lian2018") == 0
    out = capsys.readouterr().out
    assert "Changed for the sphere:" in out
    assert "--set model." in out
    assert run_program(monkeypatch, "models", "lian2019") == 2
    assert "Did you mean 'lian2018'" in capsys.readouterr().err


def test_sizes_are_those_of_the_networks() -> None:
    kind: Any = PREDICTORS.get("direction")
    made = kind.make(kind.settings_of({}))
    assert kind.card()["sizes"]["tiny"] == sum(weight.numel() for weight in made.parameters())


def test_broken_plug_ins_are_shown_and_hide_nothing(
    plug_in: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in("explodes", "raise RuntimeError('no [bold]licence[/] found')", "Any")
    plug_in("imports", "import no_such_library_anywhere", "Any")
    plug_in("a-function", "def predict(): pass", "predict")
    misnamed = "from baselines.trivial import Centre\nclass Other(Centre):\n    name = 'other'\n"
    plug_in("misnamed", misnamed, "Other")
    abstract = "from srgaze360.predictors import Predictor\nclass Half(Predictor):\n    name = 'half'\n"
    plug_in("half", abstract, "Half")
    no_card = abstract + "    def predict(self, queries): ...\n"
    plug_in("no-card", no_card.replace("half", "no-card"), "Half")
    assert run_program(monkeypatch, "models", "--json") == 0
    errors = {card["name"]: card["error"] for card in json.loads(capsys.readouterr().out)}
    assert set(errors) >= {*TRIVIAL, "explodes", "imports", "a-function", "misnamed", "half", "no-card"}
    assert all(errors[name] is None for name in TRIVIAL)
    assert "loading it failed: no [bold]licence[/] found" in errors["explodes"]
    assert "no_such_library_anywhere" in errors["imports"]
    assert "not a class derived from" in errors["a-function"]
    assert "calls itself 'other'" in errors["misnamed"]
    assert "defines predict" in errors["half"]
    assert "source" in errors["no-card"]
    monkeypatch.setenv("COLUMNS", "100")
    assert run_program(monkeypatch, "models") == 0
    out = capsys.readouterr().out
    assert re.search(r"^ *explodes +broken", out, re.MULTILINE)
    assert re.search(r"^ *random +no", out, re.MULTILINE)
    assert "[bold]" in out  # a plug-in's words are text, not markup


def test_train_command(
    fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ("train", "head-prior", "--data", fake.root, "--out", run)
    assert run_program(monkeypatch, *words, "--seed", 5) == 0
    assert read_run(run).seed == 5
    assert "Trained head-prior on 60 people of fake 1.0.0, split train." in capfd.readouterr().err
    assert run_program(monkeypatch, *words) == 2
    assert "--overwrite" in capfd.readouterr().err
    assert run_program(monkeypatch, *words, "--overwrite") == 0
    assert read_run(run).seed == 0
    assert run_program(monkeypatch, *words, "--split", "test") == 2
    assert "nothing is ever fitted on test" in capfd.readouterr().err


def test_the_documented_plug_in_works(
    plug_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "docs" / "predictors.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (settings,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert f'[project.entry-points."{PREDICTORS.group}"]\nbrightest = "brightest:Brightest"' in settings
    plug_in("brightest", text, "Brightest")
    assert run_program(monkeypatch, "models", "--json") == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["brightest"]["error"] is None

    data = fake_dataset(tmp_path / "data", people=4, images=True).select(split="test")
    predictor, card = open_predictor("brightest")
    asked = queries_of(data, ())
    guess: Guess = predictor.predict(asked)
    for one, direction in zip(asked, guess.directions, strict=True):
        panorama = one.panorama().astype(float).mean(axis=-1)
        assert panorama.shape == SHAPE  # as coarse as the heatmap: nothing is averaged
        row, column = heatmaps.cell_of(direction)
        assert panorama[row, column] == panorama.max()
    assert card.source == "our paper, 2026"


def test_every_registered_predictor_of_ours_is_documented() -> None:
    page = (REPOSITORY / "docs" / "predictors.md").read_text(encoding="utf-8")
    for name in TRIVIAL:
        assert f"| `{name}` |" in page
