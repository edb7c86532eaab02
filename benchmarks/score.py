"""How fast 10,000 people with heatmaps are scored, beside what evaluation code in use does for the same maps.

1. The AUC of the `spherical` protocol alone, against a loop over scikit-learn's `roc_auc_score` with the same solid angles as
   weights: the same numbers, to 1e-9, from the same maps.
2. The whole call, every metric of the protocol and intervals from a bootstrap over clusters with 10,000 resamples, against the
   loop of published evaluators: every heatmap is enlarged to the size of its panorama (OpenCV, bilinear), and the AUC of
   scikit-learn is taken there with one positive pixel per annotation.

Loops are timed on a few maps, in turns with ours on as many, and scaled up: a loop over 10,000 takes its time 10,000 times.
Processor time, one core each. Memory is the peak of the whole process.

    python benchmarks/score.py [--people 10000] [--rounds 5]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import resource
import time
from statistics import median

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score
from timing import conclude, ratio, verdict

from srgaze360 import sphere
from srgaze360.bootstrap import cluster_bootstrap
from srgaze360.files import generator
from srgaze360.heatmaps import row_solid_angles, von_mises_fisher
from srgaze360.protocols import saliency, spherical

HEIGHT, WIDTH = 64, 128
PANORAMA = (1024, 2048)
ANNOTATORS = 10
TURN = 32  # maps in a turn of the comparison of the AUC
IMAGES = 4  # maps in a turn of the loop at image size


def people(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Annotations (n, m, 3), predictions (n, 3), heatmaps (n, H, W) float16 and clusters (n,) of made-up people."""
    targets = sphere.normalise(rng.normal(size=(n, 3)))
    points = sphere.exp_map(targets[:, None], rng.normal(size=(n, ANNOTATORS, 2)) * 0.1)
    predictions = sphere.exp_map(targets, rng.normal(size=(n, 2)) * 0.3)
    maps = np.empty((n, HEIGHT, WIDTH), np.float16)
    for start in range(0, n, 256):
        part = slice(start, min(start + 256, n))
        soft = von_mises_fisher(predictions[part][:, None], 15.0, height=HEIGHT, width=WIDTH)
        maps[part] = soft / soft.max(axis=(1, 2), keepdims=True) + rng.random((part.stop - start, 1, 1)) * 0.01
    return points, predictions, maps, np.array([f"photo{index // 3}" for index in range(n)])


def loop_same(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """AUC by scikit-learn, map by map, on the same cells with the same weights."""
    solid = np.repeat(row_solid_angles(HEIGHT, WIDTH), WIDTH)
    positive = saliency.positive_cells(points, height=HEIGHT, width=WIDTH).reshape(len(maps), -1)
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    return np.array([roc_auc_score(p, m, sample_weight=solid) for p, m in zip(positive, flat, strict=True)])


def loop_published(maps: np.ndarray, points: np.ndarray) -> None:
    """AUC as published evaluators take it: at image size, a pixel per annotation, map by map."""
    height, width = PANORAMA
    for heatmap, own in zip(maps, points, strict=True):
        pixels = np.floor(sphere.pixel_from_direction(own, width, height)).astype(int)
        target = np.zeros(PANORAMA, np.uint8)
        target[np.minimum(pixels[:, 1], height - 1), np.minimum(pixels[:, 0], width - 1)] = 1
        large = cv2.resize(heatmap.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        roc_auc_score(target.ravel(), large.ravel())


def clock(work: object, *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)  # type: ignore[operator]
    return time.process_time() - start


def main() -> None:
    """Print rates, ratios and what was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    n = wanted.people
    points, predictions, maps, clusters = people(n, np.random.default_rng(0))

    apart = np.abs(saliency.auc(maps[:256], points[:256]) - loop_same(maps[:256], points[:256])).max()
    ours, theirs, published = [], [], []
    for number in range(-1, wanted.rounds):
        part = slice((number + 1) * TURN, (number + 2) * TURN)
        times = clock(saliency.auc, maps[part], points[part]) / TURN, clock(loop_same, maps[part], points[part]) / TURN
        image = clock(loop_published, maps[part][:IMAGES], points[part][:IMAGES]) / IMAGES
        if number >= 0:
            ours.append(times[0])
            theirs.append(times[1])
            published.append(image)
    print(f"AUC, {HEIGHT} x {WIDTH}, one core")
    for name, seconds in (("srgaze360", ours), ("scikit-learn, same cells", theirs), ("scikit-learn at image size", published)):
        print(f"  {name:<42}{1000 * median(seconds):>9.3f} ms{1 / median(seconds):>9.0f} /s")
    print(f"  largest difference on 256 maps             {apart:.1e}")

    start, wall = time.process_time(), time.perf_counter()
    found = spherical.evaluate(predictions, points, heatmaps=maps)
    scored = time.process_time() - start
    cluster_bootstrap(found.per_sample, clusters, generator(0, "bootstrap"), n_resamples=10_000)
    whole, wall = time.process_time() - start, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nThe whole call: {n} people, every metric, 10,000 resamples of {len(set(clusters))} clusters")
    print(
        f"  metrics {scored:.1f} s, with the bootstrap {whole:.1f} s of one core, {wall:.1f} s by the clock, peak {peak:.2f} GB"
    )
    loop = median(published) * n
    print(f"  the loop at image size, AUC alone: {loop:.0f} s")
    conclude(
        [
            verdict("AUC against a loop over scikit-learn", ratio(theirs, ours), 15.0, "x"),
            verdict("equal to it, in units of 1e-9 (reciprocal)", 1e-9 / max(apart, 1e-18), 1.0),
            verdict("the whole call against the loop at image size", loop / whole, 40.0, "x"),
            verdict("memory below 2 GB (reciprocal)", 2.0 / peak, 1.0),
        ]
    )


if __name__ == "__main__":
    main()
