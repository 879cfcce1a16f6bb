// Elements without HTML strings: text stays text, whatever an account sends.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const HUES = ["green", "blue", "orange", "purple", "teal"];

export function avatar(name, kind) {
  const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
  const hue = kind === "service" ? "service" : HUES[sum % HUES.length];
  return h("span", { class: `avatar ${hue}`, "aria-hidden": "true" }, kind === "service" ? "✦" : [...name][0] ?? "?");
}

export function toggle(on, label, change) {
  return h("button", { type: "button", class: on ? "switch on" : "switch", role: "switch", "aria-checked": String(on), "aria-label": label, onclick: change });
}

export function clock(seconds, language) {
  const date = new Date(seconds * 1000);
  const today = new Date().toDateString() === date.toDateString();
  const format = today ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return date.toLocaleString(language, { ...format, hourCycle: "h23" });
}
