"""Edit the configuration file: add, change and remove tables and keys, and replace the file as a whole.

Comments, order and line ends of the rest stay. tomlkit is imported for an edit only, because its import takes 40 ms.

Invariant: after every edit, the text has the values of the text before and the edit, and no other. An edit whose result
differs, because the file has a spelling that tomlkit does not edit right, is left to the user, with an error.
"""

import hashlib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from secrets import token_hex as random_name
from typing import TYPE_CHECKING, Any, Final, cast

from .credentials import BadCredential, check_trusted, sync_directory
from .schema import LONGEST_NAME
from .tables import BadConfig, parse

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.container import Container

# A file name has at most 255 bytes (NAME_MAX), and that of a draft is longer than that of its file.
_DRAFT_NAME: Final = 200
# So many backups of a file are kept: FILE.bak is the newest, FILE.bak.2 the oldest.
_MOST_BACKUPS: Final = 3


class ConfigText:
    """The text of a TOML file, which is edited without a change to its comments and its order.

    A path is a sequence of keys: `("servers", "git", "enabled")`. Every method raises BadConfig where the file has a
    spelling that cannot be edited; the text is then the same as before.
    """

    def __init__(self, text: str) -> None:
        """Raises BadConfig for a text that is not TOML."""
        # A file in which every line ends with CR LF keeps that.
        self._crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
        self._text = text.replace("\r\n", "\n") if self._crlf else text
        self._values = _loaded(self._text)

    @property
    def text(self) -> str:
        """Return the text with all edits."""
        return self._text.replace("\n", "\r\n") if self._crlf else self._text

    def get(self, path: Sequence[str]) -> object:
        """Return the value at a path, or None."""
        return _value_at(self._values, path)

    def add_server(self, name: str, keys: Mapping[str, Any]) -> None:
        """Add the table [servers.NAME] at the end of the text. The server must not exist."""
        self.add_table(("servers", name), keys)

    def remove_server(self, name: str) -> None:
        """Remove the table of a server, its inner tables, and the comment directly above it."""
        self.remove(("servers", name))

    def add_table(self, path: Sequence[str], keys: Mapping[str, Any]) -> None:
        """Add a table at the end of the text. Inner tables become dotted keys. The table must not exist."""
        import tomlkit  # noqa: PLC0415 - see the module's docstring
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - likewise

        wanted = deepcopy(self._values)
        _table_at(wanted, path[:-1], path)[path[-1]] = _plain(keys)
        lines = [f"[{tomlkit.key([*path]).as_string()}]", *_lines(keys)]
        gap = "" if not self._text else "\n" if self._text.endswith("\n") else "\n\n"
        new = f"{self._text}{gap}{chr(10).join(lines)}\n"
        if _values_of(new) != wanted:
            # The parent is an inline table, to which a header cannot add.
            document = tomlkit.parse(self._text)
            with suppress(TOMLKitError, LookupError):
                _item_at(document, path[:-1])[path[-1]] = _item(keys)
                new = document.as_string()
        self._take(new, wanted, path, lines)

    def set_key(self, path: Sequence[str], value: object) -> None:
        """Set the value of a key. A new key comes after the other keys of its table, a new table at the end of the text."""
        import tomlkit  # noqa: PLC0415 - see the module's docstring
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - likewise

        if self.get(path[:-1]) is None:
            self.add_table(path[:-1], {path[-1]: value})
            return
        plain = _plain(value)
        wanted = deepcopy(self._values)
        _table_at(wanted, path[:-1], path)[path[-1]] = plain
        document = tomlkit.parse(self._text)
        new = ""
        with suppress(TOMLKitError, LookupError):
            _set(document, path, value)
            new = document.as_string()
        self._take(new, wanted, path, _lines({path[-1]: value}))

    def remove(self, path: Sequence[str]) -> None:
        """Remove a key, or a table with its inner tables and the comment directly above it. Nothing changes without it."""
        import tomlkit  # noqa: PLC0415 - see the module's docstring
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - likewise

        if _value_at(self._values, path) is None:
            return
        wanted = deepcopy(self._values)
        del _table_at(wanted, path[:-1], path)[path[-1]]
        document = tomlkit.parse(self._text)
        new = ""
        with suppress(TOMLKitError, LookupError):
            _remove(document, path)
            new = document.as_string()
            if new.endswith("\n\n"):
                new = new.rstrip("\n") + "\n"
        self._take(new, wanted, path, ())

    def _take(self, new: str, wanted: dict[str, Any], path: Sequence[str], lines: Iterable[str]) -> None:
        found = _values_of(new)
        if found is None or _without_empty(found) != _without_empty(wanted):
            by_hand = f"add by hand: {'; '.join(lines)}" if lines else "remove it by hand"
            raise BadConfig(
                f"{'.'.join(path)}: the file has a spelling that cannot be edited here; {by_hand}"
            )
        self._text = new
        self._values = found


