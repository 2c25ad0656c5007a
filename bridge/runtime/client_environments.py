"""Read what a client chooses of its process from the headers of its requests, and open its directory.

Opening a directory may block, for example on a file system of the network, so a thread does that.
"""

import os
from collections.abc import Mapping
from typing import Final

import attrs
import trio

from ...transports.options import Directory
from ...transports.process.client_directory import DirectoryRefused, find_directory
from ...transports.rate_limited_log import RateLimitedLog
from ...validators.client_directory import DIRECTORY_HEADER, decode_path
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..config.settings import ServerConfig
from ..core.client_environment import ClientEnvironment, environment_from_headers
from .server_log import ServerLog

# Threads that open directories at the same time, of all servers. Some may wait for a file system that does not respond.
_threads = trio.CapacityLimiter(8)
# Time to open a directory (seconds).
_OPEN_SECONDS: Final = 5.0
# For how long the requests of a client use the directory that was found for an earlier one (seconds).
_VALID_SECONDS: Final = 2.0
# The most directories that are stored for that time.
_MOST: Final = 256


class ClientEnvironments:
    """The client environments of one server. `differ` is whether requests of different clients may have different ones."""

    def __init__(self, config: ServerConfig, log: ServerLog) -> None:
        self._name = config.name
        self._from_headers = config.from_headers
        self._allowed = config.cwd_allowed
        self.differ = bool(self._from_headers or self._allowed)
        self._log = RateLimitedLog(log)
        # By the value of the header: the directory, and until when it is used. Added by `_find`, all removed at the limit.
        self._found: dict[str, tuple[Directory, float]] = {}

    async def find(self, principal: str, headers: Mapping[str, str]) -> ClientEnvironment:
        """Return the environment of a client. Raises Rejection 400 and 403."""
        environment = environment_from_headers(headers, self._from_headers)
        if not self._allowed:
            return environment
        value = headers.get(DIRECTORY_HEADER)
        if value is None:
            raise Rejection(
                400,
                INVALID_REQUEST,
                f"the server {self._name} runs in the directory of its client, which the request does not name:"
                f" use `mcp-bridge connect {self._name}`, or the header Mcp-Cwd on the Unix socket;"
                ' clients of TCP cannot use a server with cwd = "client"',
            )
        found, until = self._found.get(value, (None, 0.0))
        if found is None or trio.current_time() >= until:
            found = await self._open(principal, value)
        return attrs.evolve(environment, directory=found)

    async def _open(self, principal: str, value: str) -> Directory:
        path = decode_path(value)
        reason = f"it could not be opened within {_OPEN_SECONDS:g} s"
        with trio.move_on_after(_OPEN_SECONDS):
            try:
                found = await trio.to_thread.run_sync(
                    find_directory, path, self._allowed, abandon_on_cancel=True, limiter=_threads
                )
            except DirectoryRefused as fault:
                reason = str(fault)
            else:
                if len(self._found) >= _MOST:
                    self._found.clear()
                self._found[value] = found, trio.current_time() + _VALID_SECONDS
                return found
        shown = Directory(os.fsdecode(path), 0, 0).shown
        self._log.warning("client_directory_refused", principal=principal, directory=shown, reason=reason)
        raise Rejection(
            403,
            INVALID_REQUEST,
            f"the server {self._name} cannot run in the directory {shown!r} of its client: {reason}",
        )
