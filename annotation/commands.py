"""The command `annotate`. Thin: what is heavy is imported inside its commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotation.interchange.commands import export, import_
from annotation.review.commands import result, serve
from annotation.suspects.commands import suspects

if TYPE_CHECKING:
    from collections.abc import Iterable

annotate = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Check labels, measure agreement, rank suspects, review in the browser, take labels to other tools and back.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="OPTION=VALUE", help="An option of --source; may be repeated.")]


@annotate.callback()
def _annotate() -> None:
    """Check labels, measure agreement, rank suspects, review in the browser, take labels to other tools and back."""


annotate.command("export")(export)
annotate.command("import")(import_)
annotate.command("serve")(serve)
annotate.command("result")(result)
annotate.command("suspects")(suspects)


@annotate.command("lint")
def lint(
    folder: Folder,
    pixels: Annotated[bool, typer.Option("--pixels", help="Open the panoramas too.")] = False,
    only: Annotated[list[str], typer.Option("--only", metavar="RULE", help="This rule alone; may be repeated.")] = [],  # noqa: B006 - typer copies it
    skip: Annotated[list[str], typer.Option("--skip", metavar="RULE", help="Not this rule; may be repeated.")] = [],  # noqa: B006
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all findings to this file.", show_default="none")] = None,
    json: JsonOption = False,
) -> None:
    """Check the labels of a dataset against every rule. Exit code 1 if there are errors; warnings are worth a look.

    Example: `srgaze360 annotate lint mydata --pixels --csv findings.csv`
    """
    from annotation.lint.report import lines
    from annotation.lint.run import lint as run_lint
    from srgaze360.console import print_json, progress, say
    from srgaze360.dataset import read_info
    from srgaze360.errors import CheckFailed
    from srgaze360.files import write_text

    if pixels:
        with progress("opening panoramas", sum(split.panoramas for split in read_info(folder).splits.values())) as advance:
            report = run_lint(folder, pixels=True, only=only, skip=skip, advance=advance)
    else:
        report = run_lint(folder, only=only, skip=skip)
    if csv is not None:
        write_text(csv, report.table().to_csv(index=False, lineterminator="\n"))
    if json:
        print_json(report.to_dict())
    else:
        _print(lines(report))
    if csv is not None:
        say(f"Written: {csv}")
    if errors := report.count("error"):
        raise CheckFailed(
            f"{errors} errors in the labels of {folder}, by {len({f.rule for f in report.findings if f.severity == 'error'})} "
            "rules. Each says what to do; docs/annotation/lint.md explains the rules."
        )


# --- agreement --------------------------------------------------------------------------------------------------------


@annotate.command("agree")
def agree(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a built dataset, or of labels with --source.", show_default=False)
    ],
    split: Annotated[str | None, typer.Option("--split", help="One split of the dataset.", show_default="all")] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="One suite: they show the same people.", show_default="mixed")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="KIND", help="DIR holds labels of this kind; photos are not needed.", show_default="none"
        ),
    ] = None,
    settings: SetOption = [],  # noqa: B006 - typer copies it
    fov: Annotated[float, typer.Option("--fov", help="With --source: field of view of photos, longer side, degrees.")] = 60.0,
    aspect: Annotated[str, typer.Option("--aspect", metavar="W:H", help="With --source: their width to height.")] = "4:3",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for people.csv, annotators.csv, agreement.json, plots.", show_default="none"),
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap replicates.", min=100)] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Measure how far annotators agree: per person, per annotator, overall, and as a human row, with intervals by photo.

    Example: `srgaze360 annotate agree mydata --split test --out agreement`
    """
    from annotation.agreement.annotated import of_dataset, of_source
    from annotation.agreement.measure import measure
    from annotation.agreement.report import lines, write_agreement
    from srgaze360.console import print_json, say
    from srgaze360.dataset import Dataset
    from srgaze360.errors import InputError

    if source is None:
        if settings:
            raise InputError("Expected --set with --source KIND, whose options it changes; found it without. Leave it out.")
        annotated = of_dataset(Dataset.open(folder), split, suite)
    elif split is not None or suite is not None:
        raise InputError("Expected --split and --suite with a built dataset, found them with --source. Leave them out.")
    else:
        annotated = of_source(source, folder, _options(settings), fov_deg=fov, aspect=_aspect(aspect))
    found = measure(annotated, seed=seed, resamples=resamples)
    if json:
        print_json(found.to_dict())
    else:
        _print(lines(found))
    if out is not None:
        write_agreement(found, out)
        say(f"Written: {out}")


def _print(text: Iterable[str]) -> None:
    """Lines with rich markup on standard output."""
    from srgaze360.console import OUT

    for line in text:
        OUT.print(line)


def _options(settings: list[str]) -> dict[str, Any]:
    """Options of a source from ``OPTION=VALUE`` pairs."""
    from srgaze360.settings import parse_setting

    options = {}
    for setting in settings:
        keys, value = parse_setting(setting, "test_file=test2_annotations.mat")
        options[".".join(keys)] = value
    return options


def _aspect(text: str) -> tuple[int, int]:
    from srgaze360.errors import InputError

    width, colon, height = text.partition(":")
    if not (colon and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"Expected --aspect W:H in whole numbers, found {text!r}. Example: --aspect 4:3")
    return int(width), int(height)
