"""An issuer of access tokens: keys, tokens with chosen headers and claims, and an HTTP server with the JWK Set."""

import base64
import contextlib
import hmac
import http.server
import json
import threading
import time

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from mcpbridged.bridge.config.access_token_settings import AccessTokenSettings

from .known_secrets import remember

ISSUER = "https://issuer.example"
# What a daemon needs of the issuer. Tests replace what they are about.
SETTINGS = AccessTokenSettings(
    ISSUER,
    "https://mcp.example",
    "",
    None,
    "",
    frozenset(),
    ("ES256", "RS256"),
    "scope",
    60,
    600,
    {},
)


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """One issuer with a key for ES256 and one for RS256. `issuer` may be replaced by the URL of its server."""

    def __init__(self, issuer=ISSUER):
        self.issuer = issuer
        self.keys = {
            "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
            "rsa": RSAKey.generate_key(2048, {"kid": "rsa"}),
        }

    def jwks(self, *kids):
        return {"keys": [self.keys[kid].as_dict(private=False) for kid in kids or self.keys]}

    def claims(self, audience, **changes):
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "user",
            "aud": audience,
            "exp": now + 3600,
            "iat": now,
            "scope": "mcp",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, header, payload, key=None):
        """Return a token with this header and payload (an object, or bytes)."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        key = key or self.keys["ec"]
        algorithm = header["alg"]
        registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        signed = f"{part(header)}.{part(data)}"
        signature = registry.get_alg(algorithm).sign(signed.encode(), key)
        return remember(f"{signed}.{part(signature)}")

    def token(self, audience, *, kid="ec", header=None, **claims):
        algorithm = "RS256" if kid == "rsa" else "ES256"
        return self.sign(
            {"alg": algorithm, "kid": kid, "typ": "at+jwt", **(header or {})},
            self.claims(audience, **claims),
            self.keys.get(kid),
        )


def with_hmac(header, payload, secret):
    """Return a token with an HMAC by any secret, such as a public key (RFC 8725 section 2.1)."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


@contextlib.contextmanager
def serving(issuer):
    """Serve the metadata and the JWK Set of an issuer on a free port. Yields the server; `requests` are the paths."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append(self.path)
            match self.path:
                case "/jwks" if server.works:
                    body = json.dumps(issuer.jwks())
                case "/.well-known/oauth-authorization-server":
                    metadata = {
                        "issuer": issuer.issuer,
                        "jwks_uri": f"{server.url}/jwks",
                        "authorization_endpoint": f"{server.url}/authorize",
                        "token_endpoint": f"{server.url}/token",
                        "response_types_supported": ["code"],
                        "code_challenge_methods_supported": ["S256"],
                    }
                    body = json.dumps(metadata)
                case _:
                    self.send_error(500)
                    return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.works = [], True
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    issuer.issuer = server.url
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
