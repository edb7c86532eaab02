"""Reading and writing datasets and predictions: what goes in comes out, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import fake_dataset

from srgaze360 import sphere
from srgaze360.dataset import COLUMNS, Dataset, label_digest
from srgaze360.errors import InputError
from srgaze360.images import read_panorama, write_image
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, read_predictions, write_predictions
from srgaze360.predictors import Query, dataset_key, open_predictor


def test_a_dataset_lists_and_yields_what_it_holds(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=6, annotators=4, images=True)
    assert data.splits == ["train", "test"]
    assert data.suites == ["latitude", "mixed"]
    assert data.conditions == [("latitude", "lat+0"), ("latitude", "lat+60"), ("mixed", "mixed")]
    part = data.select(split="test", suite="latitude", condition="lat+60")
    samples = list(part.samples())
    assert len(samples) == len(part) == 6
    for sample in samples:
        assert sample.panorama().shape == (64, 128, 3)
        assert (sample.gaze is None) == (not sample.in_frame)
        assert sample.points.shape == ((4 if sample.in_frame else 0), 3)
        lon, lat = np.degrees(sphere.lonlat_from_direction(sample.head))
        assert lon == pytest.approx(sample.row["head_lon_deg"])
        assert lat == pytest.approx(sample.row["head_lat_deg"])
        if sample.gaze is not None:
            np.testing.assert_allclose(sample.gaze, sphere.spherical_mean(sample.points).direction, atol=1e-12)


def test_truth_is_padded_and_weighted(tmp_path: Path) -> None:
    truth = fake_dataset(tmp_path, people=6, annotators=4).truth()
    assert truth.points.shape == (24, 4, 3)
    np.testing.assert_array_equal(truth.weights.sum(axis=1), np.where(truth.in_frame, 4, 0))
    np.testing.assert_allclose(np.linalg.norm(truth.points, axis=-1), 1.0)


def test_a_selection_that_is_not_there_gets_a_suggestion(fake: Dataset) -> None:
    with pytest.raises(InputError, match="have suite 'mixd'. Did you mean 'mixed'"):
        fake.select(suite="mixd")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop_columns(["head_u0", "gaze_lon_deg"]), "missing columns: head_u0, gaze_lon_deg"),
        (
            lambda t: t.set_column(t.schema.get_field_index("width"), "width", t["width"].cast(pa.float64())),
            "width is double, not int32",
        ),
        (
            lambda t: t.set_column(t.schema.get_field_index("head_lon_deg"), "head_lon_deg", pa.nulls(len(t), pa.float64())),
            "nulls in: head_lon_deg",
        ),
        (lambda t: pa.concat_tables([t, t.slice(0, 2)]), "one row per sample_id .* found 2 repeated"),
    ],
)
def test_annotations_are_checked_against_the_schema(fake: Dataset, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    path = fake.root / "annotations.parquet"
    pq.write_table(spoil(pq.read_table(path)), path)
    with pytest.raises(InputError, match=message):
        Dataset.open(fake.root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.yaml", None, "it has no dataset.yaml. Give the folder that"),
        ("dataset.yaml", "a: [", "Expected YAML in"),
        ("dataset.yaml", "name: x\n", "Expected the fields of a dataset in .*version: Field required"),
        ("annotations.parquet", None, "annotations.parquet, but there is no such file"),
        ("annotations.parquet", "no parquet", "Expected a Parquet file at"),
    ],
)
def test_broken_datasets_are_explained(fake: Dataset, name: str, content: str | None, message: str) -> None:
    (fake.root / name).unlink()
    if content is not None:
        (fake.root / name).write_text(content)
    with pytest.raises(InputError, match=message):
        Dataset.open(fake.root)


def test_label_digests_see_labels_and_nothing_else(fake: Dataset) -> None:
    row = next(fake.samples()).row
    row = {name: row[name].tolist() if isinstance(row[name], np.ndarray) else row[name] for name in COLUMNS}
    row["gaze_points_deg"] = [list(map(float, point)) for point in row["gaze_points_deg"]]
    base = label_digest(row)
    for name, change in (("gaze_lon_deg", 2e-6), ("head_u1", 2e-6), ("yaw_deg", -2e-6), ("split", "!"), ("condition", "!")):
        assert label_digest({**row, name: row[name] + change}) != base, name
    for name, change in (("gaze_lon_deg", 1e-9), ("minification", 1.0), ("image_path", "x")):
        assert label_digest({**row, name: row[name] + change}) == base, name
    assert label_digest({**row, "roll_deg": -0.0}) == label_digest({**row, "roll_deg": 0.0})


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_panoramas_round_trip_and_faults_are_named(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 16, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_panorama(tmp_path / "a.png"), pixels)
    red = np.full((64, 128, 3), (250, 10, 20), dtype=np.uint8)
    write_image(tmp_path / "a.jpg", red)
    assert np.abs(read_panorama(tmp_path / "a.jpg").astype(int) - red).max() < 6  # red stays red
    write_image(tmp_path / "square.png", pixels[:, :8])
    for name, message in (
        ("b.png", "no such file"),
        ("square.png", "found 8 x 8 pixels"),
        ("text.jpg", "9 bytes cannot be decoded"),
    ):
        (tmp_path / "text.jpg").write_bytes(b"no image!")
        with pytest.raises(InputError, match=message):
            read_panorama(tmp_path / name)


# --- predictions ------------------------------------------------------------------------------------------------------


def predictions(data: Dataset, *, heatmaps: bool = True) -> Predictions:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "sample_id": data.annotations["sample_id"].to_numpy(dtype=object),
            "gaze_lon_deg": rng.uniform(-180, 180, len(data)),
            "gaze_lat_deg": rng.uniform(-90, 90, len(data)),
        }
    )
    maps = rng.random((len(data), 64, 128)).astype(np.float16) if heatmaps else None
    card = PredictorCard(name="me", seed=3, training_data=["x"])
    return Predictions(PredictionHeader(dataset=dataset_key(data), split="test", predictor=card), table, maps)


def test_predictions_round_trip_in_parquet(fake: Dataset, tmp_path: Path) -> None:
    written = predictions(fake)
    write_predictions(tmp_path / "p.parquet", written)
    read = read_predictions(tmp_path / "p.parquet")
    assert read.header == written.header
    pd.testing.assert_frame_equal(read.table, written.table, check_dtype=False)
    assert read.heatmaps is not None
    np.testing.assert_array_equal(read.heatmaps, written.heatmaps)
    lon, lat = sphere.lonlat_from_direction(read.directions)
    np.testing.assert_allclose(np.degrees(lat), written.table["gaze_lat_deg"], atol=1e-9)
    np.testing.assert_allclose(np.degrees(lon), written.table["gaze_lon_deg"], atol=1e-9)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_points_are_read_from_text_files(fake: Dataset, tmp_path: Path, suffix: str) -> None:
    written = predictions(fake, heatmaps=False)
    path = tmp_path / f"p{suffix}"
    if suffix == ".csv":
        written.table.to_csv(path, index=False)
    else:
        written.table.to_json(path, orient="records", lines=True, double_precision=15)
    (tmp_path / f"p{suffix}.json").write_text(written.header.model_dump_json())
    pd.testing.assert_frame_equal(read_predictions(path).table, written.table, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.parquet", None, "no such file"),
        ("p.txt", b"x", "Expected Parquet, or a name that ends in .csv or .jsonl, found p.txt"),
        ("p.parquet", b"PAR1 but no more", "Expected a Parquet predictions file at .* cannot be read"),
        ("p.csv", b"sample_id,gaze_lon_deg,gaze_lat_deg\na,1,2\n", "Expected a header of p.csv at"),
        ("h.csv", b"sample_id,gaze_lon_deg\na,1\n", "missing gaze_lat_deg"),
        ("h.csv", b"sample_id,gaze_lon_deg,gaze_lat_deg\na,east,2\n", "numbers in column gaze_lon_deg .* 1 that are not: east"),
        ("h.jsonl", b"[1]\n", "one JSON object per line"),
        ("h.jsonl", b"{\n", "one JSON object per line"),
    ],
)
def test_unreadable_predictions_are_explained(
    fake: Dataset, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for header in ("h.csv.json", "h.jsonl.json"):
        (tmp_path / header).write_text(predictions(fake).header.model_dump_json())
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / name)


def test_headers_and_heatmaps_are_checked(fake: Dataset, tmp_path: Path) -> None:
    written = predictions(fake)
    write_predictions(tmp_path / "p.parquet", written)
    table = pq.read_table(tmp_path / "p.parquet")
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match="Expected a header under the Parquet metadata key 'srgaze360' .* found none"):
        read_predictions(tmp_path / "none.parquet")
    header = json.loads(written.header.model_dump_json())
    for change, message in (
        ({"split": 3}, "split: Input should be a valid string"),
        ({"heatmap_shape": [32, 64]}, r"heatmaps of 32 x 64 = 2048 values .* found lists of 8192 values"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ):
        pq.write_table(table.replace_schema_metadata({"srgaze360": json.dumps({**header, **change})}), tmp_path / "q.parquet")
        with pytest.raises(InputError, match=message):
            read_predictions(tmp_path / "q.parquet")


# --- predictors -------------------------------------------------------------------------------------------------------


def test_a_query_shows_the_head_and_declared_columns_only(fake: Dataset) -> None:
    sample = next(fake.samples())
    assert Query.of(sample, ()).extra == {}
    assert Query.of(sample, ("yaw_deg",)).extra == {"yaw_deg": sample.row["yaw_deg"]}
    assert not hasattr(Query.of(sample, ()), "row")


def test_opening_predictors(tmp_path: Path) -> None:
    predictor, card = open_predictor("random", seed=7)
    assert (predictor.name, card.seed, card.training_data) == ("random", 7, [])
    with pytest.raises(InputError, match="Predictor 'head-prior' must be trained first. Run `srgaze360 train head-prior"):
        open_predictor("head-prior")
    with pytest.raises(InputError, match="Unknown predictor 'randm'. Did you mean 'random'"):
        open_predictor("randm")
    with pytest.raises(InputError, match="or the folder of a training run, found folder .* without run.json"):
        open_predictor(str(tmp_path))


def test_the_documented_example_runs(
    fake: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "datasets.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    fake_dataset(fake.root.parent / "data", people=4, images=True)
    monkeypatch.chdir(fake.root.parent)
    exec(compile(code, "docs/datasets.md", "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out.startswith("['test'] ['latitude'] [('latitude', 'lat+0')")
