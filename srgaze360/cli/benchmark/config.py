"""What a benchmark compares: one YAML file, checked before anything runs.

Conventions
-----------
Every learnt method gets the same budget: ``budget`` is laid over the settings of each, and what it sets no method may set
again. Settings are nested as in :mod:`baselines.training.settings`; a method's own override ``settings``, which all learnt
methods share. *Trials* are settings laid over those of each learnt row in turn: every row is trained with each of them from its
first seed, and takes the one that does best on val. A *row* is a method under a label; its seeds are trained apart. Whatever
can be said of a configuration without a dataset is said when it is read: unknown keys, recipes, suites, protocols, methods,
sizes and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from srgaze360.dataset import explain
from srgaze360.errors import InputError, suggestion
from srgaze360.files import digest
from srgaze360.settings import merged, nested, read_mapping, shipped

if TYPE_CHECKING:
    from baselines.training.settings import Settings
    from builders.recipe import Recipe
    from srgaze360.predictors import Predictor

CONFIGS = files("srgaze360.cli.benchmark") / "configs"

Seed = Annotated[int, Field(ge=0)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=60)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(_Strict):
    """The dataset: a recipe, changes of it (``a.b=c``), the folder of each kind of source, at most so many photos.

    A source without a folder (null) is given on the command line. A recipe that renders its own source needs none.
    """

    recipe: str
    set: tuple[str, ...] = ()
    sources: dict[str, Path | None] = Field(default_factory=dict)
    limit: Annotated[int, Field(ge=1)] | None = None


class TestConfig(_Strict):
    """The split that is scored, and the seed its scenes come from, declared before anything was developed on it."""

    __test__ = False  # not a test of pytest's

    split: str = "test"
    seed: Seed


class Budget(_Strict):
    """What every learnt method gets: steps, panoramas in a batch, and trials of settings on val.

    ``trials`` are settings by name, tried by the benchmark itself, or the number of settings that were tried before it.
    """

    steps: Annotated[int, Field(ge=1)]
    panoramas: Annotated[int, Field(ge=1)] = 16
    trials: Annotated[int, Field(ge=0)] | Annotated[dict[Label, dict[str, Any]], Field(min_length=2)]

    @property
    def tried(self) -> dict[str, dict[str, Any]]:
        """The trials that the benchmark makes, by name; none where they are a number."""
        return self.trials if isinstance(self.trials, dict) else {}

    @property
    def count(self) -> int:
        """The number of trials."""
        return len(self.trials) if isinstance(self.trials, dict) else self.trials

    def settings(self) -> dict[str, Any]:
        """The budget as settings of a training."""
        return {"train": {"steps": self.steps, "panoramas": self.panoramas}}


class MethodConfig(_Strict):
    """A row: a registered method under a label (its name, if none is given), with the seeds it is run from.

    ``train_on`` restricts the people it is trained on (:mod:`srgaze360.groups`): a value, or a list of them, by grouping.
    ``trials`` says how many of its settings were tried on val before the benchmark, where that is not what the budget says.
    """

    name: str
    label: Label = ""
    size: str | None = None
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    train_on: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(default_factory=dict)
    note: str = ""
    trials: Annotated[int, Field(ge=0)] | None = None

    @field_validator("label")
    @classmethod
    def _not_the_annotators(cls, label: str) -> str:
        if label == "human":
            raise ValueError("'human' is the row of the annotators (`human: true`); choose another label")
        return label

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, content: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        content = {"name": content} if isinstance(content, str) else content
        if isinstance(content, dict) and isinstance(content.get("name"), str):
            content = {"label": content["name"], **content}
        return content

    @field_validator("train_on", mode="before")
    @classmethod
    def _lists(cls, content: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not isinstance(content, dict):
            return content
        return {name: [str(one) for one in (value if isinstance(value, list) else [value])] for name, value in content.items()}

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("each seed may be given once")
        return seeds


class BenchmarkConfig(_Strict):
    """A whole benchmark. ``suites`` are those that the comparison at the end shows beside the ranking suite; all, if empty."""

    name: Label
    title: str
    dataset: DatasetConfig
    test: TestConfig
    size: str = "tiny"
    budget: Budget
    settings: dict[str, Any] = Field(default_factory=dict)
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    device: str = "auto"
    suites: tuple[str, ...] = ()
    protocols: tuple[str, ...] = Field(("spherical",), min_length=1)
    resamples: Annotated[int, Field(ge=100)] = 2000
    human: bool = False

    @field_validator("methods")
    @classmethod
    def _labels_differ(cls, methods: tuple[MethodConfig, ...]) -> tuple[MethodConfig, ...]:
        labels = [method.label for method in methods]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"two rows have the label {twice[0]!r}; give one of them another `label`")
        return methods

    def settings_of(self, method: MethodConfig, trial: str = "") -> dict[str, Any]:
        """Settings of a learnt method: size, what all share, its own, those of a trial, and the budget over it all."""
        settings: dict[str, Any] = {"size": method.size or self.size}
        for more in (self.settings, method.settings, self.budget.tried.get(trial, {}), self.budget.settings()):
            settings = merged(settings, more)
        return settings

    def digest(self) -> str:
        """Digest of everything in the file."""
        return digest(self.model_dump(mode="json"))


# --- reading ----------------------------------------------------------------------------------------------------------


def config_names() -> list[str]:
    """Names of the configurations that ship with the project, sorted."""
    return shipped(CONFIGS)


def load_config(name: str, settings: Sequence[str] = ()) -> BenchmarkConfig:
    """Read a configuration by its shipped name or from a YAML file, with ``a.b=c`` settings applied.

    Raises
    ------
    InputError
        There is no such configuration, it is not YAML, a key is unknown, or a value is out of range.
    """
    content = merged(read_mapping(name, "benchmark", CONFIGS), nested(settings, "budget.steps=100"))
    try:
        return BenchmarkConfig.model_validate(content)
    except ValidationError as error:
        raise InputError(f"Expected a valid benchmark in {name!r}, found: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return explain(error).replace("Value error, ", "").rstrip(".") + ". Mend the file or the --set."
    models: tuple[type[BaseModel], ...] = (BenchmarkConfig, DatasetConfig, TestConfig, Budget, MethodConfig)
    known = {model.__name__: list(model.model_fields) for model in models}
    inside = {"dataset": "DatasetConfig", "test": "TestConfig", "budget": "Budget", "methods": "MethodConfig"}
    where = first["loc"]
    fields = known[inside.get(str(where[0]), "BenchmarkConfig") if len(where) > 1 else "BenchmarkConfig"]
    return f"unknown key {'.'.join(map(str, where))!r}. {suggestion(str(where[-1]), fields)}"


# --- names ------------------------------------------------------------------------------------------------------------


def is_learnt(kind: type[Predictor]) -> bool:
    """Whether a method is trained with settings: it has sizes. Priors that are fitted in one go have none."""
    return hasattr(kind, "sizes")


def recipe_of(config: BenchmarkConfig) -> Recipe:
    """The recipe of the dataset, with the configuration's changes."""
    from builders.recipe import load_recipe

    return load_recipe(config.dataset.recipe, config.dataset.set)


