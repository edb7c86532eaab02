"""Gaze-LLE on the panorama and on views: prompts, positions, fusion on the sphere, and what it needs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from neural_batches import alone, make_batch, turned
from torch import Tensor

from baselines.data.batch import Batch
from baselines.methods.gazelle import Gazelle, GazelleNetwork, GazelleOptions, position_embedding
from baselines.methods.gazelle_tangent import GazelleTangent, GazelleTangentNetwork, fused, view_frames, view_weights
from baselines.nets.backbones import ARCHITECTURES
from baselines.nets.geometry import angle_between, cell_directions
from baselines.training.settings import Settings
from srgaze360 import sphere
from srgaze360.errors import EnvironmentProblem, InputError

METHODS = [Gazelle, GazelleTangent]
PATCHES_OF_14 = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14, "image_size": 56}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "small-14", ("dinov2", PATCHES_OF_14))


def network(
    method: type[Gazelle], size: str = "tiny", height: int = 64, **model: object
) -> GazelleNetwork | GazelleTangentNetwork:
    torch.manual_seed(0)
    settings = Settings.model_validate(method.sizes[size])
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"height": height})})
    options = method.options.model_validate({**settings.model, **model})
    return method.network(options, settings)


def at(lon_deg: float, lat_deg: float) -> Tensor:
    return torch.from_numpy(sphere.direction_from_lonlat(math.radians(lon_deg), math.radians(lat_deg))).float()


def answer(method: type[Gazelle], batch: Batch, **model: object) -> Tensor:
    with torch.no_grad():
        return network(method, **model).eval()(batch).heatmap


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_all_but_the_encoder(method: type[Gazelle]) -> None:
    model, batch = network(method).train(), make_batch()
    output = model(batch)
    assert output.heatmap.shape == (5, 32, 64)
    assert output.in_frame is not None
    assert output.in_frame.shape == (5,)
    ((output.heatmap * torch.randn(5, 32, 64)).sum() + output.in_frame.sum()).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("backbone."):
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert not model.backbone.encoder.training


@pytest.mark.parametrize("method", METHODS)
def test_answers_do_not_depend_on_the_batch(method: type[Gazelle]) -> None:
    model, batch = network(method).eval(), make_batch(panoramas=3, people=5)
    with torch.no_grad():
        together = model(batch)
        for index in (0, 3, 4):
            single = model(alone(batch, index))
            torch.testing.assert_close(single.heatmap[0], together.heatmap[index], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(single.in_frame[0], together.in_frame[index], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_panorama_is_encoded_once_for_all_its_people(method: type[Gazelle], monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = network(method), []
    encode = model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda pictures: seen.append(len(pictures)) or encode(pictures))
    model(make_batch(panoramas=2, people=7))
    assert seen == [2 if method is Gazelle else 2 * 6]


@pytest.mark.parametrize("method", METHODS)
def test_the_head_is_what_distinguishes_people(method: type[Gazelle]) -> None:
    """Only where the head is and how large tell people apart: no crop is looked at."""
    batch = make_batch(panoramas=1, people=3)
    same = replace(batch, heads=batch.heads[:1].expand(3, -1), radii=torch.tensor([0.1, 0.1, 0.9]))
    heat = answer(method, same)
    torch.testing.assert_close(heat[1], heat[0], rtol=1e-4, atol=1e-5)
    assert (heat[2] - heat[0]).abs().max() > 1e-4
    moved = answer(method, batch)
    assert (moved[1] - moved[0]).abs().max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "model"), [("base", "facebook/dinov2-base"), ("large", "facebook/dinov2-large")])
def test_without_weights_it_says_so_before_any_training(
    method: type[Gazelle], size: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "DINOv2" in method.needs
    settings = Settings.model_validate(method.sizes[size])
    with pytest.raises(EnvironmentProblem, match=rf"weights of '{model}'.*local:FOLDER.*random:NAME"):
        method.network(method.options.model_validate(settings.model), settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", ["base", "large"])
def test_larger_sizes_fit_together(method: type[Gazelle], size: str) -> None:
    """The encoder, and nothing else, is exchanged for a small one with the same patches."""
    height = Settings.model_validate(method.sizes[size]).data.height
    model = network(method, size, height, backbone="random:small-14", layers=1).eval()
    with torch.no_grad():
        output = model(make_batch(1, 1, height))
    assert output.heatmap.shape == (1, 64, 128)
    assert output.heatmap.isfinite().all()
    assert model.decoder.in_out_token.shape == (256,)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_says_the_same(method: type[Gazelle]) -> None:
    """Under autocast, places on the sphere are still computed in float32, and so is the heatmap."""
    batch = make_batch()
    full = answer(method, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = answer(method, batch)
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.2 * full.std()


@pytest.mark.parametrize("method", METHODS)
def test_facts_name_the_encoder_and_its_weights(method: type[Gazelle]) -> None:
    assert network(method).facts() == {"backbone": "random:dinov2-tiny", "weights": "random"}


# --- the panorama -----------------------------------------------------------------------------------------------------


def test_positions_know_no_seam() -> None:
    lon, lat = torch.linspace(-3.0, 3.0, 7), torch.zeros(7)
    torch.testing.assert_close(
        position_embedding(lon + 2.0 * math.pi, lat, 32, 8), position_embedding(lon, lat, 32, 8), rtol=0, atol=1e-4
    )
    columns = torch.from_numpy(sphere.cell_lonlat(16, 8)[0]).float()
    ring = position_embedding(columns, torch.zeros(16), 32, 8)
    steps = (ring - ring.roll(1, dims=0)).norm(dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand(16), rtol=1e-4, atol=1e-4)  # over the seam as anywhere else


def test_positions_tell_all_cells_apart() -> None:
    lon, lat = (torch.from_numpy(a).float() for a in sphere.cell_lonlat(16, 8))
    cells = position_embedding(*torch.broadcast_tensors(lon, lat[:, None]), 32, 8).flatten(0, 1)
    apart = torch.cdist(cells, cells) + 10.0 * torch.eye(len(cells))
    assert cells.shape == (128, 32)
    assert apart.min() > 0.5


def test_positions_are_counted_from_the_head() -> None:
    model = network(Gazelle)
    here, there = (model.positions(at(lon, 20.0)[None], 8) for lon in (-170.0, -170.0 + 5 * 22.5))
    torch.testing.assert_close(there, here.roll(5, dims=-1), rtol=0, atol=1e-4)
    assert (here - model.positions(at(-150.0, 20.0)[None], 8)).abs().max() > 0.1


def test_with_a_convolutional_encoder_the_whole_turns_with_the_panorama() -> None:
    batch = make_batch()
    before, after = (answer(Gazelle, seen, backbone="tiny") for seen in (batch, turned(batch, 3 * 16)))
    torch.testing.assert_close(after, before.roll(3 * 8, dims=-1), rtol=1e-3, atol=1e-3 * float(before.std()))


def test_with_a_transformer_it_does_not_and_does_not_claim_to() -> None:
    batch = make_batch()
    before, after = (answer(Gazelle, seen) for seen in (batch, turned(batch, 48)))
    assert not GazelleNetwork.equivariant
    assert not GazelleTangentNetwork.equivariant
    assert (after - before.roll(24, dims=-1)).abs().max() > 1e-2 * before.std()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"height": 128, "rows": 24},
            r"model\.rows to be a multiple of 16, twice the rows.*\(data\.height 128 over stride 16\)",
        ),
        ({"attention_heads": 3}, r"model\.attention_heads to divide model\.width, found 3 and 64"),
        ({"backbone": "random:small-14"}, r"data\.height to be a multiple of 14.*found 64"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(model: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(Gazelle, **({"rows": 16} | model))


def test_encoders_with_several_maps_give_the_one_nearest_to_a_patch() -> None:
    model = network(Gazelle, backbone="tiny")
    assert (model.stride, model.project.in_channels) == (16, 128)
    assert GazelleOptions().backbone == "hub:facebook/dinov2-base"


# --- views ------------------------------------------------------------------------------------------------------------


def pixel(view: int, direction: Tensor, ring: int, reach: float, size: int) -> tuple[float, float] | None:
    """Row and column (continuous, cell centres at + 0.5) of a direction in a view, from the camera's pose alone; float64."""
    yaw, pitch = (2.0 * math.pi * view / ring, 0.0) if view < ring else (0.0, math.pi / 2.0 * (1 if view == ring else -1))
    x, y, z = sphere.rotate(sphere.rotation_from_pose(yaw, pitch, 0.0).T, direction.double().numpy())
    if z <= 0 or max(abs(x), abs(y)) > z * math.tan(reach):
        return None
    return (y / z / math.tan(reach) + 1.0) * size / 2.0, (x / z / math.tan(reach) + 1.0) * size / 2.0


