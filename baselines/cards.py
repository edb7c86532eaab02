"""Model cards: what a registered predictor says of itself, as data, as a line of a table, and in full.

Conventions
-----------
A predictor that cannot be loaded has a card too, whose ``error`` says why, so that one faulty plug-in does not hide the others.
"""

from __future__ import annotations

import inspect
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from srgaze360.console import OUT
from srgaze360.errors import InputError
from srgaze360.predictors import PREDICTORS, Predictor

MAX_WIDTH = 120


def card(name: str) -> dict[str, Any]:
    """What a registered predictor says of itself; ``error`` says why it cannot be used, or is None.

    Raises
    ------
    InputError
        No predictor has that name.
    """
    facts: dict[str, Any] = {
        "name": name, "trained": None, "inputs": [], "reads": [], "needs": "", "source": "", "summary": "",
        "description": "", "sizes": {}, "error": None,
    }  # fmt: skip
    try:
        kind: Any = PREDICTORS.get(name)
        if not (isinstance(kind, type) and issubclass(kind, Predictor)) or inspect.isabstract(kind):
            facts["error"] = f"{kind!r} is not a class derived from srgaze360.predictors.Predictor that defines predict."
        elif kind.name != name:
            facts["error"] = f"It calls itself {kind.name!r}; make its name and its entry point agree."
        else:
            facts |= {
                "trained": bool(kind.trained),
                "inputs": [*kind.inputs],
                "reads": [*kind.reads],
                "needs": kind.needs,
                "source": kind.source,
                "summary": kind.summary,
                "description": inspect.getdoc(kind) or "",
                **kind.card(),
            }
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way, and must not hide the others
        facts["error"] = f"{type(error).__name__}: {error}"
    return facts


def print_table(cards: list[dict[str, Any]]) -> None:
    """Print a line for each predictor."""
    table = Table(width=min(OUT.width, MAX_WIDTH), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("predictor", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("looks at", ratio=2)
    table.add_column("what it does", ratio=5)
    table.add_column("source", ratio=4)
    for one in cards:
        if one["error"]:
            cells = ("", "", "broken: " + one["error"], "")
        else:
            reads = [f"column {name}" for name in one["reads"]]
            does = one["summary"] + (f" Needs {one['needs']}." if one["needs"] else "")
            cells = (_sizes(one), ", ".join([*one["inputs"], *reads]) or "nothing", does, one["source"])
        # text, not markup: a plug-in's own words may hold brackets
        table.add_row(*map(Text, (one["name"], *cells)), style="red" if one["error"] else None)
    OUT.print(table, soft_wrap=False)


def _sizes(one: dict[str, Any]) -> str:
    if not one["sizes"]:
        return "fitted" if one["trained"] else "none"
    return "\n".join(f"{size} {_count(number)}" for size, number in one["sizes"].items())


def _count(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def print_card(one: dict[str, Any]) -> None:
    """Print all that a predictor says of itself."""
    if one["error"]:
        raise InputError(f"Expected the predictor {one['name']!r} to be usable, found: {one['error']}")
    print_table([one])
    OUT.print(one["description"], markup=False)
    if one.get("changes"):
        OUT.print("\nChanged for the sphere:")
        for change in one["changes"]:
            OUT.print(f"  - {change}", markup=False)
    if one.get("options"):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in ("--set model.", "tiny", "meaning"):
            table.add_column(Text(head))
        for name, option in one["options"].items():
            table.add_row(Text(name), Text(str(option["default"])), Text(option["meaning"]))
        OUT.print(table, soft_wrap=False)
