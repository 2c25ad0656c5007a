"""Send HTTP requests to one remote server, and to the URLs that it names.

Only what the configuration and the caller name is sent: no cookie, no user name of a URL or a .netrc file, and no header field
of a client of the bridge. A redirect is followed only to the same origin and only if it repeats the request (307, 308).
"""

import functools
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import trio

from ...validators.counted import counted
from ...validators.http_head import FIELD_VALUE, TCHAR
from ...validators.remote_url import (
    HTTP_SCHEMES,
    WEBSOCKET_SCHEMES,
    BadRemoteUrl,
    RemoteUrl,
    parse_remote_url,
    resolve_reference,
    same_origin,
)
from ...validators.version import VERSION
from ..options import Headers
from .addresses import Guard
from .connector import Connector
from .http_connection import HttpConnection, RemoteResponse
from .options import RemoteOptions
from .ports import Challenge, Redirected, Unreachable

__all__ = ["HttpClient", "RemoteResponse"]

_METHOD: Final = re.compile(rf"{TCHAR}+\Z")
_NAME: Final = re.compile(rf"{TCHAR}+\Z".encode())
# Fields that belong to the connection, and are set here only.
_OWN: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding", b"upgrade", b"te")
)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REDIRECTS: Final = 5
# Idle connections that are kept.
_MOST_IDLE: Final = 16
# Of a document that a server has named (bytes, seconds).
DISCOVERY_BYTES: Final = 64 * 1024
DISCOVERY_SECONDS: Final = 5.0
# Of the body of a refusal that is stored while other credentials are obtained (bytes, seconds).
_REFUSAL_BYTES: Final = 64 * 1024
_REFUSAL_SECONDS: Final = 5.0
# Attempts to obtain other credentials for one request.
_MOST_RENEWALS: Final = 3


