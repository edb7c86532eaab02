"""Gaze-LLE on perspective views, fused on the sphere: the network of :mod:`baselines.methods.gazelle` where it was trained.

An encoder of photos is best at photos. The panorama is cut into overlapping gnomonic views: a ring along the horizon, one view
up, one down, fixed in the panorama, so that people share the views' features. In each view the network works as in the
original: projected tokens, positions in the view, the head's vector on the tokens that see the head. Most views do not see the
head; so every view is given one more token, made from the direction and the size of the head in the view's own axes, whether it
is seen or not. The views' logits are brought to the sphere and averaged, with weights that vanish at the borders of a view;
the in/out tokens are averaged over the views.

Ryan et al., "Gaze-LLE", CVPR 2025 (arXiv 2412.09586); cutting panoramas into tangent images for networks trained on photos:
Eder, Shvets, Lim and Frahm, "Tangent Images for Mitigating Spherical Distortion", CVPR 2020.

Conventions
-----------
V views with frames (V, 3, 3), rows right, up and forward, as in :class:`baselines.data.batch.Patches`; ``reach`` is half the
angle a view shows across, radians. Maps of views are (B, V, s, s), row 0 at the top. The views are fixed in the panorama:
turning it by a full step of the ring turns the ring's answers but not those of the views up and down. Not equivariant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from baselines.data.batch import Batch, Output
from baselines.methods.gazelle import Gazelle, GazelleOptions, PromptedGaze, position_embedding
from baselines.nets.blocks import mlp
from baselines.nets.geometry import angle_between, cell_directions, rotated
from baselines.nets.tangent import patch_frames, patch_rays, patch_spacing, sample_sphere, splat
from baselines.training.settings import Settings
from srgaze360.errors import InputError


class TangentOptions(GazelleOptions):
    """What can be set about Gaze-LLE on views: how many there are, and what each shows."""

    ring: int = Field(6, ge=4, le=16, description="views along the horizon; one up and one down are added")
    reach_deg: float = Field(50.0, ge=30.0, le=70.0, description="half the angle that a view shows across")
    view: int = Field(224, ge=16, le=1024, description="pixels along a side of a view")


# --- views ------------------------------------------------------------------------------------------------------------


def view_frames(ring: int) -> Tensor:
    """Frames (ring + 2, 3, 3) of the views: along the horizon from longitude 0 to the right, then zenith and nadir."""
    lon = torch.arange(ring) * (2.0 * math.pi / ring)
    horizon = torch.stack([torch.sin(lon), torch.zeros(ring), torch.cos(lon)], dim=-1)
    return patch_frames(torch.cat([horizon, torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])]))


def view_weights(frames: Tensor, reach: float, rows: int) -> Tensor:
    """Weight (V, h, 2h) of each view in each cell of the sphere: 0 outside and at its border, sum 1 over the views.

    Before they are scaled, (1 - x^2)(1 - y^2) with x and y the place in the view from -1 to 1.

    Raises
    ------
    InputError
        Some cell is seen by no view.
    """
    local = torch.einsum("vij,hwj->vhwi", frames, cell_directions(rows, frames.device))
    ahead = local[..., 2] > 0.0
    place = local[..., :2] / (local[..., 2:].clamp_min(1e-6) * math.tan(reach))
    weights = torch.where(ahead, (1.0 - place * place).clamp_min(0.0).prod(dim=-1), 0.0)
    total = weights.sum(dim=0)
    if unseen := int((total <= 0.0).sum()):
        raise InputError(
            f"Expected the views to show the whole sphere, but {unseen} of {total.numel()} cells are in none of the "
            f"{len(frames)} views of {2.0 * math.degrees(reach):.0f} degrees. Take more views (model.ring) or wider ones "
            "(model.reach_deg)."
        )
    return weights / total


def fused(maps: Tensor, frames: Tensor, reach: float, weights: Tensor) -> Tensor:
    """Logits (B, h, 2h) on the sphere: the views' logits (B, V, s, s), averaged with weights (V, h, 2h).

    All people have the same views, so they are brought to the sphere like channels of one. In float32, whatever the precision
    of the maps: places are computed in it.
    """
    across = torch.full((1, len(frames)), reach, device=maps.device)
    spread, _ = splat(maps.float().transpose(0, 1).unsqueeze(0), frames.unsqueeze(0), across, weights.shape[-2])
    return (spread.squeeze(0) * weights.unsqueeze(1)).sum(dim=0)


# --- the network ------------------------------------------------------------------------------------------------------


class GazelleTangentNetwork(PromptedGaze):
    """Gaze-LLE on views of the panorama, fused on the sphere."""

    def __init__(self, options: TangentOptions) -> None:
        super().__init__(options, wraps=False)
        self.backbone.require(options.view, "model.view")
        self.reach = math.radians(options.reach_deg)
        tokens = options.view // self.stride
        with torch.device("cpu"):  # constants are computed even where the network is only outlined
            frames = view_frames(options.ring)
            cells = patch_rays(frames, torch.full((len(frames),), self.reach), tokens)
            right, up, forward = rotated(frames[:, None, None], cells).unbind(-1)
            positions = position_embedding(torch.atan2(right, forward), torch.atan2(up, forward), options.width, 2 * tokens)
            constants = {
                "frames": frames,
                "rays": patch_rays(frames, torch.full((len(frames),), self.reach), options.view),
                "cells": cells,
                "positions": positions.permute(0, 3, 1, 2),
                "weights": view_weights(frames, self.reach, options.rows),
            }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.bearing = mlp([4, options.width, options.width])

    def views(self, panoramas: Tensor) -> Tensor:
        """Perspective views (P, V, 3, S, S) of panoramas (P, 3, H, 2H)."""
        count = len(panoramas)
        owner = torch.arange(count, device=panoramas.device)
        spacing = patch_spacing(self.reach, self.rays.shape[-2])
        return sample_sphere(panoramas, owner, self.rays.expand(count, -1, -1, -1, -1), spacing).transpose(1, 2)

    def head_prompts(self, heads: Tensor, radii: Tensor) -> Tensor:
        """How much (B, V, s, s) each token of each view sees of the head: 1 within it, falling to 0 over one token's width.

        A head smaller than a token counts as one as wide as a token.
        """
        cell = 2.0 * self.reach / self.cells.shape[-2]
        towards = heads[:, None, None, None]
        angle = angle_between(self.cells.unsqueeze(0), towards.expand(-1, *self.cells.shape[:-1], -1))
        return ((radii.clamp_min(0.5 * cell)[:, None, None, None] + cell - angle) / cell).clamp(0.0, 1.0)

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        views = self.views(batch.panoramas)
        scene = self.scene(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        prompts = self.head_prompts(batch.heads, batch.radii).unsqueeze(2) * self.head_token[:, None, None]
        tokens = scene[batch.owner] + self.positions + prompts
        bearings = rotated(self.frames, batch.heads[:, None].expand(-1, len(self.frames), -1))
        sizes = batch.radii[:, None, None].expand(-1, len(self.frames), -1)
        further = self.bearing(torch.cat([bearings, sizes], dim=-1))
        logits, token = self.decoder(tokens.flatten(0, 1), further.flatten(0, 1).unsqueeze(1))
        heatmap = fused(logits.unflatten(0, further.shape[:2]), self.frames, self.reach, self.weights)
        in_frame = self.in_out(token.unflatten(0, further.shape[:2]).mean(dim=1)).squeeze(-1)
        return Output(heatmap, in_frame=in_frame)


class GazelleTangent(Gazelle):
    """Gaze-LLE (Ryan et al., CVPR 2025) on overlapping perspective views of the panorama, fused on the sphere."""

    name = "gazelle-tangent"
    summary = "frozen DINOv2 features of perspective views, head prompt, light decoder, fused on the sphere"
    options = TangentOptions
    changes = (
        "the panorama is cut into overlapping perspective views, each encoded and decoded as a photo",
        "positions: horizontal and vertical angles in the view",
        "head prompt: a geodesic disc with a soft edge in the views that see the head, and in every view a token made from "
        "the direction and size of the head in that view's axes",
        "logits averaged on the sphere with weights that vanish at the borders of views; trained by cross-entropy there",
        "no stochastic depth and no dropout in the decoder",
    )
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "model": {**Gazelle.sizes["tiny"]["model"], "ring": 4, "view": 64},
            "loss": {"in_frame": 0.1},
        },
        "base": {"data": {"height": 512}, "loss": {"in_frame": 0.1}},
        "large": {
            "model": {"backbone": "hub:facebook/dinov2-large", "view": 336},
            "data": {"height": 768},
            "loss": {"in_frame": 0.1},
        },
    }

    @classmethod
    def network(cls, options: Any, settings: Settings) -> GazelleTangentNetwork:  # noqa: ANN401 - an instance of cls.options
        """Make the network; the encoder is opened here, so that missing weights are known before any training."""
        del settings
        return GazelleTangentNetwork(options)
