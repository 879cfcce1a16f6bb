// The page: languages first, then health and the trial.

import { byId } from "./dom.js";
import { startFrames } from "./frames.js";
import { watchHealth } from "./health.js";
import { startTrial } from "./trial.js";
import { choose, language, onLanguage, t, translate } from "./words.js";

for (const button of document.querySelectorAll("[data-lang]")) {
  button.addEventListener("click", () => choose(button.dataset.lang));
}
onLanguage(() => {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  translate();
  for (const button of document.querySelectorAll("[data-lang]")) {
    button.setAttribute("aria-pressed", String(button.dataset.lang === language()));
  }
});
startFrames();
watchHealth();
startTrial();
byId("page").hidden = false;
