"""Doing the steps of a benchmark, through the same functions as the commands ``build``, ``train``, ``predict`` and ``score``.

Layout
------
::

    OUT/ benchmark.json   scenes/   dataset/   cache/   trials/<label>/<trial>/   runs/<row>/   predictions/<row>.parquet
         results/<protocol>/<row>.json   logs/   board/<protocol>/   with index.html, board.md, records/, trials.csv,
         comparison.md, comparison.json

Every product is written beside its place and renamed, or (datasets, runs) goes on where it was stopped; what was made from
other inputs is removed first. A step that fails does not stop the others.
"""

from __future__ import annotations

import gc
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from srgaze360.cli.benchmark.config import is_learnt
from srgaze360.cli.benchmark.plan import HUMAN, JUDGED_BY, Plan, Step, row_name
from srgaze360.cli.benchmark.report import DISTANCE, TRIVIAL, Comparison, compare, markdown
from srgaze360.cli.benchmark.state import DATASET, Ledger, StepRecord, discard, run_digest
from srgaze360.cli.jobs import Job, Outcome, attempt, side_by_side
from srgaze360.console import progress, say
from srgaze360.dataset import ANNOTATIONS_FILE, INFO_FILE, MANIFEST_FILE, Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.files import atomic_folder, digest, digest_file, read_json, write_text

if TYPE_CHECKING:
    from srgaze360.cli.benchmark.config import BenchmarkConfig

COMPARISON = "comparison.json"
TRIALS = "trials.csv"
LOGS = "logs"  # folder in that of the benchmark: a file for each step done in a process of its own
SIDE_BY_SIDE = ("tune", "train", "predict", "score")  # stages of many steps, none of which takes what another makes
MOST_REASON = 200  # letters of a reason on a board


class Made(NamedTuple):
    """What a step made: its digest, its files, and what the record should say of it."""

    product: str
    files: list[Path]
    facts: dict[str, Any]


