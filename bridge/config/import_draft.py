"""Convert a local server of another client to the keys of a table of the configuration. Pure.

A variable that is no secret gets its value. A secret, and a value that is not known here, becomes a reference: to a variable
of the daemon (pass_env), or to a file of mode 0600 (secrets).
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import attrs

from .child_environment import (
    SECRET_KEY,
    SECRET_VALUE,
    BadEnvironment,
    check_variable,
    looks_random,
    looks_secret,
)
from .expansion import literal
from .import_entry import RESTRICTS, Entry
from .import_texts import LeftOut, as_object, as_text, listed, shown_name, texts_in, why_unfit
from .import_variables import Expanded, Piece, Surroundings, expand, shown_piece
from .package_spec import find_package
from .remote import hidden_parts
from .schema import MOST_WORDS

_SHELL: Final = re.compile(r"[|&;<>$`\"'*?\\\n]")
_GLOB: Final = re.compile(r"[*?\[]")
_EVERY_TOOL: Final = "*"
# Options whose two values are a name and its value.
_PAIRS: Final = frozenset({"-H", "--headers"})
_HEADER_OPTIONS: Final = frozenset({"-H", "--header"})
_HEADER: Final = re.compile(r"([\w.-]{1,100})\s*:\s*\S")
# A header after an option of any name, or a member of JSON.
_MEMBER: Final = re.compile(r"(?:\A|[\"'{,=\s])([\w.-]{1,100})[\"']?\s*:(?:\s*[\"']|\s)\s*[^\s\"',}]")
_URL: Final = re.compile(r"(?:https?|wss?)://[^\s\"'<>\\\[\]]+", re.IGNORECASE)
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9+_=-]{20,}\Z")


@attrs.frozen
class Place:
    """A file of mode 0600 beside the configuration, named after the server and `suffix`.

    `value` is its content, or None if the user must write it. `what` names the content.
    """

    suffix: str
    value: str | None = attrs.field(repr=False)
    what: str = ""


@attrs.define
class Draft:
    """The keys of a server without its final name. A `Place` in `keys` stands for the name of a file."""

    keys: dict[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    notes: list[str] = attrs.field(factory=list[str])
    problems: list[str] = attrs.field(factory=list[str])
    # Texts that a preview must not show, because they look like secrets.
    hidden: list[str] = attrs.field(factory=list[str], repr=False)

    def table(self, key: str) -> dict[str, Any]:
        """Return a table of the keys, which is created if necessary."""
        table: dict[str, Any] = self.keys.setdefault(key, {})
        return table

    def pass_variable(self, name: str) -> None:
        """Add a variable of the daemon to those that the server gets."""
        passed: list[str] = self.keys.setdefault("pass_env", [])
        if name not in passed:
            passed.append(name)

    def leave_out(self, name: str, reason: str) -> None:
        """Name a variable or a header that is left out: as a problem, if its name is that of a restriction."""
        (self.problems if RESTRICTS.search(name) else self.notes).append(reason)

    def places(self) -> Iterator[Place]:
        """Yield the files that the keys name."""
        for value in self.keys.values():
            if isinstance(value, dict):
                yield from (one for one in cast("dict[str, Any]", value).values() if isinstance(one, Place))


def local_draft(entry: Entry, around: Surroundings) -> Draft:
    """Return the keys of a local server. Raises LeftOut."""
    draft = Draft(notes=[*entry.notes], problems=[*entry.problems])
    _read_command(entry, around, draft)
    _read_directory(entry, around, draft)
    _read_env_file(entry, around, draft)
    for key, value in as_object(entry.env or {}, "its env is not an object").items():
        _read_variable(key, value, around, draft)
    for name in _names(entry.passed):
        _pass(name, draft)
    for name in _names(entry.keyring):
        _read_keyring(name, around, draft)
    if entry.connect_seconds is not None:
        draft.notes.append("its time limit of the connection is ignored: it has no connection")
    finish(entry, draft)
    # A variable of the entry itself is not passed from the bridge.
    own = {*draft.keys.get("env", {}), *draft.keys.get("secrets", {})}
    passed = [name for name in draft.keys.pop("pass_env", []) if name not in own]
    if passed:
        draft.keys["pass_env"] = passed
        draft.notes.append(
            f"{listed(draft.keys['pass_env'])} must be set in the environment of the bridge, which passes it to the server"
        )
    return draft


def finish(entry: Entry, draft: Draft) -> None:
    """Add what local and remote servers have in common: tools, time limits, and whether the server is enabled."""
    for key, value in (("allow", entry.allow), ("deny", entry.deny)):
        if value is not None and value != "":
            _read_patterns(key, value, draft)
    if entry.switched_off:
        before = draft.keys.get("tools", {}).get("deny", [])
        _read_patterns("deny", entry.switched_off, draft)
        tools = draft.table("tools")
        tools["deny"] = [*before, *(one for one in tools.get("deny", []) if one not in before)]
    if entry.patterns:
        tools = draft.table("tools")
        tools["deny"] = [*tools.get("deny", []), *entry.patterns]
    if entry.call_seconds is not None:
        draft.table("limits")["call_seconds"] = (
            int(entry.call_seconds) if entry.call_seconds == int(entry.call_seconds) else entry.call_seconds
        )
    if not entry.enabled:
        draft.keys["enabled"] = False


def _read_patterns(key: str, value: object, draft: Draft) -> None:
    names = texts_in(value)
    if names is None or any(why_unfit(name) for name in names):
        draft.problems.append(
            f"its list of {'allowed' if key == 'allow' else 'denied'} tools is not a list of names"
        )
    elif names or key == "allow":
        if key == "allow" and _EVERY_TOOL in names:
            return
        draft.table("tools")[key] = [one for name in names for one in _patterns_of(key, name)]


def _patterns_of(key: str, name: str) -> Iterator[str]:
    """Yield the patterns for a tool. Some clients have patterns too, so a denied one is read in both ways."""
    # Gemini CLI accepts a name with arguments in parentheses, and ignores these.
    plain = name.partition("(")[0] or name
    yield _GLOB.sub(r"[\g<0>]", plain)
    if key == "deny" and _GLOB.search(plain):
        yield plain


# ---- the command


def _read_command(entry: Entry, around: Surroundings, draft: Draft) -> None:
    """Read the program and its arguments. An argument such as ./x is relative to the project of the entry."""
    # opencode has one list for the program and its arguments.
    command: object = entry.command
    first = cast("list[object]", command) if isinstance(command, list) else [command]
    args = [*first[1:], *_list(entry.args or [])]
    program = _program(first[0] if first else None, around)
    words = [Expanded((Piece("text", program),)), *_arguments(args, around)]
    texts = ["".join(piece.text for piece in word.pieces) for word in words]
    _note_package(texts, draft)
    if (
        entry.project
        and entry.cwd is None
        and any(word == "." or word.startswith(("./", "../")) for word in texts)
    ):
        draft.keys["cwd"] = literal(entry.project)
    if all(not word.missing and not _is_secret(texts, number) for number, word in enumerate(words)):
        # Clients do not expand ~ and variables in arguments, other than those that are replaced here.
        draft.keys["command"] = [*map(literal, texts)]
        return
    line = f"exec {' '.join(_shell_words(words, texts, draft))}"
    draft.keys["command"] = ["/bin/sh", "-c", literal(line)]


def _list(args: object) -> list[object]:
    if not isinstance(args, list):
        raise LeftOut("its args are not an array")
    return cast("list[object]", args)


def _program(command: object, around: Surroundings) -> str:
    if not isinstance(command, str) or not command.strip():
        raise LeftOut("it has no command")
    expanded = expand(command, around)
    program = expanded.text
    if program is None:
        raise LeftOut(f"its command needs {listed(map(shown_piece, expanded.missing))}")
    if program.startswith("~/"):
        program = f"{around.home.rstrip('/')}{program[1:]}"
    if _SHELL.search(program) or (" " in program and not program.startswith("/")):
        raise LeftOut(
            "its command has shell syntax, and no shell is involved; "
            "set command to the program, and args to its arguments"
        )
    if "/" in program and not program.startswith("/"):
        if not around.project:
            raise LeftOut(
                "its command is a relative path; use an absolute path, a name in PATH, or --project"
            )
        program = _joined(around.project, program)
    fault = why_unfit(program)
    if fault:
        raise LeftOut(f"its command {fault}")
    return program


def _joined(directory: str, path: str) -> str:
    """Return a relative path below a directory."""
    parts = directory.rstrip("/").split("/")
    for part in path.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts) or "/"


def _arguments(args: list[object], around: Surroundings) -> Iterator[Expanded]:
    if len(args) >= MOST_WORDS:
        raise LeftOut(f"it has {len(args)} arguments, and the limit is {MOST_WORDS - 1}")
    for number, value in enumerate(args, 1):
        text = as_text(value)
        fault = "is neither a text nor a number" if text is None else why_unfit(text)
        if text is None or fault:
            raise LeftOut(f"argument {number} {fault}")
        expanded = expand(text, around)
        # A secret stays a reference to its variable.
        word = expand(text, around, keep=True) if expanded.secret else expanded
        for piece in word.missing:
            if piece.kind not in ("variable", "input"):
                raise LeftOut(
                    f"argument {number} needs {shown_piece(piece)}; name the project with --project"
                )
        fault = why_unfit(word.text or "")
        if fault:
            raise LeftOut(f"argument {number} {fault}")
        yield word


def _is_secret(texts: list[str], number: int) -> bool:
    """Return whether a word looks like a secret, by itself or by the words before it."""
    word, before = texts[number], texts[number - 1] if number else ""
    option, _, value = word.partition("=")
    named = before if before.startswith("-") and "=" not in before and not word.startswith("-") else ""
    if number > 1 and (texts[number - 2] in _PAIRS or (texts[number - 2] == "-e" and _has_pairs(texts))):
        named = before
    header = _HEADER.match(word) if before in _HEADER_OPTIONS else None
    return bool(
        SECRET_VALUE.search(word)
        or (value and SECRET_KEY.search(option))
        or (word and SECRET_KEY.search(named))
        or (header and SECRET_KEY.search(header[1]))
        or any(SECRET_KEY.search(found[1]) for found in _MEMBER.finditer(word))
        or any(any(hidden_parts(found[0])) for found in _URL.finditer(word))
        or is_random(value or word)
    )


def _has_pairs(texts: list[str]) -> bool:
    """Return whether -e has two values, as in mcp-proxy. It has one in Docker."""
    return any("mcp-proxy" in text for text in texts)


def is_random(text: str) -> bool:
    """Return whether a text is one word that looks random, as the token of a service without a known prefix."""
    return _LONG_WORD.match(text) is not None and looks_random(text)


def _shell_words(words: list[Expanded], texts: list[str], draft: Draft) -> Iterator[str]:
    """Yield the words for a shell that inserts variables, because an argument of the configuration can hold no secret."""
    for number, (word, text) in enumerate(zip(words, texts, strict=True)):
        if word.missing:
            yield _referring(word, draft)
            draft.notes.append(f"argument {number} gets its value from a variable, which a shell inserts")
        elif _is_secret(texts, number):
            name = f"ARGUMENT_{number}"
            draft.table("secrets")[name] = Place(name, text, f"argument {number}")
            draft.notes.append(
                f"argument {number} looks like a secret, and is kept in a file; a shell inserts it, and ps(1) shows it"
            )
            yield f'"${name}"'
        else:
            yield shlex.quote(text)


def _referring(word: Expanded, draft: Draft) -> str:
    parts: list[str] = []
    for piece in word.pieces:
        if piece.kind == "text":
            parts.append(re.sub(r'([$`"\\])', r"\\\1", piece.text))
            continue
        name = piece.text
        if piece.kind == "variable":
            _pass(name, draft)
        else:
            name = f"INPUT_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"[:64]
            draft.table("secrets")[name] = Place(name, None, shown_piece(piece))
        parts.append(f"${{{name}}}")
    return f'"{"".join(parts)}"'


def _note_package(words: list[str], draft: Draft) -> None:
    package = find_package(words)
    if package and not package.is_pinned:
        draft.notes.append(
            f"package version not pinned (argument {package.position}): each start may run another version"
        )


# ---- directories, files and variables


def _read_directory(entry: Entry, around: Surroundings, draft: Draft) -> None:
    if found := _path("its cwd", entry.cwd, around, draft):
        draft.keys["cwd"] = found if found.startswith("~") else literal(found)


def _read_env_file(entry: Entry, around: Surroundings, draft: Draft) -> None:
    found = _path("its envFile", entry.env_file, around, draft)
    if found:
        draft.keys["env_file"] = found
        draft.notes.append(
            f"{shown_name(found)} must have mode 0600, and hold KEY=VALUE lines without expansion"
        )


def _path(what: str, value: object, around: Surroundings, draft: Draft) -> str:
    """Return an absolute path, or one that begins with ~; empty with a problem for another value."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        draft.problems.append(f"{what} is ignored: it is not a text")
        return ""
    expanded = expand(value, around)
    path = expanded.text
    if path is None:
        draft.problems.append(f"{what} is ignored: it needs {listed(map(shown_piece, expanded.missing))}")
        return ""
    if fault := why_unfit(path):
        draft.problems.append(f"{what} is ignored: it {fault}")
        return ""
    if path == "~" or path.startswith(("/", "~/")):
        return path
    if path.startswith("~") or not around.project:
        draft.problems.append(
            f"{what} is ignored: it is relative to the project of the client; name it with --project"
        )
        return ""
    return _joined(around.project, path)


