"""Model cards: what a registered predictor says of itself, as data, as a paragraph, and in full.

Conventions
-----------
A predictor that cannot be loaded has a card too, whose ``error`` says why, so that one faulty plug-in does not hide the others.
"""

from __future__ import annotations

import inspect
from typing import Any

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from srgaze360.console import OUT
from srgaze360.errors import InputError
from srgaze360.predictors import PREDICTORS, Predictor


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
    if name not in PREDICTORS.names():
        PREDICTORS.get(name)  # which says what there is
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
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way, and must not hide the others
        facts["error"] = f"{type(error).__name__}: {error}"
    return facts


def print_list(cards: list[dict[str, Any]]) -> None:
    """Print a paragraph for each predictor: name and size, what it does, what it looks at, where it comes from."""
    for one in cards:
        if one["error"]:
            OUT.print(Text(one["name"], style="bold red"), Text(f"broken: {one['error']}"), soft_wrap=False)
            continue
        OUT.print(Text.assemble((one["name"], "bold"), "  ", (_size(one), "cyan")), soft_wrap=False)
        reads = [f"column {name}" for name in one["reads"]]
        needs = f" Needs {one['needs']}." if one["needs"] else ""
        lines = (
            one["summary"] + needs,
            f"looks at: {', '.join([*one['inputs'], *reads]) or 'nothing'}",
            f"source: {one['source']}",
        )
        for line in lines:
            # text, not markup: a plug-in's own words may hold brackets
            OUT.print(Padding(Text(line), (0, 0, 0, 4)), soft_wrap=False)


def _size(one: dict[str, Any]) -> str:
    if not one["sizes"]:
        return "fitted on a train split" if one["trained"] else "nothing to train"
    return ", ".join(f"{size} {_count(number)}" for size, number in one["sizes"].items()) + " parameters"


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def print_card(one: dict[str, Any]) -> None:
    """Print all that a predictor says of itself."""
    if one["error"]:
        raise InputError(f"Expected the predictor {one['name']!r} to be usable, found: {one['error']}")
    print_list([one])
    OUT.print("\n" + one["description"], markup=False)
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
