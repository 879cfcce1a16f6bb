// How far messages got, and the list of messages on one phone.

import { el, said } from "./dom.js";
import { locale, t } from "./words.js";

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

  readUpTo(cursor) {
    const same = (one) => one.conversation === cursor.conversation && one.reader === cursor.reader;
    this.#read = [...this.#read.filter((one) => !same(one)), cursor];
    for (const id of this.#messages.keys()) this.#apply(id, cursor);
  }

  #apply(id, { conversation, seq, reader }) {
    const message = this.#messages.get(id);
    if (message.conversation === conversation && message.seq <= seq && message.sender !== reader) this.raise(id, "read");
  }
}

/** The messages on one phone, in the order of its queue; what has no number yet stands last. */
export class Thread {
  #list;
  #ledger;
  #self;
  #peer;
  #cards;
  #nodes = new Map(); // message id or client_msg_id -> {node, id, problem}
  #off;

  constructor(list, ledger, self, peer, cards) {
    this.#cards = cards;
    this.#list = list;
    this.#ledger = ledger;
    this.#self = self;
    this.#peer = peer;
    const raised = ({ detail }) => this.#label(detail.id);
    ledger.addEventListener("raised", raised);
    this.#off = () => ledger.removeEventListener("raised", raised);
  }

  end() {
    this.#off();
  }

  /** A message of one's own that the hub has not answered yet. */
  pending(clientMsgId, body) {
    this.#place({ sender: this.#self, body, at: new Date() }, clientMsgId, null);
  }

  /** The hub has committed it. */
  confirm(clientMsgId, ok) {
    this.#ledger.note({ id: ok.message, conversation: ok.conversation, seq: ok.seq, sender: this.#self });
    this.#identify(clientMsgId, ok.message);
  }

  failed(clientMsgId, detail) {
    const shown = this.#nodes.get(clientMsgId);
    if (!shown) return;
    shown.problem = detail;
    this.#label(clientMsgId);
  }

  /** The sender has taken a message back: what it said is gone. */
  recall(id) {
    const shown = this.#nodes.get(id);
    if (!shown) return;
    for (const said of shown.node.querySelectorAll(".title, .text, .decision")) said.remove();
    shown.node.classList.add("recalled");
    shown.who.after(el("span", { class: "text", "data-t": "recalled" }, t("recalled")));
  }

  /** An entry of the queue. */
  entry(entry) {
    this.#ledger.note(entry);
    const mine = entry.sender === this.#self;
    const shown = this.#nodes.get(entry.id) ?? (mine ? this.#nodes.get(entry.client_msg_id) : undefined);
    if (!shown) {
      this.#place(entry, entry.id, entry.q);
      return;
    }
    this.#identify(entry.client_msg_id, entry.id);
    shown.node.dataset.q = entry.q;
    this.#insert(shown.node);
  }

  /** Words of the hub's or the page's own, such as a rebase. */
  remark(key) {
    this.#insert(el("li", { class: "remark", "data-q": "-1", "data-t": key }, t(key)));
  }

  /** Say everything again, in the language that is chosen now. */
  relabel() {
    for (const key of this.#nodes.keys()) this.#label(key);
  }

  #identify(clientMsgId, id) {
    const shown = this.#nodes.get(clientMsgId) ?? this.#nodes.get(id);
    if (!shown) return;
    this.#nodes.set(id, shown);
    shown.id = id;
    this.#label(id);
  }

  #place({ sender, body, at, kind, notification, id }, key, q) {
    const mine = sender === this.#self;
    const card = kind === "notification" || Boolean(notification);
    const { title, text } = said(body);
    const moment = new Date(at);
    // on a phone for two, the side says who speaks; who cannot see sides is told
    const plain = !card && (mine || sender === this.#peer);
    const who = el("span", { class: plain ? "hidden" : "who" });
    const node = el(
      "li",
      { class: mine ? "mine" : card ? "card" : "theirs", "data-q": q },
      who,
      title ? el("strong", { class: "title" }, title) : null,
      text ? el("span", { class: "text" }, text) : null,
      el("span", { class: "meta" }, el("time", { datetime: moment.toISOString() })),
    );
    this.#nodes.set(key, { node, id: id ?? null, problem: null, sender, card, moment, who });
    if (card) this.#cards?.place(node, body);
    this.#label(key);
    this.#insert(node);
  }

  #insert(node) {
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    const next = [...this.#list.children].find((other) => other !== node && other.dataset.q === undefined) ?? null;
    const last = node.dataset.q === undefined ? null : next;
    if (node.parentNode !== this.#list || node.nextSibling !== last) this.#list.insertBefore(node, last);
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #label(key) {
    const shown = this.#nodes.get(key);
    if (!shown) return;
    const { node, id, problem, sender, card, moment, who } = shown;
    const time = node.querySelector("time");
    time.textContent = moment.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
    who.textContent = card ? `${t("notification")} · ${sender ?? t("system")}` : (sender ?? t("system"));
    if (sender !== this.#self) return;
    const word = problem
      ? el("span", { class: "problem" }, t("state_failed", { detail: problem }))
      : id
        ? steps(this.#ledger.state(id))
        : el("span", { class: "steps" }, t("state_sending"));
    node.querySelector(".meta").replaceChildren(time, word);
  }
}