def check_names(config: BenchmarkConfig) -> None:
    """Check what a configuration names against what there is: recipe, suites, protocols, methods, sizes, settings.

    Raises
    ------
    InputError
        Something is unknown, a setting is none, or the declared seed is not the recipe's.
    """
    from leaderboard.scoring import PROTOCOLS
    from srgaze360.dataset import SPLITS

    recipe = recipe_of(config)
    for what, names, known in (
        ("suite", config.suites, list(recipe.suites)),
        ("protocol", config.protocols, list(PROTOCOLS)),
        ("split", (config.test.split,), list(SPLITS)),
    ):
        if unknown := [name for name in names if name not in known]:
            raise InputError(
                f"Benchmark {config.name!r} names an unknown {what}, {unknown[0]!r}. {suggestion(unknown[0], known)}"
            )
    split = config.test.split
    if empty := [name for name in config.suites if split not in recipe.suites[name].splits]:
        filled = [name for name, suite in recipe.suites.items() if split in suite.splits]
        raise InputError(
            f"Benchmark {config.name!r} shows suite {empty[0]!r}, which has nobody in split {split!r}. Show some of "
            f"{', '.join(filled)}, or score another split."
        )
    decides, seed = ("rendered.seed", recipe.rendered.seed) if recipe.rendered is not None else ("seed", recipe.seed)
    if config.test.seed != seed:
        raise InputError(
            f"Benchmark {config.name!r} declares that its test scenes come from seed {config.test.seed}, but {decides} of "
            f"recipe {recipe.name!r} is {seed}. Declare that seed under test, or change the recipe: "
            f"dataset.set: [{decides}={config.test.seed}]."
        )
    for method in config.methods:
        check_method(config, method)


