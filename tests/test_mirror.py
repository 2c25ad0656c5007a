"""Each module has a test file of its own: the tests of `a/b.py` are in `tests/a/test_b.py`."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROOTS = ("bridge", "transports", "validators")

# Modules that declare types, constants or texts, and decide nothing.
DECLARATIONS = {
    "bridge/commands/connect/effects.py",
    "bridge/commands/doctor/finding.py",
    "bridge/core/effects.py",
    "bridge/core/exit_codes.py",
    "bridge/core/requests.py",
    "bridge/core/shared_effects.py",
    "bridge/daemon/errors.py",
    "bridge/eras/timers.py",
    "bridge/log_levels.py",
    "bridge/runtime/owner_control.py",
    "transports/ports.py",
    "validators/limits.py",
    "validators/rejection.py",
}

# Key: a test file. Value: modules without another caller, or with a seam that only this whole has: parts of one state
# machine, and commands that only print what their parts return.
TESTED_AS_A_WHOLE = {
    "tests/bridge/core/test_legacy_session.py": {
        "bridge/core/errors.py",
        "bridge/core/event_store.py",
        "bridge/core/held_messages.py",
        "bridge/core/pending_requests.py",
        "bridge/core/server_messages.py",
        "bridge/core/server_requests.py",
        "bridge/core/session_replay.py",
    },
    "tests/bridge/core/test_multiplexer.py": {
        "bridge/core/notification_targets.py",
        "bridge/core/start_queue.py",
        "bridge/core/tool_headers.py",
    },
    "tests/bridge/core/test_shared_upstream.py": {
        "bridge/core/forwarded_requests.py",
        "bridge/core/tasks.py",
        "bridge/core/upstream_handshake.py",
    },
    "tests/bridge/core/test_attribution.py": {"bridge/core/aggregate_members.py"},
    "tests/bridge/runtime/test_placement.py": {"bridge/core/forwarded_client.py"},
    "tests/bridge/eras/test_modern_adapter.py": {
        "bridge/core/input_over.py",
        "bridge/eras/client_handshake.py",
        "bridge/eras/client_input_rounds.py",
        "bridge/eras/listen_stream.py",
        "bridge/eras/roots_requests.py",
    },
    "tests/bridge/eras/test_legacy_adapter.py": {
        "bridge/eras/input_rounds.py",
        "bridge/eras/legacy_call.py",
        "bridge/eras/legacy_calls.py",
        "bridge/eras/responses.py",
        "bridge/eras/server_requests.py",
        "bridge/eras/subscriptions.py",
        "bridge/eras/task_tools.py",
    },
}
