// One phone: a live user over a real socket.

import { call, socketUrl } from "./api.js";
import { Cards } from "./cards.js";
import { el, set, soon } from "./dom.js";
import { logFrame } from "./frames.js";
import { HubClient } from "./hub-client.js";
import { glimpse, told } from "./notices.js";
import { drafted, Talks, TalkTools } from "./talks.js";
import { Thread } from "./thread.js";
import { onLanguage, t, translate } from "./words.js";

const REPLAYED = 50;
const NAMED = 10;
const TYPING_EVERY = 1_500;
const TYPING_SEEN = 4_000;

export class Phone {
  /** `mint()` gives a fresh token of the user; `changed()` is called when something may now wait for the other phone. */
  constructor({ root, side, user, name, peer, conversation, ledger, device, mint, changed }) {
    Object.assign(this, { root, side, user, name, peer, conversation, ledger, device, mint, changed });
    this.token = null;
    this.connection = { state: "off", reason: "", retryMs: null };
    this.peerOnline = null;
    this.unread = [];
    this.waiting = 0;
    this.pushed = new Map(); // q -> message id, until it is acknowledged
    this.seen = new Map(); // conversation -> the highest seq shown
    this.names = new Map(name ? [[user, name]] : []);
    this.members = new Set(); // conversations whose names are known
    this.doing = null; // {reply: message} or {edit: message}
    this.refresh = soon(250, () => this.count());
    this.cards = new Cards((task, action, comment) => this.#decide(task, action, comment));
    const called = (one) => this.names.get(one) || String(one);
    this.talks = new Talks({
      self: user, name: called, side, pick: (id) => this.#choose(id), create: (title, members) => this.#group(title, members),
    });
    this.#build();
    const world = {
      self: user, peer, ledger, cards: this.cards, name: called,
      group: (id) => this.#groupTitle(id), act: (verb, message, extra) => this.#act(verb, message, extra),
    };
    this.called = called;
    this.thread = new Thread(this.list, world, (id) => call(this.token, "GET", `v1/messages/${encodeURIComponent(id)}`));
    this.offLanguage = onLanguage(() => {
      translate(this.root);
      this.thread.relabel();
      this.talks.render();
      this.render();
    });
  }

  async start() {
    this.token = await this.mint();
    const { head } = await call(this.token, "GET", "v1/queue?limit=1");
    this.client = new HubClient({
      url: socketUrl(),
      token: async () => (this.token = await this.mint()),
      device: { id: this.device, platform: "web", name: "console" },
      cursor: Math.max(0, head - REPLAYED),
      apply: (entry) => this.#apply(entry),
      rebase: () => (this.thread.remark("rebased"), this.refresh()),
    });
    const on = (type, work) => this.client.addEventListener(type, ({ detail }) => work(detail));
    on("state", (detail) => this.#became(detail));
    on("frame", (detail) => logFrame(this.side, this.user, detail));
    on("acked", ({ seq }) => this.#acked(seq));
    on("presence", (detail) => this.#presence(detail));
    on("typing", (detail) => this.#typing(detail));
    on("read", ({ conversation, seq, user }) => {
      this.ledger.readUpTo({ conversation, seq, reader: user });
      this.refresh();
    });
    for (const type of ["grew", "conversation", "contact", "notice"]) on(type, this.refresh);
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
    this.seen.set(entry.conversation, Math.max(entry.seq, this.seen.get(entry.conversation) ?? 0));
    this.refresh();
    if (entry.control && entry.kind === "card") return void this.cards.update(entry.body);
    this.thread.entry(entry);
    if (entry.control) return;
    if (entry.sender === this.typingNow?.user) this.#quiet();
    const direct = !this.#groupTitle(entry.conversation);
    if (entry.sender !== this.user) {
      this.ledger.raise(entry.id, "pushed");
      if (entry.q !== undefined) this.pushed.set(entry.q, entry.id);
    }
    if (entry.sender === this.peer) {
      if (entry.kind !== "notification" && direct && this.talks.find(entry.conversation)) this.conversation ??= entry.conversation;
      if (this.peerOnline === null) this.client.watch([this.peer]);
    }
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

  #typing({ conversation, user }) {
    const group = this.#groupTitle(conversation);
    if (user === this.user || (!group && user !== this.peer)) return;
    clearTimeout(this.typingTimer);
    this.typingNow = { user, title: group };
    this.typingTimer = setTimeout(() => this.#quiet(), TYPING_SEEN);
    this.render();
  }

  #quiet() {
    if (!this.typingNow) return;
    this.typingNow = null;
    clearTimeout(this.typingTimer);
    this.render();
  }

  #became(connection) {
    clearInterval(this.countdown);
    this.connection = { ...connection, until: Date.now() + (connection.retryMs ?? 0) };
    if (connection.state === "waiting") this.countdown = setInterval(() => this.render(), 1_000);
    if (connection.state !== "live") this.peerOnline = null;
    this.typingNow = null;
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
      if (this.ended) return;
      this.unread = data.filter((one) => one.mine?.unread > 0);
      this.#listed(data);
      this.waiting = Math.max(0, head - this.client.cursor);
    } catch {
      return; // the connection's state says enough
    }
    this.render();
  }

  #listed(data) {
    const before = this.talks.find(this.talks.chosen?.id);
    this.conversation ??= data.find((one) => one.kind === "direct" && one.people.includes(this.peer))?.id ?? null;
    this.talks.show(data);
    if (before && !this.talks.chosen) this.#choose(null); // it is not the user's any more
    // of the others when they are chosen
    for (const one of data.slice(0, NAMED)) if (one.kind !== "inbox" && !this.members.has(one.id)) this.#name(one.id);
  }

  async #name(conversation) {
    this.members.add(conversation);
    try {
      const { data } = await call(this.token, "GET", `v1/conversations/${conversation}/members?limit=200`);
      for (const { user_id: user, name } of data) if (name) this.names.set(user, name);
      this.thread.relabel();
      this.talks.render();
      this.render();
    } catch { /* ids do as well */ }
  }

  #groupTitle(id) {
    const one = this.talks.find(id);
    return one && (one.kind === "group" || one.kind === "thread") ? this.talks.title(one) : "";
  }

