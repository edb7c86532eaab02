/* Head boxes [u0, v0, u1, v1], fractions of a panorama, as in srgaze360/headbox.py: u0 in [0, 1), u0 < u1 <= u0 + 1 (beyond 1
 * across the seam), 0 <= v0 < v1 <= 1; full width only around a pole. Directions and angles as in sphere.js. */

import { TAU, angleBetween, clamp, fromLonLat, fromUV, mod, toLonLat, wrapLon } from "./sphere.js";

const SMALLEST = 0.1 / 360; // a side of a box, in turns
const round = (x) => Math.round(x * 1e9) / 1e9;

export const isFull = ([u0, , u1]) => u1 - u0 >= 1 - 1e-9;

/** The box with u0 in [0, 1) and its limits in order and range. */
export function tidy([u0, v0, u1, v1]) {
  const width = clamp(u1 - u0, SMALLEST, 1);
  const start = width >= 1 - 1e-9 ? 0 : round(mod(u0, 1)) % 1;
  const top = clamp(v0, 0, 1 - 2 * SMALLEST);
  return [start, round(top), width >= 1 - 1e-9 ? 1 : round(start + width), round(clamp(v1, top + 2 * SMALLEST, 1))];
}

/** Direction of the middle of a box; the pole that a full box surrounds. */
export function centre([u0, v0, u1, v1]) {
  const v = (v0 + v1) / 2;
  return isFull([u0, v0, u1, v1]) ? fromLonLat(0, v <= 0.5 ? Math.PI / 2 : -Math.PI / 2) : fromUV((u0 + u1) / 2, v);
}

/** Mean angle from the middle to the four sides, radians. */
export function radius(box) {
  const [u0, v0, u1, v1] = box;
  const [u, v] = [(u0 + u1) / 2, (v0 + v1) / 2];
  if (isFull(box)) return Math.PI * (v <= 0.5 ? v1 : 1 - v0);
  const middle = centre(box);
  return [[u0, v], [u1, v], [u, v0], [u, v1]].reduce((sum, side) => sum + angleBetween(middle, fromUV(...side)), 0) / 4;
}

export function contains([u0, v0, u1, v1], direction) {
  const [lon, lat] = toLonLat(direction);
  const v = 0.5 - lat / Math.PI;
  return mod(lon / TAU + 0.5 - u0, 1) <= u1 - u0 && v >= v0 && v <= v1;
}

/** Lines of directions along the sides of a box: closed, or the rims of a box around a pole. */
export function outline(box, samples = 32) {
  const [u0, v0, u1, v1] = box;
  const side = (from, to) => Array.from({ length: samples + 1 }, (_, i) => fromUV(
    from[0] + (to[0] - from[0]) * i / samples, from[1] + (to[1] - from[1]) * i / samples));
  if (!isFull(box)) {
    const corners = [[u0, v0], [u1, v0], [u1, v1], [u0, v1], [u0, v0]];
    return [corners.slice(0, 4).flatMap((corner, i) => side(corner, corners[i + 1]))];
  }
  return [v0, v1].filter((v) => v > 1e-9 && v < 1 - 1e-9).map((v) => {
    const rim = Array.from({ length: 4 }, (_, i) => side([i / 4, v], [(i + 1) / 4, v]));
    return rim.flat();
  });
}

/** Where a box can be taken to be resized: name, and direction. */
export function handles(box) {
  const [u0, v0, u1, v1] = box;
  if (isFull(box)) return [["rim", fromUV(0.5, v0 <= 1e-9 ? v1 : v0)]];
  return [["nw", fromUV(u0, v0)], ["ne", fromUV(u1, v0)], ["se", fromUV(u1, v1)], ["sw", fromUV(u0, v1)]];
}

/** The box with one handle at a direction. */
export function resized(box, handle, direction) {
  let [u0, v0, u1, v1] = box;
  const [lon, lat] = toLonLat(direction);
  const v = 0.5 - lat / Math.PI;
  if (handle === "rim") return tidy(v0 <= 1e-9 ? [u0, v0, u1, v] : [u0, v, u1, v1]);
  const near = (u) => u + wrapLon(lon - TAU * (u - 0.5)) / TAU;
  if (handle.endsWith("w")) u0 = Math.min(near(u0), u1 - SMALLEST);
  else u1 = Math.max(near(u1), u0 + SMALLEST);
  if (handle.startsWith("n")) v0 = Math.min(v, v1 - 2 * SMALLEST);
  else v1 = Math.max(v, v0 + 2 * SMALLEST);
  return tidy([u0, v0, Math.min(u1, u0 + 0.98), v1]);
}

/** The box moved so that what was at `from` is at `to` (directions). It keeps its angular size, so its share of the width
 * grows towards the poles. A box around a pole has no longitude to change: its rim moves. */
export function moved(box, from, to) {
  const [u0, v0, u1, v1] = box;
  const [[lonA, latA], [lonB, latB]] = [toLonLat(from), toLonLat(to)];
  const down = (latA - latB) / Math.PI;
  if (isFull(box)) return tidy(v0 <= 1e-9 ? [u0, 0, u1, v1 + down] : [u0, v0 + down, u1, 1]);
  const half = (v1 - v0) / 2;
  const [before, after] = [(v0 + v1) / 2, clamp((v0 + v1) / 2 + down, half, 1 - half)];
  const share = (v) => Math.max(Math.sin(Math.PI * v), 1e-3); // cos(lat)
  const across = Math.min((u1 - u0) * share(before) / share(after), 0.9);
  const middle = (u0 + u1) / 2 + wrapLon(lonB - lonA) / TAU;
  return tidy([middle - across / 2, after - half, middle + across / 2, after + half]);
}

/** Tight box around a closed outline of directions; of the two sides of an outline around the axis, the smaller one is meant. */
export function ofOutline(directions) {
  const points = directions.map(toLonLat);
  const steps = points.map(([lon], i) => wrapLon(points[(i + 1) % points.length][0] - lon));
  const lats = points.map(([, lat]) => lat);
  const [v0, v1] = [0.5 - Math.max(...lats) / Math.PI, 0.5 - Math.min(...lats) / Math.PI];
  if (Math.round(steps.reduce((sum, x) => sum + x, 0) / TAU) !== 0) {
    const area = steps.reduce((sum, x, i) => sum + x * (1 - (Math.sin(lats[i]) + Math.sin(lats[(i + 1) % lats.length])) / 2), 0);
    return tidy(Math.abs(area) <= TAU ? [0, 0, 1, v1] : [0, v0, 1, 1]);
  }
  let [u, low, high] = [points[0][0] / TAU + 0.5, Infinity, -Infinity];
  for (const stride of steps) {
    [low, high] = [Math.min(low, u), Math.max(high, u)];
    u += stride / TAU;
  }
  return tidy([low, v0, high, v1]);
}
