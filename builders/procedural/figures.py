"""People: bodies of about 25 solids, with heads and eyes that can be turned.

Conventions
-----------
A body's axes are x to its right, y down, z forward, its origin on the floor below it; the head turns about its centre.
Proportions are those of an adult of 1.75 m before scaling; heads are drawn a little larger than life and eyes larger
still, so that a gaze can be read at 25 pixels. Irises point exactly at the target from each eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from builders.procedural.assembly import Assembly, Triple, turn
from builders.procedural.paint import Colour, Paint, mix, scaled, srgb
from builders.procedural.shapes import Primitive
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

Posture = Literal["standing", "sitting"]

HEAD_PART = "head"
HAIR_PART = "hair"  # hair that hangs below the head and is no part of its box
HEAD_RADII = np.array([0.093, 0.128, 0.108])
EYE_RADIUS = 0.0235
EYE_OFFSET = np.array([0.036, -0.014, 0.090])  # from the head's centre, right eye
HEAD_HEIGHT = {"standing": -1.62, "sitting": -1.21}
CHILD_STATURE = 0.8  # below this the head is larger for the body
HAIR_STYLES = ("short", "full", "long", "bun", "tail")
MAX_EYE_TURN_DEG = 28.0
MAX_HEAD_PITCH_DEG = 45.0

SKINS = [srgb(*c) for c in ((246, 214, 192), (236, 194, 164), (222, 172, 134), (192, 138, 100), (146, 98, 68), (104, 68, 48))]
HAIRS = [
    srgb(*c) for c in ((34, 26, 24), (56, 38, 28), (92, 60, 38), (140, 92, 52), (196, 156, 96), (150, 62, 32), (150, 146, 142))
]
IRISES = [srgb(*c) for c in ((62, 40, 24), (84, 56, 30), (58, 92, 128), (72, 104, 72), (40, 34, 34))]
LIPS = srgb(176, 84, 82)


@dataclass(frozen=True, eq=False)
class Body:
    """Where a person is and how: floor position (3,), yaw of the torso in degrees, stature as a share of 1.75 m."""

    position: FloatArray
    yaw_deg: float
    stature: float
    posture: Posture

    @property
    def rotation(self) -> FloatArray:
        """Rotation (3, 3) of the torso."""
        return turn(self.yaw_deg)

    @property
    def child(self) -> bool:
        """Whether this is a child."""
        return self.stature < CHILD_STATURE

    @property
    def head_scale(self) -> float:
        """Size of the head as a share of an adult's."""
        return 1.06 * (0.88 if self.child else self.stature)

    @property
    def head(self) -> FloatArray:
        """Centre of the head (3,)."""
        height = np.array([0.0, HEAD_HEIGHT[self.posture] * self.stature, 0.0])
        return np.asarray(self.position + height)


@dataclass(frozen=True)
class Looks:
    """Colours and style of a person."""

    skin: Colour
    hair: Colour
    iris: Colour
    hair_style: str
    beard: bool
    smile: float
    openness: float
    shirt: Paint
    trousers: Paint
    shoes: Paint
    long_sleeves: bool


def sample_looks(rng: np.random.Generator, clothes: list[Colour], *, child: bool) -> Looks:
    """Draw a person's looks; ``clothes`` are the colours to choose from."""
    shirt, second, trousers, shoes = (clothes[i] for i in rng.choice(len(clothes), 4, replace=False))
    pattern = rng.choice(["plain", "bands", "dots"], p=[0.62, 0.28, 0.10])
    numbers: dict[str, tuple[float, ...]] = {"plain": (), "bands": (1.0, float(rng.uniform(16, 34)), 0.5), "dots": (14.0, 0.28)}
    hair = HAIRS[rng.integers(len(HAIRS) - child)]  # grey comes last
    style = str(rng.choice(HAIR_STYLES, p=[0.36, 0.2, 0.2, 0.12, 0.12]))
    return Looks(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=hair,
        iris=IRISES[rng.integers(len(IRISES))],
        hair_style=style,
        beard=bool(style == "short" and not child and rng.random() < 0.4),
        smile=float(rng.uniform(-0.4, 1.4)),
        openness=float(rng.uniform(0.75, 1.0)),
        shirt=Paint((shirt, second), str(pattern), numbers[str(pattern)]),
        trousers=Paint((mix(trousers, (0.02, 0.025, 0.04), 0.55),)),
        shoes=Paint((mix(shoes, (0.02, 0.02, 0.02), 0.6),), gloss=0.25),
        long_sleeves=bool(rng.random() < 0.5),
    )


