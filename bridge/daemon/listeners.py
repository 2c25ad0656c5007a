"""Accept connections on the sockets of the daemon, each with its gate and its routes."""

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import trio

from ...transports.http.gate import Gate, Reach, WrongCredentials
from ...transports.http.listen import CannotListen, Listener, authorities_of, bind_unix, serve
from ...transports.http.quota import HANDSHAKE, NO_HEAD, Quota
from ...transports.http.refusals import Refusals
from ...transports.http.routes import Routes, healthz, readyz
from ...transports.http.service import Service
from ...transports.poller import Poller
from ...transports.ports import Endpoint
from ...transports.ticker import Ticker
from ...validators.client_certificate import PeerCertificate
from ...validators.limits import Limits
from ...validators.origin import Site
from ..admin.access import Access
from ..config.credentials import PRINCIPAL
from ..config.settings import CONTROL, READY
from ..config.xdg import stopping_path
from ..core.suggestion import alternatives
from ..log import LineLog
from .issuer import Issuer
from .running_config import RunningConfig
from .supervisor import Supervisor
from .tokens import expired


class Listeners:
    """All listeners of the daemon, and the routes that they share.

    `limits` are those of connections. `control` is the endpoint of each path that only the Unix socket has. `access` decides
    who may see the page at /admin, and `page` returns its endpoints under the present configuration. `issuer` has the accepted
    access tokens.
    """

    def __init__(
        self,
        config: RunningConfig,
        supervisor: Supervisor,
        control: Mapping[str, Endpoint],
        access: Access,
        page: Callable[[], Mapping[str, Endpoint]],
        ticker: Ticker,
        poller: Poller,
        log: LineLog,
        limits: Limits,
        issuer: Issuer,
    ) -> None:
        self._issuer = issuer
        self._config = config
        self._supervisor = supervisor
        self._control = control
        self._access = access
        self._page = page
        self._ticker = ticker
        self._poller = poller
        self._log = log
        self._limits = limits
        self.refusals = Refusals(log)
        self.quota = Quota(limits, self._on_evicted)
        health = {
            READY: readyz(supervisor.is_ready, supervisor.roles.permits),
            **dict.fromkeys(config.settings.health, healthz),
        }
        self._health_paths = frozenset(health)
        root = config.settings.root_path
        self._tcp_health = self._health_paths | {root + path for path in health}
        self._tcp_routes = Routes(
            {}, health, refusal=issuer.refusal, metadata=issuer.metadata, root_path=root
        )
        self._unix_routes = Routes({}, health, alternatives)
        # Cancelled to close the connections that are still open.
        self._connections = trio.CancelScope()
        # Set once no connection is open and none is accepted.
        self._closed = trio.Event()
        self._tcp = self._tcp_listeners()
        self._unix = self._unix_listeners()
        self._nursery: trio.Nursery | None = None
        # The listener for commands while the daemon stops.
        self._stopping: Listener | None = None

    async def run(self) -> None:
        """Accept connections until `stop_accepting`, and serve them until the last one is closed."""
        try:
            with self._connections:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    for listener in (*self._tcp, *self._unix):
                        nursery.start_soon(serve, listener)
        finally:
            self._nursery = None
            self._stop_answering()
            if self._stopping is not None:
                self._stopping.sock.close()
        self._closed.set()

    def stop_accepting(self) -> None:
        """Accept no further connection of clients. Open connections stay.

        The commands get a Unix socket of their own, which serves the control API only, so that `status` is answered while
        requests are in flight. A connection to the usual socket waits for the next daemon, which may get the socket from
        the service manager.
        """
        path = self._config.sockets.unix_path
        if path is not None and self._nursery is not None:
            # A daemon that serves no commands meanwhile still stops in order.
            with suppress(CannotListen):
                sock = bind_unix(stopping_path(path))
                gate = Gate(Site.for_unix(), None, self._health_paths)
                routes = Routes({}, {})
                routes.replace({f"{CONTROL}/status": self._control[f"{CONTROL}/status"]})
                self._stopping = Listener(sock, self._service(gate, routes, self._control))
                self._nursery.start_soon(serve, self._stopping)
        for listener in (*self._tcp, *self._unix):
            listener.accepting.cancel()

    async def close(self, seconds: float) -> None:
        """Wait until the clients have closed their connections, then close the others."""
        self._stop_answering()
        with trio.move_on_after(seconds):
            await self._closed.wait()
        self._connections.cancel()

    def _stop_answering(self) -> None:
        if self._stopping is not None and not self._stopping.accepting.cancel_called:
            self._stopping.accepting.cancel()
            Path(self._stopping.sock.getsockname()).unlink(missing_ok=True)

    def replace_routes(self) -> None:
        """Route to the servers and with the permissions of the present configuration."""
        settings = self._config.settings
        table, owners = self._supervisor.table(settings), self._supervisor.owners(settings)
        table = {**table, **self._page()}
        permits = self._supervisor.roles.permits
        self._tcp_routes.replace(table, owners, permits)
        members = self._supervisor.paths_of_members
        self._unix_routes.replace({**table, **members, **self._control}, owners, permits)

    def use_certificate(self) -> None:
        """Use the present certificate for connections from now on."""
        certificate = self._config.certificate
        for listener in self._tcp:
            if listener.tls is not None:
                listener.tls = None if certificate is None else certificate.context

    def _tcp_listeners(self) -> list[Listener]:
        config, settings = self._config, self._config.settings
        tls = None if config.certificate is None else config.certificate.context
        listeners: list[Listener] = []
        for sock in config.sockets.tcp:
            host, port = sock.getsockname()[:2]
            named = host if config.sockets.passed or settings.port != port else settings.host
            gate = Gate(
                Site.for_listener(settings.scheme, named, port, settings.hosts, settings.origins),
                config.tokens.accepted,
                self._tcp_health,
                settings.origins,
                self._client_environment_headers,
                wrong=WrongCredentials(settings.limits.wrong_credentials_per_second),
                # Names of a proxy or a tunnel are left out: the page is for this machine.
                pages=self._access.on(Site.for_listener(settings.scheme, named, port))
                if is_loopback(host)
                else None,
                access_tokens=self._issuer.current,
                reach=self._reach(host),
            )
            listeners.append(Listener(sock, self._service(gate, self._tcp_routes), tls))
        return listeners

    def _reach(self, host: str) -> Reach:
        settings = self._config.settings
        return Reach(
            settings.proxies,
            needs_tls=not is_loopback(host),
            here_only=frozenset({PRINCIPAL}),
            certificates=self._principal_of_certificate if settings.tls_client_ca else None,
            takes_basic=settings.takes_basic,
        )

    def _principal_of_certificate(self, found: PeerCertificate) -> str | None:
        """Return the principal of a verified client certificate, None if no credential, or more than one, names it."""
        present, now = self._config.certificate, time.time()
        # A certificate of an authority that is not trusted any more, or a connection from before a change of the authorities.
        if present is None or authorities_of(present.context) != found.authorities or now >= found.until:
            return None
        names = [
            token.name
            for token in self._config.settings.tokens
            if not found.names.isdisjoint(token.certificates) and not expired(token, now)
        ]
        return names[0] if len(names) == 1 else None

    def _unix_listeners(self) -> list[Listener]:
        listeners: list[Listener] = []
        for sock in self._config.sockets.unix:
            gate = Gate(
                Site.for_unix(),
                None,
                self._health_paths,
                delegates=self._supervisor.may_delegate,
                named=self._token_names,
            )
            listeners.append(Listener(sock, self._service(gate, self._unix_routes, self._control)))
        return listeners

    def _service(self, gate: Gate, routes: Routes, control: Iterable[str] = ()) -> Service:
        return Service(
            self._limits,
            gate,
            routes,
            self._ticker,
            self._poller,
            self._log,
            self.quota,
            self.refusals,
            frozenset(control),
        )

    def _on_evicted(self, state: str, peer: str) -> None:
        # A connection that was refused before is counted already.
        if state in (HANDSHAKE, NO_HEAD):
            self.refusals.note("evicted", peer)

    def _token_names(self) -> set[str]:
        return self._config.tokens.valid_names(time.time())

    def _client_environment_headers(self) -> set[str]:
        return {name for server in self._config.settings.servers for name in server.from_headers.values()}


def is_loopback(host: str) -> bool:
    """Return whether the address of a listening socket is one that only this machine can reach."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
