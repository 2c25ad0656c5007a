"""The paths of requests that the documents name are routes of a daemon, or of a wrapper."""

import http.client
import json
import re
from contextlib import closing

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import daemon
from ..support.documents import MANUALS, MARKDOWN, plain, read, spans_of

# The beginnings of routes. Other paths in code are those of files.
FIRST = "mcp|sse|messages|ws|pipe|healthz|readyz|metrics|admin|servers|aggregates|register|.well-known"
_PATH = re.compile(rf"(?:(GET|POST|DELETE) )?(/(?:{FIRST})(?:/[\w.*-]+)*/?)(\?\S+)?")
_URL = re.compile(r"https?://127\.0\.0\.1:8808(/[\w/.-]+)")
# Paths that are not those of this bridge, or that are prefixes of others.
OTHERS = {"/servers/NAME/", "/servers/stdio/", "/aggregates/dev/members/", "/aggregates/NAME/"}


def paths_in(document, text):
    """Return the paths of requests in the code of a document, with their methods."""
    found = [
        (match[1] or "GET", match[2] + (match[3] or ""))
        for span in spans_of(document, text)
        if (match := _PATH.fullmatch(span.text))
    ]
    return dict.fromkeys([*found, *(("GET", path.rstrip(".")) for path in _URL.findall(text))])


def filled(path):
    """Return a path with the server and the aggregate of the daemon in place of those of a document."""
    path = re.sub(r"^/servers/[^/]+/", "/servers/git/", path)
    path = re.sub(r"^/aggregates/[^/]+/", "/aggregates/dev/", path)
    return path.replace("=NAME", "=git").replace("*", "x")


@pytest.fixture(scope="module")
def request_path(tmp_path_factory):
    """Return a function that requests a path with the token of the owner, and returns whether it is a route."""
    tables = {
        "metrics": {"enabled": True},
        "admin": {"enabled": True, "actions": True},
        "aggregate": {"servers": ["git"]},
        "aggregates.dev": {"servers": ["git"]},
    }
    with daemon(tmp_path_factory.mktemp("routes"), {"git": {"command": EXAMPLE}}, **tables) as running:

        def is_route(method, path):
            with closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:
                connection.request(method, path, headers=running.headers)
                reply = connection.getresponse()
                if reply.status != 404:
                    return True
                # The response to OAuth discovery is a 404 of its own.
                return "error_description" in json.loads(reply.read() or b"{}")

        yield is_route


def missing(found, is_route):
    return [
        f"{method} {path}"
        for method, path in found
        if path not in OTHERS and not is_route(method, filled(path))
    ]


@pytest.mark.parametrize("document", [*MARKDOWN, *MANUALS])
def test_each_path_is_a_route(document, request_path):
    text = plain(read(document)) if document in MANUALS else read(document)
    assert missing(paths_in(document, text), request_path) == []


def test_a_path_that_is_no_route_is_found(request_path):
    text = "See `/mcp`, `GET /admin/api/nothing` and `/servers/NAME/socket`.\n\n    curl http://127.0.0.1:8808/mpc\n"
    found = paths_in("x.md", text)
    assert missing(found, request_path) == ["GET /admin/api/nothing", "GET /servers/NAME/socket", "GET /mpc"]
