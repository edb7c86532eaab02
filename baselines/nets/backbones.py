"""Encoders of pictures that others have trained, or that start from nothing: feature maps with known channels and strides.

Where an encoder comes from is said by a *spec*:

===================== =====================================================================================================
``tiny``              the small encoder of :mod:`baselines.nets.blocks`, fresh weights
``random:NAME``       a known architecture (:data:`ARCHITECTURES`) with fresh weights; nothing is downloaded
``local:FOLDER``      ``config.json`` and ``model.safetensors`` of a model of ``transformers``, read from that folder
``hub:ID``            the same from the Hugging Face hub: the local cache first, the network only if it is not there
===================== =====================================================================================================

Only safetensors are read: pickled weights can run code when opened, and are refused. No other spec than ``hub:`` ever looks at
the network.

Conventions
-----------
Pictures are (N, 3, H, W) in [0, 1]; they are standardised here by ImageNet's mean and spread, as the published weights expect.
Feature maps are (N, C, H / stride, W / stride), finest first. On a panorama (``sphere=True``) every convolution and pooling
that looks beyond the border looks across the seam and the poles instead (:mod:`baselines.nets.padding`), with the same weights:
convolutional encoders then turn their answer when the panorama is turned by multiples of the coarsest stride. A vision
transformer does *not*: its patches do not overlap and need no padding, but each token is told its absolute place by a position
embedding, learnt on square photos and here stretched to 1 : 2, which knows no seam. It is left as published, and nothing that
uses it claims to be equivariant.

Running means of batch normalisation are never updated: with pretrained weights they are part of the weights; with fresh ones
there are none worth keeping, and group normalisation takes the place of batch normalisation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from baselines.nets.blocks import PanoramaEncoder, group_norm, standardised
from baselines.nets.padding import SphereConv2d, pad_sphere
from srgaze360.errors import EnvironmentProblem, InputError, first_ids, suggestion
from srgaze360.files import read_json

TINY_WIDTH = 16
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class Family(NamedTuple):
    """Models of ``transformers`` with the same code: classes of configuration and model, and parameters no map depends on."""

    config: str
    model: str
    tokens: bool
    unused: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "resnet": Family("ResNetConfig", "ResNetModel", tokens=False),
    "convnext": Family("ConvNextConfig", "ConvNextModel", tokens=False, unused=("layernorm.",)),
    "dinov2": Family("Dinov2Config", "Dinov2Model", tokens=True, unused=("embeddings.mask_token",)),
}

# what departs from the defaults of the configuration's class; the DINOv2 ones are those of the published models
_DINO: Mapping[str, Any] = {"patch_size": 14, "image_size": 518}
ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "resnet18": ("resnet", {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}),
    "resnet50": ("resnet", {}),
    "convnext-tiny": ("convnext", {}),
    "dinov2-tiny": (
        "dinov2",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16, "image_size": 128},
    ),
    "dinov2-small": ("dinov2", {**_DINO, "hidden_size": 384, "num_attention_heads": 6}),
    "dinov2-base": ("dinov2", _DINO),
    "dinov2-large": ("dinov2", {**_DINO, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}),
}


class Backbone(nn.Module):
    """An encoder that gives feature maps; made by :func:`open_backbone`.

    Pretrained weights that stay frozen are no part of the ``state_dict``: they can be read again where they came from. Instead
    it holds their digest, and loading it into a backbone with other weights is refused.

    Attributes
    ----------
    channels, strides
        Of the feature maps, finest first.
    spec
        As given to :func:`open_backbone`.
    pretrained, trainable
        Whether the weights came from a file, and whether training changes them.
    equivariant
        Whether turning a panorama by multiples of ``strides[-1]`` turns every map.
    """

    def __init__(
        self,
        encoder: nn.Module,
        maps: Callable[[nn.Module, Tensor], list[Tensor]],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        unused: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.channels = channels
        self.strides = strides
        self.spec = ""
        self.pretrained = False
        self.trainable = True
        self.equivariant = False
        self._maps = maps
        self._unused = unused

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps, finest first, of pictures (N, 3, H, W) in [0, 1]; H and W are multiples of ``strides[-1]``."""
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self._maps(self.encoder, standardised(pictures))

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode of training; what is frozen stays in that of evaluation, and so does batch normalisation."""
        super().train(mode)
        for module in self.encoder.modules():
            if not self.trainable or isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self

    def require(self, rows: int, what: str) -> None:
        """Raise an :class:`InputError` unless ``rows`` (of ``what``) is a multiple of the coarsest stride."""
        if rows % self.strides[-1]:
            raise InputError(
                f"Expected {what} to be a multiple of {self.strides[-1]}, the stride of encoder {self.spec!r}; found {rows}. "
                f"Take {max(1, rows // self.strides[-1]) * self.strides[-1]}, or another encoder."
            )

    def freeze(self, *, pretrained: bool, spec: str, trainable: bool) -> None:
        """Settle where the weights are from and whether they are trained; what no map depends on never is."""
        self.spec, self.pretrained, self.trainable = spec, pretrained, trainable
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(trainable and not name.startswith(self._unused))
        if pretrained and not trainable:
            digest = bytes.fromhex(weights_digest(self.encoder))
            self.register_buffer("digest", torch.tensor(list(digest), dtype=torch.uint8))
            self.register_state_dict_post_hook(_leave_out)
            self.register_load_state_dict_pre_hook(_check)
        self.train(self.training)

    def facts(self) -> dict[str, Any]:
        """What a record should say of the encoder: spec, ``random`` or ``pretrained`` weights, digest of frozen ones."""
        facts = {"backbone": self.spec, "weights": "pretrained" if self.pretrained else "random"}
        if "digest" in self._buffers:
            facts["weights_digest"] = bytes(self.digest.tolist()).hex()
        return facts


def open_backbone(spec: str, *, trainable: bool, sphere: bool = True) -> Backbone:
    """Open the encoder that a spec names.

    Parameters
    ----------
    spec
        ``tiny``, ``random:NAME``, ``local:FOLDER`` or ``hub:ID``, see the top of this file.
    trainable
        False freezes the weights: no gradients, always in the mode of evaluation.
    sphere
        True for panoramas, False for views with borders.

    Returns
    -------
    Backbone
        Fresh weights are drawn from torch's global generator.

    Raises
    ------
    InputError
        Unknown spec or architecture; a folder without safetensors, with damaged ones, or with a model of another kind.
    EnvironmentProblem
        ``hub:`` weights that are neither in the cache nor to be had from the network.
    """
    kind, _, name = spec.partition(":")
    if spec == "tiny":
        encoder = PanoramaEncoder(TINY_WIDTH)
        backbone = Backbone(encoder, _own_maps, tuple(encoder.channels), tuple(encoder.strides))
    elif kind in _OPENERS and name:
        backbone = _adapted(*_OPENERS[kind](name))
    else:
        raise InputError(
            f"Expected an encoder as tiny, random:NAME, local:FOLDER or hub:ID, found {spec!r}. NAME is one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    (_wrap if sphere else _unwrap)(backbone.encoder)
    backbone.freeze(pretrained=kind in {"local", "hub"}, spec=spec, trainable=trainable)
    backbone.equivariant = sphere and any(isinstance(m, SphereConv2d) for m in backbone.modules())
    return backbone


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights: of the sorted digests of its tensors, so that renamed layers do not matter."""
    parts = []
    for tensor in module.state_dict().values():
        data = tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{data.dtype} {tuple(data.shape)} ".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
        parts.append(digest.hexdigest())
    return hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()


