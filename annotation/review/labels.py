"""Labels as reviewers see and save them, and what becomes of them in the dataset.

Conventions
-----------
A label is what is known of one person: head box (u0, v0, u1, v1) as in :mod:`srgaze360.headbox`, gaze points [longitude,
latitude] in degrees, who gave each (``""`` where that is not known; or no names at all), flags and a comment. No head box: it
was deleted, and nobody is there. ``in_frame`` None leaves what the dataset says. A *decision* is a label, a verdict on it, and
the revision that its reviewer saw.

Reviewers who work blind are shown a label without what others said (:func:`blank`). What they save says what they changed of
that, and nothing about what they were not shown: :func:`merged` lays it over the label of everybody.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from annotation.applying import AMBIGUOUS, BAD_IMAGE, BOX, same_box, same_points
from annotation.edits import RULES, Edit
from srgaze360.dataset import explain
from srgaze360.errors import InputError

Verdict = Literal["accepted", "rejected", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("accepted", "rejected", "skipped")
DECIDED = ("accepted", "rejected")  # nobody has to look again
MAX_POINTS = 200  # of a person
MAX_COMMENT = 2000  # letters
MAX_NAME = 64  # letters of a reviewer's name
MAX_SECONDS = 86_400.0  # on one person: a day

Row = Mapping[str, Any]
Number = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=200)]


class Label(BaseModel):
    """What is known of one person; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    head_box: tuple[Number, Number, Number, Number] | None
    gaze_points_deg: Annotated[tuple[tuple[Number, Number], ...], Field(max_length=MAX_POINTS)] = ()
    gaze_annotators: Annotated[tuple[Name, ...], Field(max_length=MAX_POINTS)] = ()
    in_frame: bool | None = None
    ambiguous: bool = False
    bad_image: bool = False
    comment: Annotated[str, Field(max_length=MAX_COMMENT)] = ""


class Decision(BaseModel):
    """What a reviewer saves: a label and a verdict, seen at a revision (0: nobody had saved any), after so many seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    revision: Annotated[int, Field(ge=0)]
    label: Label
    verdict: Verdict | None = None
    seconds: Annotated[Number, Field(ge=0.0)] = 0.0
    action: Annotated[str, Field(pattern=r"^[a-z][a-z -]{0,31}$")] = "edit"


def read_decision(content: bytes) -> Decision:
    """A decision from JSON; whether a dataset can have its label is for :func:`checked` to say.

    Raises
    ------
    InputError
        It is no JSON, or has other fields or values.
    """
    try:
        decision = Decision.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"Expected a decision with revision, label and verdict, found: {explain(error)}. Try again.") from None
    return decision.model_copy(update={"seconds": min(float(decision.seconds), MAX_SECONDS)})


def checked(label: Label, verdict: Verdict | None, original: Label) -> Label:
    """The label, if the dataset can have it; names of annotators are left out where none is known.

    Labels that are wrong in the dataset can be commented on, skipped and rejected as they are, and not accepted.

    Parameters
    ----------
    label, verdict
        What is to be saved.
    original
        What the dataset has.

    Raises
    ------
    InputError
        Head box, points or names that no label can have: all faults at once. A head is accepted that is not there.
    """
    if verdict == "accepted" and label.head_box is None:
        raise InputError("Expected a head box on a person to accept, found none. Draw one, or reject the person.")
    names = label.gaze_annotators if any(label.gaze_annotators) else ()
    points = {"gaze_points_deg": label.gaze_points_deg, "gaze_annotators": names}
    everything = verdict == "accepted"
    edit = Edit(
        sample_id="",
        head_box=label.head_box if everything or label.head_box != original.head_box else None,
        **(points if everything or label.gaze_points_deg != original.gaze_points_deg else {}),  # type: ignore[arg-type]
    )
    faults = [fault for fault, right in RULES.items() if not right(edit)]
    if faults:
        raise InputError(f"Expected a label that a dataset can have, found one {'; and '.join(faults)}. Mend it, then save.")
    return label.model_copy(update={"gaze_annotators": names})


def reviewer_name(name: str) -> str:
    """A reviewer's name, without space around it.

    Raises
    ------
    InputError
        It is empty, longer than :data:`MAX_NAME` letters, or has letters that cannot be seen.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"Expected a reviewer's name of 1 to {MAX_NAME} printable letters, found {name[: MAX_NAME + 1]!r}. Choose another."
        )
    return name


