"""The steps of a benchmark: what each takes, and whether it is done.

Conventions
-----------
Stages follow one another (:data:`STAGES`): nothing is predicted on the test split before all training is over. Where the
budget names trials, stage ``tune`` trains every learnt row with each of them from its first seed; the best on val decides what
its seeds are trained with. A step's inputs name the products of earlier steps by their digests; they are None until those are
there. So a change redoes what depends on it and nothing else: another seed of one row trains, predicts and scores that row;
other bootstrap resamples score; another recipe does everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from srgaze360 import __version__
from srgaze360.cli.benchmark.config import BenchmarkConfig, MethodConfig, is_learnt, recipe_of, settings_in_full
from srgaze360.cli.benchmark.state import Ledger
from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.predictors import PREDICTORS, Predictor

Stage = Literal["build", "tune", "train", "predict", "score", "board"]
STAGES: tuple[Stage, ...] = get_args(Stage)
BUILD = "build"
HUMAN = "human"
BOARD_FORMAT = 3  # raised where boards are made of other files, so that those that are there are made again
JUDGED_BY = "val_deg"  # the fact of a training that trials are compared by: mean angular distance on val, degrees
POINTS_ALONE = "gives no heatmaps, which this protocol scores"


@dataclass(frozen=True)
class Step:
    """A step: ``method`` and ``seed`` of the row it is for, if it is for one (None: the annotators, or all rows)."""

    name: str
    stage: Stage
    method: MethodConfig | None = None
    seed: int = 0
    protocol: str = ""
    trial: str = ""


class Trial(NamedTuple):
    """How a row's settings did on val, in degrees; ``taken`` where they did best."""

    row: str
    trial: str
    val_deg: float
    taken: bool


class Status(NamedTuple):
    """Where a step stands: ``done``, ``to do``, ``waits``, or ``no number`` (there is none to be had), and why."""

    state: Literal["done", "to do", "waits", "no number"]
    why: str = ""


