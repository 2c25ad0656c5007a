"""Find the servers in the configuration of another client: each client has a form of its own. Pure.

The form is found by its content, and the client by its file or, without one, by keys that only it has.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, cast

import attrs

from .import_entry import Entry, entry_of, flattened
from .import_json import read_json
from .import_registry import is_registry, registry_entries
from .import_sources import CLIENTS, REGISTRY, Client
from .import_texts import (
    BadImport,
    LeftOut,
    NoServers,
    as_object,
    listed,
    object_in,
    objects_in,
    shown_name,
    texts_in,
)
from .import_yaml import read_yaml

_NO_SERVERS: Final = "no servers found: the file has none, or its form is not known"
# Extensions of Goose that are part of Goose.
_BUILT_IN: Final = frozenset({"builtin", "platform", "frontend", "inline_python"})


@attrs.define
class Source:
    """The servers of a file by name, or the reason why one is left out.

    `notes` are differences that concern no single server, `skipped` the names of parts of the client that are no servers.
    `inputs` are the defaults of inputs that are no passwords.
    """

    client: Client
    servers: list[tuple[str, "Entry | LeftOut"]] = attrs.field(factory=list[tuple[str, "Entry | LeftOut"]])
    notes: list[str] = attrs.field(factory=list[str])
    skipped: list[str] = attrs.field(factory=list[str])
    inputs: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)

    def add(self, name: str, given: object, project: str = "") -> "Entry | None":
        """Add a server, and return it; None if it is left out."""
        try:
            entry = entry_of(as_object(given, "it is not an object"), self.client.timeout, project)
        except LeftOut as reason:
            self.servers.append((name, reason))
            return None
        self.servers.append((name, entry))
        return entry


def read_source(text: str, suffix: str = "", client: Client | None = None, switches: str = "") -> Source:
    """Return the servers of a text. `suffix` is that of the file. Raises BadImport.

    `switches` is the text of the file of the client that switches servers off; empty if there is none.
    """
    top = _parsed(text, suffix, client)
    if is_registry(top):
        source = Source(client or REGISTRY)
        source.servers += registry_entries(top)
        return source
    client = client or _guessed(top)
    source = Source(client)
    for reader in (_read_vscode_inputs, *_READERS):
        reader(top, source)
    if switches.strip():
        _apply_switches(read_json(switches), source)
    if not source.servers and not source.skipped:
        raise NoServers(_NO_SERVERS)
    return source


def _parsed(text: str, suffix: str, client: Client | None) -> dict[str, Any]:
    """Return the object of a text in TOML, JSON or YAML."""
    plain = text.removeprefix("\ufeff")
    first = plain.lstrip()[:2]
    if suffix == ".toml" or (not suffix and client is not None and client.name == "codex"):
        return _read_toml(plain)
    if suffix in (".yaml", ".yml"):
        return read_yaml(plain)
    # Neither a table of TOML nor a flow sequence of YAML is an object.
    if suffix in (".json", ".jsonc") or first[:1] == "{" or first in ("//", "/*") or not first:
        return read_json(text)
    if re.search(r"^\s*\[+[^\]\n]+\]\s*(?:#.*)?$", plain, re.MULTILINE):
        return _read_toml(plain)
    if re.search(r"^[\w\"'-]+\s*:(?:\s|$)", plain, re.MULTILINE):
        return read_yaml(plain)
    return read_json(text)


def _read_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise BadImport(f"not valid TOML: {fault}") from None
    except (RecursionError, ValueError):
        raise BadImport("the TOML is nested too deeply, or has a number with too many digits") from None


def _guessed(top: Mapping[str, Any]) -> Client:
    """Return the client that has these keys; Claude Desktop for keys that many have."""
    entries = [*objects_in(top.get("mcpServers")).values()]

    def has(*keys: str) -> bool:
        return any(key in entry for entry in entries for key in keys)

    marks = {
        "zed": "context_servers" in top,
        "codex": "mcp_servers" in top,
        "goose": "extensions" in top and not isinstance(top.get("mcpServers"), dict),
        "continue": isinstance(top.get("mcpServers"), list),
        "opencode": any(one.get("type") in ("local", "remote") for one in _opencode(top).values()),
        "crush": any(one.get("type") in ("stdio", "http", "sse") for one in _opencode(top).values()),
        "vscode": isinstance(top.get("servers"), dict) or "inputs" in top,
        "claude-code": "projects" in top or has("headersHelper"),
        "gemini": has("httpUrl", "includeTools", "excludeTools", "trust"),
        "windsurf": has("serverUrl"),
        "cline": has("autoApprove", "alwaysAllow", "transportType")
        or any(isinstance(entry.get("transport"), dict) for entry in entries),
    }
    return CLIENTS[next((name for name, found in marks.items() if found), "claude-desktop")]


# ---- readers, each of one part


def _read_vscode_inputs(top: dict[str, Any], source: Source) -> None:
    inputs: object = top.get("inputs", object_in(top, "mcp").get("inputs"))
    for one in cast("list[object]", inputs) if isinstance(inputs, list) else []:
        given = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name, default = given.get("id"), given.get("default")
        if isinstance(name, str) and isinstance(default, str) and not given.get("password"):
            source.inputs[name] = default


def _read_servers(top: dict[str, Any], source: Source) -> None:
    """Read `mcpServers` and `servers`, at the top or in `mcp`: Claude, Cursor, Windsurf, VS Code, Cline and many others."""
    for holder in (top, object_in(top, "mcp")):
        for key in ("mcpServers", "servers"):
            servers = holder.get(key)
            if isinstance(servers, dict):
                for name, given in cast("dict[str, Any]", servers).items():
                    # Cline has the members of the connection in an object.
                    inner = object_in(given)
                    source.add(name, flattened(inner, "transport") if inner else given)
    settings = object_in(top, "mcp")
    _apply_gemini(settings.get("allowed"), settings.get("excluded"), source)
    # Older versions of Gemini CLI.
    _apply_gemini(top.get("allowMCPServers"), top.get("excludeMCPServers"), source)


def _apply_gemini(allowed: object, excluded: object, source: Source) -> None:
    """Apply the lists of servers of Gemini CLI: those that may be used, and those that may not."""
    some = cast("list[object]", allowed) if isinstance(allowed, list) else None
    others = cast("list[object]", excluded) if isinstance(excluded, list) else []
    for name, entry in source.servers:
        if isinstance(entry, Entry) and (name in others or (some is not None and name not in some)):
            entry.enabled = False
            entry.notes.append(
                "it is not among the servers that the client may use, and is written as disabled"
            )


def _apply_switches(top: dict[str, Any], source: Source) -> None:
    """Apply the file in which Copilot or Gemini CLI keeps what the user has switched off."""
    copilot = texts_in(top.get("disabledMcpServers")) or []
    gemini = [name for name, state in objects_in(top).items() if state.get("enabled") is False]
    for name, entry in source.servers:
        # Gemini CLI writes names in lower case.
        off = name.strip().lower() in gemini if source.client.name == "gemini" else name in copilot
        if isinstance(entry, Entry) and off:
            entry.enabled = False


def _read_projects(top: dict[str, Any], source: Source) -> None:
    """Read the servers of single projects in the file of Claude Code, which are its default."""
    for path, project in objects_in(top.get("projects")).items():
        before = {name for name, _ in source.servers}
        servers = project.get("mcpServers")
        for name, given in cast("dict[str, Any]", servers).items() if isinstance(servers, dict) else ():
            entry = source.add(name, given, path)
            if entry is not None:
                entry.notes.append(f"it comes from the project {shown_name(path)}")
                if name in (texts_in(project.get("disabledMcpServers")) or []):
                    entry.enabled = False
        off = sorted(before & {*(texts_in(project.get("disabledMcpServers")) or [])})
        if off:
            source.notes.append(
                f"{listed(map(shown_name, off))}: switched off in the project {shown_name(path)} only, which stays with the client"
            )


def _read_zed(top: dict[str, Any], source: Source) -> None:
    for name, given in objects_in(top.get("context_servers")).items():
        if "command" not in given and "url" not in given:
            source.skipped.append(name)
            source.notes.append(
                f"{shown_name(name)} is left out: an extension of Zed starts it, and the file does not have its command"
            )
            continue
        # Older versions have the command as an object.
        flat = flattened(given, "command")
        if "path" in flat:
            flat["command"] = flat.pop("path")
        source.add(name, flat)
    profiles = objects_in(object_in(top, "agent").get("profiles"))
    if any("context_servers" in profile for profile in profiles.values()):
        source.notes.append(
            "the tools that the profiles of Zed select are selected by Zed, also after the import"
        )


def _read_codex(top: dict[str, Any], source: Source) -> None:
    servers = top.get("mcp_servers")
    for name, given in cast("dict[str, Any]", servers).items() if isinstance(servers, dict) else ():
        source.add(name, given)


def _read_continue(top: dict[str, Any], source: Source) -> None:
    """Read the lists of Continue: `mcpServers` of config.yaml, and modelContextProtocolServers of config.json."""
    old = object_in(top, "experimental").get("modelContextProtocolServers")
    for servers in (top.get("mcpServers"), old):
        if not isinstance(servers, list):
            continue
        for number, given in enumerate(cast("list[object]", servers), 1):
            flat = flattened(cast("dict[str, Any]", given), "transport") if isinstance(given, dict) else given
            name = str(object_in(flat).get("name") or f"server-{number}")
            if "uses" in object_in(flat):
                source.servers.append(
                    (name, LeftOut("it is a block of the Continue hub, which the file only names"))
                )
                continue
            source.add(name, flat)


def _opencode(top: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the servers in `mcp` of opencode 1 and Crush, and in `mcp.servers` of opencode 2."""
    return {
        name: given
        for name, given in objects_in(top.get("mcp")).items()
        if isinstance(given.get("type"), str) or "enabled" in given
    }


