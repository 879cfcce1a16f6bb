// Looking for messages by their words.

import { call } from "./api.js";
import { el } from "./dom.js";
import { explained, locale, t } from "./words.js";

const PAGE = 20;

/** `token()` is the person's, `where(id)` and `called(user)` say names, `pick(message)` is called with what was chosen. */
export class Search {
  #world;
  #next = null;

  constructor(world, side) {
    this.#world = world;
    this.field = el("input", { id: `search-${side}`, type: "search", maxlength: "200", autocomplete: "off", "data-t-hint": "search_hint" });
    this.found = el("ol", { class: "found", "data-t-label": "search_found" });
    this.says = el("p", { class: "quiet", role: "status" });
    this.more = el("button", { type: "button", class: "small", hidden: true, "data-t": "search_more", onclick: () => this.#look() });
    const submit = (event) => {
      event.preventDefault();
      this.#next = null;
      this.found.replaceChildren();
      this.says.textContent = "";
      if (this.field.value.trim()) this.#look();
    };
    this.root = el("details", { class: "search" }, el("summary", { "data-t": "search" }),
      el("form", { method: "post", onsubmit: submit },
        el("label", { class: "hidden", for: this.field.id, "data-t": "search_hint" }), this.field, el("button", { type: "submit", class: "small", "data-t": "search" })),
      this.says, this.found, this.more);
  }

  async #look() {
    const query = new URLSearchParams({ q: this.field.value.trim(), limit: PAGE, ...(this.#next ? { after: this.#next } : {}) });
    this.more.hidden = true;
    try {
      const { data, page } = await call(this.#world.token(), "GET", `v1/search/messages?${query}`);
      this.found.append(...data.map((hit) => this.#hit(hit)));
      this.#next = page.next;
      this.more.hidden = !page.has_more;
      const n = this.found.children.length;
      this.says.textContent = n ? t("search_count", { n: page.has_more ? `${n}+` : n }) : t("search_none");
    } catch (error) {
      this.says.textContent = explained(error);
    }
  }

  #hit({ message, snippet }) {
    const who = message.sender ? this.#world.called(message.sender) : t("system");
    const day = new Date(message.at).toLocaleString(locale(), { dateStyle: "short", timeStyle: "short" });
    return el("li", {}, el("button", { type: "button", class: "hit", onclick: () => this.#world.pick(message) },
      el("span", { class: "id" }, [this.#world.where(message.conversation), who, day].filter(Boolean).join(" · ")), el("span", {}, ...marked(snippet))));
  }
}

/** The words of a snippet, marked where they were found; its places count characters, not UTF-16 units. */
function marked({ text, places, before, after }) {
  const characters = [...text];
  const piece = (from, to) => characters.slice(from, to).join("");
  const parts = [before ? "…" : ""];
  let end = 0;
  for (const [from, to] of places) {
    parts.push(piece(end, from), el("mark", {}, piece(from, to)));
    end = to;
  }
  return [...parts, piece(end), after ? "…" : ""].filter((one) => one !== "");
}
