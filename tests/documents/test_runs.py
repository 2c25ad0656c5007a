"""The commands of the documents are run, in order, in a temporary home directory, with the real program and real servers."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.command_lines import filled, logical_lines
from ..support.documents import read, spans_of
from . import uses
from .home import Home
from .test_blocks import PAIRS

SERVERS = Path(__file__).with_name("servers.py")
NAMED = ("git", "search", "charts", "docs")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def blocks_of(world):
    """Return the blocks that are run in a world, in the order of the documents."""
    found = [block for block, use in PAIRS if isinstance(use, uses.Run) and use.world == world]
    wanted = [begin for known in uses.WRITTEN.values() for begin, use in known if use == uses.Run(world)]
    assert len(found) == len(wanted)
    return found


@pytest.fixture
def home(tmp_path_factory):
    # The path of a Unix socket is limited to 107 bytes.
    with Home(tmp_path_factory.mktemp("h")) as made:
        yield made


def test_each_world_is_one_of_these_tests():
    worlds = {use.world for _, use in PAIRS if isinstance(use, uses.Run)}
    assert worlds == {"daemon", "wrapper", "page", "aggregates", "audit", "commands"}


# ---- README: the daemon, and the table of commands

# What stands for a value in the table of commands.
VALUES = {
    "NAME": "time",
    "TOOL": "echo",
    "KEY=VALUE...": "text=hi",
    "CLIENT": "cursor",
    "SHELL": "bash",
    "URL": "http://127.0.0.1:8808/servers/time/mcp",
}
# Commands of the table that need more than a name, with a line that has it. An empty line is run elsewhere, for the reason.
INSTEAD = {
    "init": "XDG_CONFIG_HOME=$HOME/other mcp-bridge init",
    "serve": "",  # has been run above
    "service install": "",  # needs a service manager
    "add": "mcp-bridge add again -- uvx mcp-server-time",
    "remove": "mcp-bridge remove again",
    "enable": "mcp-bridge enable time",
    "disable": "mcp-bridge disable time && mcp-bridge enable time",
    "edit": "EDITOR=true mcp-bridge edit",
    "prompt": "mcp-bridge prompt --help",
    "read": "mcp-bridge read --help",
    "prompts": "mcp-bridge prompts time",
    "resources": "mcp-bridge resources time",
    "admin": "mcp-bridge admin --help",  # test_page has the page
    "connect URL": "",  # needs a token file; the lines of mcp-bridge-connect(1) have it
    "login NAME": "",  # needs an authorization server
    "logout NAME": "",
    "tap [NAME]": "",  # the lines of mcp-bridge(1) follow messages
    "logs [NAME] [-f]": "mcp-bridge logs time",
    "token new NAME": "mcp-bridge token new editor",
    "token revoke NAME": "mcp-bridge token revoke editor",
    "config import CLIENT": "mcp-bridge config import --all",
    "--write": "",
    "--explain": "mcp-bridge rules --explain owner time tools/call echo",
    "/admin": "",
}
# Lines whose exit code depends on what they find, or on this machine.
CODES = {"mcp-bridge doctor": (0, 1), "mcp-bridge check time": (0, 1), "mcp-bridge check --all": (0, 1)}


def rows_of_commands():
    """Return the commands in the first column of the table of commands, and those that its second column adds."""
    return [
        span.text
        for span in spans_of("README.md", read("README.md"))
        if span.section == "Commands" and span.paragraph.startswith("|")
    ]


def test_the_first_five_minutes_and_every_command_of_the_readme(home):
    first, *others = blocks_of("daemon")
    assert not others
    add, *later = logical_lines(first.text)
    home.type(add)
    # The comment of the line names the file.
    assert "mcp-server-time" in (home.folder / re.findall(r"# writes ~/(\S+)", add)[0]).read_text()
    home.write(home.config.read_text())
    for line in later:
        home.type(line)
    assert any(":" in line and "/servers/time/mcp" in line for line in home.running.lines)
    rows = rows_of_commands()
    assert set(INSTEAD) - set(rows) == set()
    for row in rows:
        line = INSTEAD.get(row, f"mcp-bridge {row}")
        for name, value in VALUES.items():
            line = line.replace(name, value)
        if line:
            home.type(filled(line), CODES.get(line, (0,)))
    assert {"mcp-bridge status", "mcp-bridge approve time", "mcp-bridge config schema"} <= set(home.typed)


# ---- README and manuals: one server, Claude Code and curl


@needs_curl
def test_the_wrapper_and_the_lines_of_its_clients(home):
    (home.outside / "server.py").write_text(Path(EXAMPLE[1]).read_text())
    (home.folder / "token").write_text("x")
    exported = ""
    for block in blocks_of("wrapper"):
        for line in logical_lines(block.text):
            if line.startswith("export "):
                exported = f"{line.replace('...', 'a-key')}; "
            elif line.startswith("mcp-bridge --"):
                home.start(line, exported)
            elif line.startswith("mcp-bridge connect"):
                if "127.0.0.1" in line:
                    home.start("mcp-bridge --stdio 'uvx some-server'")
                    assert home.type(line) == ""
            else:
                output = home.type(line)
                if line.startswith("curl"):
                    assert '"protocolVersion":"2025-11-25"' in output.replace(" ", "")
    words = (home.folder / "claude").read_text().split("\n")
    assert words[:5] == ["mcp", "add", "--transport", "http", "example"]
    token = (home.folder / ".local/state/mcp-bridge/token").read_text().strip()
    assert words[6:8] == ["--header", f"Authorization: Bearer {token}"]


# ---- docs/ADMIN.md and docs/AGGREGATES.md


def servers_of(*names):
    """Return tables of servers that have the tools, prompts and resources of the documents."""
    return "".join(
        f"[servers.{name}]\ncommand = {json.dumps([sys.executable, str(SERVERS), name])}\n" for name in names
    )


@needs_curl
def test_the_page_is_switched_on_as_its_document_describes(home):
    table, request = blocks_of("page")
    home.write(servers_of("git"))
    home.type("mcp-bridge serve")
    assert home.shell(request.text).stdout.find('"status"') == -1
    home.write(servers_of("git") + table.text)
    for line in [
        span.text
        for span in spans_of("docs/ADMIN.md", read("docs/ADMIN.md"))
        if span.text.startswith("mcp-bridge ") and span.section == "Open it"
    ]:
        if "--open" not in line and "rotate" not in line:
            home.type(line)
    state = json.loads(home.type(request.text))
    assert {"status", "sessions", "calls", "tokens", "actions"} <= set(state)


def test_an_aggregate_is_used_as_its_document_describes(home):
    tables, commands = blocks_of("aggregates")
    home.write(tables.text)
    home.type("mcp-bridge serve")
    outputs = [home.type(line) for line in logical_lines(commands.text)]
    assert "git__echo" in outputs[0]
    assert "time__echo" in outputs[0]
    assert json.loads(outputs[2][outputs[2].index("{") :])["mcpServers"]


# ---- docs/EVENTS.md


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_the_commands_find_events_in_an_audit_file(home):
    [block] = blocks_of("audit")
    events = [json.loads(found.text) for found, use in PAIRS if use is uses.EVENTS]
    events.append({**next(event for event in events if event["event"] == "call"), "principal": "ci"})
    (home.outside / "audit.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    for line in logical_lines(block.text):
        if not line.startswith("journalctl "):
            assert home.type(line).strip(), line
    names = {event["event"] for event in events}
    fields = {field for event in events for field in event}
    programs = "".join(line for line in block.text.splitlines() if "jq" in line or line.startswith("  |"))
    assert set(re.findall(r"(?<![\w)])\.([a-z_]+)", programs)) - fields == set()
    assert set(re.findall(r'\.event == "(\w+)"', programs)) - names == set()
    [pattern] = re.findall(r"grep -E '([^']+)'", block.text)
    assert set(pattern.split("|")) <= names
    [listed] = re.findall(r"IN\(([^)]+)\)", block.text)
    assert set(json.loads(f"[{listed}]")) <= names


# ---- mcp-bridge(1)


def test_the_examples_of_the_manual_are_run(home):
    (home.outside / "notes.txt").write_text("a note")
    home.write(servers_of(*NAMED))

    def stir():
        home.shell("mcp-bridge call git git_log repo_path=/x")

    outputs = {}
    for block in blocks_of("commands"):
        for line in logical_lines(block.text):
            client = "claude-code" in line
            outputs[line] = home.type(line, stir=call_as_claude(home) if client else stir)
    assert "git_log" in outputs["mcp-bridge tools git"]
    [call] = [line for line in outputs if line.startswith("mcp-bridge call git ")]
    assert json.loads(outputs[call]) == {"repo_path": "/home/me/src", "max_count": 1}
    [nested] = [line for line in outputs if line.startswith("mcp-bridge call search ")]
    assert json.loads(outputs[nested]) == {
        "query": "trio",
        "filter": {"year": 2026},
        "tags": ["async", "python"],
        "text": "a note",
    }
    assert (home.outside / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "Review main." in outputs["mcp-bridge prompt git review branch=main"]
    assert "The index." in outputs["mcp-bridge read docs docs://index"]
    assert "mcpb_" in outputs["mcp-bridge token new editor --servers git"]


def call_as_claude(home):
    """Return a function that calls a tool as a client with the name claude-code."""
    about = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "claude-code", "version": "1"},
    }
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "git_log", "arguments": {}}},
    ]
    (home.outside / "calls").write_text("".join(f"{json.dumps(message)}\n" for message in messages))

    def stir():
        home.shell("mcp-bridge connect git <calls")

    return stir
