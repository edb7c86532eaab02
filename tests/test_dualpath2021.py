"""The dual-pathway model: cone of attention, place of the regions, pasting with a floor, equivariance, learning by heart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.data.batch import Batch
from baselines.methods.dualpath2021 import REACH, DualPathNet, DualPathOptions, beside, cone, sideways
from baselines.nets import geometry, tangent
from baselines.training.losses import losses
from baselines.training.settings import LossSettings
from srgaze360 import sphere
from tests.neural_batches import make_batch, random_directions, turned

TINY = DualPathOptions(width=8, hidden=32, view=32, heatmap=16)


def network(seed: int = 0) -> DualPathNet:
    """A small network with parameters that are nowhere 0."""
    torch.manual_seed(seed)
    net = DualPathNet(TINY)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def sight_lines(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heads, their frames, targets, and the chords to them in the frames."""
    generator = torch.Generator().manual_seed(seed)
    heads, gazes = random_directions(count, generator=generator), random_directions(count, generator=generator)
    frames = geometry.head_frames(heads)
    return heads, frames, gazes, geometry.chords(heads, frames, gazes)


def test_output_has_the_shapes_of_the_contract() -> None:
    batch = make_batch(people=5)
    output = network()(batch)
    assert output.heatmap.shape == (5, 16, 32)
    assert output.direction is not None
    torch.testing.assert_close(output.direction.norm(dim=-1), torch.ones(5))
    assert [deep.shape for deep in output.deep] == [(5, 16, 32)] * 3
    assert output.points is None, "the answer is decoded from the fused heatmap"


