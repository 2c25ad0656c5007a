"""What a legacy server says, as a modern client must hear it: one rule, one function (specification digest, 8.3, M→L).

Pure. Payloads are spliced, not re-encoded: a rule adds, drops or replaces members of the outermost object, and looks
deeper only where the rule is about something deeper.
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
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, too_large
from ..core import extensions
from ..core.errors import RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED, Fault, fault_text, read_fault
from ..core.tasks import RELATED_TASK

# The range that the modern era keeps for itself (digest 1.13).
_RESERVED: Final = range(-32099, -32019)

_SERVER_INFO: Final = stateless_request.SERVER_INFO.encode()
_COMPLETE: Final = json_object.raw(b'"complete"')
_STALE: Final = json_object.raw(b"0")
_PRIVATE: Final = json_object.raw(b'"private"')
_NO_CONTENT: Final = json_object.raw(b"[]")

# Results that carry caching hints (digest 1.18).
CACHEABLE: Final = frozenset(
    {"tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
    | {"server/discover"}
)
# What a modern request says of itself and a legacy server must not see.
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
    isError: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the wire's spelling
    structuredContent: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815


_decode_plain_call = msgspec.json.Decoder(_PlainCall).decode
_decode_plain_result = msgspec.json.Decoder(_PlainResult).decode
# Larger ones (bytes) are not decoded once more to find out whether they are plain.
_PLAIN_SIZE: Final = 64 * 1024
_CALL_FRAME: Final = len('{"name":,"arguments":')
_RESULT_FRAME: Final = len('{"content":}')
_ERROR_FRAME: Final = len(',"isError":')
_STRUCTURE_FRAME: Final = len(',"structuredContent":')

_encode = msgspec.json.Encoder().encode
_LIMITS: Final = Limits()
# A letter as an escape: a name of ours may be spelled with some.
_SPELLED: Final = re.compile(rb"\\u00[2-7]")


class Profile(NamedTuple):
    """What a client can be asked for, normalised: a legacy server is told this once, when it starts (digest 8.1)."""

    roots: bool = False
    sampling: bool = False
    sampling_tools: bool = False
    sampling_context: bool = False
    form: bool = False
    url: bool = False

    def declared(self) -> dict[str, object]:
        """The capabilities of `initialize`."""
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


# What a client can be asked for that declares nothing.
NO_PROFILE: Final = Profile()
# What a process is told that several clients share: a client that has not declared it is not asked.
EVERY_PROFILE: Final = Profile(
    roots=True, sampling=True, sampling_tools=True, sampling_context=True, form=True, url=True
)


def profile_of(capabilities: bytes) -> Profile:
    """Return the profile of the capabilities that a modern request declares. `elicitation: {}` means forms."""
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


# Each client declares the same with every request. Longer declarations are not kept (bytes).
_CACHED_SIZE: Final = 1024
_cached_profile: Final = lru_cache(maxsize=64)(_read_profile)


# ---- requests on their way to the legacy server


def token_and_level(meta: msgspec.Raw | None) -> tuple[bytes, str]:
    """Return the raw progress token and the log level of a request's `_meta`, each empty where there is none."""
    text = b"" if meta is None else bytes(meta)
    if not (b"progressToken" in text or b"logLevel" in text or b"\\" in text):  # as most requests
        return b"", ""
    found = json_object.peek(text)
    token = found.get("progressToken")
    return b"" if token is None else bytes(token), json_object.string(found.get(stateless_request.LOG_LEVEL))


def without_envelope(found: Members, token: bytes, *, rounds: bool = True) -> bytes:
    """Take from params what only the modern era knows, and return them as text.

    `token` is the progress token towards the server, where the client has asked for progress. Without `rounds` the method
    has no rounds of input, so that their members are its own.
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


def envelope_ending(params: bytes, found: Members) -> bytes:
    """Return how params end, if that is an envelope of which a legacy server sees nothing; nothing otherwise.

    `found` are their members. Most clients end all their params alike.
    """
    text = bytes(found.get("_meta", b""))
    ending = b',"_meta":%b}' % text
    if not text or len(text) > _CACHED_SIZE or not params.endswith(ending):
        return b""
    kept = b"\\" in text or b"progressToken" in text or b"logLevel" in text or _cached_meta(text) is not None
    return b"" if kept else ending


def is_plain_call(params: bytes, ending: bytes) -> bool:
    """Return whether the params of a tool's call are a name, arguments and this ending, each once: its length says so."""
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


