"""Check the values of the configuration that have a syntax of their own, and those that depend on each other.

Every check adds its errors to a `Reading`, so that a user sees all of them at once. No secret and no other file is read.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import attrs

from ...transports.options import Paths, spellings
from ...validators.client_certificate import check_name
from ...validators.forwarded import parse_networks
from ...validators.limits import Limits
from ...validators.origin import LARGEST_PORT
from .access_token_settings import AccessTokens, BadAccessTokenTable, check_table
from .addresses import (
    BadAddress,
    NotLoopback,
    check_host,
    check_loopback,
    check_origin,
    check_path,
    is_loopback_host,
    is_wildcard_host,
)
from .aggregate_checks import check_aggregates
from .child_directory import client_directories
from .child_environment import BadEnvironment, check_entry, check_from_client, check_variable, shown
from .content import check_content
from .credentials import BadCredential, check_source, expand_home, split_helper
from .executable import NotRunnable, check_word
from .expansion import BadExpansion, NotSet, expanded
from .header_names import header_name
from .sandbox import check_sandbox
from .schema import File, Listen, Server, Token
from .server_names import suggested
from .settings import AGGREGATE, ALL, READY, BadLimit, changed_limits
from .tables import BadConfig, Fault, Reading
from .traces import check_endpoint
from .xdg import default_socket

# sun_path of unix(7) without the final zero byte (bytes).
_LONGEST_SOCKET: Final = 107
# Prefixes of the paths of servers and of the control API.
_OURS: Final = ("/servers/", "/aggregates/", "/control/", "/admin")
_BAD_VALUES: Final = (BadEnvironment, BadCredential, NotRunnable, BadLimit, BadAddress)


def check_values(reading: Reading, environment: Mapping[str, str]) -> None:
    """Add the errors of all values of a file that have their types. Disabled servers are not checked."""
    file = reading.file
    check_limits(reading, "limits", file.limits, "limits")
    for name, server in file.servers.items():
        if server.enabled:
            _check_server(reading, name, server, environment)
    _check_listen(reading, file.listen, environment)
    for section, name in (("log", file.log.file), ("audit", file.audit.file)):
        with reading.catch(f"{section}: file", section, "file", kinds=_BAD_VALUES):
            expand_home(name)
    check_aggregates(reading)
    _check_tokens(reading)
    if file.access_tokens is not None:
        _check_access_tokens(reading, file.access_tokens)
    with reading.catch(""):
        oauth_helper(file)
    with reading.catch(""):
        check_endpoint(file.traces.otlp_endpoint)
    check_content(reading)


def check_limits(reading: Reading, where: str, limits: Mapping[str, object], *path: str) -> None:
    """Add an error for each limit that is unknown or out of its range."""
    for name, value in limits.items():
        is_key = name not in _LIMITS
        with reading.catch(where, *path, name, is_key=is_key, kinds=(BadLimit,)):
            changed_limits(Limits(), {name: value})


_LIMITS: Final = frozenset(field.name for field in attrs.fields(Limits))


def _check_server(reading: Reading, name: str, server: Server, environment: Mapping[str, str]) -> None:
    where, path = f"servers.{name}", ("servers", name)
    check_limits(reading, f"{where}: limits", server.limits, *path, "limits")
    if server.url:
        for key in ("ca_file", "client_cert", "client_key"):
            with reading.catch(where, *path, key, kinds=_BAD_VALUES):
                expand_home(getattr(server, key))
        return
    try:
        server = expanded(server, environment)
    except BadExpansion as fault:
        reading.add(f"{where}: {fault}", *path, fault.key)
    except NotSet:
        # The server fails where it is used.
        pass
    except BadCredential as fault:
        key = _with_user(server)
        reading.add(f"{where}: {key}: {fault}", *path, key)
        return
    with reading.catch(where, *path, "cwd_allowed", kinds=_BAD_VALUES):
        client_directories(where, server)
    if server.cwd and server.cwd != "client":
        with reading.catch(f"{where}: cwd", *path, "cwd", kinds=_BAD_VALUES):
            if not expand_home(server.cwd).is_absolute():
                reading.add(f"{where}: cwd: must be an absolute path, not {shown(server.cwd)}", *path, "cwd")
    for index, directory in enumerate(server.path):
        with reading.catch(f"{where}: path", *path, "path", index, kinds=_BAD_VALUES):
            if not expand_home(directory).is_absolute() or os.pathsep in directory:
                text = f"must hold absolute paths without {os.pathsep!r}, not {shown(directory)}"
                reading.add(f"{where}: path: {text}", *path, "path", index)
    for key, reason in check_sandbox(server):
        reading.add(f"{where}: {key}: {reason}", *path, key)
    _check_variables(reading, server, where, path)
    _check_headers(reading, server, where, path)
    if server.words:
        with reading.catch(where, *path, "command", kinds=_BAD_VALUES):
            check_word(server.words[0])


def _with_user(server: Server) -> str:
    """Return the key that has a path with an unknown user after ~."""
    for key, paths in (("cwd", (server.cwd,)), ("read", server.read), ("write", server.write)):
        if any(path.startswith("~") and not path.startswith("~/") for path in paths):
            return key
    return "command"


def _check_variables(reading: Reading, server: Server, where: str, path: tuple[str, ...]) -> None:
    for key in ("pass_env", "withhold_env"):
        for index, entry in enumerate(getattr(server, key)):
            with reading.catch(f"{where}: {key}", *path, key, index, kinds=_BAD_VALUES):
                check_entry(entry)
    for key, value in server.env.items():
        with reading.catch(f"{where}: env", *path, "env", key, is_key=True, kinds=_BAD_VALUES):
            check_variable(key, value)
    with reading.catch(f"{where}: env_file", *path, "env_file", kinds=_BAD_VALUES):
        expand_home(server.env_file)
    for key, source in server.secrets.items():
        with reading.catch(f"{where}: secrets", *path, "secrets", key, is_key=True, kinds=_BAD_VALUES):
            check_variable(key)
            with reading.catch(f"{where}: secrets.{key}", *path, "secrets", key, kinds=_BAD_VALUES):
                check_source(source)


def _check_headers(reading: Reading, server: Server, where: str, path: tuple[str, ...]) -> None:
    at, key = f"{where}: env_from_header", "env_from_header"
    for variable, header in server.env_from_header.items():
        with reading.catch(at, *path, key, variable, is_key=True, kinds=_BAD_VALUES):
            check_from_client(variable, server.env_from_header_allow)
        with reading.catch(at, *path, key, variable, kinds=_BAD_VALUES):
            header_name(header)
    if server.env_from_header and server.share == "server":
        text = 'with share = "server" all clients have one process, which cannot have the values of each'
        reading.add(f"{at}: {text}", *path, "share")


def _check_listen(reading: Reading, listen: Listen, environment: Mapping[str, str]) -> None:
    with reading.catch("listen", "listen", "http"):
        parse_address(listen.http)
    with reading.catch("listen", "listen", "unix", kinds=_BAD_VALUES):
        socket_path(listen.unix, environment)
    for index, source in enumerate(listen.request_state_keys):
        with reading.catch(
            "listen: request_state_keys", "listen", "request_state_keys", index, kinds=_BAD_VALUES
        ):
            check_source(source)
    if listen.http is False and listen.unix is False:
        reading.add("listen: both http and unix are false, so that no client can connect", "listen", "unix")
    pair = ("tls_cert", "tls_key")
    if bool(listen.tls_cert) != bool(listen.tls_key) and not any(
        reading.has_fault("listen", key) for key in pair
    ):
        given, missing = pair if listen.tls_cert else pair[::-1]
        text = f"listen: tls_cert and tls_key must be set together, and {missing} is missing"
        reading.add(text, "listen", given, is_key=True)
    for key in pair:
        with reading.catch(f"listen: {key}", "listen", key, kinds=_BAD_VALUES):
            expand_home(getattr(listen, key))
    _check_reach(reading, listen)
    for index, host in enumerate(listen.hosts):
        with reading.catch("listen: hosts", "listen", "hosts", index, kinds=_BAD_VALUES):
            check_host(host)
    for index, origin in enumerate(listen.origins):
        with reading.catch("listen: origins", "listen", "origins", index, kinds=_BAD_VALUES):
            check_origin(origin)
    taken = {READY, *attrs.astuple(Paths())}
    for index, path in enumerate(listen.health):
        with reading.catch("listen: health", "listen", "health", index, kinds=_BAD_VALUES):
            check_path(path)
            if path.startswith(_OURS) or not taken.isdisjoint(spellings(path)):
                text = f"listen: health: {path} is already the path of another endpoint"
                reading.add(text, "listen", "health", index)


def _check_reach(reading: Reading, listen: Listen) -> None:
    for index, text in enumerate(listen.trusted_proxies):
        with reading.catch(
            "listen: trusted_proxies", "listen", "trusted_proxies", index, kinds=(ValueError,)
        ):
            parse_networks((text,))
    if listen.root_path:
        with reading.catch("listen: root_path", "listen", "root_path", kinds=_BAD_VALUES):
            check_path(listen.root_path)
            if listen.root_path.endswith("/") or "/." in listen.root_path or "//" in listen.root_path:
                text = "must have no slash at its end, and no empty or dot segment"
                reading.add(f"listen: root_path: {text}", "listen", "root_path")
    with reading.catch("listen: tls_client_ca", "listen", "tls_client_ca", kinds=_BAD_VALUES):
        expand_home(listen.tls_client_ca)
    if listen.tls_client_ca and not listen.tls_cert:
        reading.add("listen: tls_client_ca needs tls_cert and tls_key", "listen", "tls_client_ca")
    if listen.tls_client_cert == "required" and not listen.tls_client_ca:
        reading.add("listen: tls_client_cert needs tls_client_ca", "listen", "tls_client_cert")
    if listen.basic and not (listen.tls_cert or listen.trusted_proxies):
        text = "listen: basic needs tls_cert and tls_key, or trusted_proxies that serve TLS"
        reading.add(text, "listen", "basic")
    if not reading.has_fault("listen", "http"):
        _check_other_machines(reading, listen)


def _check_other_machines(reading: Reading, listen: Listen) -> None:
    """Add an error that names everything that is missing for an address that other machines can reach."""
    host, port = parse_address(listen.http)
    if port is None or is_loopback_host(host):
        return
    file = reading.file
    missing: list[str] = []
    if not (listen.tls_cert or listen.trusted_proxies):
        missing.append("TLS (tls_cert and tls_key, or trusted_proxies that serve it)")
    if not listen.authenticate:
        missing.append("authenticate = true")
    if not (file.tokens or file.access_tokens):
        missing.append(
            "a credential that is valid on other machines ([tokens.NAME] or [access_tokens]; the token of the owner is not)"
        )
    if is_wildcard_host(host) and not listen.hosts:
        missing.append("hosts, the names by which clients call it")
    if missing:
        text = f"listen: http: {host} can be reached by other machines, which needs {'; '.join(missing)}"
        reading.add(text, "listen", "http")


def _check_tokens(reading: Reading) -> None:
    known: dict[str, str] = {}
    for name, token in reading.file.tokens.items():
        _check_token(reading, name, token)
        for key, digest in (("sha256", token.sha256), ("former", token.former)):
            where = f"tokens.{name}"
            if digest and (other := known.setdefault(digest, where)) != where:
                reading.add(f"{where}: {key} is that of {other} as well", "tokens", name, key)
        with reading.catch(""):
            check_token_servers(name, token.permitted_servers, reading.file)
        with reading.catch(""):
            check_token_aggregates(name, token.permitted_aggregates, reading.file)


def _check_access_tokens(reading: Reading, table: AccessTokens) -> None:
    where = "access_tokens"
    if not reading.has_fault(where):
        try:
            check_table(table)
        except BadAccessTokenTable as fault:
            reading.add(f"{where}: {fault.key}: {fault}", where, fault.key)
    for key in ("keys", "ca_file"):
        with reading.catch(f"{where}: {key}", where, key, kinds=_BAD_VALUES):
            expand_home(getattr(table, key))
    for scope, found in table.scopes.items():
        for index, server in enumerate(found.servers):
            if server not in (ALL, AGGREGATE, *reading.file.servers, *reading.file.aggregates):
                text = f"there is no server {shown(server)}{suggested(server, reading.file.servers)}"
                reading.add(
                    f"{where}.scopes.{scope}: servers: {text}", where, "scopes", scope, "servers", index
                )
    if not reading.file.listen.authenticate:
        reading.add(f"{where}: listen.authenticate is false, so that no token is read", where, is_key=True)


def _check_token(reading: Reading, name: str, token: Token) -> None:
    where, path = f"tokens.{name}", ("tokens", name)
    given = [key for key in ("sha256", "secret") if getattr(token, key)]
    kinds = ("sha256", "secret", "certificates")
    if not any(getattr(token, key) or reading.has_fault(*path, key) for key in kinds):
        reading.add(f"{where}: sha256 is missing, or secret or certificates", *path, is_key=True)
    for index, named in enumerate(token.certificates):
        with reading.catch(f"{where}: certificates", *path, "certificates", index, kinds=(ValueError,)):
            check_name(named)
    if token.certificates and not reading.file.listen.tls_client_ca:
        text = f"{where}: certificates need listen.tls_client_ca, the authorities that verify them"
        reading.add(text, *path, "certificates")
    if len(given) > 1:
        reading.add(f"{where}: sha256 and secret are two tokens; use one of them", *path, "secret")
    if token.secret:
        with reading.catch(f"{where}: secret", *path, "secret", kinds=_BAD_VALUES):
            check_source(token.secret)
    if bool(token.former) != (token.former_expires is not None):
        key = "former" if token.former else "former_expires"
        reading.add(f"{where}: former and former_expires must be set together", *path, key)


def oauth_helper(file: File) -> tuple[str, ...]:
    """Return the words of `oauth.helper`. Raises BadConfig."""
    if not file.oauth.helper:
        return ()
    try:
        return tuple(split_helper(file.oauth.helper))
    except BadCredential as fault:
        raise BadConfig(f"oauth: helper: {fault}", "oauth", "helper") from None


def parse_address(http: str | Literal[False]) -> tuple[str, int | None]:
    """Return the host and the TCP port of `listen.http`. Raises BadConfig."""
    if http is False:
        return "127.0.0.1", None
    host, colon, port = http.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdecimal() and int(port) <= LARGEST_PORT):
        raise BadConfig(f"listen: http: must be ADDRESS:PORT, not {shown(http)}", "listen", "http")
    with suppress(NotLoopback):
        try:
            check_loopback(host)
        except NotLoopback:
            raise
        except BadAddress as fault:
            raise BadConfig(f"listen: http: {fault}", "listen", "http") from None
    return host, int(port)


def socket_path(unix: bool | str, environment: Mapping[str, str]) -> Path | None:  # noqa: FBT001 - the value of the file
    """Return the path of `listen.unix`, or None without a Unix socket. Raises BadConfig."""
    if not unix:
        return None
    try:
        path = default_socket(environment) if unix is True else expand_home(unix)
    except BadCredential as fault:
        raise BadConfig(f"listen: unix: {fault}", "listen", "unix") from None
    if not path.is_absolute():
        raise BadConfig(f"listen: unix: must be an absolute path, not {shown(str(path))}", "listen", "unix")
    length = len(os.fsencode(path))
    if length > _LONGEST_SOCKET:
        raise BadConfig(
            f"listen: unix: {path} has {length} bytes, and the limit is {_LONGEST_SOCKET}", "listen", "unix"
        )
    return path


def check_token_servers(name: str, servers: Collection[str], file: File) -> None:
    """Check that the servers of a token exist. Raises BadConfig."""
    missing = {
        server: f"there is no server {shown(server)}{_instead(server, file)}"
        for server in servers
        if server not in (ALL, AGGREGATE, *file.servers)
    }
    _refuse_missing(name, "servers", servers, missing)


def _instead(server: str, file: File) -> str:
    if server in file.aggregates:
        return f'; it is an aggregate, which belongs into aggregates = ["{server}"]'
    return suggested(server, file.servers)


def check_token_aggregates(name: str, aggregates: Collection[str], file: File) -> None:
    """Check that the aggregates of a token exist. Raises BadConfig."""
    missing = {
        one: f"there is no table [aggregates.{shown(one)[1:-1]}]{suggested(one, file.aggregates)}"
        for one in aggregates
        if one not in (ALL, *file.aggregates)
    }
    _refuse_missing(name, "aggregates", aggregates, missing)


def _refuse_missing(name: str, key: str, given: Collection[str], missing: Mapping[str, str]) -> None:
    """Raise BadConfig if entries of a list of a token are missing. `missing` has a text for each."""
    faults = [
        Fault(f"tokens.{name}: {key}: {missing[one]}", ("tokens", name, key, index))
        for index, one in enumerate(given)
        if one in missing
    ]
    if faults:
        raise BadConfig(faults=faults)
