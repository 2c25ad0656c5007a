"""Translate messages of a legacy server for a modern client, and requests of that client for the server: a function for each rule.

Pure. Payloads are spliced, not re-encoded: a rule adds, drops or replaces members of the outermost object, and reads nested
values only where the rule is about them.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.mcp_params import read_items
from ...validators.mirrored_headers import SchemaReader
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, too_large
from ...validators.revisions import MODERN_REVISION
from ..core import extensions
from ..core.errors import (
    RESERVED_CODES,
    RESOURCE_NOT_FOUND,
    URL_ELICITATION_REQUIRED,
    Fault,
    fault_text,
    read_fault,
)
from ..core.tasks import RELATED_TASK

_SERVER_INFO: Final = stateless_request.SERVER_INFO.encode()
_COMPLETE: Final = json_object.raw(b'"complete"')
_STALE: Final = json_object.raw(b"0")
_PRIVATE: Final = json_object.raw(b'"private"')
_NO_CONTENT: Final = json_object.raw(b"[]")

# Methods whose results carry caching hints (MCP 2026-07-28 server/utilities/caching).
CACHEABLE: Final = frozenset(
    {"tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
    | {"server/discover"}
)
# Members of the `_meta` of a modern request that a legacy server must not receive.
_ENVELOPE_KEYS: Final = (
    stateless_request.PROTOCOL_VERSION,
    stateless_request.CLIENT_CAPABILITIES,
    stateless_request.CLIENT_INFO,
    stateless_request.LOG_LEVEL,
)


class _PlainCall(msgspec.Struct, gc=False):
    name: msgspec.Raw
    arguments: msgspec.Raw


class _PlainResult(msgspec.Struct, gc=False):
    content: msgspec.Raw
    isError: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the spelling of the protocol
    structuredContent: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - likewise


_decode_plain_call = msgspec.json.Decoder(_PlainCall).decode
_decode_plain_result = msgspec.json.Decoder(_PlainResult).decode
# Longer params and results are not decoded once more to find out whether they are plain (bytes).
_PLAIN_SIZE: Final = 64 * 1024
_CALL_FRAME: Final = len('{"name":,"arguments":')
_RESULT_FRAME: Final = len('{"content":}')
_ERROR_FRAME: Final = len(',"isError":')
_STRUCTURE_FRAME: Final = len(',"structuredContent":')

_encode = msgspec.json.Encoder().encode
_LIMITS: Final = Limits()
# An escaped letter: the name of a member may be spelled with escapes.
_SPELLED: Final = re.compile(rb"\\u00[2-7]")


class Profile(NamedTuple):
    """The requests of a server that a client can answer, normalised. A legacy server receives them once, in `initialize`."""

    roots: bool = False
    sampling: bool = False
    sampling_tools: bool = False
    sampling_context: bool = False
    form: bool = False
    url: bool = False

    def declared(self) -> dict[str, object]:
        """Return the client capabilities for `initialize`."""
        found: dict[str, object] = {}
        if self.roots:
            found["roots"] = {}
        if self.sampling:
            found["sampling"] = {
                name: {}
                for name, has in (("tools", self.sampling_tools), ("context", self.sampling_context))
                if has
            }
        if self.form or self.url:
            found["elicitation"] = {name: {} for name, has in (("form", self.form), ("url", self.url)) if has}
        return found


# The profile of a client that declares no capability.
NO_PROFILE: Final = Profile()
# The profile for a process that several clients share. A request is sent only to a client that has declared it.
EVERY_PROFILE: Final = Profile(
    roots=True, sampling=True, sampling_tools=True, sampling_context=True, form=True, url=True
)


def profile_of(capabilities: bytes) -> Profile:
    """Return the profile of the client capabilities in a modern request. `elicitation: {}` means forms."""
    if capabilities == b"{}":
        return NO_PROFILE
    return _cached_profile(capabilities) if len(capabilities) <= _CACHED_SIZE else _read_profile(capabilities)


def _read_profile(capabilities: bytes) -> Profile:
    declared = json_object.peek(capabilities)
    sampling = json_object.peek(declared.get("sampling"))
    elicitation = json_object.peek(declared.get("elicitation"))
    url = "url" in elicitation
    return Profile(
        roots="roots" in declared,
        sampling="sampling" in declared,
        sampling_tools="tools" in sampling,
        sampling_context="context" in sampling,
        form="form" in elicitation or ("elicitation" in declared and not url),
        url=url,
    )


# Most clients declare the same capabilities in every request. Longer declarations are not cached (bytes).
_CACHED_SIZE: Final = 1024
_cached_profile: Final = lru_cache(maxsize=64)(_read_profile)


# ---- requests on their way to the legacy server


def progress_token_and_log_level(meta: msgspec.Raw | None) -> tuple[bytes, str]:
    """Return the raw progress token and the log level of a request's `_meta`, each empty where there is none."""
    text = b"" if meta is None else bytes(meta)
    # Most requests have neither.
    if not (b"progressToken" in text or b"logLevel" in text or b"\\" in text):
        return b"", ""
    found = json_object.peek(text)
    token = found.get("progressToken")
    return b"" if token is None else bytes(token), json_object.string(found.get(stateless_request.LOG_LEVEL))


