"""`resource_server.py PORT ISSUER AUDIENCE`: an MCP server with the official Python SDK 2.x that accepts JWTs of an issuer.

The tool `who` returns the scopes of the token. A call of the tool `secret` needs the scope mcp:secret (403 without it).
"""

import asyncio
import json
import sys

import jwt
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

PORT, ISSUER, AUDIENCE = sys.argv[1:]
URL = f"http://127.0.0.1:{PORT}/mcp"
METADATA = f"http://127.0.0.1:{PORT}/.well-known/oauth-protected-resource/mcp"
# The key set is read again for a token with an unknown key.
keys = jwt.PyJWKClient(f"{ISSUER}/jwks", cache_jwk_set=True, cooldown_duration=0)


class Verifier:
    async def verify_token(self, token):
        try:
            key = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
            claims = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.PyJWTError as fault:
            print(f"refused: {fault}", file=sys.stderr, flush=True)
            return None
        scopes = claims.get("scope", "").split()
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=scopes, expires_at=claims["exp"]
        )


server = MCPServer(
    "resource",
    version="1.0.0",
    token_verifier=Verifier(),
    auth=AuthSettings(issuer_url=ISSUER, resource_server_url=URL, required_scopes=["mcp:basic"]),
)


@server.tool()
def who() -> str:
    return " ".join(sorted(get_access_token().scopes))


@server.tool()
def secret() -> str:
    return "the secret"


inner = server.streamable_http_app()


async def application(scope, receive, send):
    """Refuse a call of `secret` without its scope before the server sees it (RFC 6750 section 3.1)."""
    if scope["type"] != "http" or scope["method"] != "POST":
        await inner(scope, receive, send)
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    token = dict(scope["headers"]).get(b"authorization", b"").decode().partition(" ")[2]
    message = json.loads(body or b"{}")
    calls_secret = message.get("method") == "tools/call" and message["params"]["name"] == "secret"
    if (
        calls_secret
        and token
        and "mcp:secret" not in jwt.decode(token, options={"verify_signature": False})["scope"]
    ):
        challenge = f'Bearer error="insufficient_scope", scope="mcp:secret", resource_metadata="{METADATA}"'
        headers = [(b"www-authenticate", challenge.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body"})
        return
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again():
        return next(sent, None) or await receive()

    await inner(scope, again, send)


uvicorn.run(application, host="127.0.0.1", port=int(PORT), log_level="error")