@dataclass
class Plan:
    """A configuration laid out as steps, over what the ledger knows.

    ``given`` are the folders of sources from the command line, by kind.
    """

    config: BenchmarkConfig
    ledger: Ledger
    given: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def recipe(self) -> Any:  # noqa: ANN401 - builders.recipe.Recipe, imported when needed
        """The recipe of the dataset."""
        return recipe_of(self.config)

    @cached_property
    def recipe_digest(self) -> str:
        """Digest of the recipe."""
        return str(self.recipe.digest())

    @cached_property
    def _kinds(self) -> dict[str, type[Predictor]]:
        return {name: PREDICTORS.get(name) for name in {method.name for method in self.config.methods}}

    def kind(self, method: MethodConfig) -> type[Predictor]:
        """The class of a row's method."""
        return self._kinds[method.name]

    @cached_property
    def without(self) -> dict[str, str]:
        """Rows that can have no number here, and what they lack."""
        found = {method.label: lacking(self.config, method, self.kind(method)) for method in self.config.methods}
        return {label: what for label, what in found.items() if what}

    @cached_property
    def steps(self) -> list[Step]:
        """All steps, in the order they are done in."""
        config = self.config
        rows = [(method, seed) for method in config.methods if method.label not in self.without for seed in method.seeds]
        found = [Step(BUILD, "build")]
        found += [
            Step(f"tune/{method.label}/{trial}", "tune", method, method.seeds[0], trial=trial)
            for method in config.methods
            if method.label not in self.without and is_learnt(self.kind(method))
            for trial in config.budget.tried
        ]
        found += [
            Step(f"train/{row_name(method, seed)}", "train", method, seed) for method, seed in rows if self.kind(method).trained
        ]
        found += [Step(f"predict/{row_name(method, seed)}", "predict", method, seed) for method, seed in rows]
        for protocol in config.protocols:
            found += [
                Step(f"score/{protocol}/{row_name(method, seed)}", "score", method, seed, protocol) for method, seed in rows
            ]
            if config.human and _has_human(protocol):
                found.append(Step(f"score/{protocol}/{HUMAN}", "score", protocol=protocol))
        return found + [Step(f"board/{protocol}", "board", protocol=protocol) for protocol in config.protocols]

    def chosen(self, only: Sequence[str], last: Stage) -> list[Step]:
        """The steps up to a stage, of some rows (all, if none is named); the board is always that of all rows."""
        labels = [method.label for method in self.config.methods]
        if unknown := [label for label in only if label not in labels]:
            raise InputError(f"Benchmark {self.config.name!r} has no row {unknown[0]!r}. {suggestion(unknown[0], labels)}")
        reached = STAGES[: STAGES.index(last) + 1]
        wanted = {*(only or labels)}
        return [
            step
            for step in self.steps
            if step.stage in reached
            and (step.stage in ("build", "board") or (step.method.label in wanted if step.method else not only))
        ]

    def sources(self) -> dict[str, str]:
        """Folders of the sources by kind: from the command line, the configuration, or the build that was begun here."""
        config, begun = self.config.dataset, self.ledger.step(BUILD)
        before = begun.inputs["sources"] if begun else {}
        kinds = dict.fromkeys((*config.sources, *self.given))
        if not kinds and self.recipe.rendered is None:
            kinds = dict.fromkeys(self.recipe.made_from)
        found = {}
        for kind in kinds:
            folder = self.given.get(kind) or config.sources.get(kind)
            found[kind] = str(folder.absolute()) if folder else before.get(kind)
        if lacks := [kind for kind, folder in found.items() if not folder]:
            raise InputError(
                f"Expected a folder for each source of benchmark {self.config.name!r}, found none for {first_ids(lacks)}. Add "
                f"--source {lacks[0]}=DIR, or name it under dataset.sources."
            )
        return {kind: str(found[kind]) for kind in sorted(found)}

    def inputs(self, step: Step) -> dict[str, Any] | None:
        """What decides a step's product; None until the products it takes are there."""
        dataset = None if step.stage == "build" else self.product(BUILD)
        if step.stage != "build" and dataset is None:
            return None
        found: dict[str, Any] = {"dataset": dataset, "version": __version__}
        if step.stage == "build":
            return {"recipe": self.recipe_digest, "limit": self.config.dataset.limit, "sources": self.sources()}
        if step.stage in ("tune", "train") and step.method:
            trial = step.trial or self.taken(step.method)
            if trial is None:
                return None
            settings = self.config.settings_of(step.method, trial) if is_learnt(self.kind(step.method)) else {}
            only = {"train_on": step.method.train_on} if step.method.train_on else {}
            return {**found, "method": step.method.name, "seed": step.seed, "settings": settings, **only}
        if step.stage == "predict" and step.method:
            run = self.product(f"train/{row_name(step.method, step.seed)}") if self.kind(step.method).trained else ""
            return None if run is None else {**found, **self._test, "method": step.method.name, "seed": step.seed, "run": run}
        if step.stage == "score":
            return self._score_inputs(step, found)
        return self._board_inputs(step, found)

    @property
    def _test(self) -> dict[str, Any]:
        return {"split": self.config.test.split}

    def trials(self, method: MethodConfig) -> list[Trial]:
        """How a row's trials did, as far as they are done."""
        done = [step for step in self.steps if step.stage == "tune" and step.method == method and self.product(step.name)]
        found = {step.trial: self.ledger.record.steps[step.name].facts[JUDGED_BY] for step in done}
        best = min(found, key=lambda trial: found[trial], default="")  # the first of equals
        return [Trial(method.label, trial, degrees, trial == best) for trial, degrees in found.items()]

    def all_trials(self) -> list[Trial]:
        """The trials of all rows."""
        return [one for method in self.config.methods for one in self.trials(method)]

    def taken(self, method: MethodConfig) -> str | None:
        """The trial whose settings a row is trained with; empty where there is no choice, None until all are done."""
        if not is_learnt(self.kind(method)) or not self.config.budget.tried:
            return ""
        found = self.trials(method)
        return next(one.trial for one in found if one.taken) if len(found) == len(self.config.budget.tried) else None

    def notes(self, method: MethodConfig) -> str:
        """What a row's card says of how it was made."""
        if not is_learnt(self.kind(method)):
            return method.note
        budget, taken = self.config.budget, self.taken(method) or ""
        tried = budget.count if budget.tried or method.trials is None else method.trials
        trials = f"{tried} trial{'' if tried == 1 else 's'} of settings on val"
        if budget.tried:
            trials += f", taken: {taken}" if taken else ""
            trials += "" if method.trials is None else f", {method.trials} before"
        full = settings_in_full(self.config, method, taken)
        made = f"{full.size} at {full.data.height} rows, {budget.steps} steps of {budget.panoramas} panoramas, {trials}"
        return f"{made}; {method.note}" if method.note else made

    def _score_inputs(self, step: Step, found: dict[str, Any]) -> dict[str, Any] | None:
        from leaderboard.protocols import find_protocol

        predictions = self.product(f"predict/{row_name(step.method, step.seed)}") if step.method else ""
        if predictions is None:
            return None
        version = find_protocol(step.protocol).version
        card = {"label": HUMAN}
        if step.method:
            card = {"label": step.method.label, "notes": self.notes(step.method)}
        resamples = self.config.resamples
        return {**found, **self._test, **card, "predictions": predictions, "protocol_version": version, "resamples": resamples}

    def _board_inputs(self, step: Step, found: dict[str, Any]) -> dict[str, Any] | None:
        records = {score.name: self.product(score.name) for score in self.scores(step.protocol)}
        if not records:
            return None
        shown = {
            "suites": list(self.config.suites),
            "resamples": self.config.resamples,
            "format": BOARD_FORMAT,
            "protocols": list(self.config.protocols),
        }
        if trials := self.all_trials():
            shown["trials"] = [list(one) for one in trials]
        return {**found, "records": records, "without": self.notices(step.protocol), **shown}

    def notices(self, protocol: str) -> dict[str, str]:
        """Rows that stand on the board of a protocol without a number, and why."""
        reasons = {label: f"needs {what}" for label, what in self.without.items()}
        steps = [step for step in self.steps if step.protocol == protocol and self.points_alone(step)]
        return reasons | {step.method.label: POINTS_ALONE for step in steps if step.method}

    def scores(self, protocol: str) -> list[Step]:
        """The scores under a protocol that are done."""
        return [step for step in self.steps if step.stage == "score" and step.protocol == protocol and self.product(step.name)]

    def points_alone(self, step: Step) -> bool:
        """Whether a step would score heatmaps of a row that gives none."""
        if step.stage != "score" or step.method is None or not _scores_heatmaps(step.protocol):
            return False
        known = self.ledger.step(f"predict/{row_name(step.method, step.seed)}")
        return known is not None and known.facts.get("heatmaps") is False

    def product(self, name: str) -> str | None:
        """Digest of what a step made, if it is done."""
        step = next((step for step in self.steps if step.name == name), None)
        inputs = self.inputs(step) if step else None
        known = self.ledger.step(name)
        return known.product if known and inputs is not None and self.ledger.done(name, inputs) else None

    def status(self, step: Step) -> Status:
        """Where a step stands."""
        inputs, known = self.inputs(step), self.ledger.step(step.name)
        if inputs is None:
            return Status("waits", "for earlier steps")
        if self.points_alone(step):
            return Status("no number", POINTS_ALONE)
        if self.ledger.done(step.name, inputs):
            return Status("done")
        if known is None:
            return Status("to do")
        if changed := sorted(name for name in {*inputs, *known.inputs} if inputs.get(name) != known.inputs.get(name)):
            return Status("to do", f"changed: {', '.join(changed)}")
        if known.finished:
            return Status("to do", f"lost or changed: {first_ids(self.ledger.lost(known))}")
        return Status("to do", f"failed before: {known.error}" if known.error else "was stopped")


