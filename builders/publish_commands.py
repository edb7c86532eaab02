"""The commands that hand a built dataset on: ``export`` and ``diff``. Thin; heavy imports inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from builders.commands import Folder, JsonOption


def export(
    folder: Folder,
    format_name: Annotated[
        str, typer.Option("--format", help="coco, gazefollow360, webdataset, cubemap or viewport.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="New or empty folder to write.", show_default=False)],
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    condition: Annotated[str | None, typer.Option(help="Only this condition.")] = None,
    link: Annotated[bool, typer.Option("--link", help="coco, gazefollow360: hard links, not copies, of panoramas.")] = False,
    shard_size: Annotated[int | None, typer.Option(help="webdataset: panoramas per shard (1000).")] = None,
    layout: Annotated[str | None, typer.Option(help="cubemap: list, dice or horizon (list).")] = None,
    face_width: Annotated[int | None, typer.Option(help="cubemap: pixels (a quarter of the panorama).")] = None,
    fov_deg: Annotated[float | None, typer.Option(help="viewport: horizontal field of view (90).")] = None,
    width: Annotated[int | None, typer.Option(help="viewport: pixels (512).")] = None,
    height: Annotated[int | None, typer.Option(help="viewport: pixels (512).")] = None,
    quality: Annotated[int | None, typer.Option(help="cubemap, viewport: JPEG quality (92).")] = None,
    json: JsonOption = False,
) -> None:
    """Write a built dataset in another format, beside it; the dataset is only read.

    Example: srgaze360 export data --format coco --split test --out data-coco
    """
    from builders.publishing.export.formats import export as run_export
    from srgaze360.console import OUT, print_json, progress
    from srgaze360.dataset import Dataset

    options = {
        "link": link or None,
        "shard_size": shard_size,
        "layout": layout,
        "face_width": face_width,
        "fov_deg": fov_deg,
        "width": width,
        "height": height,
        "quality": quality,
    }
    data = Dataset.open(folder).select(split=split, suite=suite, condition=condition)
    given = {name: value for name, value in options.items() if value is not None}
    with progress(f"exporting {format_name}", int(data.annotations["panorama_id"].nunique())) as advance:
        report = run_export(data, format_name, out, given, advance)
    if json:
        print_json(report.to_dict())
        return
    OUT.print(
        f"{report.format} in {out}: " + ", ".join(f"{count} {kind}" for kind, count in report.files.items()), markup=False
    )
    for note in report.notes:
        OUT.print(f"  {note}", markup=False)
    for reason, count in report.left_out.items():
        OUT.print(f"  left out {count}: {reason} (left_out.csv)", markup=False)


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a built dataset.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.", show_default=False)],
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Measure panoramas whose pixels differ.")] = True,
    json: JsonOption = False,
) -> None:
    """Say where two built datasets differ: recipe, labels, pixels; which samples, and by how much. Exit code 1 if they do."""
    from builders.publishing.diff import diff as run_diff
    from srgaze360.console import OUT, print_json, progress
    from srgaze360.dataset import read_info, read_manifest
    from srgaze360.errors import CheckFailed

    for folder in (a, b):
        read_info(folder)  # first: a folder that is no dataset has no manifest either
    with progress("measuring panoramas that differ", len(read_manifest(a))) as advance:
        report = run_diff(a, b, pixels=pixels, advance=advance)
    if json:
        print_json(report.to_dict())
    else:
        OUT.print(report.to_text(), markup=False)
    if report.levels:
        raise CheckFailed(f"{a} and {b} differ, first at the level of {report.levels[0]}.")
