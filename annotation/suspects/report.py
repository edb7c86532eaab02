"""What is told of suspects: lines for a terminal; the table of all labels, a record and plots in a folder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.markup import escape

from annotation.suspects.run import Suspects
from annotation.suspects.trial import MOVED, Trial
from srgaze360.errors import first_ids

_HEAD = f"  {'rank':>5} {'quality':>7} {'missed by':>9} {'usual':>6} {'models':>6} {'apart':>6} {'annot.':>6}  sample, findings"


def lines(found: Suspects, top: int) -> Iterator[str]:
    """Lines with rich markup: what was looked at, with what, and the ``top`` worst labels, each once."""
    facts = found.to_dict()
    yield (
        f"[bold]{escape(facts['dataset'])}[/bold]: {facts['labels']} labels, {facts['suspects']} with quality below "
        f"{found.below:g}"
    )
    for one in facts["models"]:
        trained = f"trained on {escape(', '.join(one['training_data']))}" if one["training_data"] else "says no training data"
        miss = "" if one["median_residual_deg"] is None else f", usually {one['median_residual_deg']:.1f}° off"
        yield f"  {escape(one['model'])} ({escape(one['file'])}): {one['used']} labels{miss}; {trained}"
    yield from _warnings(found)
    yield ""
    yield _HEAD
    yield from _rows(found, top)


def _warnings(found: Suspects) -> Iterator[str]:
    """What makes the ranking weaker than it looks."""
    ids = found.people.annotations["sample_id"]
    only, alone = found.opinions.only_seen, found.opinion.models == 0
    if only.any():
        yield (
            f"[yellow]warning[/] {only.sum()} labels are judged only by models that were trained on them "
            f"({escape(first_ids(ids[only]))}): a model that has learnt an error does not see it. Predict them with models "
            "that were trained on other folds."
        )
    if alone.any():
        yield (
            f"[yellow]warning[/] {alone.sum()} labels have no prediction ({escape(first_ids(ids[alone]))}) and are judged by "
            "annotators and lint alone. Predict their split too, or choose with --split and --suite."
        )
    if len(found.opinions.names) == 1:
        yield "[yellow]warning[/] one model cannot say whether it or the label is wrong. Give predictions of several."
    if found.dataset_findings:
        yield (
            f"[yellow]warning[/] lint finds errors of the whole dataset: {escape(', '.join(found.dataset_findings))}. Mend "
            "those first (srgaze360 annotate lint)."
        )
    if found.unknown:
        yield f"{found.unknown} rows have no gaze direction and are not ranked."


def _rows(found: Suspects, top: int) -> Iterator[str]:
    said, ids = found.opinion, found.people.annotations["sample_id"].to_numpy(dtype=str)
    shown: set[int] = set()
    places = np.bincount(found.label)
    for rank, row in enumerate(found.order.tolist(), 1):
        if found.label[row] in shown:
            continue
        if len(shown) == top:
            break
        shown.add(found.label[row])
        numbers = (said.residual[row], said.scale[row], said.spread[row], found.dispersion[row])
        missed, usual, apart, spread = ("" if np.isnan(one) else f"{np.degrees(one):.1f}°" for one in numbers)
        more = f" (+ {places[found.label[row]] - 1} panoramas)" if places[found.label[row]] > 1 else ""
        findings = f"  {', '.join(found.findings[row])}" if found.findings[row] else ""
        yield escape(
            f"  {rank:>5} {found.quality[row]:>7.4f} {missed:>9} {usual:>6} {said.models[row]:>6} {apart:>6} {spread:>6}  "
            f"{ids[row]}{more}{findings}"
        )


def trial_lines(tried: Trial, below: float) -> Iterator[str]:
    """Lines with rich markup: how many planted errors were found."""
    k = tried.planted
    yield (
        f"{k} errors of {np.degrees(MOVED):.0f}° and more planted in {tried.labels} labels; found by models and annotators, "
        "without lint:"
    )
    yield f"  among the {k} worst labels: {tried.precision_at_k:.3f} (precision and recall at k = {k})"
    for name, (found, of) in tried.by_kind.items():
        yield f"    {name:<32}{found:>5} of {of}"
    yield (
        f"  quality below {below:g}: {tried.suspects} labels, precision {tried.precision:.3f}, recall {tried.recall:.3f}; "
        f"average precision {tried.average_precision:.3f}"
    )
