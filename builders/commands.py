"""The builders' commands: ``sources``, ``recipes``, ``build``, ``verify``, ``preview``. Thin; heavy imports inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builders.pipeline import SourceFolder

sources = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List and check source datasets; make procedural photos."
)
recipes = typer.Typer(no_args_is_help=True, add_completion=False, help="List and show dataset recipes.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Worker processes.", show_default="the cores of this machine")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a built dataset.", show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="a.b=c", help="Change the recipe; may be repeated.")]
SourceOption = Annotated[
    list[str], typer.Option("--source", metavar="KIND=DIR", help="A source and its folder; may be repeated.")
]
CORES = os.cpu_count() or 1


def _registry() -> Any:  # noqa: ANN401 - Registry[Source], imported when needed
    from builders.sources.base import Source
    from srgaze360.registry import Registry

    registry: Registry[Source] = Registry("srgaze360.sources", "source")
    return registry


def open_sources(pairs: Sequence[str], options: dict[str, dict[str, Any]]) -> tuple[list[SourceFolder], SourceFolder | None]:
    """Read the sources named by ``KIND=DIR`` pairs: those with gaze labels, and the background panoramas if given."""
    from pydantic import ValidationError

    from builders.pipeline import SourceFolder
    from srgaze360.dataset import explain
    from srgaze360.errors import InputError

    registry = _registry()
    folders: list[SourceFolder] = []
    for pair in pairs:
        kind, equals, folder = pair.partition("=")
        if not equals or not folder:
            raise InputError(
                f"Expected --source KIND=DIR, found {pair!r}. Example: --source gazefollow=/data/gazefollow_extended"
            )
        source = registry.get(kind)
        try:
            chosen = source.options.model_validate(options.get(kind, {}))
        except ValidationError as error:
            raise InputError(f"Expected valid options for source {kind} in the recipe, found: {explain(error)}.") from None
        folders.append(SourceFolder(source, Path(folder), source.read(Path(folder), chosen)))
    kinds = [folder.source.kind for folder in folders]
    if repeated := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise InputError(f"Expected each kind of source once, found several folders for: {', '.join(repeated)}. Give one each.")
    gaze = [folder for folder in folders if folder.source.role == "gaze"]
    backgrounds = [folder for folder in folders if folder.source.role == "background"]
    if not gaze:
        known = [name for name in registry.names() if registry.get(name).role == "gaze"]
        raise InputError(f"Expected at least one --source with gaze labels, found none. Known: {', '.join(known)}.")
    return gaze, backgrounds[0] if backgrounds else None


@sources.command("list")
def list_sources(json: JsonOption = False) -> None:
    """List the kinds of sources, what they are, and where to obtain them."""
    from rich.markup import escape

    from srgaze360.console import OUT, print_json

    registry = _registry()
    found = [registry.get(name) for name in registry.names()]
    if json:
        fields = ("kind", "title", "role", "licence", "obtain", "layout", "citation")
        print_json([{field: getattr(source, field) for field in fields} for source in found])
        return
    # not a table: what has to be copied, such as an address, must not be broken across columns
    for source in found:
        OUT.print(f"[bold]{source.kind}[/bold]  {escape(source.title)}")
        for what in ("obtain", "layout", "licence"):
            OUT.print(f"  {what + ':':<9}{escape(getattr(source, what))}")


@sources.command("check")
def check(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of source, e.g. gazefollow.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds it.", show_default=False)],
    images: Annotated[bool, typer.Option("--images", help="Open every photo as well.")] = False,
    json: JsonOption = False,
) -> None:
    """Say what a source folder holds: counts, missing photos, repaired and rejected rows. Exit code 1 if photos are missing."""
    from builders.check import check_source
    from srgaze360.console import OUT, print_json
    from srgaze360.errors import CheckFailed

    source = _registry().get(kind)
    report = check_source(source, folder, source.options(), open_images=images)
    if json:
        print_json(report.to_dict())
    else:
        OUT.print(report.to_text(), markup=False)
    if not report.complete:
        raise CheckFailed(f"{folder} is not a complete {kind} source: {source.layout.strip()} To obtain it: {source.obtain}")


@sources.command("procedural")
def procedural(
    out: Annotated[Path, typer.Option(help="Folder to write, in the GazeFollow layout.", show_default=False)],
    photos: Annotated[int, typer.Option(min=1, help="Number of photos, train and test together.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same photos.")] = 360,
    backgrounds: Annotated[Path | None, typer.Option(help="Folder for rooms without people, as background panoramas.")] = None,
    workers: WorkersOption = CORES,
) -> None:
    """Render photos of small 3-D scenes, with people, exact gaze targets and simulated annotators."""
    from builders.procedural import write_gazefollow_folder
    from builders.procedural.rooms import BACKGROUNDS, write_background_panoramas
    from srgaze360.console import progress, say

    with progress("rendering photos", photos) as advance:
        write_gazefollow_folder(out, photos, seed, workers=workers, progress=advance)
    if backgrounds is not None:
        with progress("rendering rooms", BACKGROUNDS) as advance:
            write_background_panoramas(backgrounds, BACKGROUNDS, seed, workers=workers, progress=advance)
    more = f" --source panoramas={backgrounds}" if backgrounds is not None else ""
    say(f"{photos} photos in {out}. Next: srgaze360 build mixed --source procedural={out}{more} --out DIR")


@recipes.command("list")
def list_recipes(json: JsonOption = False) -> None:
    """List the recipes that ship with the project."""
    from rich.table import Table

    from builders.recipe import load_recipe, recipe_names
    from srgaze360.console import OUT, print_json

    found = [load_recipe(name) for name in recipe_names()]
    if json:
        print_json([{"name": r.name, "version": r.version, "title": r.title, "suites": list(r.suites)} for r in found])
        return
    table = Table("recipe", "version", "suites", "what")
    for recipe in found:
        table.add_row(recipe.name, recipe.version, ", ".join(recipe.suites), recipe.title)
    OUT.print(table, soft_wrap=False)


@recipes.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Shipped recipe, or a YAML file.", show_default=False)],
    settings: Set = [],  # noqa: B006 - typer copies it
) -> None:
    """Print a recipe with everything it extends resolved, and its digest."""
    import yaml

    from builders.recipe import load_recipe
    from srgaze360.console import OUT

    recipe = load_recipe(name, settings)
    OUT.print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, width=120).rstrip(), markup=False)
    OUT.print(f"# recipe digest: {recipe.digest()}", markup=False)


def build(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Shipped recipe, or a YAML file.", show_default=False)],
    source: SourceOption,
    out: Annotated[Path, typer.Option(help="Folder of the dataset.", show_default=False)],
    settings: Set = [],  # noqa: B006 - typer copies it
    workers: WorkersOption = CORES,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many photos of each source and split.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the dataset that is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Build a dataset: photos from the sources, on spheres, as the recipe says. The same command again resumes.

    Example: srgaze360 build suites --source gazefollow=gf --source panoramas=pano --out data
    """
    from builders.pipeline import build as run_build
    from builders.pipeline import plan_build
    from builders.recipe import load_recipe, recipe_names
    from srgaze360.console import OUT, print_json, progress, say

    loaded = load_recipe(recipe, settings)
    gaze, background = open_sources(source, loaded.sources)
    plan = plan_build(loaded, gaze, background, limit)
    if dry_run:
        counts: dict[str, int] = {}
        for task in plan.tasks:
            key = f"{task.suite} / {task.condition} / {task.split}"
            counts[key] = counts.get(key, 0) + 1
        print_json({"panoramas": len(plan.tasks), "by_condition": counts, "unused_rows": len(plan.unused)})
        return
    # a shipped recipe that was changed must not pass for the dataset of that name
    standard = not settings and limit is None and recipe in recipe_names()
    name = loaded.name if standard or loaded.name not in recipe_names() else f"{loaded.name}-custom"
    with progress(f"building {name}", len(plan.tasks)) as advance:
        report = run_build(
            plan, loaded, gaze, background, out, name=name, workers=workers, overwrite=overwrite, advance=advance
        )
    info = report.info
    if json:
        print_json({"info": info.model_dump(mode="json"), "made": report.made, "kept": report.kept, "reasons": report.reasons})
        return
    people = {split: size.people for split, size in info.splits.items()}
    OUT.print(f"{info.name} {info.version} in {out}", markup=False)
    OUT.print(f"  panoramas  {sum(s.panoramas for s in info.splits.values())} ({report.made} made now)", markup=False)
    OUT.print(f"  people     {', '.join(f'{split} {count}' for split, count in people.items())}", markup=False)
    OUT.print(f"  suites     {', '.join(f'{suite} ({len(levels)})' for suite, levels in info.suites.items())}", markup=False)
    OUT.print(f"  labels     {info.label_digest}", markup=False)
    OUT.print(f"  pixels     {info.pixel_digest}", markup=False)
    if info.rejected:
        say(f"{info.rejected} source rows were not used; {out / 'rejected.csv'} says why:")
        for reason, count in list(report.reasons.items())[:8]:
            say(f"  {count:6d}  {reason}")


