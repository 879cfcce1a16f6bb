// One phone: a live user over a real socket.

import { call, socketUrl } from "./api.js";
import { Cards } from "./cards.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { el, set, soon } from "./dom.js";
import { logFrame } from "./frames.js";
import { HubClient } from "./hub-client.js";
import { Manage } from "./manage.js";
import { glimpse } from "./notices.js";
import { People } from "./people.js";
import { Search } from "./search.js";
import { Talks, TalkTools } from "./talks.js";
import { Thread } from "./thread.js";
import { onLanguage, t, translate } from "./words.js";

const REPLAYED = 50;
const NAMED = 10;
const TYPING_EVERY = 1_500;
const TYPING_SEEN = 4_000;

export class Phone extends Chat {
  /** `mint()` gives a fresh token of the user; `changed()` is called when something may now wait for the other phone. */
  constructor({ root, side, user, name, peer, conversation, ledger, device, mint, changed }) {
    super();
    Object.assign(this, { root, side, user, name, peer, conversation, ledger, device, mint, changed });
    this.token = null;
    this.connection = { state: "off", reason: "", retryMs: null };
    this.peerOnline = null;
    this.unread = [];
    this.waiting = 0;
    this.pushed = new Map(); // q -> message id, until it is acknowledged
    this.readTo = new Map(); // conversation -> how far it was marked as read by being open
    this.refresh = soon(250, () => this.count());
    this.cards = new Cards((task, action, comment) => this.#decide(task, action, comment));
    const token = () => this.token;
    this.people = new People({ self: user, name, token, ledger, changed: () => this.#named() });
    const { called } = this.people;
    this.called = called;
    this.search = new Search({ token, called, where: (id) => this.titleOf(id), pick: (message) => this.find(message) }, side);
    this.manage = new Manage({ token, called, members: (id) => this.people.of(id), changed: (id) => this.#changedGroup(id) }, side);
    this.talks = new Talks({
      self: user, name: called, side, search: this.search.root,
      pick: (id) => this.pick(id), create: (title, members) => this.group(title, members),
    });
    this.#build();
    const world = {
      self: user, peer, ledger, cards: this.cards, name: called, token, readers: (message) => this.readers(message),
      group: (id) => this.groupTitle(id), act: (verb, message, extra) => this.act(verb, message, extra),
    };
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
    for (const type of ["grew", "conversation", "contact", "stale"]) on(type, this.refresh);
    on("notice", ({ conversation }) => this.#changedGroup(conversation));
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
    const direct = !this.groupTitle(entry.conversation);
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
    const group = this.groupTitle(conversation);
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
    if (before && !this.talks.chosen) this.choose(null); // it is not the user's any more
    // of the others when they are chosen
    for (const one of data.slice(0, NAMED)) if (one.kind !== "inbox") this.people.look(one.id);
    this.looked();
  }

  /** What is open and looked at is read. */
  looked() {
    const { chosen } = this.talks;
    const last = chosen?.last_message?.seq ?? 0;
    if (!chosen?.mine?.unread || this.connection.state !== "live" || document.visibilityState !== "visible") return;
    if (last <= (this.readTo.get(chosen.id) ?? 0)) return;
    this.readTo.set(chosen.id, last);
    this.#read();
  }

  #named() {
    this.thread.relabel();
    this.talks.render();
    this.render();
  }

  #changedGroup(id) {
    this.people.look(id, { again: true });
    this.refresh();
    if (id === this.talks.chosen?.id) this.announced = null;
  }

  // what the person does is chat.js's; here is what it means for the connection

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
    let typed = 0;
    const typing = () => {
      const where = this.talks.chosen?.id ?? this.conversation;
      if (!where || Date.now() - typed < TYPING_EVERY) return;
      typed = Date.now();
      this.client?.typing(where);
    };
    this.write = new Composer({
      side: this.side, typing, submit: (text) => this.submit(text), attach: (file) => this.attach(file),
      left: () => this.turnTo(null), offer: () => this.mayMean(),
    });
    this.list = el("ol", { class: "thread", role: "log", tabindex: "0", "data-t-label": "messages" });
    this.pill = el("span", { class: "pill", role: "status" });
    this.about = el("p", { class: "about", "aria-live": "polite" });
    this.counts = el("span", { class: "counts" });
    this.readButton = el("button", { type: "button", class: "small", onclick: () => this.#read(), "data-t": "mark_read" });
    this.toggle = el("button", { type: "button", class: "small", onclick: () => this.#toggle() });
    this.before = el("button", { type: "button", class: "small before", hidden: true, "data-t": "earlier", onclick: () => this.back() });
    this.tools = new TalkTools((id, state) => this.own(id, state), this.manage);
    const heading = el("h3", { id: `phone-${this.side}` }, this.name || this.user);
    this.root.setAttribute("aria-labelledby", heading.id);
    this.root.replaceChildren(
      el("header", {}, el("span", { class: "avatar", "aria-hidden": "true" }, [...(this.name || this.user)][0].toUpperCase()),
        el("div", { class: "names" }, heading, this.name ? el("span", { class: "id" }, this.user) : null), this.pill),
      this.about,
      this.talks.root,
      this.tools.root,
      this.manage.announced,
      this.manage.root,
      this.before,
      this.list,
      el("div", { class: "bar" }, this.counts, this.readButton, this.toggle),
      ...this.write.nodes,
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
    else set(this.about, t(typing ? "peer_typing" : `peer_${word}`, { user: this.called(this.peer) }));
    this.about.dataset.presence = this.typingNow ? "typing" : word;
    const live = state === "live";
    const unread = this.unread.reduce((sum, one) => sum + one.mine.unread, 0);
    set(this.counts, live || !this.waiting ? t("unread", { n: unread }) : t("waits", { n: this.waiting }));
    this.counts.dataset.some = String(live ? unread > 0 : this.waiting > 0);
    this.readButton.disabled = !live || unread === 0;
    set(this.toggle, t(state === "off" || state === "refused" ? "reconnect" : "disconnect"));
    set(this.write.label, t("write_as", { user: this.user }));
    this.list.dataset.empty = this.list.children.length ? "" : t("empty");
    this.#renderTools();
  }

  #renderTools() {
    const { chosen } = this.talks;
    const inbox = chosen?.kind === "inbox";
    const over = Boolean(chosen?.group?.dissolved_at);
    this.tools.render(chosen, chosen && this.talks.title(chosen));
    if (chosen && this.announced !== chosen.version) {
      this.announced = chosen.version;
      this.manage.announce();
    }
    this.before.hidden = !chosen || this.earlier === null;
    this.write.allow(!inbox && !over, inbox ? "inbox_silent" : over ? "dissolved_silent" : "write");
    const [word, about] = Object.entries(this.doing ?? {})[0] ?? [];
    const words = { reply: "replying", edit: "editing", forward: "forwarding" };
    this.write.say(about ? t(words[word], { text: glimpse(about, this.called) }) : null);
  }
}
