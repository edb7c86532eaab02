"""Numbers from papers and public code, as published: to be read beside a board, never on it.

Conventions
-----------
Nothing here was computed by us. A file of ``leaderboard/literature`` holds the published numbers of one protocol on one split
of one dataset. Each row says which method, where it was published, where the numbers were read, what was measured (the
*definition* of every column), the numbers with the digits they were printed with, and what is doubtful about them. What is not
known is said to be ``not known``. "Average distance" means three things in the field and AUC five, so rows are listed
definition by definition: within a section of such a table, and only there, a column holds one quantity.

Boards show a table in a section of its own, for the protocol, dataset and split that it is of and for no others. It has no
ranks, and no column in common with a table of ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srgaze360.dataset import explain
from srgaze360.errors import InputError, suggestion
from srgaze360.settings import read_mapping, shipped

LITERATURE = files("leaderboard") / "literature"

STATUS = "as published, not re-run"
TITLE = "As published, not re-run"
CAPTION = (
    "Numbers of papers and of public code on the {split} split of {title}, as they stand there. Nobody ran these methods for "
    "this board: they have no rank, and a difference from a number above may be one of definition. A column holds one quantity "
    "within a section only."
)

Text = Annotated[str, Field(min_length=1)]
Number = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Part):
    """A published quantity: title, unit, which sense is better, and the largest value that it can have."""

    title: Text
    unit: str = ""
    better: Literal["lower", "higher"]
    most: float = Field(gt=0.0)

    @property
    def heading(self) -> str:
        """Title with the unit, as tables have it."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


class Definition(_Part):
    """What was measured: a title, and in words what each column is."""

    title: Text
    columns: dict[str, Text]


class PublishedRow(_Part):
    """A published result. ``printed`` has numbers by column, with the digits of the source; ``note`` says what is doubtful."""

    method: Text
    source: str
    reading: str
    definition: str
    printed: dict[str, Number] = Field(min_length=1)
    note: str = ""


class PublishedTable(_Part):
    """The published numbers of one protocol, dataset and split.

    ``sources`` are publications, ``readings`` the places where their numbers were read; rows name both, and their definition,
    by key.
    """

    schema_version: Literal[1] = 1
    protocol: Text
    datasets: list[Text] = Field(min_length=1)
    split: Text
    title: Text
    columns: dict[str, Column] = Field(min_length=1)
    definitions: dict[str, Definition]
    readings: dict[str, Text]
    sources: dict[str, Text]
    rows: list[PublishedRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> PublishedTable:
        known = {"source": [*self.sources], "reading": [*self.readings], "definition": [*self.definitions]}
        for what, names in known.items():
            used = [getattr(row, what) for row in self.rows]
            if unknown := [name for name in used if name not in names]:
                raise ValueError(f"no {what} {unknown[0]!r}")
            if idle := [name for name in names if name not in used]:
                raise ValueError(f"no row has the {what} {idle[0]!r}")
        for row in self.rows:
            defined = self.definitions[row.definition].columns
            for name, value in row.printed.items():
                if name not in self.columns or name not in defined:
                    raise ValueError(f"{row.method}: column {name!r} is not defined")
                if float(value) > self.columns[name].most:
                    raise ValueError(f"{row.method}: {name} cannot be {value}")
        keys = [(row.method, row.source, row.reading) for row in self.rows]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"{twice[0][0]}: the same result twice")
        return self

    @property
    def caption(self) -> str:
        """What a reader must know first."""
        return CAPTION.format(split=self.split, title=self.title)

    @property
    def sections(self) -> Iterator[tuple[str, Definition, list[PublishedRow]]]:
        """The rows by definition: key, definition, rows; in the order of the file."""
        for key, definition in self.definitions.items():
            yield key, definition, [row for row in self.rows if row.definition == key]

    @property
    def marks(self) -> dict[str, int]:
        """The number under which each reading is listed below a table."""
        return {key: number for number, key in enumerate(self.readings, start=1)}

    def defined(self, definition: Definition) -> list[tuple[str, str]]:
        """What each column of a section is: its title, and in words."""
        return [(column.title, definition.columns[name]) for name, column in self.columns.items() if name in definition.columns]

    def records(self) -> list[dict[str, str]]:
        """Every row as one flat mapping that says everything by itself: what CSV and JSON hold."""
        return [
            {
                "status": STATUS,
                "protocol": self.protocol,
                "dataset": self.title,
                "split": self.split,
                "method": row.method,
                **{name: row.printed.get(name, "") for name in self.columns},
                **{f"{name}_definition": definition.columns.get(name, "") for name in self.columns},
                "source": self.sources[row.source],
                "read_in": self.readings[row.reading],
                "note": row.note,
            }
            for _, definition, rows in self.sections
            for row in rows
        ]


@cache
def published_table(name: str) -> PublishedTable:
    """The published table of a name, or of a YAML file.

    Raises
    ------
    InputError
        There is no such table, or it is not one.
    """
    content: dict[str, Any] = read_mapping(name, "table of published numbers", LITERATURE)
    try:
        return PublishedTable.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"Expected a table of published numbers in {name!r}, found: {explain(error)}. Mend the file."
        ) from None


def published_tables(protocol: str | None = None) -> list[PublishedTable]:
    """All published tables, or those of a protocol.

    Raises
    ------
    InputError
        No table is of that protocol.
    """
    tables = [published_table(name) for name in shipped(LITERATURE)]
    known = sorted({table.protocol for table in tables})
    if protocol is not None and protocol not in known:
        raise InputError(f"Expected a protocol with published numbers, found {protocol!r}. {suggestion(protocol, known)}")
    return [table for table in tables if protocol in (None, table.protocol)]


def published(protocol: str, dataset: str, split: str) -> PublishedTable | None:
    """The published numbers that may be shown beside a board of this protocol, dataset and split: mostly none."""
    for table in published_tables():
        if (table.protocol, table.split) == (protocol, split) and dataset.casefold() in table.datasets:
            return table
    return None


def to_csv(table: PublishedTable) -> str:
    """Published numbers as CSV, a file of their own."""
    stream = io.StringIO()
    records = table.records()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()
