/* The whole panorama, equirectangular, with everything that is known of one person drawn on it.
 *
 * The plane is centred at (u, v) and magnified `zoom` times; it wraps at the seam, so places and lines come as often as they
 * show. Pixels are CSS pixels of the canvas, (0, 0) its upper left corner. */

import { clamp, fromUV, mod, toUV } from "./sphere.js";
import { drawScene, drawView, fit } from "./draw.js";

export class OverviewPlane {
  constructor(width, height, zoom = 1, u = 0.5, v = 0.5) {
    Object.assign(this, { width, height, zoom, u, v });
  }

  x(u) {
    return this.width * (0.5 + this.zoom * (u - this.u));
  }

  y(v) {
    return this.height * (0.5 + this.zoom * (v - this.v));
  }

  direction(x, y) {
    const v = this.v + (y / this.height - 0.5) / this.zoom;
    return fromUV(this.u + (x / this.width - 0.5) / this.zoom, clamp(v, 0, 1));
  }

  places(direction) {
    const [u, v] = toUV(direction);
    const first = u + Math.floor(this.u - u) - 1;
    return [0, 1, 2, 3].map((turn) => [this.x(first + turn), this.y(v)]).filter(([x]) => x > -20 && x < this.width + 20);
  }

  lines(directions) {
    let before = null;
    const line = directions.map((direction) => {
      const [u, v] = toUV(direction);
      before = before === null ? u : u + Math.round(before - u); // the turn that is nearest to the last sample
      return [before, v];
    });
    const us = line.map(([u]) => u);
    const [low, high] = [Math.min(...us), Math.max(...us)];
    const half = 0.55 / this.zoom;
    const pieces = [];
    for (let turn = Math.ceil(this.u - half - high); turn <= this.u + half - low; turn += 1) {
      pieces.push(line.map(([u, v]) => [this.x(u + turn), this.y(v)]));
    }
    return pieces;
  }
}

export class Overview {
  constructor(canvas) {
    Object.assign(this, { canvas, image: null, zoom: 1, u: 0.5, v: 0.5, whole: document.createElement("canvas"), drawn: null });
  }

  get plane() {
    return new OverviewPlane(this.canvas.clientWidth, this.canvas.clientHeight, this.zoom, this.u, this.v);
  }

  /** Magnify by a factor; what is at the pixel (x, y) stays there. */
  magnify(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const [across, down] = [x / this.canvas.clientWidth - 0.5, y / this.canvas.clientHeight - 0.5];
    const [u, v] = [this.u + across / this.zoom, this.v + down / this.zoom];
    this.zoom = clamp(this.zoom * factor, 1, 16);
    this.centre(u - across / this.zoom, v - down / this.zoom);
  }

  /** Bring (u, v) to the middle, as far as the poles and, unmagnified, the seam allow. */
  centre(u, v) {
    this.u = this.zoom === 1 ? 0.5 : mod(u, 1);
    this.v = clamp(v, 0.5 / this.zoom, 1 - 0.5 / this.zoom);
  }

  pan(dx, dy) {
    this.centre(this.u - dx / this.canvas.clientWidth / this.zoom, this.v - dy / this.canvas.clientHeight / this.zoom);
  }

  /** Draw the picture, the scene (null for the picture alone) and the outline of what a camera sees. */
  draw(scene, camera) {
    const [context, width, height] = fit(this.canvas);
    const plane = this.plane;
    context.fillStyle = "#0d1117";
    context.fillRect(0, 0, width, height);
    if (this.image) {
      const picture = this.zoom === 1 ? this.reduced() : this.image;
      for (const turn of [-1, 0, 1]) {
        const x = plane.x(turn);
        if (x < width && x + width * this.zoom > 0) context.drawImage(picture, x, plane.y(0), width * this.zoom, height * this.zoom);
      }
    }
    if (scene) drawScene(context, plane, scene);
    if (camera) drawView(context, plane, camera);
  }

  /** The picture in the pixels of the canvas: made once, for it is drawn at every move. */
  reduced() {
    const { width, height } = this.canvas;
    if (this.drawn !== this.image || this.whole.width !== width || this.whole.height !== height) {
      [this.whole.width, this.whole.height, this.drawn] = [width, height, this.image];
      const context = this.whole.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(this.image, 0, 0, width, height);
    }
    return this.whole;
  }
}
