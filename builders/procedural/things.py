"""Things in the room: objects people look at, and the furniture around them.

Conventions
-----------
Every builder adds solids to an :class:`~builders.procedural.assembly.Assembly` that stands at the thing's foot and returns
the point people look at, in the assembly's axes: a point inside its largest solid. Objects are about 0.3 m high at scale 1;
things on walls face along +z with their back at z = 0; things that
hang have their origin at the ceiling and are 0.5 m long. ``colours`` are the two or three colours of this copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from builders.procedural.assembly import Assembly, turn
from builders.procedural.paint import Colour, Paint, mix, scaled, srgb

Point = tuple[float, float, float]
Builder = Callable[[Assembly, Sequence[Colour], np.random.Generator], Point]

DARK, PALE, WOOD, STEEL, LEAF = (
    srgb(*c) for c in ((38, 38, 44), (232, 230, 224), (148, 104, 66), (150, 154, 160), (64, 112, 56))
)


def _ball(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    pattern = "wedges" if rng.random() < 0.6 else "plain"
    paint = Paint(tuple(colours), pattern, (float(rng.integers(3, 5) * 2),), gloss=0.5)
    kit.ball((0, -0.15, 0), 0.15, paint, tilt=turn(0, rng.uniform(-60, 60), 30))
    return (0, -0.15, 0)


def _gift(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    height = float(rng.uniform(0.08, 0.15))
    kit.box((0, -height, 0), (0.14, height, 0.12), Paint((colours[0], colours[1]), "ribbon", (0.16,)))
    for side in (-1.0, 1.0):
        kit.ball((0.04 * side, -2 * height - 0.02, 0), (0.045, 0.022, 0.025), Paint((colours[1],)), tilt=turn(0, 0, 25 * side))
    return (0, -height, 0)


def _vase(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    paint = Paint((colours[0], colours[1]), "bands", (1.0, 9.0, 0.35), gloss=0.6)
    kit.ball((0, -0.13, 0), (0.10, 0.13, 0.10), paint)
    kit.drum((0, -0.27, 0), 0.05, 0.05, Paint((colours[0],), gloss=0.6), top=1.3)
    for x, z, height in ((-0.05, 0.02, 0.50), (0.05, 0.03, 0.46), (0.0, -0.04, 0.55)):
        kit.limb((0, -0.3, 0), (x, -height, z), (0.006, 0.005), Paint((LEAF,)))
        kit.ball((x, -height, z), (0.04, 0.03, 0.04), Paint((colours[2],)))
    return (0, -0.13, 0)


def _lamp(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.drum((0, -0.015, 0), 0.07, 0.015, Paint((DARK,), gloss=0.4))
    kit.drum((0, -0.13, 0), 0.014, 0.11, Paint((STEEL,), gloss=0.5))
    kit.drum((0, -0.31, 0), 0.13, 0.085, Paint((mix(colours[0], PALE, 0.35),), glow=0.55), top=0.62)
    return (0, -0.31, 0)


def _plant(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    kit.drum((0, -0.07, 0), 0.075, 0.07, Paint((colours[0],), gloss=0.2), top=1.3)
    leaves = Paint((LEAF, scaled(LEAF, 0.6)), "mottled", (4.0,), gloss=0.2)
    kit.ball((0, -0.25, 0), (0.11, 0.12, 0.11), leaves)
    for angle in np.arange(4) * 90.0 + rng.uniform(0, 90):
        x, z = 0.11 * np.sin(np.radians(angle)), 0.11 * np.cos(np.radians(angle))
        kit.ball((x, -0.24, z), (0.05, 0.10, 0.05), leaves, tilt=turn(float(angle), -35.0))
    return (0, -0.25, 0)


def _bottle(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    glass = Paint((colours[0],), gloss=0.8)
    kit.drum((0, -0.11, 0), 0.055, 0.11, Paint((colours[0], PALE), "bands", (1.0, 1.4, 0.4), gloss=0.7))
    kit.drum((0, -0.25, 0), 0.055, 0.03, glass, top=0.36)
    kit.drum((0, -0.31, 0), 0.02, 0.03, glass)
    kit.drum((0, -0.345, 0), 0.024, 0.012, Paint((colours[1],)))
    return (0, -0.11, 0)


def _mug(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.drum((0, -0.08, 0), 0.075, 0.08, Paint((colours[0], colours[1]), "bands", (1.0, 3.0, 0.35), gloss=0.5))
    kit.drum((0, -0.159, 0), 0.064, 0.003, Paint((srgb(70, 42, 26),)))
    for y in (-0.11, -0.05):
        kit.limb((0.07, y, 0), (0.115, -0.08, 0), (0.012, 0.012), Paint((colours[0],), gloss=0.5))
    return (0, -0.08, 0)


def _books(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    level, count = 0.0, int(rng.integers(3, 5))
    for book in range(count):
        thickness = float(rng.uniform(0.02, 0.036))
        cover = Paint((colours[book % len(colours)], PALE), "bands", (1.0, 1.0, 0.0))
        tilt = turn(float(rng.uniform(-22, 22)))
        kit.box((0, -level - thickness, 0), (0.14, thickness, 0.10), cover, tilt=tilt)
        level += 2.0 * thickness
    return (0, -level / 2.0, 0)


def _teddy(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    fur = mix(colours[0], srgb(150, 104, 66), 0.5)
    plush, pale = Paint((fur, scaled(fur, 0.8)), "mottled", (7.0,)), Paint((mix(fur, PALE, 0.5),))
    kit.ball((0, -0.12, 0), (0.10, 0.12, 0.09), plush)
    kit.ball((0, -0.29, 0.01), 0.085, plush)
    kit.ball((0, -0.272, 0.075), (0.042, 0.034, 0.035), pale)
    for side in (-1.0, 1.0):
        kit.ball((0.065 * side, -0.36, 0), (0.035, 0.035, 0.02), plush)
        kit.ball((0.032 * side, -0.31, 0.086), 0.011, Paint((DARK,), gloss=0.8))
        kit.limb((0.085 * side, -0.19, 0.02), (0.14 * side, -0.11, 0.07), (0.036, 0.036), plush)
        kit.limb((0.06 * side, -0.04, 0.05), (0.09 * side, -0.04, 0.14), (0.042, 0.042), plush)
    return (0, -0.12, 0)


def _globe(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.drum((0, -0.015, 0), 0.08, 0.015, Paint((WOOD,), gloss=0.3))
    kit.drum((0, -0.06, 0), 0.012, 0.05, Paint((STEEL,), gloss=0.6))
    sea_and_land = Paint(
        (mix(colours[0], srgb(60, 110, 170), 0.5), mix(colours[1], srgb(170, 160, 90), 0.5)), "dots", (3.1, 0.5)
    )
    kit.ball((0, -0.22, 0), 0.125, sea_and_land, tilt=turn(20, 0, 23))
    return (0, -0.22, 0)


def _cone(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.box((0, -0.012, 0), (0.13, 0.012, 0.13), Paint((colours[0],)))
    kit.drum((0, -0.19, 0), 0.10, 0.17, Paint((colours[0], mix(colours[1], PALE, 0.5)), "bands", (1.0, 2.2, 0.4)), top=0.12)
    return (0, -0.15, 0)


def _laptop(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    shell = Paint((mix(STEEL, colours[0], 0.3),), gloss=0.4)
    kit.box((0, -0.01, 0), (0.17, 0.01, 0.115), shell)
    screen = Paint((DARK, *colours, PALE), "picture", (4.0, 3.0, float(rng.integers(1000)), 0.07), glow=0.5)
    kit.box((0, -0.12, -0.15), (0.17, 0.112, 0.006), screen, tilt=turn(0, 18))
    return (0, -0.12, -0.15)


def _car(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.box((0, -0.09, 0), (0.19, 0.05, 0.09), Paint((colours[0],), gloss=0.7))
    kit.limb((-0.07, -0.15, 0), (0.05, -0.15, 0), (0.055, 0.055), Paint((mix(colours[1], DARK, 0.4),), gloss=0.8), depth=1.3)
    for x in (-0.11, 0.11):
        for z in (-0.085, 0.085):
            kit.drum((x, -0.045, z), 0.045, 0.018, Paint((DARK,)), tilt=turn(0, 90))
    return (0, -0.09, 0)


def _robot(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.box((0, -0.13, 0), (0.08, 0.08, 0.055), Paint((colours[0],), gloss=0.4))
    kit.box((0, -0.27, 0), (0.06, 0.05, 0.05), Paint((colours[1],), gloss=0.4))
    kit.limb((0, -0.32, 0), (0, -0.38, 0), (0.006, 0.014), Paint((colours[2],), glow=0.4))
    for side in (-1.0, 1.0):
        kit.ball((0.025 * side, -0.28, 0.048), 0.014, Paint((colours[2],), glow=0.7))
        kit.limb((0.09 * side, -0.18, 0), (0.12 * side, -0.08, 0.03), (0.02, 0.024), Paint((STEEL,), gloss=0.5))
        kit.limb((0.04 * side, -0.06, 0), (0.045 * side, -0.02, 0.01), (0.024, 0.026), Paint((STEEL,), gloss=0.5))
    return (0, -0.13, 0)


def _board(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    """Something open and flat in both hands: a book, a tablet, a magazine."""
    pages = Paint((colours[0], PALE, mix(PALE, colours[1], 0.3)), "picture", (2.0, 7.0, float(rng.integers(1000)), 0.06))
    for side in (-1.0, 1.0):
        kit.box((0.075 * side, -0.1, 0), (0.078, 0.1, 0.006), pages, tilt=turn(14.0 * side))
    return (0, -0.1, 0)


def _phone(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    screen = Paint((DARK, *colours, PALE), "picture", (2.0, 4.0, float(rng.integers(1000)), 0.08), glow=0.4)
    kit.box((0, -0.085, 0), (0.05, 0.085, 0.008), screen)
    return (0, -0.085, 0)


def _pendant(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.drum((0, 0.12, 0), 0.009, 0.12, Paint((DARK,)))
    kit.drum((0, 0.33, 0), 0.2, 0.1, Paint((mix(colours[0], PALE, 0.25),), glow=0.45), top=0.3)
    kit.ball((0, 0.43, 0), 0.06, Paint((PALE,), glow=0.95))
    return (0, 0.33, 0)


def _lantern(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.drum((0, 0.07, 0), 0.006, 0.07, Paint((DARK,)))
    paper = Paint((mix(colours[0], PALE, 0.3), mix(colours[1], PALE, 0.1)), "bands", (1.0, 7.0, 0.25), glow=0.5)
    kit.ball((0, 0.32, 0), (0.2, 0.18, 0.2), paper)
    return (0, 0.32, 0)


def _balloon(kit: Assembly, colours: Sequence[Colour], _: np.random.Generator) -> Point:
    kit.ball((0, 0.18, 0), (0.14, 0.17, 0.14), Paint((colours[0],), gloss=0.8))
    kit.drum((0, 0.36, 0), 0.02, 0.015, Paint((scaled(colours[0], 0.7),)), top=0.2)
    kit.limb((0, 0.37, 0), (0.02, 0.5, 0.01), (0.004, 0.004), Paint((PALE,)))
    return (0, 0.18, 0)


def _hanging_plant(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    leaves = Paint((LEAF, scaled(LEAF, 0.6)), "mottled", (4.0,), gloss=0.2)
    for angle in np.radians(np.arange(3) * 120.0 + rng.uniform(0, 120)):
        x, z = 0.13 * float(np.sin(angle)), 0.13 * float(np.cos(angle))
        kit.limb((0, 0, 0), (x, 0.3, z), (0.005, 0.005), Paint((WOOD,)))
        kit.limb((1.1 * x, 0.3, 1.1 * z), (1.25 * x, 0.47, 1.25 * z), (0.045, 0.025), leaves)
    kit.ball((0, 0.24, 0), (0.14, 0.07, 0.14), leaves)
    kit.drum((0, 0.38, 0), 0.09, 0.09, Paint((colours[0], colours[1]), "bands", (1.0, 3.0, 0.35), gloss=0.3), top=1.5)
    return (0, 0.38, 0)


def _painting(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    half = (float(rng.uniform(0.25, 0.45)), float(rng.uniform(0.2, 0.4)), 0.02)
    cells = (float(rng.integers(1, 5)), float(rng.integers(1, 5)), float(rng.integers(1000)), 0.1)
    kit.box((0, 0, 0.02), half, Paint((scaled(WOOD, float(rng.uniform(0.3, 1.2))), *colours), "picture", cells))
    return (0, 0, 0.02)


def _screen(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    picture = Paint((srgb(18, 18, 22), *colours, PALE), "picture", (3.0, 2.0, float(rng.integers(1000)), 0.05), glow=0.6)
    kit.box((0, 0, 0.03), (0.52, 0.3, 0.03), picture)
    return (0, 0, 0.03)


def _wall_clock(kit: Assembly, colours: Sequence[Colour], rng: np.random.Generator) -> Point:
    angles = (float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28)))
    kit.drum((0, 0, 0.02), 0.2, 0.02, Paint((colours[0], mix(colours[1], PALE, 0.75), DARK), "clock", angles), tilt=turn(0, 90))
    return (0, 0, 0.02)


OBJECTS: dict[str, Builder] = {
    "ball": _ball, "gift": _gift, "vase": _vase, "lamp": _lamp, "plant": _plant, "bottle": _bottle, "mug": _mug,
    "books": _books, "teddy": _teddy, "globe": _globe, "cone": _cone, "laptop": _laptop, "car": _car, "robot": _robot,
}  # fmt: skip
ON_FLOOR = ("ball", "gift", "vase", "plant", "teddy", "globe", "cone", "car", "robot")
IN_HAND: dict[str, Builder] = {"open book": _board, "phone": _phone}
HANGING: dict[str, Builder] = {"pendant": _pendant, "lantern": _lantern, "balloon": _balloon, "hanging plant": _hanging_plant}
HANGING_LENGTH = 0.5  # metres at scale 1
ON_WALL: dict[str, Builder] = {"painting": _painting, "screen": _screen, "clock": _wall_clock}


# --- furniture: never a target by itself --------------------------------------------------------------------------------


def table(
    kit: Assembly, half: tuple[float, float], height: float, paint: Paint, feet: Sequence[tuple[float, float]] = ()
) -> None:
    """Table with its top's upper side at ``height``, shaded around the ``feet`` (x, z) of what stands on it."""
    shades = tuple(number for foot in feet for number in foot)
    kit.box((0, -height + 0.02, 0), (half[0], 0.02, half[1]), replace(paint, pattern="laid", numbers=(*half, *shades)))
    for x in (-half[0] + 0.06, half[0] - 0.06):
        for z in (-half[1] + 0.06, half[1] - 0.06):
            kit.box((x, (-height + 0.04) / 2.0, z), (0.028, (height - 0.04) / 2.0, 0.028), paint)


