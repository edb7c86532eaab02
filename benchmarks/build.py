"""What the project promises about speed, in one run: reprojection, peers, and a full build with where its time goes.

Run ``python benchmarks/build.py``; ``--quick`` takes fewer rounds and panoramas.

* *Reprojection and peers*: see ``reproject``; poses as photos are usually placed.
* *Full build*: recipe ``mixed`` with every background, labels, records, digests and the condition report, from 640 x 480 photos
  to panoramas of 2048 x 1024, through the builders' own pipeline with one worker in this process. Steps are timed by wrapping
  the package's functions from here; each is counted without the steps inside it.
* *Two workers*: the slope of the time between a small and a larger build, which leaves out what a build costs once (starting
  processes, planning, merging), for one and for two worker processes. Both cores must be idle for a fair figure; elapsed time.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from reproject import against_equilib, against_py360convert, pipeline
from timing import conclude, encode, texture, verdict

from builders.building.pipeline import build, plan_build
from builders.commands import open_sources
from builders.panorama import compose
from builders.recipe import load_recipe
from srgaze360.reproject import SAMPLER_ID

WORKERS_TARGET = 1.85
PHOTO, PANORAMA = (640, 480), (2048, 1024)
TEXTURES = 16
STEPS = {  # step: functions as the module compose knows them
    "read and decode": ("read_image",),
    "geometry and labels": ("photo_camera", "resolve_person", "lift", "solve_pose", "_rows"),
    "warp": ("photo_to_patch",),
    "blend": ("composite", "feathered"),
    "encode": ("encode_image",),
    "digest": ("_entry",),
    "write": ("write_bytes",),
}


def write_sources(folder: Path, photos: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Photos with labels (source ``table``) and panoramas for backgrounds; the pairs KIND=DIR that name them."""
    width, height = PHOTO
    pictures = [encode(texture(width, height, rng)).tobytes() for _ in range(min(TEXTURES, photos))]
    (folder / "photos").mkdir()
    (folder / "panoramas").mkdir()
    with (folder / "photos" / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(["image", "person", "head_x0", "head_y0", "head_x1", "head_y1", "gaze_x", "gaze_y", "split"])
        for number in range(photos):
            name = f"{number:05d}.jpg"
            (folder / "photos" / name).write_bytes(pictures[number % len(pictures)])
            x, y = rng.uniform(60, width - 120), rng.uniform(40, height - 140)
            gaze = rng.uniform(30, width - 30), rng.uniform(30, height - 30)
            out.writerow([name, 0, x, y, x + 60, y + 80, *gaze, "train"])
    for number in range(4):
        (folder / "panoramas" / f"{number}.jpg").write_bytes(encode(texture(*PANORAMA, rng)).tobytes())
    return f"table={folder / 'photos'}", f"panoramas={folder / 'panoramas'}"


def timed_build(pairs: tuple[str, ...], out: Path, workers: int) -> tuple[float, int]:
    """Seconds from the plan to the finished dataset, and its panoramas."""
    recipe = load_recipe("mixed", [f"output.width={PANORAMA[0]}"])
    gaze, background = open_sources(pairs, recipe.sources)
    plan = plan_build(recipe, gaze, background)
    start = time.perf_counter()
    report = build(plan, recipe, gaze, background, out, workers=workers)
    return time.perf_counter() - start, report.made


class Clock:
    """Seconds by step, each without the steps that ran inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def step(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
            self._inside.append(0.0)
            start = time.perf_counter()
            try:
                found = function(*args, **options)
                return list(found) if isinstance(found, Iterator) else found
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] += spent - self._inside.pop()
                self._inside[-1] += spent

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the steps of builds in this process."""
        backgrounds = {
            name: replace(background, paint=self.step(f"background: {name}", background.paint))
            for name, background in compose.BACKGROUNDS.items()
        }
        with ExitStack() as stack:
            stack.enter_context(patch.object(compose, "BACKGROUNDS", backgrounds))
            for step, names in STEPS.items():
                for name in names:
                    stack.enter_context(patch.object(compose, name, self.step(step, getattr(compose, name))))
            yield


def full_build(folder: Path, photos: int, rng: np.random.Generator) -> None:
    """The rate of a build as users run it, and where its time goes."""
    source = folder / "full"
    source.mkdir()
    pairs = write_sources(source, photos, rng)
    clock = Clock()
    with clock.watching():
        seconds, made = timed_build(pairs, folder / "full-out", 1)
    size = f"{PHOTO[0]}x{PHOTO[1]} -> {PANORAMA[0]}x{PANORAMA[1]}"
    print(f"\nfull build of recipe mixed, {size}, one worker: {made / seconds:.1f} panoramas /s ({made} in {seconds:.1f} s)")
    rest = seconds - sum(clock.seconds.values())
    steps = sorted(clock.seconds.items(), key=lambda item: -item[1])
    for step, spent in [*steps, ("once per build: records, report; and rest", rest)]:
        print(f"  {step:<42}{1000 * spent / made:>9.2f} ms per panorama{100 * spent / seconds:>8.1f} %")


def two_workers(folder: Path, photos: int, rounds: int, rng: np.random.Generator) -> list[str]:
    """How much faster two worker processes are than one."""
    sizes = {}
    for name, count in (("small", 64), ("large", 64 + photos)):
        (folder / name).mkdir()
        sizes[name] = write_sources(folder / name, count, rng)
    ratios = []
    for number in range(rounds):
        slopes = {}
        for workers in (1, 2) if number % 2 else (2, 1):
            took = {
                name: timed_build(pairs, folder / f"{name}-{workers}-{number}", workers)[0] for name, pairs in sizes.items()
            }
            slopes[workers] = (took["large"] - took["small"]) / photos
        ratios.append(slopes[1] / slopes[2])
    where = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"\ntwo worker processes against one, slope over {photos} panoramas ({where})")
    print(f"  {', '.join(f'{value:.2f}' for value in ratios)}")
    return [verdict("two workers against one", median(ratios), WORKERS_TARGET, " x")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and panoramas: a look, not a measurement")
    parser.add_argument("--seed", type=int, default=0, help="seed of textures, labels and poses")
    parser.add_argument("--only", choices=("reproject", "build", "workers"), help="one part of the benchmark")
    options = parser.parse_args()
    rounds, photos = (4, 128) if options.quick else (15, 256)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    print(f"sampler {SAMPLER_ID}, OpenCV {cv2.__version__}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}")
    verdicts: list[str] = []
    if options.only in (None, "reproject"):
        verdicts += pipeline(rounds, rng, (False,))
        verdicts += against_equilib(max(rounds // 3, 3), rng)
        verdicts += against_py360convert(rounds, rng)
    with tempfile.TemporaryDirectory() as folder:
        if options.only in (None, "build"):
            full_build(Path(folder), photos, rng)
        if options.only in (None, "workers"):
            verdicts += two_workers(Path(folder), photos, 1 if options.quick else 3, rng)
    conclude(verdicts)


if __name__ == "__main__":
    main()
