"""Restrictions of people by group: kept are those whom pandas keeps, and what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.groups import checked_where, describe, parse_where, restricted, shortly


@pytest.fixture
def train(fake: Dataset) -> Dataset:
    return fake.select(split="train")


def kept(rows: Dataset, *words: str) -> list[str]:
    return restricted(rows, checked_where(rows, parse_where(words))).annotations["sample_id"].tolist()


def test_words_become_a_restriction() -> None:
    assert parse_where(["suite=mixed", "condition=lens=barrel", "head_latitude = 0-30", "head_latitude=30-60"]) == {
        "suite": ["mixed"], "condition": ["lens=barrel"], "head_latitude": ["0-30", "30-60"],
    }  # fmt: skip
    assert parse_where([]) == {}


@pytest.mark.parametrize("word", ["suite", "suite=", "=mixed", "", " = "])
def test_words_of_another_form(word: str) -> None:
    with pytest.raises(InputError, match=r"Expected --where in the form NAME=VALUE, found .* Example: --where target_latitude"):
        parse_where([word])


def test_people_are_those_whom_pandas_keeps(fake: Dataset) -> None:
    table = fake.annotations
    latitude, head = table["gaze_lat_deg"].abs(), table["head_lat_deg"].abs()
    expected: dict[tuple[str, ...], Any] = {
        (): table["suite"].notna(),
        ("suite=latitude",): table["suite"] == "latitude",
        ("condition=lat+60",): table["condition"] == "lat+60",
        ("condition=lat+60", "condition=mixed"): table["condition"].isin(["lat+60", "mixed"]),
        ("target_latitude=0-30",): latitude < 30.0,
        ("target_latitude=0-30 deg", "target_latitude=60-90"): (latitude < 30.0) | (latitude >= 60.0),
        ("target_latitude=unknown",): latitude.isna(),
        ("head_latitude=30-60 deg", "suite=mixed"): (table["suite"] == "mixed") & head.between(30.0, 60.0),
        ("head_band=60-90",): head >= 60.0,
        ("face=side",): table["face"] == "side",
        ("in_frame=False",): ~table["in_frame"],
        ("head_radius_deg=2..5",): (table["head_radius_deg"] >= 2.0) & (table["head_radius_deg"] < 5.0),
        ("gaze_lat_deg=-90..0",): table["gaze_lat_deg"] < 0.0,  # who has none is in no band
        ("hfov_deg=60",): table["hfov_deg"] == 60.0,
        ("width=128", "face=front"): table["face"] == "front",
    }  # fmt: skip
    for words, mask in expected.items():
        assert kept(fake, *words) == table["sample_id"][mask].tolist(), words
    assert all(0 < len(kept(fake, *words)) < len(table) for words in expected if words not in ((), ("hfov_deg=60",)))


def test_tenths_part_people_by_cluster(fake: Dataset) -> None:
    parts = [set(kept(fake, f"tenth={n}")) for n in range(10)]
    assert sum(map(len, parts)) == len(fake) == len(set.union(*parts))
    table = fake.annotations.set_index("sample_id")["cluster_id"]
    clusters = [set(table[list(part)]) for part in parts]
    assert sum(map(len, clusters)) == len(set.union(*clusters)) == table.nunique()
    assert all(0 < len(own) < 20 for own in clusters)  # of 60: a hash parts them evenly but for chance
    assert set(kept(fake, "tenth=0..5")) == set.union(*parts[:5])
    assert set(kept(fake.select(split="train"), "tenth=3")) <= parts[3]  # whoever else is there


def test_bands_include_their_lower_end_and_exclude_the_upper(train: Dataset) -> None:
    rows = replace(train, annotations=train.annotations.head(4).assign(hfov_deg=[40.0, 59.999, 60.0, np.nan]))
    assert kept(rows, "hfov_deg=40..60") == rows.annotations["sample_id"].tolist()[:2]
    assert kept(rows, "hfov_deg=60..180") == rows.annotations["sample_id"].tolist()[2:3]


def test_values_are_written_in_full_and_in_one_order(train: Dataset) -> None:
    where = checked_where(
        train, parse_where(["suite=mixed", "head_latitude=30-60", "head_latitude=0-30", "head_latitude=0-30"])
    )
    assert list(where.items()) == [("head_latitude", ["30-60 deg", "0-30 deg"]), ("suite", ["mixed"])]
    assert describe(where) == "head_latitude=30-60 deg or 0-30 deg, suite=mixed"
    assert shortly(where) == "head_latitude 30-60/0-30, mixed"
    assert shortly({"condition": ["lens=barrel"], "suite": ["lens"]}) == "lens=barrel, lens"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["head_latitud=0-30"], r"'head_latitud' is unknown. Did you mean 'head_latitude'\? Known: suite, condition, "),
        (["qwertz=1"], "'qwertz' is unknown. Known: suite, condition, .*, and columns of the annotations"),
        (["split=val"], "'split' is chosen by an option of its own"),
        (["gaze_points_deg=1"], "'gaze_points_deg' holds a list for each person"),
        (["target_latitude=0-45"], "target_latitude that somebody has, found '0-45'. Known: 0-30 deg, 30-60 deg"),
        (["suite=latitude"], "a value of suite that somebody has, found 'latitude'. Known: mixed"),
        (["sample_id=x"], "found 'x'. There are 60, such as mixed-mixed-train-photo0000-0, "),
        (["hfov_deg=wide"], r"Expected a number or a band LOW..HIGH for hfov_deg, found 'wide'"),
        (["hfov_deg=60..40"], "with LOW below HIGH for hfov_deg, found '60..40'. Turn it round"),
        (
            ["hfov_deg=61", "suite=mixed"],
            "Expected people where hfov_deg=61, suite=mixed among the 60 there are, found none: hfov_deg=61 has 0; "
            "suite=mixed has 60. Widen",
        ),
    ],
)  # fmt: skip
def test_faults_are_named(words: list[str], match: str, train: Dataset) -> None:
    with pytest.raises(InputError, match=match):
        checked_where(train, parse_where(words))
