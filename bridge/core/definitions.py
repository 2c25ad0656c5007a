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


def digest(form: str) -> str:
    """Return the hash of a canonical form."""
    return f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"


def _name(kind: Kind, item: object) -> str:
    found: object = cast("Mapping[str, object]", item).get(kind.identity) if isinstance(item, dict) else None
    return found if isinstance(found, str) else ""


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
