"""Attacks on `cwd = "client"`: a header, a path or a repository must not choose what is executed, or where."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcpbridged.validators.client_directory import encode_path

from ..support.bridge_process import PROGRAM
from ..support.daemon_process import child, daemon, write_config
from ..support.unix_client import USUAL, UnixClient, content

INTERPRETER = os.path.realpath(sys.executable)


def cwd_of(path):
    return "Mcp-Cwd", encode_path(os.fsencode(path))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a directory with the allowed directory `src`, and others beside it."""
    folder = tmp_path_factory.mktemp("hostile").resolve()
    for name in ("src/project", "src/project/inner", "srcret", "secret/keys"):
        (folder / name).mkdir(parents=True)
    (folder / "src/file").touch()
    (folder / "src/out").symlink_to(folder / "secret")
    (folder / "src/up").symlink_to("..")
    (folder / "src/loop").symlink_to("loop")
    (folder / "src/in").symlink_to("project")
    (folder / "way-in").symlink_to(folder / "src/project")
    return folder


@pytest.fixture(scope="module")
def running(place):
    servers = {
        "where": {
            "command": child("variables.py"),
            "cwd": "client",
            "cwd_allowed": [str(place / "src")],
            "share": "principal",
        },
        "fixed": {"command": child("variables.py"), "cwd": str(place)},
    }
    with daemon(place / "run-of-all", servers) as found:
        yield found


def started(running):
    return next(server["starts"] for server in running.status()["servers"] if server["name"] == "where")


def refused(running, *headers):
    """Return the answer of a request in both eras, which must start nothing."""
    before = started(running)
    client = UnixClient(running.unix)
    answers = [
        client.initialize("where", *headers),
        client.stateless("where", "variable", *headers, name="PWD"),
    ]
    assert started(running) == before
    assert answers[0].status == answers[1].status
    assert answers[0].text == answers[1].text
    return answers[0]


# ---- which directory


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("secret", "none of the directories in cwd_allowed"),
        # The name only begins as the allowed one.
        ("srcret", "none of the directories in cwd_allowed"),
        ("", "none of the directories in cwd_allowed"),
        ("src/..", "none of the directories in cwd_allowed"),
        ("src/../secret", "none of the directories in cwd_allowed"),
        ("src/project/../../secret/keys", "none of the directories in cwd_allowed"),
        ("src/out", "none of the directories in cwd_allowed"),
        ("src/out/keys", "none of the directories in cwd_allowed"),
        ("src/up", "none of the directories in cwd_allowed"),
        ("src/in/../up/secret", "none of the directories in cwd_allowed"),
        ("src/file", "not a directory"),
        ("src/file/x", "not a directory"),
        ("src/missing", "does not exist"),
        ("src/project (deleted)", "does not exist"),
        ("src/loop", "Too many levels of symbolic links"),
        ("src/" + "x" * 300, "File name too long"),
        ("src" + "/." * 2000 + "/x" * 40, ""),
    ],
)
def test_a_directory_outside_of_the_allowed_ones_is_refused(running, place, path, reason):
    answer = refused(running, cwd_of(place / path if path else place))
    assert answer.status == 403
    assert reason in answer.text


@pytest.mark.parametrize("path", ["/", "/etc", "/proc/self/cwd", "/proc/1/root", "/dev/fd", "//", "/../.."])
def test_a_directory_of_the_system_is_refused(running, path):
    assert refused(running, ("Mcp-Cwd", path)).status == 403


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("src/in", "src/project"),
        ("way-in", "src/project"),
        ("src/project/../project/inner/", "src/project/inner"),
        ("src//project/./inner", "src/project/inner"),
        ("secret/../src/project", "src/project"),
        ("src", "src"),
    ],
)
def test_every_path_of_an_allowed_directory_is_the_same_directory(running, place, path, real):
    answer = UnixClient(running.unix).stateless(
        "where", "variable", cwd_of(f"{place}/{path}"), name="getcwd()"
    )
    assert content(answer)["value"] == str(place / real)


def test_a_directory_that_cannot_be_entered_is_refused(place, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root enters every directory")
    closed = place / "src/closed"
    closed.mkdir(mode=0)
    servers = {
        "where": {"command": child("variables.py"), "cwd": "client", "cwd_allowed": [str(place / "src")]}
    }
    with daemon(tmp_path, servers) as running:
        assert "Permission denied" in refused(running, cwd_of(closed)).text
        assert "Permission denied" in refused(running, cwd_of(closed / "inner")).text


def test_a_removed_directory_is_refused(running, place):
    # The path leads to the removed directory itself, as that of a client does whose directory was removed.
    directory = place / "src/removed"
    directory.mkdir()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=directory) as process:
        try:
            directory.rmdir()
            answer = refused(running, ("Mcp-Cwd", f"/proc/{process.pid}/cwd"))
        finally:
            process.kill()
    assert answer.status == 403
    assert "it was removed" in answer.text


