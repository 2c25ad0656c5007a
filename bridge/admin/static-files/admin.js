/** The page: follows the events of the daemon, shows them, and sends restarts and reloads. */

import { Refused, act, closeSession, follow } from "./api.js";
import { element, setAttribute, setOptions, setText } from "./dom.js";
import {
  LogView,
  ServerView,
  TrafficView,
  callTable,
  cause,
  clientTable,
  duration,
  isBroken,
  size,
  tokenTable,
} from "./views.js";

const ALL = "*";
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;
const SIGN_IN =
  "The session has ended, or the page was switched off. Run `mcp-bridge admin` in a terminal, and open the link that it prints.";
const NUMBER = new Intl.NumberFormat("en");

const at = (id) => document.getElementById(id);
const servers = new ServerView(restart);
const clients = clientTable();
const calls = callTable();
const tokens = tokenTable();
const traffic = new TrafficView();
const log = new LogView();
// The broken servers of the last state, and what was announced for them.
let broken = new Map();
let current = new AbortController();

// ---- what the user is informed of

function announce(sentence) {
  setText(at("announcement"), sentence);
}

function notify(sentence, kind = "bad", about = "action") {
  const notice = at("notice");
  notice.hidden = sentence === "";
  notice.dataset.kind = kind;
  notice.dataset.about = about;
  setText(notice, sentence);
}

function setConnection(state, text) {
  at("connection").dataset.state = state;
  setText(at("connection"), text);
}

/** Announce servers that broke and servers that work again, in one sentence for each state, and nothing else. */
function announceChanges(found) {
  const names = [...found].filter(([name, state]) => broken.get(name) !== state).map(([name, state]) => `${name} is ${state}`);
  const mended = [...broken.keys()].filter((name) => !found.has(name)).map((name) => `${name} is available again`);
  if (names.length + mended.length) {
    announce(`${[...names, ...mended].join(". ")}.`);
  }
  broken = found;
}

// ---- the state

function showSummary(status) {
  const working = status.servers.filter((server) => !isBroken(server.state)).length;
  const refused = Object.values(status.refusals).reduce((sum, one) => sum + one, 0);
  const values = [
    ["Servers working", `${working} of ${status.servers.length}`],
    ["Calls", NUMBER.format(status.servers.reduce((sum, server) => sum + server.calls, 0))],
    ["Errors", NUMBER.format(status.servers.reduce((sum, server) => sum + server.errors, 0))],
    ["Connections", NUMBER.format(status.connections)],
    ["Refused requests", NUMBER.format(refused)],
    ["Memory", size(status.servers.reduce((sum, server) => sum + server.memory, status.memory))],
    ["Uptime", duration(status.uptime)],
  ];
  const list = at("summary");
  if (list.childElementCount === 0) {
    list.append(...values.map(([name]) => element("div", {}, element("dt", {}, name), element("dd"))));
  }
  for (const [index, [, value]] of values.entries()) {
    setText(list.children[index].lastElementChild, value);
  }
}

function showProblems(status) {
  const faulty = status.servers.filter((server) => isBroken(server.state));
  const problems = [
    ...faulty.map((server) => [`${server.name}: ${server.state}`, cause(server), server.stderr.join("\n")]),
    ...status.warnings.map((warning) => ["warning", warning, ""]),
  ];
  const wanted = JSON.stringify(problems);
  const list = at("problem-list");
  at("problems").hidden = problems.length === 0;
  if (list.dataset.shown !== wanted) {
    list.dataset.shown = wanted;
    list.replaceChildren(
      ...problems.map(([head, why, detail]) =>
        element(
          "li",
          { "data-kind": head === "warning" ? "warning" : "bad" },
          element("strong", {}, head),
          why,
          element("span", { class: "detail mono" }, detail),
        ),
      ),
    );
  }
  announceChanges(new Map(faulty.map((server) => [server.name, server.state])));
}

function showOptional(name, rows) {
  const isThere = rows !== undefined;
  at(name).hidden = !isThere;
  at(`${name}-link`).hidden = !isThere;
  return isThere;
}

function showState(state) {
  const { status } = state;
  setText(at("version"), status.version);
  setAttribute(at("version"), "title", status.config);
  at("reload").hidden = !state.actions;
  showSummary(status);
  showProblems(status);
  servers.update(status.servers, state.actions);
  tokens.update(state.tokens, (token) => token.name);
  if (showOptional("clients", state.sessions)) {
    clients.update(state.sessions, (one) => [one.server, one.session, one.client, one.pid, Math.round(one.since)].join("\n"));
    at("clients-note").hidden = !state.more_sessions;
    setText(at("clients-note"), `${NUMBER.format(state.more_sessions)} more clients are not shown.`);
  }
  if (showOptional("calls", state.calls)) {
    calls.update(state.calls, (one) => [one.server, one.method, one.tool].join("\n"));
  }
  const names = status.servers.map((server) => [server.name, server.name]);
  for (const id of ["tap-server", "log-server"]) {
    if (setOptions(at(id), [["", "none"], [ALL, "all"], ...names])) {
      // The selected server was removed.
      at(id).dispatchEvent(new Event("change"));
    }
  }
}

