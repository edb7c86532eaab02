"""Configurations of benchmarks: what they say, what is refused, and that the shipped ones name what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarking import CONFIG, ORACLE, PlugIn, write_config

from builders.recipe import load_recipe, recipe_names
from leaderboard.scoring import PROTOCOLS
from srgaze360.cli.benchmark.config import BenchmarkConfig, check_names, config_names, load_config
from srgaze360.cli.benchmark.report import TRIVIAL
from srgaze360.errors import InputError
from srgaze360.predictors import PREDICTORS

SHIPPED = ["gazefollow360", "mmrgaze360-ablation", "procedural", "srgaze360-1.0"]
OWN = ("baselines.",)


def test_what_is_shipped() -> None:
    assert config_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_benchmarks_name_only_what_there_is(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert config.dataset.recipe in recipe_names()
    assert set(config.protocols) <= set(PROTOCOLS)
    assert {method.name for method in config.methods} <= set(PREDICTORS.names())
    check_names(config)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_benchmarks_take_the_sources_of_their_recipe(name: str) -> None:
    config = load_config(name)
    recipe = load_recipe(config.dataset.recipe)
    assert set(config.dataset.sources) == (set() if recipe.rendered else set(recipe.made_from))
    assert not any(config.dataset.sources.values())  # nobody's folders are shipped


def test_the_procedural_benchmark_compares_every_method_at_equal_budget() -> None:
    config = load_config("procedural")
    ours = {name for name in PREDICTORS.names() if PREDICTORS.get(name).__module__.startswith(OWN)}
    assert {method.name for method in config.methods} == ours
    three = {method.name for method in config.methods if len(method.seeds) >= 3}
    assert three >= {"mmrgaze360", "direction", "dualpath2021", "chong2020"}
    budgets = [config.settings_of(method)["train"] for method in config.methods]
    assert all(budget == budgets[0] for budget in budgets)
    assert {config.settings_of(method)["size"] for method in config.methods} == {"tiny"}


def test_trivial_predictors_are_registered_and_learn_nothing() -> None:
    for name in TRIVIAL:
        assert not hasattr(PREDICTORS.get(name), "sizes")


# --- what a file says -------------------------------------------------------------------------------------------------


def config_of(**changes: Any) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate({**CONFIG, **changes})


def test_settings_are_size_then_shared_then_own_then_budget() -> None:
    shared = {"train": {"lr": 0.1, "workers": 2}, "data": {"crop": 32}}
    own = {"name": "direction", "size": "base", "settings": {"train": {"lr": 0.2}, "model": {"width": 8}}}
    config = config_of(settings=shared, methods=[own, "saliency"], size="tiny")
    budget = {"steps": 7, "panoramas": 16}
    assert config.settings_of(config.methods[0]) == {
        "size": "base", "train": {"lr": 0.2, "workers": 2, **budget}, "data": {"crop": 32}, "model": {"width": 8},
    }  # fmt: skip
    assert config.settings_of(config.methods[1]) == {
        "size": "tiny", "train": {"lr": 0.1, "workers": 2, **budget}, "data": {"crop": 32},
    }  # fmt: skip
    assert config.methods[0].settings == {"train": {"lr": 0.2}, "model": {"width": 8}}  # merged into a copy


def test_rows_have_the_name_of_their_method_unless_they_say_another() -> None:
    config = config_of(methods=["random", {"name": "random", "label": "random-again"}])
    assert [(method.label, method.seeds) for method in config.methods] == [("random", (0,)), ("random-again", (0,))]


def test_what_a_row_is_trained_on_may_be_one_value_or_a_list() -> None:
    own = {"name": "head-prior", "train_on": {"suite": "mixed", "head_latitude": ["0-30", "30-60 deg"], "hfov_deg": 60}}
    assert config_of(methods=[own]).methods[0].train_on == {
        "suite": ["mixed"], "head_latitude": ["0-30", "30-60 deg"], "hfov_deg": ["60"],
    }  # fmt: skip
    with pytest.raises(ValueError, match="two rows have the label 'head-prior'; give one of them another `label`"):
        config_of(methods=["head-prior", own])


def test_settings_of_the_command_line(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    config = load_config(str(path), ["dataset.limit=3", "budget.steps=9", "methods=[centre]", "device=cpu"])
    assert (config.dataset.limit, config.budget.steps, config.device) == (3, 9, "cpu")
    assert [method.name for method in config.methods] == ["centre"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metods": []}, r"unknown key 'metods'. Did you mean 'methods'\?"),
        ({"dataset": {"recipe": "mixed", "limits": 3}}, r"unknown key 'dataset.limits'. Did you mean 'limit'\?"),
        ({"budget": {"step": 3, "trials": 1}}, "budget.steps: Field required|unknown key 'budget.step'"),
        ({"budget": {"steps": 0, "trials": 1}}, "budget.steps: .*greater than or equal to 1"),
        ({"budget": {"steps": 5}}, "budget.trials: Field required"),
        ({"test": {"split": "test"}}, "test.seed: Field required"),
        ({"methods": []}, "methods: .*at least 1 item"),
        ({"methods": ["random", "random"]}, "two rows have the label 'random'; give one of them another `label`"),
        ({"methods": [{"name": "random", "seeds": [1, 1]}]}, "each seed may be given once"),
        ({"methods": [{"name": "random", "label": "../x"}]}, "methods.0.label: .*pattern"),
        ({"methods": [{"name": "random", "sed": 1}]}, r"unknown key 'methods.0.sed'. Did you mean 'seeds'\?"),
        ({"resamples": 10}, "resamples: .*greater than or equal to 100"),
        ({"methods": [{"name": "random", "train_on": {"suite": []}}]}, "methods.0.train_on.suite: .*at least 1 item"),
        ({"methods": [{"name": "random", "train_on": "mixed"}]}, "methods.0.train_on: .*valid dictionary"),
    ],
)
def test_files_that_say_nonsense_are_refused(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    with pytest.raises(InputError, match=match):
        load_config(str(path))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shipped benchmark or a YAML file, found 'procedual'. Did you mean 'procedural'\?"):
        load_config("procedual")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(InputError, match="Expected a mapping at the top of benchmark .*, found list"):
        load_config(str(tmp_path / "list.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [1, 2")
    with pytest.raises(InputError, match="Expected YAML in benchmark .*broken.yaml"):
        load_config(str(tmp_path / "broken.yaml"))
    with pytest.raises(InputError, match="Expected --set in the form a.b=c, found 'budget'"):
        load_config("procedural", ["budget"])


# --- what a file names ------------------------------------------------------------------------------------------------


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    found = PlugIn(tmp_path, monkeypatch)
    found.add("oracle", ORACLE, "Oracle")
    return found


@pytest.mark.usefixtures("plug_in")
def test_names_that_are_right() -> None:
    check_names(config_of(methods=["oracle", "head-prior"], suites=["mixed"]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"methods": ["hed-prior"]}, r"Row 'hed-prior' of .* unknown predictor, 'hed-prior'. Did you mean 'head-prior'\?"),
        ({"dataset": {"recipe": "mixd"}}, r"found 'mixd'. Did you mean 'mixed'\?"),
        ({"dataset": {"recipe": "mixed", "set": ["suites.x.copies=2"]}}, "this recipe has no suite 'x'. Known: mixed"),
        ({"suites": ["pole"]}, "'small' names an unknown suite, 'pole'. Known: mixed"),
        ({"protocols": ["sferical"]}, r"unknown protocol, 'sferical'. Did you mean 'spherical'\?"),
        ({"test": {"split": "tset", "seed": 360}}, r"unknown split, 'tset'. Did you mean 'test'\?"),
        ({"test": {"seed": 7}}, "test scenes come from seed 7, but seed of recipe 'mixed' is 360. .*dataset.set: .seed=7."),
        (
            {"dataset": {"recipe": "procedural-benchmark", "set": ["rendered.seed=9"]}},
            "come from seed 360, but rendered.seed of recipe 'procedural-benchmark' is 9",
        ),
        ({"methods": [{"name": "random", "size": "tiny"}]}, "gives a size to 'random', which has none to set"),
        ({"methods": [{"name": "random", "settings": {"a": 1}}]}, "gives settings to 'random', which has none to set"),
        (
            {"methods": [{"name": "oracle", "size": "larg"}]},
            r"Row 'oracle' .*: Unknown size 'larg' of oracle. Did you mean 'large'\?",
        ),
        (
            {"methods": [{"name": "oracle", "settings": {"train": {"steps": 9}}}]},
            "Row 'oracle' .* sets train.steps, which the budget sets for all",
        ),
        (
            {"methods": ["oracle"], "settings": {"train": None}},
            "Row 'oracle' .* sets train to None, where names and values are",
        ),
        (
            {"suites": ["mixed"], "dataset": {"recipe": "mixed", "set": ["suites.mixed.splits=[train]"]}},
            "nobody in split 'test'",
        ),
        ({"methods": ["oracle"], "settings": {"train": {"panoramas": 9}}}, "sets train.panoramas, which the budget sets"),
        (
            {"methods": [{"name": "oracle", "settings": {"loss": {"hetmap": 1}}}]},
            "Row 'oracle' .*: Expected settings of oracle, found: loss.hetmap: Extra inputs",
        ),
        (
            {"methods": [{"name": "oracle", "settings": {"model": {"depth": 1}}}]},
            "Row 'oracle' .*: Expected options of oracle .*, found: depth: Extra inputs",
        ),
        (
            {"methods": [{"name": "random", "train_on": {"suite": "mixed"}}]},
            "Row 'random' .* restricts what 'random' is trained on, which is not trained",
        ),
        (
            {"methods": [{"name": "head-prior", "train_on": {"head_latitud": "0-30"}}]},
            r"Row 'head-prior' .* trains on an unknown grouping, 'head_latitud'. Did you mean 'head_latitude'\?",
        ),
        ({"methods": [{"name": "head-prior", "train_on": {"split": "val"}}]}, "trains on an unknown grouping, 'split'"),
        (
            {"methods": [{"name": "head-prior", "train_on": {"suite": ["mixed", "poles"]}}]},
            "trains on suite 'poles', which has nobody in split 'train'. Known: mixed",
        ),
    ],
)
@pytest.mark.usefixtures("plug_in")
def test_names_that_are_wrong(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_names(config_of(**changes))
