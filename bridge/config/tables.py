"""Read the tables of the configuration file: TOML in, the classes of `schema` out.

Each key is known and has its type afterwards. No secret is read here. All errors of a file are reported at once, each with file,
line, column, key and value. The modules `locate` and `wording` are imported after an error only.
"""

import re
import tomllib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast, get_type_hints

import attrs
import msgspec
from msgspec import Meta

from ...transports.options import LOCAL
from ...validators.counted import counted
from ...validators.limits import Limits
from ..core.exit_codes import EX_CONFIG, ReportedError
from .access_token_settings import AccessTokens, Scope
from .child_environment import shown
from .credentials import PRINCIPAL, BadCredential, check_trusted
from .oauth_settings import OAuth
from .remote_table import BadRemote, check_kind, remote_faults
from .schema import (
    LONGEST_NAME,
    NAME,
    VERSION,
    Admin,
    Aggregate,
    Content,
    Errors,
    File,
    Listen,
    Log,
    Metrics,
    NamedAggregate,
    OAuthStore,
    Server,
    Token,
    Traces,
)
from .server_names import find_collision
from .settings import BadLimit, changed_limits

if TYPE_CHECKING:
    from .locate import Spot

T = TypeVar("T")
# A file of a thousand servers has some hundred KiB. In bytes.
LARGEST_FILE: Final = 1024 * 1024
_MOST_SERVERS: Final = 256
_MOST_AGGREGATES: Final = 64
# Keys whose values may hold a secret. No error shows these values.
_NEVER_SHOWN: Final = frozenset(
    {
        "args",
        "assertion",
        "command",
        "client_secret",
        "env",
        "env_file",
        "env_from_header",
        "headers",
        "helper",
        "pass_env",
        "private_key",
        "proxy",
        "secret_headers",
        "secrets",
        "secret",
        "sha256",
        "token",
        "url",
        "withhold_env",
    }
)
# An error message lists so many errors.
_MOST_LISTED: Final = 40
# log.format, in its table or with a dotted key, in a text that is not valid TOML.
_FORMAT: Final = re.compile(
    r"""^\s*(?:\[\s*["']?log["']?\s*\][^\[]*?^\s*|["']?log["']?\s*\.\s*|["']?log["']?\s*=\s*\{[^}\n]*?)"""
    r"""["']?format["']?\s*=\s*["'](\w+)["']""",
    re.MULTILINE,
)


@attrs.frozen
class Fault:
    """One error of a configuration. `text` names the table, the key, the limit and the value.

    `path` leads to the value, or with `is_key` to the key, that the error is about. `file` is the file, and `spot` the place in
    it, if they are known.
    """

    text: str
    path: tuple[str | int, ...] = ()
    is_key: bool = False
    file: str = ""
    spot: "Spot | None" = None

    def __str__(self) -> str:
        if self.spot is None:
            return f"{self.file}: {self.text}" if self.file else self.text
        if not self.file:
            return f"line {self.spot.line}, column {self.spot.column}: {self.text}"
        return f"{self.file}:{self.spot.line}:{self.spot.column}: {self.text}"


class BadConfig(ReportedError):
    """Raised for a configuration that cannot be used. `faults` are all its errors; the text has a line for each.

    An error text is without the file. `table` and `key` are its place in the file, if it is known.
    """

    exit_code = EX_CONFIG

    def __init__(self, text: str = "", table: str = "", key: str = "", faults: Iterable[Fault] = ()) -> None:
        where = (*table.split("."), key) if table else (key,)
        self.faults = tuple(faults) or (Fault(text, tuple(filter(None, where))),)
        super().__init__("\n".join(self.lines()))

    def lines(self, *, with_source: bool = False) -> list[str]:
        """Return the errors as lines, with the lines of the file below them if wanted."""
        found: list[str] = []
        for fault in self.faults[:_MOST_LISTED]:
            found.append(str(fault))
            if with_source and fault.spot is not None and fault.spot.source:
                found += (f"    {fault.spot.source}", f"    {'':{fault.spot.mark}}{'^' * fault.spot.width}")
        rest = len(self.faults) - _MOST_LISTED
        return [*found, *([f"and {counted(rest, 'more error')}"] if rest > 0 else [])]

    @property
    def summary(self) -> str:
        """Return the first error, and how many others there are, on one line."""
        first = str(self.faults[0])
        return (
            f"{first} (and {counted(len(self.faults) - 1, 'more error')})" if len(self.faults) > 1 else first
        )


