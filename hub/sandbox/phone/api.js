// The control API.

async function call(method, path, body) {
  const response = await fetch(`/sandbox${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export const getState = () => call("GET", "/state");
export const getPhone = (person) => call("GET", `/people/${encodeURIComponent(person)}/phone`);
export const getPushes = () => call("GET", "/callbacks");
export const act = (person, verb, body) => call("POST", `/people/${encodeURIComponent(person)}/${verb}`, body);
export const setTie = (person, appid, body) => call("PATCH", `/people/${encodeURIComponent(person)}/ties/${appid}`, body);
export const tap = (msgid) => call("POST", `/messages/${msgid}/tap`, {});

// `changed` is called when something changed; `state` with whether the stream is open. A page that is kept
// for the back button lets go of its stream: a browser has six connections for a host.
export function listen(changed, state) {
  let stream;
  const open = () => {
    stream?.close();
    stream = new EventSource("/sandbox/stream");
    stream.onmessage = changed;
    stream.onopen = () => {
      state(true);
      changed();
    };
    stream.onerror = () => state(false);
  };
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
