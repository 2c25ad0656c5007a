#!/usr/bin/env python3
"""A small MCP server on stdio to try the bridge with, written with the standard library only.

The server speaks the handshake revisions, 2024-11-05 to 2025-11-25. Each call runs in its own thread: calls run
concurrently, can be cancelled, and may send requests to the client. Only JSON-RPC is written to stdout.
"""

import inspect
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, NoReturn

REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
PARSE_ERROR, METHOD_NOT_FOUND, INVALID_PARAMS, RESOURCE_NOT_FOUND = -32700, -32601, -32602, -32002
REQUEST_NUMBERS = itertools.count(1)

Json = dict[str, Any]


class Refusal(Exception):
    """A JSON-RPC error response: code and message."""


class Client:
    """The client at the other end of stdin and stdout: its capabilities, calls and subscriptions."""

    def __init__(self) -> None:
        self.capabilities: Json = {}
        self.level = "debug"
        self.subscriptions: set[str] = set()
        self.calls: dict[str | int, Call] = {}
        self.requests: dict[str, Future[Json]] = {}
        self._lock = threading.Lock()

    def send(self, **message: object) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def notify(self, method: str, **params: object) -> None:
        self.send(method=method, **({"params": params} if params else {}))


class Call:
    """One request of the client in progress."""

    def __init__(self, client: Client, key: str | int, params: Json) -> None:
        self.client = client
        self.key = key
        self.token = params.get("_meta", {}).get("progressToken")
        self.cancelled = threading.Event()
        self.waiting_for: Future[Json] | None = None

    def cancel(self) -> None:
        self.cancelled.set()
        if self.waiting_for is not None:
            self.waiting_for.cancel()

    def progress(self, done: int, total: int) -> None:
        if self.token is not None:
            self.client.notify("notifications/progress", progressToken=self.token, progress=done, total=total)

    def ask(self, capability: str, method: str, **params: object) -> Json:
        """Send a request to the client and return its result. Wait until the result arrives or this call is cancelled."""
        if capability not in self.client.capabilities:
            raise RuntimeError(f"this client offers no {capability}")
        key = f"request-{next(REQUEST_NUMBERS)}"
        answer = self.waiting_for = self.client.requests[key] = Future()
        self.client.send(id=key, method=method, params=params)
        if self.cancelled.is_set():
            raise CancelledError
        return answer.result()


# ---- Tools: functions of a call and arguments that return the text of the result ----


def echo(_call: Call, text: str) -> str:
    """Return the text."""
    return text


def add(_call: Call, a: float, b: float) -> str:
    """Add two numbers."""
    return str(a + b)


def slow(call: Call, seconds: float = 1, steps: int = 10) -> str:
    """Wait for some seconds and report progress."""
    for step in range(steps):
        call.progress(step, steps)
        if call.cancelled.wait(seconds / steps):
            raise CancelledError
    call.progress(steps, steps)
    return f"done in {seconds} s"


def log(call: Call, text: str, level: str = "info") -> str:
    """Send the client a log message."""
    if LEVELS.index(level) < LEVELS.index(call.client.level):
        return f"{level} is below {call.client.level}"
    call.client.notify("notifications/message", level=level, logger="example", data=text)
    return "logged"


def ask(call: Call, question: str) -> str:
    """Request input from the user with a form (elicitation)."""
    form = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    reply = call.ask("elicitation", "elicitation/create", message=question, requestedSchema=form)
    return f"{reply['action']}: {reply.get('content', {}).get('answer', '')}"


def think(call: Call, prompt: str) -> str:
    """Send a prompt to the client's model (sampling)."""
    messages = [{"role": "user", "content": {"type": "text", "text": prompt}}]
    reply = call.ask("sampling", "sampling/createMessage", messages=messages, maxTokens=100)
    return f"{reply['model']}: {reply['content']['text']}"


def roots(call: Call) -> str:
    """List the roots of the client."""
    return "\n".join(root["uri"] for root in call.ask("roots", "roots/list")["roots"])


def toggle(call: Call) -> str:
    """Add or remove the tool `extra`, and notify the client that the list has changed."""
    on = TOOLS.pop("extra", None) is None
    if on:
        TOOLS["extra"] = extra
    call.client.notify("notifications/tools/list_changed")
    return "on" if on else "off"


def extra(_call: Call) -> str:
    """Return a text; the tool exists only after a call of `toggle`."""
    return "here I am"


def touch(call: Call, uri: str) -> str:
    """Notify the client that a resource has changed, if the client is subscribed to it."""
    if uri not in call.client.subscriptions:
        return "nobody is subscribed"
    call.client.notify("notifications/resources/updated", uri=uri)
    return "touched"


def crash(_call: Call, code: int = 1) -> NoReturn:
    """Exit with a code, or by signal N if the code is -N."""
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)


def env(_call: Call) -> str:
    """Return the environment variables of this process."""
    return json.dumps(dict(os.environ))


def big(_call: Call, size: int) -> str:
    """Return that many bytes of text."""
    return "x" * size


TOOLS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (echo, add, slow, log, ask, think, roots, toggle, touch, crash, env, big)
}
SCHEMAS = {int: {"type": "integer"}, float: {"type": "number"}, str: {"type": "string"}}

