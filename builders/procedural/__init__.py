"""Procedural scenes: small rendered rooms with people whose gaze is known exactly.

``sample_scene`` draws a scene, ``render_photo`` and ``render_panorama`` show it, ``plan_photo`` and ``label_panorama`` say what
is true of it, ``write_gazefollow_folder`` writes photos and labels in the layout of GazeFollow, and panoramas beside them.
Images are RGB, uint8.
"""

from builders.procedural.layout import sample_scene
from builders.procedural.panoramas import PanoramaLabel, label_panorama, panorama_label
from builders.procedural.photos import PhotoLabel, View, label_photo, plan_photo
from builders.procedural.render import Renderer, pixel_rays, render_panorama, render_photo
from builders.procedural.scene import Figure, Flags, Scene, gaze_flags
from builders.procedural.write import Written, write_gazefollow_folder

__all__ = [
    "Figure", "Flags", "PanoramaLabel", "PhotoLabel", "Renderer", "Scene", "View", "Written", "gaze_flags", "label_panorama",
    "label_photo", "panorama_label", "pixel_rays", "plan_photo", "render_panorama", "render_photo", "sample_scene",
    "write_gazefollow_folder",
]  # fmt: skip
