"""The command `split`. Thin: what is heavy is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

split = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode="markdown", help="Keep the labels of a split to yourself."
)


@split.callback()
def _split() -> None:
    """Keep the labels of a split to yourself."""


@split.command("seal")
def seal(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset; it is not changed.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the dataset without these labels: give this one away.")],
    labels: Annotated[Path, typer.Option("--labels", help="New file (.parquet) for the labels: keep this one.")],
    split: Annotated[str, typer.Option("--split", help="Split whose labels are sealed.")] = "test",
) -> None:
    """Write a copy of a dataset without the labels of a split, and the labels apart.

    Predictions on the copy are scored with `srgaze360 score FILE --sealed LABELS`, by whoever keeps the labels. A split made
    from public sources is no secret: anybody who has the sources can make it again.

    Example: `srgaze360 split seal mydata --split test --out public --labels test-labels.parquet`
    """
    from rich.markup import escape

    from leaderboard.sealing import seal as seal_split
    from srgaze360.console import say
    from srgaze360.croissant import write_croissant
    from srgaze360.dataset import Dataset

    info = seal_split(Dataset.open(data), split, out, labels, write_croissant)
    people = info.splits[split].people
    say(escape(f"{out}: {info.name} {info.version}, without the labels of {people} people. Give it away."))
    say(escape(f"{labels}: those labels. Keep them; score with `srgaze360 score FILE --sealed {labels} --out RESULT.json`."))
