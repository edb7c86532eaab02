"""Devices: which one a name means here, how precisely it computes, how much of its memory was needed, and its random numbers.

Conventions
-----------
Names are ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` and ``cuda:1``. Memory is bytes. Random numbers of torch are
functions of (seed, keys), as everywhere in this project: never of what was drawn before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.files import digest


def resolve_device(device: str, local_rank: int = 0) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` names on this machine.

    Parameters
    ----------
    device
        The name; without a number, a GPU is the one of this process.
    local_rank
        Number of this process among those of the machine, for several GPUs.

    Raises
    ------
    InputError
        The name means no kind of device.
    EnvironmentProblem
        There is no such GPU here.
    """
    named = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if named is None:
        raise InputError(
            f"Expected a device auto, cpu, cuda or cuda:N, found {device!r}. Give one of these, e.g. `--device auto`."
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not found):
        return torch.device("cpu")
    index = int(named[1]) if named[1] else local_rank
    if index >= found:
        has = f"{found} of them (cuda:0 to cuda:{found - 1})" if found else "none that PyTorch can use"
        raise EnvironmentProblem(
            f"Expected a GPU cuda:{index} for device {device!r}, found {has} on this machine (torch {torch.__version__}). Name "
            "one that is there, start no more processes than GPUs, or take `--device cpu`."
        )
    return torch.device("cuda", index)


def computes_in_bf16(device: torch.device, precision: str) -> bool:
    """Whether networks compute in bfloat16 under ``auto``, ``fp32`` or ``bf16``: ``auto`` is bf16 on a GPU that knows it.

    Raises
    ------
    EnvironmentProblem
        bf16 is asked for on a GPU that has none.
    """
    if device.type != "cuda":
        return precision == "bf16"
    able = bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if precision == "bf16" and not able:
        raise EnvironmentProblem(
            f"Expected a GPU that computes in bf16, found {torch.cuda.get_device_name(device)}, which does not. Take "
            "`--set train.precision=fp32`, or `auto`."
        )
    return able and precision != "fp32"


def mixed_precision(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Context in which a network computes at the precision of the settings; weights and losses stay float32."""
    context: AbstractContextManager[Any] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=computes_in_bf16(device, precision)
    )
    return context


def forget_peak_memory(device: torch.device) -> None:
    """Start to measure the peak of a GPU's memory anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Largest amount of a GPU's memory that tensors took since :func:`forget_peak_memory`, bytes; None on a CPU."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def torch_seed(seed: int, *keys: str | int) -> int:
    """Seed of torch's generators that is a function of ``seed`` and ``keys`` alone (63 bits)."""
    return int(digest([seed, *keys])[:16], 16) >> 1


@contextmanager
def seeded(device: torch.device, seed: int, *keys: str | int) -> Iterator[None]:
    """Draw from torch's global generators as (seed, keys) say, and leave them afterwards as they were.

    The network's first weights are drawn within ``seeded(device, seed, "network")``.
    """
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(torch_seed(seed, *keys))
        yield
