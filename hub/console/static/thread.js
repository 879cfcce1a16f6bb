// The list of messages on one phone: all of its queue, or one conversation of it.

import { Bubble } from "./bubble.js";
import { Messages } from "./changes.js";
import { el } from "./dom.js";
import { explained, t } from "./words.js";

const CONTROL = new Set(["recall", "edit", "reaction", "pin", "hidden"]);

/** The messages on one phone, in the order of its queue; what has no number yet stands last. */
export class Thread {
  #list;
  #world;
  #messages = new Messages();
  #bubbles = new Map(); // message id or client_msg_id -> Bubble
  #quoted = new Map(); // messages that were only ever quoted
  #asked = new Set();
  #chosen = null;
  #off;

  /** `world` is the bubbles'; `look(id)` asks the hub for a message that is not here, as the hub counts it now. */
  constructor(list, world, look) {
    this.#list = list;
    this.look = look;
    this.#world = { ...world, quoted: (id) => this.#lookUp(id), everything: () => this.#chosen === null };
    const raised = ({ detail }) => this.#bubbles.get(detail.id)?.render();
    const counted = ({ detail }) => this.#own(detail.conversation).forEach((bubble) => bubble.render());
    world.ledger.addEventListener("raised", raised);
    world.ledger.addEventListener("counted", counted);
    this.#off = () => {
      world.ledger.removeEventListener("raised", raised);
      world.ledger.removeEventListener("counted", counted);
    };
  }

  end() {
    this.#off();
  }

  /** Show one conversation, or with null all. */
  choose(conversation) {
    this.#chosen = conversation;
    for (const node of this.#list.children) this.#sift(node);
    this.relabel();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** A message of one's own that the hub has not answered yet. */
  pending(clientMsgId, body, { conversation, replyTo, mentions, kind = "text" }) {
    const message = { sender: this.#world.self, kind, body, mentions, at: new Date(), conversation, reply_to: replyTo };
    this.#add(clientMsgId, message, (node) => this.#insert(node, null));
  }

  /** The hub has committed it. */
  confirm(clientMsgId, ok, { kind, body }) {
    this.#world.ledger.note({ id: ok.message, conversation: ok.conversation, seq: ok.seq, sender: this.#world.self });
    const bubble = this.#bubbles.get(clientMsgId);
    if (!bubble) return;
    if (bubble.message.id) return;
    this.#identify(bubble, { ...bubble.message, kind, body, id: ok.message, conversation: ok.conversation, seq: ok.seq });
  }

  failed(key, error) {
    const bubble = this.#bubbles.get(key);
    if (!bubble) return;
    bubble.problem = explained(error);
    bubble.render();
  }

  /** An entry of the queue, or (without a q) of a history; control messages change what is shown. */
  entry(entry) {
    if (entry.control && entry.kind !== "notice") {
      if (CONTROL.has(entry.kind)) this.#change(entry);
      return;
    }
    if (!entry.control) this.#world.ledger.note(entry);
    const mine = entry.sender === this.#world.self;
    const bubble = this.#bubbles.get(entry.id) ?? (mine ? this.#bubbles.get(entry.client_msg_id) : undefined);
    const place = (node) => this.#place(node, entry);
    if (!bubble) {
      this.#add(entry.id, this.#messages.keep(entry), place);
      return;
    }
    const moved = bubble.node.dataset.q === undefined && !bubble.node.dataset.old;
    this.#identify(bubble, entry);
    if (moved || (entry.q !== undefined && bubble.node.dataset.q === undefined)) place(bubble.node);
  }

  /** Messages of a history and what they answer, oldest first; `earlier` ones leave the person where they are. */
  history(entries, quoted, { earlier = false } = {}) {
    const below = this.#list.scrollHeight - this.#list.scrollTop;
    for (const one of quoted) this.#quoted.set(one.id, one);
    for (const one of entries) this.entry(one);
    this.#list.scrollTop = earlier ? this.#list.scrollHeight - below : this.#list.scrollHeight;
  }

  /** Bring a message into view and point at it; false where it is not here. */
  locate(id) {
    const node = this.#bubbles.get(id)?.node;
    if (!node?.isConnected || node.hidden) return false;
    this.#list.querySelector(".located")?.classList.remove("located");
    node.classList.add("located");
    this.#list.scrollTop += node.getBoundingClientRect().top - this.#list.getBoundingClientRect().top - this.#list.clientHeight / 3;
    return true;
  }

  /** Words of the page's own, such as a rebase. */
  remark(key) {
    this.#insert(el("li", { class: "remark", "data-q": "-1", "data-t": key }, t(key)), this.#firstPending());
  }

  /** Say everything again: the language, or somebody's name, is another one. */
  relabel() {
    for (const bubble of new Set(this.#bubbles.values())) bubble.render();
  }

  /** What is known of a message; undefined where nothing is. */
  message(id) {
    return this.#messages.get(id);
  }

  #change(entry) {
    const { changed, recount } = this.#messages.apply(entry, this.#world.self);
    for (const message of changed) {
      const bubble = this.#bubbles.get(message.id);
      if (message.hidden) bubble?.node.remove();
      else bubble?.render();
    }
    for (const message of recount) this.#recount(message);
    const target = entry.reply_to ?? entry.body?.message;
    const quoted = this.#quoted.get(target);
    if (quoted && entry.kind === "recall") Object.assign(quoted, { kind: "recalled", body: {} });
    if (quoted && entry.kind === "edit" && entry.body.body !== undefined) quoted.body = entry.body.body;
    for (const bubble of new Set(this.#bubbles.values())) if (bubble.message.reply_to === target) bubble.render();
  }

  async #recount(message) {
    try {
      this.#messages.count(message, (await this.look(message.id)).reactions ?? []);
      this.#bubbles.get(message.id)?.render();
    } catch { /* it is gone: its recall comes, or came */ }
  }

  #lookUp(id) {
    const found = this.#messages.get(id) ?? this.#quoted.get(id);
    if (found || this.#asked.has(id)) return found;
    this.#asked.add(id);
    this.look(id).then((message) => {
      this.#quoted.set(id, message);
      this.relabel();
    }, () => {});
    return undefined;
  }

  #own(conversation) {
    return [...new Set(this.#bubbles.values())].filter(({ mine, message }) => mine && message.conversation === conversation);
  }

  #identify(bubble, entry) {
    const kept = this.#messages.keep(entry);
    this.#bubbles.set(kept.id, bubble);
    if (kept.client_msg_id) this.#bubbles.set(kept.client_msg_id, bubble);
    bubble.message = kept;
    bubble.render();
  }

  #add(key, message, place) {
    const bubble = new Bubble(message, this.#world);
    this.#bubbles.set(key, bubble);
    if (!message.hidden) place(bubble.node);
  }

  #place(node, { q, seq, conversation }) {
    if (q !== undefined) {
      node.dataset.q = q;
      delete node.dataset.old;
      this.#insert(node, this.#firstPending(node));
      return;
    }
    // of a history: before what comes later in its conversation
    node.dataset.old = "true";
    const later = (other) => other !== node && other.dataset.conversation === conversation && Number(other.dataset.seq) > seq;
    this.#insert(node, [...this.#list.children].find(later) ?? this.#firstPending(node));
  }

  #firstPending(node) {
    const pending = (other) => other !== node && other.dataset.q === undefined && !other.dataset.old;
    return [...this.#list.children].find(pending) ?? null;
  }

  #insert(node, before) {
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    if (node.parentNode !== this.#list || node.nextSibling !== before) this.#list.insertBefore(node, before);
    this.#sift(node);
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #sift(node) {
    // what only a history has is no part of the queue
    node.hidden = this.#chosen === null ? Boolean(node.dataset.old) : node.dataset.conversation !== this.#chosen;
  }
}