PLACES = {
    "seam": at(180.0, 3.0), "right of the seam": at(-179.0, -10.0), "left of the seam": at(176.0, 20.0), "front": at(1.0, 1.0),
    "between two views": at(30.0, 0.0), "zenith": at(0.0, 90.0), "near the zenith": at(-120.0, 86.0), "nadir": at(0.0, -90.0),
    "near the nadir": at(100.0, -80.0), "high": at(77.0, 46.0),
}  # fmt: skip


@pytest.mark.parametrize("ring", [4, 6])
@pytest.mark.parametrize("place", PLACES)
def test_a_peak_in_one_view_is_at_its_direction_on_the_sphere(place: str, ring: int) -> None:
    """In every view that sees the direction well: a narrow peak is planted where the camera's pose says it must be."""
    reach, size, rows, direction = math.radians(50.0), 32, 64, PLACES[place]
    frames = view_frames(ring)
    weights = view_weights(frames, reach, rows)
    areas = torch.from_numpy(sphere.cell_solid_angles(2 * rows, rows)).float()
    planted = 0
    for view in range(ring + 2):
        spot = pixel(view, direction, ring, reach, size)
        if spot is None or not all(2.5 < value < size - 2.5 for value in spot):
            continue
        centres = torch.arange(size) + 0.5
        maps = torch.zeros(2, ring + 2, size, size)
        maps[1, view] = 40.0 * torch.exp(-((centres[:, None] - spot[0]) ** 2 + (centres - spot[1]) ** 2) / 2.0)
        heat = fused(maps, frames, reach, weights)
        assert heat[0].abs().max() == 0.0
        mass = torch.softmax((heat[1] + areas.log()).flatten(), dim=0)
        mean = (mass[:, None] * cell_directions(rows, heat.device).reshape(-1, 3)).sum(dim=0)
        off = sphere.angle_between(mean.numpy(), direction.numpy())
        assert np.degrees(off) < 3.0, f"view {view}"
        planted += 1
    assert planted >= 1


