"""The deployment checklist: its items, their states, and that the lines for what is not done do it."""

import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcpbridged.bridge.commands.doctor.checklist import (
    BY_DEFAULT,
    DONE,
    NOT_APPLICABLE,
    OPEN,
    STATES,
    Surroundings,
    checklist,
)
from mcpbridged.bridge.config import load, tables
from mcpbridged.validators.version import VERSION

from ....support.bridge_process import PROGRAM

# The checklist of the security policy of MCP Context Forge 0.3.1, "Security Checklist for Deployments": the beginning of each
# item, and its name here.
SEED = {
    "Disable features you are not using in production": "unused features",
    "Disable Admin UI and API in production": "admin UI and API",
    "Enable authentication for all endpoints": "authentication",
    "Configure TLS/HTTPS with valid certificates": "TLS",
    "Validate and vet all connected MCP servers": "vetted servers",
    "Implement network-level access controls": "network access",
    "Configure appropriate rate limits": "rate limits",
    "Set up comprehensive monitoring": "monitoring",
    "Review and customize validation rules": "validation rules",
    "Secure database connections": "database",
    "Secure Redis connections": "Redis",
    "Configure resource limits": "resource limits",
    "Implement proper secrets management": "secrets",
    "Set up structured logging": "structured logs",
    "Configure CORS policies": "CORS",
    "Disable debug mode and verbose error messages": "debug mode",
    "Implement backup and disaster recovery procedures": "backup",
    "Document incident response procedures": "incident response",
    "Set up log rotation and secure log storage": "log rotation",
    "Review container security settings": "container",
    "Ensure downstream applications implement": "downstream",
    "Keep the gateway updated to the latest version": "updates",
    "Regular security audits of connected MCP servers": "server audits",
    "Implement session timeout and token rotation": "timeouts, rotation",
    "Monitor and limit concurrent connections per client": "connections",
    "Set up security scanning in your CI/CD pipeline": "scanning in CI",
    "Review and restrict environment variable access": "environment",
}
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVER = '[servers.git]\ncommand = ["cat"]\n'
TOKEN = f'[tokens.ed]\nsha256 = "{"1" * 64}"\n'
# Nothing that a file can do is done in it.
BARE = f"""
[listen]
http = "127.0.0.1:0"
authenticate = false
[log]
level = "debug"
[admin]
enabled = true
{SERVER}env = {{ API_TOKEN = "abcdefgh", LANG = "C" }}
{TOKEN}"""
# The items that a line of the configuration, or a command in the test, changes.
OF_THE_FILE = {
    "unused features", "admin UI and API", "authentication", "vetted servers", "rate limits", "monitoring", "validation rules",
    "resource limits", "secrets", "structured logs", "debug mode", "log rotation", "timeouts, rotation",
}  # fmt: skip


def items_of(folder, text, **around):
    """Return the items of a configuration by name."""
    folder.chmod(0o700)
    file = folder / "config.toml"
    file.write_text(text)
    file.chmod(0o600)
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    around = {"now": NOW, "environment": environment, "state": folder / "state", **around}
    found = checklist(tables.read(file), load.plan(file, environment), Surroundings(**around))
    return {item.name: item for item in found}


def pasted(text, fix):
    """Return a configuration with a line pasted into its table, in place of a line with the same key, or of another key."""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    head = f"[{fix.table}]\n"
    if not any(part.startswith(head) for part in parts):
        parts.append(head)
    key = fix.line.partition(" = ")[0]
    return "".join(with_line(part, fix, key) if part.startswith(head) else part for part in parts)


def with_line(part, fix, key):
    """Return the lines of a table with the line of a fix."""
    head, *lines = part.splitlines()
    kept = [line for line in lines if line.partition(" = ")[0] != key]
    if fix.replaces:
        kept = [without(line, *fix.replaces.split(".")) for line in kept]
    return "\n".join([head, fix.line, *kept, ""])


def without(line, table, key):
    """Return the line of an inline table without a key."""
    return re.sub(rf'\b{key} = "[^"]*",? ?', "", line) if line.startswith(f"{table} = ") else line


