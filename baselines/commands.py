"""The commands `srgaze360 models` and `srgaze360 train`. Thin: what is heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def models(
    name: Annotated[str | None, typer.Argument(help="One predictor, to read its whole card.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """List the predictors there are: what they do, what they look at, how large they are, whether they must be trained.

    Example: `srgaze360 models mmrgaze360`
    """
    from baselines.cards import card, print_card, print_list
    from srgaze360.console import print_json
    from srgaze360.predictors import PREDICTORS

    cards = [card(one) for one in ([name] if name else PREDICTORS.names())]
    if json:
        print_json(cards)
    elif name:
        print_card(cards[0])
    else:
        print_list(cards)


def train(
    model: Annotated[str, typer.Argument(help="Name of a predictor that is trained; `srgaze360 models` lists them.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of a built dataset.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the run to; new or empty.")],
    split: Annotated[str, typer.Option("--split", help="Split to train on; test is refused.")] = "train",
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="Train on some people alone: suite, condition, head_latitude=0-30 ...; repeat a name for another value.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of whatever is random in training.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change a setting, e.g. size=base, train.steps=500, model.reborn=off."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:1; auto is a GPU where there is one.")
    ] = "auto",
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for prepared panoramas, which several runs can share; else in OUT.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")] = False,
) -> None:
    """Train a predictor on a train split and write the run, which `srgaze360 predict` takes instead of a name.

    What is chosen while training is chosen on val, never on test. The same command goes on where a training was stopped.
    With --where, val is restricted alike; boards show methods that were trained on several bands as train band x test band.

    Example: `srgaze360 train mmrgaze360 --data mydata --out run --set size=base --set train.steps=20000`
    """
    from rich.markup import escape

    from baselines.training.runs import train_predictor
    from srgaze360.console import say
    from srgaze360.dataset import Dataset
    from srgaze360.groups import describe, parse_where
    from srgaze360.settings import nested

    wanted, only = nested(settings or [], "train.steps=500"), parse_where(where or [])
    record = train_predictor(
        model, Dataset.open(data), out, seed, split, where=only, settings=wanted, device=device, cache=cache,
        overwrite=overwrite,
    )  # fmt: skip
    trained_on = f"{record.people} people of {record.dataset.name} {record.dataset.version}, split {record.split}"
    trained_on += f", where {describe(record.where)}" if record.where else ""
    say(escape(f"Trained {model} on {trained_on}. Next: srgaze360 predict {out} --data DIR --split test --out FILE"))