def remove_envelope(found: Members, token: bytes, *, rounds: bool = True) -> bytes:
    """Remove the members of modern requests from params, and return the params as JSON text.

    `token` replaces the progress token, if there is one. `rounds` is false for a method without input rounds: its members
    `inputResponses` and `requestState` belong to the method and are kept.
    """
    old = found.pop("_meta", None)
    if old is not None:
        text = bytes(old)
        # A name may be written with escapes.
        differs = b"progressToken" in text or b"\\" in text or len(text) > _CACHED_SIZE
        meta = _meta_without_envelope(text, token) if differs else _cached_meta(text)
        if meta is not None:
            found["_meta"] = meta
    if rounds:
        found.pop("inputResponses", None)
        found.pop("requestState", None)
    return json_object.write(found) if found else b""


def _meta_without_envelope(text: bytes, token: bytes = b"") -> msgspec.Raw | None:
    meta = json_object.peek(text)
    for key in _ENVELOPE_KEYS:
        meta.pop(key, None)
    if "progressToken" in meta:
        meta["progressToken"] = json_object.raw(token)
    return json_object.raw(json_object.write(meta)) if meta else None


# Most clients send the same envelope with every request.
_cached_meta: Final = lru_cache(maxsize=64)(_meta_without_envelope)


def removable_suffix(params: bytes, found: Members) -> bytes:
    """Return the last bytes of params if they are a `_meta` that is removed as a whole; empty otherwise.

    `found` are the members of the params. Most clients end all their params with the same bytes.
    """
    text = bytes(found.get("_meta", b""))
    ending = b',"_meta":%b}' % text
    if not text or len(text) > _CACHED_SIZE or not params.endswith(ending):
        return b""
    kept = b"\\" in text or b"progressToken" in text or b"logLevel" in text or _cached_meta(text) is not None
    return b"" if kept else ending


def is_plain_call(params: bytes, ending: bytes) -> bool:
    """Return whether the params of a `tools/call` are a name, arguments and this ending, each exactly once.

    The length proves that there is no further member.
    """
    if len(params) > _PLAIN_SIZE or not params.endswith(ending):
        return False
    try:
        read = _decode_plain_call(params)
    except json_object.UNREADABLE:
        return False
    return len(params) == _CALL_FRAME + len(memoryview(read.name)) + len(memoryview(read.arguments)) + len(
        ending
    )


# ---- results on their way back


def modern_result(
    method: str, legacy: bytes | msgspec.Raw, server_info: msgspec.Raw, cursors: str, limits: Limits = _LIMITS
) -> bytes:
    """Return the modern `complete` result for a legacy result. `cursors` is the prefix of a cursor, which identifies its process.

    A result that is not an object, such as null, is returned unchanged.

    Raises Rejection for a list that must be read and exceeds the limits.
    """
    if method == "tools/call" and type(legacy) is bytes and _needs_no_rule(legacy):
        return b"".join(
            (legacy[:-1], b',"_meta":{"', _SERVER_INFO, b'":', server_info, b'},"resultType":"complete"}')
        )
    if not json_object.is_object(legacy):
        return bytes(legacy)
    found = json_object.peek(legacy)
    if method == "tools/call":
        require_content(found)
    elif method == "tools/list":
        modernize_tools(found, limits)
    prefix_cursor(found, cursors)
    add_server_info(found, server_info)
    return json_object.write(add_result_type(method, found))


