"""Labels of a source's photos in fractions of the photo, for the planar protocols.

Conventions
-----------
Those of :mod:`srgaze360.photo_labels`. A photo's size comes from its header: labels in pixels are resolved with it, as for a
build, and the AUC of the ``gazefollow`` protocol is taken at it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from builders.sources.base import Listing, Photo, ResolvedPerson, Source, resolve_person
from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.photo_labels import SUITE, PhotoLabels
from srgaze360.safe_images import UnreadableImage, read_size


def photo_labels(source: Source, root: Path, split: str) -> PhotoLabels:
    """People of a split of a source: see :meth:`srgaze360.photo_labels.LabelledPhotos.photo_labels`.

    Raises
    ------
    InputError
        The folder does not hold the source, nobody is in the split, the source has panoramas, or photos cannot be read.
    """
    listing = source.read(root, source.options())
    photos = _photos(listing, source, root, split)
    unused = Counter(item.fault for item in listing.rejected)
    unreadable: list[str] = []
    people: list[tuple[Photo, tuple[int, int], ResolvedPerson]] = []
    for photo in photos:
        try:
            size = read_size(root / photo.image)
        except UnreadableImage as error:
            unreadable.append(f"{photo.image} ({error})")
            continue
        for person in photo.people:
            resolved = resolve_person(photo, person, *size)
            if isinstance(resolved, str):
                unused[resolved.partition(" (")[0]] += 1
            else:
                people.append((photo, size, resolved))
    if unreadable:
        raise InputError(
            f"Expected the {len(photos)} photos of split {split!r} under {root}, since labels refer to their sizes; "
            f"{len(unreadable)} cannot be read: {first_ids(unreadable)}. Get the whole source, or score on a copy whose "
            "labels are those of the photos that are there."
        )
    people.sort(key=lambda item: (item[0].image, item[2].person.person))
    return _gathered(source.kind, root, people, unused)


def _photos(listing: Listing, source: Source, root: Path, split: str) -> list[Photo]:
    photos = [photo for photo in listing.photos if photo.split == split and photo.people]
    if not photos:
        known = sorted({photo.split for photo in listing.photos if photo.people})
        raise InputError(f"Nobody in {source.kind} at {root} is in split {split!r}. {suggestion(split, known)}")
    if any(photo.projection != "perspective" for photo in photos):
        raise InputError(
            f"Expected a source of photos for a planar protocol, found panoramas in {source.kind} at {root}. Build a dataset "
            "from it and score under a protocol of the sphere."
        )
    return photos


def _gathered(
    kind: str, root: Path, people: list[tuple[Photo, tuple[int, int], ResolvedPerson]], unused: Counter[str]
) -> PhotoLabels:
    most = max((len(resolved.gaze) for _, _, resolved in people), default=1) or 1
    eyes, points, weights = np.zeros((len(people), 2)), np.zeros((len(people), most, 2)), np.zeros((len(people), most))
    rows = []
    for index, (photo, (width, height), resolved) in enumerate(people):
        person, (x0, y0, x1, y1) = resolved.person, resolved.head_box
        box = (x0 / width, y0 / height, x1 / width, y1 / height)
        eyes[index] = person.eye or ((box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0)
        if person.in_frame:
            count = len(resolved.gaze)
            points[index, :count], weights[index, :count] = np.divide(resolved.gaze, (width, height)), 1.0
        rows.append(
            {
                "sample_id": f"{photo.image}#{person.person}",
                "split": photo.split,
                "cluster_id": f"{kind}/{photo.cluster}",
                "image": photo.image,
                "person": person.person,
                "width": width,
                "height": height,
                **dict(zip(("head_u0", "head_v0", "head_u1", "head_v1"), box, strict=True)),
                "suite": SUITE,
                "condition": SUITE,
                "in_frame": person.in_frame,
            }
        )
    return PhotoLabels(kind, root, pd.DataFrame(rows), eyes, points, weights, dict(unused))
