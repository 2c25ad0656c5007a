"""The processes of stateless clients, under the keys of the requests that may share each (`placement.Key`)."""

import secrets
from collections.abc import Iterator
from typing import Final

import attrs

from ...transports.client_process import Caller
from ...transports.options import Directory
from ...validators.rejection import INVALID_PARAMS, Rejection
from ...validators.stateless_request import Envelope
from ..core.attribution import Client
from ..core.client_environment import ClientEnvironment
from ..core.request_state import INVALID_STATE, SharedKeys, StateSigner
from .multiplexed_process import MultiplexedProcess
from .placement import Declared, ForwardingUpstream, Key, Place

# The most declarations whose place is cached by their bytes, and the size of the largest (bytes).
_LOOKUPS: Final = 1024
_LOOKUP_BYTES: Final = 2048

# Principal, name and header Mcp-Cwd of the caller, variables and directory of the client, clientInfo and capabilities.
_Lookup = tuple[str, str, str, tuple[tuple[str, str], ...], Directory | None, bytes, bytes]


def _lookup(principal: str, client_environment: ClientEnvironment, caller: Caller, read: Envelope) -> _Lookup:
    # Not the environment itself, because attrs hashes it in Python.
    variables, directory = client_environment.variables, client_environment.directory
    return principal, caller.name, caller.directory, variables, directory, read.info, read.capabilities


class PlaceTable:
    """The places of one server, and the signer of the states that name them."""

    def __init__(self, server: str, shared: SharedKeys) -> None:
        # Signs the states of held calls, which no other daemon can continue.
        self._signer = StateSigner(secrets.token_bytes(32))
        # From this the signers of the states of modern servers are derived. The states of another server are refused.
        self._shared_signer = StateSigner(secrets.token_bytes(32), shared=shared, purposes=(server.encode(),))
        # By name; added by `add`, removed by `remove`.
        self._places: dict[str, Place] = {}
        # By key; the places for new calls. Replaced by `add`, removed by `remove` and `replace_all`.
        self._current: dict[Key, Place] = {}
        # Those of earlier requests, as a shortcut; removed with the place, and all of them at the limit.
        self._lookups: dict[_Lookup, tuple[MultiplexedProcess, Client]] = {}

    def __iter__(self) -> Iterator[Place]:
        return iter(tuple(self._places.values()))

    @property
    def upstreams(self) -> list[MultiplexedProcess]:
        """The process of each place."""
        return [place.upstream for place in self._places.values()]

    @property
    def left_out(self) -> dict[str, str]:
        """The servers whose part is missing in the responses of an aggregate, with the reasons."""
        return {
            name: reason
            for upstream in self.upstreams
            if isinstance(upstream, ForwardingUpstream)
            for name, reason in upstream.left_out.items()
        }

    @property
    def current(self) -> int:
        """How many places take new calls."""
        return len(self._current)

    def find_current(self, key: Key) -> Place | None:
        """Return the place that takes the new calls of a key."""
        return self._current.get(key)

    def add(self, place: Place) -> None:
        """Add a place, for the new calls of its key."""
        self._places[place.name] = self._current[place.key] = place

    def replace(self, before: Place | None) -> None:
        """Let a place end when its calls have ended, because another has taken its key."""
        if before is not None:
            before.replaced = True
            self._drop_lookups(before.upstream)

    def replace_all(self) -> None:
        """Let every place end when its calls have ended, because the server is restarted."""
        self._current.clear()
        self._lookups.clear()
        for place in self._places.values():
            place.replaced = True

    def replace_legacy(self) -> None:
        """Let each place of a legacy process end when its calls have ended, because the server speaks the modern era.

        A place with a subscription stays, because its notifications must be of the process that gets the calls.
        """
        for place in self._places.values():
            if place.declared is not None and not place.upstream.subscribed:
                self._current.pop(place.key, None)
                self.replace(place)

    def remove(self, upstream: MultiplexedProcess) -> None:
        self._drop_lookups(upstream)
        for place in [place for place in self._places.values() if place.upstream is upstream]:
            del self._places[place.name]
            if self._current.get(place.key) is place:
                del self._current[place.key]

    # ---- earlier requests with the same declaration

    def look_up(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, read: Envelope
    ) -> tuple[MultiplexedProcess, Client] | None:
        """Return the process and the client of an earlier request that declared the same."""
        found = self._lookups.get(_lookup(principal, client_environment, caller, read))
        return None if found is None or found[0].ended else found

    def remember(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        caller: Caller,
        read: Envelope,
        found: tuple[MultiplexedProcess, Client],
    ) -> None:
        """Store the process and the client of a request for `look_up`."""
        if len(read.info) + len(read.capabilities) > _LOOKUP_BYTES:
            return
        if len(self._lookups) >= _LOOKUPS:
            self._lookups.clear()
        self._lookups[_lookup(principal, client_environment, caller, read)] = found

    def drop_lookups(self) -> None:
        """Drop what `remember` has stored."""
        self._lookups.clear()

    def _drop_lookups(self, upstream: MultiplexedProcess) -> None:
        self._lookups = {key: found for key, found in self._lookups.items() if found[0] is not upstream}

    # ---- requestState

    def signer(
        self, name: str, declared: Declared | None, client_environment: ClientEnvironment
    ) -> StateSigner:
        """Return what signs the states of a place. `declared` is None for a modern server."""
        signer = self._modern_signer(client_environment) if declared is None else self._signer
        return signer.for_process(name)

    def returned(
        self, principals: tuple[str, ...], client_environment: ClientEnvironment, bound_to: bytes, state: str
    ) -> Place | None:
        """Return the place of the call that a state continues. None where any process of a modern server may continue it.

        `principals` are those in whose name the place may be. Raises Rejection 200 -32602.
        """
        name = self._signer.process_of(bound_to, state)
        elsewhere = name is None
        if name is None:
            name = self._modern_signer(client_environment).process_of(bound_to, state)
        place = self._places.get(name or "")
        if place is not None and not place.upstream.ended:
            if place.key.principal in principals:
                return place
        elif elsewhere and name is not None:
            return None
        raise Rejection(200, INVALID_PARAMS, INVALID_STATE)

    def _modern_signer(self, client_environment: ClientEnvironment) -> StateSigner:
        # Another process may continue from the state of a modern server, if it has the same variables and directory.
        directory = client_environment.directory
        parts = (client_environment.variables, directory and attrs.astuple(directory))
        return self._shared_signer.derive(repr(parts).encode())
