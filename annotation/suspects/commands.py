"""The command `annotate suspects`. Thin: what is heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def suspects(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset.", show_default=False)],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[B ...]", help="More predictions files.", show_default=False)
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", metavar="A", help="Predictions file of a model; may be repeated.", show_default=False),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="One split of the dataset.", show_default="all")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="One suite of it.", show_default="all")] = None,
    top: Annotated[int, typer.Option("--top", help="Labels shown.", min=1)] = 20,
    below: Annotated[float, typer.Option("--below", help="Labels of less quality are suspects.", min=0.0, max=1.0)] = 0.05,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every label to this file.", show_default="none")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for suspects.csv, plots and pictures.", show_default="none")
    ] = None,
    trial: Annotated[
        float | None,
        typer.Option(
            "--trial",
            help="Plant errors in this share of labels, in memory, and count those found.",
            min=0.0,
            max=0.5,
            show_default="none",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of --trial.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Rank the labels most likely wrong, by several models, annotators and lint. Exit code 1 if there are suspects.

    Example: `srgaze360 annotate suspects mydata --predictions a.parquet b.parquet --split test --csv suspects.csv`
    """
    from annotation.suspects.report import lines, trial_lines
    from annotation.suspects.run import find_suspects, try_out
    from srgaze360.console import OUT, print_json, say
    from srgaze360.dataset import Dataset
    from srgaze360.errors import CheckFailed, InputError
    from srgaze360.files import write_text

    files = [*(predictions or []), *(more or [])]
    if not predictions:
        raise InputError(
            "Expected predictions files after --predictions, found none. `srgaze360 predict MODEL --data DIR --out FILE` "
            "writes one; labels without models are judged by `annotate lint` and `annotate agree`."
        )
    found = find_suspects(Dataset.open(folder), files, split=split, suite=suite, below=below)
    if trial is not None:
        tried = try_out(found, trial, seed)
        if json:
            print_json(tried._asdict())
        else:
            for line in trial_lines(tried, below):
                OUT.print(line)
        return
    if json:
        print_json(found.to_dict())
    else:
        for line in lines(found, top):
            OUT.print(line)
    if csv is not None:
        write_text(csv, found.table().to_csv(index=False, lineterminator="\n"))
        say(f"Written: {csv}")
    if out is not None:
        from annotation.suspects.figures import write_suspects

        write_suspects(found, out)
        say(f"Written: {out}")
    if number := int(found.suspect.sum()):
        raise CheckFailed(
            f"{number} of {len(found.quality)} labels in {folder} have a quality below {below:g}. Look at them, worst first; "
            "docs/annotation/suspects.md says what the numbers mean."
        )
