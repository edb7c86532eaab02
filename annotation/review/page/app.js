/* What is shown: one person, two views of their panorama, what is chosen and what is drawn. `app.changed()` draws all of it again
 * before the next frame. Angles in radians, except in labels. */

import { DEG, fromDeg, toUV } from "./sphere.js";
import * as headbox from "./headbox.js";
import { degrees, find, place } from "./dom.js";
import { drawLabel } from "./panel.js";
import { Clock } from "./saving.js";
import { Overview } from "./overview.js";
import { Viewport } from "./viewport.js";

export const NO_WEBGL = "This browser gives the page no WebGL. Everything can be done in the panorama.";
const SMALL = [0.49, 0.48, 0.51, 0.52]; // a head box, where there is none to take the size from

export const overview = new Overview(find("overview"));
export const viewport = new Viewport(find("panorama"), find("view"),
  () => noView("The graphics driver took the view away. Reload the page to have it back."));

export const app = {
  api: null, session: null, drafts: null, clock: new Clock(), queue: null, position: 0, item: null, picture: null,
  chosen: null, tool: null, drawn: null, overlays: true, predictions: true, heatmap: null, walk: 0, walking: null, frame: null,

  changed() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      draw();
    });
  },

  /** Choose a mark: the number of a gaze point, "head", or null; and look at it. */
  choose(mark, look = false) {
    this.chosen = mark;
    const direction = mark === "head" ? this.item.head : this.item.points[mark];
    if (look && direction) turn(direction);
    this.changed();
  },

  /** Take a tool, "gaze" or "head", or put it down (null). */
  use(tool) {
    this.tool = tool;
    for (const id of ["overview", "view"]) find(id).classList.toggle("aiming", tool !== null);
    this.changed();
  },

  /** Bring the head box to a direction. */
  placeHead(direction) {
    const known = this.item.label.head_box ?? this.item.person.original?.head_box ?? SMALL;
    const box = headbox.isFull(known) ? SMALL : known;
    this.item.edit({ head_box: headbox.moved(box, headbox.centre(box), direction) });
    this.choose("head");
  },
};

/** Turn the view to a direction, and a magnified overview with it. */
export function turn(direction) {
  viewport.lookAt(direction);
  if (overview.zoom > 1) overview.centre(...toUV(direction));
  app.changed();
}

export function noView(why) {
  find("no-view").hidden = false;
  find("no-view-why").textContent = why;
  app.changed();
}

function scene() {
  const { item } = app;
  if (!item || !app.overlays) return null;
  const predictions = app.predictions ? item.person.predictions : [];
  return {
    headBox: item.label.head_box, head: item.head, points: item.points, consensus: item.consensus, chosen: app.chosen, drawn: app.drawn,
    others: item.person.others.map(({ head_box: box }) => box),
    predictions: predictions.map(({ name, lon_deg: lon, lat_deg: lat }) => ({ name, direction: fromDeg([lon, lat]) })),
  };
}

function draw() {
  const drawn = scene();
  viewport.draw(drawn, Boolean(app.tool));
  overview.draw(drawn, viewport.available && app.overlays ? viewport.camera : null);
  const facing = [viewport.lon / DEG, viewport.lat / DEG];
  Object.assign(find("view").dataset, { lon: facing[0], lat: facing[1], fov: viewport.hfov / DEG });
  Object.assign(find("overview").dataset, { zoom: overview.zoom, u: overview.u, v: overview.v });
  find("facing").textContent = `${place(facing)}, ${degrees(viewport.hfov / DEG, 0)} wide`;
  find("magnified").textContent = overview.zoom > 1 ? `× ${overview.zoom.toFixed(1)}` : "";
  if (app.item) drawLabel(app);
}
