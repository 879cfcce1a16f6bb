// One message on a phone: what it says now, what it answers, its reactions, and what may be done with it.

import { el, set } from "./dom.js";
import { captionOf, hasFiles, shownFiles } from "./files.js";
import { steps } from "./ledger.js";
import { glimpse, noticed, told } from "./notices.js";
import { locale, t } from "./words.js";

const EMOJIS = ["👍", "❤️", "😂", "🎉"];

/**
 * `world`: {self, peer, ledger, cards, name(user), group(conversation), quoted(id), everything(), act(verb, message, extra),
 * token(), readers(message)}.
 */
export class Bubble {
  constructor(message, world) {
    this.message = message;
    this.world = world;
    this.problem = null;
    this.open = false;
    this.mine = message.sender === world.self;
    this.isNotice = message.kind === "notice";
    this.card = message.kind === "notification" || Boolean(message.notification);
    this.moment = new Date(message.at);
    const side = this.isNotice ? "remark notice" : this.mine ? "mine" : this.card ? "card" : "theirs";
    this.node = el("li", { class: side, "data-conversation": message.conversation ?? null, "data-seq": message.seq ?? null });
    if (!this.isNotice) this.#build();
    this.render();
  }

  #build() {
    this.who = el("span");
    this.quote = el("span", { class: "quote", hidden: true });
    this.title = el("strong", { class: "title" });
    this.files = el("span", { class: "files", hidden: true });
    this.text = el("span", { class: "text" });
    this.read = el("span", { class: "readers", hidden: true, role: "status" });
    this.reactions = el("span", { class: "reactions" });
    this.time = el("time", { datetime: this.moment.toISOString() });
    this.state = el("span", { class: "how" });
    this.more = el("button", { type: "button", class: "more", "aria-expanded": "false", onclick: () => this.#toggle() }, "⋯");
    this.menu = el("div", { class: "menu", role: "group", hidden: true, onkeydown: (event) => event.key === "Escape" && this.#close() });
    const meta = el("span", { class: "meta" }, this.state, this.time, this.more);
    this.node.append(this.who, this.quote, this.title, this.files, this.text, this.reactions, meta, this.read, this.menu);
    if (this.card) this.world.cards?.place(this.node, this.message.body);
  }

  get gone() {
    return this.message.kind === "recalled";
  }

  render() {
    const { message, world } = this;
    this.node.dataset.conversation = message.conversation ?? "";
    if (message.seq !== undefined) this.node.dataset.seq = message.seq;
    if (this.isNotice) {
      set(this.node, noticed(message.body, world.name));
      return;
    }
    // on a phone for two, the side says who speaks; who cannot see sides is told
    const group = world.group(message.conversation);
    const plain = !this.card && !message.forward_of && (this.mine || (message.sender === world.peer && !group));
    this.who.className = plain ? "hidden" : "who";
    set(this.who, this.#whoSays(group));
    const quoted = message.reply_to && !this.gone;
    this.quote.hidden = !quoted;
    set(this.quote, quoted ? this.#quoted(world.quoted(message.reply_to)) : "");
    this.node.classList.toggle("recalled", this.gone);
    if (this.gone) this.node.querySelector(".decision")?.remove();
    const { title, text } = told(message);
    const files = !this.gone && hasFiles(message);
    this.#renderFiles(files);
    set(this.title, title);
    this.#renderText(this.gone ? this.#recalled() : files ? captionOf(message) : text);
    this.title.hidden = !title;
    this.text.hidden = !this.text.textContent;
    set(this.time, this.moment.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" }));
    this.#renderReactions();
    this.#renderState();
    this.more.hidden = !message.id || this.gone;
    this.more.setAttribute("aria-label", t("message_actions"));
    this.menu.setAttribute("aria-label", t("message_actions"));
    if (this.gone) this.open = false;
    this.#renderMenu();
  }

  #renderFiles(some) {
    const shown = some ? JSON.stringify(this.message.body.media) : "";
    this.files.hidden = !some;
    if (shown === this.shows) return;
    this.shows = shown;
    this.files.replaceChildren(...(some ? shownFiles(this.message, this.world.token) : []));
  }

  /** The words, with those pointed at who are meant. */
  #renderText(text) {
    const names = (this.message.mentions ?? []).flatMap((one) => (one === "@all" ? ["@all", "@所有人"] : [`@${one}`, `@${this.world.name(one)}`]));
    const shown = JSON.stringify([text, names]);
    if (shown === this.words) return;
    this.words = shown;
    const at = names.sort((one, other) => other.length - one.length).map((one) => one.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
    const parts = at.length ? text.replaceAll("＠", "@").split(new RegExp(`(${at.join("|")})`, "u")) : [text];
    this.text.replaceChildren(...parts.map((part, index) => (index % 2 ? el("span", { class: "at" }, part) : part)));
  }

  #recalled() {
    const { message: { sender, recalledBy: by }, world } = this;
    if (by === undefined) return t("recalled");
    if (by === world.self && this.mine) return t("recalled_mine");
    const named = (one) => (one ? world.name(one) : t("system"));
    return t(by === sender ? "recalled_by" : "recalled_of", { by: named(by), user: named(sender) });
  }

  #whoSays(group) {
    const { message, world } = this;
    const sender = message.sender === null || message.sender === undefined ? t("system") : world.name(message.sender);
    const said = this.card ? `${t("notification")} · ${sender}` : sender;
    const where = group && world.everything() ? `${said} · ${group}` : said;
    return message.forward_of ? `${where} · ${t("forwarded")}` : where;
  }

  #quoted(message) {
    if (!message) return t("quote_unknown");
    const sender = message.sender ? this.world.name(message.sender) : t("system");
    return t("quote", { user: sender, text: glimpse(message, this.world.name) });
  }

  #renderReactions() {
    const shown = [...this.message.reactions ?? []].filter(([, { count }]) => count > 0);
    const chip = ([emoji, { count, mine }]) =>
      el("button", {
        type: "button", class: "chip", "aria-pressed": String(mine), "data-emoji": emoji,
        "aria-label": t(mine ? "reaction_mine" : "reaction", { emoji, n: count }),
        onclick: () => this.world.act("react", this.message, { emoji, added: !mine }),
      }, `${emoji} ${count}`);
    const focused = this.reactions.contains(document.activeElement) ? document.activeElement.dataset.emoji : null;
    this.reactions.replaceChildren(...shown.map(chip));
    this.reactions.hidden = shown.length === 0;
    if (focused) [...this.reactions.children].find((one) => one.dataset.emoji === focused)?.focus();
  }

  #renderState() {
    const { message, problem, world } = this;
    const marks = [];
    const mark = (name) => marks.push(el("span", { class: `mark ${name}` }, t(name)));
    if (message.pinned) mark("pinned");
    if (message.edited_at && !this.gone) mark("edited");
    if (!this.mine && (message.mentions ?? []).some((one) => one === world.self || one === "@all")) mark("mentioned");
    if (this.gone && this.mine && message.before) {
      marks.push(el("button", { type: "button", class: "inline", onclick: () => world.act("again", message, {}) }, t("edit_again")));
    }
    if (problem) marks.push(el("span", { class: "problem" }, message.id ? problem : t("state_failed", { detail: problem })));
    else if (this.mine && !this.gone) {
      marks.push(message.id ? steps(world.ledger.state(message.id)) : el("span", { class: "steps" }, t("state_sending")));
      if (message.id && world.group(message.conversation)) marks.push(this.#readBy(world.ledger.readers(message.id).length));
    }
    this.state.replaceChildren(...marks);
  }

  #readBy(n) {
    const show = async () => {
      if (this.read.hidden) set(this.read, await this.world.readers(this.message));
      this.read.hidden = !this.read.hidden;
    };
    return el("button", { type: "button", class: "inline read-by", onclick: show }, t("read_by", { n }));
  }

