/* The pointer on either view: look, choose, place, move, resize, draw. Both views give a plane (pixels to directions and back), so
 * one set of gestures serves both, across the seam and at the poles.
 *
 * Pixels are CSS pixels of the view. A mouse reports the corner of the device pixel it is on: its middle is meant. */

import { dot, toLonLat } from "./sphere.js";
import * as headbox from "./headbox.js";

const REACH = 10; // pixels from a mark that still take it
const STILL = 4; // pixels that a click may move

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

function nearest(plane, direction, pixel) {
  return plane.places(direction).sort((a, b) => distance(a, pixel) - distance(b, pixel))[0] ?? null;
}

/** What is at a pixel: { kind: "handle" | "point" | "head", number or name, place } or null. */
export function hit(plane, item, chosen, pixel) {
  const box = item.label.head_box;
  const reached = (list) => list.map(([kind, name, direction]) => ({ kind, name, place: nearest(plane, direction, pixel) }))
    .filter(({ place }) => place && distance(place, pixel) <= REACH)
    .sort((a, b) => distance(a.place, pixel) - distance(b.place, pixel))[0];
  const corners = box && chosen === "head" ? headbox.handles(box).map(([name, direction]) => ["handle", name, direction]) : [];
  const points = item.points.map((direction, number) => ["point", number, direction]);
  const found = reached(points.filter(([, number]) => number === chosen)) ?? reached(corners) ?? reached(points);
  if (found || !box) return found ?? null;
  const inside = headbox.contains(box, plane.direction(...pixel));
  const onLine = headbox.outline(box).flatMap((line) => plane.lines(line))
    .some((line) => line.some((place, i) => i > 0 && toSegment(pixel, line[i - 1], place) <= 6));
  return inside || onLine ? { kind: "head", name: onLine ? "line" : "inside", place: pixel } : null;
}

function toSegment(p, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const share = Math.min(Math.max(((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy || 1), 0), 1);
  return distance(p, [a[0] + share * dx, a[1] + share * dy]);
}

/** Rectangle between two pixels as a closed outline of directions. */
function rectangle(plane, [x0, y0], [x1, y1], samples = 24) {
  const corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]];
  return corners.slice(0, 4).flatMap(([x, y], side) => Array.from({ length: samples }, (_, i) => plane.direction(
    x + (corners[side + 1][0] - x) * i / samples, y + (corners[side + 1][1] - y) * i / samples)));
}

/** The view turned so that the direction `held` is at the pixel: [lon, lat] to look at. */
export function grabbed(camera, held, [x, y]) {
  const [a, b] = [(x - camera.width / 2) / camera.focal, (y - camera.height / 2) / camera.focal];
  const size = Math.hypot(a, b, 1);
  // the pixel's ray has the height (b cos lat - sin lat) / size: the latitude at which that is the height of `held`
  const tilt = Math.asin(Math.min(Math.max(-held[1] * size / Math.hypot(1, b), -1), 1));
  const lats = [Math.atan(b) + tilt, Math.atan(b) + Math.PI - tilt, Math.atan(b) - Math.PI - tilt];
  const nearby = lats.sort((one, two) => Math.abs(one - camera.lat) - Math.abs(two - camera.lat))[0];
  const lat = Math.min(Math.max(nearby, -Math.PI / 2), Math.PI / 2);
  const ahead = Math.cos(lat) + b * Math.sin(lat);
  return [toLonLat(held)[0] - Math.atan2(a, ahead), lat];
}

/** Listen on a view. `app` has item, chosen, tool and what changes them; `view` has plane; `free` says what a drag on nothing
 * does: { start(pixel), move(pixel, dx, dy), click(direction) }. */
