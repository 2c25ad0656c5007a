"""Set an entry in the YAML files of Goose and Continue, without a change to the rest.

Positions come from PyYAML. Invariant: after the edit, the text has the values of the text before and the edit, and no other.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from .import_texts import BadImport
from .import_yaml import compose_yaml, read_yaml
from .json_edit import with_plain_ends
from .tables import BadConfig

_STEP: Final = "  "


def with_entry(text: str, table: str, name: str, value: Mapping[str, Any]) -> str:
    """Return the text with an entry in the mapping `table` (Goose). Raises BadConfig and BadImport."""
    if (plain := with_plain_ends(text)) != text:
        return with_entry(plain, table, name, value).replace("\n", "\r\n")
    wanted, present = _read(text, table, dict)
    wanted[table] = {**present, name: dict(value)}
    merged = _merged(text, table, name, present.get(name), value)
    if merged is not None and _means(merged, wanted):
        return merged

    def lines(indent: str) -> list[str]:
        return [f"{indent}{_scalar(name)}:", *_lines(value, indent + _STEP)]

    return _checked(_edited(text, table, name, lines, listed=False), wanted, table)


def with_item(text: str, table: str, value: Mapping[str, Any]) -> str:
    """Return the text with an item in the list `table` (Continue), in place of one with the same name."""
    if (plain := with_plain_ends(text)) != text:
        return with_item(plain, table, value).replace("\n", "\r\n")
    wanted, items = _read(text, table, list)
    at = next((at for at, one in enumerate(items) if _name_of(one) == value["name"]), len(items))
    former = items[at] if at < len(items) else None
    wanted[table] = [*items[:at], dict(value), *items[at + 1 :]]
    merged = _merged(text, table, at, former, value)
    if merged is not None and _means(merged, wanted):
        return merged

    def lines(indent: str) -> list[str]:
        first, *rest = _lines(value, indent + _STEP)
        return [f"{indent}- {first.strip()}", *rest]

    return _checked(_edited(text, table, str(value["name"]), lines, listed=True), wanted, table)


def _read(text: str, table: str, kind: type) -> tuple[dict[str, Any], Any]:
    """Return the values of a text, and those of a table, which is empty where there is none. Raises BadConfig, BadImport."""
    found = {} if compose_yaml(text) is None else read_yaml(text)
    present: object = found.get(table) or kind()
    if not isinstance(present, kind):
        raise BadConfig(f"{table} is not a {'mapping' if kind is dict else 'list'}; add the entry by hand")
    return found, present


def _name_of(item: object) -> object:
    return cast("dict[str, object]", item).get("name") if isinstance(item, dict) else None


def _checked(new: str, wanted: dict[str, Any], table: str) -> str:
    if not _means(new, wanted):
        raise BadConfig(f"{table}: the file has a spelling that cannot be edited here; add the entry by hand")
    return new


def _means(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return read_yaml(text) == wanted
    except (BadImport, RecursionError):
        # Also a file with an alias for a part that contains it.
        return False


def _merged(text: str, table: str, name: str | int, former: object, value: Mapping[str, Any]) -> str | None:
    """Return the text with other lines for those members of an entry that differ, so that its comments stay.

    `name` is the key of the entry, or its number in a list. Returns None for an entry without comments, for one that is no
    block of lines, and for one that loses its first member, with which its first line begins.
    """
    if not isinstance(former, dict):
        return None
    holder = [node for key, node in compose_yaml(text).value if key.value == table][-1]
    entry = holder.value[name] if isinstance(name, int) else _value_in(holder, name)
    pairs = entry.value
    if entry.flow_style or "#" not in text[entry.start_mark.index : entry.end_mark.index]:
        return None
    if pairs[0][0].value not in value:
        return None
    indent = " " * entry.start_mark.column
    changed = {key for key in value if key not in former or former[key] != value[key]}
    parts: list[str] = []
    end = entry.start_mark.index
    for key, node in pairs:
        first, last = key.start_mark.index, _line_end(text, _real_end(node))
        # The indentation of the line stays for a member that stays.
        first -= 0 if first == entry.start_mark.index else len(indent)
        parts.append(text[end:first])
        end = last + 1
        if key.value in changed:
            new = "\n".join(_lines({key.value: value[key.value]}, indent))
            parts.append(f"{new.removeprefix(indent) if first == entry.start_mark.index else new}\n")
        elif key.value in value:
            parts.append(text[first:end])
    added = {key: value[key] for key in value if key not in former}
    parts += [f"{line}\n" for line in _lines(added, indent)]
    return f"{text[: entry.start_mark.index]}{''.join(parts)}{text[end:]}"


def _value_in(mapping: Any, name: str) -> Any:  # noqa: ANN401 - nodes of PyYAML
    return next(value for key, value in reversed(mapping.value) if key.value == name)


def _lines(value: Mapping[str, Any], indent: str) -> list[str]:
    found: list[str] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            found += [f"{indent}{key}:", *_lines(cast("Mapping[str, Any]", inner), indent + _STEP)]
        else:
            found.append(f"{indent}{key}: {_scalar(cast('object', inner))}")
    return found


def _scalar(value: object) -> str:
    # Strings, numbers, booleans and lists of JSON are YAML.
    return json.dumps(value, ensure_ascii=False)


def _edited(text: str, table: str, name: str, lines: Any, *, listed: bool) -> str:  # noqa: ANN401 - a function of the indentation
    """Return the text with lines in place of an entry, after the last entry, or in a new table at the end."""
    top = compose_yaml(text)
    holder = None
    for key, node in top.value if top is not None else ():
        if key.value == table:
            holder = (key, node)
    if holder is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}{table}:\n" + "".join(f"{line}\n" for line in lines(_STEP))
    key, node = holder
    if node.id == "scalar" or not node.value:
        # An empty mapping, an empty list, or null.
        start, end = key.end_mark.index, _line_end(text, node.end_mark.index)
        return (
            f"{text[:start]}:\n"
            + "".join(f"{line}\n" for line in lines(_STEP))
            + text[end:].removeprefix("\n")
        )
    entries = [*node.value] if listed else [pair[1] for pair in node.value]
    starts = [one.start_mark for one in entries] if listed else [pair[0].start_mark for pair in node.value]
    indent = " " * node.start_mark.column
    names = [_item_name(one) for one in entries] if listed else [pair[0].value for pair in node.value]
    block = "\n".join(lines(indent))
    if name in names:
        at = names.index(name)
        first = text.rfind("\n", 0, starts[at].index) + 1
        return f"{text[:first]}{block}\n{text[_line_end(text, _real_end(entries[at])) + 1 :]}"
    last = _line_end(text, _real_end(entries[-1]))
    return f"{text[:last]}\n{block}\n{text[last + 1 :]}"


def _item_name(item: Any) -> object:  # noqa: ANN401 - a node of PyYAML
    pairs = item.value if item.id == "mapping" else ()
    return next((value.value for key, value in pairs if key.value == "name"), None)


def _real_end(node: Any) -> int:  # noqa: ANN401 - a node of PyYAML
    """Return the position after the last scalar. The end of a block that PyYAML names is that of the comments after it."""
    if node.id == "scalar" or node.flow_style or not node.value:
        return int(node.end_mark.index) - (node.id == "scalar" and node.style in ("|", ">"))
    last = node.value[-1]
    return _real_end(last if node.id == "sequence" else last[1])


def _line_end(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found
