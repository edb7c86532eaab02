"""Several processes that train one network: what `torchrun` starts, on one machine or several.

Conventions
-----------
`torchrun` sets RANK (of all processes, 0 to WORLD_SIZE - 1), WORLD_SIZE and LOCAL_RANK (on this machine); without them there is
one process. Every process sees its own panoramas of a batch and the same weights; rank 0, the leader, alone writes and reports.
Processes talk through NCCL on GPUs and through Gloo on CPUs, and share the run's folder.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from baselines.training.devices import resolve_device
from srgaze360.errors import InputError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Team:
    """Which process it is among those that train together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network such that a backward pass averages gradients over the processes.

        Rank 0's weights go to all. Parts of a network that a loss does not reach are allowed.
        """
        if self.world == 1:
            return network
        place = next(network.parameters()).device
        # without running statistics, buffers need no exchange at each step; newer versions of torch renamed the option
        options = signature(DistributedDataParallel).parameters
        exchange = "forward_sync_buffers" if "forward_sync_buffers" in options else "broadcast_buffers"
        return DistributedDataParallel(
            network,
            device_ids=[place] if place.type == "cuda" else None,
            find_unused_parameters=True,
            **{exchange: False},
        )

    def not_yet(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """Context of a backward pass after which another part of the same batch follows: gradients stay in the process."""
        if isinstance(wrapped, DistributedDataParallel):
            context: AbstractContextManager[Any] = wrapped.no_sync()
            return context
        return nullcontext()

    def added(self, value: Tensor) -> Tensor:
        """Sum of a tensor over the processes, the same in each."""
        if self.world > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def gathered(self, value: Any) -> list[Any]:  # noqa: ANN401 - whatever the processes have to say
        """What every process says, in the order of their ranks."""
        said: list[Any] = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(said, value)
        return said

    def told(self, value: Any) -> Any:  # noqa: ANN401 - whatever the leader has to say
        """What the leader says, told to all: decisions are taken once."""
        said = [value]
        if self.world > 1:
            distributed.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            distributed.barrier()


ALONE = Team()


def team_of(environment: Mapping[str, str]) -> Team:
    """The team that `torchrun`'s variables speak of; one process where there are none.

    Raises
    ------
    InputError
        Some of the variables are missing, or are no ranks.
    """
    if not {"RANK", "WORLD_SIZE"} & set(environment):
        return ALONE
    values = {name: environment.get(name) for name in VARIABLES}
    try:
        rank, world, local_rank = (int(str(value)) for value in values.values())
    except ValueError:
        rank, world, local_rank = -1, 0, -1
    if not 0 <= rank < world or local_rank < 0:
        raise InputError(
            f"Expected {', '.join(VARIABLES)} as torchrun sets them (whole numbers, 0 <= RANK < WORLD_SIZE), found {values}. "
            "Start with `torchrun --nproc-per-node N -m srgaze360 train ...`, or unset them to train in one process."
        )
    return Team(rank, world, local_rank)


@contextmanager
def teamwork(device: str) -> Iterator[tuple[Team, torch.device]]:
    """Join the team that this process was started in, and leave it at the end.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; each process of a machine takes its own GPU.

    Yields
    ------
    tuple
        The team and the device of this process.
    """
    team = team_of(os.environ)
    place = resolve_device(device, team.local_rank)
    if team.world == 1:
        yield team, place
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        with warnings.catch_warnings():
            # advice to drop an option that the next batch may need
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            yield team, place
    finally:
        distributed.destroy_process_group()
