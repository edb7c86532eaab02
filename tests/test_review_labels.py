"""Labels of a review: from the dataset and back, what cannot be saved, and what blind reviewers add without seeing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from fakes import fake_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from interchanging import LAT, LON, NAMES, labels, rows_with
from sound import Row, rows_of

from annotation.applying import apply_edits, same_box, same_points
from annotation.review.labels import Label, blank, checked, edit_of, label_of, merged, read_decision, reviewer_name
from srgaze360.errors import InputError


@cache
def template() -> Row:
    root = Path(mkdtemp())
    fake_dataset(root, people=1)
    return rows_of(root)[0]


def row_of(person: dict[str, Any]) -> Row:
    return rows_with(template(), [person])[0]


def label_from(person: dict[str, Any], **more: Any) -> Label:
    said = {"in_frame": person["in_frame"], "ambiguous": bool(person["ambiguous"])}
    points = tuple((float(lon), float(lat)) for lon, lat in person["points"])
    return Label(head_box=person["box"], gaze_points_deg=points, gaze_annotators=tuple(person["names"]), **said, **more)


# --- from the dataset and back ----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(labels(), labels(), st.booleans())
def test_a_label_applied_to_a_row_is_the_label_of_that_row(before: Any, after: Any, bad: bool) -> None:
    row, wanted = row_of(before), label_from(after, bad_image=bad)
    edit = edit_of(wanted, row, "zoe")
    [new] = apply_edits([row], [] if edit is None else [edit]).rows
    found = label_of(new)
    assert same_box(found.head_box, wanted.head_box)
    assert same_points(found.gaze_points_deg, wanted.gaze_points_deg)
    assert found.gaze_annotators == wanted.gaze_annotators
    assert (found.in_frame, found.ambiguous, found.bad_image) == (wanted.in_frame, wanted.ambiguous, wanted.bad_image)


@settings(max_examples=60)
@given(labels())
def test_the_label_of_a_row_changes_nothing_of_it(person: Any) -> None:
    row = row_of(person)
    own = label_of(row)
    assert edit_of(own, row, "zoe") is None
    assert edit_of(own.model_copy(update={"comment": "fine", "in_frame": None}), row, "zoe") is None
    assert Label.model_validate_json(own.model_dump_json()) == own  # to the last digit


def test_only_what_differs_is_edited_in_the_reviewers_name() -> None:
    row = template()
    own = label_of(row)
    edit = edit_of(own.model_copy(update={"ambiguous": True, "comment": "two lamps"}), row, "zoe")
    assert edit is not None
    assert (edit.ambiguous, edit.annotator, edit.comment) == (True, "zoe", "two lamps")
    assert (edit.head_box, edit.gaze_points_deg, edit.in_frame, edit.bad_image, edit.rejected) == (
        None,
        None,
        None,
        None,
        False,
    )


def test_flags_are_columns_of_the_new_rows() -> None:
    row = template()
    edit = edit_of(label_of(row).model_copy(update={"bad_image": True, "ambiguous": True}), row, "zoe")
    assert edit is not None
    applied = apply_edits([row], [edit])
    assert applied.counts == {"ambiguous flag": 1, "bad-image flag": 1}
    assert (applied.rows[0]["ambiguous"], applied.rows[0]["bad_image"]) == (True, True)
    back = edit_of(label_of(row), applied.rows[0], "zoe")
    assert back is not None
    assert apply_edits(applied.rows, [back]).rows[0]["bad_image"] is False


def test_a_deleted_head_box_takes_the_person_out() -> None:
    row = template()
    edit = edit_of(label_of(row).model_copy(update={"head_box": None, "comment": "a statue"}), row, "zoe")
    assert edit is not None
    assert edit.rejected
    assert edit.comment == "head box deleted in review by zoe: a statue"


def test_labels_that_are_no_numbers_can_be_shown_and_mended() -> None:
    row = {
        **template(),
        "head_u0": float("nan"),
        "gaze_points_deg": [[float("nan"), 1.0], [2.0, 3.0]],
        "gaze_annotators": ["a", "b"],
    }
    shown = label_of(row)
    assert (shown.head_box, shown.gaze_points_deg, shown.gaze_annotators) == (None, (), ())
    edit = edit_of(shown.model_copy(update={"head_box": (0.1, 0.4, 0.2, 0.5), "gaze_points_deg": ((2.0, 3.0),)}), row, "zoe")
    assert edit is not None
    [new] = apply_edits([row], [edit]).rows
    assert label_of(new).head_box == (0.1, 0.4, 0.2, 0.5)
    assert label_of(new).gaze_points_deg == ((2.0, 3.0),)


def test_a_broken_head_box_can_be_mended() -> None:
    row = {**template(), "head_u0": 0.5, "head_u1": 0.4}
    edit = edit_of(label_of(row).model_copy(update={"head_box": (0.4, 0.4, 0.5, 0.5)}), row, "zoe")
    assert edit is not None
    applied = apply_edits([row], [edit])
    assert applied.changes[0].moved_deg is None  # from where?
    assert label_of(applied.rows[0]).head_box == (0.4, 0.4, 0.5, 0.5)


# --- what cannot be saved ---------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "revision": 3,
    "label": {"head_box": [0.9, 0.4, 1.1, 0.5], "gaze_points_deg": [[170, -5.5]], "gaze_annotators": ["zoe"], "in_frame": None},
    "verdict": "accepted",
    "seconds": 4,
    "action": "accept",
}


def text(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def in_label(**changes: Any) -> bytes:
    return text(label={**GOOD["label"], **changes})


def test_a_decision_is_read() -> None:
    found = read_decision(text())
    assert (found.revision, found.verdict, found.seconds, found.action) == (3, "accepted", 4.0, "accept")
    assert found.label == Label(head_box=(0.9, 0.4, 1.1, 0.5), gaze_points_deg=((170.0, -5.5),), gaze_annotators=("zoe",))
    assert read_decision(text(seconds=1e9)).seconds == 86_400.0  # a tab left open over the holidays
    assert read_decision(in_label(head_box=None)).label.head_box is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "Expected a decision with revision, label and verdict, found: Invalid JSON"),
        (b'{"revision": 1e999}', "found: revision"),
        (text(revision=-1), "revision: Input should be greater than or equal to 0"),
        (text(revision=True), "revision"),
        (text(revision="1"), "revision"),
        (text(verdict="perhaps"), "verdict"),
        (text(more=1), "more: Extra inputs are not permitted"),
        (text(action="<script>"), "action"),
        (text(seconds=-1), "seconds"),
        (in_label(head_box=[0.1, 0.2, 0.3]), "label.head_box"),
        (in_label(head_box=["0.1", 0.2, 0.3, 0.4]), "label.head_box"),
        (in_label(gaze_points_deg=[[1, 2, 3]]), "label.gaze_points_deg"),
        (in_label(gaze_points_deg=[[0, 0]] * 201), "label.gaze_points_deg.*at most 200"),
        (in_label(comment="x" * 2001), "label.comment"),
        (in_label(ambiguous=1), "label.ambiguous"),
        (in_label(extra=1), "label.extra"),
        (text().replace(b"-5.5", b"NaN"), "label.gaze_points_deg"),
        (text().replace(b"-5.5", b"1e400"), "label.gaze_points_deg"),
        (b"[" * 100_000, "Invalid JSON"),
    ],
)
def test_what_is_no_decision_is_refused(content: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_decision(content)


ORIGINAL = Label(head_box=(0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"head_box": (0.5, 0.4, 0.4, 0.5)}, "found one with a head box that is none"),
        ({"head_box": (1.2, 0.4, 1.3, 0.5)}, "head box that is none"),
        ({"head_box": (0.0, 0.4, 1.0, 0.5)}, "full width only up to a pole"),
        ({"gaze_points_deg": ((180.1, 0.0),)}, "gaze points that are none"),
        ({"gaze_points_deg": ((0.0, -90.1),), "head_box": (0.1, 0.9, 0.2, 0.8)}, "head box that is none.*; and .*gaze points"),
        ({"gaze_points_deg": ((0.0, 0.0),), "gaze_annotators": ("ann", "bob")}, "more or fewer names"),
        ({"head_box": None}, "Expected a head box on a person to accept, found none"),
    ],
)
def test_labels_that_no_dataset_can_have_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        checked(ORIGINAL.model_copy(update=changes), "accepted", ORIGINAL)


def test_labels_that_are_wrong_in_the_dataset_can_be_rejected_and_not_accepted() -> None:
    wrong = Label(head_box=(0.5, 0.4, 0.4, 0.5), gaze_points_deg=((300.0, 0.0),))
    for verdict in ("rejected", "skipped", None):
        said = wrong.model_copy(update={"comment": "inverted"})
        assert checked(said, verdict, wrong) == said
    with pytest.raises(InputError, match="head box that is none.*; and .*gaze points"):
        checked(wrong, "accepted", wrong)
    with pytest.raises(InputError, match="head box that is none"):  # another wrong one is no better
        checked(wrong.model_copy(update={"head_box": (0.6, 0.4, 0.4, 0.5)}), "skipped", wrong)


def test_names_that_say_nothing_are_left_out() -> None:
    said = Label(head_box=(0.1, 0.2, 0.3, 0.4), gaze_points_deg=((1.0, 2.0), (3.0, 4.0)), gaze_annotators=("", ""))
    assert checked(said, "accepted", ORIGINAL).gaze_annotators == ()


def test_names_of_reviewers() -> None:
    assert reviewer_name("  zoë ") == "zoë"
    assert reviewer_name("zoe\u0308") == "zoë"  # one name, however it is typed
    assert reviewer_name("x" * 64) == "x" * 64
    for name in ("", "   ", "x" * 65, "a\nb", "a\x00", "\u202egnp"):
        with pytest.raises(InputError, match="Expected a reviewer's name of 1 to 64 printable letters, found"):
            reviewer_name(name)


# --- blind ------------------------------------------------------------------------------------------------------------


def test_a_blank_label_tells_nothing_but_the_head() -> None:
    row = row_of({"box": (0.1, 0.2, 0.3, 0.4), "points": [[1.0, 2.0]], "names": ["ann"], "in_frame": True, "ambiguous": True})
    assert blank(row) == Label(head_box=(0.1, 0.2, 0.3, 0.4))


POINTS = st.lists(st.tuples(LON, LAT), max_size=3).map(tuple)


@settings(max_examples=60)
@given(labels(), POINTS, POINTS, NAMES.filter(lambda name: name.strip() != ""))
def test_blind_points_are_added_and_those_of_others_stay(person: Any, first: Any, second: Any, reviewer: str) -> None:
    row = row_of(person)
    current, before = label_of(row), blank(row)
    others = [
        (point, name)
        for point, name in zip(
            current.gaze_points_deg, current.gaze_annotators or [""] * len(current.gaze_points_deg), strict=True
        )
        if name != reviewer
    ]
    if not first:  # whoever says nothing changes nothing
        assert merged(before, before, current, row, reviewer) == current
    for points in (first, second):
        own = before.model_copy(update={"gaze_points_deg": points})
        if points or before.gaze_points_deg:
            current = merged(own, before, current, row, reviewer)
            names = current.gaze_annotators or ("",) * len(current.gaze_points_deg)
            told = list(zip(current.gaze_points_deg, names, strict=True))
            assert told == [*others, *((point, reviewer) for point in points)]
        before = own
    assert current.head_box == label_of(row).head_box
    assert current.in_frame == row["in_frame"]
    assert current.ambiguous == bool(person["ambiguous"])


@settings(max_examples=60)
@given(labels(), POINTS, POINTS)
def test_the_order_of_two_blind_reviewers_makes_no_difference(person: Any, ours: Any, theirs: Any) -> None:
    row = row_of({**person, "names": []})
    shown = blank(row)

    def both(*order: tuple[str, Any]) -> set[tuple[Any, str]]:
        current = label_of(row)
        for name, points in order:
            current = merged(shown.model_copy(update={"gaze_points_deg": points}), shown, current, row, name)
        names = current.gaze_annotators or ("",) * len(current.gaze_points_deg)
        return set(zip(current.gaze_points_deg, names, strict=True))

    assert both(("ann", ours), ("bob", theirs)) == both(("bob", theirs), ("ann", ours))


def test_what_a_blind_reviewer_changed_of_what_they_saw_counts() -> None:
    row = row_of({"box": (0.1, 0.2, 0.3, 0.4), "points": [[1.0, 2.0]], "names": ["ann"], "in_frame": True, "ambiguous": True})
    shown, current = blank(row), label_of(row).model_copy(update={"head_box": (0.11, 0.2, 0.3, 0.4)})
    moved = shown.model_copy(
        update={"head_box": (0.12, 0.2, 0.3, 0.4), "in_frame": False, "comment": "blurred", "bad_image": True}
    )
    after = merged(moved, shown, current, row, "zoe")
    assert after.head_box == (0.12, 0.2, 0.3, 0.4)
    assert (after.in_frame, after.comment, after.bad_image, after.ambiguous) == (False, "blurred", True, True)
    assert after.gaze_points_deg == ((1.0, 2.0),)
    kept = merged(shown, shown, current, row, "zoe")  # an untouched head is no opinion on it
    assert kept == current
    back = merged(moved.model_copy(update={"in_frame": None}), moved, after, row, "zoe")
    assert back.in_frame is True
