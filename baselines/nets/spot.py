"""A spot on the sphere: the von Mises-Fisher heatmap of a method that names a point and how sure it is of it.

Conventions
-----------
The concentration kappa is 1 / spread^2, the spread in radians per axis; logits are kappa (cos angle - 1), 0 at the point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from baselines.nets.geometry import cell_cosines

SPREADS_DEG = (3.0, 90.0)
START = -3.0  # of the number that :func:`concentration` takes: a spread of about 30 degrees


def concentration(raw: Tensor) -> Tensor:
    """Concentration of a von Mises-Fisher density from any number: 1 / spread^2, spreads between 3 and 90 degrees."""
    low, high = (-2.0 * math.log(math.radians(spread)) for spread in reversed(SPREADS_DEG))
    # a flat sigmoid: answers that are far off in the first steps must not drive it where its gradient is lost
    return torch.exp(low + (high - low) * torch.sigmoid(raw / 4.0))


def spot(points: Tensor, kappa: Tensor, height: int) -> Tensor:
    """Logits (B, h, 2h) of the von Mises-Fisher densities of concentrations (B,) around points (B, 3)."""
    return kappa[:, None, None] * (cell_cosines(points, height) - 1.0)
