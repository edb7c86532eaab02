/* Drawing people on a picture of the sphere, in the marks of srgaze360/drawing.py: heads are yellow boxes, arcs cyan, annotations
 * white dots, the consensus a magenta ring; predictions are orange diamonds with a name. Everything has a dark halo, and the
 * shapes differ where the colours might not.
 *
 * A *plane* says where directions fall on a picture: places(direction) gives its pixels (none, one, or several where the
 * picture wraps), lines(directions) the visible pieces of a line. Pixels are CSS pixels. */

import { arc } from "./sphere.js";
import * as headbox from "./headbox.js";

export const COLOURS = { head: "#ffd400", arc: "#25d0ff", point: "#ffffff", consensus: "#ff2fa0", prediction: "#ff8a1f",
  other: "#c9d1d9", view: "#ffffff", chosen: "#7cff6b", halo: "rgba(8, 10, 14, 0.8)" };

/** Stroke lines of pixels with a halo. */
function stroke(context, lines, colour, width, dash = []) {
  context.lineJoin = context.lineCap = "round";
  for (const [style, size, pattern] of [[COLOURS.halo, width + 2.4, dash.length ? dash : []], [colour, width, dash]]) {
    context.setLineDash(pattern);
    context.strokeStyle = style;
    context.lineWidth = size;
    context.beginPath();
    for (const line of lines) line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }
  context.setLineDash([]);
}

/** A mark whose path `trace(x, y, size)` is filled and edged, at every place of a direction. */
function mark(context, plane, direction, trace, size, fill, edge = COLOURS.halo, line = 1.6) {
  for (const [x, y] of plane.places(direction)) {
    context.beginPath();
    trace(context, x, y, size);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    context.strokeStyle = edge;
    context.lineWidth = line;
    context.stroke();
  }
}
const dot = (context, x, y, size) => context.arc(x, y, size, 0, 2 * Math.PI);
const square = (context, x, y, size) => context.rect(x - size, y - size, 2 * size, 2 * size);
const diamond = (context, x, y, size) => {
  context.moveTo(x, y - size);
  for (const [dx, dy] of [[1, 0], [0, 1], [-1, 0]]) context.lineTo(x + dx * size, y + dy * size);
  context.closePath();
};
const ring = (context, plane, direction, size, colour, line) => {
  mark(context, plane, direction, dot, size, null, COLOURS.halo, line + 2.4);
  mark(context, plane, direction, dot, size, null, colour, line);
};

/** Text with a halo beside every place of a direction. */
function caption(context, plane, direction, text) {
  context.font = "600 11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  for (const [x, y] of plane.places(direction)) {
    const left = x + 12 + context.measureText(text).width > plane.width ? x - 12 - context.measureText(text).width : x + 11;
    context.strokeStyle = COLOURS.halo;
    context.lineWidth = 3.5;
    context.strokeText(text, left, y);
    context.fillStyle = "#ffffff";
    context.fillText(text, left, y);
  }
}

/** Draw a scene: { headBox, head, points, consensus, others, predictions, chosen, drawn }, directions and boxes; `chosen` is
 * "head", the number of a point, or null; `drawn` a line of directions that is being drawn. */
export function drawScene(context, plane, scene) {
  for (const box of scene.others) stroke(context, headbox.outline(box, 16).flatMap((line) => plane.lines(line)), COLOURS.other, 1.2, [4, 4]);
  if (scene.head && scene.consensus) stroke(context, plane.lines(arc(scene.head, scene.consensus)), COLOURS.arc, 2.2);
  if (scene.headBox) {
    stroke(context, headbox.outline(scene.headBox).flatMap((line) => plane.lines(line)), COLOURS.head, scene.chosen === "head" ? 3 : 2.2);
    if (scene.chosen === "head") {
      for (const [, corner] of headbox.handles(scene.headBox)) mark(context, plane, corner, square, 4.5, COLOURS.chosen);
    }
  }
  for (const { name, direction } of scene.predictions) {
    mark(context, plane, direction, diamond, 7, COLOURS.prediction);
    caption(context, plane, direction, name);
  }
  for (const point of scene.points) mark(context, plane, point, dot, 4.2, COLOURS.point);
  if (scene.consensus) ring(context, plane, scene.consensus, 8.5, COLOURS.consensus, 2.6);
  const chosen = scene.points[scene.chosen];
  if (chosen) {
    mark(context, plane, chosen, dot, 5, COLOURS.chosen);
    ring(context, plane, chosen, 12, COLOURS.chosen, 1.8);
  }
  if (scene.drawn) stroke(context, plane.lines(scene.drawn), COLOURS.chosen, 2, [5, 4]);
}

/** The outline and the middle of the perspective view, on the overview. */
export function drawView(context, plane, camera) {
  stroke(context, plane.lines(camera.outline()), COLOURS.view, 1.4, [6, 4]);
  crosshair(context, plane, camera.forward, 7);
}

export function crosshair(context, plane, direction, size, colour = COLOURS.view) {
  const gap = size / 3;
  for (const [x, y] of plane.places(direction)) {
    stroke(context, [[[x - size, y], [x - gap, y]], [[x + gap, y], [x + size, y]], [[x, y - size], [x, y - gap]],
      [[x, y + gap], [x, y + size]]], colour, 1.4);
  }
}

/** Fit a canvas to its box in device pixels; the context draws in CSS pixels. Returns [context, width, height]. */
export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [context, width, height];
}
