"""The endpoints of the page at /admin: sign-in, files, state, event stream, restart and reload."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

import msgspec

from ...transports.correlation import id_header
from ...transports.endpoints.rejections import check_content_type, method_not_allowed
from ...transports.endpoints.sse_writer import write_events
from ...transports.options import ANONYMOUS, JSON, Headers
from ...transports.ports import Endpoint, Exchange, Log
from ...transports.ticker import Ticker
from ...validators.rejection import INVALID_REQUEST, Rejection, retry_after
from ..config.settings import ALL
from ..runtime.server import LocalServer
from . import files
from .access import BROWSER, CHALLENGE, OPEN, PAGE, SESSION, Access, check_same_origin
from .feed import Feed
from .page_taps import PageTaps
from .servers import Servers

API: Final = f"{PAGE}/api"
# Event streams that are open at once, all pages together.
MOST_STREAMS: Final = 16
# The pause between two states (seconds).
STATE_SECONDS: Final = 2.0
# The longest body of a sign-in (bytes). Its sender has no credential yet.
_LONGEST_SIGN_IN: Final = 512


class SignIn(msgspec.Struct, frozen=True):
    """The body of a sign-in: the code of a link."""

    code: str


class AdminApi:
    """The endpoints of the page, and the streams of open pages (ticker.Ticking).

    `state` returns the state as JSON. `reload` and `restart` raise ValueError if refused. `address` returns the URL of the TCP
    listener, empty where there is none.
    """

    def __init__(
        self,
        access: Access,
        servers: Servers,
        state: Callable[[], bytes],
        reload: Callable[[], Awaitable[object]],
        restart: Callable[[str], Awaitable[None]],
        address: Callable[[], str],
        ticker: Ticker,
        log: Log,
    ) -> None:
        self._access = access
        self._servers = servers
        self._state = state
        self._reload = reload
        self._restart = restart
        self._address = address
        self._ticker = ticker
        self._log = log
        self._feeds: set[Feed] = set()
        self._taps = PageTaps()
        # When the next state is due (seconds, Trio's clock).
        self._due = 0.0

    def table(self) -> dict[str, Endpoint]:
        """Return the endpoint of every path of the page; none while the page is off."""
        if not self._access.enabled:
            return {}
        return {
            PAGE: self._answer_page,
            OPEN: self._file(files.OPEN),
            **{f"{PAGE}/{name}": self._file(name) for name in files.NAMES},
            SESSION: self._answer_session,
            f"{API}/state": self._answer_state,
            f"{API}/events": self._answer_events,
            f"{API}/restart": self._answer_restart,
            f"{API}/reload": self._answer_reload,
        }

    # ---- the page and its files

    async def _answer_page(self, exchange: Exchange) -> None:
        _check_method(exchange, "GET", "HEAD")
        self._check_token(exchange)
        # The gate does not look again at a head that it has admitted.
        ended = exchange.principal == BROWSER and not self._access.has_session(exchange.head)
        if exchange.principal == ANONYMOUS or ended:
            refused = Rejection(401, INVALID_REQUEST, "", reason="admin_no_session")
            exchange.count_refusal(refused)
            await _send_file(exchange, files.OPEN, 401, (*CHALLENGE, *id_header(refused)))
        else:
            await _send_file(exchange, files.INDEX)

    def _file(self, name: str) -> Endpoint:
        async def answer(exchange: Exchange) -> None:
            _check_method(exchange, "GET", "HEAD")
            self._check_token(exchange)
            await _send_file(exchange, name)

        return answer

    def _check_token(self, exchange: Exchange) -> None:
        """Raise Rejection 403 for a token that is not the owner's. The gate has checked everything else of a file."""
        if exchange.principal not in (ANONYMOUS, BROWSER):
            self._access.check(exchange.head, exchange.principal)

    # ---- sign-in

    async def answer_link(self, exchange: Exchange) -> None:
        """Create a link, for `mcp-bridge admin` on the Unix socket (Endpoint)."""
        _check_method(exchange, "POST")
        if not self._access.enabled:
            raise Rejection(
                409,
                INVALID_REQUEST,
                "the page is off: set `enabled = true` in the table [admin] of the configuration,"
                " then run `mcp-bridge reload`",
            )
        self._access.check(exchange.head, exchange.principal)
        address = self._address()
        if not address:
            raise Rejection(
                409,
                INVALID_REQUEST,
                "a browser cannot open a Unix socket, and the daemon listens on no loopback TCP address:"
                " set `http` in the table [listen]",
            )
        url = f"{address}{OPEN}#{self._access.link()}"
        self._log.info("admin_link_created")
        await exchange.answer(200, JSON, msgspec.json.encode({"url": url}))

    async def _answer_session(self, exchange: Exchange) -> None:
        _check_method(exchange, "POST", "DELETE")
        if exchange.head.method == "DELETE":
            self._access.check(exchange.head, exchange.principal)
            check_same_origin(exchange.head, exchange.principal, secure=self._access.secure)
            cookie = self._access.close(exchange.head)
            self._log.info("admin_session_closed")
            self._due = 0.0
            await exchange.answer(200, JSON, b"{}", cookie)
            return
        check_same_origin(exchange.head, exchange.principal, secure=self._access.secure)
        check_content_type(exchange.head.headers.get("content-type"))
        token, cookie = self._access.open(await _code(exchange))
        self._log.info("admin_session_opened")
        await exchange.answer(200, JSON, msgspec.json.encode({"token": token}), cookie)

    # ---- data

    async def _answer_state(self, exchange: Exchange) -> None:
        _check_method(exchange, "GET")
        self._access.check(exchange.head, exchange.principal)
        await exchange.answer(200, JSON, self._state())

    async def _answer_events(self, exchange: Exchange) -> None:
        _check_method(exchange, "GET")
        head, principal = exchange.head, exchange.principal
        self._access.check(head, principal)
        query = parse_qs(head.query)
        tapped, logged = (self._selected(query, key) for key in ("tap", "logs"))
        if len(self._feeds) >= MOST_STREAMS:
            raise Rejection(
                503,
                INVALID_REQUEST,
                f"the limit of {MOST_STREAMS} open pages is reached; close one",
                headers=retry_after(5),
                reason="admin_streams",
            )
        queue = exchange.queue()
        feed = Feed(queue, lambda: self._admits(exchange), self._taps, tapped, logged)
        self._feeds.add(feed)
        self._ticker.add(self)
        try:
            exchange.attach(queue, ends_with_client=True)
            await exchange.begin_stream()
            feed.send_state(self._state())
            feed.follow(self._servers)
            await write_events(exchange, queue)
        finally:
            feed.follow(())
            self._feeds.discard(feed)
            if not self._feeds:
                self._ticker.remove(self)

    def tick(self, now: float) -> None:
        """Send the state to all open pages, if it is due (ticker.Ticking). Not called while no page is open."""
        if now < self._due:
            return
        self._due = now + STATE_SECONDS
        try:
            self._send_states()
        except Exception as fault:  # noqa: BLE001 - the boundary of the page: the ticker serves all connections
            self._log.error("internal_error", fault=fault)

    def _send_states(self) -> None:
        state = self._state()
        for feed in tuple(self._feeds):
            feed.send_state(state)
            feed.follow(self._servers)

    def _admits(self, exchange: Exchange) -> bool:
        try:
            self._access.check(exchange.head, exchange.principal)
        except Rejection:
            return False
        return True

    def _selected(self, query: dict[str, list[str]], key: str) -> str:
        name = query.get(key, [""])[0]
        return name if name in ("", ALL) else self._named(name).name

    # ---- actions

    async def _answer_restart(self, exchange: Exchange) -> None:
        _check_method(exchange, "POST")
        self._access.check_action(exchange.head, exchange.principal)
        name = self._named(parse_qs(exchange.head.query).get("server", [""])[0]).name
        self._log.info("admin_action", action="restart", server=name)
        await _carry_out(exchange, self._restart(name))

    async def _answer_reload(self, exchange: Exchange) -> None:
        _check_method(exchange, "POST")
        self._access.check_action(exchange.head, exchange.principal)
        self._log.info("admin_action", action="reload")
        await _carry_out(exchange, self._reload())

    def _named(self, name: str) -> LocalServer:
        server = self._servers.find(name)
        if server is None:
            raise Rejection(404, INVALID_REQUEST, "there is no server of this name")
        return server


