"""Extensions and experimental capabilities, and the methods that are in no revision's core. Pure.

Within one era the capabilities of both sides and all methods pass unchanged. Between the eras a method outside of the core
passes if the server has declared an extension or an experimental capability, whatever its client has declared: the server
decides what it accepts, and clients do not declare every extension (for example SEP-2640, skills). The core of neither era
defines such a method, so the bridge changes only the members of the modern envelope in it.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from ...validators import json_object, mirrored_headers, stateless_request
from ...validators.json_object import Members
from . import input_over

TASKS: Final = "io.modelcontextprotocol/tasks"
# Capabilities whose members have arbitrary names, each with settings of its own.
KINDS: Final = ("extensions", "experimental")
# Extensions of one era or of one connection, which the bridge does not translate to the other era.
_OWN: Final = frozenset({TASKS, input_over.EXTENSION})
# The requests and notifications of the core, of all revisions and in both directions.
_REQUESTS: Final = (
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "roots/list",
    "sampling/createMessage",
    "elicitation/create",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
)
_NOTIFICATIONS: Final = (
    "cancelled",
    "initialized",
    "progress",
    "message",
    "tools/list_changed",
    "prompts/list_changed",
    "resources/list_changed",
    "resources/updated",
    "roots/list_changed",
    "subscriptions/acknowledged",
    "elicitation/complete",
    "tasks",
    "tasks/status",
)
_CORE: Final = frozenset({*_REQUESTS, *(f"notifications/{name}" for name in _NOTIFICATIONS)})
# Notifications between parts of the bridge, which clients and servers must not send.
_OURS: Final = "notifications/mcp-bridge/"
# A client declares the same capabilities with every request. Larger declarations are not cached (bytes).
_CACHED_SIZE: Final = 1024
_MARKS: Final = tuple(b'"%b"' % kind.encode() for kind in KINDS)
# Errors that are about the era or the envelope of a request.
_ABOUT_THE_ERA: Final = frozenset(
    {
        mirrored_headers.HEADER_MISMATCH,
        stateless_request.MISSING_CAPABILITY,
        stateless_request.UNSUPPORTED_VERSION,
    }
)
_NOTHING: Final[frozenset[str]] = frozenset()

Found = dict[tuple[str, str], bytes]


def is_core(method: str) -> bool:
    """Return whether a method belongs to the core of a revision, to the bridge, or to the tasks, which have their own rules."""
    return method in _CORE or method.startswith(_OURS)


def is_about_the_era(code: int) -> bool:
    """Return whether an error with this code must be translated also for a method outside of the core."""
    return code in _ABOUT_THE_ERA


def declared_in(capabilities: bytes | msgspec.Raw | None) -> Found:
    """Return the raw settings of extensions by kind and name, without those that the bridge does not translate."""
    found = json_object.peek(capabilities)
    return {
        (kind, name): bytes(settings)
        for kind in KINDS
        for name, settings in json_object.peek(found.get(kind)).items()
        if name not in _OWN
    }


def names_in(capabilities: bytes) -> frozenset[str]:
    """Return the names of the declared extensions and experimental capabilities that the bridge translates."""
    # Most clients declare none.
    if not any(mark in capabilities for mark in _MARKS) and b"\\" not in capabilities:
        return _NOTHING
    return _cached_names(capabilities) if len(capabilities) <= _CACHED_SIZE else _read_names(capabilities)


def _read_names(capabilities: bytes) -> frozenset[str]:
    return frozenset(name for _, name in declared_in(capabilities))


_cached_names: Final = lru_cache(maxsize=64)(_read_names)


def as_capabilities(declared: Iterable[tuple[tuple[str, str], bytes]]) -> dict[str, object]:
    """Return capabilities that declare these settings, given by kind and name."""
    found: dict[str, Members] = {}
    for (kind, name), settings in declared:
        found.setdefault(kind, {})[name] = json_object.raw(settings)
    return {**found}


def carried(capabilities: Members) -> Members:
    """Return these capabilities without the extensions that the bridge does not translate to the other era."""
    extensions = json_object.peek(capabilities.get("extensions"))
    kept = {name: settings for name, settings in extensions.items() if name not in _OWN}
    if kept and len(kept) == len(extensions):
        return capabilities
    others = {name: value for name, value in capabilities.items() if name != "extensions"}
    return {**others, "extensions": json_object.raw(json_object.write(kept))} if kept else others
