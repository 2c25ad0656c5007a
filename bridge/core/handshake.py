"""The handshake with a legacy server, and what the server has declared in it. Pure."""

from enum import Enum, auto
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.json_object import Members
from ...validators.mcp_params import read_version
from ...validators.rejection import Rejection
from ...validators.revisions import COMPLETIONS_SINCE, LATEST_LEGACY, LEGACY_REVISIONS, known_revision

# Methods that pass between eras, with the capability that the server must have declared for them.
CORE_METHODS: Final = {
    "tools/list": "tools",
    "tools/call": "tools",
    "prompts/list": "prompts",
    "prompts/get": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
    "resources/read": "resources",
    "completion/complete": "completions",
}


class HandshakePhase(Enum):
    """The phases of a handshake."""

    OPENING = auto()
    OPEN = auto()
    REFUSED = auto()


class Handshake:
    """The state of `initialize` with a legacy server, and the members of its result (MCP 2025-11-25 basic/lifecycle)."""

    def __init__(self) -> None:
        self.phase = HandshakePhase.OPENING
        self.refusal = ""
        self.revision = ""
        self.capabilities: Members = {}
        self.server_info = msgspec.Raw(b'{"name":"server","version":"0"}')
        self.instructions: msgspec.Raw | None = None
        # The time of the first `is_late` while the handshake is open (seconds).
        self._since: float | None = None

    def open(self, result: bytes | msgspec.Raw) -> None:
        """Store the result of `initialize`. Values are copied, so that the line of the server can be freed."""
        found = json_object.peek(result)
        self.phase = HandshakePhase.OPEN
        self.revision = json_object.string(found.get("protocolVersion"))
        self.capabilities = _copied(json_object.peek(found.get("capabilities")))
        if "serverInfo" in found:
            self.server_info = msgspec.Raw(bytes(found["serverInfo"]))
        if "instructions" in found:
            self.instructions = msgspec.Raw(bytes(found["instructions"]))

    def refuse(self, text: str) -> None:
        """Store why the server has no session: it refused `initialize`, or did not answer in time."""
        self.phase, self.refusal = HandshakePhase.REFUSED, text

    def is_late(self, now: float, limit: float) -> bool:
        """Return whether `initialize` has been without an answer for more than `limit` (seconds)."""
        if self.phase is not HandshakePhase.OPENING:
            return False
        self._since = now if self._since is None else self._since
        return now - self._since > limit

    def setting(self, capability: str, name: str) -> msgspec.Raw | None:
        """Return one member of a declared capability."""
        return json_object.peek(self.capabilities.get(capability)).get(name)

    def has(self, capability: str) -> bool:
        """Return whether the server has this capability: declared, or not declarable in its revision."""
        if capability == "completions" and self.revision < COMPLETIONS_SINCE:
            return True
        return capability in self.capabilities


def initialize_params(capabilities: dict[str, object], version: str, info: bytes = b"") -> bytes:
    """Return the params of an `initialize` for a client with this clientInfo (raw).

    Without a name in it, the bridge sends its own name and `version`.
    """
    return json_object.write(
        {
            "protocolVersion": LATEST_LEGACY,
            "capabilities": capabilities,
            "clientInfo": client_info(info) or {"name": "mcp-bridge", "version": version},
        }
    )


def client_info(info: bytes) -> dict[str, object]:
    """Return the members of a clientInfo, with the version that a legacy server demands; empty without a name."""
    found = json_object.peek(info)
    if not json_object.string(found.get("name")):
        return {}
    return {**found, "version": json_object.string(found.get("version")) or "0"}


def is_ordinary(params: bytes | msgspec.Raw) -> bool:
    """Return whether every server should accept an `initialize` with these params."""
    found = json_object.peek(params)
    info = json_object.peek(found.get("clientInfo"))
    return (
        json_object.string(found.get("protocolVersion")) in LEGACY_REVISIONS
        and bytes(found.get("capabilities", b""))[:1] == b"{"
        and bool(json_object.string(info.get("name")) and json_object.string(info.get("version")))
    )


def _copied(found: Members) -> Members:
    return {name: msgspec.Raw(bytes(value)) for name, value in found.items()}


def revision_named(params: bytes) -> str:
    """Return the revision whose rules hold for a peer with these params or this result of `initialize`."""
    try:
        return known_revision(read_version(params))
    except Rejection:
        return LATEST_LEGACY
