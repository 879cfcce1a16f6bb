// A group: its announcement, who is in it, and what the person may do there by their role.

import { call } from "./api.js";
import { el, set } from "./dom.js";
import { explained, locale, t } from "./words.js";

const RANK = { readonly: 1, member: 2, admin: 3, owner: 4 };
const SILENCE_MS = 10 * 60_000;

/**
 * `token()` is the person's, `called(user)` says what somebody is called, `members(id)` gives the known ones, and
 * `changed(id)` is called when something was changed and the members are to be looked at anew.
 */
export class Manage {
  #world;
  #chosen = null;
  #open = false;
  #actions = null; // the member whose actions are shown
  #asked = null; // the key of the button that waits for a second press; it is drawn anew whenever something changes
  #drawing = false;

  constructor(world, side) {
    this.#world = world;
    this.toggle = el("button", { type: "button", class: "small", "data-own": "manage", "aria-expanded": "false", hidden: true, onclick: () => this.#switch(!this.#open) });
    this.announced = el("p", { class: "announced", hidden: true });
    this.problem = el("p", { class: "problem", role: "alert" });
    const field = (name, most) => el("input", { id: `${name}-${side}`, type: "text", maxlength: String(most), autocomplete: "off" });
    this.title = field("manage-title", 200);
    this.words = field("manage-announce", 2_000);
    this.invited = field("manage-invite", 500);
    const post = (path, body) => ["POST", path, body];
    this.forms = [
      this.#form(this.title, "manage_title", "save", () => ["PATCH", "", { title: this.title.value.trim() }]),
      this.#form(this.words, "manage_announce", "save", () => ["PUT", "/announcement", { text: this.words.value.trim() }]),
      this.#form(this.invited, "manage_invite", "manage_add", () => post("/members", { members: split(this.invited.value).map((user_id) => ({ user_id })) })),
    ];
    this.list = el("ul", { class: "members", "data-t-label": "manage_members" });
    this.all = el("div", { class: "all" });
    this.root = el("section", { class: "manage", hidden: true, "data-t-label": "manage" }, ...this.forms, this.list, this.all, this.problem);
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.#switch(false));
  }

  /** Show what belongs to this conversation of the list; null or no group: nothing. */
  render(chosen) {
    const group = chosen && (chosen.kind === "group" || chosen.kind === "thread") ? chosen : null;
    if (group?.id !== this.#chosen?.id) this.#leave(group);
    this.#chosen = group;
    this.toggle.hidden = !group;
    set(this.toggle, t("manage"));
    this.announced.hidden = !group?.announced || !this.announced.textContent;
    if (group && this.#open) this.#panel();
  }

  /** What stands at the top of the group now. */
  async announce() {
    const group = this.#chosen;
    if (!group?.announced) return void (this.announced.hidden = true);
    try {
      const { text } = await call(this.#world.token(), "GET", `v1/conversations/${group.id}/announcement`);
      if (this.#chosen?.id !== group.id) return;
      set(this.announced, text ? t("announced", { text }) : "");
      this.announced.hidden = !text;
      if (this.words !== document.activeElement) this.words.value = text ?? "";
    } catch { /* the list says whether there is one */ }
  }

  #leave(group) {
    this.#switch(false);
    this.announced.textContent = "";
    this.announced.hidden = true;
    this.#actions = this.#asked = null;
    this.title.value = group?.title ?? "";
    this.words.value = this.invited.value = "";
  }

  #switch(open) {
    const inside = this.root.contains(document.activeElement);
    this.#open = open;
    this.#asked = null;
    this.root.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    this.problem.textContent = "";
    if (inside) this.toggle.focus();
    if (!open || !this.#chosen) return;
    this.#panel();
    this.#world.changed(this.#chosen.id);
  }

  #panel() {
    this.#drawing = true;
    this.#draw();
    this.#drawing = false;
  }

  #draw() {
    const { group, mine } = this.#chosen;
    const role = mine?.role ?? "readonly";
    const over = Boolean(group?.dissolved_at);
    const admin = RANK[role] >= RANK.admin && !over;
    const invites = !over && (admin || (group?.invite === "members" && role === "member"));
    [admin, admin, invites].forEach((able, index) => (this.forms[index].hidden = !able));
    const people = this.#world.members(this.#chosen.id);
    const focused = this.list.contains(document.activeElement) || this.all.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.list.replaceChildren(...[...people].sort((one, other) => RANK[other.role] - RANK[one.role]).map((one) => this.#row(one, role, over)));
    const owner = role === "owner" && !over;
    this.all.replaceChildren(
      ...(admin ? [this.#button(group.silenced ? "manage_unsilence_all" : "manage_silence_all", [group.silenced ? "DELETE" : "PUT", "/silence"])] : []),
      ...(owner ? [this.#button(group.invite === "members" ? "manage_invite_admins" : "manage_invite_members", ["PATCH", "", { invite: group.invite === "members" ? "admins" : "members" }])] : []),
      this.#sure("manage_leave", ["POST", "/leave", {}]),
      ...(owner ? [this.#sure("manage_dissolve", ["POST", "/dissolve", {}])] : []),
    );
    if (focused) this.#focus(focused);
  }

  /** Where the person was; what is gone leads back to the member, or to where the panel was opened. */
  #focus(key) {
    const find = (one) => this.root.querySelector(`[data-key="${CSS.escape(one)}"]`);
    (find(key) ?? find(`more ${key.slice(key.indexOf(" ") + 1)}`) ?? this.toggle).focus();
  }

  #row(one, role, over) {
    const { user_id: user, silenced_until: until } = one;
    const silent = until && Date.parse(until) > Date.now();
    const below = RANK[one.role] < RANK[role] && RANK[role] >= RANK.admin && !over;
    const name = this.#world.called(user);
    const facts = [t(`role_${one.role}`), name === user ? "" : user, silent ? t("manage_silent", { until: moment(until) }) : ""].filter(Boolean).join(" · ");
    const open = this.#actions === user && below;
    const more = el("button", {
      type: "button", class: "more", "data-key": `more ${user}`, "aria-expanded": String(open), "aria-label": t("manage_member", { user: name }),
      onclick: () => ((this.#actions = open ? null : user), this.#panel()),
    }, "⋯");
    return el("li", { "data-user": user }, el("b", {}, name), el("span", { class: "id" }, facts), below ? more : null, open ? this.#menu(one, role, silent) : null);
  }

  #menu({ user_id: user, role: has }, role, silent) {
    const path = `/members/${encodeURIComponent(user)}`;
    const give = (next) => this.#button(`manage_make_${next}`, ["PATCH", path, { role: next }], user);
    const until = () => new Date(Date.now() + SILENCE_MS).toISOString();
    return el("div", { class: "menu" },
      role !== "owner" ? null : give(has === "admin" ? "member" : "admin"),
      silent ? this.#button("manage_unsilence", ["DELETE", `${path}/silence`], user) : this.#button("manage_silence", () => ["PUT", `${path}/silence`, { until: until() }], user),
      role !== "owner" ? null : this.#sure("manage_transfer", ["PUT", "/owner", { user_id: user }], user),
      this.#sure("manage_kick", ["DELETE", path], user));
  }

  #button(name, request, user = "") {
    return el("button", { type: "button", class: "small", "data-do": name, "data-key": `${name} ${user}`, onclick: () => this.#ask(request) }, t(name));
  }

  /** One that asks once more before it does what cannot be undone. */
  #sure(name, request, user = "") {
    const key = `${name} ${user}`;
    const press = () => {
      if (this.#asked === key) return void this.#ask(request);
      this.#asked = key;
      this.#panel();
    };
    const leave = () => {
      // What is drawn anew loses the focus and gets it back.
      if (this.#drawing || this.#asked !== key) return;
      this.#asked = null;
      button.textContent = t(name);
    };
    const button = el("button", { type: "button", class: "small danger", "data-do": name, "data-key": key, onclick: press, onblur: leave }, this.#asked === key ? t("manage_sure", { what: t(name) }) : t(name));
    return button;
  }

  #form(field, name, does, request) {
    const submit = async (event) => {
      event.preventDefault();
      if (await this.#ask(request()) && field === this.invited) field.value = "";
    };
    return el("form", { method: "post", onsubmit: submit }, el("label", { for: field.id, "data-t": name }), field, el("button", { type: "submit", class: "small", "data-t": does }));
  }

  async #ask(request) {
    const { id } = this.#chosen;
    const [method, path, body] = typeof request === "function" ? request() : request;
    this.problem.textContent = "";
    this.#actions = this.#asked = null;
    this.#panel();
    try {
      await call(this.#world.token(), method, `v1/conversations/${id}${path}`, body);
    } catch (error) {
      this.problem.textContent = explained(error);
      return false;
    }
    this.#world.changed(id);
    return true;
  }
}

export const split = (text) => text.split(/[,，、;；\n]/).map((one) => one.trim()).filter(Boolean);

const moment = (value) => new Date(value).toLocaleString(locale(), { dateStyle: "short", timeStyle: "short" });
