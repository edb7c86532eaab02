"""What reviewers are told and what they may save: the review of a dataset, apart from how it is asked for.

Conventions
-----------
Everything told is plain data for JSON; angles are degrees and say so by ``_deg``. In a blind review nobody is told of labels,
verdicts, findings or predictions but their own: that is decided here, and the page never gets to know. Blind reviewers see the
dataset's head box, the facts of :data:`annotation.review.queues.BLIND_COLUMNS`, and what they saved themselves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.applying import BOX
from annotation.lint.run import Finding
from annotation.review.labels import DECIDED, Decision, Label, blank, checked, edit_of, label_of, merged, reviewer_name
from annotation.review.predicted import Predicted
from annotation.review.queues import BLIND_COLUMNS, Queues, told_condition
from annotation.review.store import NOTHING, Entry, Proposal, Saved, SetAside, State, Store
from srgaze360.dataset import ANNOTATIONS_FILE, Dataset
from srgaze360.errors import InputError
from srgaze360.files import path_inside

MOST_ITEMS = 1000  # of a queue at a time
# Columns that the label itself tells, or that only programs read.
_NO_FACTS = (*BOX, "sample_id", "panorama_id", "image_path", "gaze_points_deg", "gaze_annotators", "in_frame", "camera")

Row = Mapping[str, Any]
Json = dict[str, Any]


class UnknownPerson(InputError):
    """Nobody, no panorama and no heatmap has that id."""


@dataclass(frozen=True)
class Inputs:
    """What a review shows besides the dataset; all of it is optional."""

    findings: Sequence[Finding] | None = None
    suspects: Mapping[str, float] | None = None
    predicted: Sequence[Predicted] = ()
    annotator: str = ""
    queue: tuple[str, str] = ("all", "")
    blind: bool = False


@dataclass
class Desk:
    """A review: dataset (or a selection of it: the people under review), store and inputs."""

    data: Dataset
    store: Store
    inputs: Inputs = field(default_factory=Inputs)

    def __post_init__(self) -> None:
        self._table = pq.read_table(self.data.root / ANNOTATIONS_FILE).combine_chunks()
        everybody: list[str] = self._table["sample_id"].to_pylist()
        where = {sample_id: index for index, sample_id in enumerate(everybody)}
        self.ids: list[str] = self.data.annotations["sample_id"].tolist()
        self.panoramas: list[str] = self.data.annotations["panorama_id"].tolist()
        self.people = {sample_id: where[sample_id] for sample_id in self.ids}
        self.on: dict[str, list[int]] = {name: [] for name in self.panoramas}
        for index, name in enumerate(self._table["panorama_id"].to_pylist()):  # neighbours are drawn, whoever is under review
            if name in self.on:
                self.on[name].append(index)
        self.findings: dict[str, list[Finding]] = defaultdict(list)
        for one in self.inputs.findings or ():
            self.findings[one.sample_id or one.panorama_id].append(one)
        self.queues = Queues(
            self.data,
            findings=self.inputs.findings,
            suspects=self.inputs.suspects,
            blind=self.inputs.blind,
        )
        self.queues.items(*self.inputs.queue)

    # --- what there is ------------------------------------------------------------------------------------------------

    def session(self, reviewer: str) -> Json:
        """The dataset, the reviewer, the queues there are."""
        info = self.data.info
        return {
            "dataset": {
                "name": info.name,
                "version": info.version,
                "digest": info.label_digest,
                "people": len(self.people),
                "panoramas": len(self.on),
            },
            "annotator": reviewer or self.inputs.annotator,
            "blind": self.inputs.blind,
            "queues": [
                {"kind": kind, "label": queue.label, "values": queue.choices} for kind, queue in self.queues.kinds.items()
            ],
            "queue": dict(zip(("kind", "value"), self.inputs.queue, strict=True)),
            "predictions": [] if self.inputs.blind else [one.name for one in self.inputs.predicted],
        }

    def queue(self, kind: str, value: str, reviewer: str, offset: int = 0, limit: int = MOST_ITEMS) -> Json:
        """Items of a queue from ``offset`` on, ``limit`` at most; ``total`` and ``done`` count all of it.

        ``first_open`` is the place of the first who is not decided, None where everybody is.
        """
        states = self._states(reviewer)
        items = self.queues.items(kind, value, states)
        decided = {name for name, state in states.items() if state.verdict in DECIDED}
        done = [self.ids[item.row] in decided for item in items]
        return {
            "kind": kind,
            "value": value,
            "offset": offset,
            "items": [
                {
                    "sample_id": self.ids[item.row],
                    "panorama_id": self.panoramas[item.row],
                    "why": item.why,
                    "verdict": state.verdict,
                    "revision": state.revision,
                }
                for item in items[offset : offset + limit]
                for state in [states.get(self.ids[item.row], NOTHING)]
            ],
            "total": len(items),
            "done": sum(done),
            "first_open": done.index(False) if False in done else None,
        }

    def _states(self, reviewer: str) -> dict[str, State]:
        return self.store.states(own_of=reviewer if self.inputs.blind else None)

    def person(self, sample_id: str, reviewer: str) -> Json:
        """All that a reviewer may know of a person."""
        row, blind = self._row(sample_id), self.inputs.blind
        last = self.store.last(sample_id, own_of=reviewer if blind else None)
        return {
            "sample_id": sample_id,
            "panorama_id": row["panorama_id"],
            "revision": last.revision if last else 0,
            "label": self._shown(last, row).model_dump(),
            "verdict": last.verdict if last else None,
            "original": (blank(row) if blind else label_of(row)).model_dump(),
            "others": [
                {"sample_id": other["sample_id"], "head_box": label_of(other).head_box}
                for index in self.on[row["panorama_id"]]
                if (other := self._at(index))["sample_id"] != sample_id
            ],
            "predictions": [] if blind else [p._asdict() for one in self.inputs.predicted if (p := one.of(sample_id))],
            "findings": [] if blind else self._findings(row),
            "head_deg": [row["head_lon_deg"], row["head_lat_deg"]],
            "facts": _facts(row, blind=blind),
            "image": {"width": row["width"], "height": row["height"]},
            "reviewed_by": last.reviewer if last else None,
        }

    def _shown(self, entry: Entry | None, row: Row) -> Label:
        if self.inputs.blind:
            return entry.own if entry and entry.own else blank(row)
        return entry.label if entry else label_of(row)

    def _findings(self, row: Row) -> list[Json]:
        found = [*self.findings.get(row["sample_id"], ()), *self.findings.get(row["panorama_id"], ())]
        return [{"rule": one.rule, "severity": one.severity, "message": one.evidence, "fix": one.fix} for one in found]

    def _row(self, sample_id: str) -> Row:
        if sample_id not in self.people:
            raise UnknownPerson(f"Expected a person under review, found {sample_id[:80]!r}. Choose one from a queue.")
        return self._at(self.people[sample_id])

    def _at(self, index: int) -> Row:
        """A row of the dataset as plain values."""
        return dict(self._table.slice(index, 1).to_pylist()[0])

    def panorama(self, panorama_id: str) -> Path:
        """The file of a panorama that somebody under review is on.

        Raises
        ------
        InputError
            There is none, or its path in the dataset leads out of the folder.
        """
        if panorama_id not in self.on:
            raise UnknownPerson(f"Expected a panorama of the dataset, found {panorama_id[:80]!r}.")
        return path_inside(self.data.root, self._at(self.on[panorama_id][0])["image_path"])

    def heatmap(self, name_and_id: str) -> NDArray[Any]:
        """A heatmap by ``NAME/ID``.

        Raises
        ------
        UnknownPerson
            There is none, or the review is blind.
        """
        for one in () if self.inputs.blind else self.inputs.predicted:
            if name_and_id.startswith(f"{one.name}/"):
                heatmap = one.heatmap(name_and_id[len(one.name) + 1 :])
                if heatmap is not None:
                    return heatmap
        raise UnknownPerson(f"Expected a heatmap that there is, found {name_and_id[:120]!r}.")

    # --- decisions ----------------------------------------------------------------------------------------------------

    def save(self, sample_id: str, reviewer: str, decision: Decision) -> tuple[bool, Json]:
        """Save a decision: True and its revision, or False, and who was faster with what.

        Raises
        ------
        InputError
            There is no such person, the reviewer has no name, or the dataset cannot have the label.
        EnvironmentProblem
            It could not be written.
        """
        row, reviewer, blind = self._row(sample_id), reviewer_name(reviewer), self.inputs.blind
        said = checked(decision.label, decision.verdict, label_of(row))

        def finish(label: Label, everybody: Label | None, own: Label | None) -> tuple[Label, bool]:
            if blind:
                label = merged(label, own or blank(row), everybody or label_of(row), row, reviewer)
            return label, edit_of(label, row, reviewer) is not None

        proposal = Proposal(
            sample_id=sample_id,
            reviewer=reviewer,
            seen=decision.revision,
            label=said,
            verdict=decision.verdict,
            action=decision.action,
            seconds=decision.seconds,
        )
        match self.store.save(proposal, finish, blind=blind):
            case Saved(revision):
                return True, {"revision": revision}
            case SetAside(kept, current):
                told = {
                    "label": self._shown(current, row).model_dump(),
                    "verdict": current.verdict,
                    "revision": current.revision,
                    "reviewer": current.reviewer,
                }
                return False, {"current": told, "kept": kept}

    def history(self, sample_id: str, reviewer: str) -> Json:
        """Every entry of a person that the reviewer may see, oldest first."""
        row = self._row(sample_id)
        entries = [one for one in self.store.history(sample_id) if not self.inputs.blind or one.reviewer == reviewer]
        return {
            "entries": [
                {
                    "id": one.id,
                    "revision": one.revision,
                    "reviewer": one.reviewer,
                    "time": one.time,
                    "action": one.action,
                    "verdict": one.verdict,
                    "label": self._shown(one, row).model_dump(),
                    "seconds": one.seconds,
                    "set_aside": one.set_aside,
                }
                for one in entries
            ]
        }

    def progress(self, reviewer: str) -> Json:
        """How far the review is; in a blind one, the reviewer's own."""
        states = [state for name, state in self._states(reviewer).items() if name in self.people]
        verdicts: Counter[str | None] = Counter(state.verdict for state in states)
        people = [one for one in self.store.reviewers() if not self.inputs.blind or one.name == reviewer]
        return {
            "total": len(self.people),
            "done": sum(verdicts[verdict] for verdict in DECIDED),
            "accepted": verdicts["accepted"],
            "rejected": verdicts["rejected"],
            "skipped": verdicts["skipped"],
            "edited": sum(state.edited for state in states),
            "reviewers": [one._asdict() for one in people],
        }


def _facts(row: Row, *, blind: bool) -> Json:
    """What the dataset says of a person besides the label: single values, as JSON can have them."""
    names = [name for name in row if name in BLIND_COLUMNS] if blind else list(row)
    values = {"split": row["split"], **{name: row[name] for name in names if name not in _NO_FACTS}}
    if blind:
        values["condition"] = told_condition(row["suite"], row["condition"])
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
    }
