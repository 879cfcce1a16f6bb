// What is in histories alone: the messages of large conversations, pulled when the hub says that they grew.

const PAGE = 100;
const AGAIN = 2_000;

/** Knows how far each conversation is held without a hole, and pulls what is missing, one conversation at a time. */
export class Pulls {
  #held = new Map(); // conversation -> the seq up to which nothing is missing
  #wanted = new Map(); // conversation -> pull up to this seq; Infinity: as far as it goes
  #busy = false;
  #history;
  #apply;
  #follow;

  /** `history(conversation, range)` asks, `apply(entry)` is awaited for each entry, `follow(conversation)` says whether. */
  constructor({ history, apply, follow }) {
    this.#history = history;
    this.#apply = apply;
    this.#follow = follow;
  }

  /** An entry of the queue was applied: it may be the next one, and a notice may say that some are missing. */
  note({ conversation, seq, kind, control, body }) {
    if (!conversation) return;
    const held = this.#held.get(conversation);
    const crossing = control && kind === "notice" && body?.event === "fanout" ? body : null;
    if (crossing?.read_until) this.want(conversation, crossing.read_until);
    if (held === undefined && !crossing) this.#held.set(conversation, seq);
    else if (seq === held + 1) this.#held.set(conversation, seq);
  }

  /** The conversation has messages up to `seq`; null: it may have more. */
  want(conversation, seq) {
    if (!this.#follow(conversation)) return;
    this.#wanted.set(conversation, Math.max(seq ?? Infinity, this.#wanted.get(conversation) ?? 0));
    this.resume();
  }

  /** Go on with what is wanted, after a connection has come back. */
  async resume() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next; (next = this.#wanted.entries().next().value); ) await this.#pull(...next);
    } catch (error) {
      if (error.code === "conversation_not_found") this.#wanted.delete(this.#wanted.keys().next().value);
      if (error.code !== "disconnected" && this.#wanted.size) setTimeout(() => this.resume(), AGAIN);
    } finally {
      this.#busy = false;
    }
  }

  async #pull(conversation, wanted) {
    for (let more = true; more; ) {
      const held = this.#held.get(conversation);
      if (held >= wanted) break;
      // of what was never seen only the newest page: the rest is there when somebody looks back
      const range = held === undefined ? { limit: PAGE } : { after: held, limit: PAGE };
      const page = await this.#history(conversation, range);
      for (const entry of page.entries) await this.#apply(entry);
      const high = page.gap ? Math.min(page.high, page.gap[0] - 1) : page.high;
      if (high > (held ?? 0)) this.#held.set(conversation, high);
      more = held !== undefined && page.more && high > held;
    }
    if ((this.#wanted.get(conversation) ?? 0) <= wanted) this.#wanted.delete(conversation);
  }
}
