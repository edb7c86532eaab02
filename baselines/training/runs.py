"""Training a registered predictor: from a split of a dataset to a run, a folder that `predict` takes instead of a name.

Conventions
-----------
Nothing is ever fitted on test. A predictor is given all rows of one split, every suite that has any, and the rows of val to
choose by, and no others. A training may be restricted to some of the people (:mod:`srgaze360.groups`): then val is restricted
alike, so that nothing is chosen by the others. A run holds what the predictor saved and, written last, ``run.json``, which says
what it was trained on: a folder without it is no run. Until then ``started.json`` says what is being trained there: the same
command goes on where it was stopped, another one is refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from srgaze360.console import say
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.files import TEMPORARY_PATTERN, write_text
from srgaze360.groups import Where, checked_where, describe, restricted
from srgaze360.predictors import PREDICTORS, RUN_FILE, RunRecord, TrainingJob, dataset_key, read_run, write_run
from srgaze360.versions import LEARNING, environment

NEVER_TRAINED_ON = "test"
CHOSEN_ON = "val"
STARTED_FILE = "started.json"


def train_predictor(
    model: str,
    data: Dataset,
    out: Path,
    seed: int = 0,
    split: str = "train",
    *,
    where: Where | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    cache: Path | None = None,
    overwrite: bool = False,
) -> RunRecord:
    """Train the predictor registered as ``model`` on the rows of a split and write the run.

    Parameters
    ----------
    model
        Registered name.
    data
        The dataset; only its rows of ``split``, and those of val to choose by, are handed to the predictor.
    out
        Folder of the run: new, empty, or that of the same training, stopped, which then goes on.
    seed
        Seed of whatever is random in training.
    split
        The split to train on; never ``"test"``.
    where
        Restriction of the people trained on; everybody by default.
    settings
        Settings of the user that depart from the method's defaults, nested.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, for methods that compute on a device.
    cache
        Folder for what several runs on the same dataset can share; by default one in ``out``.
    overwrite
        Write into a folder that is not empty; a run in it is replaced.

    Returns
    -------
    RunRecord
        The record as written to ``out``.

    Raises
    ------
    InputError
        Unknown predictor, or one that has nothing to train; the split is ``test``, or the dataset lacks it; the restriction
        names what there is not, or leaves nobody; ``out`` is not empty.
    """
    if split == NEVER_TRAINED_ON:
        raise InputError(
            f"Expected a split to train {model!r} on, found {split!r}: nothing is ever fitted on test, or its scores would "
            "mean nothing. Train on the train split of this dataset or of another."
        )
    kind = PREDICTORS.get(model)
    if split not in data.splits:
        raise InputError(
            f"Expected dataset {data.root} to have a split {split!r} to train {model!r} on, found "
            f"{', '.join(data.splits) or 'no rows'}. Train on a dataset that has one, then give that run to "
            "`srgaze360 predict`."
        )
    if out.is_file():
        raise InputError(f"Expected a folder to write the run to, found a file at {out}. Give another one.")
    if not kind.trained:
        kind.train(TrainingJob(data, out))  # says that there is nothing to train
    rows = data.select(split=split)
    where = checked_where(rows, where or {})
    rows = restricted(rows, where)
    record = RunRecord(
        predictor=model,
        seed=seed,
        dataset=dataset_key(data),
        split=split,
        where=where,
        people=len(rows),
        settings=dict(settings or {}),
        versions=environment(*LEARNING),
    )
    # of several processes (torchrun) the first one writes; the others wait for it where they join
    leads = os.environ.get("RANK", "0") == "0"
    kind.check(settings or {}, device)  # before anything is replaced
    if leads:
        _make_ready(out, record, overwrite=overwrite)
    job = TrainingJob(rows, out, seed, _val(data, split, where), settings or {}, device, cache)
    predictor = kind.train(job)
    record = record.model_copy(update={"facts": predictor.facts()})
    if leads:
        write_run(out, record, predictor)
        (out / STARTED_FILE).unlink()
        predictor.finish(out)
    return record


def _val(data: Dataset, split: str, where: Where) -> Dataset | None:
    """The rows to choose by: those of val that the restriction keeps, None where there are none."""
    if CHOSEN_ON not in data.splits or split == CHOSEN_ON:
        return None
    rows = restricted(data.select(split=CHOSEN_ON), where)
    if not len(rows):
        say(escape(f"Nobody of {CHOSEN_ON} is left where {describe(where)}: nothing is chosen by it."))
        return None
    return rows


def _make_ready(out: Path, record: RunRecord, *, overwrite: bool) -> None:
    """Make ``out`` the folder of a training that begins, or goes on if the same one was stopped there."""
    started = out / STARTED_FILE
    if started.is_file() and read_run(out, STARTED_FILE) == record:
        return
    leftovers = set(out.glob(TEMPORARY_PATTERN)) if out.is_dir() else set()  # of a kill while a file was written
    present = sorted(path.name for path in out.iterdir() if path not in leftovers) if out.is_dir() else []
    if present and not overwrite:
        stopped = " (a training that was stopped, with other settings, data or versions)" if started.is_file() else ""
        raise InputError(
            f"Expected a new or empty folder to write the run to, found {first_ids(present)} in {out}{stopped}. Give another "
            "folder, or --overwrite to replace what is there."
        )
    if present:
        if not {RUN_FILE, STARTED_FILE} & set(present):
            raise InputError(
                f"Expected in {out} a run to replace, found {first_ids(present)} and no {RUN_FILE}. Give another folder; "
                "--overwrite replaces runs and nothing else."
            )
        shutil.rmtree(out)
    write_text(started, record.model_dump_json(indent=2) + "\n")
