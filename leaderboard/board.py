"""A board: a folder of score records that may stand beside each other, and the pages made from them.

Layout
------
::

    BOARD/ records/<predictor>-<digest8>.json  records/<predictor>-<digest8>.samples.parquet  notices/<predictor>.json

``digest8`` begins the digest of the record without its time fields, so adding a score again changes nothing. The first record
decides what a board is about: dataset digest, split, protocol and its major version, ranking suite; what differs is refused,
with every reason at once. Records of one predictor and different training seeds stand together, as one row; they must agree in
what they read and were made from. A board is built from its records and notices alone: board.md, board.tex, board.csv,
board.json, index.html, plots, a copy of the records, and published.csv where there are published numbers to stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from leaderboard.arranging import board_tables
from leaderboard.latex import latex
from leaderboard.notices import NOTICES, Notice, read_notices, write_notice
from leaderboard.protocols import PROTOCOLS
from leaderboard.published import to_csv as published_csv
from leaderboard.records import (
    TIERS,
    ScoreRecord,
    Tier,
    read_record,
    read_samples,
    record_name,
    samples_path,
    slug,
    write_record,
)
from leaderboard.scoring import HUMAN
from leaderboard.seeds import members, rows_of, seed_name
from leaderboard.tables import BoardTables
from leaderboard.text import markdown, to_csv, to_json
from srgaze360.dataset import explain
from srgaze360.errors import CheckFailed, InputError, first_ids
from srgaze360.files import digest, write_text

RECORDS = "records"


def _major(version: str) -> str:
    return version.partition(".")[0]


# What all rows of a board must share: name in messages, how to read it off a record.
SHARED: dict[str, Callable[[ScoreRecord], object]] = {
    "protocol": lambda r: r.protocol,
    "protocol major version": lambda r: _major(r.protocol_version),
    "dataset name": lambda r: r.dataset.name,
    "dataset version": lambda r: r.dataset.version,
    "dataset digest": lambda r: r.dataset.digest,
    "split": lambda r: r.split,
    "ranking suite": lambda r: r.ranking_suite,
    "number of people": lambda r: r.people,
    "confidence": lambda r: r.confidence,
}

# Without these a number cannot be traced, and is not a result.
TRACED: dict[str, Callable[[ScoreRecord], str | None]] = {
    "dataset.name": lambda r: r.dataset.name,
    "dataset.version": lambda r: r.dataset.version,
    "dataset.digest": lambda r: r.dataset.digest,
    "protocol_version": lambda r: r.protocol_version,
    "predictions_digest": lambda r: r.predictions_digest,
    "samples_digest": lambda r: r.samples_digest,
    "versions.srgaze360": lambda r: r.versions.get("srgaze360"),
}


@dataclass(frozen=True)
class Added:
    """What :func:`add_record` did: where the record is, which older ones it replaced, whether it was there already."""

    path: Path
    replaced: list[Path]
    already_there: bool


def add_record(result: Path, board: Path, *, tier: Tier = "self-reported", replace: bool = False) -> Added:
    """Copy a score record and its per-person errors to a board.

    Parameters
    ----------
    result
        ``RESULT.json`` of ``srgaze360 score``, its ``RESULT.samples.parquet`` beside it.
    board
        Folder of the board; made where absent.
    tier
        How far you, who keep the board, vouch for the number: you took the record as it came (``self-reported``), you had the
        predictions and scored them (``re-scored``), or you ran the method (``re-run``). A record that is there already is
        raised to a higher tier, never lowered.
    replace
        Put the record in the place of an earlier one of the same predictor and training seed.

    Raises
    ------
    CheckFailed
        The record must not stand beside the others; the message has every reason.
    InputError
        The record or its per-person errors cannot be read.
    """
    record = read_record(result).model_copy(update={"tier": tier})
    samples = read_samples(samples_path(result), record)
    others = {path: read_record(path) for path in record_paths(board)}
    path = board / RECORDS / record_name(record)
    for place, other in others.items():
        if other.content_digest == record.content_digest:
            if TIERS.index(tier) > TIERS.index(other.tier):
                write_text(place, other.model_copy(update={"tier": tier}).model_dump_json(indent=2) + "\n")
            return Added(place, [], already_there=True)
    same = [place for place, other in others.items() if seed_name(other) == seed_name(record)]
    kept = [other for place, other in others.items() if place not in same or not replace]
    reasons = [*_own_faults(record, samples), *differences_of(record, kept)]
    if same and not replace:
        seed = "" if record.predictor.seed is None else f" with seed {record.predictor.seed}"
        reasons.append(
            f"the board has another result of {record.predictor.name!r} already, {same[0].name}{seed} (--replace puts this one "
            "in its place)"
        )
    if reasons:
        raise CheckFailed(
            f"Expected a record that may stand on the board {board}, but {result} is refused: {'; '.join(reasons)}. Score the "
            "predictions again under the board's conditions, or start another board."
        )
    write_record(path, record, samples)
    for old in same:
        old.unlink()
        samples_path(old).unlink(missing_ok=True)
    for notice, found in read_notices(board).items():
        if found.name.casefold() == _name(record):
            notice.unlink()
    return Added(path, same, already_there=False)


def add_notice(board_dir: Path, name: str, summary: str, source: str, reason: str) -> Path:
    """Name a method on a board without a number, and say why there is none; an earlier notice of it is replaced.

    Parameters
    ----------
    board_dir
        Folder of the board; made where absent. Pages need at least one record besides.
    name, summary, source
        The method, as on its card.
    reason
        Why there is no number, in a few words: ``needs weights``.

    Returns
    -------
    Path
        The notice's file. A result of the same method takes its place.

    Raises
    ------
    InputError
        Name or reason is empty or too long.
    CheckFailed
        The board has a result of that method, or the name is kept for the annotators.
    """
    try:
        notice = Notice(name=name, summary=summary, source=source, reason=reason)
    except ValidationError as error:
        raise InputError(f"Expected a notice with a name and a short reason, found: {explain(error)}. Change them.") from None
    if name.casefold() == HUMAN:
        raise CheckFailed(f"Expected the name of a predictor, found {name!r}, which is kept for the annotators.")
    results = [path.name for path in record_paths(board_dir) if _name(read_record(path)) == name.casefold()]
    if results:
        raise CheckFailed(
            f"Expected a method without a result on the board {board_dir}, but {name!r} has {results[0]}. Remove that record "
            "if it is wrong."
        )
    path = board_dir / NOTICES / f"{slug(name)}-{digest([name.casefold()])[:8]}.json"
    write_notice(path, notice)
    return path


def record_paths(board: Path) -> list[Path]:
    """Files of a board's records, sorted by name."""
    return sorted((board / RECORDS).glob("*.json"))


