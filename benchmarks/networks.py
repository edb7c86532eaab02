"""How many people per second networks train on and answer, on a GPU or on this CPU, and what they wait for.

For every method: people per second in training (data included) and in prediction, the share of time spent waiting for data, and
on a GPU its utilisation and the peak of its memory. Then the answer of ``mmrgaze360`` beside the *published pipeline written
down straightforwardly*: the dual-path model of Li et al. (ICCV 2021) as its public re-implementation runs it, which reads the
panorama once per person, cuts the head and the two regions with OpenCV on the CPU, and puts a ResNet-50 on the head. Both sides
answer the same people from the same files in the same run; numbers are of untrained weights, which cost what trained ones cost.

    python benchmarks/networks.py [--data DATASET] [--size base] [--device auto] [--methods mmrgaze360 ...] [--json FILE]

Without --data a small dataset of procedural scenes is built first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from baselines.data.loader import TrainingLoader
from baselines.data.prepared import PreparedSplit
from baselines.neural import NeuralPredictor
from baselines.training.course import Course
from baselines.training.devices import resolve_device
from baselines.training.logs import LOG_FILE
from baselines.training.trainer import fit
from srgaze360.dataset import Dataset
from srgaze360.predictors import PREDICTORS, Query

BATCH = 32  # people asked at once
TARGETS = {"waiting": 0.10, "times the published pipeline": 5.0}


# --- the published pipeline, straightforwardly ------------------------------------------------------------------------


class Published(nn.Module):
    """ResNet-50 on the head, two crops of 56 x 56 with a map each, conv and deconv stacks, fusion: sizes of the public code."""

    def __init__(self) -> None:
        super().__init__()
        self.head = ResNetModel(ResNetConfig())
        self.place = nn.Sequential(nn.Linear(3, 128), nn.ReLU(), nn.Linear(128, 32))
        self.direction = nn.Sequential(nn.Linear(2048 + 32, 128), nn.ReLU(), nn.Linear(128, 3))
        self.distant, self.local = self._path(), self._path()
        self.fuse = nn.Sequential(nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1))

    @staticmethod
    def _path() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(4, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 256, 3, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(256, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 1),
        )  # fmt: skip

    @torch.inference_mode()
    def answer(self, queries: list[Query], device: torch.device) -> np.ndarray:
        """Cells (n, 2) of the largest value of maps of 56 x 56."""
        panoramas = [query.panorama() for query in queries]  # one read per person, as its loader does
        heads = np.stack([self._head(p, q) for p, q in zip(panoramas, queries, strict=True)])
        places = torch.tensor(np.array([query.head for query in queries]), dtype=torch.float32, device=device)
        features = self.head(torch.from_numpy(heads).to(device)).pooler_output.flatten(1)
        found = self.direction(torch.cat([features, self.place(places)], 1)).cpu().numpy()
        crops, boxes = [], []
        for panorama, query, direction in zip(panoramas, queries, found, strict=True):
            for box in self._boxes(panorama, query, direction):
                crops.append(self._crop(panorama, box))
                boxes.append(box)
        stacked = torch.from_numpy(np.stack(crops)).to(device).unflatten(0, (-1, 2))
        maps = torch.stack([self.distant(stacked[:, 0]), self.local(stacked[:, 1])], 1)[:, :, 0].cpu().numpy()
        pasted = np.zeros((len(queries), 2, 56, 56), np.float32)
        for index, (x0, y0, x1, y1) in enumerate(boxes):
            person, path = divmod(index, 2)
            high, wide = panoramas[person].shape[:2]
            columns, rows = (
                slice(56 * x0 // wide, max(56 * x1 // wide, 56 * x0 // wide + 1)),
                slice(56 * y0 // high, 56 * y1 // high + 1),
            )
            target = pasted[person, path, rows, columns]
            target[...] = cv2.resize(maps[person, path], target.shape[::-1])
        fused = self.fuse(torch.from_numpy(pasted).to(device)).flatten(1).argmax(1).cpu().numpy()
        return np.stack(divmod(fused, 56), 1)

    @staticmethod
    def _head(panorama: np.ndarray, query: Query) -> np.ndarray:
        high, wide = panorama.shape[:2]
        u0, v0, u1, v1 = query.head_box
        x0, y0 = int(u0 * wide), int(v0 * high)
        part = panorama[y0 : max(int(v1 * high), y0 + 2), x0 : max(min(int(u1 * wide), wide), x0 + 2)]
        return cv2.resize(part, (224, 224)).transpose(2, 0, 1).astype(np.float32) / 255.0

    @staticmethod
    def _boxes(panorama: np.ndarray, query: Query, direction: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
        """The distant region around the hit point and the local one beside the head; clipped at the borders."""
        high, wide = panorama.shape[:2]
        d = direction / max(np.linalg.norm(direction), 1e-6)
        hit = query.head - 2.0 * (query.head @ d) * d
        u0, v0, u1, v1 = query.head_box
        beside = (u0 + u1) / 2 + np.sign(d[0]) * (0.125 - (u1 - u0) / 2)
        lon, lat = np.arctan2(hit[0], hit[2]), np.arcsin(np.clip(-hit[1], -1, 1))
        for u, v in ((lon / (2 * np.pi) + 0.5, 0.5 - lat / np.pi), (beside % 1.0, (v0 + v1) / 2)):
            x, y = int(u * wide), int(v * high)
            x0, y0 = int(np.clip(x - wide // 8, 0, wide - 8)), int(np.clip(y - high // 8, 0, high - 8))
            yield x0, y0, min(x + wide // 8 + 8, wide), min(y + high // 8 + 8, high)

    @staticmethod
    def _crop(panorama: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = box
        picture = cv2.resize(panorama[y0:y1, x0:x1], (56, 56)).astype(np.float32)
        spot = cv2.getGaussianKernel(56, 9) @ cv2.getGaussianKernel(56, 9).T
        return np.concatenate([picture.transpose(2, 0, 1), spot[None].astype(np.float32)])


# --- measuring --------------------------------------------------------------------------------------------------------


class Utilisation:
    """Mean utilisation of a GPU in per cent while something runs, sampled twice a second; None on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.samples, self.mean = device, list[float](), None

    @contextmanager
    def watched(self) -> Iterator[None]:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.5):
                self.samples.append(float(torch.cuda.utilization(self.device)))

        if self.device.type != "cuda":
            yield
            return
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join()
        self.mean = float(np.mean(self.samples)) if self.samples else None


