"""The commands ``annotate export`` and ``annotate import``. Thin: what is heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FormatName = Annotated[str, typer.Option("--format", help="coco, cvat, labelstudio or csv.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")]


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset.", show_default=False)],
    format_name: FormatName,
    out: Annotated[Path, typer.Option("--out", help="New file for the labels.", show_default=False)],
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None,
    images: Annotated[
        str, typer.Option("--images", help="labelstudio: what paths of panoramas are put behind (/data/local-files/?d=).")
    ] = "",
    json: Json = False,
) -> None:
    """Write labels to a file that another annotation tool reads, and say what it cannot carry.

    Example: `srgaze360 annotate export mydata --format cvat --split test --out labels.xml`
    """
    from annotation.interchange.formats import export as run_export
    from srgaze360.console import OUT, print_json
    from srgaze360.dataset import Dataset

    done = run_export(Dataset.open(folder), format_name, out, split=split, images=images)
    if json:
        print_json(done._asdict())
        return
    counts = ", ".join(f"{count} {what}" for what, count in done.counts.items())
    for path, meaning in done.files.items():
        OUT.print(f"{path}: {meaning}", markup=False)
    OUT.print(counts, markup=False)
    _remark(done.notes)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labels that an annotation tool exported.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Folder of the dataset they are of; it is not changed.")],
    format_name: FormatName,
    out: Annotated[Path | None, typer.Option("--out", help="New folder for the new version of the dataset.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
    annotator: Annotated[str, typer.Option("--annotator", help="Who worked on it, where the file does not say.")] = "",
    version: Annotated[
        str | None, typer.Option("--version", help="Of the new dataset.", show_default="the last number raised")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="A line on why, for the changelog.")] = "",
    link: Annotated[bool, typer.Option("--link", help="Hard links, not copies, of the panoramas.")] = False,
    json: Json = False,
) -> None:
    """Read labels back and write them as a new version of the dataset, with changelog and fresh digests.

    Example: `srgaze360 annotate import annotations.xml --data mydata --format cvat --out mydata-1.0.1`
    """
    from contextlib import nullcontext
    from datetime import UTC, datetime

    from annotation.interchange.formats import import_file
    from srgaze360.console import OUT, print_json, progress, silent
    from srgaze360.dataset import Dataset
    from srgaze360.errors import InputError

    if (out is None) != dry_run:
        raise InputError("Expected either --out NEWDIR or --dry-run, found both or neither. Give one of them.")
    dataset = Dataset.open(data)
    placing = progress("placing panoramas", int(dataset.annotations["panorama_id"].nunique()))
    with nullcontext(silent) if dry_run else placing as advance:
        done = import_file(
            file,
            dataset,
            format_name,
            out,
            annotator=annotator,
            version=version,
            note=note,
            date=datetime.now(UTC).date().isoformat(),
            link=link,
            advance=advance,
        )
    if json:
        print_json(done._asdict())
        return
    changed = ", ".join(f"{count} {what}" for what, count in sorted(done.counts.items())) or "no label differs"
    OUT.print(f"{done.panoramas} panoramas in {file}: {changed}", markup=False)
    if done.version:
        OUT.print(f"{out}: version {done.version}, label digest {done.label_digest[:12]}", markup=False)
    elif not done.counts:
        OUT.print("Nothing is written.", markup=False)
    _remark(done.notes)


def _remark(notes: list[str]) -> None:
    from srgaze360.console import ERR

    for note in notes:
        ERR.print(f"note: {note}", markup=False)
