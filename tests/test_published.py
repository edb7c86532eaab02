"""Published numbers: they are those of the sources, say what they are, and stand apart in every output."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from boards import Page, result
from building import run_command
from fakes import fake_dataset

from leaderboard.board import add_record, build_board
from leaderboard.latex import latex
from leaderboard.page import page
from leaderboard.published import STATUS, TITLE, PublishedTable, published, published_table, published_tables, to_csv
from leaderboard.tables import BoardTables
from leaderboard.text import markdown, to_json
from leaderboard.text import to_csv as board_csv
from srgaze360.errors import InputError

# Typed from the tables of the literature, not from the data files: method, its numbers as printed, "-" for none.
GAZEFOLLOW360 = """
Random | 1.5357 0.5056
Lian et al. | 1.2540 0.6057
SALICON (saliency, no gaze) | 1.0940 0.8002
Chong et al. | 0.9183 0.7765
Ruiz et al. | 0.7612 0.7188
Zhang et al. | 0.7366 0.7213
GDE module (direction only) | 0.6880 0.7311
Li et al. (full model) | 0.6067 0.8104
Human level | 0.2531 0.9350
Re-implementation of Li et al. | 0.6157 0.7803
Re-implementation of Li et al. | 0.6157 0.8673
"""
GAZEFOLLOW = """
Random | .504 .484 .391 69
Center | .633 .313 .230 49
Fixed bias | .674 .306 .219 48
Judd saliency | .711 .337 .250 54
SVM, one grid | .758 .276 .193 43
SVM, shifted grids | .788 .268 .186 40
Recasens et al. 2015 | .878 .190 .113 24
One human | .924 .096 .040 11
Chong et al. 2018 | .896 .187 .112 -
Lian et al. 2018 | .906 .145 .081 -
Chong et al. 2020 | .921 .137 .077 -
Chen et al. 2021 | .908 .136 .074 -
Fang et al. 2021 | .922 .124 .067 -
Bao et al. 2022 | .928 .122 - -
Jin et al. 2022 | .920 .118 .063 -
Tonini et al. 2022 | .927 .141 - -
Hu et al. 2022 | .923 .128 .069 -
Gupta et al. 2022 | .943 .114 .056 -
Horanyi et al. 2023, re-implemented | .896 .196 .127 -
Miao et al. 2023 | .934 .123 .065 -
Tafasca et al. 2023 | .939 .122 .062 -
Sharingan | .944 .113 .057 -
ViTGaze | .949 .105 .047 -
Gaze-LLE ViT-B | .956 .104 .045 -
Gaze-LLE ViT-L | .958 .099 .041 -
Gaze-LLE ViT-L, run by a user | .95844 .09842 .04108 -
Gaze-LLE ViT-B, run by the authors of PaGE | .9543 .1104 .0492 -
GazeMoE | .959 .101 - -
OmniGF (Qwen3-VL-4B) | - .091 .040 -
Multi-scale Object-Aware | .961 .094 .038 -
Gemini 3.5 Flash, zero-shot | - .128 .067 -
GazeAnywhere | .958 .099 .050 -
PaGE, GazeFollow alone | .9595 .0958 .0391 -
PaGE ViT-S, distilled | .964 .086 .033 -
PaGE ViT-B, distilled | .966 .081 .029 -
PaGE ViT-H+ | .966 .080 .029 -
"""
VIDEOATTENTIONTARGET = """
Random | .505 .458 .621
Fixed bias | .728 .326 .624
Chong et al. 2018 | .833 .171 .712
Chong et al. 2020 | .860 .134 .853
Fang et al. 2021 | .905 .108 .896
Bao et al. 2022 | .885 .120 .869
Jin et al. 2022 | .900 .104 .895
Tonini et al. 2022 | .862 .125 .742
Hu et al. 2022 | .880 .118 .881
Gupta et al. 2022 | .914 .110 .879
Horanyi et al. 2023, re-implemented | .832 .199 .800
Miao et al. 2023 | .917 .109 .908
Tafasca et al. 2023 | .914 .109 .834
Sharingan | - .107 .891
ViTGaze | .938 .102 .905
Gaze-LLE ViT-B | .933 .107 .897
Gaze-LLE ViT-L | .937 .103 .903
Gaze-LLE ViT-B, trained on GazeFollow | .932 .105 -
Gaze-LLE ViT-L, trained on GazeFollow | .937 .100 -
GazeMoE | .939 .097 .917
HCLoRA ViT-L | .9387 .0951 .9068
OmniGF (Qwen3-VL-4B) | - .096 .923
Multi-scale Object-Aware | .948 .095 .923
Gemini 3.5 Flash, zero-shot | - .138 -
GazeAnywhere | .928 .123 .879
PaGE ViT-S, distilled | .964 .074 .937
PaGE ViT-B, distilled | .969 .068 .945
PaGE ViT-H+ | .972 .064 .951
One human | .921 .051 .925
"""
CHILDPLAY = """
Gupta et al. 2022 | .919 .113 .983
Tafasca et al. 2023 | .935 .107 .986
Sharingan | - .106 .990
Gaze-LLE ViT-B | .949 .106 .994
Gaze-LLE ViT-L | .951 .101 .994
Gaze-LLE ViT-B, trained on GazeFollow | .946 .114 -
Gaze-LLE ViT-L, trained on GazeFollow | .951 .101 -
GazeMoE | .945 .106 .994
OmniGF (Qwen3-VL-4B) | - .090 .996
Multi-scale Object-Aware | .987 .084 .990
Gemini 3.5 Flash, zero-shot | - .111 -
PaGE ViT-S, distilled | .970 .075 .997
PaGE ViT-B, distilled | .973 .070 .997
PaGE ViT-H+ | .975 .069 .995
One human | .911 .048 .993
"""
TYPED = {
    "gazefollow360": GAZEFOLLOW360,
    "gazefollow": GAZEFOLLOW,
    "videoattentiontarget": VIDEOATTENTIONTARGET,
    "childplay": CHILDPLAY,
}


def typed(text: str) -> list[tuple[str, tuple[str, ...]]]:
    rows = [line.split(" | ") for line in text.strip().splitlines()]
    number = {"-": ""}
    return sorted((m, tuple(number.get(n, f"0{n}" if n.startswith(".") else n) for n in row.split())) for m, row in rows)


# --- the data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TYPED)
def test_numbers_are_those_of_the_sources(name: str) -> None:
    table = published_table(name)
    assert sorted((row.method, tuple(row.printed.get(c, "") for c in table.columns)) for row in table.rows) == typed(
        TYPED[name]
    )


def test_every_table_is_checked_and_every_row_is_complete_by_itself() -> None:
    tables = published_tables()
    assert [(table.protocol, table.datasets[0], table.split) for table in tables] == [
        ("videoattentiontarget", "childplay", "test"),
        ("gazefollow", "gazefollow", "test"),
        ("gazefollow360", "gazefollow360", "test"),
        ("videoattentiontarget", "videoattentiontarget", "test"),
    ]
    for table in tables:
        for record in table.records():
            assert record["status"] == "as published, not re-run"
            assert all(record[key] for key in ("method", "source", "read_in", "protocol", "dataset", "split"))
            assert all(record[f"{column}_definition"] for column in table.columns if record[column])
        assert sum(len(rows) for _, _, rows in table.sections) == len(table.rows)
    with pytest.raises(InputError, match="found 'gazefolow'. Did you mean 'gazefollow'"):
        published_tables("gazefolow")


def test_definitions_are_those_that_were_found() -> None:
    """What the field compares in one column: two distances, and an AUC that changed within one repository."""
    gazefollow = {row["method"]: row for row in published_table("gazefollow").records()}
    assert gazefollow["Center"]["distance_definition"].startswith("mean over the annotators")
    assert gazefollow["Center"]["auc_definition"].startswith("5 x 5 grid")
    for method in ("Chong et al. 2020", "Gaze-LLE ViT-L", "ViTGaze", "Sharingan", "Lian et al. 2018"):
        assert gazefollow[method]["distance_definition"].startswith("to the mean annotation"), method
    assert gazefollow["Miao et al. 2023"]["distance_definition"].startswith("not known")
    assert "likely" in gazefollow["One human"]["note"]
    twice = [row for row in published_table("gazefollow360").records() if row["distance_rad"] == "0.6157"]
    assert len({row["auc_definition"] for row in twice}) == len(twice) == 2
    video = {row["method"]: row for row in published_table("videoattentiontarget").records()}
    for method in ("Random", "Fixed bias", "Tonini et al. 2022"):
        assert "doubtful" in video[method]["note"], method
    assert video["Random"]["read_in"].startswith("from memory")
    assert "disk" in video["ViTGaze"]["auc_definition"]


VALID = {
    "protocol": "p", "datasets": ["d"], "split": "test", "title": "T",
    "columns": {"auc": {"title": "AUC", "better": "higher", "most": 1}},
    "definitions": {"d": {"title": "D", "columns": {"auc": "an area"}}},
    "readings": {"r": "a page"}, "sources": {"s": "a paper"},
    "rows": [{"method": "M", "source": "s", "reading": "r", "definition": "d", "printed": {"auc": "0.5"}}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"source": "t"}, "no source 't'"),
        ({"reading": "t"}, "no reading 't'"),
        ({"definition": "t"}, "no definition 't'"),
        ({"printed": {"auc": "1.5"}}, "M: auc cannot be 1.5"),
        ({"printed": {"auc": "-0.5"}}, "should match pattern"),
        ({"printed": {"auc": 0.5}}, "valid string"),
        ({"printed": {"map": "0.5"}}, "M: column 'map' is not defined"),
        ({"printed": {}}, "at least 1 item"),
        ({"method": ""}, "at least 1 character"),
    ],
)
def test_faulty_tables_are_refused(change: dict[str, object], fault: str, tmp_path: Path) -> None:
    def write(row: dict[str, object]) -> str:
        (tmp_path / "t.yaml").write_text(json.dumps({**VALID, "rows": [row]}))
        return str(tmp_path / "t.yaml")

    assert PublishedTable.model_validate(VALID).rows[0].printed == {"auc": "0.5"}
    with pytest.raises(InputError, match=f"Expected a table of published numbers in .*{fault}"):
        published_table(write({**VALID["rows"][0], **change}))


def test_a_result_may_not_stand_twice_and_nothing_may_be_unused() -> None:
    with pytest.raises(ValueError, match="M: the same result twice"):
        PublishedTable.model_validate({**VALID, "rows": VALID["rows"] * 2})
    with pytest.raises(ValueError, match="no row has the source 't'"):
        PublishedTable.model_validate({**VALID, "sources": {"s": "a paper", "t": "another"}})


@pytest.mark.parametrize(
    ("protocol", "dataset", "split", "shown"),
    [
        ("gazefollow360", "GazeFollow360", "test", "GazeFollow360"),
        ("gazefollow360", "srgaze360-gazefollow360-1.0", "test", "GazeFollow360"),
        ("gazefollow360", "srgaze360-1.0", "test", ""),
        ("gazefollow360", "procedural-benchmark", "test", ""),
        ("gazefollow360", "gazefollow360", "val", ""),
        ("spherical", "gazefollow360", "test", ""),
        ("gazefollow", "GazeFollow", "test", "GazeFollow"),
        ("gazefollow", "videoattentiontarget", "test", ""),
        ("gazefollow", "gazefollow", "train", ""),
        ("videoattentiontarget", "VideoAttentionTarget", "test", "VideoAttentionTarget"),
        ("videoattentiontarget", "childplay", "test", "ChildPlay"),
        ("spherical", "srgaze360-1.0", "test", ""),
    ],
)
def test_where_published_numbers_are_shown(protocol: str, dataset: str, split: str, shown: str) -> None:
    found = published(protocol, dataset, split)
    assert (found.title if found else "") == shown


# --- boards -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board over a made-up dataset that bears the name of GazeFollow360."""
    folder = tmp_path_factory.mktemp("published")
    data = fake_dataset(folder / "data", people=16)
    data = replace(data, info=data.info.model_copy(update={"name": "GazeFollow360"}))
    for name, spread in (("near", 0.1), ("far", 1.0)):
        add_record(result(folder, data, name, spread, heatmaps=True, protocol="gazefollow360"), folder / "board")
    build_board(folder / "board", folder / "pages")
    return folder


