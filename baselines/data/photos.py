"""What of a panorama is photo: the rest of the sphere was not seen by the camera that a person was found with.

Conventions
-----------
Maps (:data:`ROWS`, 2 ROWS) are uint8, 255 in cells whose centre the photo shows, else 0. A panorama that was taken as one is
photo everywhere. Made for training and validation where a loss asks for them, from the rows of the dataset; no network is
given them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from baselines.data.people import Prepared
from srgaze360.dataset import Dataset
from srgaze360.images import UInt8Array
from srgaze360.placement import POSE, Photo

ROWS = 64


def photos_of(data: Dataset) -> dict[str, Photo]:
    """The photo that each person was found in, by sample id; people of one photo share it.

    Raises
    ------
    InputError
        A row without a camera.
    """
    facts = ["panorama_id", "camera", *POSE]
    columns = ["sample_id", *facts]
    rows = data.annotations[columns]
    firsts = rows.drop_duplicates(facts).itertuples(index=False, name=None)
    distinct = [Photo.of(dict(zip(columns, row, strict=True)), row[0]) for row in firsts]
    return {name: distinct[at] for name, at in zip(rows["sample_id"], rows.groupby(facts, sort=False).ngroup(), strict=True)}


def photo_map(photo: Photo) -> UInt8Array:
    """Map (ROWS, 2 ROWS) of what a photo shows."""
    return np.where(photo.footprint(ROWS), 255, 0).astype(np.uint8)


def with_photos(prepared: Prepared, photos: Mapping[str, Photo]) -> Prepared:
    """The panorama with maps of the photos of those whose photo is known; people of one photo share its map."""
    found = [photos.get(person.sample_id) for person in prepared.people]
    maps = {key: photo_map(photo) for key, photo in {id(photo): photo for photo in found if photo is not None}.items()}
    people = (person._replace(photo=maps.get(id(photo))) for person, photo in zip(prepared.people, found, strict=True))
    return prepared._replace(people=tuple(people))
