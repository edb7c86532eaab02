"""The builders' commands: ``sources``, ``recipes``, ``build``, ``merge``, ``verify``, ``preview``. Thin; imports inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builders.recipe import Recipe
    from builders.sources.folders import SourceFolder
    from srgaze360.dataset import DatasetInfo

sources = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List and check source datasets; make procedural pictures."
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
    from builders.sources.folders import SOURCES

    return SOURCES


def source_roots(pairs: Sequence[str]) -> dict[str, Path]:
    """Folders by kind of source, from ``KIND=DIR`` pairs."""
    from srgaze360.errors import InputError

    roots: dict[str, Path] = {}
    for pair in pairs:
        kind, equals, folder = pair.partition("=")
        if not equals or not folder:
            raise InputError(
                f"Expected --source KIND=DIR, found {pair!r}. Example: --source gazefollow=/data/gazefollow_extended"
            )
        if kind in roots:
            raise InputError(f"Expected each kind of source once, found several folders for: {kind}. Give one each.")
        roots[kind] = Path(folder)
    return roots


def open_sources(pairs: Sequence[str], options: dict[str, dict[str, Any]]) -> tuple[list[SourceFolder], SourceFolder | None]:
    """Read the sources named by ``KIND=DIR`` pairs: those with gaze labels, and the background panoramas if given."""
    from builders.sources.folders import open_source
    from srgaze360.errors import InputError

    folders = [open_source(kind, root, options.get(kind, {})) for kind, root in source_roots(pairs).items()]
    gaze = [folder for folder in folders if folder.source.role == "gaze"]
    backgrounds = [folder for folder in folders if folder.source.role == "background"]
    if not gaze:
        registry = _registry()
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
    settings: Annotated[
        list[str], typer.Option("--set", metavar="OPTION=VALUE", help="An option of the source; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    json: JsonOption = False,
) -> None:
    """Say what a source folder holds: counts, missing photos, repaired and rejected rows. Exit code 1 if photos are missing."""
    from builders.recipe import apply_setting
    from builders.sources.check import check_source
    from builders.sources.folders import checked_options
    from srgaze360.console import OUT, print_json
    from srgaze360.errors import CheckFailed

    source = _registry().get(kind)
    content: dict[str, Any] = {"sources": {kind: {}}}
    for setting in settings:
        apply_setting(content, f"sources.{kind}.{setting}")
    report = check_source(source, folder, checked_options(source, content["sources"][kind]), open_images=images)
    if json:
        print_json(report.to_dict())
    else:
        OUT.print(report.to_text(), markup=False)
    if not report.complete:
        raise CheckFailed(
            f"{folder} is not a complete {kind} source: {source.layout.strip().rstrip('.')}. To obtain it: {source.obtain}"
        )


@sources.command("people")
def people(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of source, e.g. gazefollow.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds it.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.", show_default=False)],
    split: Annotated[str, typer.Option("--split", help="Split of the source: train, val or test.")] = "test",
) -> None:
    """List the people of a split in their photos: what a method for photos is to predict, and by which ids.

    Heads are fractions of the photo's sides; labels are left out.

    Example: `srgaze360 sources people gazefollow DIR --out people.csv`
    """
    from srgaze360.console import say
    from srgaze360.files import atomic_path
    from srgaze360.photo_labels import ASKED, SOURCES

    labels = SOURCES.get(kind).photo_labels(folder, split)
    with atomic_path(out) as temporary:
        labels.annotations[list(ASKED)].to_csv(temporary, index=False)
    unused = "".join(f"; left out: {count} ({reason})" for reason, count in sorted(labels.unused.items()))
    say(f"{len(labels)} people in {labels.annotations['image'].nunique()} photos: {out}{unused}")


@sources.command("procedural")
def procedural(
    out: Annotated[
        Path, typer.Option(help="Folder to write: photos in the GazeFollow layout, panoramas beside them.", show_default=False)
    ],
    photos: Annotated[int, typer.Option(min=0, help="Number of photos, train and test together.")] = 300,
    panoramas: Annotated[int, typer.Option(min=0, help="Number of panoramas with people and targets all around.")] = 0,
    width: Annotated[int, typer.Option(min=64, max=16384, help="Width of the panoramas in pixels, even.")] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same pictures.")] = 360,
    backgrounds: Annotated[Path | None, typer.Option(help="Folder for rooms without people, as background panoramas.")] = None,
    workers: WorkersOption = CORES,
) -> None:
    """Render photos and panoramas of small 3-D scenes, with people, exact gaze targets and simulated annotators."""
    from builders.procedural import write_gazefollow_folder
    from builders.procedural.rooms import BACKGROUNDS, write_background_panoramas
    from srgaze360.console import progress, say

    with progress("rendering pictures", photos + panoramas) as advance:
        write_gazefollow_folder(out, photos, seed, panoramas=panoramas, width=width, workers=workers, progress=advance)
    if backgrounds is not None:
        with progress("rendering rooms", BACKGROUNDS) as advance:
            write_background_panoramas(backgrounds, BACKGROUNDS, seed, workers=workers, progress=advance)
    recipe = "suites" if panoramas else "mixed"
    more = f" --source panoramas={backgrounds}" if backgrounds is not None else ""
    say(
        f"{photos} photos and {panoramas} panoramas in {out}. "
        f"Next: srgaze360 build {recipe} --source procedural={out}{more} --out DIR"
    )


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
    out: Annotated[Path, typer.Option(help="Folder of the dataset.", show_default=False)],
    source: SourceOption = [],  # noqa: B006 - typer copies it
    settings: Set = [],  # noqa: B006
    workers: WorkersOption = CORES,
    dask: Annotated[str | None, typer.Option(metavar="tcp://HOST:PORT", help="Use the workers of a Dask scheduler.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="i/n", help="Do part i of n and stop; `merge` joins the parts.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many photos of each source and split; of a crowd, whole spheres.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the dataset that is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Build a dataset: photos from the sources, on spheres, as the recipe says. The same command again resumes.

    Example: srgaze360 build suites --source gazefollow=gf --source panoramas=pano --out data
    """
    import shlex
    from dataclasses import asdict

    from builders.building.pipeline import build as run_build
    from builders.building.pipeline import build_part, plan_build
    from builders.building.shards import part_size
    from builders.recipe import load_recipe, recipe_names
    from srgaze360.console import print_json, progress, say
    from srgaze360.errors import InputError

    part = _part(shard)
    if part and overwrite:
        raise InputError(
            "--overwrite would remove what other parts have made; --shard cannot go with it. Remove --out yourself."
        )
    loaded = load_recipe(recipe, settings)
    rendered = loaded.rendered is not None and not source
    pairs = _render(loaded, out, workers, overwrite, part is not None) if rendered else source
    gaze, background = open_sources(pairs, loaded.sources)
    plan = plan_build(loaded, gaze, background, limit)
    if dry_run:
        counts: dict[str, int] = {}
        for task in plan.tasks:
            key = f"{task.suite} / {task.condition} / {task.split}"
            counts[key] = counts.get(key, 0) + 1
        print_json({"panoramas": len(plan.tasks), "by_condition": counts, "unused_rows": len(plan.unused)})
        return
    # a shipped recipe that was changed must not pass for the dataset of that name
    standard = not settings and limit is None and recipe in recipe_names() and rendered == (loaded.rendered is not None)
    name = loaded.name if standard or loaded.name not in recipe_names() else f"{loaded.name}-custom"
    words = ["srgaze360", "build", recipe, *(word for pair in source for word in ("--source", pair)), "--out", str(out)]
    words += [word for setting in settings for word in ("--set", setting)] + (["--limit", str(limit)] if limit else [])
    common: dict[str, Any] = {"name": name, "limit": limit, "command": shlex.join(words), "workers": workers, "dask": dask}
    with progress(f"building {name}", len(plan.tasks) if part is None else part_size(plan, part)) as advance:
        if part is not None:
            done = build_part(plan, loaded, gaze, background, out, part, advance=advance, **common)
        else:
            report = run_build(plan, loaded, gaze, background, out, overwrite=overwrite, advance=advance, **common)
    if part is not None:
        left = f"{done.missing} of {done.shards} shards are missing" if done.missing else "all shards are done"
        if json:
            print_json(asdict(done))
        else:
            say(f"Part {shard}: {done.made} panoramas made, {done.kept} found; {left}. Next: srgaze360 merge {out}")
        return
    if json:
        info = report.info.model_dump(mode="json")
        print_json({"info": info, "made": report.made, "kept": report.kept, "reasons": report.reasons})
        return
    _say_dataset(report.info, out, report.reasons, f" ({report.made} made now)")


