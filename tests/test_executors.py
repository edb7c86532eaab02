"""Workers that die, raise, or go away: whose fault it is is found out, and everything else is done."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import calls
import pytest
from building import files, many, run_build
from photos import write_gazefollow

from builders.building import executors, shards
from builders.building.executors import ATTEMPTS, HOPELESS, Crew, Outcome, dask_cluster, in_process, processes, run_shards
from builders.building.folder import machine
from builders.building.verify import verify
from builders.panorama.compose import Job
from builders.recipe import load_recipe
from srgaze360.errors import EnvironmentProblem


def run(folder: Path, crew: Crew, count: int, odd: dict[int, Any]) -> tuple[Outcome, dict[int, int]]:
    """Run ``count`` shards, all well but the odd ones."""
    results: dict[int, int] = {}
    outcome = run_shards(
        range(count), lambda index: partial(odd.get(index, calls.well), folder, index), crew, results.__setitem__
    )
    return outcome, results


@pytest.mark.parametrize("crew", [in_process(), processes(2)], ids=["in process", "processes"])
def test_every_shard_is_done_once(tmp_path: Path, crew: Crew) -> None:
    outcome, results = run(tmp_path, crew, 9, {})
    assert results == {index: index * index for index in range(9)}
    assert (outcome.done, outcome.quarantined, outcome.untried) == (9, {}, [])
    assert [calls.told(tmp_path, index) for index in range(9)] == [1] * 9


def test_the_shard_that_kills_its_worker_is_found_and_no_other_is_blamed(tmp_path: Path) -> None:
    outcome, results = run(tmp_path, processes(2), 12, {5: calls.die})
    assert outcome.quarantined == {5: f"its worker died {ATTEMPTS}x, nothing else in flight"}
    assert sorted(results) == [index for index in range(12) if index != 5]
    assert calls.told(tmp_path, 5) == 1 + ATTEMPTS
    assert max(calls.told(tmp_path, index) for index in results) <= 2  # once with the guilty one, once alone


def test_a_worker_that_died_once_costs_nothing(tmp_path: Path) -> None:
    outcome, results = run(tmp_path, processes(2), 8, {0: calls.die_once, 6: calls.die_once})
    assert (outcome.quarantined, sorted(results)) == ({}, list(range(8)))


@pytest.mark.parametrize("crew", [in_process(), processes(2)], ids=["in process", "processes"])
def test_a_shard_that_raises_is_quarantined_with_its_words(tmp_path: Path, crew: Crew) -> None:
    outcome, results = run(tmp_path, crew, 6, {2: calls.fail})
    assert outcome.quarantined == {2: "ValueError: shard 2 is not right"}
    assert sorted(results) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("crew", [in_process(), processes(2)], ids=["in process", "processes"])
def test_a_broken_environment_stops_everything(tmp_path: Path, crew: Crew) -> None:
    with pytest.raises(EnvironmentProblem, match="no space left"):
        run(tmp_path, crew, 40, dict.fromkeys(range(40), calls.slowly) | {1: calls.disk_is_full})
    assert sum(calls.told(tmp_path, index) for index in range(40)) < 20


def test_when_nothing_ever_works_it_is_not_tried_forever(tmp_path: Path) -> None:
    outcome, results = run(tmp_path, in_process(), 100, dict.fromkeys(range(100), calls.fail))
    assert (len(outcome.quarantined), len(outcome.untried), results) == (HOPELESS, 100 - HOPELESS, {})
    outcome, results = run(tmp_path, in_process(), 100, dict.fromkeys(range(1, 100), calls.fail))
    assert (len(outcome.quarantined), outcome.untried) == (99, [])


class Counting(Executor):
    """Threads, and how many calls were ever in flight."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(3)
        self.flying = self.most = 0
        self.lock = threading.Lock()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self.lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        future = self.pool.submit(fn, *args, **kwargs)
        future.add_done_callback(self._landed)
        return future

    def _landed(self, _: Future[Any]) -> None:
        with self.lock:
            self.flying -= 1


