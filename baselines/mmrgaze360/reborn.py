"""The reborn mechanism, in two named readings; what its authors meant is not public.

The abstract says that perceptrons and convolutions use "the reborn mechanism" so that information is used better. Two readings
can be defended, and both are here to be compared with each other and with ``off``:

``reinject``
    Earlier features are born again in later blocks: what entered a stack of blocks comes back before each later block, through
    a learnt gate per channel. Gates start at 0, so that training starts from the stack without them.
``recycle``
    Dormant units are born again: the ReBorn mechanism of "The Dormant Neuron Phenomenon in Multi-Agent Reinforcement Learning
    Value Factorization" (NeurIPS 2024), the one published work that uses the name; dormant units after Sokar et al. (ICML
    2023). It works on the weights, between steps of the optimiser, and asks nothing of the network's form.

Conventions
-----------
The *score* of a unit is its mean activation (after ReLU) over the mean of its layer. A unit is dormant at 0.1 or less,
over-active above 3. A *pair* is two linear maps (perceptron or convolution) with nothing but a ReLU in between, the first with
a bias: only there can a unit's work be shared out without changing what the pair computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

DORMANT = 0.1
OVERACTIVE = 3.0
ADOPTED = 5  # dormant units that one over-active unit takes over at most
SHARE = (0.3, 0.8)  # range of the factor on incoming weights


# --- reinject ---------------------------------------------------------------------------------------------------------


class Reinject(nn.Module):
    """A stack of blocks of equal width; from the second on, each is also given what entered the stack, through a gate.

    ``x_k = block_k(x_{k-1} + tanh(g_k) x_0)`` with one gate per channel, for vectors (B, C) and maps (B, C, h, w).
    """

    def __init__(self, blocks: list[nn.Module], channels: int, *, on: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        count = len(blocks) - 1 if on else 0
        self.gates = nn.ParameterList(nn.Parameter(torch.zeros(channels)) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Pass (B, C, ...) through the stack."""
        entered = x
        for index, block in enumerate(self.blocks):
            if index and self.gates:
                gate = torch.tanh(self.gates[index - 1])
                x = x + gate.view(-1, *[1] * (x.ndim - 2)) * entered
            x = block(x)
        return x


# --- recycle ----------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two linear maps with a ReLU in between: ``second(relu(first(x)))``."""

    first: nn.Module
    relu: nn.Module
    second: nn.Module


def pairs(network: nn.Module) -> Iterator[Pair]:
    """Every pair in the network: in each sequence, a linear map with a bias, a ReLU, a linear map, one after the other."""
    linear = (nn.Linear, nn.Conv2d)
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        parts = list(module)
        for first, relu, second in zip(parts, parts[1:], parts[2:], strict=False):
            fits = isinstance(first, linear) and isinstance(relu, nn.ReLU) and isinstance(second, type(first))
            grouped = isinstance(first, nn.Conv2d) and (first.groups != 1 or getattr(second, "groups", 1) != 1)
            if fits and first.bias is not None and not grouped:
                yield Pair(first, relu, second)


class Recycler(nn.Module):
    """Watches the units of a network's pairs and, when asked, gives dormant ones the work of over-active ones.

    What was watched since the last time is part of the network's state, so that a training that was stopped goes on alike.

    Parameters
    ----------
    network
        The network whose pairs are watched while it is in training mode.

    Notes
    -----
    As in the published code, dormant units are made silent and each over-active unit o adopts up to five of them at random.
    With factors a_k drawn from U(0.3, 0.8) and shares s = softmax of normal numbers (one share per adopted unit, one for o),

        w_in[k] = a_k w_in[o],  b[k] = a_k b[o],  w_out[k] = s_k / a_k w_out[o],  w_out[o] *= s_last,

    which preserves the function since ReLU is positively homogeneous. Silencing changes it by what the dormant unit still
    said. Moments of the optimiser are set to 0 for every weight that moved.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._pairs = tuple(pairs(network))  # a tuple: the network owns these modules, not the one who watches them
        for index, pair in enumerate(self._pairs):
            units = pair.first.weight.shape[0]
            self.register_buffer(f"activity_{index}", torch.zeros(units))
            pair.relu.register_forward_hook(self._watch(index, -1 if isinstance(pair.first, nn.Linear) else 1))

    def _watch(self, index: int, units: int) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, _: object, activations: Tensor) -> None:
            if module.training:
                each = activations.detach().float().movedim(units, 0).flatten(1)
                self.activity(index).add_(each.mean(dim=1))

        return hook

    def activity(self, index: int) -> Tensor:
        """Summed mean activations (units,) of a pair since the last recycling."""
        return self.get_buffer(f"activity_{index}")

    def score(self, index: int) -> Tensor:
        """Score (units,) of the units of a pair: mean activation over the layer's mean; 1 where nothing was seen."""
        total = self.activity(index)
        return total / total.mean() if total.sum() > 0 else torch.ones_like(total)

    @torch.no_grad()
    def recycle(self, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> int:
        """Let over-active units adopt dormant ones; returns how many were reborn. Forgets what was watched.

        Among several processes, what all of them saw counts, and ``generator`` must draw the same in each.
        """
        reborn = 0
        for index, pair in enumerate(self._pairs):
            if distributed.is_available() and distributed.is_initialized():
                distributed.all_reduce(self.activity(index))
            reborn += _recycle(pair, self.score(index).cpu(), optimiser, generator)
            self.activity(index).zero_()
        return reborn


def _recycle(pair: Pair, score: Tensor, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> int:
    dormant = torch.nonzero(score <= DORMANT).flatten()
    owners = torch.nonzero(score > OVERACTIVE).flatten()
    if not len(dormant) or not len(owners):
        return 0
    waiting = dormant[torch.randperm(len(dormant), generator=generator)]
    w_in, bias, w_out = pair.first.weight, pair.first.bias, pair.second.weight
    w_in[dormant], bias[dormant], w_out[:, dormant] = 0.0, 0.0, 0.0
    touched = dormant.tolist()
    reborn = 0
    for owner, adopted in zip(owners.tolist(), waiting.split(ADOPTED), strict=False):
        factors = SHARE[0] + (SHARE[1] - SHARE[0]) * torch.rand(len(adopted), generator=generator)
        shares = torch.softmax(torch.randn(len(adopted) + 1, generator=generator), dim=0)
        for unit, factor, share in zip(adopted.tolist(), factors.tolist(), shares.tolist(), strict=False):
            w_in[unit] = w_in[owner] * factor
            bias[unit] = bias[owner] * factor
            w_out[:, unit] = w_out[:, owner] * (share / factor)
        w_out[:, owner] *= float(shares[-1])
        touched.append(owner)
        reborn += len(adopted)
    _forget(optimiser, w_in, touched, 0)
    _forget(optimiser, bias, touched, 0)
    _forget(optimiser, w_out, touched, 1)
    return reborn


def _forget(optimiser: torch.optim.Optimizer, parameter: Tensor, units: list[int], axis: int) -> None:
    """Set the optimiser's moments of some units' weights to 0."""
    for value in optimiser.state.get(parameter, {}).values():
        if torch.is_tensor(value) and value.shape == parameter.shape:
            value.index_fill_(axis, torch.tensor(units, device=value.device), 0.0)
