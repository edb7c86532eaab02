"""Queues of a review: who is in them, in which order, and what blind reviewers are not told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_dataset
from sound import rows_of

from annotation.lint.run import Finding, lint
from annotation.review.queues import BLIND_COLUMNS, Item, Queues, read_findings, read_suspects
from annotation.review.store import State
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """36 people, two on a panorama; every third without annotations. Not to be changed."""
    return fake_dataset(tmp_path_factory.mktemp("queues") / "fake", people=9)


def ids(data: Dataset) -> list[str]:
    return [str(name) for name in data.annotations["sample_id"]]


def queues(data: Dataset, **options: object) -> Queues:
    return Queues(data, **{"findings": None, "suspects": None, **options})  # type: ignore[arg-type]


def names(data: Dataset, items: list[Item]) -> list[str]:
    return [ids(data)[item.row] for item in items]


def test_everybody_comes_in_the_order_of_the_dataset(data: Dataset) -> None:
    assert names(data, queues(data).items("all")) == ids(data)


def test_undone_leaves_out_who_is_decided_and_puts_skipped_ones_last(data: Dataset) -> None:
    everybody = ids(data)
    states = {
        everybody[0]: State(1, "accepted", False),
        everybody[1]: State(1, "skipped", False),
        everybody[2]: State(2, "rejected", True),
        everybody[3]: State(1, None, True),  # edited, not decided
    }
    found = queues(data).items("undone", "", states)
    assert names(data, found) == [*everybody[3:], everybody[1]]
    assert found[-1].why == "skipped before"


def finding(rule: str, sample_id: str, panorama_id: str = "", severity: str = "error") -> Finding:
    return Finding(rule, severity, sample_id, panorama_id, f"evidence of {rule}", "mend it")  # type: ignore[arg-type]


def test_findings_of_lint_by_rule_with_their_evidence(data: Dataset) -> None:
    rows = data.annotations
    panorama = rows["panorama_id"].iloc[0]
    on_it = rows["sample_id"][rows["panorama_id"] == panorama].tolist()
    last = rows["sample_id"].iloc[-1]
    found = queues(
        data,
        findings=[
            finding("dim", last, severity="warning"),
            finding("missing-image", "", panorama),
            finding("head-size", last),
            finding("head-size", last),
            finding("counts", ""),  # of the dataset: nobody in particular
            finding("head-size", "somebody of another split"),
        ],
    )
    assert found.kinds["lint"].choices == ["missing-image", "head-size", "dim"]  # errors first
    assert names(data, found.items("lint", "missing-image")) == on_it
    assert found.items("lint", "head-size") == [Item(len(rows) - 1, "head-size: evidence of head-size; evidence of head-size")]
    everybody = found.items("lint")
    assert names(data, everybody) == [*on_it, last]
    assert everybody[-1].why == "head-size: evidence of head-size; evidence of head-size; dim: evidence of dim"
    with pytest.raises(InputError, match="Expected a rule with findings, found 'dum'. Did you mean 'dim'"):
        found.items("lint", "dum")


def test_findings_are_read_as_lint_writes_them(data: Dataset, tmp_path: Path) -> None:
    report = lint(data.root)
    assert report.findings
    path = tmp_path / "findings.csv"
    path.write_text(report.table().to_csv(index=False))
    assert read_findings(path) == list(report.findings)


def test_suspects_come_lowest_first(data: Dataset) -> None:
    everybody = ids(data)
    found = queues(data, suspects={everybody[5]: 0.25, everybody[2]: 0.9, everybody[7]: 0.01}).items("suspects")
    assert names(data, found) == [everybody[7], everybody[5], everybody[2]]
    assert found[0].why == "label quality 0.010"


@pytest.mark.parametrize("column", ["score", "quality", "label_quality"])
def test_suspects_are_read_from_a_table(tmp_path: Path, column: str) -> None:
    path = tmp_path / "suspects.csv"
    path.write_text(f"rank,sample_id,{column}\n1,0012,0.5\n2,b,1e-3\n")
    assert read_suspects(path, ["0012", "b", "c"]) == {"0012": 0.5, "b": 0.001}  # ids are text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("sample_id,residual\na,1\n", "Expected a column score or quality or label_quality in .*, found sample_id, residual"),
        ("person,score\na,1\n", "found no column sample_id"),
        ("sample_id,score\na,much\nb,nan\n", "found 2 that are no numbers: a, b"),
        ("sample_id,score\na,1\nz,1\na,2\n", "1 of people who are not in the dataset: z; 1 of people who are there twice: a"),
        ("", "cannot be read"),
    ],
)
def test_tables_that_are_no_suspects_are_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "suspects.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        read_suspects(path, ["a", "b"])


def test_missing_and_strange_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected findings of lint at .*, but there is no such file"):
        read_findings(tmp_path / "no.csv")
    (tmp_path / "f.csv").write_text("rule,severity,sample_id,panorama_id,evidence,fix\na,fatal,s,p,e,f\n")
    with pytest.raises(InputError, match="Expected severity error or warning in .*, found fatal"):
        read_findings(tmp_path / "f.csv")
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read|found no column"):
        read_findings(tmp_path / "f.csv")


def slow_spread(points: list[list[float]]) -> float:
    """Mean angle to the mean direction, degrees, one annotation at a time."""
    lon, lat = np.radians(np.array(points)).T
    vectors = np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)], axis=-1)
    mean = vectors.sum(axis=0) / np.linalg.norm(vectors.sum(axis=0))
    return float(np.degrees(np.mean([np.arctan2(np.linalg.norm(np.cross(v, mean)), v @ mean) for v in vectors])))


def test_disagreement_puts_who_is_furthest_apart_first(data: Dataset) -> None:
    found = queues(data).items("disagreement")
    expected = {row["sample_id"]: slow_spread(row["gaze_points_deg"]) for row in rows_of(data.root) if row["gaze_points_deg"]}
    assert names(data, found) == sorted(expected, key=lambda name: -expected[name])
    first = names(data, found)[0]
    assert found[0].why.startswith(f"5 annotations, {expected[first]:.1f}° from their mean")


def test_disagreement_without_several_annotations_is_no_queue(tmp_path: Path) -> None:
    assert "disagreement" not in queues(fake_dataset(tmp_path / "fake", people=3, annotators=1)).kinds


def test_conditions(data: Dataset) -> None:
    found = queues(data)
    assert found.kinds["condition"].choices == ["latitude/lat+0", "latitude/lat+60", "mixed/mixed"]
    rows = data.annotations
    assert names(data, found.items("condition", "latitude/lat+60")) == rows["sample_id"][rows["condition"] == "lat+60"].tolist()
    with pytest.raises(InputError, match="Expected a condition, found 'lat'"):
        found.items("condition", "lat")


def test_random_is_everybody_in_an_order_of_the_seed(data: Dataset) -> None:
    found = queues(data)
    one, two = found.items("random", "1"), found.items("random", "2")
    assert one == queues(data).items("random", "1")
    assert one != two
    assert sorted(one) == sorted(two) == found.items("all")
    with pytest.raises(InputError, match="Expected a whole number as the seed of the random queue, found 'x'"):
        found.items("random", "x")


def test_filters_are_restrictions_as_elsewhere(data: Dataset) -> None:
    found = queues(data)
    rows = data.annotations
    kept = rows["sample_id"][(rows["suite"] == "mixed") & rows["face"].isin(["front", "back"])].tolist()
    assert names(data, found.items("filter", "suite=mixed; face=front;face=back")) == kept
    assert names(data, found.items("filter", "head_lat_deg=0..90")) == rows["sample_id"][rows["head_lat_deg"] >= 0].tolist()
    for value, match in {
        "": "Expected a filter such as",
        "suite": "Expected --where in the form NAME=VALUE",
        "shoes=red": "Expected a grouping of the people",
        "suite=none": "Expected a value of suite",
    }.items():
        with pytest.raises(InputError, match=match):
            found.items("filter", value)


def test_unknown_queues_are_told(data: Dataset) -> None:
    with pytest.raises(InputError, match="found 'lint'. Known: all, condition, disagreement, filter, random, undone."):
        queues(data).items("lint")


# --- blind ------------------------------------------------------------------------------------------------------------


def test_blind_queues_tell_nothing_of_labels(data: Dataset) -> None:
    found = queues(data, findings=[finding("head-size", ids(data)[0])], suspects={ids(data)[3]: 0.1}, blind=True)
    assert "lint" not in found.kinds
    open_ones = queues(data, suspects={ids(data)[3]: 0.1})
    for kind in ("suspects", "disagreement"):  # the same order, without a word
        assert [item.row for item in found.items(kind)] == [item.row for item in open_ones.items(kind)]
        assert {item.why for item in found.items(kind)} == {""}
    assert found.items("filter", "face=front; head_lat_deg=-90..90")
    for value in ("gaze_lon_deg=0..10", "in_frame=True", "target_latitude=0-30", "crosses_seam=True", "head_target_arc=0-15"):
        with pytest.raises(InputError, match="Expected a filter that tells nothing of labels in a blind review"):
            found.items("filter", value)


def test_blind_columns_do_not_follow_from_gaze(data: Dataset) -> None:
    """Whatever the gaze is changed to, they stay as they are: they are those that an edit of the gaze does not touch."""
    from annotation.applying import apply_edits
    from annotation.edits import Edit

    rows = rows_of(data.root)
    edits = [Edit(sample_id=row["sample_id"], gaze_points_deg=[[179.0, 80.0]], in_frame=False) for row in rows]
    for before, after in zip(rows, apply_edits(rows, edits).rows, strict=True):
        assert {name: before.get(name) for name in BLIND_COLUMNS} == {name: after.get(name) for name in BLIND_COLUMNS}
    assert not {"gaze_band", "crosses_seam", "in_frame", "target_kind", "reach"} & set(BLIND_COLUMNS)


def test_whether_an_arc_crosses_the_seam_is_not_told(data: Dataset) -> None:
    rows = data.annotations.assign(suite="seam", condition=["across", "beside"] * (len(data) // 2))
    found = queues(replace(data, annotations=rows), blind=True)
    assert found.kinds["condition"].choices == ["seam/seam"]
    assert len(found.items("filter", "condition=seam")) == len(data)
    with pytest.raises(InputError, match="Expected a value of condition that somebody has, found 'across'. Known: seam"):
        found.items("filter", "condition=across")
