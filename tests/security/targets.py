"""The make targets named after tools: which gates do the work of each, and why where it is not the tool itself.

The names are those of the security policy of MCP Context Forge 0.3.1, whose claims docs/POSTURE.md lists, and those of our own
tools. `make NAME` prints the note and runs the gates. The Makefile has the same names in SECURITY_TOOLS.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Target:
    """The gates of a target, and a note that says which tool does the work and why. Without gates, the target only prints."""

    gates: tuple[str, ...]
    note: str = ""


_RULES: Final = ("ruff_rules",)
_SECRETS: Final = "the detector of this project also finds the tokens of this program, and "
_NO_GATE: Final = "no gate covers this class yet"

# Sorted by name.
TARGETS: Final[dict[str, Target]] = {
    "bandit": Target(_RULES, "ruff has the checks of bandit (its rules S)"),
    "dlint": Target(
        _RULES,
        "ruff: the rules of dlint are among its rules S and ASYNC, and dlint itself has had no release since 2023",
    ),
    "dockle": Target((), _NO_GATE),
    "dodgy": Target(("secrets",), _SECRETS + "dodgy misses passwords in assignments"),
    "gitleaks": Target(
        ("secrets", "secrets_history"),
        _SECRETS + "gitleaks is in no package registry; its forms of keys are used",
    ),
    "grype-scan": Target((), _NO_GATE),
    "hadolint": Target((), _NO_GATE),
    "interrogate": Target((), _NO_GATE),
    "nodejsscan": Target(
        (),
        "`make web-lint`: eslint checks the page at /admin, which is all JavaScript of the program; there is no Node.js",
    ),
    "osv-scan": Target((), _NO_GATE),
    "pip-audit": Target((), _NO_GATE),
    "prospector": Target(_RULES, "ruff has the rules of the linters that prospector calls"),
    "pyupgrade": Target(_RULES, "ruff has the rules of pyupgrade (its rules UP)"),
    "sast": Target((*_RULES, "source_rules"), "static analysis for security"),
    "sbom": Target((), _NO_GATE),
    "semgrep": Target(
        (*_RULES, "source_rules"),
        "rules of this project in Python: semgrep needs a download of its rules, and an environment of 60 packages",
    ),
    "trivy": Target((), _NO_GATE),
}
