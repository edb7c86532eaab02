"""The commands ``annotate serve`` and ``annotate result``. Thin: what is heavy is imported inside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from annotation.review.desk import Inputs
    from annotation.review.store import Store
    from srgaze360.dataset import Dataset

PORT = 8360
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of a built dataset; it is not changed.", show_default=False)
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="FILE", help="Decisions.", show_default="DIR.review.sqlite, beside DIR")
]


def serve(
    folder: Folder,
    annotator: Annotated[str, typer.Option("--annotator", metavar="NAME", help="Who reviews; others: ?as=NAME.")] = "",
    port: Annotated[int, typer.Option("--port", help="0: any that is free.", min=0, max=65535)] = PORT,
    split: Annotated[str | None, typer.Option("--split", help="Only this split.", show_default="all")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Only this suite.", show_default="all")] = None,
    queue: Annotated[
        str,
        typer.Option("--queue", metavar="KIND[:VALUE]", help="all, undone, lint, suspects, disagreement, condition, random."),
    ] = "all",
    where: Annotated[
        list[str], typer.Option("--where", metavar="NAME=VALUE", help="Begin with a filter; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    findings: Annotated[
        Path | None, typer.Option("--findings", metavar="CSV", help="Of annotate lint --csv.", show_default="lint is run")
    ] = None,
    no_lint: Annotated[bool, typer.Option("--no-lint", help="No findings, no queue by them.")] = False,
    suspects: Annotated[
        Path | None, typer.Option("--suspects", metavar="CSV", help="Label quality by sample, low is suspect.")
    ] = None,
    predictions: Annotated[
        list[Path], typer.Option("--predictions", metavar="FILE", help="Shown beside labels; may be repeated.")
    ] = [],  # noqa: B006
    blind: Annotated[bool, typer.Option("--blind", help="Hide labels of others, predictions and findings.")] = False,
    store: StoreOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Other than loopback: whoever has the address gets in, and reads along.")
    ] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open/--no-browser", help="Open the page in the browser.")] = False,
) -> None:
    """Review labels in the browser: panoramas, heads and gaze, decisions in a store beside DIR. Ctrl-C stops the server.

    Example: `srgaze360 annotate serve mydata --annotator zoe --queue lint`
    """
    import secrets
    import webbrowser
    from contextlib import suppress

    from annotation.review.database import store_path
    from annotation.review.store import Store
    from srgaze360.console import OUT, say
    from srgaze360.dataset import Dataset

    _check_extra()
    from annotation.review.desk import Desk
    from annotation.review.server import listen
    from annotation.review.server import serve as run_server

    whole = Dataset.open(folder)
    data = whole.select(split=split, suite=suite)
    inputs = _inputs(whole, annotator, queue, where, findings, suspects, predictions, lint=not no_lint, blind=blind)
    local, hosts, any_address = _hosts(host)
    opened: Store = Store.open(store_path(folder, store), data.info)
    desk = Desk(data, opened, inputs)
    token = secrets.token_urlsafe(32)
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/{token}/"
        if not local:
            say(
                f"[yellow]warning:[/] the review is open to the network on {host}, not encrypted: whoever sees the address "
                "below can change labels. To review from afar, an SSH tunnel to a server without --host is safer."
            )
        say(f"{len(data)} people to review; decisions are in {opened.path}. Stop with Ctrl-C.")
        OUT.print(url, markup=False, highlight=False)
        OUT.file.flush()
        if open_browser:
            webbrowser.open(url)
        with suppress(KeyboardInterrupt):
            run_server(desk, listening, token, hosts, any_address=any_address)
    opened.close()
    say(f"Stopped. Every decision that the page called saved is in {opened.path}.")


def result(
    folder: Folder,
    store: StoreOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="NEWDIR", help="New folder for the new version.")] = None,
    bump: Annotated[str, typer.Option("--bump", help="Number of the version to raise: patch or minor.")] = "patch",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
    note: Annotated[str, typer.Option("--note", help="A line on why, for the changelog.")] = "",
    link: Annotated[bool, typer.Option("--link", help="Hard links, not copies, of the panoramas.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")] = False,
) -> None:
    """Write what a review decided as a new version of the dataset, with changelog and fresh digests.

    Example: `srgaze360 annotate result mydata --out mydata-1.0.1`
    """
    from contextlib import nullcontext

    from annotation.review.database import store_path
    from annotation.review.result import write_result
    from annotation.review.store import Store
    from srgaze360.console import OUT, print_json, progress, silent
    from srgaze360.dataset import read_info
    from srgaze360.errors import InputError

    if (out is None) != dry_run:
        raise InputError("Expected either --out NEWDIR or --dry-run, found both or neither. Give one of them.")
    if bump not in ("patch", "minor"):
        raise InputError(f"Expected --bump patch or --bump minor, found {bump!r}.")
    info = read_info(folder)
    opened = Store.open(store_path(folder, store), info, new=False)
    panoramas = sum(split.panoramas for split in info.splits.values())
    with nullcontext(silent) if dry_run else progress("placing panoramas", panoramas) as advance:
        done = write_result(folder, opened, out, bump=bump, note=note, link=link, advance=advance)  # type: ignore[arg-type]
    opened.close()
    if json:
        print_json(done.to_dict())
        return
    changed = ", ".join(f"{count} {what}" for what, count in sorted(done.changes.items())) or "no label differs"
    reviewed = ", ".join(f"{name} ({count})" for name, count in sorted(done.reviewers.items())) or "nobody"
    OUT.print(f"Reviewed by {reviewed}: {changed}", markup=False)
    for why, count in sorted(done.left.items()):
        OUT.print(f"not changed: {count} {why}", markup=False)
    if done.path is not None:
        OUT.print(f"{done.path}: version {done.version}, label digest {str(done.label_digest)[:12]}", markup=False)


def _check_extra() -> None:
    from importlib.util import find_spec

    from srgaze360.errors import EnvironmentProblem

    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise EnvironmentProblem(
            f"Expected {' and '.join(missing)} to be installed, which the review in the browser needs, found no such package. "
            "Run: pip install 'srgaze360[review]'"
        )


def _inputs(
    data: Dataset,
    annotator: str,
    queue: str,
    where: Sequence[str],
    findings: Path | None,
    suspects: Path | None,
    predictions: Sequence[Path],
    *,
    lint: bool,
    blind: bool,
) -> Inputs:
    from annotation.lint.run import lint as run_lint
    from annotation.review.desk import Inputs
    from annotation.review.labels import reviewer_name
    from annotation.review.predicted import read_all
    from annotation.review.queues import read_findings, read_suspects
    from srgaze360.console import say
    from srgaze360.errors import InputError

    if where and queue != "all":
        raise InputError("Expected --where or --queue to begin with, found both. Leave one out; the page has all queues.")
    kind, _, value = queue.partition(":")
    scores = None if suspects is None else read_suspects(suspects, data.annotations["sample_id"].tolist())
    predicted = read_all(predictions, data)
    found = None
    if findings is not None:
        found = read_findings(findings)
    elif lint and not blind:
        say("Looking for findings of lint (--no-lint leaves them out, --findings FILE has them from a file) ...")
        found = list(run_lint(data.root).findings)
    return Inputs(
        findings=found,
        suspects=scores,
        predicted=predicted,
        annotator=reviewer_name(annotator) if annotator else "",
        queue=("filter", "; ".join(where)) if where else (kind, value),
        blind=blind,
    )


def _hosts(host: str) -> tuple[bool, list[str], bool]:
    """Whether a host is loopback; which names ``Host`` may have besides, and whether addresses in numbers are all right."""
    import ipaddress
    import socket

    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return (True, [host], False) if local else (False, [host, socket.gethostname(), socket.getfqdn()], True)
