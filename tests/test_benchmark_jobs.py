"""Steps of a benchmark side by side: the numbers of one after the other, and no step takes another with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from benchmarking import FAILING, record_of, run_steps, write_config, write_source

from leaderboard.records import read_record

DYING = """
import os
from dying import Failing

class Dying(Failing):
    name, summary, source = "dying", "Dies.", "nobody"

    @classmethod
    def train(cls, job):
        os.kill(os.getpid(), 9)
"""

# A method that dies while a process of its own, which holds all that it held, lives on for a while.
FORKING = """
import os, time
from pathlib import Path
from dying import Failing

class Forking(Failing):
    name, summary, source = "forking", "Forks and dies.", "nobody"

    @classmethod
    def train(cls, job):
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        (Path(__file__).parent / "forked").write_text(str(child))
        os.kill(os.getpid(), 9)
"""

# A method that leaves a thread behind which does not end, and says things on standard output.
LINGERING = """
import threading, time
from dying import Failing

class Lingering(Failing):
    name, summary, source = "lingering", "Lingers.", "nobody"

    @classmethod
    def train(cls, job):
        print("what a stranger's code prints")
        threading.Thread(target=time.sleep, args=(3600,)).start()
        return cls.untrained(job.seed)
"""

# A method that waits in training until a file beside its module is there, having said who it is.
WAITING = """
import os, time
from pathlib import Path
from dying import Failing

class Waiting(Failing):
    name, summary, source = "waiting", "Waits.", "nobody"

    @classmethod
    def train(cls, job):
        here = Path(__file__).parent
        (here / f"pid-{job.seed}").write_text(str(os.getpid()))
        while not (here / "go").exists():
            time.sleep(0.02)
        return cls.untrained(job.seed)
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that sees the methods above, as of an installed package."""
    place = tmp_path / "site"
    info = place / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "dying.py").write_text(FAILING)
    (place / "deadly.py").write_text(DYING)
    (place / "slow.py").write_text(WAITING)
    (place / "forking.py").write_text(FORKING)
    (place / "lingering.py").write_text(LINGERING)
    (place / "fails").write_text("train")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    points = "failing = dying:Failing\ndying = deadly:Dying\nwaiting = slow:Waiting\n"
    points += "forking = forking:Forking\nlingering = lingering:Lingering\n"
    (info / "entry_points.txt").write_text(f"[srgaze360.predictors]\n{points}")
    return {**os.environ, "PYTHONPATH": str(place)}


def command(config: Path, out: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "srgaze360",
        "benchmark",
        str(config),
        "--out",
        str(out),
        "--workers",
        "1",
        "--jobs",
        "2",
        *words,
    ]


def digests(out: Path) -> dict[str, str]:
    return {path.name: read_record(path).content_digest for path in sorted((out / "results").rglob("[!.]*.json"))}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_source(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_side_by_side_gives_the_numbers_of_one_after_the_other(source: Path) -> None:
    learnt: dict[str, Any] = {
        "name": "direction",
        "seeds": [0, 1],
        "settings": {"data": {"height": 32}},
    }
    config = write_config(source, methods=["head-prior", "latitude-prior", "random", learnt], budget={"steps": 2, "trials": 0})
    assert not run_steps(config, source / "one").failures
    done = subprocess.run(command(config, source / "two"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train/direction-seed1 done in" in done.stderr
    one, two = digests(source / "one"), digests(source / "two")
    exact = [name for name in one if not name.startswith("direction")]
    assert len(exact) == 4
    assert {name: one[name] for name in exact} == {name: two[name] for name in exact}
    for name in set(one) - set(exact):  # torch adds in another order with other threads
        errors = [
            read_record(source / out / "results" / "spherical" / name).overall.metrics["angular_distance_deg"].value
            for out in ("one", "two")
        ]
        assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    looks = record_of(source / "two").looks()
    assert looks == record_of(source / "one").looks() == {"direction": 2, "head-prior": 1, "latitude-prior": 1, "random": 1}
    assert (source / "two" / "logs" / "train" / "direction-seed1.log").is_file()


def test_a_step_that_dies_fails_or_leaves_things_behind_holds_nobody_up(source: Path, installed: dict[str, str]) -> None:
    methods = ["forking", "dying", "failing", {"name": "lingering", "seeds": [0, 1]}, "head-prior"]
    words = command(write_config(source, methods=methods), source / "out", "--json", "--stop-after", "train")
    # into files: a pipe would stay open with what the forked process holds
    with (source / "said.json").open("w") as said, (source / "told").open("w") as told:
        done = subprocess.run(words, stdout=said, stderr=told, check=False, env=installed, timeout=200)
    os.kill(int((source / "site" / "forked").read_text()), signal.SIGKILL)  # it is still there: nobody waited for it
    assert done.returncode == 1
    assert "3 of" in (source / "told").read_text()
    steps = record_of(source / "out").steps
    for name in ("dying", "forking"):
        assert (steps[f"train/{name}-seed0"].error or "").startswith("Its process ended with signal 9 before it was done.")
    assert steps["train/failing-seed0"].error == "ZeroDivisionError: the loss is not a number"
    states = {step["step"]: step["state"] for step in json.loads((source / "said.json").read_text())["steps"]}
    assert {states[f"train/{name}"] for name in ("lingering-seed0", "lingering-seed1", "head-prior-seed0")} == {"done"}
    assert {states[f"train/{name}-seed0"] for name in ("forking", "dying", "failing")} == {"to do"}
    assert "what a stranger's code prints" in (source / "out" / "logs" / "train" / "lingering-seed0.log").read_text()


def test_no_process_outlives_the_benchmark(source: Path, installed: dict[str, str]) -> None:
    config = write_config(source, methods=[{"name": "waiting", "seeds": [0, 1]}])
    words, site = command(config, source / "out", "--stop-after", "train"), source / "site"
    process = subprocess.Popen(words, env=installed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    told = [site / "pid-0", site / "pid-1"]
    try:
        await_that(lambda: all(path.exists() and path.read_text() for path in told), "both trainings are at work")
    finally:
        process.send_signal(signal.SIGKILL)  # it alone, not its group
        process.wait()
    pids = [int(path.read_text()) for path in told]
    await_that(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "both trainings are gone")
    (site / "go").write_text("")
    last = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False, env=installed)
    assert last.returncode == 0, last.stderr
    assert {step["state"] for step in json.loads(last.stdout)["steps"]} == {"done"}


def await_that(true: Any, what: str) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
