"""What a server of the official SDK sends passes all checks of its messages unchanged."""

import sys

import pytest
import trio

from ..support.daemon_process import CHILDREN, daemon
from ..support.sdk import SDK_WARNINGS, client_of

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]
REFUSE = {"mime": "refuse", "schemes": "refuse", "characters": "refuse"}


@pytest.mark.parametrize(
    ("mode", "transport"), [("legacy", "http"), ("legacy", "ws"), ("2026-07-28", "http")]
)
async def test_a_server_of_the_sdk_violates_no_check(tmp_path, mode, transport):
    command = [sys.executable, str(CHILDREN / "media.py")]
    with trio.fail_after(60), daemon(tmp_path, {"one": {"command": command, "content": REFUSE}}) as running:
        async with client_of(running, "one", transport, mode) as client:
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == ["draw", "link"]
            assert tools[0].icons
            image, audio, text = (await client.call_tool("draw", {})).content
            assert (image.type, audio.type, text.type) == ("image", "audio", "text")
            assert "C:\\bin\\u200b" in text.text
            assert (await client.call_tool("link", {})).content[0].uri == "custom://My%20Vault/Note.md"
            assert (await client.read_resource("file:///bytes.bin")).contents[0].blob
            assert (await client.read_resource("note://x")).contents[0].text == "note x"
            assert len((await client.list_resources()).resources) == 1
            assert len((await client.list_resource_templates()).resource_templates) == 1
            assert (await client.get_prompt("ask")).messages
        lines = running.do("logs", "one", "-n", "200").stdout
    assert "content_" not in lines