def turn_head(
    rng: np.random.Generator, head: FloatArray, target: FloatArray, eye_turn_deg: tuple[float, float] = (9.0, 5.0)
) -> FloatArray:
    """Rotation (3, 3) of a head at ``head`` that looks at ``target``: turned mostly towards it, the eyes do the rest.

    ``eye_turn_deg`` are the standard deviations of what is left to the eyes, sideways and upwards.
    """
    lon, lat = (float(np.degrees(angle)) for angle in sphere.lonlat_from_direction(target - head))
    sideways = float(np.clip(rng.normal(0.0, eye_turn_deg[0]), -22.0, 22.0))
    upwards = float(np.clip(rng.normal(0.0, eye_turn_deg[1]), -10.0, 10.0))
    pitch = float(np.clip(0.72 * lat + upwards, -MAX_HEAD_PITCH_DEG, MAX_HEAD_PITCH_DEG))
    return turn(lon + sideways, pitch, float(np.clip(rng.normal(0.0, 4.0), -10.0, 10.0)))


def eye_centres(body: Body, head_rotation: FloatArray) -> FloatArray:
    """Centres (2, 3) of the right and the left eye."""
    offsets = np.array([EYE_OFFSET, EYE_OFFSET * (-1.0, 1.0, 1.0)]) * body.head_scale
    return np.asarray(body.head + offsets @ head_rotation.T)


def _elbow(
    shoulder: FloatArray, wrist: FloatArray, upper: float, lower: float, outwards: float
) -> tuple[FloatArray, FloatArray]:
    """Elbow and reachable wrist of a two-bone arm; the elbow hangs down, back and ``outwards`` (+1 right, -1 left)."""
    reach = wrist - shoulder
    distance = float(np.linalg.norm(reach))
    allowed = float(np.clip(distance, abs(upper - lower) + 0.02, upper + lower - 0.004))
    wrist = shoulder + reach * (allowed / distance)
    along = (allowed**2 + upper**2 - lower**2) / (2.0 * allowed)
    height = np.sqrt(max(upper**2 - along**2, 0.0))
    axis = reach / distance
    hint = np.array([0.6 * outwards, 0.7, -0.55])
    hint = sphere.normalise(hint - axis * (axis @ hint))
    return shoulder + axis * along + hint * height, wrist


def build_figure(
    body: Body, looks: Looks, head_rotation: FloatArray, target: FloatArray, hands: tuple[Triple, Triple], entity: int
) -> list[Primitive]:
    """Solids of a person looking at ``target``; ``hands`` are wrists (right, left) in the body's axes."""
    torso = Assembly(entity, body.position, body.rotation, body.stature, "body")
    lift = HEAD_HEIGHT[body.posture] - HEAD_HEIGHT["standing"]  # a seated torso is the same, lower
    skin = Paint((looks.skin,), gloss=0.08)
    _legs(torso, looks, body.posture)
    torso.limb((0, -1.36 + lift, 0), (0, -0.98 + lift, 0), (0.165, 0.132), looks.shirt, depth=0.66)
    torso.limb((-0.15, -1.385 + lift, 0), (0.15, -1.385 + lift, 0), (0.068, 0.068), looks.shirt)
    torso.limb((0, -1.50 + lift, 0.01), (0, -1.38 + lift, 0), (0.052, 0.06), skin)
    for side, wrist in zip((1.0, -1.0), hands, strict=True):
        shoulder = np.array([0.185 * side, -1.375 + lift, 0.0])
        elbow, wrist = _elbow(shoulder, np.asarray(wrist, dtype=np.float64), 0.285, 0.25, side)
        torso.limb(shoulder, elbow, (0.056, 0.046), looks.shirt)
        torso.limb(elbow, wrist, (0.044, 0.035), looks.shirt if looks.long_sleeves else skin)
        torso.ball(wrist + (wrist - elbow) * 0.2, (0.042, 0.048, 0.042), skin)
    return torso.solids + _head(body, looks, head_rotation, target, entity)


