"""Map paths to endpoints. Paths are not decoded, normalised or redirected; one trailing slash makes no difference."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from ...validators.http_head import Head
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..correlation import id_header
from ..endpoints.http_sse import EventStream, MessagePost
from ..endpoints.pipe import Pipe
from ..endpoints.rejections import method_not_allowed
from ..endpoints.streamable_http import StreamableHttp
from ..endpoints.websocket import WebSocket
from ..options import JSON, Paths, is_discovery, spellings
from ..ports import Backend, Endpoint, Exchange, Log
from .gate import named_server

_Value = TypeVar("_Value")

# An OAuth error (RFC 6749 section 5.2), because clients show its `error_description` only. Codes such as invalid_client make
# the SDKs delete stored credentials and repeat; this code ends the attempt.
_NO_OAUTH: Final = json.dumps(
    {
        "error": "invalid_request",
        "error_description": (
            "mcp-bridge has no OAuth and registers no clients. It takes a token in the header `Authorization: Bearer TOKEN`;"
            " the default token is in the file $XDG_STATE_HOME/mcp-bridge/token, which without that variable is"
            " ~/.local/state/mcp-bridge/token. `mcp-bridge client-config` prints the configuration of a client with a token."
        ),
    }
).encode("ascii")
# The same for a bridge that accepts the tokens of an authorization server.
_NOT_THE_ISSUER: Final = json.dumps(
    {
        "error": "invalid_request",
        "error_description": (
            "mcp-bridge accepts tokens of an authorization server, and is none itself: the metadata at"
            " /.well-known/oauth-protected-resource (RFC 9728) name it, and clients register there."
        ),
    }
).encode("ascii")
_PROTECTED_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_HEALTH_METHODS: Final = b"GET, HEAD"


def endpoints(paths: Paths, backend: Backend, limits: Limits, log: Log) -> dict[str, Endpoint]:
    """Return the endpoints of one server, by path."""
    table: dict[str, Endpoint] = {
        paths.mcp: StreamableHttp(backend, limits),
        paths.sse: EventStream(backend, limits, paths.messages, paths.sse),
        paths.messages: MessagePost(backend, limits),
        paths.ws: WebSocket(backend, limits, log),
        paths.pipe: Pipe(backend, limits, log),
    }
    table.pop("", None)
    return table


async def no_oauth(exchange: Exchange) -> None:
    """Send the error for OAuth metadata and client registration, whatever the path names."""
    await _send_no_oauth(_NO_OAUTH, exchange)


async def not_the_issuer(exchange: Exchange) -> None:
    """Send the error for the metadata of an authorization server and client registration, which are those of the issuer."""
    await _send_no_oauth(_NOT_THE_ISSUER, exchange)


async def _send_no_oauth(document: bytes, exchange: Exchange) -> None:
    refused = Rejection(404, INVALID_REQUEST, "", reason="oauth_discovery")
    exchange.count_refusal(refused)
    await exchange.answer(404, JSON, document, id_header(refused))


async def _send_metadata(document: bytes, exchange: Exchange) -> None:
    if exchange.head.method not in ("GET", "HEAD"):
        raise method_not_allowed(_HEALTH_METHODS)
    await exchange.answer(200, JSON, document)


async def healthz(exchange: Exchange) -> None:
    """Send "ok": the daemon is running."""
    if exchange.head.method not in ("GET", "HEAD"):
        raise method_not_allowed(_HEALTH_METHODS)
    await exchange.answer(200, b"text/plain", b"ok")


def _may_use_all(_principal: str, _server: str) -> bool:
    return True


def readyz(is_ready: Callable[[str], bool], may_use: Callable[[str, str], bool] = _may_use_all) -> Endpoint:
    """Return an endpoint that sends 200 if all servers are ready, or the one in `?server=NAME`, else 503.

    A server that `may_use` (principal, server) denies gets the same response as an unknown server.
    """

    async def answer(exchange: Exchange) -> None:
        if exchange.head.method not in ("GET", "HEAD"):
            raise method_not_allowed(_HEALTH_METHODS)
        name = named_server(exchange.head.query)
        ready = is_ready(name) and (not name or may_use(exchange.principal, name))
        await exchange.answer(200 if ready else 503, b"text/plain", b"ready" if ready else b"not ready")

    return answer


def _spelled(table: Mapping[str, _Value]) -> dict[str, _Value]:
    return {spelling: value for path, value in table.items() for spelling in spellings(path)}


def _no_right(_head: Head, principal: str, server: str) -> Rejection:
    return Rejection(
        403,
        INVALID_REQUEST,
        f"the token of {principal!r} has no right to {server!r}",
        reason="server_denied",
    )


def _no_metadata(_path: str) -> bytes | None:
    return None


class Routes:
    """The route table of one listener, and its public paths. `generation` grows with each change of the table.

    `refusal` returns the Rejection of a principal that may not use a server, and `metadata` the document at a path of OAuth
    discovery, or None. Each path is served below `root_path` as well.
    """

    def __init__(
        self,
        table: Mapping[str, Endpoint],
        health: Mapping[str, Endpoint],
        alternatives: Callable[[str, Sequence[str]], str] | None = None,
        refusal: Callable[[Head, str, str], Rejection] = _no_right,
        metadata: Callable[[str], bytes | None] = _no_metadata,
        root_path: str = "",
    ) -> None:
        self._root_path = root_path
        self._refusal = refusal
        self._metadata = metadata
        self.generation = 0
        # Returns the end of the error text for an unknown server, from its name and the names that the principal may use.
        self._alternatives = alternatives
        self._health = self._below_root(health)
        self._permits: Callable[[str, str], bool] = _may_use_all
        self._owners: dict[str, str] = {}
        self.replace(table)

    def replace(
        self,
        table: Mapping[str, Endpoint],
        owners: Mapping[str, str] | None = None,
        permits: Callable[[str, str], bool] | None = None,
    ) -> None:
        """Replace the table.

        `owners` maps paths to servers. `permits` returns whether a principal may use a server; without, all may use all.
        """
        self.generation += 1
        # The gate requires no credential for OAuth discovery, so no such path may lead to a server.
        closed = {
            path: endpoint for path, endpoint in self._below_root(table).items() if not is_discovery(path)
        }
        self._table: dict[str, Endpoint] = {**closed, **self._health}
        self._owners = self._below_root(owners or {})
        self._permits = permits or _may_use_all

    def _below_root(self, table: Mapping[str, _Value]) -> dict[str, _Value]:
        found = _spelled(table)
        return (
            found
            if not self._root_path
            else found | {self._root_path + path: one for path, one in found.items()}
        )

    def owner(self, path: str) -> str:
        """Return the name of the server that a path belongs to; empty for none."""
        return self._owners.get(path, "")

    def __call__(self, head: Head, principal: str) -> Endpoint:
        """Return the endpoint of a request. Raises Rejection 404, 405 for `OPTIONS *`, and 403 for a denied server."""
        path = head.path
        endpoint = self._table.get(path)
        if path == "*":
            raise method_not_allowed(b"GET, POST, DELETE")
        if endpoint is None:
            if is_discovery(path):
                document = self._metadata(path)
                if document is not None:
                    return partial(_send_metadata, document)
                return no_oauth if self._metadata(_PROTECTED_RESOURCE) is None else not_the_issuer
            raise Rejection(404, INVALID_REQUEST, self._not_found(path, principal))
        server = self._owners.get(path)
        if server is not None and not self._permits(principal, server):
            raise self._refusal(head, principal, server)
        return endpoint

    def _not_found(self, path: str, principal: str) -> str:
        """Return the text of a 404. For the pipe of an unknown server it has the names of those that the principal may use."""
        words = path.split("/")
        if self._alternatives is None or len(words) != 4 or words[1] != "servers" or words[3] != "pipe":
            return "Not found"
        names = dict.fromkeys(
            name for name in self._owners.values() if name and self._permits(principal, name)
        )
        return f"there is no server of this name{self._alternatives(words[2], list(names))}"
