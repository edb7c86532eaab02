"""Sources where they lie: a kind of source, the folder that holds it, and what was found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from builders.sources.base import Listing, Source, SourceOptions
from srgaze360.dataset import explain
from srgaze360.errors import InputError
from srgaze360.registry import Registry

SOURCES: Registry[Source] = Registry("srgaze360.sources", "source")


@dataclass(frozen=True)
class SourceFolder:
    """A source, the folder that holds it, and what was found there."""

    source: Source
    root: Path
    listing: Listing


def open_source(kind: str, root: Path, options: Mapping[str, Any]) -> SourceFolder:
    """Read the source of this kind in folder ``root`` with the options that a recipe gives it.

    Raises
    ------
    InputError
        There is no such kind, an option is not one of its, or the folder does not hold it.
    """
    source = SOURCES.get(kind)
    return SourceFolder(source, root, source.read(root, checked_options(source, options)))


def checked_options(source: Source, options: Mapping[str, Any]) -> SourceOptions:
    """Options of a source from plain values; raises InputError where one is not its."""
    try:
        return source.options.model_validate(options)
    except ValidationError as error:
        known = ", ".join(source.options.model_fields) or "none"
        raise InputError(
            f"Expected valid options for source {source.kind}, found: {explain(error).rstrip('.')}. Its options: {known}."
        ) from None
