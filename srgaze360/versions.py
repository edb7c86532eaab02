"""What this program runs on: versions of the libraries that decide results, and of the code itself."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from srgaze360 import __version__

DECISIVE = ("numpy", "opencv-python", "scipy", "pandas", "pyarrow", "scikit-learn")
LEARNING = ("torch", "transformers", "safetensors")  # decide what is trained, and no dataset


@cache
def environment(*further: str) -> dict[str, str]:
    """Versions of Python, of this package, of libraries that decide results and ``further`` ones; the processor's kind."""
    found = {"srgaze360": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in (*DECISIVE, *further):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def code_revision() -> str | None:
    """Git commit of the checkout this package is imported from, with ``+dirty`` if files differ; None outside a checkout."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
