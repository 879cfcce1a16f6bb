// The hub's health, asked again while somebody looks.

import { get } from "./api.js";
import { byId, el } from "./dom.js";
import { known, locale, onLanguage, t } from "./words.js";

const EVERY = 5_000;
let last = null;

export function watchHealth() {
  onLanguage(show);
  let timer = null;
  const round = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    last = { ...(await look()), at: new Date() };
    show();
    timer = setTimeout(round, EVERY);
  };
  document.addEventListener("visibilitychange", round);
  round();
}

async function look() {
  try {
    const { body } = await get("readyz");
    const state = body.status === "ready" ? "ready" : "not_ready";
    return { state, dependencies: body.dependencies ?? [] };
  } catch {
    return { state: "unreachable", dependencies: last?.dependencies.map((one) => ({ ...one, ok: null })) ?? [] };
  }
}

function show() {
  const state = last?.state ?? "checking";
  const overall = byId("health-state");
  if (overall.dataset.state !== state || overall.dataset.words !== t(`health_${state}`)) {
    overall.dataset.state = state;
    overall.dataset.words = overall.textContent = t(`health_${state}`);
  }
  byId("health-at").textContent = last ? t("health_at", { time: last.at.toLocaleTimeString(locale()) }) : "";
  byId("dependencies").replaceChildren(...(last?.dependencies ?? []).map(tile));
}

function tile({ name, ok, ms, detail }) {
  const word = ok === null ? "–" : ok ? t("dep_ok") : t("dep_down");
  const number = ms < 0.1 ? "< 0.1" : ms < 10 ? ms.toFixed(1) : Math.round(ms);
  return el(
    "li",
    { "data-ok": String(ok) },
    el("span", { class: "dep-name" }, known(`dep_${name}`) ? t(`dep_${name}`) : name),
    el("span", { class: "dep-facts" }, el("b", {}, word), ok === null ? null : el("span", {}, t("ms", { ms: number }))),
    detail ? el("span", { class: "dep-detail" }, detail) : null,
  );
}
