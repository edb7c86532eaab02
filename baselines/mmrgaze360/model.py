"""MMRGaze360: the network, its options and sizes.

A reconstruction from the abstract of Dai, Li and Du (IET Image Processing 2025): no code, table or figure of that paper is
public, and no number here is that paper's. What the abstract fixes and what was chosen here is listed part by part in
``docs/models/mmrgaze360.md``; what it leaves open can be switched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.mmrgaze360.arc import ARC_MAPS, SightArc, arc_maps, points_along, polar, quantiles
from baselines.mmrgaze360.fov import COORDINATES, SURROUNDINGS, field_of_view, surroundings
from baselines.mmrgaze360.fusion import Fusion
from baselines.mmrgaze360.patches import PatchModule, degrees
from baselines.mmrgaze360.reborn import Recycler
from baselines.mmrgaze360.sightline import GazeGenerator
from baselines.mmrgaze360.verdict import Verdict
from baselines.nets.blocks import ConvBlock, PanoramaDecoder, PanoramaEncoder, mlp, standardised
from baselines.nets.spot import spot
from baselines.nets.tangent import sample_sphere
from baselines.neural import GazeModel, NeuralPredictor, Options
from baselines.training.settings import Settings
from srgaze360.errors import InputError

_TRAINING: Mapping[str, Any] = {
    # Panoramas are upright and photos are not: without tilts an upright head is told to be in a panorama, its target far away.
    # Photos of every width, and heads of every size in them: without zooms it was behind where photos are shown wide.
    "augment": {"tilt_deg": 45.0, "zoom": 1.6},
    # Of most people who look out of the photo it is known that they do, and not where: only in_frame learns from them.
    "loss": {"in_frame": 0.3, "photo": 1.0},
}


class MMROptions(Options):
    """What can be set about MMRGaze360; each of the abstract's parts can be switched off."""

    head_width: int = Field(16, ge=4, le=256, multiple_of=4, description="channels of the head encoder at stride 2")
    features: int = Field(128, ge=16, le=2048, multiple_of=16, description="length of the head's vector")
    scene_height: int = Field(128, ge=32, le=1024, multiple_of=32, description="rows of the panorama the scene is read at")
    stride: Literal[2, 4, 8] = Field(4, description="rows of that panorama per row of the heatmap")
    arc: bool = Field(True, description="the sight line as a density on the sphere: sure in azimuth, open in depth")
    context: bool = Field(True, description="the head's vector is told what the scene is like where the head is")
    fov: bool = Field(True, description="the 360-FoV: cone fields around the sight line")
    sharpness: tuple[float, ...] = Field((1.0, 3.0, 10.0, 30.0, 100.0), description="exponents of the cone fields")
    points: int = Field(5, ge=0, le=8, description="points K on the 360-Gaze that patches are centred on; 0 for no patches")
    reaches_deg: tuple[float, ...] = Field((10.0, 25.0), description="half the angle a patch shows across, one per scale")
    patch_size: int = Field(16, ge=8, le=128, multiple_of=4, description="cells along a side of a patch")
    evidence: int = Field(16, ge=2, le=256, description="channels of what patches lay onto the sphere")
    tasks: bool = Field(True, description="the patches' tasks: holds the target, where in it, refined direction")
    attention: bool = Field(True, description="attention maps, one per scale; without, all patches count alike")
    coarse: bool = Field(True, description="fusion looks at far places together, on a coarser grid")
    reborn: Literal["reinject", "recycle", "off"] = Field("reinject", description="reading of the reborn mechanism")
    recycle_every: int = Field(200, ge=1, description="steps between two recyclings")