class HttpClient:
    """Sends requests to the origin of a configured URL, over connections that are used again."""

    def __init__(self, options: RemoteOptions) -> None:
        """Prepare a client. Raises BadRemoteUrl."""
        self._options = options
        self.home = http_url(options.url)
        self._connector = Connector(options, self.home)
        self._discovery = False
        # Connections without a request, the last used at the end.
        self._idle: list[HttpConnection] = []
        # All open connections, which `close` closes, and the number of those that are being opened.
        self._open: set[HttpConnection] = set()
        self._opening = 0

    @classmethod
    def for_discovery(cls, options: RemoteOptions) -> Self:
        """Return a client for URLs that the server at `options.url` has named, such as those of OAuth metadata.

        Addresses are checked (Guard), redirects are refused, and a response has at most 64 KiB and must be complete after 5
        seconds. Neither the configured headers nor the client certificate are sent to another origin.
        """
        client = cls(options)
        client._discovery = True
        client._connector = Connector(options, client.home, Guard(client.home))
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections now. Requests on them fail."""
        for http in (*self._open, *self._idle):
            http.connection.close()
        self._open.clear()
        self._idle.clear()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        idle_seconds: float = float("inf"),
        upgrade: bytes = b"",
    ) -> AsyncGenerator[RemoteResponse]:
        """Send a request and yield its response; leaving the context before the end of the body closes the connection.

        The configured headers are added, unless `headers` has a field of the same name. `idle_seconds` is the longest time
        without a byte of the response. `upgrade` names the protocol to change to, if the server agrees (status 101). Raises
        Unreachable, also for a redirect that is not followed, and ValueError for
        header fields that would be another request.
        """
        try:
            target = parse_remote_url(url)
        except BadRemoteUrl as fault:
            raise Unreachable(f"a request was not sent: {fault}") from None
        if not self._discovery and not same_origin(target, self.home):
            raise Unreachable(f"{target.origin} is not the origin of the configured URL, {self.home.origin}")
        fields = self._fields(method, target, headers, body)
        if upgrade:
            fields = (*fields, (b"Connection", b"Upgrade"), (b"Upgrade", upgrade))
        deadline = trio.current_time() + DISCOVERY_SECONDS if self._discovery else float("inf")
        http, response = await self._send(
            method, target, fields, body or b"", idle_seconds, deadline, upgrade=bool(upgrade)
        )
        try:
            yield response
        finally:
            response.close()
            self._release(http)

    @asynccontextmanager
    async def authorized_request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        idle_seconds: float = float("inf"),
        upgrade: bytes = b"",
        renew: bool = True,
    ) -> AsyncGenerator[RemoteResponse]:
        """Send a request with the credentials of `options.authorizer`, and again with others if it is refused (401, 403).

        Yields the refusal if there are no others, and without `renew`. Raises as `request`, and LoginRequired.
        """
        authorizer = self._options.authorizer
        attempts = _MOST_RENEWALS if renew else 0
        while True:
            used = () if authorizer is None else await authorizer.headers()
            async with self.request(
                method, url, (*headers, *used), body, idle_seconds=idle_seconds, upgrade=upgrade
            ) as response:
                if authorizer is None or response.status not in (401, 403) or not attempts:
                    yield response
                    return
                with trio.move_on_after(_REFUSAL_SECONDS):
                    await response.preload(_REFUSAL_BYTES)
            challenge = Challenge(response.status, response.www_authenticate, url)
            if not await authorizer.renew(challenge, used):
                yield response
                return
            attempts -= 1

    def _fields(self, method: str, url: RemoteUrl, headers: Headers, body: bytes | None) -> Headers:
        """Return all header fields of a request. Raises ValueError."""
        if not _METHOD.match(method):
            raise ValueError("the method is not a token (RFC 9110 section 9.1)")
        given = {name.lower() for name, _ in headers}
        fixed = () if not same_origin(url, self.home) else self._options.headers
        added = [(name, value) for name, value in fixed if name.lower() not in given]
        for name, value in (*headers, *added):
            if not _NAME.match(name) or not FIELD_VALUE.match(value):
                raise ValueError(
                    f"the header field {name[:64]!r} has a control character, or spaces around it"
                )
            if name.lower() in _OWN:
                raise ValueError(f"the header field {name[:64]!r} cannot be set")
        fields = [(b"Host", url.authority.encode()), (b"Accept-Encoding", b"identity"), *headers, *added]
        names = given | {name.lower() for name, _ in added}
        if b"user-agent" not in names:
            fields.append((b"User-Agent", _user_agent()))
        if b"accept" not in names:
            fields.append((b"Accept", b"*/*"))
        if body is not None or method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % len(body or b"")))
        return tuple(fields)

    async def _send(
        self,
        method: str,
        url: RemoteUrl,
        fields: Headers,
        body: bytes,
        idle_seconds: float,
        deadline: float,
        *,
        upgrade: bool,
    ) -> tuple[HttpConnection, RemoteResponse]:
        for _ in range(_MOST_REDIRECTS + 1):
            http = await self._connection(url, deadline, upgrade=upgrade)
            http.idle_seconds, http.deadline = idle_seconds, deadline
            http.most = DISCOVERY_BYTES if self._discovery else None
            try:
                response = await self._exchange(http, method, url, fields, body)
            except BaseException:
                self._open.discard(http)
                raise
            if response.status not in _REDIRECTS:
                return http, response
            self._release(http)
            url = self._redirected(url, response)
        raise Unreachable(f"{url.origin} sent more than {_MOST_REDIRECTS} redirects", sent=True)

    async def _exchange(
        self, http: HttpConnection, method: str, url: RemoteUrl, fields: Headers, body: bytes
    ) -> RemoteResponse:
        target = url.target
        proxy = http.connection.forward
        if proxy is not None:
            target = str(url)
            if proxy.authorization:
                fields = (*fields, (b"Proxy-Authorization", proxy.authorization))
        response = await http.exchange(method, target, fields, body)
        if proxy is not None and response.status == 407:
            http.connection.close()
            raise Unreachable(
                f"cannot connect to {url.origin}: the proxy {proxy.url.origin} requires a user name and password"
            )
        return response

    def _redirected(self, url: RemoteUrl, response: RemoteResponse) -> RemoteUrl:
        """Return the URL to which a request is repeated. Raises Redirected."""
        try:
            target = resolve_reference(url, response.headers.get("location", ""))
            name = f"to {target.origin}"
        except BadRemoteUrl:
            target, name = None, "to an invalid URL"
        if target is None or self._discovery or not same_origin(url, target):
            raise Redirected(
                f"{url.origin} redirects {name}, which is not followed; configure the URL of the server itself",
                sent=True,
            )
        if response.status not in (307, 308):
            raise Redirected(
                f"{url.origin} redirects {name} with status {response.status}, which does not repeat a request;"
                " configure the URL of the server itself",
                sent=True,
            )
        return target

    async def _connection(self, url: RemoteUrl, deadline: float, *, upgrade: bool) -> HttpConnection:
        if not self._discovery and not upgrade:
            while self._idle:
                http = self._idle.pop()
                if http.usable:
                    self._open.add(http)
                    return http
                http.connection.close()
        limit = self._options.limits.connections
        if len(self._open) + self._opening >= limit:
            raise Unreachable(f"{url.origin} has {counted(limit, 'connection')} already (limits.connections)")
        seconds = min(self._options.connect_seconds, deadline - trio.current_time())
        self._opening += 1
        try:
            connection = await self._connector.open(url, seconds=seconds, tunnel=upgrade)
        finally:
            self._opening -= 1
        http = HttpConnection(connection, url.origin, self._options.limits.write_stall_seconds)
        self._open.add(http)
        return http

    def _release(self, http: HttpConnection) -> None:
        """Keep a connection whose response is complete, and close others."""
        if http not in self._open:
            http.connection.close()
            return
        self._open.discard(http)
        if self._discovery or not http.finish():
            http.connection.close()
            return
        self._idle.append(http)
        if len(self._idle) > _MOST_IDLE:
            self._idle.pop(0).connection.close()


@functools.cache
def _user_agent() -> bytes:
    # Reading the version takes a millisecond.
    return f"mcp-bridge/{VERSION}".encode()


def http_url(text: str) -> RemoteUrl:
    """Return a configured URL; that of a WebSocket as the URL of its handshake. Raises BadRemoteUrl."""
    url = parse_remote_url(text, (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES))
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    return RemoteUrl(scheme, url.host, url.port, url.target)
