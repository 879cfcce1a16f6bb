// "Send a notification", as a business system does, and how far each one got.

import { call } from "./api.js";
import { byId, el } from "./dom.js";
import { story } from "./story.js";
import { steps } from "./ledger.js";
import { onLanguage, t } from "./words.js";

const EVERY = 1_500;
const FOLLOWED = 8;
const OWN = JSON.stringify({ mode: "cascade", steps: [{ channel: "ws", success: "read", wait: "PT1M" }] }, null, 1);

export class Notifier {
  #session;
  #sent = []; // {id, user, title, state}
  #timer = null;
  #off = [];
  #ended = new AbortController();

  /** `session` is {key, users: [left, right], changed()}. */
  constructor(session) {
    this.#session = session;
    const { signal } = this.#ended;
    byId("notify-to").replaceChildren(...session.users.map((user) => el("option", { value: user }, user)));
    byId("notify-route").addEventListener("change", () => this.#routeChosen(), { signal });
    byId("notify-form").addEventListener("submit", (event) => this.#submit(event), { signal });
    byId("notify-json").value ||= OWN;
    this.#examples();
    this.#off.push(onLanguage(() => this.#relabel()));
    this.#routes();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    for (const off of this.#off) off();
    this.#sent = [];
    this.#show();
  }

  async #routes() {
    let named = [];
    try {
      const { data } = await call(this.#session.key, "GET", "v1/policies");
      named = data.map((policy) => policy.name).filter((name) => name !== "default");
    } catch { /* a key without policies:read still has the default */ }
    const select = byId("notify-route");
    const options = named.map((name) => el("option", { value: `policy:${name}` }, name));
    select.replaceChildren(
      el("option", { value: "", "data-t": "route_default" }, t("route_default")),
      ...options,
      el("option", { value: "own", "data-t": "route_own" }, t("route_own")),
    );
    this.#routeChosen();
  }

  #routeChosen() {
    byId("notify-own").hidden = byId("notify-route").value !== "own";
  }

  /** The fields hold an example until somebody changes them. */
  #examples() {
    for (const id of ["notify-title", "notify-text"]) {
      const field = byId(id);
      if (!field.value || field.value === field.dataset.example) {
        field.value = field.dataset.example = t(field.dataset.key);
      }
    }
  }

  #relabel() {
    this.#examples();
    this.#show();
  }

  async #submit(event) {
    event.preventDefault();
    const problem = byId("notify-problem");
    problem.textContent = "";
    const user = byId("notify-to").value;
    const title = byId("notify-title").value.trim();
    const body = { to: [{ user_id: user }], content: { title, text: byId("notify-text").value } };
    const route = byId("notify-route").value;
    if (route.startsWith("policy:")) body.policy = route.slice(7);
    if (route === "own") {
      try {
        body.route = JSON.parse(byId("notify-json").value);
      } catch {
        problem.textContent = t("route_bad");
        byId("notify-json").focus();
        return;
      }
    }
    const button = byId("notify-send");
    button.disabled = true;
    try {
      const { id } = await call(this.#session.key, "POST", "v1/notifications", body);
      this.#sent = [{ id, user, title, state: "accepted" }, ...this.#sent].slice(0, FOLLOWED);
      this.#show();
      this.#session.changed();
      this.#follow(400);
    } catch (error) {
      problem.textContent = error.status ? t("failed", { detail: error.message }) : t("unreachable");
    } finally {
      button.disabled = false;
    }
  }

  #follow(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      const open = document.hidden ? [] : this.#sent.filter((one) => one.state !== "read");
      await Promise.allSettled(open.map((one) => this.#ask(one)));
      this.#show();
      if (this.#sent.some((one) => one.state !== "read")) this.#follow(EVERY);
    }, after);
  }

  async #ask(one) {
    const { recipients } = await call(this.#session.key, "GET", `v1/notifications/${one.id}`);
    one.state = recipients[0]?.state ?? one.state;
  }

  #show() {
    const list = byId("sent");
    byId("sent-none").hidden = this.#sent.length > 0;
    list.replaceChildren(
      ...this.#sent.map((one) =>
        el(
          "li",
          { "data-id": one.id },
          el("span", { class: "sent-title" }, one.title),
          el("span", { class: "sent-to" }, t("sent_to", { user: one.user })),
          steps(one.state),
          el("button", { type: "button", class: "small why", "aria-expanded": String(Boolean(one.story)), onclick: () => this.#why(one) }, t("why")),
          one.story ? story(one.story) : null,
        ),
      ),
    );
  }

  /** Open or close the story of what was sent. */
  async #why(one) {
    try {
      const path = `v1/notifications/${one.id}/explain?user=${encodeURIComponent(one.user)}`;
      one.story = one.story ? null : await call(this.#session.key, "GET", path);
    } catch (error) {
      byId("notify-problem").textContent = t("failed", { detail: error.message });
    }
    this.#show();
    byId("sent").querySelector(`[data-id="${one.id}"] .why`)?.focus();
  }
}
