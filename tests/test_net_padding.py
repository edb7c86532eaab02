"""Padding on the sphere against looking every padded cell up by its direction, and what convolutions owe to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from baselines.nets.padding import SphereConv2d, pad_sphere, upsample_sphere
from srgaze360 import sphere
from srgaze360.errors import InputError


def beyond(values, rows, columns):
    """Padded map (C, H + 2 rows, W + 2 columns), each cell looked up where its direction falls."""
    _, height, width = values.shape
    row, column = np.mgrid[-rows : height + rows, -columns : width + columns] + 0.5
    lon, lat = 2 * np.pi * (column / width - 0.5), np.pi * (0.5 - row / height)  # latitudes beyond +-90 degrees run over a pole
    pixels = sphere.pixel_from_direction(sphere.direction_from_lonlat(lon, lat), width, height)
    return values[:, np.floor(pixels[..., 1]).astype(int), np.floor(pixels[..., 0]).astype(int)]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (0, 2), (3, 0), (4, 8), (0, 0)])
def test_padding_is_what_lies_there_on_the_sphere(rows, columns):
    values = torch.randn(2, 3, 4, 8)
    padded = pad_sphere(values, rows, columns)
    for one, found in zip(values.numpy(), padded.numpy(), strict=True):
        np.testing.assert_array_equal(found, beyond(one, rows, columns))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (0, 2), (3, 0), (4, 8)])
def test_the_gradient_that_is_written_out_is_the_gradient(rows, columns):
    values = torch.randn(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pad_sphere(x, rows, columns), values)
    assert torch.autograd.gradgradcheck(lambda x: pad_sphere(x, rows, columns) ** 2, values)


def test_padding_is_the_same_with_and_without_gradients():
    values = torch.randn(1, 2, 4, 8)
    with torch.no_grad():
        plain = pad_sphere(values, 1, 2)
    assert torch.equal(plain, pad_sphere(values.requires_grad_(), 1, 2))


@pytest.mark.parametrize(("shape", "rows", "columns"), [((4, 7), 1, 1), ((2, 4), 3, 1), ((2, 4), 1, 5)])
def test_a_map_too_small_for_its_padding_is_refused(shape, rows, columns):
    with pytest.raises(InputError, match=rf"found {shape[0]} x {shape[1]}\. Use a larger panorama"):
        pad_sphere(torch.zeros(1, 1, *shape), rows, columns)


def test_a_convolution_is_a_plain_one_inside():
    conv = SphereConv2d(2, 3, 3)
    x = torch.randn(1, 2, 8, 16)
    plain = nn.functional.conv2d(x, conv.weight, conv.bias)
    torch.testing.assert_close(conv(x)[..., 1:-1, 1:-1], plain)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"),
    [(3, 1, 1, 1), (4, 2, 1, 1), (2, 2, 1, 1), (3, 2, 1, 1), (3, 1, 3, 1), (7, 1, 1, 4)],
)
def test_a_convolution_turns_with_the_panorama(kernel, stride, dilation, groups):
    conv = SphereConv2d(4, 4, kernel, stride=stride, dilation=dilation, groups=groups).double()
    x = torch.randn(1, 4, 8, 16, dtype=torch.float64)
    for steps in (1, 3):
        turned = conv(torch.roll(x, steps * stride, dims=-1))
        torch.testing.assert_close(turned, torch.roll(conv(x), steps, dims=-1))
    assert conv(x).shape == (1, 4, 8 // stride, 16 // stride)


def test_a_kernel_reaches_over_the_pole_to_the_opposite_meridian():
    conv = SphereConv2d(1, 1, 3, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 1] = 1.0  # the cell above
    x = torch.zeros(1, 1, 8, 16)
    x[0, 0, 0, 3] = 1.0
    found = conv(x)
    assert found.nonzero().tolist() == [[0, 0, 0, 11], [0, 0, 1, 3]]


@pytest.mark.parametrize("factor", [2, 4])
def test_enlargement_is_bilinear_on_the_sphere(factor):
    height = 8
    x = torch.randn(1, 1, height, 2 * height, dtype=torch.float64)
    found = upsample_sphere(x, factor)[0, 0].numpy()
    assert found.shape == (factor * height, 2 * factor * height)
    padded = beyond(x[0].numpy(), 1, 1)[0]
    row = (np.arange(factor * height) + 0.5) / factor + 0.5
    column = (np.arange(2 * factor * height) + 0.5) / factor + 0.5
    for i, r in enumerate(row):
        for j, c in enumerate(column):
            a, b = int(r), int(c)
            fr, fc = r - a, c - b
            block = padded[a : a + 2, b : b + 2]
            assert found[i, j] == pytest.approx(np.array([1 - fr, fr]) @ block @ np.array([1 - fc, fc]), abs=1e-9)
