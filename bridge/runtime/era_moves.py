"""End the processes that turn out to speak another era, and give their requests to processes of that era."""

from ...transports.client_process import UNKNOWN, Caller
from ...transports.ports import ModernRequest
from ...validators.rejection import SERVER_ERROR, Rejection
from .common_parts import CommonParts
from .era_discovery import EraDiscovery
from .multiplexed_process import MultiplexedProcess
from .place_finder import PlaceFinder
from .start_monitor import StartMonitor


class EraMoves:
    """Moves the requests of stateless clients between the processes of one server."""

    def __init__(
        self, common: CommonParts, discovery: EraDiscovery, monitor: StartMonitor, finder: PlaceFinder
    ) -> None:
        self._common = common
        self._discovery = discovery
        self._monitor = monitor
        self._finder = finder

    def on_era_mismatch(self, upstream: MultiplexedProcess, reason: str) -> None:
        """End a process that does not speak its era, and move its requests where the stored facts were wrong."""
        probe = self._discovery.probe_beside(upstream)
        if probe is not None:
            probe.refused = self._common.processes.has_refused(upstream)
            probe.settled.set()
            self._common.control.end(upstream, reason)
            return
        recalled = self._common.facts.cache.is_restored
        self._common.facts.mismatched(reason)
        if recalled and not upstream.speaks_modern and self._common.processes.has_refused(upstream):
            self.move(upstream, reason)
            return
        if not upstream.speaks_modern:
            upstream.not_opened(*self._monitor.on_start_timeout(upstream, reason))
        self._common.control.end(upstream, reason)

    def move(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Give the requests that a process has not received to a process of another era."""
        self._common.log.info("requests_moved", reason=reason)
        upstream.withdraw()
        self._common.control.end(upstream, reason)
        self._common.tasks.start_guarded(upstream, self._move, upstream, reason)

    async def _move(self, upstream: MultiplexedProcess, reason: str) -> None:
        while (moving := upstream.next_moving()) is not None:
            caller = moving.caller if isinstance(moving.caller, Caller) else Caller(name=UNKNOWN)
            request = ModernRequest(moving.request, moving.envelope, moving.headers)
            try:
                if moving.moved:
                    raise Rejection(503, SERVER_ERROR, reason)
                found, client = await self._finder.find(
                    moving.principal, upstream.client_environment, caller, request
                )
                # The request may have been cancelled while its process was looked for.
                if upstream.next_moving() is moving:
                    found.request(moving._replace(client=client, moved=True))
                    upstream.move(moving, found)
            except Rejection as rejection:
                if upstream.next_moving() is moving:
                    upstream.refuse(moving, rejection)
