"""The figure of a condition report: its numbers are right, every condition is shown, nothing overlaps, bytes repeat."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import fake_dataset
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.integrate import quad

from builders.report import figure as report
from builders.report import tally
from builders.report.figure import draw_report, report_figure
from builders.report.tally import density, examples, read_rows, uniform_arc, uniform_latitude
from srgaze360.dataset import Dataset, DatasetInfo
from srgaze360.drawing import style
from srgaze360.files import digest
from srgaze360.images import write_image

MANY = {
    "mixed": ["mixed"],
    "fov": [f"fov={fov}" for fov in (40, 60, 80, 100)],
    "pole": ["latitude=zenith", "latitude=nadir"],
    "lens": [
        f"lens={name}" for name in ("pinhole", "barrel", "pincushion", "a-lens-of-one's-own-with-a-name-beyond-all-measure")
    ],
    "tilt16": [
        f"tilt_pitch={a},tilt_roll={b},tilt_yaw={c}" for a, b, c in itertools.product((0, 5), (0, 5), (0, 90, 180, 270))
    ],
    "a-suite-with-a-very-long-name-indeed": ["$x_1$ & <b>", "50%|"],
    "crowd": ["crowd"],
}


def relabelled(root: Path, suites: dict[str, list[str]], people: int = 6) -> DatasetInfo:
    """A fake dataset whose suites and conditions are ``suites``, on the same photos, in folder ``root``."""
    data = fake_dataset(root, people=people, images=True)
    parts = []
    for suite, condition in ((suite, condition) for suite, names in suites.items() for condition in names):
        part = data.annotations[data.annotations["suite"] == "mixed"].copy()
        part = part if suite == "mixed" else part[part["split"] == "test"]
        for name in ("sample_id", "panorama_id"):
            part[name] = [digest([suite, condition, value]) for value in part[name]]
        parts.append(part.assign(suite=suite, condition=condition))
    rewrite(root, pd.concat(parts))
    return data.info.model_copy(update={"suites": suites})


def rewrite(root: Path, frame: pd.DataFrame) -> None:
    schema = pq.read_schema(root / "annotations.parquet")
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), root / "annotations.parquet")


def panels(figure: Figure) -> list[Axes]:
    """Axes that show an example: those without ticks."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.axison and not len(axes.get_xticks())]


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_density_integrates_to_one_and_counts_what_a_loop_counts() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10.0, 30.0, 500).clip(-90, 90), [-90.0, 90.0, 90.0 + 1e-13, np.nan, np.nan]])
    edges = report.LATITUDE_EDGES
    found = density(values, edges)
    assert float(found @ np.diff(edges)) == pytest.approx(1.0, abs=1e-12)
    known = [min(value, 90.0) for value in values if not math.isnan(value)]
    for low, high, share in zip(edges[:-1], edges[1:], found, strict=True):
        count = sum(low <= value < high or value == high == 90.0 for value in known)
        assert share == pytest.approx(count / len(known) / (high - low), abs=1e-15)
    assert not density([np.nan, np.nan], edges).any()
    assert not density([], edges).any()


def test_even_spread_has_the_density_of_zones_and_of_arcs() -> None:
    # a zone between two latitudes has the share (sin b - sin a) / 2 of a sphere; a cap of radius r has (1 - cos r) / 2
    for low, high in itertools.pairwise(report.LATITUDE_EDGES):
        zone = (math.sin(math.radians(high)) - math.sin(math.radians(low))) / 2.0
        assert quad(uniform_latitude, low, high)[0] == pytest.approx(zone, abs=1e-12)
    for low, high in itertools.pairwise(report.ARC_EDGES):
        ring = (math.cos(math.radians(low)) - math.cos(math.radians(high))) / 2.0
        assert quad(uniform_arc, low, high)[0] == pytest.approx(ring, abs=1e-12)
    directions = np.random.default_rng(1).normal(size=(200_000, 3))
    latitudes = np.degrees(np.arcsin(directions[:, 1] / np.linalg.norm(directions, axis=1)))
    middles = report.LATITUDE_EDGES[:-1] + 5.0
    np.testing.assert_allclose(density(latitudes, report.LATITUDE_EDGES), uniform_latitude(middles), atol=3e-4)


def test_rows_have_the_arc_and_lists_as_text(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=20)
    frame = data.annotations.copy()
    frame["repairs"] = [["a", "b"] if index % 2 else [] for index in range(len(frame))]
    frame["lens_params"] = [[-0.25, 0.0]] * len(frame)
    rewrite(tmp_path, frame)
    rows = read_rows(tmp_path)
    assert list(rows["repairs"]) == ["a;b" if index % 2 else "" for index in range(len(frame))]
    assert {tuple(map(float, text.split(";"))) for text in rows["lens_params"]} == {(-0.25, 0.0)}
    for row, arc in zip(frame.to_dict("records"), rows["arc_deg"], strict=True):
        if row["gaze_lon_deg"] is None or math.isnan(row["gaze_lon_deg"]):
            assert math.isnan(arc)
            continue
        a, b = math.radians(row["head_lat_deg"]), math.radians(row["gaze_lat_deg"])
        turn = math.radians(row["gaze_lon_deg"] - row["head_lon_deg"])
        haversine = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
        assert arc == pytest.approx(math.degrees(2.0 * math.asin(math.sqrt(haversine))), abs=1e-9)


def test_the_histograms_drawn_are_those_of_the_rows(tmp_path: Path) -> None:
    info = relabelled(tmp_path, {"mixed": ["mixed"], "fov": ["fov=40"], "rotated": ["rotated"]}, people=30)
    frame = pd.read_parquet(tmp_path / "annotations.parquet")
    frame.loc[frame["suite"] == "rotated", "lens"] = tally.WHOLE
    rewrite(tmp_path, frame)
    rows = read_rows(tmp_path)
    with style(7.0):
        latitudes, arcs = report_figure(tmp_path, info, rows).axes[:2]
    drawn = {patch.get_label(): patch.get_data() for patch in (*latitudes.patches, *arcs.patches)}
    for label, values in {
        "heads": rows["head_lat_deg"],
        "targets": rows["gaze_lat_deg"],
        "photos, suite mixed": rows["arc_deg"][rows["suite"] == "mixed"],
        "photos, test suites": rows["arc_deg"][rows["suite"] == "fov"],
        "whole panoramas": rows["arc_deg"][rows["suite"] == "rotated"],
    }.items():
        heights, edges, _ = drawn[label]
        expected = np.histogram(values.dropna(), edges, density=True)[0]  # numpy's own density
        np.testing.assert_allclose(heights, 100.0 * expected, atol=1e-12)
        assert float(heights @ np.diff(edges)) == pytest.approx(100.0)
    # an even spread is drawn to the same scale
    (even,) = (line for line in latitudes.lines if line.get_label() == "even over the sphere")
    assert np.trapezoid(even.get_ydata(), even.get_xdata()) == pytest.approx(100.0, abs=0.01)


def test_bars_are_as_long_as_the_people_they_count(tmp_path: Path) -> None:
    info = relabelled(tmp_path, MANY)
    rows = read_rows(tmp_path)
    with style(7.0):
        figure = report_figure(tmp_path, info, rows)
    bars = [axes for axes in figure.axes if not axes.axison]
    widths = [bar.get_width() for axes in bars for bar in axes.patches]
    numbers = [text.get_text() for axes in bars for text in axes.texts if text.xy[0] > 0]
    expected = rows.groupby(["suite", "condition", "split"], observed=True).size()
    assert sum(widths) == len(rows)
    assert sorted(width for width in widths if width) == sorted(expected)
    assert sorted(map(int, numbers)) == sorted(rows.groupby(["suite", "condition"], observed=True).size())
    assert len({axes.get_xlim() for axes in bars}) == 1


# --- examples ---------------------------------------------------------------------------------------------------------


def test_a_suite_shows_one_photo_under_all_its_conditions_and_known_targets_first(tmp_path: Path) -> None:
    info = relabelled(tmp_path, MANY, people=12)
    rows = read_rows(tmp_path)
    chosen = examples(rows)
    assert set(chosen) == {(suite, condition) for suite, names in info.suites.items() for condition in names}
    for suite, names in info.suites.items():
        photos = set()
        for condition in names:
            people = rows[rows["panorama_id"] == chosen[suite, condition]]
            assert set(people["suite"]) == {suite}
            assert set(people["condition"]) == {condition}
            assert people["arc_deg"].notna().any()
            photos |= set(people["source_image"])
        assert len(photos) == 1, suite
    # the order of the rows does not matter
    assert examples(rows.sample(frac=1.0, random_state=3)) == chosen
    # a photo whose target becomes unknown is not chosen any more, as long as another is known
    panorama = chosen["pole", "latitude=nadir"]
    blind = rows.copy()
    blind.loc[blind["panorama_id"] == panorama, "arc_deg"] = np.nan
    assert examples(blind)["pole", "latitude=nadir"] != panorama
    # a known target comes before the suite's one photo
    half = rows[rows["suite"] == "pole"].copy()
    first, second = sorted(set(half["source_image"]))[:2]
    half = half[half["source_image"].isin([first, second])]
    for photo, condition in ((first, "latitude=zenith"), (second, "latitude=nadir")):
        half.loc[(half["source_image"] == photo) & (half["condition"] == condition), "arc_deg"] = np.nan
    found = examples(half)
    for photo, condition in ((second, "latitude=zenith"), (first, "latitude=nadir")):
        assert set(half[half["panorama_id"] == found["pole", condition]]["source_image"]) == {photo}
    # where nothing is known, there is an example all the same
    assert set(examples(rows.assign(arc_deg=np.nan))) == set(chosen)


@pytest.mark.parametrize("suites", [{"mixed": ["mixed"]}, {"fov": ["fov=40", "fov=60"]}, MANY], ids=["one", "two", "many"])
def test_every_condition_has_a_panel_with_its_name_and_its_panorama(tmp_path: Path, suites: dict[str, list[str]]) -> None:
    info = relabelled(tmp_path, suites)
    with style(7.0):
        figure = report_figure(tmp_path, info, read_rows(tmp_path))
    shown = panels(figure)
    names = [(suite, condition) for suite, conditions in suites.items() for condition in conditions]
    assert len(shown) == len(names)
    for axes, (suite, condition) in zip(shown, names, strict=True):
        assert len(axes.images) == 1
        texts = [text.get_text() for text in axes.texts]
        assert texts[0][:5] == suite[:5]
        if suite != condition and len(condition) < 30 and len(suite) < 20:
            assert texts[1] == ", ".join(item.partition("=")[2] for item in condition.split(","))


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suites", [{"mixed": ["mixed"]}, {"fov": ["fov=40", "fov=60"]}, MANY], ids=["one", "two", "many"])
def test_all_type_is_legible_on_the_page_and_apart(tmp_path: Path, suites: dict[str, list[str]]) -> None:
    info = relabelled(tmp_path, suites, people=1)
    rows = read_rows(tmp_path)
    if suites == {"mixed": ["mixed"]}:
        rows = rows.loc[rows.index.repeat(61_728)]  # a bar with a long number
    with style(report.TYPE):
        figure = report_figure(tmp_path, info, rows)
        figure.set_dpi(100)
        FigureCanvasAgg(figure).draw()
        texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        texts = [text for text in texts if not any(hidden(parent, text) for parent in figure.axes)]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert figure.get_size_inches()[0] == 7.0
    assert min(text.get_fontsize() for text in texts) >= 7.0
    width, height = figure.get_size_inches() * 100
    for name, box in boxes:
        assert box.x0 > -1 and box.x1 < width + 1 and box.y0 > -1 and box.y1 < height + 1, name  # noqa: PT018
    boxes += [("a panel", axes.get_window_extent()) for axes in panels(figure)]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1.0 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1.5, (one, other)


