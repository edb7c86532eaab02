"""Settings of a run: sizes, what a user changes, and what is refused."""

from __future__ import annotations

import pytest

from baselines.training.resolve import resolve
from baselines.training.settings import Part
from srgaze360.errors import InputError
from srgaze360.settings import merged, nested, parse_setting


class Options(Part):
    width: int = 8
    parts: tuple[str, ...] = ("a",)


SIZES = {"tiny": {}, "base": {"model": {"width": 32}, "train": {"steps": 50}, "data": {"height": 256}}}


def test_changes_are_laid_over_the_size() -> None:
    settings = resolve("toy", SIZES, Options, {"size": "base", "train": {"steps": 7}, "model": {"parts": ["b", "c"]}})
    assert settings.model == {"width": 32, "parts": ["b", "c"]}
    assert (settings.train.steps, settings.data.height, settings.data.crop) == (7, 256, 64)
    assert resolve("toy", SIZES, Options, {}).model == {"width": 8, "parts": ["a"]}


def test_merging_leaves_what_is_not_named() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(base, {"a": {"b": 9}, "e": 4}) == {"a": {"b": 9, "c": 2}, "d": 3, "e": 4}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"size": "bose"}, r"Unknown size 'bose' of toy\..*'base'"),
        ({"train": {"step": 3}}, r"Expected settings of toy, found: .*train.*step.*Names are size, model, data"),
        ({"train": {"steps": 0}}, r"Expected settings of toy, found: .*steps.*greater than or equal to 1"),
        ({"model": {"wide": 3}}, r"Expected options of toy \(--set model\.NAME=VALUE\), found: .*wide.*Names are width, parts"),
        ({"data": {"height": 100}}, r"height.*multiple of 32"),
    ],
)
def test_what_is_wrong_is_said(user: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve("toy", SIZES, Options, user)


def test_settings_of_the_command_line() -> None:
    assert nested(["a.b=1", "a.c=[x, 2]", "d=off", "a.b=2"], "a=1") == {"a": {"b": 2, "c": ["x", 2]}, "d": False}
    assert nested([], "a=1") == {}
    assert parse_setting("model.reborn='off'", "a=1") == (["model", "reborn"], "off")
    with pytest.raises(InputError, match=r"Expected --set in the form a\.b=c, found 'train\.steps'\. Example: --set a=1"):
        nested(["train.steps"], "a=1")
    with pytest.raises(InputError, match=r"Expected YAML after = in --set 'a=\[1'"):
        nested(["a=[1"], "a=1")
    with pytest.raises(InputError, match=r"--set 'a\.b=2': 'a' was set to a single value before"):
        nested(["a=1", "a.b=2"], "a=1")
