"""Convert the servers of another client's configuration to tables of the configuration file (TOML). Pure.

No file is read or written, and no process is started. A note shows no value, and the tables hold no variable that looks
like a secret.

Invariant: `tables.parse` accepts the result, whatever the input is.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain, count
from typing import Any, Final, cast

import attrs

from .addresses import DEFAULT_PORT
from .import_draft import Draft, Place, local_draft
from .import_entry import Entry
from .import_formats import Source, read_source
from .import_match import differences, is_bridge, is_same, lost_restrictions, origin_comment
from .import_remote import is_remote, remote_draft
from .import_sources import Client
from .import_texts import BadImport, LeftOut, listed, shown_name, toml_table
from .import_variables import Surroundings
from .schema import LONGEST_NAME, NAME
from .server_names import is_confusable
from .tables import BadConfig, parse

__all__ = ["BadImport", "Import", "Origin", "SecretFile", "import_servers"]

_NAME: Final = re.compile(NAME)
# A name that the configuration uses for itself.
_RESERVED: Final = "aggregate"


@attrs.frozen
class Origin:
    """Where a text comes from, and what its variables stand for. `client` is None for a client that is found by the content.

    `switches` is the text of the file of the client that switches servers off.
    """

    client: Client | None = None
    suffix: str = ""
    around: Surroundings = attrs.field(factory=Surroundings)
    switches: str = attrs.field(default="", repr=False)


@attrs.frozen
class SecretFile:
    """A file of mode 0600 beside the configuration. `value` is None if the user must write it; `what` names its content."""

    name: str
    value: str | None = attrs.field(repr=False)
    what: str = ""


def _no_file(_: str) -> str | None:
    return None


@attrs.define
class Import:
    """The tables of new servers, from one or several files, and a note for every difference.

    `problems` are the notes on what is missing: servers, and restrictions that no longer hold. `tables` are the servers of
    the configuration by name, the new ones included; `origins` are its comments about origins. `present` returns the content
    of a file beside the configuration: None without the file, and empty if it cannot be read.
    """

    tables: dict[str, Mapping[str, Any]] = attrs.field(factory=dict[str, Mapping[str, Any]], repr=False)
    origins: dict[str, str] = attrs.field(factory=dict[str, str])
    toml: str = attrs.field(default="", repr=False)
    added: list[str] = attrs.field(factory=list[str])
    notes: list[str] = attrs.field(factory=list[str])
    problems: list[str] = attrs.field(factory=list[str])
    files: list[SecretFile] = attrs.field(factory=list[SecretFile])
    hidden: list[str] = attrs.field(factory=list[str], repr=False)
    present: Callable[[str], str | None] = attrs.field(default=_no_file, repr=False)
    # The ports of the daemon.
    ports: Collection[int] = (DEFAULT_PORT,)

    def content_of(self, name: str) -> str | None:
        """Return the content that a file beside the configuration has after the import. None: there is no such file."""
        for file in self.files:
            if file.name == name:
                return file.value or ""
        return self.present(name)

    def secret(self, value: object) -> str:
        """Return what a value of a table of secrets stands for; empty if that is unknown."""
        if isinstance(value, Place):
            return value.value or ""
        return (self.content_of(value) or "") if isinstance(value, str) else ""


def import_servers(text: str, into: Import, origin: Origin) -> Source:
    """Add the servers of another client's configuration to an import. Raises BadImport.

    A server that the configuration already has is not added again.
    """
    source = read_source(text, origin.suffix, origin.client, origin.switches)
    around = attrs.evolve(origin.around, form=source.client.form, inputs=source.inputs)
    drafts: list[tuple[str, Draft]] = []
    for was, entry in source.servers:
        try:
            drafts.append((was, _draft(entry, around)))
        except LeftOut as reason:
            into.problems.append(f"{shown_name(was)} is left out: {reason}.")
    into.notes += [f"{note}." for note in source.notes]
    # A server with a valid name keeps it, also if the name of another becomes the same.
    for was, draft in sorted(drafts, key=lambda pair: not _NAME.match(pair[0])):
        _add(was, draft, source.client.name, into)
    return source


def _draft(entry: Entry | LeftOut, around: Surroundings) -> Draft:
    if isinstance(entry, LeftOut):
        raise entry
    if entry.project:
        around = attrs.evolve(around, project=entry.project)
    draft = remote_draft(entry, around) if is_remote(entry) else local_draft(entry, around)
    if draft.problems:
        # A tool that was switched off must not come back without notice.
        draft.keys["enabled"] = False
    return draft


def _add(was: str, draft: Draft, client: str, into: Import) -> None:
    if is_bridge(draft.keys, into.ports):
        into.notes.append(f"{shown_name(was)} is left out: it is a server of this bridge.")
        return
    comment = origin_comment(client, was)
    known = _known(was, draft, comment, into)
    if known is not None:
        _note_known(was, known, draft, into, imported=into.origins.get(comment) == known)
        return
    name = _free(_valid_name(was), {*into.tables, _RESERVED})
    keys, files = _with_files(name, draft.keys, into)
    toml = toml_table(name, _ordered(keys), comment)
    try:
        parse(toml.encode())
    except BadConfig as fault:
        into.problems.append(f"{shown_name(was)} is left out: {fault}.")
        return
    into.toml += f"{'' if not into.toml else chr(10)}{toml}"
    into.tables[name] = keys
    into.origins[comment] = name
    into.added.append(name)
    into.hidden += draft.hidden
    into.files += files
    into.notes += _notes(was, name, draft, files)
    into.problems += [f"{name}: {problem}; it is written with enabled = false." for problem in draft.problems]


def _known(was: str, draft: Draft, comment: str, into: Import) -> str | None:
    """Return the name of the server that is the same, or None.

    A server without differences comes first. Local changes are expected in a server that was there before the import, and
    not between two entries that are imported at once.
    """
    origin = into.origins.get(comment)
    names = sorted(into.tables, key=lambda name: (name != origin, _reduced(name) != _reduced(was)))
    for name in names:
        if is_same(into.tables[name], draft.keys, named=False, secret=into.secret):
            return name
    for name in names:
        named = name == origin or _reduced(name) == _reduced(was)
        if name not in into.added and is_same(into.tables[name], draft.keys, named=named, secret=into.secret):
            return name
    return None


def _reduced(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _note_known(was: str, known: str, draft: Draft, into: Import, *, imported: bool) -> None:
    """Name a server that is kept. `imported` is whether it was imported from this entry, and changed by the user since."""
    text = f"{shown_name(was)} is already there as {known}, and is kept as it is"
    lost = lost_restrictions(into.tables[known], draft.keys)
    differing = differences(into.tables[known], draft.keys, into.secret)
    if lost:
        into.problems.append(f"{text}; it lacks {listed(lost)}.")
    elif differing and not imported:
        into.problems.append(f"{text}; it has other {listed(differing)}.")
    else:
        into.notes.append(f"{text}.")


def _notes(was: str, name: str, draft: Draft, files: list[SecretFile]) -> Iterator[str]:
    if was != name:
        reason = (
            "the name is in use"
            if _NAME.match(was)
            else f"a name is {NAME.removeprefix('^').removesuffix(chr(92) + 'Z')}"
        )
        yield f"{shown_name(was)} is renamed to {name}: {reason}."
    for file in files:
        verb = "goes into" if file.value is not None else "is not known here; put it into"
        yield f"{name}: {file.what} {verb} {file.name} beside the configuration, mode 0600."
    for note in draft.notes:
        yield f"{name}: {note}."


def _with_files(name: str, keys: Mapping[str, Any], into: Import) -> tuple[dict[str, Any], list[SecretFile]]:
    """Return the keys with the names of files in place of places, and the files. No file of another secret is named."""
    found: dict[str, Any] = {}
    files: list[SecretFile] = []

    def is_taken(file: str, place: Place) -> bool:
        if any(one.name == file for one in files):
            return True
        content = into.content_of(file)
        return content is not None and place.value is not None and content != place.value

    def named(value: object) -> object:
        if not isinstance(value, Place):
            return value
        plain = f"{name}.{value.suffix}"
        others = (f"{plain}-{number}" for number in count(2))
        file = next(one for one in chain([plain], others) if not is_taken(one, value))
        files.append(SecretFile(file, value.value, value.what))
        return file

    for key, value in keys.items():
        members = cast("dict[str, Any]", value) if isinstance(value, dict) else None
        found[key] = value if members is None else {one: named(inner) for one, inner in members.items()}
    return found, files


_ORDER: Final = ("command", "url", "transport", "cwd", "enabled", "env_file", "pass_env", "tools", "limits")


def _ordered(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: keys[key]
        for key in sorted(keys, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    }


def _valid_name(name: str) -> str:
    if _NAME.match(name):
        return name
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_")[:LONGEST_NAME] or "server"


def _free(name: str, taken: Collection[str]) -> str:
    # A number does not help a name that holds the separator of tools after the name of another server.
    plain = re.sub(r"_{2,}", "-", name).rstrip("_")
    others = (f"{plain[: LONGEST_NAME - 1 - len(str(number))]}-{number}" for number in count(2))
    return next(other for other in chain([name, plain], others) if not is_confusable(other, taken))
