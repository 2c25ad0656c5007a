"""Several servers' answers made into one, for the aggregate. Pure: JSON text in, JSON text out.

A tool or prompt is named `SERVER__NAME`, also where there is one server only, so that its name never depends on how many
there are. What is not named here passes byte for byte.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ..validators import members, modern
from ..validators.limits import Limits
from ..validators.members import Members

SEPARATOR: Final = "__"
# Under which member a list has its items, and whether they are called by their names.
LISTS: Final[Mapping[str, tuple[str, bool]]] = {
    "tools/list": ("tools", True),
    "prompts/list": ("prompts", True),
    "resources/list": ("resources", False),
    "resources/templates/list": ("resourceTemplates", False),
}
_TRUE: Final = b"true"


def split(name: str, servers: Sequence[str]) -> tuple[str, str] | None:
    """The server and its own name of a tool or prompt; None where no server is named."""
    server, separator, rest = name.partition(SEPARATOR)
    return (server, rest) if separator and server in servers else None


def renamed(params: bytes, name: str) -> bytes:
    """The params of a call with another name."""
    found = members.read(params)
    found["name"] = members.raw(members.text(name))
    return members.write(found)


def listed(method: str, found: Mapping[str, Sequence[msgspec.Raw]]) -> tuple[bytes, list[str]]:
    """One list of what each server lists, on one page, and the names that are too long to be offered."""
    key, named = LISTS[method]
    items: list[msgspec.Raw] = []
    too_long: list[str] = []
    for server, some in found.items():
        for item in some:
            if not named:
                items.append(item)
                continue
            about = members.peek(item)
            name = f"{server}{SEPARATOR}{members.string(about.get('name'))}"
            if len(name.encode()) > Limits().name:
                too_long.append(name)
                continue
            about["name"] = members.raw(members.text(name))
            items.append(members.raw(members.write(about)))
    return members.write(
        {"resultType": "complete", key: items, "ttlMs": 0, "cacheScope": "private"}
    ), too_long


def uris(method: str, items: Sequence[msgspec.Raw]) -> list[str]:
    """What a page of resources or templates is found by."""
    key = "uri" if method == "resources/list" else "uriTemplate"
    return [members.string(members.peek(item).get(key)) for item in items]


def discovered(found: Mapping[str, Members]) -> bytes:
    """What all of them offer together."""
    capabilities: dict[str, dict[str, object]] = {}
    instructions: list[str] = []
    for server, about in found.items():
        for name, setting in members.peek(about.get("capabilities")).items():
            if name in ("tools", "prompts", "resources", "logging", "completions"):
                mine = capabilities.setdefault(name, {})
                mine |= {key: True for key, value in members.peek(setting).items() if bytes(value) == _TRUE}
        text = members.string(about.get("instructions"))
        if text:
            instructions.append(f"{server}: {text}")
    result: dict[str, object] = {
        "resultType": "complete",
        "supportedVersions": [modern.MODERN_REVISION],
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {modern.SERVER_INFO: {"name": "mcp-bridge aggregate", "version": "1"}},
    }
    if instructions:
        result["instructions"] = "\n\n".join(instructions)
    return members.write(result)


def reference(params: bytes) -> tuple[str, str]:
    """What `completion/complete` is about: "name" or "uri", and its value."""
    ref = members.peek(members.read(params).get("ref"))
    kind = "name" if "name" in ref else "uri"
    return kind, members.string(ref.get(kind))


def referring(params: bytes, name: str) -> bytes:
    """The params of `completion/complete` about another prompt."""
    found = members.read(params)
    ref = members.peek(found["ref"])
    ref["name"] = members.raw(members.text(name))
    found["ref"] = members.raw(members.write(ref))
    return members.write(found)


def wanted(params: bytes, mine: Sequence[str]) -> bytes:
    """The params of `subscriptions/listen` with those of the resources that are the server's."""
    found = members.read(params)
    notifications = members.peek(found.get("notifications"))
    if "resourceSubscriptions" in notifications:
        notifications["resourceSubscriptions"] = members.raw(msgspec.json.encode(list(mine)))
    found["notifications"] = members.raw(members.write(notifications))
    return members.write(found)


def subscribed(params: bytes) -> list[str]:
    """The resources that `subscriptions/listen` names."""
    notifications = members.peek(members.read(params).get("notifications"))
    return [members.string(uri) for uri in members.items(notifications.get("resourceSubscriptions"))]


def acknowledged(granted: Sequence[Members]) -> bytes:
    """What was granted together: a change is told if one of them tells it."""
    together: dict[str, object] = {}
    resources: list[str] = []
    for one in granted:
        for key, value in one.items():
            if key == "resourceSubscriptions":
                resources += [members.string(uri) for uri in members.items(value)]
            elif bytes(value) == _TRUE:
                together[key] = True
    if resources:
        together["resourceSubscriptions"] = resources
    return members.write({"notifications": together})


def named(params: bytes, subscription: bytes) -> bytes:
    """The params or result of a subscription under the name that its asker has given it."""
    found = members.peek(params)
    meta = members.peek(found.get("_meta"))
    meta[modern.SUBSCRIPTION_ID] = members.raw(subscription)
    found["_meta"] = members.raw(members.write(meta))
    return members.write(found)
