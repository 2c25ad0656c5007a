"""The client of a request to the aggregate, in the request's `_meta`: written by the daemon, read by the aggregate. Pure."""

from typing import Final

from ..validators import members
from ..validators.envelope import Request
from ..validators.members import Members
from ..validators.modern import CLIENT_CAPABILITIES, CLIENT_INFO

_KEY: Final = "mcp-bridge/client"
# What a client says of itself, by which a server process is chosen.
_SAID: Final = (CLIENT_INFO, CLIENT_CAPABILITIES)


def with_client(request: Request, name: str) -> Request:
    """Return the request of a client under this name, whatever name it has."""
    found = members.read(request.params)
    return _with_meta(request, found, {**_meta(found), _KEY: members.raw(members.text(name))})


def in_the_name_of(request: Request, other: Request) -> Request:
    """Return a request of our own as if it were of the client that sent the other; one with a name as it is."""
    found = members.read(request.params)
    meta = _meta(found)
    if _KEY in meta:
        return request
    theirs = _meta(members.read(other.params))
    kept = {key: value for key, value in meta.items() if key not in _SAID}
    said: Members = {key: theirs[key] for key in (*_SAID, _KEY) if key in theirs}
    return _with_meta(request, found, {**kept, **said})


def _meta(found: Members) -> Members:
    return members.peek(found.get("_meta"))


def _with_meta(request: Request, found: Members, meta: Members) -> Request:
    params = members.write({**found, "_meta": members.raw(members.write(meta))})
    return Request(request.id, request.method, params)


def named_client(params: bytes) -> tuple[str, bytes]:
    """Return the client named in params, an empty string where there is none, and the params without it."""
    found = members.read(params)
    meta = _meta(found)
    name = members.string(meta.pop(_KEY, None))
    found["_meta"] = members.raw(members.write(meta))
    return name, members.write(found)
