"""Convert a remote server of another client's configuration to a table with a url.

A header whose value looks like a secret is not written: its value belongs into a file beside the configuration, which the
table names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from .child_environment import looks_secret
from .import_texts import (
    PLACEHOLDER,
    LeftOut,
    as_object,
    as_text,
    listed,
    shown_name,
    toml_string,
    why_unfit,
)
from .remote import hidden_parts
from .remote_table import BadRemote, check_field, check_field_name, is_open, read_url
from .schema import LONGEST_NAME

_URL_KEYS: Final = ("url", "serverUrl", "httpUrl")
_KNOWN_KEYS: Final = frozenset({*_URL_KEYS, "type", "transport", "headers", "disabled", "enabled"})
_LOCAL_TYPES: Final = (None, "", "stdio", "local")
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


@attrs.frozen
class RemoteDraft:
    """A remote server without its final name. `secret` are the names of headers whose values are not written."""

    url: str = attrs.field(repr=False)
    transport: str
    enabled: bool
    headers: dict[str, str] = attrs.field(repr=False)
    secret: tuple[str, ...]
    notes: tuple[str, ...]


def is_remote(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry describes a remote server."""
    return entry.get("type") not in _LOCAL_TYPES or any(key in entry for key in _URL_KEYS)


def remote_draft(entry: Mapping[str, Any]) -> RemoteDraft:
    """Return the remote server of an entry. Raises LeftOut."""
    if "command" in entry:
        raise LeftOut("it has a command and is a remote server, and a server is one of the two")
    url = _url(entry)
    headers = as_object(entry.get("headers") or {}, "its headers are not an object")
    notes: list[str] = []
    written: dict[str, str] = {}
    secret: list[str] = []
    for name, value in headers.items():
        _sort_header(name, value, written, secret, notes)
    if secret and is_open(read_url(url)):
        raise LeftOut(
            "it gets a credential over a connection without encryption; use https, or set plain_http by hand"
        )
    if any(hidden_parts(url)):
        notes.append("its url has a part that looks like a secret, and was copied to the configuration")
    unknown = sorted(entry.keys() - _KNOWN_KEYS)
    if unknown:
        notes.append(f"ignored unsupported keys: {listed(map(shown_name, unknown))}")
    return RemoteDraft(
        url,
        _transport(entry, url),
        entry.get("disabled") is not True and entry.get("enabled") is not False,
        written,
        tuple(secret),
        tuple(notes),
    )


def _url(entry: Mapping[str, Any]) -> str:
    url = next((entry[key] for key in _URL_KEYS if key in entry), None)
    if not isinstance(url, str):
        raise LeftOut("it is a remote server without a url")
    if PLACEHOLDER in url:
        raise LeftOut("its url holds a placeholder, which is not supported")
    fault = why_unfit(url)
    if fault:
        raise LeftOut(f"its url {fault}")
    try:
        read_url(url)
    except BadRemote as bad:
        raise LeftOut(str(bad)) from None
    return url


def _transport(entry: Mapping[str, Any], url: str) -> str:
    given = entry.get("type") or entry.get("transport")
    if given is None or given == "":
        return "auto"
    kind = _TRANSPORTS.get(given.lower()) if isinstance(given, str) else None
    if kind is None:
        raise LeftOut("its type is not known; types of remote servers are http, sse and ws")
    return "auto" if re.match("wss?:", url) else kind


def _sort_header(
    name: str, value: object, written: dict[str, str], secret: list[str], notes: list[str]
) -> None:
    taken = {one.lower() for one in (*written, *secret)}
    text = as_text(value)
    try:
        check_field_name(name)
    except BadRemote as fault:
        notes.append(f"a header is left out: {fault}")
        return
    if name.lower() in taken:
        notes.append(f"{name} is left out: it is the same header as another")
    elif text is None:
        notes.append(f"{name} is left out: it is neither a text nor a number")
    elif looks_secret(name, text) or name.lower() == _AUTHORIZATION or PLACEHOLDER in text:
        secret.append(name)
    else:
        try:
            check_field(name, text)
        except BadRemote as fault:
            notes.append(f"{name} is left out: {fault}")
        else:
            written[name] = text


def remote_notes(name: str, draft: RemoteDraft) -> Iterator[str]:
    """Yield the notes on a server with its final name."""
    for header in draft.secret:
        yield (
            f"{name}: secrets are not written to the configuration; put the value of the header {header} "
            f"into {_file_of(name, header)} beside it, mode 0600."
        )
    for note in draft.notes:
        yield f"{name}: {note}."


def remote_table(name: str, draft: RemoteDraft) -> str:
    """Return the table of a server with its final name."""
    lines = [f"[servers.{name}]", f"url = {toml_string(draft.url)}"]
    if draft.transport != "auto":
        lines.append(f"transport = {toml_string(draft.transport)}")
    if not draft.enabled:
        lines.append("enabled = false")
    for key, fields in (
        ("headers", draft.headers),
        ("secret_headers", {header: _file_of(name, header) for header in draft.secret}),
    ):
        if fields:
            lines += ["", f"[servers.{name}.{key}]"]
            lines += [f"{toml_string(header)} = {toml_string(value)}" for header, value in fields.items()]
    return "\n".join(lines) + "\n"


def _file_of(name: str, header: str) -> str:
    safe = re.sub(r"[^a-z0-9]+", "-", header.lower()).strip("-")[:LONGEST_NAME] or "header"
    return f"{name}.{safe}"