def _loaded(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BadConfig(str(fault)) from None


def _values_of(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _value_at(values: object, path: Sequence[str]) -> object:
    for key in path:
        if not isinstance(values, dict):
            return None
        values = cast("dict[str, object]", values).get(key)
    return values


def _table_at(values: dict[str, Any], parents: Sequence[str], path: Sequence[str]) -> dict[str, Any]:
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # a value of the file
            raise BadConfig(f"{'.'.join(path)}: {key} is not a table")
    return values


def _plain(value: object) -> Any:  # noqa: ANN401 - a value of TOML
    """Return a value with dicts and lists in place of other mappings and sequences."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("Sequence[object]", value)]
    return value


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Return a document without empty tables at its top, which an edit may leave or remove."""
    return {key: value for key, value in values.items() if value != {}}


def _lines(keys: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[str]:
    """Return a line for each key; those of inner tables are dotted."""
    import tomlkit  # noqa: PLC0415 - see the module's docstring

    lines: list[str] = []
    for key, value in keys.items():
        if isinstance(value, Mapping) and value:
            lines += _lines(cast("Mapping[str, Any]", value), (*prefix, key))
        else:
            lines.append(
                f"{tomlkit.key([*prefix, key]).as_string()} = {_item(cast('object', value)).as_string()}"
            )
    return lines


def _item(value: object) -> Any:  # noqa: ANN401 - one of several classes of tomlkit
    """Return a value that is written on one line: mappings become inline tables."""
    import tomlkit  # noqa: PLC0415 - see the module's docstring

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for key, inner in cast("Mapping[str, object]", value).items():
            table.append(key, _item(inner))
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for inner in cast("Sequence[object]", value):
            array.append(_item(inner))  # pyright: ignore[reportUnknownMemberType]  # list[Unknown] of tomlkit
        return array
    return tomlkit.item(value)


def _item_at(document: "TOMLDocument", path: Sequence[str]) -> Any:  # noqa: ANN401 - one of several classes of tomlkit
    found: Any = document
    for key in path:
        found = found[key]
    return found


def _headers(body: "Container", path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], "Container"]]:
    """Return the tables with a header, and what is in them, in the order of the text."""
    from tomlkit.items import Table  # noqa: PLC0415 - see the module's docstring

    for key, item in body.body:
        inner = (*path, key.key) if key else path
        if isinstance(item, Table):
            if not item.is_super_table() and not (key and key.is_dotted()):
                yield inner, item.value
            yield from _headers(item.value, inner)


def _set(document: "TOMLDocument", path: Sequence[str], value: object) -> None:
    table = _item_at(document, path[:-1])
    inner = [body for place, body in _headers(document) if place == tuple(path[:-1])]
    if path[-1] in table or len(inner) != 1:
        table[path[-1]] = _item(value)
        return
    # A new key comes before the comment at the end of the table, which is that of the next table.
    (body,) = inner
    last = max((number for number, (key, _) in enumerate(body.body) if key is not None), default=-1)
    rest = body.body[last + 1 :]
    del body.body[last + 1 :]
    body.append(path[-1], _item(value))
    body.body.extend(rest)


def _remove(document: "TOMLDocument", path: Sequence[str]) -> None:
    from tomlkit.items import Table  # noqa: PLC0415 - see the module's docstring

    tables = [*_headers(document)]
    start = next((at for at, (_, item) in enumerate(document.body) if isinstance(item, Table)), 0)
    above: Container | None = None
    moved: list[tuple[Container | None, list[Any]]] = []
    for (place, body), following in zip(tables, [*tables[1:], None][: len(tables)], strict=True):
        if place[: len(path)] != tuple(path):
            above = body
            if following and following[0][: len(path)] == tuple(path):
                _pop_comment(body)
        elif following is None or following[0][: len(path)] != tuple(path):
            moved.append((above, _pop_tail(body, last=following is None)))
    del _item_at(document, path[:-1])[path[-1]]
    for container, comments in moved:
        if container is not None:
            container.body.extend(comments)
        else:
            document.body[start:start] = comments


def _pop_comment(body: "Container") -> list[Any]:
    """Remove the comment lines at the end of a table, which stand directly above the next table, and return them."""
    from tomlkit.items import Comment  # noqa: PLC0415 - see the module's docstring

    first = len(body.body)
    while first and isinstance(body.body[first - 1][1], Comment):
        first -= 1
    found = body.body[first:]
    del body.body[first:]
    return found


def _pop_tail(body: "Container", *, last: bool) -> list[Any]:
    """Remove the comments that follow a table, and return them.

    A blank line separates them from the table. Without one, they are the comment of the next table, if there is one.
    """
    from tomlkit.items import Comment, Whitespace  # noqa: PLC0415 - see the module's docstring

    end = max((at for at, (key, _) in enumerate(body.body) if key is not None), default=-1) + 1
    blank = next((at for at in range(end, len(body.body)) if isinstance(body.body[at][1], Whitespace)), None)
    if blank is None:
        return [] if last else _pop_comment(body)
    found = body.body[blank + 1 :]
    del body.body[blank:]
    return found if any(isinstance(item, Comment) for _, item in found) else []


def without_token(text: str, name: str) -> str:
    """Return the text without the table of a token. Raises BadConfig as `ConfigText`."""
    config = ConfigText(text)
    config.remove(("tokens", name))
    return config.text


def token_name(client: str, server: str) -> str:
    """Return the name of the token that `client-config` makes for a client of one server."""
    name = f"{client}-{server}"
    if len(name) <= LONGEST_NAME:
        return name
    # The digest keeps two long names with the same beginning different.
    return f"{name[: LONGEST_NAME - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def with_token(
    text: str,
    name: str,
    sha256: str,
    servers: Iterable[str],
    aggregates: Iterable[str] = (),
    others: Mapping[str, object] | None = None,
) -> str:
    """Return the text with the table of another token at its end. Raises BadConfig as `ConfigText`.

    `others` are further keys of the table.
    """
    config = ConfigText(text)
    scope = {"servers": [*servers], "aggregates": [*aggregates]}
    # An absent key and an empty list mean the same where the other one has names.
    kept = {key: names for key, names in scope.items() if names} or {"servers": []}
    config.add_table(("tokens", name), {"sha256": sha256, **kept, **(others or {})})
    return config.text


