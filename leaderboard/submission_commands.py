"""The command `submission`. Thin: what is heavy is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.commands import Labels, Split, Suite

if TYPE_CHECKING:
    from leaderboard.submissions import CheckReport

submission = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode="markdown", help="Check and pack predictions files."
)


@submission.callback()
def _submission() -> None:
    """Check and pack predictions files."""


@submission.command("check")
def check(
    file: Annotated[
        Path, typer.Argument(help="Predictions file (Parquet, CSV, JSON lines), or a folder or zip that holds one.")
    ],
    data: Labels,
    split: Split = "test",
    suite: Suite = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")] = False,
) -> None:
    """List everything that is wrong with a predictions file: exit code 0 without fault, 1 with faults, 2 unreadable.

    Example: `srgaze360 submission check predictions.parquet --data mydata --split test`
    """
    from leaderboard.people import open_labels
    from leaderboard.submissions import check_file
    from srgaze360.console import print_json

    report = check_file(file, open_labels(data, split), split, suite)
    if json:
        print_json({**report.model_dump(mode="json"), "valid": report.valid})
    else:
        _show_check(report)
    if not report.valid:
        raise typer.Exit(1)


@submission.command("pack")
def pack(
    points: Annotated[
        Path,
        typer.Argument(
            help="CSV or JSON lines: sample_id, gaze_lon_deg, gaze_lat_deg (in photos: gaze_x, gaze_y), and in_frame_score if "
            "you have it."
        ),
    ],
    data: Labels,
    name: Annotated[str, typer.Option("--name", help="Name of the model, as the board is to show it.")],
    out: Annotated[Path, typer.Option("--out", help="Predictions file to write (.parquet).")],
    split: Split = "test",
    heatmaps: Annotated[
        Path | None, typer.Option("--heatmaps", help="Array (n, H, W) in .npy, row i for row i of the points.")
    ] = None,
    summary: Annotated[str, typer.Option("--summary", help="One line about the model.")] = "",
    source: Annotated[str, typer.Option("--source", help="Paper or repository it comes from.")] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Seed it was trained from.", show_default="none")] = None,
    training_data: Annotated[
        list[str], typer.Option("--training-data", help="A dataset it was trained on; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    reads: Annotated[
        list[str], typer.Option("--reads", help="A column of the annotations it reads beside the head; may be repeated.")
    ] = [],  # noqa: B006
    notes: Annotated[str, typer.Option("--notes", help="Anything else the board should say of it.")] = "",
) -> None:
    """Make a submission from a table of points, if nothing is wrong with it: exit code 1 and no file where there are faults.

    Example: `srgaze360 submission pack points.csv --data mydata --name mymodel --out predictions.parquet`
    """
    from pydantic import ValidationError

    from leaderboard.packing import pack as pack_file
    from leaderboard.people import open_labels
    from srgaze360.dataset import explain
    from srgaze360.errors import InputError
    from srgaze360.predictions import PredictorCard

    try:
        card = PredictorCard(
            name=name, summary=summary, source=source, seed=seed, training_data=training_data, reads=reads, notes=notes
        )
    except ValidationError as error:
        raise InputError(f"Expected a card of the model from these options, found: {explain(error)}. Change that.") from None
    report = pack_file(points, open_labels(data, split), split, card, out, heatmaps=heatmaps)
    _show_check(report)
    if not report.valid:
        raise typer.Exit(1)


def _show_check(report: CheckReport) -> None:
    from rich.markup import escape

    from srgaze360.console import OUT

    suite = f", suite {report.suite}" if report.suite else ""
    where = f"{report.dataset.name} {report.dataset.version}, split {report.split}{suite}"
    verdict = "[green]no faults[/]" if report.valid else f"[red]{len(report.faults)} kinds of fault[/]"
    OUT.print(f"{escape(report.file)}: {report.rows} rows for {report.expected_people} people of {escape(where)}: {verdict}")
    for fault in report.faults:
        OUT.print(f"  [red]•[/] {escape(str(fault))}")
    for note in report.notes:
        OUT.print(f"  [yellow]•[/] {escape(note)}")
