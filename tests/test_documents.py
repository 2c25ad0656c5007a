"""The documents match the program: options, commands, keys, limits, exit codes, figures, links and language."""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import tomllib
import types
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
import pytest

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper_options import options_parser
from mcpbridged.bridge.config import load, schema, tables
from mcpbridged.bridge.config.child_environment import GROUPS, LOADERS, STEERING, USUAL_GROUPS
from mcpbridged.bridge.config.credentials import default_token_directory
from mcpbridged.bridge.config.expansion import EXPANDED
from mcpbridged.bridge.core import exit_codes
from mcpbridged.bridge.core.request_rates import RequestRates
from mcpbridged.bridge.daemon.session_list import SessionStatus
from mcpbridged.bridge.daemon.status import ServerStatus, Status
from mcpbridged.bridge.redaction import SHORTEST_SECRET
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.version import VERSION

from .support.bridge_process import PROGRAM
from .support.documents import plain

ROOT = Path(__file__).parents[1]
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
MANUAL = (ROOT / "man" / "mcp-bridge.1").read_text()
FORMAT = (ROOT / "man" / "mcp-bridge.toml.5").read_text()
SECTIONS = {
    "Top level": schema.File,
    "[listen]": schema.Listen,
    "[log]": schema.Log,
    "[audit]": schema.Audit,
    "[errors]": schema.Errors,
    "[metrics]": schema.Metrics,
    "[traces]": schema.Traces,
    "[admin]": schema.Admin,
    "[content]": schema.Content,
    "[servers.NAME]": schema.Server,
    "[servers.NAME.oauth]": schema.OAuth,
    "[oauth]": schema.OAuthStore,
    "[tokens.NAME]": schema.Token,
    "[access_tokens]": schema.AccessTokens,
    "[access_tokens.scopes.SCOPE]": schema.Scope,
    "[aggregate]": schema.Aggregate,
    "[aggregates.NAME]": schema.NamedAggregate,
}


def commands():
    [action] = [action for action in commands_parser()._actions if isinstance(action.choices, dict)]
    return action.choices


def options_of(parser: argparse.ArgumentParser):
    return {
        option
        for action in parser._actions
        if action.help != "==SUPPRESS=="
        for option in action.option_strings
    }


def options():
    return options_of(options_parser()).union(*map(options_of, commands().values()))


def section_of(page, title):
    """Return the text below a heading, with its sub-headings."""
    [(kind, text)] = re.findall(rf"^\.(S[HS]) {re.escape(title)}\n(.*)", page, re.MULTILINE | re.DOTALL)
    return re.split(r"^\.SH " if kind == "SH" else r"^\.S[HS] ", text, maxsplit=1, flags=re.MULTILINE)[0]


def heads_of(section):
    """Return the first line below each .TP, without macro, quotes and fonts."""
    return [
        re.sub(r'"([^"]*)"', r"\1", plain(line))
        for line in re.findall(r"^\.TP\n\.[BRI]+ (.*)$", section, re.MULTILINE)
    ]


def options_in(text):
    return re.findall(r"(?<![\w-])--?[A-Za-z][A-Za-z-]*", text)


def test_the_manual_has_every_option_of_the_wrapper_and_no_other():
    section = section_of(MANUAL, "OPTIONS")
    heads = " ".join(heads_of(section))
    also = " ".join(re.findall(r"^Also\n(.*)$", plain(section), re.MULTILINE))  # a second name
    assert sorted(options_in(f"{heads} {also}")) == sorted(options_of(options_parser()))


def entries_of_commands():
    """Return the first line and the whole text of each command."""
    section = section_of(MANUAL, "COMMANDS")
    heads = heads_of(section)
    return {
        head.partition(" ")[0]: (head, plain(text))
        for head, text in zip(heads, section.split(".TP\n")[1:], strict=True)
    }


