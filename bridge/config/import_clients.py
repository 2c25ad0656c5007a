"""Convert the servers of another client's configuration (JSON) to tables of the configuration file (TOML).

The clients are Claude Desktop, Cursor, Windsurf and VS Code. No file is read or written, and no process is started. A note
shows no value, and the tables hold no variable that looks like a secret.

Invariant: `tables.parse` accepts the result, whatever the input is.
"""

import enum
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, count, pairwise
from typing import Any, Final, cast

import attrs

from .child_environment import SECRET_KEY, SECRET_VALUE, BadEnvironment, check_variable, looks_secret
from .expansion import literal
from .import_remote import RemoteDraft, is_remote, remote_draft, remote_notes, remote_table
from .import_texts import (
    INPUT,
    PLACEHOLDER,
    LeftOut,
    as_object,
    as_text,
    listed,
    shown_name,
    toml_array,
    toml_string,
    why_unfit,
)
from .package_spec import find_package
from .schema import LONGEST_NAME, MOST_WORDS, NAME
from .server_names import is_confusable

_NAME: Final = re.compile(NAME)

_KNOWN_KEYS: Final = frozenset({"command", "args", "env", "cwd", "type", "disabled", "enabled"})

# A string, or a comment. An unterminated one extends to the end, so that the time is linear.
_COMMENT: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|//[^\n\r]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|,(?=\s*[}\]])', re.DOTALL)

_SHELL: Final = re.compile(r"[|&;<>$`\"'*?\\\n]")


class BadImport(Exception):
    """Raised for a text without servers. The text of the error is the reason."""


@attrs.frozen
class Imported:
    """`[servers.NAME]` tables, and a note for every difference to the input."""

    toml: str
    notes: tuple[str, ...]


class _Handling(enum.Enum):
    WRITTEN = enum.auto()
    PASSED = enum.auto()
    SECRET = enum.auto()


@attrs.frozen
class _Draft:
    """A server without its final name."""

    command: tuple[str, ...] = attrs.field(repr=False)
    cwd: str
    enabled: bool
    env: dict[str, str] = attrs.field(repr=False)
    passed: tuple[str, ...]
    secret: tuple[str, ...]
    notes: tuple[str, ...]


def import_servers(text: str, known: Collection[str] = ()) -> Imported:
    """Return the tables for another client's configuration. Raises BadImport.

    `known` are the names of existing servers, which the new names avoid.
    """
    drafts = {name: _draft_or_reason(entry) for name, entry in _servers(text).items()}
    names = _assigned_names((name for name, draft in drafts.items() if not isinstance(draft, str)), known)
    tables: list[str] = []
    notes: list[str] = []
    for was, draft in drafts.items():
        if isinstance(draft, str):
            notes.append(f"{shown_name(was)} is left out: {draft}.")
        elif isinstance(draft, RemoteDraft):
            tables.append(remote_table(names[was], draft))
            notes.extend([*_rename_notes(was, names[was]), *remote_notes(names[was], draft)])
        else:
            tables.append(_table(names[was], draft))
            notes.extend(_notes(was, names[was], draft))
    return Imported("\n".join(tables), tuple(notes))


# ---- from the text to the entries