def result(
    method: str,
    legacy: bytes | msgspec.Raw,
    server_info: msgspec.Raw,
    cursors: str,
    limits: Limits = _LIMITS,
) -> bytes:
    """A legacy result as the complete modern one. `cursors` is put before a cursor, so that its origin can be told.

    A result that is no object, such as null, stays as it is. Raises Rejection for a list that must be looked into and is beyond the limits.
    """
    if method == "tools/call" and type(legacy) is bytes and _needs_no_rule(legacy):
        return b"".join(
            (legacy[:-1], b',"_meta":{"', _SERVER_INFO, b'":', server_info, b'},"resultType":"complete"}')
        )
    if not json_object.is_object(legacy):
        return bytes(legacy)
    found = json_object.peek(legacy)
    if method == "tools/call":
        with_content(found)
    elif method == "tools/list":
        with_modern_tools(found, limits)
    with_cursor(found, cursors)
    with_server_info(found, server_info)
    return json_object.write(complete(method, found))


def _needs_no_rule(result: bytes) -> bool:
    """Return whether a result of a tool has content and no member that a rule is about, each once: its length says so."""
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


def extension_result(legacy: bytes | msgspec.Raw) -> bytes:
    """The result of a method outside of the core, with the `resultType` that the modern era demands of every result."""
    found = json_object.peek(legacy)
    if "resultType" in found or bytes(legacy)[:1] != b"{":
        return bytes(legacy)
    found["resultType"] = _COMPLETE
    return json_object.write(found)


def with_cursor(found: Members, cursors: str) -> None:
    """The cursor to the next page under our prefix; without one that is no text, as `null` is, which means the end."""
    cursor = found.pop("nextCursor", None)
    if cursor is not None and bytes(cursor)[:1] == b'"':
        found["nextCursor"] = json_object.raw(json_object.text(cursors + json_object.string(cursor)))


def complete(method: str, found: Members) -> Members:
    """With `resultType`, and with the hint that nothing of it may be kept (digest 1.12, 1.18)."""
    found["resultType"] = _COMPLETE
    if method in CACHEABLE:
        found["ttlMs"] = _STALE
        found["cacheScope"] = _PRIVATE
    return found


def with_server_info(found: Members, server_info: msgspec.Raw) -> None:
    """The server's name in `_meta`, beside whatever is there."""
    if "_meta" in found:
        meta = json_object.peek(found["_meta"])
        meta[stateless_request.SERVER_INFO] = server_info
        found["_meta"] = json_object.raw(json_object.write(meta))
    else:
        found["_meta"] = json_object.raw(
            b'{"%b":%b}' % (stateless_request.SERVER_INFO.encode(), bytes(server_info))
        )


def with_content(found: Members) -> None:
    """The content that the modern era demands of a tool's result, if only an empty one."""
    found.setdefault("content", _NO_CONTENT)


def with_modern_tools(found: Members, limits: Limits = _LIMITS) -> None:
    """Tools without `execution`, and without header annotations that would make a client drop the tool.

    Raises Rejection where one of them may have something of it and the list is beyond the limits.
    """
    listed = bytes(found.get("tools", b""))
    if not (b"execution" in listed or b"x-mcp-header" in listed or _SPELLED.search(listed)):
        return
    if len(listed) > limits.list_bytes:
        raise too_large(f"a list of tools of {len(listed)} bytes", limits.list_bytes, "list_bytes")
    schemas = stateless_request.Schemas(limits)
    tools = [json_object.peek(tool) for tool in read_items(listed, limits)]
    for tool in tools:
        tool.pop("execution", None)
        without_bad_annotations(tool, schemas)
    found["tools"] = json_object.raw(_encode(tools))


