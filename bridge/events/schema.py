"""The audit events: one class for each, with the type, the description and an example of each field.

The name of an event is the name of its class in lower case with underscores: `ProcessExited` is `process_exited`. The event
of the log and the line of the audit file have the same name and fields. docs/EVENTS.md is made of these classes.

No field has a secret, the content of a message or the arguments of a tool. Text is escaped, redacted and cut before an event
is made of it.
"""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def _name_of(cls: str) -> str:
    return _CAPITAL.sub("_", cls).lower()


Pid = Annotated[int, Meta(description="The process id.", examples=[4711])]
Connection = Annotated[
    int, Meta(description="The number of the connection, for a remote server.", examples=[1])
]
Count = Annotated[
    int,
    Meta(
        description="How many such events this line stands for, those since the last line included.",
        examples=[1],
    ),
]
Status = Annotated[
    int, Meta(description="The HTTP status of the response, absent if there was none.", examples=[421])
]
Earlier = Annotated[
    str,
    Meta(
        description="The correlation ids of the events before, the last 15 that were suppressed, joined by commas.",
        examples=["2c26b46b68ffc68f"],
    ),
]
Names = Annotated[str, Meta(description="Names, joined by commas.", examples=["github"])]
Peer = Annotated[
    str,
    Meta(description='The address and port of the last peer, or "unix".', examples=["127.0.0.1:40312"]),
]
How = Annotated[
    str, Meta(description="The exit code, the signal, or the reason.", examples=["exited with code 1"])
]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag=_name_of):
    """Fields that each event can have. A field without a value is absent."""

    ts: Annotated[
        str,
        Meta(description="The time (RFC 3339, UTC, milliseconds).", examples=["2026-11-30T12:00:00.000Z"]),
    ]
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The level of the log event.", examples=["info"]),
    ]
    principal: Annotated[
        str,
        Meta(
            description="The authenticated peer: the name of its token, or that of the user.", examples=["ci"]
        ),
    ] = ""
    session: Annotated[
        str,
        Meta(
            description="The first eight characters of the session id, too few to use it.",
            examples=["Vb3k9QzL"],
        ),
    ] = ""
    server: Annotated[str, Meta(description="The name of the server.", examples=["github"])] = ""
    correlation_id: Annotated[
        str,
        Meta(
            description="The id in the header X-Request-Id and in error.data.correlationId of the response.",
            examples=["9f86d081884c7d65"],
        ),
    ] = ""


# ---- requests that are refused


class _Refusal(Event, frozen=True, kw_only=True, omit_defaults=True, tag=None):
    reason: Annotated[str, Meta(description="The identifier of the reason.", examples=["host"])]
    status: Status = 0
    count: Count
    peer: Peer = ""
    earlier: Earlier = ""


class AuthenticationFailed(_Refusal, frozen=True, kw_only=True, omit_defaults=True):
    """Requests or connections were refused because of their credential."""


class Refused(_Refusal, frozen=True, kw_only=True, omit_defaults=True):
    """Requests or connections were refused for another reason than their credential."""


