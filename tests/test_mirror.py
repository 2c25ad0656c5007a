"""Each module has a test file of its own: the tests of `a/b.py` are in `tests/a/test_b.py`."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROOTS = ("bridge", "transports", "validators")

# Modules that declare types, constants or texts, and decide nothing.
DECLARATIONS = {
    "bridge/admin/servers.py",
    "bridge/commands/doctor/finding.py",
    "bridge/core/effects.py",
    "bridge/core/findings.py",
    "bridge/core/requests.py",
    "bridge/core/shared_effects.py",
    "bridge/daemon/errors.py",
    "bridge/eras/timers.py",
    "bridge/log_levels.py",
    "bridge/runtime/common_parts.py",
    "bridge/runtime/owner_control.py",
    "transports/client/link.py",
    "transports/client/options.py",
    "transports/client/ports.py",
    "transports/ports.py",
    "validators/limits.py",
    "validators/version.py",
}

# Key: a test file. Value: modules that are tested through it, because each is a part of one state machine, or joins parts
# with a file of their own to a process, a command or a daemon. A module leaves the table when it gets a file of its own.
TESTED_AS_A_WHOLE = {
    "tests/bridge/commands/systemd_service/test_command.py": {
        "bridge/commands/systemd_service/systemctl.py",
    },
    "tests/bridge/core/test_legacy_session.py": {
        "bridge/core/errors.py",
        "bridge/core/event_store.py",
        "bridge/core/held_messages.py",
        "bridge/core/pending_requests.py",
        "bridge/core/server_messages.py",
        "bridge/core/server_requests.py",
        "validators/session_replay.py",
    },
    "tests/bridge/core/test_multiplexer.py": {
        "bridge/core/notification_targets.py",
        "bridge/core/start_queue.py",
        "bridge/core/tool_headers.py",
    },
    "tests/bridge/core/test_shared_upstream.py": {
        "bridge/core/forwarded_requests.py",
        "bridge/core/upstream_handshake.py",
    },
    "tests/transports/client/test_legacy_http.py": {
        "transports/client/calls.py",
        "transports/client/http_calls.py",
        "transports/client/server_stream.py",
        "transports/client/streamable_http.py",
    },
    "tests/transports/client/test_remote_server.py": {
        "transports/client/connection.py",
    },
    "tests/bridge/core/test_attribution.py": {
        "bridge/core/aggregate_members.py",
    },
    "tests/bridge/runtime/test_conversation.py": {"bridge/runtime/link_owner.py"},
    "tests/bridge/runtime/test_placement.py": {
        "bridge/core/forwarded_client.py",
    },
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
    "tests/bridge/runtime/test_server.py": {
        "bridge/runtime/adapters.py",
        "bridge/runtime/era_discovery.py",
        "bridge/runtime/era_facts.py",
        "bridge/runtime/place_finder.py",
        "bridge/runtime/place_table.py",
        "bridge/runtime/process_pool.py",
        "bridge/runtime/process_starter.py",
        "bridge/runtime/server_parts.py",
        "bridge/runtime/sessions.py",
        "bridge/runtime/shared_process.py",
        "bridge/runtime/shared_processes.py",
        "bridge/runtime/start_checks.py",
    },
    "tests/validators/message_schemas/test_check_revisions.py": {
        "validators/message_schemas/revision_2024_11_05.py",
        "validators/message_schemas/revision_2025_03_26.py",
        "validators/message_schemas/revision_2025_06_18.py",
        "validators/message_schemas/revision_2025_11_25.py",
        "validators/message_schemas/revision_2026_07_28.py",
    },
    "tests/bridge/config/test_load.py": {
        "bridge/config/checks.py",
        "bridge/config/trust.py",
    },
    "tests/cases/test_config_faults.py": {
        "bridge/config/locate.py",
    },
    "tests/bridge/oauth/test_authorizer.py": {
        "bridge/oauth/entries.py",
        "bridge/oauth/exchange.py",
        "bridge/oauth/flow.py",
    },
    "tests/e2e/test_check.py": {
        "bridge/commands/check.py",
        "bridge/commands/server_lists.py",
    },
    "tests/e2e/test_definitions.py": {
        "bridge/commands/approve_definitions.py",
        "bridge/runtime/definitions.py",
    },
    "tests/e2e/test_login.py": {
        "bridge/commands/login.py",
        "bridge/oauth/factory.py",
    },
    "tests/cases/test_client_config_write.py": {
        "bridge/commands/client_file.py",
    },
    "tests/cases/test_config_import.py": {
        "bridge/commands/client_import.py",
    },
    "tests/cases/test_pins.py": {
        "bridge/commands/approve.py",
        "bridge/config/command_files.py",
    },
    "tests/bridge/commands/test_completion_scripts.py": {
        "bridge/commands/command_options.py",
        "bridge/commands/completion.py",
        "bridge/commands/wrapper_options.py",
    },
    "tests/bridge/commands/test_wrapper.py": {
        "bridge/commands/dispatch.py",
        "bridge/commands/output.py",
    },
    "tests/cases/test_commands_daemon.py": {
        "bridge/commands/client_config.py",
        "bridge/commands/effective.py",
        "bridge/commands/env.py",
        "bridge/commands/invocation.py",
        "bridge/commands/reload.py",
        "bridge/commands/token.py",
    },
    "tests/e2e/test_terminal_calls.py": {
        "bridge/commands/call.py",
        "bridge/commands/prompts.py",
        "bridge/commands/resources.py",
        "bridge/commands/terminal_user.py",
        "bridge/commands/tools.py",
    },
    "tests/cases/test_doctor_daemon.py": {
        "bridge/commands/doctor/daemon.py",
        "bridge/commands/doctor/examine.py",
        "bridge/commands/doctor/machine.py",
    },
    "tests/bridge/commands/pump/test_conversation.py": {
        "bridge/commands/pump/in_flight.py",
        "bridge/commands/pump/session_setup.py",
        "bridge/commands/pump/texts.py",
    },
    "tests/bridge/commands/test_connect_pump.py": {
        "bridge/commands/pump/client_input.py",
        "bridge/commands/pump/link.py",
        "bridge/commands/pump/program.py",
        "bridge/commands/pump/settings.py",
        "bridge/commands/pump/streams.py",
    },
    "tests/e2e/test_connect.py": {
        "bridge/commands/connect/command.py",
    },
    "tests/e2e/test_connect_url.py": {
        "bridge/commands/connect/remote_client.py",
        "bridge/commands/connect/standard_streams.py",
    },
    "tests/e2e/test_aggregate.py": {
        "bridge/aggregate/catalog.py",
        "bridge/aggregate/connection.py",
        "bridge/aggregate/inquiries.py",
        "bridge/aggregate/listeners.py",
        "bridge/aggregate/member.py",
        "bridge/aggregate/members.py",
        "bridge/aggregate/output.py",
        "bridge/aggregate/server.py",
        "bridge/aggregate/subscription.py",
        "bridge/aggregate/timing.py",
    },
    "tests/e2e/test_small_surface.py": {"bridge/aggregate/small_surface.py"},
    "tests/transports/endpoints/test_websocket.py": {
        "transports/endpoints/client_messages.py",
        "transports/endpoints/message_writer.py",
        "transports/endpoints/receiver.py",
    },
    "tests/cases/test_certificates.py": {
        "bridge/daemon/certificates.py",
    },
    "tests/e2e/test_session_list.py": {
        "bridge/daemon/session_list.py",
    },
    "tests/e2e/test_serve.py": {
        "bridge/daemon/announcements.py",
        "bridge/daemon/app.py",
        "bridge/daemon/control_api.py",
        "bridge/daemon/listeners.py",
        "bridge/daemon/reloader.py",
        "bridge/daemon/running_config.py",
        "bridge/daemon/status.py",
    },
}


def tracked_files():
    if not (REPOSITORY / ".git").exists():
        # An unpacked sdist has the tracked files and no other.
        found = (file for folder in (*ROOTS, "tests") for file in (REPOSITORY / folder).rglob("*.py"))
        return {str(file.relative_to(REPOSITORY)) for file in found}
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def mirrored(module):
    path = Path("tests") / module
    return str(path.with_name(f"test_{path.name}"))


def modules(files):
    return {
        file
        for file in files
        if file.startswith(tuple(f"{root}/" for root in ROOTS))
        and file.endswith(".py")
        and not file.endswith(("/__init__.py", "/__main__.py"))
    }


def test_each_module_has_a_test_file_or_a_reason_why_it_has_none():
    files = tracked_files()
    excepted = DECLARATIONS.union(*TESTED_AS_A_WHOLE.values())
    assert {module for module in modules(files) - excepted if mirrored(module) not in files} == set()


def test_each_exception_names_a_module_without_a_test_file_once():
    files = tracked_files()
    lists = [DECLARATIONS, *TESTED_AS_A_WHOLE.values()]
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert {
        module for module in set().union(*lists) if module not in files or mirrored(module) in files
    } == set()
    assert set(TESTED_AS_A_WHOLE) <= files


def test_each_mirrored_test_file_has_its_module():
    """A file that tests a module under another aspect has a name that begins as that of the module."""
    files = tracked_files()
    known = {mirrored(module).removesuffix(".py") for module in modules(files)}
    found = {
        file.removesuffix(".py")
        for file in files
        if file.startswith(tuple(f"tests/{root}/" for root in ROOTS)) and Path(file).name.startswith("test_")
    }
    # Random walks, models and comparisons over the modules of a folder.
    across = {
        name
        for name in found
        if Path(name).name.startswith(("test_walks_", "test_model_")) or name.endswith("/test_plain_calls")
    }
    assert {name for name in found - across if not name.startswith(tuple(known))} == set()
