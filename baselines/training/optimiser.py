"""AdamW for every method, and its moments as named tensors.

Conventions
-----------
Biases, norms and other vectors of weights do not decay; matrices and kernels do. Moments are named after the weight they belong
to: ``<weight>.exp_avg``, ``<weight>.exp_avg_sq``, ``<weight>.step``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import AdamW

from srgaze360.errors import InputError, first_ids

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are trained, by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def adamw(network: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019) over the weights that are trained; vectors and scalars do not decay."""
    weights = trainable(network)
    if not weights:
        raise InputError(
            "Expected a network with weights to train, found none that is not frozen. Choose another option or method."
        )
    return AdamW(
        [
            {"params": [weight for weight in weights.values() if weight.ndim > 1], "weight_decay": weight_decay},
            {"params": [weight for weight in weights.values() if weight.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=lr,
    )


def set_rate(optimiser: AdamW, lr: float) -> None:
    """Learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def moments_of(network: nn.Module, optimiser: AdamW) -> dict[str, Tensor]:
    """The moments of all weights that had a gradient so far."""
    return {
        f"{name}.{moment}": optimiser.state[weight][moment]
        for name, weight in trainable(network).items()
        if weight in optimiser.state
        for moment in MOMENTS
    }


def put_moments(network: nn.Module, optimiser: AdamW, moments: Mapping[str, Tensor], what: str) -> None:
    """Give an optimiser the moments that :func:`moments_of` took.

    Raises
    ------
    InputError
        They are not those of this network: names are unknown, or shapes differ.
    """
    weights = trainable(network)
    names = {name.rpartition(".")[0] for name in moments}
    wanted = {f"{name}.{moment}" for name in names for moment in MOMENTS}
    faults = sorted(names - set(weights)) + sorted(wanted ^ set(moments))
    faults += [
        f"{name} of shape {tuple(moments[name].shape)}" for name in moments if not faults and not _fits(name, moments, weights)
    ]
    if faults:
        raise InputError(
            f"Expected {what} with the moments of this network's weights, found {len(faults)} that differ: "
            f"{first_ids(faults)}. "
            "They were made by another version of the method or with other options: train again."
        )
    numbers = {weight: number for number, weight in enumerate(w for group in optimiser.param_groups for w in group["params"])}
    stored = optimiser.state_dict()
    stored["state"] = {numbers[weights[name]]: {m: moments[f"{name}.{m}"].clone() for m in MOMENTS} for name in names}
    optimiser.load_state_dict(stored)


def _fits(name: str, moments: Mapping[str, Tensor], weights: Mapping[str, nn.Parameter]) -> bool:
    weight, _, moment = name.rpartition(".")
    return tuple(moments[name].shape) == (() if moment == "step" else tuple(weights[weight].shape))
