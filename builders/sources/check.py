"""What a source's folder holds and what is wrong with it: the report behind ``srgaze360 sources check``.

Conventions
-----------
Photos, people and annotations (gaze points) are counted by the source's own splits. Without opening images, everything is
counted as labelled, and a photo is missing where its file is; with images opened, photos that cannot be read and people
whose labels do not fit the photo are taken out of the counts and listed by reason, as the builder would reject them.

What is absent is named as it has to be obtained: whole folders of photos where they are not there at all, and the splits for
which nothing is there (a label file of several may be absent, and the source is complete without). Every kind of repair and
rejection comes with its first five rows or people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.sources.base import Listing, Photo, ResolvedPerson, Source, SourceOptions, resolve_person
from srgaze360.safe_images import UnreadableImage, read_image

SHOWN = 5
EXPECTED_SPLITS = ("train", "test")  # the builder cuts val from train, where a source has none


@dataclass
class SplitCounts:
    """What one split holds: ``in_frame`` counts people, ``annotations`` gaze points."""

    photos: int = 0
    people: int = 0
    in_frame: int = 0
    annotations: int = 0


@dataclass(frozen=True)
class Found:
    """How many there are of something, and the first few."""

    count: int = 0
    first: tuple[str, ...] = ()

    def and_also(self, example: str) -> Found:
        """The same and one more."""
        return Found(self.count + 1, (*self.first, example)[:SHOWN])

    def to_text(self) -> str:
        """The first few, and how many more."""
        more = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class SourceReport:
    """Counts and faults of a source's folder.

    ``missing`` and ``unreadable`` are photos; ``absent_folders`` the folders, by path, that are not there, with the missing
    photos they should hold. ``repaired`` and ``rejected`` are by kind: what was mended, and what cannot be used (rows, or
    photos, or people). ``layout`` and ``obtain`` are the source's own.
    """

    kind: str
    root: str
    images_opened: bool
    splits: dict[str, SplitCounts]
    absent_splits: tuple[str, ...]
    missing: Found
    absent_folders: dict[str, int]
    unreadable: Found
    repaired: dict[str, Found]
    rejected: dict[str, Found]
    layout: str
    obtain: str

    @property
    def complete(self) -> bool:
        """Whether there are photos, and all of them are there and (where opened) can be read."""
        photos = any(counts.photos for counts in self.splits.values())
        return photos and not self.missing.count and not self.unreadable.count

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {**_plain(asdict(self)), "complete": self.complete}

    def to_text(self) -> str:
        """The report as a few lines for people."""
        lines = [f"{self.kind} in {self.root}" + ("" if self.images_opened else " (photos not opened; --images opens them)")]
        for split, counts in sorted(self.splits.items()):
            size = (
                f"{counts.photos} photos, {counts.people} people ({counts.in_frame} in frame), {counts.annotations} annotations"
            )
            lines.append(f"  {split:<6} {size}")
        if self.absent_splits:
            lines.append(
                f"  nothing for {' and '.join(self.absent_splits)}: expected {self.layout}. To obtain it: {self.obtain}"
            )
        lines.append(_line("missing photos", self.missing))
        absent = _largest_first(self.absent_folders)
        lines += [f"    {number:6d}  in the folder {folder}, which is not there" for folder, number in absent[:SHOWN]]
        if rest := absent[SHOWN:]:
            lines.append(f"    {sum(number for _, number in rest):6d}  in {len(rest)} more folders that are not there")
        lines.append(_line("unreadable photos", self.unreadable))
        for what, kinds in (("repaired", self.repaired), ("rejected", self.rejected)):
            lines.append(f"  {what}: {sum(found.count for found in kinds.values())}")
            counts_by_kind = {kind: found.count for kind, found in kinds.items()}
            lines += [f"    {number:6d}  {kind}: {kinds[kind].to_text()}" for kind, number in _largest_first(counts_by_kind)]
        return "\n".join(lines)


def _line(what: str, found: Found) -> str:
    return f"  {what}: {found.count}" + (f" ({found.to_text()})" if found.count else "")


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


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
    repaired = _repairs(listing)
    rejected: dict[str, Found] = {}
    for row in listing.rejected:
        _add(rejected, row.fault, row.row)
    splits: dict[str, SplitCounts] = {}
    missing, unreadable = Found(), Found()
    absent: Counter[str] = Counter()

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
                missing = missing.and_also(photo.image)
                absent.update(_absent_folder(root, photo.image))
            elif isinstance(found, str):
                unreadable = unreadable.and_also(f"{photo.image}: {found}")
            elif open_images:
                people = list(_resolved(photo, found, repaired, rejected))
            if open_images and not isinstance(found, tuple):
                continue
            counts = splits.setdefault(photo.split, SplitCounts())
            counts.photos += 1
            counts.people += len(people)
            counts.in_frame += sum(person.person.in_frame for person in people)
            counts.annotations += sum(len(person.gaze) for person in people)

    labelled = {photo.split for photo in listing.photos}
    return SourceReport(
        kind=source.kind,
        root=str(root),
        images_opened=open_images,
        splits=splits,
        absent_splits=tuple(split for split in EXPECTED_SPLITS if source.role == "gaze" and split not in labelled),
        missing=missing,
        absent_folders=dict(absent),
        unreadable=unreadable,
        repaired=repaired,
        rejected=rejected,
        layout=source.layout,
        obtain=source.obtain.rstrip("."),
    )


def _add(kinds: dict[str, Found], kind: str, example: str) -> None:
    kinds[kind] = kinds.get(kind, Found()).and_also(example)


def _repairs(listing: Listing) -> dict[str, Found]:
    """What the reader mended; its own counts, with people as examples."""
    found: dict[str, Found] = {}
    for photo in listing.photos:
        for person in photo.people:
            for repair in person.repairs:
                _add(found, repair, f"{photo.image} ({person.person})")
    return {kind: Found(count, found[kind].first if kind in found else ()) for kind, count in listing.repaired.items()}


def _resolved(
    photo: Photo, size: tuple[int, int], repaired: dict[str, Found], rejected: dict[str, Found]
) -> Iterator[ResolvedPerson]:
    """The people whose labels fit the opened photo; adds what that took, and the others."""
    for person in photo.people:
        name = f"{photo.image} ({person.person})"
        resolved = resolve_person(photo, person, *size)
        if isinstance(resolved, str):
            _add(rejected, resolved.partition(" (")[0], name)
            continue
        for repair in resolved.repairs[len(person.repairs) :]:
            _add(repaired, repair, name)
        yield resolved


def _absent_folder(root: Path, image: str) -> list[str]:
    """The outermost folder of a missing photo that is not there, if any is not."""
    parts = image.split("/")[:-1]
    folders = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    return [folder for folder in folders if not (root / folder).is_dir()][:1]
