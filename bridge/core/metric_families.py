"""The metrics at /metrics: their names, types, labels and meanings. docs/METRICS.md has the same table. Pure."""

from typing import Final

from .metric_text import COUNTER, GAUGE, HISTOGRAM, Family

_SERVER: Final = ("server",)
_CALL: Final = ("server", "method", "tool")

# Names without `mcp_bridge_` are those of the client libraries of Prometheus.
BUILD: Final = Family(
    "mcp_bridge_build_info",
    GAUGE,
    ("version", "python"),
    "The versions of mcp-bridge and of Python; always 1.",
)
STARTED: Final = Family(
    "process_start_time_seconds", GAUGE, (), "Start of the daemon, in seconds since the epoch."
)
CPU: Final = Family("process_cpu_seconds_total", COUNTER, (), "Processor time of the daemon.")
MEMORY: Final = Family("process_resident_memory_bytes", GAUGE, (), "Resident memory of the daemon alone.")
OPEN_FDS: Final = Family("process_open_fds", GAUGE, (), "Open file descriptors of the daemon.")
MAX_FDS: Final = Family("process_max_fds", GAUGE, (), "The soft limit of open file descriptors.")
LAG: Final = Family(
    "mcp_bridge_event_loop_lag_seconds",
    HISTOGRAM,
    (),
    "How late a timer of the event loop was, four times a second.",
)
LOG_DROPPED: Final = Family(
    "mcp_bridge_log_lines_dropped_total",
    COUNTER,
    (),
    "Lines of the log that were lost because its reader or its disk was too slow or full.",
)
SPANS_DROPPED: Final = Family(
    "mcp_bridge_spans_dropped_total",
    COUNTER,
    (),
    "Spans that were not exported; absent without an OTLP endpoint.",
)
CERTIFICATE: Final = Family(
    "mcp_bridge_certificate_expiry_timestamp_seconds",
    GAUGE,
    (),
    "Expiry of the TLS certificate, in seconds since the epoch; absent without TLS.",
)
CONNECTIONS: Final = Family(
    "mcp_bridge_connections",
    GAUGE,
    ("account",),
    "Open connections of clients by principal; (control) and (unauthenticated) are not principals.",
)
REFUSALS: Final = Family(
    "mcp_bridge_refusals_total", COUNTER, ("reason",), "Refused HTTP requests and connections."
)
STATE: Final = Family(
    "mcp_bridge_server_state",
    GAUGE,
    ("server", "state"),
    "Whether the server is in this state (mcp-bridge status); 1 for exactly one state.",
)
READY: Final = Family(
    "mcp_bridge_server_ready", GAUGE, _SERVER, "Whether a request would be served, as far as is known."
)
BREAKERS: Final = Family(
    "mcp_bridge_circuit_breakers_open",
    GAUGE,
    _SERVER,
    "Circuit breakers that refuse starts: that of the server, and those of principals.",
)
SESSIONS: Final = Family(
    "mcp_bridge_sessions", GAUGE, _SERVER, "Open sessions, and processes that stateless clients share."
)
BUSY: Final = Family(
    "mcp_bridge_sessions_in_flight",
    GAUGE,
    _SERVER,
    "Sessions, and processes of stateless clients, with a request in flight.",
)
PROCESSES: Final = Family("mcp_bridge_processes", GAUGE, _SERVER, "Running processes of the server.")
REMOTE: Final = Family(
    "mcp_bridge_remote_connections", GAUGE, _SERVER, "Open connections to the remote server."
)
PROCESS_MEMORY: Final = Family(
    "mcp_bridge_processes_resident_memory_bytes",
    GAUGE,
    _SERVER,
    "Resident memory of the processes of the server and their descendants.",
)
STARTS: Final = Family(
    "mcp_bridge_process_starts_total", COUNTER, _SERVER, "Processes or remote connections that were started."
)
EXITS: Final = Family(
    "mcp_bridge_process_exits_total",
    COUNTER,
    _SERVER,
    "Processes that exited, or connections that ended, unexpectedly.",
)
START_FAILURES: Final = Family(
    "mcp_bridge_start_failures_total",
    COUNTER,
    _SERVER,
    "Starts without a first response, or that were refused.",
)
RESTARTS: Final = Family(
    "mcp_bridge_restarts_total", COUNTER, _SERVER, "Restarts by command, or by the page at /admin."
)
UNMATCHED: Final = Family(
    "mcp_bridge_responses_unmatched_total", COUNTER, _SERVER, "Responses whose id matches no request."
)
STDERR: Final = Family(
    "mcp_bridge_stderr_lines_total", COUNTER, _SERVER, "Lines that processes wrote to stderr."
)
RECEIVED: Final = Family(
    "mcp_bridge_process_received_bytes_total",
    COUNTER,
    _SERVER,
    "Bytes that the processes of the server wrote to stdout; 0 for a remote server.",
)
SENT: Final = Family(
    "mcp_bridge_process_sent_bytes_total",
    COUNTER,
    _SERVER,
    "Bytes that were written to the stdin of the processes of the server; 0 for a remote server.",
)
CONTENT: Final = Family(
    "mcp_bridge_content_findings_total",
    COUNTER,
    ("server", "check", "action"),
    "What the checks of content have found (refused, rewritten, warned); absent without a finding.",
)
REQUESTS: Final = Family(
    "mcp_bridge_requests_total", COUNTER, (*_CALL, "outcome"), "Requests of clients that have ended."
)
LATENCY: Final = Family(
    "mcp_bridge_request_duration_seconds",
    HISTOGRAM,
    _CALL,
    "Time from the receipt of a request to its response or cancellation.",
)
FAMILIES: Final = (
    BUILD,
    STARTED,
    CPU,
    MEMORY,
    OPEN_FDS,
    MAX_FDS,
    LOG_DROPPED,
    SPANS_DROPPED,
    CERTIFICATE,
    CONNECTIONS,
    REFUSALS,
    LAG,
    STATE,
    READY,
    BREAKERS,
    SESSIONS,
    BUSY,
    PROCESSES,
    REMOTE,
    PROCESS_MEMORY,
    STARTS,
    EXITS,
    START_FAILURES,
    RESTARTS,
    UNMATCHED,
    STDERR,
    RECEIVED,
    SENT,
    CONTENT,
    REQUESTS,
    LATENCY,
)
# The values of the label `state` (mcp-bridge(1)).
STATES: Final = (
    "idle",
    "serving",
    "connected",
    "silent",
    "failed",
    "failing",
    "unapproved",
    "login required",
)
