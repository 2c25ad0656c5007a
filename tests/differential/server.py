"""A stdio server of either era that follows a script, for the differential table. Standard library only.

`server.py ERA SCRIPT JOURNAL GROUP DELAY`. SCRIPT is a JSON file: group, era and key lead to a list of actions. The key of a
message is its method, with the name, the URI or the level that it names behind a space. Texts stand for bytes, a character
for a byte (Latin-1).

- `["send", TEXT]` writes a line. `$ID` is the id of the request, `$TOKEN` its progress token, `$ANSWER` what the client has
  answered last, each as raw text; `$PAD` is a long text.
- `["wait", ID]` reads on until the client has responded to the request with this raw id; other messages are served meanwhile.
- `["hold"]` keeps the id of the request; `["release", TEXT]` sends a line for each id that is held, as `$ID`, the newest first.
- `["sleep", SECONDS]`, and `["set", KEY, ACTIONS]`, which replaces the actions for a key.

Each line that is read is written to the file JOURNAL.PID first. With a DELAY (seconds) each line is written in two parts, and
the server sleeps before and after it.
"""

import json
import os
import sys
import time

PAD = b"x" * 3_000_000


class Number(str):
    """The text of a number."""

    __slots__ = ()


class Server:
    def __init__(self, era, script, journal, group, delay):
        with open(script, encoding="ascii") as file:
            scripts = json.load(file)
        self.reactions = {**scripts["*"][era], **scripts.get(group, {}).get(era, {})}
        self.journal = os.open(f"{journal}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.delay = float(delay)
        self.held = []
        self.answer = b""
        self.answered = set()

    def serve(self):
        while self.read() is not None:
            pass

    def read(self):
        """Serve one line. Returns None at the end of the input."""
        line = sys.stdin.buffer.readline()
        if not line:
            return None
        os.write(self.journal, line)
        try:
            found = json.loads(line, parse_int=Number, parse_float=Number)
        except ValueError:
            return b""
        for message in found if isinstance(found, list) else [found]:
            if isinstance(message, dict):
                self.receive(message)
        return b""

    def receive(self, message):
        number = raw(message["id"]) if "id" in message else b""
        method = message.get("method")
        if method is None:
            self.answered.add(number)
            self.answer = raw(message.get("error") or message.get("result"))
            return
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        token = raw(meta["progressToken"]) if isinstance(meta, dict) and "progressToken" in meta else b"null"
        named = [params[key] for key in ("name", "uri", "level") if isinstance(params.get(key), str)]
        key = " ".join([str(method), *named[:1]])
        again = " again" if "inputResponses" in params else ""
        if again:
            self.answer = b"".join(map(raw, params["inputResponses"].values()))
        actions = self.reactions.get(key + again, self.reactions.get(str(method) + again))
        if actions is None and number:
            actions = self.reactions[""]
        for action, *given in actions or ():
            self.act(action, given, number, token)

    def act(self, action, given, number, token):
        if action == "send":
            text = given[0].encode("latin-1").replace(b"$ID", number).replace(b"$TOKEN", token)
            text = text.replace(b"$ANSWER", self.answer)
            self.write(text.replace(b"$PAD", PAD) + b"\n")
        elif action == "wait":
            wanted = given[0].encode()
            while wanted not in self.answered and self.read() is not None:
                pass
            self.answered.discard(wanted)
        elif action == "set":
            self.reactions[given[0]] = given[1]
        elif action == "hold":
            self.held.append(number)
        elif action == "release":
            while self.held:
                self.act("send", given, self.held.pop(), token)
        else:
            time.sleep(given[0])

    def write(self, data):
        parts = [data]
        if self.delay:
            time.sleep(self.delay)
            parts = [data[: len(data) // 2], data[len(data) // 2 :]]
        for part in parts:
            while part:
                part = part[os.write(1, part) :]  # noqa: PLW2901 - what is left
            if self.delay:
                time.sleep(self.delay)


def raw(value):
    """Return a value as JSON text, its numbers as they were written."""
    if isinstance(value, Number):
        return value.encode()
    if isinstance(value, dict):
        return b"{" + b",".join(raw(name) + b":" + raw(one) for name, one in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(raw, value)) + b"]"
    return json.dumps(value).encode()


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    Server(*sys.argv[1:]).serve()