def test_the_projected_sight_line_is_the_great_circle_from_head_to_target() -> None:
    heads, frames, gazes, directions = sight_lines(40)
    ways = sideways(frames, directions)
    expected = sphere.log_map(heads.double().numpy(), gazes.double().numpy())
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    local = geometry.rotated(frames, ways)
    np.testing.assert_allclose(local[:, :2].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(local[:, 2].numpy(), 0.0, atol=1e-5)
    # as far as the target is, along it, lies the target
    distance = geometry.angle_between(heads, gazes)
    assert geometry.angle_between(beside(heads, ways, distance), gazes).max() < 1e-3


def test_the_cone_is_the_cosine_of_the_angle_at_the_head_and_nothing_behind() -> None:
    heads, frames, gazes, directions = sight_lines(3, seed=1)
    rays = random_directions(3, 50, generator=torch.Generator().manual_seed(2))
    found = cone(heads, sideways(frames, directions), rays)
    for head, gaze, row, values in zip(heads, gazes, rays, found, strict=True):
        bearing = sphere.log_map(head.double().numpy(), row.double().numpy())
        sight = sphere.log_map(head.double().numpy(), gaze.double().numpy())
        cosine = bearing @ sight / np.linalg.norm(bearing, axis=-1) / np.linalg.norm(sight)
        np.testing.assert_allclose(values.numpy(), np.maximum(cosine, 0.0), atol=1e-4)
    assert (found == 0.0).any()
    on_target = cone(heads, sideways(frames, directions), gazes[:, None])
    torch.testing.assert_close(on_target, torch.ones(3, 1))


def test_a_gaze_straight_through_the_middle_has_no_side() -> None:
    heads = random_directions(4, generator=torch.Generator().manual_seed(0))
    ways = sideways(geometry.head_frames(heads), torch.tensor([0.0, 0.0, -1.0]).expand(4, 3))
    torch.testing.assert_close(ways, torch.zeros(4, 3))
    torch.testing.assert_close(beside(heads, ways, torch.full((4,), 0.5)), heads)
    assert torch.isfinite(cone(heads, ways, heads[:, None])).all()


def watched(net: DualPathNet, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Run the network and keep what its pathways are shown and where."""
    seen: dict[str, torch.Tensor] = {}
    frames_of = tangent.patch_frames

    def keep(centres: torch.Tensor, roll: torch.Tensor | None = None) -> torch.Tensor:
        seen["centres"] = centres
        return frames_of(centres, roll)

    monkeypatch.setattr(tangent, "patch_frames", keep)
    for name in ("distant", "local"):
        getattr(net, name).register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0].detach()}))
    with torch.no_grad():
        seen["direction"] = net(batch).direction
    return seen


def test_regions_lie_on_the_exit_point_and_beside_the_head_across_the_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(people=4, seed=4)
    seam = sphere.direction_from_lonlat(np.radians([179.0, -179.5, 178.0, -178.0]), np.radians([0.0, 20.0, -40.0, 70.0]))
    heads = torch.from_numpy(seam).float()
    batch = replace(batch, heads=heads, frames=geometry.head_frames(heads))
    seen = watched(network(), batch, monkeypatch)
    exits = geometry.exit_points(batch.heads, batch.frames, seen["direction"])
    distant, local = seen["centres"].unbind(1)
    torch.testing.assert_close(distant, exits)
    # the head touches the edge of the local region, whose centre lies on the way to the exit point
    torch.testing.assert_close(geometry.angle_between(batch.heads, local), REACH - batch.radii, atol=1e-3, rtol=0.0)
    inward = seen["direction"][:, 2] < 0.0
    bearings = (sphere.log_map(heads.double().numpy(), x.double().numpy()) for x in (local, exits))
    unit = [b / np.linalg.norm(b, axis=-1, keepdims=True) for b in bearings]
    np.testing.assert_allclose((unit[0] * unit[1]).sum(-1)[inward.numpy()], 1.0, atol=1e-3)


def test_fourth_channels_are_a_spot_in_the_middle_and_a_cone_from_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(people=3, seed=6)
    net = network()
    seen = watched(net, batch, monkeypatch)
    spot, fan = seen["distant"][:, 3], seen["local"][:, 3]
    assert seen["distant"].shape == (3, 4, 32, 32)
    middle = spot[:, 15:17, 15:17].amin(dim=(-2, -1))
    assert (middle >= spot.flatten(1).amax(dim=1) - 1e-4).all()
    torch.testing.assert_close(spot, spot.flip(-1), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(spot, spot.flip(-2), atol=1e-4, rtol=0.0)
    ways = sideways(batch.frames, seen["direction"])
    frames = tangent.patch_frames(seen["centres"][:, 1])
    rays = tangent.patch_rays(frames, torch.full((3,), REACH), 32)
    torch.testing.assert_close(fan, cone(batch.heads, ways, rays), atol=1e-4, rtol=0.0)
    # the middle of the region lies on the sight line
    assert (fan[:, 15:17, 15:17] > 0.95).all()


def test_where_no_region_reaches_a_pathway_says_its_floor() -> None:
    net, batch = network(), make_batch(people=3)
    with torch.no_grad():
        net.floor.copy_(torch.tensor([-1.25, -2.5]))
        output = net(batch)
    for deep, value in zip(output.deep[:2], (-1.25, -2.5), strict=True):
        floor = (deep == value).float()
        # 90 x 90 degrees of a tangent view is a face of the cube: a sixth of the sphere
        area = geometry.cell_solid_angles(16, floor.device) / (4.0 * math.pi)
        torch.testing.assert_close((floor * area).sum((-2, -1)), torch.full((3,), 5.0 / 6.0), atol=0.03, rtol=0.0)
    assert torch.isfinite(output.heatmap).all()


def test_what_is_seen_in_the_regions_does_not_move_them() -> None:
    net, batch = network(), make_batch()
    losses(net(batch), batch, LossSettings(direction=0.0, deep=0.0))["total"].backward()
    assert all(p.grad is None for p in net.estimator.direction.parameters())


def test_turning_by_less_than_a_cell_of_the_heatmap_is_no_equivariance_but_the_check_can_fail() -> None:
    batch, net = make_batch(people=8, height=64), network()
    with torch.no_grad():
        before, after = net(batch), net(turned(batch, 40))
    assert torch.isclose(after.heatmap, before.heatmap, atol=5e-3, rtol=1e-3).float().mean() < 0.7
