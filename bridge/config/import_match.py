"""Recognize a server that the configuration already has, also under another name or with local changes. Pure."""

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

from .addresses import DEFAULT_PORT
from .import_entry import RESTRICTS
from .import_texts import toml_string
from .package_spec import find_package, program_name

# A comment that keeps the origin of a server, so that it is recognized after any change.
_ORIGIN: Final = "imported from"
_HEAD: Final = re.compile(
    r"^\s*\[\s*servers\s*\.\s*(?:\"([^\"\n]+)\"|'([^'\n]+)'|([\w-]+))\s*\]", re.MULTILINE
)
_CONFIRM: Final = frozenset({"-y", "--yes"})
_VERSION: Final = re.compile(r"(?<=.)(?:@|==)[^@/=]*\Z")
_OURS: Final = re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)/servers/[^/]+/(?:mcp|sse)/?\Z")


def origin_comment(client: str, name: str) -> str:
    """Return the comment that names the origin of a server."""
    return f"{_ORIGIN} {client}: {toml_string(name)}"


def origins_of(text: str) -> dict[str, str]:
    """Return the name of the server for each comment about an origin in a configuration."""
    found: dict[str, str] = {}
    heads = [*_HEAD.finditer(text)]
    for head in heads:
        # The comment is on the line after the head.
        line = text[head.end() :].partition("\n")[2].partition("\n")[0].strip().removeprefix("#").strip()
        if line.startswith(f"{_ORIGIN} "):
            found[line] = next(name for name in head.groups() if name)
    return found


def is_bridge(keys: Mapping[str, Any], ports: Collection[int] = (DEFAULT_PORT,)) -> bool:
    """Return whether a server is this bridge: `mcp-bridge connect NAME`, or the URL of a server of a daemon here.

    `ports` are those of the daemon. Another program may also have servers below /servers, at another port.
    """

    def is_ours(word: str) -> bool:
        found = _OURS.match(word)
        return found is not None and int(found[1]) in ports

    if (url := keys.get("url")) is not None:
        return is_ours(str(url))
    words = words_of(keys)
    names = [program_name(word) for word in words]
    connects = "connect" in names and any(name in ("mcp-bridge", "mcpbridged") for name in names)
    # Another bridge may be between the client and the daemon, such as mcp-remote.
    return connects or any(map(is_ours, words))


def words_of(keys: Mapping[str, Any]) -> list[str]:
    """Return the words of a command, which is a list, or a program beside `args`."""
    command = keys.get("command", ())
    args = cast("Sequence[str]", keys.get("args", ()))
    return [command, *args] if isinstance(command, str) else [*cast("Sequence[str]", command), *args]


def _unknown(_: object) -> str:
    return ""


def is_same(
    known: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    named: bool,
    secret: Callable[[Any], str] = _unknown,
) -> bool:
    """Return whether two tables describe one server. `named` is whether their names or origins are equal.

    `secret` returns what a value of a table of secrets stands for; empty if that is unknown.
    """
    if "url" in new or "url" in known:
        if _address(known.get("url")) != _address(new.get("url")):
            return False
    else:
        ours, theirs = words_of(known), words_of(new)
        if not ours or not theirs or _program(ours) != _program(theirs):
            return False
    return named or not differences(known, new, secret)


def differences(
    known: Mapping[str, Any], new: Mapping[str, Any], secret: Callable[[Any], str] = _unknown
) -> list[str]:
    """Return in what two tables for the same program or URL differ. A value that only one of them has is no difference."""
    found = ["arguments"] if _rest(words_of(known)) != _rest(words_of(new)) else []
    for key, what in (("env", "variables"), ("headers", "headers")):
        ours, theirs = known.get(key, {}), new.get(key, {})
        if any(ours[one] != theirs[one] for one in ours.keys() & theirs.keys()):
            found.append(what)
    for key, what in (("secrets", "secrets"), ("secret_headers", "secret headers")):
        ours, theirs = known.get(key, {}), new.get(key, {})
        pairs = [(secret(ours[one]), secret(theirs[one])) for one in ours.keys() & theirs.keys()]
        if any(mine and other and mine != other for mine, other in pairs):
            found.append(what)
    if known.get("cwd") and new.get("cwd") and known["cwd"] != new["cwd"]:
        found.append("cwd")
    return found


def _address(url: object) -> str:
    if not isinstance(url, str):
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}?{parts.query}"


def _program(words: Sequence[str]) -> tuple[str, ...]:
    """Return what a command runs: the package without its version, or the program and its first argument without a dash."""
    package = find_package(words)
    if package:
        return program_name(words[0]), _VERSION.sub("", package.spec)
    if words[0] == "/bin/sh":
        return tuple(words[2].split()[:3]) if len(words) > 2 else ()
    first = next((word for word in words[1:] if not word.startswith("-")), "")
    return program_name(words[0]), first


def _rest(words: Sequence[str]) -> list[str]:
    """Return the arguments, without the version of a package and the options that confirm its download."""
    if not words:
        return []
    package = find_package(words)
    rest = [*words]
    if package:
        rest[package.position] = _VERSION.sub("", package.spec)
    return [word for word in rest[1:] if word not in _CONFIRM]


def lost_restrictions(known: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the restrictions of a new table that the known table of the same server does not have."""
    ours, theirs = known.get("tools", {}), new.get("tools", {})
    lost = (
        [f"tools.deny {', '.join(missing)}"]
        if (missing := _missing(theirs.get("deny", ()), ours.get("deny", ())))
        else []
    )
    if "allow" in theirs and ("allow" not in ours or _missing(ours["allow"], theirs["allow"])):
        lost.append(f"tools.allow {', '.join(theirs['allow']) or '(none)'}")
    if new.get("enabled") is False and known.get("enabled", True):
        lost.append("enabled = false")
    return [*lost, *_lost_options(known, new)]


def _lost_options(known: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options, variables and headers that restrict a server by their names, and that the known table lacks."""
    present = {*_plain_words(known)}
    for word in _plain_words(new):
        name = word.partition("=")[0]
        if word.startswith("-") and RESTRICTS.search(name) and word not in present:
            yield f"the argument {name}"
    for key, what in (("env", "variable"), ("headers", "header")):
        ours, theirs = known.get(key, {}), new.get(key, {})
        for name in theirs:
            if RESTRICTS.search(name) and ours.get(name) != theirs[name]:
                yield f"the {what} {name}"


def _plain_words(keys: Mapping[str, Any]) -> list[str]:
    words = words_of(keys)
    if words[:2] != ["/bin/sh", "-c"]:
        return words
    try:
        return shlex.split(" ".join(words[2:]))
    except ValueError:
        return words


def _missing(wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    return [one for one in wanted if one not in found]
