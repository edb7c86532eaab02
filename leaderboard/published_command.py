"""The command `board published`. Thin: what is heavy is imported inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from leaderboard.published import PublishedTable


def published_numbers(
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Those of one metric protocol alone.", show_default="all")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a list of rows, each complete by itself, as JSON.")] = False,
) -> None:
    """Show the published numbers that ship with the project, with sources and definitions; nobody re-ran them here.

    Boards of the same protocol, dataset and split have them in a section of its own.

    Example: `srgaze360 board published --protocol gazefollow`
    """
    from leaderboard.published import published_tables
    from srgaze360.console import print_json

    tables = published_tables(protocol)
    if json:
        print_json([record for table in tables for record in table.records()])
        return
    for table in tables:
        _print(table)


def _print(table: PublishedTable) -> None:
    """Print a table section by section: what the columns are, then the rows, then what is doubtful about them."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from leaderboard.published import STATUS
    from leaderboard.tables import BLANK
    from srgaze360.console import OUT

    def told(lines: list[str]) -> None:
        if lines:
            OUT.print(Padding(Text("\n".join(lines), style="dim"), (0, 0, 0, 2)), soft_wrap=False)

    OUT.print(Text(f"{table.title}, {table.split} split, protocol {table.protocol}: {STATUS}", style="bold"), soft_wrap=False)
    for _, definition, rows in table.sections:
        OUT.print()
        OUT.print(Text(definition.title, style="bold"), soft_wrap=False)
        told([f"{title}: {text}." for title, text in table.defined(definition)])
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        shown.add_column("Method", overflow="fold", min_width=20)
        columns = [name for name in table.columns if any(name in row.printed for row in rows)]
        for name in columns:
            shown.add_column(Text(table.columns[name].heading), justify="right", no_wrap=True)
        shown.add_column("Source", overflow="fold")
        for row in rows:
            source = f"{table.sources[row.source]} [{table.marks[row.reading]}]"
            shown.add_row(Text(row.method), *(row.printed.get(name, BLANK) for name in columns), Text(source))
        OUT.print(shown, soft_wrap=False)
        told([f"{row.method}: {row.note}." for row in rows if row.note])
    OUT.print()
    told([f"[{number}] read in {table.readings[key]}" for key, number in table.marks.items()])
    OUT.print()
