// One phone: a live user over a real socket.

import { call, socketUrl } from "./api.js";
import { Cards } from "./cards.js";
import { el, soon } from "./dom.js";
import { logFrame } from "./frames.js";
import { HubClient } from "./hub-client.js";
import { Thread } from "./thread.js";
import { onLanguage, t, translate } from "./words.js";

const REPLAYED = 50;
const TYPING_EVERY = 1_500;
const TYPING_SEEN = 4_000;

export class Phone {
  /** `mint()` gives a fresh token of the user; `changed()` is called when something may now wait for the other phone. */
  constructor({ root, side, user, name, peer, conversation, ledger, mint, changed }) {
    Object.assign(this, { root, side, user, name, peer, conversation, ledger, mint, changed });
    this.token = null;
    this.connection = { state: "off", reason: "", retryMs: null };
    this.peerOnline = null;
    this.unread = [];
    this.waiting = 0;
    this.pushed = new Map(); // q -> message id, until it is acknowledged
    this.seen = new Map(); // conversation -> the highest seq shown
    this.refresh = soon(250, () => this.count());
    this.#build();
    this.cards = new Cards((task, action, comment) => this.#decide(task, action, comment));
    this.thread = new Thread(this.list, ledger, user, peer, this.cards);
    this.offLanguage = onLanguage(() => {
      translate(this.root);
      this.thread.relabel();
      this.render();
    });
  }

  async start() {
    this.token = await this.mint();
    const { head } = await call(this.token, "GET", "v1/queue?limit=1");
    this.client = new HubClient({
      url: socketUrl(),
      token: async () => (this.token = await this.mint()),
      device: { id: this.#device(), platform: "web", name: "console" },
      cursor: Math.max(0, head - REPLAYED),
      apply: (entry) => this.#apply(entry),
      rebase: () => this.thread.remark("rebased"),
    });
    const on = (type, work) => this.client.addEventListener(type, ({ detail }) => work(detail));
    on("state", (detail) => this.#became(detail));
    on("frame", (detail) => logFrame(this.side, this.user, detail));
    on("acked", ({ seq }) => this.#acked(seq));
    on("presence", (detail) => this.#presence(detail));
    on("typing", (detail) => detail.user === this.peer && this.#typing());
    on("read", ({ conversation, seq, user }) => {
      this.ledger.readUpTo({ conversation, seq, reader: user });
      this.refresh();
    });
    on("grew", this.refresh);
    this.client.watch([this.peer]);
    this.client.start();
  }

  end() {
    clearInterval(this.countdown);
    clearTimeout(this.typingTimer);
    this.client?.stop();
    this.thread.end();
    this.cards.end();
    this.offLanguage();
    this.ended = true;
  }

  // what the socket says

  #apply(entry) {
    if (entry.id === null || entry.conversation === null) return; // a number nobody used
    if (entry.kind === "card") return void this.cards.update(entry.body);
    if (entry.kind === "recall") return void this.thread.recall(entry.body.message);
    this.thread.entry(entry);
    this.seen.set(entry.conversation, Math.max(entry.seq, this.seen.get(entry.conversation) ?? 0));
    if (entry.sender !== this.user) {
      this.ledger.raise(entry.id, "pushed");
      this.pushed.set(entry.q, entry.id);
    }
    if (entry.sender === this.peer) {
      this.#quiet();
      if (entry.kind !== "notification") this.conversation ??= entry.conversation;
      if (this.peerOnline === null) this.client.watch([this.peer]);
    }
    this.refresh();
  }

  #acked(seq) {
    for (const [q, id] of this.pushed) {
      if (q > seq) continue;
      this.pushed.delete(q);
      this.ledger.raise(id, "delivered");
    }
  }

  #presence({ user, online }) {
    if (user !== this.peer) return;
    this.peerOnline = online;
    if (!online) this.#quiet();
    this.render();
  }

  #typing() {
    clearTimeout(this.typingTimer);
    this.typingNow = true;
    this.typingTimer = setTimeout(() => this.#quiet(), TYPING_SEEN);
    this.render();
  }

  #quiet() {
    if (!this.typingNow) return;
    this.typingNow = false;
    clearTimeout(this.typingTimer);
    this.render();
  }

  #became(connection) {
    clearInterval(this.countdown);
    this.connection = { ...connection, until: Date.now() + (connection.retryMs ?? 0) };
    if (connection.state === "waiting") this.countdown = setInterval(() => this.render(), 1_000);
    if (connection.state !== "live") this.peerOnline = null;
    this.typingNow = false;
    this.render();
    this.refresh();
  }

  /** Ask what is unread and what waits: both live in the hub, whether this phone is connected or not. */
  async count() {
    if (this.ended || !this.client) return;
    try {
      const [{ data }, { head }] = await Promise.all([
        call(this.token, "GET", "v1/conversations?limit=50"),
        call(this.token, "GET", `v1/queue?limit=1&after=${this.client.cursor}`),
      ]);
      this.unread = data.filter((one) => one.mine?.unread > 0);
      this.waiting = Math.max(0, head - this.client.cursor);
    } catch {
      return; // the connection's state says enough
    }
    this.render();
  }

  // what the person does

  #send(text) {
    const id = crypto.randomUUID();
    this.thread.pending(id, { text });
    this.list.scrollTop = this.list.scrollHeight;
    this.client.send({ user: this.peer }, { text }, { clientMsgId: id }).then(
      (ok) => {
        this.conversation ??= ok.conversation;
        this.thread.confirm(id, ok);
        if (this.peerOnline === null && this.client.state === "live") this.client.watch([this.peer]);
        this.changed();
      },
      (error) => this.thread.failed(id, error.message),
    );
  }

