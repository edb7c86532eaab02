"""What ties a dataset's files together: digests of the labels as stored, and of the pixels as a reader sees them.

Conventions
-----------
``manifest.jsonl`` has both of every panorama. ``srgaze360.dataset`` says what the first is, ``srgaze360.files`` the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq

from srgaze360.dataset import panorama_label_digest
from srgaze360.files import digest_pixels
from srgaze360.images import decode_rgb

_ROWS = 2048


def stored_label_digests(path: Path) -> Iterator[tuple[str, str]]:
    """Id and label digest of each run of rows on the same panorama in an ``annotations.parquet``.

    Read in batches, all columns of them, since each has its checksum. Raises what pyarrow does for a damaged file.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        rows = (row for batch in file.iter_batches(_ROWS) for row in batch.to_pylist())
        for name, group in groupby(rows, key=itemgetter("panorama_id")):
            yield name, panorama_label_digest(list(group))


def pixel_digest(content: bytes) -> str:
    """Digest of an encoded panorama as a reader sees it: decoded, RGB."""
    pixels = decode_rgb(content)
    return "undecodable" if pixels is None else digest_pixels(pixels)