export function listen(element, view, app, free) {
  let drag = null;

  const pixel = (event) => {
    const box = element.getBoundingClientRect();
    const half = 0.5 / (window.devicePixelRatio || 1);
    return [event.clientX - box.left + half, event.clientY - box.top + half];
  };

  function placing(at) {
    app.item.begin();
    const number = app.item.addPoint(view.plane.direction(...at));
    app.choose(number);
    return { move: (now) => app.item.movePoint(number, view.plane.direction(...now)), edits: true, placed: true };
  }

  function drawing(at) {
    app.item.begin();
    return {
      edits: true, placed: true,
      move: (now) => { app.drawn = rectangle(view.plane, at, now); },
      end: (now) => {
        if (distance(at, now) > STILL) app.item.edit({ head_box: headbox.ofOutline(rectangle(view.plane, at, now)) });
        else app.placeHead(view.plane.direction(...at));
        app.choose("head");
      },
    };
  }

  function taking({ kind, name, place }, at) {
    const box = app.item.label.head_box;
    const from = view.plane.direction(...at);
    const shift = [place[0] - at[0], place[1] - at[1]]; // the mark keeps its place under the pointer
    const there = (now) => view.plane.direction(now[0] + shift[0], now[1] + shift[1]);
    app.choose(kind === "point" ? name : "head");
    app.item.begin();
    return {
      edits: true,
      move: (now) => {
        if (kind === "point") app.item.movePoint(name, there(now));
        else if (kind === "handle") app.item.edit({ head_box: headbox.resized(box, name, there(now)) });
        else app.item.edit({ head_box: headbox.moved(box, from, view.plane.direction(...now)) });
      },
    };
  }

  function looking(at) {
    free.start?.(at);
    return { move: (now, dx, dy) => free.move(now, dx, dy), click: () => free.click?.(view.plane.direction(...at)) };
  }

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !app.item || drag) return;
    event.preventDefault(); // no text is chosen by a drag
    element.focus({ preventScroll: true });
    const at = pixel(event);
    const found = app.overlays ? hit(view.plane, app.item, app.chosen, at) : null;
    // the inside of a head box is a place to look from, until the box is chosen
    const taken = found && (found.kind !== "head" || found.name === "line" || app.chosen === "head");
    const plain = !app.tool && !event.shiftKey;
    drag = app.tool === "gaze" || event.shiftKey ? placing(at) : app.tool === "head" ? drawing(at)
      : taken ? taking(found, at) : looking(at);
    const inside = plain && !taken ? found : null;
    Object.assign(drag, { start: at, last: at, far: false, pointer: event.pointerId, inside });
    element.setPointerCapture(event.pointerId);
    app.changed();
  });

  element.addEventListener("pointermove", (event) => {
    if (!drag) {
      element.classList.toggle("over", Boolean(!app.tool && app.item && app.overlays && hit(view.plane, app.item, app.chosen, pixel(event))));
      return;
    }
    if (event.pointerId !== drag.pointer) return;
    const now = pixel(event);
    drag.far ||= distance(now, drag.start) > STILL;
    if (drag.far) {
      drag.move?.(now, now[0] - drag.last[0], now[1] - drag.last[1]);
      app.changed();
    }
    drag.last = now;
  });

  const finish = (event, kept) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const ended = drag;
    drag = null;
    app.drawn = null;
    if (kept) {
      ended.end?.(pixel(event));
      if (ended.edits) app.item.commit();
      if (ended.placed) app.use(null);
      if (!ended.far && !ended.edits) {
        app.choose(ended.inside ? "head" : null);
        ended.click?.();
      }
    } else if (ended.edits) app.item.cancel();
    app.changed();
  };
  element.addEventListener("pointerup", (event) => finish(event, true));
  element.addEventListener("pointercancel", (event) => finish(event, false));
  return { busy: () => Boolean(drag), cancel: () => drag && finish({ pointerId: drag.pointer }, false) };
}

/** Directions one notch away on the screen of a camera: "right", "left", "up", "down" by an angle; seen at all or not. */
export function nudged(camera, direction, name, angle) {
  const signs = { right: [1, 0], left: [-1, 0], up: [0, -1], down: [0, 1] }[name];
  const axis = [0, 1, 2].map((i) => signs[0] * camera.right[i] + signs[1] * camera.down[i]);
  const along = dot(axis, direction);
  const side = axis.map((part, i) => part - along * direction[i]);
  const size = Math.hypot(...side) || 1;
  return direction.map((part, i) => part * Math.cos(angle) + Math.sin(angle) * side[i] / size);
}
