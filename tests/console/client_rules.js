// The rules of a client, one scenario each, against a socket that is played here. Gives {scenario: what was wrong}.
(async () => {
  const real = globalThis.WebSocket;
  const sockets = [];
  class Played {
    static OPEN = 1;
    readyState = 0;
    said = [];
    constructor() {
      sockets.push(this);
      setTimeout(() => {
        this.readyState = 1;
        this.onopen();
      });
    }
    send(text) {
      this.said.push(JSON.parse(text));
    }
    close() {
      this.readyState = 3;
    }
    hear(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    lose(code = 1006) {
      this.readyState = 3;
      this.onclose({ code, reason: "" });
    }
    of(type) {
      return this.said.filter((frame) => frame.type === type);
    }
  }
  globalThis.WebSocket = Played;
  const { HubClient } = await import("/console/static/hub-client.js");
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const limits = { page: 100, requests_in_flight: 64 };
  const message = (q, id = `m${q}`) => ({ type: "message", q, id, conversation: "c", seq: q, sender: "bob", kind: "text", body: "" });

  const begin = async ({ cursor = 0, heartbeat_s = 30, ...options } = {}) => {
    sockets.length = 0;
    const applied = [];
    const states = [];
    const client = new HubClient({
      url: "ws://x", token: async () => "t", device: { id: "d", platform: "web" }, cursor,
      apply: (entry) => void applied.push(entry.q), ...options,
    });
    client.addEventListener("state", ({ detail }) => states.push(detail));
    client.start();
    const welcome = async () => {
      await pause(20);
      sockets.at(-1).hear({ type: "welcome", session: "s", user: "u", head: 0, cursor: client.cursor ?? 0, heartbeat_s, limits });
    };
    await welcome();
    return { client, applied, states, welcome, socket: () => sockets.at(-1) };
  };
  const must = (truth, words) => {
    if (!truth) throw new Error(words);
  };
  const same = (found, wanted) => must(JSON.stringify(found) === JSON.stringify(wanted), `${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);

  const scenarios = {
    async "a gap is synced and order is by q"() {
      const { client, applied, socket } = await begin();
      for (const q of [1, 4, 3]) socket().hear(message(q));
      await pause(10);
      same(applied, [1]);
      const [sync] = socket().of("sync");
      same([sync.after, socket().of("sync").length], [1, 1]);
      socket().hear({ type: "batch", id: sync.id, entries: [message(2)], next: 2, more: false });
      await pause(10);
      same(applied, [1, 2, 3, 4]);
      client.stop();
    },
    async "an id is applied once and its number counts"() {
      const { client, applied, socket } = await begin();
      socket().hear(message(1, "a"));
      socket().hear(message(1, "a"));
      socket().hear(message(2, "a"));
      await pause(250);
      same(applied, [1]);
      same(socket().of("ack").map((ack) => ack.seq), [2]);
      client.stop();
    },
    async "an ack comes after applying"() {
      let done;
      const { client, socket } = await begin({ apply: () => new Promise((resolve) => (done = resolve)) });
      socket().hear(message(1));
      await pause(300);
      same(socket().of("ack").length, 0);
      done();
      await pause(300);
      same(socket().of("ack"), [{ type: "ack", seq: 1 }]);
      client.stop();
    },
    async "what could not be applied comes again"() {
      let tries = 0;
      const { client, socket, welcome } = await begin({ random: () => 0, apply: () => { if (tries++ === 0) throw new Error("full"); } });
      const error = console.error;
      console.error = () => {};
      socket().hear(message(1));
      await welcome();
      console.error = error;
      same([sockets.length, socket().of("hello")[0].cursor], [2, 0]);
      socket().hear(message(1));
      await pause(10);
      same([tries, client.cursor], [2, 1]);
      client.stop();
    },
    async "back-off is full jitter and doubles"() {
      const { client, states, socket } = await begin({ random: () => 0.05 });
      for (let round = 0; round < 3; round += 1) {
        socket().lose();
        await pause(60 * 2 ** round + 30);
      }
      same(states.filter((one) => one.state === "waiting").map((one) => one.retryMs), [50, 100, 200]);
      client.stop();
    },
    async "bye says whether and when"() {
      const { client, states, socket, welcome } = await begin({ random: () => 0.1 });
      socket().hear({ type: "bye", code: 1012, reason: "draining", reconnect: true, retry_after_s: 0.2 });
      socket().lose(1012);
      must(states.at(-1).retryMs >= 200 && states.at(-1).retryMs <= 1200, `waits ${states.at(-1).retryMs}`);
      await pause(states.at(-1).retryMs + 20);
      await welcome();
      same(states.at(-1).state, "live");
      socket().hear({ type: "bye", code: 4409, reason: "replaced", reconnect: false });
      socket().lose(4409);
      same([states.at(-1).state, states.at(-1).reason], ["refused", "replaced"]);
      await pause(300);
      same(sockets.length, 2);
      client.stop();
    },
    async "a send is repeated with its client_msg_id"() {
      const { client, socket, welcome } = await begin({ random: () => 0 });
      const answer = client.send({ user: "bob" }, { text: "x" });
      const [first] = socket().of("send");
      socket().lose();
      await welcome();
      const [again] = socket().of("send");
      same(again, first);
      socket().hear({ type: "error", id: again.id, code: "unavailable", detail: "", retryable: true, retry_after_s: 0.05 });
      await pause(100);
      same(socket().of("send").length, 2);
      socket().hear({ type: "ok", id: again.id, message: "m", conversation: "c", seq: 1, at: "", duplicate: true });
      same((await answer).message, "m");
      client.stop();
    },
    async "a reconnect continues from what was applied"() {
      const { client, socket, welcome } = await begin({ random: () => 0 });
      socket().hear(message(1));
      await pause(5);
      socket().lose();
      await welcome();
      same(socket().of("hello")[0].cursor, 1);
      client.stop();
    },
    async "a silent hub is left and a loss is found by the head"() {
      const { client, socket, states } = await begin({ heartbeat_s: 0.1, random: () => 0.9 });
      await pause(130);
      const [ping] = socket().of("ping");
      socket().hear({ type: "pong", id: ping.id, head: 3 });
      const beating = setInterval(() => {
        const last = socket().of("ping").at(-1);
        socket().hear({ type: "pong", id: last.id, head: 3 });
      }, 40);
      await pause(2_200);
      clearInterval(beating);
      same(socket().of("sync")[0]?.after, 0);
      await pause(300);
      same([states.at(-1).state, states.at(-1).reason], ["waiting", "silent"]);
      client.stop();
    },
    async "a rebase starts again from its head"() {
      let told = 0;
      const { client, applied, socket } = await begin({ cursor: 90, rebase: async () => void (told += 1) });
      socket().hear({ type: "rebase", head: 7 });
      socket().hear(message(8));
      await pause(250);
      same([told, applied, socket().of("ack").at(-1).seq], [1, [8], 8]);
      client.stop();
    },
    async "what is done to a message is repeated until it is answered"() {
      const { client, socket, welcome } = await begin({ random: () => 0 });
      const done = [client.recall("m1"), client.edit("m1", "b", { clientMsgId: "e" }), client.react("m1", "👍", false), client.pin("m1"), client.hide("m1")];
      client.forward(["m1"], { user: "bob" }, { clientMsgId: "f", merged: true });
      client.send({ conversation: "c" }, "x", { clientMsgId: "s", replyTo: "m1", mentions: ["@all"] });
      const said = () => socket().said.slice(1).map(({ id, ...frame }) => frame);
      const wanted = [
        { type: "recall", message: "m1" },
        { type: "edit", message: "m1", body: "b", client_msg_id: "e" },
        { type: "react", message: "m1", emoji: "👍", added: false },
        { type: "pin", message: "m1", added: true },
        { type: "hide", messages: ["m1"] },
        { type: "forward", messages: ["m1"], to: { user: "bob" }, client_msg_id: "f", merged: true },
        { type: "send", to: { conversation: "c" }, client_msg_id: "s", kind: "text", body: "x", mentions: ["@all"], reply_to: "m1" },
      ];
      same(said(), wanted);
      socket().lose();
      await welcome();
      same(said(), wanted);
      socket().hear({ type: "ok", id: socket().of("recall")[0].id, message: "m1", conversation: "c", seq: 9, at: "" });
      same((await done[0]).seq, 9);
      socket().hear({ type: "error", id: socket().of("edit")[0].id, code: "edit_window", detail: "too late", retryable: false });
      same(await done[1].catch((error) => error.code), "edit_window");
      client.stop();
    },
    async "a control message is an event once it was applied"() {
      const heard = [];
      const { client, applied, socket } = await begin();
      client.addEventListener("edit", ({ detail }) => heard.push([detail.q, applied.length]));
      client.addEventListener("error", ({ detail }) => heard.push(detail));
      socket().hear({ ...message(1), kind: "edit", control: true });
      socket().hear({ ...message(2), kind: "error", control: true });
      socket().hear({ ...message(3), kind: "edit" });
      await pause(10);
      same([heard, applied], [[[1, 1]], [1, 2, 3]]);
      client.stop();
    },
    async "in hint mode news is pulled and acknowledged"() {
      const { client, applied, socket } = await begin({ mode: "hint" });
      same(socket().of("hello")[0].mode, "hint");
      socket().hear({ type: "news", head: 2 });
      const batch = (sync, entries, more) => socket().hear({ type: "batch", id: sync.id, entries, next: entries.at(-1).q, more });
      await pause(5);
      socket().hear({ type: "news", head: 3 });
      batch(socket().of("sync")[0], [message(1), message(2)], false);
      await pause(5);
      same(socket().of("sync").map((sync) => sync.after), [0, 2]);
      batch(socket().of("sync")[1], [message(3)], false);
      await pause(250);
      same([applied, socket().of("ack").at(-1).seq, socket().of("sync").length], [[1, 2, 3], 3, 2]);
      client.stop();
    },
    async "what grew is pulled from where nothing was missing, over connections"() {
      const ids = [];
      const { client, socket, welcome } = await begin({ random: () => 0, apply: (entry) => void ids.push(entry.id) });
      const old = (seq) => ({ ...message(seq), q: undefined });
      socket().hear(message(1));
      await pause(5);
      socket().hear({ ...message(2, "n9"), seq: 9, kind: "notice", control: true, body: { event: "left" } });
      socket().hear({ type: "grew", conversation: "c", seq: 9 });
      await pause(5);
      same(socket().of("history").map(({ conversation, after }) => [conversation, after]), [["c", 1]]);
      socket().lose();
      await welcome();
      const [again] = socket().of("history");
      same(again.after, 1);
      socket().hear({ type: "batch", id: again.id, conversation: "c", entries: [old(2), { ...old(9), id: "n9" }], low: 2, high: 9, more: false });
      await pause(10);
      same(ids, ["m1", "n9", "m2"]);
      client.stop();
    },
    async "a notice that a group is small again names what to pull"() {
      const { client, applied, socket } = await begin();
      socket().hear(message(1));
      await pause(5);
      socket().hear({ ...message(2), seq: 7, kind: "notice", control: true, body: { event: "fanout", fanout: "write", read_until: 6 } });
      await pause(10);
      const [pull] = socket().of("history");
      same([pull.conversation, pull.after], ["c", 1]);
      const entries = [3, 6].map((seq) => ({ ...message(seq), q: undefined, id: `old${seq}` }));
      socket().hear({ type: "batch", id: pull.id, conversation: "c", entries, low: 2, high: 6, more: false });
      await pause(10);
      same([applied.length, socket().of("history").length], [4, 1]);
      client.stop();
    },
    async "who was shown out stays out and who found it busy comes when told"() {
      const { client, states, socket, welcome } = await begin({ random: () => 0 });
      socket().hear({ type: "bye", code: 4430, reason: "busy", reconnect: true, retry_after_s: 0.15 });
      socket().lose(4430);
      same([states.at(-1).state, states.at(-1).retryMs], ["waiting", 150]);
      await pause(150);
      await welcome();
      same(states.at(-1).state, "live");
      socket().lose(4411); // the bye was missed
      same([states.at(-1).state, sockets.length], ["refused", 2]);
      client.stop();
    },
  };

  const wrong = {};
  for (const [name, play] of Object.entries(scenarios)) {
    try {
      await play();
    } catch (error) {
      wrong[name] = error.message;
    }
  }
  globalThis.WebSocket = real;
  return wrong;
})()
