"""Private splits: nothing of a label is left in the public dataset, and scores against sealed labels tell aggregates alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from boards import predictions
from building import run_build, run_command
from fakes import fake_dataset

from builders.building.verify import verify
from leaderboard.scoring import score_file
from leaderboard.sealing import HIDDEN, LEAST_PEOPLE, RENAMED, is_sealed, open_sealed, score_sealed, seal
from srgaze360.dataset import COLUMNS, MANIFEST_FILE, Dataset, ManifestEntry, panorama_label_digest
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import canonical_json, digest, digest_file
from srgaze360.predictions import PredictorCard


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("sealing") / "data"
    data = fake_dataset(root, people=80, images=True)
    rows = pq.read_table(root / "annotations.parquet").to_pylist()
    lines = []
    for name in dict.fromkeys(row["panorama_id"] for row in rows):
        own = [row for row in rows if row["panorama_id"] == name]
        path = own[0]["image_path"]
        entry = ManifestEntry(
            path=path, bytes=(root / path).stat().st_size, sha256=digest_file(root / path), panorama_id=name,
            label_digest=panorama_label_digest(own), pixel_digest="b" * 64,
        )  # fmt: skip
        lines.append(canonical_json(entry.model_dump()))
    (root / MANIFEST_FILE).write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture(scope="module")
def sealed(original: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("sealed")
    seal(original, "test", folder / "public", folder / "labels.parquet")
    return Dataset.open(folder / "public"), folder / "labels.parquet"


def submission(path: Path, public: Dataset, original: Dataset, name: str = "mine") -> Path:
    """Predictions that are made for the public dataset by somebody who knows the truth and scatters around it."""
    known = original.annotations.copy()
    for column in RENAMED:
        known[column] = public.annotations[column].to_numpy()
    return predictions(path, Dataset(public.root, public.info, known), 0.3, PredictorCard(name=name))


def test_nothing_of_a_label_is_left(original: Dataset, sealed: tuple[Dataset, Path]) -> None:
    public, _ = sealed
    table = pq.read_table(public.root / "annotations.parquet").to_pandas()
    own, other = (table[(table["split"] == "test") == test] for test in (True, False))
    for name, blank in HIDDEN.items():
        for value in own[name]:
            assert list(value) == [] if blank == [] else pd.isna(value) if blank is None else value == blank
    extras = [name for name in table if name not in COLUMNS]
    assert extras == ["face"]
    assert own[extras].isna().all().all()
    before = original.annotations[original.annotations["split"] != "test"]
    pd.testing.assert_frame_equal(other.reset_index(drop=True)[list(before)], before.reset_index(drop=True))
    # what a predictor sees is the same, under other names
    kept = [name for name in COLUMNS if name not in (*HIDDEN, *RENAMED, "image_path")]
    true = original.select(split="test").annotations
    pd.testing.assert_frame_equal(own[kept].reset_index(drop=True), true[kept].reset_index(drop=True))
    for name in RENAMED:  # people of a photo stay together, and nobody is called as before
        old, new = true[name].to_numpy(), own[name].to_numpy()
        assert not set(old) & set(new)
        assert len(set(zip(old, new, strict=True))) == len(set(old)) == len(set(new))
    for sample in public.select(split="test").samples():
        assert sample.gaze is None
        assert sample.panorama().shape == (64, 128, 3)
        break
    # nor in any file: no digest of the true labels, which a guess could be tried against
    text = "".join(path.read_text() for path in public.root.iterdir() if path.suffix in (".yaml", ".jsonl", ".md"))
    for line in (original.root / MANIFEST_FILE).read_text().splitlines():
        entry = json.loads(line)
        if "/test/" in entry["path"]:
            assert entry["label_digest"] not in text
    assert original.info.label_digest not in text
    everything = text + "".join(str(path) for path in public.root.rglob("*")) + own.to_csv()
    for name in (*true["cluster_id"], *true["sample_id"], *true["panorama_id"], *true["source_image"]):
        assert name not in everything, name


def test_the_public_dataset_is_sound(sealed: tuple[Dataset, Path]) -> None:
    public, labels = sealed
    entries = [json.loads(line) for line in (public.root / MANIFEST_FILE).read_text().splitlines()]
    assert digest(sorted(entry["label_digest"] for entry in entries)) == public.info.label_digest
    rows = pq.read_table(public.root / "annotations.parquet").to_pylist()
    for entry in entries:
        own = [row for row in rows if row["panorama_id"] == entry["panorama_id"]]
        assert panorama_label_digest(own) == entry["label_digest"]
        assert digest_file(public.root / entry["path"]) == entry["sha256"]
    assert public.info.version == "1.0.0+sealed.test"
    assert stat.S_IMODE(labels.stat().st_mode) == 0o600
    assert is_sealed(public, "test")
    assert not is_sealed(public, "train")
    changed = public.root / entries[0]["path"]
    assert changed.stat().st_nlink == 1  # whoever edits the copy leaves the original alone


def test_a_sealed_build_verifies(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("output.width=128", "output.format=jpeg", "suites.mixed.draw.background=black")
    run_build(tmp_path / "data", f"gazefollow={real / 'gazefollow'}", recipe="mixed", settings=settings)
    words = ("--out", str(tmp_path / "public"), "--labels", str(tmp_path / "labels.parquet"))
    ran = run_command(capsys, "split", "seal", str(tmp_path / "data"), *words)
    assert ran.code == 0, ran.err
    assert verify(tmp_path / "public") == []
    assert len(open_sealed(tmp_path / "labels.parquet").data)
    assert b"gazefollow/" not in (tmp_path / "public" / "annotations.parquet").read_bytes()


def test_a_suite_that_tells_the_labels_is_refused(original: Dataset, tmp_path: Path) -> None:
    recipe = {"base": {}, "suites": {"mixed": {"draw": {"longitude_deg": "seam"}}, "latitude": {"vary": {}}}}
    told = Dataset(original.root, original.info.model_copy(update={"recipe": recipe}), original.annotations)
    with pytest.raises(InputError, match=r"chosen by the labels, found mixed: .* --set suites\.mixed=null"):
        seal(told, "test", tmp_path / "a", tmp_path / "labels.parquet")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_neither_half(original: Dataset, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        seal(original, "test", tmp_path / "a", tmp_path / "labels.parquet", fails)
    assert not list(tmp_path.iterdir())


def test_scores_are_those_of_the_labels_rounded(original: Dataset, sealed: tuple[Dataset, Path], tmp_path: Path) -> None:
    public, labels = sealed
    file = submission(tmp_path / "p.parquet", public, original)
    found = score_sealed(file, open_sealed(labels), tmp_path / "r.json", resamples=200)
    truth = open_sealed(labels)
    record = score_file(file, truth.data, "test", tmp_path / "open.json", resamples=200)
    groups = {(group["by"], group["suite"], group["group"]): group["metrics"] for group in found["groups"]}
    assert len(groups) < len(record.groups)
    for group in record.groups:
        if group.people < LEAST_PEOPLE:
            assert group.key not in groups
            continue
        for name, estimate in group.metrics.items():
            if estimate.people < LEAST_PEOPLE:
                assert name not in groups[group.key]
            elif estimate.value is not None:
                assert groups[group.key][name]["value"] == pytest.approx(estimate.value, abs=0.051)
                assert len(f"{groups[group.key][name]['value']}".partition(".")[2]) <= 2
    assert json.loads((tmp_path / "r.json").read_text()) == found
    assert {path.name for path in tmp_path.iterdir()} == {"p.parquet", "r.json", "open.json", "open.samples.parquet"}
    error = record.overall.metrics["angular_distance_deg"].value
    assert error is not None
    assert 10.0 < error < 40.0  # of the true labels, not of blanks


def test_every_look_is_noted(original: Dataset, sealed: tuple[Dataset, Path], tmp_path: Path) -> None:
    public, labels = sealed
    log = labels.with_name("labels.parquet.log.jsonl")
    before = len(log.read_text().splitlines()) if log.exists() else 0
    file = submission(tmp_path / "p.parquet", public, original, name="often")
    looks = [score_sealed(file, open_sealed(labels), tmp_path / "r.json", resamples=100)["looks"] for _ in range(2)]
    assert looks == [1, 2]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == before + 2
    assert lines[-1]["predictor"] == "often"
    assert lines[-1]["predictions_digest"] == digest_file(file)


def test_predictions_of_the_original_do_not_pass(original: Dataset, sealed: tuple[Dataset, Path], tmp_path: Path) -> None:
    file = predictions(tmp_path / "p.parquet", original, 0.3, PredictorCard(name="mine"))
    with pytest.raises(CheckFailed, match=r"\[dataset-version\] expected: the header has the dataset's version"):
        score_sealed(file, open_sealed(sealed[1]), tmp_path / "r.json")


def test_wrong_use(original: Dataset, sealed: tuple[Dataset, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public, labels = sealed
    with pytest.raises(InputError, match="Expected the sealed labels outside of the public dataset"):
        seal(original, "test", tmp_path / "a", tmp_path / "a" / "labels.parquet")
    with pytest.raises(InputError, match=r"found 1\.0\.0\+sealed\.test: some are sealed already"):
        seal(public, "train", tmp_path / "a", tmp_path / "labels.parquet")
    with pytest.raises(InputError, match="Expected nothing at .*labels.parquet yet"):
        seal(original, "test", tmp_path / "a", labels)
    with pytest.raises(InputError, match=r"ends in \.parquet for the sealed labels"):
        seal(original, "test", tmp_path / "a", tmp_path / "labels.json")
    with pytest.raises(InputError, match="Expected sealed labels .* found no header"):
        open_sealed(original.root / "annotations.parquet")
    file = submission(tmp_path / "p.parquet", public, original)
    for words, match in (
        (("--sealed", str(labels), "--suite", "mixed"), "without --suite and --split"),
        (("--sealed", str(labels), "--split", "val"), "without --suite and --split"),
        (("--data", str(public.root)), "but they are sealed"),
        ((), "Expected either --data DIR or --sealed LABELS"),
        (("--data", str(public.root), "--sealed", str(labels)), "Expected either --data DIR or --sealed LABELS"),
    ):
        ran = run_command(capsys, "score", str(file), "--out", str(tmp_path / "r.json"), *words)
        assert ran.code == 2
        assert match in ran.err.replace("\n", " ")


def test_the_commands(original: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public, labels = tmp_path / "public", tmp_path / "labels.parquet"
    ran = run_command(capsys, "split", "seal", str(original.root), "--out", str(public), "--labels", str(labels))
    assert ran.code == 0, ran.err
    assert "without the labels of" in ran.err
    file = submission(tmp_path / "p.parquet", Dataset.open(public), original)
    ran = run_command(capsys, "score", str(file), "--sealed", str(labels), "--out", str(tmp_path / "r.json"))
    assert ran.code == 0, ran.err
    assert "mixed, overall: Angular distance" in ran.out
    assert "has looked at these labels 1 times" in ran.err.replace("\n", " ")
    ran = run_command(capsys, "score", "human", "--sealed", str(labels), "--out", str(tmp_path / "h.json"), "--json")
    assert np.isfinite(json.loads(ran.out)["groups"][0]["metrics"]["angular_distance_deg"]["value"])
