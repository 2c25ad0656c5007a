"""Daemons with one server of many kinds, reached over HTTP/1.1 and over HTTP/2, and clients with one Accept header each."""

import contextlib
import json
import ssl
import sys
from pathlib import Path

import httpx2

from .daemon_process import daemon

PROGRAM = str(Path(__file__).with_name("servers") / "accepting.py")
COMMAND = [sys.executable, "-I", "-S", PROGRAM]
JSON, EVENTS = "application/json", "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
LATEST = "2025-11-25"
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
    """A daemon without TLS, and one with, by the name of what its clients speak."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    files = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(daemon(folder / "http1", tables))
        secure = stack.enter_context(daemon(folder / "http2", tables, listen=files))
        yield {"http1": (plain, False), "http2": (secure, trust)}


def result_text(message):
    return message["result"]["content"][0]["text"]


def events_of(response):
    """The id, the data and the retry of each event of a finished stream."""
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append((fields.get("id", ""), fields.get("data", ""), fields.get("retry", "")))
    return found


def messages_in(response):
    """All messages of an answer, and whether they came as events."""
    kind = response.headers.get("content-type", "")
    if kind == EVENTS:
        return [json.loads(data) for _, data, _ in events_of(response) if data], True
    if not response.content:
        return [], False
    assert kind == JSON
    body = response.json()
    return body if isinstance(body, list) else [body], False


class Client:
    """A client over Streamable HTTP with one way to say Accept. None sends no such header."""

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

    def initialize(self, version=LATEST, **headers):
        """Open a session. Returns the answer to `initialize`."""
        params = {
            "protocolVersion": version,
            "capabilities": {"elicitation": {}, "roots": {}},
            "clientInfo": {"name": "accept", "version": "1"},
        }
        answer = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, **headers)
        if answer.status_code == 200 and "mcp-session-id" in answer.headers:
            self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
            [opened] = [one for one in messages_in(answer)[0] if one.get("id") == 0]
            self.headers["MCP-Protocol-Version"] = opened["result"]["protocolVersion"]
            ready = self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
            assert (ready.status_code, ready.content) == (202, b"")
        return answer

    def call(self, name, /, token=None, id_=1, headers=None, **arguments):
        meta = {"_meta": {"progressToken": token}} if token else {}
        return self.post(tool_call(name, id_, **meta, arguments=arguments), **(headers or {}))

    def stream(self, **headers):
        """A GET stream, as a context manager."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **named}.items() if value is not None}
        return self.http.stream("GET", self.url, headers=sent)


def tool_call(name, id_, **params):
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": name, **params}}


def modern(method, params=None, id_=1, **meta):
    """A request of revision 2026-07-28, and the headers that mirror it."""
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
