"""Reviews for tests: a dataset, its store, a client that sends what the page sends, and servers that are real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from starlette.testclient import TestClient

from annotation.review.database import store_path
from annotation.review.desk import Desk, Inputs
from annotation.review.guard import Guard
from annotation.review.labels import Label
from annotation.review.server import Server
from annotation.review.store import Proposal, Store
from srgaze360.dataset import Dataset

TOKEN = "a-token"  # noqa: S105
REPOSITORY = Path(__file__).resolve().parent.parent
HEADERS = {"X-SRGaze360": "1", "Content-Type": "application/json"}


def opened(data: Dataset, path: Path | None = None) -> Store:
    return Store.open(store_path(data.root, path), data.info)


def client(data: Dataset, store: Store, token: str = TOKEN, **inputs: Any) -> TestClient:
    """A browser on the page of a review."""
    guard = Guard(Server(Desk(data, store, Inputs(**inputs))).app(), token)
    return TestClient(guard, base_url=f"http://localhost:8360/{token}/", raise_server_exceptions=True)


def as_reviewer(name: str) -> dict[str, str]:
    return {**HEADERS, "X-Annotator": quote(name, safe="")}


def path_of(sample_id: str, what: str = "person") -> str:
    return f"api/{what}/{quote(sample_id, safe='')}"


def body(revision: int, label: dict[str, Any], verdict: str | None = "accepted", **more: Any) -> str:
    return json.dumps({"revision": revision, "label": label, "verdict": verdict, "seconds": 1.5, "action": "accept", **more})


def proposal(sample_id: str, seen: int, label: Label, reviewer: str = "ann", verdict: Any = "accepted") -> Proposal:
    return Proposal(sample_id=sample_id, reviewer=reviewer, seen=seen, label=label, verdict=verdict, action="edit", seconds=2.0)


def plainly(label: Label, everybody: Label | None, own: Label | None) -> tuple[Label, bool]:
    """What is saved is the label as it is, and counts as edited."""
    del everybody, own
    return label, True


def label(lon: float = 10.0, lat: float = 5.0, **more: Any) -> Label:
    return Label(**{"head_box": (0.4, 0.4, 0.5, 0.5), "gaze_points_deg": ((lon, lat),), **more})


def decoded(content: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


# --- real servers -----------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """A server that runs: its process and its address."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def ask(self, path: str, *, method: str = "GET", data: str | None = None, reviewer: str = "ann") -> tuple[int, Any]:
        """Status and content of an answer; raises OSError where there is none."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path, method=method, data=None if data is None else data.encode(), headers=as_reviewer(reviewer)
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def kill(self) -> None:
        """End it as the system does when memory runs out: no handler runs."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(root: Path, *options: str) -> Iterator[Process]:
    """``annotate serve`` on a free port."""
    log = root.with_name(f"{root.name}.{os.urandom(4).hex()}.log")
    words = [sys.executable, "-m", "srgaze360", "annotate", "serve", str(root), "--port", "0", "--no-lint", *options]
    with log.open("w") as stream:
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=stream, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), log.read_text()
        yield Process(process, url, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