def chair(kit: Assembly, paint: Paint) -> None:
    """Chair for a person at the origin, facing +z; the seat is 0.43 m high."""
    kit.box((0, -0.41, 0.08), (0.22, 0.02, 0.22), paint)
    kit.box((0, -0.70, -0.165), (0.21, 0.17, 0.018), paint)
    for x in (-0.19, 0.19):
        kit.box((x, -0.195, 0.27), (0.018, 0.195, 0.018), paint)
        kit.box((x, -0.35, -0.165), (0.018, 0.35, 0.018), paint)


def window(kit: Assembly, half: tuple[float, float], phase: float) -> None:
    """Window with a bright view."""
    colours = (srgb(236, 234, 228), srgb(214, 230, 242), srgb(132, 178, 222), srgb(92, 128, 84))
    kit.box((0, 0, 0.015), (*half, 0.03), Paint(colours, "window", (phase,), glow=0.75))


def door(kit: Assembly, paint: Paint) -> None:
    """Closed door from the floor up."""
    kit.box((0, -1.03, 0.01), (0.46, 1.03, 0.02), paint)
    kit.ball((0.36, -1.0, 0.05), 0.035, Paint((STEEL,), gloss=0.8))


def cabinet(kit: Assembly, half: tuple[float, float, float], paint: Paint, handle: Colour) -> None:
    """Low cabinet with two doors."""
    kit.box((0, -half[1], half[2]), half, paint)
    for x in (-0.06, 0.06):
        kit.box((x, -half[1], 2.0 * half[2] + 0.01), (0.012, 0.08, 0.012), Paint((handle,), gloss=0.5))


def floor_lamp(kit: Assembly, paint: Paint, shade: Colour) -> None:
    """Standing lamp, 1.6 m."""
    kit.drum((0, -0.015, 0), 0.15, 0.015, paint)
    kit.drum((0, -0.72, 0), 0.016, 0.7, paint)
    kit.drum((0, -1.5, 0), 0.2, 0.13, Paint((mix(shade, PALE, 0.5),), glow=0.6), top=0.7)
