/* One person's label while it is looked at: edits, undo and redo, and a draft that survives a reload, a crash and a dead server.
 *
 * A *snapshot* is { label, verdict } as the server has them (degrees, fractions; see docs/annotation/review.md). `saved` is what
 * the server acknowledged last, as revision `revision`; whatever differs from it is kept in localStorage, by dataset, reviewer
 * and person. Nothing here talks to the server. */

import * as headbox from "./headbox.js";
import { angleBetween, fromDeg, sphericalMean, toDeg } from "./sphere.js";

const DEPTH = 50; // steps that can be undone
const VISITED = 40; // saved people whose undo is kept in the browser

const near = (a, b, tolerance) => Math.abs(a - b) <= tolerance;
const copy = (value) => JSON.parse(JSON.stringify(value));

/** Whether two snapshots mean the same: angles to 1e-6 degrees, boxes to 1e-9. */
export function same(a, b) {
  const [one, two] = [a.label, b.label];
  const boxes = one.head_box === null || two.head_box === null ? one.head_box === two.head_box
    : one.head_box.every((side, i) => near(side, two.head_box[i], 1e-9));
  const marks = ["in_frame", "ambiguous", "bad_image", "comment"].every((name) => one[name] === two[name]);
  return a.verdict === b.verdict && boxes && marks && one.gaze_points_deg.length === two.gaze_points_deg.length
    && one.gaze_points_deg.every((point, i) => point.every((angle, axis) => near(angle, two.gaze_points_deg[i][axis], 1.5e-6)))
    && one.gaze_points_deg.every((_, i) => (one.gaze_annotators[i] ?? "") === (two.gaze_annotators[i] ?? ""));
}

/** What the browser keeps of edits. */
export class Drafts {
  constructor(dataset, reviewer) {
    this.prefix = `srgaze360-review/${dataset}/${reviewer}/`;
  }

  get(id) {
    try {
      return JSON.parse(localStorage.getItem(this.prefix + id));
    } catch {
      return null;
    }
  }

  /** Keep a record; false if the browser refuses. Undo of people that were saved long ago makes room. */
  put(id, record) {
    try {
      localStorage.setItem(this.prefix + id, JSON.stringify(record));
      if (!record.dirty) this.tidy(VISITED);
      return true;
    } catch {
      this.tidy(0);
    }
    try {
      localStorage.setItem(this.prefix + id, JSON.stringify({ ...record, past: [], future: [] }));
      return true;
    } catch {
      return false;
    }
  }

  /** Ids of people with edits that are not saved. */
  dirty() {
    return this.records().filter(([, record]) => record.dirty).map(([id]) => id);
  }

  records() {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix));
      return keys.map((key) => [key.slice(this.prefix.length), this.get(key.slice(this.prefix.length))]).filter(([, r]) => r);
    } catch {
      return [];
    }
  }

  tidy(kept) {
    const clean = this.records().filter(([, record]) => !record.dirty).sort(([, a], [, b]) => b.time - a.time);
    for (const [id] of clean.slice(kept)) localStorage.removeItem(this.prefix + id);
  }
}

export class Item {
  /** `person` is the server's answer; an edit that was kept in the browser goes on where it was left. */
  constructor(person, drafts, reviewer) {
    Object.assign(this, { person, drafts, reviewer, id: person.sample_id, past: [], future: [], open: null, kept: true });
    this.revision = person.revision;
    this.saved = { label: person.label, verdict: person.verdict };
    this.now = copy(this.saved);
    this.restored = this.stale = false;
    const record = drafts.get(this.id);
    if (!record) return;
    const mine = { label: record.label, verdict: record.verdict };
    if (record.dirty && !same(mine, this.saved)) {
      Object.assign(this, { now: mine, past: record.past, future: record.future, restored: true });
      this.stale = record.revision !== this.revision;
      this.revision = record.revision; // the server says so if somebody else saved meanwhile
    } else if (record.revision === this.revision || same(mine, this.saved)) {
      Object.assign(this, { past: record.past, future: record.future });
      this.keep();
    }
  }

