"""What the doctor reads out of a command; the rest of it is seen at work in tests/e2e/test_serve.py."""

import pytest

from mcpbridged.bridge.commands.doctor.servers import lacking_for_a_container, unpinned


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        ("docker run --rm --init -i image", []),
        ("/usr/bin/podman run -i --rm --init -e A=b image --flag", []),
        ("docker run --rm --init -ti image", []),
        ("docker run --init --rm --interactive image", []),
        ("docker --context c run -i --rm image", ["--init"]),
        ("docker run image", ["--rm", "--init", "-i"]),
        ("docker run --rm --init image", ["-i"]),
        ("docker exec -i container server", []),
        ("node run", []),
    ],
)
def test_what_a_container_needs_to_end_with_its_server(command, lacking):
    assert lacking_for_a_container(tuple(command.split())) == lacking


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
        ("npx", ""),
        ("node server.js", ""),
    ],
)
def test_a_package_that_is_fetched_in_any_version_is_found(command, package):
    assert unpinned(tuple(command.split())) == package