def _needs_no_rule(result: bytes) -> bool:
    """Return whether the result of a tool has content and only members that no rule changes, each exactly once.

    The length proves that there is no further member.
    """
    if len(result) > _PLAIN_SIZE:
        return False
    try:
        read = _decode_plain_result(result)
    except json_object.UNREADABLE:
        return False
    size = _RESULT_FRAME + len(memoryview(read.content))
    if read.isError is not msgspec.UNSET:
        size += _ERROR_FRAME + len(memoryview(read.isError))
    if read.structuredContent is not msgspec.UNSET:
        size += _STRUCTURE_FRAME + len(memoryview(read.structuredContent))
    return len(result) == size


def modern_extension_result(legacy: bytes | msgspec.Raw) -> bytes:
    """Add `resultType` to the result of an extension method (MCP 2026-07-28 basic/index#resulttype)."""
    found = json_object.peek(legacy)
    if "resultType" in found or bytes(legacy)[:1] != b"{":
        return bytes(legacy)
    found["resultType"] = _COMPLETE
    return json_object.write(found)


def prefix_cursor(found: Members, cursors: str) -> None:
    """Prefix the cursor to the next page. A cursor that is not a string, such as `null`, is removed: it means the last page."""
    cursor = found.pop("nextCursor", None)
    if cursor is not None and bytes(cursor)[:1] == b'"':
        found["nextCursor"] = json_object.raw(json_object.text(cursors + json_object.string(cursor)))


def add_result_type(method: str, found: Members) -> Members:
    """Add `resultType`, and caching hints that forbid to store the result (MCP 2026-07-28 server/utilities/caching)."""
    found["resultType"] = _COMPLETE
    if method in CACHEABLE:
        found["ttlMs"] = _STALE
        found["cacheScope"] = _PRIVATE
    return found


def add_server_info(found: Members, server_info: msgspec.Raw) -> None:
    """Add the serverInfo to `_meta` and keep its other members."""
    if "_meta" in found:
        meta = json_object.peek(found["_meta"])
        meta[stateless_request.SERVER_INFO] = server_info
        found["_meta"] = json_object.raw(json_object.write(meta))
    else:
        found["_meta"] = json_object.raw(
            b'{"%b":%b}' % (stateless_request.SERVER_INFO.encode(), bytes(server_info))
        )


def require_content(found: Members) -> None:
    """Add an empty `content` to the result of a tool that has none (MCP 2026-07-28 schema, CallToolResult)."""
    found.setdefault("content", _NO_CONTENT)


def modernize_tools(found: Members, limits: Limits = _LIMITS) -> None:
    """Remove `execution` and invalid header annotations from the tools of a list.

    Raises Rejection if a tool may have such members and the list exceeds the limits.
    """
    listed = bytes(found.get("tools", b""))
    if not (b"execution" in listed or b"x-mcp-header" in listed or _SPELLED.search(listed)):
        return
    if len(listed) > limits.list_bytes:
        raise too_large(f"a list of tools of {len(listed)} bytes", limits.list_bytes, "list_bytes")
    schemas = SchemaReader(limits)
    tools = [json_object.peek(tool) for tool in read_items(listed, limits)]
    for tool in tools:
        tool.pop("execution", None)
        strip_invalid_header_annotations(tool, schemas)
    found["tools"] = json_object.raw(_encode(tools))


def strip_invalid_header_annotations(tool: Members, schemas: SchemaReader) -> None:
    """Remove invalid `x-mcp-header` annotations, because a client drops a tool that has some (MCP 2026-07-28 server/tools#x-mcp-header)."""
    schema = tool.get("inputSchema")
    if schema is None:
        return
    try:
        schemas.param_headers(bytes(schema))
    except ValueError:
        tool["inputSchema"] = json_object.raw(schemas.without_annotations(bytes(schema)))


