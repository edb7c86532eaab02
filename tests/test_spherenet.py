"""Distortion-aware convolution: where the taps lie, what it computes, how it takes rotations of the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from baselines.nets.padding import SphereConv2d
from baselines.nets.spherenet import SphereNetConv2d, tap_pixels
from srgaze360 import sphere


def tap_directions(height: int, kernel: int, stride: int = 1) -> np.ndarray:
    """Directions (h, w, kernel, kernel, 3) of all taps."""
    pixels = np.repeat(tap_pixels(height, kernel, stride)[:, None], 2 * height // stride, axis=1)
    pixels[..., 0] += ((np.arange(2 * height // stride) + 0.5) * stride)[:, None, None]
    return sphere.direction_from_pixel(pixels, 2 * height)


def bilinear(image: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Slow oracle: value (C,) of an image (C, H, W) at a direction, bilinear, over seam and poles."""
    height, width = image.shape[-2:]
    x, y = sphere.pixel_from_direction(direction, width, height) - 0.5
    total = np.zeros(len(image))
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            share = (1.0 - abs(y - row)) * (1.0 - abs(x - column))
            beyond = row < 0 or row >= height
            there = -1 - row if row < 0 else 2 * height - 1 - row if row >= height else row
            total += share * image[:, there, (column + (height if beyond else 0)) % width]
    return total


