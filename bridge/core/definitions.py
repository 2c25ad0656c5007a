"""Give each definition that a server offers a canonical form and a hash. Pure.

A definition is a tool, a prompt or a resource template as the server lists it, or the `instructions` of the server. The
canonical form has sorted members. The order of `required` and of a list of types is not significant (JSON Schema 2020-12
validation), so these are sorted too. All other lists keep their order.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import attrs

TOOL: Final = "tool"
PROMPT: Final = "prompt"
TEMPLATE: Final = "resource template"
RESOURCE: Final = "resource"
INSTRUCTIONS: Final = "instructions"
# Deeper values keep their order (levels). A message has at most `limits.json_depth` levels.
_DEEPEST: Final = 200
_HEADER: Final = "x-mcp-header"
# Lists of strings whose order has no meaning.
_SETS: Final = frozenset({"required", "type"})


@attrs.frozen
class Kind:
    """A kind of definitions: the method that lists them, the member of its result, and the member that names one."""

    name: str
    method: str
    member: str
    identity: str
    # The capability that a server declares for the method.
    capability: str


KINDS: Final = (
    Kind(TOOL, "tools/list", "tools", "name", "tools"),
    Kind(PROMPT, "prompts/list", "prompts", "name", "prompts"),
    Kind(TEMPLATE, "resources/templates/list", "resourceTemplates", "uriTemplate", "resources"),
    Kind(RESOURCE, "resources/list", "resources", "uri", "resources"),
)


@attrs.frozen
class Definition:
    """One definition. `content` is what the server has sent: an object, or a text for the instructions."""

    kind: str
    name: str
    content: Any

    @property
    def label(self) -> str:
        """The kind and the name, as messages show them."""
        return f"{self.kind} {self.name}" if self.name else self.kind


def definitions_in(kind: Kind, items: Iterable[object]) -> list[Definition]:
    """Return the definitions in the items of a list. An item that is no object has no name and stays as it is."""
    return [Definition(kind.name, _name(kind, item), item) for item in items]


def canonical(content: object) -> str:
    """Return the canonical form of a value of JSON: ASCII, sorted members, no spaces."""
    return json.dumps(_ordered(content, "", 0), sort_keys=True, separators=(",", ":"))


def of_any_era(content: object) -> object:
    """Return a definition without the members that depend on the era of the client.

    A client of the other era than the server gets it translated: without `execution`, without header annotations that are not
    valid, and with an output schema of no object inside of one, or without it.
    """
    if not isinstance(content, dict):
        return content
    found = {key: value for key, value in cast("dict[str, object]", content).items() if key != "execution"}
    if "inputSchema" in found:
        found["inputSchema"] = _without_annotations(found["inputSchema"], 0)
    if not _describes_object(found.get("outputSchema")):
        found.pop("outputSchema", None)
    return found


def digest(form: str) -> str:
    """Return the hash of a canonical form."""
    return f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"


def _name(kind: Kind, item: object) -> str:
    found: object = cast("Mapping[str, object]", item).get(kind.identity) if isinstance(item, dict) else None
    return found if isinstance(found, str) else ""


def _describes_object(schema: object) -> bool:
    """Return whether a translation keeps an output schema: it describes an object, and not only one around a value."""
    if not isinstance(schema, dict):
        return False
    found = cast("Mapping[str, object]", schema)
    properties = found.get("properties")
    is_around_value = (
        not {*found} - {"$schema", "type", "properties", "required"}
        and found.get("required") == ["result"]
        and isinstance(properties, dict)
        and {*cast("dict[str, object]", properties)} == {"result"}
    )
    return found.get("type") == "object" and not is_around_value


def _without_annotations(value: object, depth: int) -> object:
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return {key: _without_annotations(one, depth + 1) for key, one in members if key != _HEADER}
    if isinstance(value, list):
        return [_without_annotations(one, depth + 1) for one in cast("list[object]", value)]
    return value


def _ordered(value: object, member: str, depth: int) -> object:
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        return {key: _ordered(one, key, depth + 1) for key, one in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        items = [_ordered(one, "", depth + 1) for one in cast("list[object]", value)]
        if member in _SETS and all(isinstance(one, str) for one in items):
            return sorted(cast("list[str]", items))
        return items
    return value
