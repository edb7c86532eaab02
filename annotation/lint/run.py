"""Running the rules of lint over a dataset, and what is told of it.

Conventions
-----------
A finding is a rule that is broken in one place. Findings come in the order of the rules and, within a rule, of the rows. The
CSV and the JSON hold all of them; the table for the terminal sums them up and shows the first of each rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from annotation.lint.labels import Labels
from annotation.lint.registry import Rule, Severity, chosen
from srgaze360.console import Advance, silent

COLUMNS = ("rule", "severity", "sample_id", "panorama_id", "evidence", "fix")


@dataclass(frozen=True)
class Finding:
    """A rule that is broken: where (empty ids: everywhere), by what evidence, and what to do."""

    rule: str
    severity: Severity
    sample_id: str
    panorama_id: str
    evidence: str
    fix: str


@dataclass(frozen=True)
class Report:
    """All findings about a dataset of ``people`` rows, the rules that were run, and why others were not."""

    dataset: str
    people: int
    panoramas: int
    findings: Sequence[Finding]
    run: Sequence[str]
    not_run: Mapping[str, str]

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(one.severity == severity for one in self.findings)

    def table(self) -> pd.DataFrame:
        """A row per finding."""
        return pd.DataFrame([asdict(one) for one in self.findings], columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "dataset": self.dataset,
            "people": self.people,
            "panoramas": self.panoramas,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "rules_run": list(self.run),
            "rules_not_run": dict(self.not_run),
            "findings": [asdict(one) for one in self.findings],
        }


def lint(
    root: Path, *, pixels: bool = False, only: Iterable[str] = (), skip: Iterable[str] = (), advance: Advance = silent
) -> Report:
    """Run the rules over the dataset in folder ``root``.

    Parameters
    ----------
    root
        The dataset's folder.
    pixels
        Open the panoramas too.
    only, skip
        Names of rules: those alone, and without those. A rule that opens images is run where ``pixels`` is set.
    advance
        Told the number of panoramas just opened.

    Raises
    ------
    InputError
        The folder holds no dataset, its table cannot be read at all, or a rule has no such name.
    """
    wanted = chosen(only, skip)
    labels = Labels.open(root, advance)
    spoiled = dict.fromkeys(labels.spoiled, "schema")
    findings: list[Finding] = []
    run: list[str] = []
    not_run: dict[str, str] = {}
    # structural rules are run even where they were not asked for: they say what the others may look at
    for one in [rule for rule in chosen() if rule.structural] + [rule for rule in wanted if not rule.structural]:
        if one.pixels and not pixels:
            not_run[one.name] = "opens images: --pixels"
            continue
        useless = sorted(one.needs & spoiled.keys())
        if useless:
            not_run[one.name] = f"needs {', '.join(useless)} ({', '.join(sorted({spoiled[name] for name in useless}))})"
            continue
        for found in one(labels):
            spoiled |= dict.fromkeys(found.spoils, one.name)
            if one in wanted:
                findings.append(_finding(one, found.sample_id, found.panorama_id, found.evidence))
        if one in wanted:
            run.append(one.name)
    name = f"{labels.info.name} {labels.info.version}"
    return Report(name, len(labels.raw), len(labels.first_rows), findings, run, not_run)


def _finding(rule: Rule, sample_id: str, panorama_id: str, evidence: str) -> Finding:
    return Finding(rule.name, rule.severity, sample_id, panorama_id, evidence, rule.fix)
