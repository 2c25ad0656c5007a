"""The configuration of a remote server from the options of `connect URL`."""

import argparse
import math
from pathlib import Path
from typing import Final

import attrs

from ....validators.limits import Limits
from ....validators.remote_url import HTTP_SCHEMES
from ...config.credentials import BadCredential, read_private
from ...config.oauth_settings import OAuth
from ...config.remote_table import (
    BadRemote,
    check_field,
    check_files,
    check_remote,
    is_credential,
    is_open,
    read_url,
    remote_of,
)
from ...config.schema import Server
from ...config.settings import ServerConfig
from ...redaction import SHORTEST_SECRET
from ..invocation import BadUsage
from ..login_target import oauth_table

# The options that only a URL has.
URL_OPTIONS: Final = (
    *("token_file", "header", "header_file", "transport", "ca_file", "cert", "key", "proxy"),
    *(
        "client_id",
        "client_secret_file",
        "private_key_file",
        "client_metadata_url",
        "assertion_file",
        "client_credentials",
    ),
)
# How long connections are attempted without --wait (seconds). A client waits for about a minute for its first response.
_WAIT: Final = 10.0
# The least time for one attempt (seconds).
_LEAST_WAIT: Final = 1.0


def remote_config(options: argparse.Namespace, limits: Limits) -> ServerConfig:
    """Return the configuration for the URL of `connect`. Raises BadUsage and BadCredential."""
    try:
        plain = _header_fields(options.header, "--header")
        for name in filter(lambda name: is_credential(name, plain[name]), plain):
            raise BadUsage(
                f"--header: {name} looks like a credential, and would be visible to every user of the machine; "
                "use --header-file FILE"
            )
        secret = _secret_fields(options)
        server = Server(
            url=options.server,
            transport=options.transport or "auto",
            headers=plain,
            ca_file=_path(options.ca_file),
            client_cert=_path(options.cert),
            client_key=_path(options.key),
            proxy="env" if options.proxy is None else options.proxy,
            connect_seconds=max(_WAIT if options.wait is None else options.wait, _LEAST_WAIT),
        )
        table = oauth_table(options)
        if table != OAuth():
            server = attrs.evolve(server, oauth=table)
        url = read_url(server.url)
        if (
            url.scheme in HTTP_SCHEMES
            and url.target.partition("?")[0].rstrip("/").endswith("/ws")
            and server.transport == "auto"
        ):
            server = attrs.evolve(server, transport="websocket")
        check_remote(server)
        if secret and is_open(url):
            raise BadRemote(
                f"{url.origin} is not encrypted, and is not this machine: its credentials could be read on the way; "
                "use https:// or wss://"
            )
        remote = remote_of(server, Path.cwd())
    except BadRemote as fault:
        raise BadUsage(str(fault)) from None
    if table != OAuth() and "authorization" in map(str.lower, secret):
        raise BadUsage("the options of an OAuth client and a credential of the options exclude each other")
    check_files(remote)
    values = [part for value in secret.values() for part in {value, value.rpartition(" ")[2]}]
    remote = attrs.evolve(
        remote,
        headers=(*remote.headers, *secret.items()),
        authorizes=remote.authorizes and "authorization" not in map(str.lower, secret),
        secret_names=frozenset(secret),
        secrets=(*remote.secrets, *(value for value in values if len(value) >= SHORTEST_SECRET)),
    )
    # The only session lasts as long as the client, which cannot open another one.
    limits = attrs.evolve(limits, session_seconds=math.inf, session_idle_seconds=math.inf)
    return ServerConfig("remote", remote=remote, limits=limits)


def _path(given: Path | None) -> str:
    return "" if given is None else str(given.absolute())


def _secret_fields(options: argparse.Namespace) -> dict[str, str]:
    secret: dict[str, str] = {}
    if options.header_file is not None:
        text = _text_of(options.header_file, "header file")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        secret = _header_fields(lines, f"the header file {options.header_file}")
    if options.token_file is not None:
        # Tokens of other servers have any length, unlike those of a bridge.
        token = _text_of(options.token_file, "token file").strip()
        check_field("Authorization", token, f"the token file {options.token_file}")
        if "authorization" in map(str.lower, secret):
            raise BadUsage("--token-file and a header Authorization exclude each other")
        secret["Authorization"] = f"Bearer {token}"
    return secret


def _text_of(path: Path, what: str) -> str:
    try:
        return read_private(path, what).decode("ascii")
    except UnicodeDecodeError:
        raise BadCredential(
            f"the {what} {path} holds bytes that are not ASCII (a byte order mark?)"
        ) from None


def _header_fields(lines: list[str] | None, where: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines or ():
        name, colon, value = line.partition(":")
        if not colon:
            # The line is not shown, because it may be a secret.
            raise BadUsage(f"{where}: a header must be NAME: VALUE")
        name, value = name.strip(), value.strip()
        check_field(name, value, where)
        if name.lower() in map(str.lower, fields):
            raise BadUsage(f"{where}: {name} is given twice")
        fields[name] = value
    return fields