def test_every_item_of_the_seed_is_there_in_its_order(tmp_path):
    items = items_of(tmp_path, SERVER)
    assert [*items] == [*SEED.values()]
    assert [item.number for item in items.values()] == [*range(1, 28)]
    assert {item.state for item in items.values()} <= {*STATES}
    assert all(item.why for item in items.values())
    assert all(bool(item.fixes) == (item.state == OPEN) for item in items.values())


def test_each_line_of_the_configuration_and_each_command_makes_its_item_done(tmp_path):
    text = BARE
    items = items_of(tmp_path, text)
    assert {name for name, item in items.items() if item.state == OPEN} == {*OF_THE_FILE, "server audits"}
    for name in OF_THE_FILE:
        for fix in items[name].fixes:
            if fix.table:
                text = pasted(text, fix)
                (tmp_path / "config.toml").write_text(text)
                continue
            words = shlex.split(fix.line)
            words[0] = str(PROGRAM) if words[0] == "mcp-bridge" else words[0]
            words += ["--config", str(tmp_path / "config.toml")] if words[0] == str(PROGRAM) else []
            subprocess.run(
                words,
                check=True,
                input=b"the secret",
                capture_output=True,
                env={**os.environ, "HOME": str(tmp_path)},
            )
            text = (tmp_path / "config.toml").read_text()
        assert items_of(tmp_path, text)[name].state in (DONE, BY_DEFAULT), (name, text)
    # All of them together are a valid configuration, with its secrets.
    (tmp_path / "config.toml").chmod(0o600)
    load.load(tmp_path / "config.toml", {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    done = items_of(tmp_path, text)
    assert {name for name, item in done.items() if item.state == OPEN} == {"server audits"}
    assert "API_TOKEN" not in re.findall(r"^env = .*", text, re.MULTILINE)[0]
    assert (tmp_path / "git-api_token").stat().st_mode & 0o777 == 0o600


def test_by_default_most_items_need_nothing(tmp_path):
    items = items_of(tmp_path, SERVER)
    by_default = {name for name, item in items.items() if item.state == BY_DEFAULT}
    assert by_default == {
        "admin UI and API", "authentication", "network access", "secrets", "CORS", "debug mode", "backup", "incident response",
        "timeouts, rotation", "connections", "environment",
    }  # fmt: skip
    assert {name for name, item in items.items() if item.state == NOT_APPLICABLE} == {
        "TLS", "database", "Redis", "container", "downstream", "updates", "scanning in CI"
    }  # fmt: skip
    assert VERSION in items["updates"].why


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("[features]\ndeny = ['prompts']\n" + SERVER, "unused features", "denied: prompts"),
        (SERVER + "features.deny = ['roots']\n", "unused features", "denied: roots"),
        (TOKEN, "authentication", "1 named token"),
        (SERVER + f"pin = 'sha256:{'1' * 64}'\n", "vetted servers", "each server is pinned"),
        ("[rates]\nserver = '5/second'\n" + SERVER, "rate limits", "server 5/second"),
        ("[listen]\nhttp = false\n", "network access", "only a Unix socket"),
        ("[listen]\nhttp = '0.0.0.0:1'\nhosts = ['a.example']\ntrusted_proxies = ['10.0.0.1']\n" + TOKEN, "network access", "trusted_proxies"),
        (SERVER + "argument_bytes = { '*' = 5 }\n", "validation rules", "have limits"),
        (SERVER + "rlimits = { as = 5 }\n", "resource limits", "each server has rlimits"),
        (SERVER + "secrets.KEY = '/x'\n", "secrets", "outside of the configuration"),
        ("[log]\nfile = '/x/log'\n", "log rotation", "/x/log has mode 0600"),
        ("[log]\nfile = '/x/log'\n[audit]\nfile = '/x/audit'\n", "log rotation", "/x/log and /x/audit have mode 0600"),
        ("[errors]\nstderr = 'never'\n", "debug mode", "no output of a server"),
        ("[listen]\norigins = ['http://a.example']\n", "CORS", "only these origins: http://a.example"),
        (f"{TOKEN}expires = 2030-01-31T00:00:00Z\n", "timeouts, rotation", "each named token has an end"),
        (SERVER + "pass_env = ['LANG']\n", "environment", "git (LANG)"),
    ],
)  # fmt: skip
def test_what_the_configuration_does_is_done(tmp_path, text, name, why):
    item = items_of(tmp_path, text)[name]
    assert item.state == DONE
    assert why in item.why


