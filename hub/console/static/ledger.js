// How far messages got.

import { el } from "./dom.js";
import { t } from "./words.js";

export const STEPS = ["accepted", "pushed", "delivered", "read"];

/** Four dots and the word: how far something got. */
export function steps(state) {
  const reached = STEPS.indexOf(state);
  const dots = STEPS.map((_, index) => el("i", { class: index <= reached ? "on" : null }));
  return el("span", { class: "steps", "data-state": state }, el("span", { class: "dots", "aria-hidden": "true" }, ...dots), el("span", { class: "word" }, t(state)));
}

/** What is known of every message on this page: who sent it, how far it got. It only ever gets further. */
export class Ledger extends EventTarget {
  #messages = new Map();
  #read = []; // {conversation, seq, reader}

  note({ id, conversation, seq, sender }) {
    if (this.#messages.has(id)) return;
    this.#messages.set(id, { conversation, seq, sender, state: "accepted" });
    for (const cursor of this.#read) this.#apply(id, cursor);
  }

  state(id) {
    return this.#messages.get(id)?.state ?? "accepted";
  }

  raise(id, state) {
    const message = this.#messages.get(id);
    if (!message || STEPS.indexOf(state) <= STEPS.indexOf(message.state)) return;
    message.state = state;
    this.dispatchEvent(new CustomEvent("raised", { detail: { id, state } }));
  }

  /** Who of those that are known to have read so far has read this message. */
  readers(id) {
    const message = this.#messages.get(id);
    const has = (one) => one.conversation === message.conversation && one.seq >= message.seq && one.reader !== message.sender;
    return message ? this.#read.filter(has).map((one) => one.reader) : [];
  }

  readUpTo(cursor) {
    const same = (one) => one.conversation === cursor.conversation && one.reader === cursor.reader;
    if (this.#read.some((one) => same(one) && one.seq >= cursor.seq)) return;
    this.#read = [...this.#read.filter((one) => !same(one)), cursor];
    for (const id of this.#messages.keys()) this.#apply(id, cursor);
    this.dispatchEvent(new CustomEvent("counted", { detail: { conversation: cursor.conversation } }));
  }

  #apply(id, { conversation, seq, reader }) {
    const message = this.#messages.get(id);
    if (message.conversation === conversation && message.seq <= seq && message.sender !== reader) this.raise(id, "read");
  }
}
