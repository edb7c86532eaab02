"""Edited labels to a new version of a dataset, beside the old one.

Conventions
-----------
The old dataset is only read. The new one is complete by itself: panoramas (copies, or hard links), labels with what follows
from them, manifest and digests, ``croissant.json``, the papers of the build; ``srgaze360 verify`` holds for it as for any
other. Unless told, its version is the old one with the last number raised; ``revisions`` in ``dataset.yaml`` say what it was
made from.

``CHANGELOG.md`` counts the changes of every version, newest first; ``changes.csv`` has each of them, oldest first: who was
changed, what, how far, from what to what, by whom and why. People taken out are in ``rejected.csv``, too; a panorama without
people is left out. ``README.md`` is the old one under a notice that says what it describes. Without a date given, the same
edits give the same bytes.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
import yaml

from annotation.applying import Applied, Change, apply_edits
from annotation.edits import Addition, Edit
from srgaze360.console import Advance, silent
from srgaze360.croissant import write_croissant
from srgaze360.dataset import (
    ANNOTATIONS_FILE,
    MANIFEST_FILE,
    REJECTED_FILE,
    SPLITS,
    Dataset,
    DatasetInfo,
    ManifestEntry,
    Revision,
    SourceInfo,
    SplitInfo,
    panorama_label_digest,
    read_manifest,
)
from srgaze360.dataset_writer import write_dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.files import canonical_json, digest, new_folder, path_inside, place_image, write_text

CHANGELOG_FILE = "CHANGELOG.md"
CHANGES_FILE = "changes.csv"
CITATION_FILE = "CITATION.cff"
README_FILE = "README.md"
COPIED = ("LICENSES.md", "conditions.png")
CARD_MARK = "<!-- the card of the build -->\n"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)([-+].*)?", re.ASCII)

Row = Mapping[str, Any]


class NewVersion(NamedTuple):
    """A version that was made: its record, and what was changed, as numbers of people."""

    info: DatasetInfo
    counts: dict[str, int]


def revise(
    data: Dataset,
    edits: Iterable[Edit],
    out: Path,
    *,
    additions: Iterable[Addition] = (),
    version: str | None = None,
    note: str = "",
    date: str = "",
    link: bool = False,
    advance: Advance = silent,
) -> NewVersion:
    """Write a new version of a dataset with edited labels.

    Parameters
    ----------
    data
        The dataset; all of its rows are in the new version, whatever selection this is.
    edits, additions
        What to change, and whom to add.
    out
        New or empty folder, apart from the dataset.
    version
        Of the new dataset: three numbers and, if need be, a suffix. None: the old one with the last number raised.
    note, date
        For the changelog: a line on why, and when (any text).
    link
        Hard-link the panoramas instead of copying them: no space, but whoever edits one in place edits both datasets.
    advance
        Told the number of panoramas just placed.

    Returns
    -------
    NewVersion

    Raises
    ------
    InputError
        The edits do not fit (all faults at once), change nothing, or take everybody out; the version is none, or that of the
        dataset; the dataset's labels are not those of its manifest; ``out`` is in use.
    EnvironmentProblem
        The system refused to write.
    """
    old = pq.read_table(data.root / ANNOTATIONS_FILE).to_pylist()
    entries = {entry["panorama_id"]: entry for entry in read_manifest(data.root)}
    if strangers := [
        name for name, digest_now in _digests(old).items() if entries.get(name, {}).get("label_digest") != digest_now
    ]:
        raise InputError(
            f"Expected the labels of {data.root} to be those of its {MANIFEST_FILE}, found {len(strangers)} panoramas where "
            f"they are not: {first_ids(strangers)}. A new version would hide that: run `srgaze360 verify`, and mend it first."
        )
    applied = apply_edits(old, edits, additions)
    if not applied.changes:
        raise InputError(f"Expected edits that change labels of {data.root}, found none that does: there is nothing to write.")
    if not applied.rows:
        raise InputError(f"Expected edits that leave somebody in {data.root}, found all {len(old)} people taken out.")
    digests = _digests(applied.rows)
    kept = [ManifestEntry(**{**entries[name], "label_digest": labels}) for name, labels in digests.items()]
    info = _info(data.info, applied, kept, version or next_version(data.info.version))
    with new_folder(data.root, out) as folder:
        for entry in kept:
            place_image(path_inside(data.root, entry.path), path_inside(folder, entry.path), link=link)
            advance(1)
        write_text(folder / MANIFEST_FILE, "".join(f"{canonical_json(entry.model_dump())}\n" for entry in kept))
        _write_lists(data.root, folder, info, applied)
        _write_papers(data.root, folder, info, note, date)
        write_dataset(folder, info, applied.rows)
        write_croissant(folder, info)
    return NewVersion(info, applied.counts)


def next_version(version: str, bump: Literal["patch", "minor"] = "patch") -> str:
    """A version with the last of its three numbers raised, or the middle one (``minor``); a suffix stays.

    Raises
    ------
    InputError
        It does not begin with three numbers.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise InputError(f"Expected a version of three numbers, such as 1.0.0, found {version!r}. Say which one comes next.")
    numbers = f"{found[2]}.{int(found[3]) + 1}" if bump == "patch" else f"{int(found[2]) + 1}.0"
    return f"{found[1]}.{numbers}{found[4] or ''}"


def _digests(rows: Iterable[Row]) -> dict[str, str]:
    """Label digest of each panorama, in the order of the rows."""
    return {name: panorama_label_digest(list(group)) for name, group in groupby(rows, key=itemgetter("panorama_id"))}


# --- what the dataset says of itself ----------------------------------------------------------------------------------


