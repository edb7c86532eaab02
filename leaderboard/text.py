"""The board as Markdown, CSV and JSON.

Conventions
-----------
Numbers come written from :mod:`leaderboard.tables`. What a submitter says is escaped, so that Markdown shows it as it is. CSV
is tidy: a row per cell, and one per notice. Published numbers are a section of their own in Markdown and JSON and never in the
CSV, whose column of values holds ours alone: they have a file of their own (:func:`leaderboard.published.to_csv`).
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Sequence

from leaderboard.comparison import ALPHA, FEW_CLUSTERS, FEW_PEOPLE, few
from leaderboard.notices import Notice
from leaderboard.protocols import LABELS, PRIMARY_RAD
from leaderboard.published import TITLE, PublishedTable
from leaderboard.scoring import MINIMUM_PEOPLE
from leaderboard.tables import BLANK, FEW_MARK, FIRST_MARK, READS_MARK, BoardTables, Cell, Standing, Table

FIRST_TITLE = "First in each condition"
FIRST_CAPTION = (
    "The best by mean error, and those not significantly worse: a paired bootstrap over clusters on the same people, with "
    "Holm's correction over the predictors compared, at 5 %."
)
RANK_NOTE = (
    "Beside a rank, in brackets, are those it may have on another set of photos (95 %, each predictor by itself), if there are "
    "others."
)
TRUST_NOTE = (
    "Trust says what the keeper of this board did: took a record as it came (self-reported), scored the predictions "
    "(re-scored), or ran the method (re-run)."
)
FIRST_HEADINGS = ("Suite", "Condition", "Best", "Not significantly worse", "People", "Clusters")


def markdown(board: BoardTables) -> str:
    """The board as Markdown, with tables in the syntax of GitHub."""
    lines = ["# SRGaze360 leaderboard", ""]
    lines += [f"- **{name}:** {_plain(value)}" for name, value in board.facts.items()]
    lines += ["", reading_note()]
    for table in board.tables:
        lines += ["", f"## {_plain(table.title)}", "", _plain(table.caption), "", *_markdown_table(table, board.notices)]
        if table.key == "conditions" and board.standings:
            lines += ["", f"## {FIRST_TITLE}", "", FIRST_CAPTION, "", *_markdown_standings(board.standings)]
    if board.published:
        lines += ["", *_markdown_published(board.published)]
    reading = [record.predictor for record in board.records if record.predictor.reads]
    if reading:
        lines += ["", f"{READS_MARK} reads more of the annotations than the panorama and the head:", ""]
        lines += [f"- {_plain(card.name)}: {_plain(', '.join(card.reads))}" for card in reading]
    lines += ["", "## Metrics", ""]
    lines += [
        f"- **{LABELS[name]}** ({metric.unit}, {metric.better} is better): {metric.description}."
        for name, metric in board.protocol.metrics.items()
        if name != PRIMARY_RAD
    ]
    return "\n".join(lines) + "\n"


def reading_note() -> str:
    """How to read the marks, in one paragraph of Markdown."""
    return (
        "Numbers are means with 95 % intervals in brackets; the best of each comparison is bold. A number after ± is the "
        "standard deviation over training seeds, where a predictor was trained several times; the interval is that of the mean "
        f"over these seeds. {FIRST_MARK} marks what is not significantly worse than the best of its comparison. {FEW_MARK} "
        f"marks groups of fewer than {FEW_PEOPLE} people or {FEW_CLUSTERS} clusters, where hardly anything can be told apart. "
        f"{BLANK} stands where there are fewer than {MINIMUM_PEOPLE} people, or nothing to score. "
        f"{RANK_NOTE} {TRUST_NOTE}"
    )


def _grid(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: range) -> list[str]:
    """Lines of a Markdown table of plain texts; the columns ``numbers`` are aligned to the right."""
    align = ["---:" if place in numbers else "---" for place in range(len(headings))]
    lines = [[_plain(text) for text in headings], align, *([_plain(text) or BLANK for text in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _markdown_published(table: PublishedTable) -> list[str]:
    """The section of published numbers: a table for each definition, and where they were read."""
    lines = [f"## {TITLE}", "", _plain(table.caption)]
    for _, definition, rows in table.sections:
        columns = [name for name in table.columns if name in definition.columns]
        headings = ["Method", *(table.columns[name].heading for name in columns), "Source", "Remark"]
        cells = [
            [
                row.method,
                *(row.printed.get(name, "") for name in columns),
                f"{table.sources[row.source]} [{table.marks[row.reading]}]",
                row.note,
            ]
            for row in rows
        ]
        lines += ["", f"### {_plain(definition.title)}", "", *_grid(headings, cells, range(1, 1 + len(columns))), ""]
        lines += [f"- {_plain(title)}: {_plain(text)}." for title, text in table.defined(definition)]
    lines += ["", "Read in:", ""]
    return lines + [f"- {_plain(f'[{number}]')} {_plain(table.readings[key])}." for key, number in table.marks.items()]


def _markdown_standings(standings: Sequence[Standing]) -> list[str]:
    rows = [
        (
            one.section,
            one.label + (f" {FEW_MARK}" if one.few else ""),
            one.result.best,
            ", ".join(one.others),
            str(one.result.people),
            str(one.result.clusters),
        )
        for one in standings
    ]
    return _grid(FIRST_HEADINGS, rows, range(4, 6))


def _markdown_table(table: Table, notices: Sequence[Notice]) -> list[str]:
    heads = [_plain(h.title) + (f" [{h.unit}]" if h.unit else "") + (f" {h.arrow}" if h.arrow else "") for h in table.headings]
    first = ["Rank", table.stub] if table.ranked else [table.stub]
    trust = table.key == "ranking"
    rows = []
    section = ""
    for line in table.lines:
        if line.section != section:
            section = line.section
            rows.append([f"**{_plain(section)}**", *[""] * (len(heads) + 2)])
        label = _plain(line.label) + (f" {READS_MARK}" if line.reads else "") + (f" {FEW_MARK}" if line.few else "")
        label = f"*{label}*" if line.human else label
        label += f" ({line.seeds} seeds)" if line.seeds > 1 else ""
        rank = f"{line.rank} ({line.ranks})" if line.ranks else line.rank
        stub = [rank or BLANK, label] if table.ranked else [label]
        counts = [str(line.people), str(line.clusters)]
        rows.append([*stub, *map(_markdown_cell, line.cells), *counts, *([line.tier] if trust else [])])
    if trust:
        rows += [[BLANK, _plain(one.name), f"*{_plain(one.reason)}*", *[""] * (len(heads) + 2)] for one in notices]
    align = ["---:"] * table.ranked + ["---"] + ["---:"] * (len(heads) + 2) + ["---"] * trust
    last = ["People", "Clusters", *(["Trust"] if trust else [])]
    return ["| " + " | ".join(row) + " |" for row in [[*first, *heads, *last], align, *rows]]


def _markdown_cell(cell: Cell) -> str:
    if not cell.value:
        return BLANK
    value = f"**{cell.value}**" if cell.best else cell.value
    value += FIRST_MARK if cell.first else ""
    value += f" ± {cell.spread}" if cell.spread else ""
    return f"{value} [{cell.interval[0]}, {cell.interval[1]}]" if cell.interval else value


def _plain(text: str) -> str:
    """Text of a submitter's as Markdown that shows it as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]|!#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


