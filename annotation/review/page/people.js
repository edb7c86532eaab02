/* From person to person: queues, what is fetched of a person, decisions and what follows on them. */

import { DEG, along, angleBetween } from "./sphere.js";
import { NO_WEBGL, app, noView, overview, viewport } from "./app.js";
import { Pictures } from "./api.js";
import { find, say } from "./dom.js";
import { drawPerson, drawProgress } from "./panel.js";
import { Item } from "./state.js";
import { Queue } from "./queue.js";
import { save } from "./saving.js";

const pictures = new Pictures();
const count = (number) => number.toLocaleString("en");

/** Begin a queue: at the person `id` if they are in it (near `hint`), else at the first who is not decided. Returns whether that worked. */
export async function loadQueue(wanted, id = null, hint = 0) {
  let at;
  try {
    app.queue = await new Queue(app.api, wanted).begin();
    at = id === null ? -1 : await app.queue.find(id, Math.min(hint, Math.max(app.queue.total - 1, 0)));
  } catch (error) {
    say(`The queue could not be had. ${error.message}`, "bad", { label: "Try again", run: () => loadQueue(wanted, id, hint) });
    return false;
  }
  const { kind, value } = app.queue;
  const known = app.session.queues.find((one) => one.kind === kind);
  find("queue-name").textContent = `${known?.label ?? kind}${value ? `: ${value}` : ""}`;
  if (app.queue.total) await go(at >= 0 ? at : app.queue.firstOpen ?? 0);
  else {
    find("position").textContent = "empty";
    say("Nobody is in this queue. Choose another (L).");
  }
  return true;
}

/** Show the person at a place of the queue. */
export async function go(position) {
  app.item?.commit();
  let entry;
  let person;
  try {
    entry = await app.queue.entry(position);
    if (!entry) return;
    person = await app.api.person(entry.sample_id);
  } catch (error) {
    say(`The next person could not be had. ${error.message}`, "bad", { label: "Try again", run: () => go(position) });
    return;
  }
  const item = new Item(person, app.drafts, app.session.annotator);
  Object.assign(app, { item, position, chosen: null, walk: 0, walking: null });
  app.use(null);
  app.clock.restart();
  find("desk").hidden = false;
  find("arc").value = 0;
  find("position").textContent = `${count(position + 1)} / ${count(app.queue.total)}`;
  find("comment").value = item.label.comment;
  drawPerson(app, entry);
  const { kind, value } = app.queue;
  history.replaceState(null, "", `#${new URLSearchParams({ kind, value, id: item.id, at: position })}`);
  if (item.stale) say("Your edit of this person was kept, but somebody saved meanwhile: saving yours shows both.", "bad");
  else if (item.restored) say("Your edit that was not saved is back.");
  settle(item);
  await Promise.all([show(item), ahead(position + 1, person)]);
}

/** Look where head and target are both seen, or at the head where they are too far apart. */
function settle(item) {
  const { head, consensus } = item;
  const apart = head && consensus ? angleBetween(head, consensus) : 0;
  const near = apart < 70 * DEG;
  if (head && consensus) viewport.lookAt(along(head, consensus, near ? 0.5 : 0));
  else if (head ?? consensus) viewport.lookAt(head ?? consensus);
  viewport.hfov = near ? Math.max(apart * 1.7, 65 * DEG) : 95 * DEG;
  overview.zoom = 1;
  overview.centre(0.5, 0.5);
  app.changed();
}

/** Fetch the panorama of the next person, so that it is there in time. */
async function ahead(position, person) {
  try {
    const next = await app.queue.entry(position);
    if (next && next.panorama_id !== person.panorama_id) await pictures.panorama(next.panorama_id, viewport.largest);
  } catch { /* it will be asked for again */ }
}

/** Show the panorama of an item, and the heat map that was chosen. */
export async function show(item) {
  const { person } = item;
  try {
    let image = await pictures.panorama(person.panorama_id, viewport.largest);
    const model = person.predictions.find(({ name, heatmap }) => heatmap && name === app.heatmap);
    if (model) image = blended(image, await pictures.heatmap(model.name, item.id));
    if (app.item !== item) return;
    app.picture = overview.image = image;
    find("no-picture").hidden = true;
    if (!viewport.show(image)) noView(NO_WEBGL);
  } catch {
    if (app.item !== item) return;
    app.picture = overview.image = null;
    viewport.ready = false;
    find("no-picture").hidden = false;
  }
  app.changed();
}

function blended(image, heat) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  context.drawImage(heat, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export async function progress() {
  try {
    drawProgress(await app.api.progress(), app.session.annotator);
  } catch { /* shown again after the next decision */ }
}

/** Save with a verdict (or as it is, undefined), and go on to the next person unless it was only saved. */
export async function decide(verdict, action) {
  const { item, position, queue } = app;
  if (item.saving) return;
  item.commit();
  if (verdict !== undefined) item.edit({}, verdict);
  app.changed();
  if (!(await save(app, action, () => app.item === item && decide(undefined, action)))) return;
  const entry = await queue.entry(position);
  if (entry?.sample_id === item.id) queue.decided(entry, item.saved.verdict);
  progress();
  if (action !== "edit" && app.item === item) await next();
}

export async function next() {
  const { queue, position, item } = app;
  if (position + 1 < queue.total) await go(position + 1);
  else if (queue.kind === "undone" && item.saved.verdict) await loadQueue(queue);
  else say(`${item.saved.verdict && !item.dirty ? `Saved: ${item.id} ${item.saved.verdict}. ` : ""}That was the last of this queue.`, "good");
}

export async function previous() {
  if (app.position > 0) await go(app.position - 1);
  else say("That is the first of this queue.");
}