def _render(recipe: Recipe, out: Path, workers: int, overwrite: bool, part: bool) -> list[str]:
    """Render the sources of a recipe that needs none; returns them as ``KIND=DIR`` pairs."""
    from builders.building.folder import WORK, check_folder
    from builders.building.rendered import is_rendered, pictures, render_sources
    from srgaze360.console import progress
    from srgaze360.errors import InputError

    check_folder(out, overwrite=overwrite)
    if part and not is_rendered(recipe, out / WORK):
        raise InputError(
            f"Expected the scenes of {recipe.name} in {out / WORK} before its parts are built, found none: parts that start at "
            "once would render them several times. Run the same command once with --dry-run in place of --shard, which renders "
            "them, then the parts."
        )
    with progress(f"rendering the scenes of {recipe.name}", pictures(recipe)) as advance:
        return render_sources(recipe, out / WORK, workers=workers, advance=advance)


def _part(shard: str | None) -> tuple[int, int] | None:
    """Read ``i/n``."""
    from srgaze360.errors import InputError

    if shard is None:
        return None
    i, slash, n = shard.partition("/")
    if not slash or not (i.isdecimal() and n.isdecimal()) or not 1 <= int(i) <= int(n):
        raise InputError(f"Expected --shard i/n with i from 1 to n, found {shard!r}. Example: --shard 1/100")
    return int(i), int(n)


