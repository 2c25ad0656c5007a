/** The tables of the page, and how values are written. */

import { Table, element, setAttribute, setText } from "./dom.js";

const NUMBER = new Intl.NumberFormat("en");
const MESSAGES_SHOWN = 200;
const ENTRIES_SHOWN = 500;
const KINDS = {
  connected: "good",
  failed: "bad",
  failing: "bad",
  "login required": "warning",
  serving: "good",
  silent: "warning",
  unapproved: "warning",
};

/** Whether a state needs the attention of the user. */
export function isBroken(state) {
  return ["bad", "warning"].includes(KINDS[state]);
}

export function size(bytes) {
  return bytes ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : "";
}

export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) {
    return `${Math.floor(seconds)} s`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 1) {
    return `${minutes} min`;
  }
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function latency(seconds) {
  if (seconds >= 1) {
    return `${seconds.toFixed(2)} s`;
  }
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

function clock(seconds) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function text(of) {
  return (cell, row) => setText(cell, String(of(row) ?? ""));
}

function count(of) {
  return (cell, row) => setText(cell, NUMBER.format(of(row)));
}

function errors(of) {
  return (cell, row) => {
    setText(cell, NUMBER.format(of(row)));
    cell.classList.toggle("error-count", of(row) > 0);
  };
}

/** The reason of a state, in one sentence. */
export function cause(server) {
  if (server.fault) {
    return server.fault;
  }
  return server.state === "unapproved" ? "its command is not the pinned one; `mcp-bridge approve` pins it" : "";
}

function showState(cell, server) {
  if (!cell.firstElementChild) {
    cell.append(element("span", { class: "state" }));
  }
  setText(cell.firstElementChild, server.state);
  setAttribute(cell.firstElementChild, "data-kind", KINDS[server.state] ?? null);
}

function showName(cell, server) {
  if (!cell.firstElementChild) {
    cell.append(element("span"), element("span", { class: "cause mono" }));
  }
  setText(cell.children[0], server.name);
  const last = server.last_exit ? `last exit: ${server.last_exit}` : "";
  setText(cell.children[1], server.url || last);
}

/** The table of the servers. `onRestart` is called with a name and the button; without `actions` there are no buttons. */
export class ServerView {
  constructor(onRestart) {
    this.onRestart = onRestart;
    this.actions = null;
    this.table = null;
  }

  update(servers, actions) {
    if (this.table === null || this.actions !== actions) {
      this.actions = actions;
      this.build();
    }
    const broken = servers.filter((server) => isBroken(server.state));
    const others = servers.filter((server) => !isBroken(server.state));
    this.table.update([...broken, ...others], (server) => server.name);
  }

  build() {
    const old = document.getElementById("server-table");
    const place = element("table", { id: "server-table" }, old.querySelector("caption"));
    this.table?.empty.remove();
    old.replaceWith(place);
    const columns = [
      { head: "Name", rowHead: true, update: showName },
      { head: "State", update: showState },
      { head: "Protocol", update: text((server) => server.era) },
      { head: "Sessions", number: true, update: count((server) => server.sessions) },
      { head: "In flight", number: true, update: count((server) => server.in_flight) },
      { head: "Calls", number: true, update: count((server) => server.calls) },
      { head: "Errors", number: true, update: errors((server) => server.errors) },
      { head: "Starts", number: true, update: count((server) => server.starts) },
      { head: "Memory", number: true, update: text((server) => size(server.memory)) },
    ];
    if (this.actions) {
      columns.push({ head: "Actions", update: (cell, server) => this.showButton(cell, server.name) });
    }
    this.table = new Table(place, columns, "The configuration has no servers.");
  }

  showButton(cell, name) {
    if (cell.firstElementChild) {
      return;
    }
    const button = element("button", { "aria-label": `Restart ${name}`, type: "button" }, "Restart");
    button.addEventListener("click", () => this.onRestart(name, button));
    cell.append(button);
  }
}

export function clientTable() {
  return new Table(
    document.getElementById("client-table"),
    [
      { head: "Client", rowHead: true, update: text((one) => [one.client || "unknown", one.client_version].join(" ").trim()) },
      { head: "Server", update: text((one) => one.server) },
      { head: "Principal", update: text((one) => one.principal) },
      { head: "Transport", update: text((one) => one.transport) },
      { head: "Revision", update: text((one) => one.revision) },
      { head: "Session", text: true, update: text((one) => one.session || "stateless") },
      { head: "In flight", number: true, update: count((one) => one.in_flight) },
      { head: "Idle", number: true, update: text((one) => duration(one.idle)) },
    ],
    "No client is connected.",
  );
}

export function callTable() {
  return new Table(
    document.getElementById("call-table"),
    [
      { head: "Server", rowHead: true, update: text((one) => one.server) },
      { head: "Tool or method", text: true, update: text((one) => one.tool || one.method) },
      { head: "Calls", number: true, update: count((one) => one.count) },
      { head: "Errors", number: true, update: errors((one) => one.failed) },
      { head: "Median", number: true, update: text((one) => latency(one.median)) },
      { head: "95 %", number: true, update: text((one) => latency(one.p95)) },
      { head: "Mean", number: true, update: text((one) => latency(one.mean)) },
    ],
    "No call has ended since the start of the daemon.",
  );
}

function lastUse(token) {
  if (token.connections) {
    return `in use (${NUMBER.format(token.connections)} ${token.connections === 1 ? "connection" : "connections"})`;
  }
  return token.last_used ? new Date(token.last_used * 1000).toLocaleString("en-GB") : "not since the daemon started";
}

export function tokenTable() {
  return new Table(
    document.getElementById("token-table"),
    [
      { head: "Token", rowHead: true, update: text((token) => token.name) },
      { head: "Servers", update: text((token) => (token.servers.includes("*") ? "all" : token.servers.join(", "))) },
      { head: "Last use", update: text(lastUse) },
    ],
    "No token is needed: authentication is off.",
  );
}

/** What a message is, in a few words: its method, or the kind of response. */
function summaryOf(line) {
  try {
    const message = JSON.parse(line);
    if (message.method) {
      const name = message.params?.name ?? message.params?.uri ?? "";
      return `${message.method}${name ? ` ${name}` : ""}`;
    }
    return message.error ? `error ${message.error.code ?? ""}` : "result";
  } catch {
    // A long message is cut, so it is no JSON any more.
    return /"method":"([^"]{1,80})"/.exec(line)?.[1] ?? "message";
  }
}

