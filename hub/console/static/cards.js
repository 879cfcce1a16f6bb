// Cards that ask for a decision: their buttons, and how the task stands, as messages of the kind `card` say.

import { el } from "./dom.js";
import { language, onLanguage, t } from "./words.js";

// What the hub writes on buttons by itself is in the person's language; here the page's counts.
const OWN = { approve: ["同意", "Approve"], reject: ["驳回", "Reject"] };
const label = ({ id, label: given }) => (OWN[id]?.includes(given) ? OWN[id][language() === "zh" ? 0 : 1] : given || id);

export class Cards {
  #states = new Map(); // task -> what the newest `card` said
  #shown = new Map(); // task -> [{node, body}]
  #act;
  #off;

  /** `act(task, action, comment)` is a promise; what it is refused with is shown on the card. */
  constructor(act) {
    this.#act = act;
    this.#off = onLanguage(() => this.#shown.forEach((_, task) => this.#render(task)));
  }

  end() {
    this.#off();
  }

  /** A notification's node; one that is about a task gets its buttons. */
  place(node, body) {
    const task = body?.data?.task;
    if (!task) return;
    if (body.data.rev === undefined && body.data.state) {
      node.dataset.task = body.data.state; // says by itself how it ended
      return;
    }
    const place = el("div", { class: "decision", "aria-live": "polite" });
    node.querySelector(".meta").before(place);
    this.#shown.set(task, [...(this.#shown.get(task) ?? []), { node, place, body }]);
    this.#render(task);
  }

  /** Of two the one with the higher rev counts: a queue read again may bring an older one. */
  update(body) {
    const known = this.#states.get(body.task);
    if (known && known.rev >= body.rev) return;
    this.#states.set(body.task, body);
    this.#render(body.task);
  }

  #render(task) {
    const state = this.#states.get(task);
    for (const shown of this.#shown.get(task) ?? []) {
      shown.node.dataset.task = state?.state ?? "pending";
      const open = !state || (state.state === "pending" && !state.processing);
      shown.place.replaceChildren(...(open ? this.#buttons(task, shown) : []), ...this.#words(state));
    }
  }

  #words(state) {
    if (!state) return [];
    const text = state.texts[language() === "zh" ? "zh-CN" : "en"] ?? state.state;
    const refused = state.refused ? el("p", { class: "problem" }, t("card_refused", { reason: state.refused.reason })) : null;
    const open = state.state === "pending" && !state.processing;
    return [open ? null : el("p", { class: "outcome" }, text), refused].filter((one) => one !== null);
  }

  #buttons(task, shown) {
    const actions = shown.body.actions ?? [];
    if (actions.length === 0) return [];
    const comment = actions.some((action) => action.requires?.includes("comment"))
      ? el("input", { type: "text", maxlength: "500", "aria-label": t("card_comment"), placeholder: t("card_comment") })
      : null;
    const problem = el("p", { class: "problem", role: "status" });
    const buttons = actions.map((action) =>
      el("button", { type: "button", class: `small ${action.style ?? ""}`, "data-action": action.id, onclick: press(action) }, label(action)),
    );
    const self = this;
    function press(action) {
      return async () => {
        if (action.requires?.includes("comment") && !comment.value.trim()) {
          problem.textContent = t("card_comment_needed");
          comment.focus();
          return;
        }
        buttons.forEach((button) => (button.disabled = true));
        try {
          await self.#act(task, action.id, comment?.value.trim() ?? "");
          problem.textContent = t("card_sent");
        } catch (error) {
          problem.textContent = error.message;
          buttons.forEach((button) => (button.disabled = false));
        }
      };
    }
    return [comment, el("div", { class: "actions" }, ...buttons), problem].filter((one) => one !== null);
  }
}
