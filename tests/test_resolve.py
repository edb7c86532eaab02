"""Labels brought to the pixels of the opened photo: scaled, clipped, wrapped, or refused for a reason."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from builders.sources.base import CLIPPED, SCALED, Person, Photo, Rejected, ResolvedPerson, resolve_person

PERSON = Person("p", "row", (10.0, 20.0, 30.0, 50.0), "pixel", ((100.0, 40.0),), "pixel", in_frame=True, repairs=("mended",))
PHOTO = Photo("a.jpg", "test", "a", (PERSON,))
PANORAMA = replace(PHOTO, projection="equirectangular")


def resolved(photo: Photo = PHOTO, size: tuple[int, int] = (200, 100), **changes: Any) -> ResolvedPerson:
    found = resolve_person(photo, replace(PERSON, **changes), *size)
    assert isinstance(found, ResolvedPerson), found
    return found


def test_sound_labels_in_pixels_stay_as_they_are() -> None:
    found = resolved()
    assert (found.head_box, found.gaze, found.repairs) == (PERSON.head_box, PERSON.gaze, ("mended",))


def test_each_label_has_a_unit_of_its_own() -> None:
    found = resolved(head_box=(0.25, 0.5, 0.5, 0.75), head_unit="fraction")
    assert (found.head_box, found.gaze) == ((50.0, 50.0, 100.0, 75.0), ((100.0, 40.0),))
    found = resolved(gaze=((0.25, 0.5), (1.0, 0.0)), gaze_unit="fraction")
    assert (found.head_box, found.gaze) == (PERSON.head_box, ((50.0, 50.0), (200.0, 0.0)))


def test_pixels_of_another_size_are_scaled_on_either_axis_and_fractions_are_not() -> None:
    # 602 x 300 is the shape of 200 x 100 to the pixel: x by 200 / 602, y by 100 / 300
    found = resolved(replace(PHOTO, size=(602, 300)), head_box=(301.0, 30.0, 602.0, 60.0), gaze=((60.2, 240.0),))
    assert found.head_box == pytest.approx((100.0, 10.0, 200.0, 20.0))
    assert found.gaze[0] == pytest.approx((20.0, 80.0))
    assert found.repairs == ("mended", SCALED)
    found = resolved(replace(PHOTO, size=(602, 300)), gaze=((0.5, 0.5),), gaze_unit="fraction")
    assert found.gaze == ((100.0, 50.0),)


@pytest.mark.parametrize(("size", "same"), [((400, 201), True), ((400, 202), True), ((400, 203), False), ((100, 200), False)])
def test_a_shape_may_be_off_by_one_pixel_of_the_smaller_photo(size: tuple[int, int], same: bool) -> None:
    found = resolve_person(replace(PHOTO, size=size), PERSON, 200, 100)
    assert isinstance(found, ResolvedPerson) == same
    reason = f"photo has another shape than its annotation says (200 x 100 pixels, not {size[0]} x {size[1]})"
    assert same or found == reason


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((-5.0, 20.0, 30.0, 50.0), (0.0, 20.0, 30.0, 50.0)),
        ((10.0, -5.0, 30.0, 50.0), (10.0, 0.0, 30.0, 50.0)),
        ((10.0, 20.0, 205.0, 50.0), (10.0, 20.0, 200.0, 50.0)),
        ((10.0, 20.0, 30.0, 105.0), (10.0, 20.0, 30.0, 100.0)),
    ],
)
def test_a_head_box_is_clipped_on_each_side(box: tuple[float, ...], clipped: tuple[float, ...]) -> None:
    found = resolved(head_box=box)
    assert (found.head_box, found.repairs) == (clipped, ("mended", CLIPPED))


@pytest.mark.parametrize(
    ("box", "wrapped", "repairs"),
    [
        ((190.0, 20.0, 215.0, 50.0), (190.0, 20.0, 215.0, 50.0), ()),  # over the seam
        ((-10.0, 20.0, 15.0, 50.0), (190.0, 20.0, 215.0, 50.0), ()),  # the same box, named from the left
        ((390.0, 20.0, 415.0, 50.0), (190.0, 20.0, 215.0, 50.0), ()),  # and from a turn further
        ((200.0, 20.0, 215.0, 50.0), (0.0, 20.0, 15.0, 50.0), ()),
        ((10.0, -5.0, 30.0, 105.0), (10.0, 0.0, 30.0, 100.0), (CLIPPED,)),  # no pole is passed
        ((10.0, 20.0, 310.0, 50.0), (10.0, 20.0, 210.0, 50.0), None),  # no wider than the sphere
    ],
)
def test_a_head_box_on_a_panorama_wraps(
    box: tuple[float, ...], wrapped: tuple[float, ...], repairs: tuple[str, ...] | None
) -> None:
    found = resolved(PANORAMA, head_box=box)
    assert found.head_box == wrapped
    assert repairs is None or found.repairs == ("mended", *repairs)


def test_a_head_box_just_left_of_the_seam_stays_below_the_width() -> None:
    # -1e-15 plus a turn rounds to the width itself, which is one turn too many
    x0, _, x1, _ = resolved(PANORAMA, head_box=(-1e-15, 20.0, 15.0, 50.0)).head_box
    assert 0.0 <= x0 < 200.0
    assert x1 - x0 == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head_box": (nan, 20.0, 30.0, 50.0)}, "head box is not finite"),
        ({"head_box": (10.0, 20.0, 30.0, inf)}, "head box is not finite"),
        ({"head_box": (10.0, 20.0, 10.0, 50.0)}, "head box is empty or lies outside the photo"),
        ({"head_box": (10.0, 20.0, 30.0, 20.0)}, "head box is empty or lies outside the photo"),
        ({"head_box": (30.0, 20.0, 10.0, 50.0)}, "head box is empty or lies outside the photo"),
        ({"head_box": (200.0, 20.0, 230.0, 50.0)}, "head box is empty or lies outside the photo"),
        ({"head_box": (10.0, -50.0, 30.0, 0.0)}, "head box is empty or lies outside the photo"),
        ({"gaze": ((nan, 40.0),), "in_frame": False}, "gaze is not finite"),
        ({"gaze": ((100.0, inf),)}, "gaze is not finite"),
        ({"gaze": ()}, "gaze is marked in frame but no point is given"),
        ({"gaze": ((-0.5, 40.0),)}, "gaze is marked in frame but lies outside the photo"),
        ({"gaze": ((200.5, 40.0),)}, "gaze is marked in frame but lies outside the photo"),
        ({"gaze": ((100.0, -0.5),)}, "gaze is marked in frame but lies outside the photo"),
        ({"gaze": ((100.0, 40.0), (100.0, 100.5))}, "gaze is marked in frame but lies outside the photo"),
    ],
)
def test_what_cannot_be_used_has_a_reason(changes: dict[str, Any], reason: str) -> None:
    assert resolve_person(PHOTO, replace(PERSON, **changes), 200, 100) == reason


def test_points_on_the_edge_are_in_the_photo_and_those_out_of_frame_may_lie_anywhere() -> None:
    edges = ((0.0, 0.0), (200.0, 100.0), (0.0, 100.0), (200.0, 0.0))
    assert resolved(gaze=edges).gaze == edges
    assert resolved(gaze=((-300.0, 900.0),), in_frame=False).gaze == ((-300.0, 900.0),)
    assert resolved(gaze=(), in_frame=False).gaze == ()


def test_the_kind_of_a_fault_is_the_reason_without_what_was_found() -> None:
    assert Rejected("s", "1", "a.jpg", "p", "x is no number ('n/a (none)')").fault == "x is no number"
    assert Rejected("s", "1", "a.jpg", "p", "gaze is not finite").fault == "gaze is not finite"


def test_sizes_slivers_and_units_have_their_outcome() -> None:
    person = Person("p", "row", (0.1, 0.1, 0.2, 0.2), "fraction", ((0.5, 0.5),), "fraction", in_frame=True)
    photo = Photo("a", "test", "c", (person,))
    assert resolve_person(replace(photo, size=(0, 0)), person, 10, 10) == "annotation names a size that is none (0 x 0 pixels)"
    sliver = replace(person, head_box=(0.1, 0.1, 0.1 + 1e-16, 0.2))
    assert resolve_person(photo, sliver, 100, 50) == "head box is empty or lies outside the photo"
    named = resolve_person(replace(photo, size=(200, 100)), person, 100, 50)
    assert not isinstance(named, str)
    assert named.repairs == ()  # fractions need no scaling
    wide = resolve_person(replace(photo, projection="equirectangular"), replace(person, head_box=(0.1, 0.1, 1.7, 0.2)), 100, 50)
    assert not isinstance(wide, str)
    assert (wide.head_box[2] - wide.head_box[0], wide.repairs) == (100.0, ("head box clipped",))