def _info(old: DatasetInfo, applied: Applied, entries: Sequence[ManifestEntry], version: str) -> DatasetInfo:
    next_version(version)  # or it is none
    if version == old.version:
        raise InputError(f"Expected another version than that of the dataset, found {version!r}. Give a later one.")
    suites: dict[str, dict[str, None]] = {}
    for row in applied.rows:
        suites.setdefault(row["suite"], {}).setdefault(row["condition"])
    return old.model_copy(
        update={
            "version": version,
            "splits": {split: _split(own) for split in SPLITS if (own := [r for r in applied.rows if r["split"] == split])},
            "suites": {suite: list(conditions) for suite, conditions in suites.items()},
            "sources": [_source(source, applied.rows) for source in old.sources],
            "backgrounds": [_background(source, applied.rows) for source in old.backgrounds],
            "rejected": old.rejected + len(applied.removed),
            "label_digest": digest(sorted(entry.label_digest for entry in entries)),
            "pixel_digest": digest(sorted(entry.pixel_digest for entry in entries)),
            "revisions": [
                *old.revisions,
                Revision(version=old.version, label_digest=old.label_digest, changes=applied.counts),
            ],
        }
    )


def _split(rows: Sequence[Row]) -> SplitInfo:
    return SplitInfo(
        panoramas=len({row["panorama_id"] for row in rows}),
        people=len(rows),
        clusters=sorted({row["cluster_id"] for row in rows}),
    )


def _source(source: SourceInfo, rows: Iterable[Row]) -> SourceInfo:
    people = {(row["source_image"], row["source_person"]) for row in rows if row["source"] == source.kind}
    return source.model_copy(update={"photos": len({image for image, _ in people}), "people": len(people)})


def _background(source: SourceInfo, rows: Iterable[Row]) -> SourceInfo:
    behind = {image for row in rows for image in row["background_images"] if image.startswith(f"{source.kind}/")}
    return source.model_copy(update={"photos": len(behind)})


# --- the other files --------------------------------------------------------------------------------------------------


def _write_lists(root: Path, folder: Path, info: DatasetInfo, applied: Applied) -> None:
    """Write ``changes.csv`` and ``rejected.csv``: the old lines, if there are any, and the new ones."""
    header = ["version", *Change._fields]
    new = [{"version": info.version, **change._asdict()} for change in applied.changes]
    _write_csv(folder / CHANGES_FILE, header, [*_read_csv(root / CHANGES_FILE), *new])
    reasons = {
        change.sample_id: " ".join(f"taken out in version {info.version}: {change.comment}".split()).rstrip(":")
        for change in applied.changes
        if change.what == "removed"
    }
    removed = [
        {
            "source": row["source"],
            "row": f"sample {row['sample_id']}",
            "image": row["source_image"],
            "person": row["source_person"],
            "reason": reasons[row["sample_id"]],
            "suite": row["suite"],
            "condition": row["condition"],
        }
        for row in applied.removed
    ]
    header = ["source", "row", "image", "person", "reason", "suite", "condition"]
    _write_csv(folder / REJECTED_FILE, header, [*_read_csv(root / REJECTED_FILE), *removed])


def _read_csv(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_papers(root: Path, folder: Path, info: DatasetInfo, note: str, date: str) -> None:
    """Write changelog and README, and take along the papers of the build."""
    for name in COPIED:
        if (root / name).is_file():
            shutil.copyfile(root / name, folder / name)
    write_text(folder / CHANGELOG_FILE, _changelog(_read(root / CHANGELOG_FILE), info, note, date))
    write_text(folder / README_FILE, _readme(_read(root / README_FILE), info))
    if (root / CITATION_FILE).is_file():
        write_text(folder / CITATION_FILE, _citation(root / CITATION_FILE, info))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _changelog(old: str, info: DatasetInfo, note: str, date: str) -> str:
    before = info.revisions[-1]
    title = f"# Changes of {info.name}\n"
    counts = "\n".join(f"| {what} | {count} |" for what, count in sorted(before.changes.items()))
    return f"""{title}
## {info.version}{f" ({date})" if date else ""}

Made from {before.version} (label digest `{before.label_digest}`); this version's label digest is `{info.label_digest}`.
{f"{chr(10)}{note}{chr(10)}" if note else ""}
| change | people |
| --- | ---: |
{counts}

Each of them, with what it was before, is in `{CHANGES_FILE}`.
{old.removeprefix(title)}"""


def _readme(old: str, info: DatasetInfo) -> str:
    people = sum(split.people for split in info.splits.values())
    panoramas = sum(split.panoramas for split in info.splits.values())
    card = old.partition(CARD_MARK)[2] or old
    built = info.revisions[0].version
    return (
        f"# {info.name} {info.version}\n\n"
        f"{people:,} people on {panoramas:,} panoramas. Labels were changed since the dataset was built: `{CHANGELOG_FILE}` "
        f"says how many, `{CHANGES_FILE}` which. Label digest `{info.label_digest}`.\n\n"
        + (f"What follows describes version {built}, as it was built.\n\n{CARD_MARK}{card}" if card else "")
    )


def _citation(path: Path, info: DatasetInfo) -> str:
    """The old citation, whoever wrote themselves into it, with this version and its digests.

    Raises
    ------
    InputError
        It is no YAML.
    """
    digests = {"label digest": info.label_digest, "pixel digest": info.pixel_digest}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["version"] = info.version
        for item in content.get("identifiers") or ():
            if item.get("description") in digests:
                item["value"] = f"sha256:{digests[item['description']]}"
    except (yaml.YAMLError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a citation (CFF, in YAML) in {path}, but it cannot be used: {error}. Mend it.") from None
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
