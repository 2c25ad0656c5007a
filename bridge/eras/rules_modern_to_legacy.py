"""What a modern server says, as a legacy client must hear it: one rule, one function (specification digest, 8.3, L→M).

Pure. Payloads are spliced, not re-encoded: a rule adds, drops or replaces members, and what it is not about stays as it was.
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
from ..core import extensions
from ..core.errors import RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED, Fault, fault_text, read_fault
from ..core.extensions import TASKS
from .rules_legacy_to_modern import replaced_fault

# The revisions in which things have come to be (digest 1.11).
AUDIO_SINCE: Final = "2025-03-26"
LINKS_SINCE: Final = "2025-06-18"
STRUCTURE_SINCE: Final = "2025-06-18"
URL_MODE_SINCE: Final = "2025-11-25"
BLOCKS_SINCE: Final = "2025-11-25"
_RESERVED: Final = range(-32099, -32019)
_NO_OBJECT: Final = frozenset({"array", "string", "number", "integer", "boolean", "null"})

_encode = msgspec.json.Encoder().encode
_LIMITS: Final = Limits()
# What has no content blocks: an empty array, or what is no array.
_NO_ITEMS: Final = re.compile(rb"\[\s*+\]|[^\[]")


# ---- what a client says of itself


def capabilities_for(version: str, legacy: bytes | msgspec.Raw | None) -> bytes:
    """The capabilities of `initialize` as a modern request states them (digest 8.2)."""
    declared = extensions.carried(json_object.peek(legacy))
    declared.pop("tasks", None)
    if "roots" in declared:
        declared["roots"] = json_object.raw(b"{}")
    if version < URL_MODE_SINCE and "elicitation" in declared:
        declared["elicitation"] = json_object.raw(b"{}")
    return json_object.write(declared)


def with_tasks(capabilities: bytes) -> bytes:
    """Return the capabilities with the extension without which a server refuses a call that becomes a task."""
    return with_extension(capabilities, TASKS)


def with_extension(capabilities: bytes, name: str) -> bytes:
    """Return the client capabilities with this extension, without settings."""
    declared = json_object.peek(capabilities)
    extensions = json_object.peek(declared.get("extensions"))
    extensions[name] = json_object.raw(b"{}")
    declared["extensions"] = json_object.raw(json_object.write(extensions))
    return json_object.write(declared)


# ---- what a server says of itself


def initialize_result(version: str, discovered: bytes | msgspec.Raw, name: str) -> bytes:
    """The answer to `initialize` out of that to `server/discover` (digest 8.2)."""
    found = json_object.peek(discovered)
    offered = extensions.carried(json_object.peek(found.get("capabilities")))
    info = json_object.peek(found.get("_meta")).get(stateless_request.SERVER_INFO)
    answer: dict[str, object] = {
        "protocolVersion": version,
        "capabilities": offered,
        "serverInfo": {"name": name, "version": "0"} if info is None else info,
    }
    if "instructions" in found:
        answer["instructions"] = found["instructions"]
    return json_object.write(answer)


# ---- results


def result(
    method: str, modern_result: bytes | msgspec.Raw, version: str, limits: Limits = _LIMITS
) -> bytes | msgspec.Raw:
    """A complete modern result for a client of this revision. One that no rule is about stays as it was, byte for byte.

    So does any value that is no object, such as null or an array.

    Raises Rejection for a list that must be looked into and is beyond the limits.
    """
    if modern_result and not json_object.is_object(modern_result):
        return modern_result
    found = json_object.peek(modern_result)
    before = dict(found)
    without_modern_members(found)
    if method == "tools/call":
        with_content(found, version, limits)
    elif method == "tools/list" and version >= STRUCTURE_SINCE:
        with_object_schemas(found, limits)
    elif method == "prompts/get" and version < LINKS_SINCE:
        with_known_messages(found, version, limits)
    # An unchanged value is the same object: the rules put new ones in the place of what they change.
    same = len(found) == len(before) and all(found.get(name) is value for name, value in before.items())
    return modern_result if found and same else json_object.write(found)


def without_modern_members(found: Members) -> None:
    """Without `resultType`, caching hints and the server's name: some clients refuse what they do not know (digest 1.12)."""
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


def extension_result(modern_result: bytes) -> bytes:
    """The result of a method outside of the core: without what the modern era adds to every result, else as it is."""
    found = json_object.peek(modern_result)
    if json_object.string(found.get("resultType")) != "complete":
        return modern_result
    del found["resultType"]
    _without_server_info(found)
    return json_object.write(found)


def with_content(found: Members, version: str, limits: Limits = _LIMITS) -> None:
    """A tool's result with content that this revision knows, and structured content that is an object."""
    content = found.get("content")
    empty = content is None or _NO_ITEMS.match(memoryview(content)) is not None
    structured = found.get("structuredContent")
    if structured is not None:
        whole = bytes(structured)[:1] == b"{"
        if not whole and version >= STRUCTURE_SINCE:
            found["structuredContent"] = json_object.raw(b'{"result":%b}' % bytes(structured))
        if empty and (not whole or version < STRUCTURE_SINCE):  # else the client would see nothing of it
            content = json_object.raw(_encode([_text_block(bytes(structured).decode("utf-8", "replace"))]))
            found["content"] = content
    content = found.setdefault("content", json_object.raw(b"[]"))
    if version < LINKS_SINCE and _may_be_unknown(bytes(content)):
        blocks = read_items(content, limits)
        known = [known_block(block, version) for block in blocks]
        if any(new is not old for new, old in zip(known, blocks, strict=True)):
            found["content"] = json_object.raw(_encode(known))


