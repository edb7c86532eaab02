"""What tests of rendered scenes share: solids and rays defined afresh, scenes by the dozen, tables read and spoilt."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from builders.procedural import Renderer, sample_scene
from builders.procedural.figures import HEAD_PART
from builders.procedural.paint import Paint
from builders.procedural.shapes import primitive
from builders.procedural.trace import NOTHING

PLAIN = Paint(((0.5, 0.5, 0.5),))
PLANTED = Paint(((1.0, 0.0, 1.0),), glow=1.0)


def depth_inside(solid, points):
    """How deep world points (..., 3) lie inside a solid, in local units; negative outside. From the shapes' definitions."""
    x, y, z = np.moveaxis(np.einsum("ij,...j->...i", np.linalg.inv(solid.to_world), points - solid.centre), -1, 0)
    if solid.shape == "ball":
        return 1.0 - np.sqrt(x * x + y * y + z * z)
    if solid.shape == "box":
        return 1.0 - np.maximum(np.maximum(abs(x), abs(y)), abs(z))
    if solid.shape == "drum":
        radius = solid.size[0] + (1.0 - solid.size[0]) * (y + 1.0) / 2.0
        return np.minimum(1.0 - abs(y), radius - np.hypot(x, z))
    half, upper, lower = solid.size  # the hull of two balls is the union of all balls between them
    shares = np.linspace(0.0, 1.0, 65)
    depths = [upper + (lower - upper) * s - np.sqrt(x * x + (y + half - 2 * half * s) ** 2 + z * z) for s in shares]
    return np.max(depths, axis=0)


def first_by_marching(scene, start, end, without=None, steps=3000):
    """Entity and part of the first solid on a segment, by walking along it in small steps."""
    ray = end - start
    shares = (np.arange(steps) + 0.5) / steps
    points = start + shares[:, None] * ray
    first, met = steps, None
    for solid in scene.solids:
        reach = np.linalg.norm(solid.to_world, axis=0).sum() * (max(solid.size) * 2 + 1)
        along = np.clip((solid.centre - start) @ ray / (ray @ ray), 0, 1)
        if solid.entity == without or np.linalg.norm(start + along * ray - solid.centre) > reach:
            continue
        inside = np.flatnonzero(depth_inside(solid, points) > 0.0)
        if len(inside) and inside[0] < first:
            first, met = inside[0], solid
    return met


def random_solid(rng, shape, size):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    scale = rng.uniform(0.3, 1.5, 3) if shape != "limb" else np.array([1.0, 1.0, rng.uniform(0.5, 1.0)])
    return primitive(shape, rng.normal(size=3) * 0.3, turn * scale, PLAIN, 0, "whole", size)


def rays_of(directions):
    return tuple(directions[..., axis] for axis in range(3))


def scenes(count, arrangement="group", seed=11):
    return [sample_scene(seed, index, arrangement) for index in range(count)]


def planted(scene, entity):
    return replace(scene, solids=tuple(replace(s, paint=PLANTED) if s.entity == entity else s for s in scene.solids))


def head_mask(scene, figure, directions, rotation=None):
    head = tuple(s for s in scene.solids if s.entity == figure.entity and s.part == HEAD_PART)
    return Renderer(replace(scene, solids=head)).solids(directions, rotation) != NOTHING


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_rows(path, rows, columns=None):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or list(rows[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
