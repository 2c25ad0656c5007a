"""The sessions of legacy clients at one server: opening, and what each session needs of its server."""

from collections.abc import Callable, Iterator

import trio

from ...transports.options import SpawnFailed
from ...transports.send_queue import SendQueue
from ...validators.rejection import SERVER_ERROR, Rejection
from ..core import era_cache
from ..core.attribution import Client
from ..core.client_environment import ClientEnvironment
from ..core.era_trial import OVER, EraTrial
from ..core.session_table import SessionTable
from .common_parts import CommonParts
from .conversation import LocalConversation
from .era_discovery import NotOfThisEra
from .place_finder import PlaceFinder
from .placement import of_session
from .process_owner import ProcessOwner
from .process_starter import ProcessStarter
from .routes import ModernRoute
from .server_log import SHOWN_SESSION
from .shared_process import SharedProcess
from .shared_processes import SharedProcesses
from .start_monitor import StartMonitor


class Sessions:
    """The open sessions (`conversation.SessionHooks`)."""

    def __init__(
        self,
        common: CommonParts,
        monitor: StartMonitor,
        shared: SharedProcesses,
        finder: PlaceFinder,
        starter: ProcessStarter,
    ) -> None:
        self._common = common
        self._monitor = monitor
        self._shared = shared
        self._finder = finder
        self._starter = starter
        self._table: SessionTable[LocalConversation] = SessionTable(common.checks.config.limits)
        # The rates of requests (conversation.SessionHooks).
        self.guard = common.daemon.rates.guard(common.log.name)

    def __iter__(self) -> Iterator[LocalConversation]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def times(self) -> Iterator[tuple[LocalConversation, float, float]]:
        """Return each session, when it was opened, and when its client sent its last message (seconds)."""
        return self._table.times()

    def find(self, session_id: str, principal: str) -> LocalConversation:
        """Return the session with this id of a principal. Raises Rejection 404."""
        return self._table.find(session_id, principal, trio.current_time())

    def close_expired(self, now: float) -> None:
        """Close the sessions that were idle or open for too long. `now` is in seconds."""
        for conversation in self._table.expired(now):
            conversation.end("it was idle, or old, for too long")

    async def open(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        queue: SendQueue | None,
        *,
        lasts: bool = False,
    ) -> LocalConversation:
        """Open a session, with a process of its own unless sessions share one. With `lasts` its age has no limit.

        Raises Rejection.
        """
        self._common.tasks.check_open()
        self._common.breakers.check(principal, client_environment)
        idle = self._table.make_room(principal, self._common.daemon.sessions_of.get(principal))
        if idle is not None:
            idle.end("its principal has too many sessions and this one was idle longest")
        config = self._common.checks.config
        conversation = LocalConversation(
            principal,
            config.limits,
            pipe=queue,
            hooks=self,
            server_log=self._common.log,
            policy=self._common.policies.find(principal),
            client_environment=client_environment,
            ids=self._shared.ids if config.shares else None,
        )
        now = trio.current_time()
        self._table.add(conversation.id, principal, conversation, now, lasts=lasts)
        try:
            if not self._common.facts.was_recalled:
                await self._common.facts.recall()
            # The first message of a session that shares a process starts that process.
            if not config.shares:
                await self._start(conversation, self._common.facts.cache.for_legacy_client(now))
        except SpawnFailed as fault:
            self._common.breakers.not_started(fault)
            conversation.not_opened(str(fault))
            self._common.log.error("server_not_started", reason=str(fault))
            raise Rejection(503, SERVER_ERROR, str(fault)) from None
        except BaseException:
            conversation.end("the client left")
            raise
        self._common.log.info("session_opened", session=conversation.id[:SHOWN_SESSION], principal=principal)
        return conversation

    async def _start(self, conversation: LocalConversation, era: str) -> None:
        is_certain = era == era_cache.MODERN or (
            era == era_cache.LEGACY and self._common.checks.config.era != "auto"
        )
        make = self._common.adapters.modern if era == era_cache.MODERN else None
        conversation.expect(make, EraTrial(OVER) if is_certain else EraTrial(cached=bool(era)))
        try:
            await self._starter.start(conversation)
        except NotOfThisEra:
            conversation.expect(None, EraTrial())
            await self._starter.start(conversation)

    # ---- conversation.SessionHooks

    def on_end(self, conversation: LocalConversation, *, unanswered: float) -> None:
        """Remove a session that has ended (conversation.SessionHooks). `unanswered` is in seconds."""
        self._monitor.on_client_left(conversation, unanswered)
        self._table.remove(conversation.id)

    def start_process(self, conversation: LocalConversation) -> None:
        """Start another process for a session (conversation.SessionHooks)."""
        self._common.control.start_again(conversation)

    def call_later(self, conversation: LocalConversation, seconds: float, call: Callable[[], None]) -> None:
        """Call a function of a session after this time in seconds (conversation.SessionHooks)."""
        self._common.tasks.call_later(conversation, seconds, call)

    def on_handshake(self, conversation: LocalConversation, *, opened: bool) -> None:
        """Note the response to `initialize` of a server whose eras are not known (conversation.SessionHooks)."""
        if opened:
            self._common.facts.opened(legacy=True)
            self._common.facts.remember()
            return
        self._common.tasks.start_guarded(conversation, self._starter.resolve_era, conversation)

    def on_start_timeout(self, owner: ProcessOwner, text: str) -> tuple[str, dict[str, object]]:
        """Return the text and the data of the error that ends a start (conversation.SessionHooks)."""
        return self._monitor.on_start_timeout(owner, text)

    def on_era_mismatch(self, text: str) -> None:
        """Drop the facts about eras, because a process speaks another one (conversation.SessionHooks)."""
        self._common.facts.mismatched(text)

    def find_upstream(self, conversation: LocalConversation, route: ModernRoute, capabilities: bytes) -> None:
        """Find the process that a session shares through the modern era (conversation.SessionHooks)."""
        self._common.tasks.start_guarded(conversation, self._join, conversation, route, capabilities)

    def find_shared(self, conversation: LocalConversation) -> SharedProcess | None:
        """Return the process that a session shares (conversation.SessionHooks). Raises Rejection."""
        return self._shared.for_session(conversation)

    async def _join(self, conversation: LocalConversation, route: ModernRoute, capabilities: bytes) -> None:
        principal = conversation.principal
        try:
            upstream = await self._finder.find_for_session(
                principal, conversation.client_environment, capabilities
            )
        except Rejection as rejection:
            route.refuse(rejection)
        else:
            # Only the aggregate sees the clients apart.
            is_aggregate = self._common.checks.config.knows_principal
            client = (
                of_session(principal, conversation.caller, forwarded=True) if is_aggregate else Client("")
            )
            route.join(upstream, self._common.policies.find(principal), client)
