"""Check the arguments of tools against `inputSchema`, and their results against `outputSchema`. Pure.

The schemas are those of the last list of tools that has passed on the same connection. A tool that was not listed there is not
checked, and neither is one whose schema cannot be used.
Sources: MCP 2025-11-25 server/tools ("Output Schema", "Error Handling"), SEP-1303.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object
from ...validators.json_schema import Schema, SchemaStore, Unchecked, UnusableSchema, Violation
from ...validators.jsonrpc import Request, Response
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, Rejection
from ...validators.revisions import MODERN_REVISION, TOOL_ERRORS_SINCE
from .errors import fault_text

OFF: Final = "off"
WARN: Final = "warn"
REFUSE: Final = "refuse"
# The kinds of findings.
ARGUMENTS: Final = "arguments"
OUTPUT: Final = "output"
SCHEMA: Final = "schema"
_TOO_LARGE: Final = "too_large"
_REASON: Final = "content_refused"
# The most tools whose schemas one connection has, and the size of these (bytes). At the limit the oldest are dropped.
MOST_TOOLS: Final = 4096
MOST_BYTES: Final = 4 * 1024 * 1024
_NO_ARGUMENTS: Final = b"{}"


class Finding(NamedTuple):
    """Content that a check has found, or that it could not check. No field has a value of the content.

    `kind` is the check, `path` a JSON pointer in the content, and `keyword` the rule that is violated. The latter two may be empty.
    """

    kind: str
    tool: str
    path: str
    keyword: str
    refused: bool


class _Tool(NamedTuple):
    arguments: Schema | None
    output: Schema | None
    size: int


class ToolSchemas:
    """The schemas of the tools that were listed on one connection, by the name of the tool."""

    __slots__ = ("_size", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, _Tool] = {}
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
        """Store the schemas of a list of tools, or of a page of one. A list of more than MOST_BYTES is not read."""
        if len(memoryview(message.result)) > MOST_BYTES:
            return
        listed = json_object.items_up_to(MOST_TOOLS, json_object.peek(message.result).get("tools"))
        for item in listed or ():
            found = json_object.peek(item)
            name = json_object.string(found.get("name"))
            arguments = self._schema(self._arguments, found.get("inputSchema"))
            output = self._schema(self._output, found.get("outputSchema"))
            size = sum(len(one.text) for one in (arguments, output) if one is not None)
            tools.add(name, _Tool(arguments, output, size))

    def _schema(self, mode: str, text: msgspec.Raw | None) -> Schema | None:
        return None if text is None or mode == OFF else self._store.find(bytes(text))

    def on_call(self, tools: ToolSchemas, request: Request, name: str, version: str) -> Request | Response:
        """Return a call of a tool, or the response to a call whose arguments violate the schema. Raises Rejection.

        A refusal is a result with `isError` from 2025-11-25 on, so that a model can correct its call (SEP-1303). Before it is
        an error.
        """
        tool = tools.by_name.get(name)
        if tool is None or tool.arguments is None:
            return request
        value = bytes(json_object.peek(request.params).get("arguments", _NO_ARGUMENTS))
        violation = self._check(ARGUMENTS, name, tool.arguments, value, self._arguments)
        if violation is None or self._arguments != REFUSE:
            return request
        text = f"the arguments of the tool {name} {_described(violation)} (inputSchema)"
        if version >= TOOL_ERRORS_SINCE:
            return Response(request.id, _tool_error(text, version), b"")
        data: dict[str, object] = {"path": violation.path, "keyword": violation.keyword}
        raise Rejection(200, INVALID_PARAMS, text, data=data, reason=_REASON)

    def on_result(self, tools: ToolSchemas, name: str, message: Response) -> Response:
        """Return the result of a call, or an error for a result that violates the schema.

        Results that are errors, tasks or requests for input have no structure (MCP 2025-11-25 server/tools).
        """
        tool = tools.by_name.get(name)
        if tool is None or tool.output is None:
            return message
        found = json_object.peek(message.result)
        if _has_no_structure(found):
            return message
        value = found.get("structuredContent")
        if value is None:
            violation: Violation | None = Violation("", "structuredContent")
            self._found(OUTPUT, name, Violation("", "structuredContent"), self._output)
        else:
            violation = self._check(OUTPUT, name, tool.output, bytes(value), self._output)
        if violation is None or self._output != REFUSE:
            return message
        text = f"the output of the tool {name} {_described(violation)} (outputSchema)"
        return Response(message.id, b"", fault_text(INTERNAL_ERROR, text))

    def _check(self, kind: str, name: str, schema: Schema, value: bytes, mode: str) -> Violation | None:
        try:
            violation = schema.check(value)
        except UnusableSchema:
            self._report(Finding(SCHEMA, name, "", kind, refused=False))
            return None
        except Unchecked:
            violation = Violation("", _TOO_LARGE)
        if violation is not None:
            self._found(kind, name, violation, mode)
        return violation

    def _found(self, kind: str, name: str, violation: Violation, mode: str) -> None:
        self._report(Finding(kind, name, violation.path, violation.keyword, refused=mode == REFUSE))


def _has_no_structure(found: json_object.Members) -> bool:
    if bytes(found.get("isError", b"")) == b"true" or "task" in found:
        return True
    return json_object.string(found.get("resultType", b'"complete"')) != "complete"


def _described(violation: Violation) -> str:
    place = f" at {violation.path}" if violation.path else ""
    return f"violate {violation.keyword or 'the schema'}{place}"


def _tool_error(text: str, version: str) -> bytes:
    found: dict[str, object] = {"content": [{"type": "text", "text": text}], "isError": True}
    if version >= MODERN_REVISION:
        found["resultType"] = "complete"
    return json_object.write(found)
