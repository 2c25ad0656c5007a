"""Merge the results of several servers for the aggregate. Pure: JSON text in, JSON text out.

A tool or prompt is named `SERVER__NAME`, even with a single server, so that its name never depends on the number of servers.
Members that no function here names pass byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Notification
from ...validators.limits import Limits
from ...validators.list_changes import KIND_OF, NOTIFICATION_OF
from ...validators.mcp_params import read_items
from ...validators.rejection import INVALID_PARAMS, METHOD_NOT_FOUND, SERVER_ERROR, too_large
from ...validators.revisions import MODERN_REVISION
from ..core import extensions
from ..core.aggregate_members import Membership
from ..core.errors import RESOURCE_NOT_FOUND, read_fault
from .search_surface import SURFACE
from .tool_names import SEPARATOR, ToolNames
from .uri_templates import literal_length, matches

# By list method: the member of the result with the items, and the member that identifies an item.
LISTS: Final[Mapping[str, tuple[str, str]]] = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
_OFFERS: Final = ("tools", "prompts", "resources", "logging", "completions")
# By list method: the kind of change that a subscription requests.
KIND_OF_LIST: Final[Mapping[str, str]] = {
    "tools/list": "toolsListChanged",
    "prompts/list": "promptsListChanged",
    "resources/list": "resourcesListChanged",
    "resources/templates/list": "resourcesListChanged",
}
RESOURCES_CHANGED: Final = NOTIFICATION_OF["resourcesListChanged"]
_SUBSCRIPTIONS: Final = "resourceSubscriptions"
_TEMPLATES: Final = "resources/templates/list"
_RESOURCES: Final = ("resources/list", _TEMPLATES)
# The capabilities of the aggregate while those of a server are unknown.
_ALL_OFFERS: Final[Mapping[str, Mapping[str, bool]]] = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "logging": {},
    "completions": {},
}
_UNCONFIGURED: Final = Membership({}, version="1")
_TRUE: Final = b"true"
# How specific an error is about an item that its server may not have. Any other code is more specific.
_TELLING: Final[Mapping[int, int]] = {METHOD_NOT_FOUND: 0, INVALID_PARAMS: 1, RESOURCE_NOT_FOUND: 1}


# ---- names


def with_name(params: bytes, name: str) -> bytes:
    """Return the params of a call with another name."""
    found = json_object.read(params)
    found["name"] = json_object.raw(json_object.text(name))
    return json_object.write(found)


def reference(params: bytes) -> tuple[str, str]:
    """Return the reference of a `completion/complete`: "name" or "uri", and its value."""
    ref = json_object.peek(json_object.read(params).get("ref"))
    kind = "uri" if json_object.string(ref.get("type")) == "ref/resource" else "name"
    return kind, json_object.string(ref.get(kind))


def with_prompt_name(params: bytes, name: str) -> bytes:
    """Return the params of `completion/complete` with another name of a prompt."""
    found = json_object.read(params)
    ref = json_object.peek(found["ref"])
    ref["name"] = json_object.raw(json_object.text(name))
    found["ref"] = json_object.raw(json_object.write(ref))
    return json_object.write(found)


def target(params: bytes) -> tuple[str, str]:
    """Return the item that a message of an extension names: "name", "uri" or "ref", and its value; both empty without an item."""
    found = json_object.peek(params)
    for kind in ("name", "uri"):
        value = json_object.string(found.get(kind))
        if value:
            return kind, value
    kind, value = reference(params) if "ref" in found else ("", "")
    return ("ref" if kind == "name" else kind), value


# ---- lists


class Listed(NamedTuple):
    """A merged list.

    `too_long` are names that are left out. `doubles` are servers with the names of items that a server before them has listed.
    `taken` are tools that are left out because another tool was given their name, and `names` all tools, as SERVER__TOOL.
    """

    result: bytes
    items: list[msgspec.Raw]
    too_long: list[str]
    doubles: list[tuple[str, str]]
    taken: list[str]
    names: set[str]


def shared_params(params: bytes) -> Members:
    """Return the params for all servers.

    Without a cursor, because the merged list is a single page. Without a progress token, because the progress of several servers
    does not rise together.
    """
    found = json_object.read(params)
    found.pop("cursor", None)
    meta = json_object.peek(found.get("_meta"))
    if meta.pop("progressToken", None) is not None:
        found["_meta"] = json_object.raw(json_object.write(meta))
    return found


def meta_only(params: bytes) -> Members:
    """Return the params of a request that the aggregate sends on its own in the course of a request with these params."""
    return {key: value for key, value in shared_params(params).items() if key == "_meta"}


def page(method: str, result: Members, held: int, limits: Limits) -> list[msgspec.Raw]:
    """Return the items of a page, after `held` items on earlier pages. Raises Rejection beyond the limits."""
    where, _ = LISTS[method]
    found = result.get(where)
    size = 0 if found is None else len(memoryview(found))
    if size > limits.list_bytes:
        raise too_large(f"a page of {size} bytes", limits.list_bytes, "list_bytes")
    items = read_items(found, limits)
    if held + len(items) > limits.list_items:
        raise too_large("the number of items of a list", limits.list_items, "list_items")
    return items


def item_keys(method: str, items: Iterable[msgspec.Raw]) -> list[str]:
    """Return the names or URIs that identify the items of a list."""
    _, key = LISTS[method]
    return [json_object.string(json_object.peek(item).get(key)) for item in items]


def merged_list(
    method: str, found: Mapping[str, Sequence[msgspec.Raw]], tools: ToolNames | None = None
) -> Listed:
    """Merge the lists of servers into one page. It must not be cached, because its servers differ by principal and time.

    `tools` are the names of tools; without them each tool keeps its name.
    """
    where, key = LISTS[method]
    listed = Listed(b"", [], [], [], [], set())
    seen: set[str] = set()
    for server, some in found.items():
        for item, own in zip(some, item_keys(method, some), strict=True):
            # An item without a name could be neither called nor read.
            if not own:
                continue
            name = full = f"{server}{SEPARATOR}{own}" if key == "name" else own
            if tools is not None and method == "tools/list":
                listed.names.add(full)
                name = tools.offered(full)
                if not name:
                    if tools.is_taken(full):
                        listed.taken.append(full)
                    continue
                item = tools.item(item, full, name)  # noqa: PLW2901 - the same item
            elif key == "name":
                item = _with_name(item, name)  # noqa: PLW2901 - likewise
            if name in seen:
                listed.doubles.append((server, name))
            elif key == "name" and len(name) > Limits().name:
                listed.too_long.append(name)
            else:
                seen.add(name)
                listed.items.append(item)
    return listed._replace(result=one_page(where, listed.items))


def one_page(where: str, items: Sequence[msgspec.Raw]) -> bytes:
    """Return the result of a list method with these items in its member `where`."""
    return json_object.write({"resultType": "complete", where: items, "ttlMs": 0, "cacheScope": "private"})


def _with_name(item: msgspec.Raw, name: str) -> msgspec.Raw:
    about = json_object.peek(item)
    about["name"] = json_object.raw(json_object.text(name))
    return json_object.raw(json_object.write(about))


class ResourceOwners:
    """The server of each resource and template: the first that lists it, else the server where it was read.

    A resource that no server lists may match a template. Resources that were read are kept up to `most`, the newest. Listed
    resources are limited by the limits of lists.
    """

    def __init__(self, servers: Sequence[str], most: int = 4096) -> None:
        self._most = most
        # By server, and by method: the listed URIs, in their order. Removed when the list of the server may have changed.
        self._listed: dict[str, dict[str, dict[str, None]]] = {server: {} for server in servers}
        # By URI: the server where it was read last.
        self._read: dict[str, str] = {}
        # By method: the doubles of the last list.
        self._doubles: dict[str, set[tuple[str, str]]] = {}

    def set_listed(self, method: str, server: str, uris: Iterable[str]) -> None:
        """Store the list of a server."""
        if server in self._listed:
            self._listed[server][method] = dict.fromkeys(uris)

    def set_servers(self, servers: Sequence[str]) -> None:
        """Keep these servers only, in this order."""
        self._listed = {server: self._listed.get(server, {}) for server in servers}
        self._read = {uri: server for uri, server in self._read.items() if server in self._listed}

    def invalidate(self, server: str) -> None:
        """Drop the lists of a server, because they may have changed."""
        if server in self._listed:
            self._listed[server] = {}

    @property
    def unlisted(self) -> list[str]:
        """The servers whose resources or templates are unknown."""
        return [server for server, lists in self._listed.items() if len(lists) < len(_RESOURCES)]

    def set_read(self, uri: str, server: str) -> None:
        """Store that a server had a resource."""
        self.drop(uri)
        self._read[uri] = server
        if len(self._read) > self._most:
            del self._read[next(iter(self._read))]

    def drop(self, uri: str) -> None:
        """Drop the server where a resource was read."""
        self._read.pop(uri, None)

    def of(self, uri: str) -> str | None:
        """Return the server of a resource, None if it is unknown."""
        return self.listing(uri) or self._read.get(uri)

    def listing(self, uri: str) -> str | None:
        """Return the first server that lists exactly this URI."""
        return next((server for server, lists in self._listed.items() if _holds(lists, uri)), None)

    def candidates(self, uri: str, *, again: bool = False) -> list[str]:
        """Return the servers that may have a resource, the best first; none if all are equally likely.

        With `again`, the request is a retry that belongs to the server where the resource was read last.
        """
        owner = self.listing(uri)
        if owner is not None:
            return [owner]
        if again and uri in self._read:
            return [self._read[uri]]
        matching: list[tuple[int, str]] = []
        for server, lists in self._listed.items():
            templates = lists.get(_TEMPLATES, ())
            fits = [literal_length(template) for template in templates if matches(template, uri)]
            if fits:
                matching.append((-max(fits), server))
        if matching:
            return [server for _, server in sorted(matching, key=lambda fit: fit[0])]
        return [self._read[uri]] if uri in self._read else []

    def new_doubles(self, method: str, doubles: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the doubles that the last list of this method did not have."""
        before = self._doubles.get(method, set())
        self._doubles[method] = set(doubles)
        return self._doubles[method] - before


