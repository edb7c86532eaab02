"""Methods that a board names without a number: what they are, and why there is none.

Conventions
-----------
A notice is ``BOARD/notices/<name>.json``. It has no rank and is shown below the rows that have one. A result of the same
method takes its place. What a notice says is text of a stranger, as everything of a submission is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srgaze360.dataset import explain
from srgaze360.errors import InputError
from srgaze360.files import read_json, write_text

NOTICES = "notices"


class Notice(BaseModel):
    """A method without a number; ``reason`` says in a few words why, for instance ``needs weights``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=100)
    summary: str = ""
    source: str = ""
    reason: str = Field(min_length=1, max_length=200)


def write_notice(path: Path, notice: Notice) -> None:
    """Write a notice."""
    write_text(path, notice.model_dump_json(indent=2) + "\n")


def read_notices(board: Path) -> dict[Path, Notice]:
    """The notices of a board by file, sorted by file name.

    Raises
    ------
    InputError
        A file there is not a notice.
    """
    return {path: _read_notice(path) for path in sorted((board / NOTICES).glob("*.json"))}


def _read_notice(path: Path) -> Notice:
    try:
        return Notice.model_validate(read_json(path, "notice (made by leaderboard.board.add_notice)"))
    except ValidationError as error:
        raise InputError(f"Expected a notice (schema 1) in {path}, found: {explain(error)}. Delete it or mend it.") from None
