"""`srgaze360 compare`: paired differences by group, their correction, and what may be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards import result
from building import run_command
from fakes import fake_dataset

from leaderboard.comparison import holm, mean_over_seeds
from leaderboard.pairs import compare_files
from leaderboard.records import read_record, read_samples, samples_path
from leaderboard.scoring import PRIMARY, score_file
from srgaze360.bootstrap import paired_difference
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import generator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("compare") / "data")


@pytest.fixture(scope="module")
def results(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("results")
    return {
        "rough": result(folder, data, "rough", 0.8, heatmaps=True),
        "fine-1": result(folder, data, "fine", 0.2, seed=1, heatmaps=True),
        "fine-2": result(folder, data, "fine", 0.2, seed=2, heatmaps=True),
        "points": result(folder, data, "points", 0.8, seed=5),
    }


def samples(path: Path):
    return read_samples(samples_path(path), read_record(path))


def test_every_group_has_the_paired_difference_of_its_people(results: dict[str, Path]) -> None:
    found = compare_files([results["rough"], results["fine-1"], results["fine-2"]], resamples=3000)
    record = read_record(results["rough"])
    assert [(one.kind, one.by, one.suite, one.group) for one in found] == [
        (kind, *group.key)
        for kind, groups in (
            ("overall", [record.overall]),
            ("condition", record.conditions),
            ("breakdown", record.breakdowns),
        )
        for group in groups
    ]
    rough = samples(results["rough"])
    fine = mean_over_seeds([samples(results["fine-1"]), samples(results["fine-2"])], [PRIMARY])
    for one in found:
        assert (one.method, one.reference, one.metric) == ("fine", "rough", PRIMARY)
        chosen = (rough["suite"] == one.suite).to_numpy()
        if one.kind == "condition":
            chosen = chosen & (rough["condition"] == one.group).to_numpy()
        if one.kind == "breakdown":
            chosen = chosen & (rough[f"group_{one.by}"] == one.group).to_numpy()
        a, b = fine[PRIMARY].to_numpy()[chosen], rough[PRIMARY].to_numpy()[chosen]
        known = ~np.isnan(a - b)
        assert one.people == known.sum()
        if one.people < record.minimum_people:
            assert one.difference is one.p is one.p_holm is None
            assert one.verdict == "undecided"
            continue
        assert one.method_mean == pytest.approx(a[known].mean())
        assert one.reference_mean == pytest.approx(b[known].mean())
        clusters = rough["cluster_id"].to_numpy(dtype=str)[chosen]
        (difference, low, high, *_), p = paired_difference(a, b, clusters, generator(0, "compare"), n_resamples=3000)
        assert (one.difference, one.low, one.high, one.p) == pytest.approx((difference, low, high, p))
        assert one.few == (one.people < 150 or one.clusters < 50)
    conditions = {one.group: one for one in found if one.kind == "condition"}
    corrected = holm({name: one.p for name, one in conditions.items()})
    assert {name: one.p_holm for name, one in conditions.items()} == pytest.approx(corrected)
    assert found[0].p_holm == found[0].p
    assert found[0].verdict == "better"


def test_the_other_way_round_is_worse(results: dict[str, Path]) -> None:
    forth = compare_files([results["rough"], results["fine-1"]], breakdowns=False)[0]
    back = compare_files([results["rough"], results["fine-1"]], reference="fine", breakdowns=False)[0]
    assert (back.method, back.reference) == ("rough", "fine")
    assert back.difference == pytest.approx(-forth.difference)
    assert (forth.verdict, back.verdict) == ("better", "worse")


def test_where_large_is_good_larger_is_better(results: dict[str, Path]) -> None:
    hits = compare_files([results["rough"], results["fine-1"]], metric="hit@20", breakdowns=False)[0]
    assert hits.difference > 0.0
    assert hits.verdict == "better"


def test_many_conditions_leave_room_for_a_verdict(tmp_path: Path) -> None:
    """However many questions there are, the smallest p value is small enough for all of them."""
    data = fake_dataset(tmp_path / "data", people=300)
    rows = data.annotations.copy()
    mixed = rows.index[rows["suite"] == "mixed"]
    rows.loc[mixed, "condition"] = [f"c{place % 60:02d}" for place in range(len(mixed))]
    rows["cluster_id"] = rows["sample_id"]
    many = replace(data, annotations=rows)
    pair = [result(tmp_path, many, name, spread) for name, spread in (("rough", 2.5), ("fine", 0.01))]
    found = [one for one in compare_files(pair, breakdowns=False) if one.kind == "condition"]
    told = [one for one in found if one.people >= 10]
    assert len(found) > 55
    assert told
    assert {one.verdict for one in told} == {"better"}


def test_equal_methods_are_undecided(data: Dataset, tmp_path: Path) -> None:
    pair = [result(tmp_path, data, name, 0.4) for name in ("one", "other")]
    for one in compare_files(pair):
        assert one.difference in (0.0, None)
        assert one.verdict == "undecided"


def test_what_must_not_be_compared_is_refused(results: dict[str, Path], data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected results of two methods or more to compare, found fine alone"):
        compare_files([results["fine-1"], results["fine-2"]])
    score_file("human", data, "test", tmp_path / "human.json", resamples=200)
    with pytest.raises(InputError, match="found the annotators' own, 'human'"):
        compare_files([results["rough"], tmp_path / "human.json"])
    with pytest.raises(InputError, match="found two of one name and seed: .*fine-1.json"):
        compare_files([results["fine-1"], results["fine-1"]])
    with pytest.raises(InputError, match="Unknown --reference 'fien'. Did you mean 'fine'"):
        compare_files([results["rough"], results["fine-1"]], reference="fien")
    with pytest.raises(InputError, match="No metric 'auc' of each person in all results"):
        compare_files([results["rough"], results["points"]], metric="auc")
    legacy = result(tmp_path, data, "legacy", 0.3, heatmaps=True, protocol="gazefollow360")
    with pytest.raises(
        CheckFailed, match="may not with .*rough-None.json: its protocol is 'gazefollow360', that of the first is"
    ):
        compare_files([results["rough"], legacy])
    other = fake_dataset(tmp_path / "other", people=20, seed=9)
    with pytest.raises(CheckFailed, match="its number of people is"):
        compare_files([results["rough"], result(tmp_path, other, "elsewhere", 0.3)])


def test_the_command(results: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", str(results["rough"]), str(results["fine-1"]), str(results["fine-2"]), "--resamples", "200")
    ran = run_command(capsys, *words)
    assert ran.code == 0, ran.err
    assert "fine - rough: Angular distance °" in ran.out
    assert "overall (mixed)" in ran.out
    assert "latitude, lat+60" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "…" not in ran.out
    ran = run_command(capsys, *words, "--json", "--no-breakdowns")
    found = json.loads(ran.out)
    assert {one["kind"] for one in found} == {"overall", "condition"}
    assert found[0]["verdict"] == "better"
