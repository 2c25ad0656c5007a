"""A legacy server with bad timing for several clients: `disorderly.py SEED`. Each message names the client that has caused it.

The tool `work` is answered after a random time, out of order. Between the request and its answer come progress, log lines,
updates of resources and list changes; after some answers come late progress and a second answer. Lines are written in bursts
and in pieces. The server reads `of` (the client) and `word` (the call) in the arguments, which a bridge does not read.
"""

import heapq
import itertools
import json
import os
import queue
import random
import sys
import threading
import time

LEVELS = ("debug", "info", "notice", "warning", "error")
CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "logging": {},
}
# The longest time between a request and its answer (seconds).
LONGEST = 0.02
# Ids of requests to clients. Some are equal to ids that a bridge may use itself.
REQUEST_IDS = (1, "1", "", "\u00fc", -1, 2**53 - 1, "a b")


class Server:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.lines = queue.SimpleQueue()
        # What is to be sent at which time (seconds), in the order in which it was added.
        self.later = []
        self.order = itertools.count()
        self.out = bytearray()
        # The URIs with subscriptions, in the order of the subscriptions.
        self.uris = {}
        # How often each URI was updated, and how often the lists have changed.
        self.updates = {}
        self.changes = 0
        self.levels = []
        # Calls that wait for the answer of a client, by the id of the request to the client.
        self.asked = {}
        self.numbers = itertools.count(1)

    # ---- output

    def at(self, seconds, function, *arguments):
        heapq.heappush(self.later, (time.monotonic() + seconds, next(self.order), function, arguments))

    def send(self, **members):
        self.out += json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"

    def notify(self, method, params):
        self.send(method=method, params=params)

    def flush(self):
        """Write what is there, in two pieces with a pause between them now and then."""
        if not self.out:
            return
        data, self.out = bytes(self.out), bytearray()
        if self.rng.random() < 0.05:
            place = self.rng.randrange(len(data))
            os.write(1, data[:place])
            time.sleep(0.001)
            data = data[place:]
        while data:
            data = data[os.write(1, data) :]

    # ---- input

    def read(self):
        for line in sys.stdin.buffer:
            self.lines.put(line)
        self.lines.put(b"")

    def run(self):
        threading.Thread(target=self.read, daemon=True).start()
        while True:
            wait = max(0.0, self.later[0][0] - time.monotonic()) if self.later else None
            try:
                line = self.lines.get(timeout=wait)
                if not line:
                    return
                self.take(json.loads(line))
            except queue.Empty:
                pass
            while self.later and self.later[0][0] <= time.monotonic():
                _, _, function, arguments = heapq.heappop(self.later)
                function(*arguments)
            # Otherwise the next lines are written together with these.
            if self.lines.empty() or self.rng.random() < 0.3:
                self.flush()

    def take(self, message):
        method, number = message.get("method"), message.get("id")
        params = message.get("params") or {}
        if method is None:
            self.on_answer(number, message)
        elif method == "tools/call":
            self.begin(number, params)
        elif method == "initialize":
            info = {"name": "disorderly", "version": "1"}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": CAPABILITIES}
            self.send(id=number, result={**result, "serverInfo": info})
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            self.subscribe(method, number, params["uri"])
        elif method == "logging/setLevel":
            self.levels.append(params["level"])
            self.send(id=number, result={})
        elif method == "tools/list":
            names = ("work", "state", "exit")
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
            self.at(self.rng.random() * LONGEST, lambda: self.send(id=number, result={"tools": tools}))
        elif method == "server/discover":
            self.send(id=number, error={"code": -32601, "message": "no"})
        elif number is not None:
            self.send(id=number, result={})

    # ---- subscriptions

    def update(self, uri):
        self.updates[uri] = self.updates.get(uri, 0) + 1
        self.notify("notifications/resources/updated", {"uri": uri, "n": self.updates[uri]})

    def subscribe(self, method, number, uri):
        """Send updates directly before and after the answer, whether the URI has a subscription or not."""
        for _ in range(self.rng.randrange(3)):
            self.update(uri)
        if method == "resources/subscribe":
            self.uris[uri] = None
        else:
            self.uris.pop(uri, None)
        self.send(id=number, result={"n": self.updates.get(uri, 0)})
        for _ in range(self.rng.randrange(3)):
            self.update(uri)

    # ---- calls

    def begin(self, number, params):
        arguments = params.get("arguments", {})
        if params["name"] == "exit":
            os._exit(3)
        if params["name"] == "state":
            state = {"pid": os.getpid(), "uris": [*self.uris], "levels": self.levels, "updates": self.updates}
            self.answer(number, {**state, "changes": self.changes, "waiting": len(self.asked)})
            return
        whose = {"of": arguments["of"], "word": arguments["word"]}
        if "size" in arguments:
            self.answer(number, {**whose, "text": "x" * arguments["size"]})
            return
        token = params.get("_meta", {}).get("progressToken")
        rng = self.rng
        end = arguments.get("seconds", rng.random() * LONGEST)
        asks = arguments.get("asks")
        # A call with a request to its client has no progress, which could follow the answer.
        count = rng.randrange(4) if token is not None and not asks else 0
        for step in range(count):
            self.at(end * step / (count + 1), self.progress, token, step, whose)
        self.at(rng.random() * end, self.log, whose, arguments.get("levels", [rng.choice(LEVELS)]))
        if rng.random() < 0.3 and self.uris:
            self.at(rng.random() * end, self.update, rng.choice([*self.uris]))
        if rng.random() < 0.05:
            self.at(rng.random() * end, self.change)
        if asks:
            self.at(rng.random() * end, self.ask, number, whose)
        else:
            self.at(end, self.finish, number, whose, count, token)

    def progress(self, token, step, whose):
        self.notify("notifications/progress", {"progressToken": token, "progress": step, **whose})

    def log(self, whose, levels):
        for level in levels:
            self.notify("notifications/message", {"level": level, "data": whose})

    def change(self):
        self.changes += 1
        self.notify("notifications/tools/list_changed", {"n": self.changes})

    def ask(self, number, whose):
        request = self.rng.choice(REQUEST_IDS)
        if request in self.asked:
            request = f"request {next(self.numbers)}"
        self.asked[request] = number, whose
        schema = {"type": "object", "properties": {}}
        params = {"message": "sure?", "requestedSchema": schema, **whose}
        self.send(id=request, method="elicitation/create", params=params)

    def on_answer(self, request, message):
        number, whose = self.asked.pop(request)
        result = message.get("result")
        came = result.get("content", {}) if result else message["error"]["code"]
        self.finish(number, {**whose, "came": came}, 0, None)

    def finish(self, number, whose, count, token):
        self.answer(number, {**whose, "progress": count})
        self.log(whose, [self.rng.choice(LEVELS)])
        if token is not None and self.rng.random() < 0.1:
            self.at(self.rng.random() * LONGEST, self.progress, token, 99, whose)
        if self.rng.random() < 0.1:
            second = {**whose, "word": "a second answer"}
            self.at(self.rng.random() * LONGEST, self.answer, number, second)

    def answer(self, number, found):
        text = json.dumps(found)
        self.send(id=number, result={"content": [{"type": "text", "text": text}], "isError": False})


if __name__ == "__main__":
    Server(int(sys.argv[1])).run()
