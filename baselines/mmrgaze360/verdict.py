"""The verdict: is the target in the photo at all? Asked of head and scene, and made true of the heatmap.

Conventions
-----------
*In the photo* is the dataset's ``in_frame``: whether the target lies in the photo that the person was found in; the rest of
the sphere was not seen by that camera. Where the panorama itself was taken, all are in the photo. Of many who look out of their
photo nothing else is known, and no other loss counts them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.nets.blocks import mlp
from baselines.nets.geometry import cell_solid_angles, log_probabilities, sphere_mean

# Two numbers stand between verdict and heatmap, and Adam moves a number by no more than the learning rate, however far off it
# is: as they were, a thousand steps had brought the odds a tenth of the way to what is right for those whose target is known.
HASTE = 10.0


class Judged(NamedTuple):
    """Logits (B,) of the target being in the photo, and of the heatmap (B, h, 2h) that agrees."""

    in_frame: Tensor
    heatmap: Tensor


class Verdict(nn.Module):
    """A logit per person, from the mean of what was fused over the sphere, weighs what is in the photo and what is beside it.

    The heatmap becomes a mixture of what it says within the photo and of what it says beside it, each a density of its own,
    weighed by the verdict: a head that seems to look far away does not move the answer out of the photo on its own. The
    weight is a linear function of the verdict's logit, since those whose target is known are not those who are judged. No
    gradient of the heatmap reaches verdict or map, which stay what they are called.

    Parameters
    ----------
    channels
        Of scene features and of what was fused.
    features
        Length of the head's vector.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.judge = mlp((channels + features, features, 1))
        self.weight = nn.Linear(1, 1)
        nn.init.constant_(self.weight.weight, 1.0 / HASTE)
        nn.init.zeros_(self.weight.bias)

    def forward(self, heatmap: Tensor, fused: Tensor, photo: Tensor, features: Tensor) -> Judged:
        """Judge people by heatmaps and logits of cells being photo (B, h, 2h), fused (B, C, h, 2h) and head vectors (B, F)."""
        in_frame = self.judge(torch.cat([sphere_mean(fused), features], dim=1))[:, 0]
        odds = HASTE * self.weight(in_frame.detach()[:, None])[:, 0].float()
        return Judged(in_frame, mixed(heatmap.float(), photo.detach().float(), odds))


def mixed(heatmap: Tensor, photo: Tensor, odds: Tensor) -> Tensor:
    """Logits of a density that is in the photo with probability sigmoid(odds), and is like the heatmap within and beside it.

    Parameters
    ----------
    heatmap
        Logits (B, h, 2h) of a density per steradian.
    photo
        Logits (B, h, 2h) of a cell being photo.
    odds
        Logits (B,) of the target being in the photo.
    """

    def part(share: Tensor, weight: Tensor) -> Tensor:
        return log_probabilities(heatmap + functional.logsigmoid(share)) + functional.logsigmoid(weight)[:, None, None]

    of_cells = torch.logaddexp(part(photo, odds), part(-photo, -odds))
    return of_cells - cell_solid_angles(heatmap.shape[-2], heatmap.device).log()
