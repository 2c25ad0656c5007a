"""The command lines in docs/switching, which are those of other bridges: each is run, and does what its row names."""

import http.client
import json
import re
import shlex
import subprocess

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY, Bridge
from ..support.handshake import initialize_request

PAGES = sorted((REPOSITORY / "docs/switching").glob("*.md"))
ROW = re.compile(r"^\| `(.+?)` \| (.+) \|$", re.MULTILINE)
ROWS = [
    pytest.param(line, result, id=f"{page.stem}: {line[:100]}")
    for page in PAGES
    for line, result in ROW.findall(page.read_text())
]
# Programs of the pages, in whose place the example server runs.
PROGRAMS = ("npx ", "uvx ", "tsx ", "deno ", "python -u", "my-modern-mcp-server", "your-command")
TRANSPORTS = {"Streamable HTTP": "mcp", "HTTP+SSE": "sse", "WebSocket": "ws"}
INITIALIZE = json.dumps(initialize_request()).encode()


def words_of(line):
    """Return the arguments of a line for this machine: the example server, and a free port."""
    server = shlex.join(EXAMPLE)
    words = shlex.split(line)[1:]
    for i, word in enumerate(words):
        if re.fullmatch("--(sse-)?port", word):
            words[i + 1] = "0"
        words[i] = re.sub(r"^(--(?:sse-)?port=)\d+", r"\g<1>0", words[i])
        if word.startswith(PROGRAMS) and i and words[i - 1] != "--":
            words[i] = server
    for i, word in enumerate(words):
        if f"{word} ".startswith(PROGRAMS):
            return [*words[:i], *EXAMPLE, *[more for more in words[i:] if more.startswith("--")]]
    return words


def answer(running, transport, path):
    """Return the status and the beginning of a response to what begins a session of a transport."""
    connection = http.client.HTTPConnection(*running.address, timeout=20)
    both = "application/json, text/event-stream"
    if transport == "mcp":
        connection.request("POST", path, INITIALIZE, {"Content-Type": "application/json", "Accept": both})
    elif transport == "sse":
        connection.request("GET", path, headers={"Accept": both})
    else:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        connection.request("GET", path, headers={**upgrade, "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="})
    response = connection.getresponse()
    found = response.status, response.readline()
    connection.close()
    return found


EXPECTED = {"mcp": (200, b""), "sse": (200, b"event: endpoint"), "ws": (101, b"")}


def serve(line, result, folder):
    program = [
        PROGRAM,
        "--allow-root",
        "--no-auth",
        "--env",
        "MCP_BRIDGE_TEST_MARK",
        "--port",
        "0",
        *words_of(line),
    ]
    with Bridge(folder, program=program) as running:
        for transport, path in re.findall(r"(Streamable HTTP|HTTP\+SSE|WebSocket) at `(\S+?)`", result):
            status, first = answer(running, TRANSPORTS[transport], path)
            wanted, beginning = EXPECTED[TRANSPORTS[transport]]
            assert (status, first[: len(beginning)]) == (wanted, beginning), (transport, path)
    return "\n".join(running.lines)


def run(words, folder, typed=b""):
    return subprocess.run(
        [PROGRAM, *words],
        input=typed,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_STATE_HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    program = [
        PROGRAM,
        "--allow-root",
        "--no-auth",
        "--env",
        "MCP_BRIDGE_TEST_MARK",
        "--port",
        "0",
        "--stdio",
        "--",
    ]
    with Bridge(tmp_path_factory.mktemp("target"), program=[*program, *EXAMPLE]) as running:
        yield running


def connect(line, folder, target):
    """Run a line in front of a server of this machine, and return what it writes to stderr."""
    words = shlex.split(line)[1:]
    at = next(i for i, word in enumerate(words) if "://" in word)
    words[at] = target.sse if words[at].endswith("/sse") else target.mcp
    done = run(words, folder, INITIALIZE + b"\n")
    assert done.returncode == 0, done.stderr
    [response] = [json.loads(text) for text in done.stdout.splitlines()]
    assert response["result"]["serverInfo"]
    return done.stderr.decode()


@pytest.mark.parametrize(("line", "result"), ROWS)
def test_a_command_line_of_another_bridge_does_what_its_row_names(line, result, tmp_path, target):
    kind, _, rest = result.partition(" ")
    if kind == "error:":
        done = run(words_of(line), tmp_path)
        assert done.returncode in (64, 78)
        assert rest in done.stderr.decode()
        return
    log = serve(line, result, tmp_path) if kind == "serves" else connect(line, tmp_path, target)
    for option in re.findall(r"`(--\S+)` is ignored", result):
        assert f"{option} is ignored: " in log
    for option in re.findall(r"`(--\S+)` goes to the server", result):
        assert f"{option} goes to the server, because it follows the command" in log


def test_each_page_has_lines_of_its_program():
    assert {page.stem for page in PAGES} == {"supergateway", "mcp-proxy-npm", "mcp-proxy-pypi", "mcp-remote"}
    assert len(ROWS) > 85
