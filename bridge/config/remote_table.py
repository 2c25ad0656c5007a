"""Check the keys of a remote server in the configuration, and read its secrets.

A server has either a `url` or a `command`. A key of one kind is an error beside the other, because it would have no effect.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, ParamSpec

import attrs

from ...validators.http_head import TCHAR
from ...validators.proxy_choice import FROM_ENVIRONMENT, choose_proxy
from ...validators.remote_url import (
    HTTP_SCHEMES,
    LOOPBACK,
    WEBSOCKET_SCHEMES,
    BadRemoteUrl,
    RemoteUrl,
    address_of,
    parse_remote_url,
    reach_of,
)
from ..redaction import SHORTEST_SECRET
from .child_environment import looks_secret, shown
from .credentials import BadCredential, check_key, check_source, check_trusted, expand_home, read_secret
from .helper_programs import Helpers
from .oauth_settings import BadOAuthTable, OAuth, check_oauth
from .remote import Remote, hidden_parts
from .schema import Server

P = ParamSpec("P")
# Keys that describe a process, and keys that describe a remote server.
PROCESS_KEYS: Final = (
    "command",
    "args",
    "spare",
    "cwd",
    "cwd_allowed",
    "cwd_trust",
    "umask",
    "rlimits",
    "private_tmp",
    "sandbox",
    "sandbox_preset",
    "read",
    "write",
    "connect",
    "network",
    "env",
    "env_file",
    "pass_env",
    "withhold_env",
    "path",
    "secrets",
    "env_from_header",
    "env_from_header_allow",
    "pin",
)
REMOTE_KEYS: Final = (
    "url",
    "transport",
    "headers",
    "secret_headers",
    "ca_file",
    "client_cert",
    "client_key",
    "proxy",
    "connect_seconds",
    "plain_http",
    "oauth",
)
_AUTHORIZATION: Final = "authorization"
# Fields that the client of the bridge sets, or that belong to one connection (RFC 9110 section 7.6.1, RFC 6455 section 11.3).
_RESERVED: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_RESERVED_PREFIXES: Final = ("proxy-", "mcp-param-", "sec-websocket-")
_FIELD_NAME: Final = re.compile(rf"{TCHAR}{{1,64}}\Z")
# Visible characters with single spaces between them. No octet outside of ASCII, which two programs may read differently.
_FIELD_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20\x21-\x7e]*[\x21-\x7e])?\Z")


class BadRemote(ValueError):
    """Raised for a key that a server cannot have, or whose value cannot be used. `key` is the first such key."""

    def __init__(self, text: str, key: str = "url") -> None:
        super().__init__(text)
        self.key = key


def check_kind(given: Iterable[str]) -> None:
    """Check that the keys of a server belong to a process or to a remote server. Raises BadRemote with all that do not."""
    keys = tuple(given)
    if "url" not in keys and "command" not in keys:
        if extra := [key for key in keys if key in REMOTE_KEYS]:
            raise BadRemote(f"url is missing, which {', '.join(extra)} would belong to", extra[0])
        raise BadRemote("command is missing; a remote server needs url instead", "")
    wrong, kind = (PROCESS_KEYS, "url") if "url" in keys else (REMOTE_KEYS, "command")
    found = [key for key in keys if key in wrong]
    if not found:
        return
    if kind == "url" and "command" in found:
        raise BadRemote("command and url exclude each other: the server is a process or a remote server")
    what = "only a process has" if kind == "url" else "only a remote server (url) has"
    raise BadRemote(f"{', '.join(found)}: {what} {'this key' if len(found) == 1 else 'these keys'}", found[0])


def is_credential(name: str, value: str) -> bool:
    """Return whether a header field seems to hold a secret."""
    return looks_secret(name, value) or name.lower() == _AUTHORIZATION


def check_remote(server: Server) -> None:
    """Check the keys of a remote server without reading a secret. Raises BadRemote with the first error."""
    for fault in remote_faults(server):
        raise fault


def remote_faults(server: Server) -> Iterator[BadRemote]:
    """Yield all errors in the keys of a remote server. No secret is read."""
    try:
        url = read_url(server.url)
    except BadRemote as fault:
        yield fault
        return
    yield from _caught(_check_transport, url, server.transport)
    for name, value in server.headers.items():
        yield from _caught(_check_open_field, name, value)
    yield from _secret_name_faults(server)
    if server.client_key and not server.client_cert:
        yield BadRemote("client_key needs client_cert", "client_key")
    yield from _caught(_check_proxy, server.proxy, url)
    if server.oauth is not None:
        yield from _oauth_faults(server.oauth)
        if _AUTHORIZATION in map(str.lower, server.secret_headers):
            yield BadRemote("oauth and a secret_headers.Authorization exclude each other", "oauth")
    if is_open(url) and not server.plain_http and (server.secret_headers or server.oauth is not None):
        yield BadRemote(
            f"{url.scheme}:// is not encrypted, and {url.host} is not this machine: its credentials could be read on the way; "
            "use a URL with encryption, or set plain_http = true"
        )


def _caught(check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Iterator[BadRemote]:
    try:
        check(*args, **kwargs)
    except BadRemote as fault:
        yield fault


def _check_open_field(name: str, value: str) -> None:
    check_field(name, value)
    if is_credential(name, value):
        raise BadRemote(
            f"headers: {name} looks like a credential; name the place of its value in secret_headers",
            "headers",
        )


def _oauth_faults(oauth: OAuth) -> Iterator[BadRemote]:
    try:
        check_oauth(oauth)
    except BadOAuthTable as fault:
        yield BadRemote(f"oauth: {fault}", "oauth")
    for name in ("client_secret", "private_key", "assertion"):
        try:
            if source := getattr(oauth, name):
                check_source(source)
        except BadCredential as fault:
            yield BadRemote(f"oauth: {name}: {fault}", "oauth")


def read_url(text: str) -> RemoteUrl:
    """Return the URL of a remote server. Raises BadRemote."""
    try:
        return parse_remote_url(text, (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES))
    except BadRemoteUrl as fault:
        raise BadRemote(f"url: {fault}") from None


def is_open(url: RemoteUrl) -> bool:
    """Return whether messages to the URL pass other machines without encryption."""
    if url.tls:
        return False
    address = address_of(url.host)
    if address is not None:
        return reach_of(address) != LOOPBACK
    host = url.host.removesuffix(".")
    return not (host == "localhost" or host.endswith(".localhost"))


def check_field(name: str, value: str, key: str = "headers") -> None:
    """Check a header field that is sent to a remote server. Raises BadRemote, without the value."""
    check_field_name(name, key)
    if not _FIELD_VALUE.match(value):
        raise BadRemote(
            f"{key}: the value of {name} must be visible ASCII characters, with spaces between them",
            key,
        )


def check_field_name(name: str, key: str = "headers") -> None:
    """Check the name of a header field that is sent to a remote server. Raises BadRemote."""
    if not _FIELD_NAME.match(name):
        raise BadRemote(
            f"{key}: {shown(name)} is not the name of a header: it must be a token of 1 to 64 characters (RFC 9110)",
            key,
        )
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        raise BadRemote(f"{key}: the header {name} is refused: the bridge sets it", key)


def _check_transport(url: RemoteUrl, transport: str) -> None:
    if url.scheme in WEBSOCKET_SCHEMES and transport in ("http", "sse"):
        raise BadRemote(f'transport: "{transport}" needs an http:// or https:// URL', "transport")


def _secret_name_faults(server: Server) -> Iterator[BadRemote]:
    taken: dict[str, str] = {}
    for name in (*server.headers, *server.secret_headers):
        before = taken.setdefault(name.lower(), name)
        if before is not name:
            yield BadRemote(f"headers: {before} and {name} are the same header", "headers")
    for name, source in server.secret_headers.items():
        yield from _caught(check_field_name, name, "secret_headers")
        try:
            check_source(source)
        except BadCredential as fault:
            yield BadRemote(f"secret_headers: {name}: {fault}", "secret_headers")


def _check_proxy(proxy: str, url: RemoteUrl) -> None:
    if "@" in proxy:
        raise BadRemote(
            'proxy: a user name and password do not belong into this file; use "env" and HTTPS_PROXY of the daemon',
            "proxy",
        )
    if proxy == FROM_ENVIRONMENT:
        return
    try:
        choose_proxy(proxy, url, {})
    except BadRemoteUrl as fault:
        raise BadRemote(f"proxy: {fault}", "proxy") from None


def remote_of(server: Server, base: Path) -> Remote:
    """Return the settings of a remote server, without the secrets. Raises BadCredential for a file of an unknown user."""
    url = read_url(server.url)
    text = server.url
    if server.transport == "websocket" and url.scheme in HTTP_SCHEMES:
        text = "ws" + text.strip()[len("http") :]
    has_credential = _AUTHORIZATION in map(str.lower, server.secret_headers)

    def path(name: str) -> str:
        return str(base / expand_home(name)) if name else ""

    return Remote(
        text,
        transport=server.transport,
        headers=tuple(server.headers.items()),
        ca_file=path(server.ca_file),
        client_cert=path(server.client_cert),
        client_key=path(server.client_key),
        proxy=server.proxy,
        connect_seconds=server.connect_seconds,
        oauth=server.oauth,
        plain_http=server.plain_http,
        authorizes=not has_credential and (not is_open(url) or server.plain_http),
        secret_names=frozenset(server.secret_headers),
        secrets=tuple(hidden_parts(text)),
    )


def files_of(server: Server) -> Iterator[str]:
    """Yield the files that a remote server needs, besides those of its secrets."""
    yield from filter(None, (server.ca_file, server.client_cert, server.client_key))


def with_secrets(
    remote: Remote, server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers
) -> Remote:
    """Return the settings with the secrets of the headers. Blocks. Raises BadCredential and BadRemote."""
    check_files(remote)
    found: dict[str, str] = {}
    for name, source in server.secret_headers.items():
        try:
            value = read_secret(source, environment, base, helpers).strip()
        except BadCredential as fault:
            raise BadCredential(f"{fault} (secret_headers.{name})") from None
        if name.lower() == _AUTHORIZATION and " " not in value:
            # A credential needs its scheme (RFC 9110 section 11.6.2).
            value = f"Bearer {value}"
        check_field(name, value, "secret_headers")
        found[name] = value
    return attrs.evolve(
        remote,
        headers=(*remote.headers, *found.items()),
        secrets=(*remote.secrets, *_needles(found.values())),
    )


def check_files(remote: Remote) -> None:
    """Check the files of a remote server, and that only its user can read the key. Blocks. Raises BadCredential."""
    for file in filter(None, (remote.ca_file, remote.client_cert)):
        _check_file(Path(file))
    if remote.client_key or remote.client_cert:
        check_key(Path(remote.client_key or remote.client_cert))


def _needles(values: Iterable[str]) -> Iterator[str]:
    """Yield the values to redact: each, and the credential after the name of a scheme."""
    for value in values:
        # Sorted, because configurations are compared.
        for part in sorted({value, value.rpartition(" ")[2]}):
            if len(part) >= SHORTEST_SECRET:
                yield part


def _check_file(path: Path) -> None:
    check_trusted(path)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise BadCredential(f"{path} is not a readable file")
