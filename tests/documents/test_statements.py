"""Statements in the documents about options, keys, defaults, codes, events, metrics, paths and links agree with the program."""

import re

import pytest

from ..support.documents import MANUALS, MARKDOWN, ROOT, UNITS, plain, read
from ..support.make_targets import make_targets
from . import statements

ALL = [*MARKDOWN, *MANUALS, *UNITS]
# Folders whose programs have the options and names of a document about them.
FOLDERS = {
    "benchmarks/FAIRNESS.md": ("benchmarks",),
    "benchmarks/PROFILE.md": ("benchmarks",),
    "benchmarks/README.md": ("benchmarks",),
    "docs/COMPATIBILITY.md": ("tests/matrix", "tests/clients", "tests/remote", "tests/differential"),
    "docs/FUZZING.md": ("tests/fuzz",),
    "docs/SANDBOX.md": ("tests/sandbox",),
    "docs/SECURITY-GATES.md": ("tests/security",),
    "docs/switching/mcp-proxy-npm.md": ("bridge/commands",),
    "docs/switching/mcp-proxy-pypi.md": ("bridge/commands",),
    "docs/switching/mcp-remote.md": ("bridge/commands",),
    "docs/switching/supergateway.md": ("bridge/commands",),
}
# Names of other programs and of examples, and former names, by document.
FOREIGN = {
    "CHANGELOG.md": {"default_token_changed"},  # a former name
    "docs/ACCESS.md": {"owner-token"},  # a file of the user
    "docs/AGGREGATES.md": {"git_push"},  # a tool
    "docs/CONTAINER.md": {"--format", "--secret"},  # podman
    "docs/METRICS.md": {"rule_files"},  # Prometheus
    "docs/SESSION.md": {"weather_api_key"},  # a file of the user
    "docs/proxies.md": {"client_max_body_size"},  # nginx
    "docs/releasing.md": {"--require-hashes"},  # pip
}


def text_of(document):
    return plain(read(document)) if document in MANUALS else read(document)


def foreign(document):
    """Return the words that a document has from elsewhere."""
    files = [
        path
        for folder in FOLDERS.get(document, ())
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".c", ".mjs", ".json"} and "node_modules" not in path.parts
    ]
    words = {word for path in files for word in re.findall(r"--[a-zA-Z][\w-]*|\w+", path.read_text())}
    return frozenset(words | FOREIGN.get(document, set()))


def reasons_of_access_tokens():
    """Return the reasons that are made of the fault of an access token."""
    texts = [
        (ROOT / file).read_text() for file in ("bridge/oauth/access_tokens.py", "validators/access_token.py")
    ]
    return {f"access_token_{word}" for text in texts for word in re.findall(r'"([a-z_]+)"', text)}


# A report of tests, which has commands without the name of their server.
@pytest.mark.parametrize("document", [name for name in MARKDOWN if name != "docs/COMPATIBILITY.md"])
def test_each_command_line_is_one_that_the_program_accepts(document):
    assert statements.line_faults(document, read(document)) == []


@pytest.mark.parametrize("document", [*MANUALS, *UNITS, "examples/alerts.yml", "Containerfile"])
def test_each_command_of_a_manual_a_unit_and_a_container_is_accepted(document):
    assert statements.program_faults(document, read(document)) == []


@pytest.mark.parametrize("document", MARKDOWN)
def test_each_option_is_one_of_a_command_beside_it(document):
    assert statements.option_faults(document, read(document), foreign(document)) == []


# Tables of faults have lines of Python.
_WITH_PYTHON = ("docs/MUTATION.md", "docs/PLANTED-FAULTS.md")


@pytest.mark.parametrize("document", [name for name in MARKDOWN if name not in _WITH_PYTHON])
def test_each_key_table_and_value_is_one_that_a_configuration_may_have(document):
    assert statements.key_faults(document, read(document), foreign(document)) == []


# The operators of the mutants are those of cosmic-ray.
@pytest.mark.parametrize("document", [name for name in MARKDOWN if name != "docs/MUTATION.md"])
def test_each_identifier_is_in_a_source(document):
    assert (
        statements.name_faults(document, read(document), foreign(document) | reasons_of_access_tokens()) == []
    )


@pytest.mark.parametrize("document", MARKDOWN)
def test_each_default_beside_a_key_is_that_of_the_program(document):
    assert statements.default_faults(document, read(document)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_exit_code_is_one_of_the_program(document):
    assert statements.exit_faults(document, text_of(document)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_error_code_and_status_is_one_of_the_program(document):
    assert statements.code_faults(document, text_of(document)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_event_and_metric_exists(document):
    assert statements.event_faults(document, text_of(document)) == []
    assert statements.metric_faults(document, text_of(document)) == []


@pytest.mark.parametrize("document", MARKDOWN)
def test_each_path_of_the_repository_exists(document):
    # The first column of the table has the former names.
    rows = (
        re.findall(r"^\| `([^`]+)` \|", read(document), re.MULTILINE)
        if document == "docs/module-names.md"
        else []
    )
    assert statements.path_faults(document, read(document), frozenset(rows)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_file_of_the_program_is_named_in_a_source(document):
    assert statements.stored_faults(document, text_of(document), foreign(document)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_make_target_exists(document):
    assert statements.target_faults(document, text_of(document), make_targets()) == []


@pytest.mark.parametrize("document", MARKDOWN)
def test_each_link_has_a_target(document):
    assert statements.link_faults(document, read(document)) == []


@pytest.mark.parametrize("document", ALL)
def test_each_environment_variable_is_used_by_the_program(document):
    used = statements.sources()
    assert [name for name in statements.variables_in(text_of(document)) if name not in used] == []
