"""Daemons over HTTP/1.1 and over HTTP/2, and clients with a chosen Accept header."""

import contextlib
import json
import sys
from pathlib import Path

import httpx2

from .daemon_process import daemon
from .handshake import INITIALIZED, VERSION, initialize_request
from .tls import tls_client_context, write_certificate

PROGRAM = str(Path(__file__).with_name("servers") / "accepting.py")
COMMAND = [sys.executable, "-I", "-S", PROGRAM]
JSON, EVENTS = "application/json", "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
TIMEOUT = 15.0
CARRIERS = ("http1", "http2")
PREFIX = "io.modelcontextprotocol/"


def servers(**more):
    return {
        "own": {"command": COMMAND},
        **{name: {"command": COMMAND, **keys} for name, keys in more.items()},
    }


@contextlib.contextmanager
def carriers(folder, authority, tables):
    """Yield a daemon without TLS and a daemon with TLS, and the TLS context of their clients, by the HTTP version."""
    certificate, key = write_certificate(authority, folder)
    files = {"tls_cert": str(certificate), "tls_key": str(key)}
    trust = tls_client_context(authority)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(daemon(folder / "http1", tables))
        secure = stack.enter_context(daemon(folder / "http2", tables, listen=files))
        yield {"http1": (plain, False), "http2": (secure, trust)}


def result_text(message):
    return message["result"]["content"][0]["text"]


def events_of(response):
    """Return the id, the data and the retry of each event of a finished stream."""
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append((fields.get("id", ""), fields.get("data", ""), fields.get("retry", "")))
    return found


def messages_in(response):
    """Return all messages of a response, and whether they are events."""
    kind = response.headers.get("content-type", "")
    if kind == EVENTS:
        return [json.loads(data) for _, data, _ in events_of(response) if data], True
    if not response.content:
        return [], False
    assert kind == JSON
    body = response.json()
    return body if isinstance(body, list) else [body], False


class Client:
    """A client over Streamable HTTP with a fixed Accept header. For None it sends no such header."""

    def __init__(self, running, carrier, server="own", accept=BOTH):
        daemon_, trust = running[carrier]
        self.daemon = daemon_
        self.http = httpx2.Client(
            http1=carrier == "http1",
            http2=carrier == "http2",
            verify=trust,
            timeout=TIMEOUT,
            headers={"Authorization": f"Bearer {daemon_.token}"},
        )
        del self.http.headers["Accept"]
        self.url = daemon_.url(server)
        self.headers = {}
        if accept is not None:
            self.headers["Accept"] = accept

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def post(self, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **named}.items() if value is not None}
        return self.http.post(self.url, json=body, headers=sent)

    def initialize(self, version=VERSION, **headers):
        """Open a session. Return the response to `initialize`."""
        opening = initialize_request(
            version=version, capabilities={"elicitation": {}, "roots": {}}, name="accept"
        )
        answer = self.post(opening, **headers)
        if answer.status_code == 200 and "mcp-session-id" in answer.headers:
            self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
            [opened] = [one for one in messages_in(answer)[0] if one.get("id") == 0]
            self.headers["MCP-Protocol-Version"] = opened["result"]["protocolVersion"]
            ready = self.post(INITIALIZED)
            assert (ready.status_code, ready.content) == (202, b"")
        return answer

    def call(self, name, /, token=None, id_=1, headers=None, **arguments):
        meta = {"_meta": {"progressToken": token}} if token else {}
        return self.post(tool_call(name, id_, **meta, arguments=arguments), **(headers or {}))

    def stream(self, **headers):
        """Return a GET stream, as a context manager."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **named}.items() if value is not None}
        return self.http.stream("GET", self.url, headers=sent)


def tool_call(name, id_, **params):
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": name, **params}}


def modern(method, params=None, id_=1, **meta):
    """Return a request of revision 2026-07-28, and the headers that mirror it."""
    envelope = {
        f"{PREFIX}protocolVersion": "2026-07-28",
        f"{PREFIX}clientCapabilities": {},
        f"{PREFIX}clientInfo": {"name": "accept", "version": "1"},
        **meta,
    }
    params = {**(params or {}), "_meta": envelope}
    headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method}
    if "name" in params:
        headers["Mcp_Name"] = params["name"]
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}, headers
