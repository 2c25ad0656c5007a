/**
 * Requests to the daemon. Each one carries the page token in a header: the cookie alone gives access to no data, because a
 * browser sends cookies to every port of a host.
 */

const HEADER = "Mcp-Bridge-Page";
// Web storage belongs to one origin, which includes the port.
const KEY = "mcp-bridge-page-token";

/** The daemon refused a request. `status` is the HTTP status. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

function headers() {
  return { [HEADER]: localStorage.getItem(KEY) ?? "" };
}

/** Send a request. Throws Refused, and Error without a connection. */
async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (fault) {
    // Each browser has a text of its own for this, and none names the daemon.
    throw new Error("there is no connection to the daemon; `mcp-bridge status` shows whether it runs", { cause: fault });
  }
  if (response.ok) {
    return response;
  }
  let text = `the daemon responded with status ${response.status}`;
  try {
    text = (await response.json()).error.message;
  } catch {
    // The body is no JSON-RPC error.
  }
  throw new Refused(response.status, text);
}

/** Exchange the code of a link for a session. Throws Refused. */
export async function openSession(code) {
  const response = await send("/admin/session", {
    body: JSON.stringify({ code }),
    headers: { "Content-Type": "application/json" },
    method: "POST",
  });
  const { token } = await response.json();
  localStorage.setItem(KEY, token);
}

/** Close the session. */
export async function closeSession() {
  try {
    await send("/admin/session", { headers: headers(), method: "DELETE" });
  } finally {
    localStorage.removeItem(KEY);
  }
}

/** Restart a server, or reload the configuration. Returns the result. Throws Refused. */
export async function act(path) {
  const response = await send(`/admin/api/${path}`, { headers: headers(), method: "POST" });
  return (await response.json()).result;
}

/**
 * Call `onEvent` with the kind and the data of each event, until the stream ends or `signal` aborts it. Throws Refused, and
 * Error without a connection. EventSource cannot send a header.
 */
export async function follow(query, signal, onOpen, onEvent) {
  const response = await send(`/admin/api/events?${query}`, { headers: headers(), signal });
  onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const line = event.split("\n").find((one) => one.startsWith("data: "));
      if (line) {
        const { data, kind } = JSON.parse(line.slice(6));
        onEvent(kind, data);
      }
    }
  }
}