@attrs.define
class Reading:
    """The tables of a file, with all errors in them. A key with an error has its default value in `file`."""

    file: File
    text: str
    faults: list[Fault] = attrs.field(factory=list[Fault])
    # Whether the text is valid TOML. Otherwise some statements were left out.
    whole: bool = True

    @contextmanager
    def catch(
        self, where: str, *path: str | int, is_key: bool = False, kinds: tuple[type[Exception], ...] = ()
    ) -> Generator[None]:
        """Add an exception of the block to the errors. `where` begins its text, and `path` leads to the value."""
        try:
            yield
        except BadConfig as fault:
            self.faults.extend(fault.faults)
        except kinds as fault:
            self.add(f"{where}: {fault}" if where else str(fault), *path, is_key=is_key)

    def add(self, text: str, *path: str | int, is_key: bool = False) -> None:
        """Add an error."""
        self.faults.append(Fault(text, path, is_key))

    def has_fault(self, *path: str | int) -> bool:
        """Return whether a value, or a part of it, has an error. Other checks of it would report the same again."""
        return any(fault.path[: len(path)] == path for fault in self.faults)

    def check(self, path: Path | None = None) -> None:
        """Raise BadConfig with all errors and their places, if there are any."""
        if self.faults:
            raise BadConfig(faults=located(self.faults, self.text, path))


def check_name(where: str, name: str) -> None:
    """Check the name of a server, an aggregate or a token. Raises BadConfig."""
    try:
        msgspec.convert(name, Annotated[str, Meta(pattern=NAME)])
    except msgspec.ValidationError:
        text = (
            f"{where}.{name[:40]!r}: a name is 1 to {LONGEST_NAME} letters, digits, dashes and underscores, "
            "and begins with a letter or a digit"
        )
        raise BadConfig(faults=[Fault(text, (where, name), is_key=True)]) from None
    if where == "tokens" and name.lower() in (PRINCIPAL, LOCAL):
        text = f"tokens.{name}: the name is reserved for the owner; choose another name"
        raise BadConfig(faults=[Fault(text, (where, name), is_key=True)])


def read(path: Path) -> File:
    """Return the tables of a file that only its owner can change. Raises BadConfig with all errors of its tables."""
    reading = examine(path)
    reading.check(path)
    return reading.file


