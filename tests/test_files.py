"""Digests, atomic files, seeds and paths: the same on every machine, and never half done."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgaze360.errors import EnvironmentProblem, InputError, first_ids, suggestion
from srgaze360.files import (
    atomic_folder,
    atomic_path,
    canonical_json,
    digest,
    digest_file,
    digest_pixels,
    generator,
    path_inside,
    read_json,
    write_bytes,
    write_text,
)
from srgaze360.registry import Registry


def test_canonical_json_is_one_text_per_value() -> None:
    assert canonical_json({"b": 1.0, "a": [0.1, "é", None, True]}) == '{"a":[0.1,"é",null,true],"b":1.0}'
    assert digest({"a": 1, "b": 2}) == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(math.nan)


def test_pixel_digests_depend_on_values_shape_and_type_alone() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert digest_pixels(pixels) == hashlib.sha256(b"(2, 4, 3)|u1" + bytes(range(24))).hexdigest()
    assert digest_pixels(np.asfortranarray(pixels)) == digest_pixels(pixels)
    assert digest_pixels(pixels.reshape(4, 2, 3)) != digest_pixels(pixels)
    assert digest_pixels(pixels.astype(np.uint16)) != digest_pixels(pixels)


def test_generators_are_functions_of_seed_and_keys() -> None:
    first = generator(3, "photo", 7).random(4)
    assert np.array_equal(first, generator(3, "photo", 7).random(4))
    assert not np.array_equal(first, generator(4, "photo", 7).random(4))
    assert not np.array_equal(first, generator(3, "photo7").random(4))
    # absolute: published datasets rest on this stream
    seed = int(hashlib.sha256(b'[3,"photo",7]').hexdigest()[:32], 16)
    assert np.array_equal(first, np.random.Generator(np.random.PCG64(seed)).random(4))


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.json"
    write_text(path, '{"a": 1}')
    assert read_json(path, "thing") == {"a": 1}
    with pytest.raises(KeyError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text({"broken": "but"}["half way"])
    assert read_json(path, "thing") == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["file.json"]
    write_bytes(path, b"abc", sync=False)
    assert digest_file(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_disk_that_refuses_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentProblem, match="but the system refused: .*Check free space and permissions"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a run record at .*no such file"):
        read_json(tmp_path / "absent.json", "run record")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="Expected a run record in JSON at"):
        read_json(tmp_path / "bad.json", "run record")


@pytest.mark.parametrize("bad", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "a\0b"])
def test_paths_stay_inside(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InputError, match="relative path that stays inside"):
        path_inside(tmp_path, bad)


@given(
    st.lists(st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4)
)
def test_harmless_paths_are_joined(parts: list[str]) -> None:
    root = Path("/root-of-all")
    if ".." in parts or all(part == "." for part in parts):
        return
    assert path_inside(root, "/".join(parts)).is_relative_to(root)


def test_error_texts_name_ids_and_suggest() -> None:
    assert first_ids(range(7)) == "0, 1, 2, 3, 4 and 2 more"
    assert first_ids(["a"]) == "a"
    assert suggestion("centr", ["centre", "random"]) == "Did you mean 'centre'? Known: centre, random."
    assert suggestion("zzz", []) == "Known: none."


def test_registries_explain_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    def points(*pairs: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, "things") for name, value in pairs]
        monkeypatch.setattr("srgaze360.registry.entry_points", lambda group: found if group == "things" else [])

    registry: Registry[object] = Registry("things", "thing")
    points(("pi", "math:pi"), ("gone", "no_such_module:x"))
    assert registry.get("pi") == math.pi
    assert registry.names() == ["gone", "pi"]
    with pytest.raises(InputError, match="Unknown thing 'pie'. Did you mean 'pi'"):
        registry.get("pie")
    with pytest.raises(EnvironmentProblem, match="registered as no_such_module:x, but loading it failed"):
        registry.get("gone")
    points(("pi", "math:pi"), ("pi", "cmath:pi"))
    with pytest.raises(EnvironmentProblem, match="two installed packages register it: math:pi and cmath:pi"):
        registry.names()
    points()
    with pytest.raises(EnvironmentProblem, match="Install the project"):
        registry.names()


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "left by a killed run").touch()
    with atomic_folder(out) as folder:
        assert not list(folder.iterdir())
        (folder / "a").touch()
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "half") as folder:  # noqa: PT012
        (folder / "a").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as folder:
        (folder / "b").touch()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["b"]
    # a folder that holds something is not replaced
    with (
        pytest.raises(EnvironmentProblem, match="Expected to write the folder .*out, but the system refused"),
        atomic_folder(out),
    ):
        pass
    assert [path.name for path in out.iterdir()] == ["a"]
