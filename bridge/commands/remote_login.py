"""Carry out a login or a logout with an event loop of its own."""

import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import trio

from ...transports.client.http_client import HttpClient, http_url
from ...transports.client.options import RemoteOptions
from ...transports.client.ports import LoginRequired, Unreachable
from ...validators.counted import counted
from ...validators.oauth_challenge import BearerChallenge, bearer_challenge
from ...validators.oauth_refusal import OAuthRefusal
from ..config.tables import BadConfig
from ..log import LineLog, escaped
from ..oauth.authorizer import OAuthAuthorizer
from ..oauth.client_auth import BadKey
from ..oauth.entries import Credentials
from ..oauth.factory import Surroundings, new_authorizer, open_store
from ..oauth.store import StoreFault
from . import control_client
from .control_client import ErrorResponse
from .invocation import Invocation
from .login_target import Target
from .output import notice, print_line
from .progress import Progress
from .terminal_prompt import TerminalPrompt

# For the response to the first request (seconds).
_PROBE_SECONDS: Final = 30.0
_ACCEPT: Final = ((b"Accept", b"application/json, text/event-stream"),)
# The requests whose response may be a challenge. Some servers respond to GET before they look at credentials, because
# they have no stream for it; a ping outside of a session has no effect.
_PROBES: Final = (
    ("GET", _ACCEPT, None),
    ("POST", (*_ACCEPT, (b"Content-Type", b"application/json")), b'{"jsonrpc":"2.0","id":1,"method":"ping"}'),
)

T = TypeVar("T")


def log_in(target: Target, invocation: Invocation) -> None:
    """Log in, and print where and with which scopes. Blocks. Raises BadConfig, BadCredential, Unreachable and ErrorResponse."""
    found = _run(partial(_log_in, target, invocation))
    scopes = f" with the scopes {' '.join(found.scopes)}" if found.scopes else ""
    print_line(f"{target.name}: logged in at {escaped(found.issuer)}{scopes}{_until(found)}")


def log_out(target: Target, invocation: Invocation) -> None:
    """Log out, and print whether the tokens were revoked. Blocks. Raises as `log_in`."""
    _, authorizer = _parts(target, invocation, None)
    existed, revoked = _run(authorizer.log_out)
    if not existed:
        print_line(f"{target.name}: there are no credentials")
    else:
        how = "and revoked" if revoked else "but not revoked at the authorization server"
        print_line(f"{target.name}: the credentials were erased, {how}")


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run work, with the errors that commands report."""
    try:
        return trio.run(work)
    except Unreachable as fault:
        raise control_client.Unreachable(fault.reason) from None
    except (OAuthRefusal, LoginRequired) as fault:
        raise ErrorResponse(str(fault)) from None
    except (StoreFault, BadKey) as fault:
        raise BadConfig(str(fault)) from None
    except BaseExceptionGroup as faults:
        # Ctrl-C inside of a nursery.
        if faults.subgroup(KeyboardInterrupt) is None:
            raise
        raise KeyboardInterrupt from None


async def _log_in(target: Target, invocation: Invocation) -> Credentials:
    progress = Progress()

    def say(text: str) -> None:
        progress.clear()
        notice(text)

    def show_link(text: str) -> None:
        progress.clear()
        print_line(text)

    prompt = TerminalPrompt(say, show_link, sys.stdin.fileno() if sys.stdin is not None else None)
    options, authorizer = _parts(target, invocation, prompt)
    with progress.wait(f"connecting to {target.name}"):
        challenge = await _challenge(options, say)
    with progress.wait(f"waiting for the authorization server of {target.name}"):
        return await authorizer.log_in(challenge)


def _parts(
    target: Target, invocation: Invocation, prompt: TerminalPrompt | None
) -> tuple[RemoteOptions, OAuthAuthorizer]:
    remote = target.remote
    options = RemoteOptions(
        remote.url,
        headers=remote.fields,
        ca_file=remote.ca_file,
        cert_file=remote.client_cert,
        key_file=remote.client_key,
        proxy=remote.proxy,
        connect_seconds=remote.connect_seconds,
    )
    around = Surroundings(invocation.environment, invocation.file.parent)
    log = LineLog("warning")
    log.hide(remote.secrets)
    return options, new_authorizer(
        target.name,
        options,
        target.table,
        open_store(around, target.helper),
        around,
        log,
        prompt=prompt,
        plain_http=remote.authorizes,
    )


async def _challenge(options: RemoteOptions, say: Callable[[str], None]) -> BearerChallenge:
    """Return the challenge of the server to a request without credentials. Raises Unreachable."""
    url = str(http_url(options.url))
    statuses: list[str] = []
    with trio.move_on_after(_PROBE_SECONDS):
        async with HttpClient(options) as client:
            for method, fields, body in _PROBES:
                async with client.request(method, url, fields, body, idle_seconds=_PROBE_SECONDS) as response:
                    if response.status == 401:
                        return bearer_challenge(response.www_authenticate)
                    statuses.append(f"{response.status} to {method}")
        say(f"the server has not requested a login (status {', '.join(statuses)}); its metadata decides")
        return bearer_challenge(())
    raise Unreachable(f"the server has not responded within {_PROBE_SECONDS:g} seconds")


def _until(found: Credentials) -> str:
    if found.refresh_token:
        return ""
    if found.expires_at is None:
        return "; the authorization server has issued no refresh token"
    left = max(0, found.expires_at - time.time()) / 60
    return f"; the token expires in {counted(round(left), 'minute')}, and there is no refresh token"
