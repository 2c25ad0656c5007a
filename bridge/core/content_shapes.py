"""Where MCP messages have media types, base64, addresses and texts, in all revisions. Pure.

One shape describes the results of all methods, because no member has different meanings in two of them. It is also used for the
results of tasks and for methods that the bridge does not know.
Sources: the JSON Schemas of MCP 2024-11-05 to 2026-07-28.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

import attrs

from ...validators import json_object


class Leaf(Enum):
    """The meaning of a value."""

    # A text for a person or a model, or data with such texts in it.
    TEXT = auto()
    # A name that another message repeats. It cannot be changed.
    NAME = auto()
    # A JSON Schema. Only its titles and descriptions are texts.
    SCHEMA = auto()
    # A value that only the server reads. It is not checked.
    OPAQUE = auto()
    MEDIA_TYPE = auto()
    BASE64 = auto()
    ADDRESS = auto()
    TEMPLATE = auto()
    ICON = auto()


@attrs.frozen(eq=False)
class Members:
    """An object with these members. All others are texts."""

    shapes: "dict[str, Shape]"


@attrs.frozen(eq=False)
class Items:
    """An array of such items, or one of them without an array."""

    shape: "Shape"


@attrs.frozen(eq=False)
class Values:
    """An object with any names. Each value has this shape."""

    shape: "Shape"


@attrs.frozen(eq=False)
class ByType:
    """An object whose shape depends on its member `type`."""

    shapes: "Mapping[str, Shape]"
    other: "Shape"


Shape = Leaf | Members | Items | Values | ByType


_ICONS: Final = Items(Members({"src": Leaf.ICON, "mimeType": Leaf.MEDIA_TYPE}))
_META: Final = Members({})
_IMPLEMENTATION: Final = Members({"websiteUrl": Leaf.ADDRESS, "icons": _ICONS, "_meta": _META})
_META.shapes["io.modelcontextprotocol/serverInfo"] = _IMPLEMENTATION
_COMMON: Final[Mapping[str, Shape]] = {"icons": _ICONS, "mimeType": Leaf.MEDIA_TYPE, "_meta": _META}
_CONTENTS: Final = Members(
    {"uri": Leaf.ADDRESS, "mimeType": Leaf.MEDIA_TYPE, "blob": Leaf.BASE64, "_meta": _META}
)
_BLOCK: Final = Members({**_COMMON, "type": Leaf.NAME, "uri": Leaf.ADDRESS, "resource": _CONTENTS})
_MEDIA: Final = Members({**_BLOCK.shapes, "data": Leaf.BASE64})
_CALL: Final = Members({"id": Leaf.OPAQUE, "name": Leaf.NAME, "_meta": _META})
_CONTENT: Final = Items(ByType({"image": _MEDIA, "audio": _MEDIA, "tool_use": _CALL}, _BLOCK))
# The result of a tool that is a block of a message (`tool_result`).
_BLOCK.shapes.update({"content": _CONTENT, "toolUseId": Leaf.OPAQUE})
_MESSAGES: Final = Items(Members({"role": Leaf.NAME, "content": _CONTENT}))
_TOOL: Final = Members(
    {**_COMMON, "name": Leaf.NAME, "inputSchema": Leaf.SCHEMA, "outputSchema": Leaf.SCHEMA}
)
_PROMPT: Final = Members(
    {**_COMMON, "name": Leaf.NAME, "arguments": Items(Members({"name": Leaf.NAME}))},
)
_RESOURCE: Final = Members({**_COMMON, "uri": Leaf.ADDRESS})
_TEMPLATE: Final = Members({**_COMMON, "uriTemplate": Leaf.TEMPLATE})
_TASK: Final[Mapping[str, Shape]] = {"taskId": Leaf.OPAQUE, "status": Leaf.NAME, "requestState": Leaf.OPAQUE}
# The params of requests and notifications of a server.
PARAMS: Final = Members(
    {
        **_TASK,
        "_meta": _META,
        "content": _CONTENT,
        "elicitationId": Leaf.OPAQUE,
        "messages": _MESSAGES,
        "mode": Leaf.NAME,
        "progressToken": Leaf.OPAQUE,
        "requestId": Leaf.OPAQUE,
        "requestedSchema": Leaf.SCHEMA,
        "tools": Items(_TOOL),
        "uri": Leaf.ADDRESS,
        "url": Leaf.ADDRESS,
    }
)
RESULT: Final = Members(
    {
        **_TASK,
        "_meta": _META,
        "content": _CONTENT,
        "contents": Items(_CONTENTS),
        "inputRequests": Values(Members({"method": Leaf.NAME, "params": PARAMS})),
        "messages": _MESSAGES,
        "nextCursor": Leaf.OPAQUE,
        "prompts": Items(_PROMPT),
        "resourceTemplates": Items(_TEMPLATE),
        "resources": Items(_RESOURCE),
        "resultType": Leaf.NAME,
        "serverInfo": _IMPLEMENTATION,
        "task": Members({**_TASK}),
        "tools": Items(_TOOL),
    }
)
# The result of a call in the result of `tasks/get` (extension io.modelcontextprotocol/tasks).
RESULT.shapes["result"] = RESULT
ERROR: Final = Members({"data": Members({"elicitations": Items(PARAMS)})})
# The lists whose items are independent of each other: the member of the result, and the shape of an item.
LISTS: Final[Mapping[str, Shape]] = {
    "tools": _TOOL,
    "prompts": _PROMPT,
    "resources": _RESOURCE,
    "resourceTemplates": _TEMPLATE,
}


# Members of texts that a path may name.
_NAMED: Final = frozenset(
    {"annotations", "capabilities", "code", "completion", "data", "description", "instructions", "isError"}
    | {"logger", "message", "name", "protocolVersion", "reason", "statusMessage", "structuredContent"}
    | {"systemPrompt", "text", "title", "values", "version"}
)


def member_shape(shape: Shape, members: json_object.Members, name: str) -> Shape:
    """Return the shape of a member of an object."""
    while isinstance(shape, Items | ByType):
        if isinstance(shape, Items):
            shape = shape.shape
        else:
            shape = shape.shapes.get(json_object.string(members.get("type")), shape.other)
    if isinstance(shape, Members):
        return shape.shapes.get(name, Leaf.TEXT)
    return shape.shape if isinstance(shape, Values) else shape


def pointer(shape: Shape, name: str, index: int) -> str:
    """Return the token of a JSON pointer for a member (RFC 6901): its name, or its index if the server may have chosen the name."""
    while isinstance(shape, Items | ByType):
        shape = shape.shape if isinstance(shape, Items) else shape.other
    known = isinstance(shape, Members) and (name in shape.shapes or name in _NAMED)
    return name.replace("/", "~1") if known else str(index)
