"""The Streamable HTTP client of one connection, in the era of each message.

An `initialize` without the `_meta` of the modern era begins a session. Requests with it are stateless.
"""

import trio

from ...validators.stateless_request import is_modern
from .http_calls import Endpoint
from .legacy_http import LegacyHttp
from .link import Link
from .messages import CANCELLED, Sent
from .stateless_http import StatelessHttp


class StreamableHttp:
    """A session and stateless requests at the same URL."""

    def __init__(self, endpoint: Endpoint, link: Link, nursery: trio.Nursery) -> None:
        self._endpoint = endpoint
        self._legacy = LegacyHttp(endpoint, link, nursery)
        self._modern = StatelessHttp(endpoint, link, nursery)

    def send(self, sent: Sent) -> None:
        """Send a message, as soon as its order permits."""
        if sent.method == CANCELLED and self._modern.cancel(sent):
            return
        if sent.method and (is_modern(sent.params) or (not sent.id and not self._legacy.begun)):
            self._modern.send(sent)
        else:
            self._legacy.send(sent)

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        await self._legacy.run()

    async def end_session(self) -> None:
        """Ask the server to end the session. Errors are ignored, because a server need not support it."""
        headers = self._legacy.session_headers
        if headers:
            await self._endpoint.end_session(headers)
