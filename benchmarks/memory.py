"""Peak memory of a build of 1,000 and of 5,000 panoramas: the parent's and the largest worker's, each in MiB.

Photos are small and panoramas 256 x 128, so that what is measured is what a build keeps, not what a picture takes. The plan is
held in the parent and grows with the number of panoramas (its share is measured apart); workers must not grow. Linux only:
peaks are VmHWM of /proc. Run: python benchmarks/memory.py [--panoramas 1000 5000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from photos import write_gazefollow

PHOTOS = 100
WORKERS = 2
PLAN = """
import sys, tracemalloc
from builders.commands import open_sources
from builders.building.pipeline import plan_build
from builders.recipe import load_recipe
recipe = load_recipe("mixed", sys.argv[2:])
gaze, _ = open_sources([sys.argv[1]], recipe.sources)
tracemalloc.start()
plan = plan_build(recipe, gaze, None)
print(len(plan.tasks), tracemalloc.get_traced_memory()[0] / 2**20)
"""


def peak(pid: int) -> float:
    """Peak resident memory of a process so far, MiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


def descendants(pid: int) -> list[int]:
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    children = [int(word) for text in lists for word in text.split()]
    return children + [below for child in children for below in descendants(child)]


def measure(words: list[str]) -> tuple[float, float, float]:
    """Peak of a command's process, of its largest descendant, and seconds."""
    started = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    parent = worker = 0.0
    while process.poll() is None:
        parent = max(parent, peak(process.pid))
        worker = max([worker, *map(peak, descendants(process.pid))])
        time.sleep(0.02)
    assert process.returncode == 0, words
    return parent, worker, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panoramas", type=int, nargs="+", default=[1000, 5000])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_gazefollow(folder / "gf", test=PHOTOS, scale=8)
        source = f"gazefollow={folder / 'gf'}"
        print(f"{'panoramas':>9}  {'parent':>8}  {'worker':>8}  {'plan':>8}  {'seconds':>7}")
        for count in parser.parse_args().panoramas:
            chosen = ["output.width=256", "suites.mixed.draw.background=black", f"suites.mixed.copies={count // PHOTOS}"]
            words = [sys.executable, "-m", "srgaze360", "build", "mixed", "--source", source, "--workers", str(WORKERS)]
            words += ["--out", str(folder / f"out{count}"), *(word for setting in chosen for word in ("--set", setting))]
            parent, worker, seconds = measure(words)
            done = subprocess.run([sys.executable, "-c", PLAN, source, *chosen], capture_output=True, text=True, check=True)
            made, plan = done.stdout.split()
            print(f"{made:>9}  {parent:8.1f}  {worker:8.1f}  {float(plan):8.1f}  {seconds:7.1f}", flush=True)


if __name__ == "__main__":
    main()