def _name(record: ScoreRecord) -> str:
    return record.predictor.name.casefold()


def _own_faults(record: ScoreRecord, samples: pd.DataFrame) -> list[str]:
    """Why a record can stand on no board."""
    lacking = [name for name, read in TRACED.items() if not read(record)]
    reasons = [f"it lacks {', '.join(lacking)}, without which a number cannot be traced"] if lacking else []
    if record.suite is not None or record.people != record.split_people or len(samples) != record.people:
        part = f" (suite {record.suite!r} alone)" if record.suite is not None else ""
        reasons.append(f"it covers {record.people} of the {record.split_people} people of split {record.split!r}{part}")
    protocol = PROTOCOLS.get(record.protocol)
    if protocol is None or protocol.primary not in record.overall.metrics or protocol.primary not in samples:
        reasons.append(f"it lacks the primary metric of its protocol, {record.protocol!r}, as this version knows it")
    if record.kind != HUMAN and _name(record) == HUMAN:
        reasons.append(f"the name {HUMAN!r} is kept for the annotators")
    if wrong := _unlike_errors(record, samples):
        reasons.append(f"its numbers are not the means of its per-person errors, {len(wrong)} of them: {first_ids(wrong)}")
    return reasons


def _unlike_errors(record: ScoreRecord, samples: pd.DataFrame) -> list[str]:
    """Numbers of a record that its per-person errors do not give: it has been changed, or was made otherwise."""
    wrong = []
    for group in record.groups:
        own = samples[members(samples, group.key, record.ranking_suite)]
        for name in group.metrics.keys() & set(samples.columns):
            found, errors = group.metrics[name], own[name].to_numpy(dtype=np.float64)
            known = errors[~np.isnan(errors)]
            told = found.value is not None and not np.isclose(found.value, known.mean() if len(known) else np.nan, rtol=1e-6)
            if told or found.people != len(known):
                wrong.append(f"{name} of {group.suite}/{group.group}")
    return sorted(wrong)


# What results of one predictor must share, whatever their seeds: else they are not one method.
ONE_METHOD: dict[str, Callable[[ScoreRecord], object]] = {
    "source": lambda r: r.predictor.source,
    "columns read": lambda r: sorted(r.predictor.reads),
    "training data": lambda r: r.predictor.training_data,
}