# ---- Methods ----

OFFERED: Json = {"prompts": {}, "completions": {}, "logging": {}}
OFFERED |= {"tools": {"listChanged": True}, "resources": {"subscribe": True}}
GREETING = {"uri": "example://greeting", "name": "greeting", "mimeType": "text/plain"}
SQUARE = {"uriTemplate": "example://square/{number}", "name": "square", "mimeType": "text/plain"}
GREET = {"name": "greet", "description": "Greet somebody", "arguments": [{"name": "name"}]}


def result_of(call: Call, method: str, params: Json) -> Json:  # noqa: C901, PLR0912 - one case for each method
    match method:
        case "initialize":
            call.client.capabilities = params["capabilities"]
            wanted = params["protocolVersion"]
            revision = wanted if wanted in REVISIONS else REVISIONS[0]
            us = {"name": "example", "version": "1.0.0"}
            return {"protocolVersion": revision, "serverInfo": us, "capabilities": OFFERED}
        case "tools/list":
            return {"tools": [describe(name, function) for name, function in list(TOOLS.items())]}
        case "tools/call":
            return call_tool(call, params["name"], params.get("arguments", {}))
        case "resources/list":
            return {"resources": [GREETING]}
        case "resources/templates/list":
            return {"resourceTemplates": [SQUARE]}
        case "resources/read":
            return {"contents": [read(params["uri"])]}
        case "resources/subscribe":
            call.client.subscriptions.add(params["uri"])
        case "resources/unsubscribe":
            call.client.subscriptions.discard(params["uri"])
        case "prompts/list":
            return {"prompts": [GREET]}
        case "prompts/get":
            who = params.get("arguments", {}).get("name", "the world")
            text = {"type": "text", "text": f"Say hello to {who}."}
            return {"messages": [{"role": "user", "content": text}]}
        case "completion/complete":
            typed = params["argument"]["value"]
            names = [name for name in ("Ada", "Alan", "Grace") if name.startswith(typed)]
            return {"completion": {"values": names, "total": len(names), "hasMore": False}}
        case "logging/setLevel":
            call.client.level = params["level"]
        case "ping":
            pass
        case _:
            raise Refusal(METHOD_NOT_FOUND, f"there is no method {method}")
    return {}


def describe(name: str, function: Callable[..., str]) -> Json:
    """Return the definition of a tool, with the name, description and schema of its function."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    properties = {p.name: SCHEMAS[p.annotation] for p in parameters}
    required = [p.name for p in parameters if p.default is p.empty]
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": function.__doc__, "inputSchema": schema}


def call_tool(call: Call, name: str, arguments: Json) -> Json:
    if name not in TOOLS:
        raise Refusal(INVALID_PARAMS, f"there is no tool {name}")
    try:
        text, failed = TOOLS[name](call, **arguments), False
    except (RuntimeError, TypeError, ValueError) as fault:
        text, failed = str(fault), True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def read(uri: str) -> Json:
    base, _, number = uri.rpartition("/")
    if uri == GREETING["uri"]:
        return {"uri": uri, "mimeType": "text/plain", "text": "Hello."}
    if base == "example://square" and number.isdecimal():
        return {"uri": uri, "mimeType": "text/plain", "text": str(int(number) ** 2)}
    raise Refusal(RESOURCE_NOT_FOUND, f"there is no resource {uri}")


# ---- The conversation ----


def answer(call: Call, method: str, params: Json) -> None:
    """Carry out one request and send the response, unless the request is cancelled."""
    reply: Json
    try:
        reply = {"result": result_of(call, method, params)}
    except Refusal as refusal:
        reply = {"error": dict(zip(("code", "message"), refusal.args, strict=True))}
    except KeyError as missing:
        reply = {"error": {"code": INVALID_PARAMS, "message": f"{method} needs {missing}"}}
    except CancelledError:
        return
    finally:
        call.client.calls.pop(call.key, None)
    if not call.cancelled.is_set():
        call.client.send(id=call.key, **reply)


def receive(client: Client, message: Json) -> None:
    """Handle one message: a response, a cancellation, a request; ignore other notifications."""
    method, params = message.get("method"), message.get("params", {})
    if method is None:
        future = client.requests.pop(message["id"], None)
        # A future that was cancelled belongs to a cancelled call.
        if future is not None and future.set_running_or_notify_cancel():
            if "result" in message:
                future.set_result(message["result"])
            else:
                future.set_exception(RuntimeError(message["error"]["message"]))
    elif method == "notifications/cancelled":
        call = client.calls.get(params.get("requestId"))
        if call is not None:
            call.cancel()
    elif "id" in message:
        call = client.calls[message["id"]] = Call(client, message["id"], params)
        if method == "tools/call":
            threading.Thread(target=answer, args=(call, method, params), daemon=True).start()
        else:
            answer(call, method, params)


def main() -> None:
    client = Client()
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            client.send(id=None, error={"code": PARSE_ERROR, "message": "this line is not JSON"})
        else:
            receive(client, message)
    # The client has closed stdin. Calls may still run in daemon threads.
    os._exit(0)


if __name__ == "__main__":
    main()
