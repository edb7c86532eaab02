"""What a dataset says about itself to people: ``README.md`` with its figure, and ``LICENSES.md``.

Conventions
-----------
Everything is counted from ``annotations.parquet``: what was built, not what was meant. A row there is a person on a panorama; a
*placement* is a photo on a panorama, whoever is in it. Angles are degrees, shares per cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from builders.report.figure import REPORT_FILE, draw_report
from builders.report.strata import strata
from builders.report.tally import SEPARATOR, WHOLE, read_rows
from srgaze360.dataset import ANNOTATIONS_FILE, COLUMNS, SPLITS, DatasetInfo, SourceInfo
from srgaze360.files import write_text
from srgaze360.protocols.breakdown import LATITUDE_BANDS, band_names

PHOTO = ["panorama_id", "source", "source_image"]
LONG_ARCS = (60.0, 90.0, 120.0)
ARC_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def write_card(out: Path, info: DatasetInfo, reasons: Mapping[str, int]) -> None:
    """Write ``README.md``, ``conditions.png`` and ``LICENSES.md`` of the dataset in folder ``out``.

    Parameters
    ----------
    out
        The dataset's folder; ``annotations.parquet`` and the panoramas are there, ``dataset.yaml`` need not be.
    info
        What ``dataset.yaml`` says, or will say.
    reasons
        Rejected source rows by reason.
    """
    rows = read_rows(out)
    write_text(out / "README.md", _readme(out, info, rows, reasons))
    write_text(out / "LICENSES.md", _licences([*info.sources, *info.backgrounds]))
    draw_report(out, info, rows)


# --- the page ---------------------------------------------------------------------------------------------------------


def _readme(out: Path, info: DatasetInfo, rows: pd.DataFrame, reasons: Mapping[str, int]) -> str:
    photos = rows.drop_duplicates(PHOTO)
    further = [name for name in pq.read_schema(out / ANNOTATIONS_FILE).names if name not in COLUMNS]
    columns = [[f"`{name}`", _type(column.type), column.meaning] for name, column in COLUMNS.items()]
    sources = [[s.kind, s.title, s.photos, s.people] for s in (*info.sources, *info.backgrounds)]
    rejected = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    maker = f"SRGaze360 {info.versions.get('srgaze360', '')}".strip()
    return f"""# {info.name} {info.version}

{info.recipe.get("title", "People with known gaze targets on 360° panoramas").rstrip(".")}. Made by {maker}: images with gaze
labels on equirectangular panoramas, each under a stated condition of distortion.

{_splits(info, rows)}

![Latitudes of heads and targets, arcs between them, people per condition, an example of every condition]({REPORT_FILE})

**Licences:** the images keep theirs; see [`LICENSES.md`](LICENSES.md) before you share a single pixel.

## People per condition, split and source

{_counts(info, rows)}

## Sources

{_table(["source", "", "images used", "people used"], sources)}

What had to be mended in their labels (in the column `repairs`, here counted once per person):

{_table(["people", "repair"], _repairs(rows) or [[0, "nothing was repaired"]])}

Source rows that are not used, everywhere or under some condition ({info.rejected:,}; each is in `rejected.csv`):

{_table(["rows", "reason"], [[count, reason] for reason, count in rejected] or [[0, "nothing was rejected"]])}

## Where heads and targets lie

{_bands(rows)}

**Arcs from head to target**, degrees, of the people whose target's direction is known:

{_arcs(info, rows)}

**Seam and poles:** people whose arc crosses the seam, and whose photo comes near a pole (10°) or contains one, as a
whole panorama does:

{_flags(info, rows)}

## How the images lie on the sphere

Minification is how many photo pixels fall on one panorama pixel: above 1 the panorama holds less detail than the photo, below 1
no more than the photo had. The footprint is the share of the sphere that a photo covers. Medians, with the range in brackets:

{_sampling(info, photos)}

