"""With the format `json` every line on stderr is an event, from the first to the last, in case of errors too."""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mcpbridged.bridge.config.tables import read_log_format
from mcpbridged.transports.process import keeper

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import child, write_config


def events(lines):
    """Return the events of these lines, and check that each has a time of ISO 8601 with its offset."""
    found = [json.loads(line) for line in lines]
    for event in found:
        assert dt.datetime.fromisoformat(event["ts"]).utcoffset() is not None
        assert event["level"] in ("debug", "info", "warning", "error")
        assert event["event"]
    return found


def started(folder, *words, until=("ready",), **variables):
    """Run the program until these events, send SIGHUP and SIGTERM, and return its exit code and its output."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    process = subprocess.Popen(
        [PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "run"), **variables},
    )  # fmt: skip
    lines = []
    missing = set(until)
    with process.stderr as stderr:
        for line in stderr:
            lines.append(line)
            missing.discard(json.loads(line)["event"])
            if not missing:
                break
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        lines += stderr.readlines()
    return process.wait(20), events(lines)


TALKATIVE = [sys.executable, "-c", "import sys; print('to stderr', file=sys.stderr); sys.exit(3)"]


@pytest.mark.parametrize("level", ["info", "none"])
def test_h7_every_line_of_the_wrapper_is_an_event_and_ready_has_the_url(tmp_path, level):
    code, found = started(
        tmp_path, "--port", "0", "--no-auth", "--log-format=json", "--log-level", level, "--stdio", "--", *EXAMPLE
    )  # fmt: skip
    [ready] = [event for event in found if event["event"] == "ready"]
    assert ready["url"].startswith("http://127.0.0.1:")
    assert ready["url"].endswith("/mcp")
    names = [event["event"] for event in found]
    assert code == 0
    assert "no_authentication" in names
    assert ("running_as_root" in names) == (os.geteuid() == 0)
    assert ("stopping" in names) == (level == "info")


def test_h7_the_configuration_of_a_client_is_an_event_without_the_token(tmp_path):
    _, found = started(tmp_path, "--port", "0", "--log-format", "json", "--stdio", "--", *EXAMPLE)
    [event] = [event for event in found if event["event"] == "client_configuration"]
    token = Path(event["token_file"]).read_text().strip()
    assert event["url"].endswith("/mcp")
    assert token not in json.dumps(found)


@pytest.mark.parametrize("by", ["file", "option"])
def test_h7_every_line_of_the_daemon_is_an_event(tmp_path, by):
    servers = {
        "good": {"command": EXAMPLE},
        "missing": {"command": ["no-such-program"]},
        "dying": {"command": TALKATIVE, "start": "eager", "era": "legacy"},
        "loud": {"command": child("strange.py"), "pass_env": ["NOT_THERE"]},
    }
    tables = {"log": {"format": "json"}} if by == "file" else {}
    write_config(tmp_path / "config.toml", servers, **tables)
    words = ["--log-format", "json"] if by == "option" else []
    code, found = started(
        tmp_path, "serve", "--allow-root", "--config", str(tmp_path / "config.toml"), *words,
        until=("ready", "variables_not_passed", "stderr", "process_exited"), MCP_BRIDGE_TEST_MARK="x", LEFT_OUT="x",
    )  # fmt: skip
    names = [event["event"] for event in found]
    assert code == 0
    assert {"ready", "server_failed", "started", "stderr"} <= set(names)
    # An option of the command line is no change of the file.
    assert not [event for event in found if event["event"] == "restart_needed"]


def failed(folder, *words, code):
    """Return the only event of a failed start."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run(
        [PROGRAM, *words],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "run")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    [event] = [one for one in events(done.stderr.splitlines()) if one["event"] == "cannot_start"]
    assert (done.returncode, event["code"], event["level"]) == (code, code, "error")
    return event["reason"]


SOME = "[servers.a]\ncommand = ['true']\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[log]\nformat = 'json'\nlevel = 'loud'\n" + SOME, "log: level: must be 'debug'"),
        (SOME + "nothing = 1\n[log]\nformat = 'json'\n", "servers.a: there is no key 'nothing'"),
        ('[log]\n# for machines\nformat = "json"\n[servers.a\n', "config.toml:4:11: ] is missing"),
        ("log.format = 'json'\n[[[\n", "config.toml:2:"),
        ("log = {level = 'info', format = 'json'}\n[servers\n", "config.toml:2:"),
        ("[log]\nformat = 'json'\n[listen]\nhttp = '0.0.0.0:1'\n", "can be reached by other machines"),
        ("[log]\nformat = 'json'\n[listen]\ntoken = '/no/such/file'\n" + SOME, "listen: token: "),
    ],
)  # fmt: skip
def test_h7_why_the_daemon_does_not_start_is_an_event(tmp_path, text, reason):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    assert reason in failed(tmp_path, "serve", "--allow-root", "--config", str(path), code=78)


