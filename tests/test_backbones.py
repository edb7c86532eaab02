"""Encoders: where their weights come from, what is refused, what stays frozen, and what lies beyond the border."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from baselines.nets import backbones
from baselines.nets.backbones import ARCHITECTURES, open_backbone, weights_digest
from baselines.nets.padding import SphereConv2d
from srgaze360.errors import EnvironmentProblem, InputError

STAGES = {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 2, 1, 1]}
SMALL = {
    "small-resnet": ("resnet", {**STAGES, "embedding_size": 8}),
    "small-convnext": ("convnext", {**STAGES, "layer_scale_init_value": 1.0}),
    "small-dinov2": (
        "dinov2",
        {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 56},
    ),
}
CONVOLUTIONAL = ["tiny", "random:small-resnet", "random:small-convnext"]
ALL = [*CONVOLUTIONAL, "random:small-dinov2"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, architecture in SMALL.items():
        monkeypatch.setitem(ARCHITECTURES, name, architecture)
    torch.manual_seed(0)


def pictures(height: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, 2 * height, generator=torch.Generator().manual_seed(1))


def model(name: str) -> nn.Module:
    """A small model of ``transformers``, with running means that are not those of the start."""
    import transformers

    kind, changes = SMALL[name]
    family = backbones.FAMILIES[kind]
    made = getattr(transformers, family.model)(getattr(transformers, family.config)(**changes))
    for norm in (m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean, std=0.3)
    return made.eval()


def saved(folder: Path, name: str = "small-dinov2") -> Path:
    """A folder as ``save_pretrained`` leaves it."""
    made = model(name)
    made.config.save_pretrained(folder)
    save_file(
        {key: value.contiguous() for key, value in made.state_dict().items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


# --- maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sphere", [True, False])
@pytest.mark.parametrize("spec", ALL)
def test_maps_have_the_channels_and_strides_that_are_said(spec: str, sphere: bool) -> None:
    backbone = open_backbone(spec, trainable=False, sphere=sphere)
    height = 4 * backbone.strides[-1]
    maps = backbone(pictures(height))
    assert len(maps) == len(backbone.channels) == len(backbone.strides)
    for features, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert features.shape == (2, channels, height // stride, 2 * height // stride)
        assert features.std() > 1e-3
    assert list(backbone.strides) == sorted(backbone.strides)


@pytest.mark.parametrize(
    ("name", "channels", "stride", "millions"),
    [
        ("resnet50", 2048, 32, 23.51),  # 25.56 of He et al. less the classifier's 2.05
        ("resnet18", 512, 32, 11.18),  # 11.69 less 0.51
        ("convnext-tiny", 768, 32, 27.82),  # 28.59 of Liu et al. less 0.77
        ("dinov2-small", 384, 14, 22.06),
        ("dinov2-base", 768, 14, 86.58),
        ("dinov2-large", 1024, 14, 304.37),
    ],
)
def test_known_architectures_have_their_published_size(name: str, channels: int, stride: int, millions: float) -> None:
    with torch.device("meta"):
        backbone = open_backbone(f"random:{name}", trainable=True)
    assert (backbone.channels[-1], backbone.strides[-1]) == (channels, stride)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_seed_decides_fresh_weights() -> None:
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        digests.append(weights_digest(open_backbone("random:small-resnet", trainable=True).encoder))
    assert digests[0] == digests[1] != digests[2]


def test_fresh_weights_come_without_batch_statistics() -> None:
    kinds = {type(m) for m in open_backbone("random:small-resnet", trainable=True).modules()}
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_pictures_are_standardised_as_the_weights_expect(tmp_path: Path) -> None:
    """The last tokens are those of the plain model, given pictures of ImageNet's mean and spread."""
    plain = model("small-dinov2")
    torch.manual_seed(0)
    backbone = open_backbone(f"local:{saved(tmp_path)}", trainable=False)
    plain.load_state_dict(backbone.encoder.state_dict())
    seen = pictures(28)
    tokens = plain(
        (seen - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    )
    expected = tokens.last_hidden_state[:, 1:].reshape(2, 2, 4, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(backbone(seen)[0], expected)


def test_wrong_sizes_are_named() -> None:
    backbone = open_backbone("random:small-dinov2", trainable=False)
    backbone.require(42, "data.height")
    with pytest.raises(InputError, match=r"data\.height to be a multiple of 14.*found 50\. Take 42"):
        backbone.require(50, "data.height")


# --- borders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", CONVOLUTIONAL)
def test_convolutional_encoders_turn_with_the_panorama(spec: str) -> None:
    backbone = open_backbone(spec, trainable=False).double()
    assert backbone.equivariant
    step = backbone.strides[-1]
    seen = pictures(4 * step, count=1).double()
    turned = backbone(seen.roll(3 * step, dims=-1))
    for before, after, stride in zip(backbone(seen), turned, backbone.strides, strict=True):
        torch.testing.assert_close(after, before.roll(3 * step // stride, dims=-1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", CONVOLUTIONAL)
def test_views_have_borders(spec: str) -> None:
    backbone = open_backbone(spec, trainable=False, sphere=False)
    assert not backbone.equivariant
    assert not any(isinstance(m, SphereConv2d) for m in backbone.modules())
    step, seen = backbone.strides[-1], pictures(4 * backbone.strides[-1])
    assert (backbone(seen.roll(step, dims=-1))[-1] - backbone(seen)[-1].roll(1, dims=-1)).abs().max() > 1e-3


def test_transformers_do_not_turn_and_do_not_say_so() -> None:
    backbone = open_backbone("random:small-dinov2", trainable=False)
    seen = pictures(56)
    assert not backbone.equivariant
    assert (backbone(seen.roll(14, dims=-1))[0] - backbone(seen)[0].roll(1, dims=-1)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["small-resnet", "small-convnext"])
def test_wrapping_keeps_names_and_weights(name: str, tmp_path: Path) -> None:
    saved(tmp_path, name)
    wrapped, flat = (open_backbone(f"local:{tmp_path}", trainable=True, sphere=sphere) for sphere in (True, False))
    stored = load_file(tmp_path / "model.safetensors")
    for backbone in (wrapped, flat):
        state = backbone.encoder.state_dict()
        assert set(state) == set(stored)
        assert all(torch.equal(state[key], stored[key]) for key in stored)


def test_wrapping_changes_the_border_and_nothing_else() -> None:
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 2, 3, padding=2, dilation=2)
    )
    seen = pictures(64)
    before = plain(seen)
    holder = nn.Sequential(plain)
    backbones._wrap(holder)
    after = holder(seen)
    assert before.shape == after.shape
    torch.testing.assert_close(after[..., 4:-4, 4:-4], before[..., 4:-4, 4:-4])
    assert (after - before).abs()[..., :2, :].max() > 1e-3
    assert (after - before).abs()[..., -1:].max() > 1e-3


# --- frozen or trained ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ALL)
def test_gradients_reach_all_that_is_trained_and_nothing_frozen(spec: str) -> None:
    trained, frozen = (open_backbone(spec, trainable=trainable).train() for trainable in (True, False))
    with torch.no_grad():
        for parameter in trained.parameters():  # blocks that start as the identity would learn nothing within at first
            parameter += 0.1 * torch.randn_like(parameter)
    height = 4 * trained.strides[-1]
    sum((features * torch.randn_like(features)).sum() for features in trained(pictures(height))).backward()
    assert not [n for n, p in trained.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert sum(p.requires_grad for p in trained.parameters()) > 10
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(features.requires_grad for features in frozen(pictures(height)))
    assert not any(m.training for m in frozen.encoder.modules())


@pytest.mark.parametrize("trainable", [True, False])
def test_pretrained_batch_statistics_are_never_updated(trainable: bool, tmp_path: Path) -> None:
    backbone = open_backbone(f"local:{saved(tmp_path, 'small-resnet')}", trainable=trainable).train()
    before = {key: value.clone() for key, value in backbone.encoder.state_dict().items()}
    together = backbone(pictures(64))[-1]
    torch.testing.assert_close(backbone(pictures(64)[1:])[-1], together[1:])
    assert all(torch.equal(value, before[key]) for key, value in backbone.encoder.state_dict().items())


@pytest.mark.parametrize("spec", ALL)
def test_answers_do_not_depend_on_the_batch(spec: str) -> None:
    backbone = open_backbone(spec, trainable=True).train()
    seen = pictures(4 * backbone.strides[-1], count=3)
    for together, alone in zip(backbone(seen), backbone(seen[2:]), strict=True):
        torch.testing.assert_close(alone, together[2:], rtol=1e-4, atol=1e-5)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_frozen_pretrained_weights_stay_out_of_checkpoints(tmp_path: Path) -> None:
    spec = f"local:{saved(tmp_path)}"
    network = nn.ModuleDict({"backbone": open_backbone(spec, trainable=False), "head": nn.Linear(2, 2)})
    state = network.state_dict()
    assert set(state) == {"backbone.digest", "head.weight", "head.bias"}
    again = nn.ModuleDict({"backbone": open_backbone(spec, trainable=False), "head": nn.Linear(2, 2)})
    again.load_state_dict(state, strict=True)
    torch.testing.assert_close(again["backbone"](pictures(28)), network["backbone"](pictures(28)), rtol=0, atol=0)
    assert network["backbone"].facts() == {
        "backbone": spec,
        "weights": "pretrained",
        "weights_digest": weights_digest(network["backbone"].encoder),
    }


def test_checkpoint_of_other_frozen_weights_is_refused(tmp_path: Path) -> None:
    one = open_backbone(f"local:{saved(tmp_path / 'one')}", trainable=False)
    other = open_backbone(f"local:{saved(tmp_path / 'other')}", trainable=False)
    with pytest.raises(
        InputError, match=r"(?s)weights of encoder 'local:.*other' that this network was trained with.*train again"
    ):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("trainable", [True, False])
def test_fresh_weights_are_in_checkpoints(trainable: bool) -> None:
    one, other = (open_backbone("random:small-dinov2", trainable=trainable) for _ in range(2))
    assert one.facts() == {"backbone": "random:small-dinov2", "weights": "random"}
    assert not torch.equal(one(pictures(28))[0], other(pictures(28))[0])
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(pictures(28)), other(pictures(28)), rtol=0, atol=0)


def test_trained_pretrained_weights_are_in_checkpoints(tmp_path: Path) -> None:
    backbone = open_backbone(f"local:{saved(tmp_path)}", trainable=True)
    assert len(backbone.state_dict()) == len(backbone.encoder.state_dict()) > 10


def test_digest_sees_values_and_not_names() -> None:
    one, same, renamed = nn.Linear(2, 2), nn.Linear(2, 2), nn.Module()
    same.load_state_dict(one.state_dict())
    renamed.kernel, renamed.offset = one.weight, one.bias
    assert weights_digest(one) == weights_digest(same) == weights_digest(renamed)
    with torch.no_grad():
        same.bias[0] += 1e-6
    assert weights_digest(one) != weights_digest(same)


# --- where weights come from ------------------------------------------------------------------------------------------


def test_half_precision_is_read_as_single_and_classifiers_are_left_out(tmp_path: Path) -> None:
    saved(tmp_path, "small-resnet")
    weights = {
        key: value.half() if value.is_floating_point() else value
        for key, value in load_file(tmp_path / "model.safetensors").items()
    }
    prefixed = {f"resnet.{key}": value for key, value in weights.items()} | {"classifier.1.weight": torch.zeros(10, 32)}
    save_file(prefixed, tmp_path / "model.safetensors", {"format": "pt"})
    _change(dtype="float16")(tmp_path)
    backbone = open_backbone(f"local:{tmp_path}", trainable=False)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    stem = backbone.encoder.state_dict()["embedder.embedder.convolution.weight"]
    torch.testing.assert_close(stem, weights["embedder.embedder.convolution.weight"].float(), rtol=0, atol=0)


def _change(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _more(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"decoder.weight": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})


def _fewer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled": (_pickled, r"found pickled weights \(pytorch_model\.bin\), which can run code.*Only safetensors are read"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "found no weights"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "Expected a configuration of an encoder"),
    "damaged configuration": (lambda f: (f / "config.json").write_text("{"), "configuration of an encoder in JSON"),
    "foreign": (_change(model_type="bert"), r"known family \(resnet, convnext, dinov2\).*found model_type 'bert'"),
    "code": (_change(model_type="own", auto_map={"AutoModel": "x.X"}), "Code that comes with weights is never run"),
    "other family": (_change(model_type="resnet"), "Expected exactly the weights of a ResNetModel"),
    "other width": (_change(hidden_size=32), "Dinov2Model that fit their config.json"),
    "other depth": (_change(num_hidden_layers=3), r"18 are missing \(encoder\.layer\.2.*0 belong to something else"),
    "nonsense": (_change(num_hidden_layers="many"), "Dinov2Model that fit their config.json"),
    "one more": (_more, r"0 are missing \(none\) and 1 belong to something else \(decoder\.weight\)"),
    "one fewer": (_fewer, r"1 are missing \(layernorm\.weight\)"),
    "garbage": (lambda f: (f / "model.safetensors").write_bytes(b"garbage" * 9), "cannot be read.*Copy or download them again"),
    "cut off": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_folders_are_refused(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant, message = FAULTS[fault]
    plant(saved(tmp_path))
    with pytest.raises(InputError, match=rf"(?s){message}"):
        open_backbone(f"local:{tmp_path}", trainable=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("spec", ["resnet50", "random:", "timm:resnet50", "", "Tiny"])
def test_unknown_specs_are_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"tiny, random:NAME, local:FOLDER or hub:ID, found"):
        open_backbone(spec, trainable=False)


def test_close_names_are_suggested_and_missing_folders_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown architecture 'dinov2-bas'.*Did you mean 'dinov2-base'"):
        open_backbone("random:dinov2-bas", trainable=False)
    with pytest.raises(InputError, match=r"Expected a folder with config\.json and model\.safetensors at .*nowhere"):
        open_backbone(f"local:{tmp_path / 'nowhere'}", trainable=False)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and an empty cache of the hub, which is returned."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.usefixtures("offline")
def test_offline_without_weights_names_both_other_ways() -> None:
    with pytest.raises(
        EnvironmentProblem, match=r"weights of 'facebook/dinov2-base'.*local:FOLDER, a folder with.*random:NAME"
    ):
        open_backbone("hub:facebook/dinov2-base", trainable=False)


def test_cached_weights_of_the_hub_need_no_network(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    model_folder = offline / "models--own--encoder"
    (model_folder / "refs").mkdir(parents=True)
    (model_folder / "refs" / "main").write_text("0" * 40)
    saved(model_folder / "snapshots" / ("0" * 40))
    backbone = open_backbone("hub:own/encoder", trainable=False)
    assert backbone.pretrained
    stored = load_file(model_folder / "snapshots" / ("0" * 40) / "model.safetensors")
    assert torch.equal(backbone.encoder.state_dict()["layernorm.weight"], stored["layernorm.weight"])


@pytest.mark.usefixtures("offline")
def test_other_specs_touch_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for spec in ("tiny", "random:small-dinov2", f"local:{saved(tmp_path / 'model')}"):
        open_backbone(spec, trainable=False)