class MMRGaze360Network(GazeModel):
    """360-Gaze and 360-FoV generators, multi-task multi-scale patches, and their fusion with the scene."""

    equivariant = True

    def __init__(self, options: MMROptions, settings: Settings) -> None:
        super().__init__()
        if settings.data.height % options.scene_height:
            raise InputError(
                f"Expected panoramas whose rows are a multiple of those the scene is read at, found data.height="
                f"{settings.data.height} and model.scene_height={options.scene_height}. Change one of them with --set."
            )
        self.options = options
        reinject = options.reborn == "reinject"
        width, features = options.width, options.features
        self.height = options.scene_height // options.stride
        depths = 0 if options.arc else options.points  # with the arc, points lie where its density says
        self.gaze = GazeGenerator(options.head_width, features, depths, reinject=reinject)
        self.encoder = PanoramaEncoder(width, 4)
        self.decoder = PanoramaDecoder(self.encoder.channels, 2 * width, stride=options.stride)
        maps = len(options.sharpness) + COORDINATES if options.fov else SURROUNDINGS
        self.arc = None
        if options.arc:
            self.arc = SightArc(features)
            maps += ARC_MAPS
        self.patches = None
        if options.points:
            self.patches = PatchModule(
                width,
                features,
                degrees(*options.reaches_deg),
                options.patch_size,
                options.evidence,
                tasks=options.tasks,
                attention=options.attention,
                reinject=reinject,
            )
            maps += options.evidence
        self.context = None
        if options.context:
            self.context = mlp((sum(self.encoder.channels[-2:]) + 2 * width, features, features))
        self.photo = None
        if settings.loss.photo:
            self.photo = nn.Sequential(ConvBlock(2 * width, 2 * width), nn.Conv2d(2 * width, 1, 1))
        self.fusion = Fusion(2 * width, maps, features, coarse=options.coarse, reinject=reinject)
        self.verdict = Verdict(2 * width, features) if settings.loss.in_frame and settings.loss.photo else None
        self.recycler = Recycler(self) if options.reborn == "recycle" else None

    def forward(self, batch: Batch) -> Output:
        """Say where the people of a batch look."""
        line = self.gaze(batch)
        levels = self.encoder(standardised(_shrunk(batch.panoramas, self.options.scene_height)))
        scene = self.decoder(levels)
        if self.context is not None:
            at_head = [sample_sphere(maps, batch.owner, batch.heads[:, None])[..., 0] for maps in (*levels[-2:], scene)]
            line = line._replace(features=line.features + self.context(torch.cat(at_head, dim=1)))
        if self.options.fov:
            maps = [field_of_view(batch, line, self.options.sharpness, self.height)]
        else:
            maps = [surroundings(batch, self.height)]
        deep = [spot(line.exit, line.kappa, self.height)]
        if self.arc is not None:
            cells = polar(batch.frames, self.height)
            density, values = self.arc(line.features, cells)
            deep.append(density)
            maps.append(arc_maps(density, line.azimuth, cells))
            arcs = quantiles(values, self.options.points)
            line = line._replace(points=points_along(arcs, batch.heads, batch.frames, line.azimuth))
        found = None
        if self.patches is not None:
            found = self.patches(batch, line, self.height)
            maps.append(found.maps)
        heatmap, fused = self.fusion(scene, batch.owner, torch.cat(maps, dim=1), line.features)
        if self.arc is not None:
            heatmap = heatmap + density  # what is fused says how the scene changes what the head alone says
        photo = None if self.photo is None else self.photo(fused)[:, 0]
        in_frame = None
        if self.verdict is not None and photo is not None:
            in_frame, heatmap = self.verdict(heatmap, fused, photo, line.features)
        patches = None if found is None else found.patches
        return Output(heatmap, line.direction, in_frame, photo, deep=tuple(deep), patches=patches)

    def after_step(self, optimiser: torch.optim.Optimizer, step: int, generator: torch.Generator) -> None:
        """Between two steps of training: dormant units are reborn, if that is the reading."""
        if self.recycler is not None and step % self.options.recycle_every == 0:
            self.recycler.recycle(optimiser, generator)


def _shrunk(panoramas: Tensor, height: int) -> Tensor:
    """Panoramas (P, 3, H, 2H) averaged to ``height`` rows, or as they are where they have no more."""
    factor = panoramas.shape[-2] // height
    return nn.functional.avg_pool2d(panoramas, factor) if factor > 1 else panoramas


class MMRGaze360(NeuralPredictor):
    """MMRGaze360, reconstructed: points along the sight line, patches around them, a field of view, fused on the sphere.

    *360-Gaze*: a direction from the head crop and the head's latitude; the great-circle arc it projects to, as a density that
    is sure in azimuth and open in depth; K points on the arc at learnt places. *360-FoV*: cone fields max(0, cos)^gamma around
    the direction, for several gamma, on the whole sphere. *Multi-task multi-scale module*: K x S gnomonic patches around the
    points, one encoder, attention maps, and per patch three tasks: does it hold the target, where, and the refined direction;
    laid back onto the sphere. *Fusion* with features of the whole scene gives the heatmap, as a change of the arc's density.
    *Reborn* blocks re-inject earlier features (or recycle dormant units, or neither).

    Source: Dai, Li and Du, IET Image Processing 2025, doi 10.1049/ipr2.70078: the abstract alone. This is a reconstruction; its
    scores are not the paper's.
    """

    name = "mmrgaze360"
    summary = (
        "Patches at several scales along the sight line, a field of view and the scene, fused on the sphere (reconstruction)."
    )
    source = "reconstructed from the abstract of Dai, Li and Du, IET Image Processing 2025"
    inputs = ("panorama", "head crop", "head direction", "head radius")
    options = MMROptions
    changes = ("made for the sphere: docs/models/mmrgaze360.md lists what the abstract fixes and what was chosen",)
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"data": {"height": 256}, **_TRAINING},
        "base": {
            "model": {
                "width": 32,
                "head_width": 32,
                "features": 256,
                "scene_height": 256,
                "points": 6,
                "reaches_deg": (6.0, 15.0, 35.0),
                "patch_size": 32,
                "evidence": 32,
            },
            "data": {"height": 512, "crop": 128},
            **_TRAINING,
        },
        "large": {
            "model": {
                "width": 64,
                "head_width": 64,
                "features": 512,
                "scene_height": 512,
                "stride": 8,
                "points": 8,
                "reaches_deg": (6.0, 15.0, 35.0),
                "patch_size": 48,
                "evidence": 64,
            },
            "data": {"height": 1024, "crop": 224},
            **_TRAINING,
        },
    }

    @classmethod
    def network(cls, options: MMROptions, settings: Settings) -> MMRGaze360Network:
        """Make the network with fresh weights."""
        return MMRGaze360Network(options, settings)