function showMessage(cell, message) {
  cell.replaceChildren(
    element("details", {}, element("summary", {}, message.summary), element("span", { class: "text" }, message.line)),
  );
}

/** The messages that pass. At most MESSAGES_SHOWN are kept, the newest first. */
export class TrafficView {
  constructor() {
    this.number = 0;
    this.messages = [];
    this.filter = "";
    this.table = new Table(
      document.getElementById("tap-table"),
      [
        { head: "Time", oneLine: true, update: text((message) => clock(message.at)) },
        { head: "Server", update: text((message) => message.server) },
        { head: "Direction", oneLine: true, update: text((message) => message.direction) },
        { head: "Size", number: true, update: text((message) => `${NUMBER.format(message.size)} B`) },
        { head: "Message", text: true, update: showMessage },
      ],
      "No message has passed yet.",
    );
  }

  add(message) {
    const shown = { ...message, at: Date.now() / 1000, number: ++this.number, summary: summaryOf(message.line) };
    this.messages.unshift(shown);
    this.messages.length = Math.min(this.messages.length, MESSAGES_SHOWN);
    if (this.matches(shown)) {
      this.table.prepend(String(shown.number), shown, MESSAGES_SHOWN);
    }
  }

  setFilter(filter) {
    this.filter = filter.toLowerCase();
    this.table.update(this.messages.filter((one) => this.matches(one)), (one) => String(one.number));
  }

  clear() {
    this.messages = [];
    this.table.clear();
  }

  matches(message) {
    return `${message.summary} ${message.line}`.toLowerCase().includes(this.filter);
  }
}

/** The log entries, the newest first. */
export class LogView {
  constructor() {
    this.number = 0;
    this.table = new Table(
      document.getElementById("log-table"),
      [
        { head: "Time", oneLine: true, update: text((entry) => clock(entry.at)) },
        { head: "Server", update: text((entry) => entry.server) },
        { head: "Kind", oneLine: true, update: text((entry) => entry.kind) },
        { head: "Entry", text: true, update: text((entry) => entry.text) },
      ],
      "There is no entry yet.",
    );
  }

  add(server, entries) {
    for (const entry of [entries].flat()) {
      this.table.prepend(String(++this.number), { ...entry, server }, ENTRIES_SHOWN);
    }
  }

  clear() {
    this.table.clear();
  }
}
