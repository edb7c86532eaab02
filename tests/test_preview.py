"""A contact sheet of a dataset shows a bit of everything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import fake_dataset

from builders.report.preview import choose, preview
from srgaze360.dataset import Dataset


def test_a_sheet_shows_every_condition_before_any_twice(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=20)
    chosen = choose(data, 3, seed=0)
    assert len({(people[0].row["suite"], people[0].row["condition"]) for people in chosen}) == 3
    assert [[p.sample_id for p in people] for people in choose(data, 3, seed=0)] == [[p.sample_id for p in x] for x in chosen]
    everything = choose(data, 1000, seed=0)
    assert Counter(p.sample_id for people in everything for p in people) == Counter(data.annotations["sample_id"])
    assert all(len({p.row["panorama_id"] for p in people}) == 1 for people in everything)


@pytest.mark.parametrize("known", [True, False])
def test_the_sheet_is_drawn_and_its_bytes_repeat(tmp_path: Path, known: bool) -> None:
    data = fake_dataset(tmp_path, people=4, images=True)
    if not known:
        frame = data.annotations.assign(gaze_lon_deg=np.nan, gaze_lat_deg=np.nan)
        frame["gaze_points_deg"] = [[]] * len(frame)
        data = Dataset(data.root, data.info, frame)
    assert preview(data, tmp_path / "a.png", count=2) == 2
    assert preview(data, tmp_path / "b.png", count=2) == 2
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert cv2.imread(str(tmp_path / "a.png")).shape[1] == 1800
