"""The board: what it refuses, how it ranks, and that Markdown, CSV and page say the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from boards import Page, predictions
from fakes import fake_dataset
from typer.testing import CliRunner

from leaderboard.arranging import board_tables
from leaderboard.board import add_record, build_board, record_paths
from leaderboard.records import ScoreRecord, read_record, read_samples, samples_path, write_record
from leaderboard.scoring import PRIMARY, score_file
from leaderboard.seeds import Row, rows_of
from leaderboard.tables import group_label
from leaderboard.text import markdown, to_csv
from srgaze360.errors import CheckFailed, InputError
from srgaze360.predictions import PredictorCard

HOSTILE = '<script>alert("x")</script> | $\\frac{1}$ **bold** ' + "é" * 20
SPREADS = {"good": 0.05, "middling": 0.5, HOSTILE: 1.5}


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of scored results: three predictors, one of them with a hostile name and more columns read, and the human row."""
    folder = tmp_path_factory.mktemp("results")
    data = fake_dataset(folder / "data")
    for index, (name, spread) in enumerate(SPREADS.items()):
        card = PredictorCard(name=name, summary=f"{name} summary", reads=["camera"] if name == HOSTILE else [])
        file = predictions(folder / f"{index}.parquet", data, spread, card, heatmaps=name != "good")
        score_file(file, data, "test", folder / f"{index}.json", resamples=200)
    score_file("human", data, "test", folder / "human.json", resamples=200)
    return folder


@pytest.fixture
def board(results: Path, tmp_path: Path) -> Path:
    """A board with all results."""
    for name in ("0", "1", "2", "human"):
        add_record(results / f"{name}.json", tmp_path / "board")
    return tmp_path / "board"


def _changed(results: Path, folder: Path, change: Callable[[dict[str, Any]], None], name: str = "1") -> Path:
    """A copy of a result whose record was changed."""
    content = json.loads((results / f"{name}.json").read_text())
    change(content)
    path = folder / "changed.json"
    path.write_text(json.dumps(content))
    samples_path(path).write_bytes(samples_path(results / f"{name}.json").read_bytes())
    return path


# --- adding -----------------------------------------------------------------------------------------------------------


def test_a_record_is_copied_under_a_safe_name(results: Path, tmp_path: Path) -> None:
    done = add_record(results / "2.json", tmp_path / "board")
    assert re.fullmatch(r"script-alert-x-script-frac-1-bold-[0-9a-f]{8}\.json", done.path.name)
    assert done.path.parent == tmp_path / "board" / "records"
    assert read_record(done.path) == read_record(results / "2.json")
    assert len(read_samples(samples_path(done.path), read_record(done.path))) == 180
    assert (done.replaced, done.already_there) == ([], False)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/", "a\x00b", "日本語", "CON" * 40])
def test_no_name_leaves_the_folder(results: Path, tmp_path: Path, name: str) -> None:
    path = _changed(results, tmp_path, lambda c: c["predictor"].update(name=name[:100]))
    done = add_record(path, tmp_path / "board")
    assert done.path.resolve().parent == (tmp_path / "board" / "records").resolve()
    assert {p.name for p in tmp_path.iterdir()} == {"board", "changed.json", "changed.samples.parquet"}


