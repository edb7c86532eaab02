"""Edits of labels: what somebody wants changed, and what no label can be changed to.

Conventions
-----------
Points are [longitude, latitude] in degrees, head boxes (u0, v0, u1, v1) as in :mod:`srgaze360.headbox`. None leaves a label as
it is, to the last digit. :mod:`annotation.applying` applies edits to rows, :mod:`annotation.versions` to a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srgaze360 import headbox
from srgaze360.errors import InputError
from srgaze360.files import digest

Box = tuple[float, float, float, float]
Points = Sequence[Sequence[float]]

ADDED = "added"  # begins the source_person of people who are in no source


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is to change of one person of a dataset; None leaves as it is.

    Attributes
    ----------
    sample_id
        The person.
    head_box
        (u0, v0, u1, v1).
    gaze_points_deg, gaze_annotators
        All annotations of the gaze from now on, and who gave each (``""`` where that is not known; or no names at all). No
        points: where the person looks is not known. Names come with points.
    in_frame, ambiguous, bad_image
        Flags: the target lies inside its source photo; people cannot agree on a target; the image does not show enough to tell.
    rejected
        The person is taken out of the dataset.
    annotator, comment
        Who made the edit, and why; for the list of changes.
    """

    sample_id: str
    head_box: Box | None = None
    gaze_points_deg: Points | None = None
    gaze_annotators: Sequence[str] | None = None
    in_frame: bool | None = None
    ambiguous: bool | None = None
    bad_image: bool | None = None
    rejected: bool = False
    annotator: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A person who is to be added to a panorama of a dataset; attributes as for :class:`Edit`.

    ``in_frame`` None: whether the consensus lies inside the photo that the head is in.
    """

    panorama_id: str
    head_box: Box
    gaze_points_deg: Points = ()
    gaze_annotators: Sequence[str] | None = None
    in_frame: bool | None = None
    ambiguous: bool | None = None
    annotator: str = ""
    comment: str = ""

    @property
    def sample_id(self) -> str:
        """Id of the new person: a function of panorama and head box, the same on every machine."""
        return f"{self.panorama_id}-{digest([ADDED, [round(float(side), 6) for side in self.head_box]])[:8]}"


def _is_box(edit: Edit | Addition) -> bool:
    if edit.head_box is None:
        return True
    try:
        u0, v0, u1, v1 = headbox.as_boxes(edit.head_box)
    except InputError:
        return False
    return bool(u1 - u0 < 1.0 or v0 == 0.0 or v1 == 1.0)


def _are_points(edit: Edit | Addition) -> bool:
    points = edit.gaze_points_deg or ()
    if not all(len(point) == 2 for point in points):
        return False
    lon, lat = np.abs(np.array(points, dtype=np.float64).reshape(-1, 2)).T
    return bool(np.all((lon <= 180.0) & (lat <= 90.0)))  # which NaN is not


def _are_names(edit: Edit | Addition) -> bool:
    names, points = edit.gaze_annotators, edit.gaze_points_deg
    return not names or (points is not None and len(names) == len(points))


# what is wrong with an edit: what is right with it
RULES: Mapping[str, Callable[[Edit | Addition], bool]] = {
    "with a head box that is none (0 <= u0 < 1, u0 < u1 <= u0 + 1, 0 <= v0 < v1 <= 1; full width only up to a pole)": _is_box,
    "with gaze points that are none (longitude within 180, latitude within 90 degrees)": _are_points,
    "with more or fewer names of annotators than gaze points": _are_names,
}
