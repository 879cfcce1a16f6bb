// A client of the hub's socket protocol, hub.v1. No dependencies; for browsers and anything with their WebSocket.
//
//   const client = new HubClient({ url: "wss://hub.example/v1/ws", token: fetchToken, device: { id, platform: "web" },
//                                  apply: (entry) => show(entry) });
//   client.start();
//   await client.send({ user: "bob" }, { text: "Lunch?" });
//
// Entries are applied in the order of q, once each by message id, and acknowledged after `apply` has returned. The
// connection comes back by itself: with the last applied q, with full jitter, and as the hub's `bye` says.
// What can be said is in verbs.js; how large conversations are followed is in pulls.js.

import { Outbox, Refused } from "./outbox.js";
import { Pulls } from "./pulls.js";
import { Timers } from "./timers.js";
import { Verbs } from "./verbs.js";

export { Refused };

const SUBPROTOCOL = "hub.v1";
const FOR_GOOD = new Set([1000, 1002, 1003, 1007, 1009, 4400, 4401, 4407, 4409, 4410, 4411]);
const PASSED_ON = new Set(["read", "presence", "typing", "behind", "conversation", "contact", "stale"]);
const CHANGES = new Set(["recall", "edit", "reaction", "pin", "hidden", "card", "notice"]);
const OPEN_WITHIN = 10_000;
const ACK_AFTER = 150;
const STEADY_AFTER = 5_000;
const REMEMBERED = 2_000;
const LONGEST_PAUSE = 30_000;

/**
 * Events: `state` {state, reason, retryMs}, `frame` {out, frame}, `welcome`, `read`, `presence`, `typing`, `grew`, `news`,
 * `behind`, `conversation`, `contact`, `stale`, `acked` {seq}, `error`; and after a control message was applied, its kind: `recall`,
 * `edit`, `reaction`, `pin`, `hidden`, `card`, `notice`. Each is a CustomEvent with the facts in `detail`.
 * States: off, connecting, live, waiting, refused.
 */
export class HubClient extends Verbs {
  #options;
  #socket = null;
  #state = "off";
  #bye = null;
  #limits = { page: 100, requests_in_flight: 16 };
  #tries = 0;
  #nextId = 1;
  #timers = new Timers();
  #requests = new Map(); // id -> {resolve, reject}: watch, history
  #outbox = new Outbox(500);
  #reads = new Map(); // conversation -> seq that could not be told yet
  #watched = [];
  #taken; // the highest q that was put in line
  #applied; // the highest q that was applied
  #acked = 0;
  #early = new Map(); // q -> entry that came before its turn
  #line = Promise.resolve();
  #ids = new Set();
  #syncing = false;
  #hinted = 0; // how far the queue goes, as `news` said
  #pulls;

  /**
   * `token` and `apply` may be async; `rebase` is awaited when the hub says to start again from the conversation list. With
   * `mode` "hint" entries are pulled after a `news`. `follow(conversation)` says whether a large one is pulled when it grew;
   * what was pulled has no `q`.
   */
  constructor({ url, token, device, apply, rebase = () => {}, cursor = null, random = Math.random, mode, follow = () => true }) {
    super();
    this.#options = { url, token, device, apply, rebase, random, mode };
    this.#pulls = new Pulls({ history: (...what) => this.history(...what), follow, apply: (entry) => this.#pulled(entry) });
    this.#taken = this.#applied = cursor;
    this.onOnline = () => this.#state === "waiting" && this.#connect();
  }

  get state() {
    return this.#state;
  }

