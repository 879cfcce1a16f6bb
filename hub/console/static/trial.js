// "Try it": the key, the two users, and what belongs to them while they are connected.

import { call } from "./api.js";
import { byId } from "./dom.js";
import { Notifier } from "./notify.js";
import { Phone } from "./phone.js";
import { Ledger } from "./ledger.js";
import { onLanguage, t } from "./words.js";

const STORED = "hub.console.trial";
let running = null;
let problem = null; // () => words, so that they follow the language

export function startTrial() {
  byId("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    enter();
  });
  byId("leave").addEventListener("click", leave);
  byId("key-show").addEventListener("change", ({ target }) => {
    byId("key").type = target.checked ? "text" : "password";
  });
  onLanguage(show);
  const kept = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
  if (!kept) return;
  for (const field of ["key", "left", "right"]) byId(field).value = kept[field];
  enter({ quietly: true });
}

async function enter({ quietly = false } = {}) {
  const [key, left, right] = ["key", "left", "right"].map((id) => byId(id).value.trim());
  if (!key || !left || !right) return refuse(() => t("missing"), ["key", "left", "right"].find((id) => !byId(id).value.trim()));
  if (left === right) return refuse(() => t("same_user"), "right");
  byId("enter-button").disabled = true;
  byId("enter-button").textContent = t("connecting");
  try {
    await open(key, left, right);
    sessionStorage.setItem(STORED, JSON.stringify({ key, left, right }));
    problem = null;
  } catch (error) {
    close();
    refuse(() => words(error), "key");
  }
  byId("enter-button").disabled = false;
  show();
  if (running && !quietly) byId("phones-heading").focus();
  return undefined;
}

async function open(key, left, right) {
  const mint = async (user) => (await call(key, "POST", "v1/tokens", { user })).token;
  // Minting makes the users; their conversation makes them acquainted, so that they see each other's presence.
  await mint(left);
  await mint(right);
  const [conversation, leftName, rightName] = await Promise.all([
    optional(call(key, "PUT", "v1/conversations/direct", { users: [left, right] })),
    optional(call(key, "GET", `v1/users/${encodeURIComponent(left)}`)),
    optional(call(key, "GET", `v1/users/${encodeURIComponent(right)}`)),
  ]);
  const ledger = new Ledger();
  const phones = [];
  const changed = () => phones.forEach((phone) => phone.refresh());
  const common = { conversation: conversation?.id ?? null, ledger, changed };
  running = { phones, users: { left, right }, notifier: null };
  for (const [side, user, peer, record] of [["left", left, right, leftName], ["right", right, left, rightName]]) {
    const phone = { root: byId(side === "left" ? "phone-one" : "phone-two"), side, user, peer, name: record?.name ?? "" };
    phones.push(new Phone({ ...common, ...phone, device: deviceOf(side), mint: () => mint(user) }));
  }
  if (conversation) await optional(readSoFar(key, conversation.id, ledger));
  await Promise.all(phones.map((phone) => phone.start()));
  running.notifier = new Notifier({ key, users: [left, right], changed });
}

async function readSoFar(key, conversation, ledger) {
  const { data } = await call(key, "GET", `v1/conversations/${conversation}/members`);
  for (const { user_id: reader, read_seq: seq } of data) ledger.readUpTo({ conversation, seq, reader });
}

/** The same device over reloads of this tab, and another one in every other tab. */
function deviceOf(side) {
  const key = `hub.console.device.${side}`;
  const id = sessionStorage.getItem(key) ?? `console-${crypto.randomUUID()}`;
  sessionStorage.setItem(key, id);
  return id;
}

// A key with fewer scopes still shows most of it.
const optional = (promise) => promise.catch(() => null);

function close() {
  running?.phones.forEach((phone) => phone.end());
  running?.notifier?.end();
  running = null;
}

function leave() {
  close();
  sessionStorage.removeItem(STORED);
  byId("key").value = "";
  byId("frames").replaceChildren();
  show();
  byId("key").focus();
}

function refuse(words, field) {
  problem = words;
  show();
  byId(field).focus();
}

function words(error) {
  if (error.status === 401) return t("key_refused");
  if (error.status === 403) return t("key_forbidden");
  return error.code === "unreachable" ? t("unreachable") : t("failed", { detail: error.message });
}

function show() {
  byId("enter").hidden = running !== null;
  byId("tour").hidden = running !== null;
  byId("trial").hidden = running === null;
  byId("connected").hidden = running === null;
  byId("connected-as").textContent = running ? t("connected_as", running.users) : "";
  byId("enter-button").textContent = t("connect");
  byId("enter-problem").textContent = problem?.() ?? "";
}
