"""Results to put on boards, predictions that scatter around the truth; and a reader of the pages that come out."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.scoring import score_file
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, write_predictions
from srgaze360.predictors import dataset_key


def predictions(
    path: Path, data: Dataset, spread: float, card: PredictorCard, *, draw: int = 8, heatmaps: bool = False
) -> Path:
    """Predictions for the test split, scattered by ``spread`` radians per axis, drawn from seed ``draw``."""
    rows = data.select(split="test")
    known = np.where(np.isnan(rows.gazes), rows.heads, rows.gazes)
    directions = sphere.exp_map(known, np.random.default_rng(draw).normal(size=(len(rows), 2)) * spread)
    lon, lat = sphere.lonlat_from_direction(directions)
    table = pd.DataFrame(
        {"sample_id": rows.annotations["sample_id"], "gaze_lon_deg": np.degrees(lon), "gaze_lat_deg": np.degrees(lat)}
    )
    cosine = np.einsum("nc,hwc->nhw", directions, sphere.cell_directions(16, 8))
    header = PredictionHeader(dataset=dataset_key(data), split="test", predictor=card, heatmap_shape=(8, 16))
    write_predictions(path, Predictions(header, table, np.exp(8.0 * (cosine - 1.0)).astype(np.float16) if heatmaps else None))
    return path


def result(
    folder: Path,
    data: Dataset,
    name: str,
    spread: float,
    *,
    seed: int | None = None,
    heatmaps: bool = False,
    protocol: str = "spherical",
    **card: list[str],
) -> Path:
    """A score record of made-up predictions; another seed is another draw."""
    draw = 8 if seed is None else 100 + seed
    file = folder / f"{name}-{seed}.parquet"
    predictions(file, data, spread, PredictorCard(name=name, seed=seed, **card), draw=draw, heatmaps=heatmaps)
    score_file(file, data, "test", file.with_suffix(".json"), protocol=protocol, resamples=200)
    return file.with_suffix(".json")


class Page(HTMLParser):
    """Text of every table by section id, rows of cell texts; all elements that were opened; well-formedness.

    Tables within tables, which unfold, are text of the page but no rows.
    """

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.opened: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._stack: list[str] = []
        self._section = ""
        self.feed(html)
        self.close()
        assert self._stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._stack.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        elif self._stack.count("table") > 1:
            return
        elif tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._stack:
            return
        self.text += data
        if self._stack.count("table") == 1 and ("td" in self._stack or "th" in self._stack):
            row = self.tables[self._section][-1]
            row[-1] = (row[-1] + " " + data.strip()).strip()
