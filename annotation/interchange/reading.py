"""Reading files that other programs wrote: XML and JSON, with limits, and with the place of whatever is wrong.

Conventions
-----------
XML is read as a stream by expat, one element of interest at a time. A document type is refused at its first character: no
entity is ever declared, so none is expanded, and nothing outside of the file is read. JSON is checked by models that
ignore what they do not know; a place in it is written ``annotations[3].bbox``. Files are UTF-8, with or without a byte order
mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar
from xml.parsers import expat

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from annotation.interchange.records import Faults
from srgaze360.errors import InputError

LARGEST = 2**30  # bytes of a file
DEEPEST = 32  # elements within one another
LONGEST_TEXT = 2**16  # characters within an element of interest
_CHUNK = 2**20
_ZIP = b"PK\x03\x04"
T = TypeVar("T")


Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]  # pixels, per cent or degrees


class Loose(BaseModel):
    """A part of a JSON file of somebody else: fields that are not declared are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


@dataclass
class Element:
    """An XML element: name, attributes, the text in it, the elements in it, its line."""

    name: str
    attributes: Mapping[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def where(self) -> str:
        """Its place in the file."""
        return f"line {self.line}"


def check_file(path: Path, what: str) -> None:
    """Raise InputError where there is no such file, or one that is empty, too large, or an archive."""
    if not path.is_file():
        raise InputError(f"Expected {what} at {path}, but there is no such file. Check the path.")
    size = path.stat().st_size
    if size > LARGEST:
        raise InputError(
            f"Expected {what} of at most {LARGEST >> 20} MB at {path}, found {size >> 20} MB. Export it in parts, by split or "
            "by task, and import them one after the other."
        )
    with path.open("rb") as stream:
        if stream.read(4) == _ZIP:
            raise InputError(f"Expected {what} at {path}, found a zip archive. Unpack it, and give the file of labels in it.")


# --- XML --------------------------------------------------------------------------------------------------------------


def read_xml(path: Path, what: str, root: str, wanted: Sequence[str]) -> Iterator[Element]:
    """Elements right below the root of an XML file whose names are wanted, each whole, in the order of the file.

    Raises
    ------
    InputError
        The file cannot be read, is no XML, has another root or a document type, or goes beyond the limits.
    """
    check_file(path, what)
    tree = _Tree(path, what, root, set(wanted))
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                tree.parser.Parse(chunk, False)
                yield from tree.take()
            tree.parser.Parse(b"", True)
            yield from tree.take()
    except expat.ExpatError as error:
        raise InputError(
            f"Expected {what} in {path}, but it is no XML: line {error.lineno}, column {error.offset}: "
            f"{expat.ErrorString(error.code)}. Export it again."
        ) from None


class _Tree:
    """Builds elements of interest as a parser finds them."""

    def __init__(self, path: Path, what: str, root: str, wanted: set[str]) -> None:
        self._path, self._what, self._root, self._wanted = path, what, root, wanted
        self._depth = 0
        self._open: list[Element] = []
        self._done: list[Element] = []
        self.parser = expat.ParserCreate("utf-8")  # whatever the file declares
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.buffer_text = True

    def take(self) -> list[Element]:
        done, self._done = self._done, []
        return done

    def _refuse(self, found: str) -> None:
        raise InputError(
            f"Expected {self._what} in {self._path}, found {found} in line {self.parser.CurrentLineNumber}. Export it again."
        )

    def _doctype(self, *_: object) -> None:
        self._refuse("a document type, which no annotation tool writes and which is not read,")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name != self._root:
            self._refuse(f"the root <{name[:40]}> instead of <{self._root}>")
        if self._depth > DEEPEST:
            self._refuse(f"more than {DEEPEST} elements within one another")
        if self._open or (self._depth == 2 and name in self._wanted):
            element = Element(name, attributes, self.parser.CurrentLineNumber)
            if self._open:
                self._open[-1].children.append(element)
            self._open.append(element)

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._open:
            element = self._open.pop()
            if not self._open:
                self._done.append(element)

    def _text(self, text: str) -> None:
        if self._open:
            element = self._open[-1]
            element.text += text
            if len(element.text) > LONGEST_TEXT:
                self._refuse(f"more than {LONGEST_TEXT} characters in <{element.name[:40]}>")


# --- JSON -------------------------------------------------------------------------------------------------------------


def read_json(path: Path, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value in a JSON file.

    Raises
    ------
    InputError
        The file cannot be read or is no JSON; with line and column.
    """
    check_file(path, what)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"Expected {what} in {path}, but it is no JSON: line {error.lineno}, column {error.colno}: {error.msg}. Export it "
            "again."
        ) from None
    except (ValueError, RecursionError) as error:  # of decoding, of numbers and of nesting without end
        raise InputError(f"Expected {what} in {path}, but it cannot be read: {error}. Export it again.") from None


def checked(adapter: TypeAdapter[T], value: Any, path: Path, what: str) -> T:  # noqa: ANN401 - any JSON value
    """A JSON value as a model; every fault is told with its place.

    Raises
    ------
    InputError
        It does not fit.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        faults = Faults(path)
        for fault in error.errors(include_url=False):
            found = fault["input"]
            shown = "" if isinstance(found, (dict, list)) or fault["type"] == "missing" else f" (found {str(found)[:60]!r})"
            faults.add(json_place(fault["loc"]), f"{fault['msg'][0].lower()}{fault['msg'][1:]}{shown}")
        faults.tell(what)
        raise


def json_place(keys: Sequence[str | int]) -> str:
    """A place in a JSON value, as ``annotations[3].bbox``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".") or "the whole file"
