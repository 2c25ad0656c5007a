"""Translate messages of a modern server for a legacy client, and capabilities of that client for the server: a function for each rule.

Pure. Payloads are spliced, not re-encoded: a rule adds, drops or replaces members and keeps all others.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.limits import Limits
from ...validators.mcp_params import read_items
from ...validators.rejection import INVALID_PARAMS, too_large
from ...validators.revisions import AUDIO_SINCE, LINKS_SINCE, STRUCTURE_SINCE, URL_MODE_SINCE
from ..core import extensions
from ..core.errors import (
    RESERVED_CODES,
    RESOURCE_NOT_FOUND,
    URL_ELICITATION_REQUIRED,
    Fault,
    fault_text,
    read_fault,
)
from ..core.extensions import TASKS
from .rules_legacy_to_modern import replaced_error

_NO_OBJECT: Final = frozenset({"array", "string", "number", "integer", "boolean", "null"})

_encode = msgspec.json.Encoder().encode
_LIMITS: Final = Limits()
# Content without blocks: an empty array, or any value but an array.
_NO_ITEMS: Final = re.compile(rb"\[\s*+\]|[^\[]")


# ---- the capabilities of a client


def modern_client_capabilities(version: str, legacy: bytes | msgspec.Raw | None) -> bytes:
    """Return the client capabilities of `initialize` as a modern request declares them."""
    declared = extensions.carried(json_object.peek(legacy))
    declared.pop("tasks", None)
    if "roots" in declared:
        declared["roots"] = json_object.raw(b"{}")
    if version < URL_MODE_SINCE and "elicitation" in declared:
        declared["elicitation"] = json_object.raw(b"{}")
    return json_object.write(declared)


def add_extension(capabilities: bytes, name: str) -> bytes:
    """Return the client capabilities with this extension, without settings."""
    declared = json_object.peek(capabilities)
    extensions = json_object.peek(declared.get("extensions"))
    extensions[name] = json_object.raw(b"{}")
    declared["extensions"] = json_object.raw(json_object.write(extensions))
    return json_object.write(declared)


# ---- the result of initialize


def initialize_result(version: str, discovered: bytes | msgspec.Raw, name: str) -> bytes:
    """Return the result of `initialize` for a result of `server/discover`. `name` stands for a missing serverInfo."""
    found = json_object.peek(discovered)
    offered = extensions.carried(json_object.peek(found.get("capabilities")))
    info = json_object.peek(found.get("_meta")).get(stateless_request.SERVER_INFO)
    result: dict[str, object] = {
        "protocolVersion": version,
        "capabilities": offered,
        "serverInfo": {"name": name, "version": "0"} if info is None else info,
    }
    if "instructions" in found:
        result["instructions"] = found["instructions"]
    return json_object.write(result)


# ---- results


def legacy_result(
    method: str, modern_result: bytes | msgspec.Raw, version: str, limits: Limits = _LIMITS
) -> bytes | msgspec.Raw:
    """Return a modern `complete` result for a client of this revision.

    A result that no rule changes is returned unchanged, byte for byte. The same holds for a value that is not an object,
    such as null or an array.

    Raises Rejection for a list that must be read and exceeds the limits.
    """
    if modern_result and not json_object.is_object(modern_result):
        return modern_result
    found = json_object.peek(modern_result)
    before = dict(found)
    remove_modern_members(found)
    if method == "tools/call":
        downgrade_tool_result(found, version, limits)
    elif method == "tools/list" and version >= STRUCTURE_SINCE:
        wrap_output_schemas(found, limits)
    elif method == "prompts/get" and version < LINKS_SINCE:
        downgrade_prompt_messages(found, version, limits)
    # An unchanged value is the same object, because a rule replaces the objects that it changes.
    same = len(found) == len(before) and all(found.get(name) is value for name, value in before.items())
    return modern_result if found and same else json_object.write(found)


def remove_modern_members(found: Members) -> None:
    """Remove `resultType`, caching hints and the serverInfo, because some legacy clients refuse unknown members of empty results."""
    for name in ("resultType", "ttlMs", "cacheScope"):
        found.pop(name, None)
    _without_server_info(found)


def _without_server_info(found: Members) -> None:
    if "_meta" in found:
        meta = json_object.peek(found["_meta"])
        if meta.pop(stateless_request.SERVER_INFO, None) is not None:
            if meta:
                found["_meta"] = json_object.raw(json_object.write(meta))
            else:
                del found["_meta"]


def legacy_extension_result(modern_result: bytes) -> bytes:
    """Return the result of an extension method without the members that the modern era adds to every result."""
    found = json_object.peek(modern_result)
    if json_object.string(found.get("resultType")) != "complete":
        return modern_result
    del found["resultType"]
    _without_server_info(found)
    return json_object.write(found)


def downgrade_tool_result(found: Members, version: str, limits: Limits = _LIMITS) -> None:
    """Replace content blocks that this revision does not define, and make structured content an object."""
    content = found.get("content")
    empty = content is None or _NO_ITEMS.match(memoryview(content)) is not None
    structured = found.get("structuredContent")
    if structured is not None:
        whole = bytes(structured)[:1] == b"{"
        if not whole and version >= STRUCTURE_SINCE:
            found["structuredContent"] = json_object.raw(b'{"result":%b}' % bytes(structured))
        # Without a text block the client would see nothing of it.
        if empty and (not whole or version < STRUCTURE_SINCE):
            content = json_object.raw(_encode([_text_block(bytes(structured).decode("utf-8", "replace"))]))
            found["content"] = content
    content = found.setdefault("content", json_object.raw(b"[]"))
    if version < LINKS_SINCE and _may_need_downgrade(bytes(content)):
        blocks = read_items(content, limits)
        known = [downgrade_block(block, version) for block in blocks]
        if any(new is not old for new, old in zip(known, blocks, strict=True)):
            found["content"] = json_object.raw(_encode(known))


def downgrade_prompt_messages(found: Members, version: str, limits: Limits = _LIMITS) -> None:
    """Replace content blocks in the messages of a prompt that this revision does not define."""
    if not _may_need_downgrade(bytes(found.get("messages", b""))):
        return
    messages = [json_object.peek(message) for message in read_items(found["messages"], limits)]
    changed = False
    for message in messages:
        content = message.get("content")
        known = content if content is None else downgrade_block(content, version)
        if known is not None and known is not content:
            message["content"] = known
            changed = True
    if changed:
        found["messages"] = json_object.raw(_encode(messages))


def _may_need_downgrade(text: bytes) -> bool:
    return b"resource_link" in text or b"audio" in text


def downgrade_block(block: msgspec.Raw, version: str) -> msgspec.Raw:
    """Return a content block, or a text block in its place where this revision does not define its type."""
    text = bytes(block)
    if not _may_need_downgrade(text):
        return block
    read = json_object.peek(block)
    kind = json_object.string(read.get("type"))
    if kind == "resource_link":
        return _text_block(f"{json_object.string(read.get('name'))}: {json_object.string(read.get('uri'))}")
    if kind == "audio" and version < AUDIO_SINCE:
        return _text_block(f"[audio, {json_object.string(read.get('mimeType'))}]")
    return block


def _text_block(text: str) -> msgspec.Raw:
    return json_object.raw(_encode({"type": "text", "text": text}))


def wrap_output_schemas(found: Members, limits: Limits = _LIMITS) -> None:
    """Make each outputSchema of a list of tools describe an object, because `downgrade_tool_result` wraps the values.

    A schema that cannot be wrapped is removed. Raises Rejection if a tool has a schema and the list exceeds the limits.
    """
    listed = bytes(found.get("tools", b""))
    if b"outputSchema" not in listed:
        return
    if len(listed) > limits.list_bytes:
        raise too_large(f"a list of tools of {len(listed)} bytes", limits.list_bytes, "list_bytes")
    tools = [json_object.peek(tool) for tool in read_items(listed, limits)]
    changed = False
    for tool in tools:
        schema = tool.get("outputSchema")
        if schema is None or json_object.string(json_object.peek(schema).get("type")) == "object":
            continue
        changed = True
        wrapped = wrapped_schema(schema)
        if wrapped is None:
            del tool["outputSchema"]
        else:
            tool["outputSchema"] = wrapped
    if changed:
        found["tools"] = json_object.raw(_encode(tools))


def wrapped_schema(schema: msgspec.Raw) -> msgspec.Raw | None:
    """Return the schema of the object that `downgrade_tool_result` wraps a value in, None where that is not certain.

    It is not certain if objects conform to the schema, because objects are not wrapped. It is not certain if the schema has
    references, because a reference has another target one level further down.
    """
    inner = json_object.peek(schema)
    dialect = inner.pop("$schema", None)
    text = json_object.write(inner)
    if json_object.string(inner.get("type")) not in _NO_OBJECT or b'"$' in text or b"\\u00" in text:
        return None
    root: dict[str, object] = {} if dialect is None else {"$schema": dialect}
    root |= {"type": "object", "properties": {"result": json_object.raw(text)}, "required": ["result"]}
    return json_object.raw(json_object.write(root))


# ---- errors


def legacy_error(method: str, modern_error: bytes, version: str) -> bytes:
    """Return an error with a code that this revision defines (MCP 2025-11-25 schema). The data is kept."""
    fault = read_fault(modern_error)
    if fault.code == INVALID_PARAMS and method == "resources/read" and "uri" in _data(fault):
        return fault_text(RESOURCE_NOT_FOUND, fault.message, fault.data)
    if fault.code == stateless_request.MISSING_CAPABILITY:
        needed = ", ".join(sorted(_names(json_object.peek(_data(fault).get("requiredCapabilities")))))
        return fault_text(INVALID_PARAMS, f"requires client capability {needed}")
    known = fault.code == URL_ELICITATION_REQUIRED and version >= URL_MODE_SINCE
    if fault.code in RESERVED_CODES and not known:
        return replaced_error(fault)
    return modern_error


def legacy_extension_error(method: str, modern_error: bytes, version: str) -> bytes:
    """Return the error of an extension method unchanged, unless its code belongs to the era."""
    if extensions.is_about_the_era(read_fault(modern_error).code):
        return legacy_error(method, modern_error, version)
    return modern_error


def requires_tasks_extension(modern_error: bytes) -> bool:
    """Return whether the server refused a call because the client has not declared the tasks extension."""
    fault = read_fault(modern_error)
    if fault.code != stateless_request.MISSING_CAPABILITY:
        return False
    required = json_object.peek(_data(fault).get("requiredCapabilities"))
    return TASKS in json_object.peek(required.get("extensions"))


def _data(fault: Fault) -> Members:
    return json_object.peek(None if fault.data is msgspec.UNSET else fault.data)


def _names(required: Members) -> Iterable[str]:
    for name, value in required.items():
        inner = json_object.peek(value)
        yield from (f"{name}.{member}" for member in inner) if inner else (name,)


# ---- input requests, which become requests to the client


def is_declared(method: str, params: Members, capabilities: Members) -> bool:
    """Return whether a client with these capabilities answers this request."""
    if method == "roots/list":
        return "roots" in capabilities
    if method == "sampling/createMessage":
        sampling = json_object.peek(capabilities.get("sampling"))
        needs_tools = "tools" in params or "toolChoice" in params
        return "sampling" in capabilities and (not needs_tools or "tools" in sampling)
    if method == "elicitation/create":
        elicitation = json_object.peek(capabilities.get("elicitation"))
        if json_object.string(params.get("mode")) == "url":
            return "url" in elicitation
        return "form" in elicitation or ("elicitation" in capabilities and "url" not in elicitation)
    return False


def downgrade_sampling_messages(version: str, params: Members, limits: Limits = _LIMITS) -> None:
    """Split the messages of a sampling request into messages of one content block, and replace unknown blocks.

    Revisions before 2025-11-25 allow one block in a message (MCP 2025-06-18 schema, SamplingMessage).

    Raises Rejection for more messages than the limit.
    """
    messages: list[Members] = []
    for raw in read_items(params.get("messages"), limits):
        message = json_object.peek(raw)
        content = message.get("content", json_object.raw(b"null"))
        blocks = read_items(content, limits) if bytes(content).startswith(b"[") else [content]
        messages += [{**message, "content": _downgrade_sampling_block(block, version)} for block in blocks]
    params["messages"] = json_object.raw(_encode(messages))


def _downgrade_sampling_block(block: msgspec.Raw, version: str) -> msgspec.Raw:
    if json_object.string(json_object.peek(block).get("type")) in ("tool_use", "tool_result"):
        return _text_block(bytes(block).decode("utf-8", "replace"))
    return downgrade_block(block, version)


def downgrade_form(params: Members) -> bool:
    """Translate a form for revision 2025-06-18 (MCP 2025-06-18 schema, PrimitiveSchemaDefinition). Returns False if that is impossible."""
    params.pop("mode", None)
    schema = json_object.peek(params.get("requestedSchema"))
    properties = json_object.peek(schema.get("properties"))
    for name, raw in properties.items():
        field = json_object.peek(raw)
        kind = json_object.string(field.get("type"))
        if kind == "array":
            return False
        if kind != "boolean":
            field.pop("default", None)
        if "oneOf" in field:
            choices = [json_object.peek(choice) for choice in json_object.items(field.pop("oneOf"))]
            field["enum"] = json_object.raw(
                _encode([json_object.string(choice.get("const")) for choice in choices])
            )
            field["enumNames"] = json_object.raw(
                _encode([json_object.string(choice.get("title")) for choice in choices])
            )
        properties[name] = json_object.raw(json_object.write(field))
    if properties:
        schema["properties"] = json_object.raw(json_object.write(properties))
        params["requestedSchema"] = json_object.raw(json_object.write(schema))
    return True
