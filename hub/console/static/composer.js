// Where a person writes: the field, whom an @ may mean, files, and what the next words are about.

import { el } from "./dom.js";
import { t } from "./words.js";

const OFFERED = 6;
const AT = /[@＠]([^\s@＠]{0,32})$/;

/**
 * `submit(text)`, `attach(file)` and `typing()` say what the person did, `left()` that they are not about another message
 * any more. `offer()` gives whom an @ may mean here: [{user_id, name}], or null where it means nobody.
 */
export class Composer {
  constructor({ side, submit, attach, typing, left, offer }) {
    this.offer = offer;
    this.field = el("input", {
      type: "text", maxlength: "2000", autocomplete: "off", enterkeyhint: "send", "data-t-hint": "write", id: `write-${side}`,
      oninput: () => (this.#offer(), this.field.value && typing()),
      onkeydown: (event) => event.key === "Escape" && this.#escape(left),
      onpaste: (event) => this.#pasted(event, attach),
    });
    this.label = el("label", { class: "hidden", for: this.field.id });
    this.file = el("input", { type: "file", hidden: true, id: `file-${side}`, onchange: () => this.#chosen(attach) });
    this.clip = el("button", { type: "button", class: "clip", "data-t-label": "attach", onclick: () => this.file.click() }, "＋");
    this.send = el("button", { type: "submit", class: "primary", "data-t": "send" });
    this.about = el("span");
    this.bar = el("div", { class: "doing", hidden: true }, this.about, el("button", { type: "button", class: "small", onclick: left, "data-t": "cancel" }));
    this.offered = el("div", { class: "offered", role: "group", "data-t-label": "mention_whom", hidden: true });
    this.problem = el("p", { class: "problem", role: "status" });
    const form = el("form", { class: "composer", method: "post", onsubmit: (event) => this.#submit(event, submit) }, this.label, this.clip, this.field, this.file, this.send);
    this.nodes = [this.bar, this.problem, this.offered, form];
  }

  get value() {
    return this.field.value;
  }

  set value(text) {
    this.field.value = text;
    this.#offer();
  }

  /** What is written next is about something else: `words`, or null. */
  say(words) {
    this.bar.hidden = words === null;
    if (words !== null && this.about.textContent !== words) this.about.textContent = words;
  }

  /** Whether anything can be written here, and what stands in the empty field. */
  allow(able, hint) {
    this.field.disabled = this.send.disabled = this.clip.disabled = !able;
    this.field.placeholder = t(hint);
  }

  #submit(event, submit) {
    event.preventDefault();
    const text = this.field.value.trim();
    this.problem.textContent = "";
    this.value = "";
    if (text) submit(text);
  }

  #escape(left) {
    if (!this.offered.hidden) this.offered.hidden = true;
    else if (!this.bar.hidden) left();
  }

  #chosen(attach) {
    for (const file of this.file.files) attach(file);
    this.file.value = "";
    this.field.focus();
  }

  #pasted(event, attach) {
    const files = [...event.clipboardData?.files ?? []];
    if (files.length === 0) return;
    event.preventDefault();
    files.forEach(attach);
  }

  #offer() {
    const before = this.field.value.slice(0, this.field.selectionStart ?? this.field.value.length);
    const begun = AT.exec(before)?.[1].toLowerCase();
    const fits = ({ user_id: user, name }) => [user, name].some((one) => one?.toLowerCase().startsWith(begun));
    const found = begun === undefined ? [] : (this.offer() ?? []).filter(fits).slice(0, OFFERED);
    const button = (one) => el("button", { type: "button", class: "small", onclick: () => this.#take(one, begun.length) }, one.name || one.user_id);
    this.offered.replaceChildren(...found.map(button));
    this.offered.hidden = found.length === 0;
  }

  #take({ user_id: user, name }, length) {
    const caret = this.field.selectionStart ?? this.field.value.length;
    const start = caret - length;
    const words = `${this.field.value.slice(0, start)}${name || user} `;
    this.value = words + this.field.value.slice(caret);
    this.field.focus();
    this.field.setSelectionRange(words.length, words.length);
    this.offered.hidden = true;
  }
}
