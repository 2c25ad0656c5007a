"""The OAuth client against a real authorization server (oidc-provider) and a resource server of the official Python SDK.

Each line of the output is `ok NAME` or `FAILED NAME: REASON`. Exit code 1 if a step has failed. A step uses what the steps before have left:
a user logs in with `mcp-bridge login URL`, or with the link of `mcp-bridge connect URL`, through which an official client calls tools.
"""

import contextlib
import http.cookiejar
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY)]

from tests.support.bridge_process import PROGRAM  # noqa: E402 - of the repository

CLIENT = (sys.executable, str(HERE.parent / "matrix/clients/python2.py"), "legacy", "stdio")
# Validity of an access token (seconds).
VALIDITY = 6
TIMEOUT = 60
LINK = re.compile(r"https?://\S*response_type=code\S*")


class Form(HTMLParser):
    """The form of a page: its address and its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.action = given.get("action") or ""
        if tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value") or ""


def browse(link: str) -> str:
    """Open a link, log in and consent, as a user does. Return the last page."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({})
    )
    with opener.open(link, timeout=TIMEOUT) as answer:
        page, place = answer.read().decode(), answer.url
    for _ in range(4):
        form = Form(page)
        if not form.action:
            break
        fields = form.fields | {name: "somebody" for name in ("login", "password") if name in form.fields}
        data = urllib.parse.urlencode(fields).encode()
        with opener.open(urllib.parse.urljoin(place, form.action), data, timeout=TIMEOUT) as answer:
            page, place = answer.read().decode(), answer.url
    return page


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class World:
    """An authorization server, a resource server, and the directory of a user."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        command = ["node", str(HERE / "oauth/authorization_server.mjs"), self.url, str(VALIDITY)]
        server = self._start(command, folder / "authorization.log", subprocess.PIPE)
        self.issuer = server.stdout.readline().decode().strip()
        self.resource: subprocess.Popen[bytes] | None = None
        self.serve(self.url)

    def _start(
        self, command: list[str], log: Path, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        process = self._stack.enter_context(
            subprocess.Popen(command, stdout=stdout, stderr=self._stack.enter_context(log.open("ab")))
        )
        self._stack.callback(process.kill)
        return process

    def serve(self, audience: str) -> None:
        """Start the resource server, or start it again, for tokens of this audience."""
        if self.resource is not None:
            self.resource.kill()
            self.resource.wait()
        command = [
            sys.executable,
            str(HERE / "oauth/resource_server.py"),
            str(self.port),
            self.issuer,
            audience,
        ]
        self.resource = self._start(command, self.folder / "resource.log")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "resource.log").read_text())

    @property
    def variables(self) -> dict[str, str]:
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        return {**os.environ, **{name: str(self.folder) for name in names}}

    def control(self, what: str):
        method = "GET" if what == "requests" else "POST"
        request = urllib.request.Request(f"{self.issuer}/control/{what}", method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def grants(self, kind: str) -> int:
        """Return the number of token requests of a grant so far."""
        return sum(one.get("grant_type") == kind for one in self.control("requests"))

    def log_in(self) -> str:
        """Log in with a browser. Return the output. Raises RuntimeError."""
        command = [str(PROGRAM), "login", self.url]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.variables,
        ) as process:
            output, page = "", ""
            for line in process.stdout:
                output += line
                if found := LINK.search(line):
                    page = browse(found[0])
            if process.wait(TIMEOUT):
                raise RuntimeError(f"{output}{page[:500]}")
            return output

    def call(self, name: str, *, user: bool = False) -> str:
        """Call a tool with an official client through `connect URL`. Return the text, or what the client and connect write.

        A link to log in is opened if there is a user, and ends the call otherwise.
        """
        command = [*CLIENT, json.dumps([str(PROGRAM), "connect", self.url])]
        errors: list[str] = []
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables,
        ) as process:

            def watch() -> None:
                for line in process.stderr:
                    errors.append(line)
                    if (found := LINK.search(line)) is None:
                        continue
                    if user:
                        browse(found[0])
                    else:
                        process.kill()

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            limit = threading.Timer(TIMEOUT, process.kill)
            limit.start()
            process.stdin.write(json.dumps([{"do": "call", "name": name, "arguments": {}}]))
            process.stdin.close()
            output = process.stdout.read()
            process.wait()
            limit.cancel()
            # A server process of the client may still have the other end.
            watcher.join(1)
        lines = [json.loads(line) for line in output.split("\n") if line.startswith("{")]
        if len(lines) == 2 and "said" in lines[1]:
            return lines[1]["said"]
        return f"fault: {[line.get('fault') for line in lines]} {''.join(errors)}"

    def let_expire(self) -> None:
        """Wait until each token that was issued has expired."""
        time.sleep(VALIDITY + 1)


# ---- steps: each returns nothing, or raises AssertionError


def require(condition: object, what: object) -> None:
    if not condition:
        raise AssertionError(str(what))


def without_a_login_there_is_a_link(world: World) -> None:
    text = world.call("who")
    require(LINK.search(text), text)


def a_login_lets_calls_pass(world: World) -> None:
    output = world.log_in()
    require("logged in" in output, output)
    text = world.call("who")
    require(text == "mcp:basic", text)
    asked = [one for one in world.control("requests") if one["path"] == "/auth" and one.get("resource")]
    require(asked and all(one["resource"] == world.url for one in asked), "no resource indicator")


def an_expired_token_is_refreshed(world: World) -> None:
    world.let_expire()
    before = world.grants("refresh_token")
    text = world.call("who")
    require(text == "mcp:basic", text)
    require(world.grants("refresh_token") == before + 1, world.control("requests")[-4:])


def two_processes_refresh_once(world: World) -> None:
    world.let_expire()
    before = world.grants("refresh_token")
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(world.call, ["who", "who"]))
    require(texts == ["mcp:basic"] * 2, texts)
    require(world.grants("refresh_token") == before + 1, world.control("requests")[-4:])


def another_signing_key_is_accepted(world: World) -> None:
    world.control("rotate")
    world.let_expire()
    text = world.call("who")
    require(text == "mcp:basic", text)


def a_token_of_another_audience_is_refused_with_a_reason(world: World) -> None:
    world.serve("https://elsewhere.example.com/mcp")
    before = len(world.control("requests"))
    try:
        text = world.call("who", user=True)
        require("fault" in text and re.search(r"401|login|refused|credentials", text), text)
        # No loop of logins: pages of one login, and some token requests.
        require(
            len(world.control("requests")) - before <= 30, "a loop of requests at the authorization server"
        )
    finally:
        world.serve(world.url)
    text = world.call("who", user=True)
    require(text == "mcp:basic", text)


def a_tool_with_another_scope_needs_another_login(world: World) -> None:
    text = world.call("secret")
    require("mcp%3Asecret" in text and LINK.search(text), text)
    text = world.call("secret", user=True)
    require(text == "the secret", text)
    text = world.call("who")
    require(text == "mcp:basic mcp:secret", text)


def revoked_refresh_tokens_need_a_login(world: World) -> None:
    world.control("revoke")
    world.let_expire()
    text = world.call("who")
    require(LINK.search(text), text)
    text = world.call("who", user=True)
    require("mcp:basic" in text, text)


def a_logout_revokes_the_tokens(world: World) -> None:
    done = subprocess.run(
        [str(PROGRAM), "logout", world.url], capture_output=True, text=True, env=world.variables, check=False
    )
    require(done.returncode == 0, done.stderr)
    require(any(one["path"] == "/token/revocation" for one in world.control("requests")), "no revocation")
    text = world.call("who")
    require(LINK.search(text), text)


def two_processes_log_in_once(world: World) -> None:
    before = world.grants("authorization_code")
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda name: world.call(name, user=True), ["who", "who"]))
    require(all("mcp:basic" in text and "fault" not in text for text in texts), texts)
    require(world.grants("authorization_code") == before + 1, world.control("requests")[-6:])


STEPS = (
    without_a_login_there_is_a_link,
    a_login_lets_calls_pass,
    an_expired_token_is_refreshed,
    two_processes_refresh_once,
    another_signing_key_is_accepted,
    a_token_of_another_audience_is_refused_with_a_reason,
    a_tool_with_another_scope_needs_another_login,
    revoked_refresh_tokens_need_a_login,
    a_logout_revokes_the_tokens,
    two_processes_log_in_once,
)


def main() -> int:
    failed = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = World(folder, stack)
        for step in STEPS:
            name = step.__name__.replace("_", " ")
            try:
                step(world)
            except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as fault:
                failed += 1
                print(f"FAILED {name}: {str(fault)[:1500]}", flush=True)
            else:
                print(f"ok {name}", flush=True)
        if failed:
            for log in ("authorization", "resource"):
                print(f"---- {log}\n{(folder / f'{log}.log').read_text()[-2000:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
