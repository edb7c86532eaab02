"""What training minimises: how far heatmaps, directions and patches are from where people look.

Conventions
-----------
A loss is a sum over people divided by a *count* of people, and counts depend on the targets alone, never on the output:
``gaze``, people whose target is known, divides every term but ``in_frame`` and ``photo``, which everybody counts for.
So a batch may be cut into parts, over time or over processes, and sums of gradients over the parts, each divided by the counts
of the whole, are exactly the gradient of the whole. Somebody whose target is unknown counts for those two only. Angles are
radians. Losses are computed in float32 whatever the precision of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.data.batch import Batch, Output, Patches
from baselines.nets.geometry import angle_between, cell_cosines, chords, log_probabilities, mixture, rotated, sphere_mean
from baselines.training.settings import LossSettings
from srgaze360.errors import InputError
from srgaze360.heatmaps import concentration

GAZE = "gaze"
IN_FRAME = "in_frame"


class Truth(NamedTuple):
    """What a batch is compared with.

    ``known`` (B,) says whose target is known; ``gazes`` (B, 3) and ``chords`` (B, 3), in the heads' frames, are finite for the
    others too, so that no NaN reaches a gradient; ``target`` gives the probability (B, h, 2h) of each cell at a height.
    """

    known: Tensor
    gazes: Tensor
    chords: Tensor
    target: Callable[[int], Tensor]
    in_frame: Tensor | None
    photo: Tensor | None
    kappa: float


def known_gazes(batch: Batch) -> Tensor:
    """Whether (B,) the target of each person is known: a finite direction, with at least one annotation that has weight."""
    if batch.gazes is None or batch.points is None or batch.weights is None:
        raise InputError(
            f"Expected a batch with targets to learn from, found one without (people {', '.join(batch.ids[:5])}). Training and "
            "validation need gazes, points and weights; only prediction does without."
        )
    return torch.isfinite(batch.gazes).all(-1) & (batch.weights.sum(-1) > 0)


def truth(batch: Batch, sigma_deg: float) -> Truth:
    """Prepare what a batch is compared with; ``sigma_deg`` is the spread of the heatmaps' targets."""
    known = known_gazes(batch)
    kappa = float(concentration(np.radians(sigma_deg)))
    # for the unknown: straight through the middle of the ball, where every angle and gradient is tame
    gazes = torch.where(known[:, None], batch.gazes, -batch.heads)

    @cache
    def target(height: int) -> Tensor:
        return mixture(batch.points, batch.weights, kappa, height)

    local = chords(batch.heads, batch.frames, gazes)
    return Truth(known, gazes, local, target, batch.in_frame, batch.photo, kappa)


# --- one value per person -----------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy (B,) of the cells' probabilities under logits (B, h, 2h) against targets (B, h, 2h): -sum p log q.

    q is the softmax of logit + log(solid angle), so a network does not have to learn the grid, and p the von Mises-Fisher
    mixture around the annotations (Mardia and Jupp, Directional Statistics, 2000, section 9.3.2), solid angles included. The
    lowest possible value is the entropy of p, not 0.
    """
    return -(target * log_probabilities(logits)).sum((-2, -1))


def expected_angle(logits: Tensor, gazes: Tensor) -> Tensor:
    """Expected angle (B,) between a cell drawn from the heatmap (B, h, 2h) and the target (B, 3): sum q angle."""
    cosines = cell_cosines(gazes.float(), logits.shape[-2])
    angles = torch.acos(cosines.clamp(-1.0, 1.0))  # constants: no gradient passes through the arc cosine
    return (log_probabilities(logits).exp() * angles).sum((-2, -1))


def _heatmap(output: Output, true: Truth) -> Tensor | None:
    return cross_entropy(output.heatmap, true.target(output.heatmap.shape[-2]))


def _distance(output: Output, true: Truth) -> Tensor | None:
    return expected_angle(output.heatmap, true.gazes)


def _deep(output: Output, true: Truth) -> Tensor | None:
    """Mean over the further heatmaps, each on its own grid (deep supervision: Lee et al., AISTATS 2015)."""
    if not output.deep:
        return None
    each = [cross_entropy(logits, true.target(logits.shape[-2])) for logits in output.deep]
    return torch.stack(each).mean(0)


def _direction(output: Output, true: Truth) -> Tensor | None:
    """Angle to the true chord, in the head's frame: the direction of Li et al. (ICCV 2021), section 3.2.

    Their target is the direction itself, not the point where the ray meets the sphere: d and -d meet it in the same point.
    """
    return None if output.direction is None else angle_between(output.direction.float(), true.chords)


def _in_frame(output: Output, true: Truth) -> Tensor | None:
    """Binary cross-entropy of the target being inside the source photo."""
    if output.in_frame is None or true.in_frame is None:
        return None
    return functional.binary_cross_entropy_with_logits(output.in_frame.float(), true.in_frame.float(), reduction="none")


def _photo(output: Output, true: Truth) -> Tensor | None:
    """Binary cross-entropy of cells being in the source photo, mean over the sphere."""
    if output.photo is None or true.photo is None:
        return None
    logits = output.photo.float()
    share = functional.adaptive_avg_pool2d(true.photo.float(), logits.shape[-2:])
    each = functional.binary_cross_entropy_with_logits(logits, share, reduction="none")
    return sphere_mean(each[:, None])[:, 0]


# --- patches ------------------------------------------------------------------------------------------------------------


def in_patches(patches: Patches, gazes: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (B, 3) as patches see them.

    Returns
    -------
    tuple
        Direction of the target in every patch's frame (B, N, 3), and whether (B, N) it is inside the patch: before it, and
        within the square |x| <= tan(reach), |y| <= tan(reach) of its tangent plane.
    """
    local = rotated(patches.frames.float(), gazes.float()[:, None, :])
    edge = local[..., 2] * torch.tan(patches.reach.float())
    inside = (local[..., 0].abs() <= edge) & (local[..., 1].abs() <= edge)  # behind the patch the edge is negative
    return local, inside


