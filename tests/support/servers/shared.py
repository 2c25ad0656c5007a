"""A legacy server for several clients: `shared.py LOCK`. It exits at once if another process has the lock.

Each tool runs in its own thread, so that a call that waits for its client delays no other.
"""

import fcntl
import json
import os
import sys
import threading

# Time that `ask` waits for its client (seconds).
PATIENCE = 0.5


class Server:
    def __init__(self):
        self.out = threading.Lock()
        self.next_id = 0
        self.waiting = {}
        self.replies = {}
        self.declared = []
        self.cancelled = []
        self.levels = []

    def send(self, **members):
        with self.out:
            print(json.dumps({"jsonrpc": "2.0", **members}), flush=True)

    def request(self, method, params, patience):
        """Send a request to the client. Returns its id and the reply, None where there was none in time."""
        with self.out:
            self.next_id += 1
            number = self.next_id
        self.waiting[number] = threading.Event()
        self.send(id=number, method=method, params=params)
        if not self.waiting[number].wait(patience):
            return number, None
        return number, self.replies.pop(number)

    def ask(self, patience=PATIENCE, method="elicitation/create", withdraw=False, params=None, **_):
        default = {"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}}
        number, reply = self.request(method, default if params is None else params, patience)
        if reply is None:
            if withdraw:
                self.send(
                    method="notifications/cancelled", params={"requestId": number, "reason": "too late"}
                )
            return "gave up"
        return json.dumps(reply.get("result", reply.get("error")))

    def state(self, **_):
        found = {"pid": os.getpid(), "declared": self.declared, "cancelled": self.cancelled}
        return json.dumps({**found, "levels": self.levels, "replies": [*self.replies.values()]})

    def log(self, level="info", text="line", **_):
        self.send(method="notifications/message", params={"level": level, "data": text})
        return "logged"

    def progress(self, token=None, text="done", **_):
        params = {"progressToken": token, "progress": 1, "message": text}
        self.send(method="notifications/progress", params=params)
        return text

    def call(self, number, params):
        arguments = params.get("arguments", {})
        token = params.get("_meta", {}).get("progressToken")
        match params["name"]:
            case "ask":
                text = self.ask(**arguments)
            case "state":
                text = self.state()
            case "log":
                text = self.log(**arguments)
            case "progress":
                text = self.progress(token, **arguments)
            case "die":
                os._exit(3)
            case name:
                text = name
        self.send(id=number, result={"content": [{"type": "text", "text": text}]})

    def take(self, message):
        method, number = message.get("method"), message.get("id")
        if method is None:
            waiting = self.waiting.get(number)
            self.replies[number] = message
            if waiting is not None:
                waiting.set()
        elif method == "initialize":
            self.declared.append(message["params"]["capabilities"])
            capabilities = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}
            info = {"name": "shared", "version": "1"}
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
            self.send(id=number, result=result)
        elif method == "tools/call":
            threading.Thread(target=self.call, args=(number, message["params"]), daemon=True).start()
        elif method == "tools/list":
            names = ("ask", "state", "log", "progress", "die", "echo")
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
            self.send(id=number, result={"tools": tools})
        elif method == "notifications/cancelled":
            self.cancelled.append(message["params"]["requestId"])
        elif method == "server/discover":
            self.send(id=number, error={"code": -32601, "message": "no"})
        elif number is not None:
            if method == "logging/setLevel":
                self.levels.append(message["params"]["level"])
            self.send(id=number, result={})


def main():
    if len(sys.argv) > 1:
        lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("the lock is taken")
    server = Server()
    for line in sys.stdin:
        server.take(json.loads(line))


if __name__ == "__main__":
    main()
