"""The commands `predict`, `score` and `compare`. Thin: what is heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from leaderboard.pairs import Difference
    from leaderboard.records import GroupScores, ScoreRecord

Data = Annotated[Path, typer.Option("--data", help="Folder of a built dataset.")]
Labels = Annotated[
    str, typer.Option("--data", metavar="DIR|KIND=DIR", help="Folder of a built dataset, or a source of photos.")
]
Split = Annotated[str, typer.Option("--split", help="Split of the dataset: train, val or test.")]
Suite = Annotated[str | None, typer.Option("--suite", help="One suite alone; all suites of the split by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print the record as JSON on standard output.")]


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="Name of a predictor, or folder of a training run.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Predictions file to write (.parquet).")],
    split: Split = "test",
    suite: Suite = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of predictors that draw random numbers; a run has its own.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Most people given to the predictor at once.")] = 32,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:1; auto is a GPU where there is one.")
    ] = "auto",
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for prepared panoramas, which several predictions can share.")
    ] = None,
) -> None:
    """Run a predictor on a split and write its predictions.

    Example: `srgaze360 predict head-prior-run --data mydata --split test --out head-prior.parquet`
    """
    from rich.markup import escape

    from leaderboard.predicting import predict_split
    from srgaze360.console import progress, say
    from srgaze360.dataset import Dataset

    dataset = Dataset.open(data)
    with progress(f"Predicting {split}", len(dataset.select(split=split, suite=suite))) as advance:
        done = predict_split(
            model,
            dataset,
            split,
            out,
            suite=suite,
            seed=seed,
            batch_size=batch_size,
            device=device,
            cache=cache,
            advance=advance,
        )
    say(
        escape(
            f"{done.predictor.name}: {done.people} people on {done.panoramas} panoramas in {done.seconds:.1f} s "
            f"({done.people_per_second:.0f} people/s), {'with' if done.heatmaps else 'without'} heatmaps: {done.path}"
        )
    )
    say(escape(f"Next: srgaze360 score {out} --data {data} --split {split} --out RESULT.json"))


def score(
    file: Annotated[str, typer.Argument(metavar="FILE|human", help="Predictions file, or the word *human*: the annotators.")],
    out: Annotated[Path, typer.Option("--out", help="RESULT.json to write; per-person errors go beside it.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DIR|KIND=DIR",
            help="Folder of a built dataset, or a source of photos for a planar protocol.",
            show_default="required without --sealed",
        ),
    ] = None,
    split: Split = "test",
    suite: Suite = None,
    protocol: Annotated[str, typer.Option("--protocol", help="Metric protocol.")] = "spherical",
    compat: Annotated[
        str | None,
        typer.Option("--compat", help="Code base that a planar protocol follows, e.g. chong or gazelle.", show_default="none"),
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap replicates.", min=100)] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    sealed: Annotated[
        Path | None,
        typer.Option("--sealed", help="Sealed labels of `split seal`: aggregates alone are told.", show_default="none"),
    ] = None,
    json: Json = False,
) -> None:
    """Score predictions under a metric protocol, with intervals, by condition and by group.

    Example: `srgaze360 score predictions.parquet --data mydata --split test --out result.json`

    Photos: `srgaze360 score predictions.parquet --data gazefollow=DIR --protocol gazefollow --out result.json`
    """
    from rich.markup import escape

    from leaderboard.people import open_labels
    from leaderboard.scoring import score_file
    from leaderboard.sealing import is_sealed
    from srgaze360.console import progress, say
    from srgaze360.errors import InputError

    if compat is not None:
        protocol = f"{protocol}/{compat}"

    if (data is None) == (sealed is None):
        raise InputError("Expected either --data DIR or --sealed LABELS, found both or neither. Give one of them.")
    if data is None:
        if suite is not None or split != "test":
            raise InputError(
                "Expected --sealed LABELS without --suite and --split, which the sealed labels decide, found one. Leave it out."
            )
        _score_sealed(file, sealed, out, protocol, resamples, seed, json)  # type: ignore[arg-type]
        return
    labels = open_labels(data, split)
    if is_sealed(labels, split):
        raise InputError(
            f"Expected labels of split {split!r} in {data}, but they are sealed: only who keeps them can score, with --sealed "
            "LABELS in the place of --data."
        )
    with progress(f"Scoring {split}", len(labels.select(split=split, suite=suite))) as advance:
        record = score_file(
            file, labels, split, out, suite=suite, protocol=protocol, resamples=resamples, seed=seed, advance=advance
        )
    if json:
        from srgaze360.console import print_json

        print_json(record.model_dump(mode="json"))
    else:
        _print_record(record)
    for note in record.notes:
        say(f"[yellow]•[/] {escape(note)}")
    say(escape(f"Written: {out}. Next: srgaze360 board add {out} --board BOARD"))


def _score_sealed(file: str, sealed: Path, out: Path, protocol: str, resamples: int, seed: int, json: bool) -> None:
    from rich.markup import escape

    from leaderboard.protocols import LABELS, find_protocol
    from leaderboard.sealing import open_sealed, score_sealed
    from srgaze360.console import OUT, print_json, progress, say

    opened = open_sealed(sealed)
    with progress("Scoring sealed labels", len(opened.data)) as advance:
        found = score_sealed(file, opened, out, protocol=protocol, resamples=resamples, seed=seed, advance=advance)
    if json:
        print_json(found)
    else:
        primary = find_protocol(protocol).primary
        for group in found["groups"]:
            number = group["metrics"].get(primary)
            if number and group["by"] in ("overall", "condition"):
                interval = f"{number['low']} to {number['high']}"
                text = f"{LABELS[primary]} {number['value']} ({interval}), {number['people']} people"
                OUT.print(f"{group['suite']}, {group['group']}: {text}", markup=False)
    name = found["predictor"]["name"]
    say(escape(f"Written: {out}: aggregates, rounded. {name!r} has looked at these labels {found['looks']} times."))


def _print_record(record: ScoreRecord) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from leaderboard.protocols import find_protocol
    from leaderboard.tables import ARROWS, BLANK, UNIT_SIGNS, Cell
    from srgaze360.console import OUT

    def cells(group: GroupScores, metric: str) -> tuple[str, str, str]:
        cell = Cell(record.predictor.name, metric, group)
        n = f"{cell.estimate.people} / {cell.estimate.clusters}" if cell.estimate else ""
        return cell.value or BLANK, " to ".join(cell.interval) if cell.interval else "", n

    protocol = find_protocol(record.protocol)
    title = f"{record.predictor.name} on {record.dataset.name} {record.dataset.version}, {record.split}"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("", f"suite {record.ranking_suite}", "95 %", "people / clusters"):
        table.add_column(Text(head), justify="left" if not head else "right")
    signs = {name: UNIT_SIGNS.get(metric.unit, "") for name, metric in protocol.metrics.items()}
    for name, label in protocol.labels.items():
        if name in record.overall.metrics:
            arrow = ARROWS[protocol.metrics[name].better]
            table.add_row(f"{label} {signs[name]} {arrow}".replace("  ", " "), *cells(record.overall, name))
    primary = protocol.primary
    if record.conditions:
        table.add_section()
        table.add_row(Text(f"{protocol.labels[primary]} {signs[primary]} by suite, condition", style="bold"))
    for group in record.conditions:
        table.add_row(Text(f"{group.suite}, {group.group}"), *cells(group, primary))
    table.caption, table.caption_justify = f"{BLANK} fewer than {record.minimum_people} people, or nothing to score", "left"
    OUT.print(table, soft_wrap=False)


def compare(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.json...", help="Records of `srgaze360 score`; the first is the reference.")
    ],
    reference: Annotated[
        str | None, typer.Option("--reference", help="Name of the method to compare with.", show_default="the first result's")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Metric of each person.", show_default="the protocol's primary one")
    ] = None,
    breakdowns: Annotated[
        bool, typer.Option("--breakdowns/--no-breakdowns", help="Groups of people and targets too, beside conditions.")
    ] = True,
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap replicates.", min=100)] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON on standard output.")] = False,
) -> None:
    """Compare methods on the same people: paired differences with intervals, overall, by condition and by group.

    Differences are method - reference. P values of conditions are corrected for their number (Holm); ‡ marks groups below 150
    people or 50 clusters. Results of one method and several training seeds count as one.

    Example: `srgaze360 compare dualpath2021.json mmrgaze360.json`
    """
    from leaderboard.pairs import compare_files

    found = compare_files(results, metric=metric, reference=reference, breakdowns=breakdowns, resamples=resamples, seed=seed)
    if json:
        from srgaze360.console import print_json

        print_json([one._asdict() for one in found])
    else:
        _print_differences(found)


def _print_differences(found: list[Difference]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from leaderboard.protocols import ALL_METRICS, LABELS
    from leaderboard.tables import BLANK, DECIMALS, FEW_MARK, UNIT_SIGNS, group_label
    from srgaze360.console import OUT

    metric = found[0].metric
    unit = ALL_METRICS[metric].unit

    def number(value: float | None, sign: str = "") -> str:
        return BLANK if value is None else f"{value:{sign}.{DECIMALS[unit]}f}"

    label = f"{LABELS[metric]} {UNIT_SIGNS.get(unit, '')}".strip()
    for method in dict.fromkeys(one.method for one in found):
        own = [one for one in found if one.method == method]
        title = f"{method} - {own[0].reference}: {label}"
        caption = "n: people / clusters"
        table = Table(title=Text(title), title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
        table.pad_edge, table.padding = False, (0, 1, 0, 0)
        table.add_column("", overflow="fold")  # wraps where there is no room
        for head in ("difference (95 %)", "p", "n", ""):
            table.add_column(head, justify="right" if head else "left", no_wrap=True)
        place: tuple[str, str] = ("", "")
        for one in own:
            here = (one.kind, one.suite if one.kind == "condition" else one.by)
            if here != place and place[0]:
                table.add_section()
            place = here
            name = {"overall": f"overall ({one.suite})", "condition": f"{one.suite}, {one.group}"}.get(
                one.kind, f"{one.by.replace('_', ' ')}: {group_label(one.group)}"
            )
            told = f"{number(one.difference, '+')} ({number(one.low, '+')} to {number(one.high, '+')})"
            p = BLANK if one.p_holm is None else f"{one.p_holm:.3f}" if one.p_holm >= 0.0005 else "<0.001"
            style = {"better": "green", "worse": "red"}.get(one.verdict, "dim")
            counts = f"{one.people} / {one.clusters}"
            table.add_row(
                Text(name + (f" {FEW_MARK}" if one.few else "")), BLANK if one.difference is None else told, p, counts,
                Text(one.verdict, style=style),
            )  # fmt: skip
        OUT.print(table, soft_wrap=False)