def _holds(lists: Mapping[str, Mapping[str, None]], uri: str) -> bool:
    return any(uri in uris for uris in lists.values())


# ---- what they offer


def merged_discovery(
    found: Mapping[str, Members], *, whole: bool, about: Membership = _UNCONFIGURED, everything: bool = False
) -> bytes:
    """Merge results of `server/discover`. `whole` means that none is missing, `about` is the configuration of the aggregate.

    With `everything`, all capabilities are offered, because a server that is late or comes later may have them. The result has
    the shortest `ttlMs` of the servers, and 0 if one is missing. It is private, because its servers differ by principal.
    """
    capabilities: dict[str, dict[str, bool]] = {}
    if everything:
        capabilities = {name: {**_ALL_OFFERS[name]} for name in _OFFERS if name not in about.without}
    elif about.surface == SURFACE and "tools" not in about.without:
        # The three tools exist whatever the servers have.
        capabilities = {"tools": {**_ALL_OFFERS["tools"]}}
    instructions: list[str] = []
    for server, offer in found.items():
        for name, setting in json_object.peek(offer.get("capabilities")).items():
            if name in _OFFERS:
                mine = capabilities.setdefault(name, {})
                mine |= {
                    key: True for key, value in json_object.peek(setting).items() if bytes(value) == _TRUE
                }
        text = json_object.string(offer.get("instructions"))
        if text:
            instructions.append(f"{server}:\n{text}")
    if about.instructions:
        instructions = [about.instructions]
    times = [_milliseconds(offer.get("ttlMs")) for offer in found.values()] if whole else []
    result: dict[str, object] = {
        "resultType": "complete",
        "supportedVersions": [MODERN_REVISION],
        "capabilities": {**capabilities, **extensions.as_capabilities(_extensions(found).items())},
        "ttlMs": min(times, default=0),
        "cacheScope": "private",
        "_meta": {stateless_request.SERVER_INFO: _info(about)},
    }
    if instructions:
        result["instructions"] = "\n\n".join(instructions)
    return json_object.write(result)


