"""The report of a comparison of two built datasets: figures for programs, lines for people.

Conventions
-----------
Pairs are (in A, in B). Angles are degrees, differences of pixels grey levels (0 to 255). Lists of names are counts and the
first five. What is compared, and how, :mod:`builders.publishing.diff` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from srgaze360.errors import first_ids
from srgaze360.files import canonical_json

SHOWN = 5


@dataclass(frozen=True)
class Names:
    """How many, and the first five."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Names:
        """Count names, keep the first five."""
        return cls(len(names), tuple(names[:SHOWN]))

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{self.count}" + (f" ({', '.join(self.first)}{more})" if self.count else "")


NOBODY = Names(0, ())


@dataclass(frozen=True)
class LabelDifference:
    """``columns`` counts samples by the column that differs; ``moved_deg`` is the farthest that heads, gazes, points moved."""

    panoramas: Names = NOBODY
    samples: Names = NOBODY
    samples_only_a: Names = NOBODY
    samples_only_b: Names = NOBODY
    columns: Mapping[str, int] = field(default_factory=dict)
    moved_deg: Mapping[str, float] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether there is any difference."""
        return any(names.count for names in (self.panoramas, self.samples, self.samples_only_a, self.samples_only_b))


@dataclass(frozen=True)
class PixelDifference:
    """Panoramas whose pixels differ; ``same_bytes`` of them are one file that two machines decoded differently.

    Over those measured (opened, of one size): the largest and the mean difference, and the share of their pixels that differ at
    all. ``worst`` names the five with the largest mean: panorama, maximum, mean, share.
    """

    panoramas: Names = NOBODY
    same_bytes: int = 0
    other_size: Names = NOBODY
    measured: int = 0
    maximum: int = 0
    mean: float = 0.0
    share: float = 0.0
    worst: tuple[tuple[str, int, float, float], ...] = ()


@dataclass(frozen=True)
class DiffReport:
    """What differs between datasets A and B; pairs are (in A, in B)."""

    a: str
    b: str
    matched: int
    matched_by: str
    only_a: Names
    only_b: Names
    remarks: Mapping[str, tuple[Any, Any]]
    same_recipe: bool
    recipe: Mapping[str, tuple[Any, Any]]
    labels: LabelDifference
    pixels: PixelDifference

    @property
    def levels(self) -> list[str]:
        """Levels that differ, in order."""
        found = {
            "recipe": not self.same_recipe,
            "labels": bool(self.only_a.count or self.only_b.count or self.labels.found),
            "pixels": bool(self.pixels.panoramas.count),
        }
        return [level for level, differs in found.items() if differs]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        levels = self.levels
        return {"equal": not levels, "first_level": levels[0] if levels else None, "levels": levels, **asdict(self)}

    def to_text(self) -> str:
        """The report as a few lines for people."""
        return "\n".join(_lines(self))


# --- words ------------------------------------------------------------------------------------------------------------


def _lines(report: DiffReport) -> Iterator[str]:
    levels = report.levels
    yield f"A {report.a}"
    yield f"B {report.b}"
    verdict = f"differ first at the level of {levels[0]} (differing: {', '.join(levels)})" if levels else "equal"
    yield f"{verdict}; {report.matched} panoramas matched by {report.matched_by}"
    if not report.same_recipe:
        yield f"recipe: keys that differ: {len(report.recipe)}"
        yield from _table(report.recipe)
    for side, names in (("A", report.only_a), ("B", report.only_b)):
        if names.count:
            yield f"panoramas only in {side}: {names}"
    if report.labels.found:
        yield from _label_lines(report.labels)
    if report.pixels.panoramas.count:
        yield from _pixel_lines(report.pixels)
    if report.remarks:
        yield "not a difference by itself:"
        yield from _table(report.remarks)


def _table(pairs: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    shown = list(pairs.items())[: 4 * SHOWN]
    for key, (a, b) in shown:
        yield f"  {key}: {_short(a)} -> {_short(b)}"
    if len(pairs) > len(shown):
        yield f"  and {len(pairs) - len(shown)} more (--json lists all)"


def _short(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _label_lines(labels: LabelDifference) -> Iterator[str]:
    yield f"labels: panoramas {labels.panoramas}; samples {labels.samples}"
    for side, names in (("A", labels.samples_only_a), ("B", labels.samples_only_b)):
        if names.count:
            yield f"  samples only in {side}: {names}"
    if labels.columns:
        yield "  columns: " + first_ids((f"{name} ({count})" for name, count in labels.columns.items()), 3 * SHOWN)
    yield "  moved at most: " + ", ".join(f"{what} {angle:.6g} deg" for what, angle in labels.moved_deg.items())


def _pixel_lines(pixels: PixelDifference) -> Iterator[str]:
    yield f"pixels: panoramas {pixels.panoramas}; {pixels.same_bytes} of them the same file, decoded differently when built"
    if pixels.other_size.count:
        yield f"  of another size: {pixels.other_size}"
    if pixels.measured:
        yield (
            f"  {pixels.measured} measured: at most {pixels.maximum} grey levels, {pixels.mean:.3g} on average; "
            f"{100.0 * pixels.share:.3g} % of their pixels differ"
        )
        for name, maximum, mean, share in pixels.worst:
            yield f"    {name}: at most {maximum}, mean {mean:.3g}, {100.0 * share:.3g} % of pixels"