# ---- tasks of revision 2025-11-25, which a modern client does not see (MCP 2025-11-25 basic/utilities/tasks)


def tools_that_require_tasks(listed: bytes | msgspec.Raw, limits: Limits = _LIMITS) -> set[str]:
    """Return the names of the tools whose `taskSupport` is "required". A list that exceeds the limits is not read."""
    if len(memoryview(listed)) > limits.list_bytes or b"taskSupport" not in bytes(listed):
        return set()
    tools = map(json_object.peek, json_object.items(json_object.peek(listed).get("tools")))
    return {
        json_object.string(tool.get("name"))
        for tool in tools
        if json_object.string(json_object.peek(tool.get("execution")).get("taskSupport")) == "required"
    }


def tool_name(params: bytes) -> str:
    return json_object.string(json_object.peek(params).get("name"))


def add_task(params: bytes) -> bytes:
    """Return the params of a call with `task`, which makes it a task."""
    found = json_object.peek(params)
    found["task"] = json_object.raw(b"{}")
    return json_object.write(found)


def task_id_params(task: bytes) -> bytes:
    """Return the params of a request about a task. `task` is its raw id."""
    return b'{"taskId":%b}' % task


def remove_related_task(result: bytes | msgspec.Raw) -> bytes:
    """Return the result of a task as the result of its call, without the `_meta` that names the task."""
    if not json_object.is_object(result):
        return bytes(result)
    found = json_object.peek(result)
    meta = json_object.peek(found.get("_meta"))
    if meta.pop(RELATED_TASK, None) is not None:
        found["_meta"] = json_object.raw(json_object.write(meta))
    return json_object.write(found)


# ---- errors on their way back


def modern_error(legacy: bytes, uri: str = "") -> bytes:
    """Return an error with a code of the modern era: -32002 and reserved codes are replaced (MCP 2026-07-28 basic/index#error-codes).

    `uri` is the resource of a `resources/read`, empty for other methods. The data of the error is kept.
    """
    fault = read_fault(legacy)
    if fault.code == RESOURCE_NOT_FOUND:
        return fault_text(INVALID_PARAMS, fault.message, _data_with_uri(fault, uri))
    # Its data are elicitations of the legacy era.
    if fault.code == URL_ELICITATION_REQUIRED:
        return fault_text(INTERNAL_ERROR, fault.message, {"originalCode": fault.code})
    if fault.code in RESERVED_CODES:
        return replaced_error(fault)
    return legacy


def replaced_error(fault: Fault) -> bytes:
    """Return an internal error for an error whose code the other era does not define. Its data is kept."""
    data: dict[str, object] = {}
    if fault.data is not msgspec.UNSET:
        data = {**json_object.peek(fault.data)} if json_object.is_object(fault.data) else {"data": fault.data}
    return fault_text(INTERNAL_ERROR, fault.message, {**data, "originalCode": fault.code})


def _data_with_uri(fault: Fault, uri: str) -> object:
    # The URI in the data identifies the error as "resource not found" (MCP 2026-07-28 server/resources#error-handling).
    if fault.data is msgspec.UNSET:
        return {"uri": uri} if uri else None
    if uri and json_object.is_object(fault.data):
        return {"uri": uri, **json_object.peek(fault.data)}
    return fault.data


def modern_extension_error(legacy: bytes) -> bytes:
    """Return the error of an extension method unchanged, unless its code belongs to the era."""
    return modern_error(legacy) if extensions.is_about_the_era(read_fault(legacy).code) else legacy


def missing_capability_error(required: Mapping[str, object]) -> bytes:
    """Return the error object for a call that requires undeclared client capabilities (MCP 2026-07-28 basic/index#error-codes)."""
    return fault_text(
        stateless_request.MISSING_CAPABILITY,
        "this call needs a client capability that was not declared",
        {"requiredCapabilities": required},
    )


