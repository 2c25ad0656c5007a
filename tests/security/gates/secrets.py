"""Credentials in the files of the repository. detect-secrets needs minutes for them; this detector needs a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import Plant, appended, new_file
from ..result import Result, checked
from ..secret_texts import known, secrets_in
from ..tools import OWN, files

CLASS: Final = "credentials"
TOOL: Final = "detector of this project"
SPEED: Final = "fast"

# Digests of packages.
_LOCK_FILES: Final = ("package-lock.json",)


def run(root: Path) -> Result:
    """Search all files that git has or would have."""
    return checked(_findings(root), OWN)


def _findings(root: Path) -> Iterator[str]:
    allowed = known()
    for path in files(root):
        if path.endswith(_LOCK_FILES):
            continue
        for secret in secrets_in((root / path).read_bytes()):
            if secret.digest not in allowed:
                yield f"{path}:{secret.line}: {secret.kind} ({secret.digest})"


# Joined here, so that this file has no credential.
_KIND: Final = "PRIVATE"
PRIVATE_KEY: Final = (
    f"-----BEGIN {_KIND} KEY-----\nMC4CAQAwBQYDK2VwBCIEIAqZ3uO1fQ7xk9WmYhVbT5nJcR2sLpE8dGtK4oXvUwHa\n"
)
AWS_KEY: Final = "AKIA" + "Q3EGRN7ZLXKVWPTD"
_TEXTS: Final = (
    ("private key", "a private key", PRIVATE_KEY),
    ("AWS access key", "an AWS access key", AWS_KEY),
    ("GitHub token", "a GitHub token", "ghp_" + "q8Zr3mVx7LtB2nWc9KsD4fHj6GyP1aUe5Ro0"),
    ("Slack token", "a Slack token", "xoxb-" + "2718281828-Zr3mVx7LtB2nWc9K"),
    ("Anthropic or OpenAI key", "a key of a model's provider", "sk-ant-" + "api03-q8Zr3mVx7LtB2nWc9KsD4fHj6GyP1aUe5Ro"),
    ("JSON Web Token", "a JSON Web Token", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiJhbGljZSJ9.q8Zr3mVx7LtB2nWc9K"),
    ("token of mcp-bridge", "a token of a daemon", "mcpb_" + "q8Zr3mVx7LtB2nWc9KsD4fHj6GyP1aUe5Ro"),
    ("password in a URL", "a password in a URL", "postgres://app:" + "q8Zr3mVx@db/app"),
    ("value of a secret name", "a password in an assignment", 'db_password = "' + 'q8Zr3mVx7LtB2nWc"'),
)  # fmt: skip

PLANTS: Final[tuple[Plant, ...]] = (
    *(
        new_file(what, path, f"{text}\n", path, kind)
        for kind, what, text in _TEXTS
        for path in [f"docs/planted_{kind.lower().replace(' ', '_')}.txt"]
    ),
    appended(
        "an AWS access key in an existing file", "README.md", AWS_KEY + "\n", "README.md:", "AWS access key"
    ),
)
