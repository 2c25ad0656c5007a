"""Send the requests of an OAuth client over the HTTP client of discoveries, which checks each address."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec

from ...transports.options import Headers
from ...validators.revisions import MODERN_REVISION
from .client_auth import Authentication

# The largest response (bytes).
_LARGEST: Final = 64 * 1024
_JSON: Final = (b"Accept", b"application/json")
# MCP 2025-03-26 basic/authorization, "Server Metadata Discovery Headers".
_VERSION: Final = (b"MCP-Protocol-Version", MODERN_REVISION.encode())


class Response(Protocol):
    """A response whose body is read at once."""

    status: int

    async def read(self, limit: int) -> bytes:
        """Return the body. Raises Unreachable for a larger one."""
        ...


class DiscoveryClient(Protocol):
    """The HTTP client for URLs that a server has named (`HttpClient.for_discovery`)."""

    def request(
        self, method: str, url: str, headers: Headers = (), body: bytes | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request. Raises Unreachable."""
        ...


class Exchange:
    """Requests to a protected resource and its authorization server. The methods return status and body.

    They raise Unreachable.
    """

    def __init__(self, client: DiscoveryClient) -> None:
        self._client = client

    async def get(self, url: str) -> tuple[int, bytes]:
        """Request a metadata document."""
        return await self._send("GET", url, (_JSON, _VERSION), None)

    async def post_form(
        self, url: str, form: Mapping[str, str], authentication: Authentication
    ) -> tuple[int, bytes]:
        """Send a form, with the authentication of the client."""
        headers = [_JSON, (b"Content-Type", b"application/x-www-form-urlencoded")]
        if authentication.authorization:
            headers.append((b"Authorization", authentication.authorization.encode()))
        body = urlencode({**form, **authentication.form}).encode()
        return await self._send("POST", url, tuple(headers), body)

    async def post_json(self, url: str, content: Mapping[str, object]) -> tuple[int, bytes]:
        """Send a JSON object."""
        headers = (_JSON, (b"Content-Type", b"application/json"))
        return await self._send("POST", url, headers, msgspec.json.encode(content))

    async def _send(self, method: str, url: str, headers: Headers, body: bytes | None) -> tuple[int, bytes]:
        async with self._client.request(method, url, headers, body) as response:
            return response.status, await response.read(_LARGEST)
