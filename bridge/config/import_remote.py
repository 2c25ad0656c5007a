"""Convert a remote server of another client to the keys of a table with a url. Pure.

A header whose value looks like a secret is kept in a file of mode 0600 beside the configuration, which the table names.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from .child_environment import looks_secret
from .import_draft import Draft, Place, finish, is_random
from .import_entry import Entry
from .import_texts import LeftOut, as_object, as_text, listed, shown_name, texts_in, why_unfit
from .import_variables import Surroundings, expand, shown_piece
from .remote import hidden_parts
from .remote_table import BadRemote, check_field, check_field_name, is_open, read_url
from .schema import LONGEST_NAME

_LOCAL_KINDS: Final = (None, "", "stdio", "local")
# The transport for each type. Clients with the type "http" or none fall back to HTTP+SSE, as "auto" does.
_TRANSPORTS: Final = {
    "http": "auto",
    "streamable-http": "auto",
    "streamablehttp": "auto",
    "streamable_http": "auto",
    "remote": "auto",
    "sse": "sse",
    "ws": "websocket",
    "websocket": "websocket",
}
_AUTHORIZATION: Final = "authorization"
_LONGEST_CONNECT: Final = 3600


def is_remote(entry: Entry) -> bool:
    """Return whether an entry describes a remote server."""
    return entry.kind not in _LOCAL_KINDS or (entry.url is not None and entry.command is None)


def remote_draft(entry: Entry, around: Surroundings) -> Draft:
    """Return the keys of a remote server. Raises LeftOut."""
    if entry.command is not None:
        raise LeftOut("it has a command and is a remote server, and a server is one of the two")
    draft = Draft(notes=[*entry.notes], problems=[*entry.problems])
    url = _url(entry, around, draft)
    draft.keys["url"] = url
    transport = _transport(entry, url)
    if transport != "auto":
        draft.keys["transport"] = transport
    options = as_object(entry.request_options or {}, "its requestOptions are not an object")
    _read_options(options, draft)
    for headers in (entry.headers, options.get("headers")):
        for name, value in as_object(headers or {}, "its headers are not an object").items():
            _sort_header(name, value, around, draft)
    for name, variable in as_object(entry.variable_headers or {}, "its headers are not an object").items():
        _sort_header(name, f"${{{variable}}}", around, draft)
    if isinstance(entry.bearer_variable, str) and entry.bearer_variable:
        _sort_header("Authorization", f"Bearer ${{{entry.bearer_variable}}}", around, draft)
    _read_oauth(entry, draft)
    if entry.connect_seconds is not None:
        draft.keys["connect_seconds"] = min(max(entry.connect_seconds, 1), _LONGEST_CONNECT)
    for key in ("env", "args", "cwd", "passed", "keyring"):
        if getattr(entry, key):
            draft.notes.append(f"its {key} is ignored: a remote server is no process of this machine")
    if (draft.keys.get("secret_headers") or draft.keys.get("oauth")) and is_open(read_url(url)):
        raise LeftOut(
            "it gets a credential over a connection without encryption; use https, or set plain_http by hand"
        )
    if hidden := [*hidden_parts(url)]:
        draft.hidden += hidden
        draft.notes.append("its url has a part that looks like a secret, and was copied to the configuration")
    finish(entry, draft)
    return draft


def _url(entry: Entry, around: Surroundings, draft: Draft) -> str:
    if not isinstance(entry.url, str):
        raise LeftOut("it is a remote server without a url")
    expanded = expand(entry.url, around)
    url = expanded.text
    if url is None:
        raise LeftOut(f"its url needs {listed(map(shown_piece, expanded.missing))}")
    if expanded.secret:
        raise LeftOut(
            f"its url has the secret of {listed(expanded.replaced)}, and the configuration holds no secret; use a header"
        )
    if expanded.replaced:
        draft.notes.append(f"its url has the present value of {listed(expanded.replaced)}")
    fault = why_unfit(url)
    if fault:
        raise LeftOut(f"its url {fault}")
    try:
        read_url(url)
    except BadRemote as bad:
        raise LeftOut(str(bad)) from None
    return url


def _transport(entry: Entry, url: str) -> str:
    given = entry.kind
    if given is None or given == "":
        return "auto"
    kind = _TRANSPORTS.get(given.lower()) if isinstance(given, str) else None
    if kind is None:
        raise LeftOut("its type is not known; types of remote servers are http, sse and ws")
    return "auto" if re.match("wss?:", url) else kind


def _read_options(options: Mapping[str, Any], draft: Draft) -> None:
    """Read the requestOptions of Continue."""
    if options.get("verifySsl") is False:
        draft.problems.append("verifySsl = false is not supported: add the certificate to ca_file")
    authority = options.get("caBundlePath")
    if isinstance(authority, str) and authority and not why_unfit(authority):
        draft.keys["ca_file"] = authority
    proxy = options.get("proxy")
    if isinstance(proxy, str) and proxy and not why_unfit(proxy):
        draft.problems.append("its proxy is not carried over: set proxy by hand")
    rest = sorted(options.keys() - {"verifySsl", "caBundlePath", "proxy", "headers"})
    if rest:
        draft.notes.append(f"ignored keys of requestOptions: {listed(map(shown_name, rest))}")


def _sort_header(name: str, value: object, around: Surroundings, draft: Draft) -> None:
    headers, secret = draft.keys.get("headers", {}), draft.keys.get("secret_headers", {})
    text = as_text(value)
    try:
        check_field_name(name)
    except BadRemote as fault:
        draft.leave_out(name, f"a header is left out: {fault}")
        return
    if name.lower() in {one.lower() for one in (*headers, *secret)}:
        draft.leave_out(name, f"{name} is left out: it is the same header as another")
        return
    if text is None:
        draft.leave_out(name, f"{name} is left out: it is neither a text nor a number")
        return
    expanded = expand(text, around)
    found = expanded.text
    hidden = expanded.secret or name.lower() == _AUTHORIZATION
    if found is None or hidden or looks_secret(name, found) or is_random(found):
        suffix = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME] or "header"
        what = f"the header {name}"
        if found is None:
            what += f" ({listed(map(shown_piece, expanded.missing))} of the client)"
        draft.table("secret_headers")[name] = Place(suffix, found or None, what)
    else:
        try:
            check_field(name, found)
        except BadRemote as fault:
            draft.leave_out(name, f"{name} is left out: {fault}")
            return
        draft.table("headers")[name] = found
    if found is not None and expanded.replaced:
        draft.notes.append(f"{name} gets the present value of {listed(expanded.replaced)}")


def _read_oauth(entry: Entry, draft: Draft) -> None:
    """Read the OAuth client that a user has registered. The names of its keys differ between the clients."""
    if entry.oauth is False:
        draft.notes.append("oauth = false is ignored: the bridge logs in only after `mcp-bridge login`")
        return
    # Crush has a switch.
    given = {} if entry.oauth is True else as_object(entry.oauth or {}, "its oauth is not an object")
    known: dict[str, Any] = {}
    for key, spellings in {
        "client_id": ("clientId", "client_id", "CLIENT_ID"),
        "client_secret": ("clientSecret", "client_secret", "CLIENT_SECRET"),
    }.items():
        value = next((given[one] for one in spellings if given.get(one)), None)
        if isinstance(value, str) and not why_unfit(value):
            known[key] = value
    scope: object = entry.scopes or given.get("scopes") or given.get("scope")
    names = texts_in(scope) or (scope.split() if isinstance(scope, str) else [])
    unknown = sorted(
        key
        for key in given
        if re.sub(r"[^a-z]", "", key.lower()) not in _OAUTH_KEYS
        and given[key] is not None
        and given[key] is not True
    )
    if unknown:
        draft.notes.append(f"ignored keys of oauth: {listed(map(shown_name, unknown))}")
    if _AUTHORIZATION in map(str.lower, draft.keys.get("secret_headers", {})):
        if known or names:
            draft.notes.append("its oauth is ignored: it has an Authorization header")
        return
    if "client_id" in known:
        draft.table("oauth")["client_id"] = known["client_id"]
        if "client_secret" in known:
            draft.table("oauth")["client_secret"] = Place(
                "client-secret", known["client_secret"], "the client secret"
            )
    if names:
        draft.table("oauth")["scopes"] = names


_OAUTH_KEYS: Final = frozenset({"clientid", "clientsecret", "scope", "scopes", "enabled", "callbackport"})
