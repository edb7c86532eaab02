"""How fast photos get onto spheres and views out of them, as ratios measured in one run on one core.

Run ``python benchmarks/reproject.py``. Absolute times depend on the machine; the ratios are what the project promises.

* *Codec bound*: decode the photo's JPEG, encode the finished panorama's JPEG, nothing in between. The panorama is the very one
  that the warp makes under this pose (a black canvas with the photo on it), so both sides decode and encode the same pixels;
  no pipeline that reads and writes these files can be faster.
* *Pipeline*: decode, reproject, encode. Black background, no digests, and a pose that was never used before for each image.
* Poses: yaw anywhere, pitch within +-30 and roll within +-15 degrees, as most photos are placed; and again any rotation at
  all, where footprints contain poles, get up to five times as large and cross the rows of the photo.
* JPEG quality 90 in memory. Methods take turns of a few images, in changing order; numbers are medians over the turns, ratios
  are medians of the ratio within a round of turns, so that a busy machine hurts both sides.
* The texture is synthetic: noise of all sizes and hard-edged shapes. Its bits per pixel are printed; 2.5 to 3.2 is what busy
  photos need at this quality, so that the codec works neither more nor less than it would on them.
"""

from __future__ import annotations

import argparse
import importlib
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from types import ModuleType

import cv2
import numpy as np

from srgaze360.cameras import Camera
from srgaze360.maps import minification
from srgaze360.reproject import SAMPLER_ID, photo_to_sphere, sphere_to_view
from srgaze360.sphere import rotation_from_pose

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]
CASES = (  # width, height, horizontal field of view (degrees), panorama width, target share of the codec bound
    (640, 480, 90.0, 1024, 0.65),
    (1920, 1080, 75.0, 2048, 0.75),
)
EQUILIB_TARGET, PY360_TARGET = 20.0, 8.0
TURN = 8  # images in a row

Angles = tuple[float, float, float]  # yaw, pitch, roll, radians
Method = Callable[[Angles], None]
Finished = dict[tuple[Angles, bool], np.ndarray]


