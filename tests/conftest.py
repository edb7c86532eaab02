"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

# before anything imports torch: tests run side by side, and each starting a thread per core would only stand in the way
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from fakes import fake_dataset

from srgaze360.dataset import Dataset

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real samples in their real layouts; the test is skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("SRGAZE360_REAL", REPOSITORY.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"real samples not found at {folder}; set SRGAZE360_REAL to their folder")
    return folder


@pytest.fixture
def fake(tmp_path: Path) -> Dataset:
    """A small made-up dataset without images."""
    return fake_dataset(tmp_path / "fake")