  /** The last applied q; null before the first welcome. Keep it to continue from it. */
  get cursor() {
    return this.#applied;
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    if (this.#state === "connecting" || this.#state === "live") return;
    globalThis.addEventListener?.("online", this.onOnline);
    this.#tries = 0;
    this.#connect();
  }

  /** Leave. What was not answered goes out after the next `start`. */
  stop() {
    globalThis.removeEventListener?.("online", this.onOnline);
    if (this.#state === "live") {
      this.#ack();
      this.#write({ type: "bye" });
    }
    this.#drop("off", "stopped");
  }

  submit(frame) {
    const answer = this.#outbox.add({ ...frame, id: this.#id("s") });
    this.#flush();
    return answer;
  }

  /** The person has read a conversation up to `seq`; told later if there is no connection now. */
  read(conversation, seq) {
    this.#reads.set(conversation, Math.max(seq, this.#reads.get(conversation) ?? 0));
    this.#flush();
  }

  /** The person is writing; worth nothing later, so dropped without a connection. */
  typing(conversation) {
    if (this.#state === "live") this.#write({ type: "typing", conversation });
  }

  /** Hear of these users' presence from now on, over reconnects too; what is known now comes as `presence` events. */
  watch(users) {
    this.#watched = [...users];
    if (this.#state === "live") this.#watch();
  }

  /** A page of a conversation: {after} or {before}, and {limit}. */
  history(conversation, range = {}) {
    return this.#request({ type: "history", conversation, ...range });
  }

  /** A page of the conversation list, {conversations, next}: the first, or past {after}; with {conversation} that one. */
  conversations(range = {}) {
    return this.#request({ type: "conversations", ...range });
  }

  // the connection

  async #connect() {
    this.#timers.clear("retry");
    this.#become("connecting");
    this.#bye = null;
    this.#timers.after("open", OPEN_WITHIN, () => this.#lost(null, "timeout"));
    let token;
    try {
      token = await this.#options.token();
    } catch (error) {
      if (this.#state === "connecting") this.#lost(null, error.message || "no token");
      return;
    }
    if (this.#state !== "connecting" || this.#socket) return;
    const socket = new WebSocket(this.#options.url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onopen = () => this.#write(this.#hello(token));
    socket.onmessage = (event) => socket === this.#socket && this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#lost(event.code, event.reason);
  }

  #hello(token) {
    const hello = { type: "hello", token, device: this.#options.device, mode: this.#options.mode };
    return this.#applied === null ? hello : { ...hello, cursor: this.#applied };
  }

  #lost(code, reason) {
    const said = this.#bye;
    const again = said ? said.reconnect : !FOR_GOOD.has(code);
    const why = said?.reason ?? (reason || (code ? `closed ${code}` : "lost"));
    if (!again) {
      this.#drop("refused", why);
      return;
    }
    const jitter = this.#options.random() * Math.min(LONGEST_PAUSE, 1000 * 2 ** this.#tries);
    const pause = said?.retry_after_s ? said.retry_after_s * 1000 + Math.min(jitter, 1000) : jitter;
    this.#tries += 1;
    this.#drop("waiting", why, pause);
    this.#timers.after("retry", pause, () => this.#connect());
  }

  #drop(state, reason, retryMs = null) {
    this.#timers.end();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#syncing = false;
    this.#early.clear();
    this.#outbox.rewind();
    for (const { reject } of this.#requests.values()) reject(new Refused({ code: "disconnected", detail: reason }));
    this.#requests.clear();
    this.#become(state, reason, retryMs);
  }

  #become(state, reason = "", retryMs = null) {
    this.#state = state;
    this.#tell("state", { state, reason, retryMs });
  }

  // what the hub says

  #heard(frame) {
    this.#tell("frame", { out: false, frame });
    switch (frame.type) {
      case "welcome": return this.#welcomed(frame);
      case "message": return this.#entry(frame);
      case "pong": return this.#ponged(frame);
      case "rebase": return this.#rebase(frame);
      case "news": return this.#news(frame);
      case "grew": this.#pulls.want(frame.conversation, frame.seq); return this.#tell("grew", frame);
      case "bye": this.#bye = frame; return undefined;
      case "ok":
      case "batch":
      case "error": return this.#answered(frame);
      default: return PASSED_ON.has(frame.type) && this.#tell(frame.type, frame); // else from a newer hub
    }
  }

  #welcomed(frame) {
    this.#timers.clear("open");
    this.#limits = frame.limits;
    this.#applied = this.#taken = Math.max(this.#applied ?? 0, frame.cursor);
    this.#become("live");
    this.#tell("welcome", frame);
    this.#timers.after("steady", STEADY_AFTER, () => (this.#tries = 0));
    this.#beat(frame.heartbeat_s * 1000);
    if (this.#watched.length) this.#watch();
    this.#flush();
    this.#pulls.resume();
  }

  #news(frame) {
    this.#tell("news", frame);
    this.#hinted = frame.head;
    if (frame.head > this.#taken) this.#sync();
  }

  #answered(frame) {
    const again = (ms) => this.#timers.after("flush", ms, () => this.#flush());
    if (this.#outbox.settle(frame, again)) return void this.#flush();
    const request = this.#requests.get(frame.id);
    this.#requests.delete(frame.id);
    if (frame.type !== "error") request?.resolve(frame);
    else if (request) request.reject(new Refused(frame));
    else this.#tell("error", frame);
  }

  // entries

  #entry(entry) {
    if (entry.q <= this.#taken) return;
    this.#early.set(entry.q, entry);
    this.#advance();
    if (this.#early.size) this.#sync();
  }

  #advance() {
    for (let entry; (entry = this.#early.get(this.#taken + 1)); ) {
      this.#early.delete(entry.q);
      this.#taken = entry.q;
      this.#enqueue(entry);
    }
  }

  #enqueue(entry) {
    const socket = this.#socket;
    this.#line = this.#line.then(async () => {
      if (socket !== this.#socket) return; // it comes again on the next connection
      try {
        await this.#applyOnce(entry);
      } catch (error) {
        console.error(error);
        if (socket === this.#socket) this.#lost(null, "apply failed");
        return;
      }
      this.#pulls.note(entry);
      this.#applied = Math.max(this.#applied, entry.q);
      if (!this.#timers.has("ack")) this.#timers.after("ack", ACK_AFTER, () => this.#ack());
    });
  }

  #pulled(entry) {
    const done = this.#line.then(() => this.#applyOnce(entry));
    this.#line = done.catch(() => {}); // what failed is pulled again
    return done;
  }

  async #applyOnce(entry) {
    if (this.#ids.has(entry.id)) return;
    await this.#options.apply(entry);
    if (entry.id === null) return; // a tombstone: counted, never shown
    this.#ids.add(entry.id);
    if (this.#ids.size > REMEMBERED) this.#ids.delete(this.#ids.values().next().value);
    if (entry.control && CHANGES.has(entry.kind)) this.#tell(entry.kind, entry);
  }

  #ack() {
    this.#timers.clear("ack");
    if (this.#state !== "live" || !(this.#applied > this.#acked)) return;
    this.#acked = this.#applied;
    this.#write({ type: "ack", seq: this.#acked });
    this.#tell("acked", { seq: this.#acked });
  }

  async #sync() {
    if (this.#syncing) return;
    this.#syncing = true;
    const socket = this.#socket;
    try {
      for (let more = true; more; ) {
        const page = await this.#request({ type: "sync", after: this.#taken, limit: this.#limits.page });
        if (page.type === "rebase") return;
        for (const entry of page.entries) if (entry.q > this.#taken) this.#early.set(entry.q, entry);
        this.#advance();
        more = (page.more || this.#hinted > this.#taken) && page.entries.length > 0;
      }
    } catch (error) {
      this.#tell("error", { code: error.code, detail: error.message });
    } finally {
      if (socket === this.#socket) {
        this.#syncing = false;
        for (const q of this.#early.keys()) if (q <= this.#taken) this.#early.delete(q);
        // a hole that is still being written ends within seconds
        if (this.#early.size || this.#hinted > this.#taken) this.#timers.after("sync", 1_000, () => this.#sync());
      }
    }
  }

  #rebase(frame) {
    this.#requests.get(frame.id)?.resolve(frame);
    this.#requests.delete(frame.id);
    this.#taken = frame.head;
    this.#hinted = 0;
    const socket = this.#socket;
    this.#line = this.#line.then(async () => {
      await this.#options.rebase(frame);
      if (socket !== this.#socket) return;
      this.#applied = frame.head;
      this.#acked = frame.head - 1;
      this.#ack();
    });
  }

  // heartbeat

  #beat(every) {
    this.#timers.after("beat", every, () => {
      this.#write({ type: "ping", id: this.#id("p") });
      this.#timers.after("pong", Math.min(every, OPEN_WITHIN), () => this.#lost(null, "silent"));
      this.#beat(every);
    });
  }

  #ponged({ head }) {
    this.#timers.clear("pong");
    // the hub sends what is missing by itself; if it has not come in a moment, ask
    if (head <= this.#taken || this.#timers.has("head")) return;
    this.#timers.after("head", 2_000, () => head > this.#taken && this.#sync());
  }

  // writing

  #watch() {
    this.#request({ type: "watch", users: this.#watched }).then(
      ({ presence, refused }) => {
        for (const [user, facts] of Object.entries(presence)) this.#tell("presence", { user, ...facts });
        for (const user of refused) this.#tell("presence", { user, online: null });
      },
      (error) => this.#tell("error", { code: error.code, detail: error.message }),
    );
  }

  #flush() {
    if (this.#state !== "live") return;
    this.#outbox.flush((frame) => this.#write(frame), Math.max(1, this.#limits.requests_in_flight >> 1));
    for (const [conversation, seq] of this.#reads) this.#write({ type: "read", conversation, seq });
    this.#reads.clear();
  }

  #request(frame) {
    if (this.#state !== "live") return Promise.reject(new Refused({ code: "disconnected", detail: "not connected" }));
    const id = this.#id("r");
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { resolve, reject });
      this.#write({ ...frame, id });
    });
  }

  #write(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(frame));
    this.#tell("frame", { out: true, frame: frame.token ? { ...frame, token: "…" } : frame });
  }

  #id(prefix) {
    return `${prefix}${this.#nextId++}`;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
