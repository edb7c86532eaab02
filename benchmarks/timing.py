"""What the benchmarks share: pictures, codec, and methods that take turns.

Methods take turns of a few images, in changing order; numbers are medians over the turns, ratios are medians of the ratio
within a round of turns, so that a busy machine hurts both sides. Times are those of the processor (all threads of the
process), not of the clock on the wall: what somebody else's process takes is not counted. Its effect on caches and memory is.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Mapping
from statistics import median
from types import ModuleType

import cv2
import numpy as np

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]
TURN = 8  # images in a row

Angles = tuple[float, float, float]  # yaw, pitch, roll, radians
Method = Callable[[Angles], None]


def texture(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Busy picture: noise whose amplitude grows with its scale, and hard-edged shapes over it."""
    image = np.zeros((height, width, 3), np.float32)
    for scale in (1, 2, 4, 8, 16, 32, 64, 128):
        size = (-(-height // scale), -(-width // scale))
        layer = rng.normal(size=(*size, 1)) + 0.4 * rng.normal(size=(*size, 3))
        image += cv2.resize(layer.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.5
    image = 128.0 + 45.0 * image / image.std()
    for _ in range(width * height // 2000):
        centre = rng.uniform(0, width), rng.uniform(0, height)
        shape = centre, tuple(rng.uniform(3, 40, 2)), rng.uniform(0, 180)
        cv2.ellipse(image, shape, rng.uniform(0, 255, 3).tolist(), -1 if rng.random() < 0.4 else 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imencode(".jpg", image, QUALITY)[1])


def decode(data: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def draw_angles(rng: np.random.Generator, anywhere: bool = False) -> Angles:
    yaw = rng.uniform(-np.pi, np.pi)
    if anywhere:
        return yaw, float(np.arcsin(rng.uniform(-1, 1))), rng.uniform(-np.pi, np.pi)
    return yaw, rng.uniform(-np.pi / 6, np.pi / 6), rng.uniform(-np.pi / 12, np.pi / 12)


def race(
    rounds: int, draw: Callable[[], Angles], methods: Mapping[str, Method], prepare: Method = lambda _: None
) -> dict[str, list[float]]:
    """Seconds per image of each method: in every round each takes its turn on the same, new, poses."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(-1, rounds):  # one round to warm up
        poses = [draw() for _ in range(TURN)]
        for angles in poses:
            prepare(angles)
        names = list(methods)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            method = methods[name]
            start = time.process_time()
            for angles in poses:
                method(angles)
            if number >= 0:
                times[name].append((time.process_time() - start) / TURN)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    return median(a / b for a, b in zip(slow, fast, strict=True))


def optional(name: str) -> ModuleType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as problem:
        print(f"\n{name} is not installed ({problem})")
        return None


def row(name: str, seconds: list[float], remark: str = "") -> None:
    print(f"  {name:<42}{1000 * median(seconds):>9.2f} ms{1 / median(seconds):>9.1f} /s  {remark}")


def verdict(what: str, reached: float, target: float, unit: str = "") -> str:
    return f"{'met' if reached >= target else 'NOT MET':<8} {what}: {reached:.2f}{unit} (target {target:g}{unit})"


def conclude(verdicts: list[str]) -> None:
    print("\nTargets")
    for line in verdicts:
        print(f"  {line}")
