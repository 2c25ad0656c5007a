"""Three tools in place of all: search tools, describe them, and call one. Pure: JSON text in, JSON text out.

For clients that cannot load the definitions of tools on demand. A call is rewritten to one of the tool that it names, so that its
result passes byte for byte.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object
from ...validators.json_object import Members
from .tool_names import near, unknown_tool

SURFACE: Final = "search"
SEARCH: Final = "search_tools"
DESCRIBE: Final = "describe_tools"
CALL: Final = "call_tool"

# Tools of one page: usually, and at most.
_PAGE: Final = 20
MOST_FOUND: Final = 50
# Tools that one call of `DESCRIBE` returns, at most.
MOST_DESCRIBED: Final = 20
# Similar names are determined for so many unknown ones, because that takes time.
_MOST_SUGGESTED: Final = 4
# The part of a query that is read (characters), and of a description that is searched and shown.
_LONGEST_QUERY: Final = 256
_SEARCHED: Final = 4096
_SHOWN: Final = 160
_WORD: Final = re.compile(r"[^\W_]+")
# The weights of a word of the query that is a word of the name, a part of it, and the beginning of a word of the description.
_IS_WORD: Final = 8
_IN_NAME: Final = 4
_IN_DESCRIPTION: Final = 1


class ToolFault(Exception):
    """Raised for arguments that cannot be used. The text is for the model."""


class Tool(NamedTuple):
    """An offered tool: its name, its server and its definition."""

    name: str
    server: str
    definition: msgspec.Raw


class Search(NamedTuple):
    """The arguments of `SEARCH`."""

    query: str
    server: str
    limit: int
    offset: int


def definitions(servers: Sequence[str]) -> list[msgspec.Raw]:
    """Return the definitions of the three tools."""
    reads = {"readOnlyHint": True, "openWorldHint": False}
    search = {
        "name": SEARCH,
        "title": "Search tools",
        "description": (
            "Find the tools of this server by words of their names and descriptions. Tools are called with "
            f"{CALL}; {DESCRIBE} returns their arguments. An empty query lists all tools."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words to search for."},
                "server": {
                    "type": "string",
                    "enum": [*servers],
                    "description": "Only the tools of this server.",
                },
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST_FOUND, "default": _PAGE},
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "default": 0,
                    "description": "The number of tools to skip, for the next page.",
                },
            },
        },
        "annotations": reads,
    }
    describe = {
        "name": DESCRIBE,
        "title": "Describe tools",
        "description": f"Return the definitions of tools with their input schemas, by names that {SEARCH} has returned.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "names": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": MOST_DESCRIBED,
                }
            },
            "required": ["names"],
        },
        "annotations": reads,
    }
    call = {
        "name": CALL,
        "title": "Call a tool",
        "description": f"Call a tool by its name, with arguments that fit its input schema ({DESCRIBE}).",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "The name of the tool."},
                "arguments": {"type": "object", "description": "The arguments of the tool."},
            },
            "required": ["name"],
        },
    }
    return [msgspec.Raw(msgspec.json.encode(one)) for one in (search, describe, call)]


# ---- arguments


def _arguments(params: bytes) -> Members:
    return json_object.peek(json_object.read(params).get("arguments"))


def read_search(params: bytes, servers: Sequence[str]) -> Search:
    """Return the arguments of a call of `SEARCH`. Raises ToolFault."""
    found = _arguments(params)
    server = _text(found, "server")
    if server and server not in servers:
        raise ToolFault(f"there is no server {server!r}; there are: {', '.join(servers)}")
    limit = _number(found, "limit", _PAGE, 1)
    return Search(
        _text(found, "query")[:_LONGEST_QUERY], server, min(limit, MOST_FOUND), _number(found, "offset", 0, 0)
    )


def read_names(params: bytes) -> list[str]:
    """Return the names in a call of `DESCRIBE`, each once. Raises ToolFault."""
    found = json_object.items_up_to(MOST_DESCRIBED, _arguments(params).get("names"))
    if found is None:
        raise ToolFault(f"names has more than {MOST_DESCRIBED} elements, the limit")
    names = [name for name in dict.fromkeys(map(json_object.string, found)) if name]
    if not names:
        raise ToolFault("names must be a list of names of tools")
    return names


def read_call(params: bytes) -> tuple[str, bytes]:
    """Return the name of the tool in a call of `CALL`, and the params of the call of that tool. Raises ToolFault.

    All that is no argument belongs to the call, such as progress tokens and the responses of an input round.
    """
    found = json_object.read(params)
    arguments = json_object.peek(found.get("arguments"))
    name = _text(arguments, "name")
    if not name:
        raise ToolFault("name must be the name of a tool")
    found["name"] = arguments["name"]
    if "arguments" in arguments:
        found["arguments"] = arguments["arguments"]
    else:
        del found["arguments"]
    return name, json_object.write(found)


def _text(found: Members, key: str) -> str:
    if key not in found:
        return ""
    value = json_object.string(found[key])
    if not value and bytes(found[key]) != b'""':
        raise ToolFault(f"{key} must be a string")
    return value


def _number(found: Members, key: str, default: int, least: int) -> int:
    if key not in found:
        return default
    value = json_object.number(found[key])
    if value is None or not least <= value < 2**31 or value % 1:
        raise ToolFault(f"{key} must be a whole number of {least} or more")
    return int(value)


# ---- results


def search_result(tools: Iterable[Tool], wanted: Search) -> bytes:
    """Return the result of `SEARCH`: one page of the tools that have a word of the query, the best first."""
    words = [word.lower() for word in _WORD.findall(wanted.query)]
    ranked: list[tuple[int, int, int, Tool]] = []
    for index, tool in enumerate(tools):
        if wanted.server not in ("", tool.server):
            continue
        scores = _scores(tool, words)
        if not words or any(scores):
            ranked.append((-sum(map(bool, scores)), -sum(scores), index, tool))
    ranked.sort(key=lambda one: one[:3])
    end = wanted.offset + wanted.limit
    page = [tool for *_, tool in ranked[wanted.offset : end]]
    found: dict[str, object] = {"tools": [_summary(tool) for tool in page], "total": len(ranked)}
    if end < len(ranked):
        found["next_offset"] = end
    return _result(json_object.write(found))


def _scores(tool: Tool, words: Sequence[str]) -> list[int]:
    """Return the weight of each word of a query, 0 for a word that the tool does not have."""
    if not words:
        return []
    name = tool.name.lower()
    parts = set(_WORD.findall(name))
    about = json_object.peek(tool.definition)
    text = " ".join(json_object.string(about.get(key))[:_SEARCHED] for key in ("title", "description"))
    described = set(_WORD.findall(text.lower()))
    return [
        _IS_WORD * (word in parts)
        + _IN_NAME * (word in name)
        + _IN_DESCRIPTION * any(one.startswith(word) for one in described)
        for word in words
    ]


def _summary(tool: Tool) -> msgspec.Raw:
    description = " ".join(json_object.string(json_object.peek(tool.definition).get("description")).split())
    if len(description) > _SHOWN:
        description = f"{description[: _SHOWN - 1]}…"
    found = {"name": tool.name, **({"description": description} if description else {})}
    return msgspec.Raw(
        json_object.write({key: json_object.raw(json_object.text(value)) for key, value in found.items()})
    )


def description_result(tools: Mapping[str, Tool], names: Sequence[str]) -> bytes:
    """Return the result of `DESCRIBE`: the definitions as in a list of tools, and the names that are unknown."""
    unknown = [name for name in names if name not in tools]
    if len(unknown) == len(names):
        suggested, others = unknown[:_MOST_SUGGESTED], unknown[_MOST_SUGGESTED:]
        texts = [*(unknown_tool(name, tools) for name in suggested), *map(unknown_tool, others)]
        return fault_result(". ".join(texts))
    found: dict[str, object] = {"tools": [tools[name].definition for name in names if name in tools]}
    if unknown:
        found["unknown"] = [
            {"name": name, "similar": near(name, tools) if index < _MOST_SUGGESTED else []}
            for index, name in enumerate(unknown)
        ]
    return _result(json_object.write(found))


def fault_result(text: str) -> bytes:
    """Return the result of a call that has failed, for the model."""
    return _result(text.encode(errors="replace"), failed=True)


def _result(text: bytes, *, failed: bool = False) -> bytes:
    content = {"type": "text", "text": json_object.raw(json_object.text(text.decode()))}
    return json_object.write(
        {"resultType": "complete", "content": [content], **({"isError": True} if failed else {})}
    )