def patch_target(local: Tensor, reach: Tensor, size: int, kappa: float) -> Tensor:
    """Probability (B, N, s, s) of a patch's cells: von Mises-Fisher around ``local`` (B, N, 3), within the patch.

    Density at the ray of the cell's centre times the cell's solid angle, which on the tangent plane is proportional to
    (1 + x^2 + y^2)^(-3/2) (gnomonic projection), scaled to sum to 1. ``reach`` (B, N); rows from the top, columns to the right.
    """
    steps = (torch.arange(size, device=local.device, dtype=local.dtype) + 0.5) / size * 2.0 - 1.0
    edge = torch.tan(reach.to(local.dtype))[..., None]
    across, up = (edge * steps)[..., None, :], (-edge * steps)[..., :, None]
    x, y, z = (local[..., axis, None, None] for axis in range(3))
    norm = torch.sqrt(1.0 + across**2 + up**2)
    exponent = kappa * ((x * across + y * up + z) / norm - 1.0) - 3.0 * norm.log()
    return torch.softmax(exponent.flatten(-2), dim=-1).unflatten(-1, (size, size))


def _holds(output: Output, true: Truth) -> Tensor | None:
    """Binary cross-entropy of each patch holding the target, mean over a person's patches."""
    if output.patches is None:
        return None
    _, inside = in_patches(output.patches, true.gazes)
    logits = output.patches.holds.float()
    return functional.binary_cross_entropy_with_logits(logits, inside.float(), reduction="none").mean(-1)


def _where(output: Output, true: Truth) -> Tensor | None:
    """Cross-entropy over a patch's cells, mean over those of a person's patches that hold the target, 0 where none does.

    Divided by all people with a known target, not by those that some patch found: the count must not depend on the output.
    """
    if output.patches is None:
        return None
    local, inside = in_patches(output.patches, true.gazes)
    logits = output.patches.where.float()
    target = patch_target(local, output.patches.reach, logits.shape[-1], true.kappa)
    # where the network puts its patches is not to be learnt from how easy their targets are
    each = -(target.detach() * torch.log_softmax(logits.flatten(-2), dim=-1).unflatten(-1, logits.shape[-2:])).sum((-2, -1))
    held = inside.float()
    return (each * held).sum(-1) / held.sum(-1).clamp_min(1.0)


def _refined(output: Output, true: Truth) -> Tensor | None:
    """Angle of each patch's refined direction to the true chord, mean over a person's patches."""
    if output.patches is None or output.patches.directions is None:
        return None
    return angle_between(output.patches.directions.float(), true.chords[:, None, :]).mean(-1)


# --- sums, counts, and the whole ----------------------------------------------------------------------------------------

# name, which is that of its weight in the settings: its value per person, and what it is divided by
TERMS: Mapping[str, tuple[Callable[[Output, Truth], Tensor | None], str]] = {
    "heatmap": (_heatmap, GAZE),
    "direction": (_direction, GAZE),
    "in_frame": (_in_frame, IN_FRAME),
    "photo": (_photo, IN_FRAME),
    "deep": (_deep, GAZE),
    "holds": (_holds, GAZE),
    "where": (_where, GAZE),
    "refined": (_refined, GAZE),
    "distance": (_distance, GAZE),
}


def counts(batch: Batch) -> dict[str, Tensor]:
    """Number of people (scalar, float32) that each kind of term is divided by; add them up over the parts of a batch."""
    labelled = 0 if batch.in_frame is None and batch.photo is None else len(batch)
    return {GAZE: known_gazes(batch).sum().float(), IN_FRAME: torch.tensor(float(labelled), device=batch.heads.device)}


def sums(output: Output, batch: Batch, settings: LossSettings) -> dict[str, Tensor]:
    """Sum over people (scalar) of every term that has a weight and that the method has a part for; weights not applied.

    Raises
    ------
    InputError
        No term is left to learn from, or the batch has no targets.
    """
    true = truth(batch, settings.sigma_deg)
    found: dict[str, Tensor] = {}
    for name, (per_person, kind) in TERMS.items():
        value = per_person(output, true) if getattr(settings, name) > 0 else None
        if value is not None:
            found[name] = (value * true.known if kind == GAZE else value).sum()
    if not found:
        weights = {name: getattr(settings, name) for name in TERMS}
        raise InputError(
            f"Expected at least one loss to learn from, found none: the weights are {weights}, and the method has no part for "
            "those above 0. Give a weight to the heatmap, e.g. `--set loss.heatmap=1`."
        )
    return found


def means(totals: Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every term per person: sums divided by counts; 0 where nobody counts."""
    return {name: value / numbers[TERMS[name][1]].clamp_min(1.0) for name, value in totals.items()}


def objective(totals: Mapping[str, Tensor], numbers: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    """What is minimised (scalar): the weighted sum of the terms. ``numbers`` are the counts of the *whole* batch."""
    terms = means(totals, numbers)
    return torch.stack([getattr(settings, name) * value for name, value in terms.items()]).sum()


def losses(output: Output, batch: Batch, settings: LossSettings) -> dict[str, Tensor]:
    """Every term of a whole batch per person, and ``total``, their weighted sum (scalars)."""
    totals, numbers = sums(output, batch, settings), counts(batch)
    return {**means(totals, numbers), "total": objective(totals, numbers, settings)}
