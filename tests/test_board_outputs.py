"""LaTeX and JSON of a board, its tiers of trust, and the copy of its records."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from boards import result
from building import run_command
from fakes import fake_dataset

from leaderboard.board import add_notice, add_record, build_board, record_paths
from leaderboard.latex import escaped
from leaderboard.records import read_record, read_samples, samples_path
from leaderboard.scoring import score_file
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed

HOSTILE = r"\input{/etc/passwd} 50% & $x_1$ #1 {~^}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("outputs") / "data")


@pytest.fixture(scope="module")
def board(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    for seed in (1, 2):
        add_record(result(folder, data, "ours", 0.2, seed=seed, heatmaps=True), folder / "board", tier="re-run")
    add_record(result(folder, data, "next", 0.5), folder / "board", tier="re-scored")
    (folder / "hostile").mkdir()
    file = result(folder / "hostile", data, "plain", 1.0, reads=["camera"])
    content = json.loads(file.read_text())
    content["predictor"]["name"] = HOSTILE
    file.write_text(json.dumps(content))
    add_record(file, folder / "board")
    score_file("human", data, "test", folder / "human.json", resamples=200)
    add_record(folder / "human.json", folder / "board", tier="re-run")
    add_notice(folder / "board", "gazelle", "", "", "needs weights")
    build_board(folder / "board", folder / "pages")
    return folder


def unescaped(text: str) -> str:
    """What is left of LaTeX that could act, once its escapes are gone."""
    return re.sub(r"\\[{}$&#%_]|\\text\w+\{\}", "", text)


def test_latex_marks_what_it_says(board: Path) -> None:
    text = (board / "pages" / "board.tex").read_text()
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 5
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 5
    ranking = text.split(r"\label{tab:srgaze360-ranking}")[1].split(r"\end{table*}")[0]
    rows = [line.removeprefix("{}") for line in ranking.splitlines()]
    rows = [line for line in rows if line.startswith(("1 &", "2 &", "3 &", "-- &"))]
    assert rows[0].startswith(r"1 & ours (2 seeds) & \textbf{")
    assert r"$\pm$" in rows[0]
    assert rows[1].startswith(r"2 & next & \underline{")
    assert rows[1].endswith(r"& re-scored \\")
    assert rows[2].startswith(
        r"3 & \textbackslash{}input\{/etc/passwd\} 50\% \& \$x\_1\$ \#1 \{\textasciitilde{}\textasciicircum{}\}"
    )
    assert r"\textdagger{}" in rows[2]
    assert rows[3].startswith(r"-- & \textit{human} &")
    assert rows[4] == r"-- & gazelle & \multicolumn{7}{l}{needs weights} \\"
    # every row of a table has as many cells as its head
    for block in text.split(r"\toprule")[1:]:
        lines = block.split(r"\bottomrule")[0].splitlines()
        cells = {len(re.findall(r"(?<!\\)&", line)) for line in lines if "&" in line and r"\multicolumn" not in line}
        assert len(cells) == 1
    # braces balance, and nothing of the stranger's name can act
    joined = text.replace(r"\\", "")  # ends of rows
    assert joined.count("{") - joined.count(r"\{") == joined.count("}") - joined.count(r"\}")
    assert r"\input" not in text


def test_replaced_results_are_not_published(data: Dataset, tmp_path: Path) -> None:
    for folder, spread in (("a", 0.2), ("b", 0.4)):
        (tmp_path / folder).mkdir()
        add_record(result(tmp_path / folder, data, "ours", spread), tmp_path / "board", replace=True)
        build_board(tmp_path / "board", tmp_path / "pages")
    assert [path.name for path in record_paths(tmp_path / "pages")] == [path.name for path in record_paths(tmp_path / "board")]
    assert len(list((tmp_path / "pages" / "records").iterdir())) == 2


def test_a_board_with_a_condition_of_one_cluster(data: Dataset, tmp_path: Path) -> None:
    rows = data.annotations.copy()
    rows.loc[rows["condition"] == "lat+60", "cluster_id"] = "one"
    lumped = replace(data, annotations=rows)
    for name, spread in (("ours", 0.2), ("theirs", 0.5)):
        add_record(result(tmp_path, lumped, name, spread), tmp_path / "board")
    build_board(tmp_path / "board", tmp_path / "pages")
    cells = json.loads((tmp_path / "pages" / "board.json").read_text())["tables"]
    (cell,) = [
        cell
        for table in cells
        for cell in table["cells"]
        if table["key"] == "conditions" and cell["group"] == "lat+60" and cell["predictor"] == "theirs"
    ]
    assert cell["p_holm"] is None
    assert cell["value"] is not None


def test_numbers_that_the_errors_do_not_give_are_refused(data: Dataset, tmp_path: Path) -> None:
    file = result(tmp_path, data, "bold", 0.4)
    content = json.loads(file.read_text())
    content["overall"]["metrics"]["angular_distance_deg"]["value"] -= 1.0
    content["conditions"][0]["metrics"]["hit@10"]["people"] += 1
    file.write_text(json.dumps(content))
    group = content["conditions"][0]
    wrong = rf"2 of them: angular_distance_deg of mixed/overall, hit@10 of {group['suite']}/{re.escape(group['group'])}"
    with pytest.raises(CheckFailed, match=f"its numbers are not the means of its per-person errors, {wrong}"):
        add_record(file, tmp_path / "board")
    assert record_paths(tmp_path / "board") == []


def test_names_are_no_formulas(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    file = result(tmp_path / "f", data, "plain", 0.3)
    content = json.loads(file.read_text())
    content["predictor"]["name"] = '=HYPERLINK("http://x")\x01'
    file.write_text(json.dumps(content))
    add_record(file, tmp_path / "board")
    build_board(tmp_path / "board", tmp_path / "pages")
    for name in ("board.csv", "plots/conditions.csv", "plots/cumulative.csv"):
        table = pd.read_csv(tmp_path / "pages" / name)
        assert table["predictor"].str.startswith("'=").all(), name
    assert "\x01" not in (tmp_path / "pages" / "board.tex").read_text()


def test_escaped_text_cannot_act() -> None:
    for letter in map(chr, range(32, 127)):
        assert not re.search(r"[\\{}$&#%_~^]", unescaped(escaped(letter))), letter


def test_json_has_everything_unrounded(board: Path) -> None:
    content = json.loads((board / "pages" / "board.json").read_text())
    rows = {row["predictor"]["name"]: row for row in content["rows"]}
    assert {name: row["rank"] for name, row in rows.items()} == {"ours": 1, "next": 2, HOSTILE: 3, "human": None}
    assert {name: row["tier"] for name, row in rows.items()} == {
        "ours": "re-run", "next": "re-scored", HOSTILE: "self-reported", "human": "re-run",
    }  # fmt: skip
    assert [part["seed"] for part in rows["ours"]["results"]] == [1, 2]
    (cell,) = [
        cell
        for cell in content["tables"][0]["cells"]
        if cell["predictor"] == "next" and cell["metric"] == "angular_distance_deg"
    ]
    record = next(read_record(path) for path in record_paths(board / "board") if path.name.startswith("next"))
    assert cell["value"] == record.overall.metrics["angular_distance_deg"].value
    assert cell["first_group"] == "no"
    assert cell["p_holm"] < 0.05
    assert content["without_number"][0]["reason"] == "needs weights"


def test_records_are_copied_and_can_be_read(board: Path) -> None:
    copied = record_paths(board / "pages")
    assert [path.name for path in copied] == [path.name for path in record_paths(board / "board")]
    for path in copied:
        assert len(read_samples(samples_path(path), read_record(path)))
    page = (board / "pages" / "index.html").read_text()
    links = re.findall(r'href="(records/[^"]+)"', page)
    assert len(links) == len(copied)
    assert all((board / "pages" / link).is_file() for link in links)


def test_a_tier_is_raised_and_never_lowered(data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = result(tmp_path, data, "one", 0.3)
    place = tmp_path / "board"
    assert run_command(capsys, "board", "add", str(one), "--board", str(place)).code == 0
    (path,) = record_paths(place)
    assert read_record(path).tier == "self-reported"
    assert add_record(one, place, tier="re-run").already_there
    assert read_record(path).tier == "re-run"
    assert add_record(one, place, tier="re-scored").already_there
    assert read_record(path).tier == "re-run"
    ran = run_command(capsys, "board", "add", str(one), "--board", str(place), "--tier", "rerun")
    assert ran.code == 2
    assert "Unknown --tier 'rerun'. Did you mean 're-run'" in ran.err


def test_seeds_are_trusted_as_the_least_of_them(data: Dataset, tmp_path: Path) -> None:
    place = tmp_path / "board"
    add_record(result(tmp_path, data, "ours", 0.2, seed=1), place, tier="re-run")
    add_record(result(tmp_path, data, "ours", 0.2, seed=2), place, tier="re-scored")
    built = build_board(place, tmp_path / "pages")
    assert [line.tier for line in built.tables.tables[0].lines] == ["re-scored"]