@pytest.mark.parametrize("place", PLACES)
def test_views_show_what_is_there(place: str) -> None:
    """A bright spot on the panorama is, in every view that sees it, where the camera's pose says."""
    model = network(GazelleTangent, backbone="tiny", ring=6)
    angle = angle_between(cell_directions(64, torch.device("cpu")), PLACES[place].expand(64, 128, 3))
    views = model.views(torch.exp(-((angle / 0.08) ** 2)).expand(1, 3, -1, -1))[0, :, 0]
    shown = 0
    for view, picture in enumerate(views):
        spot = pixel(view, PLACES[place], 6, model.reach, 64)
        if spot is None:
            continue
        row, column = divmod(int(picture.argmax()), 64)
        assert math.hypot(row + 0.5 - spot[0], column + 0.5 - spot[1]) < 2.0
        shown += 1
    assert shown >= 1


@pytest.mark.parametrize(("ring", "reach_deg"), [(4, 50.0), (6, 50.0), (8, 45.0)])
def test_weights_cover_the_sphere_and_vanish_at_borders(ring: int, reach_deg: float) -> None:
    reach = math.radians(reach_deg)
    frames = view_frames(ring)
    weights = view_weights(frames, reach, 16)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(16, 32))
    cells = cell_directions(16, frames.device)
    for view, weight in enumerate(weights):
        spots = [pixel(view, cell, ring, reach, 2) for cell in cells.reshape(-1, 3)]
        inside = torch.tensor([spot is not None for spot in spots]).reshape(16, 32)
        assert torch.equal(weight > 0, inside)
    maps = torch.full((1, ring + 2, 8, 8), 3.0)
    torch.testing.assert_close(fused(maps, frames, reach, weights), torch.full((1, 16, 32), 3.0))


def test_views_that_leave_gaps_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"show the whole sphere, but \d+ of 2048 cells are in none of the 6 views of 80 degrees"
    ):
        network(GazelleTangent, ring=4, reach_deg=40.0)


def test_the_head_is_prompted_where_views_see_it() -> None:
    model = network(GazelleTangent, ring=6, view=128)
    prompts = model.head_prompts(torch.stack([at(180.0, 0.0), at(30.0, 0.0)]), torch.tensor([0.02, 0.02]))
    assert prompts.shape == (2, 8, 8, 8)
    assert prompts[0, 3, 3:5, 3:5].min() > 0.5
    assert (prompts[0].flatten(1).amax(dim=1) > 0.5).nonzero().flatten().tolist() == [3]
    assert (prompts[1].flatten(1).amax(dim=1) > 0.5).nonzero().flatten().tolist() == [0, 1]


def test_views_are_not_wrapped() -> None:
    assert not network(GazelleTangent, backbone="tiny").backbone.equivariant
    assert network(Gazelle, backbone="tiny").backbone.equivariant


def test_every_view_is_told_where_the_head_is() -> None:
    """Without the prompt on the tokens, the direction of the head in each view's axes is what tells two people apart."""
    model, batch = network(GazelleTangent).eval(), make_batch(panoramas=1, people=2)
    with torch.no_grad():
        model.head_token.zero_()
        heat = model(replace(batch, heads=torch.stack([at(0.0, 0.0), at(90.0, 0.0)]), radii=torch.full((2,), 0.1))).heatmap
    assert (heat[1] - heat[0]).abs().max() > 0.01 * heat.std()
