"""Qualitative panels: who is shown, against pandas; where answers are drawn, against the sphere; and what is refused."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from boards import predictions
from building import run_build, run_command
from fakes import fake_dataset
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_drawing import person

from leaderboard import panel_figure
from leaderboard import panels as panels_module
from leaderboard.panel_figure import COLOURS, HEIGHT_IN, MARKS, draw_answers, panels_figure, view_plane
from leaderboard.panels import BEST, MEDIAN, RANDOM, WORST, choose, draw_panels, read_panels
from leaderboard.scoring import score_file
from srgaze360 import sphere
from srgaze360.dataset import Dataset, Sample
from srgaze360.drawing import Plane, save, show, style
from srgaze360.errors import CheckFailed, InputError
from srgaze360.predictions import PredictorCard, read_predictions, write_predictions
from srgaze360.protocols import saliency

WIDTH, DOTS = 1600, 300  # of pictures with answers on black: pixels, and dots an inch, so that lines are pixels wide


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("panels") / "data", people=20, images=True)


@pytest.fixture(scope="module")
def files(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {
        "ours": predictions(folder / "ours.parquet", data, 0.3, PredictorCard(name="ours"), heatmaps=True),
        "seed-1": predictions(folder / "one.parquet", data, 0.4, PredictorCard(name="theirs", seed=1), draw=1),
        "seed-2": predictions(folder / "two.parquet", data, 0.4, PredictorCard(name="theirs", seed=2), draw=2),
        "again": predictions(folder / "again.parquet", data, 0.9, PredictorCard(name="theirs", seed=2), draw=3),
        "formula": predictions(folder / "f.parquet", data, 0.5, PredictorCard(name="=SUM($A$1) ^{_\n" + "W" * 80), draw=4),
    }


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of fewer dots, which take less time to pack."""
    for module in (panels_module, panel_figure):
        monkeypatch.setattr(module, "DPI", 72)


def distances(file: Path, data: Dataset, suite: str) -> pd.Series:
    """Angular distances by sample id by the haversine formula; NaN where no target is known."""
    table = read_predictions(file).table.set_index("sample_id")
    rows = data.select(split="test", suite=suite).annotations.set_index("sample_id")
    lon, lat = (np.radians(table.loc[rows.index, f"gaze_{name}_deg"]) for name in ("lon", "lat"))
    true_lon, true_lat = (np.radians(rows[f"gaze_{name}_deg"].astype(float)) for name in ("lon", "lat"))
    h = np.sin((lat - true_lat) / 2.0) ** 2 + np.cos(lat) * np.cos(true_lat) * np.sin((lon - true_lon) / 2.0) ** 2
    return np.degrees(2.0 * np.arcsin(np.sqrt(h)))


