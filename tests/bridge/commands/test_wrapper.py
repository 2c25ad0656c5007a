"""The command line of the wrapper: options, rejected arguments with their reasons, and defaults."""

import http.client
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mcpbridged.bridge.commands import command_options, control_client, dispatch, parser, wrapper
from mcpbridged.bridge.commands.invocation import BadUsage
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper import read_arguments
from mcpbridged.bridge.config.addresses import BadAddress, NotOurs
from mcpbridged.bridge.config.tables import BadConfig, Fault
from mcpbridged.bridge.runtime.pinning import PinMismatch
from mcpbridged.transports.options import Paths
from mcpbridged.validators.limits import Limits

HERE = {"PATH": "/bin", "HOME": "/home/me", "SECRET": "s3cret", "LANG": "C", "XDG_RUNTIME_DIR": "/run/me"}


def read(*arguments, environment=HERE):
    return read_arguments(["--stdio", "server --flag 'two words'", *arguments], environment)


def argv(settings):
    return settings.servers[0].launch.argv


def variables(settings):
    return settings.servers[0].launch.env


def refused(capsys, code, *arguments):
    with pytest.raises(SystemExit) as caught:
        read_arguments(list(arguments), HERE)
    assert caught.value.code == code
    return capsys.readouterr().err


def test_a_command_is_parsed_with_shell_quoting_and_without_a_shell():
    assert argv(read()) == ("server", "--flag", "two words")
    assert argv(read_arguments(["--stdio", "x; touch /tmp/p"], HERE)) == ("x;", "touch", "/tmp/p")


def test_a_command_after_two_dashes_is_used_word_by_word():
    given = read_arguments(["--port", "0", "--stdio", "--", "server", "--port", "a b"], HERE)
    assert argv(given) == ("server", "--port", "a b")
    assert given.port == 0


def test_the_defaults():
    given = read()
    assert (given.host, given.port, given.authenticate, given.unix) == ("127.0.0.1", 8808, True, None)
    assert given.paths == Paths("/mcp", "/sse", "/messages", "/ws", "/pipe")
    assert given.health == ("/healthz",)
    assert given.limits == Limits()
    assert given.scheme == "http"
    assert "s3cret" not in repr(given)