CSV_COLUMNS = (
    "table", "predictor", "rank", "rank_low", "rank_high", "suite", "by", "group", "metric", "value", "low", "high", "people",
    "clusters", "few", "seeds", "seed_sd", "first_group", "p_holm", "reads", "tier", "note",
)  # fmt: skip


def to_csv(board: BoardTables) -> str:
    """Every cell of the board as a row of CSV: tidy, for programs and spreadsheets; then a row per notice.

    ``first_group`` is ``best`` or ``yes`` for the members of a comparison's first group, else ``no``, and empty where nothing
    was compared; ``p_holm`` is the corrected p value of the difference from the best.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    reads = {record.predictor.name: " ".join(record.predictor.reads) for record in board.records}
    tiers = {record.predictor.name: record.tier for record in board.records}
    for table in board.tables:
        for line in table.lines:
            for cell in line.cells:
                low, high = cell.interval or ("", "")
                n = (cell.estimate.people, cell.estimate.clusters) if cell.estimate else (0, 0)
                group = cell.group
                row = {
                    "table": table.key, "predictor": inert(cell.predictor), "rank": board.ranks[cell.predictor],
                    **dict(zip(("rank_low", "rank_high"), board.rank_intervals.get(cell.predictor, ("", "")), strict=True)),
                    "suite": group.suite, "by": group.by, "group": group.group, "metric": cell.metric,
                    "value": cell.value, "low": low, "high": high, "people": n[0], "clusters": n[1],
                    "few": "yes" if few(*n) else "", "seeds": cell.seeds, "seed_sd": cell.spread,
                    "first_group": _group_word(cell), "p_holm": "" if cell.p is None else f"{cell.p:.4f}",
                    "reads": reads[cell.predictor], "tier": tiers[cell.predictor],
                }  # fmt: skip
                writer.writerow(row)
    for notice in board.notices:
        writer.writerow({"table": "notices", "predictor": inert(notice.name), "note": inert(notice.reason)})
    return stream.getvalue()


def inert(text: str) -> str:
    """A stranger's text as a cell that no spreadsheet takes for a formula: a quote before it where it looks like one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _group_word(cell: Cell) -> str:
    if cell.leads:
        return "best"
    if cell.p is None:
        return ""
    return "no" if cell.p < ALPHA else "yes"


