"""The scene-only network and the three planar classics on the sphere: shapes, independence, equivariance, learning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from neural_batches import make_batch, turned, yaw_by

from baselines.data.batch import Batch, Output
from baselines.methods.chong2020 import Attention, Chong2020, from_head_meridian
from baselines.methods.lian2018 import EXPONENTS, Lian2018, fields
from baselines.methods.recasens2015 import Recasens2015, mask_places
from baselines.methods.saliency import Saliency, scene
from baselines.nets import geometry
from baselines.neural import GazeModel, NeuralPredictor
from baselines.training.settings import DataSettings, Settings
from srgaze360 import sphere

METHODS = (Saliency, Recasens2015, Lian2018, Chong2020)
HEIGHT, CROP, STRIDE = 64, 32, 16
SETTINGS = Settings(data=DataSettings(height=HEIGHT, crop=CROP))
KAPPA = float(1.0 / np.radians(5.0) ** 2)

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(method: type[NeuralPredictor], seed: int = 0, width: int = 8, **options: object) -> GazeModel:
    """A small network whose blocks are not the identity they start as."""
    torch.manual_seed(seed)
    model = method.network(method.options(width=width, **options), SETTINGS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def loss(output: Output, batch: Batch) -> torch.Tensor:
    """What a method can be trained by: 0 where heatmap, direction and in-frame score are those of the targets."""
    target = geometry.mixture(batch.points, batch.weights, KAPPA, output.heatmap.shape[-2])
    log_target = target.clamp_min(1e-30).log()
    total = (target * (log_target - geometry.log_probabilities(output.heatmap))).sum((-2, -1)).mean()
    if output.direction is not None:
        chords = geometry.chords(batch.heads, batch.frames, batch.gazes)
        total = total + (1.0 - (output.direction * chords).sum(-1)).mean()
    if output.in_frame is not None:
        total = total + torch.nn.functional.binary_cross_entropy_with_logits(output.in_frame, batch.in_frame)
    return total


def answers(model: GazeModel, batch: Batch) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        output = model.eval()(batch)
    parts = {"heatmap": output.heatmap, "direction": output.direction, "in_frame": output.in_frame}
    return {name: value for name, value in parts.items() if value is not None}


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


# --- what every method keeps to -----------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("size", ["tiny", "base", "large"])
def test_sizes_make_networks_with_heatmaps_of_32_or_64_rows(method, size):
    settings = method.settings_of({"size": size})
    with torch.device("meta"):
        model = method.make(settings)
    count = sum(p.numel() for p in model.parameters())
    low, high = {"tiny": (3e5, 1.5e6), "base": (2e6, 2e7), "large": (5e6, 6e7)}[size]
    assert low < count < high
    assert settings.data.height // settings.model["stride"] == (32 if size == "tiny" else 64)


@every_method
@pytest.mark.parametrize(("depth", "stride"), [(4, 4), (4, 8), (3, 8), (5, 4)])
def test_shapes(method, depth, stride):
    batch = make_batch(height=HEIGHT, crop=CROP, targets=False)
    found = answers(network(method, depth=depth, stride=stride), batch)
    assert found["heatmap"].shape == (5, HEIGHT // stride, 2 * HEIGHT // stride)
    assert ("direction" in found) == (method is Lian2018)
    assert ("in_frame" in found) == (method is Chong2020)
    assert all(torch.isfinite(value).all() for value in found.values())


@every_method
@pytest.mark.parametrize("columns", [STRIDE, 5 * STRIDE, -3 * STRIDE])
def test_turning_the_world_turns_the_answer(method, columns):
    """By whole strides of the coarsest grid: heatmaps roll within 1e-3 of a logit, the rest stays; some cross the seam."""
    batch = make_batch(people=8, height=HEIGHT, crop=CROP, targets=False)
    around = torch.atan2(batch.heads[:, 0], batch.heads[:, 2]) / (2.0 * math.pi) + 0.5 + columns / (2.0 * HEIGHT)
    assert ((around < 0.0) | (around >= 1.0)).any()
    model = network(method)
    assert model.equivariant
    before, after = answers(model, batch), answers(model, turned(batch, columns))
    rolled = torch.roll(before["heatmap"], columns * before["heatmap"].shape[-1] // (2 * HEIGHT), dims=-1)
    assert largest_difference(after["heatmap"], rolled) < 1e-3
    assert largest_difference(after["heatmap"], before["heatmap"]) > 1e-2  # it is not that nothing depends on anything
    for name in before.keys() - {"heatmap"}:
        assert largest_difference(after[name], before[name]) < 1e-4, name


@every_method
def test_a_head_at_the_pole_or_on_the_seam_gets_a_finite_answer_and_gradient(method):
    heads = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1e-7, 0.0, -1.0]])
    batch = make_batch(panoramas=1, people=4, height=HEIGHT, crop=CROP)
    batch = replace(
        batch, heads=heads, frames=geometry.head_frames(heads), gazes=-heads, points=-heads[:, None].repeat(1, 2, 1)
    )
    model = network(method)
    output = model(batch)
    value = loss(output, batch)
    value.backward()
    assert torch.isfinite(output.heatmap).all()
    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# --- what each may see --------------------------------------------------------------------------------------------------


def test_the_scene_knows_the_latitude_and_not_the_longitude():
    plane = scene(torch.zeros(2, 3, HEIGHT, 2 * HEIGHT))[:, 3]
    directions = sphere.cell_directions(2 * HEIGHT, HEIGHT)
    expected = np.sin(sphere.lonlat_from_direction(directions)[1])
    np.testing.assert_allclose(plane[1].numpy(), expected, atol=1e-6)
    assert float(plane[0, 0, 0]) > 0.99  # the zenith is the first row


def test_saliency_gives_everyone_on_a_panorama_the_same_map():
    batch = make_batch(panoramas=2, people=5, height=HEIGHT, crop=CROP, targets=False)
    found = answers(network(Saliency), batch)["heatmap"]
    assert largest_difference(found[0], found[1]) == 0.0
    assert largest_difference(found[0], found[4]) > 1e-3


@pytest.mark.parametrize("method", METHODS[1:], ids=lambda method: method.name)
def test_the_others_listen_to_the_head_crop(method):
    batch = make_batch(height=HEIGHT, crop=CROP, targets=False)
    model = network(method)
    other = replace(batch, crops=batch.crops.flip(-1))
    assert largest_difference(answers(model, batch)["heatmap"], answers(model, other)["heatmap"]) > 1e-3


def test_only_chong_looks_at_the_size_of_the_head():
    batch = make_batch(height=HEIGHT, crop=CROP, targets=False)
    larger = replace(batch, radii=4.0 * batch.radii)
    for method in METHODS:
        model = network(method)
        moved = largest_difference(answers(model, batch)["heatmap"], answers(model, larger)["heatmap"])
        assert (moved > 1e-3) == (method is Chong2020), method.name


# --- Recasens: the gaze mask --------------------------------------------------------------------------------------------


def test_mask_places_have_the_antipode_in_the_middle_and_the_head_on_the_rim():
    """Oracle in float64: at arc a from the head, in the azimuth of the target, the place is 1 - a / pi from the centre."""
    batch = make_batch(people=6, height=HEIGHT, targets=False)
    places = mask_places(geometry.cell_chords(batch.heads, batch.frames, 32)).double().numpy()
    cells = sphere.cell_directions(64, 32)
    for head, place in zip(batch.heads.double().numpy(), places, strict=True):
        steps = sphere.log_map(head, cells)
        arc = np.linalg.norm(steps, axis=-1)
        expected = (1.0 - arc / np.pi)[..., None] * steps / arc[..., None] * [1.0, -1.0]
        np.testing.assert_allclose(place[arc > 0.2], expected[arc > 0.2], atol=5e-3)
        assert np.linalg.norm(place, axis=-1).max() <= 1.0 + 1e-6


def test_recasens_is_the_product_of_saliency_and_mask():
    """With a mask that is lit on its right half alone, everything east of the head gains over everything west of it."""
    batch = make_batch(panoramas=1, people=3, height=HEIGHT, crop=CROP, targets=False)
    model = network(Recasens2015)
    side = model.side
    with torch.no_grad():
        last = model.gaze[-1]
        last.weight.zero_()
        last.bias.copy_(torch.where(torch.arange(side) >= side // 2, 4.0, -4.0).repeat(side))
        gain = model.eval()(batch).heatmap - model.saliency(batch.panoramas)[batch.owner]
    cells = geometry.cell_directions(gain.shape[-2], gain.device)
    east = torch.einsum("bc,hwc->bhw", batch.frames[:, 0], cells)
    np.testing.assert_allclose(gain[east > 0.5], math.log(1.0 / (1.0 + math.exp(-4.0))), atol=1e-4)
    np.testing.assert_allclose(gain[east < -0.5], math.log(1.0 / (1.0 + math.exp(4.0))), atol=1e-4)


# --- Lian: the fields ---------------------------------------------------------------------------------------------------


def test_fields_against_the_formula_in_float64():
    batch = make_batch(people=4, height=HEIGHT)
    directions = geometry.chords(batch.heads, batch.frames, batch.gazes)
    found = fields(directions, batch.heads, batch.frames, 16).double().numpy()
    cells = sphere.cell_directions(32, 16)
    for person in range(4):
        head, gaze = (sphere.normalise(value[person].double().numpy()) for value in (batch.heads, batch.gazes))
        angle = sphere.angle_between(sphere.normalise(gaze - head), sphere.normalise(cells - head))
        for channel, gamma in enumerate(EXPONENTS):
            expected = np.maximum(0.0, np.cos(angle)) ** gamma
            near = sphere.angle_between(cells, head) > 0.2
            np.testing.assert_allclose(found[person, channel][near], expected[near], atol=2e-3)
    assert found.min() == 0.0
    assert tuple(EXPONENTS) == (5, 2, 1)


def test_the_direction_of_lian_is_taught_by_its_own_loss_alone():
    batch = make_batch(height=HEIGHT, crop=CROP)
    model = network(Lian2018)
    last = model.fuse[-1].weight
    output = model(batch)
    geometry.log_probabilities(output.heatmap)[:, 3, 5].sum().backward(retain_graph=True)
    assert last.grad is None
    output.direction[:, 0].sum().backward()
    assert float(last.grad.abs().max()) > 0.0


# --- Chong: the attention -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [0, 3, 7, -2])
def test_maps_about_the_head_are_shifted_to_its_longitude(columns):
    maps = torch.randn(1, 4, 8)
    ahead = torch.tensor([[0.0, 0.0, 1.0]])
    frames = geometry.head_frames(ahead) @ yaw_by(columns, 8).T
    expected = torch.roll(maps, columns, dims=-1)
    assert largest_difference(from_head_meridian(maps, frames), expected) < 1e-5


def test_between_columns_the_shift_is_linear_and_wraps():
    maps = torch.zeros(1, 1, 8)
    maps[..., 7] = 1.0  # the last column before lon(head) + pi
    frames = geometry.head_frames(torch.tensor([[0.0, 0.0, 1.0]])) @ yaw_by(1, 32).T  # a quarter of a column to the right
    expected = torch.tensor([0.25, 0, 0, 0, 0, 0, 0, 0.75])
    assert largest_difference(from_head_meridian(maps, frames)[0, 0], expected) < 1e-5


def test_attention_is_a_density_of_mean_one():
    torch.manual_seed(0)
    batch = make_batch(people=6, height=HEIGHT, targets=False)
    masks = geometry.head_masks(batch.heads, batch.radii, 16)
    attention = Attention(features=12, rows=4, mask_rows=16)
    with torch.no_grad():
        vectors = 20.0 * torch.randn(6, 12)
        weights = attention(vectors, masks, batch.frames).squeeze(1)
        attention.linear.weight.zero_()
        attention.linear.bias.zero_()
        even = attention(vectors, masks, batch.frames)
    areas = geometry.cell_solid_angles(4, weights.device)
    np.testing.assert_allclose((weights * areas).sum((-2, -1)) / (4.0 * math.pi), 1.0, atol=1e-5)
    assert float(weights.max()) > 2.0
    np.testing.assert_allclose(even, 1.0, atol=1e-5)  # without a preference the cells at the poles weigh as all others
