"""Statements of a document about the program: options, keys, codes, names and paths. Each function returns what is wrong.

A document is given as its name and text, so that tests can plant faults.
"""

import argparse
import http
import re
from collections.abc import Iterator
from functools import cache

import attrs

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper_options import options_parser
from mcpbridged.bridge.core import exit_codes
from mcpbridged.bridge.core.metric_families import FAMILIES
from mcpbridged.bridge.core.metric_text import HISTOGRAM
from mcpbridged.bridge.events.catalog import EVENTS

from ..support.command_lines import commands_in, usage_fault
from ..support.documents import ROOT, paragraphs_of, plain, spans_of
from . import keys

SOURCES = ("bridge", "transports", "validators", "entry")
CODES = {value for name, value in vars(exit_codes).items() if name.startswith("EX_")}
# Exit codes of other programs, each with a word of the sentence that names it: make and the gates without a tool, systemd.
OTHER_CODES = {77: "make", 218: "CAPABILITIES"}
# Beside commands of the program, in sentences and tables.
_NAMED = re.compile(r"^(?:mcp-bridge )?([a-z][a-z-]*)(?= |$)")


@cache
def sources() -> str:
    """Return the text of the program, its units, completions and container files."""
    files = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    files += sorted((ROOT / "systemd").iterdir())
    files += [
        path
        for path in sorted((ROOT / "bridge").rglob("static-files/*"))
        if path.suffix in {".js", ".html", ".css"}
    ]
    files += [ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "Containerfile"]
    return "\n".join(path.read_text() for path in files)


@cache
def words() -> frozenset[str]:
    """Return all words of the sources."""
    return frozenset(re.findall(r"\w+", sources()))


# ---- command lines and options


def line_faults(document: str, text: str) -> list[str]:
    """Return the command lines in spans of code that the program refuses: `mcp-bridge ...`, and `COMMAND WORD...`."""
    faults = []
    for span in spans_of(document, text):
        first, _, rest = span.text.partition(" ")
        lines = commands_in(span.text) if "mcp-bridge" in span.text else []
        if first in COMMANDS and rest and not rest.startswith("="):
            lines = [f"mcp-bridge {span.text}"]
        # A command alone is often its name and no line to type.
        lines = [
            line
            for line in lines
            if line.split()[1:] not in [[name] for name in COMMANDS]
            and re.match(r"mcp-bridge [a-zA-Z-]", line)
        ]
        faults += [
            f"{document}:{span.line}: {fault}"
            for line in lines
            if (fault := usage_fault(line)) and not _names_an_option(line, fault)
        ]
    return faults


_LINES = (
    # Bold text of a manual, a comment of a unit, the command of a unit, and that of a container.
    r'^\.[BRI]+ .*?(?<!default )"(mcp-bridge [a-z-][^"]*)"',
    r"`(mcp-bridge [a-z-][^`]*)`",
    r"^ExecStart=\S*/(mcp-bridge .*)$",
    r'\["\S*/(mcp-bridge", .*)\]',
)


def program_faults(document: str, text: str) -> list[str]:
    """Return the command lines of a manual, a unit or a container file that the program refuses."""
    lines = [line for form in _LINES for line in re.findall(form, plain(text), re.MULTILINE)]
    lines = [
        re.sub(r"[\",]+|\{\{.*?\}\}|%i", lambda found: "" if found[0][0] in '",' else "NAME", line)
        for line in lines
    ]
    lines = [line for line in lines if line.split()[1:] not in [[name] for name in COMMANDS]]
    return [
        f"{document}: {fault}"
        for line in dict.fromkeys(lines)
        if (fault := usage_fault(line)) and not _names_an_option(line, fault)
    ]