@pytest.mark.parametrize(
    ("arguments", "member", "value"),
    [
        (("--host", "::1"), "host", "::1"),
        (("--port", "0"), "port", 0),
        (("--unix", "/run/x.sock"), "unix", Path("/run/x.sock")),
        (("--token-file", "/t"), "token_file", Path("/t")),
        (("--no-auth",), "authenticate", False),
        (("--allowed-host", "a.example", "[::1]:9"), "hosts", frozenset({"a.example", "[::1]:9"})),
        (
            ("--cors", "http://a.example", "https://b.example:8443"),
            "origins",
            frozenset({"http://a.example", "https://b.example:8443"}),
        ),
        (("--log-level", "debug"), "log_level", "debug"),
        (("--logLevel", "none"), "log_level", "none"),
        (("--log-format", "json"), "log_format", "json"),
        (("--allow-root",), "as_root", True),
        (("--mcp-path", "/a"), "paths", Paths("/a")),
        (("--streamableHttpPath", "/a"), "paths", Paths("/a")),
        (("--sse-path", "/a"), "paths", Paths(sse="/a")),
        (("--ssePath", "/a"), "paths", Paths(sse="/a")),
        (("--messages-path", "/a"), "paths", Paths(messages="/a")),
        (("--messagePath", "/a"), "paths", Paths(messages="/a")),
        (("--ws-path", "/a"), "paths", Paths(ws="/a")),
        (("--pipe-path", "/a"), "paths", Paths(pipe="/a")),
        (("--health", "/a", "--healthEndpoint", "/b"), "health", ("/a", "/b")),
        (("--outputTransport", "sse"), "paths", Paths("", "/sse", "/messages", "", "")),
        (("--output-transport", "ws"), "paths", Paths("", "", "", "/ws", "")),
        (("--outputTransport", "streamableHttp"), "paths", Paths("/mcp", "", "", "", "")),
        (("--sessionTimeout", "1500"), "limits", Limits(session_idle_seconds=1.5)),
        (("--session-timeout", "1500"), "limits", Limits(session_idle_seconds=1.5)),
        (("--limit", "body=10", "--limit", "head_seconds=0.5"), "limits", Limits(body=10, head_seconds=0.5)),
        (("--limit", "free_heap_bytes=0"), "limits", Limits(free_heap_bytes=0)),
        (("--requestTimeout", "1500"), "limits", Limits(call_seconds=1.5)),
        (("--maxBodySize", "99"), "limits", Limits(body=99)),
        (("--sessionIdleTimeout", "1500"), "limits", Limits(session_idle_seconds=1.5)),
        (("--sse-host", "::1"), "host", "::1"),
        (("--sse-port", "0"), "port", 0),
        (("--allow-origin", "http://a.example"), "origins", frozenset({"http://a.example"})),
        (("--debug",), "log_level", "debug"),
        (("--log-level", "ERROR"), "log_level", "error"),
        (("--streamEndpoint", "/a"), "paths", Paths("/a")),
        (("--sseEndpoint", "/a"), "paths", Paths(sse="/a")),
        (("--server", "sse", "--endpoint", "/a"), "paths", Paths("", "/a", "/messages", "", "")),
        (("--server", "stream", "--endpoint", "/a"), "paths", Paths("/a", "", "", "", "")),
        (("--outputTransport", "ws", "--messagePath", "/a"), "paths", Paths("", "", "", "/a", "")),
        (
            ("--outputTransport", "ws", "--messagePath", "/a", "--ws-path", "/b"),
            "paths",
            Paths("", "", "", "/b", ""),
        ),
    ],
)
def test_every_option_changes_a_setting(arguments, member, value):
    assert getattr(read(), member) != value
    assert getattr(read(*arguments), member) == value


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        read_arguments(["--help"], HERE)
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name, does in parser.COMMANDS.items():
        assert f"  {name:<15}{does}" in shown


def test_tls_needs_both_files(capsys):
    given = read("--tls-cert", "/c", "--tls-key", "/k")
    assert (given.tls_certificate, given.tls_key, given.scheme) == (Path("/c"), Path("/k"), "https")
    assert "together" in refused(capsys, 64, "--stdio", "x", "--tls-cert", "/c")


def test_the_server_gets_an_environment_of_its_own(tmp_path, capsys):
    assert variables(read()) == {"PATH": "/bin", "HOME": "/home/me", "LANG": "C", "TERM": "dumb"}
    assert variables(read("--env", "SECRET"))["SECRET"] == "s3cret"
    assert variables(read("--env", "KEY=value", "-e", "OTHER", "a b"))["KEY"] == "value"
    assert variables(read("-e", "OTHER", "a b"))["OTHER"] == "a b"
    file = tmp_path / "variables"
    file.write_text("KEY=from a file\n# comment\nMODE=quiet\n")
    file.chmod(0o600)
    given = read("--env-file", str(file), "--env", "KEY=value")
    assert (variables(given)["KEY"], variables(given)["MODE"]) == ("from a file", "quiet")
    assert given.servers[0].hidden == {"KEY", "MODE"}
    file.chmod(0o644)
    assert "has mode 0644" in refused(capsys, 78, "--stdio", "x", "--env-file", str(file))


def test_a_secret_on_the_command_line_is_reported_without_its_value(capsys):
    assert read("--env", "API_KEY=hidden-value", "--env", "MODE=quiet").servers[0].hidden == {"API_KEY"}
    written = capsys.readouterr().err
    assert "API_KEY is visible to every user of the machine" in written
    assert "hidden-value" not in written
    assert "MODE" not in written