  // what the person does

  async #choose(id) {
    this.#keepDraft();
    this.#doing(null);
    this.talks.choose(id);
    this.thread.choose(id);
    this.field.value = drafted(this.talks.chosen?.mine);
    this.render();
    if (id === null) return;
    try {
      const page = await call(this.token, "GET", `v1/conversations/${id}/messages?limit=${REPLAYED}`);
      this.thread.history(page.data, page.quoted ?? []);
      for (const one of page.data) this.seen.set(id, Math.max(one.seq, this.seen.get(id) ?? 0));
      this.members.delete(id);
      if (this.talks.chosen?.kind !== "inbox") this.#name(id);
      this.render();
    } catch (error) {
      this.#wrong(error);
    }
  }

  #own(id, state) {
    call(this.token, "PATCH", `v1/conversations/${id}/me`, state).then(this.refresh, (error) => this.#wrong(error));
  }

  #keepDraft() {
    const left = this.talks.chosen;
    const text = this.doing?.edit ? "" : this.field.value;
    if (left && left.kind !== "inbox" && text !== drafted(left.mine)) this.#own(left.id, { draft: text ? { text } : null });
  }

  async #group(title, members) {
    const body = { kind: "group", title, members: [this.user, ...members.filter((one) => one !== this.user)].map((user_id) => ({ user_id })) };
    const made = await call(this.token, "POST", "v1/conversations", body);
    await this.count();
    await this.#choose(made.id);
    this.field.focus();
    this.changed();
  }

  #submit(text) {
    const { reply, edit } = this.doing ?? {};
    if (edit) {
      const body = typeof edit.body === "object" && edit.body ? { ...edit.body, text } : text;
      this.client.edit(edit.id, body, { mentions: edit.mentions }).catch((error) => this.thread.failed(edit.id, error.message));
    } else this.#send(text, reply);
    this.#doing(null);
  }

  #send(text, reply) {
    const id = crypto.randomUUID();
    const to = this.talks.chosen?.id ?? reply?.conversation ?? null;
    this.thread.pending(id, { text }, { conversation: to ?? this.conversation, replyTo: reply?.id });
    this.list.scrollTop = this.list.scrollHeight;
    const mentions = [...text.matchAll(/@(\S+)/g)].map(([, user]) => (user === "all" ? "@all" : user));
    const extra = { clientMsgId: id, replyTo: reply?.id, mentions: mentions.length ? mentions.slice(0, 20) : undefined };
    this.client.send(to ? { conversation: to } : { user: this.peer }, { text }, extra).then(
      (ok) => {
        if (!to) this.conversation ??= ok.conversation;
        this.thread.confirm(id, ok);
        if (this.peerOnline === null && this.client.state === "live") this.client.watch([this.peer]);
        this.changed();
      },
      (error) => this.thread.failed(id, error.message),
    );
    if (drafted(this.talks.chosen?.mine)) this.#own(to, { draft: null });
  }

  /** What the menu of a message asks for. */
  #act(verb, message, { emoji, added }) {
    const wrong = (error) => this.thread.failed(message.id, error.message);
    switch (verb) {
      case "reply": return this.#doing({ reply: message });
      case "edit": return this.#doing({ edit: message });
      case "react": return this.client.react(message.id, emoji, added).catch(wrong);
      case "pin": return this.client.pin(message.id, added).catch(wrong);
      case "recall": return this.client.recall(message.id).catch(wrong);
      default: return this.client.hide(message.id).catch(wrong);
    }
  }

  #doing(what) {
    if (this.doing?.edit) this.field.value = "";
    this.doing = what;
    if (what?.edit) this.field.value = told(what.edit).text;
    if (what) this.field.focus();
    this.render();
  }

  #wrong(error) {
    this.problem.textContent = error.message;
  }

  #read() {
    const chosen = this.talks.chosen;
    const read = (one) => !chosen || one.id === chosen.id;
    for (const one of this.unread.filter(read)) {
      const seq = Math.max(this.seen.get(one.id) ?? 0, one.last_message?.seq ?? 0);
      if (seq) this.client.read(one.id, seq);
    }
    this.unread = this.unread.filter((one) => !read(one));
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
      const where = this.talks.chosen?.id ?? this.conversation;
      if (!where || !field.value || Date.now() - typed < TYPING_EVERY) return;
      typed = Date.now();
      this.client?.typing(where);
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
      this.problem.textContent = "";
      if (text) this.#submit(text);
      field.value = "";
    };
    this.field = field;
    this.sendButton = el("button", { type: "submit", class: "primary", "data-t": "send" });
    this.problem = el("p", { class: "problem", role: "status" });
    this.doingText = el("span");
    this.doingBar = el("div", { class: "doing", hidden: true }, this.doingText,
      el("button", { type: "button", class: "small", onclick: () => this.#doing(null), "data-t": "cancel" }));
    field.addEventListener("keydown", (event) => event.key === "Escape" && this.doing && this.#doing(null));
    this.tools = new TalkTools((id, state) => this.#own(id, state));
    const heading = el("h3", { id: `phone-${this.side}` }, this.name || this.user);
    this.root.setAttribute("aria-labelledby", heading.id);
    this.root.replaceChildren(
      el("header", {}, el("span", { class: "avatar", "aria-hidden": "true" }, [...(this.name || this.user)][0].toUpperCase()),
        el("div", { class: "names" }, heading, this.name ? el("span", { class: "id" }, this.user) : null), this.pill),
      this.about,
      this.talks.root,
      this.tools.root,
      this.list,
      el("div", { class: "bar" }, this.counts, this.readButton, this.toggle),
      this.doingBar,
      this.problem,
      el("form", { class: "composer", method: "post", onsubmit: submit }, this.writeLabel, field, this.sendButton),
    );
  }

  render() {
    const { state, reason, until } = this.connection;
    const s = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    set(this.pill, t(`state_${state}`, { s, reason }));
    this.pill.dataset.state = state;
    const word = this.peerOnline === null ? "unknown" : this.peerOnline ? "online" : "offline";
    const typing = this.typingNow;
    if (typing?.title) set(this.about, t("members_typing", { user: this.called(typing.user), title: typing.title }));
    else set(this.about, t(typing ? "peer_typing" : `peer_${word}`, { user: this.peer }));
    this.about.dataset.presence = this.typingNow ? "typing" : word;
    const live = state === "live";
    const unread = this.unread.reduce((sum, one) => sum + one.mine.unread, 0);
    set(this.counts, live || !this.waiting ? t("unread", { n: unread }) : t("waits", { n: this.waiting }));
    this.counts.dataset.some = String(live ? unread > 0 : this.waiting > 0);
    this.readButton.disabled = !live || unread === 0;
    set(this.toggle, t(state === "off" || state === "refused" ? "reconnect" : "disconnect"));
    set(this.writeLabel, t("write_as", { user: this.user }));
    this.list.dataset.empty = this.list.children.length ? "" : t("empty");
    this.#renderTools();
  }

  #renderTools() {
    const { chosen } = this.talks;
    const inbox = chosen?.kind === "inbox";
    this.tools.render(chosen, chosen && this.talks.title(chosen));
    this.field.disabled = this.sendButton.disabled = inbox;
    this.field.placeholder = t(inbox ? "inbox_silent" : "write");
    this.doingBar.hidden = !this.doing;
    const about = this.doing?.reply ?? this.doing?.edit;
    if (about) set(this.doingText, t(this.doing.reply ? "replying" : "editing", { text: glimpse(about, this.called) }));
  }
}
