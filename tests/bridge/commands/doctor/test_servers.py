"""What the doctor finds in the command of a server; tests/e2e/test_serve.py runs the whole command."""

import pytest

from mcpbridged.bridge.commands.doctor.servers import missing_container_options


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
def test_options_that_a_container_needs_to_stop_with_its_server(command, lacking):
    assert missing_container_options(tuple(command.split())) == lacking
