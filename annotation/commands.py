"""The command `annotate`. Thin: what is heavy is imported inside its commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotation.interchange.commands import export, import_

if TYPE_CHECKING:
    from annotation.lint.run import Report

annotate = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Check labels, and take them to other annotation tools and back.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
SHOWN = 3  # findings of a rule on the terminal


@annotate.callback()
def _annotate() -> None:
    """Check labels, and take them to other annotation tools and back."""


annotate.command("export")(export)
annotate.command("import")(import_)


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
        _print_report(report)
    if csv is not None:
        say(f"Written: {csv}")
    if errors := report.count("error"):
        raise CheckFailed(
            f"{errors} errors in the labels of {folder}, by {len({f.rule for f in report.findings if f.severity == 'error'})} "
            "rules. Each says what to do; docs/annotation/lint.md explains the rules."
        )


def _print_report(report: Report) -> None:
    from rich.markup import escape

    from srgaze360.console import OUT

    OUT.print(
        f"{escape(report.dataset)}: {report.people} people on {report.panoramas} panoramas, {len(report.run)} rules: "
        f"{report.count('error')} errors, {report.count('warning')} warnings"
    )
    for severity, colour in (("error", "red"), ("warning", "yellow")):
        for rule in dict.fromkeys(one.rule for one in report.findings if one.severity == severity):
            found = [one for one in report.findings if one.rule == rule]
            OUT.print(f"\n[{colour}]{severity}[/] [bold]{rule}[/] ({len(found)})")
            for one in found[:SHOWN]:
                where = one.sample_id or one.panorama_id
                OUT.print(f"  {where}: {one.evidence}" if where else f"  {one.evidence}", markup=False)
            if len(found) > SHOWN:
                OUT.print(f"  … and {len(found) - SHOWN} more (--csv or --json list all)", markup=False)
            OUT.print(f"  To do: {found[0].fix}", markup=False)
    blind = [name for name, why in report.not_run.items() if "--pixels" in why]
    others = {name: why for name, why in report.not_run.items() if name not in blind}
    if blind:
        OUT.print(f"\n{len(blind)} rules open the panoramas and were not run: give --pixels.", markup=False)
    for name, why in others.items():
        OUT.print(f"Not run: {name}, {why}", markup=False)
