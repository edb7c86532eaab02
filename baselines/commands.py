"""The commands `srgaze360 models` and `srgaze360 train`. Thin: what is heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

MAX_WIDTH = 100


def models(
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
) -> None:
    """List the predictors there are: what they do, what they read, whether they must be trained."""
    from srgaze360.console import OUT, print_json
    from srgaze360.predictors import PREDICTORS

    cards = [_card(name) for name in PREDICTORS.names()]
    if json:
        print_json(cards)
    else:
        OUT.print(_table(cards, min(OUT.width, MAX_WIDTH)), soft_wrap=False)


def train(
    model: Annotated[str, typer.Argument(help="Name of a predictor that is trained; `srgaze360 models` lists them.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of a built dataset.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the run to; new or empty.")],
    split: Annotated[str, typer.Option("--split", help="Split to train on; test is refused.")] = "train",
    seed: Annotated[int, typer.Option("--seed", help="Seed of whatever is random in training.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the run's folder.")] = False,
) -> None:
    """Train a predictor on a train split and write the run, which `srgaze360 predict` takes instead of a name."""
    from rich.markup import escape

    from baselines.training.runs import train_predictor
    from srgaze360.console import say
    from srgaze360.dataset import Dataset

    record = train_predictor(model, Dataset.open(data), out, seed, split, overwrite=overwrite)
    trained_on = f"{record.people} people of {record.dataset.name} {record.dataset.version}, split {record.split}"
    say(escape(f"Trained {model} on {trained_on}. Next: srgaze360 predict {out} --data DIR --split test --out FILE"))


def _card(name: str) -> dict[str, Any]:
    """What a registered predictor says of itself; ``error`` says why it cannot be used, or is None."""
    import inspect

    from srgaze360.predictors import PREDICTORS, Predictor

    card: dict[str, Any] = {"name": name, "trained": None, "reads": [], "source": "", "summary": "", "error": None}
    try:
        kind: Any = PREDICTORS.get(name)
        if not (isinstance(kind, type) and issubclass(kind, Predictor)) or inspect.isabstract(kind):
            card["error"] = f"{kind!r} is not a class derived from srgaze360.predictors.Predictor that defines predict."
        elif kind.name != name:
            card["error"] = f"It calls itself {kind.name!r}; make its name and its entry point agree."
        else:
            facts = {"trained": bool(kind.trained), "reads": [*kind.reads], "source": kind.source, "summary": kind.summary}
            card.update(facts)
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way, and must not hide the others
        card["error"] = f"{type(error).__name__}: {error}"
    return card


def _table(cards: list[dict[str, Any]], width: int) -> Any:  # noqa: ANN401 - a rich table; rich is imported late
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(width=width, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("predictor", no_wrap=True)
    table.add_column("trained", no_wrap=True)
    table.add_column("also reads", width=16, overflow="fold")
    table.add_column("what it does", ratio=4)
    table.add_column("source", ratio=3)
    for card in cards:
        if card["error"]:
            cells = ("broken", "", card["error"], "")
        else:
            cells = ("yes" if card["trained"] else "no", ", ".join(card["reads"]) or "-", card["summary"], card["source"])
        # text, not markup: a plug-in's own words may hold brackets
        table.add_row(*map(Text, (card["name"], *cells)), style="red" if card["error"] else None)
    return table