def to_json(board: BoardTables) -> str:
    """The board as JSON for programs: numbers unrounded, null where there is none, everything that the other outputs say."""
    content = {
        "facts": board.facts,
        "metrics": {name: {**metric._asdict(), "label": LABELS[name]} for name, metric in board.protocol.metrics.items()},
        "rows": [
            {
                "predictor": row.record.predictor.model_dump(mode="json"),
                "rank": int(board.ranks[row.name]) if board.ranks[row.name] else None,
                "rank_interval": board.rank_intervals.get(row.name),
                "human": row.human,
                "tier": row.record.tier,
                "results": [
                    {
                        "seed": part.predictor.seed,
                        "predictions_digest": part.predictions_digest,
                        "record_digest": part.content_digest,
                        "protocol_version": part.protocol_version,
                        "revision": part.revision,
                        "created": part.created,
                    }
                    for part in row.parts
                ],
            }
            for row in board.rows
        ],
        "tables": [
            {
                "key": table.key,
                "title": table.title,
                "caption": table.caption,
                "cells": [_json_cell(cell) for cell in table.cells],
            }
            for table in board.tables
        ],
        "first": [
            {
                "suite": one.section,
                "condition": one.label,
                "best": one.result.best,
                "not_significantly_worse": list(one.others),
                "people": one.result.people,
                "clusters": one.result.clusters,
                "few": one.few,
            }
            for one in board.standings
        ],
        "without_number": [notice.model_dump(mode="json") for notice in board.notices],
        "published": board.published.records() if board.published else [],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_cell(cell: Cell) -> dict[str, object]:
    estimate = cell.estimate.model_dump(mode="json") if cell.estimate else {}
    by, suite, group = cell.group.key
    return {
        "predictor": cell.predictor, "metric": cell.metric, "by": by, "suite": suite, "group": group, **estimate,
        "seeds": cell.seeds, "seed_sd": cell.sd, "best": cell.best, "first_group": _group_word(cell) or None, "p_holm": cell.p,
    }  # fmt: skip
