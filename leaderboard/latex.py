r"""The board as LaTeX, to be ``\input`` in a paper: booktabs tables, one float each.

Conventions
-----------
Needs ``booktabs``, and ``graphicx`` to shrink tables that are wider than the text. Best bold, second underlined,
``\textsuperscript{a}`` for what is not significantly worse than the best, ``\textsuperscript{c}`` for groups too small to lean
on. Intervals stand below their number in small type. What a submitter says of itself is escaped, so that it is text whatever it
holds; letters beyond Latin need a font that has them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from leaderboard.notices import Notice
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
    return "\n".join(head) + "\n" + "".join(f"\n{_table(table, board.notices)}" for table in board.tables)


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
    inner = [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%", *inner, "}"]  # smaller where it is too wide
    caption = f"{escaped(table.title)}: {escaped(table.caption)} Best bold, second underlined; \\textsuperscript{{a}} not "
    caption += (
        "significantly worse than the best; \\textsuperscript{c} too few people or clusters to lean on; below each number "
    )
    caption += "its 95\\,\\% interval." + (f" {escaped(TRUST_NOTE)}" if ranking else "")
    outer = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:srgaze360-{table.key}}}",
        r"\vspace{4pt}",
        r"\small",
        *inner,
    ]
    return "\n".join([*outer, r"\end{table*}"]) + "\n"


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