def test_h7_the_option_counts_where_the_file_cannot_be_read(tmp_path):
    words = ["serve", "--allow-root", "--log-format", "json", "--config"]
    assert "there is no such file" in failed(tmp_path, *words, str(tmp_path / "none.toml"), code=78)
    (tmp_path / "open.toml").write_text(SOME)
    (tmp_path / "open.toml").chmod(0o666)
    assert "open.toml" in failed(tmp_path, *words, str(tmp_path / "open.toml"), code=78)
    assert "unrecognized arguments: --nothing" in failed(
        tmp_path, "serve", "--log-format=json", "--nothing", code=64
    )


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("--host", "0.0.0.0", "--stdio", "x"), 78, "not a loopback"),
        (("--env", "LD_PRELOAD", "--stdio", "x"), 78, "LD_PRELOAD"),
        (("--token-file", "/no/such/file", "--stdio", "true"), 78, "/no/such/file"),
        (("--stdio", "no-such-program-here"), 69, "no-such-program-here"),
        (("--nothing", "--stdio", "x"), 64, "--nothing"),
        (("--port", "x", "--stdio", "x"), 64, "port"),
        ((), 64, "--stdio"),
    ],
)  # fmt: skip
def test_h7_why_the_wrapper_does_not_start_is_an_event(tmp_path, words, code, reason):
    assert reason in failed(tmp_path, "--log-format", "json", *words, code=code)


def test_h7_a_port_that_is_taken_is_an_event(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in failed(tmp_path, "--log-format", "json", "--port", port, "--stdio", "true", code=75)


def test_h7_an_option_of_the_server_chooses_no_form(tmp_path):
    done = subprocess.run(
        [PROGRAM, "--host", "0.0.0.0", "--stdio", "--", "x", "--log-format", "json"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.startswith("mcp-bridge: --host")) == (78, True)


CRASHES = {
    "before the settings": "cli.read_arguments = crash",
    "in the daemon": "from mcpbridged.bridge.daemon import app; app._run = crash",
    "in a thread": "import threading; cli.read_arguments = lambda *_: (t := threading.Thread(target=crash)).start() or t.join() or sys.exit(1)",
    "in a destructor": "C = type('C', (), {'__del__': crash}); cli.read_arguments = lambda *_: C() and sys.exit(1)",
    "a warning": "import warnings; cli.read_arguments = lambda *_: warnings.warn('a canary\\n') or sys.exit(1)",
}


@pytest.mark.parametrize("where", CRASHES)
def test_h7_a_crash_is_an_event(tmp_path, where):
    code = (
        "import sys\nfrom mcpbridged.bridge.commands import wrapper as cli\n"
        "def crash(*_):\n    raise ValueError('a canary')\n"
        f"{CRASHES[where]}\ncli.main(['--log-format', 'json', '--stdio', 'true'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    [event] = events(done.stderr.splitlines())
    assert event["event"] == ("warning" if where == "a warning" else "internal_error")
    assert "a canary" in str(event)
    assert done.returncode == 1


def test_h7_a_crash_of_the_fork_server_is_an_event():
    command = [sys.executable, "-I", "-S", keeper.__file__]
    done = subprocess.run(
        [*command, "999", "", "json"], capture_output=True, text=True, timeout=30, check=False
    )
    [event] = events(done.stderr.splitlines())
    assert (event["event"], "OSError" in event["fault"]) == ("internal_error", True)
    done = subprocess.run([*command, "999"], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr.startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", "text"),
        ("[log]\nformat = 'text'\n", "text"),
        ("[log]\nformat = 1\n", "text"),
        ("log = 1", "text"),
        ("log = [[", "text"),
        ("[log]\nlevel = 'info'\n[other]\nformat = 'json'\n[", "text"),
        ("# log.format = 'json'\n[", "text"),
        ("  [ log ]\n  format='json'\n[", "json"),
        ('[log]\r\nformat = "json"\r\n\r\n[x', "json"),
        (b"[log]\nformat = 'json'\n\xff", "json"),
        ("\ufeff[log]\nformat = 'json'\n", "json"),
        ("\ufeff[log]\nformat = 'json'\n[", "json"),
        ("['log']\nformat = 'json'\n[", "json"),
        ("[log]\n\"format\" = 'json'\n[", "json"),
        ("\"log\".'format' = 'json'\n[", "json"),
        ("log = { \"format\" = 'json' }\n[", "json"),
        ("[log]\nreformat = 'json'\n[", "text"),
    ],
)  # fmt: skip
def test_h7_the_form_is_found_in_a_file_that_is_wrong_elsewhere(tmp_path, text, form):
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_log_format(path) == form
    assert read_log_format(tmp_path / "none.toml") == "text"
