"""Safe image opening: every file is the image its format says, or a reason in one line why it is not."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.safe_images import UnreadableImage, decode_image, read_image, read_size, silence_opencv

WIDTH, HEIGHT = 47, 31


def picture() -> Image.Image:
    """A smooth RGB picture: JPEG keeps it to within a few levels."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.dstack([x * 5, y * 8, 255 - x * 2 - y]).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    """The second library: how the reference codes of the source datasets open photos."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_open_as_in_pillow(mode, progressive):
    data = encode(picture().convert(mode), "JPEG", quality=90, progressive=progressive)
    image = decode_image(data)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), by_pillow(data), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1"])
def test_pngs_open_exactly_as_in_pillow(mode):
    data = encode(picture().convert(mode), "PNG")
    np.testing.assert_array_equal(decode_image(data), by_pillow(data))


def test_alpha_is_dropped_not_composited():
    rgb = np.asarray(picture())
    data = encode(Image.fromarray(np.dstack([rgb, np.zeros((HEIGHT, WIDTH), np.uint8)])), "PNG")
    np.testing.assert_array_equal(decode_image(data), rgb)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_the_upper_byte(channels):
    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    np.testing.assert_array_equal(decode_image(data)[..., ::-1], np.broadcast_to(deep >> 8, (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), "JPEG", exif=exif.tobytes())
    (tmp_path / "turned.jpg").write_bytes(data)
    assert read_size(tmp_path / "turned.jpg") == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decode_image(data), decode_image(encode(picture(), "JPEG")))


def test_format_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "really_a_png.jpg").write_bytes(encode(picture(), "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "really_a_png.jpg"), np.asarray(picture()))


def test_an_embedded_thumbnail_is_not_the_picture(tmp_path):
    """Its start of frame and its end marker lie inside an APP1 segment of the outer file."""
    thumbnail = encode(picture().resize((8, 6)), "JPEG")
    outer = encode(picture(), "JPEG")
    segment = b"Exif\0\0" + thumbnail
    data = outer[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + outer[2:]
    (tmp_path / "photo.jpg").write_bytes(data)
    assert read_size(tmp_path / "photo.jpg") == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.jpg"), decode_image(outer))
    with pytest.raises(UnreadableImage, match="truncated"):
        decode_image(data[: len(data) * 3 // 4])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_after_the_end_do_no_harm(kind):
    data = encode(picture(), kind)
    np.testing.assert_array_equal(decode_image(data + b"trailer" * 9), decode_image(data))


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})])
def test_every_truncation_is_found(kind, options, capfd):
    data = encode(picture(), kind, **options)
    for length in range(len(data)):
        with pytest.raises(UnreadableImage, match=r"truncated|empty|neither JPEG nor PNG"):
            decode_image(data[:length])
    assert capfd.readouterr().err == ""


def test_truncation_is_not_found_by_imread(tmp_path):
    """Why files are not opened with it: it hands out a picture with a grey rest."""
    data = encode(picture(), "JPEG")
    (tmp_path / "half.jpg").write_bytes(data[:-40])
    half = cv2.imread(str(tmp_path / "half.jpg"), cv2.IMREAD_COLOR_RGB)
    assert half is not None
    assert not np.array_equal(half, decode_image(data))
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(tmp_path / "half.jpg")


def test_png_damage_is_found_by_its_checksum():
    data = bytearray(encode(picture(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableImage, match=r"PNG chunk fails its checksum \(b'IDAT'\)"):
        decode_image(bytes(data))


@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xc0"]))
@settings(max_examples=300)
def test_noise_is_always_refused_in_one_line(data, start):
    silence_opencv()
    with pytest.raises(UnreadableImage, match=r"^photo [^\n]+$"):
        decode_image(start + data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_formats_are_named(kind):
    with pytest.raises(UnreadableImage, match=rf"(?i)neither JPEG nor PNG \({kind}\)"):
        decode_image(encode(picture(), kind))


def test_a_web_page_saved_as_a_photo_is_named():
    with pytest.raises(UnreadableImage, match=r"\(text\)"):
        decode_image(b"<!DOCTYPE html><title>404</title>")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims to be huge, with a right checksum."""
    data = bytearray(encode(picture().convert("1"), "PNG"))
    data[16:24] = width.to_bytes(4) + height.to_bytes(4)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


def test_bombs_are_refused_from_the_header():
    with pytest.raises(UnreadableImage, match=r"more than 200 megapixels \(60000 x 60000 pixels\)"):
        decode_image(bomb(60000, 60000))


def test_limit_can_be_set():
    data = encode(picture(), "JPEG")
    assert decode_image(data, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(UnreadableImage, match="megapixels"):
        decode_image(data, max_pixels=WIDTH * HEIGHT - 1)


def test_no_pixels_at_all():
    with pytest.raises(UnreadableImage, match=r"no pixels \(0 x 31\)"):
        decode_image(bomb(0, 31))


def test_missing_empty_and_folder(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    for opened in (read_image, read_size):
        with pytest.raises(UnreadableImage, match=r"^photo is missing$"):
            opened(tmp_path / "absent.jpg")
        with pytest.raises(UnreadableImage, match=r"^photo is missing$"):
            opened(tmp_path / "empty.jpg" / "below_a_file.jpg")
        with pytest.raises(UnreadableImage, match=r"^photo is empty \(0 bytes\)$"):
            opened(tmp_path / "empty.jpg")
        with pytest.raises(UnreadableImage, match=r"^photo is a folder$"):
            opened(tmp_path / "folder.jpg")
    assert issubclass(UnreadableImage, InputError)


def test_a_failing_disk_is_not_the_photos_fault(tmp_path, monkeypatch):
    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(EnvironmentProblem, match=r"photo\.jpg; the system says 'Input/output error'"):
        read_image(tmp_path / "photo.jpg")


def test_sizes_of_real_files_agree_with_pillow(real):
    paths = [path for path in sorted(real.rglob("*")) if path.suffix in (".jpg", ".png")]
    assert len(paths) >= 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for path in paths:
            with Image.open(path) as image:
                assert read_size(path) == image.size, path


def test_real_photos_open_as_in_pillow(real):
    paths = sorted((real / "gazefollow" / "test2").rglob("*.jpg")) + sorted((real / "goosynth" / "images").glob("*.png"))[:2]
    assert len(paths) == 10
    for path in paths:
        np.testing.assert_allclose(read_image(path).astype(int), by_pillow(path.read_bytes()), atol=2, err_msg=str(path))
