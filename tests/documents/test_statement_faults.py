"""Each check of statements finds planted faults, and accepts what is right."""

import pytest

from . import statements
from .keys import default_of, found, statement_fault

CHECKS = {
    "lines": statements.line_faults,
    "programs": statements.program_faults,
    "options": statements.option_faults,
    "keys": statements.key_faults,
    "defaults": statements.default_faults,
    "exits": statements.exit_faults,
    "codes": statements.code_faults,
    "names": statements.name_faults,
    "events": statements.event_faults,
    "metrics": statements.metric_faults,
    "paths": statements.path_faults,
    "stored": statements.stored_faults,
    "targets": lambda document, text: statements.target_faults(document, text, {"test"}),
    "links": statements.link_faults,
}
PLANTED = [
    ("lines", "Run `mcp-bridge stauts`.", "stauts"),
    ("lines", "Run `mcp-bridge status --jsn`.", "--jsn"),
    ("lines", "Run `token neu editor`.", "neu"),
    ("lines", "In a container `podman exec NAME mcp-bridge statu`.", "statu"),
    ("programs", '.BR "mcp\\-bridge lgs" .', "lgs"),
    ("programs", '.RB ( "mcp\\-bridge connect \\-\\-az" );', "--az"),
    ("programs", "ExecStart=%h/.local/bin/mcp-bridge srve", "srve"),
    ("programs", 'HEALTHCHECK CMD ["/opt/bin/mcp-bridge", "status", "--jsn"]', "--jsn"),
    ("programs", "# `mcp-bridge dctor {{ $x }}` prints it", "dctor"),
    ("options", "`mcp-bridge status` has `--wite`.", "--wite"),
    ("options", "`mcp-bridge ps` has `--check-timer`.", "--check-timer"),
    ("keys", "Set `lissten.hosts = []`.", "lissten"),
    ("keys", 'Set `share = "everybody"`.', "share"),
    ("keys", "Set `limits.drain = 5`.", "limits.drain"),
    ("keys", "Set `[metrics] enable = true`.", "enable"),
    ("keys", "Set `[listen] hosts = 5`.", "hosts"),
    ("keys", "A table `[token.NAME]`.", "token.NAME"),
    ("keys", "The key `listen.host`.", "listen.host"),
    ("defaults", "The key `limits.drain_seconds` (default 4711).", "drain_seconds"),
    ("defaults", "Limited (`limits.notifications_per_second`, 4711; 0 is off).", "notifications_per_second"),
    ("exits", "The exit code is 66.", "66"),
    ("exits", "It exits with 77.", "77"),
    ("exits", "The exit status is 2.", "2"),
    ("codes", "The error -32055.", "-32055"),
    ("codes", "It gets 418.", "418"),
    ("codes", "| 421 Teapot | x |", "421"),
    ("names", "The reason `credential_wrnog`.", "credential_wrnog"),
    ("names", "The class `LocalSevrer`.", "LocalSevrer"),
    ("events", "The event `sesion_opened`.", "sesion_opened"),
    ("metrics", "The counter `mcp_bridge_request_total`.", "mcp_bridge_request_total"),
    ("metrics", "rate(mcp_bridge_requests_totals[5m])", "mcp_bridge_requests_totals"),
    ("paths", "See `tests/nowhere.py`.", "tests/nowhere.py"),
    ("paths", "See `tests/test_documents.py::test_nothing`.", "test_nothing"),
    ("stored", "It is in `$XDG_STATE_HOME/mcp-bridge/erass.json`.", "erass.json"),
    ("stored", "It is in `~/.config/mcp-bridge/conf.toml`.", "conf.toml"),
    ("targets", "Run `make tset`.", "tset"),
    ("targets", "Text:\n\n    make tset\n", "tset"),
    ("targets", "Run `make WALK_STEP=1 test`.", "WALK_STEP"),
    ("links", "[x](docs/NOWHERE.md)", "docs/NOWHERE.md"),
    ("links", "[x](README.md#no-such-heading)", "no-such-heading"),
    ("links", "# One\n\n[x](#two)", "two"),
]
RIGHT = [
    ("lines", "Run `mcp-bridge status --json | wc -c`, `token new NAME` and `logs [NAME] [-f]`."),
    (
        "programs",
        '.BR "mcp\\-bridge connect \\-\\-as" and `mcp-bridge logs {{ $x }}`\nExecStart=/x/mcp-bridge serve --config /etc/%i.toml',
    ),
    ("options", "`config import` has `--write`; `--port PORT` is of the wrapper."),
    (
        "keys",
        'Set `share = "principal"`, `[metrics] enabled = true`, `limits.free_heap_bytes = 0`, `tools.allow`.',
    ),
    ("keys", "The tables `[tokens.NAME]`, `[log]` and `[access_tokens.scopes.SCOPE]`."),
    ("defaults", "Limited (`limits.notifications_per_second`, 1000; 0 is off)."),
    ("exits", "The exit code is 78; it exits with 64. `make x` exits with 77."),
    ("codes", "The error -32602. It gets 401. | 421 Misdirected Request | x |"),
    ("names", "The reason `credential_wrong` and the class `LegacySession`."),
    ("events", "The event `session_opened`."),
    ("metrics", "rate(mcp_bridge_requests_total[5m])"),
    ("paths", "See `tests/test_documents.py::test_the_version_is_one` and `bridge/core/`."),
    ("stored", "It is in `$XDG_STATE_HOME/mcp-bridge/eras.json`."),
    ("targets", "Run `make test` and `make WALK_STEPS=1 test`."),
    ("links", "# One two\n\n[x](#one-two), [y](README.md#install), [z](https://example.com/)"),
]


@pytest.mark.parametrize(("check", "text", "word"), PLANTED)
def test_a_planted_fault_is_found(check, text, word):
    faults = CHECKS[check]("x.md", text)
    assert faults
    assert word in "\n".join(faults)


@pytest.mark.parametrize(("check", "text"), RIGHT)
def test_what_is_right_is_accepted(check, text):
    assert CHECKS[check]("x.md", text) == []


def test_each_check_has_both():
    assert {check for check, _, _ in PLANTED} == {check for check, _ in RIGHT} == set(CHECKS)


def test_a_variable_that_no_source_has_is_found():
    assert statements.variables_in("`MCP_BRIDGE_NAPP` and $XDG_STATE_HOME") == [
        "MCP_BRIDGE_NAPP",
        "XDG_STATE_HOME",
    ]
    assert "MCP_BRIDGE_NAPP" not in statements.sources()


@pytest.mark.parametrize(
    ("path", "default"),
    [("listen.http", "127.0.0.1:8808"), ("log.calls", False), ("limits.notifications_per_second", 1000)],
)
def test_a_key_has_its_default(path, default):
    assert default in default_of(path)


def test_a_key_of_a_table_that_the_user_names_is_found():
    assert found("servers.git.share")
    assert found('tool_rates."delete_*"')
    assert not found("servers.git.nothing")
    assert statement_fault('[servers.NAME] url = "..."') == ""
