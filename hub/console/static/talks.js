// The list of a user's conversations, and the little form that makes a group.

import { el } from "./dom.js";
import { split } from "./manage.js";
import { glimpse } from "./notices.js";
import { explained, locale, t } from "./words.js";

/** The conversations on one phone. `chosen(id)` is called with the one that the person picks, null for all. */
export class Talks {
  #list;
  #data = [];
  #chosen = null;
  #pick;
  #name;
  #self;

  constructor({ self, name, pick, side, create, search }) {
    this.#self = self;
    this.#name = name;
    this.#pick = pick;
    this.#list = el("ul", { class: "talk-list" });
    this.root = el("nav", { class: "talks", "data-t-label": "conversations" }, this.#list, el("div", { class: "more-talks" }, search, new GroupForm(side, create).root));
  }

  get chosen() {
    return this.#data.find((one) => one.id === this.#chosen) ?? null;
  }

  /** The hub's list, in the hub's order: pinned ones, the inbox, then by last activity. */
  show(data) {
    this.#data = data;
    this.render();
  }

  find(id) {
    return this.#data.find((one) => one.id === id);
  }

  choose(id) {
    this.#chosen = id;
    this.render();
  }

  /** What this user calls a conversation. */
  title(one) {
    if (one.mine?.nickname) return one.mine.nickname;
    if (one.kind === "inbox") return t("inbox");
    if (one.kind !== "direct") return one.title || t("group_untitled", { n: one.member_count });
    const other = one.people.find((user) => user !== this.#self);
    return other === undefined ? t("notes") : this.#name(other);
  }

  render() {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.talk : null;
    const top = this.#list.scrollTop;
    this.#list.replaceChildren(this.#row({ id: null }), ...this.#data.map((one) => this.#row(one)));
    this.#list.scrollTop = top;
    if (focused !== null) [...this.#list.querySelectorAll("button")].find((one) => one.dataset.talk === focused)?.focus();
  }

  #row(one) {
    const title = one.id === null ? t("everything") : this.title(one);
    const badges = one.id === null ? [] : this.#badges(one.mine ?? {});
    const draft = drafted(one.mine);
    const last = one.id === null ? t("everything_hint") : draft ? t("draft", { text: draft }) : this.#last(one);
    const facts = { type: "button", class: draft ? "talk drafted" : "talk", "data-talk": one.id ?? "", "data-kind": one.kind ?? "all" };
    const current = this.#chosen === one.id ? "true" : null;
    return el("li", {}, el("button", { ...facts, "aria-current": current, onclick: () => this.#pick(one.id) },
      el("b", {}, title), el("span", { class: "last" }, last), ...badges, one.last_message ? el("time", {}, lately(one.last_message.at)) : null));
  }

  #last(one) {
    const message = one.last_message;
    if (!message) return "";
    const words = glimpse(message, this.#name);
    const group = one.kind === "group" || one.kind === "thread";
    return group && message.sender && message.kind !== "recalled" ? t("quote", { user: this.#name(message.sender), text: words }) : words;
  }

  #badges({ unread = 0, mention = 0, marked_unread: marked, pinned_at: pinned, muted }) {
    const badge = (name, words, label) => el("span", { class: `badge ${name}`, role: "img", "aria-label": label }, words);
    return [
      pinned ? badge("pin", "📌", t("pinned")) : null,
      muted ? badge("mute", "🔕", t("muted")) : null,
      mention ? badge("mention", "@", t("mentioned")) : null,
      unread ? badge("count", unread >= 200 ? "200+" : String(unread), t("unread", { n: unread })) : null,
      !unread && marked ? badge("count", "•", t("marked_unread")) : null,
    ].filter((one) => one !== null);
  }
}

/** The time of today, the day of what is older. */
function lately(value) {
  const at = new Date(value);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" }) : at.toLocaleDateString(locale(), { month: "numeric", day: "numeric" });
}

/** The words of a draft, whichever way some client has kept it. */
export function drafted(mine) {
  const draft = mine?.draft;
  const text = typeof draft === "string" ? draft : draft?.text;
  return typeof text === "string" ? text : "";
}

/** What is known of the chosen conversation, and what its user keeps of it: `own(id, state)` changes that. */
export class TalkTools {
  #chosen = null;

  constructor(own, manage) {
    const button = (name, state) => el("button", { type: "button", class: "small", "data-own": name, onclick: () => own(this.#chosen.id, state(this.#chosen.mine)) });
    this.facts = el("span", { class: "facts" });
    this.pin = button("pinned", (mine) => ({ pinned: !mine.pinned_at }));
    this.mute = button("muted", (mine) => ({ muted: !mine.muted }));
    this.manage = manage;
    this.root = el("div", { class: "tools", hidden: true }, this.facts, this.pin, this.mute, manage.toggle);
  }

  render(chosen, title) {
    this.#chosen = chosen;
    this.root.hidden = !chosen;
    this.manage.render(chosen);
    if (!chosen) return;
    const inbox = chosen.kind === "inbox";
    this.facts.textContent = inbox ? title : `${title} · ${t("members", { n: chosen.member_count })}`;
    this.pin.hidden = this.mute.hidden = inbox;
    this.pin.textContent = t(chosen.mine?.pinned_at ? "unpin_talk" : "pin_talk");
    this.mute.textContent = t(chosen.mine?.muted ? "unmute_talk" : "mute_talk");
  }
}

class GroupForm {
  constructor(side, create) {
    const field = (name) => el("input", { id: `${name}-${side}`, type: "text", maxlength: "500", autocomplete: "off", spellcheck: "false" });
    const title = field("group-title");
    const members = field("group-members");
    const problem = el("p", { class: "problem", role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      problem.textContent = "";
      try {
        await create(title.value.trim(), split(members.value));
        title.value = members.value = "";
        this.root.open = false;
      } catch (error) {
        problem.textContent = explained(error);
      }
    };
    const pair = (name, node) => el("div", { class: "field" }, el("label", { for: node.id, "data-t": name }), node);
    this.root = el("details", { class: "new-group" }, el("summary", { "data-t": "group_new" }),
      el("form", { method: "post", onsubmit: submit }, pair("group_title", title), pair("group_members", members),
        el("button", { type: "submit", class: "small primary", "data-t": "group_create" }), problem));
  }
}
