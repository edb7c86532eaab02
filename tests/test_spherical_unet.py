"""The spherical U-Net: shapes, what it reads, sharing of the panorama, equivariance, learning by heart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from baselines.methods.spherical_unet import SphericalBlock, SphericalUNet, SphericalUNetOptions
from baselines.nets import geometry
from baselines.nets.spherenet import SphereNetConv2d
from tests.neural_batches import make_batch, turned

TINY = SphericalUNetOptions(width=8, hidden=32, heatmap=16)


def network(seed: int = 0) -> SphericalUNet:
    """A small network with parameters that are nowhere 0."""
    torch.manual_seed(seed)
    net = SphericalUNet(TINY, height=64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize(("height", "heatmap"), [(64, 16), (64, 32), (128, 32)])
def test_the_heatmap_has_the_rows_that_were_asked_for(height: int, heatmap: int) -> None:
    net = SphericalUNet(SphericalUNetOptions(width=8, hidden=32, heatmap=heatmap), height)
    with torch.no_grad():
        output = net(make_batch(people=3, height=height))
    assert output.heatmap.shape == (3, heatmap, 2 * heatmap)
    assert output.direction is None
    assert output.points is None


def test_every_wide_convolution_over_the_panorama_is_distortion_aware() -> None:
    net = network()
    outside = [name for name, m in net.named_modules() if isinstance(m, torch.nn.Conv2d) and not name.startswith("head.")]
    plain = [n for n in outside if not isinstance(net.get_submodule(n), SphereNetConv2d)]
    assert plain
    assert all(net.get_submodule(name).kernel_size == (1, 1) for name in plain)


def test_the_panorama_is_encoded_once_for_all_its_people() -> None:
    net, batch = network(), make_batch(panoramas=2, people=7)
    shapes = []
    net.encoder[0].register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape))
    net.bottleneck[0].register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape))
    with torch.no_grad():
        net(batch)
    assert [shape[0] for shape in shapes] == [2, 7]


def test_film_scales_and_shifts_the_channels() -> None:
    torch.manual_seed(0)
    block = SphericalBlock(4, 8)
    x = torch.randn(2, 4, 8, 16)
    with torch.no_grad():
        torch.testing.assert_close(block(x, torch.zeros(2, 16)), block(x))
        shut = torch.cat([torch.full((2, 8), -1.0), torch.arange(8.0).expand(2, 8)], dim=1)
        torch.testing.assert_close(block(x, shut), torch.arange(8.0)[None, :, None, None].expand(2, 8, 8, 16))


@pytest.mark.parametrize("part", ["panoramas", "crops", "heads", "radii"])
def test_scene_crop_place_and_size_of_the_head_all_matter(part: str) -> None:
    net, batch = network(), make_batch()
    moved = {
        "panoramas": replace(batch, panoramas=1.0 - batch.panoramas),
        "crops": replace(batch, crops=batch.crops.flip(-1)),
        "heads": replace(batch, heads=-batch.heads, frames=geometry.head_frames(-batch.heads)),
        "radii": replace(batch, radii=batch.radii + 0.6),
    }
    with torch.no_grad():
        assert (net(batch).heatmap - net(moved[part]).heatmap).abs().amax() > 1e-3


@pytest.mark.parametrize("columns", [8, 64, 104])
def test_turning_the_world_by_whole_strides_turns_the_answer_also_across_the_seam(columns: int) -> None:
    """The coarsest grid has 8 rows, so a whole stride is 8 columns of a panorama of 64 rows."""
    assert SphericalUNet.equivariant
    batch, net = make_batch(people=6, height=64), network()
    with torch.no_grad():
        before, after = net(batch).heatmap, net(turned(batch, columns)).heatmap
    torch.testing.assert_close(after, torch.roll(before, columns // 4, dims=-1), atol=2e-3, rtol=1e-3)
    assert (after - before).abs().amax() > 0.05
