"""Find the remote server that `login` and `logout` name: in the configuration, or by its URL."""

import argparse
from pathlib import Path

import attrs

from ..config import checks, tables
from ..config.helper_programs import Helpers
from ..config.oauth_settings import BadOAuthTable, Grant, OAuth, check_oauth
from ..config.remote import Remote
from ..config.remote_table import BadRemote, is_open, read_url, remote_of, with_secrets
from ..config.schema import File
from ..config.tables import BadConfig
from ..core.suggestion import suggestion
from .invocation import BadUsage, Invocation


@attrs.frozen
class Target:
    """A remote server, what the user calls it, and the program that keeps credentials, if any."""

    name: str
    remote: Remote
    table: OAuth
    helper: tuple[str, ...] = ()


def target_of(invocation: Invocation) -> Target:
    """Return the server that the command names. Blocks. Raises BadUsage, BadConfig and BadCredential."""
    name, path = invocation.options.server, invocation.file
    file = tables.read(path) if path.exists() else File()
    helper = checks.oauth_helper(file)
    if "://" in name:
        try:
            url = read_url(name)
        except BadRemote as fault:
            raise BadUsage(str(fault)) from None
        if is_open(url):
            raise BadUsage(
                f"{url.origin} uses no TLS, and credentials are not sent to another machine without it"
            )
        return Target(name, Remote(name), oauth_table(invocation.options), helper)
    if oauth_table(invocation.options) != OAuth():
        raise BadUsage(f"the options of an OAuth client need a URL; servers.{name} has the table oauth")
    server = file.servers.get(name)
    if server is None:
        known = [one for one, found in file.servers.items() if found.url]
        there_are = f"the remote servers are {', '.join(known)}{suggestion(name, known)}"
        none = "there is no remote server; `mcp-bridge add NAME --url URL` adds one"
        raise BadConfig(f"{path}: there is no server {name!r}; {there_are if known else none}")
    if not server.url:
        raise BadUsage(f"servers.{name} is a process (command); only a remote server (url) has a login")
    if any(header.lower() == "authorization" for header in server.secret_headers):
        raise BadUsage(
            f"servers.{name} has its credential in secret_headers.Authorization, and needs no login"
        )
    helpers = Helpers(file.limits.get("helper_seconds"))
    try:
        remote = with_secrets(
            remote_of(server, path.parent), server, path.parent, invocation.environment, helpers
        )
    except BadRemote as fault:
        raise BadConfig(f"{path}: servers.{name}: {fault}") from None
    if not remote.authorizes:
        raise BadConfig(
            f"{path}: servers.{name}: the url uses no TLS, and credentials are not sent to another machine without it; plain_http ="
            " true allows it"
        )
    return Target(name, remote, server.oauth or OAuth(), helper)


def oauth_table(options: argparse.Namespace) -> OAuth:
    """Return the OAuth client that the options describe (`command_options.add_oauth_options`). Raises BadUsage."""
    grant: Grant = "jwt_bearer" if options.assertion_file else "authorization_code"
    table = OAuth(
        grant="client_credentials" if options.client_credentials else grant,
        assertion=_source(options.assertion_file),
        client_id=options.client_id,
        client_secret=_source(options.client_secret_file),
        private_key=_source(options.private_key_file),
        client_metadata_url=options.client_metadata_url,
    )
    try:
        check_oauth(table)
    except BadOAuthTable as fault:
        raise BadUsage(f"options of the OAuth client: {fault}") from None
    return table


def _source(file: Path | None) -> str:
    """Return a file as the place of a secret. It is absolute, because a name could look like another kind of place."""
    return "" if file is None else str(file.absolute())
