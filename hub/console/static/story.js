// Why somebody did or did not get something: the hub's explanation, as a list.

import { el } from "./dom.js";
import { language, locale, t } from "./words.js";

const said = (words) => (words ? words[language()] : "");

/** An explanation (GET …/explain) as an element. */
export function story(explanation) {
  return el(
    "div",
    { class: "story", "data-verdict": explanation.verdict },
    el("p", { class: "verdict" }, said(explanation.sentence)),
    said(explanation.do) ? el("p", { class: "quiet" }, said(explanation.do)) : null,
    el("ol", {}, ...explanation.steps.map(step)),
  );
}

function step(one) {
  const meaning = one.meaning ? said(one.meaning.what) : "";
  return el(
    "li",
    { "data-state": one.state },
    el("strong", {}, one.channel),
    el("span", {}, ` ${said(one.state_words)}${meaning ? ` · ${meaning}` : ""}`),
    ...one.tries.map(attempt),
  );
}

function attempt(one) {
  const when = new Date(one.finished_at ?? one.started_at).toLocaleTimeString(locale());
  const meaning = one.meaning ? said(one.meaning.what) : "";
  const words = [t("story_try", { n: one.number }), when, one.code, meaning || one.detail].filter(Boolean);
  return el("span", { class: "try" }, words.join(" · "));
}
