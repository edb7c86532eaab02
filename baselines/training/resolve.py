"""From what a user sets to the settings of a run: a method's size, the user's changes, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from baselines.training.settings import Part, Settings
from srgaze360.dataset import explain
from srgaze360.errors import InputError, suggestion
from srgaze360.settings import merged

DEFAULT_SIZE = "tiny"

AnyPart = TypeVar("AnyPart", bound=Part)


def checked(kind: type[AnyPart], values: Mapping[str, Any], what: str) -> AnyPart:
    """Validate settings.

    Raises
    ------
    InputError
        A name is unknown or a value is out of range; what there is, is listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        unknown = [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
        hint = f"Names are {', '.join(kind.model_fields)}." if unknown else "Mend the value."
        raise InputError(f"Expected {what}, found: {explain(error)}. {hint}") from None


def resolve(
    method: str,
    sizes: Mapping[str, Mapping[str, Any]],
    options: type[Part],
    user: Mapping[str, Any],
) -> Settings:
    """The settings of a run: those of the size, the user's laid over them, all validated.

    Parameters
    ----------
    method
        Its name, for errors.
    sizes
        Settings of each size that depart from the defaults.
    options
        What validates ``model``.
    user
        The user's, nested; ``size`` chooses the size.

    Returns
    -------
    Settings
        Complete: ``model`` holds every option of the method.

    Raises
    ------
    InputError
        The size or a name is unknown, or a value is out of range.
    """
    size = user.get("size", DEFAULT_SIZE)
    if not isinstance(size, str) or size not in sizes:
        raise InputError(f"Unknown size {size!r} of {method}. {suggestion(str(size), list(sizes))}")
    chosen = merged({"size": size, **sizes[size]}, user)
    settings = checked(Settings, chosen, f"settings of {method}")
    model = checked(options, settings.model, f"options of {method} (--set model.NAME=VALUE)")
    return settings.model_copy(update={"model": model.model_dump(mode="json")})
