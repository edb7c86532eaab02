"""Shared fixtures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

# before anything imports torch: tests run side by side, and each starting a thread per core would only stand in the way
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from fakes import fake_dataset

from srgaze360.dataset import Dataset

if TYPE_CHECKING:
    from benchmarking import PlugIn

REPOSITORY = Path(__file__).resolve().parent.parent


# how long an example takes says what else this machine does: speed is for benchmarks/
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real samples in their real layouts; the test is skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("SRGAZE360_REAL", REPOSITORY.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"real samples not found at {folder}; set SRGAZE360_REAL to their folder")
    return folder


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards without their plots."""
    monkeypatch.setattr("leaderboard.plots.save_plots", lambda *_: [])


@pytest.fixture(scope="session")
def finished_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source, a configuration and, in ``out``, its finished benchmark; not to be changed."""
    from benchmarking import run_steps, write_config, write_source

    folder = tmp_path_factory.mktemp("benchmark")
    write_source(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leaderboard.plots.save_plots", lambda *_: [])
        assert not run_steps(write_config(folder), folder / "out").failures
    return folder


@pytest.fixture
def copied_benchmark(finished_benchmark: Path, tmp_path: Path) -> Path:
    """The finished benchmark, to change; the source stays where it was."""
    shutil.copytree(finished_benchmark / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    """What registers methods for a test, as another installed package would."""
    from benchmarking import PlugIn

    return PlugIn(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built dataset in whose labels nothing is wrong: several people, annotators, suites; not to be changed."""
    from linting import build_clean

    return build_clean(tmp_path_factory.mktemp("labels"))


@pytest.fixture
def fake(tmp_path: Path) -> Dataset:
    """A small made-up dataset without images."""
    return fake_dataset(tmp_path / "fake")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for processes that they start, stop or kill."""
    return (os.cpu_count() or 1) + 1
