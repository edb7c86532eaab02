"""The page of a dataset: every number on it equals a slow recount of the annotations."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_dataset

from builders.report.card import write_card
from builders.report.strata import strata
from builders.report.tally import read_rows
from srgaze360.cameras import Camera
from srgaze360.dataset import COLUMNS, Dataset, DatasetInfo, SourceInfo
from srgaze360.dataset_writer import write_dataset

RECIPE = {
    "title": "A made-up dataset.",
    "lenses": {
        "barrel": {"lens": "brown-conrady", "params": [-0.12, 0.01]},
        "pincushion": {"lens": "brown-conrady", "params": [0.10, 0.02]},
        "fisheye": {"lens": "equidistant", "params": []},
    },
    "base": {"fov_deg": 60.0, "roll_deg": {"strata": [[-30, 0], [0, 30]]}, "lens": "own"},
    "suites": {
        "mixed": {
            "draw": {
                "fov_deg": {"strata": [[40, 70], [70, 100]]},
                "latitude_deg": {"strata": [[-90, -30], [-30, 30], [30, 90]]},
                "longitude_deg": "clear",
                "lens": {"levels": ["own", "barrel", "barrel", "fisheye"]},
                "tilt_yaw_deg": {"levels": [0, 270]},
                "background": {"levels": ["black", "blur"]},
            }
        },
        "latitude": {"draw": {"roll_deg": 0.0}, "vary": {"latitude_deg": [0, 60]}},
        "absent": {"draw": {"fov_deg": {"strata": [[40, 70]]}}},
    },
}
LENSES = (("pinhole", ()), ("brown-conrady", (-0.12, 0.01)), ("brown-conrady", (0.10, 0.02)), ("equidistant", ()))
REASONS = {"head box is empty": 2, "beyond --limit | <5>": 30, "gaze is not finite": 2}


def varied(root: Path, people: int = 30) -> tuple[DatasetInfo, list[dict[str, Any]]]:
    """A fake dataset with two sources, every lens, portrait photos, repairs, whole panoramas; its record and rows."""
    data = fake_dataset(root, people=people, images=True)
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    photos: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(data.annotations.to_dict("records")):
        row = {name: _plain(value) for name, value in row.items()}
        if row["panorama_id"] not in photos:
            lens, params = LENSES[int(rng.integers(4))]
            fov = float(rng.uniform(40.0, 95.0))
            size = ((640, 480), (480, 640))[int(rng.integers(2))]
            camera = Camera.from_fov(lens, *size, math.radians(fov), side="longer", params=params)
            photos[row["panorama_id"]] = {
                "source": ("one", "two")[int(rng.integers(2))], "lens": lens, "lens_params": list(camera.params),
                "camera": json.dumps(camera.to_dict()), "hfov_deg": math.degrees(camera.hfov), "longer": fov,
                "pitch_deg": float(rng.choice([*rng.uniform(-90, 90, 4), -90.0, -30.0, 30.0, 90.0])),
                "roll_deg": float(rng.uniform(-30, 30)),
                "tilt_yaw_deg": float(rng.choice([0.0, -90.0])), "background": str(rng.choice(["black", "blur", "noise"])),
                "minification": float(rng.uniform(0.5, 4)), "worst_minification": float(rng.uniform(4, 9)),
                "fold_back": float(rng.choice([0.0, 0.02])) if lens == "brown-conrady" else 0.0,
                "footprint": float(rng.uniform(0.03, 0.2)), "photos": int(rng.integers(1, 4)),
                "near_pole": bool(rng.integers(2)), "contains_pole": bool(rng.integers(2)),
            }  # fmt: skip
        facts = photos[row["panorama_id"]]
        row |= {name: value for name, value in facts.items() if name != "longer"}
        row["repairs"] = (["head box clipped"], ["head box clipped", "inverted"], [])[index % 3]
        if row["suite"] == "latitude" and row["condition"] == "lat+60":
            row |= {"lens": "equirectangular", "lens_params": [], "footprint": 1.0, "fold_back": 0.0}
        rows.append(row | {"longer": facts["longer"]})
    info = data.info.model_copy(
        update={
            "recipe": RECIPE,
            "rejected": 34,
            "sources": [
                SourceInfo(
                    kind=kind, title=f"Source {kind}", licence="MIT | own", citation=f"@misc{{{kind}}}", photos=1234, people=7
                )
                for kind in ("one", "two")
            ],
        }
    )
    write_dataset(root, info, [{k: v for k, v in row.items() if k != "longer"} for row in rows])
    (root / "dataset.yaml").unlink()  # the card is written first
    return info, rows


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def tables(text: str) -> dict[tuple[str, ...], list[list[str]]]:
    """Markdown tables by header."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    block: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            block.append([cell.strip() for cell in line[1:-1].replace("\\|", "\0").split("|")])
        elif block:
            found[tuple(block[0])] = [[cell.replace("\0", "|") for cell in cells] for cells in block[2:]]
            block = []
    return found


