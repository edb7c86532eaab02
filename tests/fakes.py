"""A small made-up dataset in the true format, for tests of whatever reads datasets. Random directions, plain panoramas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from srgaze360 import sphere
from srgaze360.dataset import Dataset, DatasetInfo, SourceInfo, SplitInfo
from srgaze360.dataset_writer import write_dataset
from srgaze360.images import write_image
from srgaze360.protocols.breakdown import latitude_band

SUITES = {"mixed": ["mixed"], "latitude": ["lat+0", "lat+60"]}


def fake_dataset(root: Path, *, people: int = 60, annotators: int = 5, seed: int = 0, images: bool = False) -> Dataset:
    """Write and open a dataset of ``people`` per (split, suite, condition); two people a panorama, a third out of frame."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for split in ("train", "test"):
        for suite, conditions in SUITES.items():
            if split == "train" and suite != "mixed":
                continue
            for condition in conditions:
                rows += [_row(rng, split, suite, condition, index, annotators) for index in range(people)]
    splits = {
        split: SplitInfo(
            panoramas=len({r["panorama_id"] for r in rows if r["split"] == split}),
            people=sum(r["split"] == split for r in rows),
            clusters=sorted({r["cluster_id"] for r in rows if r["split"] == split}),
        )
        for split in ("train", "test")
    }
    info = DatasetInfo(
        name="fake", version="1.0.0", recipe={}, recipe_digest="0" * 64, sampler="none", seed=seed, versions={}, rejected=0,
        sources=[SourceInfo(kind="fake", title="Fake", licence="MIT", citation="none", photos=1, people=people)],
        splits=splits, suites=SUITES, label_digest="a" * 64, pixel_digest="b" * 64,
    )  # fmt: skip
    write_dataset(root, info, rows)
    if images:
        for path in {r["image_path"] for r in rows}:
            write_image(root / path, rng.integers(0, 255, (64, 128, 3), dtype=np.uint8))
    return Dataset.open(root)


def _row(rng: np.random.Generator, split: str, suite: str, condition: str, index: int, annotators: int) -> dict[str, Any]:
    photo = f"{split}-photo{index // 2:04d}"
    panorama = f"{suite}-{condition}-{photo}"
    head = sphere.normalise(rng.normal(size=3))
    target = sphere.exp_map(head, rng.normal(size=2) * 0.6)
    in_frame = index % 3 != 2
    points = sphere.exp_map(target, rng.normal(size=(annotators, 2)) * 0.05)
    consensus = sphere.spherical_mean(points).direction
    (head_lon, head_lat), (lon, lat) = (np.degrees(sphere.lonlat_from_direction(d)) for d in (head, consensus))
    points_deg = np.degrees(np.stack(sphere.lonlat_from_direction(points), axis=-1)).tolist() if in_frame else []
    u, v = head_lon / 360.0 + 0.5, 0.5 - head_lat / 180.0
    return {
        "sample_id": f"{panorama}-{index}", "panorama_id": panorama, "image_path": f"panoramas/{split}/{panorama}.jpg",
        "split": split, "suite": suite, "condition": condition, "source": "fake", "source_image": f"{photo}.jpg",
        "source_person": str(index), "cluster_id": photo, "width": 128, "height": 64,
        "head_u0": float((u - 0.02) % 1.0), "head_v0": float(max(v - 0.03, 0.0)),
        "head_u1": float((u - 0.02) % 1.0 + 0.04), "head_v1": float(min(v + 0.03, 1.0)),
        "head_lon_deg": float(head_lon), "head_lat_deg": float(head_lat), "head_radius_deg": float(rng.uniform(1.0, 12.0)),
        "gaze_lon_deg": float(lon) if in_frame else None, "gaze_lat_deg": float(lat) if in_frame else None,
        "gaze_points_deg": points_deg, "gaze_annotators": [], "in_frame": in_frame, "hfov_deg": 60.0, "lens": "pinhole",
        "lens_params": [],
        "camera": json.dumps({"lens": "pinhole", "width": 640, "height": 480, "fx": 554.2562584220407, "fy": 554.2562584220407,
                              "cx": 320.0, "cy": 240.0, "params": []}),
        "yaw_deg": float(head_lon), "pitch_deg": float(head_lat), "roll_deg": 0.0, "tilt_pitch_deg": 0.0, "tilt_roll_deg": 0.0,
        "tilt_yaw_deg": 0.0, "background": "black", "background_images": [], "photos": 1,
        "crosses_seam": bool(sphere.arc_crosses_seam(head, consensus)), "near_pole": bool(abs(head_lat) > 50.0),
        "minification": 1.0, "worst_minification": 1.5, "fold_back": 0.0, "contains_pole": False, "footprint": 0.06,
        "head_band": str(latitude_band(head[None])[0]),
        "gaze_band": str(latitude_band(consensus[None])[0]) if in_frame else None,
        "repairs": [], "face": ["front", "side", "back"][index % 3],
    }  # fmt: skip
