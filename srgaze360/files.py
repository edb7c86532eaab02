"""Files, digests and seeds: small things that must be the same on every machine.

Conventions
-----------
Digests are lower-case hexadecimal SHA-256 of *content*: canonical JSON (sorted keys, no spaces, shortest float that reads
back), decoded pixels, or bytes of a file. Files are written beside their place, synced, and renamed: whoever looks sees the
old file or the new one. Generators of random numbers are functions of (seed, keys), never of order, time or worker.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgaze360.errors import EnvironmentProblem, InputError, first_ids

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON with sorted keys, no spaces, no NaN: equal values give equal text."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_pixels(pixels: NDArray[Any]) -> str:
    """SHA-256 of an image's shape, type and values, so that equal pixels give equal digests whatever file holds them."""
    content = hashlib.sha256(f"{pixels.shape}{pixels.dtype.str}".encode())
    content.update(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return content.hexdigest()


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """Random generator that is a function of ``seed`` and ``keys`` alone.

    The keys are hashed, so neighbouring seeds and similar names give unrelated streams on every platform.
    """
    return np.random.Generator(np.random.PCG64(int(digest([seed, *keys])[:32], 16)))


TEMPORARY_PATTERN = ".*.tmp.*"


@contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it is synced and renamed to ``path``, else removed.

    ``sync=False`` leaves it to the system when the content reaches the disk: it survives the program, not a power cut.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written to.
    """
    # the suffix stays last: writers choose their format by it
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.{path.suffix.removeprefix('.')}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sync:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"Expected to write {path}, but the system refused: {error.strerror or error}. Check free space and permissions "
            f"of {path.parent}, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path`` to fill; on success it takes that name (of an empty folder, too), else it is removed.

    What a killed run left beside is removed first, so one process at a time may write ``path``.

    Raises
    ------
    EnvironmentProblem
        The disk is full or a folder cannot be written to.
    """
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"Expected to write the folder {path}, but the system refused: {error.strerror or error}. Check free space and "
            f"permissions of {path.parent}, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_folder(data_root: Path, out: Path) -> Iterator[Path]:
    """:func:`atomic_folder` for what is made from the dataset in folder ``data_root``, apart from it.

    Raises
    ------
    InputError
        ``out`` is a file, is not empty, or lies inside the dataset (or the dataset inside it).
    EnvironmentProblem
        The system refused to write.
    """
    root, target = data_root.resolve(), out.resolve()
    if target == root or root in target.parents or target in root.parents:
        raise InputError(f"Expected --out apart from the dataset {data_root}, found {out}. Give a folder elsewhere.")
    if out.is_dir() and any(out.iterdir()):
        held = first_ids(sorted(path.name for path in out.iterdir()))
        raise InputError(f"Expected --out {out} to be new or empty, found there: {held}. Give another folder.")
    if out.exists() and not out.is_dir():
        raise InputError(f"Expected --out {out} to be a folder, found a file. Give another name.")
    with atomic_folder(target) as beside:
        yield beside


def place_image(source: Path, target: Path, *, link: bool) -> None:
    """Copy a panorama, or hard-link it: a link costs no space, but whoever edits it in place edits the dataset.

    Raises
    ------
    InputError
        There is no such panorama, or a link would lead to another file system.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if link:
            os.link(source, target)
        else:
            shutil.copyfile(source, target)
    except FileNotFoundError:
        raise InputError(
            f"Expected a panorama at {source}, but there is no such file. Run `srgaze360 verify` on the dataset, mend it, then "
            "run the same command again."
        ) from None
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise InputError(
            f"Expected {target.parent} on the file system of {source}, as hard links need it, found another. Leave out --link."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8, Unix line ends)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a binary file atomically."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def read_json(path: Path, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file; ``what`` names it in errors ("run record", ...)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"Expected a {what} at {path}, but there is no such file. Check the path.") from None
    except (ValueError, RecursionError) as error:  # of decoding too, and of numbers and nesting without end
        raise InputError(f"Expected a {what} in JSON at {path}, but it cannot be read: {error}. Write it again.") from None


def path_inside(root: Path, relative: str) -> Path:
    """Join a POSIX path to ``root``.

    Raises
    ------
    InputError
        The path is absolute or climbs out of ``root``.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\\" in relative or "\0" in relative:
        raise InputError(f"Expected a relative path that stays inside {root}, found {relative!r}. Mend the file that names it.")
    return root.joinpath(*parts)