# --- where weights come from ------------------------------------------------------------------------------------------


def _random(name: str) -> tuple[nn.Module, Family]:
    """A known architecture with fresh weights."""
    if name not in ARCHITECTURES:
        raise InputError(f"Unknown architecture {name!r} after 'random:'. {suggestion(name, list(ARCHITECTURES))}")
    import transformers

    kind, changes = ARCHITECTURES[name]
    family = FAMILIES[kind]
    model = getattr(transformers, family.model)(getattr(transformers, family.config)(**changes))
    _replace(model, lambda m: group_norm(m.num_features) if isinstance(m, nn.BatchNorm2d) else None)
    return model, family


def _local(name: str) -> tuple[nn.Module, Family]:
    """The model saved in a folder."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(f"Expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE} at {folder}, found none. Check the path.")
    config = read_json(folder / CONFIG_FILE, "configuration of an encoder")
    if not any((folder / f"{WEIGHTS_FILE}{end}").is_file() for end in ("", ".index.json")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
        found = f"pickled weights ({first_ids(pickled)}), which can run code when opened" if pickled else "no weights"
        raise InputError(
            f"Expected {WEIGHTS_FILE} in {folder}, found {found}. Only safetensors are read: save the model again with "
            "`save_pretrained`, or download the safetensors."
        )
    family = _family(config, str(folder))
    try:
        return _read(str(folder), family, offline=True), family
    except OSError as error:
        raise InputError(f"Expected an encoder in {folder}, but it cannot be read: {_brief(error)} Save it again.") from None


def _hub(name: str) -> tuple[nn.Module, Family]:
    """A model of the hub: from the cache, else from the network."""
    from transformers import PreTrainedConfig

    problem: OSError | None = None
    for offline in (True, False):
        try:
            config, _ = PreTrainedConfig.get_config_dict(name, local_files_only=offline)
            family = _family(config, f"hub model {name!r}")
            return _read(name, family, offline=offline), family
        except OSError as error:
            problem = error
    raise EnvironmentProblem(
        f"Expected the weights of {name!r} in the local cache or from the Hugging Face hub, found them in neither "
        f"({_brief(problem)}). Go online once, or name the encoder in another way: local:FOLDER, a folder with {CONFIG_FILE} "
        f"and {WEIGHTS_FILE} of that model copied here from elsewhere; or random:NAME (NAME of {', '.join(ARCHITECTURES)}), "
        "fresh weights, enough to try the code but not for results."
    )


_OPENERS: Mapping[str, Callable[[str], tuple[nn.Module, Family]]] = {"random": _random, "local": _local, "hub": _hub}


def _family(config: Any, where: str) -> Family:  # noqa: ANN401 - any JSON value
    """The family a configuration belongs to."""
    kind = str(config.get("model_type")) if isinstance(config, dict) else "none"
    if kind not in FAMILIES:
        raise InputError(
            f"Expected an encoder of a known family ({', '.join(FAMILIES)}) in {where}, found model_type {kind!r}. Code that "
            "comes with weights is never run: give a model of one of these families."
        )
    return FAMILIES[kind]


def _read(name: str, family: Family, *, offline: bool) -> nn.Module:
    """Read a model in float32, refusing weights that are not exactly those of its configuration; classifiers are left out."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        with _quiet():
            model, report = getattr(transformers, family.model).from_pretrained(
                name, local_files_only=offline, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except (SafetensorError, StrictDataclassError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"Expected weights of a {family.model} that fit their {CONFIG_FILE} in {name}, but they cannot be read: "
            f"{_brief(error)} Copy or download them again."
        ) from None
    missing = sorted(key for key in report["missing_keys"] if not key.endswith("num_batches_tracked"))
    foreign = sorted(key for key in report["unexpected_keys"] if not key.startswith("classifier."))
    if missing or foreign:
        raise InputError(
            f"Expected exactly the weights of a {family.model} in {name}; {len(missing)} are missing "
            f"({first_ids(missing) or 'none'}) and {len(foreign)} belong to something else ({first_ids(foreign) or 'none'}). "
            f"Check that {CONFIG_FILE} and {WEIGHTS_FILE} are of the same model."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ``transformers`` from reporting on its own: what is wrong is said here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _brief(error: Exception | None) -> str:
    """The first line of what another library said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."


# --- one interface ----------------------------------------------------------------------------------------------------


def _adapted(model: nn.Module, family: Family) -> Backbone:
    """The feature maps of a model of ``transformers``."""
    config = model.config
    if family.tokens:
        return Backbone(model, _token_maps, (config.hidden_size,), (config.patch_size,), family.unused)
    first = getattr(config, "patch_size", 4) * (2 if getattr(config, "downsample_in_first_stage", False) else 1)
    channels = tuple(config.hidden_sizes)
    strides = tuple(first * 2**level for level in range(len(channels)))
    return Backbone(model, _stage_maps, channels, strides, family.unused)


def _own_maps(encoder: nn.Module, pictures: Tensor) -> list[Tensor]:
    return list(encoder(pictures))


def _stage_maps(encoder: nn.Module, pictures: Tensor) -> list[Tensor]:
    """The maps after every stage of a convolutional network (the first hidden state is the stem's)."""
    return list(encoder(pictures, output_hidden_states=True).hidden_states[1:])


def _token_maps(encoder: nn.Module, pictures: Tensor) -> list[Tensor]:
    """The patch tokens after the last layer and its normalisation, without the class token, laid out as a map."""
    patch = encoder.config.patch_size
    tokens = encoder(pictures).last_hidden_state[:, 1:]
    return [tokens.transpose(1, 2).unflatten(-1, (pictures.shape[-2] // patch, pictures.shape[-1] // patch))]


# --- borders ----------------------------------------------------------------------------------------------------------


class SphereMaxPool2d(nn.Module):
    """Max pooling whose padding is what lies there on the sphere, with the kernel, stride and padding of a plain one."""

    def __init__(self, plain: nn.MaxPool2d) -> None:
        super().__init__()
        self.plain = nn.MaxPool2d(plain.kernel_size, plain.stride)
        self.reach = int(plain.padding)

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W)."""
        return self.plain(pad_sphere(x, self.reach, self.reach))


def _replace(module: nn.Module, change: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put what ``change`` returns, where it returns anything, in the place of a module's descendants; names stay."""
    for name, child in module.named_children():
        changed = change(child)
        if changed is None:
            _replace(child, change)
        else:
            setattr(module, name, changed)


def _convolution(kind: type[nn.Conv2d], plain: nn.Conv2d, **extra: object) -> nn.Conv2d:
    """A convolution of another kind with the same weights."""
    arguments = {"stride": plain.stride[0], "dilation": plain.dilation[0], "groups": plain.groups, **extra}
    with torch.device("meta"):  # weights are taken over: none are drawn
        other = kind(plain.in_channels, plain.out_channels, plain.kernel_size[0], bias=plain.bias is not None, **arguments)
    other.weight, other.bias = plain.weight, plain.bias
    return other


def _wrap(encoder: nn.Module) -> None:
    """Let the padding of convolutions and max pools be what lies there on the sphere."""

    def change(module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.MaxPool2d):
            return SphereMaxPool2d(module)
        if isinstance(module, nn.Conv2d) and not isinstance(module, SphereConv2d) and any(module.padding):
            return _convolution(SphereConv2d, module)
        return None

    _replace(encoder, change)


def _unwrap(encoder: nn.Module) -> None:
    """Let the padding of convolutions be zeros again: a view has borders."""
    _replace(encoder, lambda m: _convolution(nn.Conv2d, m, padding=m.reach) if isinstance(m, SphereConv2d) else None)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def _leave_out(_backbone: Backbone, state: dict[str, Tensor], prefix: str, _metadata: object) -> None:
    """Take the frozen weights out of a state."""
    for key in [key for key in state if key.startswith(f"{prefix}encoder.")]:
        del state[key]


def _check(backbone: Backbone, state: dict[str, Tensor], prefix: str, *_rest: object) -> None:
    """Refuse a state that was trained on other frozen weights; else put the frozen weights in, so that nothing is missing."""
    found = state.get(f"{prefix}digest")
    if found is not None and not torch.equal(found.cpu(), backbone.digest.cpu()):
        raise InputError(
            f"Expected the weights of encoder {backbone.spec!r} that this network was trained with (digest "
            f"{bytes(found.tolist()).hex()[:12]}), found others (digest {bytes(backbone.digest.tolist()).hex()[:12]}). Bring "
            "the same weights back, or train again."
        )
    state.update(backbone.encoder.state_dict(prefix=f"{prefix}encoder."))
