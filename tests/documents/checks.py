"""What a block of code must be for its use. Each check returns the faults as texts, so that tests can plant some."""

import configparser
import json
import re
import tomllib
from pathlib import Path

import yaml

from mcpbridged.bridge.config import load
from mcpbridged.bridge.config.content import DEFAULT_SCHEMES
from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.bridge.core.schema_checks import OFF, REFUSE, SchemaChecks, ToolSchemas
from mcpbridged.bridge.core.text_checks import TextChecks, TextModes
from mcpbridged.bridge.runtime.message_gate import MessageGate
from mcpbridged.transports.counted_events import CountedEvents
from mcpbridged.validators.jsonrpc import Request, Response
from mcpbridged.validators.rejection import Rejection

from ..support.command_lines import commands_in, logical_lines, usage_fault
from ..support.documents import ROOT, Block
from ..support.make_targets import make_targets
from . import uses
from .keys import default_of

# Paths of the bridge, which an entry of a client may name.
PATHS = re.compile(r"(?:/servers/[\w-]+|/aggregates/[\w-]+)?/(?:mcp|sse|ws)")
_ENVIRONMENT = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/me", "PATH": "/usr/bin:/bin"}


def faults_of(block: Block, use: uses.Use, folder: Path) -> list[str]:
    """Return the faults of a block that is not run by test_runs.py."""
    match use:
        case uses.Config(servers, more):
            return config_faults(block.text, servers, more, folder)
        case uses.Commands(reason):
            return _unknown(reason) + command_faults(block.text)
        case uses.Targets(reason):
            return _unknown(reason) + target_faults(block.text)
        case uses.Proof():
            return proof_faults(block, use)
        case uses.Json():
            return entry_faults(block.text)
        case uses.Jobs():
            return job_faults(block.text)
        case uses.Unit(name):
            return unit_faults(block.text, (ROOT / "systemd" / name).read_text())
        case uses.Text(check):
            return [] if TEXTS[check]() == block.text.strip() else [f"the program prints: {TEXTS[check]()}"]
        case uses.Map():
            return map_faults(block.text)
        case uses.Default(key):
            return default_faults(block.text, key)
        case uses.Run():
            return []


def _unknown(reason: str) -> list[str]:
    return [] if reason in uses.REASONS else [f"there is no reason {reason!r}"]


def config_faults(text: str, servers: tuple[str, ...], more: str, folder: Path) -> list[str]:
    """Return what the loader reports about a part of a configuration, beside these servers."""
    # "..." stands for the hash of a token.
    whole = text.replace('sha256 = "..."', f'sha256 = "{"0" * 64}"') + f"\n{more}\n"
    whole += "".join(f'[servers.{name}]\ncommand = ["true"]\n' for name in servers)
    try:
        load.plan_text(whole, folder / "config.toml", _ENVIRONMENT)
    except BadConfig as fault:
        return str(fault).splitlines()
    return []


def command_faults(text: str) -> list[str]:
    """Return the lines that the parser of the program refuses, and those without a command of mcp-bridge."""
    faults = []
    for line in logical_lines(text):
        commands = commands_in(line)
        if not commands:
            faults.append(f"{line}: there is no command of mcp-bridge")
        faults += [fault for command in commands if (fault := usage_fault(command))]
    return faults


_MODULE = re.compile(r"-m (tests\.[\w.]+)")
_FILE = re.compile(r"(?<![\w/.])((?:tests|benchmarks|examples|bridge|transports|validators)/[\w./-]+)")


def target_faults(text: str) -> list[str]:
    """Return what does not exist: make targets, files, modules, and options of programs of this repository."""
    faults = []
    for line in logical_lines(text):
        words = line.split("#")[0].split()
        if words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word and not word.startswith('"')]
            faults += [
                f"{line}: there is no target {word}" for word in targets[:1] if word not in make_targets()
            ]
            makefile = (ROOT / "Makefile").read_text()
            variables = re.findall(r"\b([A-Z_]+)=", line)
            faults += [
                f"{line}: there is no variable {name}" for name in variables if f"$({name})" not in makefile
            ]
            continue
        files = _FILE.findall(line) + [f"{name.replace('.', '/')}.py" for name in _MODULE.findall(line)]
        faults += [f"{line}: there is no file {name}" for name in files if not (ROOT / name).exists()]
        programs = [name for name in files if name.endswith(".py") and "pytest" not in line]
        faults += option_faults(line, programs)
        if not files and not words[0].startswith(".venv/bin/"):
            faults.append(f"{line}: this is no program of the repository")
    return faults


def option_faults(line: str, programs: list[str]) -> list[str]:
    """Return the options of a line that no program of these has in its source."""
    source = "".join((ROOT / name).read_text() for name in programs if (ROOT / name).exists())
    options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line) if programs else []
    return [
        f"{line}: there is no option {name}" for name in options if not re.search(rf"[\"'\[]{name}\b", source)
    ]


