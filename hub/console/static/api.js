// The hub's REST API, with the key or a token in a header, never in a URL.

const BASE = new URL("./", document.baseURI);
const WITHIN = 10_000;
const UPLOADED_WITHIN = 300_000;

/** What went wrong, in the words of the problem document where there is one. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail ?? document.title ?? `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = document.code ?? (status ? "unknown" : "unreachable");
  }
}

export function socketUrl() {
  const url = new URL("v1/ws", BASE);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The JSON of an answer, whatever its status: {status, body}. Throws a Problem where there is none. */
export async function get(path) {
  const answer = await fetched(path, {});
  return { status: answer.status, body: await json(answer) };
}

/** The JSON of a successful answer; anything else is a Problem. */
export async function call(bearer, method, path, body) {
  const headers = { Authorization: `Bearer ${bearer}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetched(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const found = answer.status === 204 ? null : await json(answer);
  if (!answer.ok) throw new Problem(answer.status, found ?? {});
  return found;
}

/** Upload a file; gives what the hub keeps of it. */
export async function upload(bearer, file) {
  const headers = { Authorization: `Bearer ${bearer}`, "Content-Type": file.type || "application/octet-stream" };
  const path = `v1/media?name=${encodeURIComponent(file.name ?? "")}`;
  const answer = await fetched(path, { method: "POST", headers, body: file }, UPLOADED_WITHIN);
  const found = await json(answer);
  if (!answer.ok) throw new Problem(answer.status, found);
  return found;
}

/** The address behind a link of the hub's, which may live under a path; links elsewhere stay as they are. */
export const address = (url) => (url.startsWith("/") ? new URL(url.slice(1), BASE).href : url);

async function fetched(path, init, within = WITHIN) {
  try {
    return await fetch(new URL(path, BASE), { ...init, cache: "no-store", signal: AbortSignal.timeout(within) });
  } catch (error) {
    throw new Problem(0, { detail: error.message, code: "unreachable" });
  }
}

async function json(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Problem(answer.status, {});
  }
}