def test_the_same_again_changes_nothing_and_other_content_needs_replace(results: Path, board: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    assert len(before) == 8
    again = _changed(results, tmp_path, lambda c: c.update(created="2030-01-01T00:00:00+00:00", wall_s=1.0))
    assert add_record(again, board).already_there
    assert {path: path.read_bytes() for path in board.rglob("*") if path.is_file()} == before

    other = _changed(results, tmp_path, lambda c: c.update(predictions_digest="d" * 64))
    with pytest.raises(CheckFailed, match=r"another result of 'middling' already, middling-[0-9a-f]{8}\.json \(--replace"):
        add_record(other, board)
    done = add_record(other, board, replace=True)
    assert [path.name for path in done.replaced] == [path.name for path in before if path.match("middling-*.json")]
    middling = [path for path in record_paths(board) if path.name.startswith("middling-")]
    assert middling == [done.path]
    assert len(list(board.rglob("*.samples.parquet"))) == 4


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "protocol major": (lambda c: c.update(protocol_version="2.0.0"), r"protocol major version is '2', the board's is '1'"),
    "protocol": (lambda c: c.update(protocol="gazefollow360"), r"protocol is 'gazefollow360', the board's is 'spherical'"),
    "digest": (lambda c: c["dataset"].update(digest="e" * 64), r"dataset digest is 'eeee.*', the board's is 'aaaa"),
    "dataset version": (lambda c: c["dataset"].update(version="2.0.0"), r"dataset version is '2.0.0', the board's is '1.0.0'"),
    "split": (lambda c: c.update(split="val"), r"split is 'val', the board's is 'test'"),
    "ranking suite": (lambda c: c.update(ranking_suite="fov"), r"ranking suite is 'fov', the board's is 'mixed'"),
    "coverage": (lambda c: c.update(people=179), r"covers 179 of the 180 people of split 'test'"),
    "one suite": (lambda c: c.update(suite="mixed"), r"covers 180 of the 180 people of split 'test' \(suite 'mixed' alone\)"),
    "no dataset version": (lambda c: c["dataset"].update(version=""), r"lacks dataset.version, without which"),
    "no digests": (lambda c: c.update(predictions_digest="", samples_digest=""), "digest"),
    "no scorer version": (lambda c: c["versions"].pop("srgaze360"), r"lacks versions.srgaze360, without which"),
    "human's name": (lambda c: c["predictor"].update(name="Human"), r"the name 'human' is kept for the annotators"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_not_stand_there_is_refused(results: Path, tmp_path: Path, what: str) -> None:
    add_record(results / "0.json", tmp_path / "board")
    change, message = REFUSED[what]
    path = _changed(results, tmp_path, change)
    # a record without the digest of its per-person errors fails when these are read
    with pytest.raises((CheckFailed, InputError), match=message):
        add_record(path, tmp_path / "board")
    assert len(record_paths(tmp_path / "board")) == 1


def test_all_reasons_at_once(results: Path, tmp_path: Path) -> None:
    add_record(results / "0.json", tmp_path / "board")

    def change(content: dict[str, Any]) -> None:
        content.update(split="val", people=100, protocol_version="3.1.0", predictions_digest="")
        content["dataset"].update(digest="f" * 64)

    with pytest.raises(CheckFailed) as caught:
        add_record(_changed(results, tmp_path, change), tmp_path / "board")
    for part in (
        "lacks predictions_digest",
        "covers 100 of the 180",
        "major version is '3'",
        "dataset digest is",
        "split is 'val'",
    ):
        assert part in str(caught.value)


def test_files_that_are_no_records(results: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"Expected a score record \(schema 1\) in .*x.json, found: kind: Field required"):
        add_record(tmp_path / "x.json", tmp_path / "board")
    with pytest.raises(InputError, match="there is no such file"):
        add_record(tmp_path / "y.json", tmp_path / "board")
    alone = _changed(results, tmp_path, lambda _: None)
    samples_path(alone).unlink()
    with pytest.raises(InputError, match=r"per-person errors of a score at .*changed.samples.parquet"):
        add_record(alone, tmp_path / "board")
    with pytest.raises(InputError, match="Expected a board with records"):
        build_board(tmp_path / "nowhere", tmp_path / "out")


def test_a_record_put_there_by_hand_is_found_when_building(results: Path, board: Path, tmp_path: Path) -> None:
    path = _changed(results, tmp_path, lambda c: (c.update(split="val"), c["predictor"].update(name="smuggled")))
    write_record(board / "records" / "zzz.json", read_record(path), read_samples(samples_path(path), read_record(path)))
    with pytest.raises(CheckFailed, match=r"zzz.json may not: its split is 'val', the board's is 'test'"):
        build_board(board, tmp_path / "out")


# --- ranking ----------------------------------------------------------------------------------------------------------


def _result(path: Path) -> tuple[ScoreRecord, pd.DataFrame]:
    return (record := read_record(path)), read_samples(samples_path(path), record)


def _rows(results: Path) -> list[Row]:
    return rows_of([_result(results / f"{name}.json") for name in ("2", "human", "1", "0")])


def _with_primary(record: ScoreRecord, name: str, value: float | None) -> ScoreRecord:
    estimate = record.overall.metrics[PRIMARY].model_copy(update={"value": value})
    overall = record.overall.model_copy(update={"metrics": {**record.overall.metrics, PRIMARY: estimate}})
    card = record.predictor.model_copy(update={"name": name})
    return record.model_copy(update={"overall": overall, "predictor": card})


def test_ranks_go_by_angular_distance_and_the_human_row_has_none(results: Path) -> None:
    tables = board_tables(_rows(results))
    ranking = tables.tables[0]
    assert [(line.rank, line.label) for line in ranking.lines] == [
        ("1", "good"), ("2", "middling"), ("3", HOSTILE), ("", "human"),
    ]  # fmt: skip
    assert [line.human for line in ranking.lines] == [False, False, False, True]
    # the human row is the best of all and is not marked so
    human = ranking.lines[3].cells[0]
    assert float(human.value) < float(ranking.lines[1].cells[0].value)
    assert not human.best
    assert ranking.lines[0].cells[0].best


def test_equal_numbers_share_a_rank_and_no_number_has_none(results: Path) -> None:
    record, samples = _result(results / "1.json")
    values = {"a": 20.0, "b": 10.0, "c": 10.0, "d": None, "e": 30.0}
    tables = board_tables(rows_of([(_with_primary(record, name, value), samples) for name, value in values.items()]))
    assert tables.ranks == {"b": "1", "c": "1", "a": "3", "e": "4", "d": ""}
    assert [line.label for line in tables.tables[0].lines] == ["b", "c", "a", "e", "d"]
    assert {cell.predictor for cell in tables.tables[0].cells if cell.metric == PRIMARY and cell.best} == {"b", "c"}


# --- the outputs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pages(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a board of all results is built to."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("0", "1", "2", "human"):
        add_record(results / f"{name}.json", folder / "board")
    built = build_board(folder / "board", folder / "out")
    assert all(file.is_file() for file in built.files)
    return folder / "out"


def test_markdown_csv_and_page_show_the_same_numbers(results: Path, pages: Path) -> None:
    tables = board_tables(_rows(results))
    assert (pages / "board.md").read_text() == markdown(tables)
    assert (pages / "board.csv").read_text() == to_csv(tables)
    page = Page((pages / "index.html").read_text())
    rows = list(csv.DictReader(io.StringIO((pages / "board.csv").read_text())))
    in_markdown = (pages / "board.md").read_text()
    seen = 0
    for table in tables.tables:
        of_page = [row for row in page.tables[table.key] if any(re.search(r"\d", text) for text in row[2:])][
            -len(table.lines) :
        ]
        for line, row in zip(table.lines, of_page, strict=True):
            # rank, label, cells (after the first of the ranking comes the bar), people, photos
            texts = [text for place, text in enumerate(row) if not (table.key == "ranking" and place == 3)]
            if table.key == "ranking":
                assert texts.pop() == line.tier
            assert texts[-2:] == [str(line.people), str(line.clusters)]
            cells = texts[2:-2] if table.ranked else texts[1:-2]
            for cell, text in zip(line.cells, cells, strict=True):
                (found,) = [
                    r
                    for r in rows
                    if (r["table"], r["predictor"], r["metric"]) == (table.key, cell.predictor, cell.metric)
                    and (r["suite"], r["by"], r["group"]) == (cell.group.suite, cell.group.by, cell.group.group)
                ]
                if not cell.value:
                    assert text == "–"
                    assert found["value"] == ""
                    continue
                assert cell.interval is not None
                assert text == f"{found['value']} {found['low']} to {found['high']}"
                bold = "**" if cell.best else ""
                assert f"{bold}{found['value']}{bold} [{found['low']}, {found['high']}]" in in_markdown
                # and they are the record's
                assert float(found["value"]) == pytest.approx(cell.estimate.value, abs=0.0051)
                seen += 1
    assert len(rows) == sum(1 for table in tables.tables for _ in table.cells)
    assert seen > 90


def test_page_has_every_row_and_says_what_it_rests_on(results: Path, pages: Path) -> None:
    page = Page((pages / "index.html").read_text())
    tables = board_tables(_rows(results))
    for table in tables.tables:
        text = " ".join(cell for row in page.tables[table.key] for cell in row)
        for line in table.lines:
            assert line.label in text
    for fact in ("fake 1.0.0", "a" * 64, "test", "spherical 1.0.0", "mixed", "60 in 30 clusters", "200 resamples", "95 %"):
        assert fact in page.text
    assert "geodesic distance to the consensus" in page.text
    assert {"inside 90° view", "15–30°"} <= {row[0] for row in page.tables["breakdowns"]}
    assert page.text.count("† reads more") == 3
    assert page.text.count("not ranked") == 3
    assert "Also reads camera" in re.sub(r"\s+", " ", page.text.replace("Also reads", "Also reads "))


def test_page_escapes_names_and_fetches_nothing(pages: Path) -> None:
    html = (pages / "index.html").read_text()
    page = Page(html)
    assert page.opened.count("script") == 1  # ours
    script = re.search("<script>(.*)</script>", html, re.DOTALL).group(1)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in html
    assert HOSTILE in page.text
    assert HOSTILE not in html
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href") and value]
    assert links
    assert all(re.match(r"(plots/|records/|board\.|#)", link) for link in links)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    # ids of the plots do not collide
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert page.opened.count("svg") == 5


def test_markdown_shows_names_as_they_are(pages: Path) -> None:
    text = (pages / "board.md").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in tables:
        # escaped bars are not separators
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1


def test_plots_are_drawn_and_the_same_every_time(board: Path, pages: Path, tmp_path: Path) -> None:
    again = build_board(board, tmp_path / "again")
    names = {file.relative_to(tmp_path / "again") for file in again.files}
    assert len(names) == 5 + 5 * 3
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (pages / name).read_bytes(), name
    for name in ("conditions", "latitude", "arc", "cumulative"):
        image = cv2.imread(str(pages / "plots" / f"{name}.png"))
        assert image is not None
        assert image.shape[1] == 1400  # 7 inches at 200 dots
        colours = np.unique(image.reshape(-1, 3), axis=0)
        for rgb in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x00, 0x9E, 0x73)):  # a curve for each of three predictors
            assert (colours == rgb[::-1]).all(axis=1).any()
        assert HOSTILE[:20] not in (pages / "plots" / f"{name}.svg").read_text()