function showEvent(kind, data) {
  switch (kind) {
    case "state":
      showState(data);
      break;
    case "message":
      traffic.add(data);
      break;
    case "log":
      log.add(data.server, data.entries);
      break;
    case "dropped":
      setText(
        at("tap-note"),
        `${NUMBER.format(data)} events are missing: too many passed at once, or this page was too slow to take them.`,
      );
      break;
    default:
  }
}

// ---- the stream

function query() {
  return new URLSearchParams({ logs: at("log-server").value, tap: at("tap-server").value });
}

function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** Take back what is selected, which starts another stream. Returns whether anything was selected. */
function unselect() {
  const chosen = ["tap-server", "log-server"].map(at).filter((list) => list.value);
  for (const list of chosen) {
    list.value = "";
    list.dispatchEvent(new Event("change"));
  }
  return chosen.length > 0;
}

/** Inform the user of a refused stream. Returns whether it is of no use to try again. */
function isFinal(fault) {
  // The selected server was removed while this page did not follow the state.
  if (fault.status === 404 && unselect()) {
    return true;
  }
  if (fault.status === 401) {
    setConnection("lost", "not signed in");
    notify(SIGN_IN, "bad", "connection");
    return true;
  }
  notify(fault.message, "bad", "connection");
  if (fault.status === 403 || fault.status === 404) {
    setConnection("lost", "refused");
    return true;
  }
  return false;
}

/** Follow the events until this selection is replaced by another one, or the session ends. */
async function run(controller) {
  let wait = FIRST_PAUSE;
  while (!controller.signal.aborted) {
    try {
      await follow(
        query(),
        controller.signal,
        () => {
          wait = FIRST_PAUSE;
          // The stored entries come again with each stream.
          log.clear();
          setConnection("live", "live");
          if (at("notice").dataset.about === "connection") {
            notify("");
          }
        },
        showEvent,
      );
    } catch (fault) {
      if (controller.signal.aborted) {
        return;
      }
      if (fault instanceof Refused && isFinal(fault)) {
        return;
      }
    }
    if (!controller.signal.aborted) {
      setConnection("lost", "connection lost, trying again");
      await pause(wait);
      wait = Math.min(2 * wait, LONGEST_PAUSE);
    }
  }
}

function restartStream() {
  current.abort();
  current = new AbortController();
  run(current);
}

// ---- actions

async function carryOut(button, path, done) {
  if (button.getAttribute("aria-disabled") === "true") {
    return;
  }
  // Not `disabled`, which would take the focus away.
  button.setAttribute("aria-disabled", "true");
  try {
    const result = await act(path);
    notify("");
    announce(done(result));
    notify(done(result), "good");
  } catch (fault) {
    notify(fault.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function restart(name, button) {
  return carryOut(
    button,
    `restart?server=${encodeURIComponent(name)}`,
    () => `${name} was restarted. Calls in flight finish in the former process.`,
  );
}

function changesOf(result) {
  const parts = ["added", "changed", "removed"]
    .filter((kind) => result[kind].length)
    .map((kind) => `${kind}: ${result[kind].join(", ")}`);
  return `The configuration was reloaded. ${parts.length ? parts.join("; ") : "No server has changed"}.`;
}

at("reload").addEventListener("click", (event) => carryOut(event.currentTarget, "reload", changesOf));

at("sign-out").addEventListener("click", async () => {
  current.abort();
  try {
    await closeSession();
  } catch {
    // The session had ended.
  }
  location.replace("/admin/open");
});

/** Follow what the user selects in `NAME-server`, and show it in `NAME-region`; the hint is for an empty selection. */
function select(name, view) {
  const chosen = at(`${name}-server`);
  const hint = at(`${name}-note`).textContent;
  chosen.addEventListener("change", () => {
    view.clear();
    at(`${name}-region`).hidden = chosen.value === "";
    setText(at(`${name}-note`), chosen.value === "" ? hint : "");
    restartStream();
  });
}

select("tap", traffic);
select("log", log);
at("tap-clear").addEventListener("click", () => traffic.clear());
at("log-clear").addEventListener("click", () => log.clear());
at("tap-filter").addEventListener("input", (event) => traffic.setFilter(event.currentTarget.value));

// A page that is not seen costs nothing.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") {
    current.abort();
    setConnection("waiting", "paused");
  } else {
    restartStream();
  }
});

restartStream();
