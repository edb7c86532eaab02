/* The words beside the pictures: marks of the label as a list, verdict and flags on buttons, what is known of the person. */

import { DEG, toDeg } from "./sphere.js";
import * as headbox from "./headbox.js";
import { degrees, find, make, place } from "./dom.js";

export const VERDICTS = { accepted: "accepted", rejected: "rejected", skipped: "skipped" };
// what a reviewer wants to know first; all other columns are behind a click
const FACTS = ["reviewed_by", "split", "suite", "condition", "source", "source_image", "hfov_deg", "lens", "background", "head_radius_deg",
  "face", "target_kind", "minification", "crosses_seam", "near_pole"];
const FRAMES = [[true, "in frame"], [false, "out of frame"], [null, "not said"]];

/** What a label says, in lines of words: what history and conflicts show. */
export function words({ label, verdict }) {
  const points = label.gaze_points_deg.map((point, i) => {
    const name = label.gaze_annotators[i];
    return `${place(point, 2)}${name ? ` (${name})` : ""}`;
  });
  const box = label.head_box;
  return [
    ["Verdict", verdict ?? "none"],
    ["Head box", box ? `${place(toDeg(headbox.centre(box)), 2)}, radius ${degrees(headbox.radius(box) / DEG, 2)}` : "deleted"],
    ["Gaze points", points.join("; ") || "none"],
    ["Target", FRAMES.find(([value]) => value === label.in_frame)[1]],
    ["Marks", [label.ambiguous && "ambiguous", label.bad_image && "bad image"].filter(Boolean).join(", ") || "none"],
    ["Comment", label.comment || "none"],
  ];
}

let shown = ""; // what the desk says of the label: looking around changes nothing in it

/** Draw the list of marks, the buttons and the fields again, if anything has changed. */
export function drawLabel(app) {
  const { item } = app;
  const wanted = JSON.stringify([item.id, item.now, item.dirty, item.kept, item.revision, item.past.length, item.future.length, app.chosen, app.tool,
    app.overlays, app.predictions]);
  if (shown === wanted) return;
  shown = wanted;
  const { label, verdict } = item.now;
  const list = find("marks");
  const rows = label.gaze_points_deg.map((point, number) => ({
    key: number, kind: "point", lonlat: point, name: `Gaze ${number + 1}`,
    more: [label.gaze_points_deg.length > 1 ? degrees(item.deviations[number] / DEG) : "", label.gaze_annotators[number]],
  }));
  if (label.head_box) {
    const middle = toDeg(headbox.centre(label.head_box));
    rows.unshift({ key: "head", kind: "head", lonlat: middle, name: "Head",
      more: [`r ${degrees(headbox.radius(label.head_box) / DEG)}`] });
  }
  list.replaceChildren(...rows.map((row) => make("li", {
    role: "option", id: `mark-${row.key}`, "aria-selected": String(app.chosen === row.key), "data-kind": row.kind,
    "data-lon": row.lonlat[0], "data-lat": row.lonlat[1], onclick: () => app.choose(app.chosen === row.key ? null : row.key, true),
  }, make("i", { class: `sign ${row.kind}`, "aria-hidden": "true" }), make("b", { text: row.name }),
  make("span", { text: place(row.lonlat) }), make("small", { text: row.more.filter(Boolean).join(", "), title: row.kind === "point" ? "Angle to the consensus; who placed it" : null }))));
  if (rows.some(({ key }) => key === app.chosen)) list.setAttribute("aria-activedescendant", `mark-${app.chosen}`);
  else list.removeAttribute("aria-activedescendant");
  find("no-marks").hidden = label.gaze_points_deg.length > 0;
  find("no-marks").textContent = app.session.blind ? "Blind: place the gaze point where you think it is." : "No gaze point.";

  press("accept", verdict === "accepted");
  press("reject", verdict === "rejected");
  press("skip", verdict === "skipped");
  press("out-of-frame", label.in_frame === false);
  press("ambiguous", label.ambiguous);
  press("bad-image", label.bad_image);
  press("gaze", app.tool === "gaze");
  press("head", app.tool === "head");
  press("overlays", !app.overlays);
  press("predictions", app.predictions);
  const comment = find("comment");
  if (document.activeElement !== comment && comment.value !== label.comment) comment.value = label.comment;
  find("frame").value = String(label.in_frame);
  enable("undo", item.past.length > 0);
  enable("redo", item.future.length > 0);
  enable("save", item.dirty);
  enable("delete", app.chosen !== null);
  enable("to-target", item.points.length > 0);
  enable("follow", Boolean(item.head && item.consensus));
  find("arc").disabled = !(item.head && item.consensus);
  const state = find("saved-state");
  state.textContent = item.dirty ? (item.kept ? "Not saved yet (draft kept)" : "Not saved, and not kept: this browser has no room")
    : item.revision ? `Saved, revision ${item.revision}` : "As in the dataset";
  state.dataset.kind = item.dirty ? "open" : item.revision ? "done" : "plain";
}

function press(command, on) {
  for (const button of document.querySelectorAll(`button[data-command="${command}"]`)) button.setAttribute("aria-pressed", String(on));
}

/** A command that cannot be done now is said to be disabled, and keeps the focus if it has it. */
export function enable(command, on) {
  for (const button of document.querySelectorAll(`button[data-command="${command}"]`)) {
    if (on) button.removeAttribute("aria-disabled");
    else button.setAttribute("aria-disabled", "true");
  }
}

/** What is known of the person: why it is in the queue, findings, facts. */
export function drawPerson(app, entry) {
  const { person } = app.item;
  find("person").textContent = person.sample_id;
  find("columns").parentElement.open = false;
  const why = find("why");
  why.hidden = !entry?.why;
  why.textContent = entry?.why ?? "";
  find("findings").replaceChildren(...person.findings.map(({ rule, severity, message }) => make("li", { "data-severity": severity },
    make("b", { text: `${severity}: ${rule}` }), ` ${message}`)));
  const all = { ...person.facts, reviewed_by: person.reviewed_by, panorama_id: person.panorama_id };
  const [first, rest] = [FACTS.filter((name) => name in all), Object.keys(all).filter((name) => !FACTS.includes(name))];
  for (const [id, names] of [["facts", first], ["columns", rest]]) {
    find(id).replaceChildren(...names.filter((name) => all[name] !== null && all[name] !== "").map((name) => make("div", {},
      make("dt", { text: name.replace(/_deg$/, "").replaceAll("_", " ") }), make("dd", { text: worded(name, all[name]) }))));
  }
}

function worded(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return `${Math.round(value * 1000) / 1000}${name.endsWith("_deg") ? "°" : ""}`;
  return String(value);
}

/** Progress of the review, where it is known. */
export function drawProgress(progress, reviewer) {
  const bar = find("progress");
  bar.max = Math.max(progress.total, 1);
  bar.value = progress.done;
  const mine = progress.reviewers.find(({ name }) => name === reviewer);
  find("progress-words").textContent = `${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")} decided`
    + (mine && mine.median_seconds ? `, ${mine.median_seconds.toFixed(mine.median_seconds < 10 ? 1 : 0)} s each` : "");
  const others = progress.reviewers.map(({ name, done, median_seconds: each }) => `${name}: ${done}, median ${each.toFixed(1)} s`);
  find("progress-group").title = [`${progress.accepted} accepted, ${progress.rejected} rejected, ${progress.skipped} skipped, `
    + `${progress.edited} edited`, ...others].join("\n");
}
