"""The name of the client of a request to the aggregate, in `_meta`: the daemon writes it, the aggregate reads it. Pure."""

from typing import Final

from ...validators import json_object
from ...validators.json_object import Members
from ...validators.jsonrpc import Request
from ...validators.stateless_request import CLIENT_CAPABILITIES, CLIENT_INFO

_KEY: Final = "mcp-bridge/client"
# The members by which a server process is chosen for a client.
_IDENTITY: Final = (CLIENT_INFO, CLIENT_CAPABILITIES)


def forwarded_name(name: str, directory: str) -> str:
    """Return the name of a client, which has no space, with its header Mcp-Cwd, which is empty without one."""
    return f"{name} {directory}" if directory else name


def split_name(forwarded: str) -> tuple[str, str]:
    """Return the name of a client and its header Mcp-Cwd."""
    name, _, directory = forwarded.partition(" ")
    return name, directory


def with_client(request: Request, name: str) -> Request:
    """Return the request with this name of its client, in place of any other name."""
    found = json_object.read(request.params)
    return _with_meta(request, found, {**_meta(found), _KEY: json_object.raw(json_object.text(name))})


def in_the_name_of(request: Request, other: Request) -> Request:
    """Return a request of the bridge with the identity of the client that sent `other`.

    A request that names a client already is returned unchanged.
    """
    found = json_object.read(request.params)
    meta = _meta(found)
    if _KEY in meta:
        return request
    theirs = _meta(json_object.read(other.params))
    kept = {key: value for key, value in meta.items() if key not in _IDENTITY}
    identity: Members = {key: theirs[key] for key in (*_IDENTITY, _KEY) if key in theirs}
    return _with_meta(request, found, {**kept, **identity})


def _meta(found: Members) -> Members:
    return json_object.peek(found.get("_meta"))


def _with_meta(request: Request, found: Members, meta: Members) -> Request:
    params = json_object.write({**found, "_meta": json_object.raw(json_object.write(meta))})
    return Request(request.id, request.method, params)


def named_client(params: bytes) -> tuple[str, bytes]:
    """Return the name of the client in params, an empty string for none, and the params without it."""
    found = json_object.read(params)
    meta = _meta(found)
    name = json_object.string(meta.pop(_KEY, None))
    found["_meta"] = json_object.raw(json_object.write(meta))
    return name, json_object.write(found)
