r"""The board as LaTeX, to be ``\input`` in a paper: booktabs tables, one float each.

Conventions
-----------
Needs ``booktabs``, and ``graphicx`` to shrink tables that are wider than the text. Best bold, second underlined,
``\textsuperscript{a}`` for what is not significantly worse than the best, ``\textsuperscript{c}`` for groups too small to lean
on. Intervals stand below their number in small type. Published numbers have two floats of their own: the numbers, and what they
are. What a submitter says of itself is escaped, so that it is text whatever it
holds; letters beyond Latin need a font that has them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from leaderboard.notices import Notice
from leaderboard.published import TITLE, PublishedTable
from leaderboard.tables import ARROWS, BoardTables, Cell, Heading, Line, Table
from leaderboard.text import TRUST_NOTE

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''", "°": r"\textdegree{}", "–": "--", "ᵃ": r"\textsuperscript{a}", "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}", "±": r"$\pm$", "×": r"$\times$", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}  # fmt: skip
_ARROWS = dict(zip(ARROWS.values(), (r"$\downarrow$", r"$\uparrow$"), strict=True))


def latex(board: BoardTables) -> str:
    """Every table of the board, after a comment that says what it is of."""
    facts = [f"% {name}: {' '.join(value.split())}" for name, value in board.facts.items()]
    head = [r"% Made by srgaze360 board build. Needs \usepackage{booktabs,graphicx}.", *facts]
    tables = [_table(table, board.notices) for table in board.tables]
    also = [_published(board.published), _definitions(board.published)] if board.published else []
    return "\n".join(head) + "\n" + "".join(f"\n{table}" for table in [*tables, *also])


def escaped(text: str) -> str:
    """Text as LaTeX that prints it, on one line."""
    printable = (letter for letter in " ".join(text.split()) if not unicodedata.category(letter).startswith("C"))
    return "".join(_ESCAPES.get(letter, letter) for letter in printable)


def _table(table: Table, notices: Sequence[Notice]) -> str:
    ranking = table.key == "ranking"
    columns = "r" * table.ranked + "l" + "r" * (len(table.headings) + 2) + "l" * ranking
    heads = [*(["\\#"] if table.ranked else []), escaped(table.stub), *map(_heading, table.headings), "People", "Clusters"]
    body: list[str] = []
    section = ""
    for line in table.lines:
        if line.section != section:
            section = line.section
            body.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{escaped(section)}}}}}")
        if line.human:
            body.append(r"\midrule")
        body += _rows(line, table.ranked, ranking)
    if ranking:
        body += [
            f"-- & {escaped(one.name)} & \\multicolumn{{{len(columns) - 2}}}{{l}}{{{escaped(one.reason)}}}" for one in notices
        ]
    lines = [row if row == r"\midrule" else rf"{row} \\" for row in body]
    inner = [
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        " & ".join([*heads, *(["Trust"] if ranking else [])]) + r" \\",
    ]
    inner += [r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    caption = f"{escaped(table.title)}: {escaped(table.caption)} Best bold, second underlined; \\textsuperscript{{a}} not "
    caption += (
        "significantly worse than the best; \\textsuperscript{c} too few people or clusters to lean on; below each number "
    )
    caption += "its 95\\,\\% interval." + (f" {escaped(TRUST_NOTE)}" if ranking else "")
    return _float(table.key, caption, _fitted(inner))


def _float(key: str, caption: str, inner: Sequence[str], size: str = r"\small") -> str:
    head = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:srgaze360-{key}}}",
        r"\vspace{4pt}",
        size,
    ]
    return "\n".join([*head, *inner, r"\end{table*}"]) + "\n"


def _fitted(tabular: Sequence[str]) -> list[str]:
    """A tabular that is made smaller where it is too wide."""
    return [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%", *tabular, "}"]


def _published(table: PublishedTable) -> str:
    """The float of published numbers: sections by definition, remarks and readings by number."""
    remarks = _remarks(table)
    heads = ["Method", *(column.heading for column in table.columns.values()), "Source"]
    body: list[str] = []
    for _, definition, rows in table.sections:
        body.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{\textit{{{escaped(definition.title)}}}}} \\")
        for row in rows:
            method = escaped(row.method) + (rf"\textsuperscript{{{remarks[row.note]}}}" if row.note else "")
            values = [row.printed.get(name, "--") for name in table.columns]
            source = f"{escaped(table.sources[row.source])} [{table.marks[row.reading]}]"
            body.append("{}" + " & ".join([method, *values, source]) + r" \\")
    inner = [
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}l@{{}}}}",
        r"\toprule",
        " & ".join(map(escaped, heads)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return _float("published", f"{escaped(TITLE)}: {escaped(table.caption)}", _fitted(inner), r"\footnotesize")


def _definitions(table: PublishedTable) -> str:
    """The float that says what the published numbers are, what is doubtful, and where they were read."""
    paragraphs = [
        rf"\textit{{{escaped(definition.title)}}}: "
        + " ".join(f"{escaped(title)}: {escaped(text)}." for title, text in table.defined(definition))
        for _, definition, _ in table.sections
    ]
    paragraphs += [rf"\textsuperscript{{{number}}} {escaped(text)}." for text, number in _remarks(table).items()]
    paragraphs += [f"[{number}] Read in: {escaped(table.readings[key])}." for key, number in table.marks.items()]
    inner = [r"\begin{minipage}{\textwidth}", "\n\n".join(paragraphs), r"\end{minipage}"]
    return _float("published-definitions", "What the published numbers are", inner, r"\footnotesize")


def _remarks(table: PublishedTable) -> dict[str, int]:
    """The number of each remark, in the order of the rows; equal ones share it."""
    notes = dict.fromkeys(row.note for _, _, rows in table.sections for row in rows if row.note)
    return {note: number for number, note in enumerate(notes, start=1)}


def _heading(heading: Heading) -> str:
    arrow = f" {_ARROWS[heading.arrow]}" if heading.arrow else ""
    title = escaped(heading.title)
    return rf"\shortstack[r]{{{title}\\{{}}[{escaped(heading.unit)}]{arrow}}}" if heading.unit else title + arrow


def _rows(line: Line, ranked: bool, ranking: bool) -> list[str]:
    """A line of numbers and, where there are any, one of their intervals below."""
    label = escaped(line.label)
    label = rf"\textit{{{label}}}" if line.human else label
    label += (r"\textdagger{}" if line.reads else "") + (r"\textsuperscript{c}" if line.few else "")
    label += f" ({line.seeds} seeds)" if line.seeds > 1 else ""
    rank = rf"{line.rank} {{\scriptsize({escaped(line.ranks)})}}" if line.ranks else line.rank
    first = [rank or "--", label] if ranked else [label]
    numbers = [*first, *map(_number, line.cells), str(line.people), str(line.clusters), *([line.tier] if ranking else [])]
    rows = ["{}" + " & ".join(numbers)]  # a label that begins with [ or * is no argument of the row before
    if any(cell.interval for cell in line.cells):
        below = [rf"{{\scriptsize {cell.interval[0]}--{cell.interval[1]}}}" if cell.interval else "" for cell in line.cells]
        rows.append(" & ".join([*[""] * len(first), *below, "", "", *([""] if ranking else [])]))
    return rows


def _number(cell: Cell) -> str:
    if not cell.value:
        return "--"
    value = rf"\textbf{{{cell.value}}}" if cell.best else rf"\underline{{{cell.value}}}" if cell.second else cell.value
    value += r"\textsuperscript{a}" if cell.first else ""
    return value + (rf" {{\scriptsize$\pm${cell.spread}}}" if cell.spread else "")
