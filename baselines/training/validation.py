"""Looking at the val split while training: how far off the network is, in degrees, and its losses.

Conventions
-----------
The score is the mean angular distance, in degrees, between the target and the direction that the shared decoder reads off the
heatmap (or that the method names itself), over the people whose target is known: what the benchmark ranks by. Test is never
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets.geometry import angle_between
from baselines.training.devices import mixed_precision
from baselines.training.losses import TERMS, counts, known_gazes, means, objective, sums
from baselines.training.parallel import ALONE, Team
from baselines.training.settings import Settings
from srgaze360.errors import InputError


class Scores(NamedTuple):
    """Mean angular distance in degrees, every loss per person, their weighted sum, and the number of people scored."""

    degrees: float
    losses: dict[str, float]
    total: float
    people: int


def answers(output: Output) -> Tensor:
    """Directions (B, 3), float32, that a method answers: its own, or those decoded from its heatmap."""
    from baselines.nets.decode import decode

    points = decode(output.heatmap.float()) if output.points is None else output.points
    return points.float()


def validate(
    network: nn.Module, batches: Callable[[], Iterable[Batch]], settings: Settings, device: torch.device, team: Team = ALONE
) -> Scores:
    """Score a network on the batches of a val split; the processes of a team take turns.

    Parameters
    ----------
    network
        In evaluation mode, on the device.
    batches
        Gives the same batches in every process and every time.

    Raises
    ------
    InputError
        Nobody's target is known.
    """
    parts: list[Tensor] = []
    names: list[str] = []
    for batch in islice(batches(), team.rank, None, team.world):
        there = batch.to(device)
        numbers, known = counts(there), known_gazes(there)
        with torch.no_grad():
            with mixed_precision(device, settings.train.precision):
                output = network(there)
            found = sums(output, there, settings.loss)
            off = angle_between(answers(output), torch.where(known[:, None], there.gazes, there.heads).float())
        names = list(found)
        values = [
            *numbers.values(),
            torch.where(known, off, 0.0).sum(),
            *(found.get(name, off.new_zeros(())) for name in TERMS),
        ]
        parts.append(torch.stack(values).double())
    names = next((said for said in team.gathered(names) if said), names)
    whole = torch.stack(parts).sum(0) if parts else torch.zeros(3 + len(TERMS), dtype=torch.float64, device=device)
    kinds = ("gaze", "in_frame")
    whole = team.added(whole).cpu()
    numbers = dict(zip(kinds, whole[:2], strict=True))
    people = int(numbers["gaze"])
    if people == 0:
        raise InputError(
            "Expected people with a known target in the val split, found none, so there is nothing to choose the weights by. "
            "Train on a dataset whose val split has gaze labels, or on one without a val split: then the last weights are kept."
        )
    totals = {name: value for name, value in zip(TERMS, whole[3:], strict=True) if name in names}
    losses = {name: float(value) for name, value in means(totals, numbers).items()}
    return Scores(float(torch.rad2deg(whole[2])) / people, losses, float(objective(totals, numbers, settings.loss)), people)
