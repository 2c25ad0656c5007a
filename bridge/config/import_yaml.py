"""Read YAML, as Goose and Continue write it. PyYAML is imported only here, and only if such a file is read.

PyYAML resolves plain scalars as YAML 1.1 does, in which `on` and `no` are booleans and `0777` is octal. The clients read
YAML 1.2, so scalars are resolved here, by its core schema (YAML 1.2.2 section 10.3.2).
"""

import re
from typing import Any, Final, cast

from .import_texts import BadImport

# PyYAML needs about a second for so much text (characters).
LONGEST_YAML: Final = 262144
_NO_LIBRARY: Final = "this file is YAML, and PyYAML is not installed; install mcpbridged[yaml], for example with `pipx inject mcpbridged pyyaml`"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def compose_yaml(text: str) -> Any:  # noqa: ANN401 - a node of PyYAML, or None
    """Return the node of the only document, with the positions of its parts. Raises BadImport."""
    try:
        import yaml  # noqa: PLC0415 - optional, and needed for YAML only
    except ImportError:
        raise BadImport(_NO_LIBRARY) from None
    if len(text) > LONGEST_YAML:
        raise BadImport(f"the YAML has {len(text)} characters; the limit is {LONGEST_YAML}")
    try:
        return yaml.compose(text, yaml.SafeLoader)  # pyright: ignore[reportUnknownMemberType]  # the stubs name no type
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadImport(f"not valid YAML: {where}{fault.problem or fault.context}") from None
    except yaml.YAMLError:
        raise BadImport("not valid YAML: it has a character that YAML does not allow") from None
    except RecursionError:
        raise BadImport("the YAML is nested too deeply") from None


def read_yaml(text: str) -> dict[str, Any]:
    """Return the object of a YAML text. Raises BadImport with the position."""
    try:
        value = _value_of(compose_yaml(text), {})
    except RecursionError:
        raise BadImport("the YAML is nested too deeply") from None
    if not isinstance(value, dict):
        raise BadImport("the YAML is not an object")
    return cast("dict[str, Any]", value)


def _value_of(node: Any, made: dict[int, object]) -> object:  # noqa: ANN401 - a node of PyYAML, or None
    """Return the value of a node. `made` has the values of aliases, so that each is made once."""
    if node is None:
        return None
    known = id(node)
    if known in made:
        return made[known]
    if node.id == "mapping":
        mapping: dict[str, object] = {}
        made[known] = mapping
        for key, value in node.value:
            mapping[str(key.value)] = _value_of(value, made)
        return mapping
    if node.id == "sequence":
        sequence: list[object] = []
        made[known] = sequence
        sequence += [_value_of(one, made) for one in node.value]
        return sequence
    return _scalar(node.value, plain=node.style is None)


def _scalar(text: str, *, plain: bool) -> object:
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text
