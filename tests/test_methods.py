"""What every learnt method keeps, whoever wrote it: one test of each kind over all that are registered."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from neural_batches import alone, make_batch, turned

from baselines.data.batch import Batch
from baselines.nets.decode import decode
from baselines.nets.geometry import angle_between
from baselines.neural import GazeModel, NeuralPredictor, parameters
from baselines.training.losses import counts, objective, sums
from baselines.training.settings import Settings
from srgaze360.predictors import PREDICTORS

METHODS = [name for name in PREDICTORS.names() if PREDICTORS.get(name).trained and hasattr(PREDICTORS.get(name), "network")]
SMALL: dict[str, dict[str, Any]] = {
    "mmrgaze360": {"width": 8, "head_width": 8, "features": 32, "scene_height": 64, "patch_size": 8, "evidence": 4},
}
BLIND = {"saliency", "gazelle", "gazelle-tangent"}  # do not look at the head crop
HEIGHT = 64


def kind_of(name: str) -> Any:
    return PREDICTORS.get(name)


@cache
def settings_of(name: str) -> Settings:
    user = {"data": {"height": HEIGHT, "crop": 32}, "model": SMALL.get(name, {}), "loss": {"in_frame": 0.1}}
    return kind_of(name).settings_of(user)


def network(name: str, seed: int = 0) -> GazeModel:
    """A network whose weights differ from their tidy beginnings, so that every part has a say."""
    torch.manual_seed(seed)
    made: GazeModel = kind_of(name).make(settings_of(name))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return made.eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(panoramas=2, people=5, height=HEIGHT, crop=32)


def test_all_methods_of_the_project_are_there() -> None:
    assert set(METHODS) >= {
        "saliency", "direction", "recasens2015", "lian2018", "chong2020", "dualpath2021", "gazelle", "gazelle-tangent",
        "spherical-unet", "mmrgaze360",
    }  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_card_and_sizes(name: str) -> None:
    kind: type[NeuralPredictor] = kind_of(name)
    assert kind.inputs
    assert kind.changes
    assert set(kind.sizes) == {"tiny", "base", "large"}
    sizes = kind.card()["sizes"]
    assert sizes["tiny"] < 2_000_000
    assert sizes["tiny"] < sizes["base"] <= sizes["large"]


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_every_weight(name: str, batch: Batch) -> None:
    net, loss = network(name).train(), settings_of(name).loss
    objective(sums(net(batch), batch, loss), counts(batch), loss).backward()
    trained = {key: weight for key, weight in net.named_parameters() if weight.requires_grad}
    assert [key for key, weight in trained.items() if weight.grad is None or not weight.grad.abs().sum() > 0] == []
    assert parameters(net) == sum(weight.numel() for weight in trained.values())


@pytest.mark.parametrize("name", METHODS)
def test_an_answer_does_not_depend_on_who_else_is_asked(name: str, batch: Batch) -> None:
    net = network(name)
    with torch.no_grad():
        together = net(batch)
        for person in (0, 3, 4):
            single = net(alone(batch, person))
            torch.testing.assert_close(single.heatmap[0], together.heatmap[person], atol=1e-3, rtol=1e-3)
            if together.direction is not None:
                torch.testing.assert_close(single.direction[0], together.direction[person], atol=1e-4, rtol=0)


@pytest.mark.parametrize("columns", [32, -64])
@pytest.mark.parametrize("name", METHODS)
def test_turning_the_panorama_turns_the_answer_where_that_is_claimed(name: str, columns: int, batch: Batch) -> None:
    """By whole strides of the coarsest features; up to rounding, and for few cells at the rim of a patch."""
    net = network(name)
    if not net.equivariant:
        pytest.skip(f"{name} does not claim it")
    with torch.no_grad():
        before, after = net(batch), net(turned(batch, columns))
    width = before.heatmap.shape[-1]
    expected = torch.roll(before.heatmap, columns * width // (2 * HEIGHT), dims=-1)
    close = torch.isclose(after.heatmap, expected, atol=5e-3, rtol=5e-3)
    assert close.float().mean() > 0.99
    if name != "saliency":
        assert not torch.allclose(after.heatmap, before.heatmap, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name not in BLIND])
def test_learns_eight_people_by_heart(name: str) -> None:
    batch = make_batch(panoramas=3, people=8, height=HEIGHT, crop=32, seed=3)
    torch.manual_seed(0)
    net, settings = kind_of(name).make(settings_of(name)).train(), settings_of(name)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    steps = 500
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        objective(sums(net(batch), batch, settings.loss), counts(batch), settings.loss).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        output = net(batch)
        points = decode(output.heatmap) if output.points is None else output.points
    assert torch.rad2deg(angle_between(points, batch.gazes)).max() < 3.0
