"""The front door: one program whose sub-commands the wings define.

:data:`COMMANDS` is the whole map. A command's module is imported when the command is used, never before, so that
``srgaze360 --help`` answers at once; modules named ``commands`` hold thin functions and import what is heavy inside them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from srgaze360 import __version__
from srgaze360.errors import SRGaze360Error


class Command(NamedTuple):
    """A sub-command: where its function or typer application lives, and its line in ``--help``."""

    target: str
    help: str


COMMANDS: dict[str, Command] = {
    "demo": Command("srgaze360.cli.demo:demo", "The whole journey on embedded data: build, predict, score, rank."),
    "sources": Command("builders.commands:sources", "List and check source datasets; make procedural pictures."),
    "recipes": Command("builders.commands:recipes", "List and show dataset recipes."),
    "build": Command("builders.commands:build", "Build a dataset from a recipe and sources; the same command resumes."),
    "merge": Command("builders.commands:merge", "Join the shards of a build made apart."),
    "verify": Command("builders.commands:verify", "Check a built dataset level by level, and repair it."),
    "diff": Command("builders.publish_commands:diff", "Say where two built datasets differ: recipe, labels, pixels."),
    "export": Command("builders.publish_commands:export", "Write a dataset in another format: COCO, WebDataset, cubemap ..."),
    "preview": Command("builders.commands:preview", "Draw a contact sheet: panorama, head, gaze, viewport."),
    "annotate": Command(
        "annotation.commands:annotate", "Check labels, review them in the browser, take them to other tools and back."
    ),
    "models": Command("baselines.commands:models", "List the predictors there are."),
    "train": Command("baselines.commands:train", "Train a predictor on a train split."),
    "predict": Command("leaderboard.commands:predict", "Run a predictor on a split and write its predictions."),
    "submission": Command("leaderboard.submission_commands:submission", "Check and pack predictions files."),
    "score": Command("leaderboard.commands:score", "Score predictions under a metric protocol."),
    "compare": Command("leaderboard.commands:compare", "Compare scores on the same people: paired tests, per condition."),
    "board": Command("leaderboard.board_commands:board", "Collect scores and build the leaderboard's tables and page."),
    "split": Command("srgaze360.cli.split:split", "Keep the labels of a split to yourself."),
    "benchmark": Command(
        "srgaze360.cli.benchmark.commands:benchmark", "Build, train, predict, score and rank, all from one file."
    ),
    "reproduce": Command("srgaze360.cli.reproduce:reproduce", "Recompute published numbers from the real labels."),
    "doctor": Command("srgaze360.cli.doctor:doctor", "Versions, sampler self-test, disk, GPU."),
}


class FrontDoor(TyperGroup):
    """A command group that imports a sub-command only when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's signature
        """Names of all sub-commands, in the order of a journey."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - typer's signature
        """A stand-in that knows the help line and nothing else: enough to list and to suggest."""
        if cmd_name not in COMMANDS:
            return None
        stand_in = typer.Typer(add_completion=False)
        stand_in.command(name=cmd_name, help=COMMANDS[cmd_name].help)(lambda: None)
        return get_command(stand_in)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's signature
        """The sub-command that is about to run, imported now."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:  # noqa: ANN401 - a click command of typer's own
    """Import a sub-command: a typer application, or a function that becomes one."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        single.command(name=name)(found)
        found = single
    return get_command(found)


app = typer.Typer(
    cls=FrontDoor,
    name="srgaze360",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Gaze following in 360-degree images: build the dataset, run the baselines, score and rank them.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"srgaze360 {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.", envvar="SRGAZE360_DEBUG"),
    version: bool = typer.Option(
        False, "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Gaze following in 360-degree images: build the dataset, run the baselines, score and rank them."""
    del version
    if debug:
        os.environ["SRGAZE360_DEBUG"] = "1"


def main() -> None:
    """Run the program; errors of ours become one paragraph and an exit code."""
    try:
        app()
    except SRGaze360Error as error:
        if os.environ.get("SRGAZE360_DEBUG"):
            raise
        from srgaze360.console import ERR

        ERR.print("error:", str(error), markup=False)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
