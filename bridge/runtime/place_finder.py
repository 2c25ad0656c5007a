"""Find the process of a stateless request, or open one: per client, per principal or for all, as the configuration has it."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from ...transports.client_process import UNKNOWN, Caller
from ...transports.ports import ModernRequest
from ...validators.jsonrpc import Notification
from ...validators.stateless_request import Envelope
from ..config.package_spec import downloads_without_lock
from ..core import era_cache, extensions
from ..core.attribution import Client
from ..core.client_environment import ClientEnvironment
from ..core.multiplexer import Multiplexer
from ..core.request_state import binding
from ..eras.rules_legacy_to_modern import EVERY_PROFILE, Profile
from .common_parts import CommonParts
from .era_discovery import EraDiscovery
from .multiplexed_process import MultiplexedProcess
from .place_table import PlaceTable
from .placement import (
    Declared,
    ForwardingUpstream,
    Key,
    Place,
    client_of,
    declared,
    fingerprint,
    has_own_process,
    of_session,
    sharer,
)
from .shared_processes import SharedProcesses
from .tasks import stopping

# The client of requests in whose course the server can send no request.
_NO_CLIENT: Final = Client("", known=False)
# The declaration in the `initialize` of a process that several clients share.
_EVERYTHING: Final = Declared(EVERY_PROFILE)


class PlaceFinder:
    """Decides which process serves a stateless request."""

    def __init__(
        self, common: CommonParts, places: PlaceTable, discovery: EraDiscovery, shared: SharedProcesses
    ) -> None:
        self._common = common
        self._places = places
        self._discovery = discovery
        self._shared = shared

    async def find(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, request: ModernRequest
    ) -> tuple[MultiplexedProcess, Client]:
        """Return the process of a request, and the client that has sent it. Raises Rejection."""
        read, config = request.envelope, self._common.checks.config
        if read.state is not None:
            bound_to = binding(principal, request.request.method, read.name)
            principals = ("", principal, sharer(config, principal))
            place = self._places.returned(principals, client_environment, bound_to, read.state)
            if place is not None:
                client = place.client or await self._client(principal, caller, read, place.key.declared)
                return place.upstream, client
        found = self._places.look_up(principal, client_environment, caller, read)
        if found is not None:
            return found
        await self._common.facts.recall()
        if not self._common.facts.for_modern_client and has_own_process(config, modern=False):
            await caller.look_up()
            beside = partial(self._place_beside, principal, client_environment, caller, read)
            known = await self._declared(principal, client_environment, read.capabilities, beside)
        else:
            known = await self._declared(principal, client_environment, read.capabilities)
        if has_own_process(config, modern=known is None):
            await caller.look_up()
            place = self._own_place(principal, client_environment, caller, read, known)
            found = place.upstream, place.client or _NO_CLIENT
        else:
            client = await self._client(principal, caller, read, known)
            found = self._shared_place(principal, client_environment, known, read.info).upstream, client
        self._places.remember(principal, client_environment, caller, read, found)
        return found

    async def find_for_session(
        self, principal: str, client_environment: ClientEnvironment, capabilities: bytes
    ) -> MultiplexedProcess:
        """Return the process that a session of a legacy client shares through the modern era. Raises Rejection."""
        known = await self._declared(principal, client_environment, capabilities)
        return self._shared_place(principal, client_environment, known).upstream

    async def notify(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, message: Notification
    ) -> None:
        """Send a notification to the process that was opened last for its client; drop it where there is none."""
        config = self._common.checks.config
        shared_by = sharer(config, principal) if config.shares else principal
        places = [
            place
            for place in self._places
            if place.key.principal == shared_by
            and place.key.client_environment == client_environment
            and not place.replaced
        ]
        if config.knows_principal or any(place.key.client for place in places):
            await caller.look_up()
        serving = [place.upstream for place in places if place.key.client in ("", caller.name)]
        if serving and not serving[-1].ended:
            serving[-1].notify(message, of_session(principal, caller, forwarded=config.knows_principal))

    # ---- the declaration of a client to a legacy server

    async def _declared(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        capabilities: bytes,
        beside: Callable[[], Place | None] | None = None,
    ) -> Declared | None:
        """Return the declaration of these capabilities for a legacy server, None for a modern server. Raises Rejection."""
        config = self._common.checks.config
        if config.shares:
            era = await self._shared.era(Key(sharer(config, principal), client_environment))
        else:
            if not self._common.facts.for_modern_client:
                await self._discovery.run_probe(principal, client_environment.directory, beside)
            era = self._common.facts.for_modern_client
        return None if era == era_cache.MODERN else self._read(principal, capabilities)

    def _read(self, principal: str, capabilities: bytes) -> Declared:
        return declared(self._common.policies.find(principal).declared(capabilities))

    async def _client(self, principal: str, caller: Caller, read: Envelope, known: Declared | None) -> Client:
        # The caller is looked up only where something depends on it.
        forwarded = self._common.checks.config.knows_principal
        if not forwarded and (known is None or known.profile == Profile()):
            return _NO_CLIENT
        await caller.look_up()
        return client_of(principal, caller, read.info, forwarded=forwarded)

    # ---- places

    def _own_place(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        caller: Caller,
        read: Envelope,
        known: Declared | None,
    ) -> Place:
        """Return the place of one client, another one where the request declares more than before. Raises Rejection."""
        # A request that declares nothing gets a process of its own, because a server may behave otherwise for such clients.
        alone = known if known == Declared() else None
        key = Key(principal, client_environment, alone, caller.name, fingerprint(read.info))
        if caller.ended:
            raise stopping()
        before = self._places.find_current(key)
        if before is not None:
            if before.declared is None or known is None or before.declared.covers(known):
                return before
            # With both declarations a client that alternates between the two needs no third process.
            known = before.declared.joined(known)
        place = self._open(key, known, read.info)
        place.client, place.process = client_of(principal, caller, read.info), caller.process
        self._places.replace(before)
        if caller.known and caller.process is None:
            caller.add_end_callback(self, self._on_caller_ended)
        return place

    def _place_beside(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, read: Envelope
    ) -> Place | None:
        """Return a place for a legacy process that is started beside the probe. None where that may not be.

        Two processes at a time must be within the limits, and must not fetch the same package. The probe of a remote server
        is fast, and would leave a session behind there.
        """
        limits, now = self._common.checks.config.limits, trio.current_time()
        mine = sum(place.key.principal == principal for place in self._places)
        if (
            mine + 2 > limits.processes_per_principal
            or self._common.control.used + 2 > limits.sessions
            or self._common.log.history.fault is not None
            or not self._common.breakers.find(principal, client_environment).is_closed(now)
            or self._common.checks.config.remote is not None
            or downloads_without_lock(self._common.checks.config.launch.argv)
        ):
            return None
        return self._own_place(
            principal, client_environment, caller, read, self._read(principal, read.capabilities)
        )

    def _shared_place(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        known: Declared | None,
        info: bytes = b"",
    ) -> Place:
        settings: extensions.Found = {}
        if self._common.checks.config.shares:
            principal = sharer(self._common.checks.config, principal)
            if known is not None:
                settings, known = {**known.settings}, _EVERYTHING
        key = Key(principal, client_environment, known)
        place = self._places.find_current(key) or self._open(key, known, info)
        if settings:
            self._shared.get(Key(principal, client_environment)).introduce(info, settings)
        return place

    def _open(self, key: Key, known: Declared | None, info: bytes) -> Place:
        self._common.tasks.check_open()
        self._common.breakers.check(key.principal, key.client_environment)
        self._common.control.make_room(key.principal)
        config = self._common.checks.config
        strict = config.share == "server"
        name = secrets.token_hex(8)
        upstream = (ForwardingUpstream if config.knows_principal else MultiplexedProcess)(
            key.principal,
            config.limits,
            Multiplexer(
                config.limits,
                self._places.signer(name, known, key.client_environment),
                shared=strict and known is None,
                recorder=self._common.log.recorder,
            ),
            self._common.log,
            self._common.control,
            translator=None
            if known is None
            else partial(
                self._common.adapters.legacy, known, info, several=not key.client or key.client == UNKNOWN
            ),
            later=self._common.tasks.call_later,
            client_environment=key.client_environment,
            attach=partial(self._shared.attach, info) if config.shares and known is not None else None,
        )
        upstream.touched = trio.current_time()
        place = Place(name, upstream, key, known)
        self._places.add(place)
        return place

    def _on_caller_ended(self, caller: Caller) -> None:
        for place in self._places:
            if place.key.client == caller.name:
                self._common.control.close_place(place, "its client has closed the connection")
