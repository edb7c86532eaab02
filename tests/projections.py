"""Lenses, poses and pictures that the tests of reprojection share."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from srgaze360 import sphere
from srgaze360.cameras import Camera

RAD = np.radians

# yaw, pitch, roll in degrees: front, tilted, across the seam, zenith with roll, nadir
POSES = [(0, 0, 0), (30, 20, 0), (-77, -35, 140), (180, 0, 0), (176, 10, 25), (0, 90, 0), (50, 88, 33), (10, -90, 70)]
PINHOLE = Camera.from_fov("pinhole", 640, 480, RAD(90))
LENSES = {
    "pinhole": PINHOLE,
    "wide": Camera.from_fov("pinhole", 640, 640, RAD(150)),  # its mirror image behind the camera shares rows with it
    "off-centre": Camera("pinhole", 640, 480, 300.0, 330.0, 200.0, 300.0),
    "barrel": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(-0.1, 0.01)),
    "pincushion": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(0.2, 0.15)),
    "folding": Camera("brown-conrady", 640, 480, 380.0, 380.0, 320.0, 240.0, (-0.3,)),
    "folding-tangential": Camera("brown-conrady", 640, 480, 420.0, 420.0, 330.0, 235.0, (-0.25, 0.0, 0.003, -0.002)),
    "rational": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(0.5, 0.1, 0.001, -0.002, 0.05, 0.6, 0.2, 0.01)),
    "kannala-brandt": Camera.from_fov("kannala-brandt", 640, 480, RAD(180), params=(-0.05, 0.01, -0.003, 0.0002)),
    "equidistant-220": Camera.from_fov("equidistant", 640, 480, RAD(220)),
    "equidistant-340": Camera.from_fov("equidistant", 480, 480, RAD(340)),
    "circle-in-image": Camera("equisolid", 640, 480, 110.0, 110.0, 320.0, 240.0),
    "stereographic": Camera.from_fov("stereographic", 640, 480, RAD(200)),
    "orthographic": Camera("orthographic", 640, 480, 200.0, 200.0, 300.0, 240.0),
    "ucm": Camera.from_fov("ucm", 640, 480, RAD(180), params=(0.9,)),
    "ucm-folding": Camera("ucm", 640, 480, 300.0, 300.0, 320.0, 240.0, (1.7,)),
}


def scipy_rotation(pose):
    return Rotation.from_euler("YXZ", pose, degrees=True).as_matrix()


def noise(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    shape = (height, width, channels) if channels else (height, width)
    return rng.uniform(0, 1.0 if dtype == np.float32 else np.iinfo(dtype).max, shape).astype(dtype)


def texture(height, width, sharp, seed=3):
    """Noise of all sizes, as photographs have; ``sharp`` adds hard edges."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for octave in range(1, 8):
        size = (max(2, (width >> 7) << octave), max(2, (height >> 7) << octave))
        layer = rng.normal(size=(size[1], size[0], 3))
        image += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    image = 128 + 40 * image / image.std()
    if sharp:
        for _ in range(400):
            x, y = rng.integers(0, width), rng.integers(0, height)
            w, h = rng.integers(2, width // 12, 2)
            image[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def psnr(a, b, where):
    error = np.mean((a.astype(np.float64)[where] - b.astype(np.float64)[where]) ** 2)
    return 10 * np.log10(255**2 / error)


def degrees_off(a, b):
    return np.degrees(sphere.angle_between(a.astype(np.float64), b))
