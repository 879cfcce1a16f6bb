// The phone's screen: conversations, one conversation, the subscription dialog, where a tap leads.

import { avatar, clock, h } from "./dom.js";
import { locale, words } from "./words.js";

export function screen(state, actions) {
  const w = words(state.language);
  const thread = state.view?.threads.find((one) => one.id === state.thread);
  return [
    h("div", { class: "notch" }),
    statusBar(state),
    thread ? conversation(state, thread, actions, w) : list(state, actions, w),
    state.dialog && dialog(state, actions, w),
    state.landing && landing(state, actions, w),
  ].filter(Boolean);
}

function statusBar(state) {
  const now = state.view ? clock(state.view.now, locale(state.language)).slice(-5) : "";
  return h("div", { class: "status" }, h("span", {}, now), h("span", { class: "battery" }));
}

const nameOf = (thread, w) => (thread.kind === "service" ? w.service : thread.name);
const preview = (card) => card.title || card.lines.map((line) => line[1]).join(" ");

function list(state, actions, w) {
  const threads = [...(state.view?.threads ?? [])].sort((a, b) => last(b) - last(a));
  return h("div", { class: "page" },
    h("div", { class: "title" }, h("span", { class: "heading" }, w.wechat)),
    h("div", { class: "threads" }, threads.map((thread) => {
      const newest = thread.messages.at(-1);
      const unread = state.unread(thread);
      return h("button", { type: "button", class: "thread", onclick: () => actions.openThread(thread.id) },
        h("span", { class: "face" }, avatar(nameOf(thread, w), thread.kind), unread > 0 && h("span", { class: "badge" }, String(unread))),
        h("span", { class: "words" },
          h("span", { class: "line" }, h("span", { class: "name" }, nameOf(thread, w)), newest && h("time", {}, clock(newest.sent_at, locale(state.language)))),
          h("span", { class: "preview" }, newest ? preview(newest) : w.empty)));
    })),
    threads.every((thread) => thread.messages.length === 0) && h("p", { class: "hint" }, w.emptyHint));
}

const last = (thread) => thread.messages.at(-1)?.sent_at ?? 0;

function conversation(state, thread, actions, w) {
  return h("div", { class: "page chat" },
    h("div", { class: "title" },
      h("button", { type: "button", class: "back", "aria-label": w.close, onclick: () => actions.openThread(null) }, "‹"),
      h("span", { class: "heading" }, nameOf(thread, w))),
    h("div", { class: "cards", "data-thread": thread.id },
      thread.messages.length === 0 && h("p", { class: "hint" }, w.empty),
      thread.messages.map((card) => [
        h("time", { class: "when" }, clock(card.sent_at, locale(state.language))),
        card.api === "custom/send" ? bubble(card, thread, state, actions) : cardOf(card, thread, state, actions, w),
      ])));
}

function cardOf(card, thread, state, actions, w) {
  const selected = state.selected === card.msgid ? " selected" : "";
  const leads = card.link.kind !== "none";
  const program = card.link.kind === "page" || card.link.kind === "miniprogram";
  return h("button", { type: "button", class: `card${selected}`, "data-msgid": card.msgid, onclick: () => actions.tapCard(card) },
    thread.kind === "service" && h("span", { class: "from" }, avatar(card.account), h("span", {}, card.account)),
    h("span", { class: "card-title" }, card.title),
    h("span", { class: "rows" }, card.lines.map(([label, value]) =>
      h("span", { class: label ? "row" : "row bare" }, label && h("span", { class: "label" }, label), h("span", { class: "value" }, value)))),
    leads && h("span", { class: "more" }, h("span", {}, program ? w.enter : w.detail), h("span", { class: "chevron" }, "›")));
}

function bubble(card, thread, state, actions) {
  const selected = state.selected === card.msgid ? " selected" : "";
  return h("button", { type: "button", class: `said${selected}`, "data-msgid": card.msgid, onclick: () => actions.inspect(card) },
    avatar(card.account), h("span", { class: "bubble" }, card.lines.map((line) => line[1]).join("\n")));
}

function dialog(state, actions, w) {
  const { account, templates, checked, keep } = state.dialog;
  return h("div", { class: "veil" },
    h("div", { class: "sheet-up", role: "dialog", "aria-label": w.asks(account.name) },
      h("div", { class: "from" }, avatar(account.name), h("span", {}, account.name)),
      h("h2", {}, w.asks(account.name)),
      h("p", { class: "muted" }, templates[0].kind === 3 ? w.long : w.once),
      templates.map((template) => check(template.title, checked.has(template.template_id), () => actions.check(template.template_id))),
      h("div", { class: "rule" }),
      check(w.keep, keep, actions.keep),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "soft", onclick: () => actions.answer("reject") }, w.refuse),
        h("button", { type: "button", class: "primary", onclick: () => actions.answer("accept") }, w.allow)),
      h("button", { type: "button", class: "plain", onclick: actions.closeDialog }, w.cancel)));
}

const check = (text, on, change) =>
  h("button", { type: "button", class: on ? "check on" : "check", role: "checkbox", "aria-checked": String(on), onclick: change }, h("span", { class: "box" }), text);

function landing(state, actions, w) {
  const link = state.landing;
  const heading = { url: w.opensPage, page: w.opensProgram, miniprogram: w.opensProgram, none: w.opensNothing }[link.kind];
  const web = link.kind === "url" && /^https?:\/\//.test(link.target);
  return h("div", { class: "veil" },
    h("div", { class: "sheet-up", role: "dialog", "aria-label": heading },
      h("h2", {}, heading),
      link.appid && h("p", { class: "muted" }, link.appid),
      link.target && h("code", { class: "target" }, link.target),
      link.fallback && h("p", { class: "muted" }, `${w.fallback} ${link.fallback}`),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "soft", onclick: actions.closeLanding }, w.close),
        web && h("a", { class: "primary", href: link.target, target: "_blank", rel: "noopener noreferrer" }, w.open))));
}