def with_known_messages(found: Members, version: str, limits: Limits = _LIMITS) -> None:
    """A prompt whose messages hold nothing that this revision does not know."""
    if not _may_be_unknown(bytes(found.get("messages", b""))):
        return
    messages = [json_object.peek(message) for message in read_items(found["messages"], limits)]
    changed = False
    for message in messages:
        content = message.get("content")
        known = content if content is None else known_block(content, version)
        if known is not None and known is not content:
            message["content"] = known
            changed = True
    if changed:
        found["messages"] = json_object.raw(_encode(messages))


def _may_be_unknown(text: bytes) -> bool:
    return b"resource_link" in text or b"audio" in text


def known_block(block: msgspec.Raw, version: str) -> msgspec.Raw:
    """A content block, or what stands for it where its type is younger than the client (digest 1.11)."""
    text = bytes(block)
    if not _may_be_unknown(text):
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


def with_object_schemas(found: Members, limits: Limits = _LIMITS) -> None:
    """Tools whose outputSchema, if they have one, describes an object, as structured content is one here.

    Raises Rejection where some have one and the list is beyond the limits.
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
        wrapped = object_root(schema)
        if wrapped is None:
            del tool["outputSchema"]
        else:
            tool["outputSchema"] = wrapped
    if changed:
        found["tools"] = json_object.raw(_encode(tools))


def object_root(schema: msgspec.Raw) -> msgspec.Raw | None:
    """The schema of what `with_content` makes of a value; None where that cannot be said for certain.

    That is so if an object may conform, which would not be wrapped, and if the schema has references, which would lead
    elsewhere from one level further down.
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


def error(method: str, modern_error: bytes, version: str) -> bytes:
    """An error with codes that a client of this revision knows (digest 1.13, 8.3). Its data is kept."""
    fault = read_fault(modern_error)
    if fault.code == INVALID_PARAMS and method == "resources/read" and "uri" in _data(fault):
        return fault_text(RESOURCE_NOT_FOUND, fault.message, fault.data)
    if fault.code == stateless_request.MISSING_CAPABILITY:
        needed = ", ".join(sorted(_names(json_object.peek(_data(fault).get("requiredCapabilities")))))
        return fault_text(INVALID_PARAMS, f"requires client capability {needed}")
    known = fault.code == URL_ELICITATION_REQUIRED and version >= URL_MODE_SINCE
    if fault.code in _RESERVED and not known:
        return replaced_fault(fault)
    return modern_error


def extension_error(method: str, modern_error: bytes, version: str) -> bytes:
    """The error of a method outside of the core: as it is, unless it is about the era."""
    if extensions.is_about_the_era(read_fault(modern_error).code):
        return error(method, modern_error, version)
    return modern_error


def needs_tasks(modern_error: bytes) -> bool:
    """Whether a call was refused only because its client had not declared the tasks extension."""
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
        yield from (f"{name}.{one}" for one in inner) if inner else (name,)


# ---- inputs, which become requests to the client


def is_declared(method: str, params: Members, capabilities: Members) -> bool:
    """Whether a client with these capabilities can be asked this (digest 8.4)."""
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


def messages_for(version: str, params: Members, limits: Limits = _LIMITS) -> None:
    """Make the messages of a sampling request ones that this revision knows: of a single block each (digest 1.9).

    Raises Rejection for more of them than the limit.
    """
    messages: list[Members] = []
    for raw in read_items(params.get("messages"), limits):
        message = json_object.peek(raw)
        content = message.get("content", json_object.raw(b"null"))
        blocks = read_items(content, limits) if bytes(content).startswith(b"[") else [content]
        messages += [{**message, "content": _known_sample(block, version)} for block in blocks]
    params["messages"] = json_object.raw(_encode(messages))


def _known_sample(block: msgspec.Raw, version: str) -> msgspec.Raw:
    if json_object.string(json_object.peek(block).get("type")) in ("tool_use", "tool_result"):
        return _text_block(bytes(block).decode("utf-8", "replace"))
    return known_block(block, version)


def form_for_2025_06_18(params: Members) -> bool:
    """Make a form one that revision 2025-06-18 knows; False where it cannot be said there (digest 8.4)."""
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
            choices = [json_object.peek(policy) for policy in json_object.items(field.pop("oneOf"))]
            field["enum"] = json_object.raw(
                _encode([json_object.string(one.get("const")) for one in choices])
            )
            field["enumNames"] = json_object.raw(
                _encode([json_object.string(one.get("title")) for one in choices])
            )
        properties[name] = json_object.raw(json_object.write(field))
    if properties:
        schema["properties"] = json_object.raw(json_object.write(properties))
        params["requestedSchema"] = json_object.raw(json_object.write(schema))
    return True
