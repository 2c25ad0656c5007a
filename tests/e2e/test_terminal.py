"""What a user sees on a terminal, with a real daemon and a terminal emulator."""

import json
import os
import re
import subprocess

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import daemon
from ..support.pipe_client import pipe
from ..support.terminal import CTRL_C, on_terminal

# A server that tries to set the title, to clear the screen and to hide what follows.
HOSTILE = """
import sys
sys.stderr.write("\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\u202e reversed \\x1b[8m hidden\\n")
sys.exit(3)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {
        "example": {"command": EXAMPLE},
        "broken": {"command": ["python3", "-c", HOSTILE]},
        "no-program": {"command": ["/no/such/program"]},
    }
    with daemon(tmp_path_factory.mktemp("terminal"), servers) as found:
        found.do("tools", "broken", check=False)
        found.do("tools", "example")
        yield found


def command(running, *words, columns=80, lines=60, **variables):
    environment = {**running.variables, **variables}
    for name in ("NO_COLOR", "COLUMNS", "LINES", "CLICOLOR_FORCE"):
        if name not in variables:
            environment.pop(name, None)
    return on_terminal(
        [str(PROGRAM), *words, "--config", str(running.config)],
        {"TERM": "xterm-256color", **environment},
        columns,
        lines,
    )


def shown_at_end(running, *words, **options):
    with command(running, *words, **options) as session:
        assert session.to_the_end() == 0
        return session


@pytest.mark.parametrize("columns", [80, 120])
def test_status_fits_and_begins_with_the_broken_servers(running, columns):
    session = shown_at_end(running, "status", columns=columns)
    lines = session.shown
    at = next(number for number, line in enumerate(lines) if line.startswith("server"))
    assert [line.split()[0] for line in lines[at + 1 :] if line][:3] == ["broken", "no-program", "example"]
    causes = "\n".join(lines[:at])
    assert "broken: failed: " in causes or "broken: failing: " in causes
    assert "no-program: failed: " in causes
    assert session.styles("server ")[1]
    assert session.styles("no-program: failed")[0] == "red"


def test_a_server_writes_no_escape_sequence_to_the_terminal(running):
    for words in (["status"], ["logs", "broken"], ["sessions"], ["ps"]):
        session = shown_at_end(running, *words, NO_COLOR="1")
        text = session.written.decode()
        assert all(one.isprintable() or one in "\r\n" for one in text), text
        assert "hidden" in text or words[0] in ("sessions", "ps")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_styles_can_be_switched_off(running, variables):
    assert b"\x1b" not in shown_at_end(running, "status", **variables).written


def test_a_pipe_gets_no_styles_unless_they_are_forced(running):
    plain = running.do("status").stdout
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) > 80
    forced = subprocess.run(
        [PROGRAM, "status", "--config", str(running.config)],
        env={**running.variables, "CLICOLOR_FORCE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "\x1b[1mserver\x1b[0m" in forced


def test_watch_follows_the_size_of_the_terminal_and_restores_it(running):
    with command(running, "status", "--watch") as session:
        session.wait_for(lambda one: any("example" in line for line in one.shown))
        assert any(" procs " in line for line in session.shown)
        session.resize(120, 60)
        session.wait_for(lambda one: any(" processes " in line for line in one.shown))
        session.type(b"\x03")
        assert session.to_the_end() == 130
        assert session.written.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert b"\x1b[2J" not in session.written


def test_watch_waits_for_a_daemon_that_is_restarted(tmp_path):
    with daemon(tmp_path) as other:
        with command(other, "status", "--watch") as session:
            session.wait_for(lambda one: any("example" in line for line in one.shown))
            other.stop()
            session.wait_for(lambda one: any("trying again every second" in line for line in one.shown))
            session.type(b"\x03")
            assert session.to_the_end() == 130


def test_sessions_are_a_table(running):
    with pipe(running, "example"):
        session = shown_at_end(running, "sessions")
        # The commands of the fixture are a client too.
        [line] = [line for line in session.shown if " pipe " in line]
        assert line.split()[:5] == ["example", "test", "1", "local", "pipe"]
        assert json.loads(running.do("sessions", "--json").stdout)[0]["client"] == "test"


def test_each_command_that_shows_something_prints_json(running):
    for words, kind in (
        (["status"], dict),
        (["ps"], list),
        (["sessions"], list),
        (["tools", "example"], list),
        (["env", "example"], dict),
        (["token", "list"], list),
        (["reload"], dict),
        (["version"], dict),
    ):
        assert type(json.loads(running.do(*words, "--json").stdout)) is kind, words
    [echo] = [
        one for one in json.loads(running.do("tools", "example", "--json").stdout) if one["name"] == "echo"
    ]
    assert "properties" in echo["inputSchema"]


STARTING = r"starting 2 servers \(\d+ s\): waiting for (slow|slow, quick|quick)"
SLOW = "import os, sys, time; time.sleep(2.5); os.execv(sys.executable, sys.argv[1:])"


def test_serve_shows_the_eager_servers_that_are_starting_below_its_log(tmp_path):
    config = tmp_path / "config.toml"
    slow = [EXAMPLE[0], "-c", SLOW, *EXAMPLE]
    config.write_text(
        f"[listen]\nhttp = false\nunix = '{tmp_path}/s'\n"
        f"[servers.slow]\ncommand = {json.dumps(slow)}\nstart = 'eager'\n"
        f"[servers.quick]\ncommand = {json.dumps(EXAMPLE)}\nstart = 'eager'\n"
    )
    config.chmod(0o600)
    words = [str(PROGRAM), "serve", "--config", str(config), "--allow-root"]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    # No line of the log is wider than this.
    with on_terminal(words, variables, 400, 60) as session:
        # On a busy machine the other server may be starting too.
        session.wait_for(lambda one: re.fullmatch(STARTING, one.shown[-1]))
        session.wait_for(lambda one: "servers_started count=2" in one.text)
        session.wait_for(lambda one: not any("starting 2" in line for line in one.shown))
        assert all(line.startswith("mcp-bridge: ") for line in session.shown)
        session.type(CTRL_C)
        assert session.to_the_end() == 0


def test_a_call_shows_what_it_waits_for_and_leaves_no_line(tmp_path):
    slow = {"command": [EXAMPLE[0], "-c", SLOW, *EXAMPLE]}
    with daemon(tmp_path, {"slow": slow}) as other, command(other, "tools", "slow") as session:
        session.wait_for(lambda one: any("waiting for the start of slow (" in line for line in one.shown))
        assert session.to_the_end() == 0
        assert session.shown[0].split() == ["tool", "arguments", "description"]
        assert not any("waiting" in line for line in session.shown)


def test_restart_names_a_server_that_cannot_start(running):
    done = running.do("restart", "no-program", "example")
    assert done.stderr.startswith(
        "mcp-bridge: no-program: cannot be started: there is no program '/no/such/program'"
    )
    assert len(done.stderr.splitlines()) == 1


def test_an_empty_list_is_no_empty_table(tmp_path):
    with daemon(tmp_path, {"bare": {"command": EXAMPLE}}) as other:
        for words, notice in (
            (["ps"], "no server process runs"),
            (["logs", "bare"], "no log lines of bare since the daemon started at "),
            (["sessions"], "no client is connected"),
            (["token", "list"], "has no named tokens"),
        ):
            done = other.do(*words)
            assert notice in done.stderr, words
            assert done.stdout == ""
        with command(other, "tap", "bare") as session:
            session.wait_for(lambda one: "waiting for messages of bare" in one.written.decode())
            session.type(b"\x03")
            assert session.to_the_end() == 130


def test_options_before_the_command_and_help_are_accepted(running):
    before = subprocess.run(
        [PROGRAM, "--config", str(running.config), "--json", "status"],
        env=running.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(before.stdout)["pid"] == running.process.pid
    assert running.do("help", "status").stdout == running.do("status", "--help").stdout


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_tools_fit_the_terminal(running, columns):
    session = shown_at_end(running, "tools", "example", columns=columns)
    assert len([line for line in session.shown if line.startswith("echo ")]) == 1
    assert session.shown[0].startswith("tool ")
    # Each tool has one line.
    assert len(session.shown) == len(json.loads(running.do("tools", "example", "--json").stdout)) + 1
