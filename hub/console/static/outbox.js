// Sends that wait for their answers: kept over connections and repeated with the same client_msg_id.

export class Outbox {
  #waiting = new Map(); // request id -> {frame, resolve, reject, sent}
  #limit;

  constructor(limit) {
    this.#limit = limit;
  }

  get size() {
    return this.#waiting.size;
  }

  /** A promise of the hub's `ok`; rejects when the hub refuses, or at once when too many wait. */
  add(frame) {
    if (this.#waiting.size >= this.#limit) {
      return Promise.reject(new Refused({ code: "outbox_full", detail: `${this.#limit} sends wait already` }));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(frame.id, { frame, resolve, reject, sent: false });
    });
  }

  /** The connection is gone: what is unanswered goes out again on the next one. */
  rewind() {
    for (const entry of this.#waiting.values()) entry.sent = false;
  }

  /** Write what has not gone out yet, oldest first, at most `window` unanswered at a time. */
  flush(write, window) {
    let flying = 0;
    for (const entry of this.#waiting.values()) {
      if (flying >= window) return;
      flying += 1;
      if (entry.sent) continue;
      entry.sent = true;
      write(entry.frame);
    }
  }

  /** Whether this frame answers a send; `again(ms)` is called when the same frame may succeed later. */
  settle(frame, again) {
    const entry = this.#waiting.get(frame.id);
    if (!entry) return false;
    if (frame.type === "error" && frame.retryable) {
      entry.sent = false;
      again((frame.retry_after_s ?? 1) * 1000);
      return true;
    }
    this.#waiting.delete(frame.id);
    if (frame.type === "ok") entry.resolve(frame);
    else entry.reject(new Refused(frame));
    return true;
  }
}

/** The hub's own words for why it did not do something. */
export class Refused extends Error {
  constructor({ code, detail }) {
    super(detail);
    this.name = "Refused";
    this.code = code;
  }
}
