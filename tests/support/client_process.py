"""A client process that sends requests of revision 2026-07-28, each on a connection that a test names.

`Program` controls it. The process reads orders, one JSON text a line, and writes one line for each order.
"""

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys

PREFIX = "io.modelcontextprotocol/"
ASKABLE = {"elicitation": {"form": {}}}
INFO = {"name": "mcp", "version": "0.1.0"}


def body_of(method, params=None, *, caps=None, info=INFO, number=1):
    meta = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": caps or {}}
    if info is not None:
        meta[f"{PREFIX}clientInfo"] = info
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**(params or {}), "_meta": meta}}


class Program:
    """A client process with any number of connections to one address: host and port, or the path of a Unix socket."""

    def __init__(self, address, token="", path="/servers/it/mcp"):
        self.address, self.token, self.path = address, token, path
        self.process = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exit()

    def exit(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def send(self, method, params=None, *, on="1", headers=None, verb="POST", **more):
        """Send a request and return at once; `read` reads the answer."""
        body = body_of(method, params, **more)
        fields = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **(headers or {}),
        }
        if self.token:
            fields["Authorization"] = f"Bearer {self.token}"
        if "name" in body["params"]:
            fields["Mcp-Name"] = body["params"]["name"]
        order = {"verb": verb, "path": self.path, "headers": fields, "body": body}
        self.order(op="send", on=on, address=self.address, **order)

    def read(self, on="1"):
        """Return the status, the headers and the last message of the answer."""
        status, headers, text = self.order(op="read", on=on)
        lines = [line[5:] for line in text.splitlines() if line.startswith("data:")] or [text]
        return (
            status,
            headers,
            json.loads(lines[-1]) if lines[-1].startswith("{") or lines[-1].startswith(" {") else None,
        )

    def first(self, *of):
        """Return the connection whose response arrives first."""
        return self.order(op="first", of=of)

    def call(self, name, *, on="1", text="", again=None, **more):
        """Call a tool and return the whole message."""
        self.send("tools/call", {"name": name, "arguments": {"text": text}, **(again or {})}, on=on, **more)
        return self.read(on)[2]

    def server(self, **more):
        """Return the pid, capabilities and clientInfo that the server process reports."""
        answer = self.call("self", **more)
        return json.loads(answer["result"]["content"][0]["text"])

    def close(self, on="1"):
        self.order(op="close", on=on)

    def fork(self):
        """Let a child process inherit all connections; return its pid."""
        return self.order(op="fork")

    def end_child(self, pid):
        self.order(op="end", pid=pid)


def text_of(answer):
    return answer["result"]["content"][0]["text"]


def retry_of(answer, text):
    """Return the members of a retry with the answer to the only elicitation of an `input_required` result."""
    return echoing(answer, lambda _question: text)


def echoing(answer, reply=str):
    """Return the members of a retry with an answer to each elicitation, which `reply` makes from its message."""
    result = answer["result"]
    replies = {
        key: {"action": "accept", "content": {"text": reply(one["params"]["message"])}}
        for key, one in result["inputRequests"].items()
    }
    return {"inputResponses": replies, "requestState": result["requestState"]}


def questions_in(answer):
    return [one["params"]["message"] for one in answer["result"]["inputRequests"].values()]


def question_in(answer):
    [question] = questions_in(answer)
    return question


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class _Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


def _connection(address):
    if isinstance(address, str):
        unix = _Unix("localhost")
        unix.host = address
        return unix
    return http.client.HTTPConnection(*address, timeout=30)


def _main():
    connections, children = {}, {}
    for line in sys.stdin:
        order = json.loads(line)
        on, answer = order.get("on"), None
        match order["op"]:
            case "send":
                if on not in connections:
                    connections[on] = _connection(order["address"])
                headers = {"Host": "localhost", **order["headers"]}
                if not isinstance(order["address"], str):
                    del headers["Host"]
                body = json.dumps(order["body"]) if order["verb"] == "POST" else None
                connections[on].request(order["verb"], order["path"], body, headers)
            case "read":
                got = connections[on].getresponse()
                text = got.read().decode()
                answer = got.status, {name.lower(): value for name, value in got.getheaders()}, text
            case "first":
                ready, _, _ = select.select([connections[one].sock for one in order["of"]], [], [], 30)
                [answer, *_] = [one for one in order["of"] if connections[one].sock in ready]
            case "close":
                connections.pop(on).close()
            case "fork":
                read, write = os.pipe()
                answer = os.fork()
                if not answer:
                    os.close(write)
                    os.read(read, 1)
                    os._exit(0)
                os.close(read)
                children[answer] = write
            case "end":
                os.close(children.pop(order["pid"]))
                os.waitpid(order["pid"], 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
