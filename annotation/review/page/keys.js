/* Commands: one table of what can be done, by which key, under which name. Buttons (`data-command`), keys and the help overlay
 * all come from it. A key is `event.key` in lower case, with Shift+ or Ctrl+ before it (Cmd counts as Ctrl). */

export const GROUPS = ["Decide", "Mark", "Edit", "Look", "Go"];

export const COMMANDS = [
  ["accept", "Decide", "a", "Accept", "The label is right as it stands: save it and go on"],
  ["reject", "Decide", "r", "Reject", "This person should not be in the dataset: save and go on"],
  ["skip", "Decide", "s", "Skip", "Cannot tell: save and go on"],
  ["save", "Decide", "w", "Save", "Save without a decision, and stay"],
  ["out-of-frame", "Mark", "o", "Out of frame", "The target is outside of its photo"],
  ["ambiguous", "Mark", "m", "Ambiguous", "More than one target is plausible"],
  ["bad-image", "Mark", "b", "Bad image", "The picture cannot be judged"],
  ["comment", "Mark", "c", "Comment", "Write a comment; Esc leaves it"],
  ["gaze", "Edit", "g", "Gaze point", "Place a point: click in either view, or Enter at the cross; Shift+click without this key"],
  ["head", "Edit", "h", "Head box", "Draw the head box by a drag in either view, or bring it to the cross by Enter"],
  ["place", "Edit", "enter", "Place at the cross", "Place the gaze point, or the head box, at the middle of the view"],
  ["choose", "Edit", "q", "Next mark", "Choose the next mark: gaze points, then the head box"],
  ["nudge", "Edit", "shift+arrows", "Nudge", "Shift and an arrow: move the chosen mark by 0.25°, as the view shows it"],
  ["delete", "Edit", "delete", "Delete", "Delete the chosen mark"],
  ["undo", "Edit", "z", "Undo", "Take back an edit"],
  ["redo", "Edit", "y", "Redo", "Do it again"],
  ["look", "Look", "arrows", "Look around", "Turn the view; or drag in it"],
  ["zoom-in", "Look", "+", "Closer", "Magnify the view; or the wheel, in either view"],
  ["zoom-out", "Look", "-", "Wider", "Widen the view"],
  ["to-head", "Look", "1", "Head", "Look at the head"],
  ["to-target", "Look", "2", "Target", "Look at the target"],
  ["follow", "Look", "f", "Follow", "Go along the arc from head to target"],
  ["overlays", "Look", "i", "Image only", "Hide or show everything drawn"],
  ["predictions", "Look", "p", "Predictions", "Show or hide what models say"],
  ["heatmap", "Look", "t", "Heat map", "Show the next model's heat map, or none"],
  ["next", "Go", "j", "Next", "The next person of the queue"],
  ["previous", "Go", "k", "Previous", "The person before"],
  ["queue", "Go", "l", "Queue", "Choose whom to look at, and in which order"],
  ["history", "Go", "e", "History", "Everything that was saved of this person"],
  ["result", "Go", "x", "New version", "Write what was reviewed as a new version of the dataset"],
  ["reviewer", "Go", "n", "Reviewer", "Say who you are"],
  ["help", "Go", "?", "Keys", "Show or hide this"],
].map(([id, group, key, label, hint]) => ({ id, group, key, label, hint }));

const SHOWN = { enter: "Enter", delete: "Del", arrows: "Arrows", "shift+arrows": "⇧ Arrows", "-": "−" };
const ALIASES = { backspace: "delete", "ctrl+z": "z", "ctrl+shift+z": "y", "shift+z": "y", "ctrl+y": "y", "ctrl+s": "w", "=": "+", "shift++": "+",
  "shift+=": "+", "shift+?": "?" };

export const shown = (key) => SHOWN[key] ?? key.toUpperCase();

/** The name of a key press. */
export function named(event) {
  const key = event.key === " " ? "space" : event.key.toLowerCase();
  const name = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.shiftKey ? "shift+" : ""}${key}`;
  return ALIASES[name] ?? name;
}

/** Wire keys and buttons to `run(id, detail)`; `busy()` says that a dialog is open. */
export function wire(run, busy) {
  for (const button of document.querySelectorAll("[data-command]")) {
    const command = COMMANDS.find(({ id }) => id === button.dataset.command);
    if (button.dataset.bare === undefined) {
      const hint = document.createElement("kbd");
      hint.textContent = shown(command.key);
      button.append(" ", hint);
    }
    button.title = `${command.hint} (${shown(command.key)})`;
    button.setAttribute("aria-keyshortcuts", shown(command.key));
    button.addEventListener("click", () => run(command.id));
  }
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input, textarea, select");
    const name = named(event);
    if (busy() || event.altKey) return;
    if (name === "escape") {
      field?.blur();
      run("escape");
      return;
    }
    const sliding = field?.type === "range";
    const saving = (event.ctrlKey || event.metaKey) && name === "w";
    if ((field && !sliding && !saving) || name.startsWith("ctrl+")) return; // typing, and the browser's own keys
    const arrow = /^(shift\+)?arrow(left|right|up|down)$/.exec(name);
    if (arrow) {
      if (sliding || event.target.closest?.("[role=listbox]")) return;
      event.preventDefault();
      run(arrow[1] ? "nudge" : "look", arrow[2]);
      return;
    }
    const pressing = event.target.closest?.("button, summary, a") && name === "enter";
    const command = COMMANDS.find(({ key }) => key === name);
    if (!command || pressing || (event.repeat && !["+", "-", "z", "y", "q"].includes(name))) return;
    event.preventDefault();
    run(command.id);
  });
}

/** Fill the help overlay. */
export function describe(container) {
  for (const group of GROUPS) {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = group;
    const list = document.createElement("dl");
    for (const { key, label, hint } of COMMANDS.filter((command) => command.group === group)) {
      const [term, said] = [document.createElement("dt"), document.createElement("dd")];
      const kbd = document.createElement("kbd");
      kbd.textContent = shown(key);
      term.append(kbd);
      const strong = document.createElement("b");
      strong.textContent = label;
      said.append(strong, ` ${hint}.`);
      list.append(term, said);
    }
    section.append(title, list);
    container.append(section);
  }
}
