// What a person does in a chat, as frames. A HubClient is one of these with a connection.

export class Verbs extends EventTarget {
  /** A frame that is repeated until the hub answers it, over connections; a promise of the `ok`. */
  submit(_frame) {
    throw new Error("a connection is needed");
  }

  /**
   * Send a message `to` {user} or {conversation}; resolves with the hub's `ok` after the commit, however long that takes.
   * `mentions` are user ids or "@all", `replyTo` is a message of the same conversation.
   */
  send(to, body, { kind = "text", clientMsgId = crypto.randomUUID(), mentions, replyTo } = {}) {
    return this.submit({ type: "send", to, client_msg_id: clientMsgId, kind, body, mentions, reply_to: replyTo });
  }

  /** Take a message back. All of these resolve with the `ok`: {message, conversation, seq, at, duplicate?}. */
  recall(message) {
    return this.submit({ type: "recall", message });
  }

  /** Say it otherwise. */
  edit(message, body, { mentions, clientMsgId = crypto.randomUUID() } = {}) {
    return this.submit({ type: "edit", message, body, mentions, client_msg_id: clientMsgId });
  }

  /** Put an emoji (or a `:name:` of the product's) to a message, or with `added` false take it away. */
  react(message, emoji, added = true) {
    return this.submit({ type: "react", message, emoji, added });
  }

  /** Pin a message in its conversation, or unpin it. */
  pin(message, added = true) {
    return this.submit({ type: "pin", message, added });
  }

  /** Delete messages of one conversation for oneself; the user's other devices hear of it. */
  hide(messages) {
    return this.submit({ type: "hide", messages: [messages].flat() });
  }

  /** Pass messages on; `merged` makes one of them. Resolves with {forwarded: [{message, conversation, seq, at}]}. */
  forward(messages, to, { merged, title, clientMsgId = crypto.randomUUID() } = {}) {
    return this.submit({ type: "forward", messages: [messages].flat(), to, client_msg_id: clientMsgId, merged, title });
  }
}
