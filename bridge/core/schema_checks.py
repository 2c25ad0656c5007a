"""Check the arguments of tools against `inputSchema`, and their results against `outputSchema`. Pure.

The schemas are those of the last list of tools that has passed on the same connection. A tool that was not listed there is not
checked, and neither is one whose schema cannot be used.
Sources: MCP 2025-11-25 server/tools ("Output Schema", "Error Handling"), SEP-1303.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from ...validators import json_object
from ...validators.json_object import UNREADABLE
from ...validators.json_schema import Schema, SchemaStore, UncheckedValue
from ...validators.jsonrpc import Request, Response
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, Rejection
from ...validators.revisions import MODERN_REVISION, TOOL_ERRORS_SINCE
from ...validators.schema_cost import UnusableSchema
from .errors import fault_text

OFF: Final = "off"
WARN: Final = "warn"
REFUSE: Final = "refuse"
# The kinds of findings.
ARGUMENTS: Final = "arguments"
OUTPUT: Final = "output"
SCHEMA: Final = "schema"
# In the place of a keyword: structured content is missing, and a value or a list cannot be checked.
STRUCTURE: Final = "structuredContent"
UNCHECKED: Final = "unchecked"
_REASON: Final = "content_refused"
# The most tools whose schemas one connection has, and the size of these (bytes). At the limit the oldest are dropped.
MOST_TOOLS: Final = 4096
MOST_BYTES: Final = 4 * 1024 * 1024
_NULL: Final = b"null"
_NO_ARGUMENTS: Final = (b"", _NULL)
T = TypeVar("T", bound=msgspec.Struct)


class Finding(NamedTuple):
    """Content that a check has found, or that it could not check. No field has a value of the content.

    `kind` is the check, `path` a JSON pointer in the content, and `keyword` the rule that is violated. The latter two may be empty.
    """

    kind: str
    tool: str
    path: str
    keyword: str
    refused: bool
    # Whether the message has passed with changes.
    rewritten: bool = False


_Value = msgspec.Raw | msgspec.UnsetType


class _Params(msgspec.Struct, gc=False):
    arguments: _Value = msgspec.UNSET


class _Result(msgspec.Struct, gc=False):
    structured: _Value = msgspec.field(default=msgspec.UNSET, name=STRUCTURE)
    is_error: _Value = msgspec.field(default=msgspec.UNSET, name="isError")
    kind: _Value = msgspec.field(default=msgspec.UNSET, name="resultType")
    task: _Value = msgspec.UNSET


class _List(msgspec.Struct, gc=False):
    tools: _Value = msgspec.UNSET
    cursor: _Value = msgspec.field(default=msgspec.UNSET, name="nextCursor")


class _Listed(msgspec.Struct, gc=False):
    name: _Value = msgspec.UNSET
    arguments: _Value = msgspec.field(default=msgspec.UNSET, name="inputSchema")
    output: _Value = msgspec.field(default=msgspec.UNSET, name="outputSchema")


class _Tool(NamedTuple):
    arguments: Schema | None
    output: Schema | None
    size: int


class ToolSchemas:
    """The schemas of the tools that were listed on one connection, by the name of the tool."""

    __slots__ = ("_size", "by_name", "known")

    def __init__(self) -> None:
        self.by_name: dict[str, _Tool] = {}
        # Whether a list was read to its end since the tools may have changed, or cannot be read.
        self.known = False
        # The size of the schemas (bytes).
        self._size = 0

    def add(self, name: str, tool: _Tool) -> None:
        """Store the schemas of a tool in place of the former ones."""
        self._drop(name)
        self.by_name[name] = tool
        self._size += tool.size
        while self._size > MOST_BYTES or len(self.by_name) > MOST_TOOLS:
            self._drop(next(iter(self.by_name)))

    def clear(self) -> None:
        """Forget all schemas, because the tools may have changed."""
        self.by_name.clear()
        self.known = False
        self._size = 0

    def _drop(self, name: str) -> None:
        tool = self.by_name.pop(name, None)
        if tool is not None:
            self._size -= tool.size


class SchemaChecks:
    """The checks of one server."""

    def __init__(self, arguments: str, output: str, report: Callable[[Finding], None]) -> None:
        self._arguments = arguments
        self._output = output
        self._report = report
        self._store = SchemaStore()

    def on_list(self, tools: ToolSchemas, message: Response) -> None:
        """Store the schemas of a list of tools, or of a page of one. Too large a page is reported, and its tools are not checked."""
        if len(memoryview(message.result)) > MOST_BYTES:
            self._report(Finding(SCHEMA, "", "", UNCHECKED, refused=False))
            return
        page = _read(_List, message.result)
        if _bytes(page.cursor) in (b"", _NULL):
            tools.known = True
        listed = json_object.items_up_to(MOST_TOOLS, _bytes(page.tools))
        if listed is None:
            self._report(Finding(SCHEMA, "", "", UNCHECKED, refused=False))
            return
        for item in listed:
            found = _read(_Listed, item)
            arguments = self._schema(self._arguments, _bytes(found.arguments))
            output = self._schema(self._output, _bytes(found.output))
            size = sum(len(one.text) for one in (arguments, output) if one is not None)
            tools.add(json_object.string(_bytes(found.name)), _Tool(arguments, output, size))

    def _schema(self, mode: str, text: bytes) -> Schema | None:
        return self._store.find(text) if text and mode != OFF else None

    def on_call(self, tools: ToolSchemas, request: Request, name: str, version: str) -> Request | Response:
        """Return a call of a tool, or the response to a call whose arguments violate the schema. Raises Rejection.

        A refusal is a result with `isError` from 2025-11-25 on, so that a model can correct its call (SEP-1303). Before it is
        an error.
        """
        tool = tools.by_name.get(name)
        if tool is None or tool.arguments is None:
            return request
        value = _bytes(_read(_Params, request.params).arguments)
        value = b"{}" if value in _NO_ARGUMENTS else value
        fault = self._check(ARGUMENTS, name, tool.arguments, value, self._arguments)
        if fault is None or self._arguments != REFUSE:
            return request
        text = f"Invalid arguments for the tool {name}: {fault.text} (inputSchema)"
        if version >= TOOL_ERRORS_SINCE:
            return Response(request.id, _tool_error(text, version), b"")
        raise Rejection(200, INVALID_PARAMS, text, data=fault.data, reason=_REASON)

    def on_result(self, tools: ToolSchemas, name: str, message: Response) -> Response:
        """Return the result of a call, or an error for a result that violates the schema.

        Results that are errors, tasks or requests for input have no structure (MCP 2025-11-25 server/tools).
        """
        tool = tools.by_name.get(name)
        if tool is None or tool.output is None:
            return message
        found = _read(_Result, message.result)
        if _has_no_structure(found):
            return message
        value = _bytes(found.structured)
        fault: _Fault | None = _MISSING
        if value:
            fault = self._check(OUTPUT, name, tool.output, value, self._output)
        else:
            self._found(OUTPUT, name, "", STRUCTURE, self._output)
        if fault is None or self._output != REFUSE:
            return message
        text = f"Invalid output of the tool {name}: {fault.text} (outputSchema)"
        return Response(message.id, b"", fault_text(INTERNAL_ERROR, text, fault.data))

    def _check(self, kind: str, name: str, schema: Schema, value: bytes, mode: str) -> "_Fault | None":
        try:
            violation = schema.check(value)
        except UnusableSchema:
            self._report(Finding(SCHEMA, name, "", kind, refused=False))
            return None
        except UncheckedValue as fault:
            self._found(kind, name, "", UNCHECKED, mode)
            return _Fault(f"it cannot be checked: {fault}", "", UNCHECKED)
        if violation is None:
            return None
        self._found(kind, name, violation.declared, violation.keyword, mode)
        place = f" at {violation.path}" if violation.path else ""
        return _Fault(
            f"{violation.keyword or 'the schema'} is violated{place}", violation.path, violation.keyword
        )

    def _found(self, kind: str, name: str, path: str, keyword: str, mode: str) -> None:
        self._report(Finding(kind, name, path, keyword, refused=mode == REFUSE))


class _Fault(NamedTuple):
    """Why content is refused, for the peer that gets the error."""

    text: str
    path: str
    keyword: str

    @property
    def data(self) -> dict[str, object]:
        """Return the data of the error."""
        return {"path": self.path, "keyword": self.keyword}


_MISSING: Final = _Fault(f"{STRUCTURE} is missing", "", STRUCTURE)


def _read(kind: type[T], text: bytes | msgspec.Raw) -> T:
    """Return the few members of an object that a class has, those of a text that is no object as absent.

    All others are skipped without an object for each.
    """
    try:
        return msgspec.json.decode(text or b"{}", type=kind)
    except UNREADABLE:
        found = json_object.peek(text)
        names = {field.encode_name for field in msgspec.structs.fields(kind)}
        # It has a lone surrogate, or is no object.
        return msgspec.convert({key: value for key, value in found.items() if key in names}, kind)


def _bytes(value: _Value) -> bytes:
    return b"" if isinstance(value, msgspec.UnsetType) else bytes(value)


def _has_no_structure(found: _Result) -> bool:
    if _bytes(found.is_error) == b"true" or _bytes(found.task):
        return True
    return _bytes(found.kind) not in (b"", b'"complete"')


def _tool_error(text: str, version: str) -> bytes:
    found: dict[str, object] = {"content": [{"type": "text", "text": text}], "isError": True}
    if version >= MODERN_REVISION:
        found["resultType"] = "complete"
    return json_object.write(found)