def gnomonic_taps(centre: np.ndarray, kernel: int, spacing: float) -> np.ndarray:
    """Slow oracle: taps (kernel, kernel, 3) on the tangent plane, by the paper's coordinates tan(x) and tan(y) / cos(x)."""
    east, north, radial = sphere.tangent_frame(centre)
    taps = np.zeros((kernel, kernel, 3))
    for i in range(kernel):
        for j in range(kernel):
            across, up = (j - kernel // 2) * spacing, (kernel // 2 - i) * spacing
            taps[i, j] = sphere.normalise(radial + np.tan(across) * east + np.tan(up) / np.cos(across) * north)
    return taps


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1)])
def test_taps_lie_on_the_tangent_plane_where_the_paper_puts_them(kernel: int, stride: int) -> None:
    height = 16
    taps = tap_directions(height, kernel, stride)
    centres = sphere.cell_directions(2 * height // stride, height // stride)
    assert taps.shape == (*centres.shape[:2], kernel, kernel, 3)
    for row, column in ((0, 3), (height // stride // 2, 0), (height // stride - 1, 2 * height // stride - 1)):
        expected = gnomonic_taps(centres[row, column], kernel, np.pi / height)
        np.testing.assert_allclose(taps[row, column], expected, atol=1e-12)


def test_taps_at_the_equator_are_the_neighbouring_cells_and_spread_in_longitude_towards_the_poles() -> None:
    height = 64
    lon, lat = sphere.lonlat_from_direction(tap_directions(height, 3))
    cell = np.pi / height
    centre = sphere.wrap_lon(lon - lon[:, :, 1:2, 1:2])[:, 10]
    offsets = (np.arange(3) - 1) * cell
    equator = height // 2
    np.testing.assert_allclose(centre[equator], np.broadcast_to(offsets, (3, 3)), atol=0.01 * cell)
    np.testing.assert_allclose(
        lat[equator, 10] - lat[equator, 10, 1, 1], np.broadcast_to(-offsets[:, None], (3, 3)), atol=0.01 * cell
    )
    spread = centre[:, 1, 2]
    assert np.all(np.diff(spread[equator:]) > 0.0), "the next tap east moves away in longitude from equator to pole"
    assert spread[-3] > 5.0 * cell
    # on the sphere it stays where it was
    np.testing.assert_allclose(
        sphere.angle_between(tap_directions(height, 3)[:, 0, 1, 1], tap_directions(height, 3)[:, 0, 1, 2]), cell
    )


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1)])
def test_the_convolution_is_the_sum_over_bilinear_taps(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    height = 8
    layer = SphereNetConv2d(2, 3, kernel, stride=stride).double()
    image = torch.randn(1, 2, height, 2 * height, dtype=torch.float64)
    with torch.no_grad():
        found = layer(image)[0].numpy()
    taps = tap_directions(height, kernel, stride)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert found.shape == (3, height // stride, 2 * height // stride)
    for row in range(height // stride):
        for column in (0, 1, height // stride, 2 * height // stride - 1):  # seam on both sides
            samples = np.array([[bilinear(image[0].numpy(), tap) for tap in line] for line in taps[row, column]])
            np.testing.assert_allclose(found[:, row, column], np.einsum("ocij,ijc->o", weight, samples) + bias, atol=1e-5)


def test_at_the_equator_it_is_an_ordinary_convolution_and_at_the_poles_it_is_not() -> None:
    torch.manual_seed(0)
    height = 64
    ours, ordinary = SphereNetConv2d(3, 4, 3), SphereConv2d(3, 4, 3)
    ordinary.load_state_dict(ours.state_dict())
    image = smooth(height, 3)
    with torch.no_grad():
        difference = (ours(image) - ordinary(image)).abs().mean(dim=(0, 1, 3))
    assert difference[height // 2] < 1e-3
    assert difference[0] > 0.03 > 10.0 * difference[height // 2]


def smooth(height: int, channels: int, rotation: np.ndarray | None = None, seed: int = 0) -> torch.Tensor:
    """A picture (1, channels, h, 2h) that varies over about 20 degrees: random waves on the ball, seen after a rotation."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(size=(channels, 6, 3)) * 3.0, rng.uniform(0.0, 2.0 * np.pi, (channels, 6))
    directions = sphere.cell_directions(2 * height, height)
    if rotation is not None:
        directions = sphere.rotate(rotation.T, directions)
    values = np.sin(np.einsum("ckx,hwx->ckhw", waves, directions) + phases[..., None, None]).sum(axis=1)
    return torch.from_numpy(values).float()[None]


def rotation_error(layer: nn.Module, rotation: np.ndarray, height: int) -> torch.Tensor:
    """Mean difference (h,) per row between features of the rotated picture and the rotated features, in their spread."""
    with torch.no_grad():
        features, turned = layer(smooth(height, 2))[0], layer(smooth(height, 2, rotation))[0].numpy()
    back = sphere.rotate(rotation.T, sphere.cell_directions(2 * height, height))
    expected = np.array([[bilinear(features.numpy(), d) for d in line[:: height // 8]] for line in back])
    error = np.abs(turned[:, :, :: height // 8].transpose(1, 2, 0) - expected).mean(axis=(1, 2))
    return torch.from_numpy(error / features.std().item())


def isotropic(layer: nn.Conv2d) -> nn.Conv2d:
    """Make a layer's kernels the same in all directions: an edge, plus a smaller weight around it, none in the corners."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = 1.0
        for i, j in ((0, 1), (1, 0), (1, 2), (2, 1)):
            layer.weight[:, :, i, j] = -0.2
    return layer


@pytest.mark.parametrize("pose", [(0.3, 0.9, 0.0), (-1.0, 0.4, 1.2), (0.0, np.pi / 2, 0.0)])
def test_any_rotation_of_the_sphere_rotates_the_features_of_an_isotropic_kernel(pose: tuple[float, float, float]) -> None:
    """What is left is the error of interpolation; the ordinary convolution fares worse, most of all near the poles."""
    height, rotation = 64, sphere.rotation_from_pose(*pose)
    ours = rotation_error(isotropic(SphereNetConv2d(2, 2, 3, bias=False)), rotation, height)
    ordinary = rotation_error(isotropic(SphereConv2d(2, 2, 3, bias=False)), rotation, height)
    assert ours.mean() < 0.005
    assert ours.max() < 0.02
    assert ours.mean() < 0.4 * ordinary.mean()
    polar = [*range(4), *range(height - 4, height)]
    assert ours[polar].mean() < 0.5 * ordinary[polar].mean()
    assert ordinary[polar].mean() > ordinary.mean()


def test_any_kernel_answers_alike_to_what_is_moved_along_a_meridian() -> None:
    """Along a meridian the local north stays the local north: the answer at a blob does not depend on its latitude."""
    torch.manual_seed(1)
    height = 64
    ours, ordinary = SphereNetConv2d(1, 8, 3, bias=False), SphereConv2d(1, 8, 3, bias=False)
    ordinary.load_state_dict(ours.state_dict())
    blobs = []
    rows = (height // 2, height - 8, height - 2)
    for row in rows:
        frame = sphere.tangent_frame(sphere.cell_directions(2 * height, height)[row, 17])
        place = np.einsum("ij,hwj->hwi", frame, sphere.cell_directions(2 * height, height))
        # a slope to the east and one to the north, cut off at about 15 degrees
        blobs.append(np.exp(30.0 * (place[..., 2] - 1.0)) * (1.0 + 2.0 * place[..., 0] + 3.0 * place[..., 1]))
    images = torch.from_numpy(np.stack(blobs)).float()[:, None]
    with torch.no_grad():
        found, other = (torch.stack([layer(images)[k, :, row, 17] for k, row in enumerate(rows)]) for layer in (ours, ordinary))
    torch.testing.assert_close(found[1:], found[:1].expand(2, -1), rtol=0.0, atol=5e-3)
    assert (other[1:] - other[:1]).abs().amax() > 2e-2


@pytest.mark.parametrize("stride", [1, 2])
def test_turning_the_panorama_turns_the_features_across_the_seam(stride: int) -> None:
    torch.manual_seed(2)
    layer = SphereNetConv2d(3, 4, 3, stride=stride)
    image = torch.randn(2, 3, 16, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(torch.roll(image, 6 * stride, dims=-1)), torch.roll(layer(image), 6, dims=-1), atol=1e-4, rtol=0.0
        )


def test_the_gradient_is_that_of_the_sampling() -> None:
    torch.manual_seed(3)
    layer = SphereNetConv2d(1, 1, 3).double()
    image = torch.randn(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (image,), eps=1e-6, atol=1e-5)


def test_sampling_is_no_part_of_a_checkpoint_and_keeps_its_digits_in_half_precision() -> None:
    layer = SphereNetConv2d(4, 4, 3)
    assert set(layer.state_dict()) == {"weight", "bias"}
    image = smooth(64, 4)
    with torch.no_grad():
        precise = layer(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = layer(image.bfloat16()).float()
    # places in bfloat16 would be off by up to a quarter of a cell
    assert (half - precise).abs().mean() < 0.01 * precise.abs().mean()


def test_who_predicts_first_can_train_afterwards() -> None:
    made = SphereNetConv2d(2, 3, 3)
    features = torch.randn(1, 2, 24, 48)  # a size that no other test asks for
    with torch.inference_mode():
        made(features)
    made(features.requires_grad_()).sum().backward()
    assert features.grad is not None


def test_of_a_constant_it_is_the_sum_of_the_kernel_up_to_the_poles() -> None:
    layer = SphereNetConv2d(1, 1, 3, bias=False)
    with torch.no_grad():
        answer = layer(torch.ones(1, 1, 16, 32))
    torch.testing.assert_close(answer, layer.weight.detach().sum().expand_as(answer))