def row_name(method: MethodConfig, seed: int) -> str:
    """A row and seed, as part of file names."""
    return f"{method.label}-seed{seed}"


def lacking(config: BenchmarkConfig, method: MethodConfig, kind: type[Predictor]) -> str:
    """What a row cannot do without and is not given; empty if nothing.

    Methods that need pretrained weights name them by ``model.backbone``. Fresh weights are none; those of the hub count where
    they are in the local cache, or where the configuration itself names them: nothing is downloaded that nobody asked for.
    """
    if not kind.needs or not is_learnt(kind):
        return kind.needs
    backbone = str(settings_in_full(config, method).model.get("backbone", ""))
    kind_of_weights, _, name = backbone.partition(":")
    asked = "backbone" in {**config.settings.get("model", {}), **method.settings.get("model", {})}
    given = kind_of_weights == "local" or (kind_of_weights == "hub" and (asked or _in_cache(name)))
    if given or not backbone:
        return "" if given else kind.needs
    lacks = f"{name} is not on this machine" if kind_of_weights == "hub" else f"those of {backbone} are fresh"
    return f"{kind.needs}: {lacks}"


def _in_cache(name: str) -> bool:
    """Whether the weights of a model of the hub are on this machine."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "model.safetensors"), str)


def _scores_heatmaps(protocol: str) -> bool:
    from leaderboard.protocols import find_protocol

    return find_protocol(protocol).needs_heatmaps


def _has_human(protocol: str) -> bool:
    from leaderboard.protocols import find_protocol

    return find_protocol(protocol).human is not None
