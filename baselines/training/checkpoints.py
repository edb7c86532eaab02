"""Checkpoints, from which a stopped training goes on, and the weights that a run keeps.

Conventions
-----------
``checkpoints/step-00000200/`` in the run's folder holds ``weights``, ``average``, ``moments`` and, where there is a val split,
``best`` (all ``.safetensors``), the log so far, and ``state.json``. Such a folder is filled beside its place and renamed, and
the one before it is removed afterwards: at any moment of a kill the last whole one is there. Everything in it says of which
method, settings, seed and step it is. Random numbers are functions of (seed, step), so there is no state of generators to
keep. The run's own weights are ``model.safetensors``. Weights that are not trained are in ``weights`` and in
``model.safetensors`` only.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from baselines.training.logs import LOG_FILE
from baselines.training.settings import Settings
from baselines.training.tensors import put_weights, read_tensors, weights_of, write_tensors
from srgaze360.dataset import explain
from srgaze360.errors import InputError
from srgaze360.files import atomic_folder, digest, read_json, write_text

FOLDER = "checkpoints"
STATE_FILE = "state.json"
MODEL_FILE = "model.safetensors"


class State(BaseModel):
    """``state.json`` of a checkpoint: what a training knows besides tensors.

    ``settings`` is a digest; ``step`` counts the steps done; ``history`` has (step, mean angular distance on val in degrees) of
    every look at the val split; ``seconds`` were spent training, ``waited`` of them waiting for data, ``looking`` on val.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    method: str
    settings: str
    seed: int
    step: int
    history: list[tuple[int, float]]
    seconds: float
    waited: float
    looking: float
    people: int
    log: str

    def about(self) -> dict[str, str]:
        """What every file of the checkpoint says of itself."""
        return {"method": self.method, "settings": self.settings, "seed": str(self.seed), "step": str(self.step)}


class Checkpoint(NamedTuple):
    """A checkpoint as read. ``best`` is empty without a val split; ``log`` is the text of the log so far."""

    path: Path
    state: State
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]
    best: dict[str, Tensor]
    log: str


def settings_digest(settings: Settings) -> str:
    """Digest of all settings of a run."""
    return digest(settings.model_dump(mode="json"))


def moving(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a network's tensors that training changes: all but frozen weights."""
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    return {name: tensor for name, tensor in tensors.items() if name not in frozen}


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints of a run's folder that are whole, from the first to the last."""
    found = (folder / FOLDER).glob("step-*") if (folder / FOLDER).is_dir() else iter(())
    return sorted(path for path in found if re.fullmatch(r"step-\d{8}", path.name))


def write_checkpoint(folder: Path, state: State, tensors: Mapping[str, Mapping[str, Tensor]], log: str) -> Path:
    """Write a checkpoint and remove the one before it.

    Parameters
    ----------
    folder
        The run's folder.
    state
        What the training knows; ``state.log`` must be the digest of ``log``.
    tensors
        Groups of named tensors: ``weights``, ``average``, ``moments``, ``best``.
    log
        Text of the log so far.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written to; the checkpoint before is still there.
    """
    before = checkpoints_in(folder)
    path = folder / FOLDER / f"step-{state.step:08d}"
    with atomic_folder(path) as partial:
        for group, content in tensors.items():
            write_tensors(partial / f"{group}.safetensors", content, {**state.about(), "holds": group})
        write_text(partial / LOG_FILE, log)
        write_text(partial / STATE_FILE, state.model_dump_json(indent=2) + "\n")
    for old in before:
        shutil.rmtree(old, ignore_errors=True)
    return path


def read_checkpoint(folder: Path, method: str, settings: Settings, seed: int) -> Checkpoint | None:
    """The last checkpoint in a run's folder; None where there is none.

    Raises
    ------
    InputError
        It is damaged, truncated or pickled, or it is of another method, other settings or another seed.
    """
    found = checkpoints_in(folder)
    if not found:
        return None
    path = found[-1]
    try:
        state = State.model_validate(read_json(path / STATE_FILE, "state of a checkpoint"))
    except ValidationError as error:
        raise InputError(
            f"Expected the state of a checkpoint in {path / STATE_FILE}, found: {explain(error)}. Remove {folder / FOLDER} to "
            "train from the start."
        ) from None
    mine = {"method": method, "settings": settings_digest(settings), "seed": seed, "step": int(path.name.removeprefix("step-"))}
    wrong = [
        f"{name} {value!r}, found {getattr(state, name)!r}" for name, value in mine.items() if getattr(state, name) != value
    ]
    if wrong:
        raise InputError(
            f"Expected in {path} a checkpoint with {'; '.join(wrong)}. It belongs to another training: train into another "
            f"folder, or remove {folder / FOLDER} to train from the start."
        )
    groups = ["weights", "average", "moments", *(["best"] if state.history else [])]
    tensors = {
        group: read_tensors(path / f"{group}.safetensors", {**state.about(), "holds": group}, f"{group} of a checkpoint")
        for group in groups
    }
    log = (path / LOG_FILE).read_text(encoding="utf-8", errors="replace") if (path / LOG_FILE).is_file() else ""
    if digest(log) != state.log:
        raise InputError(
            f"Expected in {path / LOG_FILE} the log that the checkpoint was written with, found another or none. Copy the "
            f"checkpoint anew, or remove {folder / FOLDER} to train from the start."
        )
    return Checkpoint(path, state, tensors["weights"], tensors["average"], tensors["moments"], tensors.get("best", {}), log)


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run that is finished and written."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def write_model(run: Path, network: nn.Module, method: str, settings: Settings) -> None:
    """Write the weights of a trained network to ``model.safetensors``.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written to.
    """
    write_tensors(run / MODEL_FILE, weights_of(network), {"method": method, "settings": settings_digest(settings)})


def read_model(run: Path, network: nn.Module, method: str, settings: Settings) -> None:
    """Put the weights that :func:`write_model` wrote into a network made under the same settings.

    Raises
    ------
    InputError
        There are none; they are damaged, truncated or pickled, of another method, of other settings or of other shapes.
    """
    path = run / MODEL_FILE
    tensors = read_tensors(path, {"method": method, "settings": settings_digest(settings)}, "weights of a model")
    put_weights(network, tensors, f"weights at {path}")