def test_plots_bring_their_numbers(results: Path, pages: Path) -> None:
    rows = {row.name: row.record for row in _rows(results)}
    data = {name: pd.read_csv(pages / "plots" / f"{name}.csv") for name in ("conditions", "latitude", "arc", "cumulative")}
    for record in rows.values():
        own = {name: table[table["predictor"] == record.predictor.name] for name, table in data.items()}
        for group in record.conditions:
            (line,) = own["conditions"][own["conditions"]["group"] == group.group].to_dict("records")
            assert line["value"] == pytest.approx(group.metrics[PRIMARY].value)
            assert (line["people"], line["clusters"]) == (group.metrics[PRIMARY].people, group.metrics[PRIMARY].clusters)
        for name, by in (("latitude", "target_latitude"), ("arc", "head_target_arc")):
            assert list(own[name]["group"]) == [group.group for group in record.breakdowns if group.by == by]
        assert own["cumulative"]["share"].is_monotonic_increasing
        assert own["cumulative"]["share"].iloc[-1] == 1.0
    differences = pd.read_csv(pages / "plots" / "differences.csv")
    assert list(differences["predictor"]) == ["middling", HOSTILE]
    assert set(differences["best"]) == {"good"}
    expected = rows["middling"].overall.metrics[PRIMARY].value - rows["good"].overall.metrics[PRIMARY].value
    assert differences["difference"][0] == pytest.approx(expected)


