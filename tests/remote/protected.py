"""Official clients log in at a real authorization server (oidc-provider) and use the bridge as a protected resource.

Each line of the output is `ok NAME` or `FAILED NAME: REASON`. Exit code 1 if a step has failed. The official Python SDK finds the
authorization server through the metadata of the bridge, registers, logs in with PKCE, and calls a tool of a stdio server.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE)]

from login import Form, free_port  # noqa: E402 - of this folder
from mcp import Client  # noqa: E402 - after the path
from mcp.client.auth import OAuthClientProvider  # noqa: E402 - likewise
from mcp.client.streamable_http import streamable_http_client  # noqa: E402 - likewise
from mcp.shared._httpx_utils import create_mcp_http_client  # noqa: E402 - likewise
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata  # noqa: E402 - likewise

from tests.support.bridge_process import EXAMPLE  # noqa: E402 - of the repository
from tests.support.daemon_process import daemon  # noqa: E402 - likewise

TIMEOUT = 60
REDIRECT = "http://127.0.0.1:1/callback"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Stops at the redirect to the client, which no server receives."""

    def redirect_request(self, request, file, code, message, headers, url):
        if url.startswith(REDIRECT):
            raise urllib.error.HTTPError(url, code, message, headers, file)
        return super().redirect_request(request, file, code, message, headers, url)


def log_in(link):
    """Log in and consent as a user does, and return the parameters of the redirect to the client."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({}), NoRedirect
    )
    place, data = link, None
    for _ in range(6):
        try:
            with opener.open(place, data, timeout=TIMEOUT) as answer:
                page, here = answer.read().decode(), answer.url
        except urllib.error.HTTPError as fault:
            return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(fault.url).query))
        form = Form(page)
        fields = form.fields | {name: "somebody" for name in ("login", "password") if name in form.fields}
        place, data = urllib.parse.urljoin(here, form.action), urllib.parse.urlencode(fields).encode()
    raise RuntimeError("the login did not end")


class Storage:
    """The tokens and the registration of one client, in memory."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def provider_for(url, storage):
    found = {}

    async def redirect(link):
        found.update(await asyncio.to_thread(log_in, link))

    async def callback():
        return AuthorizationCodeResult(code=found["code"], state=found.get("state"), iss=found.get("iss"))

    metadata = OAuthClientMetadata(
        client_name="official client",
        redirect_uris=[REDIRECT],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, storage, redirect, callback)


async def call(url, storage, mode):
    async with create_mcp_http_client(auth=provider_for(url, storage)) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            said = (await client.call_tool("echo", {"text": "through the bridge"})).content[0].text
            return names, said


def main() -> int:
    failed = 0

    def step(name, done, reason=""):
        nonlocal failed
        failed += not done
        sys.stdout.write(f"ok {name}\n" if done else f"FAILED {name}: {reason}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        url = f"{base}/servers/one/mcp"
        command = ["node", str(HERE / "oauth/authorization_server.mjs"), url, "600"]
        server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(server.kill)
        issuer = server.stdout.readline().decode().strip()
        tables = {
            "access_tokens": {
                "issuer": issuer,
                "resource": base,
                "scopes": {"mcp:basic": {"tools": {"allow": ["echo"]}}, "mcp:secret": {}},
            }
        }
        servers = {name: {"command": EXAMPLE} for name in ("one", "two")}
        running = stack.enter_context(
            daemon(Path(folder), servers, listen={"http": f"127.0.0.1:{port}"}, **tables)
        )
        storage = Storage()
        for mode in ("legacy", "auto"):
            try:
                names, said = asyncio.run(asyncio.wait_for(call(url, storage, mode), TIMEOUT))
                step(
                    f"the official Python SDK logs in and calls a tool ({mode})", said == "through the bridge"
                )
                step(f"the scopes decide which tools there are ({mode})", "echo" in names, names)
            except BaseException as fault:  # noqa: BLE001 - a step that fails
                step(f"the official Python SDK logs in and calls a tool ({mode})", False, repr(fault))
        token = storage.tokens.access_token if storage.tokens else ""
        request = urllib.request.Request(
            f"{base}/servers/two/mcp", b"{}", {"Authorization": f"Bearer {token}"}
        )
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
            step("a token for one server is refused at another one", False)
        except urllib.error.HTTPError as fault:
            challenge = fault.headers["WWW-Authenticate"]
            step(
                "a token for one server is refused at another one",
                fault.code == 401 and "audience" in challenge,
            )
        with urllib.request.urlopen(
            urllib.request.Request(f"{issuer}/control/rotate", method="POST"), timeout=TIMEOUT
        ) as answer:
            json.load(answer)
        # The pause between two requests for the keys.
        time.sleep(31)
        try:
            _, said = asyncio.run(asyncio.wait_for(call(url, Storage(), "legacy"), TIMEOUT))
            step("a token of a new key is accepted", said == "through the bridge")
        except BaseException as fault:  # noqa: BLE001 - a step that fails
            step("a token of a new key is accepted", False, repr(fault))
        if failed:
            sys.stderr.write("\n".join(running.lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