  get label() {
    return this.now.label;
  }

  get dirty() {
    return !same(this.now, this.saved);
  }

  /** Directions of the gaze points. */
  get points() {
    return this.label.gaze_points_deg.map(fromDeg);
  }

  get consensus() {
    return sphericalMean(this.points);
  }

  /** The head's direction: the dataset's own while its box is as it was, else the middle of the box; null without a box. */
  get head() {
    const [box, original] = [this.label.head_box, this.person.original?.head_box];
    if (!box) return null;
    const { head_lon_deg: lon, head_lat_deg: lat } = this.person.facts;
    const untouched = Number.isFinite(lon) && Number.isFinite(lat) && original && box.every((side, i) => near(side, original[i], 1e-9));
    return untouched ? fromDeg([lon, lat]) : headbox.centre(box);
  }

  // --- edits: begin, change as often as a drag moves, then commit as one step or cancel

  begin() {
    this.open ??= copy(this.now);
  }

  commit() {
    if (this.open && !same(this.open, this.now)) {
      this.past = [...this.past, this.open].slice(-DEPTH);
      this.future = [];
    }
    this.open = null;
    this.keep();
  }

  cancel() {
    if (this.open) this.now = this.open;
    this.open = null;
  }

  /** One edit: fields of the label, and perhaps a verdict, replaced. */
  edit(fields, verdict = this.now.verdict) {
    const lone = !this.open;
    this.begin();
    this.now = { label: { ...this.label, ...fields }, verdict };
    if (lone) this.commit();
  }

  undo() {
    return this.travel("past", "future");
  }

  redo() {
    return this.travel("future", "past");
  }

  travel(from, to) {
    this.cancel();
    if (!this[from].length) return false;
    this[to] = [...this[to], this.now];
    this.now = this[from].at(-1);
    this[from] = this[from].slice(0, -1);
    this.keep();
    return true;
  }

  // --- edits of gaze points and head

  /** Who gave each point; "" where that is not known. */
  get names() {
    return this.label.gaze_points_deg.map((_, i) => this.label.gaze_annotators[i] ?? "");
  }

  /** Add a point in the reviewer's name; gives its number. */
  addPoint(direction) {
    const { gaze_points_deg: points } = this.label;
    this.edit({ gaze_points_deg: [...points, toDeg(direction)], gaze_annotators: [...this.names, this.reviewer] });
    return points.length;
  }

  /** A point that is moved is an annotation of who moves it. */
  movePoint(number, direction) {
    this.edit({
      gaze_points_deg: this.label.gaze_points_deg.map((point, i) => (i === number ? toDeg(direction) : point)),
      gaze_annotators: this.names.map((name, i) => (i === number ? this.reviewer : name)),
    });
  }

  removePoint(number) {
    const others = (_, i) => i !== number;
    this.edit({ gaze_points_deg: this.label.gaze_points_deg.filter(others), gaze_annotators: this.names.filter(others) });
  }

  /** Angle of each point to the consensus, radians. */
  get deviations() {
    const { consensus } = this;
    return this.points.map((point) => (consensus ? angleBetween(point, consensus) : NaN));
  }

  // --- with the server

  /** The server has `snapshot` as `revision`. */
  acknowledged(snapshot, revision) {
    this.saved = copy(snapshot);
    this.revision = revision;
    this.restored = this.stale = false;
    this.keep();
  }

  /** Take what another reviewer saved; one's own edit can be had back by undo. */
  take(theirs, revision) {
    this.acknowledged(theirs, revision);
    this.edit(theirs.label, theirs.verdict);
  }

  keep() {
    const { label, verdict } = this.now;
    const { revision, past, future, dirty } = this;
    this.kept = this.drafts.put(this.id, { revision, label, verdict, past, future, dirty, time: Date.now() });
  }
}
