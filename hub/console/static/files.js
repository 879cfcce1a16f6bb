// Files in messages: what is sent is uploaded first, what came is shown by links that hold for a while.

import { address, call, upload } from "./api.js";
import { el } from "./dom.js";
import { locale, t } from "./words.js";

const ID = /^med_\w+$/;
const KINDS = ["image", "video", "voice", "file"];

/** The kind of message that shows a file of this type. */
export function kindOf(mime) {
  if (mime === "image/svg+xml") return "file"; // it is only ever saved
  const [family] = mime.split("/");
  return { image: "image", video: "video", audio: "voice" }[family] ?? "file";
}

/** Upload a file; gives {kind, body} of the message that shows it. */
export async function bodyOf(bearer, file) {
  const { id, mime, size } = await upload(bearer, file);
  const kind = kindOf(mime);
  const facts = { media: id, name: file.name || id, mime, size };
  return { kind, body: kind === "image" ? { ...facts, ...await sides(file) } : facts };
}

async function sides(file) {
  try {
    const { width, height } = await createImageBitmap(file);
    return { width, height };
  } catch {
    return {}; // no picture that this browser knows
  }
}

/** Whether a message shows files of the hub. */
export function hasFiles({ kind, body }) {
  return KINDS.includes(kind) && idsOf(body).length > 0;
}

/** What is said beside the files. */
export const captionOf = ({ body }) => (typeof body.text === "string" ? body.text : "");

/** What a message shows of its files. `token()` is a token of who looks. */
export function shownFiles({ kind, body }, token) {
  return idsOf(body).map((id) => one(kind, body, id, token));
}

const idsOf = (body) => [body?.media ?? []].flat().filter((id) => typeof id === "string" && ID.test(id)).slice(0, 9);

function one(kind, body, id, token) {
  const name = typeof body.name === "string" && body.name ? body.name : id;
  const link = async () => address((await call(token(), "GET", `v1/media/${id}/link`)).url);
  const problem = (error) => place.replaceChildren(el("span", { class: "problem" }, t("file_gone", { name, detail: error.message })));
  const save = () => link().then((url) => el("a", { href: url, download: name, target: "_blank", rel: "noopener" }).click(), problem);
  const place = el("span", { class: `file ${kind}` });
  const saving = el("button", { type: "button", class: "small", onclick: save, "aria-label": t("file_save", { name }) }, `⬇ ${name}${sized(body.size)}`);
  if (kind === "file") {
    place.append(saving);
    return place;
  }
  const node = playing(kind, body, name);
  // a link of a store elsewhere, and what the browser cannot show, is still to be had
  node.addEventListener("error", () => place.replaceChildren(saving));
  link().then((url) => (node.src = url), problem);
  if (kind !== "image") place.append(node);
  else place.append(el("button", { type: "button", class: "picture", onclick: () => place.classList.toggle("large"), "aria-label": t("file_larger", { name }) }, node));
  return place;
}

function playing(kind, body, name) {
  const number = (value) => (Number.isInteger(value) && value > 0 && value < 100_000 ? String(value) : null);
  if (kind === "image") return el("img", { alt: name, width: number(body.width), height: number(body.height) });
  return el(kind === "voice" ? "audio" : "video", { controls: true, preload: "metadata", "aria-label": name });
}

function sized(size) {
  if (!Number.isInteger(size)) return "";
  const [value, unit] = size < 1024 ? [size, "byte"] : size < 1024 ** 2 ? [size / 1024, "kilobyte"] : [size / 1024 ** 2, "megabyte"];
  return ` · ${value.toLocaleString(locale(), { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 1 })}`;
}
