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
_ADVISORIES: Final = "pip-audit queries the database of OSV, which this tool uses as well; "
_NO_GATE: Final = "no gate covers this class yet"

# Sorted by name.
TARGETS: Final[dict[str, Target]] = {
    "actionlint": Target(
        ("workflows",), "zizmor and the schema of workflows: the package of actionlint downloads its program"
    ),
    "audit": Target(("advisories", "lock_age")),
    "bandit": Target(_RULES, "ruff has the checks of bandit (its rules S)"),
    "black": Target(_RULES, "`make lint` checks the form with ruff format, which does the work of black"),
    "check-manifest": Target(
        ("packages",), "the sdist is built twice, and has every tracked file and no other"
    ),
    "codespell": Target(("spelling",)),
    "deptry": Target(("declared_imports",)),
    "dlint": Target(
        _RULES,
        "ruff has the rules of dlint that apply (its rules S)",
    ),
    "dockle": Target((), _NO_GATE),
    "dodgy": Target(("secrets",), _SECRETS + "dodgy misses passwords in assignments"),
    "fawltydeps": Target(("declared_imports",), "deptry finds the same"),
    "flake8": Target(_RULES, "ruff has the rules of flake8 and of its plugins"),
    "gitleaks": Target(
        ("secrets", "secrets_history"),
        _SECRETS + "no package registry has gitleaks",
    ),
    "grype-scan": Target(("sbom", "advisories"), _ADVISORIES + "no package registry has grype"),
    "hadolint": Target((), _NO_GATE),
    "importchecker": Target(
        ("declared_imports", *_RULES), "deptry, and ruff for imports that are not used (F401)"
    ),
    "interrogate": Target(("docstrings",)),
    "isort": Target(_RULES, "ruff sorts imports (its rules I)"),
    "jsonlint": Target(
        ("project_metadata",), "the parser of the standard library, which here refuses keys that stand twice"
    ),
    "mandoc": Target(("manuals",), "also groff, whichever is installed"),
    "markdownlint": Target(("markdown",), "pymarkdown has the rules of markdownlint, and needs no Node.js"),
    "nodejsscan": Target(
        (),
        "`make web-lint`: eslint checks the page at /admin, which is all JavaScript of the program; there is no Node.js",
    ),
    "osv-scan": Target(("advisories",), _ADVISORIES + "no package registry has osv-scanner"),
    "pip-audit": Target(("advisories",)),
    "prospector": Target(_RULES, "ruff has the rules of the linters that prospector calls"),
    "pycodestyle": Target(_RULES, "ruff has its rules (E and W)"),
    "pydocstyle": Target(
        (*_RULES, "docstrings"), "ruff has its rules (D), and interrogate counts docstrings"
    ),
    "pylint": Target(
        _RULES, "ruff has most rules of pylint (its rules PL), and mypy and pyright find what needs types"
    ),
    "pyroma": Target(("package_metadata",)),
    "pyupgrade": Target(_RULES, "ruff has the rules of pyupgrade (its rules UP)"),
    "radon": Target(_RULES, "ruff limits the complexity of a function to 12 (C901)"),
    "sast": Target((*_RULES, "source_rules", "regular_expressions"), "static analysis for security"),
    "sbom": Target(("sbom", "licences"), "cyclonedx-py; writes build/sbom"),
    "sca": Target(
        ("lock_files", "declared_imports", "licences", "advisories", "lock_age"), "analysis of dependencies"
    ),
    "semgrep": Target(
        (*_RULES, "source_rules"),
        "rules of this project in Python do what rules for semgrep would, without its environment of 60 packages",
    ),
    "shellcheck": Target(("shell_scripts",)),
    "spellcheck": Target(("spelling",), "codespell"),
    "tomllint": Target(
        ("project_metadata",),
        "validate-pyproject for pyproject.toml, and the parser of the standard library for all TOML files",
    ),
    "trivy": Target(("advisories", "secrets", "licences"), _ADVISORIES + "trivy must download its database"),
    "unimport": Target(_RULES, "ruff finds imports that are not used (F401)"),
    "vulture": Target(("unused_code",)),
    "yamllint": Target(("yaml_files",)),
    "zizmor": Target(("workflows",)),
}
