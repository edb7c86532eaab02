"""Settings from YAML files, shipped or the user's own, and from the command line: ``--set a.b=c``, the value in YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from srgaze360.errors import InputError, suggestion


def shipped(folder: Traversable) -> list[str]:
    """Names of the YAML files in a folder of the package, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_mapping(name: str, what: str, folder: Traversable) -> dict[str, Any]:
    """Content of a YAML file: of a shipped one in ``folder``, by its name, or of the user's own; ``what`` names it in errors.

    Raises
    ------
    InputError
        There is no such file, it is no YAML, or no mapping.
    """
    names = shipped(folder)
    if name in names:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise InputError(f"Expected the name of a shipped {what} or a YAML file, found {name!r}. {suggestion(name, names)}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Expected YAML in {what} {name!r}, but it cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"Expected a mapping at the top of {what} {name!r}, found {type(content).__name__}.")
    return content


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, ``changes`` laid over ``base``."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


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
