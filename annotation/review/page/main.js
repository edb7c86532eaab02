/* The review page: one person at a time, in an overview and a perspective view, saved through the server that gave this page.
 * Here pointer, keys and fields are wired, and the session begins. */

import { Api } from "./api.js";
import { NO_WEBGL, app, noView, overview, viewport } from "./app.js";
import { changeReviewer, run, walkTo } from "./commands.js";
import { duration, find, say } from "./dom.js";
import { grabbed, listen } from "./gestures.js";
import { describe, wire } from "./keys.js";
import { loadQueue, progress } from "./people.js";
import { Drafts } from "./state.js";

let held = null;
const gestures = [
  listen(find("view"), viewport, app, {
    start: (at) => { held = viewport.camera.direction(...at); },
    move: (now) => viewport.look(...grabbed(viewport.camera, held, now)),
  }),
  listen(find("overview"), overview, app, {
    move: (now, dx, dy) => (overview.zoom > 1 ? overview.pan(dx, dy) : viewport.lookAt(overview.plane.direction(...now))),
    click: (direction) => viewport.lookAt(direction),
  }),
];

function wheel(id, turned) {
  find(id).addEventListener("wheel", (event) => {
    event.preventDefault();
    turned(event);
    app.changed();
  }, { passive: false });
}
wheel("view", (event) => viewport.magnify(Math.exp(-event.deltaY / 500)));
wheel("overview", (event) => {
  const box = find("overview").getBoundingClientRect();
  overview.magnify(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
});

find("arc").addEventListener("input", (event) => {
  app.walking = null;
  walkTo(Number(event.target.value) / 100);
});
const comment = find("comment");
comment.addEventListener("input", () => { // kept while it is typed; one step to undo when it is left
  app.item.begin();
  app.item.edit({ comment: comment.value });
  app.item.keep();
  app.changed();
});
comment.addEventListener("blur", () => {
  app.item?.commit();
  app.changed();
});
find("frame").addEventListener("change", (event) => {
  app.item.edit({ in_frame: { true: true, false: false, null: null }[event.target.value] });
  app.changed();
});
find("marks").addEventListener("keydown", (event) => {
  const stride = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const marks = [...find("marks").children].map((row) => (row.dataset.kind === "head" ? "head" : Number(row.id.slice(5))));
  if (!stride || event.shiftKey || !marks.length) return;
  event.preventDefault();
  const at = marks.indexOf(app.chosen);
  app.choose(marks[at < 0 ? 0 : (at + stride + marks.length) % marks.length], true);
});
new ResizeObserver(() => app.changed()).observe(find("views"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.changed());
setInterval(() => { if (app.item) find("clock").textContent = duration(app.clock.seconds); }, 500);
describe(find("keys"));
wire((id, detail) => {
  if (id !== "escape") run(id, detail);
  else if (app.item) {
    for (const gesture of gestures) gesture.cancel();
    app.use(null);
    app.choose(null);
  }
}, () => Boolean(document.querySelector("dialog[open]")));

async function start() {
  app.api = new Api(new URLSearchParams(location.search).get("as"));
  try {
    app.session = await app.api.session();
  } catch (error) {
    say(`The review could not begin. ${error.message}`, "bad", { label: "Try again", run: start });
    return;
  }
  if (!app.session.annotator) {
    await changeReviewer(true);
    return;
  }
  const { dataset, annotator, blind, predictions, queue } = app.session;
  app.api.reviewer = annotator;
  app.drafts = new Drafts(`${dataset.digest}${blind ? "/blind" : ""}`, annotator);
  document.title = `Review of ${dataset.name} ${dataset.version}`;
  find("dataset").textContent = `${dataset.name} ${dataset.version}`;
  find("reviewer").textContent = annotator;
  find("blind").hidden = !blind;
  find("predictions-group").hidden = !predictions.length;
  if (!viewport.available) noView(NO_WEBGL);
  say("");
  progress();
  const asked = new URLSearchParams(location.hash.slice(1));
  const wanted = asked.get("kind") ? { kind: asked.get("kind"), value: asked.get("value") ?? "" } : queue;
  if (await loadQueue(wanted, asked.get("id"), Number(asked.get("at")) || 0)) return;
  if (wanted !== queue) await loadQueue(queue); // an address of another review
}
start();
