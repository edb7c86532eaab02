"""A small GazeFollow folder in the true format, whose photos carry a coloured dot at the gaze target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

DOT = (255, 0, 255)  # RGB; the rest of a photo is grey, so the dot can be told by its colour alone


@dataclass(frozen=True)
class Planted:
    """Where things are in a photo, in fractions of its size; the head box in pixels."""

    path: str
    size: tuple[int, int]
    gaze: tuple[float, float]
    head: tuple[float, float, float, float]


def write_photo(path: Path, size: tuple[int, int], gaze: tuple[float, float], rng: np.random.Generator, radius: float) -> None:
    """Write a grey, softly textured photo with an anti-aliased dot at ``gaze``."""
    width, height = size
    texture = cv2.resize(rng.uniform(60, 190, (8, 8)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot(x - gaze[0] * width, y - gaze[1] * height)
    cover = np.clip(radius - distance + 0.5, 0.0, 1.0)[..., None]
    image = texture[..., None] * (1 - cover) + np.array(DOT, dtype=np.float32) * cover
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])


def write_gazefollow(
    root: Path, *, train: int = 0, test: int = 6, annotators: int = 3, seed: int = 0, radius: float = 7.0, scale: int = 1
) -> list[Planted]:
    """Write ``train`` and ``test`` photos with one person each; test people have ``annotators`` equal annotations."""
    rng = np.random.default_rng(seed)
    planted: list[Planted] = []
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for split, count in (("train", train), ("test", test)):
        folder = {"train": "train", "test": "test2"}[split]
        for index in range(count):
            size = ((640, 480), (480, 640), (600, 400))[index % 3]
            size = (size[0] // scale, size[1] // scale)
            gaze = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.45, 0.8)))
            path = f"{folder}/{index:08d}.png"
            write_photo(root / path, size, gaze, rng, radius / scale)
            x0, y0 = rng.uniform(0.1, 0.7) * size[0], rng.uniform(0.02, 0.15) * size[1]
            head = (x0, y0, x0 + 0.12 * size[0], y0 + 0.16 * size[1])
            planted.append(Planted(path, size, gaze, head))
            row = [path, index, 0.1, 0.1, 0.5, 0.8, 0.4, 0.2, *gaze, *head]
            tail = [1, "made", "meta"] if split == "train" else ["made", "meta"]
            lines[split] += [",".join(map(str, row + tail))] * (1 if split == "train" else annotators)
    for split, rows in lines.items():
        if rows:
            (root / f"{split}_annotations_release.txt").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    return planted


def write_panoramas(root: Path, count: int = 3, seed: int = 0) -> None:
    """Write grey noise panoramas, as backgrounds."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        grey = cv2.resize(rng.uniform(40, 220, (16, 32)).astype(np.float32), (512, 256), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"background{index}.png"), np.clip(grey, 0, 255).astype(np.uint8))
