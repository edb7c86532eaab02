"""Several processes: torchrun's variables, and that two processes train as one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from toys import ToyBatches, course, toy, toy_settings, toy_val

from baselines.training.checkpoints import checkpoints_in
from baselines.training.logs import LOG_FILE, read_log
from baselines.training.parallel import ALONE, Team, team_of, teamwork
from baselines.training.trainer import fit
from srgaze360.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = {"steps": 12, "validations": 4, "panoramas": 5, "accumulate": 2, "patience": 2}
PAIR = f"""
import os, sys
from pathlib import Path
from baselines.training.parallel import teamwork
from baselines.training.trainer import fit
from toys import ToyBatches, course, toy, toy_settings, toy_val
folder, port = Path(sys.argv[1]), sys.argv[2]
other = os.fork()  # spares importing torch again
rank = "0" if other else "1"
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
if not other:
    os.dup2(os.open(folder / "said", os.O_CREAT | os.O_WRONLY), 2)
with teamwork("cpu") as (team, device):
    network = toy(seed=team.rank, dropout=0.0)  # rank 0's weights count
    done = fit(network, ToyBatches(team, panoramas=5), toy_val, course(folder, toy_settings(**{SETTINGS!r}), team=team))
    total = sum(float(p.detach().double().abs().sum()) for p in network.parameters())
    alike = len(set(team.gathered((total, done.steps, done.chosen_step)))) == 1
if other:
    alike = alike and os.waitpid(other, 0)[1] == 0
sys.exit(0 if alike else "processes differ")
"""


def test_torchrun_variables_make_a_team() -> None:
    assert team_of({}) == ALONE
    assert team_of({"LOCAL_RANK": "0"}) == ALONE
    team = team_of({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert team == Team(5, 8, 1)
    assert not team.leads
    for broken in ({"RANK": "0"}, {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, {"RANK": "a", "WORLD_SIZE": "2"}):
        with pytest.raises(InputError, match="RANK, WORLD_SIZE, LOCAL_RANK as torchrun sets them"):
            team_of(broken)


def test_one_process_needs_no_group() -> None:
    with teamwork("cpu") as (team, device):
        assert (team, device) == (ALONE, torch.device("cpu"))
    assert not torch.distributed.is_initialized()
    value = torch.ones(2)
    assert ALONE.added(value) is value
    assert ALONE.gathered("x") == ["x"]
    assert ALONE.told("x") == "x"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Five panoramas of one to three people go two to one process and three to the other, each in two parts."""
    folder = tmp_path / "two"
    folder.mkdir()
    pair = subprocess.Popen(
        [sys.executable, "-c", PAIR, str(folder), str(free_port())],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    settings = toy_settings(**{**SETTINGS, "accumulate": 1})
    done = fit(toy(dropout=0.0), ToyBatches(panoramas=5), toy_val, course(tmp_path / "one", settings))
    out, said = pair.communicate(timeout=120)
    assert pair.returncode == 0, said
    assert (out, (folder / "said").read_text()) == ("", "")  # rank 0 alone reports
    assert said.count("on val (best") == len(done.history)
    assert "Warning" not in said
    one, two = (read_log(tmp_path / name / LOG_FILE) for name in ("one", "two"))
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for mine, theirs in zip(one, two, strict=True):
        for name in ("epoch", "lr", "loss", "heatmap", "direction", "in_frame", "grad_norm"):
            assert theirs[name] == pytest.approx(mine[name], rel=2e-3), (name, mine["step"])
        assert (mine["val_deg"] is None) == (theirs["val_deg"] is None) == (mine["step"] == 10)
        if mine["val_deg"] is not None and theirs["val_deg"] is not None:
            # Adam turns the rounding of the smallest gradients into steps, and decoding is the most sensitive to it
            assert theirs["val_loss"] == pytest.approx(mine["val_loss"], rel=2e-3), mine["step"]
            assert theirs["val_deg"] == pytest.approx(mine["val_deg"], rel=0.02), mine["step"]
    files = [checkpoints_in(tmp_path / name)[-1] / "average.safetensors" for name in ("one", "two")]
    mine, theirs = (safetensors.torch.load_file(path) for path in files)
    for name in set(mine) - {"seen"}:
        assert torch.allclose(theirs[name], mine[name], atol=5e-3), name
