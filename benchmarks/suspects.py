"""How many planted label errors `annotate suspects` finds: with predictors that know the truth but for noise, and real ones.

Errors of four kinds are planted in 5 % of the labels of a built dataset, in memory, five times over; see
`annotation/suspects/trial.py`. Printed are means over the five, and how many errors of each kind are among the k worst labels.

    python benchmarks/suspects.py --data DIR [--split test] [PREDICTIONS ...]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from annotation.suspects.run import find_suspects, try_out
from annotation.suspects.trial import KINDS
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.files import generator
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, write_predictions
from srgaze360.predictors import dataset_key

NOISE_DEG, SHARE, SEEDS = 5.0, 0.05, 5


def write_oracle(path: Path, data: Dataset, split: str) -> Path:
    """Predictions that miss the truth by normal noise of NOISE_DEG along each axis."""
    rows = data.select(split=split)
    truth = np.where(np.isnan(rows.gazes), [0.0, 0.0, 1.0], rows.gazes)
    noise = generator(0, path.stem).normal(size=(len(rows), 2)) * np.radians(NOISE_DEG)
    lon, lat = np.degrees(sphere.lonlat_from_direction(sphere.exp_map(truth, noise)))
    table = pd.DataFrame({"sample_id": rows.annotations["sample_id"], "gaze_lon_deg": lon, "gaze_lat_deg": lat})
    header = PredictionHeader(dataset=dataset_key(data), split=split, predictor=PredictorCard(name=path.stem))
    write_predictions(path, Predictions(header, table))
    return path


def main() -> None:
    """Print a line for every set of models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    wanted = parser.parse_args()
    data = Dataset.open(wanted.data)
    with tempfile.TemporaryDirectory() as folder:
        oracles = [write_oracle(Path(folder) / f"oracle-{name}.parquet", data, wanted.split) for name in "ab"]
        sets = [oracles[:1], oracles, *([one] for one in wanted.predictions)]
        sets += [wanted.predictions] if len(wanted.predictions) > 1 else []
        for files in sets:
            found = find_suspects(data, files, split=wanted.split)
            tries = [try_out(found, SHARE, seed) for seed in range(SEEDS)]
            at_k = [one.precision_at_k for one in tries]
            print(f"{' + '.join(file.stem for file in files)}: {tries[0].planted} of {tries[0].labels} labels, {SEEDS} times")
            print(f"  precision = recall at k {np.mean(at_k):.3f} ({min(at_k):.3f} to {max(at_k):.3f})")
            means = {
                name: np.mean([getattr(one, name) for one in tries]) for name in ("precision", "recall", "average_precision")
            }
            print("  below the limit: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))
            for kind in KINDS:
                hits, of = (sum(one.by_kind[kind][place] for one in tries) for place in (0, 1))
                print(f"    {kind:<32}{hits / of:.2f}")


if __name__ == "__main__":
    main()