def _servers(text: str) -> dict[str, Any]:
    top = _parsed(text)
    inner = top.get("mcp")
    for holder in (top, cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}):
        for key in ("mcpServers", "servers"):
            servers = holder.get(key)
            if isinstance(servers, dict) and servers:
                return cast("dict[str, Any]", servers)
    raise BadImport("no servers found: neither mcpServers nor servers is an object with entries")


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(_plain(text.removeprefix("\ufeff")))
    except json.JSONDecodeError as fault:
        raise BadImport(f"not valid JSON: line {fault.lineno}, column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise BadImport("the JSON is nested too deeply") from None
    except ValueError:
        raise BadImport("the JSON has a number with too many digits") from None
    if not isinstance(value, dict):
        raise BadImport("the JSON is not an object")
    return cast("dict[str, Any]", value)


def _plain(text: str) -> str:
    """Replace comments and trailing commas by spaces, so that positions in errors stay correct."""
    return _TRAILING.sub(_blank, _COMMENT.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    token = found[0]
    return token if token.startswith('"') else re.sub(r"[^\n\r]", " ", token)


# ---- from an entry to a draft


def _draft_or_reason(given: object) -> "_Draft | RemoteDraft | str":
    try:
        entry = as_object(given, "it is not an object")
        return remote_draft(entry) if is_remote(entry) else _draft(entry)
    except LeftOut as reason:
        return str(reason)


def _draft(entry: Mapping[str, Any]) -> _Draft:
    command = _command(entry)
    env = as_object(entry.get("env") or {}, "its env is not an object")
    handlings = {key: _handling(key, value) for key, value in env.items()}
    cwd = _directory(entry.get("cwd"))
    return _Draft(
        command=command,
        cwd=cwd,
        enabled=entry.get("disabled") is not True and entry.get("enabled") is not False,
        env={key: as_text(env[key]) or "" for key in _keys_with(_Handling.WRITTEN, handlings)},
        passed=_keys_with(_Handling.PASSED, handlings),
        secret=_keys_with(_Handling.SECRET, handlings),
        notes=(
            *_notes_on_words(command),
            *(reason for reason in handlings.values() if isinstance(reason, str)),
            *_notes_on_keys(entry, cwd),
        ),
    )


def _command(entry: Mapping[str, Any]) -> tuple[str, ...]:
    program: object = entry.get("command")
    args: object = entry.get("args") or []
    if not isinstance(program, str) or not program.strip():
        raise LeftOut("it has no command")
    if _SHELL.search(program) or (" " in program and not program.startswith("/")):
        raise LeftOut(
            "its command has shell syntax or a placeholder, and no shell is involved; "
            "set command to the program, and args to its arguments"
        )
    if "/" in program and not program.startswith("/"):
        raise LeftOut("its command is a relative path; use an absolute path, or a name in PATH")
    if not isinstance(args, list):
        raise LeftOut("its args are not an array")
    return (_word("its command", program), *_arguments(cast("list[object]", args)))


def _arguments(args: list[object]) -> Iterator[str]:
    if len(args) >= MOST_WORDS:
        raise LeftOut(f"it has {len(args)} arguments, and the limit is {MOST_WORDS - 1}")
    for number, value in enumerate(args, 1):
        yield _word(f"argument {number}", as_text(value))


def _word(what: str, text: str | None) -> str:
    fault = "is neither a text nor a number" if text is None else why_unfit(text)
    if text is None or fault:
        raise LeftOut(f"{what} {fault}")
    return text


def _directory(value: object) -> str:
    """Return a working directory that the configuration accepts; empty for another value."""
    if not isinstance(value, str) or not (value == "~" or value.startswith(("/", "~/"))):
        return ""
    return "" if PLACEHOLDER in value or why_unfit(value) else value


def _handling(key: str, value: object) -> _Handling | str:
    """Return the handling of a variable, or the reason why it is left out."""
    text = as_text(value)
    try:
        check_variable(key, text or "")
    except BadEnvironment as fault:
        return f"a variable is left out: {fault}"
    if text is None:
        return f"{key} is left out: it is neither a text nor a number"
    if text in (f"${{env:{key}}}", f"${{{key}}}"):
        return _Handling.PASSED
    if looks_secret(key, text) or INPUT in text:
        return _Handling.SECRET
    if PLACEHOLDER in text:
        return f"{key} is left out: placeholders are not supported"
    unfit = why_unfit(text)
    return f"{key} is left out: it {unfit}" if unfit else _Handling.WRITTEN


def _keys_with(wanted: _Handling, handlings: Mapping[str, _Handling | str]) -> tuple[str, ...]:
    return tuple(key for key, handling in handlings.items() if handling is wanted)


# ---- notes


def _rename_notes(was: str, name: str) -> Iterator[str]:
    if was != name:
        reason = "the name is in use" if _NAME.match(was) else "a name is [A-Za-z0-9][A-Za-z0-9_-]{0,31}"
        yield f"{shown_name(was)} is renamed to {name}: {reason}."


def _notes(was: str, name: str, draft: _Draft) -> Iterator[str]:
    yield from _rename_notes(was, name)
    if draft.secret:
        yield (
            f"{name}: secrets are not written to the configuration; put {listed(draft.secret)} "
            f"as KEY=VALUE lines into {_env_file(name)} beside it, mode 0600."
        )
    if draft.passed:
        yield f"{name}: {listed(draft.passed)} must be set in the environment of the bridge, which passes it to the server."
    for note in draft.notes:
        yield f"{name}: {note}."


def _notes_on_words(command: tuple[str, ...]) -> Iterator[str]:
    for number, (before, word) in enumerate(pairwise(command), 1):
        if PLACEHOLDER in word:
            yield f"argument {number} holds a placeholder, which is not supported: replace it by its value"
        elif _is_secret(before, word):
            yield (
                f"argument {number} looks like a secret and was copied to the configuration: "
                "use an environment variable if the server supports it"
            )
    package = find_package(command)
    if package and not package.is_pinned:
        yield f"package version not pinned (argument {package.position}): each start may run another version"


def _is_secret(before: str, word: str) -> bool:
    option, _, value = word.partition("=")
    named = before if before.startswith("-") and "=" not in before and not word.startswith("-") else ""
    return bool(
        SECRET_VALUE.search(word) or (value and SECRET_KEY.search(option)) or SECRET_KEY.search(named)
    )


def _notes_on_keys(entry: Mapping[str, Any], cwd: str) -> Iterator[str]:
    if entry.get("cwd") and not cwd:
        yield "its cwd is ignored: it is not an absolute path"
    unknown = sorted(entry.keys() - _KNOWN_KEYS)
    if unknown:
        yield f"ignored unsupported keys: {listed(map(shown_name, unknown))}"


# ---- names


def _assigned_names(wanted: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Return a valid and unique name for each wanted name. Valid names are kept and take precedence."""
    taken = set(known)
    names: dict[str, str] = {}
    for name in sorted(wanted, key=lambda name: not _NAME.match(name)):
        names[name] = _free(_valid_name(name), taken)
        taken.add(names[name])
    return names


def _valid_name(name: str) -> str:
    if _NAME.match(name):
        return name
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_")[:LONGEST_NAME] or "server"


def _free(name: str, taken: Collection[str]) -> str:
    # A number does not help a name that holds the separator of tools after the name of another server.
    plain = re.sub(r"_{2,}", "-", name).rstrip("_")
    others = (f"{plain[: LONGEST_NAME - 1 - len(str(number))]}-{number}" for number in count(2))
    return next(other for other in chain([name, plain], others) if not is_confusable(other, taken))


# ---- from a draft to its table


def _table(name: str, draft: _Draft) -> str:
    # Other clients do not expand ~ and variables in arguments.
    lines = [f"[servers.{name}]", f"command = {toml_array(map(literal, draft.command))}"]
    if draft.cwd:
        cwd = draft.cwd if draft.cwd.startswith("~") else literal(draft.cwd)
        lines.append(f"cwd = {toml_string(cwd)}")
    if not draft.enabled:
        lines.append("enabled = false")
    if draft.secret:
        lines.append(f"env_file = {toml_string(_env_file(name))}")
    if draft.passed:
        lines.append(f"pass_env = {toml_array(draft.passed)}")
    if draft.env:
        lines += ["", f"[servers.{name}.env]"]
        lines += [f"{key} = {toml_string(value)}" for key, value in draft.env.items()]
    return "\n".join(lines) + "\n"


def _env_file(name: str) -> str:
    return f"{name}.env"
