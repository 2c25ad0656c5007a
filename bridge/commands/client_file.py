"""Write the entry of `client-config` into the file of a client. Comments and the rest of the file stay."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import attrs

from ..config.credentials import BadCredential, check_trusted
from ..config.edit import ConfigText, write_with_backup
from ..config.import_json import read_json
from ..config.import_sources import CLIENTS, client_of, places_of, project_of
from ..config.import_texts import BadImport, object_in
from ..config.import_yaml import read_yaml
from ..config.json_edit import with_member
from ..config.tables import BadConfig
from ..config.xdg import directory_in
from ..config.yaml_edit import with_entry, with_item
from .client_snippets import CONNECTION_KEYS, Snippet, file_of
from .invocation import BadUsage

_LARGEST: Final = 4 * 1024 * 1024


@attrs.frozen
class ClientFile:
    """The file of a client, with its present text; empty if it does not exist.

    `private` is whether it belongs to the user, and not to a project, whose files are often committed.
    """

    path: Path
    text: str = attrs.field(repr=False)
    private: bool = True


def client_file(client: str, given: Path | None, environment: Mapping[str, str]) -> ClientFile:
    """Return the file of a client: the given one, the first that exists, or else the most likely place.

    Raises BadUsage and BadConfig.
    """
    places = [*places_of(CLIENTS[file_of(client)], environment)]
    if given is None and directory_in(environment, "HOME") is None:
        raise BadUsage("HOME is not set, so the file of the client is not known; name it with --file")
    if given is None and not places:
        raise BadUsage(f"{client} has no usual file; name it with --file")
    path = given or _present(places)
    text = _read(path)
    project = given is not None and bool(project_of(path.absolute(), environment))
    known = client_of(path.absolute(), environment)
    return ClientFile(path, text, not (project and known is not None))


def _present(places: Sequence[Path]) -> Path:
    """Return the first file that exists, the first whose directory exists, or else the first."""
    there = [place for place in places if place.is_file()]
    return next(iter(there or [place for place in places if place.parent.is_dir()]), places[0])


def _read(path: Path) -> str:
    try:
        if not os.path.lexists(path):
            return ""
        # A FIFO would hold the open.
        if not path.is_file():
            raise BadConfig(f"{path} is not a file, or a link to nothing")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise BadConfig(f"{path} has more than {_LARGEST} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path} cannot be read: {fault}") from None


def check_writable(file: ClientFile) -> None:
    """Check that the file can be replaced, before anything is changed for it. Raises BadConfig."""
    target = file.path.resolve()
    directory = next(parent for parent in target.parents if parent.exists())
    try:
        check_trusted(file.path if target.exists() else directory)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise BadConfig(f"{file.path} cannot be written: {directory} is read-only for this user")
    if target.exists() and target.stat().st_uid != os.geteuid():
        raise BadConfig(f"{file.path} belongs to another user, and is not replaced")


def with_snippet(file: ClientFile, snippet: Snippet) -> tuple[str, bool]:
    """Return the text with the entry, and whether it replaces another. Raises BadConfig.

    Keys of the former entry that do not describe the connection stay, such as approvals and lists of tools.
    """
    try:
        former = _former(file.text, snippet)
        kept = {key: value for key, value in former.items() if key not in CONNECTION_KEYS}
        # A client that has switched the server off, or has a time limit, keeps that.
        entry = {**snippet.entry, **kept}
        return _edited(file.text, snippet, entry), bool(former)
    except BadImport as fault:
        raise BadConfig(f"{file.path}: {fault}") from None
    except BadConfig as fault:
        raise BadConfig(f"{file.path}: {fault}") from None


def _former(text: str, snippet: Snippet) -> dict[str, Any]:
    if not text.strip():
        return {}
    if snippet.language == "toml":
        found = ConfigText(text).get(snippet.path)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    top = read_yaml(text) if snippet.language == "yaml" else read_json(text)
    table, *names = snippet.path
    if names:
        return object_in(top, table, *names)
    items: object = top.get(table)
    for item in cast("list[object]", items) if isinstance(items, list) else []:
        if object_in(item).get("name") == snippet.entry["name"]:
            return object_in(item)
    return {}


def _edited(text: str, snippet: Snippet, entry: dict[str, Any]) -> str:
    if snippet.language == "json":
        return with_member(text, snippet.path, entry)
    if snippet.language == "yaml":
        table, *names = snippet.path
        return with_entry(text, table, names[0], entry) if names else with_item(text, table, entry)
    try:
        return _merged(text, snippet.path, entry)
    except BadConfig:
        config = ConfigText(text)
        config.remove(snippet.path)
        config.add_table(snippet.path, entry)
        return config.text


def _merged(text: str, path: Sequence[str], entry: Mapping[str, Any]) -> str:
    """Return a TOML text in which the keys of a table that differ are edited alone, so that its comments stay."""
    config = ConfigText(text)
    former = config.get(path)
    if not isinstance(former, dict):
        config.add_table(path, entry)
        return config.text
    known = cast("dict[str, Any]", former)
    # A new key comes after the others, and the table stays in its place.
    for key in [key for key in entry if known.get(key) != entry[key]]:
        config.set_key((*path, key), entry[key])
    for key in [key for key in known if key not in entry]:
        config.remove((*path, key))
    return config.text


def write_client_file(file: ClientFile, text: str, *, secret: bool) -> Path | None:
    """Write the text, and return the file with the former one. A file with a token gets mode 0600. Raises BadConfig.

    A file that its client has changed since it was read is not replaced.
    """
    if _read(file.path) != file.text:
        raise BadConfig(
            f"{file.path} has just been changed by another program, and was not written; try again"
        )
    if secret and file.path.exists():
        file.path.chmod(0o600)
    return write_with_backup(file.path, text)