def test_a_program_and_its_arguments_are_a_server_without_stdio(monkeypatch, tmp_path):
    program = tmp_path / "server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert argv(read_arguments(["server", "--port", "x"], HERE)) == ("server", "--port", "x")
    assert argv(read_arguments(["--port", "0", "./server"], HERE)) == ("./server",)
    given = read_arguments(["--port", "0", "--named-server", "one", "server 'a b'"], HERE)
    assert [(one.name, one.launch.argv) for one in given.servers] == [("one", ("server", "a b"))]
    assert given.root == ""
    given = read_arguments(["--cwd", str(tmp_path), "--named-server", "one", "server", "server", "x"], HERE)
    assert [(one.name, one.launch.cwd) for one in given.servers] == [
        ("stdio", str(tmp_path)),
        ("one", str(tmp_path)),
    ]
    assert given.root == "stdio"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 64, "--stdio"),
        (("--stdio",), 64, "needs a command"),
        (("--stdio", ""), 64, "needs a command"),
        (("--stdio", "--"), 64, "needs a command"),
        (("--stdio", "x", "--", "y"), 64, "not both"),
        (("--stdio", "unclosed 'quote"), 64, "invalid quoting"),
        (("--stdio", "x", "--token", "mcpb_secret"), 64, "--token-file"),
        (("--stdio", "x", "--token=mcpb_secret"), 64, "--token-file"),
        (("--stdio", "x", "--nonsense"), 64, "--nonsense"),
        (("--stdio", "x", "--port", "65536"), 64, "65535"),
        (("--stdio", "x", "--port", "-1"), 64, "port"),
        (("--stdio", "x", "--port", "http"), 64, "'http'"),
        (("--stdio", "x", "--host", "0.0.0.0"), 78, "not a loopback"),
        (("--stdio", "x", "--host", "::"), 78, "not a loopback"),
        (("--stdio", "x", "--host", "192.168.1.1"), 78, "not a loopback"),
        (("--stdio", "x", "--host", "example.org"), 64, "neither"),
        (("--stdio", "x", "--no-auth", "--token-file", "t"), 64, "cannot be combined"),
        (("--stdio", "x", "--cors", "*"), 64, "not every origin can be allowed"),
        (
            ("--stdio", "x", "--allowed-host", "*"),
            64,
            "name[:port] in lower case, without wildcards, not '*'",
        ),
        (("--stdio", "x", "--allowed-host", "A.example"), 64, "'A.example'"),
        (("--stdio", "x", "--allowed-host", "http://a"), 64, "'http://a'"),
        (("--stdio", "x", "--allowed-host", "a:0"), 64, "'a:0'"),
        (("--stdio", "x", "--allowed-host", "a:65536"), 64, "'a:65536'"),
        (("--stdio", "x", "--cors", "http://*.example.org"), 64, "an origin must be"),
        (("--stdio", "x", "--cors", "http://a/path"), 64, "an origin must be"),
        (("--stdio", "x", "--ssePath", "sse"), 64, "must begin with /"),
        (("--stdio", "x", "--ssePath", "/mcp"), 64, "the path is used twice: /mcp\n"),
        (("--stdio", "x", "--health", "/mcp"), 64, "used twice"),
        (("--stdio", "x", "--mcp-path", "/healthz"), 64, "twice: /healthz\n"),
        (
            ("--stdio", "npx", "-y", "server"),
            64,
            "arguments: -y server; quote the server command as one argument",
        ),
        (("--stdoi", "x"), 64, "unrecognized arguments: --stdoi x; did you mean '--stdio'?\n"),
        (("--stdio", "x", "--token-file", ""), 64, "--token-file: the file name is empty"),
        (("--stdio", "x", "--unix", ""), 64, "--unix: the file name is empty"),
        (("--stdio", "x", "--tls-key", "", "--tls-cert", "c"), 64, "--tls-key: the file name is empty"),
        (("--stdio", "x", "--limit", "nothing=1"), 64, "stream_bytes"),
        (("--stdio", "x", "--limit", "body=lots"), 64, "'lots'"),
        (("--stdio", "x", "--limit", "body=0"), 64, "more than 0"),
        (("--stdio", "x", "--limit", "body"), 64, "number"),
        (("--stdio", "x", "--env", "LD_PRELOAD"), 78, "LD_PRELOAD"),
        (("--stdio", "x", "--env", "NOT_THERE"), 78, "no such variable"),
        (("--stdio", "x", "--env", "BAD-NAME"), 78, "BAD-NAME"),
        (("--stdio", "x", "--env-file", "/no/such/file"), 78, "/no/such/file"),
        (("--stdio", "x", "--env", "KEY=a\0b"), 78, "KEY"),
        (("--stdio", "x", "--cwd", "/no/such/place"), 78, "--cwd: /no/such/place is not a directory"),
        (("--named-server", "a b", "x"), 64, "--named-server"),
        (("--named-server", "a", ""), 64, "--named-server"),
        (("--named-server", "a", "'"), 64, "--named-server has invalid quoting"),
        (("nonsense",), 64, "unknown command 'nonsense'"),
        (("x", "--", "y"), 64, "unknown command 'x'"),
        (("--port", "0", "x", "--", "y"), 64, "unrecognized arguments: x"),
        (("--maxBodySize", "0", "x"), 64, "--maxBodySize"),
        (("--server", "ws", "x"), 64, "sse or stream"),
        (("--stdio", "x", "--share", "all"), 64, "session"),
        (("--stdio", "x", "--era", "newest"), 64, "legacy"),
        (("--stdio", "x", "--sessionTimeout", "0"), 64, "milliseconds"),
    ],
)
def test_rejected_arguments_have_a_code_and_a_reason(capsys, arguments, code, text):
    written = refused(capsys, code, *arguments)
    assert text in written
    assert written.startswith("mcp-bridge: ")
    assert "mcpb_secret" not in written


