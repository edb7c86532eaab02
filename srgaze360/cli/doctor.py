"""The command that tells whether this machine is fit to build and score: ``srgaze360 doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False) -> None:
    """Show versions, test the sampler, load every plug-in, look for a GPU and for disk space.

    Exit code 3 if images would be sampled wrongly here, or a plug-in cannot be loaded.
    """
    import os
    import shutil

    from srgaze360.console import OUT, print_json
    from srgaze360.errors import EnvironmentProblem, SRGaze360Error
    from srgaze360.registry import Registry
    from srgaze360.sampler import SAMPLER_ID, check_sampler
    from srgaze360.versions import code_revision, environment

    report: dict[str, object] = dict(environment())
    report["code"] = code_revision() or "installed package"
    report["cores"] = os.cpu_count()
    report["free disk here (GB)"] = round(shutil.disk_usage(Path.cwd()).free / 1e9, 1)
    report["GPU"] = _gpu()
    problems: list[str] = []
    try:
        check_sampler()
        report["sampler"] = f"{SAMPLER_ID}: exact"
    except SRGaze360Error as error:
        report["sampler"] = "inexact"
        problems.append(str(error))
    for group, what in (("srgaze360.sources", "source"), ("srgaze360.predictors", "predictor")):
        registry: Registry[object] = Registry(group, what)
        loaded = []
        for name in registry.names():
            try:
                registry.get(name)
                loaded.append(name)
            except SRGaze360Error as error:
                problems.append(str(error))
        report[f"{what}s"] = ", ".join(loaded)
    if json:
        print_json({**report, "problems": problems})
    else:
        width = max(map(len, report))
        for name, value in report.items():
            OUT.print(f"{name:<{width}}  {value}", markup=False)
    if problems:
        raise EnvironmentProblem(" ".join(problems))
    if not json:
        OUT.print("Everything is in order.", markup=False)


def _gpu() -> str:
    """The CUDA device that torch sees, if torch is installed."""
    try:
        import torch
    except ImportError:
        return "not looked for: torch is not installed (nothing here needs it yet)"
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else f"none (torch {torch.__version__})"
