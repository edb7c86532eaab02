"""Training a registered predictor: from a split of a dataset to a run, a folder that `predict` takes instead of a name.

Conventions
-----------
Nothing is ever fitted on test. A predictor is given all rows of one split, every suite that has any, and no others. A run
holds what the predictor saved and, written last, ``run.json``, which says what it was trained on: a folder without it is no
run.
"""

from __future__ import annotations

from pathlib import Path

from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.predictors import PREDICTORS, RUN_FILE, RunRecord, dataset_key, write_run
from srgaze360.versions import environment

NEVER_TRAINED_ON = "test"


def train_predictor(
    model: str, data: Dataset, out: Path, seed: int = 0, split: str = "train", *, overwrite: bool = False
) -> RunRecord:
    """Train the predictor registered as ``model`` on all rows of a split and write the run.

    Parameters
    ----------
    model
        Registered name.
    data
        The dataset; only its rows of ``split`` are handed to the predictor.
    out
        Folder of the run, new or empty.
    seed
        Seed of whatever is random in training.
    split
        The split to train on; never ``"test"``.
    overwrite
        Write into a folder that is not empty; a run in it is replaced.

    Returns
    -------
    RunRecord
        The record as written to ``out``.

    Raises
    ------
    InputError
        Unknown predictor, or one that has nothing to train; the split is ``test``, or the dataset lacks it; ``out`` is not
        empty.
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
    present = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if present and not overwrite:
        raise InputError(
            f"Expected a new or empty folder to write the run to, found {first_ids(present)} in {out}. Give another folder, or "
            "--overwrite to replace what is there."
        )
    rows = data.select(split=split)
    predictor = kind.train(rows, seed)
    record = RunRecord(
        predictor=model, seed=seed, dataset=dataset_key(data), split=split, people=len(rows), versions=environment()
    )
    # an old record must not vouch for a new state if we are stopped in between
    (out / RUN_FILE).unlink(missing_ok=True)
    write_run(out, record, predictor)
    return record