def examine(path: Path) -> Reading:
    """Return the tables of a file with the errors in them. Raises BadConfig for a file that is missing or not to be trusted."""
    try:
        if not path.exists():
            text = "there is no such file; `mcp-bridge init` writes one, and `mcp-bridge add NAME -- COMMAND` adds a server"
            raise BadConfig(faults=[Fault(text, file=str(path))])
        check_trusted(path)
        if not path.is_file():
            raise BadConfig(f"{path} is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    except OSError as fault:
        raise BadConfig(f"{path} cannot be read: {fault.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise BadConfig(f"{path} has more than {LARGEST_FILE} bytes, the limit")
    return examine_text(data)


def has_no_statement(text: str) -> bool:
    """Return whether a text has white space and comments only."""
    return all(not line or line.startswith("#") for line in map(str.strip, text.splitlines()))


def read_limits(path: Path, server: str = "") -> Limits:
    """Return the limits that the file sets for a server, or for all; the defaults where the file cannot be read."""
    try:
        file = read(path) if path.exists() else File()
        limits = changed_limits(Limits(), file.limits)
        return changed_limits(limits, file.servers[server].limits) if server in file.servers else limits
    except (BadConfig, BadLimit):
        return Limits()


def read_log_format(path: Path) -> str:
    """Return log.format of a file, also of an invalid one; `text` where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE).decode("utf-8-sig", errors="replace")
    except OSError:
        return "text"
    try:
        log: Any = tomllib.loads(text).get("log")
        form: Any = cast("dict[str, Any]", log).get("format") if isinstance(log, dict) else None
    except (ValueError, RecursionError):
        found = _FORMAT.search(text)
        form = found[1] if found else None
    return form if form == "json" else "text"


def parse(data: bytes) -> File:
    """Return the tables of a file. Every key exists and has its type. Raises BadConfig."""
    reading = examine_text(data)
    reading.check()
    return reading.file


def examine_text(data: bytes) -> Reading:
    """Return the tables in the content of a file, with the errors in them."""
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        return _unreadable(f"is not UTF-8 at byte {fault.start} (line {line})")
    if text.startswith("\ufeff"):
        return _unreadable("begins with a byte order mark, which TOML does not allow (line 1)")
    reading = Reading(File(), text)
    try:
        reading.file = _read_tables(_parsed(text, reading), reading)
    except RecursionError:
        return _unreadable("is nested too deeply")
    return reading


def _unreadable(text: str) -> Reading:
    return Reading(File(), "", [Fault(text)], whole=False)


def _parsed(text: str, reading: Reading) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError:
        from .locate import parse_all  # noqa: PLC0415 - after an error only

        table, reading.text, faults = parse_all(text)
    reading.whole = False
    reading.faults += [Fault(fault.text, spot=fault.spot) for fault in faults]
    return table


def located(faults: Iterable[Fault], text: str, path: Path | None = None) -> list[Fault]:
    """Return errors with their file and their places in its text, in the order of the places."""
    from .locate import Locator  # noqa: PLC0415 - after an error only

    locator = Locator(text)
    file = "" if path is None else str(path)
    found = [
        attrs.evolve(
            fault,
            file=fault.file or file,
            spot=fault.spot or (locator.spot(fault.path, is_key=fault.is_key) if fault.path else None),
        )
        for fault in faults
    ]
    return sorted(found, key=lambda fault: fault.spot[:2] if fault.spot else (0, 0))


def located_in(path: Path, faults: Iterable[Fault]) -> list[Fault]:
    """Return errors with this file and their places in it. The places are left out where it cannot be read any more."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return located(faults, text, path)


# Tables of which there is one. Each is converted by itself, because unknown keys of an inner table would be ignored.
_SINGLE: Final[dict[str, Any]] = {
    "listen": Listen,
    "log": Log,
    "oauth": OAuthStore,
    "metrics": Metrics,
    "errors": Errors,
    "traces": Traces,
    "admin": Admin,
    "content": Content,
}
# The same in the table of a server.
_SINGLE_OF_SERVER: Final[dict[str, Any]] = {"oauth": OAuth, "content": Content}


def _read_tables(table: dict[str, Any], reading: Reading) -> File:
    version = table.get("config_version", VERSION)
    if version != VERSION:
        reading.add(f"config_version: version {VERSION} is supported, not {shown(version)}", "config_version")
        # Another version may have other keys.
        return File()
    servers = _sub(table, "servers", reading)
    if len(servers) > _MOST_SERVERS:
        reading.add(
            f"servers: there are {len(servers)}, and the limit is {_MOST_SERVERS}", "servers", is_key=True
        )
        return File()
    parts: dict[str, Any] = {
        **{name: _convert(cls, table.pop(name, {}), (name,), reading) for name, cls in _SINGLE.items()},
        "servers": _servers(table, reading),
        "tokens": _named(Token, table, "tokens", reading),
        "aggregates": _named(NamedAggregate, table, "aggregates", reading),
    }
    if len(parts["aggregates"]) > _MOST_AGGREGATES:
        text = f"aggregates: there are {len(parts['aggregates'])}, and the limit is {_MOST_AGGREGATES}"
        reading.add(text, "aggregates", is_key=True)
    if "aggregate" in table:
        parts["aggregate"] = _convert(Aggregate, table.pop("aggregate"), ("aggregate",), reading)
    if "access_tokens" in table:
        parts["access_tokens"] = _access_tokens(table.pop("access_tokens"), reading)
    rest = _convert(File, {key: value for key, value in table.items() if key not in parts}, (), reading)
    return attrs.evolve(rest, **parts)


def _access_tokens(given: object, reading: Reading) -> AccessTokens:
    scopes: dict[str, Scope] = {}
    path = ("access_tokens", "scopes")
    if isinstance(given, dict):
        table = cast("dict[str, Any]", given)
        # Converted by themselves, because unknown keys of an inner table would be ignored.
        for name, value in _sub(table, "scopes", reading).items():
            scopes[name] = _convert(Scope, value, (*path, name), reading)
        given = {key: value for key, value in table.items() if key != "scopes"}
    return attrs.evolve(_convert(AccessTokens, given, path[:1], reading), scopes=scopes)


def _servers(table: dict[str, Any], reading: Reading) -> dict[str, Server]:
    """Return the servers, each of which is either a process or a remote server."""
    inner: dict[str, dict[str, Any]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for name, value in _sub(table, "servers", reading).items():
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            keys[name] = tuple(given)
            inner[name] = {
                key: _convert(cls, given.pop(key), ("servers", name, key), reading)
                for key, cls in _SINGLE_OF_SERVER.items()
                if key in given
            }
    servers = _named(Server, table, "servers", reading)
    if collision := find_collision(servers):
        name, reason = collision
        reading.add(f"servers.{name}: {reason}", "servers", name, is_key=True)
    for name, server in servers.items():
        servers[name] = attrs.evolve(server, **inner.get(name, {}))
        if reading.whole and name in keys:
            for fault in _kind_faults(name, servers[name], keys[name], reading):
                path = ("servers", name, *([fault.key] if fault.key else []))
                reading.add(f"servers.{name}: {fault}", *path, is_key=not fault.key)
    return servers


def _kind_faults(name: str, server: Server, keys: tuple[str, ...], reading: Reading) -> Iterator[BadRemote]:
    try:
        check_kind(keys)
    except BadRemote as fault:
        # A misspelt key is reported already.
        misspelt = any(
            one.path[:2] == ("servers", name) and one.text.endswith(("mean 'command'?", "mean 'url'?"))
            for one in reading.faults
        )
        if fault.key or not misspelt:
            yield fault
        return
    if server.url or ("url" in keys and not reading.faults):
        yield from remote_faults(server)


def _sub(table: dict[str, Any], key: str, reading: Reading) -> dict[str, Any]:
    sub = table.get(key, {})
    if isinstance(sub, dict):
        return cast("dict[str, Any]", sub)
    if not reading.has_fault(key):
        reading.add(f"{key} must be a table{_not_table(sub)}", key)
    return {}


def _named(cls: type[T], table: dict[str, Any], key: str, reading: Reading) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in _sub(table, key, reading).items():
        with reading.catch("", key, name):
            check_name(key, name)
            found[name] = _convert(cls, value, (key, name), reading)
    table.pop(key, None)
    return found


def _not_table(value: object) -> str:
    return f", not {'a list' if isinstance(value, list) else shown(value)}"


@cache
def _hints_of(cls: Any) -> dict[str, Any]:  # noqa: ANN401 - a class of `schema`
    return get_type_hints(cls, include_extras=True)


def _convert(cls: type[T], value: object, path: tuple[str, ...], reading: Reading) -> T:
    """Return the table as an object, with the default for each key that has an error."""
    at = f"{'.'.join(path)}: " if path else ""
    fields_of: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)  # type: ignore[arg-type]  # a class of `schema`
    if not isinstance(value, dict):
        reading.add(f"{at}must be a table{_not_table(value)}", *path)
        return cls(**_placeholders(fields_of, {}))
    table = cast("dict[str, object]", value)
    hints = _hints_of(cast("Any", cls))
    known = [field.name for field in fields_of]
    fields: dict[str, Any] = {}
    for key, given in table.items():
        if key not in hints:
            reading.add(f"{at}{_unknown(key, known)}", *path, key, is_key=True)
            continue
        try:
            fields[key] = msgspec.convert(given, hints[key], strict=True)
        except msgspec.ValidationError:
            reading.faults += _type_faults(hints[key], given, at, (*path, key))
            continue
        if _holds_zero(given):
            reading.add(f"{at}{key}: holds a zero byte", *path, key)
    missing = [
        field.name for field in fields_of if field.default is attrs.NOTHING and field.name not in table
    ]
    if missing and reading.whole:
        reading.add(f"{at}{', '.join(missing)} is missing", *path, is_key=True)
    return cls(**fields, **_placeholders(fields_of, fields))


def _placeholders(fields_of: "Iterable[attrs.Attribute[Any]]", given: dict[str, Any]) -> dict[str, Any]:
    """Return empty values for the required keys that have none."""
    names = [field.name for field in fields_of if field.default is attrs.NOTHING and field.name not in given]
    return {name: "" if name in ("issuer", "resource") else () for name in names}


def _unknown(key: str, known: Iterable[str]) -> str:
    from .wording import unknown_key  # noqa: PLC0415 - after an error only

    return unknown_key(key, known, _keys_of_tables())


def _keys_of_tables() -> Iterator[tuple[str, str]]:
    tables = {
        "the top of the file": File,
        **{f"[{table}]": cls for table, cls in _SINGLE.items()},
        "[servers.NAME]": Server,
        "[servers.NAME.oauth]": OAuth,
        "[servers.NAME.content]": Content,
        "[tokens.NAME]": Token,
        "[access_tokens]": AccessTokens,
        "[access_tokens.scopes.SCOPE]": Scope,
        "[aggregate]": Aggregate,
        "[aggregates.NAME]": NamedAggregate,
    }
    for name, cls in tables.items():
        for key in _hints_of(cls):
            yield key, name
    for field in attrs.fields(Limits):
        yield field.name, "[limits]"


def _type_faults(hint: object, value: object, at: str, path: tuple[str, ...]) -> Iterator[Fault]:
    from .wording import type_faults  # noqa: PLC0415 - after an error only

    key = path[-1]
    for fault in type_faults(hint, value, hidden=key in _NEVER_SHOWN):
        inner = fault.path[:-1] if fault.is_key else fault.path
        element = [f"element {part + 1}" for part in inner if isinstance(part, int)]
        name = ".".join([key, *(part for part in inner if isinstance(part, str))])
        yield Fault(f"{at}{': '.join([name, *element])}: {fault.text}", (*path, *fault.path), fault.is_key)


def _holds_zero(value: object) -> bool:
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return any(map(_holds_zero, table)) or any(map(_holds_zero, table.values()))
    if isinstance(value, list):
        return any(map(_holds_zero, cast("list[object]", value)))
    return isinstance(value, str) and "\0" in value
