"""How to cite a built dataset: ``CITATION.cff``, with its sources as references.

Conventions
-----------
Citation File Format 1.2.0 (https://citation-file-format.github.io). The dataset itself is credited to the program that made it:
whoever publishes one puts their own name there. The references are read from the sources' BibTeX; a citation that is not
BibTeX becomes a reference of type ``generic`` with its words in ``notes``: nothing is invented. No date is written, so the same
build gives the same file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from srgaze360.dataset import DatasetInfo, SourceInfo
from srgaze360.files import write_text

CITATION_FILE = "CITATION.cff"
# BibTeX entry type: CFF reference type; anything else is "generic"
TYPES: Mapping[str, str] = {
    "article": "article",
    "inproceedings": "conference-paper",
    "conference": "conference-paper",
    "book": "book",
    "phdthesis": "thesis",
    "techreport": "report",
    "software": "software",
    "dataset": "dataset",
}
# BibTeX field: CFF field of the same meaning, both plain text
FIELDS: Mapping[str, str] = {"journal": "journal", "volume": "volume", "number": "issue", "doi": "doi", "url": "url"}
ACCENTS: Mapping[str, str] = {
    "`": "\N{COMBINING GRAVE ACCENT}",
    "'": "\N{COMBINING ACUTE ACCENT}",
    "^": "\N{COMBINING CIRCUMFLEX ACCENT}",
    '"': "\N{COMBINING DIAERESIS}",
    "~": "\N{COMBINING TILDE}",
    "c": "\N{COMBINING CEDILLA}",
    "v": "\N{COMBINING CARON}",
}
_ACCENTED = re.compile(r"\\(?:([`'^\"~])|([cv])(?=[\s{]))\s*\{?\\?([A-Za-z])\}?")


class BibEntry(NamedTuple):
    """An entry of a BibTeX text: type in lower case, key, and fields (lower case) without braces or accent commands."""

    type: str
    key: str
    fields: Mapping[str, str]


def write_citation(out: Path, info: DatasetInfo) -> None:
    """Write ``CITATION.cff`` of the dataset in folder ``out``."""
    write_text(out / CITATION_FILE, yaml.safe_dump(citation(info), sort_keys=False, allow_unicode=True, width=120))


def citation(info: DatasetInfo) -> dict[str, Any]:
    """The citation of a dataset in the terms of CFF 1.2.0."""
    references = [reference for source in (*info.sources, *info.backgrounds) for reference in references_of(source)]
    return {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, cite it by name, version and label digest, and cite the sources it was made from.",
        "type": "dataset",
        "title": f"{info.name}: {info.recipe['title']}" if info.recipe.get("title") else info.name,
        "version": info.version,
        "authors": [{"name": "SRGaze360 (built by its recipe)"}],
        "abstract": "Photos with gaze labels, reprojected onto equirectangular panoramas. The photos keep their own terms: see "
        "LICENSES.md.",
        "keywords": ["gaze following", "360-degree images", "equirectangular", "reprojection"],
        "identifiers": [
            {"type": "other", "value": f"sha256:{value}", "description": f"{what} digest"}
            for what, value in (("recipe", info.recipe_digest), ("label", info.label_digest), ("pixel", info.pixel_digest))
        ],
        "references": references,
    }


def references_of(source: SourceInfo) -> list[dict[str, Any]]:
    """A source's citation as CFF references: one per BibTeX entry, or one that quotes it."""
    found = [_reference(entry) for entry in parse_bibtex(source.citation) if entry.fields.get("title")]
    if found:
        return found
    words = " ".join(source.citation.split())
    return [{"type": "generic", "title": source.title, "authors": [{"name": source.title}], "notes": words}]


def _reference(entry: BibEntry) -> dict[str, Any]:
    fields = entry.fields
    reference: dict[str, Any] = {
        "type": TYPES.get(entry.type, "generic"),
        "title": fields["title"],
        "authors": _authors(fields.get("author", "")) or [{"name": fields.get("organization", "anonymous")}],
    }
    if fields.get("year", "").isdigit():
        reference["year"] = int(fields["year"])
    reference |= {name: fields[key] for key, name in FIELDS.items() if key in fields}
    if "booktitle" in fields:
        reference |= {"collection-title": fields["booktitle"], "conference": {"name": fields["booktitle"]}}
    if "publisher" in fields:
        reference["publisher"] = {"name": fields["publisher"]}
    first, dash, last = fields.get("pages", "").replace("--", "-").partition("-")
    if first:
        reference |= {"start": first.strip()} | ({"end": last.strip()} if dash else {})
    return reference


def _authors(text: str) -> list[dict[str, str]]:
    """People of a BibTeX author field, "Family, Given and Given Family"; a name of one word is taken whole."""
    people = []
    for name in filter(None, re.split(r"\s+and\s+", text)):
        family, comma, given = (part.strip() for part in name.partition(","))
        if not comma:
            given, _, family = name.rpartition(" ")
        people.append({"family-names": family, "given-names": given} if given else {"name": family})
    return people


# --- BibTeX -----------------------------------------------------------------------------------------------------------


def parse_bibtex(text: str) -> list[BibEntry]:
    """Entries of a BibTeX text. Values in braces, quotes or bare are read; macros, ``#`` and comments are not known."""
    entries = []
    for match in re.finditer(r"@(\w+)\s*\{", text):
        body = _braced(text, match.end() - 1)
        key, comma, rest = body.partition(",")
        if comma:
            entries.append(BibEntry(match[1].lower(), key.strip(), dict(_fields(rest))))
    return entries


def _braced(text: str, start: int) -> str:
    """What is between the brace at ``start`` and the one that closes it (or the end, where none does)."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place]
    return text[start + 1 :]


def _fields(body: str) -> Iterator[tuple[str, str]]:
    place = 0
    while match := re.compile(r"[\s,]*([\w-]+)\s*=\s*").match(body, place):
        place = match.end()
        if body[place : place + 1] == "{":
            value = _braced(body, place)
            place += len(value) + 2
        else:
            quoted = re.compile(r'"([^"]*)"|([^,\s]*)').match(body, place)
            value = (quoted[1] or quoted[2] or "") if quoted else ""
            place = quoted.end() if quoted else len(body)
        yield match[1].lower(), _plain(value)


def _plain(value: str) -> str:
    """A BibTeX value without braces, accent commands and line breaks."""
    accented = _ACCENTED.sub(lambda m: unicodedata.normalize("NFC", m[3] + ACCENTS[m[1] or m[2]]), value)
    return " ".join(re.sub(r"[{}]", "", accented).replace("\\&", "&").split())
