"""Running predictors on a split: grouping, storage, and what a predictor may not return."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import leaderboard.predicting as predicting
from leaderboard.predicting import batches, predict_split, storable
from leaderboard.submissions import check_file
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictions import PredictorCard, read_predictions
from srgaze360.predictors import Guess, Predictor, Query


def _maps(queries: Sequence[Query]) -> Any:
    """A map that peaks in a cell of the head's own, far above what float16 can hold."""
    maps = np.zeros((len(queries), 8, 16))
    for index, query in enumerate(queries):
        x, y = sphere.pixel_from_direction(query.head, 16)
        maps[index, min(int(y), 7), int(x)] = 1e9
        maps[index, 0, 0] += 1e6
    return maps


class Recorder(Predictor):
    """Answers the head's own direction, and remembers what it was asked."""

    name = "recorder"
    summary = "Looks at the head."
    source = "test"

    def __init__(self, spoil: Callable[[Guess, int], Guess] = lambda guess, _: guess) -> None:
        self.asked: list[list[Query]] = []
        self.spoil = spoil

    def predict(self, queries: Sequence[Query]) -> Guess:
        self.asked.append(list(queries))
        heads = np.stack([query.head for query in queries])
        scores = np.full(len(queries), 0.25)
        return self.spoil(Guess(heads, _maps(queries), scores), len(self.asked))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorder]:
    """Make ``predict_split`` run a given recorder."""

    def installed(spoil: Callable[[Guess, int], Guess] = lambda guess, _: guess, reads: tuple[str, ...] = ()) -> Recorder:
        predictor = Recorder(spoil)
        card = PredictorCard(name="recorder", reads=list(reads), seed=7)
        monkeypatch.setattr(predicting, "open_predictor", lambda *_: (predictor, card))
        return predictor

    return installed


def test_the_file_says_what_the_predictor_said(fake: Dataset, tmp_path: Path, install: Callable[..., Recorder]) -> None:
    predictor = install()
    steps: list[int] = []
    done = predict_split("recorder", fake, "test", tmp_path / "p.parquet", batch_size=7, advance=steps.append)
    assert sum(steps) == done.people == 180
    assert done.panoramas == 90
    assert check_file(tmp_path / "p.parquet", fake, "test").valid

    read = read_predictions(tmp_path / "p.parquet")
    rows = fake.select(split="test")
    assert list(read.table["sample_id"]) == list(rows.annotations["sample_id"])
    np.testing.assert_allclose(read.directions, rows.heads, atol=1e-12)
    np.testing.assert_allclose(read.table["gaze_lon_deg"], rows.annotations["head_lon_deg"], atol=1e-9)
    assert set(read.table["in_frame_score"]) == {0.25}
    # scaled to maximum 1: 1e9 and 1e6 both survive float16
    assert read.heatmaps.max(axis=(1, 2)).tolist() == [1.0] * 180
    assert read.heatmaps[:, 0, 0].min() == np.float16(1e-3)
    assert read.header.heatmap_shape == (8, 16)
    assert read.header.split == "test"
    assert read.header.predictor.seed == 7
    assert read.header.dataset.digest == fake.info.label_digest
    assert read.header.versions["numpy"] == np.__version__
    assert read.header.versions["device"] == "cpu"
    # people of a panorama are asked about together, in batches of at most 7
    assert max(map(len, predictor.asked)) <= 7
    batch_of = [(query.panorama_path, index) for index, batch in enumerate(predictor.asked) for query in batch]
    assert len({path for path, _ in batch_of}) == len(set(batch_of))


def test_a_predictor_gets_the_columns_it_declares_and_no_others(
    fake: Dataset, tmp_path: Path, install: Callable[..., Recorder]
) -> None:
    predictor = install(reads=("yaw_deg",))
    predict_split("recorder", fake, "test", tmp_path / "p.parquet", suite="mixed")
    queries = {query.sample_id: query for batch in predictor.asked for query in batch}
    rows = fake.select(split="test", suite="mixed").annotations
    assert {name: query.extra for name, query in queries.items()} == {
        name: {"yaw_deg": yaw} for name, yaw in zip(rows["sample_id"], rows["yaw_deg"], strict=True)
    }
    install(reads=("yaw_deg", "crystal_ball"))
    with pytest.raises(InputError, match=r"reads the columns yaw_deg, crystal_ball, but dataset .* lacks crystal_ball"):
        predict_split("recorder", fake, "test", tmp_path / "p.parquet")


def _at(array: Any, index: Any, value: float) -> Any:
    changed = np.array(array, dtype=np.float64)
    changed[index] = value
    return changed


