/* The perspective view: Pannellum's renderer draws the panorama with WebGL; what is known of a person is drawn on a canvas above
 * it, by the exact gnomonic projection of sphere.js. Angles in radians. Without WebGL there is no view: `available` is false. */

import { Camera, DEG, clamp, toLonLat, wrapLon } from "./sphere.js";
import { crosshair, drawScene, fit } from "./draw.js";

const NEAR = 0.02; // lines are cut this far in front of the camera
export const [NARROW, WIDE] = [15 * DEG, 125 * DEG];
const WIDEST = 8192; // wider panoramas cost more memory than a view can show

export class ViewPlane {
  constructor(camera) {
    Object.assign(this, { camera, width: camera.width, height: camera.height });
  }

  direction(x, y) {
    return this.camera.direction(x, y);
  }

  places(direction) {
    const place = this.camera.project(direction);
    return place && place[0] > -40 && place[1] > -40 && place[0] < this.width + 40 && place[1] < this.height + 40 ? [place] : [];
  }

  lines(directions) {
    const pieces = [];
    let piece = null;
    let before = null;
    const meet = (a, b) => { // where the line between two turned directions enters the space in front
      const share = (NEAR - a[2]) / (b[2] - a[2]);
      return this.camera.pixel([0, 1, 2].map((axis) => a[axis] + share * (b[axis] - a[axis])));
    };
    for (const direction of directions) {
      const turned = this.camera.turn(direction);
      const seen = turned[2] > NEAR;
      if (seen && !piece) {
        piece = before ? [meet(before, turned)] : [];
        pieces.push(piece);
      }
      if (seen) piece.push(this.camera.pixel(turned));
      else if (piece) {
        piece.push(meet(before, turned));
        piece = null;
      }
      before = turned;
    }
    return pieces;
  }
}

export class Viewport {
  constructor(container, overlay, onLost) {
    Object.assign(this, { container, overlay, lon: 0, lat: 0, hfov: 90 * DEG, ready: false, size: "" });
    this.renderer = window.libpannellum?.renderer(container);
    // the context that the renderer is going to ask for, here to see whether there is one
    const context = this.renderer?.getCanvas().getContext("experimental-webgl", { alpha: false, depth: false });
    this.available = Boolean(context);
    this.largest = context ? Math.min(context.getParameter(context.MAX_TEXTURE_SIZE), WIDEST) : 4096;
    if (!context) return;
    this.renderer.getCanvas().addEventListener("webglcontextlost", () => {
      [this.available, this.ready] = [false, false];
      onLost();
    });
  }

  get camera() {
    return new Camera(this.lon, this.lat, this.hfov, this.overlay.clientWidth, this.overlay.clientHeight);
  }

  get plane() {
    return new ViewPlane(this.camera);
  }

  /** Show a panorama (an image or canvas). Returns whether that worked. */
  show(image) {
    if (!this.available) return false;
    this.ready = false;
    try {
      this.renderer.init(image, "equirectangular", false, 2 * Math.PI, Math.PI, 0, () => { this.ready = true; }, {});
    } catch {
      this.available = false; // the renderer throws objects that say { type }, which the page cannot mend
    }
    this.size = "";
    return this.ready;
  }

  look(lon, lat) {
    this.lon = wrapLon(lon);
    this.lat = clamp(lat, -Math.PI / 2, Math.PI / 2);
  }

  lookAt(direction) {
    const [lon, lat] = toLonLat(direction);
    this.look(Math.abs(lat) > 89.999 * DEG ? this.lon : lon, lat); // longitude means nothing at a pole: keep the way we face
  }

  magnify(factor) {
    this.hfov = clamp(this.hfov / factor, NARROW, WIDE);
  }

  draw(scene, aiming) {
    const [context, width, height] = fit(this.overlay);
    if (this.ready && width && height) {
      const size = `${width} ${height} ${window.devicePixelRatio}`;
      if (size !== this.size) this.renderer.resize();
      this.size = size;
      this.renderer.render(this.lat, this.lon, this.hfov);
    }
    context.clearRect(0, 0, width, height);
    const { plane } = this;
    if (scene) drawScene(context, plane, scene);
    if (scene || aiming) crosshair(context, plane, this.camera.forward, aiming ? 16 : 8, aiming ? "#7cff6b" : undefined);
  }
}
