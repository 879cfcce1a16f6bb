// Who is who: what users are called, and who is in which conversation, as far as somebody has looked.

import { call } from "./api.js";

const PAGE = 200;

/** Names and members. `changed()` is called when somebody is called otherwise, or somebody came or went. */
export class People {
  #names;
  #members = new Map(); // conversation -> its first members
  #asked = new Set();
  #token;
  #ledger;
  #changed;

  constructor({ self, name, token, ledger, changed }) {
    this.#names = new Map(name ? [[self, name]] : []);
    this.#token = token;
    this.#ledger = ledger;
    this.#changed = changed;
  }

  called = (user) => this.#names.get(user) || String(user);

  /** The members that are known, at most the first 200. */
  of(conversation) {
    return this.#members.get(conversation) ?? [];
  }

  /** Look, unless somebody has looked already; with `again` in any case. */
  async look(conversation, { again = false } = {}) {
    if (this.#asked.has(conversation) && !again) return;
    this.#asked.add(conversation);
    try {
      const { data } = await call(this.#token(), "GET", `v1/conversations/${conversation}/members?limit=${PAGE}`);
      this.#members.set(conversation, data);
      for (const { user_id: user, name, read_seq: seq } of data) {
        if (name) this.#names.set(user, name);
        if (seq) this.#ledger.readUpTo({ conversation, seq, reader: user });
      }
      this.#changed();
    } catch {
      this.#asked.delete(conversation); // ids do as well
    }
  }

  /** Whom a text mentions in a conversation: by id or by name, wherever an @ stands before it. */
  mentioned(text, conversation) {
    const at = text.replaceAll("＠", "@");
    const found = new Set([...at.matchAll(/@(\S+)/g)].map(([, user]) => user).filter((user) => user !== "all"));
    for (const { user_id: user, name } of this.of(conversation)) {
      if (at.includes(`@${user}`) || (name && at.includes(`@${name}`))) found.add(user);
    }
    if (/@(all\b|所有人)/.test(at)) found.add("@all");
    return [...found].slice(0, 20);
  }
}
