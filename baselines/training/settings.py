"""Everything that can be set about a method and its training: one tree, validated, written into the run's record.

Conventions
-----------
A method has sizes (``tiny``, ``base``, ``large``); a size is a set of defaults, and ``--set a.b=c`` or a configuration file
override them. ``model`` holds what belongs to one method; the rest is common to all. Angles are degrees and say so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """Base of every group of settings: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Part):
    """What a batch shows."""

    height: int = Field(128, ge=32, le=4096, multiple_of=32, description="rows of the panorama, half its columns")
    crop: int = Field(64, ge=16, le=512, description="pixels along a side of the head crop")
    crop_reach: float = Field(1.6, gt=0.5, le=4.0, description="half the crop's angle, in angular radii of the head")


class AugmentSettings(Part):
    """Changes of the training data, all exact on the sphere."""

    yaw: bool = Field(True, description="roll the panorama by any number of columns")
    mirror: float = Field(0.5, ge=0.0, le=1.0, description="share of panoramas mirrored, labels with them")
    tilt_deg: float = Field(0.0, ge=0.0, le=45.0, description="spread of a tilt of the whole sphere (half-normal)")
    tilted: float = Field(0.5, ge=0.0, le=1.0, description="share of panoramas tilted")
    zoom: float = Field(1.0, ge=1.0, le=3.0, description="largest factor of a conformal zoom about a head, or of its inverse")
    zoomed: float = Field(0.5, ge=0.0, le=1.0, description="share of panoramas zoomed")
    colour: float = Field(0.1, ge=0.0, le=1.0, description="strength of changes of brightness, contrast, saturation")
    jitter: float = Field(0.04, ge=0.0, le=0.5, description="spread of the head's place and size, in head radii")


class LossSettings(Part):
    """Weights of the losses, and the width of the heatmap's target."""

    heatmap: float = Field(1.0, ge=0.0)
    direction: float = Field(1.0, ge=0.0)
    in_frame: float = Field(0.0, ge=0.0)
    photo: float = Field(0.0, ge=0.0, description="weight of telling what of the panorama is the source photo")
    deep: float = Field(0.5, ge=0.0)
    holds: float = Field(0.2, ge=0.0)
    where: float = Field(0.2, ge=0.0)
    refined: float = Field(0.2, ge=0.0)
    distance: float = Field(0.0, ge=0.0, description="weight of the expected angle between heatmap and target, radians")
    sigma_deg: float = Field(5.0, gt=0.5, le=45.0, description="spread of the target on the sphere")


class TrainSettings(Part):
    """The course of training."""

    steps: int = Field(2000, ge=1)
    panoramas: int = Field(16, ge=1, description="panoramas in a batch, over all processes and accumulated parts")
    accumulate: int = Field(1, ge=1, description="parts that a batch is cut into, one after the other")
    lr: float = Field(1e-3, gt=0.0)
    weight_decay: float = Field(0.01, ge=0.0)
    warmup: float = Field(0.1, ge=0.0, lt=1.0, description="share of the steps with a rising learning rate")
    clip: float = Field(1.0, gt=0.0, description="largest norm of the gradient")
    ema: float = Field(0.998, ge=0.0, lt=1.0, description="decay of the averaged weights; 0 for none")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU")
    validations: int = Field(10, ge=1, description="times the val split is looked at")
    patience: int = Field(0, ge=0, description="validations without a better score before stopping; 0 goes to the end")
    workers: int = Field(0, ge=0, description="processes that read and augment; 0 does it in the training process")
    cache: bool = Field(True, description="keep prepared panoramas on disk, so that each is decoded once")


class Settings(Part):
    """All settings of a run; ``model`` is validated by the method's own class of options."""

    size: str = "tiny"
    model: dict[str, Any] = Field(default_factory=dict)
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()