@dataclass
class Bench:
    """A benchmark at work in a folder."""

    plan: Plan
    root: Path
    workers: int = 1
    jobs: int = 1
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, steps: Sequence[Step]) -> None:
        """Do the steps that are not done, stage after stage; what fails is in ``failures``.

        Within a stage no step takes what another makes, so ``jobs`` of them are done side by side.

        Raises
        ------
        SRGaze360Error
            The dataset cannot be built, or the record cannot be written: there is no point in going on.
        """
        for stage, group in groupby(steps, key=attrgetter("stage")):
            todo = [step for step in group if self.plan.status(step).state == "to do"]
            if self.jobs > 1 and len(todo) > 1 and stage in SIDE_BY_SIDE:
                side_by_side([self._job(step) for step in todo], self.jobs)
                continue
            for step in todo:
                self._begin(step)
                self._end(step, attempt(partial(self.make, step)))
                _release()

    def make(self, step: Step) -> Made:
        """Do the work of a step that was begun."""
        work = {
            "build": self._build,
            "tune": self._train,
            "train": self._train,
            "predict": self._predict,
            "score": self._score,
            "board": self._board,
        }
        return work[step.stage](step)

    def _begin(self, step: Step) -> None:
        from rich.markup import escape

        inputs = self.plan.inputs(step) or {}
        ledger, config = self.plan.ledger, self.plan.config
        known = ledger.step(step.name)
        say(f"[bold]{escape(step.name)}[/bold]")
        if known is not None:
            self._make_room(step, known, inputs)
        ledger.begin(step.name, inputs)
        if step.stage == "predict":  # noted before it is done: a look that was cut short is a look
            label = _method(step).label
            ledger.look(label, step.seed, inputs["run"] or None, self.data.info.label_digest, config.test.split)

    def _job(self, step: Step) -> Job[Made]:
        work = partial(_made, self.plan.config, self.root, dict(self.plan.given), step.name)
        log = self.root / LOGS / f"{step.name}.log"
        return Job(step.name, work, log, partial(self._begin, step), partial(self._end, step))

    def _end(self, step: Step, outcome: Outcome[Made]) -> None:
        from rich.markup import escape

        ledger = self.plan.ledger
        if outcome.made is not None:
            try:
                ledger.finish(step.name, outcome.seconds, *outcome.made)
            except FileNotFoundError as error:  # somebody removed a product before it was noted
                outcome = Outcome(None, f"{type(error).__name__}: {error}", outcome.seconds, error)
        if outcome.made is not None:
            if self.jobs > 1:
                say(f"  {escape(step.name)} done in {outcome.seconds:.1f} s")
            return
        ledger.fail(step.name, outcome.error)
        if step.stage == "build" and outcome.cause is not None:
            raise outcome.cause
        self.failures[step.name] = outcome.error
        say(f"  [red]failed[/red] {escape(step.name)}: {escape(outcome.error)}")

    def _make_room(self, step: Step, known: StepRecord, inputs: dict[str, Any]) -> None:
        """Remove what a step made from other inputs, or what was changed since, where it would be taken for a beginning."""
        stopped = known.inputs == inputs and not known.finished
        if step.stage in ("tune", "train") and not stopped:
            discard(self._run(step))
        elif step.stage == "build" and known.finished:
            if known.inputs == inputs and self.dataset.exists():
                raise InputError(
                    f"Expected the dataset in {self.dataset} as it was built, found that "
                    f"{first_ids(self.plan.ledger.lost(known))} is lost or was changed since. Run `srgaze360 verify "
                    f"{self.dataset} --repair`, or remove that folder to build anew."
                )
            if pairs := self._sources():  # what cannot be opened must not cost the dataset that is there
                from builders.commands import open_sources

                open_sources(pairs, self.plan.recipe.sources)
            self.__dict__.pop("data", None)
            if not known.facts.get("taken"):  # what somebody put here is not ours to remove: the build says so
                discard(self.dataset)

    def comparisons(self) -> list[Comparison]:
        """The comparisons beside the boards that are made."""
        files = [self.board(protocol) / COMPARISON for protocol in self.plan.config.protocols]
        return [Comparison(**item) for file in files if file.is_file() for item in read_json(file, "comparison")]

    # --- places ---------------------------------------------------------------------------------------------------------

    @property
    def dataset(self) -> Path:
        """Folder of the dataset."""
        return self.root / DATASET

    @cached_property
    def data(self) -> Dataset:
        """The dataset, once it is built."""
        return Dataset.open(self.dataset)

    def _run(self, step: Step) -> Path:
        """Folder of what a step trains."""
        return self.root / "trials" / _method(step).label / step.trial if step.trial else self.root / "runs" / _row(step)

    def _predictions(self, step: Step) -> Path:
        return self.root / "predictions" / f"{_row(step)}.parquet"

    def result(self, step: Step) -> Path:
        """The record of a score."""
        return self.root / "results" / step.protocol / f"{_row(step)}.json"

    def board(self, protocol: str) -> Path:
        """Folder of a board."""
        return self.root / "board" / protocol

    # --- steps ----------------------------------------------------------------------------------------------------------

    def _build(self, step: Step) -> Made:
        from builders.building.folder import WORK
        from builders.building.pipeline import build, plan_build
        from builders.building.rendered import is_rendered, pictures, render_sources
        from builders.commands import open_sources

        del step
        config, recipe = self.plan.config.dataset, self.plan.recipe
        taken = (self.dataset / INFO_FILE).is_file()
        pairs = self._sources()
        given = [word for pair in pairs for word in ("--source", pair)]
        rendered = recipe.rendered is not None and not pairs
        if rendered:
            # beside the dataset: another recipe with the same scenes does not render them again
            work = self.dataset / WORK
            place = work if is_rendered(recipe, work) else self.root / "scenes"
            with progress(f"  rendering the scenes of {recipe.name}", pictures(recipe)) as advance:
                pairs = render_sources(recipe, place, workers=self.workers, advance=advance)
        gaze, background = open_sources(pairs, recipe.sources)
        plan = plan_build(recipe, gaze, background, config.limit)
        words = ["srgaze360", "build", config.recipe, *given, "--out", str(self.dataset)]
        words += [word for setting in config.set for word in ("--set", setting)]
        words += ["--limit", str(config.limit)] if config.limit else []
        name = self._dataset_name(rendered)
        with progress(f"  building {name}", len(plan.tasks)) as advance:
            report = build(
                plan, recipe, gaze, background, self.dataset, name=name, limit=config.limit, command=shlex.join(words),
                workers=self.workers, advance=advance,
            )  # fmt: skip
        info = report.info
        files = [self.dataset / file for file in (INFO_FILE, ANNOTATIONS_FILE, MANIFEST_FILE)]
        people = {split: size.people for split, size in info.splits.items()}
        facts = {
            "dataset": info.name,
            "dataset_version": info.version,
            "people": people,
            "rejected": info.rejected,
            "taken": taken,
        }
        return Made(digest([info.label_digest, info.pixel_digest]), files, facts)

    def _sources(self) -> list[str]:
        """The sources as ``KIND=DIR``."""
        return [f"{kind}={folder}" for kind, folder in self.plan.sources().items()]

    def _dataset_name(self, rendered: bool) -> str:
        """A shipped recipe that was changed must not pass for the dataset of that name."""
        from builders.recipe import recipe_names

        config, recipe = self.plan.config.dataset, self.plan.recipe
        changed = bool(config.set) or config.limit is not None or config.recipe not in recipe_names()
        standard = not changed and rendered == (recipe.rendered is not None)
        return recipe.name if standard or recipe.name not in recipe_names() else f"{recipe.name}-custom"

    def _train(self, step: Step) -> Made:
        from baselines.training.runs import STARTED_FILE, train_predictor
        from srgaze360.predictors import RUN_FILE, read_run

        method, folder = _method(step), self._run(step)
        settings = (self.plan.inputs(step) or {})["settings"]
        begun = (folder / STARTED_FILE).is_file()
        trial = self.plan.taken(method) if step.stage == "train" and step.seed == method.seeds[0] else ""
        if (folder / RUN_FILE).is_file() and not begun:
            record = read_run(folder)  # trained, and stopped before that was noted
        elif trial:  # it was this very training
            discard(folder)
            with atomic_folder(folder) as fresh:
                shutil.copytree(self._run(replace(step, trial=trial)), fresh, dirs_exist_ok=True)
            record = read_run(folder)
        else:
            if not begun or self._versions_changed(folder):
                discard(folder)  # nothing that a training could go on with
            device, cache = self.plan.config.device, self.root / "cache"
            record = train_predictor(
                method.name, self.data, folder, step.seed, where=method.train_on, settings=settings, device=device, cache=cache
            )
        if step.stage == "tune" and record.facts.get(JUDGED_BY) is None:
            raise InputError(
                f"Expected trials of {method.label} to be judged on the val split, but its training has no {JUDGED_BY}: the "
                "dataset has no val split, or the method does not look at it. Give the number of trials (budget.trials=1) "
                "instead of trials."
            )
        facts = {"people": record.people, **record.facts}
        return Made(run_digest(folder), [path for path in sorted(folder.rglob("*")) if path.is_file()], facts)

    def _versions_changed(self, folder: Path) -> bool:
        """Whether a stopped training was begun under other versions of libraries, and so cannot go on."""
        from baselines.training.runs import STARTED_FILE
        from srgaze360.predictors import read_run
        from srgaze360.versions import LEARNING, environment

        return read_run(folder, STARTED_FILE).versions != environment(*LEARNING)

    def _predict(self, step: Step) -> Made:
        from leaderboard.predicting import predict_split

        method, config = _method(step), self.plan.config
        model = str(self._run(step)) if self.plan.kind(method).trained else method.name
        file, split = self._predictions(step), config.test.split
        with progress("  predicting", len(self.data.select(split=split))) as advance:
            done = predict_split(
                model, self.data, split, file, seed=step.seed, device=config.device, cache=self.root / "cache", advance=advance
            )
        rate = {"people": done.people, "people_per_second": round(done.people_per_second, 1), "heatmaps": done.heatmaps}
        return Made(digest_file(file), [file], rate)

    def _score(self, step: Step) -> Made:
        from leaderboard.protocols import find_protocol
        from leaderboard.records import read_samples, samples_path, write_record
        from leaderboard.scoring import score_file

        config, out = self.plan.config, self.result(step)
        file = self._predictions(step) if step.method else HUMAN
        with progress("  scoring", len(self.data.select(split=config.test.split))) as advance:
            record = score_file(
                file, self.data, config.test.split, out, protocol=step.protocol, resamples=config.resamples, advance=advance
            )
        if step.method:
            card = {"name": step.method.label, "notes": self.plan.notes(step.method)}
            samples = read_samples(samples_path(out), record)
            record = record.model_copy(update={"predictor": record.predictor.model_copy(update=card)})
            write_record(out, record, samples)
        primary = find_protocol(step.protocol).primary
        facts = {primary: record.overall.metrics[primary].value, "suite": record.ranking_suite}
        return Made(record.content_digest, [out, samples_path(out)], facts)

    def _board(self, step: Step) -> Made:
        from leaderboard.board import add_notice, add_record, beside, build_board

        out, scores = self.board(step.protocol), self.plan.scores(step.protocol)
        notices, comparisons = self.plan.notices(step.protocol), self._compared(scores)
        with atomic_folder(out) as fresh:
            for score in scores:
                add_record(self.result(score), fresh, tier="re-run")
            for method in self.plan.config.methods:
                if reason := notices.get(method.label):
                    kind = self.plan.kind(method)
                    add_notice(fresh, method.label, kind.summary, kind.source, reason[:MOST_REASON])
            build_board(fresh, fresh, beside(step.protocol, {name: name for name in self.plan.config.protocols}))
            write_text(fresh / COMPARISON, json.dumps([item._asdict() for item in comparisons], indent=1) + "\n")
            write_text(fresh / "comparison.md", markdown(comparisons))
            if trials := self.plan.all_trials():
                write_text(fresh / TRIALS, pd.DataFrame(trials).to_csv(index=False))
            discard(out)
        files = [out / name for name in ("index.html", "board.csv", COMPARISON)]
        product = digest([digest_file(file) for file in files[1:]])
        return Made(product, files, {"rows": len(scores), "without_number": notices})

    def _compared(self, scores: Sequence[Step]) -> list[Comparison]:
        """Learnt methods beside trivial predictors, as far as they are scored by angular distance."""
        from leaderboard.records import read_record, read_samples, samples_path

        learnt: dict[str, list[pd.DataFrame]] = {}
        trivial: dict[str, list[pd.DataFrame]] = {}
        suites: dict[str, None] = {}
        for score in scores:
            record = read_record(self.result(score))
            samples = read_samples(samples_path(self.result(score)), record)
            if score.method is None or DISTANCE not in samples:
                continue
            wanted = self.plan.config.suites or tuple(group.suite for group in record.suites)
            suites.update(dict.fromkeys((record.ranking_suite, *wanted)))
            if is_learnt(self.plan.kind(score.method)):
                learnt.setdefault(score.method.label, []).append(samples)
            elif score.method.name in TRIVIAL:
                trivial.setdefault(score.method.label, []).append(samples)
        return compare(learnt, trivial, list(suites), n_resamples=self.plan.config.resamples)


def _made(config: BenchmarkConfig, root: Path, given: dict[str, Path], name: str) -> Made:
    """Do a step's work in a process of its own."""
    plan = Plan(config, Ledger(root), given)
    step = next(step for step in plan.steps if step.name == name)
    return Bench(plan, root).make(step)


def _method(step: Step) -> Any:  # noqa: ANN401 - MethodConfig; steps of a row have one
    return step.method


def _row(step: Step) -> str:
    return row_name(step.method, step.seed) if step.method else HUMAN


def _release() -> None:
    """Give back what a step held on a GPU before the next one starts."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
