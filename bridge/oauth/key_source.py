"""Keep the public keys of an issuer: from a file, from a URL, or from the URL that the metadata of the issuer names.

Keys of a URL are requested again from time to time, and once if a token names a key that is not known. Between two requests there
is a pause, whatever clients send, so that they cannot make this machine send requests. After a failure the keys stay for a day.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec
import trio

from ...transports.client.http_client import HttpClient
from ...transports.client.options import RemoteOptions
from ...transports.client.ports import Unreachable
from ...validators.oauth_refusal import OAuthRefusal
from ...validators.oauth_urls import check_issuer, server_metadata_urls
from ...validators.remote_url import BadRemoteUrl, parse_remote_url
from ..config.access_token_settings import AccessTokenSettings
from .exchange import Exchange
from .signing_keys import LARGEST, BadKeys, SigningKey, read_keys

# The shortest pause between two requests for the keys (seconds).
PAUSE_SECONDS: Final = 30.0
# The pause after the first failure, which doubles up to the longest pause (seconds).
_FIRST_RETRY: Final = 1.0
_LONGEST_RETRY: Final = 60.0
# For how long keys are used that could not be requested again (seconds).
_STALE_SECONDS: Final = 24 * 60 * 60.0
# The pause between two looks at a file (seconds).
_FILE_SECONDS: Final = 0.5
# For how long a request of a client waits for keys (seconds).
WAIT_SECONDS: Final = 5.0


class KeyLog(Protocol):
    """The log of the daemon."""

    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...


class KeysUnreadable(Exception):
    """Raised for keys that cannot be read. The text is the reason."""


class KeySource:
    """The keys of one issuer. `on_changed` is called after they have changed. `keys` is empty until `run` has read them."""

    def __init__(self, settings: AccessTokenSettings, log: KeyLog, on_changed: Callable[[], None]) -> None:
        self.keys: tuple[SigningKey, ...] = ()
        self._settings = settings
        self._log = log
        self._on_changed = on_changed
        # Times of Trio's clock: the end of the last attempt, and of the last success.
        self._attempted = self._succeeded = -math.inf
        self._failures = 0
        self._fault = ""
        # Set to request the keys now. `_done` is set at the end of the attempt, and replaced.
        self._wanted = trio.Event()
        self._done = trio.Event()
        # The identity of the file when it was read.
        self._identity: tuple[int, ...] | None = None

    @property
    def can_refresh(self) -> bool:
        """Return whether the keys may be requested because a token names an unknown one, or are being requested.

        A file is read again by itself, so that only its first reading is worth waiting for.
        """
        if self._settings.keys_file is not None:
            return self._attempted == -math.inf
        return self._wanted.is_set() or trio.current_time() >= self._attempted + PAUSE_SECONDS

    async def refreshed(self) -> None:
        """Request the keys, unless they are being requested, and wait for the end for a few seconds."""
        self._wanted.set()
        with trio.move_on_after(WAIT_SECONDS):
            await self._done.wait()

    async def read_once(self) -> str:
        """Read the keys, and return why that has failed, empty if it has not."""
        if self._settings.keys_file is not None:
            await self._read_file(self._settings.keys_file)
        else:
            await self._request()
        return self._fault

    async def run(self) -> None:
        """Read the keys and keep them current until cancelled."""
        while True:
            if self._settings.keys_file is not None:
                await self._read_file(self._settings.keys_file)
                self._end_attempt()
                await trio.sleep(_FILE_SECONDS)
                continue
            self._wanted.set()
            await self._request()
            self._wanted = trio.Event()
            with trio.move_on_after(self._pause()):
                await self._wanted.wait()

    def _pause(self) -> float:
        if self._failures:
            return min(_FIRST_RETRY * 2.0 ** (self._failures - 1), _LONGEST_RETRY)
        return self._settings.refresh_seconds

    async def _request(self) -> None:
        try:
            text = await self._fetched()
            self._use(read_keys(text, self._settings.algorithms))
            self._failures, self._fault, self._succeeded = 0, "", trio.current_time()
        except (Unreachable, BadKeys, KeysUnreadable, OAuthRefusal, BadRemoteUrl) as fault:
            self._failures = min(self._failures + 1, 16)
            self._report(str(fault))
            if self.keys and trio.current_time() > self._succeeded + _STALE_SECONDS:
                self._use(())
        self._end_attempt()

    def _end_attempt(self) -> None:
        self._attempted = trio.current_time()
        done, self._done = self._done, trio.Event()
        done.set()

    def _report(self, fault: str) -> None:
        if fault != self._fault:
            self._log.warning("issuer_keys_unreadable", issuer=self._settings.issuer, reason=fault)
        self._fault = fault

    def _use(self, keys: tuple[SigningKey, ...]) -> None:
        before, self.keys = self.keys, keys
        if {(key.kid, key.thumbprint) for key in before} != {(key.kid, key.thumbprint) for key in keys}:
            self._log.info("issuer_keys_changed", issuer=self._settings.issuer, count=len(keys))
            self._on_changed()

    async def _read_file(self, path: Path) -> None:
        try:
            content = await trio.to_thread.run_sync(self._changed_content, path)
            if content is not None:
                self._use(read_keys(content, self._settings.algorithms))
                self._fault = ""
        except (BadKeys, KeysUnreadable) as fault:
            self._report(f"{path}: {fault}")

    def _changed_content(self, path: Path) -> str | None:
        try:
            found = path.stat()
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if identity == self._identity:
                return None
            self._identity = identity
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as fault:
            self._identity = None
            raise KeysUnreadable(fault.strerror or "it cannot be read") from None
        if len(data) > LARGEST:
            raise KeysUnreadable(f"it has more than {LARGEST} bytes, the limit")
        return data.decode(errors="replace")

    async def _fetched(self) -> str:
        url = self._settings.keys_url
        home = url or self._settings.issuer
        options = RemoteOptions(home, ca_file=self._settings.ca_file)
        async with HttpClient.for_discovery(options) as client:
            exchange = Exchange(client)
            if not url:
                url = await self._url_of_metadata(exchange)
            status, body = await exchange.get(url)
        if status != 200:
            raise KeysUnreadable(f"{url} returned status {status}")
        return body.decode(errors="replace")

    async def _url_of_metadata(self, exchange: Exchange) -> str:
        """Return the `jwks_uri` in the metadata of the issuer (RFC 8414, OpenID Connect Discovery)."""
        issuer = self._settings.issuer
        reason = "it has no metadata"
        for url in server_metadata_urls(check_issuer(issuer, parse_remote_url(issuer))):
            status, body = await exchange.get(url)
            if status != 200:
                continue
            try:
                found: Any = msgspec.json.decode(body)
            except ValueError:
                found = None
            metadata = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
            if metadata.get("issuer") != issuer:
                reason = f"the metadata at {url} is that of another issuer"
            elif isinstance(uri := metadata.get("jwks_uri"), str):
                return uri
            else:
                reason = f"the metadata at {url} has no jwks_uri"
        raise KeysUnreadable(f"the keys of {issuer} cannot be found: {reason}")


def now() -> float:
    """Return the time in seconds since the epoch, with which the times of tokens are compared."""
    return time.time()
