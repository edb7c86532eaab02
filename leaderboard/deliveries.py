"""What people hand in: a predictions file, or a folder or zip that holds one.

Conventions
-----------
A folder or zip holds exactly one file whose name ends in ``.parquet``, ``.csv`` or ``.jsonl``, at any depth, with the header
beside it (``FILE.json``) where it is text; other files are left alone. Nothing is followed out of the folder: symbolic links,
absolute names and names that climb are refused, and so is what unpacks to more than a predictions file may hold. A submission's
digest is that of the file inside, zipped or not.
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from srgaze360.errors import EnvironmentProblem, InputError, first_ids
from srgaze360.files import path_inside
from srgaze360.predictions import MAX_BYTES, MAX_HEADER_BYTES, SUFFIXES

MAX_ENTRIES = 1000
_BLOCK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack a file whole before anything can be counted
# What zipfile raises on damaged content: OSError where an offset leads out of the file, NotImplementedError of later versions,
# UnicodeDecodeError of names; and inflate's own error.
_BROKEN = (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError, EOFError, zlib.error)


@contextmanager
def delivered(path: Path) -> Iterator[Path]:
    """Yield the predictions file that was handed in; what is unpacked is removed afterwards.

    Raises
    ------
    InputError
        A folder or zip holds none or several predictions files, a link, a name that leaves it, or
        too much; a zip is damaged or encrypted.
    EnvironmentProblem
        There is no room to unpack a zip.
    """
    if path.is_dir():
        yield path / _chosen(_listed(path), path)
    elif path.is_file() and zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory(prefix="srgaze360-") as place:
            yield _unpacked(path, Path(place))
    else:
        yield path  # whether it is a predictions file is for its reader to say


def _listed(folder: Path) -> list[str]:
    found: list[str] = []
    for item in sorted(folder.rglob("*")):
        name = item.relative_to(folder).as_posix()
        if item.is_symlink():
            raise InputError(f"Expected files in {folder}, found the symbolic link {name}. Put the file itself there.")
        if item.is_file():
            found.append(name)
        if len(found) > MAX_ENTRIES:
            raise InputError(f"Expected at most {MAX_ENTRIES} files in {folder}, found more. Hand in the predictions alone.")
    return found


def _chosen(names: list[str], path: Path) -> str:
    """The one predictions file among the names in a folder or zip."""
    shown = [name for name in names if not _hidden(name)]
    chosen = [name for name in shown if PurePosixPath(name).suffix in SUFFIXES]
    if len(chosen) != 1:
        found = first_ids(chosen) if chosen else f"none among {len(shown)} files" if shown else "no file"
        raise InputError(
            f"Expected one predictions file ({', '.join(SUFFIXES)}) in {path}, found {found}. Hand in one of them alone."
        )
    return chosen[0]


def _hidden(name: str) -> bool:
    """What operating systems add to folders and zips of their own accord."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _unpacked(path: Path, place: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path)
            chosen = _chosen(list(entries), path)
            sizes = {chosen: MAX_BYTES, f"{chosen}.json": MAX_HEADER_BYTES}
            for name, most in sizes.items():
                if name in entries:
                    _extract(archive, entries[name], place / PurePosixPath(name).name, most, path)
    except _BROKEN as error:
        raise InputError(f"Expected a zip at {path}, but it cannot be unpacked: {error}. Zip the predictions again.") from None
    return place / PurePosixPath(chosen).name


def _entries(archive: zipfile.ZipFile, path: Path) -> Mapping[str, zipfile.ZipInfo]:
    """Files of a zip by name, none of which is a link, encrypted, there twice, or out of place."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise InputError(f"Expected at most {MAX_ENTRIES} files in {path}, found {len(infos)}. Hand in the predictions alone.")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        path_inside(path, info.filename)
        if info.is_dir():
            continue
        fault = (
            f"packed in a way that is not read (method {info.compress_type}; use deflate)" if info.compress_type not in _METHODS
            else "a symbolic link" if stat.S_ISLNK(info.external_attr >> 16)
            else "encrypted" if info.flag_bits & 1
            else "there twice" if info.filename in found
            else ""
        )  # fmt: skip
        if fault:
            raise InputError(
                f"Expected plain files in {path}, found that {info.filename!r} is {fault}. Zip the predictions again."
            )
        found[info.filename] = info
    return found


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, most: int, path: Path) -> None:
    """Unpack a file, counting what comes out: what the zip declares about itself may be wrong."""
    written = 0
    with archive.open(info) as packed, target.open("wb") as unpacked:
        while block := packed.read(_BLOCK):
            written += len(block)
            if written > most:
                raise InputError(
                    f"Expected at most {most} bytes in {info.filename!r} of {path}, found more when unpacking it. Store "
                    "heatmaps as float16."
                )
            try:
                unpacked.write(block)
                unpacked.flush()
            except OSError as error:  # of the disk, and not of the zip
                raise EnvironmentProblem(
                    f"Expected to unpack {info.filename!r} of {path} to {target.parent}, but the system refused after "
                    f"{written} bytes: {error.strerror or error}. Make room there, or unpack it yourself and hand in the file."
                ) from None