SPOILT: dict[str, tuple[Callable[[Guess, int], Guess], str]] = {
    "nan direction": (lambda g, _: g._replace(directions=_at(g.directions, (0, 1), np.nan)), r"finite directions.* 1 of 32"),
    "not unit": (lambda g, _: g._replace(directions=2.0 * g.directions), r"directions of unit length.* 32 of 32 people"),
    "lon and lat": (lambda g, _: g._replace(directions=g.directions[:, :2]), r"shape \(32, 3\), found shape \(32, 2\)"),
    "too few": (lambda g, _: g._replace(directions=g.directions[1:]), r"shape \(32, 3\), found shape \(31, 3\)"),
    "text": (lambda g, _: g._replace(directions=g.directions.astype(str)), r"as numbers .* type <U"),
    "score above 1": (lambda g, _: g._replace(in_frame_scores=_at(g.in_frame_scores, 3, 1.5)), r"in-frame scores in \[0, 1\]"),
    "scores (n, 1)": (lambda g, _: g._replace(in_frame_scores=g.in_frame_scores[:, None]), r"found shape \(32, 1\)"),
    "nan in map": (lambda g, _: g._replace(heatmaps=_at(g.heatmaps, (2, 3, 4), np.nan)), r"finite heatmaps"),
    "logits": (lambda g, _: g._replace(heatmaps=g.heatmaps - 1.0), r"heatmaps without negative values.* 32 of 32"),
    "zero map": (lambda g, _: g._replace(heatmaps=_at(g.heatmaps, 5, 0.0)), r"not zero everywhere.* 1 of 32"),
    "constant map": (lambda g, _: g._replace(heatmaps=_at(g.heatmaps, 5, 3.0)), r"not constant, once stored.* 1 of 32"),
    "square maps": (lambda g, _: g._replace(heatmaps=g.heatmaps[:, :, :8]), r"\(32, 8, 16\), found shape \(32, 8, 8\)"),
    "channel axis": (lambda g, _: g._replace(heatmaps=g.heatmaps[:, None]), r"found shape \(32, 1, 8, 16\)"),
    "maps now and then": (lambda g, n: g._replace(heatmaps=g.heatmaps if n == 1 else None), r"for all people or none"),
    "two grids": (lambda g, n: g if n == 1 else g._replace(heatmaps=g.heatmaps.repeat(2, 1).repeat(2, 2)), r"of one shape"),
    "scores now and then": (lambda g, n: g if n == 1 else g._replace(in_frame_scores=None), r"all people or none"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_no_prediction_is_refused(fake: Dataset, tmp_path: Path, install: Callable[..., Recorder], what: str) -> None:
    spoil, message = SPOILT[what]
    install(spoil)
    with pytest.raises(InputError, match=message) as caught:
        predict_split("recorder", fake, "test", tmp_path / "p.parquet")
    assert "Predictor 'recorder'" in str(caught.value)
    assert not (tmp_path / "p.parquet").exists()


def test_batch_size_and_unknown_names(fake: Dataset, tmp_path: Path, install: Callable[..., Recorder]) -> None:
    with pytest.raises(InputError, match=r"Unknown predictor 'centr'. Did you mean 'centre'"):
        predict_split("centr", fake, "test", tmp_path / "p.parquet")
    with pytest.raises(InputError, match="split 'nowhere'"):
        predict_split("centre", fake, "nowhere", tmp_path / "p.parquet")
    install()
    with pytest.raises(InputError, match="batch size of 1 or more, found 0"):
        predict_split("recorder", fake, "test", tmp_path / "p.parquet", batch_size=0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 8))
def test_batches_cover_everything_and_split_only_what_is_too_large(counts: list[int], size: int) -> None:
    panoramas = np.repeat([f"{index:03d}" for index in range(len(counts))], counts)
    cut = list(batches(panoramas, size))
    assert [row for part in cut for row in range(part.start, part.stop)] == list(range(len(panoramas)))
    assert all(0 < part.stop - part.start <= size for part in cut)
    for index, count in enumerate(counts):
        if count <= size:
            name = f"{index:03d}"
            assert sum(name in panoramas[part] for part in cut) == 1


@given(st.floats(1e-300, 1e300))
def test_storable_maps_keep_their_shape_at_any_scale(scale: float) -> None:
    maps = np.random.default_rng(0).uniform(0.1, 1.0, (3, 4, 8))
    stored = storable(maps * scale).astype(np.float64)
    np.testing.assert_allclose(stored, maps / maps.max(axis=(1, 2), keepdims=True), rtol=1e-3)


def test_a_seed_decides_random_draws(fake: Dataset, tmp_path: Path) -> None:
    files = {}
    for name, seed, size in (("a", 0, 32), ("b", 0, 5), ("c", 1, 32)):
        predict_split("random", fake, "test", tmp_path / f"{name}.parquet", seed=seed, batch_size=size, suite="mixed")
        files[name] = read_predictions(tmp_path / f"{name}.parquet").directions
    np.testing.assert_array_equal(files["a"], files["b"])
    assert np.abs(files["a"] - files["c"]).max() > 0.1


def test_command_predicts_and_says_its_throughput(fake: Dataset, tmp_path: Path) -> None:
    import typer

    from leaderboard.commands import predict

    app = typer.Typer()
    app.command()(predict)
    out = tmp_path / "centre.parquet"
    done = CliRunner().invoke(app, ["centre", "--data", str(fake.root), "--split", "test", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "180 people on 90 panoramas" in done.output
    assert "people/s" in done.output
    assert check_file(out, fake, "test").valid


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'pandas', 'scipy', 'matplotlib', 'pyarrow', 'cv2'}"
    code = f"import sys, leaderboard.commands, leaderboard.board_commands; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