# --- who is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 5, 30, 201])
def test_best_median_and_worst_are_those_of_pandas(count: int) -> None:
    rng = np.random.default_rng(count)
    scores = pd.Series(rng.integers(0, 12, count).astype(float))  # many ties
    if count > 5:
        scores[rng.permutation(count)[: count // 3]] = np.nan
    ids = [f"p{number:04d}" for number in rng.permutation(count)]
    shown = choose(scores.to_numpy(), ids, 1, 0)
    assert [one.why for one in shown] == [BEST, MEDIAN, WORST, RANDOM]
    best, median, worst, random = (one.place for one in shown)
    assert scores[best] == scores.min()
    assert scores[median] == scores.quantile(0.5, interpolation="lower")
    assert scores[worst] == scores.max()
    assert ids[best] == min(np.array(ids)[scores == scores.min()])
    assert ids[worst] == max(np.array(ids)[scores == scores.max()])
    assert not np.isnan(scores[random])
    assert len({best, median, worst, random}) == 4


def test_who_is_random_follows_from_the_seed_and_not_from_the_order() -> None:
    rng = np.random.default_rng(0)
    scores, ids = rng.random(40), [f"p{number}" for number in range(40)]
    one = [ids[chosen.place] for chosen in choose(scores, ids, 5, 7)]
    order = rng.permutation(40)
    shuffled = [ids[order[chosen.place]] for chosen in choose(scores[order], [ids[i] for i in order], 5, 7)]
    assert one == shuffled
    assert len(set(one)) == 8
    fewer = [ids[chosen.place] for chosen in choose(scores, ids, 2, 7)]
    assert fewer == one[:5]
    assert len({tuple(chosen.place for chosen in choose(scores, ids, 2, seed)) for seed in range(20)}) > 15
    drawn = [chosen.place for seed in range(400) for chosen in choose(scores, ids, 3, seed)[3:]]
    assert len(set(drawn)) == 37  # everybody but the best, the median and the worst has a chance


def test_panels_are_of_the_people_that_pandas_finds(data: Dataset, files: dict[str, Path]) -> None:
    panels = read_panels([files["ours"], files["seed-1"]], data, "test")
    assert set(panels.rows.annotations["suite"]) == {"mixed"}
    ids = panels.rows.annotations["sample_id"]
    for method, file in zip(panels.methods, ("ours", "seed-1"), strict=True):
        np.testing.assert_allclose(method.distances, distances(files[file], data, "mixed")[ids], atol=1e-5, equal_nan=True)
    known = distances(files["ours"], data, "mixed").dropna().sort_values()
    shown = [ids[one.place] for one in panels.chosen]
    assert shown[:3] == [known.index[0], known.index[(len(known) - 1) // 2], known.index[-1]]
    other = read_panels([files["seed-1"], files["ours"]], data, "test", suite="latitude")
    assert other.rows.annotations["sample_id"][other.chosen[0].place] == distances(files["seed-1"], data, "latitude").idxmin()


def test_another_metric_can_order_people(data: Dataset, files: dict[str, Path]) -> None:
    panels = read_panels([files["ours"]], data, "test", by="auc")
    truth = panels.rows.truth()
    submitted = read_predictions(files["ours"])
    place = submitted.table.set_index("sample_id").index.get_indexer(panels.rows.annotations["sample_id"])
    assert submitted.heatmaps is not None
    auc = pd.Series(saliency.auc(submitted.heatmaps[place], truth.points, truth.weights))
    assert [one.place for one in panels.chosen[:3:2]] == [auc.idxmax(), auc.idxmin()]  # more is better
    nearest = read_panels([files["ours"]], data, "test", by="angular_distance_min_deg")
    assert nearest.score[nearest.chosen[0].place] == np.nanmin(nearest.score)


def test_methods_are_told_apart_by_seed_or_file(data: Dataset, files: dict[str, Path]) -> None:
    def labels(*names: str) -> list[str]:
        return [method.label for method in read_panels([files[name] for name in names], data, "test").methods]

    assert labels("ours", "seed-1") == ["ours", "theirs"]
    assert labels("seed-1", "seed-2") == ["theirs (seed 1)", "theirs (seed 2)"]
    assert labels("seed-1", "seed-2", "again") == ["theirs (seed 1)", "theirs (two)", "theirs (again)"]


# --- where things are drawn -------------------------------------------------------------------------------------------


def drawn(out: Path, plane: Plane, sample: Sample, answers: list[sphere.FloatArray]) -> np.ndarray:
    """Answers drawn on black, RGB; a pixel of the picture is one of the plane."""
    assert sample.gaze is not None
    width, height = plane.camera.width, plane.camera.height
    with style(8.0):
        figure = Figure(figsize=(width / DOTS, height / DOTS))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        show(axes, np.zeros((height, width, 3), np.uint8))
        draw_answers(axes, plane, sample, sample.gaze, answers)
        save(figure, out / "p.png", DOTS)
    return cv2.imread(str(out / "p.png"))[..., ::-1].astype(int)


def pixels_of(picture: np.ndarray, colour: str, near: int = 30) -> np.ndarray:
    """Continuous pixels (n, 2) of about a colour."""
    apart = np.abs(picture - np.rint(255.0 * np.array(to_rgb(colour)))).max(axis=-1)
    return np.argwhere(apart < near)[:, ::-1] + 0.5


def direction(lon: float, lat: float) -> sphere.FloatArray:
    return sphere.direction_from_lonlat(*np.radians((lon, lat)))


@pytest.mark.parametrize("colour", range(len(COLOURS)))
def test_arcs_end_in_a_mark_at_the_answer(tmp_path: Path, colour: int) -> None:
    head, answer = (-40.0, 10.0), direction(35.0, -30.0)
    somewhere = [direction(120.0, 40.0)] * colour
    picture = drawn(tmp_path, Plane.panorama(WIDTH), person(head, (-90.0, -50.0)), [*somewhere, answer])
    found = pixels_of(picture, COLOURS[colour])
    expected = sphere.pixel_from_direction(answer, WIDTH)
    # the line, less than 5 pixels wide, would give no more than 45 pixels
    assert (np.linalg.norm(found - expected, axis=1) < 9.0).sum() > 60
    # all of the colour lies on the great circle from the head, but for the mark itself and the frame of the head
    start = sphere.pixel_from_direction(direction(*head), WIDTH)
    line = found[(np.linalg.norm(found - expected, axis=1) > 14.0) & (np.linalg.norm(found - start, axis=1) > 36.0)]
    normal = sphere.normalise(np.cross(direction(*head), answer))
    assert np.degrees(np.arcsin(np.abs(sphere.direction_from_pixel(line, WIDTH) @ normal))).max() < 1.0
    along = np.degrees(sphere.angle_between(sphere.direction_from_pixel(line, WIDTH), direction(*head)))
    assert along.min() < 9.0
    assert along.max() < np.degrees(sphere.angle_between(direction(*head), answer))


def test_arcs_are_split_at_the_seam(tmp_path: Path) -> None:
    head, answer = (165.0, 15.0), direction(-160.0, -5.0)
    picture = drawn(tmp_path, Plane.panorama(WIDTH), person(head, (150.0, -40.0)), [answer])
    found = pixels_of(picture, COLOURS[0])
    x = np.unique(np.floor(found[:, 0]))
    start, end = (165.0 / 360.0 + 0.5) * WIDTH, (-160.0 / 360.0 + 0.5) * WIDTH
    left, right = x[x < WIDTH / 2], x[x > WIDTH / 2]
    assert left.max() < end + 12.0  # nothing lies between the two parts
    assert right.min() > start - 12.0
    assert left.min() < 3.0  # and both reach the edge
    assert right.max() > WIDTH - 4.0
    # where the great circle crosses the seam: the point of its plane with x = 0, z < 0
    a, b = direction(*head), answer
    crossing = sphere.pixel_from_direction(sphere.normalise(a * abs(b[0]) + b * abs(a[0])), WIDTH)[1]
    for edge in (found[found[:, 0] < 8.0], found[found[:, 0] > WIDTH - 8.0]):
        assert edge[:, 1].mean() == pytest.approx(crossing, abs=3.0)


def test_a_mark_on_the_seam_is_on_both_sides(tmp_path: Path) -> None:
    picture = drawn(tmp_path, Plane.panorama(WIDTH), person((90.0, 0.0), (60.0, -40.0)), [direction(179.9, 20.0)])
    found = pixels_of(picture, COLOURS[0])
    at = sphere.pixel_from_direction(direction(179.9, 20.0), WIDTH)[1]
    for side in (found[found[:, 0] < 6.0], found[found[:, 0] > WIDTH - 4.0]):
        assert len(side) > 20
        assert side[:, 1].mean() == pytest.approx(at, abs=2.0)


@pytest.mark.parametrize("head", [(-25.0, 10.0), (175.0, -20.0), (30.0, 85.0)])
def test_the_view_is_centred_on_the_target_and_true_in_angle(head: tuple[float, float]) -> None:
    target = direction(-170.0, 12.0)
    plane = view_plane(direction(*head), target, [])
    size = plane.camera.width
    np.testing.assert_allclose(plane.place(target[None])[0], [size / 2.0, size / 2.0], atol=1e-6)
    # a pinhole view has the circle around its centre as a circle of radius f tan r
    for radius in panel_figure.CIRCLES:
        pixels = plane.pixels(panel_figure._circle(target, radius))
        np.testing.assert_allclose(np.linalg.norm(pixels - size / 2.0, axis=1), plane.camera.fx * np.tan(radius), rtol=1e-9)
    # the frame on the panorama is the border of the view
    frame = plane.pixels(panel_figure._frame(plane))
    on_border = np.minimum(np.abs(frame), np.abs(frame - size)).min(axis=1)
    np.testing.assert_allclose(on_border, 0.0, atol=1e-6)
    above = plane.place(sphere.exp_map(target, np.array([[0.0, 0.1]])))[0]
    assert above[1] < size / 2.0 == pytest.approx(above[0])  # upright


def test_the_view_reaches_the_head_and_what_is_not_too_far() -> None:
    target = direction(10.0, 0.0)

    def fov(*away: float) -> float:
        return float(
            np.degrees(
                view_plane(direction(10.0 + away[0], 0.0), target, [direction(10.0 - a, 0.0) for a in away[1:]]).camera.hfov
            )
        )

    assert fov(5.0, 3.0) == pytest.approx(50.0)  # no nearer than that
    assert fov(30.0, 3.0) == pytest.approx(72.0)
    assert fov(30.0, 40.0) == pytest.approx(96.0)
    assert fov(30.0, 40.0, 100.0) == pytest.approx(96.0)  # one far off does not make the others small
    assert fov(120.0, 170.0) == pytest.approx(50.0)


def test_a_heatmap_lies_where_its_cells_are() -> None:
    heat = np.zeros((32, 64), np.float32)
    heat[10, 0] = 2.0  # beside the seam
    cell = sphere.cell_directions(64, 32)[10, 0]
    panorama = np.full((200, 400, 3), 90, np.uint8)
    for plane in (Plane.panorama(400), view_plane(cell, cell, [])):
        picture = panel_figure._picture(panorama, heat, plane).astype(float)
        change = np.abs(picture - 90.0).sum(axis=-1)
        y, x = np.mgrid[: change.shape[0], : change.shape[1]] + 0.5
        x = np.where(x > change.shape[1] * 0.75, x - change.shape[1], x) if plane.camera.is_panorama else x
        middle = (x * change).sum() / change.sum(), (y * change).sum() / change.sum()
        np.testing.assert_allclose(middle, plane.place(cell[None])[0], atol=0.02 * change.shape[1])
        assert (change[:, -2:] > 0).any() == plane.camera.is_panorama  # it crosses the seam
    assert (panel_figure._picture(panorama, None, Plane.panorama(400)) == 90).all()


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_coarse")
def test_the_command_writes_what_it_shows(
    data: Dataset, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "board",
        "panels",
        str(files["ours"]),
        str(files["seed-1"]),
        "--data",
        str(data.root),
        "--random",
        "2",
        "--heatmap",
    ]
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        ran = run_command(capsys, *words, "--seed", seed, "--out", str(tmp_path / name))
        assert ran.code == 0, ran.err
    for suffix in ("png", "svg", "csv"):
        a, b, c = ((tmp_path / name / f"panels.{suffix}").read_bytes() for name in "abc")
        assert a == b != c
    svg = (tmp_path / "a" / "panels.svg").read_text()
    assert svg.count("<image") == 2 * 5 + 1  # panorama and view of five people, and the scale of the heatmap
    assert not re.search(r"<dc:date>|http[^\"]*\.(?:png|jpg)", svg)
    table = pd.read_csv(tmp_path / "a" / "panels.csv")
    assert table["panel"].tolist() == [name for name in (BEST, MEDIAN, WORST, RANDOM, RANDOM) for _ in range(3)]
    assert table["method"].tolist() == ["ours", "theirs", "human"] * 5
    # annotators as the board's row has them: each against the consensus of the others
    human = score_file("human", data, "test", tmp_path / "human.json", resamples=100)
    assert human.kind == "human"
    scored = pd.read_parquet(tmp_path / "human.samples.parquet").set_index("sample_id")["angular_distance_deg"]
    own = table[table["method"] == "human"]
    np.testing.assert_allclose(own["angular_distance_deg"], scored[own["sample_id"]], atol=1e-9)
    assert own["gaze_lon_deg"].isna().all()
    rows = data.annotations.set_index("sample_id").loc[table["sample_id"]]
    for name, file in (("ours", "ours"), ("theirs", "seed-1")):
        own = table[table["method"] == name]
        expected = distances(files[file], data, "mixed")[own["sample_id"]]
        np.testing.assert_allclose(own["angular_distance_deg"], expected, atol=1e-5)
        answers = read_predictions(files[file]).table.set_index("sample_id").loc[own["sample_id"]]
        np.testing.assert_allclose(own[["gaze_lon_deg", "gaze_lat_deg"]], answers.iloc[:, :2], atol=2e-6)
    np.testing.assert_allclose(table[["target_lon_deg", "target_lat_deg"]], rows[["gaze_lon_deg", "gaze_lat_deg"]], atol=2e-6)
    np.testing.assert_allclose(table[["head_lon_deg", "head_lat_deg"]], rows[["head_lon_deg", "head_lat_deg"]], atol=2e-6)


@pytest.mark.parametrize("by", ["angular_distance_deg", "kld"])
def test_all_type_is_legible_on_the_page_and_apart(data: Dataset, files: dict[str, Path], by: str) -> None:
    """Six methods, one of a hostile name, and conditions of long ones."""
    frame = data.annotations.assign(condition="tilt_pitch=5,tilt_roll=5,tilt_yaw=270,and=more")
    long = Dataset(data.root, data.info, frame)
    panels = read_panels(
        [files["ours"], *(files[name] for name in ("seed-1", "seed-2", "again", "formula", "ours"))],
        long,
        "test",
        by=by,
        heatmap=True,
    )
    with style(panel_figure.TYPE):
        figure = panels_figure(panels).figure
        figure.set_dpi(100)
        FigureCanvasAgg(figure).draw()
        texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert min(text.get_fontsize() for text in texts) >= 7.0
    width, height = figure.get_size_inches() * 100
    assert width == 700
    for name, box in boxes:
        assert box.x0 > -1 and box.x1 < width + 1 and box.y0 > -1 and box.y1 < height + 1, name  # noqa: PT018
    boxes += [("a picture", axes.get_window_extent()) for axes in figure.axes if axes.images]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1.0 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1.5, (one, other)
    pictures = [axes for axes in figure.axes if axes.images and axes.get_window_extent().height > 100]
    assert len(pictures) == 8
    assert all(axes.get_window_extent().height == pytest.approx(100 * HEIGHT_IN) for axes in pictures)


def test_names_are_no_formulas(data: Dataset, files: dict[str, Path], tmp_path: Path) -> None:
    draw_panels([files["formula"]], data, "test", tmp_path, random=0)
    assert cv2.imread(str(tmp_path / "panels.png")).shape[1] == 2100  # 7 inches, 300 dots an inch
    names = pd.read_csv(tmp_path / "panels.csv")["method"].replace("human", np.nan).dropna()
    assert len(names) == 3
    assert names.str.startswith("'=SUM").all()


def test_colours_are_apart_for_every_colour_vision() -> None:
    """Methods have marks of their own; and two colours are never one, as Machado, Oliveira and Fernandes (2009) simulate it."""
    assert len(set(MARKS[: len(COLOURS)])) == len(COLOURS)
    deficiencies = {
        "none": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    srgb = np.array([to_rgb(colour) for colour in (*COLOURS, "#ffffff")])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    for name, matrix in deficiencies.items():
        seen = np.clip(linear @ np.array(matrix).T, 0.0, 1.0)
        encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055).astype(np.float32)
        lab = cv2.cvtColor(encoded[None], cv2.COLOR_RGB2LAB)[0]
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000.0 * np.eye(len(lab))
        assert apart.min() > 12.0, name


# --- what is refused --------------------------------------------------------------------------------------------------


def test_faults_are_told(data: Dataset, files: dict[str, Path], tmp_path: Path) -> None:
    def draw(*names: str, data: Dataset = data, **rest: Any) -> None:
        draw_panels([files[name] for name in names], data, "test", tmp_path / "out", **rest)

    with pytest.raises(InputError, match="Expected one to 6 predictions files, found 7"):
        draw(*["ours"] * 7)
    with pytest.raises(InputError, match=r"Unknown metric 'angular_distance'.*Did you mean 'angular_distance_deg'"):
        draw("ours", by="angular_distance")
    with pytest.raises(InputError, match="Unknown metric 'in_frame_ap' of a person"):  # a number of the set
        draw("ours", by="in_frame_ap")
    with pytest.raises(InputError, match=r"Expected heatmaps in .*one\.parquet to lay over the pictures, found points alone"):
        draw("seed-1", "ours", heatmap=True)
    with pytest.raises(InputError, match=r"Expected heatmaps in .*one\.parquet for nss, found points alone"):
        draw("seed-1", "ours", by="nss")
    with pytest.raises(InputError, match="have suite 'lattitude'.*Did you mean 'latitude'"):
        draw("ours", suite="lattitude")
    with pytest.raises(InputError, match=r"at least 23 people with a known target.*found 14 of 20.*smaller --random"):
        draw("ours", random=20)
    blind = replace(data, annotations=data.annotations.assign(gaze_points_deg=[[]] * len(data)))
    with pytest.raises(InputError, match=r"at least 3 people with a known target.*found 0 of 20"):
        draw("ours", data=blind, random=0)
    lost = replace(data, root=tmp_path)
    with pytest.raises(InputError, match=r"Expected a panorama at .*\.jpg, but there is no such file"):
        draw("ours", data=lost)
    whole = read_predictions(files["ours"])
    write_predictions(tmp_path / "short.parquet", replace(whole, table=whole.table[1:], heatmaps=whole.heatmaps[1:]))
    with pytest.raises(CheckFailed, match=r"1 kinds of fault in .*short\.parquet.*\n.*missing-id"):
        draw_panels([files["ours"], tmp_path / "short.parquet"], data, "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_coarse")
def test_real_photos_can_be_shown(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_build(
        tmp_path / "data", f"gazefollow={real / 'gazefollow'}", f"panoramas={real / 'panoramas'}", recipe="mixed",
        settings=("output.width=512",),
    )  # fmt: skip
    for model in ("region-chance", "random"):
        words = ("predict", model, "--data", str(tmp_path / "data"), "--out", str(tmp_path / f"{model}.parquet"))
        assert run_command(capsys, *words).code == 0
    files = (str(tmp_path / "region-chance.parquet"), str(tmp_path / "random.parquet"))
    ran = run_command(capsys, "board", "panels", *files, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"))
    assert ran.code == 0, ran.err
    table = pd.read_csv(tmp_path / "out" / "panels.csv")
    assert table["method"].tolist() == ["region-chance", "random", "human"] * 4
    assert table["sample_id"].nunique() == 4
