"""`srgaze360 reproduce`: the published trivial rows from the real labels, and from labels made up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from building import run_command
from scipy.io import savemat

from builders.sources.gazefollow import read_annotations
from srgaze360.cli.reproduce import NEAR, NOT, REPRODUCED, Row, as_arrays, gazefollow_baselines, unexplained
from srgaze360.errors import InputError

# Measured beforehand with code of its own on the same file, to four decimals (angles to a tenth of a degree); its fixed bias
# treats the edges of cells in a way of its own, which moves the last digit.
MEASURED = {
    ("Center", "", "AUC", "5 x 5 grid"): 0.6332,
    ("Center", "", "Dist.", "mean over annotators"): 0.3132,
    ("Center", "", "Dist.", "to the mean annotation"): 0.2949,
    ("Center", "", "Min Dist.", "nearest annotation"): 0.2295,
    ("Center", "", "Ang.", "mean over annotators"): 48.8,
    ("Center", "", "Ang.", "to the mean annotation"): 46.9,
    ("Fixed bias", "", "Dist.", "mean over annotators"): 0.3063,
    ("Fixed bias", "", "Dist.", "to the mean annotation"): 0.2886,
    ("Fixed bias", "", "Min Dist.", "nearest annotation"): 0.2212,
    ("Fixed bias", "", "Ang.", "mean over annotators"): 48.1,
    ("One human", "one left out", "AUC", "5 x 5 grid"): 0.927,
    ("One human", "one left out", "Dist.", "mean over annotators"): 0.1095,
    ("One human", "one left out", "Dist.", "to the mean annotation"): 0.0867,
    ("One human", "one left out", "Min Dist.", "nearest annotation"): 0.0373,
    ("One human", "itself included", "Dist.", "mean over annotators"): 0.0969,
    ("One human", "itself included", "Dist.", "to the mean annotation"): 0.0766,
    ("One human", "itself included", "Ang.", "mean over annotators"): 11.4,
}


def test_real_labels_give_the_published_rows(real, capsys):
    folder = real / "gazefollow"
    words = ("--labels", str(folder / "test2_annotations.mat"), "--train-labels", str(folder / "val_annotations_new.txt"))
    ran = run_command(capsys, "reproduce", "gazefollow-baselines", *words, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["people"], found["annotations"], found["photos"]) == (4782, 44191, 3018)
    rows = {(r["predictor"], r["variant"], r["column"], r["definition"]): r for r in found["rows"]}
    for key, value in MEASURED.items():
        digits = 1 if key[2] == "Ang." else 3 if value == 0.927 or key[0] == "Fixed bias" else 4
        assert rows[key]["value"] == pytest.approx(value, abs=0.6 * 10**-digits), key
    verdicts = {key: rows[key]["reproduced"] for key in rows if key[0] == "Center"}
    assert verdicts[("Center", "", "AUC", "5 x 5 grid")] == "yes"
    assert verdicts[("Center", "", "Dist.", "mean over annotators")] == "yes"
    assert verdicts[("Center", "", "Dist.", "to the mean annotation")] == "no"
    assert verdicts[("Center", "", "Min Dist.", "nearest annotation")] == "last digit off"
    assert rows[("Random", "", "Dist.", "mean over annotators")]["reproduced"] == "in the draws"
    assert rows[("Random", "", "Dist.", "to the mean annotation")]["reproduced"] == "no"
    assert not [key for key in rows if key[:3] == ("One human", "one left out", "Dist.") and rows[key]["reproduced"] != "no"]
    assert {"One human, AUC", "One human, Min Dist."} <= set(found["no_definition_gives"])
    assert not {name for name in found["no_definition_gives"] if name.startswith(("Center", "Random"))}


def cell(value):
    held = np.empty((1, 1), dtype=object)
    held[0, 0] = np.asarray(value)
    return held


def write_labels(path, gazes, eye=(0.5, 0.25)):
    n = len(gazes)
    columns = {name: np.empty((1, n), dtype=object) for name in ("bbox", "eyes", "gaze")}
    paths = np.empty((n, 1), dtype=object)
    meta = np.zeros((1, n), dtype=[("dataset", object), ("name", object)])
    for index, points in enumerate(gazes):
        paths[index, 0] = f"test2/00000000/{index:08d}.jpg"
        columns["bbox"][0, index] = cell(np.array([[0.4, 0.2, 0.3, 0.7]]))
        columns["eyes"][0, index] = cell(np.array([eye]))
        columns["gaze"][0, index] = np.asarray(points, dtype=float)
        meta[0, index] = ("coco", f"photo-{index // 2}.jpg")
    savemat(path, {"test_path": paths, "test_meta": meta, **{f"test_{name}": held for name, held in columns.items()}})
    return path


def test_made_up_labels_in_closed_form(tmp_path, capsys):
    path = write_labels(tmp_path / "test2_annotations.mat", [[[0.5, 0.9], [0.5, 0.7]], [[0.9, 0.5], [0.9, 0.5]]])
    labels = as_arrays(read_annotations(path, "test"))
    assert labels.photos == 1
    rows = {(r.predictor, r.variant, r.column, r.definition): r.value for r in gazefollow_baselines(labels, draws=2)}
    assert rows[("Center", "", "Dist.", "mean over annotators")] == pytest.approx((0.3 + 0.4) / 2)
    assert rows[("Center", "", "Min Dist.", "nearest annotation")] == pytest.approx((0.2 + 0.4) / 2)
    assert rows[("Center", "", "Ang.", "mean over annotators")] == pytest.approx((0.0 + np.degrees(np.arctan2(0.4, 0.25))) / 2)
    assert rows[("One human", "one left out", "Dist.", "mean over annotators")] == pytest.approx(0.1)
    assert not [key for key in rows if key[0] == "Fixed bias"]
    ran = run_command(capsys, "reproduce", "gazefollow-baselines", "--labels", str(path))
    assert ran.code == 0
    assert "2 people, 4 annotations, 1 photos" in ran.out
    assert "give --train-labels for its row" in ran.err


def test_what_no_definition_gives_is_said():
    def row(predictor, variant, column, verdict):
        return Row(predictor, variant, column, "0.5", "", 0.5, None, verdict)

    rows = [row("One human", "a", "AUC", NOT), row("One human", "b", "AUC", NOT), row("One human", "b", "Dist.", NEAR)]
    assert unexplained([*rows, row("Center", "", "Dist.", NOT), row("Center", "", "Dist.", REPRODUCED)]) == ["One human, AUC"]
    assert unexplained(rows[2:]) == []


def test_wrong_labels_are_said(tmp_path):
    with pytest.raises(InputError, match="Expected GazeFollow labels at .*none.mat, but there is no such file"):
        read_annotations(tmp_path / "none.mat", "test")
    outside = read_annotations(write_labels(tmp_path / "a.mat", [[[0.5, 1.2], [0.5, 0.7]]]), "test")
    with pytest.raises(InputError, match="targets inside it, found 1 rows without: test2/00000000/00000000.jpg"):
        as_arrays(outside)
    single = read_annotations(write_labels(tmp_path / "c.mat", [[[0.5, 0.7]], [[0.5, 0.6]]]), "test")
    with pytest.raises(InputError, match="Expected people with two annotations or more"):
        as_arrays(single)
    with pytest.raises(InputError, match="Expected every row of .* to be a person's labels, found 1 that are not"):
        read_annotations(write_labels(tmp_path / "b.mat", [[0.5, 0.6, 0.7], [[0.5, 0.7]]]), "test")
