"""How many people a second lint looks at: metadata of 100,000 people, then the panoramas of a built dataset.

The people are made up, two on a photo, every photo with a camera and pose of its own, ten annotations each in test: rows of
which every rule says that they are sound, so that nothing is left out. The panoramas' files are there, and empty: without
`--pixels` nobody opens them. Times are those of the processor, one core; the rules that take longest are listed.

The peer is what people write: the same checks row by row, as one function that `pandas.DataFrame.apply` is given. It has ten
of the rules and is compared with these ten alone, on a part of the same table, taking turns in the same run.

    python benchmarks/lint.py [--people 100000] [--data DIR]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import math
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from timing import conclude, verdict

from annotation.lint.labels import Labels
from annotation.lint.registry import chosen
from annotation.lint.run import lint
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import ANNOTATIONS_FILE, MANIFEST_FILE, DatasetInfo, ManifestEntry, SourceInfo, SplitInfo
from srgaze360.dataset_writer import write_dataset
from srgaze360.files import canonical_json, digest
from srgaze360.footprint import contains_pole
from srgaze360.integrity import stored_label_digests
from srgaze360.protocols.breakdown import latitude_band

LENSES = {"pinhole": (), "equidistant": (), "ucm": (0.8,), "brown-conrady": (-0.12, 0.01)}
SIZES = ((640, 480), (480, 640), (800, 600))
TEST_SHARE = 0.1


def rows(people: int, rng: np.random.Generator) -> list[dict]:
    """People of a mixed suite, two on a photo."""
    made: list[dict] = []
    for photo in range(people // 2):
        lens = list(LENSES)[photo % 4]
        width, height = SIZES[photo % 3]
        camera = Camera.from_fov(lens, width, height, np.radians(rng.uniform(40, 100)), "longer", LENSES[lens])
        yaw, pitch, roll = rng.uniform(-180, 180), rng.uniform(-75, 75), rng.uniform(-30, 30)
        turn = sphere.rotation_from_pose(*np.radians([yaw, pitch, roll]))
        split = "test" if photo < TEST_SHARE * people / 2 else "train"
        pole = any(contains_pole(camera, turn))
        shared = {
            "panorama_id": f"p{photo}", "image_path": f"panoramas/{split}/p{photo}.jpg", "split": split, "suite": "mixed",
            "condition": "mixed", "source": "made", "source_image": f"{photo}.jpg", "cluster_id": f"made/{photo}",
            "width": 2048, "height": 1024,
            "hfov_deg": float(np.degrees(camera.hfov)), "lens": lens, "lens_params": list(camera.params),
            "camera": canonical_json(camera.to_dict()), "yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll,
            "tilt_pitch_deg": 0.0, "tilt_roll_deg": 0.0, "tilt_yaw_deg": 0.0, "background": "black", "background_images": [],
            "photos": 1, "near_pole": True, "contains_pole": pole, "minification": 1.0, "worst_minification": 1.0,
            "fold_back": 0.0, "footprint": 0.1, "repairs": [], "gaze_annotators": [],
        }  # fmt: skip
        made += [_person(shared, camera, turn, person, rng) for person in range(2)]
    return made


def _person(shared: dict, camera: Camera, turn: np.ndarray, person: int, rng: np.random.Generator) -> dict:
    size = np.array([camera.width, camera.height])
    middle = size * [0.3 + 0.4 * person, rng.uniform(0.25, 0.35)]
    half = size * rng.uniform(0.03, 0.05)
    count = 10 if shared["split"] == "test" else 1
    target = np.clip(size * [rng.uniform(0.2, 0.8), 0.7] + rng.normal(0, 10, (count, 2)), 0, size)
    side = np.linspace(-1, 1, 9)[:-1]
    one = np.ones_like(side)
    edges = np.concatenate([np.stack(e, -1) for e in ((side, -one), (one, side), (-side, one), (-one, -side))])
    marks = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])
    rays = camera.rays(middle + half * np.concatenate([marks, edges])).directions @ turn.T
    points = camera.rays(target).directions @ turn.T
    head, mean = rays[0], sphere.spherical_mean(points).direction
    (head_lon, head_lat), (lon, lat) = (np.degrees(sphere.lonlat_from_direction(one)).tolist() for one in (head, mean))
    u0, v0, u1, v1 = headbox.box_of_outline(rays[5:]).tolist()
    return {
        **shared, "sample_id": f"{shared['panorama_id']}-{person}", "source_person": str(person), "head_u0": u0, "head_v0": v0,
        "head_u1": u1, "head_v1": v1, "head_lon_deg": head_lon, "head_lat_deg": head_lat,
        "head_radius_deg": float(np.degrees(sphere.angle_between(head, rays[1:5]).mean())), "gaze_lon_deg": lon,
        "gaze_lat_deg": lat, "gaze_points_deg": np.degrees(np.stack(sphere.lonlat_from_direction(points), -1)).tolist(),
        "in_frame": True, "crosses_seam": bool(sphere.arc_crosses_seam(head, mean)),
        "head_band": str(latitude_band(head[None])[0]), "gaze_band": str(latitude_band(mean[None])[0]),
    }  # fmt: skip


def write(root: Path, people: int, rng: np.random.Generator) -> None:
    """A dataset of made-up people, with a manifest and empty panoramas."""
    made = rows(people, rng)
    splits = {
        split: SplitInfo(panoramas=len(own) // 2, people=len(own), clusters=sorted({row["cluster_id"] for row in own}))
        for split in ("train", "test")
        if (own := [row for row in made if row["split"] == split])
    }
    source = SourceInfo(kind="made", title="", licence="", citation="", photos=people // 2, people=people)
    facts = {
        "name": "lint", "version": "1.0.0", "recipe": {}, "recipe_digest": digest({}), "sampler": "", "seed": 0, "versions": {},
        "sources": [source], "splits": splits, "suites": {"mixed": ["mixed"]}, "rejected": 0,
    }  # fmt: skip
    write_dataset(root, DatasetInfo(**facts, label_digest="", pixel_digest=""), made)
    labels = dict(stored_label_digests(root / ANNOTATIONS_FILE))
    paths = {row["panorama_id"]: row["image_path"] for row in made}
    entries = [
        ManifestEntry(path=path, bytes=0, sha256="", panorama_id=name, label_digest=labels[name], pixel_digest=digest(name))
        for name, path in paths.items()
    ]
    both = {what: digest(sorted(getattr(entry, what) for entry in entries)) for what in ("label_digest", "pixel_digest")}
    write_dataset(root, DatasetInfo(**facts, **both), made)
    (root / MANIFEST_FILE).write_text("".join(entry.model_dump_json() + "\n" for entry in entries))
    for path in paths.values():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


# --- the peer: rules row by row ---------------------------------------------------------------------------------------

OF_PEER = ("head-box-inverted", "head-box-empty", "head-box-outside", "head-size", "gaze-range", "consensus",
           "consensus-missing", "annotators", "gaze-in-own-head", "seam-flag")  # fmt: skip


def _unit(lon_deg: float, lat_deg: float) -> tuple[float, float, float]:
    lon, lat = math.radians(lon_deg), math.radians(lat_deg)
    return math.cos(lat) * math.sin(lon), -math.sin(lat), math.cos(lat) * math.cos(lon)


def _apart(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    cross = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    return math.degrees(math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(a, b, strict=True))))


def check_row(row: pd.Series) -> list[str]:
    """The rules of OF_PEER for a row of the table."""
    found = []
    u0, v0, u1, v1 = row["head_u0"], row["head_v0"], row["head_u1"], row["head_v1"]
    if u1 < u0 or v1 < v0:
        found.append("head-box-inverted")
    if u1 == u0 or v1 == v0:
        found.append("head-box-empty")
    if not (0.0 <= u0 < 1.0 and u1 <= u0 + 1.0 and v0 >= 0.0 and v1 <= 1.0):
        found.append("head-box-outside")
    if not 0.0 < row["head_radius_deg"] <= 45.0:
        found.append("head-size")
    points, gaze = row["gaze_points_deg"], (row["gaze_lon_deg"], row["gaze_lat_deg"])
    if any(abs(lon) > 180.0 or abs(lat) > 90.0 for lon, lat in (*points, gaze, (row["head_lon_deg"], row["head_lat_deg"]))):
        found.append("gaze-range")
    head, target = _unit(row["head_lon_deg"], row["head_lat_deg"]), _unit(*gaze)
    total = [sum(axis) for axis in zip(*(_unit(lon, lat) for lon, lat in points), strict=True)]
    if math.isnan(gaze[0]) == bool(len(points)):
        found.append("consensus-missing")
    elif _apart((total[0], total[1], total[2]), target) > 1e-3:
        found.append("consensus")
    if len(row["gaze_annotators"]) not in (0, len(points)):
        found.append("annotators")
    if _apart(head, target) < row["head_radius_deg"]:
        found.append("gaze-in-own-head")
    behind = head[2] * abs(target[0]) + target[2] * abs(head[0]) < 0.0
    if ((head[0] > 0.0) != (target[0] > 0.0) and behind) != row["crosses_seam"]:
        found.append("seam-flag")
    return found


def race_with_peer(root: Path, people: int, turns: int = 5) -> list[str]:
    """Both on the first ``people`` rows; what was met."""
    path = root / ANNOTATIONS_FILE
    pq.write_table(pq.read_table(path).slice(0, people), path)
    opened = Labels.open(root)
    frame: pd.DataFrame = opened.raw.to_pandas()
    wanted = [rule for rule in chosen() if rule.name in OF_PEER]
    assert len(wanted) == len(OF_PEER)
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(turns):
        began = time.process_time()
        labels = replace(opened)  # nothing computed yet
        ours = [found for rule in wanted for found in rule(labels)]
        times["ours"].append(time.process_time() - began)
        began = time.process_time()
        theirs = [name for names in frame.apply(check_row, axis=1) for name in names]
        times["peer"].append(time.process_time() - began)
    assert len(ours) == len(theirs)  # of sound labels: warnings alone
    rate = {name: people / median(taken) for name, taken in times.items()}
    print(f"\n{len(OF_PEER)} rules on {people} rows in memory; {len(ours)} findings by either")
    print(f"  vectorised                {rate['ours']:>10.0f} people a second")
    print(f"  pandas.DataFrame.apply    {rate['peer']:>10.0f} people a second")
    times_faster = median(b / a for a, b in zip(times["ours"], times["peer"], strict=True))
    return [verdict("times pandas.DataFrame.apply, same rules", times_faster, 10.0)]


def main() -> None:
    """Print rates, the slowest rules and what was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="built dataset whose panoramas are opened")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, wanted.people, np.random.default_rng(0))
        start = time.process_time()
        report = lint(root)
        seconds = time.process_time() - start
        labels, times = Labels.open(root), {}
        for rule in chosen():
            if not rule.pixels:
                began = time.process_time()
                list(rule(labels))
                times[rule.name] = time.process_time() - began
        verdicts = race_with_peer(root, min(wanted.people, 5_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{report.people} people on {report.panoramas} panoramas, {len(report.run)} rules, {len(report.findings)} findings")
    print(f"  {seconds:.1f} s, {report.people / seconds:.0f} people a second, peak {peak:.2f} GB with the making of them")
    for name, taken in sorted(times.items(), key=lambda item: -item[1])[:8]:
        print(f"  {name:<28}{taken:7.2f} s")
    verdicts.insert(0, verdict("people a second, metadata", report.people / seconds, 5_000.0))
    if wanted.data is not None:
        start = time.process_time()
        report = lint(wanted.data, pixels=True)
        seconds = time.process_time() - start
        print(json.dumps({"data": str(wanted.data), "errors": report.count("error"), "warnings": report.count("warning")}))
        print(f"  {report.panoramas} panoramas in {seconds:.1f} s, {report.panoramas / seconds:.0f} a second")
    conclude(verdicts)


if __name__ == "__main__":
    main()
