"""The command `board`: collecting scores, building pages, panels, published numbers. Thin: what is heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leaderboard.commands import Data, Split
from leaderboard.published_command import published_numbers

if TYPE_CHECKING:
    from leaderboard.tables import BoardTables

board = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Collect scores and build the leaderboard's tables and page.",
)

board.command("published")(published_numbers)


@board.callback()
def _board() -> None:
    """Collect scores and build the leaderboard's tables and page."""


@board.command("add")
def add(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json...", help="Records of `srgaze360 score`.")],
    board_dir: Annotated[Path, typer.Option("--board", help="Folder of the board; made where absent.")],
    tier: Annotated[
        str, typer.Option("--tier", help="How far you vouch for it: self-reported, re-scored or re-run.")
    ] = "self-reported",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an earlier result of the same predictor and seed.")
    ] = False,
) -> None:
    """Put score records on a board; those that must not stand beside the others are refused with the reasons.

    Results of one predictor with different training seeds stand together, as one row. --tier says what you, who keep the
    board, did: took the record as it came, scored the predictions, or ran the method.

    Example: `srgaze360 board add random.json head-prior.json human.json --board board`
    """
    from rich.markup import escape

    from leaderboard.board import add_record
    from leaderboard.records import TIERS
    from srgaze360.console import say
    from srgaze360.errors import InputError, suggestion

    vouched = next((known for known in TIERS if known == tier), None)
    if vouched is None:
        raise InputError(f"Unknown --tier {tier!r}. {suggestion(tier, TIERS)}")
    for result in results:
        done = add_record(result, board_dir, tier=vouched, replace=replace)
        what = "is there already" if done.already_there else f"added as {done.path.name}"
        old = f", replacing {', '.join(path.name for path in done.replaced)}" if done.replaced else ""
        say(escape(f"{result}: {what}{old}"))
    say(escape(f"Next: srgaze360 board build --board {board_dir} --out PAGES"))


@board.command("build")
def build(
    board_dirs: Annotated[
        list[Path],
        typer.Option("--board", help="Folder of the board; boards of other protocols may be given beside it, one each."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the page, tables and plots to.")],
    json: Annotated[bool, typer.Option("--json", help="Print the ranking and the files as JSON on standard output.")] = False,
) -> None:
    """Make a page, tables (Markdown, LaTeX, CSV, JSON) and plots from a board's records.

    Of several boards, each has a folder named after its protocol in --out, and their pages lead to each other.

    Example: `srgaze360 board build --board board --out pages`
    """
    from rich.markup import escape

    from leaderboard.board import build_boards
    from srgaze360.console import print_json, say

    found = build_boards(board_dirs, out)
    if json:
        told = [{"ranking": _ranking(one.tables), "files": [str(file) for file in one.files]} for one in found]
        print_json(told[0] if len(told) == 1 else told)
    else:
        for one in found:
            _print_ranking(one.tables)
    for one in found:
        say(escape(f"Written: {one.files[0]} and {len(one.files) - 1} more files in {one.files[0].parent}"))


@board.command("panels")
def panels(
    files: Annotated[
        list[Path], typer.Argument(metavar="PREDICTIONS...", help="Predictions files; the first decides who is best and worst.")
    ],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder to write panels.png, panels.svg and panels.csv to.")],
    split: Split = "test",
    suite: Annotated[
        str | None, typer.Option("--suite", help="Suite of the people.", show_default="the one that ranks")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Metric of the spherical protocol that orders people.")
    ] = "angular_distance_deg",
    random: Annotated[int, typer.Option("--random", help="People drawn at random.", min=0, max=9)] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed they are drawn from.")] = 0,
    heatmap: Annotated[bool, typer.Option("--heatmap", help="Lay the first file's heatmaps over the pictures.")] = False,
) -> None:
    """Draw what methods answered for the best, median and worst person, and at random: panorama, arcs, view of the target.

    Example: `srgaze360 board panels ours.parquet theirs.parquet --data mydata --out panels`
    """
    from rich.markup import escape

    from leaderboard.panels import draw_panels
    from srgaze360.console import say
    from srgaze360.dataset import Dataset

    written = draw_panels(files, Dataset.open(data), split, out, suite=suite, by=by, random=random, seed=seed, heatmap=heatmap)
    say(escape(f"Written: {', '.join(str(file) for file in written)}"))


def _ranking(tables: BoardTables) -> list[dict[str, Any]]:
    first = tables.tables[0]
    return [
        {
            "rank": int(line.rank) if line.rank else None,
            "predictor": line.label,
            **line.cells[0].group.metrics[line.cells[0].metric].model_dump(),
        }
        for line in first.lines
    ]


def _print_ranking(tables: BoardTables) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from leaderboard.tables import BLANK, FIRST_MARK, READS_MARK, UNIT_SIGNS
    from srgaze360.console import OUT

    protocol = tables.protocol
    facts = tables.facts
    title = f"{facts['Dataset']}, {facts['Split']}, suite {facts['Ranking suite']}, {facts['Protocol']}"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    error = f"{protocol.error} {UNIT_SIGNS.get(protocol.metrics[protocol.primary].unit, '')}".strip()
    for head in ("#", "predictor", error, "95 %", "people / clusters"):
        table.add_column(head, justify="left" if head == "predictor" else "right")
    for line in tables.tables[0].lines:
        cell = line.cells[0]
        interval = " to ".join(cell.interval) if cell.interval else ""
        name = Text(line.label + (f" {READS_MARK}" if line.reads else ""), style="italic" if line.human else "")
        value = (cell.value or BLANK) + (FIRST_MARK if cell.first else "") + (f" ± {cell.spread}" if cell.spread else "")
        table.add_row(line.rank or BLANK, name, value, interval, f"{line.people} / {line.clusters}")
    for notice in tables.notices:
        table.add_row(BLANK, Text(notice.name), Text(notice.reason), "", "")
    OUT.print(table, soft_wrap=False)
