"""Serve one remote server on stdin and stdout, with the runtime of the daemon and without a daemon.

The client speaks any revision of MCP. Responses, sessions and translations between the eras are those of a server with a URL
in the configuration.
"""

import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from ....transports import client_process
from ....transports.correlation import id_of
from ....transports.endpoints.pipe_connection import PipeConnection
from ....transports.options import LOCAL
from ....transports.poller import Poller
from ....transports.rate_limited_log import RateLimitedLog
from ....transports.send_queue import SendQueue
from ....validators.rejection import Rejection
from ....validators.version import VERSION
from ...config.settings import ServerConfig
from ...log import LineLog
from ...runtime.common_parts import DaemonParts
from ...runtime.server import LocalServer
from ...runtime.server_log import ServerLog
from ..control_client import ErrorResponse, Unreachable
from ..output import notice
from ..terminal_prompt import stderr_prompt
from .standard_streams import StandardStreams

if TYPE_CHECKING:
    from ....transports.client.options import RemoteOptions
    from ....transports.client.ports import Authorizer

# How long responses are awaited after stdin was closed (seconds).
_LAST_RESPONSES: Final = 30.0
# How long the last lines may take to be written, and the session to be closed at the server (seconds).
_LAST_LINES: Final = 1.0
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# The beginning of the reason of a failed start where the network is the reason.
_UNREACHABLE: Final = "cannot be reached"


def run(config: ServerConfig, name: str, helper: Sequence[str], environment: Mapping[str, str]) -> None:
    """Serve until one side ends. `name` is what the user calls the server. Raises Unreachable and ErrorResponse.

    `helper` is the program that keeps the credentials; empty for a file.
    """
    client = _RemoteClient(config, _Logins(name, helper, environment))
    interrupted = False
    try:
        trio.run(client.run)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    client.report()


class _NoticeLog(ServerLog):
    """The log of the server, whose remarks on the connection are for the user."""

    def stderr(self, pid: int, line: bytes) -> None:  # noqa: ARG002 - ServerLog.stderr
        notice(self.shown(line, len(line)))


class _Logins:
    """Makes the credentials of the server from the login of the user (remote_connector.MakeAuthorizer)."""

    def __init__(self, name: str, helper: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._helper = helper
        self._environment = environment

    def __call__(self, config: ServerConfig, options: "RemoteOptions", log: ServerLog) -> "Authorizer":
        from ...oauth.factory import Surroundings, new_authorizer, open_store  # noqa: PLC0415 - only if it may be needed

        surroundings = Surroundings(self._environment, Path.cwd())
        store = open_store(surroundings, self._helper)
        table = None if config.remote is None else config.remote.oauth
        # The link of a login goes to stderr. Other windows with the same server wait for its end.
        return new_authorizer(self._name, options, table, store, surroundings, log, prompt=stderr_prompt())


class _RemoteClient:
    """The server, and the client on stdin and stdout."""

    def __init__(self, config: ServerConfig, logins: _Logins) -> None:
        self._config = config
        log = LineLog("error")
        log.hide(config.secrets)
        self._poller = Poller()
        self._log = _NoticeLog(config.name, log)
        parts = DaemonParts(None, self._poller, VERSION, make_authorizer=logins)
        self._server = LocalServer(config, parts, self._log)
        # Why requests have no response of the server; empty without any.
        self._unanswered = ""

    async def run(self) -> None:
        """Serve until one side ends."""
        streams = StandardStreams()
        received: list[int] = []
        try:
            with trio.open_signal_receiver(*_STOP_SIGNALS) as signals:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._server.run)
                    connection = self._connection(streams)
                    nursery.start_soon(self._end_late, streams, connection)
                    nursery.start_soon(self._end_on_signal, signals, received, connection)
                    await connection.run()
                    await self._server.close("its client has left")
                    with trio.move_on_after(_LAST_LINES):
                        await self._server.emptied()
                    nursery.cancel_scope.cancel()
        finally:
            # allowed: shield-without-limit - the streams are closed forcefully, which waits for no peer
            with trio.CancelScope(shield=True):
                await streams.close()
            self._poller.close()
        if signal.SIGINT in received:
            raise KeyboardInterrupt
        if received or streams.gone:
            # What happened to the requests is of no interest any more.
            self._log.history.fault = None
            self._unanswered = ""

    def _connection(self, streams: StandardStreams) -> PipeConnection:
        limits = self._config.limits
        queue = SendQueue(limits)
        log = RateLimitedLog(self._log)
        caller = client_process.stream()
        return PipeConnection(streams, self._server, LOCAL, {}, caller, queue, limits, log, self._on_refusal)

    def _on_refusal(self, rejection: Rejection) -> None:
        self._log.info("client_message_dropped", reason=rejection.text, correlation_id=id_of(rejection))

    async def _end_late(self, streams: StandardStreams, connection: PipeConnection) -> None:
        await streams.input_ended.wait()
        await trio.sleep(_LAST_RESPONSES)
        self._unanswered = f"no response within {_LAST_RESPONSES:g} s after stdin was closed"
        await self._end(connection, self._unanswered)

    async def _end_on_signal(
        self, signals: AsyncIterator[int], received: list[int], connection: PipeConnection
    ) -> None:
        async for number in signals:
            received.append(number)
            await self._end(connection, f"the command was ended by {signal.Signals(number).name}")

    async def _end(self, connection: PipeConnection, reason: str) -> None:
        """Fail what is in flight, and close the connection after that."""
        await self._server.close(reason)
        connection.close(reason)

    def report(self) -> None:
        """Raise what has kept the server from being used: Unreachable or ErrorResponse."""
        remote = self._config.remote
        assert remote is not None  # noqa: S101 - it is made of a URL
        if self._unanswered:
            raise Unreachable(f"{remote.shown}: {self._unanswered}")
        if self._server.login_required:
            raise ErrorResponse(f"{self._server.login_required}, or pass --token-file FILE")
        fault = self._log.history.fault
        if fault is not None:
            text = f"{remote.shown}: the server {fault.reason}"
            raise Unreachable(text) if fault.reason.startswith(_UNREACHABLE) else ErrorResponse(text)