  #read() {
    for (const one of this.unread) {
      this.client.read(one.id, this.seen.get(one.id) ?? one.last_message.seq);
    }
    this.unread = [];
    this.render();
    this.refresh();
    this.changed();
  }

  #decide(task, action, comment) {
    const body = { action_id: action, comment, client_action_id: crypto.randomUUID(), acted_from: "web" };
    return call(this.token, "POST", `v1/tasks/${encodeURIComponent(task)}/actions`, body);
  }

  #toggle() {
    const { state } = this.connection;
    if (state === "off" || state === "refused") this.client.start();
    else this.client.stop();
  }

  // what is seen

  #build() {
    const field = el("input", {
      type: "text", maxlength: "2000", autocomplete: "off", enterkeyhint: "send", "data-t-hint": "write",
      id: `write-${this.side}`,
    });
    let typed = 0;
    field.addEventListener("input", () => {
      if (!this.conversation || !field.value || Date.now() - typed < TYPING_EVERY) return;
      typed = Date.now();
      this.client?.typing(this.conversation);
    });
    this.writeLabel = el("label", { class: "hidden", for: field.id });
    this.list = el("ol", { class: "thread", role: "log", tabindex: "0", "data-t-label": "messages" });
    this.pill = el("span", { class: "pill", role: "status" });
    this.about = el("p", { class: "about", "aria-live": "polite" });
    this.counts = el("span", { class: "counts" });
    this.readButton = el("button", { type: "button", class: "small", onclick: () => this.#read(), "data-t": "mark_read" });
    this.toggle = el("button", { type: "button", class: "small", onclick: () => this.#toggle() });
    const submit = (event) => {
      event.preventDefault();
      const text = field.value.trim();
      if (text) this.#send(text);
      field.value = "";
    };
    const heading = el("h3", { id: `phone-${this.side}` }, this.name || this.user);
    this.root.setAttribute("aria-labelledby", heading.id);
    this.root.replaceChildren(
      el("header", {}, el("span", { class: "avatar", "aria-hidden": "true" }, [...(this.name || this.user)][0].toUpperCase()),
        el("div", { class: "names" }, heading, this.name ? el("span", { class: "id" }, this.user) : null), this.pill),
      this.about,
      this.list,
      el("div", { class: "bar" }, this.counts, this.readButton, this.toggle),
      el("form", { class: "composer", method: "post", onsubmit: submit }, this.writeLabel, field,
        el("button", { type: "submit", class: "primary", "data-t": "send" })),
    );
  }

  render() {
    const { state, reason, until } = this.connection;
    const s = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    set(this.pill, t(`state_${state}`, { s, reason }));
    this.pill.dataset.state = state;
    const word = this.peerOnline === null ? "unknown" : this.peerOnline ? "online" : "offline";
    set(this.about, t(this.typingNow ? "peer_typing" : `peer_${word}`, { user: this.peer }));
    this.about.dataset.presence = this.typingNow ? "typing" : word;
    const live = state === "live";
    const unread = this.unread.reduce((sum, one) => sum + one.mine.unread, 0);
    set(this.counts, live || !this.waiting ? t("unread", { n: unread }) : t("waits", { n: this.waiting }));
    this.counts.dataset.some = String(live ? unread > 0 : this.waiting > 0);
    this.readButton.disabled = !live || unread === 0;
    set(this.toggle, t(state === "off" || state === "refused" ? "reconnect" : "disconnect"));
    set(this.writeLabel, t("write_as", { user: this.user }));
    this.list.dataset.empty = this.list.children.length ? "" : t("empty");
  }

  /** The same device over reloads of this tab, and another one in every other tab. */
  #device() {
    const key = `hub.console.device.${this.side}`;
    const id = sessionStorage.getItem(key) ?? `console-${crypto.randomUUID()}`;
    sessionStorage.setItem(key, id);
    return id;
  }
}

const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
