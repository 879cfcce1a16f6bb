// The log of raw frames, bounded.

import { byId, el } from "./dom.js";
import { locale, onLanguage, t } from "./words.js";

const KEPT = 200;

export function startFrames() {
  byId("frames-clear").addEventListener("click", () => byId("frames").replaceChildren());
  onLanguage(() => {
    for (const node of byId("frames").querySelectorAll("[data-way]")) node.setAttribute("aria-label", t(node.dataset.way));
  });
}

/** Add one frame that `user`'s phone sent or received. */
export function logFrame(side, user, { out, frame }) {
  const list = byId("frames");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const way = out ? "frame_out" : "frame_in";
  list.append(
    el(
      "li",
      { "data-side": side },
      el("time", {}, new Date().toLocaleTimeString(locale(), { hour12: false })),
      el("span", { class: "frame-user" }, user),
      el("span", { class: "frame-way", role: "img", "data-way": way, "aria-label": t(way) }, out ? "↑" : "↓"),
      el("code", {}, JSON.stringify(frame)),
    ),
  );
  while (list.children.length > KEPT) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}