def test_submissions_in_flight_are_bounded(tmp_path: Path) -> None:
    executor = Counting()
    outcome, _ = run(tmp_path, Crew(start=lambda _: executor, in_flight=lambda: 4), 200, {})
    executor.pool.shutdown()
    assert outcome.done == 200
    assert 2 <= executor.most <= 4


# --- builds -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted build of five shards; ``gf`` beside it is its source."""
    folder = tmp_path_factory.mktemp("executors")
    write_gazefollow(folder / "gf", test=10, scale=4)
    run_build(folder / "whole", f"gazefollow={folder / 'gf'}", recipe="mixed", settings=many(14))
    return folder / "whole"


def test_a_build_goes_on_around_a_deadly_shard_and_names_its_photos(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "build_shard", calls.poisoned_build_shard)
    monkeypatch.setattr(executors, "processes", lambda workers: replace(processes(workers), attempts=1))
    folder = whole.parent
    (folder / "poison").write_text("3")
    arguments: dict[str, Any] = {"recipe": "mixed", "settings": many(14), "workers": 2}
    pair = f"gazefollow={folder / 'gf'}"
    with pytest.raises(EnvironmentProblem) as raised:
        run_build(folder / "out", pair, **arguments)
    text = str(raised.value)
    assert "build all 5 shards, but 1 cannot be built here: 3 (3: its worker died 1x, nothing else in flight" in text
    assert "with 4 photos: gazefollow/test2/00000006.png, gazefollow/test2/00000007.png, gaz" in text
    assert "The same command tries these again: give it more memory or fewer --workers" in text
    assert "\n" not in text
    assert sorted(path.name for path in (folder / "out" / ".build" / "shards").iterdir()) == [
        f"00000{index}.json" for index in (0, 1, 2, 4)
    ]
    assert not (folder / "out" / "dataset.yaml").exists()
    (folder / "poison").unlink()
    report = run_build(folder / "out", pair, **arguments)
    assert (report.made, report.kept) == (32, 140 - 32)
    assert files(folder / "out") == files(whole)


def test_workers_refuse_what_would_not_be_the_same_dataset(whole: Path) -> None:
    job = Job(load_recipe("mixed"), {}, whole)
    with pytest.raises(EnvironmentProblem, match=r"worker \d+ on .* has opencv-python 4.12 \(now 5.*Install the same versions"):
        shards.build_shard(job, machine() | {"opencv-python": "4.12"}, 0, ())
    with pytest.raises(EnvironmentProblem, match="to see .*build.json, but the file is not there.*shared file system"):
        shards.build_shard(replace(job, out=whole.parent / "elsewhere"), machine(), 0, ())
    assert not (whole.parent / "elsewhere").exists()


# --- dask -------------------------------------------------------------------------------------------------------------


def test_a_dask_cluster_that_loses_a_worker_builds_the_same_dataset(whole: Path) -> None:
    distributed = pytest.importorskip("distributed")
    out = whole.parent / "dask"
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]

        def kill_one() -> None:
            deadline = time.monotonic() + 60
            while not list((out / ".build" / "shards").glob("0*.json")) and time.monotonic() < deadline:
                time.sleep(0.002)
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        report = run_build(
            out,
            f"gazefollow={whole.parent / 'gf'}",
            recipe="mixed",
            settings=many(14),
            dask=cluster.scheduler_address,
        )
        killer.join()
        assert pids[0] not in [worker.pid for worker in cluster.workers.values()]  # it did die, and was replaced
    assert report.made == 140
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert files(out) == files(whole)
    assert verify(out) == []


def test_a_scheduler_that_does_not_answer_is_explained() -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
        pytest.raises(EnvironmentProblem, match="Expected a Dask scheduler at tcp://127.0.0.1:9, but none answers"),
        dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass
