"""What is told of an agreement: lines for a terminal; tables, record and plots in a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape

from annotation.agreement.figures import save_figures
from annotation.agreement.measure import Agreement
from srgaze360.bootstrap import Interval
from srgaze360.files import canonical_json, write_text

# what is shown: title, then name of the number, decimals and unit
_OVERALL = {
    "deviation_mean_deg": ("mean deviation from the mean", 2, "°"),
    "deviation_median_deg": ("median deviation", 2, "°"),
    "deviation_95_deg": ("95 % deviation", 2, "°"),
    "axis_sd_deg": ("standard deviation along an axis", 2, "°"),
    "resultant": ("resultant length", 4, ""),
    "kappa_median": ("median concentration κ", 0, ""),
    "cone_95_deg": ("95 % cone of the mean", 2, "°"),
    "several_modes": ("people with several modes", 3, ""),
    "ambiguous": ("ambiguous people", 3, ""),
}
_HUMAN = {
    "angular_distance_deg": ("to the consensus of the others", 2, "°"),
    "angular_distance_mean_deg": ("mean over the others", 2, "°"),
    "angular_distance_min_deg": ("nearest of the others", 2, "°"),
    "hit@5": ("hit@5°", 3, ""),
    "hit@10": ("hit@10°", 3, ""),
    "hit@20": ("hit@20°", 3, ""),
    "auc": ("AUC", 3, ""),
}
_ALPHA = {
    "gaze": ("directions, in the photo's frame", 3, ""),
    "gaze_from_head": ("directions, from the head", 3, ""),
    "in_frame": ("inside the photo or not (nominal)", 3, ""),
    "planar": ("points of the photo", 3, ""),
    "planar_from_head": ("points of the photo, from the head", 3, ""),
}
_PLANAR = {
    "deviation_mean": ("mean deviation from the mean", 4, ""),
    "deviation_median": ("median deviation", 4, ""),
    "deviation_95": ("95 % deviation", 4, ""),
    "human_distance_to_mean": ("human, to the mean of the others", 4, ""),
    "human_distance_mean": ("human, mean over the others", 4, ""),
    "human_distance_min": ("human, nearest of the others", 4, ""),
    "human_auc": ("human, AUC (5 x 5)", 4, ""),
    "human_with_itself_distance_mean": ("human, mean over all, itself included", 4, ""),
}


def write_agreement(found: Agreement, folder: Path) -> list[Path]:
    """Write ``people.csv``, ``annotators.csv`` (if there are any), ``agreement.json`` and the plots into ``folder``."""
    tables = {"people.csv": found.people()}
    if found.annotators:
        tables["annotators.csv"] = found.annotator_table()
    files = []
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
        files.append(folder / name)
    write_text(folder / "agreement.json", canonical_json(found.to_dict()) + "\n")
    return [*files, folder / "agreement.json", *save_figures(found, folder)]


def lines(found: Agreement) -> Iterator[str]:
    """Lines with rich markup."""
    facts = found.to_dict()
    yield f"[bold]{escape(found.annotated.title)}[/bold]"
    yield (
        f"{facts['people']} people, {facts['annotations']} annotations, {facts['clusters']} clusters; "
        f"{found.annotated.left_out} people with fewer than two annotations left out"
    )
    sections = (
        ("On the sphere", _OVERALL, found.overall),
        ("Human row, protocol spherical: one annotation against the others", _HUMAN, found.human),
        ("Krippendorff's α", _ALPHA, found.alpha),
        ("In the plane, fractions of the photo's sides", _PLANAR, found.planar),
    )
    for title, names, intervals in sections:
        if intervals:
            yield f"\n[bold]{title}[/bold]"
        for name, (label, decimals, unit) in names.items():
            if name in intervals:
                yield f"  {label:<40}{told(intervals[name], decimals, unit)}"
    if not found.annotators:
        yield "\nThe source names no annotators."
        return
    yield "\n[bold]Annotators[/bold]: median angle to the others, mean offset right and up, share of outliers"
    for one in found.annotators:
        numbers = [told(interval, 2, "°") for interval in (one.median_deg, one.right_deg, one.up_deg)]
        yield escape(f"  {one.name} ({one.annotations}): {', '.join(numbers)}, {told(one.outliers, 3, '')}")


def told(interval: Interval, decimals: int, unit: str) -> str:
    """A number with its interval, as written."""
    if math.isnan(interval.estimate):
        return "does not exist (no two values differ)"
    value = f"{interval.estimate:.{decimals}f}{unit}"
    return value if interval.method == "none" else f"{value} ({interval.low:.{decimals}f} to {interval.high:.{decimals}f})"
