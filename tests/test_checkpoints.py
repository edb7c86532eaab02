"""Checkpoints: a training that was stopped ends with the bits of one that was not; what is damaged or foreign is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from toys import Toy, ToyBatches, course, state_of, toy, toy_settings, toy_val

from baselines.training import checkpoints
from baselines.training.checkpoints import checkpoints_in, discard_checkpoints, read_checkpoint, read_model, write_model
from baselines.training.logs import LOG_FILE, read_log
from baselines.training.tensors import DIGEST, digest_tensors, put_weights, read_tensors, weights_of, write_tensors
from baselines.training.trainer import fit
from srgaze360.errors import EnvironmentProblem, InputError

REPOSITORY = Path(__file__).resolve().parent.parent
TRAIN = {"steps": 24, "validations": 4}


def trained(folder: Path, after_step: Any = None, seed: int = 0) -> tuple[dict[str, Tensor], Any]:
    network = toy()
    done = fit(network, ToyBatches(), toy_val, course(folder, toy_settings(**TRAIN), seed=seed, after_step=after_step))
    return state_of(network), done


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor], Any]:
    """A training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *trained(folder)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped at step 14, two steps after a checkpoint."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        trained(folder, after_step=stop_at(14))
    return folder


def stop_at(step: int) -> Callable[[nn.Module, torch.optim.Optimizer, int], None]:
    def hook(_: nn.Module, __: torch.optim.Optimizer, done: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return hook


def same_log(mine: Path, theirs: Path) -> bool:
    """Whether two logs say the same of everything but time."""
    timed = ("people_per_s", "waiting")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in read_log(path / LOG_FILE)] for path in (mine, theirs)]
    return rows[0] == rows[1]


def assert_same_end(folder: Path, whole: tuple[Path, dict[str, Tensor], Any]) -> None:
    state, done = trained(folder)
    for name, tensor in whole[1].items():
        assert torch.equal(state[name], tensor), name
    assert done.history == whole[2].history
    assert done.people == whole[2].people
    assert same_log(folder, whole[0])
    mine, theirs = (checkpoints_in(path)[-1] for path in (folder, whole[0]))
    for group in ("weights", "average", "moments", "best"):
        files = [safetensors.torch.load_file(path / f"{group}.safetensors") for path in (mine, theirs)]
        assert digest_tensors(files[0]) == digest_tensors(files[1]), group


# --- going on -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3, 13])
def test_a_stopped_training_ends_with_the_same_bits(tmp_path: Path, whole: Any, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, after_step=stop_at(step))
    assert len(checkpoints_in(tmp_path)) == (step > 6)
    assert_same_end(tmp_path, whole)