def test_the_manual_has_every_command_in_order():
    assert list(entries_of_commands()) == list(COMMANDS)
    assert set(commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_every_option_of_a_command_and_no_other(name):
    common, _, _ = section_of(MANUAL, "COMMANDS").partition(".TP\n")
    head, _ = entries_of_commands()[name]
    assert set(options_in(f"{plain(common)} {head}")) == options_of(commands()[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_every_argument_of_a_command(name):
    head, text = entries_of_commands()[name]
    for action in commands()[name]._actions:
        if not action.option_strings and action.choices is None:
            assert set(action.metavar.split("|")) <= set(re.findall(r"[A-Z]+", head))
        elif action.choices is not None:
            assert set(action.choices) <= set(re.findall(r"[\w-]+", text))


def test_the_manual_names_no_option_that_is_not_there():
    assert set(re.findall(r"(?<![\w-])--[A-Za-z][A-Za-z-]*", plain(MANUAL))) <= options()


def test_the_manual_has_every_exit_code():
    written = re.findall(r"^\.TP\n(.*)$", section_of(MANUAL, "EXIT STATUS"), re.MULTILINE)
    codes = {value for name, value in vars(exit_codes).items() if name.startswith("EX_")}
    assert [int(code) for code in written] == sorted(codes)


def test_the_manual_has_every_limit_with_its_default():
    listed = MANUAL.split(".SH LIMITS\n")[1].split(".SH ")[0]
    written = {
        name: float(value) for name, value in re.findall(r'^\.BR (\w+) " \(([^)]+)\)"$', listed, re.MULTILINE)
    }
    assert written == {field.name: float(field.default) for field in attrs.fields(Limits)}


@pytest.mark.parametrize(
    ("section", "cls"),
    [("The daemon", Status), ("Each server", ServerStatus), ("Each session", SessionStatus)],
)
def test_the_manual_has_every_member_of_the_status_with_its_type(section, cls):
    written = re.findall(r'^\.TP\n\.BR (\w+) " \(([^,)]*).*\)"$', section_of(MANUAL, section), re.MULTILINE)
    hints = get_type_hints(cls)
    assert written == [(name, kind_of(hints[name])) for name in cls.__struct_fields__]


def kind_of(hint, plural=""):
    """Return the name of a type and its limits in the manuals."""
    if get_origin(hint) is Annotated:
        metas = [meta for meta in hint.__metadata__ if isinstance(meta, msgspec.Meta)]
        return limited(
            kind_of(hint.__origin__, plural), {k: v for meta in metas for k, v in bounds_of(meta).items()}
        )
    args = get_args(hint)
    if hint == int | float:
        return f"number{plural}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(kind_of(one) for one in args if one is not types.NoneType)
    if get_origin(hint) is Literal:
        return ", ".join(json.dumps(value) for value in args)
    if get_origin(hint) is tuple:
        return f"array of {kind_of(args[0], 's')}"
    if get_origin(hint) is dict:
        keys = f" by {kind_of(args[0])}" if get_origin(args[0]) is Literal else ""
        return f"table of {kind_of(args[1], 's')}{keys}"
    kinds = {
        bool: "true or false",
        str: f"string{plural}",
        int: f"whole number{plural}",
        float: f"number{plural}",
        datetime: f"date and time{plural}",
    }
    return kinds.get(hint) or f"{'table' if attrs.has(hint) else 'object'}{plural}"


def bounds_of(meta):
    return {
        key: getattr(meta, key)
        for key in ("ge", "le", "pattern", "min_length", "max_length")
        if getattr(meta, key) is not None
    }


def limited(kind, bounds):
    if "pattern" in bounds:
        kind += " of the form " + bounds["pattern"].removeprefix("^").removesuffix(r"\Z")
    if "ge" in bounds:
        kind += f" from {bounds['ge']}" + (f" to {bounds['le']}" if "le" in bounds else "")
    if kind.startswith("array") and "min_length" in bounds:
        most = f" to {bounds['max_length']}" if "max_length" in bounds else " or more"
        kind = kind.replace("array of ", f"array of {bounds['min_length']}{most} ")
    return kind


def default_of(field):
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):
        return "default empty"
    if field.default is None:
        return "default none"
    return "default " + msgspec.json.encode(field.default).decode()


@pytest.mark.parametrize("section", SECTIONS)
def test_the_manual_of_the_configuration_has_every_key_with_its_default_and_meaning(section):
    cls = SECTIONS[section]
    text = plain(section_of(FORMAT, section))
    entries = re.findall(r'^\.TP\n\.BR (\w+) " \((.*); ([^;]*)\)"\n(.*)$', text, re.MULTILINE)
    assert len(entries) == text.count(".TP\n")
    hints = get_type_hints(cls, include_extras=True)
    for name, kind, default, meaning in entries:
        [described] = [meta.description for meta in get_args(hints[name])[1:] if meta.description]
        assert meaning == described
        assert default == default_of(attrs.fields_dict(cls)[name])
        assert kind == kind_of(hints[name])
    assert [name for name, *_ in entries] == [field.name for field in attrs.fields(cls)]


def test_the_manual_of_the_configuration_has_every_table():
    classes = {value for value in vars(schema).values() if isinstance(value, type) and attrs.has(value)}
    assert {cls for cls in classes if ".config." in cls.__module__} == set(SECTIONS.values())
    assert re.findall(r"^\.SS (.*)$", section_of(FORMAT, "KEYS"), re.MULTILINE) == list(SECTIONS)


def test_the_manual_of_the_configuration_has_its_limits():
    text = plain(FORMAT)
    [longest] = [meta.max_length for meta in schema.Text.__metadata__]
    assert f"A string has at most {longest} characters." in text
    assert f"at most {tables.LARGEST_FILE // 2**20} MiB, with at most {tables._MOST_SERVERS} servers" in text
    assert f"Secrets of {SHORTEST_SECRET} characters or more" in text


def test_the_manual_of_the_configuration_has_every_variable_that_is_refused():
    [line] = re.findall(r"are refused:\n(.*)\.$", section_of(FORMAT, "ENVIRONMENT"), re.MULTILINE)
    assert line.split(", ") == sorted(LOADERS)


def test_the_manual_of_the_configuration_has_every_variable_of_references():
    [line] = re.findall(r"^The variables are\n(.*)\.$", section_of(FORMAT, "REFERENCES"), re.MULTILINE)
    assert line.replace(" and ", ", ").split(", ") == list(EXPANDED)


def test_the_manual_of_the_configuration_has_the_length_of_names():
    assert f"has 1 to {schema.LONGEST_NAME} letters, digits, dashes and underscores" in FORMAT


def test_the_manual_of_the_configuration_has_every_group_of_variables():
    section = section_of(FORMAT, "ENVIRONMENT")
    entries = dict(re.findall(r"^\.TP\n\.B @(\w+)\n((?:(?!\.TP|\.PP).*\n)*)", section, re.MULTILINE))
    assert list(entries) == list(GROUPS)
    for group, text in entries.items():
        assert f"{', '.join(GROUPS[group])}." in text
    usual, _, _ = section.partition("The following give a server the power")
    assert re.findall(r"^\.B @(\w+)$", usual, re.MULTILINE) == list(USUAL_GROUPS)
    head = " ".join(section.partition(".PP")[0].split())
    assert f"the groups {', '.join(USUAL_GROUPS[:-1])} and {USUAL_GROUPS[-1]}" in head


def test_the_manual_of_the_configuration_has_every_variable_that_no_client_may_set():
    [line] = re.findall(
        r"must not begin with\n(.*),$", section_of(FORMAT, "HEADERS OF CLIENTS"), re.MULTILINE
    )
    assert line.replace(" or ", ", ").split(", ") == list(STEERING)


def test_the_example_of_the_manual_is_a_valid_configuration():
    example = plain(section_of(FORMAT, "EXAMPLES").split(".nf\n")[1].split(".fi")[0])
    file = tables.parse(example.encode())
    assert set(file.servers) == {"git", "search", "tracker"}
    # Without secrets the whole file can be read.
    servers = {
        name: attrs.evolve(server, secrets={}, secret_headers={}) for name, server in file.servers.items()
    }
    settings = load.build_settings(
        attrs.evolve(file, servers=servers), Path("/x/config.toml"), {"HOME": "/home/me"}
    )
    assert [server.name for server in settings.servers] == ["git", "search", "tracker", "aggregate"]


def test_the_rates_of_the_manual_are_valid():
    example = plain(section_of(FORMAT, "RATES").split(".nf\n")[1].split(".fi")[0])
    more = f'servers.git.command = "x"\ntokens.ci.sha256 = "{"ab" * 32}"\n'
    settings = load.build_settings(
        tables.parse((example + more).encode()),
        Path("/x/config.toml"),
        {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run"},
    )
    guard = RequestRates(settings.rates).guard("git")
    written = re.findall(r"^([^ ]+) = ", example, re.MULTILINE)
    found = {
        applied.key.replace('"', "")
        for principal, transport, tool in (("a", "websocket", "delete_x"), ("ci", "http", "git_push"))
        for applied in guard.applied(principal, transport, tool)
    }
    # The server has a rate of its own.
    assert found == {key.replace('"', "") for key in written} - {"rates.server"}


PAGES = ["mcp-bridge.1", "mcp-bridge-connect.1", "mcp-bridge.toml.5"]


@pytest.mark.parametrize("page", PAGES)
def test_a_macro_of_a_manual_stands_at_the_beginning_of_its_line(page):
    # Elsewhere a macro is text, and no linter of manuals reports it.
    assert re.findall(r".* \.[A-Z]{1,2} .*", (ROOT / "man" / page).read_text()) == []


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
@pytest.mark.parametrize("page", PAGES)
def test_a_manual_is_set_without_a_warning(page):
    done = subprocess.run(
        ["man", "--warnings", "-l", str(ROOT / "man" / page)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    if shutil.which("mandoc"):
        subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(ROOT / "man" / page)], check=True)


def test_the_configuration_in_the_readme_passes_the_check_as_it_stands(tmp_path):
    text = (
        (ROOT / "README.md")
        .read_text()
        .split("    # ~/.config/mcp-bridge/config.toml\n")[1]
        .split("\nThen ")[0]
    )
    tmp_path.chmod(0o700)
    file = tmp_path / "config.toml"
    file.write_text("".join(f"{line.removeprefix('    ')}\n" for line in text.splitlines()))
    file.chmod(0o600)
    for program in ("uvx", "npx"):
        (tmp_path / program).symlink_to("/bin/true")
    done = subprocess.run(
        [PROGRAM, "config", "check", "--config", str(file)],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{file}: 2 servers, 1 token, no errors\n"), done.stderr


def test_the_places_of_the_token_in_the_readme_are_right(tmp_path):
    text = (ROOT / "README.md").read_text()
    token = "/mcp-bridge/token"
    for given in ({}, {"XDG_RUNTIME_DIR": "/run/me"}):
        usual = default_token_directory("", {"HOME": "/home/me", **given}) / "token"
        assert f"`~{str(usual).removeprefix('/home/me')}`" in text
    assert str(default_token_directory("", {"HOME": "/", "XDG_STATE_HOME": "/s"})) + "/token" == f"/s{token}"
    assert f"`$XDG_STATE_HOME{token}`" in text


def test_the_first_paragraph_of_the_readme_names_the_system():
    assert "runs on Linux" in (ROOT / "README.md").read_text().split("\n\n")[1]


def test_the_next_steps_of_make_run_have_every_way_to_connect():
    # Another target prints the variable, so that nothing is installed or served.
    done = subprocess.run(
        ["make", "--eval=steps:\n\t@printf '%s\\n' \"$$NEXT_STEPS\"", "steps", "PORT=9999"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/home/me"},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in (
        "claude mcp add --transport http example http://127.0.0.1:9999/mcp",
        "npx @modelcontextprotocol/inspector --cli http://127.0.0.1:9999/mcp",
        "curl http://127.0.0.1:9999/mcp",
        "http://127.0.0.1:9999/sse",
        "ws://127.0.0.1:9999/ws",
        "Ctrl-C",
        "Authorization: Bearer $(cat /home/me/.local/state/mcp-bridge/token)",
    ):
        assert line in done.stdout


def cells(line):
    return [cell.strip(" *") for cell in line.strip("|").split("|")]


def test_the_comparison_in_the_readme_has_the_figures_that_were_measured():
    measured = read("benchmarks/RESULTS.md")
    rate = {}
    for row in measured.splitlines():
        name, *figures = cells(row)
        if len(figures) == 10 and figures[0].isdecimal():
            rate.setdefault((name, figures[0]), figures[1:3])
    rows = [
        cells(row)
        for row in section_of_markdown(read("README.md"), "How it compares")
        if row.startswith("| ")
    ]
    for name, one, sixteen, many, cpu, _ in rows[1:]:
        assert [one, sixteen, many] == [rate[name, connections][0] for connections in ("1", "16", "64")]
        assert cpu == rate[name, "16"][1]
    text = " ".join(read("README.md").split())
    [ratio] = re.findall(r"16 connections, against mcp-proxy \(npm\) \| ≥ 10 × \| (\S+) ×", measured)
    [floor] = re.findall(r"16 connections, against the floor \| ≥ 0.85 × \| (\S+) ×", measured)
    assert f"{float(ratio):.1f} times mcp-proxy (npm) and {floor} of the floor" in text
    assert f"({rate['supergateway ws', '32'][0]} against {rate['mcp-bridge ws', '32'][0]} per second" in text


def section_of_markdown(text, title):
    return re.split(r"^## ", text.split(f"## {title}\n")[1], flags=re.MULTILINE)[0].splitlines()


# ---- security


def read(document):
    return (ROOT / document).read_text()


def without_code(document):
    """Return a Markdown document without blocks and spans of code."""
    text = re.sub(r"^ *```.*?^ *```$", "", read(document), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))


def test_the_support_statement_is_the_same_everywhere():
    for document in ("README.md", "SECURITY.md"):
        assert "provided as is, without support" in read(document)


def test_the_version_is_one():
    project = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert re.findall(r"^For mcp-bridge (\S+)\.$", read("SECURITY.md"), re.MULTILINE) == [project]
    assert metadata.version("mcpbridged") == VERSION == project


def test_the_purpose_is_stated_in_each_document_of_entry():
    for document in ("README.md", "SECURITY.md", "docs/threat-model.md"):
        words = " ".join(read(document).split())
        assert "for one user's machine, not for the edge of the Internet" in words


def test_weaknesses_can_be_reported_in_private():
    text = read("SECURITY.md")
    assert "*Security*, *Advisories*, *Report a vulnerability*" in text
    for severity, time in (("critical, high", "1 week"), ("medium", "2 weeks"), ("low", "4 weeks")):
        assert f"| {severity} | within {time} |" in text


def test_each_version_of_the_changelog_has_a_section_on_security():
    _, *versions = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions
    for version in versions:
        assert re.search(r"^### Security\n\n- ", version, re.MULTILINE), version.partition("\n")[0]


def test_every_row_of_the_threat_model_names_existing_tests():
    rows = re.findall(r"^\| ([STRIDE]) \|(.*)\|(.*)\|(.*)\|$", read("docs/threat-model.md"), re.MULTILINE)
    assert {row[0] for row in rows} == set("STRIDE")
    for _, threat, _, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, threat
        assert tests.count("`") == 2 * len(named), threat
        for file, name in named:
            assert re.search(rf"^(?:async )?def {name}\(", read(file), re.MULTILINE), f"{file}::{name}"


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/incident.md"])
def test_each_claim_of_the_security_documents_names_existing_tests(document):
    _, _, table = read(document).partition("\n## What this page relies on\n")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 5
    for claim, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, claim
        assert tests.count("`") == 2 * len(named), claim
        for file, name in named:
            assert re.search(rf"^(?:async )?def {name}\(", read(file), re.MULTILINE), f"{file}::{name}"


def test_every_invariant_names_its_tests():
    invariants = re.findall(
        r"^- \*\*Invariant (I\d+):\*\* ((?:.+\n)+?)(?=- |\n)", read("ARCHITECTURE.md"), re.MULTILINE
    )
    assert [number for number, _ in invariants] == [f"I{index + 1}" for index in range(len(invariants))]
    for number, text in invariants:
        assert re.search(r"`tests/[\w/.]+`", text), number


def test_the_architecture_has_a_reason_for_each_dependency():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = [wanted for extra in project["optional-dependencies"].values() for wanted in extra]
    names = {re.split(r"[<>=]", wanted)[0] for wanted in project["dependencies"] + extras}
    rows = [
        cells(line)
        for line in section_of_markdown(read("ARCHITECTURE.md"), "Dependencies")
        if line.startswith("| ")
    ]
    assert {row[0] for row in rows[1:]} == names
    assert all(row[1] for row in rows)


def test_the_glossary_is_short_and_sorted():
    rows = [
        cells(line)
        for line in section_of_markdown(read("ARCHITECTURE.md"), "Glossary")
        if line.startswith("| ")
    ]
    terms = [row[0] for row in rows[1:]]
    assert terms == sorted(terms)
    assert len(terms) <= 25


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_an_old_python_is_refused_before_it_is_in_the_venv(tmp_path):
    # A .venv of an old Python would be used again, with any later value of PYTHON.
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "install", f"PYTHON={old}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "pyproject.toml"]


# ---- the language of the texts that a user reads

# Words of a private language, in which programs talk and people are pronouns (CONTRIBUTING.md, Language).
PRIVATE = re.compile(
    r"\b(anybody|asks?|asked|believe[ds]?|blotted|brings?|brought|dead|desk|dies|doubtful|everybody|forgets?|forgotten"
    r"|heard|hears?|its like|mend|mended|mends|nobody|ours|said|says|seldom|somebody|tells?|told|us|wary|whoever)\b",
    re.IGNORECASE,
)
# The usual names of features, by which a user searches.
USUAL = (
    "access log",
    "circuit breaker",
    "environment variable",
    "graceful shutdown",
    "health check",
    "rate limit",
    "redact",
    "reverse proxy",
)


def private_words(text):
    return {word.lower() for word in PRIVATE.findall(text)}


def descriptions():
    """Return the descriptions of the keys of the configuration, which the manual and the JSON Schema share."""
    return [
        meta.description
        for cls in SECTIONS.values()
        for hint in get_type_hints(cls, include_extras=True).values()
        for meta in get_args(hint)[1:]
        if meta.description
    ]


@pytest.mark.parametrize(
    "document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md", *DOCS]
)
def test_no_document_uses_private_words(document):
    assert private_words(without_code(document)) == set()


def test_the_guide_for_contributors_uses_private_words_only_where_it_forbids_them():
    before, _, rules = without_code("CONTRIBUTING.md").partition("## Language")
    assert private_words(before + rules.partition("\n## ")[2]) == set()


@pytest.mark.parametrize("page", PAGES)
def test_no_manual_uses_private_words(page):
    text = plain(read(f"man/{page}"))
    for described in descriptions():
        text = text.replace(described, "")
    assert private_words(text) == set()


def test_no_description_of_a_key_uses_private_words():
    found = {("key", word) for text in descriptions() for word in private_words(text)}
    assert found == set()


def test_no_help_uses_private_words():
    texts = [parser.format_help() for parser in (options_parser(), *commands().values())]
    found = {("--help", word) for text in texts for word in private_words(text)}
    assert found == set()


def test_no_error_uses_private_words():
    found = set()
    for path in (
        path for top in ("bridge", "transports", "validators") for path in (ROOT / top).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                words = private_words(" ".join(text for text in texts if isinstance(text, str)))
                found |= {(path.name, word) for word in words}
    assert found == set()


def test_features_have_their_usual_names():
    for text in (read("README.md"), " ".join(read(f"man/{page}") for page in PAGES)):
        words = " ".join(text.split()).lower()
        assert [
            name for name in USUAL if name not in words and name.replace("proxy", "proxies") not in words
        ] == []


def test_lines_of_the_readme_are_short():
    assert [line for line in read("README.md").splitlines() if len(line) > 120] == []


def test_the_access_document_has_every_key_of_credentials():
    text = read("docs/ACCESS.md")
    optional = {"ca_file", "clock_skew_seconds", "refresh_seconds", "tokens", "features"}
    for cls in (schema.Token, schema.AccessTokens, schema.Scope):
        for field in attrs.fields(cls):
            assert field.name in text or field.name in optional, field.name
