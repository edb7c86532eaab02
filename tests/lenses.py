"""Lenses that the tests of lenses and cameras share: mild, strong, folding, and wider than 180 degrees."""

from __future__ import annotations

import numpy as np

from srgaze360.cameras import Camera

RAD = np.radians

# lens, parameters, a field of view it reaches (degrees)
CASES = [
    ("pinhole", (), 90),
    ("pinhole", (), 20),
    ("brown-conrady", (-0.1, 0.01), 90),  # mild barrel
    ("brown-conrady", (-0.3, 0.1), 90),
    ("brown-conrady", (0.2, 0.15), 100),  # pincushion
    ("brown-conrady", (-0.25,), 70),  # folds at 49.1 degrees
    ("brown-conrady", (-0.3,), 92.9),  # folds at 46.5 degrees: the image ends on the fold
    ("brown-conrady", (-0.3, 0.1, 0.001, 0.0005), 90),
    ("brown-conrady", (-0.25, 0.0, 0.003, -0.002), 70),  # folds, with tangential terms
    ("brown-conrady", (-0.25, 0.05, 0.01, 0.01), 70),
    ("brown-conrady", (0.0, 0.0, 0.02, 0.01), 80),
    ("brown-conrady", (0.5, 0.1, 0.001, -0.002, 0.05, 0.6, 0.2, 0.01), 90),  # rational
    ("brown-conrady", (0.0, 0.0, 0.0, 0.0, 0.0, -0.2), 80),  # runs to infinity at 65.9 degrees
    ("brown-conrady", (0.0, 0.0, 0.0, 0.0, 0.0, 0.8), 70),  # rational, folds at 48.2 degrees
    ("kannala-brandt", (), 200),
    ("kannala-brandt", (-0.05, 0.01, -0.003, 0.0002), 180),
    ("kannala-brandt", (-0.2,), 145),  # folds at 74 degrees
    ("kannala-brandt", (0.1, 0.05), 120),
    ("equidistant", (), 220),
    ("equidistant", (), 359.9),
    ("equisolid", (), 300),
    ("equisolid", (), 180),
    ("stereographic", (), 250),
    ("orthographic", (), 180),
    ("orthographic", (), 120),
    ("ucm", (0.0,), 100),
    ("ucm", (0.9,), 180),
    ("ucm", (1.0,), 200),
    ("ucm", (1.7,), 240),  # folds at 126 degrees
    ("equirectangular", (), 360),
    ("equirectangular", (), 100),
]
ids = [f"{lens}-{','.join(map(str, params))}-{fov}" for lens, params, fov in CASES]


def camera_of(lens, params, fov, width=640, height=480):
    return Camera.from_fov(lens, width, height, RAD(fov), params=params)


def grid(camera, beyond=0.6, count=151):
    """Pixels over the image and a margin around it, edges and corners included."""
    x = np.concatenate([np.linspace(-beyond, 1 + beyond, count), [0, 0.5, 1]]) * camera.width
    y = np.concatenate([np.linspace(-beyond, 1 + beyond, count), [0, 0.5, 1]]) * camera.height
    return np.stack(np.meshgrid(x, y), axis=-1)