# --- from the dataset and back ----------------------------------------------------------------------------------------


def label_of(row: Row) -> Label:
    """The label that a row of the dataset has; a box or points that are no numbers are left out, and the points' names."""
    u0, v0, u1, v1 = (float(row[side]) for side in BOX)
    points = tuple((float(lon), float(lat)) for lon, lat in row["gaze_points_deg"])
    known = all(math.isfinite(angle) for point in points for angle in point)
    return Label(
        head_box=(u0, v0, u1, v1) if all(map(math.isfinite, (u0, v0, u1, v1))) else None,
        gaze_points_deg=points if known else (),
        gaze_annotators=tuple(row["gaze_annotators"]) if known else (),
        in_frame=bool(row["in_frame"]),
        ambiguous=bool(row.get(AMBIGUOUS)),
        bad_image=bool(row.get(BAD_IMAGE)),
    )


def edit_of(label: Label, row: Row, reviewer: str) -> Edit | None:
    """What a label changes of its row, in its reviewer's name; None where that is nothing. Comments alone change nothing."""
    if label.head_box is None:
        return removal(row["sample_id"], reviewer, "head box deleted", label.comment)
    said: dict[str, Any] = {}
    if not same_box(label.head_box, [row[side] for side in BOX]):
        said["head_box"] = label.head_box
    names = list(label.gaze_annotators)
    if not same_points(row["gaze_points_deg"], label.gaze_points_deg) or names != list(row["gaze_annotators"]):
        said |= {"gaze_points_deg": label.gaze_points_deg, "gaze_annotators": names}
    if label.in_frame is not None and label.in_frame != row["in_frame"]:
        said["in_frame"] = label.in_frame
    for column, flag in ((AMBIGUOUS, label.ambiguous), (BAD_IMAGE, label.bad_image)):
        if flag != bool(row.get(column)):
            said[column] = flag
    return Edit(sample_id=row["sample_id"], annotator=reviewer, comment=label.comment, **said) if said else None


def removal(sample_id: str, reviewer: str, why: str, comment: str) -> Edit:
    """A person is taken out: why, by whom, and what they said of it."""
    told = f"{why} in review by {reviewer}" + (f": {comment}" if comment else "")
    return Edit(sample_id=sample_id, rejected=True, annotator=reviewer, comment=told)


# --- blind ------------------------------------------------------------------------------------------------------------


def blank(row: Row) -> Label:
    """What a blind reviewer is shown at first: the head, as the dataset has it, and nothing that anybody said of the gaze."""
    return Label(head_box=label_of(row).head_box)


def merged(own: Label, before: Label, current: Label, row: Row, reviewer: str) -> Label:
    """The label of everybody once a blind reviewer has saved.

    Parameters
    ----------
    own, before
        What the reviewer saves, and what they saved before (:func:`blank` at first).
    current
        The label of everybody until now.
    row, reviewer
        The person, and who reviews.

    Returns
    -------
    Label
        ``current`` with the reviewer's points in place of those they gave before, in their name, beside everybody else's; and
        with what else they changed of what they were shown.
    """
    said = own.model_dump(exclude={"gaze_points_deg", "gaze_annotators"})
    changed = {name: value for name, value in said.items() if value != getattr(before, name)}
    if own.in_frame is None and before.in_frame is not None:  # taken back
        changed["in_frame"] = bool(row["in_frame"])
    if not (own.gaze_points_deg or before.gaze_points_deg):
        return current.model_copy(update=changed)
    names = current.gaze_annotators or ("",) * len(current.gaze_points_deg)
    others = [pair for pair in zip(current.gaze_points_deg, names, strict=True) if pair[1] != reviewer]
    points = (*(point for point, _ in others), *own.gaze_points_deg)
    told = (*(name for _, name in others), *(reviewer for _ in own.gaze_points_deg))
    return current.model_copy(update={**changed, "gaze_points_deg": points, "gaze_annotators": told if any(told) else ()})
