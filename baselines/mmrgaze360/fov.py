"""360-FoV: the field of view on the sphere, as cones around the sight line and as the sight line's own coordinates.

Conventions
-----------
For a person at P with gaze direction d, a cell at Q is seen under the angle between d and the chord from P to Q. The field of
view at sharpness gamma is max(0, cos of that angle)^gamma (the direction fields of Lian et al., ACCV 2018, on the sphere).
Everything is in coordinates that turn with the head and its sight line, so maps turn with the panorama.
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.data.batch import Batch
from baselines.mmrgaze360.sightline import SightLine
from baselines.nets.geometry import cell_chords, cell_cosines, cell_directions, full_precision, head_masks

SURROUNDINGS = 4  # maps that know the head and no gaze
COORDINATES = 4 + SURROUNDINGS  # maps besides the cones


def field_of_view(batch: Batch, line: SightLine, sharpness: tuple[float, ...], height: int) -> Tensor:
    """Maps (B, len(sharpness) + COORDINATES, h, 2h): cones, then coordinates of each cell relative to head and sight line.

    Coordinates are the chord to the cell along the sight line's azimuth, across it (absolute: left and right of the line are
    alike) and outwards; cosine and sine-like root of the arc from the head; the head's mask; the cell's height above the
    horizon; the radial part of the direction.
    """
    heads, direction, azimuth = batch.heads, full_precision(line.direction), full_precision(line.azimuth)
    with torch.autocast(heads.device.type, enabled=False):  # a cone of sharpness 100 asks for more digits than bfloat16 has
        chords = cell_chords(heads, batch.frames, height)
        cosine = torch.einsum("bc,bchw->bhw", direction, chords)
        cone = cosine.clamp_min(1e-4)
        cones = [cone**gamma for gamma in sharpness]
        along = torch.einsum("bc,bchw->bhw", azimuth, chords[:, :2])
        across = torch.einsum("bc,bchw->bhw", torch.stack([-azimuth[:, 1], azimuth[:, 0]], dim=-1), chords[:, :2])
    radial = direction[:, 2, None, None].expand_as(along)
    first = torch.stack([*cones, along, across.abs(), chords[:, 2]], dim=1)
    return torch.cat([first, surroundings(batch, height), radial[:, None]], dim=1)


def surroundings(batch: Batch, height: int) -> Tensor:
    """Maps (B, SURROUNDINGS, h, 2h) that say where the head is, and nothing of its gaze.

    Cosine and sine-like root of the arc from the head; the head's mask; the cell's height above the horizon.
    """
    arc = cell_cosines(batch.heads, height)
    near = (1.0 - arc).clamp_min(1e-6).sqrt()
    masks = head_masks(batch.heads, batch.radii, height)[:, 0]
    level = (-cell_directions(height, batch.heads.device)[..., 1]).expand_as(arc)
    return torch.stack([arc, near, masks, level], dim=1)
