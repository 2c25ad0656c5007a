"""Check the params, the result or the error of a message against the schema of its revision (`validate = "strict"`).

The module of a revision is imported, and the decoder of a method made, when they are first needed. A method that the revision
does not have passes, because it may belong to an extension. The text of a fault has no value and no key of the message.

Differences from the JSON Schemas of MCP:
- a result of 2026-07-28 has the schema of its method if its `resultType` is `complete`, and that of `InputRequiredResult` if
  that is `input_required` and the method may have it. Any other `resultType` belongs to an extension. The JSON Schema of
  `InputRequiredResult` alone fits nearly every result.
- the result of a request that may continue as a task (2025-11-25) is its own or a `CreateTaskResult`.
- values of `ElicitResult.content` may be numbers with a fraction, and `JSONValue` is any value, as in `schema.ts`.
- of a repeated member, each value must fit.
- a message has at most `shapes.MOST_OBJECTS` objects of several types and `shapes.MOST_KEYS` members of maps.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ..json_object import UNREADABLE
from ..lone_surrogates import decoded
from .shapes import ParamsShape, ResultShape, Revision, check

Side = Literal["client", "server"]
_SERVER: Final = "server"


class Fault(NamedTuple):
    """Where a message does not fit its schema, as a path such as `$.content[0].text`, and what is expected there."""

    path: str
    text: str

    def __str__(self) -> str:
        """Return a clause for an error text."""
        return f"{self.text} at {self.path}"


class _Typed(msgspec.Struct, gc=False):
    resultType: str = "complete"  # noqa: N815 - the spelling of the protocol


_decode_typed: Final = msgspec.json.Decoder(_Typed).decode
_PLACE: Final = re.compile(r"(.*) - at (?:`key` in )?`(.*)`", re.DOTALL)
# Texts of msgspec that have a value, or that name the type of a number otherwise than JSON Schema.
_INVALID_VALUE: Final = re.compile(r"Invalid (?:enum )?value .*", re.DOTALL)
_INTEGER: Final = re.compile(r"`float` that's a multiple of 1\.0")
_COMPLETE: Final = "complete"


def params_fault(version: str, sender: Side, method: str, params: bytes, *, request: bool) -> Fault | None:
    """Return why the params of a request or notification do not fit, None if they do. `params` may be empty.

    `version` is a revision of `revisions.py`.
    """
    shape = _params_of(version, sender, request=request).get(method)
    if shape is None:
        return None
    if not params:
        return Fault("$", "Message has no `params`") if shape.required else None
    return _fault_of(shape.shape, params)


def result_fault(version: str, sender: Side, method: str, result: bytes | msgspec.Raw) -> Fault | None:
    """Return why a result of a request of the other side does not fit, None if it does. `method` is that of the request."""
    revision = _revision(version)
    results = revision.server_results if sender == _SERVER else revision.client_results
    shape = results.get(method)
    if shape is None:
        return None
    fault = _fault_of(shape.shape, result)
    if "resultType" in revision.any_result.__struct_fields__:
        return _typed_fault(revision, shape, result, fault)
    task = shape.others.get("")
    return None if task is not None and fault is not None and _fault_of(task, result) is None else fault


def error_fault(version: str, error: bytes) -> Fault | None:
    """Return why the error of a response does not fit, None if it does."""
    return _fault_of(_revision(version).error, error)


def _typed_fault(
    revision: Revision, shape: ResultShape, result: bytes | msgspec.Raw, fault: Fault | None
) -> Fault | None:
    """Return the fault of a result that has a `resultType`. `fault` is that of a complete one."""
    try:
        kind = decoded(_decode_typed, result).resultType
    except UNREADABLE:
        return fault
    if kind in shape.others:
        return _fault_of(shape.others[kind], result)
    # A result of an extension has members of its own.
    return fault if kind in (_COMPLETE, "input_required") else _fault_of(revision.any_result, result)


def _fault_of(shape: Any, text: bytes | msgspec.Raw) -> Fault | None:  # noqa: ANN401 - a type as msgspec reads it
    try:
        check(shape, text)
    except msgspec.ValidationError as error:
        return _read(str(error))
    except UNREADABLE:
        return Fault("$", "The text cannot be decoded")
    return None


def _read(text: str) -> Fault:
    """Return the fault of an error text of msgspec."""
    found = _PLACE.fullmatch(text)
    what, path = (found[1], found[2]) if found else (text, "$")
    what = _INVALID_VALUE.sub("Value is none of those that are allowed", what)
    return Fault(path, _INTEGER.sub("`integer`", what).replace("float", "number"))


def _params_of(version: str, sender: Side, *, request: bool) -> Mapping[str, ParamsShape]:
    revision = _revision(version)
    if sender == _SERVER:
        return revision.server_requests if request else revision.server_notifications
    return revision.client_requests if request else revision.client_notifications


@cache
def _revision(version: str) -> Revision:
    module = import_module(f".revision_{version.replace('-', '_')}", __package__)
    found: Revision = module.REVISION
    return found
