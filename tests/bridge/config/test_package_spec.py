"""The package in a command, and its version."""

import pytest

from mcpbridged.bridge.config.package_spec import downloads_without_lock, find_package, is_runner


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("npx -y some-server", "some-server"),
        ("npx -y some-server@1.2.3 --flag", ""),
        ("npx -y @scope/some-server", "@scope/some-server"),
        ("npx -y @scope/some-server@1.2", ""),
        ("npx some-server@latest", "some-server@latest"),
        ("uvx --from some-server==1.2 server", ""),
        ("uvx --from some-server server", "some-server"),
        ("uvx some-server@2", ""),
        ("npx --package=some-server server", "some-server"),
        ("npx --package= server", ""),
        ("npx ./server", ""),
        ("uvx --python 3.12 some-server", "some-server"),
        ("pnpx some-server", "some-server"),
        ("npx", ""),
        ("node server.js", ""),
    ],
)
def test_a_package_without_a_version_is_found(command, package):
    found = find_package(command.split())
    assert (found.spec if found and not found.is_pinned else "") == package


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["npx", "some-server"], True),
        (["/usr/bin/npm", "exec", "some-server"], True),
        (["sh", "-c", "exec npx some-server"], True),
        (["uvx", "some-server"], False),
        (["node", "server.js"], False),
    ],
)
def test_a_runner_that_does_not_lock_its_cache_is_found_also_in_a_shell_line(command, expected):
    assert downloads_without_lock(command) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("docker run image", True),
        ("npm --silent run start", True),
        ("npm install", False),
        ("node run", False),
        ("npm", False),
    ],
)
def test_a_runner_is_a_program_that_runs_another_one(command, expected):
    program, *arguments = command.split()
    assert is_runner(program, arguments) is expected
