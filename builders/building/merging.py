"""Joining shards that were made apart: by several processes in one folder, or in several folders.

Conventions
-----------
The folder says which shards there are to be (``.build/build.json``) and which are done; nothing else is needed. Folders made
apart are of the same build if their plans and machines are the same; of two that have a shard, either serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from builders.building.finalise import count_reasons, finalise
from builders.building.folder import (
    BuildRecord,
    begin,
    missing_shards,
    other_build,
    read_record,
    read_rejected,
    read_shard,
    record_path,
    say_shards,
    shard_path,
    unused_path,
    write_shard,
)
from srgaze360.console import silent
from srgaze360.dataset import INFO_FILE, REJECTED_FILE, DatasetInfo, read_info
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import path_inside, write_bytes


def merge(
    out: Path, others: Sequence[Path] = (), advance: Callable[[int], None] = silent
) -> tuple[DatasetInfo, dict[str, int]]:
    """Make the dataset of a build whose shards are all done; returns its record, and rejections by reason.

    Parameters
    ----------
    out
        The build's folder.
    others
        Folders that hold further shards of the same build: what ``out`` lacks is copied from them, ``out`` is made if absent.
    advance
        Told the number of shards just copied.

    Raises
    ------
    InputError
        A folder holds no build, or another one; a file to copy is not what its shard says.
    CheckFailed
        Shards are missing.
    """
    for other in others:
        _copy_shards(other, out, advance)
    record = read_record(out)
    if (out / INFO_FILE).exists():
        return read_info(out), count_reasons(read_rejected(out / REJECTED_FILE))
    if missing := missing_shards(out, record.shards):
        command = record.command if record.command else "the build command without --shard"
        raise CheckFailed(
            f"Expected {record.shards} shards in {out}, but {len(missing)} are missing: {say_shards(missing)}. Run the parts "
            f"that failed again, or make all that are missing and the dataset with one command: {command}."
        )
    return finalise(out, record)


def _copy_shards(other: Path, out: Path, advance: Callable[[int], None]) -> None:
    theirs: BuildRecord = read_record(other)
    ours = read_record(out) if record_path(out).exists() else theirs
    if difference := other_build(ours, theirs.plan, theirs.machine):
        raise InputError(
            f"Expected {other} to hold shards of the build in {out}, but it was begun with {difference}. Merge only what the "
            "same build command made, on machines with the same versions."
        )
    begin(out, ours, read_rejected(unused_path(other)), overwrite=False)
    for index in missing_shards(out, ours.shards):
        if not shard_path(other, index).exists():
            continue
        shard = read_shard(other, index)
        for entry in (made.entry for made in shard.made if made.entry is not None):
            source = path_inside(other, entry["path"])
            content = source.read_bytes() if source.is_file() else b""
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise InputError(
                    f"Expected {source} to be as shard {index} made it, but it is {'damaged' if content else 'missing'}. "
                    f"Delete {shard_path(other, index)}, build that part again, then merge again."
                )
            write_bytes(path_inside(out, entry["path"]), content, sync=False)
        write_shard(out, index, shard)
        advance(1)