@pytest.fixture
def page(tmp_path: Path) -> tuple[DatasetInfo, list[dict[str, Any]], dict[tuple[str, ...], list[list[str]]], str]:
    info, rows = varied(tmp_path)
    write_card(tmp_path, info, REASONS)
    text = (tmp_path / "README.md").read_text()
    return info, rows, tables(text), text


def placements(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({(row["panorama_id"], row["source"], row["source_image"]): row for row in reversed(rows)}.values())[::-1]


def arc(row: dict[str, Any]) -> float | None:
    if row["gaze_lon_deg"] is None:
        return None
    head, gaze = (
        (math.cos(lat) * math.sin(lon), math.sin(lat), math.cos(lat) * math.cos(lon))
        for lon, lat in ((math.radians(row[f"{end}_lon_deg"]), math.radians(row[f"{end}_lat_deg"])) for end in ("head", "gaze"))
    )
    return math.degrees(2.0 * math.asin(min(math.dist(head, gaze) / 2.0, 1.0)))


def test_counts_by_condition_split_and_source_equal_a_recount(page: Any) -> None:
    _, rows, found, _ = page
    lines = found["suite", "condition", "source", "train", "val", "test", "panoramas"]
    people = Counter((row["suite"], row["condition"], row["source"], row["split"]) for row in rows)
    panoramas = Counter(
        key[:3] for key in {(row["suite"], row["condition"], row["source"], row["panorama_id"]) for row in rows}
    )
    expected = [
        [*key, *(str(people[(*key, split)]) for split in ("train", "val", "test")), str(count)]
        for key, count in panoramas.items()
    ]
    assert sorted(lines) == sorted(expected)
    assert [line[0] for line in lines] == sorted((line[0] for line in lines), key=["mixed", "latitude"].index)
    sizes = {
        line[0]: line[1:] for line in found["split", "people on panoramas", "panoramas", "people in the sources", "clusters"]
    }
    for split in ("train", "test"):
        those = [row for row in rows if row["split"] == split]
        assert sizes[split] == [
            str(len({tuple(row[name] for name in names) for row in those}))
            for names in (("sample_id",), ("panorama_id",), ("source", "source_image", "source_person"), ("cluster_id",))
        ]


def test_bands_and_arcs_equal_a_recount(page: Any) -> None:
    _, rows, found, _ = page
    for name, low, high, even in (("0-30 deg", 0, 30, 50.0), ("30-60 deg", 30, 60, 36.6), ("60-90 deg", 60, 91, 13.4)):
        heads = sum(low <= abs(row["head_lat_deg"]) < high for row in rows)
        known = [row for row in rows if row["gaze_lat_deg"] is not None]
        gazes = sum(low <= abs(row["gaze_lat_deg"]) < high for row in known)
        expected = [
            name,
            str(heads),
            f"{100 * heads / len(rows):.1f} %",
            str(gazes),
            f"{100 * gazes / len(known):.1f} %",
            f"{even} %",
        ]
        assert expected in found["absolute latitude", "heads", "", "targets", "", "even over the sphere"]
    header = ("suite", "people", "5 %", "25 %", "median", "75 %", "95 %", "largest", "above 60°", "above 90°", "above 120°")
    for line in found[header]:
        arcs = sorted(a for row in rows if line[0] in (row["suite"], "**all**") and (a := arc(row)) is not None)
        assert line[1] == str(len(arcs))
        assert line[4] == f"{statistics.median(arcs):.1f}°"
        cuts = statistics.quantiles(arcs, n=20, method="inclusive")
        assert [line[2], line[3], line[5], line[6], line[7]] == [
            f"{value:.1f}°" for value in (cuts[0], cuts[4], cuts[14], cuts[18], arcs[-1])
        ]
        assert line[8:] == [f"{100 * sum(a > limit for a in arcs) / len(arcs):.1f} %" for limit in (60, 90, 120)]
    assert [line[0] for line in found[header]] == ["mixed", "latitude", "**all**"]


def test_flags_and_sampling_equal_a_recount(page: Any) -> None:
    _, rows, found, _ = page
    for line in found["suite", "people", "arc crosses the seam", "near a pole", "contains a pole"]:
        those = [row for row in rows if line[0] in (row["suite"], "**all**")]
        assert line[1:] == [
            str(len(those)),
            *(str(sum(row[f] for row in those)) for f in ("crosses_seam", "near_pole", "contains_pole")),
        ]
    header = ("suite", "panoramas", "photos on each", "minification, centre", "minification, worst", "footprint, %")
    for line in found[header]:
        those = [row for row in placements(rows) if line[0] in (row["suite"], "**all**")]
        assert line[1] == str(len({row["panorama_id"] for row in those}))
        assert line[2] == "1 to 3"
        for cell, name, scale, digits in (
            (line[3], "minification", 1, 2), (line[4], "worst_minification", 1, 2), (line[5], "footprint", 100, 1)
        ):  # fmt: skip
            values = [scale * row[name] for row in those]
            expected = f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
            assert cell == expected
    (line,) = found["lens", "photos", "of these lose pixels", "pixels they lose, %"]
    those = [row for row in placements(rows) if row["lens"] == "brown-conrady"]
    assert line == ["brown-conrady", str(len(those)), str(sum(row["fold_back"] > 0 for row in those)), "2.0 (2.0 to 2.0)"]


def test_strata_reached_equal_a_recount(page: Any, tmp_path: Path) -> None:
    _, rows, found, _ = page
    photos = [row for row in placements(rows) if row["suite"] == "mixed"]
    preset = {("brown-conrady", -0.12): "barrel", ("equidistant", None): "fisheye"}

    def lens(row: dict[str, Any]) -> str:
        return preset.get((row["lens"], row["lens_params"][0] if row["lens_params"] else None), "own")

    rules = {
        ("fov", "40 to 70°"): (0.5, lambda row: 40 <= row["longer"] < 70),
        ("fov", "70 to 100°"): (0.5, lambda row: 70 <= row["longer"] <= 100),
        ("roll", "-30 to 0°"): (0.5, lambda row: -30 <= row["roll_deg"] < 0),
        ("roll", "0 to 30°"): (0.5, lambda row: 0 <= row["roll_deg"] <= 30),
        ("lens", "own"): (0.25, lambda row: lens(row) == "own"),
        ("lens", "barrel"): (0.5, lambda row: lens(row) == "barrel"),
        ("lens", "fisheye"): (0.25, lambda row: lens(row) == "fisheye"),
        ("latitude", "-90 to -30°"): (1 / 3, lambda row: -90 <= row["pitch_deg"] < -30),
        ("latitude", "-30 to 30°"): (1 / 3, lambda row: -30 <= row["pitch_deg"] < 30),
        ("latitude", "30 to 90°"): (1 / 3, lambda row: 30 <= row["pitch_deg"] <= 90),
        ("tilt_yaw", "0°"): (0.5, lambda row: row["tilt_yaw_deg"] == 0),
        ("tilt_yaw", "270°"): (0.5, lambda row: row["tilt_yaw_deg"] == -90),
        ("background", "black"): (0.5, lambda row: row["background"] == "black"),
        ("background", "blur"): (0.5, lambda row: row["background"] == "blur"),
        ("background", "other"): (None, lambda row: row["background"] == "noise"),
    }
    lines = found["suite", "axis", "stratum", "meant", "reached", "train", "val", "test"]
    for line in lines:
        meant, rule = rules.pop((line[1], line[2]))
        inside = [row for row in photos if rule(row)]
        counts = [sum(row["split"] == split for row in inside) for split in ("train", "val", "test")]
        expected = [
            "–" if meant is None else f"{100 * meant:.1f} %",
            f"{100 * len(inside) / len(photos):.1f} %",
            *map(str, counts),
        ]
        assert line == ["mixed", line[1], line[2], *expected]
    assert not rules, "a stratum is missing"
    # some photos are portraits, whose own stratum the horizontal field of view does not tell
    assert any(row["longer"] >= 70 > row["hfov_deg"] for row in photos)
    info = Dataset(tmp_path, page[0], None).info  # type: ignore[arg-type]
    rows_read = read_rows(tmp_path).drop_duplicates(["panorama_id", "source", "source_image"])
    assert {item.suite for item in strata(tmp_path, info, rows_read)} == {"mixed"}


def test_repairs_rejections_sources_and_columns(page: Any, tmp_path: Path) -> None:
    info, rows, found, text = page
    repairs = Counter(
        repair
        for *_, repair in {
            (row["source"], row["source_image"], row["source_person"], repair) for row in rows for repair in row["repairs"]
        }
    )
    assert found["people", "repair"] == [[str(count), repair] for repair, count in repairs.most_common()]
    assert repairs["head box clipped"] > repairs["inverted"] > 0
    assert found["rows", "reason"] == [
        ["30", "beyond --limit | &lt;5>"],
        ["2", "gaze is not finite"],
        ["2", "head box is empty"],
    ]
    assert found["source", "", "images used", "people used"] == [
        ["one", "Source one", "1,234", "7"],
        ["two", "Source two", "1,234", "7"],
    ]
    assert [line[0].strip("`") for line in found["column", "type", "meaning"]] == list(COLUMNS)
    assert "Further columns are facts from the sources: `face`." in text
    for digest in (info.recipe_digest, info.label_digest, info.pixel_digest):
        assert digest in text
    licences = (tmp_path / "LICENSES.md").read_text()
    assert "MIT | own" in licences
    assert "@misc{two}" in licences


def test_limits_state_the_datasets_own_numbers(page: Any) -> None:
    _, rows, _, text = page
    flat = [row for row in placements(rows) if row["lens"] != "equirectangular"]
    limits = text[text.index("## Limits") : text.index("## Citing")]
    covered = [100 * row["footprint"] for row in flat]
    assert f"here {statistics.median(covered):.1f} ({min(covered):.1f} to {max(covered):.1f}) %" in limits
    black = sum(row["background"] == "black" for row in flat)
    assert f"{100 * black / len(flat):.1f} % of the photos lie on plain black" in limits
    behind = [row for row in rows if row["lens"] == "equirectangular" and (arc(row) or 0.0) > 90.0]
    assert behind
    assert f"on whole panoramas: {len(behind)} (in latitude)." in limits
    unknown = sum(arc(row) is None for row in rows)
    assert f"those of {100 * unknown / len(rows):.1f} % of the people ({unknown})" in limits


def test_the_figure_is_there_and_a_second_call_changes_no_byte(tmp_path: Path) -> None:
    info, _ = varied(tmp_path, people=8)
    names = ("README.md", "LICENSES.md", "conditions.png")
    write_card(tmp_path, info, REASONS)
    first = [(tmp_path / name).read_bytes() for name in names]
    write_card(tmp_path, info, dict(reversed(REASONS.items())))
    assert [(tmp_path / name).read_bytes() for name in names] == first
    assert "](conditions.png)" in first[0].decode()


def test_one_person_whose_target_is_unknown_and_no_recipe(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=1, images=True)
    row = {name: _plain(value) for name, value in data.annotations.iloc[0].to_dict().items()}
    row |= {"gaze_lon_deg": None, "gaze_lat_deg": None, "gaze_band": None, "gaze_points_deg": [], "in_frame": False}
    write_dataset(tmp_path, data.info, [row])
    info = data.info.model_copy(update={"suites": {"mixed": ["mixed"]}})
    write_card(tmp_path, info, {})
    text = (tmp_path / "README.md").read_text()
    assert "| 0 | nothing was rejected |" in text
    assert "| mixed | 0 | – | – | – | – | – | – | – | – | – |" in text
    assert "those of 100.0 % of the people (1) lie outside their photo" in text
    assert "nan" not in text
    assert "## Strata" not in text
    assert "**all**" not in text
    assert "no lens folds back" in text
