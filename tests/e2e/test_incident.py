"""Run every command of docs/incident.md on a daemon."""

import hashlib
import json
import os
import re
import subprocess

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY
from ..support.daemon_process import Daemon, write_config
from ..support.raw_http import connect
from ..support.stateless_requests import headers_of, request

pytestmark = pytest.mark.anyio
TEXT = (REPOSITORY / "docs/incident.md").read_text()
# Commands for a service manager. The tests have none.
_MANAGED = ("systemctl ", "journalctl ")


def chapters():
    """Return the shell lines below each heading."""
    found = {}
    # The last chapter names the tests.
    for chapter in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:-1]:
        title, _, text = chapter.partition("\n")
        found[title] = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return found


async def status_of(running, server, token):
    body = request("tools/list")
    async with connect(running) as connection:
        headers = headers_of(body, Authorization=f"Bearer {token}")
        await connection.send("POST", f"/servers/{server}/mcp", headers, json.dumps(body).encode())
        return (await connection.answer()).status


async def test_every_command_of_the_incident_guide_works(tmp_path_factory):
    # The path of a Unix socket is limited to 107 bytes.
    tmp_path = tmp_path_factory.mktemp("home")
    folder, outside = tmp_path / ".config/mcp-bridge", tmp_path / "here"
    outside.mkdir()
    editor = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    tokens = {"tokens.editor": {"sha256": hashlib.sha256(editor.encode()).hexdigest(), "servers": ["git"]}}
    write_config(
        folder / "config.toml", {"git": {"command": EXAMPLE}, "time": {"command": EXAMPLE}}, **tokens
    )
    with Daemon(folder) as running:
        kept = ("XDG_CONFIG_HOME", "MCP_BRIDGE")
        environment = {key: value for key, value in running.variables.items() if key not in kept}
        environment |= {"HOME": str(tmp_path), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}

        def do(title):
            output = ""
            for line in chapters().pop(title):
                if not line.startswith(_MANAGED):
                    done = subprocess.run(
                        ["bash", "-c", line],
                        env=environment,
                        cwd=outside,
                        capture_output=True,
                        text=True,
                        timeout=60,
                        check=False,
                    )
                    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                    output += done.stdout
            return output

        assert await status_of(running, "git", editor) == 200
        do("Collect evidence")
        assert "started" in (outside / "git.log").read_text()
        assert json.loads((outside / "status.json").read_text())["servers"]

        owner = running.token
        made = re.search(r"^mcpb_\S+$", do("A token has leaked"), re.MULTILINE)
        assert made
        assert await status_of(running, "git", editor) == 401
        assert await status_of(running, "git", made[0]) == 200
        assert await status_of(running, "git", owner) == 401
        assert await status_of(running, "git", running.token) == 200

        before = chapters()["A server misbehaves"]
        frozen = before.index("mcp-bridge reload") + 1
        subprocess.run(["bash", "-ec", "\n".join(before[:frozen])], env=environment, check=True, timeout=60)
        assert await status_of(running, "git", running.token) == 404
        assert await status_of(running, "time", running.token) == 200
        running.config.write_text(running.config.read_text().replace("enabled = false\n", ""))
        output = do("A server misbehaves")
        assert "pin" in output
        assert await status_of(running, "git", running.token) == 200
        assert "sha256:" in running.config.read_text()
        assert "no errors" in do("Afterwards")
        assert do("Stop everything") == ""


def test_every_command_of_the_incident_guide_is_run():
    assert set(chapters()) == {
        "Collect evidence",
        "A token has leaked",
        "A server misbehaves",
        "Stop everything",
        "Afterwards",
    }
    assert all(
        line.startswith(("mcp-bridge ", "sed ", "rm ", *_MANAGED))
        for lines in chapters().values()
        for line in lines
    )