# ---- the header


@pytest.mark.parametrize(
    "value",
    [
        "",
        "src",
        "./src",
        "~/src",
        "src/%",
        "/src%",
        "/src%2",
        "/src%zz",
        "/a%00b",
        "%2Ftmp",
        "/caf\xe9",
        "file:///tmp",
    ],
)
def test_a_value_that_is_no_path_is_refused(running, value):
    assert refused(running, ("Mcp-Cwd", value)).status == 400


def test_percent_signs_are_decoded_once(running, place):
    encoded = str(place / "src/project").replace("/", "%2F")
    answer = UnixClient(running.unix).stateless(
        "where", "variable", ("Mcp-Cwd", "/" + encoded), name="getcwd()"
    )
    assert content(answer)["value"] == str(place / "src/project")
    twice = str(place / "src/project").replace("project", "%252e%252e")
    assert "does not exist" in refused(running, ("Mcp-Cwd", twice)).text


def test_encoded_dot_segments_lead_nowhere_else(running, place):
    answer = refused(running, ("Mcp-Cwd", f"{place}/src/%2e%2e/secret"))
    assert "none of the directories" in answer.text


def test_the_header_twice_is_refused(running, place):
    both = [cwd_of(place / "src"), cwd_of(place / "src/project")]
    assert refused(running, *both).status == 400


