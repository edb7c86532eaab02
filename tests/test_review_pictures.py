"""Pictures of the review's page: panoramas on the stored grid at any width, heatmaps that meet at the seam, what is kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from reviewing import decoded

from annotation.review import pictures
from annotation.review.pictures import Cache, heatmap_png, panorama_jpeg
from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError
from srgaze360.images import write_image


def test_panoramas_are_scaled_to_what_the_page_can_take(tmp_path: Path) -> None:
    u = (np.arange(2048) + 0.5) / 2048
    image = np.repeat(np.stack([255 * u, 255 * (1 - u), np.full_like(u, 90)], axis=-1)[None], 1024, axis=0)
    write_image(tmp_path / "wide.jpg", np.round(image).astype(np.uint8), quality=98)
    for width, expected in ((512, 512), (2048, 2048), (4096, 2048)):
        found = decoded(panorama_jpeg(tmp_path / "wide.jpg", width))
        assert found.shape == (expected // 2, expected, 3)
        at = found[expected // 4, :, ::-1].astype(float)  # the same direction in the same place
        grid = (np.arange(expected) + 0.5) / expected
        assert np.abs(at[:, 0] - 255 * grid).max() < 6
        assert np.abs(at[:, 1] - 255 * (1 - grid)).max() < 6


def test_an_exif_orientation_turns_nothing(tmp_path: Path) -> None:
    """Browsers turn a JPEG by it; labels refer to the stored pixels."""
    from PIL import Image

    image = np.zeros((64, 128, 3), np.uint8)
    image[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(image).save(tmp_path / "turned.jpg", exif=exif)
    made = panorama_jpeg(tmp_path / "turned.jpg", 4096)
    assert b"Exif" not in made
    assert decoded(made)[5, 60].mean() > 200


def test_the_cache_holds_what_was_used_last_up_to_its_limit() -> None:
    cache = Cache(100)
    made: list[str] = []

    def get(key: str, size: int = 40) -> bytes:
        def make() -> bytes:
            made.append(key)
            return bytes(size)

        return cache.get(key, make)

    for key in ("a", "b", "a", "c", "a", "b"):  # c drives b out, which was used before a
        get(key)
    assert made == ["a", "b", "c", "b"]
    assert len(get("huge", 101)) == 101
    get("b")
    assert made[-1] == "huge"  # too large to keep, and nothing was given up for it


def test_a_picture_that_many_want_is_made_once() -> None:
    cache, made, start = Cache(), [], threading.Barrier(6)

    def want() -> None:
        start.wait()
        cache.get("a", lambda: made.append(1) or b"x")  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) <= pictures.AT_ONCE


def test_heatmaps_peak_where_the_density_does_and_meet_at_the_seam() -> None:
    direction = sphere.direction_from_lonlat(np.radians([-180.0, 40.0]), np.radians([30.0, -20.0]))
    for index, (lon, lat) in enumerate(((-180.0, 30.0), (40.0, -20.0))):
        density = heatmaps.von_mises_fisher(direction[index, None], 60.0)
        found = decoded(heatmap_png(density.astype(np.float16)))
        assert found.shape == (256, 512, 4)
        alpha = found[..., 3].astype(float)
        row, column = np.unravel_index(np.argmax(alpha), alpha.shape)
        peak = sphere.direction_from_lonlat(2 * np.pi * ((column + 0.5) / 512 - 0.5), np.pi * (0.5 - (row + 0.5) / 256))
        wanted = sphere.direction_from_lonlat(np.radians(lon), np.radians(lat))
        assert np.degrees(sphere.angle_between(peak, wanted)) < 3.0  # a cell of the map is 2.8 degrees
        assert 0.97 < alpha.max() / (255 * pictures.OPAQUE) <= 1.0
        assert np.abs(alpha[:, 0] - alpha[:, -1]).max() < 12  # neighbours across the seam
        far = sphere.angle_between(sphere.cell_directions(512, 256), wanted) > 1.2
        assert alpha[far].max() <= 1
    assert decoded(heatmap_png(np.zeros((64, 128))))[..., 3].max() == 0
    assert decoded(heatmap_png(np.full((64, 128), np.nan)))[..., 3].max() == 0


def test_heatmap_colours_grow_lighter_evenly() -> None:
    """Lightness (CIELAB, D65, from its definition) rises with density by about as much everywhere."""
    ramp = np.linspace(0.0, 1.0, 512)[None].repeat(4, axis=0)
    rgb = decoded(heatmap_png(ramp))[2, 1:-1, :3][:, ::-1] / 255.0  # the ends meet across the seam
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)
    line = np.polyval(np.polyfit(np.arange(510), lightness, 1), np.arange(510))
    assert lightness[-1] - lightness[0] > 70
    assert np.abs(lightness - line).max() < 6


def test_images_of_any_size_in_the_header_are_refused(tmp_path: Path) -> None:
    """A bomb: the header claims what nobody could decode."""
    write_image(tmp_path / "bomb.png", np.zeros((64, 128, 3), np.uint8))
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4) + (30_000).to_bytes(4)
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(InputError, match="more than 200 megapixels"):
        panorama_jpeg(tmp_path / "bomb.png", 4096)
    os.truncate(tmp_path / "bomb.png", 30)
    with pytest.raises(InputError, match="Expected a panorama at bomb.png, but photo"):
        panorama_jpeg(tmp_path / "bomb.png", 4096)