def check_method(config: BenchmarkConfig, method: MethodConfig) -> None:
    """Check the name, size and settings of a row."""
    from srgaze360.predictors import PREDICTORS

    where = f"Row {method.label!r} of benchmark {config.name!r}"
    known = PREDICTORS.names()
    if method.name not in known:
        raise InputError(f"{where} names an unknown predictor, {method.name!r}. {suggestion(method.name, known)}")
    kind: Any = PREDICTORS.get(method.name)
    _check_train_on(config, method, where, trained=kind.trained)
    if not is_learnt(kind):
        if method.size or method.settings:
            given = "a size" if method.size else "settings"
            raise InputError(f"{where} gives {given} to {method.name!r}, which has none to set. Leave that out.")
        return
    fixed = config.budget.settings()["train"]
    layers = [config.settings, method.settings, *config.budget.tried.values()]
    for name, value in [pair for layer in layers for pair in layer.items()]:
        if name != "size" and not isinstance(value, dict):
            raise InputError(
                f"{where} sets {name} to {value!r}, where names and values are expected. Mend or leave out {name}."
            )
    if twice := sorted(set(fixed) & {name for layer in layers for name in layer.get("train", {})}):
        raise InputError(
            f"{where} sets train.{twice[0]}, which the budget sets for all: methods are compared at equal {twice[0]}. Change "
            "the budget, or leave that out."
        )
    for trial in config.budget.tried or ("",):
        try:
            settings_in_full(config, method, trial)
        except InputError as error:
            raise InputError(f"{where}{f', trial {trial!r}' if trial else ''}: {error}") from None


def _check_train_on(config: BenchmarkConfig, method: MethodConfig, where: str, *, trained: bool) -> None:
    """Check what a row is trained on as far as it can be known without the dataset: names of groupings, suites."""
    from srgaze360.dataset import COLUMNS
    from srgaze360.groups import BREAKDOWNS, LISTED

    if method.train_on and not trained:
        raise InputError(f"{where} restricts what {method.name!r} is trained on, which is not trained. Leave train_on out.")
    known = [*LISTED, *BREAKDOWNS, *(name for name in COLUMNS if name not in (*LISTED, "split"))]
    if unknown := [name for name in method.train_on if name not in known]:
        raise InputError(f"{where} trains on an unknown grouping, {unknown[0]!r}. {suggestion(unknown[0], known)}")
    suites = recipe_of(config).suites
    filled = [name for name, suite in suites.items() if "train" in suite.splits]
    if empty := [suite for suite in method.train_on.get("suite", []) if suite not in filled]:
        raise InputError(
            f"{where} trains on suite {empty[0]!r}, which has nobody in split 'train'. {suggestion(empty[0], filled)}"
        )


def settings_in_full(config: BenchmarkConfig, method: MethodConfig, trial: str = "") -> Settings:
    """The settings a learnt method is trained with, those of its size included; raises InputError where one is none."""
    from baselines.training.resolve import resolve
    from srgaze360.predictors import PREDICTORS

    kind: Any = PREDICTORS.get(method.name)
    return resolve(method.name, kind.sizes, kind.options, config.settings_of(method, trial))