def test_version_and_help(capsys):
    for flag, text in (("--version", "mcp-bridge 0."), ("--help", "--stdio")):
        with pytest.raises(SystemExit) as caught:
            wrapper.main([flag])
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_a_missing_program_exits_with_69(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    with pytest.raises(SystemExit) as caught:
        wrapper.main(["--stdio", "no-such-program", "--port", "0"])
    assert caught.value.code == 69
    assert "no-such-program" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "text"), [(0o644, "is not executable; chmod +x"), (0o755, "")])
def test_a_program_that_cannot_be_executed_is_not_reported_as_missing(
    capsys, monkeypatch, tmp_path, mode, text
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    program = tmp_path / "server.py"
    program.write_text("#!/bin/sh\n")
    program.chmod(mode)
    with pytest.raises(SystemExit) as caught:
        wrapper.main(["--stdio", f"{program if text else tmp_path}", "--port", "0"])
    assert caught.value.code == 69
    assert (f"'{program}' {text}" if text else f"'{tmp_path}' is a directory") in capsys.readouterr().err


def test_an_invalid_certificate_exits_with_78(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    (tmp_path / "c").write_text("nonsense")
    for key in ("c", "missing"):
        with pytest.raises(SystemExit) as caught:
            wrapper.main(
                [
                    "--stdio",
                    "cat",
                    "--port",
                    "0",
                    "--tls-cert",
                    str(tmp_path / "c"),
                    "--tls-key",
                    str(tmp_path / key),
                ]
            )
        assert caught.value.code == 78
        written = capsys.readouterr().err
        assert f"the TLS certificate {tmp_path / 'c'} or its key {tmp_path / key} cannot be used: " in written
        assert (f"cannot be used: {tmp_path / 'missing'}: No such file" in written) == (key == "missing")


def test_the_created_token_is_private(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    with pytest.raises(SystemExit):
        wrapper.main(["--stdio", "cat", "--port", "0", "--tls-cert", "/no", "--tls-key", "/no"])
    token = tmp_path / "mcp-bridge" / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert token.read_text().strip() not in capsys.readouterr().err


def loaded_by(code):
    found = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.splitlines()[-1].split())


def test_commands_that_talk_to_the_daemon_load_no_event_loop():
    loaded = loaded_by(
        "from mcpbridged.bridge.commands import dispatch\n"
        "for name in dispatch._COMMANDS: dispatch.function_of(name)"
    )
    assert {"msgspec", "http.client", "mcpbridged.bridge.commands.status"} <= loaded
    assert not {"trio", "hypercorn"} & loaded


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["status"], {"add", "config", "token", "client_config", "doctor", "wrapper_options", "peer_lines"}),
        (["version"], {"status", "add", "config", "token", "doctor"}),
        (["status", "--help"], {"status", "control_client", "running_daemon", "completion_scripts"}),
        (["status", "--nope"], {"status", "control_client", "running_daemon"}),
    ],
)
def test_a_command_loads_the_modules_of_no_other_command(words, absent, tmp_path):
    loaded = loaded_by(
        f"import os\nos.environ['XDG_RUNTIME_DIR'] = os.environ['XDG_STATE_HOME'] = {str(tmp_path)!r}\n"
        "from mcpbridged.bridge.commands import wrapper\n"
        f"try: wrapper.main({words!r})\nexcept SystemExit: pass"
    )
    assert "mcpbridged.bridge.commands.dispatch" in loaded
    assert not {f"mcpbridged.bridge.commands.{name}" for name in absent} & loaded


