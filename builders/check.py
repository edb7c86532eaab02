"""What a source's folder holds and what is wrong with it: the report behind ``srgaze360 sources check``.

Conventions
-----------
Photos, people and annotations (gaze points) are counted by the source's own splits. Without opening images, everything is
counted as labelled, and a photo is missing where its file is; with images opened, photos that cannot be read and people
whose labels do not fit the photo are taken out of the counts and listed by reason, as the builder would reject them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.images import UnreadableImage, read_image
from builders.sources.base import Photo, ResolvedPerson, Source, SourceOptions, resolve_person
from srgaze360.errors import first_ids

SHOWN = 5


@dataclass
class SplitCounts:
    """What one split holds: ``in_frame`` counts people, ``annotations`` gaze points."""

    photos: int = 0
    people: int = 0
    in_frame: int = 0
    annotations: int = 0


@dataclass(frozen=True)
class SourceReport:
    """Counts and faults of a source's folder; the ``first_…`` fields name up to five photos.

    ``repaired`` and ``rejected`` count by kind: what was mended, and what cannot be used (rows, or photos, or people).
    """

    kind: str
    root: str
    images_opened: bool
    splits: dict[str, SplitCounts]
    missing: int
    first_missing: tuple[str, ...]
    unreadable: int
    first_unreadable: tuple[str, ...]
    repaired: dict[str, int]
    rejected: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether there are photos, and all of them are there and (where opened) can be read."""
        return any(counts.photos for counts in self.splits.values()) and not self.missing and not self.unreadable

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        plain = asdict(self)
        return plain | {name: list(plain[name]) for name in ("first_missing", "first_unreadable")} | {"complete": self.complete}

    def to_text(self) -> str:
        """The report as a few lines for people."""
        lines = [f"{self.kind} in {self.root}" + ("" if self.images_opened else " (photos not opened; --images opens them)")]
        for split, counts in sorted(self.splits.items()):
            size = (
                f"{counts.photos} photos, {counts.people} people ({counts.in_frame} in frame), {counts.annotations} annotations"
            )
            lines.append(f"  {split:<6} {size}")
        for what, number, first in (
            ("missing photos", self.missing, self.first_missing),
            ("unreadable photos", self.unreadable, self.first_unreadable),
        ):
            lines.append(f"  {what}: {number}" + (f" ({first_ids(first)})" if number else ""))
        for what, kinds in (("repaired", self.repaired), ("rejected", self.rejected)):
            lines.append(f"  {what}: {sum(kinds.values())}")
            lines += [f"    {number:6d}  {kind}" for kind, number in sorted(kinds.items(), key=lambda item: -item[1])]
        return "\n".join(lines)


def check_source(
    source: Source,
    root: Path,
    options: SourceOptions,
    open_images: bool,
    workers: int | None = None,
    advance: Callable[[], None] | None = None,
) -> SourceReport:
    """Read a source's folder and report what it holds.

    Parameters
    ----------
    open_images
        Decode every photo and fit the labels to its size; minutes for 100,000 photos. Otherwise only their presence is checked.
    workers
        Threads that open photos (default: as ``concurrent.futures`` chooses).
    advance
        Called once per photo, for a progress bar.

    Raises
    ------
    InputError
        If the folder is not one of this source's.
    """
    listing = source.read(root, options)
    repaired = Counter(listing.repaired)
    rejected = Counter(row.fault for row in listing.rejected)
    splits: dict[str, SplitCounts] = {}
    missing: list[str] = []
    unreadable: list[str] = []

    def look(photo: Photo) -> tuple[int, int] | str | None:
        path = root / photo.image
        if not path.is_file():
            return None
        if not open_images:
            return 0, 0
        try:
            height, width = read_image(path).shape[:2]
        except UnreadableImage as error:
            return str(error)
        return width, height

    with ThreadPoolExecutor(workers) as pool:
        for photo, found in zip(listing.photos, pool.map(look, listing.photos), strict=True):
            if advance:
                advance()
            people = [ResolvedPerson(person, person.head_box, person.gaze, person.repairs) for person in photo.people]
            if found is None:
                missing.append(photo.image)
            elif isinstance(found, str):
                unreadable.append(f"{photo.image}: {found}")
            elif open_images:
                resolved = [resolve_person(photo, person, *found) for person in photo.people]
                rejected.update(reason for reason in resolved if isinstance(reason, str))
                people = [person for person in resolved if not isinstance(person, str)]
                repaired.update(repair for person in people for repair in person.repairs[len(person.person.repairs) :])
            if open_images and not isinstance(found, tuple):
                continue
            counts = splits.setdefault(photo.split, SplitCounts())
            counts.photos += 1
            counts.people += len(people)
            counts.in_frame += sum(person.person.in_frame for person in people)
            counts.annotations += sum(len(person.gaze) for person in people)

    return SourceReport(
        kind=source.kind,
        root=str(root),
        images_opened=open_images,
        splits=splits,
        missing=len(missing),
        first_missing=tuple(missing[:SHOWN]),
        unreadable=len(unreadable),
        first_unreadable=tuple(unreadable[:SHOWN]),
        repaired=dict(repaired),
        rejected=dict(rejected),
    )
