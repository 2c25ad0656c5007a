"""Which requests of the stateless era share a server process, and who their client is.

Pure. The table of the processes is in `place_table`.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, TypeVar

import attrs
import msgspec

from ...transports.client_process import UNKNOWN, Caller, Process
from ...transports.options import LOCAL
from ...validators import json_object
from ...validators.jsonrpc import Message, Notification, Request
from ...validators.limits import Limits
from ...validators.rejection import INVALID_PARAMS, Rejection
from ..config.credentials import PRINCIPAL
from ..config.settings import ServerConfig
from ..core import extensions
from ..core.aggregate_members import LEFT_OUT, read_left_out
from ..core.attribution import Client
from ..core.client_environment import NOTHING, ClientEnvironment
from ..core.forwarded_client import forwarded_name, in_the_name_of, with_client
from ..core.requests import ClientRequest
from ..eras.rules_legacy_to_modern import NO_PROFILE, Profile, profile_of
from .multiplexed_process import MultiplexedProcess

# Between the parts of `Client.key`. No part holds it.
_BETWEEN: Final = "\n"

# Up to this size a value is compared as a value (bytes).
_LONGEST_READ: Final = 64 * 1024
_decode = msgspec.json.Decoder().decode
_sorted = msgspec.json.Encoder(order="sorted").encode


def fingerprint(raw: bytes) -> str:
    """Return a hash that is equal for equal JSON values; empty for an empty input."""
    if not raw:
        return ""
    # Half a surrogate pair cannot be decoded, and a long value is not. Then only equal bytes are equal.
    if len(raw) <= _LONGEST_READ:
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            raw = _sorted(_decode(raw))
    return hashlib.sha256(raw).hexdigest()[:32]


@attrs.frozen
class Declared:
    """The requests that a client accepts of a server, and its extensions: kind, name, fingerprint of the settings."""

    profile: Profile = NO_PROFILE
    extensions: frozenset[tuple[str, str, str]] = frozenset()
    # The settings as they were declared, by kind and name.
    settings: Mapping[tuple[str, str], bytes] = attrs.field(factory=dict[tuple[str, str], bytes], eq=False)

    def covers(self, other: "Declared") -> bool:
        """Return whether everything of the other is declared here."""
        return all(map(_covers, self.profile, other.profile)) and self.extensions >= other.extensions

    def joined(self, other: "Declared") -> "Declared":
        """Return both together. The settings of the other have precedence."""
        named = {(kind, name): settings for kind, name, settings in (*self.extensions, *other.extensions)}
        return Declared(
            Profile(*map(_joined, self.profile, other.profile)),
            frozenset((*both, settings) for both, settings in named.items()),
            {**self.settings, **other.settings},
        )

    def capabilities(self) -> dict[str, object]:
        """Return the capabilities of `initialize` that declare this."""
        return {**self.profile.declared(), **extensions.as_capabilities(self.settings.items())}


T = TypeVar("T")


def _covers(mine: T, theirs: T) -> bool:
    return mine == theirs or not theirs


def _joined(mine: T, theirs: T) -> T:
    return theirs or mine


def declared(capabilities: bytes) -> Declared:
    """Read the capabilities of a request."""
    if capabilities == b"{}":
        return Declared()
    found = extensions.declared_in(capabilities)
    return Declared(
        profile_of(capabilities),
        frozenset((*both, fingerprint(settings)) for both, settings in found.items()),
        found,
    )


@attrs.frozen
class Key:
    """Requests with equal keys may share a server process.

    `client` is `Caller.name`, and `info` the fingerprint of clientInfo, both empty where the process is not one client's.
    `declared` is None for a server of the modern era, and where `Declared.covers` decides whether the process of the key serves.
    """

    principal: str
    client_environment: ClientEnvironment = NOTHING
    declared: Declared | None = None
    client: str = ""
    info: str = ""


@attrs.define(eq=False)
class Place:
    """A server process with its clients, under a name that is signed into their `requestState`."""

    name: str
    upstream: MultiplexedProcess
    key: Key
    # The declaration in `initialize`; None for a modern process.
    declared: Declared | None
    # The only client of it, if `key` names one.
    client: Client | None = None
    # The process of that client, and when it was first seen to have exited (seconds).
    process: Process | None = None
    exited: float | None = None
    # Whether another place has taken over its key.
    replaced: bool = False

    def why_over(self, limits: Limits, now: float) -> str:
        """Return why the process is to end now, empty where it is not. `now` is in seconds."""
        if self.replaced and not self.upstream.busy:
            return "another process has taken its place"
        if self.process is not None:
            if self.exited is None and self.process.exited:
                self.exited = now
            if (
                self.exited is not None
                and not self.upstream.calling
                and now - self.exited > limits.client_exit_seconds
            ):
                return "its client has exited"
        return "it was idle for too long" if now - self.upstream.touched > limits.session_idle_seconds else ""


def client_of(principal: str, caller: Caller, info: bytes, *, forwarded: bool = False) -> Client:
    """Return the client of a request. clientInfo keeps clients apart that have the same caller.

    The aggregate gets the directory of a client as well (`forwarded`).
    """
    return Client(_BETWEEN.join((principal, _name(caller, forwarded), fingerprint(info))), caller.known)


def of_session(principal: str, caller: Caller, *, forwarded: bool = False) -> Client:
    """Return the client of a session, or of a notification."""
    return Client(_BETWEEN.join((principal, _name(caller, forwarded), "")))


def _name(caller: Caller, forwarded: bool) -> str:  # noqa: FBT001 - of the public functions
    return forwarded_name(caller.name, caller.directory) if forwarded else caller.name


def _name_of(client: Client) -> str:
    return client.key.split(_BETWEEN)[1] if _BETWEEN in client.key else UNKNOWN


def sharer(config: ServerConfig, principal: str) -> str:
    """Return the principal in whose name a shared process runs."""
    if config.share == "server":
        return ""
    # The default token and the Unix socket are both for the user of the daemon.
    return PRINCIPAL if principal == LOCAL and not config.knows_principal else principal


def has_own_process(config: ServerConfig, *, modern: bool) -> bool:
    """Return whether each stateless client has a process of its own, of a modern or of a legacy server."""
    # "session" has no meaning for clients without sessions, which get the default of the server's era.
    return config.share == "client" or (not modern and config.share in ("", "session"))


class ForwardingUpstream(MultiplexedProcess):
    """The process of the aggregate, which serves several clients: each request names its client."""

    # The last request of a client. Requests of the bridge itself name the same client.
    _latest: Request | None = None
    # The servers whose part is missing in its responses, with the reasons.
    left_out: Mapping[str, str] = MappingProxyType({})

    def request(self, asked: ClientRequest) -> None:
        """Send a request. Raises Rejection."""
        if not json_object.has_room(asked.request.params):
            raise Rejection(400, INVALID_PARAMS, json_object.TOO_MANY)
        self._latest = with_client(asked.request, _name_of(asked.client))
        super().request(asked._replace(request=self._latest))

    def notify(self, message: Notification, client: Client) -> None:
        """Send a notification of a client."""
        if not json_object.has_room(message.params):
            return
        named = with_client(Request(b"", message.method, message.params), _name_of(client))
        super().notify(Notification(named.method, named.params), client)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self.left_out = {}
        super().failed(text, data)

    def _from_server(self, message: Message) -> None:
        if isinstance(message, Notification) and message.method == LEFT_OUT:
            with suppress(ValueError):
                self.left_out = read_left_out(message.params)
            return
        super()._from_server(message)

    def _write(self, message: Message) -> None:
        if isinstance(message, Request) and self._latest is not None:
            message = in_the_name_of(message, self._latest)
        super()._write(message)
