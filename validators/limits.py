"""The default of every limit, with its unit."""

import math
from typing import Final

import attrs


@attrs.frozen
class Limits:
    """Limits on the memory and the time that a peer can use. Sizes in bytes, times in seconds.

    The table `limits` in mcp-bridge.toml(5) describes each key.
    """

    header_block: int = 16 * 1024
    header_count: int = 100
    header_field: int = 8 * 1024
    target: int = 4 * 1024
    body: int = 16 * 1024 * 1024
    unfinished_bytes: int = 128 * 1024 * 1024
    line: int = 16 * 1024 * 1024
    json_depth: int = 64
    method: int = 128
    name: int = 128
    id: int = 256
    uri: int = 8192
    batch: int = 32
    list_bytes: int = 4 * 1024 * 1024
    list_items: int = 4096
    list_pages: int = 64
    schema_bytes: int = 256 * 1024
    argument_bytes: int = 0
    argument_depth: int = 0
    head_seconds: float = 5
    body_rate: int = 1024
    body_grace_seconds: float = 10
    write_stall_seconds: float = 30
    keep_alive_seconds: float = 75
    heartbeat_seconds: float = 15
    connections: int = 4096
    connections_per_principal: int = 1024
    connections_unauthenticated: int = 256
    connections_control: int = 16
    wrong_credentials_per_second: int = 100
    sessions: int = 1024
    sessions_per_principal: int = 256
    processes_per_principal: int = 32
    session_idle_seconds: float = 30 * 60
    session_seconds: float = 24 * 60 * 60
    client_exit_seconds: float = 60
    streams_per_session: int = 4
    in_flight: int = 128
    calls_at_once: int = 128
    refusals_per_minute: int = 600
    held_calls: int = 16
    held_seconds: float = 10 * 60
    pause_bytes: int = 8 * 1024 * 1024
    unsent_bytes: int = 32 * 1024 * 1024
    stream_messages: int = 1024
    stream_bytes: int = 1024 * 1024
    replay_bytes: int = 4 * 1024 * 1024
    call_idle_seconds: float = math.inf
    call_seconds: float = math.inf
    start_seconds: float = 60
    helper_seconds: float = 60
    ping_seconds: float = 60
    stop_seconds: float = 2
    drain_seconds: float = 10
    stdin_stall_seconds: float = 10
    stdin_bytes: int = 16 * 1024 * 1024
    stderr_rate: int = 64 * 1024
    notifications_per_second: int = 1000
    free_heap_bytes: int = 64 * 1024 * 1024


_ANY: Final = 2**62
# For programs of the bridge that read messages of the daemon, which checked them with its own configured limits.
UNLIMITED: Final = Limits(
    line=_ANY, body=_ANY, json_depth=_ANY, method=_ANY, name=_ANY, id=_ANY, uri=_ANY, batch=_ANY
)
