"""Named tensors on disk: safetensors files that are written whole, read with suspicion, and never unpickled.

Conventions
-----------
A network's weights are its ``state_dict`` with each tensor once (weights that two layers share under their first name). Files
carry metadata: what they are, of which method, made under which settings, and a digest of names, shapes, types and bytes, so
that a file whose content changed on the way is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from srgaze360.errors import InputError, first_ids
from srgaze360.files import canonical_json, write_bytes

DIGEST = "digest"


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and bytes, whatever the order or the device."""
    content = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        content.update(canonical_json([name, list(tensor.shape), str(tensor.dtype)]).encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors and what they are about, atomically.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written to.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(kept, {**about, DIGEST: digest_tensors(kept)}))


def read_tensors(path: Path, about: Mapping[str, str], what: str) -> dict[str, Tensor]:
    """Read tensors that :func:`write_tensors` wrote about the same.

    Parameters
    ----------
    path
        The file.
    about
        What its metadata must say.
    what
        Name of such a file in errors ("weights", ...).

    Raises
    ------
    InputError
        There is no such file; it is no safetensors file (pickled ones are never opened), is truncated, has changed since it was
        written, or is about something else.
    """
    if not path.is_file():
        raise InputError(
            f"Expected {what} at {path}, but there is no such file. Train again, or copy the whole folder of the run."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            found = dict(stored.metadata() or {})
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"Expected {what} as safetensors at {path}, but it cannot be read: {_why(path, str(error))}. Remove it and train "
            "again, or copy it anew."
        ) from None
    wrong = [f"{key} {value!r}, found {found.get(key)!r}" for key, value in about.items() if found.get(key) != value]
    if wrong:
        raise InputError(
            f"Expected {what} at {path} with {'; '.join(wrong)}. They belong to another method, other settings or another "
            "training: give the folder that they came from, or train again."
        )
    if found.get(DIGEST) != digest_tensors(tensors):
        raise InputError(
            f"Expected {what} at {path} with digest {found.get(DIGEST)}, found {digest_tensors(tensors)}: the file changed "
            "after it was written. Copy it anew, or train again."
        )
    return tensors


def _why(path: Path, error: str) -> str:
    """What is wrong with a file that is no safetensors file."""
    with path.open("rb") as stream:
        start = stream.read(2)
    pickled = start == b"PK" or (start[:1] == b"\x80" and start[1:] in {b"\2", b"\3", b"\4", b"\5"})
    return (
        "it is a pickled file, which could run any program when opened and never is"
        if pickled
        else f"{error} (truncated, or something else)"
    )


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's state, each once; they share memory with the network."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


def check_alike(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """See to it that tensors have the names, shapes and types that are expected.

    Raises
    ------
    InputError
        They have not.
    """
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is unknown" for name in found if name not in expected]
    faults += [
        f"{name} has {_kind(found[name])} instead of {_kind(tensor)}"
        for name, tensor in expected.items()
        if name in found and _kind(found[name]) != _kind(tensor)
    ]
    if faults:
        raise InputError(
            f"Expected {what} with the {len(expected)} tensors of this network, found {len(faults)} that differ: "
            f"{first_ids(faults)}. They were made by another version of the method or with other options: train again."
        )


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return (*tensor.shape, str(tensor.dtype).removeprefix("torch."))


def put_weights(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors into a network of exactly these names, shapes and types.

    Raises
    ------
    InputError
        They are not those of this network.
    """
    mine = weights_of(network)
    check_alike(tensors, mine, what)
    # names and shapes are checked; loading lets modules refuse what they cannot take (an encoder with other frozen weights)
    network.load_state_dict(dict(tensors), strict=False)