async def _carry_out(exchange: Exchange, action: Awaitable[object]) -> None:
    try:
        result = await action
    except ValueError as fault:
        raise Rejection(409, INVALID_REQUEST, str(fault)) from None
    await exchange.answer(200, JSON, msgspec.json.encode({"result": result}))


async def _code(exchange: Exchange) -> str:
    """Return the code in the body of a sign-in. Raises Rejection 400, and 413 before anything is read."""
    length = exchange.head.content_length
    if exchange.head.chunked or length is None or length > _LONGEST_SIGN_IN:
        raise Rejection(
            413,
            INVALID_REQUEST,
            f"the body of a sign-in needs a Content-Length of at most {_LONGEST_SIGN_IN} bytes",
            close=True,
        )
    try:
        return msgspec.json.decode(await exchange.read_body(), type=SignIn).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Rejection(400, INVALID_REQUEST, "the body of a sign-in is not an object with a code") from None


async def _send_file(exchange: Exchange, name: str, status: int = 200, headers: Headers = ()) -> None:
    file = files.static_file(name)
    await exchange.answer(status, file.media_type, file.content, headers, protection=files.PROTECTION)


def _check_method(exchange: Exchange, *allowed: str) -> None:
    if exchange.head.method not in allowed:
        raise method_not_allowed(", ".join(allowed).encode("ascii"))
