"""The board as one web page: self-contained HTML, nothing fetched, light and dark.

Conventions
-----------
Everything a predictor says of itself is text of a stranger: the template escapes it. Plots are inline SVG elements made by
:mod:`leaderboard.plots`, the only markup that goes in unescaped, beside one script of our own (sorting, filtering, unfolding),
whose digest is all that the page's content security policy allows to run. Numbers come written from :mod:`leaderboard.tables`;
here is only what a page adds: the places of the interval bars, in per cent of a common scale (:mod:`leaderboard.scale`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from leaderboard.comparison import FEW_CLUSTERS, FEW_PEOPLE
from leaderboard.plots import Picture
from leaderboard.published import TITLE
from leaderboard.records import TIERS, record_name
from leaderboard.scale import Scale, scale_of
from leaderboard.tables import ARROWS, BLANK, FEW_MARK, FIRST_MARK, READS_MARK, UNIT_SIGNS, BoardTables, Cell, Line
from leaderboard.text import FIRST_CAPTION, FIRST_TITLE, TRUST_NOTE


class Bar(NamedTuple):
    """Places of an interval bar: left end and length of the interval (empty if there is none), and the dot."""

    left: str
    length: str
    dot: str


def page(board: BoardTables, pictures: Sequence[Picture], others: Mapping[str, str] | None = None) -> str:
    """The board as HTML; ``others`` are links to the pages of other protocols, by protocol."""
    environment = Environment(
        loader=PackageLoader("leaderboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    protocol = board.protocol
    script = (files("leaderboard") / "templates" / "board.js").read_text(encoding="utf-8")
    scale = scale_of(cell.estimate for cell in board.tables[0].cells if cell.metric == protocol.primary and cell.estimate)
    first = board.records[0]
    context: dict[str, Any] = {
        "board": board,
        "first": first,
        "others": others or {},
        "resamples": ", ".join(sorted({f"{record.resamples:,}" for record in board.records})),
        "seeds": ", ".join(sorted({str(record.seed) for record in board.records})),
        "ticks": [(f"{tick:g}", _percent(scale.share(tick))) for tick in scale.ticks],
        "bar": lambda cell: _bar(cell, scale),
        "conditions": _conditions(board),
        "tiers": [tier for tier in TIERS if tier in {record.tier for record in board.records}],
        "sections": list(dict.fromkeys(line.section for line in _lines(board, "conditions"))),
        "record_name": record_name,
        "script": Markup(script),  # noqa: S704 - our own file
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "trust_note": TRUST_NOTE,
        "error": protocol.error.capitalize(),
        "primary": protocol.primary,
        "sign": UNIT_SIGNS.get(protocol.metrics[protocol.primary].unit, ""),
        "published_title": TITLE,
        "first_title": FIRST_TITLE,
        "first_caption": FIRST_CAPTION,
        "first_mark": FIRST_MARK,
        "few_mark": FEW_MARK,
        "few_people": FEW_PEOPLE,
        "few_clusters": FEW_CLUSTERS,
        "blank": BLANK,
        "mark": READS_MARK,
        "metrics": [(label, ARROWS[(m := protocol.metrics[name]).better], m) for name, label in protocol.labels.items()],
        "pictures": [(picture, Markup(picture.svg)) for picture in pictures],  # noqa: S704 - drawn by us, text escaped there
    }
    return environment.get_template("board.html.j2").render(context)


def _lines(board: BoardTables, key: str) -> list[Line]:
    return next((table.lines for table in board.tables if table.key == key), [])


def _conditions(board: BoardTables) -> dict[str, list[tuple[str, str, bool, Cell]]]:
    """The conditions of each predictor: suite, condition, whether it is small, and the cell; empty if there are none."""
    lines = _lines(board, "conditions")
    names = [row.name for row in board.rows] if lines else []
    return {name: [(one.section, one.label, one.few, one.cells[place]) for one in lines] for place, name in enumerate(names)}


def _percent(share: float) -> str:
    """A share of the bars' length as CSS writes it."""
    return f"{100.0 * share:.2f}%"


def _bar(cell: Cell, scale: Scale) -> Bar | None:
    """Bar of a cell, or None where it has no number."""
    estimate = cell.estimate
    if estimate is None or estimate.value is None:
        return None
    low, high = (estimate.value if end is None else end for end in (estimate.low, estimate.high))
    left, right, dot = (scale.share(number) for number in (low, high, estimate.value))
    return Bar(_percent(left), _percent(right - left), _percent(dot))