def _names_an_option(line: str, fault: str) -> bool:
    """Return whether a line is a command with an option of it, and lacks nothing but arguments: `client-config --write`."""
    _, command, *rest = line.split()
    given = [word for word in rest if word.startswith("--")]
    needed = re.search(
        "the following arguments are required|--stdio needs a command|expected (?:one|at least one) argument",
        fault,
    )
    return (
        bool(needed) and bool(given or command == "--stdio") and set(given) <= options().get(command, set())
    )


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a command and of what is below it, such as `token new`."""
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options_of(inner)
    return found


@cache
def options() -> dict[str, set[str]]:
    """Return the options of each command; that of the wrapper has the name ""."""
    [action] = [action for action in commands_parser()._actions if isinstance(action.choices, dict)]
    found = {name: options_of(parser) for name, parser in action.choices.items()}
    return {"": options_of(options_parser()), **found}


def option_faults(document: str, text: str, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Return the options in sentences that none of the commands in the same paragraph has, nor the wrapper.

    `foreign` are the options of other programs.
    """
    faults = []
    for span in spans_of(document, text):
        option = re.match(r"--[a-zA-Z][\w-]*", span.text)
        if option is None or option[0] in foreign:
            continue
        beside = {
            named[1] for other in spans_of(document, span.paragraph) if (named := _NAMED.match(other.text))
        }
        # A sentence about no command is about all of them.
        named_here = beside & set(COMMANDS) or set(COMMANDS)
        known = set().union(options()[""], *(options()[name] for name in named_here))
        if option[0] not in known:
            faults.append(f"{document}:{span.line}: no command beside it has {option[0]}")
    return faults


# ---- keys of the configuration

_STATEMENT = re.compile(r'^(?:\[[\w.]+\] )?[a-z_]+(?:\.(?:[\w-]+|"[^"]+"))* = .+$')
_TABLE = re.compile(r"^\[([a-z_]+(?:\.\w+)*)\]$")
_PATH = re.compile(r"^[a-z_]+(?:\.[a-z_]+)+$")
_FILES = (".py", ".json", ".md", ".toml", ".c", ".txt", ".yaml", ".conf")


@cache
def _tops() -> set[str]:
    return {name for cls in keys.classes() for name in _fields(cls)}


def _fields(cls: type) -> Iterator[str]:
    yield from (field.name for field in attrs.fields(cls))


