// What a person does in the conversations on one phone: opening, writing, changing, looking back.

import { call } from "./api.js";
import { bodyOf, kindOf } from "./files.js";
import { told } from "./notices.js";
import { drafted } from "./talks.js";
import { explained, language, t } from "./words.js";

const REPLAYED = 50;
const LOOKED_BACK = 10;
const ROOM = new Set(["group", "thread"]);

/** A phone is one of these with a connection and a face: talks, thread, people, write and client are its. */
export class Chat {
  doing = null; // {reply: message}, {edit: message} or {forward: message}
  earlier = null; // where the history before what is shown begins
  announced = null; // the version of the conversation whose announcement is shown
  seen = new Map(); // conversation -> the highest seq shown

  titleOf(id) {
    const one = this.talks.find(id);
    return one ? this.talks.title(one) : "";
  }

  groupTitle(id) {
    return ROOM.has(this.talks.find(id)?.kind) ? this.titleOf(id) : "";
  }

  /** The person picks one of the list: to open it, or to forward something there. */
  async pick(id) {
    const message = this.doing?.forward;
    if (message && id) {
      try {
        await this.client.forward(message.id, { conversation: id });
      } catch (error) {
        return this.wrong(error);
      }
    }
    return this.choose(id);
  }

  async choose(id) {
    this.keepDraft();
    this.turnTo(null);
    this.talks.choose(id);
    this.thread.choose(id);
    this.write.value = drafted(this.talks.chosen?.mine);
    this.write.problem.textContent = "";
    this.earlier = null;
    this.announced = null;
    this.render();
    if (id === null) return;
    await this.history(id, "");
    if (this.talks.chosen && this.talks.chosen.kind !== "inbox") this.people.look(id, { again: true });
    this.looked();
  }

  async history(id, before) {
    try {
      const page = await call(this.token, "GET", `v1/conversations/${id}/messages?limit=${REPLAYED}${before}`);
      if (this.talks.chosen?.id !== id) return;
      this.thread.history(page.data, page.quoted ?? [], { earlier: before !== "" });
      for (const one of page.data) this.seen.set(id, Math.max(one.seq, this.seen.get(id) ?? 0));
      this.earlier = page.page.has_more ? page.low : null;
      this.render();
    } catch (error) {
      this.earlier = null;
      this.wrong(error);
    }
  }

  back() {
    return this.history(this.talks.chosen.id, `&before=${this.earlier}`);
  }

  /** Open the conversation of a message that was found, as far back as it is. */
  async find({ id, conversation }) {
    if (this.talks.chosen?.id !== conversation) await this.choose(conversation);
    for (let tries = LOOKED_BACK; !this.thread.locate(id) && this.earlier !== null && tries > 0; tries -= 1) await this.back();
  }

  async readers({ id }) {
    try {
      const ask = (read) => call(this.token, "GET", `v1/messages/${id}/readers?read=${read}&limit=20`);
      const [has, not] = await Promise.all([ask(true), ask(false)]);
      const names = ({ data, page }) => data.map((one) => this.called(one.user_id)).join(t("list_comma")) + (page.has_more ? "…" : "") || "–";
      return t("readers", { has: names(has), not: names(not) });
    } catch (error) {
      return explained(error);
    }
  }

  own(id, state) {
    call(this.token, "PATCH", `v1/conversations/${id}/me`, state).then(this.refresh, (error) => this.wrong(error));
  }

  keepDraft() {
    const left = this.talks.chosen;
    const text = this.doing?.edit ? "" : this.write.value;
    if (left && left.kind !== "inbox" && text !== drafted(left.mine)) this.own(left.id, { draft: text ? { text } : null });
  }

  async group(title, members) {
    const body = { kind: "group", title, members: [this.user, ...members.filter((one) => one !== this.user)].map((user_id) => ({ user_id })) };
    const made = await call(this.token, "POST", "v1/conversations", body);
    await this.count();
    await this.choose(made.id);
    this.write.field.focus();
    this.changed();
  }

  submit(text) {
    const { reply, edit } = this.doing ?? {};
    if (edit) {
      const body = typeof edit.body === "object" && edit.body ? { ...edit.body, text } : text;
      const mentions = this.people.mentioned(text, edit.conversation);
      this.client.edit(edit.id, body, { mentions: mentions.length ? mentions : undefined }).catch((error) => this.thread.failed(edit.id, error));
    } else this.say(text, reply);
    this.turnTo(null);
  }

  say(text, reply) {
    const to = this.talks.chosen?.id ?? reply?.conversation ?? null;
    const mentions = this.people.mentioned(text, to ?? this.conversation);
    const ready = { kind: "text", body: { text } };
    this.send(to, ready, () => ready, { replyTo: reply?.id, mentions: mentions.length ? mentions : undefined });
    if (drafted(this.talks.chosen?.mine)) this.own(to, { draft: null });
  }

  attach(file) {
    const to = this.talks.chosen?.id ?? null;
    this.send(to, { kind: kindOf(file.type), body: { name: file.name } }, () => bodyOf(this.token, file), {});
  }

  /** Show at once what is under way, make it `ready`, and send it. */
  async send(to, shown, ready, { replyTo, mentions }) {
    const id = crypto.randomUUID();
    this.thread.pending(id, shown.body, { conversation: to ?? this.conversation, replyTo, mentions, kind: shown.kind });
    this.list.scrollTop = this.list.scrollHeight;
    try {
      const { kind, body } = await ready();
      const ok = await this.client.send(to ? { conversation: to } : { user: this.peer }, body, { kind, clientMsgId: id, replyTo, mentions });
      if (!to) this.conversation ??= ok.conversation;
      this.thread.confirm(id, ok, { kind, body });
      if (this.peerOnline === null && this.client.state === "live") this.client.watch([this.peer]);
      this.changed();
    } catch (error) {
      this.thread.failed(id, error);
    }
  }

  /** What the menu of a message asks for. */
  act(verb, message, { emoji, added }) {
    const wrong = (error) => this.thread.failed(message.id, error);
    switch (verb) {
      case "reply": return this.turnTo({ reply: message });
      case "forward": return this.turnTo({ forward: message });
      case "again": return this.again(message);
      case "edit": return this.turnTo({ edit: message });
      case "react": return this.client.react(message.id, emoji, added).catch(wrong);
      case "pin": return this.client.pin(message.id, added).catch(wrong);
      case "recall": return this.client.recall(message.id).catch(wrong);
      default: return this.client.hide(message.id).catch(wrong);
    }
  }

  turnTo(what) {
    if (this.doing?.edit) this.write.value = "";
    this.doing = what;
    if (what?.edit) this.write.value = told(what.edit).text;
    if (what?.forward) this.talks.root.querySelector("button.talk").focus();
    else if (what) this.write.field.focus();
    this.render();
  }

  again({ before }) {
    this.write.value = told({ kind: "text", body: before }).text;
    this.write.field.focus();
  }

  wrong(error) {
    this.write.problem.textContent = explained(error);
  }

  /** Whom an @ may mean where the person writes. */
  mayMean() {
    const { chosen } = this.talks;
    if (!ROOM.has(chosen?.kind)) return null;
    const others = this.people.of(chosen.id).filter((one) => one.user_id !== this.user);
    const leads = ["owner", "admin"].includes(chosen.mine?.role);
    return leads ? [...others, { user_id: "all", name: language() === "zh" ? "所有人" : "all" }] : others;
  }
}