@pytest.fixture(scope="module")
def boards(pages: Path) -> dict[str, BoardTables]:
    """The same board beside each published table, as a board of that protocol would have it."""
    tables = build_board(pages / "board", pages / "again").tables
    return {name: replace(tables, published=published_table(name)) for name in TYPED}


@pytest.mark.parametrize("name", TYPED)
def test_every_output_has_the_section_and_keeps_it_apart(boards: dict[str, BoardTables], name: str) -> None:
    board, table = boards[name], published_table(name)
    before, section = markdown(board).split(f"## {TITLE}\n")
    section = section.partition("\n## ")[0]
    tex = latex(board)
    ours, theirs = tex.split(r"\label{tab:srgaze360-published}")
    html = Page(page(board, []))
    listed = [row for row in html.tables["published"] if len(row) == len(table.columns) + 3]
    assert [row[0] for row in listed[1:]] == [row.method for _, _, rows in table.sections for row in rows]
    for row in table.rows:
        values = [row.printed[column] for column in table.columns if column in row.printed]
        assert " | ".join(values) in section.replace(" | – | ", " | ")
        assert " & ".join(row.printed.get(column, "--") for column in table.columns) in theirs
        cells = next(cells for cells in listed if cells[0] == row.method and cells[1 : 1 + len(table.columns)] == [
            row.printed.get(column, "–") for column in table.columns
        ])  # fmt: skip
        assert table.sources[row.source] in cells[-2]
        assert cells[-1] == row.note
    assert TITLE == "As published, not re-run"  # in Markdown the heading of the section
    assert theirs.count(TITLE) == 0
    assert ours.split(r"\begin{table*}")[-1].count(TITLE) == 1  # in LaTeX the caption of the float
    assert html.text.count(TITLE) == 1
    for _, definition, _ in table.sections:
        for text in definition.columns.values():
            assert f" {text}." in html.text
    # nothing of theirs in the tables of ours, nothing of ours in theirs
    long = [value for row in table.rows for value in row.printed.values() if len(value) > 5]
    for value in long:
        assert value not in before
        assert value not in ours
        assert value not in board_csv(board)
    assert not re.search(r"\b(near|far)\b", section.replace("far corner", ""))
    assert {cells[0] for key, rows in html.tables.items() if key != "published" for cells in rows}.isdisjoint(
        {row.method for row in table.rows}
    )
    records = json.loads(to_json(board))["published"]
    assert records == table.records()
    assert list(csv.DictReader(io.StringIO(to_csv(table)))) == records
    assert {record["status"] for record in records} == {STATUS}


