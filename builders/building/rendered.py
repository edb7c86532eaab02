"""The source of a recipe that needs none: scenes rendered before the build, into the dataset's own work folder.

Conventions
-----------
What is rendered is a function of the recipe's ``rendered`` settings and its width alone, and lies in a folder named after their
digest; a folder that is there is whole (it is renamed when complete), so a build that was stopped does not render again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builders.building.folder import RENDERED
from builders.procedural import write_gazefollow_folder
from builders.procedural.rooms import write_background_panoramas
from builders.recipe import Recipe, Rendered
from srgaze360 import __version__
from srgaze360.console import silent
from srgaze360.errors import InputError
from srgaze360.files import atomic_folder, digest


def pictures(recipe: Recipe) -> int:
    """Number of pictures to render: the total of a progress bar."""
    wanted = _wanted(recipe)
    return wanted.photos + wanted.panoramas + wanted.backgrounds


def render_sources(recipe: Recipe, folder: Path, *, workers: int = 1, advance: Callable[[int], None] = silent) -> list[str]:
    """Render the source of a recipe below ``folder``; returns the sources as ``KIND=DIR``.

    Raises
    ------
    InputError
        The recipe renders nothing.
    EnvironmentProblem
        The system refused to write.
    """
    rendered, width = _wanted(recipe), recipe.output.width
    photos, rooms = _places(recipe, folder)
    if photos.exists():
        advance(rendered.photos + rendered.panoramas)
    else:
        write_gazefollow_folder(
            photos,
            rendered.photos,
            rendered.seed,
            panoramas=rendered.panoramas,
            width=width,
            workers=workers,
            progress=advance,
        )
    sources = [f"procedural={photos}"]
    if rendered.backgrounds:
        if rooms.exists():
            advance(rendered.backgrounds)
        else:
            with atomic_folder(rooms) as empty:
                write_background_panoramas(empty, rendered.backgrounds, rendered.seed, workers=workers, progress=advance)
        sources.append(f"panoramas={rooms}")
    return sources


def is_rendered(recipe: Recipe, folder: Path) -> bool:
    """Whether the source of a recipe lies below ``folder`` already."""
    photos, rooms = _places(recipe, folder)
    return photos.exists() and (rooms.exists() or not _wanted(recipe).backgrounds)


def _places(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """Folders of the photos and of the rooms; another version of the program may render other pictures."""
    root = folder / f"{RENDERED}-{digest([_wanted(recipe).model_dump(), recipe.output.width, __version__])[:12]}"
    return root / "procedural", root / "panoramas"


def _wanted(recipe: Recipe) -> Rendered:
    if recipe.rendered is None:
        raise InputError(f"Expected a recipe that renders its source, found {recipe.name!r}. Give --source KIND=DIR.")
    return recipe.rendered