def test_a_board_of_one_predictor_and_one_suite(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "data", people=12)
    data = replace(data, annotations=data.annotations[data.annotations["suite"] == "latitude"].reset_index(drop=True))
    card = PredictorCard(name="_only")
    file = predictions(tmp_path / "p.parquet", data, 0.1, card, heatmaps=False)
    score_file(file, data, "test", tmp_path / "r.json", resamples=100)
    add_record(tmp_path / "r.json", tmp_path / "board")
    built = build_board(tmp_path / "board", tmp_path / "out")
    assert built.tables.facts["Ranking suite"] == "latitude"
    # 16 people: conditions of 8 each show how many they are and no number
    page = Page((tmp_path / "out" / "index.html").read_text())
    assert ["lat+0", "–", "8", "6"] in page.tables["conditions"]
    assert built.tables.ranks == {"_only": "1"}
    assert not any(cell.best for table in built.tables.tables for cell in table.cells)


@pytest.mark.parametrize(
    ("group", "shown"),
    [("0-30 deg", "0–30°"), ("inside 90 deg view", "inside 90° view"), ("front", "front"), ("7.5-10 deg", "7.5–10°")],
)
def test_bands_are_written_with_signs(group: str, shown: str) -> None:
    assert group_label(group) == shown


def test_commands_add_and_build(results: Path, tmp_path: Path) -> None:
    from leaderboard.board_commands import board as app

    run = CliRunner()
    words = [str(results / f"{name}.json") for name in ("0", "1", "human")]
    added = run.invoke(app, ["add", *words, "--board", str(tmp_path / "board")])
    assert added.exit_code == 0, added.output
    assert added.output.count("added as") == 3
    assert "is there already" in run.invoke(app, ["add", words[0], "--board", str(tmp_path / "board")]).output
    built = run.invoke(app, ["build", "--board", str(tmp_path / "board"), "--out", str(tmp_path / "out"), "--json"])
    assert built.exit_code == 0, built.output
    shown = json.loads(built.stdout)
    assert [(row["rank"], row["predictor"]) for row in shown["ranking"]] == [(1, "good"), (2, "middling"), (None, "human")]
    assert shown["ranking"][0]["value"] == read_record(results / "0.json").overall.metrics[PRIMARY].value
    table = run.invoke(app, ["build", "--board", str(tmp_path / "board"), "--out", str(tmp_path / "out")])
    assert "middling" in table.stdout
    refused = run.invoke(
        app, ["add", str(_changed(results, tmp_path, lambda c: c.update(split="val"))), "--board", str(tmp_path / "board")]
    )
    assert isinstance(refused.exception, CheckFailed)
    assert refused.exception.exit_code == 1