class PolicyDenied(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A request was refused because the access policy denies the tool, the feature or the server."""

    reason: Annotated[
        str,
        Meta(
            description="tool_denied, feature_denied, method_denied or server_denied.",
            examples=["tool_denied"],
        ),
    ]
    method: Annotated[str, Meta(description="The method of the request.", examples=["tools/call"])] = ""
    name: Annotated[
        str, Meta(description="The tool or prompt name, or the URI.", examples=["delete_repository"])
    ] = ""
    count: Count
    peer: Peer = ""
    status: Status = 0
    earlier: Earlier = ""


class _Content(Event, frozen=True, kw_only=True, omit_defaults=True, tag=None):
    reason: Annotated[
        str,
        Meta(
            description="The check: arguments, output, mime, schemes or characters; schema for a schema that cannot be used, with the check as keyword.",
            examples=["arguments"],
        ),
    ]
    tool: Annotated[str, Meta(description="The name of the tool or prompt.", examples=["create_issue"])] = ""
    path: Annotated[
        str,
        Meta(
            description="Where in the arguments, the output or the message: a JSON pointer, with * for members that the schema does not name, and an index for those that the specification does not name.",
            examples=["/labels/0"],
        ),
    ] = ""
    keyword: Annotated[
        str,
        Meta(
            description="The keyword of the schema that is violated; structuredContent if that is missing, unchecked for what was not checked. Of other checks: mimeType or base64, the refused scheme, the classes of hidden characters, or too_large for what was not checked.",
            examples=["type"],
        ),
    ] = ""
    count: Count


class ContentRefused(_Content, frozen=True, kw_only=True, omit_defaults=True):
    """Calls of a tool, or messages of the server or items of its lists, were refused, because a check of [content] is "refuse"."""


class ContentRewritten(_Content, frozen=True, kw_only=True, omit_defaults=True):
    """Messages of the server have lost their hidden characters, because content.characters is "rewrite"."""


class ContentWarning(_Content, frozen=True, kw_only=True, omit_defaults=True):
    """A check of [content] has found what it only reports, or a schema that cannot be used."""


class DefaultTokenRefused(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The default token was sent by a process of another user."""

    peer: Peer
    reason: Annotated[str, Meta(description="The reason.", examples=["process of another user"])]
    more: Annotated[
        int, Meta(description="How many such events were suppressed since the last line.", examples=[3])
    ] = 0


class ClientDirectoryRefused(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The directory of a client is not allowed (cwd = "client")."""

    directory: Annotated[str, Meta(description="The directory.", examples=["/srv/other"])]
    reason: Annotated[str, Meta(description="The reason.", examples=["it is in no directory of cwd_allowed"])]


class ConnectionClosed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A connection was closed because its client is admitted no longer."""

    reason: Annotated[str, Meta(description="access_revoked.", examples=["access_revoked"])]
    peer: Peer


# ---- limits


class StreamClosed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A stream was closed because its client reads too slowly or is admitted no longer."""

    reason: Annotated[str, Meta(description='"client behind" or access_revoked.', examples=["client behind"])]
    bytes: Annotated[int, Meta(description="The bytes that were not sent.", examples=[1048576])] = 0


class ClientBehind(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A client reads too slowly, and messages to it were dropped."""

    lost: Annotated[
        int, Meta(description="How many messages of the session were dropped in all.", examples=[12])
    ]
    unsent_bytes: Annotated[int, Meta(description="The limit (bytes).", examples=[4194304])]


class ClientStalled(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A client has read nothing for too long, and its connection was closed."""

    peer: Peer
    seconds: Annotated[float, Meta(description="The limit (seconds).", examples=[30])]


class AcceptFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A connection could not be accepted, because the daemon is out of descriptors or memory."""

    reason: Annotated[str, Meta(description="The error of accept(2).", examples=["Too many open files"])]
    evicted: Annotated[
        bool, Meta(description="Whether an unauthenticated connection was closed for it.", examples=[True])
    ]
    more: Annotated[
        int, Meta(description="How many such events were suppressed since the last line.", examples=[3])
    ] = 0


class RequestFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The bridge has sent an error for a request that it had accepted."""

    reason: Annotated[str, Meta(description="The text of the error.", examples=["no response within 300 s"])]
    count: Count
    earlier: Earlier = ""


class InternalError(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The bridge has failed. The log has the traceback (`fault`), which the audit file does not have."""

    peer: Peer = ""
    pid: Pid = 0


# ---- processes and connections of servers


class Started(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A process of a server, or a connection to a remote server, was started."""

    pid: Pid = 0
    connection: Connection = 0
    directory: Annotated[
        str,
        Meta(
            description="The directory of the client that the process runs in.", examples=["/home/u/project"]
        ),
    ] = ""


class ProcessExited(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A process has exited by itself, or was ended because of a fault."""

    how: How
    pid: Pid = 0
    connection: Connection = 0


class ProcessStopped(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A process has exited, or a connection to a remote server has ended, because it is no longer needed."""

    how: How
    pid: Pid = 0
    connection: Connection = 0


class ConnectionFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A connection to a remote server has failed."""

    how: How
    pid: Pid = 0
    connection: Connection = 0


class StartFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A process has exited or stayed silent before its first response."""

    reason: Annotated[str, Meta(description="The reason.", examples=["exited with code 1"])]


class ServerNotStarted(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A process could not be started."""

    reason: Annotated[str, Meta(description="The reason.", examples=["cannot start 'uvx': not found"])]


class PinMismatch(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A server was not started, because its command or its files are not those of its pin."""

    reason: Annotated[str, Meta(description="The difference.", examples=["the pin is for another command"])]


class PinChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A reload has put another pin of a server into use, as `approve` writes it."""

    before: Annotated[
        str, Meta(description="The former pin, absent if there was none.", examples=["sha256:2c26b46b…"])
    ] = ""
    after: Annotated[
        str, Meta(description="The new pin, absent if it was removed.", examples=["sha256:fcde2b2e…"])
    ] = ""


# ---- sessions and calls


class SessionOpened(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A client has opened a session."""


class SessionClosed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A session has ended."""

    reason: Annotated[str, Meta(description="The reason.", examples=["the client ended the session"])]


class AdminSessionOpened(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The owner has signed in at the page /admin."""


class AdminSessionClosed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The owner has signed out of the page /admin."""


class Call(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A request of a client has ended (`audit.calls`, `log.calls`)."""

    id: Annotated[str, Meta(description="The JSON-RPC id of the request, as JSON.", examples=["7"])] = ""
    method: Annotated[str, Meta(description="The method.", examples=["tools/call"])]
    name: Annotated[
        str, Meta(description="The tool or prompt name, or the URI.", examples=["create_issue"])
    ] = ""
    outcome: Annotated[
        str, Meta(description="ok, tool error, cancelled, or error and its code.", examples=["ok"])
    ]
    ms: Annotated[float, Meta(description="The duration (milliseconds).", examples=[12.5])]


# ---- the daemon


class Ready(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The daemon has started."""

    url: Annotated[
        str, Meta(description="The first address for clients.", examples=["http://127.0.0.1:8808"])
    ]


class Stopping(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The daemon stops. The event is repeated when that which the stop waits for changes."""

    waits_for: Annotated[
        str,
        Meta(description="The servers that the stop waits for.", examples=["requests: github (1 in flight)"]),
    ] = ""


class Stopped(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The daemon has stopped in order, the last event of a daemon."""


class Reloaded(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A reload has put the configuration into use."""

    added: Annotated[str, Meta(description="The names of new servers.", examples=["github"])] = ""
    changed: Annotated[str, Meta(description="The names of changed servers.", examples=["files"])] = ""
    removed: Annotated[str, Meta(description="The names of removed servers.", examples=["old"])] = ""
    kept: Annotated[str, Meta(description="The names of unchanged servers.", examples=["git"])] = ""
    stale: Annotated[
        str, Meta(description="The tables whose changes need a restart.", examples=["listen"])
    ] = ""


class ReloadFailed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A reload has failed, and the running configuration stays."""

    reason: Annotated[
        str, Meta(description="The fault.", examples=["config.toml:3:9: log: level: must be 'debug' …"])
    ]


class TokensChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A reload has added, changed or revoked named tokens."""

    added: Names = ""
    changed: Names = ""
    revoked: Names = ""


class OwnerTokenChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Another token of the owner is accepted."""

    source: Annotated[
        str, Meta(description="The place of the token.", examples=["/home/u/.local/state/mcp-bridge/token"])
    ]
    former_valid_seconds: Annotated[
        float,
        Meta(
            description="How long the former token is still accepted (seconds), absent for no longer.",
            examples=[60.0],
        ),
    ] = 0.0


class TokenChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The file of a named token has another token, which is accepted, and the former one no longer."""

    token: Annotated[str, Meta(description="The name of the token.", examples=["ci"])]
    source: Annotated[
        str, Meta(description="The place of the token.", examples=["/home/u/.config/mcp-bridge/ci.token"])
    ]


class TokenUnreadable(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The file of a token has changed and cannot be used. The token that was read before is still accepted."""

    reason: Annotated[str, Meta(description="The fault.", examples=["tokens.ci: secret: ci.token is empty"])]


class TokenExpired(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A token is no longer accepted, because its time has ended. What it has open is closed."""


class AuditChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A reload changes the table [audit]. The event is written to the former file and to the new one."""

    enabled: Annotated[bool, Meta(description="Whether the audit log is on now.", examples=[True])]
    file: Annotated[
        str,
        Meta(description="The new file, absent for the log.", examples=["/var/log/mcp-bridge/audit.jsonl"]),
    ] = ""
    calls: Annotated[bool, Meta(description="Whether calls are recorded now.", examples=[True])] = False


class AuditEventsLost(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Events could not be written to the audit file, for example to a full disk."""

    count: Annotated[
        int, Meta(description="How many events were lost since the last such event.", examples=[17])
    ]
    reason: Annotated[
        str, Meta(description="The error of write(2).", examples=["No space left on device"])
    ] = ""
