"""The direction from the head alone: the sign of the direction, the exit point, the heatmap around it, equivariance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.data.batch import Batch, Output
from baselines.methods.direction import DirectionNet, SightLine
from baselines.nets import geometry
from baselines.nets.spot import concentration
from baselines.training.losses import losses
from baselines.training.settings import LossSettings
from srgaze360 import sphere
from tests.neural_batches import make_batch, random_directions


def network(seed: int = 0) -> DirectionNet:
    """A small network with parameters that are nowhere 0."""
    torch.manual_seed(seed)
    net = DirectionNet(width=8, hidden=32, height=16)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def test_output_has_the_shapes_and_the_unit_vectors_of_the_contract() -> None:
    batch = make_batch(people=5)
    output = network()(batch)
    assert output.heatmap.shape == (5, 16, 32)
    for vectors in (output.direction, output.points):
        assert vectors is not None
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(5))
    assert output.deep == ()
    assert output.patches is None


def test_the_point_is_where_the_chord_meets_the_sphere() -> None:
    """Told the true chord, the answer is the target, whatever the head; an independent way: solve |P + t d| = 1."""
    generator = torch.Generator().manual_seed(3)
    heads, gazes = random_directions(50, generator=generator), random_directions(50, generator=generator)
    frames = geometry.head_frames(heads)
    directions = geometry.chords(heads, frames, gazes)
    assert (directions[:, 2] < 0.0).all(), "a chord always enters the ball"
    torch.testing.assert_close(geometry.exit_points(heads, frames, directions), gazes, atol=1e-5, rtol=0.0)
    world = np.einsum("bji,bj->bi", frames.double().numpy(), directions.double().numpy())
    roots = [np.roots([1.0, 2.0 * p @ d, p @ p - 1.0]).real.max() for p, d in zip(heads.double().numpy(), world, strict=True)]
    solved = heads.double().numpy() + np.array(roots)[:, None] * world
    assert sphere.angle_between(solved, gazes.double().numpy()).max() < 1e-4


def test_the_heatmap_teaches_the_direction_too() -> None:
    batch, net = make_batch(), network()
    output = net(batch)
    assert output.points is not None
    losses(output, batch, LossSettings(direction=0.0))["total"].backward()
    for part in (net.estimator.direction, net.estimator.spread):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def reverse(net: DirectionNet, batch: Batch) -> None:
    """Make a network answer, for everybody, the opposite of the mean true direction."""
    last = net.estimator.direction[-1]
    with torch.no_grad():
        last.weight.mul_(1e-3)
        last.bias.copy_(-geometry.chords(batch.heads, batch.frames, batch.gazes).mean(0))


def through_exit(output: Output, batch: Batch) -> Tensor:
    """The planted fault: the direction is judged by where its line meets the sphere, -d being as good as d."""
    world = geometry.rotated(batch.frames.transpose(-1, -2), output.direction)
    points = batch.heads - 2.0 * (batch.heads * world).sum(-1, keepdim=True) * world
    return geometry.angle_between(points, batch.gazes).mean()


def by_angle(output: Output, batch: Batch) -> Tensor:
    """The loss in use."""
    return losses(output, batch, LossSettings())["total"]


@pytest.mark.parametrize(("objective", "learns"), [(by_angle, True), (through_exit, False)])
def test_a_direction_that_starts_reversed_is_turned_round_by_its_angle_and_not_by_its_exit_point(
    objective: Callable[..., Tensor], learns: bool
) -> None:
    """d and -d meet the sphere in one point: trained through that point alone, a reversed direction stays reversed."""
    batch = make_batch(people=6, seed=1)
    # all look alike in their own frames, a little off the middle of the ball
    chord = geometry.normalised(torch.tensor([0.5, -0.2, -0.8])).expand(6, 3)
    gazes = geometry.exit_points(batch.heads, batch.frames, chord)
    batch = replace(batch, gazes=gazes, points=gazes[:, None], weights=torch.ones(6, 1))
    net = network()
    reverse(net, batch)
    with torch.no_grad():
        assert geometry.angle_between(net(batch).direction, chord).min() > math.radians(170.0)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        objective(net(batch), batch).backward()
        optimiser.step()
    with torch.no_grad():
        error = geometry.angle_between(net(batch).direction, chord)
    if learns:
        assert error.max() < math.radians(10.0)
    else:
        assert error.min() > math.radians(150.0)


def test_heatmap_is_a_von_mises_fisher_density_around_the_point() -> None:
    generator = torch.Generator().manual_seed(0)
    point = random_directions(3, generator=generator)
    kappa = torch.tensor([2.0, 20.0, 200.0])
    heatmap = SightLine(direction=point, exit=point, kappa=kappa).heatmap(64)
    probability = geometry.log_probabilities(heatmap).exp()
    cells = geometry.cell_directions(64, point.device)
    mean = torch.einsum("bhw,hwc->bc", probability, cells)
    # mean resultant length of the distribution: coth(kappa) - 1 / kappa (Mardia and Jupp, 2000, 9.3.9)
    expected = 1.0 / torch.tanh(kappa) - 1.0 / kappa
    torch.testing.assert_close(mean, expected[:, None] * point, atol=2e-3, rtol=0.0)


def test_concentration_stays_between_its_bounds_and_grows() -> None:
    raw = torch.linspace(-60.0, 60.0, 81)
    kappa = concentration(raw)
    assert (kappa.diff() >= 0.0).all()
    torch.testing.assert_close(kappa[0].item(), (math.pi / 2.0) ** -2, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(kappa[-1].item(), math.radians(3.0) ** -2, rtol=1e-3, atol=0.0)


def test_of_the_heads_place_the_latitude_is_read_and_the_scene_is_not() -> None:
    batch, net = make_batch(), network()
    higher = geometry.normalised(batch.heads - torch.tensor([0.0, 1.0, 0.0]))
    with torch.no_grad():
        before = net(batch)
        moved = net(replace(batch, heads=higher, frames=geometry.head_frames(higher)))
        repainted = net(replace(batch, panoramas=1.0 - batch.panoramas))
    assert (moved.direction - before.direction).abs().max() > 1e-4
    torch.testing.assert_close(repainted.heatmap, before.heatmap, rtol=0.0, atol=0.0)
