// State, actions, and drawing anew after each change.

import * as api from "./api.js";
import { h } from "./dom.js";
import { TABS, panel, tabs } from "./panel.js";
import { screen } from "./screen.js";
import { words } from "./words.js";

const wanted = new URLSearchParams(location.hash.slice(1));
const seen = new Map();
const state = {
  language: wanted.get("lang") ?? localStorage.getItem("sandbox.language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
  people: [], person: wanted.get("person") ?? "", view: null, pushes: [], live: false,
  thread: wanted.get("thread"), selected: wanted.get("message"), tab: TABS.includes(wanted.get("tab")) ? wanted.get("tab") : "accounts",
  dialog: null, landing: null,
  unread: (thread) => thread.messages.length - (seen.get(`${state.person} ${thread.id}`) ?? 0),
};
const $ = (id) => document.getElementById(id);

async function refresh() {
  const { people } = await api.getState();
  state.people = people;
  if (!people.some((person) => person.person_id === state.person)) state.person = people[0]?.person_id ?? "";
  const asked = state.person;
  const [view, { pushes }] = await Promise.all([asked ? api.getPhone(asked) : null, api.getPushes()]);
  if (asked !== state.person) return;
  state.view = view;
  state.pushes = pushes;
  draw();
}

let pending = false;
function soon() {
  if (pending) return;
  pending = true;
  setTimeout(() => {
    pending = false;
    refresh().catch(say);
  }, 60);
}

async function attempt(doing) {
  try {
    await doing();
    await refresh();
  } catch (error) {
    say(error);
  }
}

let hiding;
function say(error) {
  $("toast").textContent = error.message;
  $("toast").classList.add("on");
  clearTimeout(hiding);
  hiding = setTimeout(() => $("toast").classList.remove("on"), 4000);
}

const set = (changes) => {
  Object.assign(state, changes);
  draw();
};

const actions = {
  openThread: (thread) => set({ thread, landing: null }),
  openTab: (tab) => set({ tab }),
  inspect: (card) => set({ selected: card.msgid, tab: "inspect" }),
  tapCard: (card) => attempt(async () => set({ selected: card.msgid, tab: "inspect", landing: await api.tap(card.msgid) })),
  closeLanding: () => set({ landing: null }),
  closeDialog: () => set({ dialog: null }),
  follow: (account) => attempt(() => api.act(state.person, account.following ? "unfollow" : "follow", { appid: account.appid })),
  block: (account) => attempt(() => api.setTie(state.person, account.appid, { blocks_messages: !account.blocks_messages })),
  switchTemplate: (account, template, on) =>
    attempt(() => api.act(state.person, "settings", { appid: account.appid, template_id: template.template_id, choice: on ? "accept" : "reject" })),
  ask: (account, templates) => {
    const ids = templates.filter((template) => !template.always).map((template) => template.template_id);
    if (ids.length) return set({ dialog: { account, templates, checked: new Set(ids), keep: false } });
    return subscribe(account, templates, new Set(), "accept", false);
  },
  check: (id) => {
    const { checked } = state.dialog;
    if (!checked.delete(id)) checked.add(id);
    draw();
  },
  keep: () => {
    state.dialog.keep = !state.dialog.keep;
    draw();
  },
  answer: (choice) => {
    const { account, templates, checked, keep } = state.dialog;
    state.dialog = null;
    return subscribe(account, templates, checked, choice, keep);
  },
};

// What is not ticked is refused, as in WeChat.
function subscribe(account, templates, checked, choice, always) {
  const choices = Object.fromEntries(templates.map((template) => [template.template_id, checked.has(template.template_id) ? choice : "reject"]));
  return attempt(() => api.act(state.person, "subscribe", { appid: account.appid, choices, always }));
}

function draw() {
  const w = words(state.language);
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  $("brand").textContent = w.brand;
  $("tagline").textContent = w.tagline;
  $("language").textContent = w.other;
  $("live").textContent = state.live ? w.live : w.offline;
  $("live").classList.toggle("on", state.live);
  $("ticket").placeholder = w.scanHint;
  $("ticket").setAttribute("aria-label", w.scanHint);
  $("scan-button").textContent = w.scan;
  $("people").replaceChildren(...state.people.map((person) =>
    h("button", { type: "button", class: person.person_id === state.person ? "person on" : "person", onclick: () => choose(person.person_id) }, person.name)));
  $("codes").replaceChildren(...(state.view?.qrcodes ?? []).map((code) => h("option", { value: code.ticket }, code.scene)));
  markSeen();
  const scrolled = scrollOf($("phone").querySelector(".cards"));
  const open = [...$("panel").querySelectorAll("details[open]")].length > 0;
  $("phone").replaceChildren(...screen(state, actions));
  $("tabs").replaceChildren(...tabs(state, actions));
  if (!(open && state.tab === "callbacks")) $("panel").replaceChildren(...panel(state, actions));
  restore($("phone").querySelector(".cards"), scrolled);
}

function markSeen() {
  for (const thread of state.view?.threads ?? []) {
    const key = `${state.view.person.person_id} ${thread.id}`;
    if (thread.id === state.thread || !seen.has(key)) seen.set(key, thread.messages.length);
  }
}

const scrollOf = (cards) => cards && { thread: cards.dataset.thread, top: cards.scrollTop, end: cards.scrollHeight - cards.scrollTop - cards.clientHeight < 40 };

// Stays where the reader is; at the end it follows new cards.
function restore(cards, before) {
  if (!cards) return;
  cards.scrollTop = before?.thread === cards.dataset.thread && !before.end ? before.top : cards.scrollHeight;
}

function choose(person) {
  Object.assign(state, { person, view: null, thread: null, selected: null, dialog: null, landing: null });
  refresh().catch(say);
}

$("language").addEventListener("click", () => {
  set({ language: state.language === "zh" ? "en" : "zh" });
  localStorage.setItem("sandbox.language", state.language);
});
$("scan").addEventListener("submit", (event) => {
  event.preventDefault();
  const ticket = $("ticket").value.trim();
  if (ticket) attempt(() => api.act(state.person, "scan", { ticket })).then(() => ($("ticket").value = ""));
});
draw();
refresh().catch(say);
if (wanted.get("live") !== "0") api.listen(soon, (live) => set({ live }));