@pytest.mark.parametrize("raw", [b"/tmp\0/x", b"/tmp\r/x", b"/tmp\n/x", b"/tmp\r\n /x"])
def test_control_bytes_in_the_header_are_refused(running, raw):
    before = started(running)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(running.unix))
        sock.sendall(
            b"POST /servers/where/mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Cwd: "
            + raw
            + b"\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert b"400" in sock.recv(4096).split(b"\r\n")[0]
    assert started(running) == before


@pytest.mark.parametrize("server", ["where", "fixed"])
def test_the_header_over_tcp_is_refused(running, place, server):
    name, value = cwd_of(place / "src/project")
    body = b"{}"
    host, port = running.address
    for credential, status in ((f"Authorization: Bearer {running.token}\r\n", b"403"), ("", b"401")):
        with socket.create_connection((host, port), timeout=10) as sock:
            sock.sendall(
                f"POST /servers/{server}/mcp HTTP/1.1\r\nHost: {host}:{port}\r\n{credential}"
                f"{name}: {value}\r\nContent-Length: 2\r\n\r\n".encode()
                + body
            )
            answer = sock.recv(4096)
        assert answer.split(b" ")[1] == status
        assert (b"Unix socket only" in answer) == (status == b"403")


def test_a_client_of_tcp_gets_the_reason(running):
    connection = http.client.HTTPConnection(*running.address, timeout=10)
    headers = {**dict(USUAL), "Authorization": f"Bearer {running.token}"}
    connection.request(
        "POST", "/servers/where/mcp", '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}', headers
    )
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 400
    assert b"clients of TCP cannot use a server" in text


def test_refusals_are_logged_at_a_limited_rate(running, place):
    def lines():
        wanted = f"client_directory_refused principal=local directory={place}/secret reason="
        return [line for line in running.logs("where") if wanted in line and "more=" in line]

    client, end = UnixClient(running.unix), time.monotonic() + 30
    while not lines():
        assert time.monotonic() < end
        for _ in range(10):
            client.initialize("where", cwd_of(place / "secret"))


# ---- races


def test_a_link_that_is_swapped_all_the_time_leads_to_no_other_directory(place, tmp_path):
    """Swap a link between an allowed directory and another one, while clients name it. No process may run in the other."""
    (place / "src/good").mkdir()
    good, evil, link = place / "src/good", place / "secret", place / "src/swapped"
    link.symlink_to(good)
    drafts = [place / "src/.draft-a", place / "src/.draft-b"]
    over = threading.Event()

    def swap():
        while not over.is_set():
            for draft, target in zip(drafts, (evil, good), strict=True):
                draft.symlink_to(target)
                draft.replace(link)

    servers = {
        "where": {"command": child("variables.py"), "cwd": "client", "cwd_allowed": [str(place / "src")]}
    }
    outcomes = {"good": 0, "refused": 0}
    with daemon(tmp_path, servers) as running:
        client = UnixClient(running.unix)
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for number in range(60):
                # A path of its own for each, so that no earlier answer is used.
                header = ("Mcp-Cwd", encode_path(os.fsencode(f"{link}{'/.' * number}")))
                answer = client.initialize("where", header)
                if answer.status == 200:
                    session = answer.headers["mcp-session-id"]
                    found = content(client.call("where", session, "variable", name="getcwd()"))
                    assert found["value"] == str(good)
                    outcomes["good"] += 1
                    client.exchange("DELETE", "/servers/where/mcp", [("Mcp-Session-Id", session)])
                else:
                    outcomes["refused"] += 1
        finally:
            over.set()
            thread.join()
    assert all(outcomes.values()), outcomes


def test_a_directory_that_becomes_a_link_after_the_check_is_not_entered(place, tmp_path):
    """The start of the process is held back by a helper of secrets, and the directory is replaced meanwhile."""
    directory, moved = place / "src/early", place / "src/early-moved"
    directory.mkdir()
    go = tmp_path / "go"
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.02; done\necho secret-value\n")
    helper.chmod(0o700)
    servers = {
        "where": {
            "command": child("variables.py"),
            "cwd": "client",
            "cwd_allowed": [str(place / "src")],
            "secrets": {"K": f"exec:{helper}"},
        }
    }
    answers = []
    with daemon(tmp_path / "daemon", servers) as running:
        client = UnixClient(running.unix)
        thread = threading.Thread(
            target=lambda: answers.append(client.initialize("where", cwd_of(directory)))
        )
        thread.start()
        # The directory is checked before the secrets are awaited. There is no event for it.
        time.sleep(1)
        directory.rename(moved)
        directory.symlink_to(place / "secret")
        go.touch()
        thread.join()
        assert answers[0].status == 503
        assert "the directory of the client" in answers[0].text
        assert not running.children("variables.py")


# ---- what a repository has


def repository(folder: Path) -> Path:
    """Return a directory with what a hostile repository may have. Everything leaves a file `executed`."""
    shell = f"#!/bin/sh\ntouch {folder}/executed\n"
    python = f"open({str(folder / 'executed')!r}, 'w')\n"
    files = {
        "node_modules/.bin/tool": shell,
        "tool": shell,
        "server.py": python,
        "sitecustomize.py": python,
        "usercustomize.py": python,
        "json/__init__.py": python,
        "mcp/__main__.py": python,
        ".npmrc": "ignore-scripts=false\n",
        "package.json": '{"name": "x", "bin": "tool", "scripts": {"start": "./tool"}}',
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n',
        "Makefile": "all:\n\t./tool\n",
        ".envrc": "./tool\n",
        ".Rprofile": "system('./tool')\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return folder


@pytest.fixture
def cloned(tmp_path):
    return repository(tmp_path / "src/cloned")


def config_of(cloned, command, **keys):
    return {"x": {"command": command, "cwd": "client", "cwd_allowed": [str(cloned.parent)], **keys}}


@pytest.mark.parametrize(
    "command",
    [
        ["npx", "-y", "tool"],
        ["bunx", "tool"],
        ["bun", "x", "tool"],
        ["pnpm", "dlx", "tool"],
        ["yarn", "dlx", "tool"],
        ["uvx", "tool"],
        ["uv", "run", "server.py"],
        ["pipx", "run", "tool"],
        ["make"],
        ["cargo", "run"],
        ["go", "run", "."],
        ["deno", "run", "x.ts"],
        ["python3", "-m", "mcp"],
        ["python3", "-c", "import json"],
        [INTERPRETER, "server.py"],
        [INTERPRETER, "-u", "server.py"],
        [INTERPRETER],
        ["node", "server.js"],
        ["node", "--import", "./x.mjs", "/opt/server.js"],
        ["sh", "-c", "exec tool"],
        ["bash", "tool"],
        ["env", "npx", "tool"],
        ["/usr/bin/env", "PATH=node_modules/.bin:/usr/bin", "tool"],
        ["/usr/bin/env", "-S", "uv run server.py"],
        ["nice", "-n", "5", "npx", "tool"],
    ],
)
def test_a_command_that_executes_what_the_directory_has_is_a_configuration_error(cloned, command):
    write_config(cloned.parent.parent / "config.toml", config_of(cloned, command))
    file = cloned.parent.parent / "config.toml"
    line = file.read_text().splitlines().index('cwd = "client"') + 1
    for words in (["config", "check"], ["serve", "--allow-root"]):
        done = subprocess.run(
            [PROGRAM, *words, "--config", str(file)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 78
        assert "servers.x: cwd: " in done.stderr
        assert f"config.toml:{line}:" in done.stderr
        assert "cwd_trust" in done.stderr


@pytest.mark.parametrize("path", ["node_modules/.bin:{}", "{}:", ":{}", ".:{}", "{}:bin"])
def test_a_relative_entry_of_path_fails_the_server_and_no_other(cloned, tmp_path, path):
    env = {"PATH": path.format("/usr/bin:/bin")}
    servers = {
        **config_of(cloned, child("variables.py"), env=env),
        "other": {"command": child("variables.py")},
    }
    with daemon(tmp_path / "daemon", servers) as running:
        client = UnixClient(running.unix)
        answer = client.initialize("x", cwd_of(cloned))
        assert answer.status == 503
        assert "PATH has the entry" in answer.text
        assert client.initialize("other").status == 200
    assert not (cloned / "executed").exists()


@pytest.mark.parametrize(
    "first", ["#!/usr/bin/env -S uv run --script\n", "#!/usr/bin/env npx\n", "#!/bin/sh -c\n"]
)
def test_a_program_whose_first_line_names_such_a_command_fails(cloned, tmp_path, first):
    program = tmp_path / "program"
    program.write_text(first)
    program.chmod(0o755)
    with daemon(tmp_path / "daemon", config_of(cloned, [str(program)])) as running:
        answer = UnixClient(running.unix).initialize("x", cwd_of(cloned))
    assert answer.status == 503
    assert "would choose the program" in answer.text


def test_a_link_to_such_a_program_fails(cloned, tmp_path):
    real = tmp_path / "npx"
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    (tmp_path / "harmless").symlink_to("npx")
    with daemon(tmp_path / "daemon", config_of(cloned, [str(tmp_path / "harmless")])) as running:
        answer = UnixClient(running.unix).initialize("x", cwd_of(cloned))
    assert "npx executes" in answer.text


@pytest.mark.parametrize(
    "word", ["server.py", "./tool", "--plugin=node_modules/.bin/tool", "json/__init__.py"]
)
def test_an_argument_that_is_a_file_of_the_directory_starts_nothing(cloned, tmp_path, word):
    with daemon(tmp_path / "daemon", config_of(cloned, [*child("variables.py"), word])) as running:
        client = UnixClient(running.unix)
        answer = client.initialize("x", cwd_of(cloned))
        assert answer.status == 503
        assert "a file in the directory of the client" in answer.text
        # In another directory it is no file.
        (cloned.parent / "empty").mkdir()
        assert client.initialize("x", cwd_of(cloned.parent / "empty")).status == 200
    assert not (cloned / "executed").exists()


@pytest.mark.parametrize(
    "word", [".", "json", "node_modules", "https://example.org/x.py", "owner/name", "tool"]
)
def test_a_directory_or_a_word_as_an_argument_is_no_code(cloned, tmp_path, word):
    with daemon(tmp_path / "daemon", config_of(cloned, [*child("variables.py"), word])) as running:
        assert UnixClient(running.unix).initialize("x", cwd_of(cloned)).status == 200


def test_nothing_of_a_repository_is_executed_by_an_ordinary_server(cloned, tmp_path):
    with daemon(tmp_path / "daemon", config_of(cloned, child("variables.py"))) as running:
        client = UnixClient(running.unix)
        session = client.initialize("x", cwd_of(cloned)).headers["mcp-session-id"]
        assert content(client.call("x", session, "variable", name="getcwd()"))["value"] == str(cloned)
        content(client.stateless("x", "variable", cwd_of(cloned), name="PWD"))
    assert not (cloned / "executed").exists()


def test_with_cwd_trust_the_directory_may_choose(cloned, tmp_path):
    (cloned / "own.py").write_text(Path(child("variables.py")[1]).read_text())
    servers = config_of(cloned, [INTERPRETER, "-I", "own.py"], cwd_trust=True)
    with daemon(tmp_path / "daemon", servers) as running:
        client = UnixClient(running.unix)
        assert client.initialize("x", cwd_of(cloned)).status == 200
        # Where it has no such file, the program itself fails.
        (cloned.parent / "empty").mkdir()
        assert client.initialize("x", cwd_of(cloned.parent / "empty")).text
