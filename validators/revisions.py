"""The revisions of MCP, and the first revision of each feature that the bridge needs.

A revision is a date, therefore the order of the texts is the order of time.
Source: https://modelcontextprotocol.io/specification/, one folder for each revision.
"""

import re
from typing import Final

from .rejection import INVALID_REQUEST, Rejection

_2024_11_05: Final = "2024-11-05"
_2025_03_26: Final = "2025-03-26"
_2025_06_18: Final = "2025-06-18"
_2025_11_25: Final = "2025-11-25"
_2026_07_28: Final = "2026-07-28"

# With sessions and `initialize`, and without. The latest is the last.
LEGACY_REVISIONS: Final = (_2024_11_05, _2025_03_26, _2025_06_18, _2025_11_25)
MODERN_REVISIONS: Final = (_2026_07_28,)
LATEST_LEGACY: Final = LEGACY_REVISIONS[-1]
MODERN_REVISION: Final = MODERN_REVISIONS[-1]
# The revision of a peer that names none (MCP 2025-06-18 basic/transports, "Protocol Version Header").
DEFAULT_REVISION: Final = _2025_03_26

# Revisions with batches: JSON-RPC 2.0 itself on a pipe, and the only revision of Streamable HTTP that has them.
BATCHES_ON_A_PIPE: Final = (_2024_11_05, _2025_03_26)
BATCH_REVISION: Final = _2025_03_26

# Content of the type `audio` (server/tools).
AUDIO_SINCE: Final = _2025_03_26
# The server capability `completions` (server/utilities/completion). The method is older.
COMPLETIONS_SINCE: Final = _2025_03_26
# `context` in the params of `completion/complete` (server/utilities/completion).
COMPLETION_CONTEXT_SINCE: Final = _2025_06_18
# Content of the type `resource_link` (server/tools).
LINKS_SINCE: Final = _2025_06_18
# `outputSchema` and `structuredContent` (server/tools).
STRUCTURE_SINCE: Final = _2025_06_18
# Only capabilities that were negotiated may be used (basic/lifecycle, "Operation").
NEGOTIATED_SINCE: Final = _2025_06_18
# Elicitation by URL, and the client capabilities `form` and `url` (client/elicitation).
URL_MODE_SINCE: Final = _2025_11_25
# Several content blocks in one sampling message (client/sampling).
BLOCKS_SINCE: Final = _2025_11_25
# Arguments that a tool does not accept are an error of the tool, not of the protocol (server/tools, SEP-1303).
TOOL_ERRORS_SINCE: Final = _2025_11_25
# Event streams that begin with an event without data, from which a client can resume (basic/transports).
PRIMING_SINCE: Final = _2025_11_25

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def known_revision(version: str) -> str:
    """Return the legacy revision whose rules hold for a version that two peers have negotiated.

    This is the last revision that is not later than the version, or the first revision for an earlier version.
    """
    return max((known for known in LEGACY_REVISIONS if known <= version), default=LEGACY_REVISIONS[0])


def negotiated_version(requested: str, latest: str) -> str:
    """Return the version that the bridge sends in its own response to `initialize`: the earlier of the two.

    A requested version that is not a date is answered with `latest`, as by a server that does not support it.
    """
    return requested if _DATE.match(requested) and requested < latest else latest


def check_version_header(value: str | None, code: int = INVALID_REQUEST) -> None:
    """Raise Rejection 400 with this code for an MCP-Protocol-Version that is not a legacy revision.

    The caller compares the header with the negotiated version before, because that may be another.
    """
    if value is not None and value not in LEGACY_REVISIONS:
        known = ", ".join(LEGACY_REVISIONS)
        text = f"MCP-Protocol-Version must be the version that the session has negotiated, or one of {known}"
        raise Rejection(400, code, text)
