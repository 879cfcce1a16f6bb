// What messages say in a line: notices of a group, and any message where there is only room for a few words.

import { said } from "./dom.js";
import { known, locale, t } from "./words.js";

const SHOWN = 5;
const FILES = new Set(["image", "video", "file", "voice", "location", "card"]);
const text = (value) => (typeof value === "string" ? value : "");

/** A group's notice as a sentence; `name(user)` says what somebody is called. One that is not known stays general. */
export function noticed(body, name) {
  const facts = body && typeof body === "object" ? body : {};
  const by = facts.by ? name(facts.by) : t("system");
  const users = Array.isArray(facts.users) ? facts.users : [];
  const count = Number.isInteger(facts.count) ? facts.count : users.length;
  const some = users.slice(0, SHOWN).map(name).join(t("list_comma"));
  const who = count > Math.min(users.length, SHOWN) && some ? t("and_more", { some, n: count }) : some;
  const fill = { by, who, title: text(facts.title), text: text(facts.text), role: roleOf(facts.role) };
  switch (facts.event) {
    case "joined": return users.length === 1 && users[0] === facts.by ? t("notice_came", fill) : t("notice_joined", fill);
    case "silenced": return facts.until ? t("notice_silenced", { ...fill, until: moment(facts.until) }) : t("notice_unsilenced", fill);
    case "group_silenced": return t(facts.silenced ? "notice_group_silenced" : "notice_group_unsilenced", fill);
    case "announcement": return t(fill.text ? "notice_announcement" : "notice_announcement_gone", fill);
    case "changed": return t(fill.title ? "notice_titled" : "notice_changed", fill);
    case "fanout": return t(facts.fanout === "read" ? "notice_fanout_read" : "notice_fanout_write", fill);
    case "created": return t(fill.title ? "notice_created" : "notice_created_plain", fill);
    default: return t(known(`notice_${facts.event}`) ? `notice_${facts.event}` : "notice_changed", fill);
  }
}

/** A message in a few words. */
export function glimpse(message, name) {
  if (!message) return "";
  if (message.kind === "recalled") return t("recalled");
  if (message.kind === "notice") return noticed(message.body, name);
  const { title, text: words } = told(message);
  return (title || words).slice(0, 200);
}

/** {title, text} of a message's body, by its kind; what is a file says which. */
export function told({ kind, body }) {
  if (kind === "recalled") return { title: "", text: "" };
  if (FILES.has(kind) && body && typeof body === "object") {
    const label = t(`kind_${kind}`);
    const more = [text(body.name) || text(body.user), text(body.address), text(body.text)].filter(Boolean).join(" · ");
    return { title: "", text: more ? `${label} ${more}` : label };
  }
  if (kind === "forward" && Array.isArray(body?.messages)) {
    const lines = body.messages.slice(0, SHOWN).map((one) => `${one.sender ?? t("system")}: ${one.kind === "forward" ? t("kind_forward") : told(one).text}`);
    return { title: text(body.title) || t("kind_forward"), text: lines.join("\n") };
  }
  return said(body);
}

const roleOf = (role) => (known(`role_${role}`) ? t(`role_${role}`) : text(role));

function moment(value) {
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleString(locale(), { dateStyle: "short", timeStyle: "short" });
}
