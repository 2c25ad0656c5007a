"""Find how a request of a client has ended, for the access log and the metrics. Pure."""

import re
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Response
from .effects import OK, failed_with
from .errors import read_fault

# The outcome of a tool call whose result has `isError` (MCP 2025-11-25 server/tools, Error Handling).
TOOL_ERROR: Final = "tool error"
_CALL: Final = "tools/call"
IS_ERROR: Final = b'"isError"'
_TRUE: Final = re.compile(rb'"isError"[ \t\r\n]*+:[ \t\r\n]*+true')
# The end of an ordinary result of the Python SDK. The last of repeated members counts.
FALSE_AT_END: Final = b'"isError":false}'
# The member as most serializers write it.
FALSE: Final = b'"isError":false'
# A larger result is not searched (bytes).
LARGEST: Final = 64 * 1024


def outcome_of(method: str, response: Response) -> str:
    """Return the outcome of a request with this response."""
    if response.error:
        return failed_with(read_fault(response.error).code)
    if method != _CALL:
        return OK
    result = response.result
    if type(result) is bytes and result.endswith(FALSE_AT_END):
        return OK
    return TOOL_ERROR if is_tool_error(result) else OK


def is_tool_error(result: bytes | msgspec.Raw) -> bool:
    """Return whether the result of a tool call reports an error of the tool. Returns False for a result above 64 KiB."""
    if type(result) is not bytes or len(result) > LARGEST:
        return False
    found = result.rfind(IS_ERROR)
    if found < 0:
        return False
    if not _TRUE.match(result, found) and result.find(IS_ERROR) == found:
        return False
    # The member may also be one of an object inside of the result.
    return bytes(json_object.peek(result).get("isError", b"")) == b"true"
