"""A server with extensions: `extended.py ERA [NAME]`, of the era "legacy" or "modern". NAME is the name of its own extension, "plain" for none.

Its own methods are outside of the core of every revision: `com.example/echo` returns its params after a notification
with the same params, `com.example/marks` with the params of all notifications `notifications/com.example/mark`. Its tools follow
MCP Apps: `widget` names a resource `ui://widget/view`.
"""

import json
import sys

PREFIX = "io.modelcontextprotocol/"
UI = f"{PREFIX}ui"
VENDOR = "com.example/stream"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
PAGE = {"uri": "ui://widget/view", "mimeType": "text/html;profile=mcp-app", "text": "<p>widget</p>"}
OFFERED = {
    "tools": {},
    "resources": {},
    "logging": {},
    "experimental": {"exampleThing": {"x": [1, 2]}},
    "extensions": {UI: {}, VENDOR: {"version": "3"}, f"{PREFIX}skills": {"listChanged": False}},
}
TOOLS = [
    {
        "name": "widget",
        "inputSchema": {"type": "object"},
        "_meta": {
            "ui": {"resourceUri": PAGE["uri"], "visibility": ["model", "app"]},
            "ui/resourceUri": PAGE["uri"],
        },
    },
    *({"name": name, "inputSchema": {"type": "object"}} for name in ("declared", "log", "vendor", "later")),
]


class Server:
    def __init__(self, era):
        self.era = era
        self.opened = {}
        self.marks = []
        self.level = ""
        self.initialized = False

    def send(self, **members):
        print(json.dumps({"jsonrpc": "2.0", **members}), flush=True)

    def notify(self, method, params):
        self.send(method=method, params=params)

    def receive(self, message):
        method, params = message.get("method", ""), message.get("params", {})
        meta = params.get("_meta", {})
        modern = f"{PREFIX}protocolVersion" in meta
        if "id" not in message:
            if method == "notifications/com.example/mark":
                self.marks.append(params)
            return
        # The response to a request of the tool `vendor`.
        if not method:
            number = message["id"].removeprefix("vendor-")
            text = json.dumps(message.get("result", message.get("error")))
            self.send(id=int(number), result={"content": [{"type": "text", "text": text}]})
            return
        if modern != (self.era == "modern"):
            self.fail(message, -32601, "not of this era")
            return
        self.answer(message, method, params, meta if modern else None)

    def fail(self, message, code, text, **more):
        self.send(id=message["id"], error={"code": code, "message": text, **more})

    def answer(self, message, method, params, meta):
        complete = {} if meta is None else {"resultType": "complete"}
        result = None
        if method == "initialize":
            self.opened = params
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": OFFERED,
                "serverInfo": {"name": "extended", "version": "1"},
            }
        elif method == "server/discover":
            result = {
                "supportedVersions": ["2026-07-28"],
                "capabilities": OFFERED,
                "ttlMs": 0,
                "cacheScope": "private",
            }
        elif method == "ping":
            result = {}
        elif method == "logging/setLevel":
            self.level, result = params["level"], {}
        elif method == "tools/list":
            result = {"tools": TOOLS, **({} if meta is None else {"ttlMs": 0, "cacheScope": "private"})}
        elif method == "resources/list":
            result = {"resources": [{"uri": PAGE["uri"], "name": "view", "mimeType": PAGE["mimeType"]}]}
        elif method == "resources/read":
            contents = [PAGE] if params["uri"] == PAGE["uri"] else [{"uri": params["uri"], "text": "a skill"}]
            result = {"contents": contents, **({} if meta is None else {"ttlMs": 0, "cacheScope": "private"})}
        elif method == "tools/call":
            result = self.call(message, params, meta)
            if result is None:
                return
        elif method == "com.example/echo":
            given = {key: value for key, value in params.items() if key != "_meta"}
            self.notify("notifications/com.example/echoed", given)
            result = {"params": params, "nextCursor": None, "ttlMs": 7}
        elif method == "com.example/marks":
            result = {"marks": self.marks}
        elif method == "com.example/fail":
            self.fail(message, -32050, "as asked", data={"why": [1]})
            return
        if result is None:
            self.fail(message, -32601, "Method not found")
            return
        self.send(id=message["id"], result={**result, **complete})

    def call(self, message, params, meta):
        name = params["name"]
        if name == "vendor":
            self.send(id=f"vendor-{message['id']}", method="com.example/ask", params={"a": 1})
            return None
        if name == "later":
            self.notify("notifications/com.example/happened", {"n": 1})
        if name == "log":
            level = self.level or "debug" if meta is None else meta.get(f"{PREFIX}logLevel", "")
            for one in LEVELS[:4]:
                if level and LEVELS.index(one) >= LEVELS.index(level):
                    self.notify("notifications/message", {"level": one, "data": f"line {one}"})
        capabilities = (
            self.opened.get("capabilities") if meta is None else meta.get(f"{PREFIX}clientCapabilities")
        )
        level = self.level if meta is None else meta.get(f"{PREFIX}logLevel")
        said = {"capabilities": capabilities, "level": level}
        return {"content": [{"type": "text", "text": json.dumps(said)}]}


def main():
    era, *name = sys.argv[1:]
    if name == ["plain"]:
        del OFFERED["extensions"], OFFERED["experimental"]
    elif name:
        OFFERED["extensions"][name[0]] = OFFERED["extensions"].pop(VENDOR)
    server = Server(era)
    for line in sys.stdin:
        server.receive(json.loads(line))


if __name__ == "__main__":
    main()
