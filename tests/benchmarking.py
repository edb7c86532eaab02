"""A benchmark small enough for tests: grey photos with dots, and predictors that a test makes up."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from photos import write_gazefollow

from srgaze360.cli.benchmark.config import check_names, load_config
from srgaze360.cli.benchmark.plan import STAGES, Plan
from srgaze360.cli.benchmark.state import BenchmarkRecord, Ledger, read_benchmark
from srgaze360.cli.benchmark.steps import Bench
from srgaze360.predictors import PREDICTORS

CONFIG: dict[str, Any] = {
    "name": "small",
    "title": "Small",
    "dataset": {
        "recipe": "mixed",
        "set": ["output.width=64", "output.format=jpeg", "suites.mixed.draw.background=black", "val_share=0.3"],
        "sources": {"gazefollow": None},
    },
    "test": {"seed": 360},
    "budget": {"steps": 7, "trials": 3},
    "methods": ["head-prior", {"name": "random", "seeds": [0, 1]}],
    "resamples": 100,
    "human": True,
}

# The steps of that configuration.
ROWS = ("head-prior-seed0", "random-seed0", "random-seed1")
PREDICT = {f"predict/{row}" for row in ROWS}
SCORE = {f"score/spherical/{row}" for row in ROWS}
ALL = {"build", "train/head-prior-seed0", *PREDICT, *SCORE, "score/spherical/human", "board/spherical"}

# A method that is given the truth, so that it beats everybody; what it was trained with is in its run.
ORACLE = """
import json
import numpy as np
from pathlib import Path
from baselines.neural import Options
from srgaze360 import sphere
from srgaze360.predictors import Guess, Predictor

class Oracle(Predictor):
    name, summary, source = "oracle", "Knows.", "nobody"
    reads, trained, options = ("gaze_lon_deg", "gaze_lat_deg"), True, Options
    sizes = {"tiny": {"model": {"width": 8}}, "large": {}}
    state = {}

    @classmethod
    def train(cls, job):
        self = cls()
        self.state = {"settings": dict(job.settings), "seed": job.seed, "device": job.device, "cache": str(job.cache)}
        return self

    def save(self, run):
        (run / "state.json").write_text(json.dumps(self.state))

    @classmethod
    def load(cls, run):
        return cls()

    def predict(self, queries):
        lon, lat = (np.array([float(q.extra[name]) for q in queries]) for name in self.reads)
        return Guess(sphere.direction_from_lonlat(np.radians(lon), np.radians(lat)))
"""

# A method that fails in training or in prediction as long as the file in its module says so.
FAILING = """
from pathlib import Path
from srgaze360.predictors import Predictor
from baselines.trivial import Random

class Failing(Random):
    name, summary, source = "failing", "Fails.", "nobody"
    trained = True

    @classmethod
    def train(cls, job):
        if "train" in Path(__file__).with_name("fails").read_text():
            raise ZeroDivisionError("the loss is not a number")
        return cls.untrained(job.seed)

    def save(self, run):
        (run / "state.json").write_text("{}")

    @classmethod
    def load(cls, run):
        return cls.untrained(0)

    def predict(self, queries):
        if "predict" in Path(__file__).with_name("fails").read_text():
            raise MemoryError("out of memory")
        return super().predict(queries)
"""


class PlugIn:
    """Registers modules as another installed package would; ``folder`` holds them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch, self.added = folder, monkeypatch, list[EntryPoint]()
        monkeypatch.syspath_prepend(folder)

    def add(self, name: str, text: str, attribute: str) -> None:
        module = f"{name}_of_{self.folder.name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(text, encoding="utf-8")
        self.added.append(EntryPoint(name, f"{module}:{attribute}", PREDICTORS.group))
        points = [*entry_points(group=PREDICTORS.group), *self.added]
        real = entry_points
        self.monkeypatch.setattr(
            "srgaze360.registry.entry_points", lambda *, group: points if group == PREDICTORS.group else real(group=group)
        )


def write_config(folder: Path, **changes: Any) -> Path:
    """Write a configuration whose source lies in ``folder/gf``."""
    content = {**CONFIG, **changes}
    content["dataset"] = {**content["dataset"], "sources": {"gazefollow": str(folder / "gf")}}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def config_at(folder: Path, finished: Path, **changes: Any) -> Path:
    path = write_config(folder, **changes)
    path.write_text(path.read_text().replace(str(folder / "gf"), str(finished / "gf")))
    return path


def write_source(folder: Path) -> None:
    write_gazefollow(folder / "gf", train=14, test=12, scale=8)


def make_plan(config: Path, out: Path, *settings: str) -> Plan:
    loaded = load_config(str(config), settings)
    check_names(loaded)
    return Plan(loaded, Ledger(out))


def run_steps(config: Path, out: Path, *settings: str, only: tuple[str, ...] = (), last: Any = STAGES[-1]) -> Bench:
    """Do a benchmark in this process."""
    plan = make_plan(config, out, *settings)
    plan.ledger.declare(plan.config.model_dump(mode="json"), plan.config.budget.count)
    bench = Bench(plan, out)
    bench.run(plan.chosen(only, last))
    return bench


def left_to_do(plan: Plan) -> set[str]:
    return {step.name for step in plan.steps if plan.status(step).state != "done"}


def record_of(out: Path) -> BenchmarkRecord:
    return read_benchmark(out)
