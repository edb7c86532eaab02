"""What a rule of lint is, and the registry of all of them.

Conventions
-----------
A rule is a function of :class:`annotation.lint.labels.Labels` that yields a :class:`Found` for every place that breaks it, in
the order of the rows. Its docstring's first line says what must hold; ``fix`` says what to do where it does not. An *error* is
something that cannot be right; a *warning* may be, and is worth a look. Rules are told apart so that one fault is one finding:
where two could speak, the more specific one does.

``needs`` names the columns a rule looks at. Where one of them is missing or of no use (another rule has said so) the rule is
not run, and the report lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

from srgaze360.errors import InputError, suggestion

if TYPE_CHECKING:
    from annotation.lint.labels import Labels

Severity = Literal["error", "warning"]
# In the order in which they run and are shown: structure first, since it decides what the others can look at.
MODULES = ("structure", "units", "heads", "gaze", "copies", "poses", "conditions", "leakage", "files", "pixels")


class Found(NamedTuple):
    """A place that breaks a rule.

    ``sample_id`` is empty where a whole panorama is at fault, ``panorama_id`` too where the whole dataset is. ``spoils`` names
    columns that are of no use to other rules because of it.
    """

    sample_id: str
    panorama_id: str
    evidence: str
    spoils: tuple[str, ...] = ()


Check = Callable[["Labels"], Iterable[Found]]


@dataclass(frozen=True)
class Rule:
    """A rule: its name, what must hold, what to do where it does not, the columns it needs, whether it opens images."""

    name: str
    severity: Severity
    expected: str
    fix: str
    needs: frozenset[str]
    pixels: bool
    structural: bool
    check: Check

    def __call__(self, labels: Labels) -> Iterator[Found]:
        """Places that break the rule."""
        yield from self.check(labels)


_RULES: dict[str, Rule] = {}


def rule(
    name: str, severity: Severity, *, fix: str, needs: Iterable[str] = (), pixels: bool = False, structural: bool = False
) -> Callable[[Check], Check]:
    """Register a function as the rule ``name``; ``structural`` ones run first and may spoil columns for the others."""

    def register(check: Check) -> Check:
        expected = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        _RULES[name] = Rule(name, severity, expected, fix, frozenset(needs), pixels, structural, check)
        return check

    return register


def rules() -> Mapping[str, Rule]:
    """All rules by name, in the order in which they run."""
    for module in MODULES:
        import_module(f"annotation.lint.{module}")
    return _RULES


def chosen(only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Rule]:
    """The rules named in ``only`` (all, if none is), without those named in ``skip``.

    Raises
    ------
    InputError
        A rule has no such name.
    """
    known = rules()
    for name in (*only, *skip):
        if name not in known:
            raise InputError(f"Unknown rule {name!r}. {suggestion(name, list(known))}")
    wanted = set(only) or set(known)
    return [one for name, one in known.items() if name in wanted and name not in set(skip)]
