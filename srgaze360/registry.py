"""Registries of plug-ins: names found through entry points, loaded only when asked for.

Two groups exist: ``srgaze360.sources`` (photos with gaze labels, backgrounds) and ``srgaze360.predictors``. Any installed
package can add to them by an entry point in its ``pyproject.toml``; nothing is imported until :meth:`Registry.get`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from srgaze360.errors import EnvironmentProblem, InputError, suggestion

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Everything registered under one entry-point group; ``what`` names an item in messages."""

    group: str
    what: str

    def _points(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            known = found.setdefault(point.name, point)
            if known.value != point.value:
                raise EnvironmentProblem(
                    f"Expected one {self.what} named {point.name!r}, but two installed packages register it: {known.value} and "
                    f"{point.value}. Uninstall one of them."
                )
        if not found:
            raise EnvironmentProblem(
                f"Expected installed packages to register a {self.what} under the entry-point group {self.group!r}, but none "
                "does. Install the project (pip install -e . in a checkout) rather than importing it from its folder."
            )
        return found

    def names(self) -> list[str]:
        """Names of everything registered, sorted; loads nothing."""
        return sorted(self._points())

    def get(self, name: str) -> T:
        """Load what is registered as ``name``.

        Raises
        ------
        InputError
            Nothing has that name; the closest one is suggested.
        EnvironmentProblem
            It is registered but cannot be loaded.
        """
        points = self._points()
        if name not in points:
            raise InputError(f"Unknown {self.what} {name!r}. {suggestion(name, list(points))}")
        try:
            loaded: Any = points[name].load()
        except Exception as error:  # a plug-in is somebody else's code: it may raise anything
            raise EnvironmentProblem(
                f"The {self.what} {name!r} is registered as {points[name].value}, but loading it failed: {error}. Reinstall "
                "the package that provides it."
            ) from error
        result: T = loaded
        return result
