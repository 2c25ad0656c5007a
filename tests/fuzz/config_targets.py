"""The configuration file, and files of other clients that are imported."""

import json
import tomllib
from pathlib import Path

from mcpbridged.bridge.config.import_clients import BadImport, Import, Origin, import_servers
from mcpbridged.bridge.config.import_variables import Surroundings
from mcpbridged.bridge.config.load import plan_text
from mcpbridged.bridge.config.tables import BadConfig, parse

from .target import Target, holds, same

_FILE = Path("/nonexistent/mcp-bridge.toml")
_ENVIRONMENT = {"HOME": "/nonexistent", "PATH": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
_FIXTURES = Path(__file__).parents[1] / "bridge/config/fixtures"


def configuration(data: bytes) -> None:
    """A configuration file: settings, or BadConfig with a text that a terminal can show."""
    try:
        file = parse(data)
    except BadConfig as fault:
        _check(fault)
        return
    same("servers", {*file.servers}, {*tomllib.loads(data.decode()).get("servers", {})})
    try:
        settings = plan_text(data.decode(), _FILE, _ENVIRONMENT)
    except BadConfig as fault:
        _check(fault)
        return
    enabled = {name for name, server in file.servers.items() if server.enabled}
    holds("a server is missing", enabled <= {server.name for server in settings.servers})


def _check(fault: BadConfig) -> None:
    holds("an error has no text", fault.faults and all(one.text for one in fault.faults))
    text = str(fault)
    holds(
        f"an error has control characters: {text!r:.300}",
        all(one.isprintable() or one == "\n" for one in text),
    )


_WHOLE = b"""version = 1
validate = "strict"
approval = true
[listen]
http = "127.0.0.1:8808"
token = "env:TOKEN"
hosts = ["h.example"]
trusted_proxies = ["10.0.0.0/8"]
[limits]
body = 1000
call_seconds = 30.5
[log]
level = "debug"
format = "json"
[tokens.ci]
secret = "file:/nonexistent/t"
servers = ["a"]
[servers.a]
command = ["/nonexistent/a", "${HOME}"]
cwd = "~"
share = "principal"
env = {A = "b"}
sandbox = "strict"
[servers.b]
url = "https://h.example/mcp"
headers = {X-A = "b"}
[servers.b.oauth]
scopes = ["a"]
[aggregate]
servers = ["a"]
"""


def configuration_seeds():
    yield b""
    yield _WHOLE
    for table in _WHOLE.split(b"\n["):
        yield table if table.startswith(b"version") else b"[" + table
    yield b'[servers.a]\ncommand = ["/nonexistent/a"]\n'
    yield b'[servers.a]\ncommand = ["a"]\nurl = "http://x"\n'
    yield b'[servers."\\u001b[1m"]\ncommand = ["a"]\n'
    yield b'[log]\nlevel = "\\u001b"\n[limits]\nbody = -1\nnone = nan\n'
    yield b"a = " + b"[" * 300
    yield b"a = 1\na = 2\n"
    yield b"\xff"
    yield b"a = 1979-05-27T07:32:00Z\n[[servers]]\n"


def imports(data: bytes) -> None:
    """The file of another client: every result is a valid configuration, and a second import adds nothing."""
    text = data.decode(errors="surrogateescape")
    for suffix in ("", ".json", ".toml", ".yaml"):
        origin = Origin(None, suffix, Surroundings(home="/home/me"))
        into = Import()
        try:
            import_servers(text, into, origin)
        except BadImport as fault:
            holds("an error has no text", str(fault))
            continue
        parse(into.toml.encode())
        same("servers of the import", {*into.added}, {*tomllib.loads(into.toml).get("servers", {})})
        again = Import(tables=into.tables, origins=into.origins)
        import_servers(text, again, origin)
        same("servers of a second import", again.added, [])


def imports_seeds():
    for file in sorted(_FIXTURES.iterdir()):
        if file.stat().st_size < 4096:
            yield file.read_bytes()
    yield b""
    yield json.dumps(
        {"mcpServers": {"a b": {"command": "npx", "args": ["-y", 1, None], "env": {"API_KEY": "s"}}}}
    ).encode()
    yield json.dumps(
        {"servers": {"\x1b": {"url": "https://u:p@h/${input:x}", "headers": {"Authorization": "Bearer x"}}}}
    ).encode()
    yield b'{"mcpServers":{"x":{"command":"a","transport":{"type":"stdio"},"disabled":true}}, // c\n}'
    yield b"mcpServers:\n  - name: &a x\n    command: *a\n"
    yield b"extensions:\n  x:\n    type: stdio\n    cmd: a\n    envs: {A: b}\n"
    yield b'[mcp_servers.x]\ncommand = "a"\nargs = ["b"]\n'
    yield b'{"mcpServers":' + b"[" * 500


TARGETS = (
    Target("configuration", configuration, configuration_seeds),
    Target("imports", imports, imports_seeds),
)
