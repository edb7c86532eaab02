"""What a dataset says about itself to people: ``README.md`` and ``LICENSES.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srgaze360.dataset import COLUMNS, SPLITS, DatasetInfo, SourceInfo
from srgaze360.files import write_text


def write_card(out: Path, info: DatasetInfo, rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, int]) -> None:
    """Write ``README.md`` and ``LICENSES.md`` of the dataset in folder ``out``."""
    write_text(out / "README.md", _readme(info, rows, reasons))
    write_text(out / "LICENSES.md", _licences([*info.sources, *info.backgrounds]))


def _table(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in text)


def _readme(info: DatasetInfo, rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, int]) -> str:
    cells = Counter((row["suite"], row["condition"], row["split"]) for row in rows)
    conditions = [(suite, condition) for suite, levels in info.suites.items() for condition in levels]
    counts = [[s, c, *(cells.get((s, c, split), 0) for split in SPLITS)] for s, c in conditions]
    sources = [[s.kind, s.photos, s.people, sum(s.repaired.values())] for s in (*info.sources, *info.backgrounds)]
    columns = [[f"`{name}`", str(column.type), column.meaning] for name, column in COLUMNS.items()]
    rejected = [[count, reason] for reason, count in reasons.items()] or [[0, "nothing was rejected"]]
    return f"""# {info.name} {info.version}

{info.recipe.get("title", "")}. Made by SRGaze360 {info.versions.get("srgaze360", "")}: photos with gaze labels,
reprojected onto equirectangular panoramas, each under a stated condition of distortion.

**Licences:** the photos keep theirs; see `LICENSES.md` before you share a single pixel.

## People per condition and split

{_table(["suite", "condition", *SPLITS], counts)}

## Sources

{_table(["source", "photos", "people", "labels repaired"], sources)}

{info.rejected} source rows were not used, everywhere or under some condition; each is in `rejected.csv` with its reason:

{_table(["rows", "reason"], rejected)}

## Identity

| | |
|---|---|
| recipe digest | `{info.recipe_digest}` |
| label digest | `{info.label_digest}` |
| pixel digest | `{info.pixel_digest}` |
| sampler | `{info.sampler}` |

The same recipe and sources give the same label digest everywhere, and the same pixel digest under the versions that
`dataset.yaml` records. `srgaze360 verify` checks every file against `manifest.jsonl`.

## Columns of `annotations.parquet`

{_table(["column", "type", "meaning"], columns)}

Longitude grows to the right and latitude up, (0, 0) at the centre of the panorama. Further columns, where a source has them,
are facts about the person in the photo.
"""


def _licences(sources: Sequence[SourceInfo]) -> str:
    parts = [
        f"## {source.title} (`{source.kind}`)\n\n{source.licence}\n\n```\n{source.citation.strip()}\n```\n"
        for source in sources
    ]
    return "# Licences of the sources\n\nReprojected pixels and labels inherit the terms of their source.\n\n" + "\n".join(
        parts
    )
