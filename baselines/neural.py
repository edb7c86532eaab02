"""Base of every learnt method: a network, its sizes, and the predictor that trains it and predicts with it.

Conventions
-----------
A method is a file in ``baselines/methods`` with two classes. The network derives from :class:`GazeModel`: a small module from a
:class:`~baselines.data.batch.Batch` to an :class:`~baselines.data.batch.Output`. The predictor derives from
:class:`NeuralPredictor`: the method's card, its options, its sizes, and how the network is made from them. Everything else
(data, losses, optimiser, checkpoints, decoding) is shared.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from baselines.data.batch import Batch, Output
from baselines.training.settings import Part, Settings
from srgaze360.predictors import Predictor


class Options(Part):
    """What can be set about a network: ``width`` scales its channels. Methods add to it."""

    width: int = Field(16, ge=4, le=512, multiple_of=4, description="channels of the finest features")


class GazeModel(nn.Module, abc.ABC):
    """A network from a batch to an output. ``equivariant`` says that turning panorama and head turns the answer."""

    equivariant: ClassVar[bool] = False

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""


class NeuralPredictor(Predictor):
    """A predictor that is a network.

    ``sizes`` maps a size to settings that depart from the defaults (nested, as in a configuration file); ``options`` validates
    ``settings.model``; ``changes`` says what was changed for the sphere, one line each.
    """

    trained = True
    options: ClassVar[type[Options]] = Options
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tiny": {}}
    changes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abc.abstractmethod
    def network(cls, options: Any, settings: Settings) -> GazeModel:  # noqa: ANN401 - an instance of cls.options
        """Make the network with fresh weights (drawn from torch's global generator, which the trainer seeds)."""


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def resolve_device(device: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` names here."""
    raise NotImplementedError
