"""Settings given on the command line: ``--set a.b=c``, the value in YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from srgaze360.errors import InputError


def parse_setting(setting: str, example: str) -> tuple[list[str], Any]:
    """Keys and value of ``a.b=c``; ``example`` is shown where the form is another.

    Raises
    ------
    InputError
        The setting has another form, or ``c`` is no YAML.
    """
    path, equals, text = setting.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
        raise InputError(f"Expected --set in the form a.b=c, found {setting!r}. Example: --set {example}")
    try:
        return path.split("."), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Expected YAML after = in --set {setting!r}, but it cannot be read: {error}") from None


def nested(settings: Sequence[str], example: str) -> dict[str, Any]:
    """Settings as one nested mapping; later ones win.

    Raises
    ------
    InputError
        One has another form, or names keys below a single value.
    """
    result: dict[str, Any] = {}
    for setting in settings:
        (*parents, last), value = parse_setting(setting, example)
        node = result
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise InputError(f"--set {setting!r}: {key!r} was set to a single value before and has no keys of its own.")
        node[last] = value
    return result