def test_each_command_has_a_function_and_all_options_have_a_command():
    assert set(dispatch._COMMANDS) == set(COMMANDS)
    assert set(command_options._OPTIONS) <= set(COMMANDS)
    assert all(callable(dispatch.function_of(name)) for name in COMMANDS)


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (BadConfig(faults=[Fault("a"), Fault("b")]), 78, "mcp-bridge: a\nmcp-bridge: b\n"),
        (BadUsage("wrong"), 64, "mcp-bridge: wrong\n"),
        (NotOurs("other"), 69, "mcp-bridge: other\n"),
        (BadAddress("port"), 64, "mcp-bridge: port\n"),
        (control_client.Unreachable("none"), 69, "mcp-bridge: none\n"),
        (control_client.ErrorResponse("one\ntwo"), 1, "mcp-bridge: one\nmcp-bridge: two\n"),
        (PinMismatch("pin"), 1, "mcp-bridge: pin\n"),
        (http.client.BadStatusLine("x"), 69, "mcp-bridge: the connection to the daemon was lost: x\n"),
        (OSError("disk"), 1, "mcp-bridge: disk\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_an_error_ends_a_command_with_its_text_and_code(monkeypatch, capsys, fault, code, text):
    def raises(_invocation):
        raise fault

    monkeypatch.setattr(dispatch, "function_of", lambda _name: raises)
    assert dispatch.run(["status"], {}) == code
    assert capsys.readouterr().err == text


@pytest.fixture
def programs(monkeypatch):
    """Put programs of these names into PATH."""
    found = {"uvx", "mcp-server-time", "stats"}
    monkeypatch.setattr(wrapper.shutil, "which", lambda name: f"/bin/{name}" if name in found else None)


@pytest.mark.usefixtures("programs")
def test_one_word_that_is_a_program_starts_it_unless_it_may_be_a_command(capsys):
    assert argv(read_arguments(["mcp-server-time"], HERE)) == ("mcp-server-time",)
    assert "to start this program as a server: --stdio stats" in refused(capsys, 64, "stats")


@pytest.mark.usefixtures("programs")
def test_a_command_of_ours_is_no_program(capsys):
    text = "status is a command of mcp-bridge, and comes before its options"
    assert text in refused(capsys, 64, "--port", "0", "status")
    assert argv(read_arguments(["--port", "0", "uvx", "status"], HERE)) == ("uvx", "status")
    assert argv(read_arguments(["--stdio", "status"], HERE)) == ("status",)


def test_a_named_server_is_given_once(capsys):
    words = ("--named-server", "a", "b", "--named-server", "a", "c")
    assert "the server a is given twice" in refused(capsys, 64, *words)


@pytest.mark.parametrize(
    ("words", "starts"),
    [(["env", "A=1", "uvx", "x"], True), (["env", "git"], False), (["env", "--config=x", "git"], False)],
)
def test_env_with_a_variable_is_the_program(words, starts, monkeypatch):
    ran = []
    monkeypatch.setattr("mcpbridged.bridge.commands.dispatch.run", lambda *_: ran.append("command") or 0)
    monkeypatch.setattr("mcpbridged.bridge.daemon.app.run", lambda *_: ran.append("server") or 0)
    monkeypatch.setattr(wrapper, "_open_standard_streams", lambda: None)
    with pytest.raises(SystemExit):
        wrapper.main(words)
    assert ran == ["server" if starts else "command"]
