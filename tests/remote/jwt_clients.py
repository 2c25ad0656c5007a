"""The official TypeScript clients, both lines, use the bridge with access tokens (JWT) of an issuer.

Each line of the output is `ok NAME` or `FAILED NAME: REASON`. Exit code 1 if a step has failed.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from login import free_port  # noqa: E402 - of this folder

from tests.support.bridge_process import EXAMPLE  # noqa: E402 - of the repository
from tests.support.daemon_process import daemon  # noqa: E402 - likewise
from tests.support.issuer import Issuer, serving  # noqa: E402 - likewise

VERSIONS = ("v1", "v2")
TIMEOUT = 60


def client(version, url, token, *how):
    """Run a client, and return what it prints."""
    done = subprocess.run(
        ["node", str(HERE / "jwt_client.mjs"), version, url, token, *how],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"error": {"text": done.stderr}, "sent": None}


def status_of(found):
    """Return the HTTP status of the error that a client prints. The 1.x line has it as the code."""
    error = found.get("error", {})
    return error.get("status") or error.get("code")


def checks(version, base, issuer):
    """Yield the name of each step, whether it has succeeded, and what the client has printed."""
    one, two = (f"{base}/servers/{name}/mcp" for name in ("one", "two"))
    good = issuer.token(base, scope="mcp:one")
    found = client(version, one, good)
    yield "a good token calls a tool", found.get("text") == "with a JWT", found
    found = client(version, one, good, "interactive")
    yield (
        "so it does in a client that can log in",
        found.get("text") == "with a JWT" and not found["sent"],
        found,
    )
    bad = issuer.token("https://elsewhere.example")
    found = client(version, one, bad)
    yield "a token for another resource is refused with 401", status_of(found) == 401, found
    found = client(version, one, bad, "interactive")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(found["sent"] or "").query))
    place = (found["sent"] or "").partition("?")[0]
    yield (
        "a client that can log in finds the authorization server, and names the resource and the scopes",
        place == f"{issuer.issuer}/authorize"
        and query.get("resource") == one
        and "mcp:one" in query.get("scope", ""),
        found,
    )
    found = client(version, two, good)
    # The 2.x line has an error of its own for this refusal, with the scope that is missing.
    named = found.get("error", {}).get("text") == 'Insufficient scope: required "mcp:two"'
    yield "a scope for another server is refused with 403", status_of(found) == 403 or named, found
    found = client(version, two, good, "interactive")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(found["sent"] or "").query))
    yield (
        "a client that can log in requests the scope that is missing",
        query.get("scope") == "mcp:two",
        found,
    )


def main() -> int:
    failed = 0
    issuer = Issuer()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(serving(issuer))
        base = f"http://127.0.0.1:{free_port()}"
        scopes = {f"mcp:{name}": {"servers": [name]} for name in ("one", "two")}
        stack.enter_context(
            daemon(
                Path(folder),
                {name: {"command": EXAMPLE} for name in ("one", "two")},
                listen={"http": base.removeprefix("http://")},
                access_tokens={"issuer": issuer.issuer, "resource": base, "scopes": scopes},
            )
        )
        for version in VERSIONS:
            for name, done, found in checks(version, base, issuer):
                failed += not done
                step = f"TypeScript {version}: {name}"
                sys.stdout.write(f"ok {step}\n" if done else f"FAILED {step}: {json.dumps(found)}\n")
                sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