def _read_opencode(top: dict[str, Any], source: Source) -> None:
    for name, given in _opencode(top).items():
        if given.keys() == {"enabled"}:
            source.skipped.append(name)
            source.notes.append(f"{shown_name(name)} is left out: the file only switches it on or off")
            continue
        source.add(name, given)
    _apply_opencode(top, source)


def _apply_opencode(top: Mapping[str, Any], source: Source) -> None:
    """Apply the switches for tools of opencode, whose names begin with the name of the server: `tools` and `permission`."""
    denied = [name for name, value in object_in(top, "tools").items() if value is False]
    rules = {"*": top["permission"]} if top.get("permission") == "deny" else object_in(top, "permission")
    # A rule is for all arguments, or a table of rules for some of them.
    denied += [name for name, rule in rules.items() if rule == "deny" or object_in(rule).get("*") == "deny"]
    partly = [
        name for name, rule in rules.items() if name not in denied and "deny" in object_in(rule).values()
    ]
    for name, entry in source.servers:
        if not isinstance(entry, Entry):
            continue
        prefix = f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}_"
        patterns: list[str] = []
        for pattern in denied:
            # The name of a tool follows the prefix.
            if fnmatchcase(f"{prefix}\0", pattern):
                entry.enabled = False
                entry.notes.append("its tools are denied, and it is written as disabled")
            elif pattern.startswith(prefix) and pattern != prefix:
                patterns.append(pattern.removeprefix(prefix))
        if patterns:
            entry.patterns = patterns
        entry.problems += [
            f"the permission {shown_name(rule)} denies some arguments, which is not supported"
            for rule in partly
            if rule.startswith(prefix) or fnmatchcase(f"{prefix}\0", rule)
        ]
    agents = objects_in(top.get("agent")).values()
    if any(agent.get(key) for agent in agents for key in ("tools", "permission")):
        source.notes.append(
            "the tools that the agents of opencode select are selected by opencode, also after the import"
        )