def test_boards_write_it_beside_their_own_numbers(pages: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((pages / "pages" / "published.csv").read_text())))
    assert [(row["method"], (row["distance_rad"], row["auc"])) for row in rows] == [
        (row.method, (row.printed["distance_rad"], row.printed["auc"])) for row in published_table("gazefollow360").rows
    ]
    ours = list(csv.DictReader(io.StringIO((pages / "pages" / "board.csv").read_text())))
    assert {row["predictor"] for row in ours} == {"near", "far"}
    assert 'href="published.csv"' in (pages / "pages" / "index.html").read_text()
    for name in ("board.md", "index.html", "board.tex"):
        assert "0.6067" in (pages / "pages" / name).read_text()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here (Debian's texlive-latex-recommended)")
@pytest.mark.parametrize("name", TYPED)
def test_latex_compiles(boards: dict[str, BoardTables], name: str, tmp_path: Path) -> None:
    (tmp_path / "board.tex").write_text(latex(boards[name]))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp,booktabs,graphicx}\n"
        "\\usepackage[margin=2cm]{geometry}\\begin{document}\\input{board}\\end{document}\n"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout


# --- the command ------------------------------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run_command(capsys, "board", "published", "--json")
    assert ran.code == 0
    assert [(row["dataset"], row["method"]) for row in json.loads(ran.out)] == [
        (table.title, row["method"]) for table in published_tables() for row in table.records()
    ]
    ran = run_command(capsys, "board", "published", "--protocol", "gazefollow", "--json")
    assert {row["protocol"] for row in json.loads(ran.out)} == {"gazefollow"}
    ran = run_command(capsys, "board", "published", "--protocol", "gazefollow360")
    assert ran.code == 0
    assert re.search(r"Li et al. \(full model\) +0.6067 +0.8104 +Li et al., ICCV 2021 \[1\]", ran.out)
    assert "as published, not re-run" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    ran = run_command(capsys, "board", "published", "--protocol", "spherical")
    assert ran.code == 2
    assert "Expected a protocol with published numbers, found 'spherical'" in ran.err