{_fold_back(photos)}
{_strata(out, info, photos)}
## Limits

{_limits(info, rows, photos)}

## Citing

Cite the sources (their BibTeX is in [`LICENSES.md`](LICENSES.md)), and name this dataset so that others can tell whether they
hold the same:

> {info.name} {info.version}, made by {maker}, label digest `{info.label_digest[:16]}`.

The task on the sphere, and the name SRGaze360, are from Dai, Li, Du, *IET Image Processing*, 2025,
[doi:10.1049/ipr2.70078](https://doi.org/10.1049/ipr2.70078). Their data is not public: this is not that dataset, and numbers on
it do not compare with theirs.

## Identity

| | |
|---|---|
| recipe digest | `{info.recipe_digest}` |
| label digest | `{info.label_digest}` |
| pixel digest | `{info.pixel_digest}` |
| sampler | `{info.sampler}` |
| seed | {info.seed} |

The same recipe and sources give the same label digest everywhere, and the same pixel digest under the versions that
`dataset.yaml` records. `srgaze360 verify` checks every file against `manifest.jsonl`; `srgaze360 preview` draws more examples.

## Columns of `annotations.parquet`

{_table(["column", "type", "meaning"], columns)}

Longitude grows to the right and latitude up, (0, 0) at the centre of the panorama.
{f"Further columns are facts from the sources: {', '.join(f'`{name}`' for name in further)}." if further else ""}

```python
from srgaze360.dataset import Dataset

for sample in Dataset.open("this folder").select(split="test").samples():
    image = sample.panorama()  # RGB, uint8, (H, W, 3)
    sample.head, sample.gaze  # unit directions (3,); gaze is None where it is unknown
```

Recipes and axes are explained in the project's `docs/datasets.md`, predictors in `docs/predictors.md`, scores in
`docs/submissions.md`.
"""


def _licences(sources: Sequence[SourceInfo]) -> str:
    parts = [
        f"## {source.title} (`{source.kind}`)\n\n{source.licence}\n\n```\n{source.citation.strip()}\n```\n"
        for source in sources
    ]
    return "# Licences of the sources\n\nReprojected pixels and labels inherit the terms of their source.\n\n" + "\n".join(
        parts
    )


# --- cells ------------------------------------------------------------------------------------------------------------


def _table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Markdown table; columns of numbers are set flush right."""
    cells = [[_cell(value) for value in line] for line in lines]
    right = [all(line[column][:1] in {*"0123456789", "–"} for line in cells) for column in range(len(header))]
    rule = ["---:" if numbers else "---" for numbers in right]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *cells))


def _cell(value: object) -> str:
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _type(arrow: pa.DataType) -> str:
    return str(arrow).replace("list<item: ", "list of ").replace(">", "")


def _share(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.1f} %" if whole else "–"


def _angle(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}°"


def _range(values: pd.Series, form: str) -> str:
    """Median, smallest and largest of ``values``."""
    return f"{format(values.median(), form)} ({format(values.min(), form)} to {format(values.max(), form)})"


