"""A made-up dataset that `verify` finds nothing in: for tests of what writes datasets from datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fakes import fake_dataset

from builders.panorama.compose import pixel_digest
from srgaze360.croissant import write_croissant
from srgaze360.dataset import ANNOTATIONS_FILE, MANIFEST_FILE, Dataset, ManifestEntry, panorama_label_digest
from srgaze360.dataset_writer import write_dataset
from srgaze360.files import canonical_json, digest, digest_file

Row = dict[str, Any]


def rows_of(root: Path) -> list[Row]:
    """Every row of the annotations as plain values."""
    return pq.read_table(root / ANNOTATIONS_FILE).to_pylist()


def write_sound(root: Path, data: Dataset, rows: list[Row]) -> Dataset:
    """Write rows, manifest and record of a dataset whose panoramas are there, with true digests."""
    entries = []
    for name in dict.fromkeys(row["panorama_id"] for row in rows):
        own = [row for row in rows if row["panorama_id"] == name]
        path = root / own[0]["image_path"]
        entries.append(
            ManifestEntry(
                path=own[0]["image_path"], bytes=path.stat().st_size, sha256=digest_file(path), panorama_id=name,
                label_digest=panorama_label_digest(own), pixel_digest=pixel_digest(path.read_bytes()),
            )
        )  # fmt: skip
    digests = {
        "recipe_digest": digest(data.info.recipe),
        "label_digest": digest(sorted(entry.label_digest for entry in entries)),
        "pixel_digest": digest(sorted(entry.pixel_digest for entry in entries)),
    }
    (root / MANIFEST_FILE).write_text("".join(canonical_json(entry.model_dump()) + "\n" for entry in entries))
    info = data.info.model_copy(update=digests)
    write_dataset(root, info, rows)
    write_croissant(root, info)
    return Dataset.open(root)


def sound_dataset(root: Path, **options: Any) -> Dataset:
    """:func:`fakes.fake_dataset` with images, manifest, digests and the papers of a build."""
    data = fake_dataset(root, images=True, **options)
    (root / "LICENSES.md").write_text("terms\n", encoding="utf-8")
    (root / "README.md").write_text("# fake 1.0.0\n\nThe card.\n", encoding="utf-8")
    (root / "rejected.csv").write_text("source,row,image,person,reason,suite,condition\nfake,1,a.jpg,2,blurred,,\n")
    (root / "CITATION.cff").write_text(
        "title: fake\nversion: 1.0.0\nauthors:\n- name: Somebody\nidentifiers:\n- type: other\n  value: sha256:0\n"
        "  description: label digest\n"
    )
    return write_sound(root, data, rows_of(root))