def key_faults(document: str, text: str, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Return the keys, tables and values of the configuration that a file cannot have."""
    faults = []
    for span in spans_of(document, text):
        if span.text in foreign:
            continue
        if _STATEMENT.match(span.text):
            if fault := keys.statement_fault(span.text):
                faults.append(f"{document}:{span.line}: {fault}")
        elif table := _TABLE.match(span.text):
            if not keys.is_table(table[1]):
                faults.append(f"{document}:{span.line}: there is no table [{table[1]}]")
        elif (
            _PATH.match(span.text)
            and not span.text.endswith(_FILES)
            and span.text.split(".")[0] in _tops()
            and not keys.found(span.text)
        ):
            faults.append(f"{document}:{span.line}: there is no key {span.text}")
    return faults


_DEFAULT = re.compile(
    r"`([a-z_]+(?:\.[a-z_]+)*)`[^.`|]{0,60}?\(?\b(?:default|by default)[: ]*`?(\d[\d,.]*\d|\d)(?: (seconds|minutes|MiB|KiB))?"
    r"|`([a-z_]+(?:\.[a-z_]+)+)`[ (,]+(\d[\d,.]*\d|\d)\b(?! (?:to|of))"
)
_UNITS = {"": 1, "seconds": 1, "minutes": 60, "KiB": 1024, "MiB": 1024 * 1024}


def default_faults(document: str, text: str) -> list[str]:
    """Return the defaults beside keys that are not those of the program: `KEY` (default 30), `limits.KEY`, 1000."""
    return [
        f"{document}:{line}: {key} is {known} by default, and not {number:g}"
        for line, key, number in defaults_in(document, text)
        if (known := keys.default_of(key)) and number not in known
    ]


def defaults_in(document: str, text: str) -> list[tuple[int, str, float]]:
    """Return line, key and value of each default that stands beside a key."""
    found = []
    for line, _, paragraph in paragraphs_of(document, text):
        for match in _DEFAULT.finditer(" ".join(paragraph.split())):
            key, number, unit = match[1] or match[4], match[2] or match[5], match[3] or ""
            if keys.found(key):
                found.append((line, key, float(number.replace(",", "")) * _UNITS[unit]))
    return found


# ---- codes


_EXIT = re.compile(
    r"exit (?:code|status)(?:es|s)?(?: is)?(?: of)? (\d+)|\bexits? with (?:code )?(\d+)|\bends? with (?:code )?(\d+)\b(?! \w+s\b)"
    r"|\bprocess is (\d+)|\bexit status is (\d+)"
)


def exit_faults(document: str, text: str) -> list[str]:
    """Return the exit codes that neither the program has, nor a program that the sentence names."""
    faults = []
    for line, _, paragraph in paragraphs_of(document, text):
        for match in _EXIT.finditer(" ".join(paragraph.split())):
            code = int(next(filter(None, match.groups())))
            if code not in CODES and OTHER_CODES.get(code, "\0") not in text:
                faults.append(f"{document}:{line}: there is no exit code {code}")
    return faults


@cache
def error_codes() -> frozenset[int]:
    """Return the error codes of JSON-RPC in the sources."""
    return frozenset(int(code) for code in re.findall(r"-3[23]\d{3}\b", sources()))


@cache
def statuses() -> frozenset[int]:
    """Return the numbers in the sources that are HTTP statuses."""
    known = {status.value for status in http.HTTPStatus}
    return frozenset(known & {int(number) for number in re.findall(r"\b[1-5]\d\d\b", sources())})


_STATUS = re.compile(
    r"(?:\bgets? (?:a |the )?|\bstatus(?:es)? |\breturns? |\brefused with |\ba |\bwith |\bis |^\| )([1-5]\d\d)\b(?![ ]?(?:%|MiB|KiB|ms|s\b|B\b|\w*s\b|,\d|\.\d))"
)


def code_faults(document: str, text: str) -> list[str]:
    """Return the error codes of JSON-RPC and the HTTP statuses that the program does not have, and wrong names of statuses."""
    faults = []
    for line, _, paragraph in paragraphs_of(document, text):
        joined = " ".join(paragraph.split())
        codes = re.findall(r"(?<![\w-])-3[23]\d{3}\b", joined)
        faults += [
            f"{document}:{line}: there is no error code {code}"
            for code in codes
            if int(code) not in error_codes()
        ]
        for match in _STATUS.finditer(joined):
            number = int(match[1])
            known = {status.value for status in http.HTTPStatus}
            if number >= 200 and number in known and number not in statuses():
                faults.append(f"{document}:{line}: there is no status {number}")
            if (
                named := re.match(r" ([A-Z][a-z]+(?: [A-Z][a-z]+)*)(?= ?\|| ?$)", joined[match.end() :])
            ) and number in known:
                if http.HTTPStatus(number).phrase.lower() != named[1].lower():
                    faults.append(
                        f"{document}:{line}: {number} is {http.HTTPStatus(number).phrase}, not {named[1]}"
                    )
    return faults


# ---- names

_IDENTIFIER = re.compile(r"^[a-z][a-z0-9]*(?:_[a-z0-9]+)+$")
_CLASS = re.compile(r"^[A-Z][a-z]+(?:[A-Z][a-z]+)+(?:\.\w+)*$")


def name_faults(document: str, text: str, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Return the identifiers in spans of code (events, reasons, fields, metrics, classes) that no source has."""
    faults = []
    for span in spans_of(document, text):
        if _IDENTIFIER.match(span.text) or _CLASS.match(span.text):
            faults += [
                f"{document}:{span.line}: no source has {part}"
                for part in span.text.split(".")
                if part not in words() and part not in foreign
            ]
    return faults


_EVENT = re.compile(r"\b(?:events?|logged as|warning|counted \(|log) \(?`([a-z_]+)`")


@cache
def events() -> frozenset[str]:
    """Return the names of the audit events, the first argument of each call, and each constant that is a name."""
    return frozenset(EVENTS) | frozenset(
        re.findall(r"""(?:\(\s*|Final = |else |return )"([a-z][a-z_]+)\"""", sources())
    )


def event_faults(document: str, text: str) -> list[str]:
    """Return the names that a sentence calls an event and that no call of a log has."""
    faults = []
    for line, _, paragraph in paragraphs_of(document, text):
        names = _EVENT.findall(" ".join(paragraph.split()))
        faults += [f"{document}:{line}: there is no event {name}" for name in names if name not in events()]
    return faults


def metric_faults(document: str, text: str) -> list[str]:
    """Return the names of metrics that /metrics does not have, wherever they stand."""
    known = {family.name for family in FAMILIES}
    known |= {
        f"{family.name}_{part}"
        for family in FAMILIES
        if family.kind == HISTOGRAM
        for part in ("bucket", "sum", "count")
    }
    found = re.findall(
        r"\b(?:mcp_bridge|process)_[a-z_]+_(?:total|bytes|seconds|info|fds|bucket)\b|\bmcp_bridge_[a-z_]+[a-z]\b",
        text,
    )
    return [f"{document}: there is no metric {name}" for name in dict.fromkeys(found) if name not in known]


# ---- paths, targets, variables and links

_REPOSITORY = re.compile(
    r"(?<![\w/.-])((?:bridge|transports|validators|tests|benchmarks|man|docs|systemd|examples|requirements|completions|entry)/[\w./-]*)"
    r"(?:::(\w+))?"
)


def path_faults(document: str, text: str, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Return the files, folders and tests of the repository in spans of code that do not exist."""
    faults = []
    for span in spans_of(document, text):
        if span.text in foreign or not (found := _REPOSITORY.fullmatch(span.text)):
            continue
        path = ROOT / found[1]
        if not path.exists():
            # A module of a layer may be named without its suffix.
            if not path.with_name(f"{path.name}.py").exists():
                faults.append(f"{document}:{span.line}: there is no {found[1]}")
        elif found[2] and not re.search(
            rf"^(?:async )?def {found[2]}\(|^class {found[2]}\b", path.read_text(), re.MULTILINE
        ):
            faults.append(f"{document}:{span.line}: there is no {span.text}")
    return faults


_STORED = re.compile(
    r"(?:\$XDG_[A-Z_]+|~/\.(?:config|local/state|local/share|cache))/mcp-bridge/([\w./-]+\w)"
)


def stored_faults(document: str, text: str, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Return the files of the program, such as $XDG_STATE_HOME/mcp-bridge/eras.json, that no source names."""
    found = _STORED.findall(plain(text))
    unknown = [name for name in dict.fromkeys(found) if name not in foreign and not _is_stored(name)]
    return [f"{document}: no source names {name}" for name in unknown]


def _is_stored(name: str) -> bool:
    # A file for each server is made of a folder and the name of the server.
    last = name.rsplit("/", 1)[-1] if "NAME" not in name else name.split("/", maxsplit=1)[0]
    return bool(re.search(rf'["/]{re.escape(last)}["\s/.`]', sources()))


def has_variable(name: str) -> bool:
    """Return whether the Makefile uses a variable that it does not set itself, or only as a default."""
    makefile = (ROOT / "Makefile").read_text()
    form = rf"\$\((?:if \$\(|filter \w+,\$\()?{name}\)|^{name} \?="
    return re.search(form, makefile, re.MULTILINE) is not None


def target_faults(document: str, text: str, targets: set[str]) -> list[str]:
    """Return the make targets that the Makefile does not have, and its variables likewise."""
    code = [span.text for span in spans_of(document, text)]
    code += re.findall(r"^ {4,}(make .*)$", text, re.MULTILINE)
    faults = []
    for line in code:
        if found := re.match(r"make((?: [A-Z_]+=\S+)*) ([a-z][a-z0-9-]*)", line):
            if found[2] not in targets:
                faults.append(f"{document}: there is no target {found[2]}")
            variables = re.findall(r"\b([A-Z_]{3,})=", line)
            faults += [
                f"{document}: the Makefile has no variable {name}"
                for name in variables
                if not has_variable(name)
            ]
    return faults


_VARIABLE = re.compile(
    r"\b(?:MCP_BRIDGE|XDG|LISTEN|NOTIFY|WATCHDOG|CREDENTIALS|NO|FORCE|CLICOLOR|SSL|HTTPS?|ALL)_[A-Z]+(?:_[A-Z]+)*\b"
)


def variables_in(text: str) -> list[str]:
    """Return the environment variables that the program may read. Variables of examples have other names."""
    return list(dict.fromkeys(_VARIABLE.findall(text.replace("\\_", "_"))))


def anchors_of(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    found = re.findall(r"^#{1,6} (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def link_faults(document: str, text: str) -> list[str]:
    """Return the links to files and headings that do not exist."""
    faults = []
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^    .*$", "", prose, flags=re.MULTILINE))
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]+))?\)", prose):
        file = (ROOT / document).parent / target
        if target and not file.exists():
            faults.append(f"{document}: there is no {target}")
        elif anchor and (not target or file.suffix == ".md"):
            if anchor not in anchors_of(file.read_text() if target else text):
                faults.append(f"{document}: {target or document} has no heading #{anchor}")
    return faults
