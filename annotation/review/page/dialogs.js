/* Dialogs: whom to look at (queue), what was saved (history), two edits of one label (conflict), a new version, who reviews. */

import { COLOURS } from "./draw.js";
import { OverviewPlane } from "./overview.js";
import { ask, duration, find, make } from "./dom.js";
import { drawScene } from "./draw.js";
import { words } from "./panel.js";
import * as headbox from "./headbox.js";
import { fromDeg, sphericalMean, toUV } from "./sphere.js";

const HINTS = { random: "Seed, a whole number", filter: "NAME=VALUE, as in: suite=pole; head_latitude=60-90" };

for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close(button.dataset.close));
}

// --- queue ----------------------------------------------------------------------------------------------------------------

/** Choose a queue. Resolves to { kind, value }, { open: number in the queue } or null. */
export async function chooseQueue(session, queue, position, drafts) {
  const [kinds, values, text] = [find("queue-kind"), find("queue-values"), find("queue-text")];
  kinds.replaceChildren(...session.queues.map(({ kind, label }) => make("option", { value: kind, text: label })));
  kinds.value = queue.kind;
  const refresh = (value) => {
    const { values: known } = session.queues.find(({ kind }) => kind === kinds.value);
    const free = HINTS[kinds.value] !== undefined;
    values.closest("label").hidden = !known?.length;
    text.closest("label").hidden = Boolean(known?.length) || !free;
    values.replaceChildren(...(kinds.value === "lint" && !known?.includes("") ? [make("option", { value: "", text: "any rule" })] : []),
      ...(known ?? []).map((name) => make("option", { value: name, text: name || "any" })));
    text.placeholder = HINTS[kinds.value] ?? "";
    find("queue-hint").textContent = HINTS[kinds.value] ?? "";
    if (value) values.value = text.value = value;
  };
  refresh(queue.value);
  kinds.onchange = () => refresh("");
  const open = new Set(drafts.dirty());
  let opened = null;
  const listed = queue.total ? await queue.around(position).catch(() => []) : [];
  find("queue-items").replaceChildren(...listed.map(([entry, number]) => make("li", {},
    make("button", { type: "button", "aria-current": number === position ? "true" : null, onclick: () => {
      opened = number;
      find("queue-dialog").close("open");
    } }, make("span", { class: "number", text: String(number + 1) }), make("span", { text: entry.sample_id }),
    make("small", { text: entry.why ?? "" }),
    make("em", { "data-verdict": entry.verdict ?? "", text: [entry.verdict, open.has(entry.sample_id) ? "not saved" : ""].filter(Boolean).join(", ") })))));
  find("queue-count").textContent = `${queue.total.toLocaleString("en")} people, ${queue.done.toLocaleString("en")} decided`
    + (queue.total > listed.length ? "; those around the current one are listed" : "");
  const asked = ask(find("queue-dialog"));
  find("queue-items").querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
  kinds.focus();
  const answer = await asked;
  if (answer === "open") return { open: opened };
  if (answer !== "go") return null;
  const chosen = values.closest("label").hidden ? (text.closest("label").hidden ? "" : text.value.trim()) : values.value;
  return { kind: kinds.value, value: chosen };
}

// --- labels side by side ----------------------------------------------------------------------------------------------------

function picture(canvas, image, snapshot) {
  const [width, height] = [canvas.width, canvas.height];
  const points = snapshot.label.gaze_points_deg.map(fromDeg);
  const box = snapshot.label.head_box;
  const middle = sphericalMean([...points, ...(box ? [headbox.centre(box)] : [])]);
  const plane = new OverviewPlane(width, height, 1, middle ? toUV(middle)[0] : 0.5);
  const context = canvas.getContext("2d");
  context.fillStyle = COLOURS.halo;
  context.fillRect(0, 0, width, height);
  if (image) for (const turn of [-1, 0, 1]) context.drawImage(image, plane.x(turn), 0, width, height);
  drawScene(context, plane, { headBox: box, head: box && headbox.centre(box), points, consensus: sphericalMean(points), others: [],
    predictions: [], chosen: null });
}

function differences(container, snapshot, other) {
  const theirs = words(other);
  container.replaceChildren(...words(snapshot).flatMap(([name, value], i) => [make("dt", { text: name }),
    make("dd", { text: value, class: value === theirs[i][1] ? null : "different" })]));
}

/** Show two edits of one label. Resolves to "theirs", "mine" or "" (later). */
export function resolveConflict(image, mine, theirs, reviewer) {
  find("conflict-who").textContent = `${reviewer} saved this person while you were editing. Nothing is lost: both edits are in the history.`;
  find("conflict-theirs-title").textContent = `Saved by ${reviewer} (revision ${theirs.revision})`;
  picture(find("conflict-mine-picture"), image, mine);
  picture(find("conflict-theirs-picture"), image, theirs);
  differences(find("conflict-mine"), mine, theirs);
  differences(find("conflict-theirs"), theirs, mine);
  return ask(find("conflict-dialog"));
}

/** Show what was saved of a person. Resolves to an entry whose label is to be taken as an edit, or null. */
export async function showHistory(entries, id) {
  find("history-title").textContent = `History of ${id}`;
  let taken = null;
  const rows = [...entries].reverse().map((entry) => make("li", { "data-aside": entry.set_aside ? "true" : null },
    make("p", {}, make("b", { text: entry.set_aside ? "Set aside" : `Revision ${entry.revision}` }),
      ` by ${entry.reviewer}, ${new Date(entry.time).toLocaleString()}, ${entry.action}, ${duration(entry.seconds)}`),
    make("dl", {}, ...words(entry).flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })])),
    make("button", { type: "button", text: "Use this label", onclick: () => {
      taken = entry;
      find("history-dialog").close("take");
    } })));
  find("history-entries").replaceChildren(...(rows.length ? rows : [make("li", { text: "Nothing was saved of this person yet." })]));
  return (await ask(find("history-dialog"))) === "take" ? taken : null;
}

// --- a new version, a name -----------------------------------------------------------------------------------------------

export async function writeResult(api) {
  const [report, go] = [find("result-report"), find("result-go")];
  report.textContent = "";
  go.onclick = async () => {
    go.disabled = true;
    report.textContent = "Writing…";
    try {
      const { path, version, changes } = await api.result(find("result-bump").value);
      const told = Object.entries(changes ?? {}).map(([name, count]) => `${name.replaceAll("_", " ")}: ${count}`).join(", ");
      report.textContent = `Version ${version} is in ${path}. ${told}`;
    } catch (error) {
      report.textContent = error.message;
    }
    go.disabled = false;
  };
  await ask(find("result-dialog"));
}

export async function askReviewer(current, needed) {
  const [field, dialog] = [find("reviewer-name"), find("reviewer-dialog")];
  field.value = current ?? "";
  const asked = ask(dialog);
  field.select();
  field.onkeydown = (event) => {
    if (event.key === "Enter") dialog.close("go");
  };
  const answer = await asked;
  const name = field.value.trim();
  if (answer === "go" && /^[^\p{C}]{1,64}$/u.test(name)) return name;
  return needed ? askReviewer(name, needed) : null;
}