def _read_goose(top: dict[str, Any], source: Source) -> None:
    for key, given in objects_in(top.get("extensions")).items():
        flat = flattened(given, "config")
        if flat.get("type") in _BUILT_IN:
            source.skipped.append(key)
            source.notes.append(f"{shown_name(key)} is left out: it is a part of Goose")
            continue
        # An empty list of Goose allows all tools.
        source.add(key, {name: value for name, value in flat.items() if name != "available_tools" or value})


def _read_bundle(top: dict[str, Any], source: Source) -> None:
    """Read the manifest of an MCP bundle."""
    server = object_in(top, "server", "mcp_config")
    if server:
        source.add(
            str(top.get("name") or "server"),
            {key: server[key] for key in server if key != "platform_overrides"},
        )


def _read_bare(top: dict[str, Any], source: Source) -> None:
    """Read the map of servers without a key above it, as in the .mcp.json of a plugin."""
    found = objects_in(top)
    if not source.servers and not source.skipped and found and len(found) == len(top):
        for name, given in found.items():
            if "command" in given or "url" in given:
                source.add(name, given)


_READERS: Final[tuple[Callable[[dict[str, Any], Source], None], ...]] = (
    _read_servers,
    _read_projects,
    _read_zed,
    _read_codex,
    _read_continue,
    _read_opencode,
    _read_goose,
    _read_bundle,
    _read_bare,
)
