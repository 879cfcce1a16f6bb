// Messages as they are now: what control messages of the protocol do to those that a client has.

/** Messages by id. A change of a message that is not here is forgotten: read later, the message is as it became. */
export class Messages {
  #held = new Map();

  get(id) {
    return this.#held.get(id);
  }

  /** Keep a message; gives what is kept of it. One from a history says what its reactions are. */
  keep(entry) {
    const known = this.#held.get(entry.id);
    const kept = known ?? { ...entry, reactions: new Map(), counted: false, pinned: false, changed: 0 };
    this.#held.set(entry.id, kept);
    if (entry.kind === "recalled") this.#empty(kept);
    else if (known && kept.kind !== "recalled" && (entry.edited_at ?? "") > (kept.edited_at ?? "")) {
      Object.assign(kept, { body: entry.body, mentions: entry.mentions, edited_at: entry.edited_at });
    }
    if (entry.reactions) this.count(kept, entry.reactions);
    return kept;
  }

  /** What the hub counted: from now on only the hub knows who is among them. */
  count(kept, reactions) {
    kept.counted = true;
    kept.reactions = new Map(reactions.map(({ emoji, count, mine }) => [emoji, { count, mine, users: null }]));
  }

  /** Apply a control message as `self` sees it; gives the messages that are different now, and which must be counted anew. */
  apply(control, self) {
    const { kind, body } = control;
    if (kind === "hidden") {
      const gone = (body.messages ?? []).map((id) => this.#held.get(id)).filter(Boolean);
      for (const one of gone) one.hidden = true;
      return { changed: gone, recount: [] };
    }
    const kept = this.#held.get(control.reply_to ?? body?.message);
    if (kept?.kind === "recalled" && kind === "recall") {
      kept.recalledBy = body.by; // read again, a message does not say it
      return { changed: [kept], recount: [] };
    }
    if (!kept || kept.kind === "recalled") return { changed: [], recount: [] };
    if (kind === "recall") this.#empty(kept, body);
    else if (kind === "edit") this.#edit(kept, control);
    else if (kind === "pin") kept.pinned = Boolean(body.added);
    else if (kind === "reaction" && kept.counted) return { changed: [], recount: [kept] };
    else if (kind === "reaction") this.#react(kept, body, self);
    else return { changed: [], recount: [] };
    return { changed: [kept], recount: [] };
  }

  #empty(kept, { by = kept.recalledBy } = {}) {
    const before = kept.kind === "text" ? kept.body : kept.before; // for who wants to say it again
    Object.assign(kept, { kind: "recalled", recalledBy: by, before, body: {}, mentions: [], reply_to: undefined, forward_of: undefined, pinned: false });
    kept.reactions.clear();
  }

  #edit(kept, { seq, at, body }) {
    // the body is missing where the message was recalled later; a message read again may know better
    if (body.body === undefined || seq <= kept.changed || (kept.edited_at && Date.parse(at) < Date.parse(kept.edited_at))) return;
    Object.assign(kept, { body: body.body, mentions: body.mentions, edited_at: at, changed: seq });
  }

  #react(kept, { emoji, by, added }, self) {
    const users = kept.reactions.get(emoji)?.users ?? new Set();
    if (added) users.add(by);
    else users.delete(by);
    if (users.size) kept.reactions.set(emoji, { count: users.size, mine: users.has(self), users });
    else kept.reactions.delete(emoji);
  }
}
