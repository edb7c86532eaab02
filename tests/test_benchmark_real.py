"""The shipped benchmarks for real data, run to their end on the real samples with the limits those allow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from building import run_command


def halved(source: Path, folder: Path) -> None:
    """The GazeFollow sample has test photos alone: half of them become training photos, in the format of train."""
    shutil.copytree(source / "test2", folder / "test2")
    lines = (source / "test_annotations_release.txt").read_text("utf-8-sig").splitlines()
    photos = sorted({line.split(",")[0] for line in lines})
    train = [line for line in lines if line.split(",")[0] in photos[::2]]
    for line in train:
        place = folder / line.split(",")[0].replace("test2", "train")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / line.split(",")[0], place)
    first = list({line.split(",")[0]: line for line in train}.values())  # one annotation a person, as in train
    rows = [",".join([*line.replace("test2", "train").split(",")[:-2], "1", *line.split(",")[-2:]]) for line in first]
    (folder / "train_annotations_release.txt").write_text("\ufeff" + "\n".join(rows) + "\n", "utf-8")
    kept = [line for line in lines if line.split(",")[0] in photos[1::2]]
    (folder / "test_annotations_release.txt").write_text("\ufeff" + "\n".join(kept) + "\n", "utf-8")


SMALL = (
    "size=tiny",
    "budget.steps=2",
    "budget.panoramas=2",
    "resamples=100",
    "dataset.limit=8",
    "dataset.set=[output.width=256]",
    "methods=[random, head-prior, direction, dualpath2021, gazelle, gazelle-tangent, mmrgaze360]",
)
SMOKE = [word for setting in SMALL for word in ("--set", setting)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["srgaze360-1.0", "gazefollow360"])
def test_shipped_benchmarks_run_on_real_samples(
    name: str, real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = {"srgaze360-1.0": "gazefollow", "gazefollow360": "gazefollow360"}[name]
    source = real / kind
    if kind == "gazefollow":
        halved(real / kind, source := tmp_path / "gazefollow")
    words = (
        "benchmark",
        name,
        "--source",
        f"{kind}={source}",
        *SMOKE,
        "--set",
        "dataset.limit=8",
        "--out",
        str(tmp_path / "out"),
    )
    ran = run_command(capsys, *words, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert not report["failures"]
    assert {"gazelle", "gazelle-tangent"} <= set(report["without_number"])
    assert all(Path(page).stat().st_size > 1000 for page in report["boards"].values())
    assert {item["learnt"] for item in report["comparison"]} >= {"mmrgaze360", "direction", "dualpath2021"}
    if name == "gazefollow360":
        assert set(report["boards"]) == {"spherical", "gazefollow360"}