def test_tls_depends_on_who_can_reach_the_port(tmp_path):
    assert "only a Unix socket" in items_of(tmp_path, "[listen]\nhttp = false\n")["TLS"].why
    proxied = "[listen]\nhttp = '0.0.0.0:1'\nhosts = ['a.example']\ntrusted_proxies = ['10.0.0.1']\n" + TOKEN
    assert "reverse proxies" in items_of(tmp_path, proxied)["TLS"].why
    tls = (
        "[listen]\nhttp = '0.0.0.0:7'\nhosts = ['a.example']\ntls_cert = 'c.pem'\ntls_key = 'k.pem'\n" + TOKEN
    )
    items = items_of(tmp_path, tls)
    assert (items["TLS"].state, items["network access"].state) == (DONE, OPEN)
    assert [fix.line for fix in items["network access"].fixes] == ['http = "127.0.0.1:7"']
    items = items_of(tmp_path, pasted(tls, items["network access"].fixes[0]))
    assert items["network access"].state == BY_DEFAULT
    mutual = tls.replace("tls_cert", "tls_client_ca = 'a.pem'\ntls_client_cert = 'required'\ntls_cert")
    assert "client certificate" in items_of(tmp_path, mutual)["network access"].why


def test_remote_servers_have_no_pin_and_no_process(tmp_path):
    items = items_of(
        tmp_path, "[servers.far]\nurl = 'https://far.example/mcp'\nsecret_headers = { X-Api-Key = '/k' }\n"
    )
    assert items["vetted servers"].state == NOT_APPLICABLE
    assert items["resource limits"].state == DONE
    assert items["secrets"].state == DONE


def test_a_disabled_server_needs_nothing(tmp_path):
    items = items_of(tmp_path, SERVER + "enabled = false\nenv = { API_TOKEN = 'abcdefgh' }\n")
    assert items["secrets"].state == BY_DEFAULT
    assert items["resource limits"].state == DONE


@pytest.mark.parametrize(
    ("around", "name", "state"),
    [
        ({"unit": True}, "resource limits", DONE),
        ({"limited": True}, "resource limits", DONE),
        ({"unit": True}, "log rotation", DONE),
        ({"environment": {"JOURNAL_STREAM": "8:1"}}, "log rotation", DONE),
        ({"timer": True}, "server audits", DONE),
        ({"timer": False}, "server audits", OPEN),
        ({"container": True, "is_root": True}, "container", OPEN),
        ({"container": True, "is_root": True, "writable": False}, "container", OPEN),
        ({"container": True}, "container", OPEN),
        ({"container": True, "writable": False}, "container", DONE),
    ],
)
def test_the_surroundings_count(tmp_path, around, name, state):
    assert items_of(tmp_path, SERVER, **around)[name].state == state


def test_what_the_container_has_is_named(tmp_path):
    why = items_of(tmp_path, SERVER, container=True, is_root=True)["container"].why
    assert "root and a writable file system" in why
    why = items_of(tmp_path, SERVER, container=True, is_root=True, writable=False)["container"].why
    assert "the container has root; " in why


def test_the_end_of_a_token_is_in_the_future(tmp_path):
    [fix] = items_of(tmp_path, TOKEN)["timeouts, rotation"].fixes
    assert (fix.table, fix.line) == ("tokens.ed", "expires = 2030-04-02T03:04:05Z")


def test_the_state_directory_may_have_spaces(tmp_path):
    command, line = items_of(tmp_path, SERVER, state=Path("/a b"))["log rotation"].fixes
    assert command.line == "install -d -m 700 '/a b'"
    assert line.line == 'file = "/a b/audit.jsonl"'
