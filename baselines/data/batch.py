"""The one batch that every method is given, and the one output that every method gives.

Conventions
-----------
P panoramas with B people in all; M is the largest number of annotations of a person. Directions are unit vectors in the
axes of :mod:`srgaze360.sphere` (x right, y down, z forward), float32. A *head frame* has the rows east, north and radial of
:func:`srgaze360.sphere.tangent_frame`: ``frame @ v`` takes a vector from the panorama to the head. Heatmaps are *logits*: the
logarithm of a density per steradian up to a constant, on an equirectangular grid (h, 2h), row 0 at the zenith; the probability
of a cell is the softmax of logit + log(solid angle of the cell).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """People on panoramas. Targets are there in training and validation only (None in prediction).

    Attributes
    ----------
    ids
        Sample ids of the B people.
    panoramas
        (P, 3, H, 2H), float in [0, 1] (uint8 until :meth:`to` brings them to a device).
    owner
        (B,), int64: which panorama each person is on. Features of a panorama are computed once and shared by its people.
    heads, frames, radii
        Directions (B, 3), head frames (B, 3, 3), angular radii of the heads (B,), radians.
    crops
        (B, 3, S, S): gnomonic view centred on the head, local north up, float in [0, 1] (uint8 until :meth:`to`).
    reach
        (B,): half the angle that the crop shows across, radians.
    gazes
        (B, 3): consensus; NaN where unknown.
    points, weights
        Annotations (B, M, 3) with weights (B, M), 0 where padded.
    in_frame
        (B,): 1 where the target lies inside the source photo, else 0.
    photo
        (B, r, 2r): 1 where the panorama shows the source photo, 0 beside, in between at its edge (uint8 until :meth:`to`);
        there where a loss asks for it.
    """

    ids: Sequence[str]
    panoramas: Tensor
    owner: Tensor
    heads: Tensor
    frames: Tensor
    radii: Tensor
    crops: Tensor
    reach: Tensor
    gazes: Tensor | None = None
    points: Tensor | None = None
    weights: Tensor | None = None
    in_frame: Tensor | None = None
    photo: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device, pictures as float in [0, 1]."""
        moved: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value.to(device, non_blocking=True)
                moved[field.name] = value.float() / 255.0 if value.dtype == torch.uint8 else value
        return replace(self, **moved)


class Patches(NamedTuple):
    """Evidence of N gnomonic patches per person, and where on the sphere they are.

    ``frames`` (B, N, 3, 3) have the rows right, up and forward: ``frame @ v`` takes a vector to the patch, whose centre is
    ``forward``. ``reach`` (B, N) is half the angle a patch shows across. ``holds`` (B, N): logit that the target lies within
    the patch; ``where`` (B, N, s, s): logits over the patch's cells, row 0 at the top; ``directions`` (B, N, 3): refined gaze
    direction in the head's frame, or None.
    """

    frames: Tensor
    reach: Tensor
    holds: Tensor
    where: Tensor
    directions: Tensor | None


@dataclass(frozen=True)
class Output:
    """What a method says of the B people of a batch.

    Attributes
    ----------
    heatmap
        Logits (B, h, 2h).
    direction
        (B, 3), unit vectors in the head's frame: the direction of the chord from the head to the target, both on the unit
        sphere; None where a method has no such part.
    in_frame
        Logit (B,) that the target is inside the source photo, or None.
    photo
        Logits (B, h', 2h') of cells being in the source photo, or None.
    points
        (B, 3): where the person looks, for a method whose answer is not decoded from its heatmap.
    deep
        Further heatmap logits (B, h', 2h') that the loss supervises.
    patches
        Evidence of patches that the loss supervises.
    """

    heatmap: Tensor
    direction: Tensor | None = None
    in_frame: Tensor | None = None
    photo: Tensor | None = None
    points: Tensor | None = None
    deep: tuple[Tensor, ...] = ()
    patches: Patches | None = None
