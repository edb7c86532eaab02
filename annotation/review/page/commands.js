/* What every command of keys.js does. */

import { DEG, along, toDeg } from "./sphere.js";
import * as headbox from "./headbox.js";
import { app, turn, viewport } from "./app.js";
import { askReviewer, chooseQueue, showHistory, writeResult } from "./dialogs.js";
import { find, place, say } from "./dom.js";
import { nudged } from "./gestures.js";
import { decide, go, loadQueue, next, previous, show } from "./people.js";

const NOTCH = 0.25 * DEG;
const WALK = 2500; // milliseconds from head to target
const still = matchMedia("(prefers-reduced-motion: reduce)");

const toggle = (field) => app.item.edit({ [field]: !app.item.label[field] });

function removeChosen() {
  if (app.chosen === "head") app.item.edit({ head_box: null });
  else if (app.chosen !== null) app.item.removePoint(app.chosen);
  else say("Choose a mark first (Q, or click it).");
  app.choose(null);
}

function chooseNext() {
  const marks = [...app.item.points.keys(), ...(app.item.label.head_box ? ["head"] : [])];
  app.choose(marks[(marks.indexOf(app.chosen) + 1) % marks.length] ?? null, true);
}

function aim(tool) {
  app.use(app.tool === tool ? null : tool);
  if (app.tool) find(viewport.available ? "view" : "overview").focus({ preventScroll: true });
}

function atCross() {
  const direction = viewport.camera.forward;
  if (app.tool === "head") app.placeHead(direction);
  else if (app.tool === "gaze") app.choose(app.item.addPoint(direction));
  else return;
  app.use(null);
  say(`Placed at ${place(toDeg(direction), 2)}.`);
}

function nudge(way) {
  const { item, chosen } = app;
  const box = item.label.head_box;
  if (chosen === "head" && box) {
    const from = headbox.centre(box);
    item.edit({ head_box: headbox.moved(box, from, nudged(viewport.camera, from, way, NOTCH)) });
  } else if (item.points[chosen]) item.movePoint(chosen, nudged(viewport.camera, item.points[chosen], way, NOTCH));
}

function look(way) {
  const stride = viewport.hfov / 18;
  const [east, north] = { right: [1, 0], left: [-1, 0], up: [0, 1], down: [0, -1] }[way];
  viewport.look(viewport.lon + east * stride / Math.max(Math.cos(viewport.lat), 0.2), viewport.lat + north * stride);
}

/** Look at a share of the way from head to target. */
export function walkTo(share) {
  const { head, consensus } = app.item;
  if (!head || !consensus) return;
  app.walk = share;
  find("arc").value = Math.round(share * 100);
  find("arc").setAttribute("aria-valuetext", `${Math.round(share * 100)} % of the way from head to target`);
  turn(along(head, consensus, share));
}

/** Go along the arc, or stop there; in steps, one a press, where motion is not wanted. */
function follow() {
  const from = app.walk >= 0.99 ? 0 : app.walk;
  if (still.matches) {
    walkTo(app.walk >= 0.99 ? 0 : Math.min(app.walk + 0.25, 1));
    return;
  }
  if (app.walking) {
    app.walking = null;
    return;
  }
  const start = performance.now();
  const tick = (now) => {
    if (app.walking !== tick) return;
    walkTo(Math.min(from + Math.max(now - start, 0) / WALK, 1));
    if (app.walk < 1) requestAnimationFrame(tick);
    else app.walking = null;
  };
  app.walking = tick;
  requestAnimationFrame(tick);
}

function nextHeatmap() {
  const names = app.item.person.predictions.filter(({ heatmap }) => heatmap).map(({ name }) => name);
  app.heatmap = [null, ...names][(names.indexOf(app.heatmap) + 2) % (names.length + 1)];
  say(app.heatmap ? `Heat map of ${app.heatmap}.` : names.length ? "No heat map." : "No model has a heat map of this person.");
  find("heatmap-name").textContent = app.heatmap ?? "";
  show(app.item);
}

async function openQueue() {
  const chosen = await chooseQueue(app.session, app.queue, app.position, app.drafts);
  if (chosen?.open !== undefined) await go(chosen.open);
  else if (chosen) await loadQueue(chosen);
}

async function openHistory() {
  const { item } = app;
  try {
    const entry = await showHistory((await app.api.history(item.id)).entries, item.id);
    if (!entry) return;
    item.edit(entry.label);
    say("Taken from the history; not saved yet.");
  } catch (error) {
    say(`The history could not be had. ${error.message}`, "bad");
  }
  app.changed();
}

export async function changeReviewer(needed = false) {
  const name = await askReviewer(app.session?.annotator, needed);
  if (name) location.assign(`?${new URLSearchParams({ as: name })}${location.hash}`);
}

const RUN = {
  accept: () => decide("accepted", "accept"),
  reject: () => decide("rejected", "reject"),
  skip: () => decide("skipped", "skip"),
  save: () => (app.item.dirty ? decide(undefined, "edit") : say("Nothing to save.")),
  "out-of-frame": () => app.item.edit({ in_frame: app.item.label.in_frame === false }),
  ambiguous: () => toggle("ambiguous"),
  "bad-image": () => toggle("bad_image"),
  comment: () => find("comment").focus(),
  gaze: () => aim("gaze"),
  head: () => aim("head"),
  place: atCross,
  choose: chooseNext,
  nudge,
  delete: removeChosen,
  undo: () => (app.item.undo() ? app.choose(null) : say("Nothing to undo.")),
  redo: () => (app.item.redo() ? app.choose(null) : say("Nothing to redo.")),
  look,
  "zoom-in": () => viewport.magnify(1.2),
  "zoom-out": () => viewport.magnify(1 / 1.2),
  "to-head": () => app.item.head && turn(app.item.head),
  "to-target": () => app.item.consensus && turn(app.item.consensus),
  follow,
  overlays: () => { app.overlays = !app.overlays; },
  predictions: () => { app.predictions = !app.predictions; },
  heatmap: nextHeatmap,
  next,
  previous,
  queue: openQueue,
  history: openHistory,
  result: () => writeResult(app.api),
  reviewer: () => changeReviewer(),
  help: () => find("help").showModal(),
};
const WITHOUT_ITEM = new Set(["queue", "result", "reviewer", "help"]);
const NEEDS_QUEUE = new Set(["queue"]);

/** Run a command, if the page has what it needs. */
export function run(id, detail) {
  if (!app.session || (!app.item && !WITHOUT_ITEM.has(id)) || (!app.queue && NEEDS_QUEUE.has(id))) return;
  if (id !== "follow") app.walking = null;
  RUN[id](detail);
  app.changed();
}
