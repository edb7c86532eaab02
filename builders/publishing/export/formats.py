"""The export formats there are, and the one way through them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from builders.publishing.export import coco, cubemap, gazefollow360, viewport, webdataset
from builders.publishing.export.base import Format, Written, write_companions
from srgaze360.console import silent
from srgaze360.dataset import Dataset, explain
from srgaze360.errors import InputError, suggestion
from srgaze360.files import new_folder

FORMATS: Mapping[str, Format] = {
    item.name: item
    for item in (
        Format("coco", "Head boxes and head and gaze keypoints as COCO JSON.", coco.CocoOptions, coco.write),
        Format(
            "gazefollow360",
            "The layout of GazeFollow360 (MATLAB labels), for its existing loaders.",
            gazefollow360.GazeFollow360Options,
            gazefollow360.write,
        ),
        Format("webdataset", "Tar shards of panoramas and JSON labels.", webdataset.WebDatasetOptions, webdataset.write),
        Format("cubemap", "Six cube faces per panorama, labels by face and pixel.", cubemap.CubemapOptions, cubemap.write),
        Format("viewport", "A perspective view centred on every head.", viewport.ViewportOptions, viewport.write),
    )
}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote: counts by kind of file, rows left out by reason, and its remarks."""

    format: str
    out: Path
    files: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {
            "format": self.format,
            "out": str(self.out),
            "files": dict(self.files),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }


def export(
    data: Dataset, name: str, out: Path, options: Mapping[str, Any] | None = None, advance: Callable[[int], None] = silent
) -> ExportReport:
    """Write a dataset, or a selection of it, in another format; the dataset itself is only read.

    Parameters
    ----------
    data
        What to export (``Dataset.open(...).select(...)``).
    name
        Key of :data:`FORMATS`.
    out
        New or empty folder.
    options
        Options of the format by name; see the options class of its file.
    advance
        Told the number of panoramas just done.

    Raises
    ------
    InputError
        Unknown format or option, ``out`` not empty or inside the dataset, a panorama or the licences missing, nothing to
        export.
    EnvironmentProblem
        The system refused to write.
    """
    if name not in FORMATS:
        raise InputError(f"Expected an export format, found {name!r}. {suggestion(name, list(FORMATS))}")
    chosen = FORMATS[name]
    given = dict(options or {})
    known = list(chosen.options.model_fields)
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"The format {name} has no option {unknown[0]!r}. {suggestion(unknown[0], known)}")
    try:
        settings = chosen.options.model_validate(given)
    except ValidationError as error:
        raise InputError(f"Expected valid options for the format {name}, found: {explain(error)}. Mend them.") from None
    with new_folder(data.root, out) as folder:
        written = chosen.write(data, folder, settings, advance)
        write_companions(data, folder, chosen, written)
    return _report(name, out, written)


def _report(name: str, out: Path, written: Written) -> ExportReport:
    reasons: dict[str, int] = {}
    for item in written.left_out:
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return ExportReport(name, out, dict(written.files), reasons, tuple(written.notes))