def hidden(axes: Axes, text: Text) -> bool:
    """Whether a text is a tick label of axes that are switched off, or lies beyond the range of its axis."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if text in (tick.label1, tick.label2) and not (axes.axison and low <= tick.get_loc() <= high):
                return True
    return False


def test_the_figure_stays_of_a_sensible_height(tmp_path: Path) -> None:
    suites = {"mixed": ["mixed"], "many": [f"level={index}" for index in range(59)]}
    info = relabelled(tmp_path, suites, people=2)
    with style(7.0):
        figure = report_figure(tmp_path, info, read_rows(tmp_path))
    assert len(panels(figure)) == 60
    assert figure.get_size_inches()[1] < 24.0


def test_colours_differ_in_lightness_too() -> None:
    def lightness(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
        return 116.0 * luminance ** (1.0 / 3.0) - 16.0

    for a, b in itertools.combinations(report.SPLIT_COLOURS.values(), 2):
        assert abs(lightness(a) - lightness(b)) > 15.0


def test_bytes_repeat_and_do_not_depend_on_the_users_settings(tmp_path: Path) -> None:
    info = relabelled(tmp_path, {"mixed": ["mixed"], "pole": MANY["pole"]})
    rows = read_rows(tmp_path)
    draw_report(tmp_path, info, rows)
    first = (tmp_path / report.REPORT_FILE).read_bytes()
    with mpl.rc_context({"font.size": 20.0, "axes.facecolor": "red", "savefig.facecolor": "blue", "lines.linewidth": 9.0}):
        draw_report(tmp_path, info, rows)
    assert (tmp_path / report.REPORT_FILE).read_bytes() == first
    kinds, place = set(), 8
    while place < len(first):
        size, kind = struct.unpack(">I4s", first[place : place + 8])
        kinds.add(kind.decode())
        place += size + 12
    assert not kinds & {"tEXt", "iTXt", "zTXt", "tIME"}, "nothing says when or by what it was drawn"
    assert cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR).shape[1] == 1400


def test_no_target_known_and_a_panorama_that_cannot_be_read(tmp_path: Path) -> None:
    info = relabelled(tmp_path, {"fov": ["fov=40"]})
    frame = pd.read_parquet(tmp_path / "annotations.parquet")
    rewrite(tmp_path, frame.assign(gaze_lon_deg=None, gaze_lat_deg=None, gaze_band=None, in_frame=False))
    rows = read_rows(tmp_path)
    broken = tmp_path / frame[frame["panorama_id"] == examples(rows)["fov", "fov=40"]]["image_path"].iloc[0]
    broken.write_bytes(b"no picture")
    with style(7.0):
        figure = report_figure(tmp_path, info, rows)
    assert "no target's direction is known" in {text.get_text() for text in figure.axes[1].texts}
    assert {patch.get_label() for patch in figure.axes[0].patches} & {"heads", "targets"} == {"heads"}
    (panel,) = panels(figure)
    assert "cannot be read" in {text.get_text() for text in panel.texts}


def test_one_panorama_is_read_per_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = relabelled(tmp_path, {"mixed": ["mixed"], "pole": MANY["pole"]})
    read = []
    original = report.Sample.panorama
    monkeypatch.setattr(report.Sample, "panorama", lambda sample: read.append(sample.panorama_path) or original(sample))
    draw_report(tmp_path, info, read_rows(tmp_path))
    assert len(read) == 3


def test_marks_of_an_example_lie_on_its_head_and_target(tmp_path: Path) -> None:
    """In the file itself: yellow around the head, magenta around the target, where the panel's own frame says they are."""
    info = relabelled(tmp_path, {"mixed": ["mixed"]}, people=2)
    frame = pd.read_parquet(tmp_path / "annotations.parquet").head(1)
    frame = frame.assign(
        head_lon_deg=-90.0, head_lat_deg=30.0, head_radius_deg=1.0, gaze_lon_deg=45.0, gaze_lat_deg=-45.0, split="train"
    )
    rewrite(tmp_path, frame)
    write_image(tmp_path / frame["image_path"].iloc[0], np.zeros((64, 128, 3), np.uint8))
    with style(7.0):
        figure = report_figure(tmp_path, info, read_rows(tmp_path))
    (axes,) = panels(figure)
    draw_report(tmp_path, info, read_rows(tmp_path))
    image = cv2.imread(str(tmp_path / report.REPORT_FILE))[..., ::-1].astype(int)
    box = axes.get_position()
    left, right, top, bottom = (
        round(share * size)
        for share, size in zip((box.x0, box.x1, 1 - box.y1, 1 - box.y0), (1400, 1400, *image.shape[:1] * 2), strict=True)
    )
    panel = image[top:bottom, left:right]
    size = right - left
    red, green, blue = np.moveaxis(panel, 2, 0)
    yellow, magenta = (red > 120) & (green > 100) & (blue < 70), (red > 120) & (green < 70) & (blue > 60)
    for marked, place in ((yellow, (0.25, 30.0)), (magenta, (0.625, -45.0))):
        y, x = np.nonzero(marked)
        assert len(x) > 10
        assert x.mean() + 0.5 == pytest.approx(place[0] * size, abs=1.5)
        assert y.mean() + 0.5 == pytest.approx((0.5 - place[1] / 180.0) * size / 2.0, abs=1.5)


def test_open_dataset_gives_the_same_figure_as_the_record_at_hand(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=4, images=True)
    draw_report(tmp_path, data.info, read_rows(tmp_path))
    first = (tmp_path / report.REPORT_FILE).read_bytes()
    (tmp_path / "dataset.yaml").rename(tmp_path / "later.yaml")
    draw_report(tmp_path, data.info, read_rows(tmp_path))
    assert (tmp_path / report.REPORT_FILE).read_bytes() == first
    (tmp_path / "later.yaml").rename(tmp_path / "dataset.yaml")
    assert len(Dataset.open(tmp_path)) == len(data)
