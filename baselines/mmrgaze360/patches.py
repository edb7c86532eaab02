"""The multi-task multi-scale module: patches around points of the 360-Gaze, read at several scales, for several tasks.

Conventions
-----------
K points on the sight line times S scales give N = K S gnomonic patches a person (scale varies fastest), upright, cut out of the
panorama by differentiable sampling that wraps (:mod:`baselines.nets.tangent`): every patch sees the scene undistorted, wherever
it lies. One encoder reads patches of all scales. Its tasks, per patch: does it hold the target, where in it, and the direction
of the gaze refined by what is seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.data.batch import Batch, Patches
from baselines.mmrgaze360.reborn import Reinject
from baselines.mmrgaze360.sightline import SightLine
from baselines.nets.blocks import group_norm, mlp, standardised
from baselines.nets.geometry import normalised, rotated
from baselines.nets.overlay import Meetings, gather, meetings, read
from baselines.nets.tangent import patch_frames, patch_rays, patch_spacing, pooling, sample_sphere

CONES = (2.0, 8.0, 32.0)  # sharpness of the cone fields that a patch is read with
PLACES = len(CONES) + 3  # maps that say where a patch's cells lie relative to head and sight line


class Evidence(NamedTuple):
    """What the patches say: maps (B, C, h, 2h) laid back onto the sphere, and the tasks' answers for the losses."""

    maps: Tensor
    patches: Patches | None