def train(
    kind: type[NeuralPredictor], data: Dataset, size: str, device: torch.device, steps: int, cache: Path
) -> dict[str, Any]:
    """Train for some steps, from a warm cache; the first ten, in which libraries settle, do not count where there are more."""
    workers = max(1, (os.cpu_count() or 2) - 1) if device.type == "cuda" else 0
    settings = kind.settings_of({"size": size, "train": {"steps": steps, "validations": 1, "workers": workers}})
    split = PreparedSplit.open(data, settings.data, cache, photos=settings.loss.photo > 0.0, workers=workers)
    used = Utilisation(device)
    with tempfile.TemporaryDirectory() as folder:
        course = Course(kind.name, settings, 0, Path(folder), device, len(split))
        network = kind.make(settings)
        with used.watched():
            done = fit(network, TrainingLoader(split, settings, 0), None, course)
        log = pd.read_csv(Path(folder) / LOG_FILE)
    settled = log.iloc[1:] if len(log) > 1 else log
    return {
        "train people/s": round(float(settled["people_per_s"].mean()), 1),
        "waiting": round(float(settled["waiting"].mean()), 3),
        "GPU %": used.mean,
        "train peak MB": done.facts()["peak_memory_mb"],
    }


def answer(kind: type[NeuralPredictor], asked: list[list[Query]], size: str, device: torch.device) -> float:
    """People per second, panoramas read and decoded anew, the first batch not counted."""
    workers = max(1, (os.cpu_count() or 2) - 1) if device.type == "cuda" else 0
    settings = kind.settings_of({"size": size, "train": {"workers": workers}})
    predictor = kind(kind.make(settings), settings)
    predictor.place(str(device))
    answers = predictor.predict_batches(asked)
    next(answers)
    started = time.perf_counter()
    people = sum(len(guess.directions) for guess in answers)
    return people / (time.perf_counter() - started)


def published(asked: list[list[Query]], device: torch.device) -> float:
    network = Published().eval().to(device)
    network.answer(asked[0], device)
    started = time.perf_counter()
    people = sum(len(network.answer(batch, device)) for batch in asked[1:])
    return people / (time.perf_counter() - started)


def small_dataset(folder: Path) -> Path:
    """A dataset of procedural scenes, built by the program itself."""
    program = [sys.executable, "-m", "srgaze360"]
    scenes, out = folder / "scenes", folder / "data"
    subprocess.run([*program, "sources", "procedural", "--out", scenes, "--photos", "120", "--panoramas", "20"], check=True)
    settings = ["--set", "suites.mixed.draw.background=null", "--set", "output.width=2048"]
    subprocess.run([*program, "build", "mixed", "--source", f"procedural={scenes}", "--out", out, *settings], check=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", default="base")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=["mmrgaze360", "dualpath2021", "direction", "chong2020"])
    parser.add_argument("--people", type=int, default=256, help="people that are trained on, and asked")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.open(options.data or small_dataset(Path(folder)))
        rows = data.select(split="train")
        rows = replace(rows, annotations=rows.annotations.iloc[: options.people])
        queries = [Query.of(sample, ()) for sample in rows.samples()]
        asked = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
        width = int(rows.annotations["width"].iloc[0])
        print(f"{name}; size {options.size}; {len(queries)} people on panoramas {width} x {width // 2}")
        report: dict[str, Any] = {"device": name, "size": options.size, "methods": {}}
        peer = published(asked, device)
        report["published pipeline people/s"] = round(peer, 1)
        for method in options.methods:
            kind: Any = PREDICTORS.get(method)
            facts = train(kind, rows, options.size, device, options.steps, Path(folder) / "cache")
            speed = answer(kind, asked, options.size, device)
            facts |= {"predict people/s": round(speed, 1), "times the published pipeline": round(speed / peer, 2)}
            report["methods"][method] = facts
            print(f"{method:14s}" + "  ".join(f"{key} {value}" for key, value in facts.items() if value is not None))
        print(f"the published pipeline, straightforwardly: {peer:.1f} people/s")
        mine = report["methods"].get("mmrgaze360")
        if mine and device.type == "cuda":
            for key, target in TARGETS.items():
                met = mine[key] <= target if key == "waiting" else mine[key] >= target
                print(f"target {key} {target:g}: {'met' if met else 'MISSED'} ({mine[key]:g})")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
