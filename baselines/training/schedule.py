"""How the learning rate and the averaged weights move with the steps.

Conventions
-----------
Steps count from 0; after step s the weights have been changed s + 1 times. Nothing here remembers anything but the averaged
weights: rates and decays are functions of the step, so a training can go on at any step.
"""

from __future__ import annotations

import copy
import math

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def rate(step: int, steps: int, warmup: float) -> float:
    """Share (0 to 1] of the full learning rate at a step: linear up to 1, then half a cosine down to 0.

    Warm-up as in Goyal et al. (2017, section 2.2), cosine as in Loshchilov and Hutter (SGDR, ICLR 2017, equation 5, one
    period). The first step has 1 / (number of warm-up steps); 0 itself would come one step after the last.

    Parameters
    ----------
    step
        0 to ``steps`` - 1.
    steps
        Length of the training.
    warmup
        Share of the steps in which the rate rises, [0, 1).
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / (steps - rising)))


def ema_decay(step: int, decay: float) -> float:
    """Decay of the averaged weights at a step: min(decay, (1 + s) / (10 + s)).

    The warm-up of TensorFlow's ExponentialMovingAverage (``num_updates``): early averages forget the random weights fast.
    """
    return min(decay, (1 + step) / (10 + step))


class Average:
    """Exponential moving average of a network's weights (Polyak and Juditsky, 1992; EMA as used since Inception v3).

    ``network`` is a copy that holds the averaged weights, always in evaluation mode. Weights that are not trained are
    shared with the original, buffers are copied. With a decay of 0 it holds the weights themselves.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        frozen = {id(p): p for p in network.parameters() if not p.requires_grad}
        self.kept = set(network.state_dict())
        self.network = copy.deepcopy(network, memo=frozen).eval().requires_grad_(requires_grad=False)

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights as they are after step ``step``."""
        pairs = [
            (mine, now) for mine, now in zip(self.network.parameters(), network.parameters(), strict=True) if mine is not now
        ]
        if pairs:
            averaged, current = (list(side) for side in zip(*pairs, strict=True))
            get_ema_multi_avg_fn(ema_decay(step, self.decay))(averaged, [p.detach() for p in current], step)
        for (name, mine), now in zip(self.network.named_buffers(), network.buffers(), strict=True):
            if name in self.kept:  # others are constants that a network makes for itself
                mine.copy_(now)
