/* Geometry of the unit sphere, in the conventions of srgaze360/sphere.py.
 *
 * Axes x right, y down, z forward; lon grows to the right, lat up, radians; direction = (cos lat sin lon, -sin lat,
 * cos lat cos lon) as an array of three numbers. u = lon / 2 pi + 0.5 and v = 0.5 - lat / pi are fractions of a panorama.
 * Angles come from atan2(|a x b|, a . b). Degrees only where a name says so (_deg, Deg). */

export const TAU = 2 * Math.PI;
export const DEG = Math.PI / 180;

export const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
export const mod = (x, period) => ((x % period) + period) % period;
/** Longitude in [-pi, pi). */
export const wrapLon = (lon) => {
  const wrapped = mod(lon + Math.PI, TAU) - Math.PI;
  return wrapped >= Math.PI ? -Math.PI : wrapped;
};

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const length = (a) => Math.hypot(a[0], a[1], a[2]);
export const normalise = (a) => {
  const size = length(a);
  return [a[0] / size, a[1] / size, a[2] / size];
};
export const angleBetween = (a, b) => Math.atan2(length(cross(a, b)), dot(a, b));

export const fromLonLat = (lon, lat) => [Math.cos(lat) * Math.sin(lon), -Math.sin(lat), Math.cos(lat) * Math.cos(lon)];
export const fromDeg = ([lon, lat]) => fromLonLat(lon * DEG, lat * DEG);
export const fromUV = (u, v) => fromLonLat(TAU * (u - 0.5), Math.PI * (0.5 - v));

/** [lon, lat] in radians of a vector of any length; lon is 0 at the poles. */
export function toLonLat([x, y, z]) {
  const horizontal = Math.hypot(x, z);
  return [horizontal > 0 ? wrapLon(Math.atan2(x, z)) : 0, Math.atan2(-y, horizontal)];
}
/** [lon, lat] in degrees, rounded to the 1e-6 degrees that labels are hashed with. */
export function toDeg(direction) {
  const [lon, lat] = toLonLat(direction).map((angle) => Math.round(angle / DEG * 1e6) / 1e6);
  return [lon >= 180 ? -180 : lon, lat];
}
/** [u, v] of a direction, u in [0, 1). */
export function toUV(direction) {
  const [lon, lat] = toLonLat(direction);
  return [lon / TAU + 0.5, 0.5 - lat / Math.PI];
}

/** Normalised vector mean of directions; null where they cancel out or there are none. */
export function sphericalMean(directions) {
  const sum = [0, 1, 2].map((axis) => directions.reduce((total, d) => total + d[axis], 0));
  return directions.length && length(sum) / directions.length > 1e-12 ? normalise(sum) : null;
}

/** Point at `fraction` of the shorter great-circle arc from a to b. Antipodes have none: the arc then leaves a due north. */
export function along(a, b, fraction) {
  let across = cross(a, b);
  if (length(across) < 1e-12) {
    if (dot(a, b) > 0) return a;
    const [lon, lat] = toLonLat(a);
    across = cross(a, [-Math.sin(lat) * Math.sin(lon), -Math.cos(lat), -Math.sin(lat) * Math.cos(lon)]);
  }
  const side = cross(normalise(across), a);
  const angle = fraction * angleBetween(a, b);
  return [0, 1, 2].map((axis) => a[axis] * Math.cos(angle) + side[axis] * Math.sin(angle));
}
export const arc = (a, b, count = 129) => Array.from({ length: count }, (_, i) => along(a, b, i / (count - 1)));

/** A direction moved by angles to the east and to the north (radians), along the great circle they point to. */
export function step(direction, east, north) {
  const [lon, lat] = toLonLat(direction);
  const angle = Math.hypot(east, north);
  if (angle === 0) return direction;
  const eastward = [Math.cos(lon), 0, -Math.sin(lon)];
  const northward = [-Math.sin(lat) * Math.sin(lon), -Math.cos(lat), -Math.sin(lat) * Math.cos(lon)];
  return normalise([0, 1, 2].map((axis) => direction[axis] * Math.cos(angle)
    + Math.sin(angle) * (eastward[axis] * east + northward[axis] * north) / angle));
}

/** A pinhole camera without roll that looks at (lon, lat): pixels are continuous, (0, 0) the upper left corner. */
export class Camera {
  constructor(lon, lat, hfov, width, height) {
    Object.assign(this, { lon, lat, hfov, width, height });
    this.forward = fromLonLat(lon, lat);
    this.right = [Math.cos(lon), 0, -Math.sin(lon)];
    this.down = cross(this.forward, this.right);
    this.focal = width / 2 / Math.tan(hfov / 2);
  }

  /** [right, down, forward] of a direction. */
  turn(direction) {
    return [dot(direction, this.right), dot(direction, this.down), dot(direction, this.forward)];
  }

  /** Pixel of a turned direction in front of the camera. */
  pixel([x, y, z]) {
    return [this.width / 2 + this.focal * x / z, this.height / 2 + this.focal * y / z];
  }

  /** Gnomonic projection: the pixel of a direction, within the picture or beyond its sides; null behind the camera. */
  project(direction) {
    const turned = this.turn(direction);
    return turned[2] > 1e-6 ? this.pixel(turned) : null;
  }

  /** The direction of a pixel. */
  direction(x, y) {
    const [a, b] = [(x - this.width / 2) / this.focal, (y - this.height / 2) / this.focal];
    return normalise([0, 1, 2].map((axis) => a * this.right[axis] + b * this.down[axis] + this.forward[axis]));
  }

  /** Directions around the edge of the picture, closed. */
  outline(samples = 40) {
    const [w, h] = [this.width, this.height];
    const corners = [[0, 0], [w, 0], [w, h], [0, h], [0, 0]];
    return corners.slice(0, 4).flatMap(([x, y], side) => Array.from({ length: samples }, (_, i) => this.direction(
      x + (corners[side + 1][0] - x) * i / samples, y + (corners[side + 1][1] - y) * i / samples))).concat([this.direction(0, 0)]);
  }
}