def without_bad_annotations(tool: Members, schemas: stateless_request.Schemas) -> None:
    """A tool whose `x-mcp-header` annotations break the rules loses them, rather than being dropped (digest 8.3)."""
    schema = tool.get("inputSchema")
    if schema is None:
        return
    try:
        schemas.mirrors(bytes(schema))
    except ValueError:
        tool["inputSchema"] = json_object.raw(schemas.stripped(bytes(schema)))


# ---- tasks of revision 2025-11-25, which a modern client does not see (digest 8.9)


def tasked_tools(listed: bytes | msgspec.Raw, limits: Limits = _LIMITS) -> set[str]:
    """The names of the tools in a list that cannot be called but as a task. A list beyond the limits has none."""
    if len(memoryview(listed)) > limits.list_bytes or b"taskSupport" not in bytes(listed):
        return set()
    tools = map(json_object.peek, json_object.items(json_object.peek(listed).get("tools")))
    return {
        json_object.string(tool.get("name"))
        for tool in tools
        if json_object.string(json_object.peek(tool.get("execution")).get("taskSupport")) == "required"
    }


def tool_of(params: bytes) -> str:
    """The name of the tool that is called."""
    return json_object.string(json_object.peek(params).get("name"))


def with_task(params: bytes) -> bytes:
    """The params of a call, made a task."""
    found = json_object.peek(params)
    found["task"] = json_object.raw(b"{}")
    return json_object.write(found)


def task_params(task: bytes) -> bytes:
    """The params of a request about a task."""
    return b'{"taskId":%b}' % task


def without_task(result: bytes | msgspec.Raw) -> bytes:
    """The result of a task as that of the call that it was."""
    if not json_object.is_object(result):
        return bytes(result)
    found = json_object.peek(result)
    meta = json_object.peek(found.get("_meta"))
    if meta.pop(RELATED_TASK, None) is not None:
        found["_meta"] = json_object.raw(json_object.write(meta))
    return json_object.write(found)


# ---- errors on their way back


def error(legacy: bytes, uri: str = "") -> bytes:
    """An error with the codes of the modern era: it must not see -32002, nor reserved ones (digest 1.13).

    `uri` is what was read, where the method is resources/read. The data of the error is kept.
    """
    fault = read_fault(legacy)
    if fault.code == RESOURCE_NOT_FOUND:
        return fault_text(INVALID_PARAMS, fault.message, _data_with_uri(fault, uri))
    if fault.code == URL_ELICITATION_REQUIRED:  # its data are requests of the legacy era
        return fault_text(INTERNAL_ERROR, fault.message, {"originalCode": fault.code})
    if fault.code in _RESERVED:
        return replaced_fault(fault)
    return legacy


def replaced_fault(fault: Fault) -> bytes:
    """Return an internal error in the place of one with a code that the other era does not know. Its data is kept."""
    data: dict[str, object] = {}
    if fault.data is not msgspec.UNSET:
        data = {**json_object.peek(fault.data)} if json_object.is_object(fault.data) else {"data": fault.data}
    return fault_text(INTERNAL_ERROR, fault.message, {**data, "originalCode": fault.code})


def _data_with_uri(fault: Fault, uri: str) -> object:
    # The modern era says with the URI that it is a resource which is not found.
    if fault.data is msgspec.UNSET:
        return {"uri": uri} if uri else None
    if uri and json_object.is_object(fault.data):
        return {"uri": uri, **json_object.peek(fault.data)}
    return fault.data


def extension_error(legacy: bytes) -> bytes:
    """The error of a method outside of the core: as it is, unless it is about the era."""
    return error(legacy) if extensions.is_about_the_era(read_fault(legacy).code) else legacy


def missing_capability(required: Mapping[str, object]) -> bytes:
    """The error object for a call that needs what its client did not declare (digest 1.6)."""
    return fault_text(
        stateless_request.MISSING_CAPABILITY,
        "this call needs a client capability that was not declared",
        {"requiredCapabilities": required},
    )


