"""The command `annotate`. Thin: what is heavy is imported inside its commands."""

from __future__ import annotations

import typer

from annotation.interchange.commands import export, import_

annotate = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Validate labels, and take them to other annotation tools and back.",
)


@annotate.callback()
def _annotate() -> None:
    """Validate labels, and take them to other annotation tools and back."""


annotate.command("export")(export)
annotate.command("import")(import_)
