/* Saving: a label counts as saved only when the server has said so, and every other ending is said in words. */

import { Refusal } from "./api.js";
import { resolveConflict } from "./dialogs.js";
import { say } from "./dom.js";
import { same } from "./state.js";

const copy = (value) => JSON.parse(JSON.stringify(value));

/** Seconds that an item was looked at: with the page visible, since it was shown or saved. */
export class Clock {
  constructor() {
    this.restart();
    document.addEventListener("visibilitychange", () => this.pause(document.hidden));
  }

  restart() {
    [this.before, this.since] = [0, document.hidden ? null : performance.now()];
  }

  pause(hidden) {
    this.before = this.seconds;
    this.since = hidden ? null : performance.now();
  }

  get seconds() {
    return this.before + (this.since === null ? 0 : (performance.now() - this.since) / 1000);
  }
}

/** Save what the item says now. Resolves to whether the server has it. `retry` is offered where it does not answer. */
export async function save(app, action, retry) {
  const { item, api, clock } = app;
  if (item.saving) return false;
  item.saving = true;
  say("Saving…");
  try {
    for (;;) {
      const sent = copy(item.now);
      try {
        const { revision } = await api.save(item.id, { revision: item.revision, ...sent, seconds: clock.seconds, action });
        item.acknowledged(sent, revision);
        if (app.item === item) clock.restart();
        say(`Saved: ${item.id}${sent.verdict ? ` ${sent.verdict}` : ""} (revision ${revision}).`, "good");
        return true;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status !== 409) {
          say(`Not saved. ${error.message} ${item.kept ? "Your edit is kept in this browser." : "Leave this page open: this browser keeps no edits."}`,
            "bad", { label: "Try again", run: retry });
          return false;
        }
        const { current } = error.body;
        const theirs = { label: current.label, verdict: current.verdict };
        if (same(theirs, sent)) { // an answer was lost on the way, or both said the same
          item.acknowledged(sent, current.revision);
          say(`Saved: ${item.id} is as you have it (revision ${current.revision}).`, "good");
          return true;
        }
        say(`Not saved: ${current.reviewer} saved this person meanwhile.`, "bad");
        const answer = await resolveConflict(app.picture, sent, { ...theirs, revision: current.revision }, current.reviewer);
        if (answer === "theirs") {
          item.take(theirs, current.revision);
          say(`Taken from ${current.reviewer}. Undo brings your edit back.`);
          return false;
        }
        if (answer !== "mine") {
          say("Not saved. Your edit is kept in this browser; save it to see both again.", "bad", { label: "Try again", run: retry });
          return false;
        }
        item.revision = current.revision; // on top of theirs
        item.keep();
      }
    }
  } finally {
    item.saving = false;
    app.changed();
  }
}