def proof_faults(block: Block, use: uses.Proof) -> list[str]:
    """Return what a proof lacks: its test or target, its reason, and the marker or options of the block in its source."""
    faults = _unknown(use.reason) if use.reason else []
    if use.by.startswith("make "):
        if use.by[5:] not in make_targets():
            faults.append(f"there is no target {use.by}")
    else:
        file, _, name = use.by.partition("::")
        text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
        if not re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE):
            faults.append(f"there is no test {use.by}")
    if use.source:
        place = ROOT / use.source
        files = [place] if place.is_file() else sorted(place.glob("*.py"))
        source = "".join(file.read_text() for file in files)
        marker = re.fullmatch(r"<!-- (?:run|built): (\S+) -->", block.before)
        wanted = [marker[1]] if marker else re.findall(r"--[a-z-]+(?:=[a-z-]+)?", block.text)
        faults += [
            f"{use.source} has no {word}"
            for word in wanted
            if not re.search(rf"(?<![\w-]){re.escape(word)}\b", source)
        ]
        if not wanted:
            faults.append("the block has no marker and no options")
    return faults


def entry_faults(text: str) -> list[str]:
    """Return the faults of an entry for a client: its JSON, its command line, and the path of its URL."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as fault:
        return [str(fault)]
    entries = whole.get("mcpServers") or whole.get("servers") or {}
    faults = [] if entries else ["there is no server"]
    for name, entry in entries.items():
        if "url" in entry:
            found = re.fullmatch(r"https?://[\w.:-]+(/.*)", entry["url"])
            if not found or not PATHS.fullmatch(found[1]):
                faults.append(f"{name}: {entry['url']} has no path of the bridge")
            if not entry.get("headers", {}).get("Authorization", "").startswith("Bearer "):
                faults.append(f"{name}: there is no Bearer token")
        else:
            line = " ".join([entry["command"], *entry["args"]])
            faults += [
                fault
                for command in (commands_in(line) or [""])
                if (fault := usage_fault(command or "mcp-bridge nothing"))
            ]
    return faults


_JOB = {
    "job_name",
    "scrape_interval",
    "authorization",
    "static_configs",
    "metrics_path",
    "scheme",
    "tls_config",
}


def job_faults(text: str) -> list[str]:
    """Return the faults of a part of the configuration of Prometheus."""
    jobs = yaml.safe_load(text)["scrape_configs"]
    faults = [f"there is no key {key}" for job in jobs for key in set(job) - _JOB]
    for job in jobs:
        if job.get("metrics_path", "/metrics") != "/metrics":
            faults.append(f"the path is {job['metrics_path']}")
        faults += [
            f"there is no key {key} in authorization"
            for key in set(job["authorization"]) - {"type", "credentials", "credentials_file"}
        ]
    return faults


def unit_faults(text: str, unit: str) -> list[str]:
    """Return the settings of a drop-in that the unit does not have."""
    drop_in, whole = (configparser.ConfigParser(strict=False, interpolation=None) for _ in range(2))
    for parser, content in ((drop_in, text), (whole, unit)):
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(content)
    return [
        f"the unit has no {key} in [{section}]"
        for section in drop_in.sections()
        for key in drop_in[section]
        if not whole.has_option(section, key)
    ]


def map_faults(text: str) -> list[str]:
    """Return the folders and modules of a drawing that do not exist."""
    paths = re.findall(r"\b(?:bridge|transports|validators)/[\w/]+|\bdaemon/\w+", text)
    if not paths:
        return ["there is no path"]
    return [
        f"there is no {path}"
        for path in paths
        if not any(
            (ROOT / folder / name).exists() for folder in ("", "bridge") for name in (path, f"{path}.py")
        )
    ]


def default_faults(text: str, key: str) -> list[str]:
    """Return a fault if the text is not the default of a key, also one that is used for an empty value."""
    written = tomllib.loads(text)
    known = [list(value) for value in (*default_of(key), DEFAULT_SCHEMES) if value]
    return [] if list(written) == [key] and written[key] in known else [f"{key} is {known} by default"]


# ---- texts of the program


class _Log:
    def info(self, event, **fields):
        pass

    debug = warning = error = info


def _arguments() -> str:
    checks, tools = SchemaChecks(REFUSE, OFF, lambda _: None), ToolSchemas()
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    listed = json.dumps({"tools": [{"name": "read_file", "inputSchema": schema}]}).encode()
    checks.on_list(tools, Response(b"1", listed, b""))
    request = Request(b"2", "tools/call", b'{"name":"read_file","arguments":{"path":1}}')
    found = checks.on_call(tools, request, "read_file", "2025-11-25")
    return json.loads(bytes(found.result))["content"][0]["text"]


def _scheme() -> str:
    checks = TextChecks(TextModes(schemes=REFUSE), "web", lambda _: None)
    link = {"type": "resource_link", "name": "x", "uri": "javascript:alert(1)"}
    refused = checks.on_response("draw", Response(b"1", json.dumps({"content": [link]}).encode(), b""))
    return json.loads(bytes(refused.error))["message"]


def _message() -> str:
    request = Request(b"1", "tools/call", b'{"name":"a","arguments":"x"}')
    try:
        MessageGate(CountedEvents(_Log())).from_client(request, "2025-11-25")
    except Rejection as refused:
        return refused.text
    return "nothing"


# Key: the check of a `Text`. Value: a function that makes the text with the values of the document.
TEXTS = {"arguments": _arguments, "scheme": _scheme, "message": _message}
