"""What lint tells on a terminal: the first findings of every rule, and what was not run."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape

from annotation.lint.run import Report

SHOWN = 3  # findings of a rule


def lines(report: Report) -> Iterator[str]:
    """Lines with rich markup."""
    yield (
        f"{escape(report.dataset)}: {report.people} people on {report.panoramas} panoramas, {len(report.run)} rules: "
        f"{report.count('error')} errors, {report.count('warning')} warnings"
    )
    for severity, colour in (("error", "red"), ("warning", "yellow")):
        for rule in dict.fromkeys(one.rule for one in report.findings if one.severity == severity):
            found = [one for one in report.findings if one.rule == rule]
            yield f"\n[{colour}]{severity}[/] [bold]{rule}[/] ({len(found)})"
            for one in found[:SHOWN]:
                where = one.sample_id or one.panorama_id
                yield escape(f"  {where}: {one.evidence}" if where else f"  {one.evidence}")
            if len(found) > SHOWN:
                yield f"  … and {len(found) - SHOWN} more (--csv or --json list all)"
            yield escape(f"  To do: {found[0].fix}")
    blind = [name for name, why in report.not_run.items() if "--pixels" in why]
    if blind:
        yield f"\n{len(blind)} rules open the panoramas and were not run: give --pixels."
    for name, why in report.not_run.items():
        if name not in blind:
            yield escape(f"Not run: {name}, {why}")