def texture(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Busy picture: noise whose amplitude grows with its scale, and hard-edged shapes over it."""
    image = np.zeros((height, width, 3), np.float32)
    for scale in (1, 2, 4, 8, 16, 32, 64, 128):
        size = (-(-height // scale), -(-width // scale))
        layer = rng.normal(size=(*size, 1)) + 0.4 * rng.normal(size=(*size, 3))
        image += cv2.resize(layer.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.5
    image = 128.0 + 45.0 * image / image.std()
    for _ in range(width * height // 2000):
        centre = rng.uniform(0, width), rng.uniform(0, height)
        shape = centre, tuple(rng.uniform(3, 40, 2)), rng.uniform(0, 180)
        cv2.ellipse(image, shape, rng.uniform(0, 255, 3).tolist(), -1 if rng.random() < 0.4 else 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imencode(".jpg", image, QUALITY)[1])


def decode(data: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def draw_angles(rng: np.random.Generator, anywhere: bool = False) -> Angles:
    yaw = rng.uniform(-np.pi, np.pi)
    if anywhere:
        return yaw, float(np.arcsin(rng.uniform(-1, 1))), rng.uniform(-np.pi, np.pi)
    return yaw, rng.uniform(-np.pi / 6, np.pi / 6), rng.uniform(-np.pi / 12, np.pi / 12)


def race(
    rounds: int, draw: Callable[[], Angles], methods: Mapping[str, Method], prepare: Method = lambda _: None
) -> dict[str, list[float]]:
    """Seconds per image of each method: in every round each takes its turn on the same, new, poses."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(-1, rounds):  # one round to warm up
        poses = [draw() for _ in range(TURN)]
        for angles in poses:
            prepare(angles)
        names = list(methods)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            method = methods[name]
            start = time.perf_counter()
            for angles in poses:
                method(angles)
            if number >= 0:
                times[name].append((time.perf_counter() - start) / TURN)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    return median(a / b for a, b in zip(slow, fast, strict=True))


def optional(name: str) -> ModuleType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as problem:
        print(f"\n{name} is not installed ({problem})")
        return None


def row(name: str, seconds: list[float], remark: str = "") -> None:
    print(f"  {name:<42}{1000 * median(seconds):>9.2f} ms{1 / median(seconds):>9.1f} /s  {remark}")


def verdict(what: str, reached: float, target: float, unit: str = "") -> str:
    return f"{'met' if reached >= target else 'NOT MET':<8} {what}: {reached:.2f}{unit} (target {target:g}{unit})"


def pipeline(rounds: int, rng: np.random.Generator) -> list[str]:
    """Files in, files out, as a share of what the codec alone allows."""
    verdicts = []
    for width, height, fov, panorama_width, target in CASES:
        data = encode(texture(width, height, rng))
        camera = Camera.from_fov("pinhole", width, height, np.radians(fov))
        name = f"{width}x{height} at {fov:g} degrees -> {panorama_width}x{panorama_width // 2}"
        for anywhere in (False, True):
            placed = "any rotation" if anywhere else "placed as usual"
            bits = 8 * data.size / (width * height)
            print(f"\n{name}, {placed}; {bits:.2f} bit/px, minification {minification(camera, panorama_width):.2f}")
            finished: Finished = {}

            def warp(angles: Angles, smooth: bool, data: np.ndarray, camera: Camera, width: int) -> np.ndarray:
                return photo_to_sphere(decode(data), camera, rotation_from_pose(*angles), width, antialias=smooth)[0]

            make = partial(warp, data=data, camera=camera, width=panorama_width)

            def prepare(angles: Angles, make: Callable[..., np.ndarray] = make, finished: Finished = finished) -> None:
                finished.update({(angles, smooth): make(angles, smooth) for smooth in (False, True)})

            def codec(angles: Angles, smooth: bool, data: np.ndarray = data, finished: Finished = finished) -> None:
                decode(data)
                encode(finished.pop((angles, smooth)))

            def whole(angles: Angles, smooth: bool, make: Callable[..., np.ndarray] = make) -> None:
                encode(make(angles, smooth))

            methods = {
                "codec bound": partial(codec, smooth=False),
                "bilinear": partial(whole, smooth=False),
                "codec bound, anti-aliased panorama": partial(codec, smooth=True),
                "anti-aliased": partial(whole, smooth=True),
            }
            times = race(rounds, partial(draw_angles, rng, anywhere), methods, prepare)
            reached = ratio(times["codec bound"], times["bilinear"])
            smooth = ratio(times["codec bound, anti-aliased panorama"], times["anti-aliased"])
            row("codec bound", times["codec bound"])
            row("decode, reproject, encode: bilinear", times["bilinear"], f"{reached:.2f} of the codec bound")
            row("decode, reproject, encode: anti-aliased", times["anti-aliased"], f"{smooth:.2f} of its codec bound")
            if not anywhere:
                verdicts.append(verdict(f"{name}, bilinear, share of the codec bound", reached, target))
    return verdicts


def against_equilib(rounds: int, rng: np.random.Generator) -> list[str]:
    """Whole call photo -> sphere: pixels in, panorama (and our mask) out."""
    equilib, torch = optional("equilib"), optional("torch")
    if equilib is None or torch is None:
        return ["skipped  photo -> sphere against equilib: install the extra srgaze360[bench]"]
    torch.set_num_threads(1)
    verdicts = []
    for width, height, fov, panorama_width, _ in CASES:
        photo = texture(width, height, rng)
        camera = Camera.from_fov("pinhole", width, height, np.radians(fov))
        tensor = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))

        def ours(angles: Angles, smooth: bool, photo: np.ndarray, camera: Camera, width: int) -> None:
            photo_to_sphere(photo, camera, rotation_from_pose(*angles), width, antialias=smooth)

        def theirs(angles: Angles, image: object, fov: float, width: int) -> None:
            rots = dict(zip(("yaw", "pitch", "roll"), angles, strict=True))
            equilib.pers2equi(image, rots=rots, height=width // 2, width=width, fov_x=fov, mode="bilinear")

        mine = partial(ours, photo=photo, camera=camera, width=panorama_width)
        peer = partial(theirs, fov=fov, width=panorama_width)
        methods = {
            "ours, bilinear": partial(mine, smooth=False),
            "ours, anti-aliased": partial(mine, smooth=True),
            "equilib, torch float32": partial(peer, image=tensor.to(torch.float32)),
            "equilib, torch uint8": partial(peer, image=tensor),
        }
        times = race(rounds, partial(draw_angles, rng), methods)
        name = f"{width}x{height} -> {panorama_width}x{panorama_width // 2}"
        print(f"\nphoto -> sphere, whole call, {name}; placed as usual (equilib: tensors ready)")
        fastest = min((times["equilib, torch float32"], times["equilib, torch uint8"]), key=median)
        for method, seconds in times.items():
            row(method, seconds, f"{ratio(fastest, seconds):.1f} x as fast as equilib" if method.startswith("ours") else "")
        reached = ratio(fastest, times["ours, bilinear"])
        verdicts.append(verdict(f"photo -> sphere, {name}, bilinear, against equilib", reached, EQUILIB_TARGET, " x"))
    return verdicts


def against_py360convert(rounds: int, rng: np.random.Generator) -> list[str]:
    """Whole call sphere -> view; its cache of geometries never hits, because no geometry comes twice."""
    py360convert = optional("py360convert")
    if py360convert is None:
        return ["skipped  sphere -> view against py360convert: install the extra srgaze360[bench]"]
    panorama = texture(2048, 1024, rng)
    camera = Camera.from_fov("pinhole", 640, 640, np.pi / 2)

    def ours(angles: Angles) -> None:
        sphere_to_view(panorama, camera, rotation_from_pose(*angles))

    def theirs(angles: Angles) -> None:
        yaw, pitch, roll = np.degrees(angles)
        py360convert.e2p(panorama, 90, yaw, pitch, (640, 640), in_rot_deg=roll, mode="bilinear")

    times = race(rounds, partial(draw_angles, rng, True), {"ours": ours, "py360convert e2p": theirs})
    reached = ratio(times["py360convert e2p"], times["ours"])
    print("\nsphere -> view, whole call at a new geometry, 2048x1024 -> 640x640 at 90 degrees; any rotation")
    row("ours", times["ours"], f"{reached:.1f} x as fast")
    row("py360convert e2p", times["py360convert e2p"])
    return [verdict("sphere -> view at a new geometry, against py360convert", reached, PY360_TARGET, " x")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help=f"turns of {TURN} images per method (default 15)")
    parser.add_argument("--seed", type=int, default=0, help="seed of textures and poses")
    parser.add_argument("--only", choices=("codec", "equilib", "py360convert"), help="one part of the benchmark")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    print(f"sampler {SAMPLER_ID}, OpenCV {cv2.__version__}, numpy {np.__version__}, one thread")
    verdicts: list[str] = []
    if options.only in (None, "codec"):
        verdicts += pipeline(options.rounds, rng)
    if options.only in (None, "equilib"):
        verdicts += against_equilib(max(options.rounds // 3, 3), rng)
    if options.only in (None, "py360convert"):
        verdicts += against_py360convert(options.rounds, rng)
    print("\nTargets")
    for line in verdicts:
        print(f"  {line}")


if __name__ == "__main__":
    main()
