"""`mcp-bridge login` and `logout` as a user runs them, with an authorization server on the loopback."""

import json
import signal
import stat
import subprocess
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from ..support.authorization_server import ABSENT, authorization_server, visit
from ..support.bridge_process import PROGRAM
from ..support.config_file import write_config_file

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Desk:
    """A user with a configuration, and an authorization server."""

    server: object
    folder: object
    nursery: object

    @property
    def variables(self):
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
        }

    @property
    def file(self):
        return self.folder / "state/mcp-bridge/oauth.json"

    def configure(self, more=""):
        text = f'[servers.remote]\nurl = "{self.server.url}"\n{more}'
        return write_config_file(self.folder, text)

    @asynccontextmanager
    async def run(self, *words, stdin=subprocess.PIPE):
        """Run a command, which is killed at the end if it still runs."""
        process = await trio.lowlevel.open_process(
            [PROGRAM, *words, "--config", self.folder / "config.toml"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.variables,
        )
        running = Running(process)
        self.nursery.start_soon(running.collect, process.stdout, "out")
        self.nursery.start_soon(running.collect, process.stderr, "err")
        try:
            with trio.fail_after(60):
                yield running
        finally:
            if process.poll() is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def log_in(self, name="remote"):
        """Log in with a browser. Return the output."""
        async with self.run("login", name) as command:
            link = await command.link()
            page = await visit(self.server.authorize(link))
            assert "You can close this page" in page
            assert await command.ended() == 0
            return command.out


class Running:
    def __init__(self, process):
        self.process = process
        self.out = self.err = ""
        self.changed = trio.Event()
        self._open = 2

    async def collect(self, stream, name):
        async with stream:
            async for data in stream:
                setattr(self, name, getattr(self, name) + data.decode())
                self._wake()
        self._open -= 1
        self._wake()

    def _wake(self):
        self.changed.set()
        self.changed = trio.Event()

    async def link(self):
        """Return the link that the command prints."""
        while "\n" not in self.out:
            assert self._open, self.err
            await self.changed.wait()
        return self.out.splitlines()[0]

    async def ended(self):
        await self.process.wait()
        while self._open:
            await self.changed.wait()
        return self.process.returncode


@pytest.fixture
async def desk(tmp_path):
    async with authorization_server() as server, trio.open_nursery() as nursery:
        found = Desk(server, tmp_path, nursery)
        found.configure()
        yield found
        nursery.cancel_scope.cancel()


async def test_a_login_keeps_credentials_in_a_file_of_its_owner(desk):
    out = await desk.log_in()
    assert out.endswith(f"remote: logged in at {desk.server.origin} with the scopes mcp:basic\n")
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    kept = json.loads(desk.file.read_text())["entries"]
    [token] = desk.server.tokens
    assert kept[f"server {desk.server.url}"]["access_token"] == token
    # The first request had no credential, and asked for the challenge only.
    [first] = desk.server.requests("/mcp")
    assert first.method == "GET"
    assert "authorization" not in first.headers


async def test_all_spellings_of_a_url_have_the_same_credentials(desk):
    await desk.log_in(desk.server.url.replace("http://", "WS://"))
    async with desk.run("logout", "remote") as command:
        assert await command.ended() == 0
        assert "the credentials were erased" in command.out


async def test_a_url_needs_no_configuration(desk):
    (desk.folder / "config.toml").write_text("")
    assert "logged in" in await desk.log_in(desk.server.url)


async def test_a_user_elsewhere_pastes_the_redirect(desk):
    async with desk.run("login", "remote") as command:
        link = await command.link()
        async with command.process.stdin as typing:
            await typing.send_all(b"hello\n" + desk.server.authorize(link).encode() + b"\n")
            assert await command.ended() == 0
        assert "paste the whole URL" in command.err


async def test_a_closed_stdin_does_not_end_the_login(desk):
    async with desk.run("login", "remote", stdin=subprocess.DEVNULL) as command:
        await visit(desk.server.authorize(await command.link()))
        assert await command.ended() == 0


async def test_no_token_is_printed(desk):
    out = await desk.log_in()
    for token in (*desk.server.tokens, *desk.server.refreshes):
        assert token not in out


async def test_a_logout_revokes_and_erases(desk):
    await desk.log_in()
    async with desk.run("logout", "remote") as command:
        assert await command.ended() == 0
        assert command.out == "remote: the credentials were erased, and revoked\n"
    assert desk.server.tokens == {}
    assert json.loads(desk.file.read_text())["entries"] == {}
    async with desk.run("logout", "remote") as command:
        assert await command.ended() == 0
        assert command.out == "remote: there are no credentials\n"


async def test_a_logout_without_revocation_says_so(desk):
    desk.server.changes["server"] = {"revocation_endpoint": ABSENT}
    await desk.log_in()
    async with desk.run("logout", "remote") as command:
        assert await command.ended() == 0
        assert "but not revoked" in command.out


async def test_two_logins_at_once_are_one_after_the_other(desk):
    async with desk.run("login", "remote") as first, desk.run("login", "remote") as second:
        while "\n" not in first.out + second.out:
            await trio.sleep(0.01)
        one, other = (first, second) if first.out else (second, first)
        await visit(desk.server.authorize(await one.link()))
        assert await one.ended() == 0
        assert not [line for line in other.out.splitlines() if line == one.out.splitlines()[0]]
        await visit(desk.server.authorize(await other.link()))
        assert await other.ended() == 0
    # The client that the first has registered is used by the second.
    assert len(desk.server.requests("/register")) == 1


async def test_a_killed_login_does_not_keep_others_out(desk):
    async with desk.run("login", "remote") as command:
        await command.link()
        command.process.kill()
        await command.ended()
    await desk.log_in()


async def test_ctrl_c_ends_the_login(desk):
    async with desk.run("login", "remote") as command:
        await command.link()
        command.process.send_signal(signal.SIGINT)
        assert await command.ended() == 130
        assert "Traceback" not in command.err


async def test_a_client_that_acts_for_itself_needs_no_link(desk):
    secret = desk.folder / "secret.txt"
    secret.write_text("the-secret-of-the-client\n")
    secret.chmod(0o600)
    desk.server.clients["mine"] = ("the-secret-of-the-client", "client_secret_basic", ())
    desk.configure(
        'oauth = {grant = "client_credentials", client_id = "mine", client_secret = "secret.txt"}\n'
    )
    async with desk.run("login", "remote") as command:
        assert await command.ended() == 0
        assert command.out.startswith("remote: logged in at ")
    assert "the-secret-of-the-client" not in desk.file.read_text()


async def test_a_helper_keeps_the_credentials(desk):
    script = desk.folder / "helper.sh"
    script.write_text(
        '#!/bin/sh\nstore=$HOME/kept\ncase $1 in\nget) test -f "$store" && grep ^secret= "$store" ;;\n'
        'store) cat >"$store" ;;\nerase) rm -f "$store" ;;\nesac\nexit 0\n'
    )
    script.chmod(0o700)
    desk.configure(f'[oauth]\nhelper = "{script}"\n')
    await desk.log_in()
    assert not desk.file.exists()
    assert next(iter(desk.server.tokens)) in (desk.folder / "kept").read_text()


REFUSED = {
    "an issuer of another": ({"server": {"issuer": "https://evil.example"}}, 1, "is that of the issuer"),
    "a script as link": ({"server": {"authorization_endpoint": "javascript:alert(1)"}}, 1, "must begin with"),
    "the resource of another": ({"resource": {"resource": "https://evil.example"}}, 1, "and not of"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_hostile_metadata_ends_the_login_with_a_reason(desk, name):
    changes, code, reason = REFUSED[name]
    desk.server.changes |= changes
    async with desk.run("login", "remote") as command:
        assert await command.ended() == code
        assert reason in command.err
        assert command.out == ""


async def test_a_user_who_refuses_is_reported(desk):
    desk.server.redirected = {"code": ABSENT, "error": "access_denied", "error_description": "\x1b[2Jno"}
    async with desk.run("login", "remote") as command:
        await visit(desk.server.authorize(await command.link()))
        assert await command.ended() == 1
        assert "'access_denied'" in command.err
        assert "\x1b" not in command.err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("login", "https://127.0.0.1:1/mcp"), 69, "Connection refused"),
        (("login", "other"), 78, "there is no server 'other'"),
        (("login", "http://h.example/mcp"), 64, "uses no TLS"),
        (("login", "ftp://h"), 64, "must begin with"),
        (("login",), 64, "NAME|URL"),
        (("logout", "other"), 78, "there is no server 'other'"),
    ],
)
async def test_a_login_that_cannot_begin_has_its_exit_code(desk, words, code, reason):
    async with desk.run(*words) as command:
        assert await command.ended() == code
        assert reason in command.err


async def test_an_unsafe_store_is_refused(desk):
    await desk.log_in()
    desk.file.chmod(0o644)
    async with desk.run("login", "remote") as command:
        assert await command.ended() == 78
        assert "others must have no access" in command.err


async def test_a_server_that_needs_no_login_is_named(desk):
    desk.server.replaced["/mcp"] = (200, b"")
    desk.server.replaced = dict.fromkeys((*desk.server.documents(), "/register"), (404, b"")) | {
        "/mcp": (200, b"")
    }
    async with desk.run("login", "remote") as command:
        assert await command.ended() == 1
        assert "has not requested a login (status 200 to GET, 200 to POST)" in command.err


async def test_a_server_that_has_no_stream_for_get_shows_its_challenge_to_a_message(desk):
    challenge = f'Bearer scope="mcp:special", resource_metadata="{desk.server.origin}/.well-known/oauth-protected-resource/mcp"'
    desk.server.fields["/mcp"] = (f"WWW-Authenticate: {challenge}".encode(),)
    desk.server.replaced["/mcp"] = lambda request: (404 if request.method == "GET" else 401, b"")
    async with desk.run("login", "remote") as command:
        assert "scope=mcp%3Aspecial" in await command.link()
        assert "has not requested" not in command.err
