"""How fast photos get onto spheres and views out of them, as ratios measured in one run on one core.

Run ``python benchmarks/reproject.py``. Absolute times depend on the machine; the ratios are what the project promises.

* *Codec bound*: decode the photo's JPEG, encode the finished panorama's JPEG, nothing in between. The panorama is the very one
  that the warp makes under this pose (a black canvas with the photo on it), so both sides decode and encode the same pixels;
  no pipeline that reads and writes these files can be faster.
* *Pipeline*: decode, paint the photo on a black canvas, encode, clear the canvas where it was painted. No digests, and a pose
  that was never used before for each image. Below it the same with a new panorama and its coverage for each image.
* Poses: yaw anywhere, pitch within +-30 and roll within +-15 degrees, as most photos are placed; and again any rotation at
  all, where footprints contain poles, get up to five times as large and cross the rows of the photo.
* JPEG quality 90 in memory. How times are taken: ``timing``.
* The texture is synthetic: noise of all sizes and hard-edged shapes. Its bits per pixel are printed; 2.5 to 3.2 is what busy
  photos need at this quality, so that the codec works neither more nor less than it would on them.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median

import cv2
import numpy as np
from timing import TURN, Angles, conclude, decode, draw_angles, encode, optional, race, ratio, row, texture, verdict

from srgaze360.cameras import Camera
from srgaze360.maps import minification
from srgaze360.reproject import SAMPLER_ID, paint, photo_to_sphere, sphere_to_view
from srgaze360.sphere import rotation_from_pose

CASES = (  # width, height, horizontal field of view (degrees), panorama width, target shares of the codec bound
    (640, 480, 90.0, 1024, {"bilinear": 0.75, "anti-aliased": 0.50}),
    (1920, 1080, 75.0, 2048, {"bilinear": 0.82, "anti-aliased": 0.62}),
)
PEER_TARGET = 8.0
PLACED = {False: "placed as usual", True: "any rotation"}


class Pipeline:
    """JPEG in, JPEG out: one photo, and the panoramas it makes."""

    def __init__(self, data: np.ndarray, camera: Camera, width: int) -> None:
        self.data, self.camera, self.width = data, camera, width
        self.canvas = np.zeros((width // 2, width, 3), np.uint8)
        self.finished: dict[tuple[Angles, bool], np.ndarray] = {}

    def make(self, angles: Angles, smooth: bool) -> np.ndarray:
        rotation = rotation_from_pose(*angles)
        return photo_to_sphere(decode(self.data), self.camera, rotation, self.width, antialias=smooth)[0]

    def prepare(self, angles: Angles) -> None:
        self.finished |= {(angles, smooth): self.make(angles, smooth) for smooth in (False, True)}

    def codec(self, angles: Angles, smooth: bool) -> None:
        decode(self.data)
        encode(self.finished.pop((angles, smooth)))

    def painted(self, angles: Angles, smooth: bool) -> None:
        box = paint(self.canvas, decode(self.data), self.camera, rotation_from_pose(*angles), antialias=smooth)
        encode(self.canvas)
        for at in box.slices(self.width):
            self.canvas[at] = 0

    def anew(self, angles: Angles, smooth: bool) -> None:
        encode(self.make(angles, smooth))


def pipeline(rounds: int, rng: np.random.Generator, everywhere: tuple[bool, ...] = (False, True)) -> list[str]:
    """Files in, files out, as a share of what the codec alone allows."""
    verdicts = []
    for width, height, fov, panorama_width, targets in CASES:
        data = encode(texture(width, height, rng))
        camera = Camera.from_fov("pinhole", width, height, np.radians(fov))
        name = f"{width}x{height} at {fov:g} degrees -> {panorama_width}x{panorama_width // 2}"
        for anywhere in everywhere:
            bits = 8 * data.size / (width * height)
            shrinks = minification(camera, panorama_width)
            print(f"\n{name}, {PLACED[anywhere]}; {bits:.2f} bit/px, minification {shrinks:.2f}")
            work = Pipeline(data, camera, panorama_width)
            methods = {
                f"{what}, {way}": partial(method, smooth=way == "anti-aliased")
                for way in targets
                for what, method in (("codec bound", work.codec), ("painted", work.painted), ("anew", work.anew))
            }
            times = race(rounds, partial(draw_angles, rng, anywhere), methods, work.prepare)
            for way, target in targets.items():
                bound = times[f"codec bound, {way}"]
                shares = {what: ratio(bound, times[f"{what}, {way}"]) for what in ("painted", "anew")}
                row(f"codec bound, {way}", bound)
                row(f"decode, paint, encode: {way}", times[f"painted, {way}"], f"{shares['painted']:.2f} of the codec bound")
                row("  with new memory and coverage", times[f"anew, {way}"], f"{shares['anew']:.2f}")
                if not anywhere:
                    verdicts.append(verdict(f"{name}, {way}, share of the codec bound", shares["painted"], target))
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
        verdicts.append(verdict(f"photo -> sphere, {name}, bilinear, against equilib", reached, PEER_TARGET, " x"))
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
    return [verdict("sphere -> view at a new geometry, against py360convert", reached, PEER_TARGET, " x")]


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
    conclude(verdicts)


if __name__ == "__main__":
    main()
