"""The paths of a daemon with the default configuration, compared with a reviewed list.

Each text of the sources that looks like a path is requested, alone and below each other prefix, so that a new route is found
although no test names it.
"""

import ast
import http.client
import re
from contextlib import closing
from pathlib import Path

import pytest

from ..support.daemon_process import daemon

ROOT = Path(__file__).parents[2]
PREFIXES = ("", "/admin", "/control", "/servers", "/servers/example")
# Paths that need no credential.
OPEN = {"/healthz", "/readyz"}
# Paths that exist with a credential.
CLOSED = {f"/servers/example/{name}" for name in ("mcp", "sse", "messages", "ws", "pipe")} | {"/messages"}
# Upstream paths of the documents of other gateways, which must not exist.
ELSEWHERE = {
    "/",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/admin",
    "/metrics",
    "/version",
    "/debug",
    "/config",
    "/health",
    "/static",
}


def texts_like_paths():
    """Return each constant of the sources that looks like a path or the end of one."""
    found = set()
    for folder in ("bridge", "transports", "validators"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(re.findall(r"\A/?[a-z][a-z-]*(?:/[a-z-]+)*\Z", node.value))
    return {f"/{text.removeprefix('/')}" for text in found}


@pytest.fixture(scope="module")
def statuses(tmp_path_factory):
    """Return the statuses of each path: without a credential, and with that of the owner for GET and for POST."""
    paths = ELSEWHERE | OPEN | CLOSED | {prefix + text for text in texts_like_paths() for prefix in PREFIXES}
    found = {}
    with daemon(tmp_path_factory.mktemp("routes")) as running:
        with closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:

            def status(method, path, headers):
                connection.request(method, path, headers=headers)
                reply = connection.getresponse()
                # A response without an end is that of an event stream.
                if reply.getheader("Content-Type") == "text/event-stream":
                    connection.close()
                else:
                    reply.read()
                return reply.status

            for path in sorted(paths):
                found[path] = tuple(status(method, path, running.headers) for method in ("GET", "POST"))
            without = {path: status("GET", path, {}) for path in sorted(OPEN | CLOSED | ELSEWHERE)}
    return found, without


def test_the_routes_are_those_of_the_reviewed_list(statuses):
    found, _ = statuses
    assert len(found) > 1000
    assert {path for path, answers in found.items() if set(answers) != {404}} == OPEN | CLOSED


def test_only_health_needs_no_credential(statuses):
    _, without = statuses
    assert {path for path, status in without.items() if status == 200} == OPEN
    assert {status for path, status in without.items() if path not in OPEN} == {401}
