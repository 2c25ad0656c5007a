"""Find credentials in bytes: keys of known forms, passwords in URLs and values of names such as `password`.

Used by the gates `secrets` (files) and `secrets_history` (all blobs of the repository). Both need the same detector in seconds.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KNOWN: Final = Path(__file__).with_name("known_secrets.txt")


@dataclass(frozen=True)
class Secret:
    """A text that looks like a credential. `digest` identifies it without showing it (known_secrets.txt)."""

    kind: str
    line: int
    digest: str


@dataclass(frozen=True)
class _Form:
    """`pattern` has the credential in its last group, or as a whole. A file without one of the `marks` is not searched."""

    kind: str
    pattern: re.Pattern[bytes]
    marks: tuple[bytes, ...]
    # Words of people and of documents have less entropy (bits for each character).
    entropy: float = 0.0


def _form(kind: str, pattern: str, *marks: str, entropy: float = 0.0) -> _Form:
    return _Form(kind, re.compile(pattern.encode()), tuple(mark.encode() for mark in marks), entropy)


FORMS: Final = (
    _form("private key", r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s|[^\n]{0,80}\n){0,4}?\s*([A-Za-z0-9+/]{40,})", "PRIVATE KEY"),
    _form("AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", "AKIA", "ASIA", "ABIA", "ACCA"),
    _form("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    _form("GitLab token", r"\bglpat-[\w-]{20,}", "glpat-"),
    _form("Slack token", r"\bxox[abeoprs]-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{20,}", "xox", "hooks.slack.com"),
    _form("Google API key", r"\bAIza[\w-]{35}", "AIza"),
    _form("Stripe key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", "k_live_", "k_test_"),
    _form("Anthropic or OpenAI key", r"\bsk-(?:ant-|proj-|svcacct-)?[\w-]{32,}", "sk-", entropy=3.5),
    _form("npm token", r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _form("PyPI token", r"\bpypi-AgE[\w-]{40,}", "pypi-AgE"),
    _form("Hugging Face token", r"\bhf_[A-Za-z]{34}\b", "hf_"),
    _form("SendGrid key", r"\bSG\.[\w-]{22}\.[\w-]{43}", "SG."),
    _form("JSON Web Token", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}", "eyJ"),
    _form("token of mcp-bridge", r"\bmcpb_[\w-]{20,}", "mcpb_", entropy=3.5),
    _form("password in a URL", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"`<>{}]{1,60}:([^\s/:@'\"`<>{}$]{3,100})@", "://", entropy=2.5),
    _form(
        "value of a secret name",
        r"""(?i:password|passwd|passphrase|secret|token|api_?-?key|access_?-?key|credential)[\w-]{0,20}["'`]?\s{0,3}(?::|=|=>)\s{0,3}b?["'`]([^\s"'`$<>{}]{12,200})["'`]""",
        *("password", "passwd", "passphrase", "secret", "token", "key", "credential"),
        *("Password", "Passphrase", "Secret", "Token", "Key", "Credential"),
        *("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "KEY", "CREDENTIAL"),
        entropy=3.6,
    ),
)  # fmt: skip

# A value that is read from elsewhere, and a name of a field or of a type.
_NO_VALUE: Final = re.compile(
    rb"[a-z]+(?:[ _./-][a-z]+)*\Z|[A-Z]+(?:[ _./-][A-Z]+)*\Z|(?:/|\.{1,2}/|~/)[\w./-]+\Z|https?://|[a-z0-9-]{1,40}\.[A-Z][A-Z0-9_]+\Z"
)
# Tests and documents write the digits in order into their credentials. A random one has them with a probability of 10^-16.
PLACEHOLDER: Final = b"0123456789"


def secrets_in(content: bytes) -> Iterator[Secret]:
    """Yield what looks like a credential in a file."""
    for form in FORMS:
        if any(mark in content for mark in form.marks):
            for match in form.pattern.finditer(content):
                value = match[form.pattern.groups]
                if PLACEHOLDER in value or (form.entropy and _NO_VALUE.match(value)):
                    continue
                if _entropy(value) >= form.entropy:
                    yield Secret(form.kind, content.count(b"\n", 0, match.start()) + 1, digest_of(value))


def known() -> set[str]:
    """Return the digests of credentials that are none, from known_secrets.txt."""
    lines = KNOWN.read_text().splitlines()
    return {line.split(maxsplit=1)[0] for line in lines if line and not line.startswith("#")}


def digest_of(value: bytes) -> str:
    """Return the text that stands for a credential in known_secrets.txt."""
    return hashlib.sha256(b"known:" + value).hexdigest()[:16]


def _entropy(value: bytes) -> float:
    """Return the entropy of a text by its characters (bits for each)."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