def _extensions(found: Mapping[str, Members]) -> extensions.Found:
    """Return the extensions of all servers. The settings of an extension are those of the first server that has it."""
    together: extensions.Found = {}
    for offer in found.values():
        for key, settings in extensions.declared_in(offer.get("capabilities")).items():
            together.setdefault(key, settings)
    return together


def servers_with_shared_extension(found: Mapping[str, Members], capabilities: bytes) -> list[str]:
    """Return the servers that have declared an extension which these client capabilities declare as well.

    Where there is none, return those that have declared any.
    """
    mine = extensions.names_in(capabilities)
    theirs = {
        server: {name for _, name in extensions.declared_in(offer.get("capabilities"))}
        for server, offer in found.items()
    }
    both = [server for server, names in theirs.items() if names & mine]
    return both or [server for server, names in theirs.items() if names]


def _info(about: Membership) -> dict[str, str]:
    info = {"name": about.name, "version": about.version, "title": about.title}
    return info if about.title else {key: value for key, value in info.items() if key != "title"}


def _milliseconds(value: msgspec.Raw | None) -> int:
    # A number of at most ten digits, which is about a month; 0 for any other value.
    text = b"" if value is None else bytes(value)
    return int(text) if text.isdigit() and len(text) <= 10 else 0


# ---- errors


