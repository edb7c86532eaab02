"""The shared blocks: shapes, turning with the panorama, independence of the batch, gradients, what crops lose and keep."""

from __future__ import annotations

import pytest
import torch

from baselines.nets import blocks
from srgaze360.errors import InputError


def seeded(make):
    torch.manual_seed(0)
    module = make().double()
    for parameter in module.parameters():  # norms that start at 0 would hide half of a residual block
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    return module


def encoder():
    return seeded(lambda: blocks.PanoramaEncoder(8, depth=3))


def decoder(stride=4):
    return seeded(lambda: blocks.PanoramaDecoder([8, 16, 32], 12, stride=stride))


def panoramas(count=2):
    return torch.rand(count, 3, 32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_panoramas_are_standardised_alike_whatever_they_show():
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 4, 8)
    found = blocks.standardised(torch.stack([grey, grey + torch.tensor([0.229, 0.224, 0.225])[:, None, None]]))
    torch.testing.assert_close(found[0], torch.zeros(3, 4, 8))
    torch.testing.assert_close(found[1], torch.ones(3, 4, 8))


def test_crops_lose_brightness_and_contrast_and_keep_hue():
    crop = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    found = blocks.crop_standardised(torch.cat([crop, 0.5 * crop + 0.3]))
    torch.testing.assert_close(found[0], found[1], atol=0.05, rtol=0)
    assert found[0].mean().abs() < 1e-9
    assert 0.95 < found[0].std() < 1.0
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1.0
    assert (blocks.crop_standardised(red)[0, 0] > 1.0).all()


def test_a_constant_crop_becomes_zero_and_noise_of_one_level_stays_small():
    assert torch.equal(blocks.crop_standardised(torch.full((1, 3, 8, 8), 0.5)), torch.zeros(1, 3, 8, 8))
    noise = 0.5 + (torch.rand(1, 3, 16, 16) > 0.5) / 255
    assert blocks.crop_standardised(noise).abs().max() < 0.1


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, 1), (8, 2), (16, 4), (32, 8), (12, 3), (20, 5), (128, 8), (1, 1), (28, 7), (22, 2)]
)
def test_groups_divide_the_channels_and_hold_four_or_more(channels, groups):
    assert blocks.group_norm(channels).num_groups == groups


def test_a_perceptron_ends_without_activation():
    net = blocks.mlp([3, 5, 2])
    assert [type(layer).__name__ for layer in net] == ["Linear", "ReLU", "Linear"]
    assert net(torch.zeros(4, 3)).shape == (4, 2)


# --- panoramas --------------------------------------------------------------------------------------------------------


def test_the_encoder_gives_the_maps_it_announces():
    net = encoder()
    assert (net.channels, net.strides) == ([8, 16, 32], [2, 4, 8])
    for found, channels, stride in zip(net(panoramas()), net.channels, net.strides, strict=True):
        assert found.shape == (2, channels, 32 // stride, 64 // stride)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_encoder_and_decoder_turn_with_the_panorama(steps):
    net, back = encoder(), decoder()
    plain, turned = net(panoramas()), net(torch.roll(panoramas(), 8 * steps, dims=-1))
    for stride, before, after in zip(net.strides, plain, turned, strict=True):
        torch.testing.assert_close(after, torch.roll(before, 8 * steps // stride, dims=-1))
    torch.testing.assert_close(back(turned), torch.roll(back(plain), 2 * steps, dims=-1))


def test_features_stay_registered_with_the_panorama():
    """A kernel symmetric left to right sees a mirrored panorama mirrored: no stage shifts the grid by half a cell."""
    net = encoder()
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data + parameter.data.flip(-1)
    for before, after in zip(net(panoramas()), net(panoramas().flip(-1)), strict=True):
        torch.testing.assert_close(after, before.flip(-1))


@pytest.mark.parametrize(("stride", "size"), [(2, (16, 32)), (4, (8, 16)), (8, (4, 8))])
def test_the_decoder_answers_at_its_stride(stride, size):
    assert decoder(stride)(encoder()(panoramas())).shape == (2, 12, *size)


def test_the_decoder_hears_every_map_from_its_stride_on():
    maps = [m.detach().requires_grad_() for m in encoder()(panoramas())]
    decoder(stride=4)(maps).sum().backward()
    assert maps[0].grad is None
    assert all(m.grad.abs().sum() > 0 for m in maps[1:])


def test_a_residual_block_starts_as_the_identity_of_what_is_positive():
    torch.manual_seed(0)
    x = torch.rand(1, 8, 4, 8)
    torch.testing.assert_close(blocks.ResidualBlock(8)(x), x)


def test_a_panorama_that_cannot_be_halved_so_often_is_refused():
    with pytest.raises(InputError, match="Use a larger panorama"):
        blocks.PanoramaEncoder(4, depth=3)(torch.zeros(1, 3, 4, 4))


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 50, 64])
def test_a_head_becomes_a_vector_whatever_the_size_of_the_crop(side):
    assert blocks.HeadEncoder(4, 10)(torch.rand(2, 3, side, side)).shape == (2, 10)


def test_where_in_the_crop_something_is_changes_the_vector():
    net = seeded(lambda: blocks.HeadEncoder(4, 10))
    crop = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    crop[..., 20:30, 8:16] = 1.0
    assert (net(crop) - net(crop.flip(-1))).abs().max() > 1e-3


@pytest.mark.parametrize("make", [encoder, lambda: seeded(lambda: blocks.HeadEncoder(4, 10, depth=3))], ids=["scene", "head"])
def test_no_picture_depends_on_its_neighbours_in_the_batch(make):
    net, pictures = make(), panoramas(3)[..., :32]
    together, alone = net(pictures), net(pictures[1:2])
    for a, b in zip(together, alone, strict=True) if isinstance(together, list) else [(together, alone)]:
        torch.testing.assert_close(a[1:2], b)


@pytest.mark.parametrize(
    "make", [encoder, decoder, lambda: seeded(lambda: blocks.HeadEncoder(4, 10))], ids=["scene", "back", "head"]
)
def test_gradients_reach_every_parameter(make):
    net = make()
    given = [m.detach() for m in encoder()(panoramas())] if isinstance(net, blocks.PanoramaDecoder) else panoramas()
    found = net(given)
    sum((m * torch.randn_like(m)).sum() for m in (found if isinstance(found, list) else [found])).backward()
    unreached = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # stride 4 does not look at the finest map; it has no parameters for it either
    assert unreached == set()