def _say_dataset(info: DatasetInfo, out: Path, reasons: Mapping[str, int], made: str = "") -> None:
    from srgaze360.console import OUT, say

    people = {split: size.people for split, size in info.splits.items()}
    OUT.print(f"{info.name} {info.version} in {out}", markup=False)
    OUT.print(f"  panoramas  {sum(s.panoramas for s in info.splits.values())}{made}", markup=False)
    OUT.print(f"  people     {', '.join(f'{split} {count}' for split, count in people.items())}", markup=False)
    OUT.print(f"  suites     {', '.join(f'{suite} ({len(levels)})' for suite, levels in info.suites.items())}", markup=False)
    OUT.print(f"  labels     {info.label_digest}", markup=False)
    OUT.print(f"  pixels     {info.pixel_digest}", markup=False)
    if info.rejected:
        say(f"{info.rejected} source rows were not used; {out / 'rejected.csv'} says why:")
        for reason, count in list(reasons.items())[:8]:
            say(f"  {count:6d}  {reason}")


def merge(
    folder: Folder,
    others: Annotated[
        list[Path], typer.Option("--from", metavar="DIR", help="Folder with further shards of the same build; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    json: JsonOption = False,
) -> None:
    """Join shards built apart (`build --shard i/n`) to a dataset. Exit code 1 if some are missing."""
    from builders.building.merging import merge as run_merge
    from srgaze360.console import print_json

    info, reasons = run_merge(folder, others)
    if json:
        print_json({"info": info.model_dump(mode="json"), "reasons": reasons})
    else:
        _say_dataset(info, folder, reasons)


def verify(
    folder: Folder,
    level: Annotated[str, typer.Option(help="How far to go: recipe, labels, files or pixels.")] = "pixels",
    repair: Annotated[bool, typer.Option("--repair", help="Make again what is missing or damaged.")] = False,
    source: Annotated[
        list[str], typer.Option("--source", metavar="KIND=DIR", help="Where a source is now, for --repair.")
    ] = [],  # noqa: B006 - typer copies it
    other_versions: Annotated[
        bool, typer.Option("--other-versions", help="Repair even where this machine makes other pixels.")
    ] = False,
    workers: WorkersOption = CORES,
    json: JsonOption = False,
) -> None:
    """Check a built dataset: recipe, labels, files, pixels. Exit code 1 if anything is not as it was built."""
    from dataclasses import asdict

    from builders.building.folder import read_record
    from builders.building.repair import repair as run_repair
    from builders.building.verify import LEVELS
    from builders.building.verify import verify as run_verify
    from srgaze360.console import OUT, print_json, progress, say
    from srgaze360.dataset import read_info
    from srgaze360.errors import CheckFailed, InputError, suggestion

    if level not in LEVELS:
        raise InputError(f"Unknown --level {level!r}. {suggestion(level, LEVELS)}")
    if repair:
        with progress("repairing", read_record(folder).panoramas) as advance:
            made = run_repair(folder, source_roots(source), other_versions=other_versions, workers=workers, advance=advance)
        say(f"Made again: {made.panoramas} panoramas, {made.shards} whole shards, and the tables.")
    panoramas = sum(split.panoramas for split in read_info(folder).splits.values())
    with progress("verifying", panoramas) as advance:
        findings = run_verify(folder, LEVELS[LEVELS.index(level)], advance)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            OUT.print(f"{finding.level}: {finding.where}: {finding.kind}", markup=False)
    if findings:
        advice = (
            "These files were not written by the build: move them away"
            if repair
            else (f"Run srgaze360 verify {folder} --repair, or fetch the files again")
        )
        raise CheckFailed(f"{len(findings)} findings in {folder}. {advice}.")
    if not json:
        OUT.print(f"{folder}: all is as it was built, down to level {level}.", markup=False)


def preview(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=100, help="Panoramas to show.")] = 12,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
) -> None:
    """Draw a contact sheet: panoramas with heads, gaze and arcs, and a viewport beside each."""
    from builders.report.preview import preview as draw
    from srgaze360.console import say
    from srgaze360.dataset import Dataset
    from srgaze360.errors import InputError

    if out.suffix.lower() != ".png":
        raise InputError(f"Expected --out to end in .png, found {out.name!r}.")
    shown = draw(Dataset.open(folder).select(split=split, suite=suite), out, count=count, seed=seed)
    say(f"{shown} panoramas drawn in {out}")
