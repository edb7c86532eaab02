"""The command `srgaze360 benchmark`. Thin: what is heavy is imported inside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from srgaze360.cli.benchmark.plan import Plan, Step
    from srgaze360.cli.benchmark.steps import Bench

CORES = os.cpu_count() or 1
COLOURS = {"done": "[green]", "to do": "[yellow]", "waits": "[dim]", "no number": "[dim]"}


def benchmark(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="Shipped benchmark (procedural, srgaze360-1.0, gazefollow360), or a YAML file."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark; the same one again goes on.", show_default="benchmark-CONFIG")
    ] = None,
    source: Annotated[
        list[str], typer.Option("--source", metavar="KIND=DIR", help="A source and its folder; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    settings: Annotated[
        list[str], typer.Option("--set", metavar="a.b=c", help="Change the configuration; may be repeated.")
    ] = [],  # noqa: B006
    only: Annotated[
        list[str], typer.Option("--only", metavar="METHOD", help="Train, predict and score this row alone; may be repeated.")
    ] = [],  # noqa: B006
    stop_after: Annotated[str, typer.Option(help="Last stage to do: build, tune, train, predict, score or board.")] = "board",
    workers: Annotated[int, typer.Option(min=1, help="Worker processes of the build.", show_default="the cores")] = CORES,
    jobs: Annotated[
        int, typer.Option(min=1, help="Methods trained, predicted and scored side by side, each with its share of the cores.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the steps and what is done, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Build, train, predict, score and rank, all from one file. The same command again does what is left.

    Exit code 1 if a method failed.

    Example: srgaze360 benchmark srgaze360-1.0 --source gazefollow=/data/gazefollow_extended --out bench
    """
    from builders.commands import source_roots
    from srgaze360.cli.benchmark.config import check_names, load_config
    from srgaze360.cli.benchmark.plan import STAGES, Plan
    from srgaze360.cli.benchmark.state import Ledger, check_folder, locked
    from srgaze360.cli.benchmark.steps import Bench
    from srgaze360.errors import CheckFailed, InputError, suggestion

    if stop_after not in STAGES:
        raise InputError(f"Unknown --stop-after {stop_after!r}. {suggestion(stop_after, STAGES)}")
    loaded = load_config(config, settings)
    check_names(loaded)
    folder = (out or Path(f"benchmark-{loaded.name}")).absolute()
    check_folder(folder)
    given = source_roots(source)
    if dry_run:
        plan = Plan(loaded, Ledger(folder), given)
        _show_plan(plan, plan.chosen(only, STAGES[STAGES.index(stop_after)]), json)
        return
    chosen = Plan(loaded, Ledger(folder), given).chosen(only, STAGES[STAGES.index(stop_after)])
    with locked(folder):
        plan = Plan(loaded, Ledger(folder), given)
        plan.sources()  # a folder that was not given is an error now, not later
        plan.ledger.declare(loaded.model_dump(mode="json"), loaded.budget.count)
        bench = Bench(plan, folder, workers, jobs)
        bench.run(chosen)
        _show_results(bench, chosen, json)
    if bench.failures:
        listed = "; ".join(f"{name}: {error}" for name, error in bench.failures.items())
        raise CheckFailed(
            f"{len(bench.failures)} of {len(chosen)} steps failed, the others are done: {listed} Mend that and run the same "
            "command again: it does what is left."
        )


def _rows(plan: Plan, steps: list[Step]) -> list[dict[str, Any]]:
    """Each step, where it stands, and what the record knows of it."""
    found = []
    for step in steps:
        status, known = plan.status(step), plan.ledger.step(step.name)
        done = known if known and status.state == "done" else None
        found.append(
            {
                "step": step.name,
                "state": status.state,
                "why": status.why,
                "seconds": done.seconds if done else None,
                "facts": done.facts if done else {},
            }
        )
    return found


def _show_plan(plan: Plan, steps: list[Step], json: bool) -> None:
    from rich.markup import escape

    from srgaze360.console import OUT, print_json

    rows = _rows(plan, steps)
    if json:
        print_json({"steps": rows, "without_number": plan.without, "test_looks": plan.ledger.record.looks()})
        return
    for row in rows:
        took = "" if row["seconds"] is None else f"  [dim]{row['seconds']:.1f} s[/dim]"
        why = f"  {escape(row['why'])}" if row["why"] else ""
        OUT.print(f"{COLOURS[row['state']]}{row['state']:<9}[/] {escape(row['step'])}{took}{why}")
    for label, what in plan.without.items():
        OUT.print(f"no number {escape(label)}  needs {escape(what)}")


def _show_results(bench: Bench, steps: list[Step], json: bool) -> None:
    from rich.markup import escape

    from srgaze360.cli.benchmark.report import table
    from srgaze360.cli.benchmark.state import RECORD_FILE
    from srgaze360.console import OUT, print_json, say

    plan, looks, comparisons = bench.plan, bench.plan.ledger.record.looks(), bench.comparisons()
    made = [step.protocol for step in steps if step.stage == "board" and plan.status(step).state == "done"]
    boards = {protocol: str(bench.board(protocol) / "index.html") for protocol in made}
    if json:
        found = {"out": str(bench.root), "steps": _rows(plan, steps), "failures": bench.failures}
        compared = [{**item._asdict(), "verdict": item.verdict} for item in comparisons]
        print_json({**found, "without_number": plan.without, "boards": boards, "comparison": compared, "test_looks": looks})
        return
    if made and comparisons:
        OUT.print(table([item for item in comparisons if item.suite == comparisons[0].suite]), soft_wrap=False)
    for label, what in plan.without.items():
        say(escape(f"{label}: no number, it needs {what}"))
    seen = f"the test split was looked at {sum(looks.values())} times"
    say(escape(f"{bench.root / RECORD_FILE} has every step, its wall time, and that {seen}."))
    for protocol, page in boards.items():
        say(escape(f"Board, protocol {protocol}: {page}"))