def _read_variable(key: str, value: object, around: Surroundings, draft: Draft) -> None:
    text = as_text(value)
    try:
        check_variable(key, text or "")
    except BadEnvironment as fault:
        draft.leave_out(key, f"a variable is left out: {fault}")
        return
    if text is None:
        draft.leave_out(key, f"{key} is left out: it is neither a text nor a number")
        return
    if unfit := why_unfit(text):
        draft.leave_out(key, f"{key} is left out: it {unfit}")
        return
    kept = expand(text, around, keep=True).alone
    if kept is not None and kept.kind == "variable" and kept.text == key and kept.default is None:
        draft.pass_variable(key)
        return
    if kept is not None and kept.kind == "file":
        draft.table("secrets")[key] = kept.text
        draft.notes.append(f"{key} is read from the file that the client names; it must have mode 0600")
        return
    _write_variable(key, text, around, draft)


def _write_variable(key: str, text: str, around: Surroundings, draft: Draft) -> None:
    expanded = expand(text, around)
    found = expanded.text
    if found is None:
        draft.table("secrets")[key] = Place(key, None, f"{key} ({_needs(expanded)} of the client)")
    elif found and (expanded.secret or looks_secret(key, found) or is_random(found)):
        draft.table("secrets")[key] = Place(key, found, key)
    elif fault := why_unfit(found):
        draft.leave_out(key, f"{key} is left out: it {fault}")
    else:
        draft.table("env")[key] = found
    if found is not None and expanded.replaced:
        draft.notes.append(f"{key} gets the present value of {listed(expanded.replaced)}")


def _needs(expanded: Expanded) -> str:
    return listed(map(shown_piece, expanded.missing))


def _names(value: object) -> Iterator[str]:
    """Yield the names of variables in a list of names, or of objects with a name."""
    for one in cast("list[object]", value) if isinstance(value, list) else []:
        name = cast("Mapping[str, object]", one).get("name") if isinstance(one, dict) else one
        if isinstance(name, str):
            yield name


def _pass(name: str, draft: Draft) -> None:
    try:
        check_variable(name)
    except BadEnvironment as fault:
        draft.notes.append(f"a variable is left out: {fault}")
        return
    draft.pass_variable(name)


def _read_keyring(name: str, around: Surroundings, draft: Draft) -> None:
    try:
        check_variable(name)
    except BadEnvironment as fault:
        draft.notes.append(f"a variable is left out: {fault}")
        return
    if name not in draft.keys.get("env", {}) and name not in draft.keys.get("secrets", {}):
        value = around.environment.get(name)
        draft.table("secrets")[name] = Place(
            name, value or None, f"{name} (kept in the keyring of the client)"
        )
