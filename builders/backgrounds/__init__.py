"""What surrounds photos on the sphere: the table of backgrounds that recipes name, that builds paint, and that docs list.

Conventions
-----------
See :mod:`builders.backgrounds.base`. To add one, write a function of a :class:`Backdrop` and give it a line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from builders.backgrounds.base import Backdrop, Background, Placed
from builders.backgrounds.blur import blur, blurred_extension
from builders.backgrounds.colours import black, mean
from builders.backgrounds.mirror import mirrored
from builders.backgrounds.noise import noise
from builders.backgrounds.scenes import feathered, panorama, panorama_fill, photos

__all__ = ["BACKGROUNDS", "Backdrop", "Background", "Placed", "blurred_extension", "feathered", "panorama_fill"]

BACKGROUNDS: Mapping[str, Background] = {
    "black": Background(black, "nothing: it shows where the photo is"),
    "mean": Background(mean, "the photos' mean colour, by solid angle"),
    "mirrored": Background(mirrored, "the first photo reflected about its edges over the whole sphere, without a break"),
    "blur": Background(blur, "the photos' own colours continued, coarser with distance"),
    "noise": Background(noise, "smooth random colours at many scales, with the photos' mean and covariance of colours"),
    "panorama": Background(panorama, "a real panorama, turned by a drawn angle", "panorama", feathered=True),
    "photos": Background(
        photos, "up to six other photos on the faces of a cube, turned by a drawn angle", "photos", feathered=True
    ),
}
