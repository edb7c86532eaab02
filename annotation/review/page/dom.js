/* Small helpers for the page's elements. Nothing is ever set as HTML: text of the server stays text. */

export const find = (id) => document.getElementById(id);

/** An element with attributes (or properties: class, text, onclick) and children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const signed = (value, digits) => `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)}°`;
export const degrees = (value, digits = 1) => signed(value, digits);
export const place = ([lon, lat], digits = 1) => `${signed(lon, digits)}, ${signed(lat, digits)}`;

export function duration(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** A message of the page, for eyes and screen readers. kind: "plain", "good", "bad". */
export function say(message, kind = "plain", action = null) {
  const status = find("status");
  status.dataset.kind = kind;
  status.replaceChildren(make("span", { text: message }));
  if (action) status.append(" ", make("button", { text: action.label, onclick: action.run, type: "button" }));
}

/** Open a dialog; the promise gives what it was closed with ("" by Esc). */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