def _per_suite(info: DatasetInfo, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each suite, and of all where there are several."""
    suites = [(suite, rows[rows["suite"] == suite]) for suite in info.suites]
    return suites if len(suites) == 1 else [*suites, ("**all**", rows)]


# --- tables -----------------------------------------------------------------------------------------------------------


def _splits(info: DatasetInfo, rows: pd.DataFrame) -> str:
    sizes = rows.drop_duplicates(["split", "source", "source_image", "source_person"]).groupby("split", observed=True).size()
    lines = [
        [name, split.people, split.panoramas, int(sizes.get(name, 0)), len(split.clusters)]
        for name, split in info.splits.items()
    ]
    header = ["split", "people on panoramas", "panoramas", "people in the sources", "clusters"]
    return _table(header, lines)


def _counts(info: DatasetInfo, rows: pd.DataFrame) -> str:
    people = rows.groupby(["suite", "condition", "source", "split"], observed=True).size().to_dict()
    panoramas = rows.drop_duplicates(["suite", "condition", "source", "panorama_id"])
    spheres = panoramas.groupby(["suite", "condition", "source"], observed=True).size().to_dict()
    lines = [
        [
            suite,
            condition,
            source,
            *(people.get((suite, condition, source, split), 0) for split in SPLITS),
            spheres[suite, condition, source],
        ]
        for suite, conditions in info.suites.items()
        for condition in conditions
        for source in sorted(rows["source"].unique())
        if (suite, condition, source) in spheres
    ]
    return _table(["suite", "condition", "source", *SPLITS, "panoramas"], lines)


def _repairs(rows: pd.DataFrame) -> list[list[object]]:
    people = rows.drop_duplicates(["source", "source_image", "source_person", "repairs"])
    found = {
        (source, image, person, repair)
        for source, image, person, repairs in people[people["repairs"] != ""][
            ["source", "source_image", "source_person", "repairs"]
        ].itertuples(index=False)
        for repair in repairs.split(SEPARATOR)
    }
    counts = Counter(repair for *_, repair in found)
    return [[count, repair] for repair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _bands(rows: pd.DataFrame) -> str:
    edges = np.sin(np.radians(LATITUDE_BANDS))
    known = int(rows["gaze_band"].notna().sum())
    lines = []
    for name, even in zip(band_names(LATITUDE_BANDS), np.diff(edges), strict=True):
        heads, targets = (int((rows[column] == name).sum()) for column in ("head_band", "gaze_band"))
        lines.append([name, heads, _share(heads, len(rows)), targets, _share(targets, known), _share(even, 1.0)])
    return _table(["absolute latitude", "heads", "", "targets", "", "even over the sphere"], lines)


def _arcs(info: DatasetInfo, rows: pd.DataFrame) -> str:
    lines = []
    for suite, people in _per_suite(info, rows):
        arcs = people["arc_deg"].dropna()
        quantiles = [_angle(float(arcs.quantile(q))) for q in ARC_QUANTILES]
        lines.append([suite, len(arcs), *quantiles, *(_share((arcs > limit).sum(), len(arcs)) for limit in LONG_ARCS)])
    names = [f"{100 * q:g} %" if q not in (0.5, 1.0) else {0.5: "median", 1.0: "largest"}[q] for q in ARC_QUANTILES]
    return _table(["suite", "people", *names, *(f"above {limit:g}°" for limit in LONG_ARCS)], lines)


def _flags(info: DatasetInfo, rows: pd.DataFrame) -> str:
    lines = [
        [suite, len(people), *(int(people[flag].sum()) for flag in ("crosses_seam", "near_pole", "contains_pole"))]
        for suite, people in _per_suite(info, rows)
    ]
    return _table(["suite", "people", "arc crosses the seam", "near a pole", "contains a pole"], lines)


def _sampling(info: DatasetInfo, photos: pd.DataFrame) -> str:
    lines = []
    for suite, placed in _per_suite(info, photos):
        fewest, most = int(placed["photos"].min()), int(placed["photos"].max())
        on_each = f"{fewest} to {most}" if fewest < most else fewest
        sampling = [_range(placed[name], ".2f") for name in ("minification", "worst_minification")]
        footprint = _range(100.0 * placed["footprint"], ".1f")
        lines.append([suite, placed["panorama_id"].nunique(), on_each, *sampling, footprint])
    header = ["suite", "panoramas", "photos on each", "minification, centre", "minification, worst", "footprint, %"]
    return _table(header, lines)


def _fold_back(photos: pd.DataFrame) -> str:
    losing = photos[photos["fold_back"] > 0.0]
    if losing.empty:
        return "Every pixel of every photo has its place on the sphere: no lens folds back or ends inside one.\n"
    lines = []
    for lens, placed in photos.groupby("lens", observed=True):
        lost = placed["fold_back"][placed["fold_back"] > 0.0]
        if len(lost):
            lines.append([lens, len(placed), len(lost), _range(100.0 * lost, ".1f")])
    header = ["lens", "photos", "of these lose pixels", "pixels they lose, %"]
    return f"Pixels beyond the fold or the rim of a lens have no ray and are not painted:\n\n{_table(header, lines)}\n"


def _strata(out: Path, info: DatasetInfo, photos: pd.DataFrame) -> str:
    lines = []
    totals: Counter[tuple[str, str]] = Counter()
    found = strata(out, info, photos)
    for item in found:
        totals[item.suite, item.axis] += sum(item.photos.values())
    for item in found:
        meant = "–" if item.meant is None else _share(item.meant, 1.0)
        reached = _share(sum(item.photos.values()), totals[item.suite, item.axis])
        lines.append([item.suite, item.axis, item.label, meant, reached, *item.photos.values()])
    if not lines:
        return ""
    return f"""## Strata

Photos in each stratum or level that the recipe draws from. Within a source, split and suite each gets its count, give or take
one; photos that were rejected make the difference.

{_table(["suite", "axis", "stratum", "meant", "reached", *SPLITS], lines)}
"""


# --- limits -----------------------------------------------------------------------------------------------------------


def _limits(info: DatasetInfo, rows: pd.DataFrame, photos: pd.DataFrame) -> str:
    """What the dataset cannot show, with its own numbers."""
    flat = photos[photos["lens"] != WHOLE]
    arcs = rows["arc_deg"][rows["lens"] != WHOLE].dropna()
    behind = rows[(rows["lens"] == WHOLE) & (rows["arc_deg"] > 90.0)]
    unknown = int(rows["arc_deg"].isna().sum())
    limits = []
    if len(flat):
        exceed = _share((arcs > 90.0).sum(), len(arcs))
        shared = f": half of the arcs are shorter than {_angle(arcs.median())}, {exceed} exceed 90°" if len(arcs) else ""
        limits += [
            f"**One photo covers a few per cent of the sphere**, here {_range(100.0 * flat['footprint'], '.1f')} %. Head and "
            f"target seldom leave it{shared}. A model that searches near the head does well on photos; that is no proof that "
            "it finds what lies behind a person.",
            f"**The surroundings may give the photo away.** {_share((flat['background'] == 'black').sum(), len(flat))} of the "
            "photos lie on plain black, the others on what the recipe put there; a model can learn to look inside the photo. "
            "The baseline `region-chance` knows the photo's outline and nothing else: compare with it.",
            "**Fields of view are assumed** where a source does not know its cameras. The recipe deals them out and `hfov_deg` "
            "records them: labels and pixels agree, but the room on the sphere need not be the room there was.",
            "**Latitudes of photos are the recipe's**, not those at which 360° cameras meet people: a prior learnt here is one "
            "of this dataset.",
        ]
    if len(behind):
        where = ", ".join(suite for suite in info.suites if (behind["suite"] == suite).any())
        limits.append(f"**Targets more than 90° away**, on whole panoramas: {len(behind):,} (in {where}).")
    else:
        limits.append(
            "**No whole panoramas with targets more than 90° away:** whether a model turns around is not tested here."
        )
    if unknown:
        limits.append(
            f"**Unknown targets:** those of {_share(unknown, len(rows))} of the people ({unknown:,}) lie outside their photo, "
            "in a direction nobody knows. Angular scores leave them out."
        )
    if any(source.kind == "procedural" for source in info.sources):
        limits.append("**Procedural scenes are not photographs.** They test software and geometry; they rank nobody.")
    limits += [
        "**Rows are not independent.** The same photo returns under many conditions: draw intervals over `cluster_id`.",
        "**The conditions are one choice.** No list of distortions is agreed on for panoramas; this one is in `dataset.yaml`.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)