# ---- requests of the legacy server, which become inputs that the client is asked for


class Refusal(NamedTuple):
    """Why a client cannot be asked: the error object for the server, and the capability that would be needed."""

    error: bytes
    needs: dict[str, dict[str, dict[str, str]]]


def refusal(method: str, params: bytes, profile: Profile) -> Refusal | None:
    """The refusal of a request to a client that has not declared that it can answer it (digest 1.13, 8.5)."""
    if method == "roots/list":
        return None if profile.roots else _unsupported(method, {"roots": {}})
    if method == "sampling/createMessage":
        return _sampling_refusal(params, profile)
    if method == "elicitation/create":
        return _elicitation_refusal(params, profile)
    return Refusal(
        fault_text(
            METHOD_NOT_FOUND,
            f"revision {stateless_request.MODERN_REVISION} cannot carry {method} to a client",
        ),
        {},
    )


def _sampling_refusal(params: bytes, profile: Profile) -> Refusal | None:
    if not profile.sampling:
        return _unsupported("sampling/createMessage", {"sampling": {}})
    asked = json_object.peek(params)
    if ("tools" in asked or "toolChoice" in asked) and not profile.sampling_tools:
        return _undeclared("sampling", "tools")
    # `includeContext` passes undeclared: a client may ignore it (MCP 2026-07-28 schema, CreateMessageRequestParams), and the
    # clients of the SDKs do not look at it.
    return None


def _elicitation_refusal(params: bytes, profile: Profile) -> Refusal | None:
    mode = json_object.peek(params).get("mode")
    url = mode is not None and bytes(mode) == b'"url"'
    if profile.url if url else profile.form:
        return None
    if profile.form or profile.url:
        return _undeclared("elicitation", "url" if url else "form")
    return _unsupported("elicitation/create", {"elicitation": {"url": {}} if url else {}})


def _undeclared(family: str, kind: str) -> Refusal:
    text = f"the client has not declared {family}.{kind}"
    return Refusal(fault_text(INVALID_PARAMS, text), {family: {kind: {}}})


def _unsupported(method: str, needs: dict[str, dict[str, dict[str, str]]]) -> Refusal:
    return Refusal(fault_text(METHOD_NOT_FOUND, f"the client does not support {method}"), needs)


def has_failed(message: Response) -> bool:
    """Whether an answer says that the call came to nothing, by an error or as a tool's own."""
    if message.error:
        return True
    failed = json_object.peek(message.result).get("isError")
    return failed is not None and bytes(failed) == b"true"


def input_request(method: str, params: bytes) -> bytes:
    """A value of `inputRequests`: the request without what has no place there (digest 1.9, 1.15)."""
    found = json_object.peek(params)
    for key in ("_meta", "task", "elicitationId"):
        found.pop(key, None)
    asked: dict[str, object] = {"method": method}
    if found or method != "roots/list":
        asked["params"] = found
    return json_object.write(asked)


def input_required(requests: dict[str, bytes], state: str, server_info: msgspec.Raw) -> bytes:
    """The result that asks the client for these inputs."""
    asked = {key: json_object.raw(text) for key, text in requests.items()}
    result = {"resultType": "input_required", "inputRequests": asked, "requestState": state}
    return json_object.write({**result, "_meta": {stateless_request.SERVER_INFO: server_info}})


_ACTIONS: Final = (b'"accept"', b'"decline"', b'"cancel"')


def is_answer(method: str, response: bytes | msgspec.Raw | None) -> bool:
    """Whether a value of `inputResponses` has the shape that the server must get; otherwise it is asked for again."""
    found = json_object.peek(response)
    if method == "roots/list":
        return bytes(found.get("roots", b""))[:1] == b"["
    if method == "sampling/createMessage":
        return "role" in found and "content" in found and "model" in found
    content = found.get("content")
    return bytes(found.get("action", b"")) in _ACTIONS and (content is None or bytes(content)[:1] == b"{")