def _legs(torso: Assembly, looks: Looks, posture: Posture) -> None:
    trousers, shoes = looks.trousers, looks.shoes
    hip = -0.90 if posture == "standing" else -0.52
    torso.ball((0, hip - 0.02, 0), (0.155, 0.12, 0.115), trousers)
    for side in (1.0, -1.0):
        x = 0.085 * side
        if posture == "standing":
            knee, ankle = (x * 1.15, -0.49, 0.02), (x * 1.3, -0.09, -0.01)
        else:
            knee, ankle = (x * 1.3, -0.50, 0.42), (x * 1.4, -0.09, 0.40)
        torso.limb((x, hip, 0), knee, (0.088, 0.064), trousers)
        torso.limb(knee, ankle, (0.062, 0.046), trousers)
        toe, heel = (ankle[0] * 1.15, -0.04, ankle[2] + 0.13), (ankle[0], -0.045, ankle[2] - 0.02)
        torso.limb(heel, toe, (0.046, 0.04), shoes)


def _head(body: Body, looks: Looks, rotation: FloatArray, target: FloatArray, entity: int) -> list[Primitive]:
    head = Assembly(entity, body.head, rotation, body.head_scale, HEAD_PART)
    skin, hair = Paint((looks.skin,), gloss=0.08), Paint((looks.hair, scaled(looks.hair, 0.7)), "strands", (15.0,), gloss=0.15)
    blush = mix(looks.skin, srgb(206, 96, 84), 0.45)
    lips = mix(looks.skin, LIPS, 0.75)
    face = Paint((looks.skin, looks.hair, lips, blush), "face", (looks.smile, float(looks.beard)), gloss=0.08)
    head.ball((0, 0, 0), HEAD_RADII, face)
    head.limb((0, -0.008, 0.102), (0, 0.026, 0.113), (0.011, 0.0165), Paint((mix(looks.skin, blush, 0.35),), gloss=0.12))
    for side in (1.0, -1.0):
        head.ball((0.092 * side, 0.008, -0.006), (0.014, 0.03, 0.02), skin, tilt=turn(-18.0 * side))
    _hair(head, looks.hair_style, hair)
    for centre, eye in zip(eye_centres(body, rotation), (EYE_OFFSET, EYE_OFFSET * (-1.0, 1.0, 1.0)), strict=True):
        gaze = rotation.T @ sphere.normalise(target - centre)
        numbers = (*(float(value) for value in gaze), looks.openness)
        colours = (srgb(244, 243, 240), looks.iris, scaled(looks.skin, 0.86), scaled(looks.hair, 0.35))
        head.ball(eye, EYE_RADIUS, Paint(colours, "eye", numbers, gloss=0.6))
    return head.solids


def _hair(head: Assembly, style: str, paint: Paint) -> None:
    fuller = 1.07 if style == "full" else 1.0
    head.ball((0, -0.022, -0.022), np.array([0.100, 0.122, 0.108]) * fuller, paint)
    hanging = sphere.normalise(head.rotation.T @ (0.0, 1.0, 0.0) + (0.0, 1.0, 0.0))  # half-way to where gravity pulls
    if style == "long":
        head.limb((0, 0.0, -0.045), (0, 0.0, -0.055) + 0.165 * hanging, (0.095, 0.08), paint, depth=0.7, part=HAIR_PART)
    elif style == "bun":
        head.ball((0, -0.115, -0.085), 0.052, paint)
    elif style == "tail":
        head.limb((0, -0.03, -0.125), (0, -0.03, -0.135) + 0.19 * hanging, (0.04, 0.018), paint, part=HAIR_PART)
    elif style == "full":
        head.ball((0, -0.07, -0.03), (0.108, 0.085, 0.102), paint)
