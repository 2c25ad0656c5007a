"""MCP over an upgraded local connection: lines in both directions, as over stdio (`pipe_connection`).

A command that connects a client's stdin and stdout with the daemon can thus pass bytes on without reading the messages.
"""

import trio

from ...validators.limits import Limits
from ...validators.pipe_lines import UPGRADED, check_pipe_upgrade
from ..ports import Backend, Exchange, Log
from ..rate_limited_log import RateLimitedLog
from ..send_queue import ConnectionQueue
from .pipe_connection import PipeConnection
from .rejections import method_not_allowed


class Pipe:
    """The endpoint `/pipe` of one server."""

    def __init__(self, backend: Backend, limits: Limits, log: Log) -> None:
        self._backend = backend
        self._limits = limits
        self._log = RateLimitedLog(log)

    async def __call__(self, exchange: Exchange) -> None:
        """Upgrade and serve one connection until either side closes. Raises Rejection before the upgrade only."""
        head = exchange.head
        if head.method != "GET":
            raise method_not_allowed(b"GET")
        check_pipe_upgrade(head.upgrade, head.version, head.content_length, chunked=head.chunked)
        self._backend.pipes.check_open()
        stream = exchange.upgrade(local=True)
        queue = ConnectionQueue(self._limits, "pipe")
        exchange.attach(queue, ends_with_client=True)
        caller, ends_with_stream = exchange.caller.for_stream(head.headers)
        try:
            with stream.lent_descriptors() as lent:
                connection = PipeConnection(
                    stream,
                    self._backend,
                    exchange.principal,
                    head.headers,
                    caller,
                    queue,
                    self._limits,
                    self._log,
                    exchange.count_refusal,
                    lent,
                )
                stream.call_when_revoked(connection.revoke)
                await stream.send_all(UPGRADED)
                await connection.run()
        # The client has disconnected.
        except trio.BrokenResourceError:
            pass
        finally:
            if ends_with_stream:
                caller.end()
