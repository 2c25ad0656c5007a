"""Extensions and experimental capabilities, and the methods that are in no revision's core.

Of the same era both ends see what the other has declared, and everything passes. Between the eras a method outside of the
core passes where the server has declared an extension or an experimental capability, whatever its client has: what a server
offers must not be refused on its behalf, and not every extension (SEP-2640 skills, for one) is declared by clients. The core of
neither era says anything of such a method, so the bridge changes nothing in it but the members of the modern envelope. Pure.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from . import input_over

TASKS: Final = "io.modelcontextprotocol/tasks"
# Capabilities whose members are names that the bridge does not know in advance, each with settings of its own.
KINDS: Final = ("extensions", "experimental")
# Extensions of one era or of one connection, which the bridge does not carry to the other.
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
# Parts of the bridge notify each other of things that nobody else may say.
_OURS: Final = "notifications/mcp-bridge/"
# Each client declares the same with every request. Longer declarations are not kept (bytes).
_CACHED_SIZE: Final = 1024
_MARKS: Final = tuple(b'"%b"' % kind.encode() for kind in KINDS)
# Errors that say something about the era or the envelope of a request.
_ABOUT_THE_ERA: Final = frozenset(
    {
        stateless_request.HEADER_MISMATCH,
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
    """Return the raw settings of what capabilities declare, by kind and name, without what the bridge does not carry."""
    found = json_object.peek(capabilities)
    return {
        (kind, name): bytes(settings)
        for kind in KINDS
        for name, settings in json_object.peek(found.get(kind)).items()
        if name not in _OWN
    }


def names_in(capabilities: bytes) -> frozenset[str]:
    """Return the names of the extensions and experimental capabilities that are declared and carried."""
    if not any(mark in capabilities for mark in _MARKS) and b"\\" not in capabilities:  # as most clients
        return _NOTHING
    return _cached_names(capabilities) if len(capabilities) <= _CACHED_SIZE else _read_names(capabilities)


def _read_names(capabilities: bytes) -> frozenset[str]:
    return frozenset(name for _, name in declared_in(capabilities))


_cached_names: Final = lru_cache(maxsize=64)(_read_names)


def as_capabilities(declared: Iterable[tuple[tuple[str, str], bytes]]) -> dict[str, object]:
    """Return the capabilities that declare this."""
    found: dict[str, Members] = {}
    for (kind, name), settings in declared:
        found.setdefault(kind, {})[name] = json_object.raw(settings)
    return {**found}


def carried(capabilities: Members) -> Members:
    """Return these capabilities without the extensions that the bridge does not carry to the other era."""
    extensions = json_object.peek(capabilities.get("extensions"))
    kept = {name: settings for name, settings in extensions.items() if name not in _OWN}
    if kept and len(kept) == len(extensions):
        return capabilities
    others = {name: value for name, value in capabilities.items() if name != "extensions"}
    return {**others, "extensions": json_object.raw(json_object.write(kept))} if kept else others