class PatchModule(nn.Module):
    """Reads patches around the points of a sight line and lays what it finds back onto the sphere.

    Parameters
    ----------
    width
        Channels of the first convolution; the second has twice as many.
    features
        Length of the head's vector.
    reaches
        Half the angle that a patch shows across, radians: one per scale.
    size
        Cells along a side of a patch; a multiple of 4.
    evidence
        Channels of the maps laid onto the sphere.
    tasks
        Whether the tasks are asked and supervised. Without them patches give features only.
    attention
        Whether patches are weighted by attention maps, one per scale; without, all count alike.
    reinject
        Whether earlier features re-enter later blocks.
    """

    def __init__(
        self,
        width: int,
        features: int,
        reaches: tuple[float, ...],
        size: int,
        evidence: int,
        *,
        tasks: bool,
        attention: bool,
        reinject: bool,
    ) -> None:
        super().__init__()
        self.reaches, self.size, self.tasks, self.attention = reaches, size, tasks, attention
        inner = 2 * width
        self.look = nn.Sequential(_block(3 + PLACES, width, 2), _block(width, inner, 1))
        self.film = nn.Linear(features + len(reaches), 2 * inner)
        self.body = Reinject([_block(inner, inner, 1), _block(inner, inner, 1)], inner, on=reinject)
        answers = 4 if tasks else 1  # holds the target, change of direction; without tasks, how much the patch counts
        self.judge = mlp((2 * inner + features, features // 2, answers)) if tasks or attention else None
        self.where = nn.Conv2d(inner, 1, 1)
        self.weigh = nn.Conv2d(inner, 1, 1) if attention else None
        self.lay = nn.Conv2d(inner, evidence - 1, 1)

    def forward(self, batch: Batch, line: SightLine, height: int) -> Evidence:
        """Evidence of the patches around ``line.points`` on a grid of ``height`` rows."""
        people, points = line.points.shape[:2]
        scales = len(self.reaches)
        centres = line.points.repeat_interleave(scales, dim=1)
        frames = patch_frames(centres)
        reach = centres.new_tensor(self.reaches).repeat(points).expand(people, -1)
        rays = patch_rays(frames, reach, self.size)
        pictures = self._pictures(batch, rays, scales)
        seen = self.look(torch.cat([pictures, _places(batch, line, rays)], dim=2).flatten(0, 1))

        scale = torch.eye(scales, device=seen.device, dtype=seen.dtype).repeat(points, 1).expand(people, -1, -1)
        told = torch.cat([line.features[:, None].expand(-1, points * scales, -1), scale], dim=-1)
        gain, shift = self.film(told).flatten(0, 1)[..., None, None].chunk(2, dim=1)
        seen = self.body(torch.relu(seen * (1.0 + gain) + shift))

        judged = None
        if self.judge is not None:
            summary = torch.cat([seen.mean((-2, -1)), seen.amax((-2, -1))], dim=1).unflatten(0, (people, -1))
            judged = self.judge(torch.cat([summary, told[..., :-scales]], dim=-1))
        where = self.where(seen)
        maps = self._lay(torch.cat([self.lay(seen), where], dim=1), seen, judged, meetings(frames, reach, height))
        if judged is None or not self.tasks:
            return Evidence(maps, None)
        directions = normalised(line.direction[:, None] + judged[..., 1:])
        return Evidence(maps, Patches(frames, reach, judged[..., 0], where[:, 0].unflatten(0, (people, -1)), directions))

    def _pictures(self, batch: Batch, rays: Tensor, scales: int) -> Tensor:
        """Pictures (B, N, 3, s, s) of the patches, each scale averaged to what its cells can hold."""
        panoramas, parts = batch.panoramas, {}
        for index in sorted(range(scales), key=lambda scale: self.reaches[scale]):
            spacing = patch_spacing(self.reaches[index], self.size)
            # the next scale is never finer: it starts from what this one was averaged to
            block = pooling(spacing, panoramas.shape[-2])
            panoramas = nn.functional.avg_pool2d(panoramas, block) if block > 1 else panoramas
            parts[index] = sample_sphere(panoramas, batch.owner, rays[:, index::scales]).transpose(1, 2)
        pictures = torch.stack([parts[index] for index in range(scales)], dim=2).flatten(1, 2)
        return standardised(pictures)  # not the whole panorama: what is sampled from it is a fraction of its pixels

    def _lay(self, found: Tensor, seen: Tensor, judged: Tensor | None, met: Meetings) -> Tensor:
        """Maps (B, evidence, h, 2h): what patches say of each cell, averaged by their attention where they overlap."""
        if self.weigh is None or judged is None:
            values = read(found.unflatten(0, (met.people, -1)), met)
            strength = torch.ones_like(values[:1])
        else:
            values = read(torch.cat([found, self.weigh(seen)], dim=1).unflatten(0, (met.people, -1)), met)
            strength = torch.sigmoid(values[-1:] + judged[..., 0].flatten()[met.patch])
            values = values[:-1]
        summed = gather(torch.cat([values * strength, strength]), met)
        return summed[:, :-1] / (summed[:, -1:] + 0.1)


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A patch is flat and has edges: padded by what lies at them."""
    kernel = 4 if stride == 2 else 3
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False, padding_mode="replicate")
    return nn.Sequential(conv, group_norm(outputs), nn.ReLU())


def _places(batch: Batch, line: SightLine, rays: Tensor) -> Tensor:
    """Where each cell lies: cones around the sight line, along and across it, arc from the head: (B, N, PLACES, s, s)."""
    heads = batch.heads[:, None, None, None]
    away = normalised(rays - heads)
    to_head = batch.frames[:, None, None, None]
    local = rotated(to_head, away)
    cosine = (local * line.direction[:, None, None, None]).sum(-1)
    cone = cosine.clamp_min(1e-4)
    azimuth = line.azimuth[:, None, None, None]
    along = (local[..., :2] * azimuth).sum(-1)
    across = (local[..., 1] * azimuth[..., 0] - local[..., 0] * azimuth[..., 1]).abs()
    arc = (rays * heads).sum(-1)
    return torch.stack([*(cone**gamma for gamma in CONES), along, across, arc], dim=2)


def degrees(*angles: float) -> tuple[float, ...]:
    """Angles in radians of angles in degrees."""
    return tuple(math.radians(angle) for angle in angles)