# ---- requests of the legacy server, which become input requests


class CapabilityRefusal(NamedTuple):
    """The reason why a client cannot receive a request: the error object for the server, and the missing capability."""

    error: bytes
    needs: dict[str, dict[str, dict[str, str]]]


def undeclared_refusal(method: str, params: bytes, profile: Profile) -> CapabilityRefusal | None:
    """Return the refusal of a request whose capability is not in the profile, None if it is.

    The codes are those of a legacy client (MCP 2025-11-25 client/roots#error-handling, client/elicitation#error-handling).
    """
    if method == "roots/list":
        return None if profile.roots else _unsupported(method, {"roots": {}})
    if method == "sampling/createMessage":
        return _sampling_refusal(params, profile)
    if method == "elicitation/create":
        return _elicitation_refusal(params, profile)
    return CapabilityRefusal(
        fault_text(METHOD_NOT_FOUND, f"revision {MODERN_REVISION} cannot carry {method} to a client"), {}
    )


def _sampling_refusal(params: bytes, profile: Profile) -> CapabilityRefusal | None:
    if not profile.sampling:
        return _unsupported("sampling/createMessage", {"sampling": {}})
    found = json_object.peek(params)
    if ("tools" in found or "toolChoice" in found) and not profile.sampling_tools:
        return _undeclared("sampling", "tools")
    # `includeContext` needs no declaration, because a client may ignore it (MCP 2026-07-28 schema, CreateMessageRequestParams).
    return None


def _elicitation_refusal(params: bytes, profile: Profile) -> CapabilityRefusal | None:
    mode = json_object.peek(params).get("mode")
    url = mode is not None and bytes(mode) == b'"url"'
    if profile.url if url else profile.form:
        return None
    if profile.form or profile.url:
        return _undeclared("elicitation", "url" if url else "form")
    return _unsupported("elicitation/create", {"elicitation": {"url": {}} if url else {}})


def _undeclared(family: str, kind: str) -> CapabilityRefusal:
    text = f"the client has not declared {family}.{kind}"
    return CapabilityRefusal(fault_text(INVALID_PARAMS, text), {family: {kind: {}}})


def _unsupported(method: str, needs: dict[str, dict[str, dict[str, str]]]) -> CapabilityRefusal:
    return CapabilityRefusal(fault_text(METHOD_NOT_FOUND, f"the client does not support {method}"), needs)


def has_failed(message: Response) -> bool:
    """Return whether a response is an error, or a tool result with `isError`."""
    if message.error:
        return True
    failed = json_object.peek(message.result).get("isError")
    return failed is not None and bytes(failed) == b"true"


def input_request(method: str, params: bytes) -> bytes:
    """Return a request as a value of `inputRequests`, without members of the legacy era (MCP 2026-07-28 basic/patterns/mrtr)."""
    found = json_object.peek(params)
    for key in ("_meta", "task", "elicitationId"):
        found.pop(key, None)
    request: dict[str, object] = {"method": method}
    if found or method != "roots/list":
        request["params"] = found
    return json_object.write(request)


def input_required_result(requests: dict[str, bytes], state: str, server_info: msgspec.Raw) -> bytes:
    """Return the result that requests these inputs of the client, by key, with this `requestState`."""
    inputs = {key: json_object.raw(text) for key, text in requests.items()}
    result = {"resultType": "input_required", "inputRequests": inputs, "requestState": state}
    return json_object.write({**result, "_meta": {stateless_request.SERVER_INFO: server_info}})


_ACTIONS: Final = (b'"accept"', b'"decline"', b'"cancel"')


def is_input_response(method: str, response: bytes | msgspec.Raw | None) -> bool:
    """Return whether a value of `inputResponses` is a valid result of this method. An invalid value is requested again."""
    found = json_object.peek(response)
    if method == "roots/list":
        return bytes(found.get("roots", b""))[:1] == b"["
    if method == "sampling/createMessage":
        return "role" in found and "content" in found and "model" in found
    content = found.get("content")
    return bytes(found.get("action", b"")) in _ACTIONS and (content is None or bytes(content)[:1] == b"{")