def with_rotated_token(text: str, name: str, sha256: str, former: str, former_expires: datetime) -> str:
    """Return the text with another digest for a token, and that of the former one. Raises BadConfig as `ConfigText`."""
    config = ConfigText(text)
    for key, value in (("sha256", sha256), ("former", former), ("former_expires", former_expires)):
        config.set_key(("tokens", name, key), value)
    return config.text


def with_pin(text: str, name: str, pin: str) -> str:
    """Return the text with this pin in the table of a server. Raises BadConfig as `ConfigText`."""
    return with_key(text, "servers", name, "pin", pin)


def with_key(text: str, table: str, name: str, key: str, value: str) -> str:
    """Return the text with this value in `[table.name]`. Raises BadConfig as `ConfigText`."""
    config = ConfigText(text)
    config.set_key((table, name, key), value)
    return config.text


def rewrite(path: Path, text: str) -> None:
    """Replace the text of the configuration file atomically. Owner, mode and group stay. Raises BadConfig.

    A symbolic link stays: the file that it leads to is replaced, if it belongs to this user.
    """
    parse(text.encode())
    _write(path, text, backup=False)


def write_with_backup(path: Path, text: str) -> Path | None:
    """Replace the text of any file atomically, and return the file with its former text. Raises BadConfig.

    Owner, mode and group stay, and a symbolic link too. The backup is FILE.bak, beside the file and with its mode; two older
    ones are kept as FILE.bak.1 and FILE.bak.2. A file that does not exist is created with mode 0600, and its directory with 0700;
    it has no backup.
    """
    return _write(path, text, backup=True)


def _write(path: Path, text: str, *, backup: bool) -> Path | None:
    try:
        if backup and not path.is_symlink() and not path.exists():
            _create(path, text)
            return None
        target = path.resolve(strict=True)
        check_trusted(path)
        found = target.stat()
        if found.st_uid != os.geteuid():
            raise BadConfig(f"{target} belongs to uid {found.st_uid}; uid {os.geteuid()} does not replace it")
        kept = _keep(target, found) if backup else None
        _replace(target, text.encode(), found)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    except (OSError, RuntimeError) as fault:
        raise BadConfig(f"{path} cannot be written: {getattr(fault, 'strerror', None) or fault}") from None
    return kept


def _create(path: Path, text: str) -> None:
    for directory in reversed([one for one in path.parents if not one.exists()]):
        # Whatever the umask is, no other user can write to a new directory.
        directory.mkdir(mode=0o700 if directory == path.parent else 0o755, exist_ok=True)
    check_trusted(path.parent)
    draft = _draft(path, text.encode(), 0o600, None)
    try:
        # Unlike rename(2), link(2) never replaces a file that another program has just created.
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)


def _keep(target: Path, found: os.stat_result) -> Path:
    """Write the present content into FILE.bak, and return that path. Older backups move on."""
    name = target.name[:_DRAFT_NAME]
    names = [
        target.with_name(f"{name}.bak{f'.{number}' if number else ''}") for number in range(_MOST_BACKUPS)
    ]
    content = target.read_bytes()
    draft = _draft(target, content, found.st_mode & 0o777, found.st_gid)
    for newer, older in reversed([*pairwise(names)]):
        with suppress(FileNotFoundError):
            newer.replace(older)
    draft.replace(names[0])
    return names[0]


def _replace(target: Path, content: bytes, found: os.stat_result) -> None:
    draft = _draft(target, content, found.st_mode & 0o777, found.st_gid)
    try:
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def _draft(target: Path, content: bytes, mode: int, group: int | None) -> Path:
    """Write a temporary file beside a file, flush it to disk, and return its path."""
    draft = target.with_name(f".{target.name[:_DRAFT_NAME]}.{random_name(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            if group is not None and os.fstat(descriptor).st_gid != group:
                os.fchown(descriptor, -1, group)
            # After fchown, which clears some bits. The umask does not apply to fchmod.
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft
