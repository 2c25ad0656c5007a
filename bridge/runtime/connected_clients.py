"""The clients of one server: those with a session, and those whose requests are stateless.

A session is counted by the session table. A stateless client is noted when a process is found for its first request, and
shown until its program has exited, its connection has ended, or its server process has.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final
from weakref import WeakKeyDictionary, ref

import attrs

from ...transports.client_process import COMMAND, Caller, Process
from ...transports.send_queue import SendQueue, transport_of
from ...validators import json_object
from ...validators.stateless_request import Envelope
from .multiplexed_process import MultiplexedProcess
from .place_table import PlaceTable
from .process_table import ProcessTable
from .server_log import SHOWN_SESSION
from .sessions import Sessions

# Of the stateless clients of one process; the oldest is dropped for another.
_MOST: Final = 256
# A longer clientInfo is not kept (bytes), and its name and version are cut (characters).
_LONGEST_INFO: Final = 2048
_LONGEST_NAME: Final = 200

# Principal, `Caller.name` and clientInfo.
_Key = tuple[str, str, bytes]


@attrs.frozen
class ConnectedClient:
    """One client. Times are in seconds of Trio's clock.

    `session` is the beginning of the session id, as in the log; empty without a session. `pid` is that of the server process,
    0 if there is none.
    """

    session: str
    name: str
    version: str
    principal: str
    transport: str
    revision: str
    opened: float
    used: float
    pid: int
    in_flight: int


@attrs.frozen
class _Noted:
    key: _Key
    transport: str
    revision: str
    since: float
    # The program, if it is known, and the stream of a client that is none.
    process: Process | None
    stream: "ref[Caller] | None"

    @property
    def is_unknown(self) -> bool:
        """Whether the end of the client may be noticed late, as that of a command. It is shown while its server runs."""
        return self.key[1] == COMMAND or (self.process is None and self.stream is None)

    @property
    def is_over(self) -> bool:
        """Whether the client is known to have ended."""
        if self.process is not None:
            return self.process.exited
        stream = None if self.stream is None else self.stream()
        return self.stream is not None and (stream is None or stream.ended)


class StatelessClients:
    """The stateless clients of each process of one server."""

    def __init__(self) -> None:
        # By process, and then by key, oldest first. An entry is removed with its process, over the limit, and once it is over.
        self._noted: WeakKeyDictionary[MultiplexedProcess, dict[_Key, _Noted]] = WeakKeyDictionary()

    def note(
        self,
        upstream: MultiplexedProcess,
        principal: str,
        caller: Caller,
        read: Envelope,
        queue: SendQueue,
        now: float,
    ) -> None:
        """Store the client of a request to this process. `now` is in seconds."""
        key = _key(principal, caller, read)
        noted = self._noted.setdefault(upstream, {})
        if key in noted:
            return
        if len(noted) >= _MOST:
            del noted[next(iter(noted))]
        stream = ref(caller) if caller.known and caller.process is None else None
        noted[key] = _Noted(key, transport_of(queue), read.version, now, caller.process, stream)

    def of(self, upstream: MultiplexedProcess) -> list[_Noted]:
        """Return the clients of a process."""
        noted = self._noted.get(upstream, {})
        for key in [key for key, one in noted.items() if one.is_over]:
            del noted[key]
        return list(noted.values())


def _key(principal: str, caller: Caller | None, read: Envelope) -> _Key:
    info = read.info if len(read.info) <= _LONGEST_INFO else b""
    return principal, "" if caller is None else caller.name, info


def connected_clients(
    sessions: Sessions, stateless: StatelessClients, places: PlaceTable, processes: ProcessTable
) -> Iterator[ConnectedClient]:
    """Yield the clients of a server, those with a session first."""
    pids = {
        id(process.current_owner): max(process.child.pid, 0)
        for process in processes
        if process.current_owner is not None
    }
    for conversation, opened, used in sessions.times():
        name, version = named(conversation.client_info)
        yield ConnectedClient(
            conversation.id[:SHOWN_SESSION],
            name,
            version,
            conversation.principal,
            conversation.transport,
            conversation.version,
            opened,
            used,
            pids.get(id(conversation.process_owner), 0),
            conversation.in_flight,
        )
    for upstream in places.upstreams:
        counts = _counted(upstream)
        runs = id(upstream.process_owner) in pids
        for one in stateless.of(upstream):
            if one.is_unknown and not runs and not counts[one.key]:
                continue
            name, version = named(one.key[2])
            yield ConnectedClient(
                "",
                name,
                version,
                one.key[0],
                one.transport,
                one.revision,
                one.since,
                max(one.since, upstream.touched),
                pids.get(id(upstream.process_owner), 0),
                counts[one.key],
            )


def _counted(upstream: MultiplexedProcess) -> Counter[_Key]:
    """Return the number of requests without a response, by client."""
    return Counter(
        _key(call.principal, call.caller if isinstance(call.caller, Caller) else None, call.envelope)
        for call in upstream.requests
    )


def named(info: bytes) -> tuple[str, str]:
    """Return the name and the version in a clientInfo, which is not verified; empty where it has none."""
    found = json_object.peek(info)
    name, version = (json_object.string(found.get(member))[:_LONGEST_NAME] for member in ("name", "version"))
    return name, version