def test_going_on_does_no_step_twice(tmp_path: Path, stopped: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    steps: list[int] = []
    trained(tmp_path / "run", after_step=lambda _, __, step: steps.append(step))
    assert steps == list(range(13, 25))
    trained(tmp_path / "run", after_step=lambda _, __, step: steps.append(step))
    assert len(steps) == 12  # finished: nothing is left to do


KILLED = """
import os, signal, sys
from pathlib import Path
from baselines.training import checkpoints
from test_checkpoints import trained

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def run(when, folder):
    if when == "step":
        trained(folder, after_step=lambda _, __, step: step == 15 and die())
    elif when == "writing":  # the second checkpoint is half there
        write, seen = checkpoints.write_tensors, []
        def half(path, tensors, about):
            seen.append(path)
            if len(seen) == 7:
                path.write_bytes(b"half")
                die()
            write(path, tensors, about)
        checkpoints.write_tensors = half
    else:  # the second checkpoint is there, the first is half gone
        def half(path, **_):
            if path.name.startswith("step-"):
                (path / "state.json").unlink()
                die()
        checkpoints.shutil.rmtree = half
    trained(folder)

for when in sys.argv[2:]:
    child = os.fork()  # spares importing torch again
    if not child:
        run(when, Path(sys.argv[1]) / when)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"{when}: {status}")
"""
LEFT = {"step": "step-00000012", "writing": "step-00000006", "removing": "step-00000012"}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of trainings that were killed, named after when."""
    folder = tmp_path_factory.mktemp("killed")
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), *LEFT],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("when", LEFT)
def test_a_killed_training_ends_with_the_same_bits(killed: Path, whole: Any, when: str) -> None:
    assert checkpoints_in(killed / when)[-1].name == LEFT[when]
    assert_same_end(killed / when, whole)
    assert [path.name for path in (killed / when / checkpoints.FOLDER).iterdir()] == ["step-00000024"]


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if ".step-00000012" in str(path) and "moments" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(EnvironmentProblem, match="moments.safetensors, but the system refused: No space left on device"):
            trained(tmp_path)
    assert [path.name for path in (tmp_path / checkpoints.FOLDER).iterdir()] == ["step-00000006"]
    assert_same_end(tmp_path, whole)


def test_finished_runs_can_drop_their_checkpoints(tmp_path: Path, stopped: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    discard_checkpoints(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOG_FILE]
    assert read_checkpoint(tmp_path / "run", "toy", toy_settings(**TRAIN), 0) is None
    discard_checkpoints(tmp_path / "run")


# --- what is refused ----------------------------------------------------------------------------------------------------


class Opened(RuntimeError):
    """Raised if anything ever unpickles the file."""


class Bomb:
    def __reduce__(self) -> Any:
        return Opened, ("unpickled",)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (
        lambda p: os.truncate(p / "weights.safetensors", 500),
        "weights of a checkpoint as safetensors at .*truncated",
    ),
    "empty": (lambda p: os.truncate(p / "best.safetensors", 0), "best of a checkpoint as safetensors .* cannot be read"),
    "flipped": (lambda p: flip(p / "moments.safetensors"), "moments of a checkpoint at .* changed after it was written"),
    "pickled": (
        lambda p: (p / "average.safetensors").write_bytes(pickle.dumps(Bomb())),
        "average of a checkpoint .* pickled file, which could run any program",
    ),
    "zipped pickle": (
        lambda p: (p / "average.safetensors").write_bytes(b"PK\x03\x04archive/data.pkl"),
        "average of a checkpoint .* pickled file, which could run any program",
    ),
    "missing": (lambda p: (p / "average.safetensors").unlink(), "average of a checkpoint at .*no such file"),
    "swapped": (
        lambda p: shutil.copy(p / "average.safetensors", p / "best.safetensors"),
        "best of a checkpoint at .* with holds 'best', found 'average'",
    ),
    "no state": (lambda p: (p / "state.json").unlink(), "state of a checkpoint at .*no such file"),
    "half a state": (lambda p: os.truncate(p / "state.json", 60), "state of a checkpoint in JSON at .*cannot be read"),
    "strange state": (lambda p: edit(p / "state.json", more=1), "state of a checkpoint in .*found: .*more"),
    "other step": (lambda p: edit(p / "state.json", step=99), "checkpoint with step 12, found 99"),
    "other log": (lambda p: (p / LOG_FILE).write_text("step\n"), "log that the checkpoint was written with, found another"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_checkpoints_are_refused(tmp_path: Path, stopped: Path, fault: str) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    damage, message = FAULTS[fault]
    damage(checkpoints_in(tmp_path / "run")[-1])
    with pytest.raises(InputError, match=message):
        trained(tmp_path / "run")


def test_foreign_checkpoints_are_refused(stopped: Path) -> None:
    settings = toy_settings(**TRAIN)
    assert read_checkpoint(stopped, "toy", settings, 0) is not None
    with pytest.raises(InputError, match="checkpoint with method 'chong2020', found 'toy'.*another training"):
        read_checkpoint(stopped, "chong2020", settings, 0)
    with pytest.raises(InputError, match="checkpoint with settings '[0-9a-f]{64}', found '[0-9a-f]{64}'"):
        read_checkpoint(stopped, "toy", toy_settings(**TRAIN, clip=2.0), 0)
    with pytest.raises(InputError, match="checkpoint with seed 1, found 0"):
        read_checkpoint(stopped, "toy", settings, 1)
    wider = toy(width=8)
    with pytest.raises(
        InputError, match=r"weights in .*step-00000012 with the .* features.0.weight has \(4, 3, 3, 3, 'float32'\)"
    ):
        fit(wider, ToyBatches(), toy_val, course(stopped, settings))


def test_moments_of_other_weights_are_refused(tmp_path: Path, stopped: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    found = read_checkpoint(tmp_path / "run", "toy", toy_settings(**TRAIN), 0)
    assert found is not None
    path, about = found.path / "moments.safetensors", {**found.state.about(), "holds": "moments"}
    moments = dict(found.moments)
    assert not [name for name in moments if name.startswith(("unused", "frozen"))]
    write_tensors(path, {**moments, "gone.exp_avg": torch.zeros(2)}, about)
    with pytest.raises(InputError, match="moments of this network's weights, found .* differ: gone"):
        trained(tmp_path / "run")
    write_tensors(path, {**moments, "heatmap.weight.exp_avg": torch.zeros(2)}, about)
    with pytest.raises(InputError, match=r"differ: heatmap.weight.exp_avg of shape \(2,\)"):
        trained(tmp_path / "run")


# --- the weights that a run keeps -----------------------------------------------------------------------------------------


class Tied(nn.Module):
    """Two layers that share their weights, numbers of several kinds, and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.coarse = nn.Parameter(torch.randn(2).bfloat16())
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("nothing", torch.zeros(0, 3))


def test_models_come_back_bit_for_bit(tmp_path: Path) -> None:
    settings = toy_settings()
    for make in (lambda: toy(1), Tied):
        network, other = make(), make()
        with torch.no_grad():
            for weight in other.parameters():
                weight.zero_()
        write_model(tmp_path, network, "toy", settings)
        read_model(tmp_path, other, "toy", settings)
        assert all(
            torch.equal(mine, theirs)
            for mine, theirs in zip(other.state_dict().values(), network.state_dict().values(), strict=True)
        )
    assert other.second.weight is other.first.weight
    assert "second.weight" not in weights_of(Tied())


def test_foreign_or_damaged_models_are_refused(tmp_path: Path) -> None:
    settings, path = toy_settings(), tmp_path / checkpoints.MODEL_FILE
    with pytest.raises(InputError, match="weights of a model at .*no such file"):
        read_model(tmp_path, toy(), "toy", settings)
    write_model(tmp_path, toy(), "toy", settings)
    good = path.read_bytes()
    with pytest.raises(InputError, match="weights of a model at .* with method 'other', found 'toy'"):
        read_model(tmp_path, toy(), "other", settings)
    with pytest.raises(InputError, match="weights of a model at .* with settings"):
        read_model(tmp_path, toy(), "toy", toy_settings(lr=0.5))
    with pytest.raises(
        InputError, match=r"features.0.weight has \(4, 3, 3, 3, 'float32'\) instead of \(8, 3, 3, 3, 'float32'\)"
    ):
        read_model(tmp_path, toy(width=8), "toy", settings)
    for content in (good[:-1], good[:100], b"", good[:-1] + bytes([good[-1] ^ 1]), pickle.dumps({"a": np.zeros(3)})):
        path.write_bytes(content)
        with pytest.raises(InputError, match="weights of a model"):
            read_model(tmp_path, toy(), "toy", settings)
    # a file from elsewhere says nothing of itself
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="with method 'toy', found None"):
        read_model(tmp_path, toy(), "toy", settings)
    network: Toy = toy()
    tensors = weights_of(network)
    with pytest.raises(InputError, match="2 that differ: heatmap.weight is missing, new is unknown"):
        put_weights(network, {**{k: v for k, v in tensors.items() if k != "heatmap.weight"}, "new": torch.zeros(1)}, "weights")


def test_headers_that_look_like_a_pickle_are_read(tmp_path: Path) -> None:
    """The first bytes of a safetensors file are the length of its header, which may be anything."""

    def start(length: int) -> bytes:
        return safetensors.torch.save({"a" * length: torch.ones(1)}, {DIGEST: "0" * 64})[:2]

    name = "a" * next(length for length in range(400, 640) if start(length) == b"\x80\x02")
    path = tmp_path / "a.safetensors"
    write_tensors(path, {name: torch.ones(1)}, {})
    assert path.read_bytes()[:2] == pickle.dumps(None, protocol=2)[:2]
    assert read_tensors(path, {}, "weights")[name] == 1.0
