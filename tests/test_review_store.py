"""The store of a review: nothing is changed, nothing is lost, latecomers are set aside, and it is of one dataset alone."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import fake_dataset
from reviewing import label, opened, plainly, proposal

from annotation.review.database import APPLICATION_ID, store_path
from annotation.review.labels import Label
from annotation.review.store import NOTHING, Entry, Saved, SetAside, State, Store
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError


@pytest.fixture
def store(fake: Dataset) -> Iterator[Store]:
    found = opened(fake)
    yield found
    found.close()


def last(store: Store, sample_id: str) -> Entry:
    found = store.last(sample_id)
    assert found is not None
    return found


# --- saving -----------------------------------------------------------------------------------------------------------


def test_decisions_are_numbered_and_the_last_counts(store: Store) -> None:
    assert store.last("a") is None
    assert store.save(proposal("a", 0, label(1.0)), plainly) == Saved(1)
    assert store.save(proposal("a", 1, label(2.0), "bob", "rejected"), plainly) == Saved(2)
    assert store.save(proposal("b", 0, label(3.0), verdict=None), plainly) == Saved(1)
    found = last(store, "a")
    assert (found.revision, found.reviewer, found.verdict, found.label) == (2, "bob", "rejected", label(2.0))
    assert [(one.sample_id, one.revision) for one in store.decided()] == [("a", 2), ("b", 1)]
    assert store.states() == {"a": State(2, "rejected", True), "b": State(1, None, True)}
    assert [one.label for one in store.history("a")] == [label(1.0), label(2.0)]
    assert found.time.endswith("+00:00")


def test_a_late_decision_is_set_aside_and_kept(store: Store) -> None:
    store.save(proposal("a", 0, label(1.0)), plainly)
    late = store.save(proposal("a", 0, label(2.0), "bob"), plainly)
    assert isinstance(late, SetAside)
    assert late.current == last(store, "a")
    assert last(store, "a").reviewer == "ann"
    kept = store.history("a")[1]
    assert (kept.id, kept.set_aside, kept.revision, kept.label, kept.reviewer) == (late.kept, True, 0, label(2.0), "bob")
    assert store.states()["a"].revision == 1
    assert store.save(proposal("a", 1, label(2.0), "bob"), plainly) == Saved(2)  # having seen it


def test_the_same_decision_again_is_no_conflict_with_itself(store: Store) -> None:
    """An acknowledgement can be lost on its way, with a server that was killed just then."""
    first = proposal("a", 0, label(1.0, comment="once"))
    assert store.save(first, plainly) == Saved(1)
    assert store.save(first, plainly) == Saved(1)
    assert len(store.history("a")) == 1
    assert isinstance(store.save(proposal("a", 0, label(1.0, comment="once"), "bob"), plainly), SetAside)  # somebody else's is
    assert isinstance(store.save(proposal("a", 0, label(1.0, comment="once"), verdict="skipped"), plainly), SetAside)


def test_a_decision_on_a_revision_that_is_not_there_yet_is_set_aside(store: Store) -> None:
    store.save(proposal("a", 0, label(1.0)), plainly)
    assert isinstance(store.save(proposal("a", 7, label(2.0)), plainly), SetAside)


def test_nothing_is_written_where_finishing_fails(store: Store) -> None:
    def fails(*_: Label | None) -> tuple[Label, bool]:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        store.save(proposal("a", 0, label()), fails)
    assert store.history("a") == []
    assert store.save(proposal("a", 0, label()), plainly) == Saved(1)  # and the store goes on


def test_entries_cannot_be_changed_or_removed(store: Store) -> None:
    store.save(proposal("a", 0, label()), plainly)
    with sqlite3.connect(store.path) as other:
        for words in ("UPDATE entries SET verdict = 'rejected'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="entries are never"):
                other.execute(words)
        with pytest.raises(sqlite3.IntegrityError):  # nor can a revision be there twice
            other.execute(
                "INSERT INTO entries SELECT id + 1, sample_id, revision, reviewer, time, action, verdict, label, own, edited, "
                "seconds, set_aside FROM entries"
            )
    other.close()


def test_a_full_disk_is_told_and_nothing_is_half_saved(store: Store) -> None:
    store.save(proposal("a", 0, label(1.0)), plainly)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    def go_on() -> None:
        for revision in range(1, 100):
            store.save(proposal("a", revision, label(1.0, comment="x" * 1000)), plainly)

    with pytest.raises(EnvironmentProblem, match=r"but the system refused: database or disk is full. Check free space"):
        go_on()
    reached = last(store, "a").revision
    assert [one.revision for one in store.history("a")] == list(range(1, reached + 1))
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.save(proposal("a", reached, label(2.0)), plainly) == Saved(reached + 1)


# --- blind ------------------------------------------------------------------------------------------------------------


def append(said: Label, everybody: Label | None, own: Label | None) -> tuple[Label, bool]:
    """The label of everybody has all points; tells what it was given by the comment."""
    points = (everybody.gaze_points_deg if everybody else ()) + said.gaze_points_deg
    return said.model_copy(update={"gaze_points_deg": points, "comment": "" if own is None else f"after {own.comment}"}), True


def test_blind_reviewers_are_held_to_their_own_revisions_alone(store: Store) -> None:
    assert store.save(proposal("a", 0, label(1.0, comment="one")), append, blind=True) == Saved(1)
    assert store.save(proposal("a", 0, label(2.0, comment="two"), "bob"), append, blind=True) == Saved(2)
    assert store.save(proposal("a", 1, label(3.0, comment="three")), append, blind=True) == Saved(3)
    found = last(store, "a")
    assert found.label.gaze_points_deg == ((1.0, 5.0), (2.0, 5.0), (3.0, 5.0))
    assert (found.label.comment, found.own) == ("after one", label(3.0, comment="three"))
    bobs = store.last("a", own_of="bob")
    assert bobs is not None
    assert (bobs.revision, bobs.own) == (2, label(2.0, comment="two"))
    assert store.states(own_of="bob") == {"a": State(2, "accepted", True)}
    assert store.last("a", own_of="zoe") is None
    elsewhere = store.save(proposal("a", 0, label(9.0), "bob"), append, blind=True)  # in a second window
    assert isinstance(elsewhere, SetAside)
    assert elsewhere.current == bobs
    assert store.save(proposal("a", 1, label(3.0, comment="three")), append, blind=True) == Saved(3)  # asked again


# --- progress ---------------------------------------------------------------------------------------------------------


def test_what_reviewers_did(store: Store) -> None:
    """People decided on, and the median over people of the seconds spent on each, by hand."""
    store.save(proposal("a", 0, label()), plainly)  # 2 s each time
    store.save(proposal("a", 1, label(), verdict="rejected"), plainly)
    store.save(proposal("b", 0, label(), verdict="skipped"), plainly)
    store.save(proposal("c", 0, label(), verdict=None), plainly)
    store.save(proposal("a", 0, label(4.0), "bob"), plainly)  # set aside
    store.save(proposal("d", 0, label(), "bob"), plainly)
    store.save(proposal("d", 1, label(2.0), "bob"), plainly)
    assert [tuple(one) for one in store.reviewers()] == [("ann", 1, 2.0), ("bob", 1, 3.0)]
    assert store.states().get("nobody", NOTHING) == State(0, None, False)


# --- several at once --------------------------------------------------------------------------------------------------


def test_several_connections_lose_nothing(fake: Dataset) -> None:
    """Reviewers who always save on what they saw last: every proposal is an entry, revisions have no gap and no double."""
    people, rounds, workers = ("a", "b"), 12, 4
    answers: list[Saved | SetAside] = []

    def review(name: str) -> None:
        own = opened(fake)  # as another process has it
        for number in range(rounds):
            for sample_id in people:
                seen = own.last(sample_id)
                said = proposal(sample_id, seen.revision if seen else 0, label(comment=f"{name}{number}"), name)
                answers.append(own.save(said, plainly))
        own.close()

    threads = [threading.Thread(target=review, args=(f"reviewer {n}",)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = opened(fake)
    for sample_id in people:
        entries = store.history(sample_id)
        assert Counter(one.label.comment for one in entries) == Counter(
            f"reviewer {n}{number}" for n in range(workers) for number in range(rounds)
        )
        kept = [one.revision for one in entries if not one.set_aside]
        assert kept == list(range(1, len(kept) + 1))
    counts = Counter(type(answer) for answer in answers)
    assert counts[Saved] == sum(state.revision for state in store.states().values())
    store.close()


# --- the file ---------------------------------------------------------------------------------------------------------


def test_it_lies_beside_the_dataset_and_survives_a_power_cut(fake: Dataset, store: Store) -> None:
    assert store.path == fake.root.with_name("fake.review.sqlite")
    settings = {name: store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert settings == {"journal_mode": "wal", "synchronous": 2}  # FULL: the log is synced by every commit
    assert store._connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_never_inside_the_dataset(fake: Dataset, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(fake.root)
    for path in (fake.root / "review.sqlite", fake.root / "a" / "b", tmp_path / "elsewhere" / "review.sqlite", fake.root):
        with pytest.raises(InputError, match="Expected --store outside of the dataset .*, found"):
            store_path(fake.root, path)
    assert store_path(tmp_path / "elsewhere") == fake.root.with_name("fake.review.sqlite")  # beside the dataset, not its link
    assert store_path(fake.root, tmp_path / "fake.sqlite") == tmp_path / "fake.sqlite"


def test_a_store_is_of_one_dataset(fake: Dataset, store: Store, tmp_path: Path) -> None:
    other = fake_dataset(tmp_path / "other", people=4)
    for change in ({"label_digest": "c" * 64}, {"version": "1.0.1"}, {"name": "other"}):
        with pytest.raises(
            InputError, match=r"Expected the review of .* at .*fake.review.sqlite, found that of fake 1.0.0 \(label"
        ):
            Store.open(store.path, other.info.model_copy(update=change))
    Store.open(store.path, fake.info).close()


def test_what_is_no_store_is_refused_and_left_alone(fake: Dataset, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, but long enough to have a header of a hundred bytes and more than that " * 9)
    with pytest.raises(InputError, match="found a file that is no database"):
        Store.open(text, fake.info)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE about (something)")
    other.close()
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(InputError, match="found a database of something else"):
        Store.open(tmp_path / "other.sqlite", fake.info)
    assert (tmp_path / "other.sqlite").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="but the system refused: .*Not a directory|File exists"):
        Store.open(tmp_path / "file" / "store.sqlite", fake.info)
    with pytest.raises(InputError, match="Expected the store of a review at .*, but there is no such file"):
        Store.open(tmp_path / "absent.sqlite", fake.info, new=False)
    assert not (tmp_path / "absent.sqlite").exists()


def test_a_store_of_a_later_version_is_refused_and_left_alone(fake: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "later.sqlite"
    Store.open(path, fake.info).close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE about SET value = '2' WHERE key = 'schema_version'")
    other.close()
    with pytest.raises(InputError, match="Expected a store of schema 1 at .*, found schema 2"):
        Store.open(path, fake.info)
