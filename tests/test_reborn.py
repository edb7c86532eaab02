"""The reborn mechanism: gates that start closed, and units that are recycled without changing what is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.mmrgaze360.reborn import ADOPTED, SHARE, Recycler, Reinject, pairs


class Two(nn.Module):
    """A perceptron and a convolution, each a pair, whose ReLU may be scaled to be dormant or over-active."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))
        self.maps = nn.Sequential(nn.Conv2d(2, 10, 3, padding=1), nn.ReLU(), nn.Conv2d(10, 2, 1))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.flat(x), self.maps(y)


def dull(layer: nn.Module, units: list[int]) -> None:
    """Units that never say anything: weights 0, bias below 0."""
    with torch.no_grad():
        layer.weight[units] = 0.0
        layer.bias[units] = -1.0


def loud(layer: nn.Module, unit: int) -> None:
    with torch.no_grad():
        layer.weight[unit] *= 0.1
        layer.bias[unit] = 8.0


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(16, 4, generator=generator), torch.rand(5, 2, 6, 8, generator=generator)


@pytest.fixture
def network() -> Two:
    torch.manual_seed(0)
    made = Two()
    with torch.no_grad():
        made.flat[0].bias.fill_(1.0)
        made.maps[0].bias.fill_(1.0)
    dull(made.flat[0], [2, 3, 7])
    loud(made.flat[0], 5)
    dull(made.maps[0], [0, 9])
    loud(made.maps[0], 4)
    return made.train()


def test_every_pair_is_found_and_no_other() -> None:
    normed = nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(1, 4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    unbiased = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    chain = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    found = list(pairs(nn.ModuleList([normed, unbiased, chain, grouped, Two()])))
    assert [(pair.first, pair.second) for pair in found[:2]] == [(chain[0], chain[2]), (chain[2], chain[4])]
    assert len(found) == 4


def test_recycling_preserves_what_is_computed(network: Two, inputs: tuple[Tensor, Tensor]) -> None:
    recycler = Recycler(network)
    before = [part.detach().clone() for part in network(*inputs)]
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters())
    assert recycler.recycle(optimiser, torch.Generator().manual_seed(3)) == 5
    for now, then in zip(network(*inputs), before, strict=True):
        torch.testing.assert_close(now, then, rtol=2e-5, atol=2e-5)
    for layer, units, owner in ((network.flat[0], [2, 3, 7], 5), (network.maps[0], [0, 9], 4)):
        factors = (layer.bias[units] / layer.bias[owner]).detach().numpy()
        assert (factors >= SHARE[0]).all()
        assert (factors <= SHARE[1]).all()
        assert len(np.unique(factors)) == len(units)  # each its own
    moved = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, weights[name])]
    assert sorted(moved) == ["flat.0.bias", "flat.0.weight", "flat.2.weight", "maps.0.bias", "maps.0.weight", "maps.2.weight"]


def test_reborn_units_speak(network: Two, inputs: tuple[Tensor, Tensor]) -> None:
    recycler = Recycler(network)
    network(*inputs)
    assert (recycler.score(0)[[2, 3, 7]] == 0).all()
    assert recycler.score(0)[5] > 3
    recycler.recycle(torch.optim.SGD(network.parameters(), lr=0.1), torch.Generator().manual_seed(0))
    assert recycler.activity(0).sum() == 0  # forgotten
    network(*inputs)
    assert (recycler.score(0)[[2, 3, 7]] > 0.1).all()


def test_moments_of_what_moved_are_forgotten(network: Two, inputs: tuple[Tensor, Tensor]) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-6)
    sum(part.square().mean() for part in network(*inputs)).backward()
    optimiser.step()
    recycler = Recycler(network)
    network(*inputs)
    recycler.recycle(optimiser, torch.Generator().manual_seed(0))
    first, second = optimiser.state[network.flat[0].weight], optimiser.state[network.flat[2].weight]
    assert (first["exp_avg_sq"][[2, 3, 5, 7]] == 0).all()
    assert (first["exp_avg_sq"][[0, 1, 4]] > 0).any()
    assert (second["exp_avg"][:, [2, 3, 5, 7]] == 0).all()
    assert (second["exp_avg"][:, [0, 1, 4]] != 0).any()
    assert optimiser.state[network.flat[0].weight]["step"] > 0


def test_an_owner_adopts_a_few_and_silences_the_rest() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 2)).train()
    with torch.no_grad():
        network[0].bias.fill_(1.0)
        network[0].weight[:20].zero_()
        network[0].bias[:20] = 1e-4  # not silent, but dormant
    loud(network[0], 30)
    recycler = Recycler(nn.ModuleList([network]))
    network(torch.rand(32, 3))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    assert recycler.recycle(optimiser, torch.Generator().manual_seed(0)) == ADOPTED
    assert (network[0].bias[:20] == 0).sum() == 20 - ADOPTED
    assert (network[2].weight[:, :20] == 0).all(dim=0).sum() == 20 - ADOPTED


def test_nothing_happens_without_dormant_or_over_active_units(inputs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network = Two().train()
    with torch.no_grad():
        for layer in (network.flat[0], network.maps[0]):
            layer.bias.fill_(5.0)  # all speak alike
    recycler = Recycler(network)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    assert recycler.recycle(torch.optim.SGD(network.parameters(), lr=0.1), generator) == 0  # nothing was seen
    network(*inputs)
    assert recycler.recycle(torch.optim.SGD(network.parameters(), lr=0.1), generator) == 0
    network.eval()
    network(*inputs)
    assert recycler.activity(0).sum() == 0  # evaluation is not watched
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_gates_start_closed_and_open() -> None:
    torch.manual_seed(0)
    blocks: list[nn.Module] = [nn.Linear(6, 6) for _ in range(3)]
    x = torch.rand(4, 6)
    plain = blocks[2](blocks[1](blocks[0](x)))
    stack = Reinject(blocks, 6, on=True)
    torch.testing.assert_close(stack(x), plain)
    with torch.no_grad():
        stack.gates[0].fill_(0.5)
        stack.gates[1].fill_(-0.25)
    expected = blocks[1](blocks[0](x) + np.tanh(0.5) * x)
    expected = blocks[2](expected - np.tanh(0.25) * x)
    torch.testing.assert_close(stack(x), expected)
    assert len(Reinject(blocks, 6, on=False).gates) == 0
    maps = Reinject([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)], 3, on=True)
    with torch.no_grad():
        maps.gates[0].copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert maps(torch.rand(2, 3, 4, 5)).shape == (2, 3, 4, 5)