def verify(
    folder: Folder,
    pixels: Annotated[bool, typer.Option("--pixels/--no-pixels", help="Decode every panorama as well.")] = True,
    json: JsonOption = False,
) -> None:
    """Check a built dataset: files, labels, pixels. Exit code 1 if anything is not as its manifest says."""
    from dataclasses import asdict

    from builders.verify import read_manifest
    from builders.verify import verify as run_verify
    from srgaze360.console import OUT, print_json, progress
    from srgaze360.dataset import read_info
    from srgaze360.errors import CheckFailed

    read_info(folder)  # first: a folder that is no dataset has no manifest either
    with progress("verifying", len(read_manifest(folder))) as advance:
        findings = run_verify(folder, pixels=pixels, advance=advance)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            OUT.print(f"{finding.level}: {finding.where}: {finding.kind}", markup=False)
    if findings:
        raise CheckFailed(f"{len(findings)} findings in {folder}. Build it again with --overwrite, or fetch the files again.")
    if not json:
        OUT.print(f"{folder}: files, labels{' and pixels' if pixels else ''} are as the manifest says.", markup=False)


def preview(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=100, help="Panoramas to show.")] = 12,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
) -> None:
    """Draw a contact sheet: panoramas with heads, gaze and arcs, and a viewport beside each."""
    from builders.preview import preview as draw
    from srgaze360.console import say
    from srgaze360.dataset import Dataset
    from srgaze360.errors import InputError

    if out.suffix.lower() != ".png":
        raise InputError(f"Expected --out to end in .png, found {out.name!r}.")
    shown = draw(Dataset.open(folder).select(split=split, suite=suite), out, count=count, seed=seed)
    say(f"{shown} panoramas drawn in {out}")