def input_state(result: bytes | msgspec.Raw) -> str:
    """Return the `requestState` of a result that requires input, empty for any other result."""
    if b'"input_required"' not in bytes(result):
        return ""
    found = json_object.peek(result)
    if json_object.string(found.get("resultType")) != "input_required":
        return ""
    return json_object.string(found.get("requestState"))


def is_expired(error: bytes) -> bool:
    """Return whether a server has refused a retry because no call of it has this `requestState`."""
    if not error:
        return False
    fault = read_fault(error)
    return fault.code == INVALID_PARAMS and "requestState" in fault.message


def is_refused_by_replaced(error: bytes) -> bool:
    """Return whether the daemon has refused a request because its server is being replaced. No server has received it.

    A call that was in flight when its server exited fails with the same reason and another code. It is never sent again.
    """
    if not error or read_fault(error).code != SERVER_ERROR:
        return False
    data = json_object.peek(json_object.peek(error).get("data"))
    return json_object.string(data.get("reason")) == "stopping"


def is_unknown_method(error: bytes) -> bool:
    """Return whether the server does not have the method."""
    return read_fault(error).code == METHOD_NOT_FOUND


def most_specific(errors: Sequence[bytes]) -> bytes:
    """Return the error of a server that has an item, before the errors of servers that do not have it."""
    return max(errors, key=lambda error: _TELLING.get(read_fault(error).code, 2))


# ---- subscriptions


def subscribed(params: bytes) -> list[str]:
    """Return the resources that a `subscriptions/listen` names."""
    notifications = json_object.peek(json_object.read(params).get("notifications"))
    return [json_object.string(uri) for uri in json_object.items(notifications.get(_SUBSCRIPTIONS))]


def requested_kinds(params: bytes) -> Members:
    """Return the kinds of changes of lists that a `subscriptions/listen` requests. The aggregate grants them itself."""
    notifications = json_object.peek(json_object.read(params).get("notifications"))
    return {
        kind: value
        for kind, value in notifications.items()
        if kind in NOTIFICATION_OF and bytes(value) == _TRUE
    }


def is_change(method: str) -> bool:
    """Return whether a notification means that a list has changed."""
    return method in KIND_OF


def list_changed(kind: str) -> Notification:
    return Notification(NOTIFICATION_OF[kind], b"{}")


def listen_params(params: bytes, mine: Sequence[str]) -> bytes:
    """Return the params of `subscriptions/listen` for a server, with the resources `mine`."""
    found = shared_params(params)
    notifications = json_object.peek(found.get("notifications"))
    if _SUBSCRIPTIONS in notifications:
        notifications[_SUBSCRIPTIONS] = json_object.raw(msgspec.json.encode(list(mine)))
    found["notifications"] = json_object.raw(json_object.write(notifications))
    return json_object.write(found)


def merged_acknowledgement(granted: Iterable[Members]) -> bytes:
    """Merge the granted notifications of servers: a kind is granted if one server grants it."""
    together: dict[str, object] = {}
    resources: dict[str, None] = {}
    for some in granted:
        for key, value in some.items():
            if key == _SUBSCRIPTIONS:
                resources |= dict.fromkeys(map(json_object.string, json_object.items(value)))
            elif bytes(value) == _TRUE:
                together[key] = True
    if resources:
        together[_SUBSCRIPTIONS] = list(resources)
    return json_object.write({"notifications": together})


def updates(granted: Members) -> list[Notification]:
    """Return updates of all subscribed resources of a server, because they may have changed while it was absent."""
    return [
        Notification("notifications/resources/updated", json_object.write({"uri": uri}))
        for uri in json_object.items(granted.get(_SUBSCRIPTIONS))
    ]


def list_changes(granted: Iterable[Members]) -> list[Notification]:
    """Return the notifications that each list with a granted kind of change has changed."""
    kinds = {key for some in granted for key, value in some.items() if bytes(value) == _TRUE}
    return [Notification(change, b"{}") for key, change in NOTIFICATION_OF.items() if key in kinds]


def with_subscription_id(params: bytes, subscription: bytes) -> bytes:
    """Return the params or the result of a subscription with the id of the client's request (raw)."""
    found = json_object.peek(params)
    meta = json_object.peek(found.get("_meta"))
    meta[stateless_request.SUBSCRIPTION_ID] = json_object.raw(subscription)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return json_object.write(found)
