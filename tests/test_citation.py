"""``CITATION.cff``: the shape of CFF 1.2.0, and references read from BibTeX without inventing anything."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import fake_dataset

from builders.publishing.citation import citation, parse_bibtex, references_of, write_citation
from srgaze360.dataset import Dataset, SourceInfo

# The parts of the CFF 1.2.0 schema that matter here: required keys, and every key that may appear.
REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {"abstract", "identifiers", "keywords", "references", "type", "version"}
REFERENCE_REQUIRED = {"authors", "title", "type"}
REFERENCE_ALLOWED = REFERENCE_REQUIRED | {
    "collection-title", "conference", "doi", "end", "issue", "journal", "notes", "publisher", "start", "url", "volume", "year",
}  # fmt: skip
REFERENCE_TYPES = {"article", "book", "conference-paper", "dataset", "generic", "report", "software", "thesis"}


def check_authors(authors: list[dict[str, str]]) -> None:
    assert authors
    for author in authors:
        assert set(author) in ({"name"}, {"family-names", "given-names"})
        assert all(value and value == value.strip() for value in author.values())


def check_reference(reference: dict[str, Any]) -> None:
    assert REFERENCE_REQUIRED <= set(reference) <= REFERENCE_ALLOWED
    assert reference["type"] in REFERENCE_TYPES
    check_authors(reference["authors"])
    assert isinstance(reference.get("year", 2000), int)
    words = [reference["title"], *(value for author in reference["authors"] for value in author.values())]
    assert not [word for word in words if re.search(r"[{}\\]", word)]


def source(text: str, title: str = "Set") -> SourceInfo:
    return SourceInfo(kind="set", title=title, licence="MIT", citation=text, photos=1, people=1)


def test_the_file_has_the_shape_of_cff(fake: Dataset) -> None:
    write_citation(fake.root, fake.info)
    content = yaml.safe_load((fake.root / "CITATION.cff").read_text(encoding="utf-8"))
    assert content == citation(fake.info)
    assert REQUIRED <= set(content) <= ALLOWED
    assert (content["cff-version"], content["type"], content["version"]) == ("1.2.0", "dataset", "1.0.0")
    check_authors(content["authors"])
    for identifier in content["identifiers"]:
        assert set(identifier) == {"type", "value", "description"}
        assert identifier["type"] == "other"
    assert f"sha256:{fake.info.label_digest}" in {item["value"] for item in content["identifiers"]}
    for reference in content["references"]:
        check_reference(reference)


@pytest.mark.parametrize("point", entry_points(group="srgaze360.sources"), ids=lambda point: point.name)
def test_every_source_can_be_cited(point: Any) -> None:
    found = point.load()
    references = references_of(source(found.citation, found.title))
    for reference in references:
        check_reference(reference)
    assert (references[0]["type"] == "generic") == ("@" not in found.citation)
    assert len(references) == max(found.citation.count("\n@") + found.citation.startswith("@"), 1)


def test_an_article_is_read_field_by_field() -> None:
    text = r"""@Article{dai2025, author = {Dai, Jingzhao and Yang Li and {UNESCO}}, title = {{MMRGaze360}: a {N}etwork},
      journal = "IET Image Processing", year = 2025, volume = {19}, number = {1}, pages = {10--22},
      doi = {10.1049/ipr2.70078}, publisher = {Wiley} }"""
    assert references_of(source(text)) == [
        {
            "type": "article",
            "title": "MMRGaze360: a Network",
            "authors": [
                {"family-names": "Dai", "given-names": "Jingzhao"},
                {"family-names": "Li", "given-names": "Yang"},
                {"name": "UNESCO"},
            ],
            "year": 2025,
            "journal": "IET Image Processing",
            "volume": "19",
            "issue": "1",
            "doi": "10.1049/ipr2.70078",
            "publisher": {"name": "Wiley"},
            "start": "10",
            "end": "22",
        }
    ]


def test_accents_become_letters() -> None:
    text = r"""@misc{a, author = {Recasens, Adri{\`a} and M{\"u}ller, J\'{o}zef and Fran\c{c}ois, Zo\"e},
      title = {T \& {\^i}le}}"""
    [entry] = parse_bibtex(text)
    assert entry.fields["author"] == "Recasens, Adrià and Müller, Józef and François, Zoë"
    assert entry.fields["title"] == "T & île"


def test_words_that_are_no_bibtex_are_quoted_and_nothing_is_invented(tmp_path: Path) -> None:
    words = "Cite the origin of each panorama."
    assert references_of(source(words, "Panoramas")) == [
        {"type": "generic", "title": "Panoramas", "authors": [{"name": "Panoramas"}], "notes": words}
    ]
    assert references_of(source("@misc{key, author = {A, B}}"))[0]["notes"] == "@misc{key, author = {A, B}}"
    assert parse_bibtex("@book{unclosed, title = {A") != []
    data = fake_dataset(tmp_path / "data", people=2)
    assert [item["notes"] for item in citation(data.info)["references"]] == ["none"]
