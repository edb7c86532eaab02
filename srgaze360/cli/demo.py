"""``srgaze360 demo``: the whole journey on embedded data, through the same functions as the commands it names.

Photos and panoramas of procedural scenes are rendered, put on spheres, and travel on as real data would: priors are fitted and
small networks trained on the train split, every predictor is run on the test split, scored, and ranked on a board. The closing
table compares the learnt methods with the trivial ones, person by person.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srgaze360.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from leaderboard.records import ScoreRecord
    from srgaze360.cli.jobs import Outcome

MARKER = ".srgaze360-demo"
SEED = 360
WIDTH = 1024  # of rendered panoramas: that of the demo's recipe
PANORAMAS = 0.1  # rendered panoramas per photo
STEPS = 120  # of each network: enough to beat what does not look, far from what it could reach
LOOKS = 4  # at val
# multiples of the steps, by what a step costs; what takes longest is begun first
LEARNT = {"mmrgaze360": 2 / 3, "dualpath2021": 1.0, "direction": 4.5}
TRAINED = (*LEARNT, "head-prior", "latitude-prior")
UNTRAINED = ("random", "centre", "region-chance")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes; an earlier demo there is replaced.")] = Path(
        "demo-out"
    ),
    photos: Annotated[
        int, typer.Option(min=20, max=5000, help="Procedural photos, train and test; a tenth as many panoramas.")
    ] = 300,
    steps: Annotated[
        int,
        typer.Option(
            min=1, help="Training steps of the small networks; 4.5 times as many for direction, two thirds for mmrgaze360."
        ),
    ] = STEPS,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Worker processes; networks trained at a time.", show_default="the cores of this machine"),
    ] = (os.cpu_count() or 1),
) -> None:
    """Go the whole way on embedded data: photos, dataset, predictors, scores, board, pictures. Minutes, no download."""
    from srgaze360.console import say

    _clear(out)
    started = time.monotonic()
    _make_sources(out, photos, workers)
    _build(out, workers)
    _train(out, steps, workers)
    records = _compare(out)
    _show(out)
    _close(out, records)
    for line in _summary(out, records, time.monotonic() - started):
        say(line)


def _clear(out: Path) -> None:
    """Remove an earlier demo from ``out``; refuse to touch anything else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"Expected a folder for the demo, found a file at {out}. Give another --out.")
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise InputError(
                f"Expected --out {out} to be new, empty, or an earlier demo, found other files. Give another folder."
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


@contextmanager
def _step(command: str, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Announce the command a user would type for this step, and show its progress."""
    from rich.markup import escape

    from srgaze360.console import progress, say

    say(f"[bold]$ srgaze360 {escape(command)}[/bold]")
    with progress(f"  {label}", total) as advance:
        yield advance


def _make_sources(out: Path, photos: int, workers: int) -> None:
    from builders.procedural import write_gazefollow_folder
    from builders.procedural.rooms import BACKGROUNDS, write_background_panoramas
    from srgaze360.console import progress

    panoramas = max(1, int(photos * PANORAMAS))
    numbers = f"--photos {photos} --panoramas {panoramas} --width {WIDTH} --seed {SEED}"
    command = f"sources procedural --out {out / 'photos'} {numbers}"
    with _step(command, "rendering photos and panoramas", photos + panoramas) as advance:
        write_gazefollow_folder(
            out / "photos", photos, SEED, panoramas=panoramas, width=WIDTH, workers=workers, progress=advance
        )
    with progress("  rendering empty rooms", BACKGROUNDS) as advance:
        write_background_panoramas(out / "panoramas", BACKGROUNDS, SEED, workers=workers, progress=advance)


def _build(out: Path, workers: int) -> None:
    from builders.building.pipeline import build, plan_build
    from builders.commands import open_sources
    from builders.recipe import load_recipe

    recipe = load_recipe("demo")
    pairs = [f"procedural={out / 'photos'}", f"panoramas={out / 'panoramas'}"]
    gaze, background = open_sources(pairs, recipe.sources)
    plan = plan_build(recipe, gaze, background)
    command = f"build demo --source {pairs[0]} --source {pairs[1]} --out {out / 'dataset'}"
    with _step(command, "building", len(plan.tasks)) as advance:
        build(plan, recipe, gaze, background, out / "dataset", workers=workers, advance=advance)


def _train(out: Path, steps: int, workers: int) -> None:
    """Train what learns, side by side, each with its share of the cores."""
    from rich.markup import escape

    from srgaze360.cli.jobs import Job, side_by_side
    from srgaze360.console import progress, say

    def announce(command: str) -> None:
        say(f"[bold]$ srgaze360 {escape(command)}[/bold]")

    failed: dict[str, str] = {}
    jobs: list[Job[None]] = []
    with progress("  training", len(TRAINED)) as advance:

        def end(name: str, outcome: Outcome[None]) -> None:
            if outcome.error:
                failed[name] = outcome.error
            say(f"  {name}: {'failed' if outcome.error else 'trained'} in {outcome.seconds:.0f} s")
            advance(1)

        for name in TRAINED:
            count = math.ceil(steps * LEARNT.get(name, 0.0))
            settings = {"train": {"steps": count, "validations": LOOKS}} if count else {}
            options = f" --cache {out / 'cache'} --set train.steps={count} --set train.validations={LOOKS}" if count else ""
            command = f"train {name} --data {out / 'dataset'} --out {out / 'runs' / name} --seed {SEED}{options}"
            work = partial(_train_one, out, name, settings)
            jobs.append(Job(name, work, out / "logs" / f"{name}.log", partial(announce, command), partial(end, name)))
        side_by_side(jobs, workers)
    if failed:
        listed = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise CheckFailed(
            f"Expected {len(TRAINED)} predictors to be trained, {len(failed)} failed: {listed} What they said is in "
            f"{out / 'logs'}; run the demo again with --workers 1 to train one after the other."
        )


def _train_one(out: Path, name: str, settings: dict[str, Any]) -> None:
    from baselines.training.runs import train_predictor
    from srgaze360.dataset import Dataset

    train_predictor(name, Dataset.open(out / "dataset"), out / "runs" / name, seed=SEED, settings=settings, cache=out / "cache")


def _compare(out: Path) -> list[ScoreRecord]:
    """Predict, score and collect every predictor of the demo, and the annotators themselves."""
    from leaderboard.board import add_record, build_board
    from leaderboard.predicting import predict_split
    from leaderboard.scoring import score_file
    from srgaze360.dataset import Dataset

    data = Dataset.open(out / "dataset")
    people = len(data.select(split="test"))
    models = {name: str(out / "runs" / name) for name in TRAINED} | {name: name for name in UNTRAINED}
    cache = out / "cache"
    records = []
    for name in (*models, "human"):
        result = out / "results" / f"{name}.json"
        file = out / "predictions" / f"{name}.parquet"
        if name in models:
            with _step(f"predict {models[name]} --data {out / 'dataset'} --out {file}", "predicting", people) as advance:
                predict_split(models[name], data, "test", file, seed=SEED, cache=cache, advance=advance)
        with _step(
            f"score {file if name in models else name} --data {out / 'dataset'} --out {result}", "scoring", people
        ) as advance:
            records.append(score_file(file if name in models else name, data, "test", result, seed=SEED, advance=advance))
        add_record(result, out / "records", tier="re-run")
    with _step(f"board build --board {out / 'records'} --out {out / 'board'}", "drawing the board", 1) as advance:
        build_board(out / "records", out / "board")
        advance(1)
    return records


def _show(out: Path) -> None:
    from builders.report.preview import preview
    from srgaze360.dataset import Dataset

    with _step(f"preview {out / 'dataset'} --out {out / 'preview.png'}", "drawing the contact sheet", 1) as advance:
        preview(Dataset.open(out / "dataset").select(split="test"), out / "preview.png", count=10, seed=SEED)
        advance(1)


def _close(out: Path, records: list[ScoreRecord]) -> None:
    """Learnt methods beside trivial predictors, on the ranking suite: paired differences over the demo's own test people."""
    from leaderboard.records import read_samples, samples_path
    from srgaze360.cli.benchmark.report import TRIVIAL, compare, table
    from srgaze360.console import ERR

    samples = {
        record.predictor.name: [read_samples(samples_path(out / "results" / f"{record.predictor.name}.json"), record)]
        for record in records
    }
    suite = records[0].ranking_suite
    pairs = compare({name: samples[name] for name in LEARNT}, {name: samples[name] for name in TRIVIAL}, [suite], seed=SEED)
    ERR.print(f"\nLearnt methods beside trivial ones, suite {suite}: angular distance, paired difference, its 95 % interval")
    ERR.print(table(pairs), soft_wrap=False)


def _summary(out: Path, records: list[ScoreRecord], seconds: float) -> Iterator[str]:
    """What was made, where, what to look at, and what it means."""
    from srgaze360.dataset import read_info

    info = read_info(out / "dataset")
    panoramas = sum(split.panoramas for split in info.splits.values())
    people = sum(split.people for split in info.splits.values())
    yield ""
    yield f"[bold green]Done in {seconds:.0f} s.[/bold green] Nothing was downloaded; every number above was computed here."
    yield f"  {panoramas} panoramas with {people} labelled people, in {len(info.suites)} suites"
    yield f"  {len(records)} rows on the board: {', '.join(record.predictor.name for record in records)}"
    yield "Look at:"
    yield f"  {out / 'board' / 'index.html'}   the leaderboard, in a browser"
    yield f"  {out / 'preview.png'}   what a sample looks like in each condition"
    yield f"  {out / 'board' / 'plots'}   error by condition, by latitude, and its distribution"
    yield f"  {out / 'dataset' / 'README.md'}   the card of the dataset"
    yield "The networks are tiny and trained for minutes, on drawings: they show that the way works, and rank nobody."
