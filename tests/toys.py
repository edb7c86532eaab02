"""A network and batches so small that a training takes a second: a bright spot on the panorama is where its people look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.data.batch import Batch, Output
from baselines.nets import geometry
from baselines.nets.padding import SphereConv2d
from baselines.neural import GazeModel
from baselines.training.course import AfterStep, Course
from baselines.training.devices import seeded
from baselines.training.parallel import ALONE, Team
from baselines.training.settings import Settings
from srgaze360 import sphere
from srgaze360.files import generator

HEIGHT = 16
CPU = torch.device("cpu")
torch.set_num_threads(1)  # tensors this small gain nothing from more


class Toy(GazeModel):
    """Group norm, dropout, a frozen layer, a buffer, and a layer that no loss reaches."""

    def __init__(self, width: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.frozen = SphereConv2d(3, 3, 1).requires_grad_(requires_grad=False)
        self.features = nn.Sequential(SphereConv2d(3, width, 3), nn.GroupNorm(2, width), nn.SiLU(), nn.Dropout(dropout))
        self.heatmap = SphereConv2d(width, 1, 3, bias=False)  # a softmax knows no bias: its gradient would be noise
        self.unused = nn.Linear(2, 2)
        self.direction = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 4))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch: Batch) -> Output:
        if self.training:
            self.seen += 1
        maps = self.heatmap(self.features(batch.panoramas + self.frozen(batch.panoramas)))[:, 0]
        said = self.direction(torch.cat([batch.heads, batch.crops.mean((-1, -2))], dim=-1))
        return Output(maps[batch.owner], direction=geometry.normalised(said[:, :3].float()), in_frame=said[:, 3])


def toy(seed: int = 0, **options: Any) -> Toy:
    with seeded(CPU, seed, "network"):
        return Toy(**options)


def toy_batch(*keys: Any, panoramas: range = range(4), people: tuple[int, int] = (1, 4), unknown: float = 0.2) -> Batch:
    """Panoramas of a batch; the same whatever others stand beside them."""
    ids: list[str] = []
    owner: list[int] = []
    found: dict[str, list[Any]] = {
        name: [] for name in ("pictures", "heads", "gazes", "points", "weights", "crops", "in_frame")
    }
    cells = sphere.cell_directions(2 * HEIGHT, HEIGHT)
    for place, panorama in enumerate(panoramas):
        rng = generator(0, "toy", *keys, panorama)
        spot = sphere.normalise(rng.normal(size=3))
        bright = 200.0 * np.exp(20.0 * (cells @ spot - 1.0)) + rng.uniform(0, 40, size=(HEIGHT, 2 * HEIGHT))
        found["pictures"].append(np.repeat(bright[None], 3, axis=0).astype(np.uint8))
        for person in range(rng.integers(*people)):
            ids.append("-".join(map(str, [*keys, panorama, person])))
            owner.append(place)
            known = rng.random() >= unknown
            points = sphere.normalise(spot + rng.normal(0, 0.03, size=(2, 3)))
            found["heads"].append(sphere.normalise(rng.normal(size=3)))
            found["gazes"].append(sphere.normalise(points.sum(0)) if known else np.full(3, np.nan))
            found["points"].append(points if known else np.full((2, 3), np.nan))
            found["weights"].append([1.0, float(rng.random() < 0.5)] if known else [0.0, 0.0])
            found["crops"].append(rng.integers(0, 256, size=(3, 8, 8)).astype(np.uint8))
            found["in_frame"].append(float(known))
    arrays = {name: torch.from_numpy(np.array(values)) for name, values in found.items()}
    heads = arrays["heads"].float()
    return Batch(
        ids=ids,
        panoramas=arrays["pictures"],
        owner=torch.tensor(owner, dtype=torch.int64),
        heads=heads,
        frames=geometry.head_frames(heads),
        radii=torch.full((len(ids),), 0.1),
        crops=arrays["crops"],
        reach=torch.full((len(ids),), 0.2),
        gazes=arrays["gazes"].float(),
        points=arrays["points"].float(),
        weights=arrays["weights"].float(),
        in_frame=arrays["in_frame"].float(),
    )


class ToyBatches:
    """Batches as a training loader gives them: functions of (seed, step), each process its share of the panoramas."""

    def __init__(self, team: Team = ALONE, panoramas: int = 4) -> None:
        self.share = range(team.rank * panoramas // team.world, (team.rank + 1) * panoramas // team.world)

    def batches(self, start_step: int) -> Iterator[Batch]:
        step = start_step
        while True:
            yield toy_batch("train", step, panoramas=self.share)
            step += 1


def toy_val() -> Iterator[Batch]:
    for number in range(3):
        yield toy_batch("val", number, unknown=0.0)


def toy_settings(*, loss: dict[str, Any] | None = None, **train: Any) -> Settings:
    chosen = {"steps": 24, "panoramas": 4, "lr": 0.02, "validations": 4, "ema": 0.9, "precision": "fp32", **train}
    return Settings.model_validate({"train": chosen, "loss": {"in_frame": 0.1, **(loss or {})}})


def course(
    folder: Path, settings: Settings, *, seed: int = 0, team: Team = ALONE, after_step: AfterStep | None = None
) -> Course:
    return Course("toy", settings, seed, folder, CPU, panoramas=40, team=team, after_step=after_step)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
