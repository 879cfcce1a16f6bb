// Beside the phone: what was sent, the accounts and their subscriptions, the events that were pushed.

import { avatar, clock, h, toggle } from "./dom.js";
import { locale, words } from "./words.js";

export const TABS = ["inspect", "accounts", "callbacks"];

export function tabs(state, actions) {
  const w = words(state.language);
  return TABS.map((tab) =>
    h("button", { type: "button", class: state.tab === tab ? "tab on" : "tab", onclick: () => actions.openTab(tab) }, w[tab]));
}

export function panel(state, actions) {
  const w = words(state.language);
  if (!state.view) return [];
  if (state.tab === "accounts") return state.view.accounts.map((account) => accountOf(account, actions, w));
  if (state.tab === "callbacks") return pushes(state, w);
  const card = state.view.threads.flatMap((thread) => thread.messages).find((one) => one.msgid === state.selected);
  return card ? inspect(card, state, w) : [h("p", { class: "hint" }, w.pick)];
}

function inspect(card, state, w) {
  const leads = card.link.kind === "none" ? "–" : `${card.link.appid ? `${card.link.appid} ` : ""}${card.link.target}`;
  const facts = [
    [w.interface, card.api], [w.account, `${card.account} · ${card.appid}`], ["openid", card.openid], ["msgid", card.msgid],
    card.client_msg_id && ["client_msg_id", card.client_msg_id],
    [w.time, clock(card.sent_at, locale(state.language))], [w.status, `${card.status} · ${card.tapped_at ? w.tapped : w.untapped}`], [w.leads, leads],
  ].filter(Boolean);
  return [
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("div", { class: "compare" },
      h("section", {}, h("h3", {}, w.request), h("pre", { class: "json" }, coloured(JSON.stringify(card.request, null, 2)))),
      h("section", {}, h("h3", {}, w.shown),
        h("div", { class: "seen" }, card.title && h("strong", {}, card.title),
          card.lines.map(([label, value]) => h("p", {}, label && h("span", { class: "label" }, label), value))))),
  ];
}

// Strings, keys and numbers of pretty JSON get a class each; it stays text.
function coloured(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?|true|false|null/g)) {
    parts.push(text.slice(end, match.index));
    const kind = match[2] ? "key" : match[1] ? "string" : "number";
    parts.push(h("span", { class: kind }, match[1] ?? match[0]), match[2] ?? "");
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

function accountOf(account, actions, w) {
  const official = account.kind === "official";
  const messages = account.templates.filter((template) => template.kind === 0);
  const groups = [2, 3].map((kind) => account.templates.filter((template) => template.kind === kind)).filter((group) => group.length);
  return h("article", { class: "account" },
    h("header", {}, avatar(account.name),
      h("div", { class: "grow" }, h("strong", {}, account.name), h("span", { class: "muted" }, w[account.kind])),
      official && h("button", { type: "button", class: account.following ? "soft" : "primary", onclick: () => actions.follow(account) }, account.following ? w.unfollow : w.follow)),
    h("p", { class: "ids" }, h("code", {}, account.appid), h("code", {}, account.openid)),
    h("p", { class: "muted small" }, account.callback || w.noCallback),
    official && row(w.blocks, null, toggle(account.blocks_messages, w.blocks, () => actions.block(account))),
    messages.length > 0 && h("h4", {}, w.templateMessages),
    messages.map((template) => row(template.title, template.refused && chip(w.template_off, "red"),
      toggle(!template.refused, `${w.receive} ${template.title}`, () => actions.switchTemplate(account, template, template.refused)))),
    groups.map((group) => [
      h("h4", {}, w.subscriptions, group[0].kind === 3 && ` · ${w.longTerm}`),
      group.map((template) => row(template.title, [grant(template, w), template.always && chip(w.always[template.always], template.always === "accept" ? "green" : "red")],
        toggle(template.always !== "reject", `${w.receive} ${template.title}`, () => actions.switchTemplate(account, template, template.always === "reject")))),
      h("button", { type: "button", class: "ask", onclick: () => actions.ask(account, group.slice(0, 3)) }, w.ask),
    ]));
}

function grant(template, w) {
  if (template.long_term) return chip(w.longTerm, "green");
  return template.remaining > 0 ? chip(w.remaining(template.remaining), "green") : chip(w.noGrant, "grey");
}

const chip = (text, colour) => h("span", { class: `chip ${colour}` }, text);
const row = (text, chips, control) => h("div", { class: "setting" }, h("span", { class: "grow" }, text), chips, control);

function pushes(state, w) {
  if (!state.pushes.length) return [h("p", { class: "hint" }, w.noPushes)];
  const outcomes = { answered: [w.answered, "green"], "given up": [w.givenUp, "red"], waiting: [w.waiting, "grey"] };
  return [...state.pushes].reverse().slice(0, 50).map((push) =>
    h("details", { class: "push" },
      h("summary", {}, h("strong", {}, push.event), h("span", { class: "muted grow" }, ` ${push.openid.slice(0, 10)}…`),
        push.tries.length > 1 && chip(w.tries(push.tries.length), "orange"), chip(...outcomes[push.outcome])),
      h("pre", { class: "json" }, push.body),
      push.tries.map((tried) => h("p", { class: "muted small" }, tried.error ?? `HTTP ${tried.status} ${tried.body ?? ""}`))));
}
