"""Convert a server.json of the MCP registry to a server. Pure.

The format describes a package or a remote server, with arguments and variables that a user fills in. Older versions have
names with underscores. Source: https://github.com/modelcontextprotocol/registry, docs/reference/server-json.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from .import_entry import Entry
from .import_texts import LeftOut, as_text, listed, object_in

# The program that runs a package of each registry.
_RUNNERS: Final = {"npm": "npx", "pypi": "uvx", "oci": "docker", "nuget": "dnx"}
_USUAL: Final = {
    "npm": ("https://registry.npmjs.org",),
    "pypi": ("https://pypi.org",),
    "nuget": ("https://api.nuget.org", "https://api.nuget.org/v3/index.json"),
    "oci": ("https://docker.io",),
}
_PROGRAM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_VARIABLE: Final = re.compile(r"\{([^{}]{1,200})\}")


def is_registry(top: Mapping[str, Any]) -> bool:
    """Return whether an object is a server.json, or an answer of the registry with one."""
    inner = object_in(top, "server") or top
    return any(isinstance(inner.get(key), list) for key in ("packages", "remotes"))


def registry_entries(top: Mapping[str, Any]) -> list[tuple[str, Entry | LeftOut]]:
    """Return the server: its first package with the stdio transport, or else its first remote server."""
    given = object_in(top, "server") or dict(top)
    name = str(given.get("name") or "server").rpartition("/")[2]
    reasons: list[str] = []
    packages, remotes = _objects(given, "packages"), _objects(given, "remotes")
    for package in packages:
        try:
            entry = _from_package(package)
        except LeftOut as reason:
            reasons.append(str(reason))
        else:
            return [(name, _with_notes(entry, given, len(packages) + len(remotes)))]
    for remote in remotes:
        return [(name, _with_notes(_from_remote(remote), given, len(packages) + len(remotes)))]
    return [(name, LeftOut("; ".join(reasons) or "it has neither a package nor a remote server"))]


def _with_notes(entry: Entry, given: Mapping[str, Any], choices: int) -> Entry:
    if choices > 1:
        entry.notes.append(
            f"the first of its {choices} packages and remote servers that can be used is taken"
        )
    if given.get("status") in ("deprecated", "deleted"):
        entry.notes.append(f"the registry says that it is {given['status']}")
    return entry


def _objects(given: Mapping[str, Any], *spellings: str) -> list[dict[str, Any]]:
    value: object = next((given[key] for key in spellings if key in given), None)
    found = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", one) for one in found if isinstance(one, dict)]


def _text(given: Mapping[str, Any], *spellings: str) -> str:
    return next((text for key in spellings if (text := as_text(given.get(key)))), "")


def _flag(given: Mapping[str, Any], *spellings: str) -> bool:
    return any(given.get(key) is True for key in spellings)


# ---- packages


def _from_package(package: Mapping[str, Any]) -> Entry:
    registry = _text(package, "registryType", "registry_type")
    if registry not in _RUNNERS:
        raise LeftOut(f"packages of the type {registry[:40]!r} are not supported")
    transport = object_in(package, "transport").get("type", "stdio")
    if transport != "stdio":
        raise LeftOut("its package opens a port of its own; start it, and use its url")
    identifier, version = _text(package, "identifier", "name"), _text(package, "version")
    if not identifier:
        raise LeftOut("its package has no identifier")
    entry = Entry()
    entry.command = _runner(package, registry)
    base = _text(package, "registryBaseUrl", "registry_base_url").rstrip("/")
    other = base if base and base not in _USUAL[registry] else ""
    if other and registry != "npm":
        raise LeftOut(
            "its package comes from another registry than the usual one, which must be named by hand"
        )
    if _text(package, "fileSha256", "file_sha256"):
        entry.problems.append("its fileSha256 is not checked; run `mcp-bridge approve` after the first start")
    before = _arguments(_objects(package, "runtimeArguments", "runtime_arguments"), entry)
    after = _arguments(_objects(package, "packageArguments", "package_arguments"), entry)
    env = _variables(_objects(package, "environmentVariables", "environment_variables"), entry)
    entry.env = env
    entry.args = [*_words(registry, identifier, version, before, env, other), *after]
    return entry


def _runner(package: Mapping[str, Any], registry: str) -> str:
    hint = _text(package, "runtimeHint", "runtime_hint")
    return hint if _PROGRAM.match(hint) else _RUNNERS[registry]


def _words(
    registry: str, identifier: str, version: str, before: list[str], env: Mapping[str, str], other: str
) -> list[str]:
    """Return the words between the runner and the arguments of the package."""
    if registry == "oci":
        # Docker passes a variable whose name only is given, so that its value is no argument.
        names = [word for name in env for word in ("-e", name)]
        tagged = "@" in identifier or ":" in identifier.rpartition("/")[2]
        image = identifier if tagged or not version else f"{identifier}:{version}"
        start = [] if before[:1] == ["run"] else ["run", "-i", "--rm"]
        return [*start, *before, *names, image]
    package = f"{identifier}@{version}" if version else identifier
    if registry == "npm":
        yes = [] if {"-y", "--yes"} & {*before} else ["-y"]
        return [*yes, *before, *([f"--registry={other}"] if other else []), package]
    return [package, "--yes", *before, "--"] if registry == "nuget" else [*before, package]


def _arguments(given: list[dict[str, Any]], entry: Entry) -> list[str]:
    return [word for one in given for word in _argument(one, entry)]


def _argument(given: Mapping[str, Any], entry: Entry) -> Iterator[str]:
    name = _text(given, "name")
    named = given.get("type") == "named"
    if named and given.keys() <= {"type", "name", "description", "isRepeated", "is_repeated"}:
        yield name
        return
    label = name.lstrip("-") or _text(given, "valueHint", "value_hint") or "argument"
    value = _value(given, label)
    if value is None:
        entry.notes.append(f"the optional argument {label[:40]!r} is left out")
        return
    if named:
        yield name
    yield value
    if _flag(given, "isRepeated", "is_repeated"):
        entry.notes.append(f"the argument {label[:40]!r} can be repeated; add more by hand")


def _value(given: Mapping[str, Any], label: str) -> str | None:
    """Return the value of an input: fixed, its default, a reference to an input, or None for an optional one."""
    fixed = as_text(given.get("value"))
    if fixed is not None:
        variables = object_in(given, "variables")

        def replaced(found: re.Match[str]) -> str:
            inner = variables.get(found[1])
            if not isinstance(inner, dict):
                return found[0]
            return _value(cast("dict[str, Any]", inner), found[1]) or f"${{input:{found[1]}}}"

        return _VARIABLE.sub(replaced, fixed)
    default = as_text(given.get("default"))
    if default is not None:
        return default
    return f"${{input:{label}}}" if _flag(given, "isRequired", "is_required") else None


def _variables(given: list[dict[str, Any]], entry: Entry) -> dict[str, str]:
    """Return the variables or headers that have a value. A secret without a value is one that the user writes into a file."""
    found: dict[str, str] = {}
    optional: list[str] = []
    for one in given:
        name = _text(one, "name")
        value = _value(one, name)
        if value is None:
            optional.append(name)
        else:
            found[name] = value
    if optional:
        entry.notes.append(f"optional and left out: {listed(optional)}")
    return found


# ---- remote servers


def _from_remote(remote: Mapping[str, Any]) -> Entry:
    entry = Entry()
    entry.kind = _text(remote, "type", "transport_type") or None
    template = {"value": _text(remote, "url"), "variables": object_in(remote, "variables")}
    entry.url = _value(template, "url")
    entry.headers = _variables(_objects(remote, "headers"), entry)
    return entry