def differences_of(record: ScoreRecord, others: list[ScoreRecord], whose: str = "the board's") -> list[str]:
    """In what a record differs from those that are already there, and from the other seeds of its predictor."""
    if not others:
        return []
    pairs = [(name, read(record), read(others[0]), whose) for name, read in SHARED.items()]
    seeds = [other for other in others if _name(other) == _name(record) and seed_name(other) != seed_name(record)]
    if seeds:
        pairs += [(name, read(record), read(seeds[0]), "that of its other seeds") for name, read in ONE_METHOD.items()]
    reasons = [f"its {name} is {found!r}, {other} is {wanted!r}" for name, found, wanted, other in pairs if found != wanted]
    if seeds and None in {one.predictor.seed for one in (record, seeds[0])}:
        reasons.append(f"results of {record.predictor.name!r} can only stand together if each names its training seed")
    return reasons


@dataclass(frozen=True)
class Built:
    """What :func:`build_board` wrote."""

    tables: BoardTables
    files: list[Path]


def build_boards(boards: Sequence[Path], out: Path) -> list[Built]:
    """Make the pages of several boards, each in a folder of ``out`` named after its protocol; of one board, in ``out`` itself.

    Numbers of several protocols never share a table: each has its page, which leads to the others.

    Raises
    ------
    InputError, CheckFailed
        As :func:`build_board`; also where two boards are of one protocol.
    """
    if len(boards) == 1:
        return [build_board(boards[0], out)]
    names = [_protocol_of(board) for board in boards]
    if len(set(names)) < len(names):
        raise InputError(
            f"Expected boards of different protocols to be shown beside each other, found {', '.join(names)}. Build those of "
            "one protocol apart."
        )
    folders = {name: slug(name) for name in names}
    return [build_board(board, out / folders[name], beside(name, folders)) for board, name in zip(boards, names, strict=True)]


def beside(protocol: str, folders: Mapping[str, str]) -> dict[str, str]:
    """Links from the page of a protocol to those of others, by protocol; ``folders`` are within one folder, by protocol."""
    back = "../" * (1 + folders[protocol].count("/"))
    return {name: f"{back}{folder}/index.html" for name, folder in folders.items() if name != protocol}


def _protocol_of(board: Path) -> str:
    return read_record(_records_of(board)[0]).protocol


def _records_of(board: Path) -> list[Path]:
    """Files of a board's records, at least one."""
    paths = record_paths(board)
    if not paths:
        raise InputError(
            f"Expected a board with records in {board / RECORDS}, found none. Add some with `srgaze360 board add RESULT.json "
            f"--board {board}`."
        )
    return paths


def build_board(board: Path, out: Path, others: Mapping[str, str] | None = None) -> Built:
    """Make pages, tables and plots in folder ``out`` from the records of a board.

    ``others`` are links to the pages of other protocols, by protocol (:func:`beside`).

    Raises
    ------
    InputError
        The board has no records, or one cannot be read.
    CheckFailed
        Its records may not stand beside each other: somebody put them there by hand.
    """
    from leaderboard.band_plot import band_plots
    from leaderboard.condition_plot import condition_plots
    from leaderboard.page import page
    from leaderboard.plots import PLOTS, save_plots

    paths = _records_of(board)
    loaded = [(record := read_record(path), read_samples(samples_path(path), record)) for path in paths]
    seen: list[ScoreRecord] = []
    for path, (record, samples) in zip(paths, loaded, strict=True):
        reasons = [*_own_faults(record, samples), *differences_of(record, seen)]
        if seed_name(record) in map(seed_name, seen):
            reasons.append(f"another record there is of {record.predictor.name!r} with the same seed")
        if reasons:
            raise CheckFailed(f"Expected records that may stand beside each other, but {path} may not: {'; '.join(reasons)}.")
        seen.append(record)
    tables = board_tables(rows_of(loaded), list(read_notices(board).values()))
    pictures = save_plots(tables, out / "plots", {**condition_plots(tables), **PLOTS, **band_plots(tables)})
    texts = {
        "index.html": page(tables, pictures, others),
        "board.md": markdown(tables),
        "board.tex": latex(tables),
        "board.csv": to_csv(tables),
        "board.json": to_json(tables),
    }
    if tables.published:
        texts["published.csv"] = published_csv(tables.published)
    for name, text in texts.items():
        write_text(out / name, text)
    if out.resolve() != board.resolve():
        for old in record_paths(out):  # of a result that has been replaced
            old.unlink()
            samples_path(old).unlink(missing_ok=True)
        for record, samples in loaded:
            write_record(out / RECORDS / record_name(record), record, samples)
    return Built(tables, [*(out / name for name in texts), *(file for picture in pictures for file in picture.files)])
