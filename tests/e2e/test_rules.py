"""`mcp-bridge rules --explain` compared with a running daemon, for principals, servers, methods and tools."""

import hashlib
import json

import pytest

from mcpbridged.bridge.config import load, rules, tables
from mcpbridged.bridge.config.rules import Question

from ..support.daemon_clients import example, stateless_request
from ..support.daemon_process import Daemon, daemon
from ..support.stateless_requests import tool

NAMES = ("all", "some", "tools", "features", "lister", "reader")
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in NAMES}
ROLES = {
    "some": {"servers": ["plain", "denied", "shared"]},
    "tools": {"tools": {"allow": ["ec*", "a?d"], "deny": ["echo_*"]}},
    "lister": {"methods": ["tools/list", "prompts/*"]},
    "reader": {"read_only": True},
    "features": {"features": {"deny": ["prompts", "completions"]}, "tools": {"deny": ["add"]}},
}
SERVERS = {
    "plain": example(),
    "denied": example(tools={"deny": ["add", "th*"]}, features={"deny": ["prompts"]}),
    "narrow": example(tools={"allow": ["echo"]}),
    "shared": example(share="server", features={"deny": ["tools"]}),
}
METHODS = {
    "ping": None,
    "tools/list": {},
    "prompts/list": {},
    "resources/list": {},
    "resources/templates/list": {},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "x"},
        "argument": {"name": "x", "value": "y"},
    },
    "server/discover": {},
}
TOOLS = {"echo": {"text": "x"}, "add": {"a": 1, "b": 2}, "think": {}, "unknown": {}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    tables_ = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest(), **ROLES.get(name, {})}
        for name, token in TOKENS.items()
    }
    features = {"deny": ["completions"]}
    with daemon(tmp_path_factory.mktemp("rules"), SERVERS, features=features, **tables_) as found:
        yield found


async def what_happens(running, principal, server, method, params):
    """Return the status and the code of the refusal, None for a request that the server has answered."""
    token = TOKENS.get(principal, running.token)
    status, answer = await stateless_request(running, server, method, params, token)
    error = answer.get("error", {})
    code, text = error.get("code"), error.get("message", "")
    # The server knows no such tool or prompt either, and says so in other words.
    by_bridge = (
        status == 403
        or "for this credential" in text
        or text.endswith("is disabled for this server")
        or text.startswith("Unknown tool: ")
    )
    return (status, code) if by_bridge else None


@pytest.mark.anyio
@pytest.mark.parametrize("principal", ["owner", *TOKENS])
async def test_the_answers_are_what_the_daemon_does(running, principal):
    file = tables.read(running.config)
    settings = load.plan(running.config, running.variables)
    compared = refused = 0
    for server in SERVERS:
        requests = [(method, "", params) for method, params in METHODS.items() if method != "ping"]
        requests += [("tools/call", name, tool(name, **arguments)) for name, arguments in TOOLS.items()]
        for method, name, params in requests:
            steps = rules.explain(Question(principal, server, method, name), file, settings)
            if any(step.name == "read-only tools" for step in steps):
                # The tools of the example have no annotation.
                assert await what_happens(running, principal, server, method, params) == (200, -32602)
                compared += 1
                continue
            last = steps[-1]
            expected = None if last.refusal is None else tuple(last.refusal)
            found = await what_happens(running, principal, server, method, params)
            if name == "unknown" and found == (200, -32602) and expected is None:
                # The example server has the same words for a tool that it does not have.
                found = None
            assert found == expected, (principal, server, method, name)
            compared += 1
            refused += expected is not None
    assert (compared, refused > 0) == (40, True)


def test_the_command_works_with_and_without_a_daemon(tmp_path):
    with daemon(tmp_path, SERVERS) as running:
        done = running.do("rules", "--explain", "owner", "narrow", "tools/call", "add", check=False)
        assert done.returncode == 1
        assert f"[{running.config}:" in done.stdout
        assert "servers.narrow.tools.allow]" in done.stdout
        report = json.loads(
            running.do("rules", "--explain", "owner", "narrow", "tools/call", "echo", "--json").stdout
        )
        assert (report["allowed"], report["error"], report["tool"]) == (True, None, "echo")
        [allowed] = [step for step in report["steps"] if step["step"] == "tools of servers.narrow"]
        line = running.config.read_text().splitlines()[allowed["line"] - 1]
        assert (allowed["key"], "allow" in line, allowed["file"]) == (
            "servers.narrow.tools.allow",
            True,
            str(running.config),
        )
    assert isinstance(running, Daemon)
    after = running.do("rules", "--explain", "owner", "narrow", "tools/call", "add", check=False)
    assert after.stdout == done.stdout
    listed = running.do("rules").stdout.splitlines()
    assert [one.partition(": ")[2] for one in listed] == [
        "servers.denied.tools.deny = add, th*",
        "servers.denied.features.deny = prompts",
        "servers.narrow.tools.allow = echo",
        "servers.shared.features.deny = tools",
    ]
    as_json = json.loads(running.do("rules", "--json").stdout)
    assert as_json[0]["key"] == "servers.denied.tools.deny"
    assert as_json[0]["value"] == ["add", "th*"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("owmer", "plain", "ping"), "there is no principal 'owmer'; did you mean 'owner'?"),
        (("owner", "plane", "ping"), "there is no server 'plane'; did you mean 'plain'?"),
        (("owner", "zzz", "ping"), "there is no server 'zzz'; there are plain, denied, narrow, shared"),
        (("owner", "plain"), "--explain needs PRINCIPAL SERVER METHOD"),
        (("owner", "plain", "ping", "echo"), "only tools/call takes a TOOL, not ping"),
        (("owner", "plain", "tool/call", "x"), "no method 'tool/call'; did you mean 'tools/call'?"),
    ],
)
def test_wrong_words_get_a_suggestion(running, words, text):
    done = running.do("rules", "--explain", *words, check=False)
    assert done.returncode == 64
    assert text in done.stderr