def test_first_groups_are_marked_and_small_groups_too(results: Path) -> None:
    """A twin of the best that differs in no one's favour is in the first group wherever it is not the best itself."""
    record, samples = _result(results / "0.json")
    noise = np.random.default_rng(0).normal(size=len(samples)) * 0.5 + 0.1
    other = samples.assign(**{PRIMARY: samples[PRIMARY] + noise})
    card = record.predictor.model_copy(update={"name": "twin"})
    value = record.overall.metrics[PRIMARY].value
    twin = _with_primary(record, "twin", value + 0.2).model_copy(update={"predictor": card})
    tables = board_tables(
        rows_of([(record, samples), (twin, other), *map(_result, [results / "2.json", results / "human.json"])])
    )
    first = tables.tables[0].lines
    assert [line.label for line in first] == ["good", "twin", HOSTILE, "human"]
    assert [(line.cells[0].best, line.cells[0].leads, line.cells[0].first) for line in first] == [
        (True, True, False), (False, False, True), (False, False, False), (False, False, False),
    ]  # fmt: skip
    assert first[2].cells[0].p < 0.05 < first[1].cells[0].p
    assert first[3].cells[0].p is None
    assert not any(cell.first for line in first for cell in line.cells[1:])  # the primary metric alone is compared
    text = markdown(tables)
    assert f"| 2 (1–2) | twin | {first[1].cells[0].value}ᵃ [" in text
    assert "| Overall | mixed ‡ | good | twin | 40 | 30 |" in text
    assert [(one.section, one.label) for one in tables.standings] == [
        ("Overall", "mixed"), ("latitude", "lat+0"), ("latitude", "lat+60"), ("mixed", "mixed"),
    ]  # fmt: skip
    assert all(one.few for one in tables.standings)
    assert [one.label for one in tables.behind(HOSTILE)] == [one.label for one in tables.standings]
    assert not tables.behind("good")
    rows = list(csv.DictReader(io.StringIO(to_csv(tables))))
    words = {r["predictor"]: r["first_group"] for r in rows if r["table"] == "ranking" and r["metric"] == PRIMARY}
    assert words == {"good": "best", "twin": "yes", HOSTILE: "no", "human": ""}


def test_page_says_who_is_first_in_each_condition(pages: Path) -> None:
    page = Page((pages / "index.html").read_text())
    rows = [row for row in page.tables["first"] if len(row) == 5]
    assert rows[1:] == [
        ["mixed", "good", "–", "40", "30"],
        ["lat+0", "good", "–", "40", "30"],
        ["lat+60", "good", "–", "40", "30"],
        ["mixed", "good", "–", "40", "30"],
    ]
    # everything is small here: 4 rows of this table, 3 conditions, and every group of people and targets
    groups = sum(row[-1].isdigit() for row in page.tables["breakdowns"])
    assert page.attributes.count(("class", "few")) == 4 + 3 + groups
