"""The result of a review: a new version that holds what was decided, by whom and why; the dataset itself is never touched."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviewing import opened, proposal
from sound import Row, rows_of, sound_dataset
from typer.testing import CliRunner

from annotation.commands import annotate
from annotation.lint.run import lint
from annotation.review.database import store_path
from annotation.review.labels import Label, edit_of, label_of
from annotation.review.result import beside, write_result
from annotation.review.store import Saved, Store
from annotation.versions import CHANGELOG_FILE, CHANGES_FILE, next_version
from builders.building.verify import verify
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import digest_file


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """24 people on 12 panoramas, with all the papers of a build."""
    found = sound_dataset(tmp_path / "data", people=6)
    assert verify(found.root) == []
    return found


@pytest.fixture
def store(data: Dataset) -> Iterator[Store]:
    found = opened(data)
    yield found
    found.close()


def people(data: Dataset) -> list[Row]:
    return [row for row in rows_of(data.root) if row["gaze_points_deg"]]


def decide(store: Store, row: Row, verdict: str | None, reviewer: str = "ann", **changes: Any) -> None:
    """Save a decision on what was saved last."""
    last = store.last(row["sample_id"])
    label = (last.label if last else label_of(row)).model_copy(update=changes)

    def finish(said: Label, *_: Label | None) -> tuple[Label, bool]:
        return said, edit_of(said, row, reviewer) is not None

    done = store.save(proposal(row["sample_id"], last.revision if last else 0, label, reviewer, verdict), finish)
    assert isinstance(done, Saved)


def content(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def review(store: Store, data: Dataset) -> dict[str, Row]:
    """A review with everything in it; the people by what happened to them."""
    rows = dict(
        zip(("moved", "gone", "kept", "skipped", "flagged", "headless", "undecided", "twice"), people(data), strict=False)
    )
    decide(
        store, rows["moved"], "accepted", gaze_points_deg=((10.0, 5.0),), gaze_annotators=("ann",), comment="off by a person"
    )
    decide(store, rows["gone"], "rejected", "bob", comment="a statue")
    decide(store, rows["kept"], "accepted")
    decide(store, rows["skipped"], "skipped", gaze_points_deg=((1.0, 2.0),))
    decide(store, rows["flagged"], "accepted", bad_image=True, ambiguous=True, in_frame=False)
    decide(store, rows["headless"], None, head_box=None)
    decide(store, rows["undecided"], None, gaze_points_deg=((-179.9, 80.0),))
    decide(store, rows["twice"], "rejected", "ann")
    decide(store, rows["twice"], "accepted", "zoë", gaze_points_deg=((33.0, -4.0),))
    late = label_of(rows["kept"]).model_copy(update={"gaze_points_deg": ((0.5, 0.5),)})
    store.save(proposal(rows["kept"]["sample_id"], 0, late, "late"), lambda said, *_: (said, True))  # set aside
    return rows


def test_the_new_version_holds_what_was_decided(data: Dataset, store: Store, tmp_path: Path) -> None:
    rows = review(store, data)
    before = content(data.root)
    done = write_result(data.root, store, tmp_path / "new")
    assert content(data.root) == before
    assert (done.version, done.path) == ("1.0.1", tmp_path / "new")
    assert done.changes == {
        "gaze moved": 3, "removed": 2, "ambiguous flag": 1, "bad-image flag": 1, "in-frame flag": 1,
    }  # fmt: skip
    assert done.left == {"accepted as they are": 1, "skipped, edits not applied": 1}
    assert done.reviewers == {"ann": 6, "bob": 1, "zoë": 1}
    new = {row["sample_id"]: row for row in rows_of(tmp_path / "new")}
    ids = {what: row["sample_id"] for what, row in rows.items()}
    assert new[ids["moved"]]["gaze_points_deg"] == [[10.0, 5.0]]
    assert new[ids["moved"]]["gaze_annotators"] == ["ann"]
    assert not {ids["gone"], ids["headless"]} & new.keys()
    assert [new[ids["flagged"]][flag] for flag in ("bad_image", "ambiguous", "in_frame")] == [True, True, False]
    assert new[ids["undecided"]]["gaze_points_deg"] == [[-179.9, 80.0]]
    assert new[ids["twice"]]["gaze_points_deg"] == [[33.0, -4.0]]  # the last entry counts
    old = {row["sample_id"]: row for row in rows_of(data.root)}
    for name in new.keys() - {ids[what] for what in ("moved", "flagged", "undecided", "twice")}:
        assert {key: value for key, value in new[name].items() if value is not None} == {
            key: value for key, value in old[name].items() if value is not None
        }
    assert len(new) == len(old) - 2
    assert verify(tmp_path / "new") == []


def test_who_decided_what_and_why_is_on_paper(data: Dataset, store: Store, tmp_path: Path) -> None:
    rows = review(store, data)
    write_result(data.root, store, tmp_path / "new", bump="minor", note="Second round.")
    changes = {line["sample_id"]: line for line in lines(tmp_path / "new" / CHANGES_FILE)}
    moved = changes[rows["moved"]["sample_id"]]
    assert (moved["version"], moved["what"], moved["annotator"]) == ("1.1.0", "gaze moved", "ann")
    assert (moved["comment"], json.loads(moved["after"])) == ("off by a person", [[10.0, 5.0]])
    assert changes[rows["twice"]["sample_id"]]["annotator"] == "zoë"
    rejected = {line["row"]: line["reason"] for line in lines(tmp_path / "new" / "rejected.csv")}
    assert rejected[f"sample {rows['gone']['sample_id']}"] == "taken out in version 1.1.0: rejected in review by bob: a statue"
    headless = rejected[f"sample {rows['headless']['sample_id']}"]
    assert headless == "taken out in version 1.1.0: head box deleted in review by ann"
    changelog = (tmp_path / "new" / CHANGELOG_FILE).read_text()
    assert "## 1.1.0 (2" in changelog
    assert (
        "Second round. Reviewed in the browser, people by who saw them last: ann (6), bob (1), zoë (1). "
        "Not changed: 1 accepted as they are; 1 skipped, edits not applied."
    ) in changelog


def test_lint_of_the_new_version_has_no_finding_that_the_old_had_not(data: Dataset, store: Store, tmp_path: Path) -> None:
    row = people(data)[0]
    decide(store, row, "accepted", head_box=(0.97, 0.4, 1.02, 0.45), gaze_points_deg=((-178.0, 2.0), (179.0, 1.0)))
    write_result(data.root, store, tmp_path / "new")
    old, new = (
        {(one.rule, one.sample_id) for one in lint(root).findings} for root in (data.root, tmp_path / "new")
    )  # fmt: skip
    # the made-up photo of a made-up person does not reach so far: that alone is new
    assert {rule for rule, _ in new - old} <= {"head-outside-photo", "in-frame-outside-photo", "out-of-frame-inside-photo"}


def test_a_dry_run_says_what_would_change_and_writes_nothing(data: Dataset, store: Store, tmp_path: Path) -> None:
    review(store, data)
    done = write_result(data.root, store, None)
    assert (done.path, done.version) == (None, None)
    assert done.changes == write_result(data.root, store, tmp_path / "new").changes
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["data", "new"]


def test_nothing_is_written_over(data: Dataset, store: Store, tmp_path: Path) -> None:
    review(store, data)
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "there", data.root):
        with pytest.raises(InputError, match="Expected no folder .* yet, found one"):
            write_result(data.root, store, out)
    with pytest.raises(InputError, match="Expected --out apart from the dataset"):
        write_result(data.root, store, data.root / "new")


def test_a_review_that_changes_nothing_has_no_result(data: Dataset, store: Store, tmp_path: Path) -> None:
    decide(store, people(data)[0], "accepted", comment="fine")
    with pytest.raises(InputError, match="found none that does: there is nothing to write"):
        write_result(data.root, store, tmp_path / "new")
    assert write_result(data.root, store, None).left == {"accepted as they are": 1}


def test_everybody_rejected_is_refused(data: Dataset, store: Store, tmp_path: Path) -> None:
    for row in rows_of(data.root):
        decide(store, row, "rejected")
    with pytest.raises(InputError, match="found all 24 people taken out"):
        write_result(data.root, store, tmp_path / "new")


def test_names_of_new_folders(data: Dataset) -> None:
    assert beside(data) == data.root.with_name("data-1.0.1")
    assert beside(data, "minor") == data.root.with_name("data-1.1.0")
    named = Dataset(data.root.with_name("data-1.0.0"), data.info, data.annotations)
    assert beside(named) == data.root.with_name("data-1.0.1")
    assert next_version("1.2.3-rc", "minor") == "1.3.0-rc"


# --- the command ------------------------------------------------------------------------------------------------------


def invoke(*words: object) -> Any:
    return CliRunner().invoke(annotate, [str(word) for word in words])


def test_the_command_writes_and_tells(data: Dataset, store: Store, tmp_path: Path) -> None:
    review(store, data)
    done = invoke("result", data.root, "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert told["changes"]["removed"] == 2
    assert (told["path"], told["version"], told["left"]) == (
        None, None, {"accepted as they are": 1, "skipped, edits not applied": 1},
    )  # fmt: skip
    done = invoke("result", data.root, "--out", tmp_path / "new", "--bump", "minor", "--link", "--json")
    told = json.loads(done.stdout)
    assert (told["version"], told["path"]) == ("1.1.0", str(tmp_path / "new"))
    assert told["label_digest"] == Dataset.open(tmp_path / "new").info.label_digest
    done = invoke("result", data.root, "--dry-run")
    assert "Reviewed by ann (6), bob (1), zoë (1): " in done.stdout
    assert "not changed: 1 skipped, edits not applied" in done.stdout


def test_wrong_use_is_told(data: Dataset, tmp_path: Path) -> None:
    for words, match in (
        (("--dry-run", "--out", tmp_path / "new"), "Expected either --out NEWDIR or --dry-run, found both or neither"),
        ((), "Expected either --out NEWDIR or --dry-run"),
        (("--dry-run", "--bump", "major"), "Expected --bump patch or --bump minor, found 'major'"),
        (("--dry-run",), "Expected the store of a review at .*data.review.sqlite, but there is no such file"),
    ):
        done = invoke("result", data.root, *words)
        with pytest.raises(InputError, match=match):
            raise done.exception
    assert not store_path(data.root).exists()


def test_a_new_version_is_reviewed_in_a_store_of_its_own(data: Dataset, store: Store, tmp_path: Path) -> None:
    review(store, data)
    write_result(data.root, store, tmp_path / "new")
    done = invoke("result", tmp_path / "new", "--dry-run", "--store", store.path)
    with pytest.raises(InputError, match=r"Expected the review of fake 1.0.1 .*, found that of fake 1.0.0"):
        raise done.exception