  #toggle() {
    this.open = !this.open;
    this.#renderMenu();
    if (!this.open) return;
    this.menu.querySelector("button").focus();
    this.menu.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.open = false;
    this.#renderMenu();
    this.more.focus();
  }

  #renderMenu() {
    this.more.setAttribute("aria-expanded", String(this.open));
    this.menu.hidden = !this.open;
    const { message } = this;
    const mine = EMOJIS.filter((emoji) => message.reactions?.get(emoji)?.mine);
    // rendered anew only where it says something else: whoever is in it keeps their place
    const says = this.open ? `${t("reply")} ${message.pinned} ${mine}` : "";
    if (says === this.says) return;
    this.says = says;
    if (!this.open) return void this.menu.replaceChildren();
    const item = (verb, words, extra, { label = null, danger = false } = {}) =>
      el("button", { type: "button", class: danger ? "small danger" : "small", "data-verb": verb, "aria-label": label, onclick: () => this.#do(verb, extra) }, words);
    const own = this.mine && !this.card;
    const passed = !this.card && message.kind !== "card";
    const list = [
      ...EMOJIS.map((emoji) => item("react", emoji, { emoji, added: !mine.includes(emoji) }, { label: t("react_with", { emoji }) })),
      item("reply", t("reply")),
      own && message.kind === "text" && !message.forward_of ? item("edit", t("edit")) : null,
      passed ? item("forward", t("forward")) : null,
      item("pin", t(message.pinned ? "unpin" : "pin"), { added: !message.pinned }),
      own ? item("recall", t("recall"), {}, { danger: true }) : null,
      item("hide", t("hide"), {}, { danger: true }),
    ];
    this.menu.replaceChildren(...list.filter((one) => one !== null));
  }

  #do(verb, extra) {
    this.problem = null;
    this.#renderState();
    this.#close();
    this.world.act(verb, this.message, extra ?? {});
  }
}
