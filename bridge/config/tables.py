"""Read the tables of the configuration file: TOML in, the classes of `schema` out.

Each key is known and has its type afterwards. No secret is read here. An error names the file, the line, the key and the value.
"""

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec
from msgspec import Meta

from ...transports.options import LOCAL
from ...validators.limits import Limits
from .child_environment import shown
from .credentials import PRINCIPAL, BadCredential, check_trusted
from .oauth_settings import OAuth
from .remote_table import BadRemote, check_kind, check_remote
from .schema import LONGEST_NAME, NAME, VERSION, Aggregate, File, Listen, Log, Server, Token
from .server_names import find_collision
from .settings import BadLimit, changed_limits

T = TypeVar("T")
# A file of a thousand servers has some hundred KiB. In bytes.
LARGEST_FILE: Final = 1024 * 1024
_MOST_SERVERS: Final = 256
# Keys whose values may hold a secret. No error shows these values.
_NEVER_SHOWN: Final = frozenset(
    {
        "args",
        "command",
        "env",
        "client_secret",
        "headers",
        "private_key",
        "proxy",
        "secret_headers",
        "secrets",
        "sha256",
        "token",
        "url",
    }
)
# More decimal digits than Python reads as a number; TOML allows underscores between them.
_LONG_NUMBER: Final = re.compile(r"[0-9](?:_?[0-9]){4300,}")
# log.format, in its table or with a dotted key, in a text that is not valid TOML.
_FORMAT: Final = re.compile(
    r"""^\s*(?:\[\s*["']?log["']?\s*\][^\[]*?^\s*|["']?log["']?\s*\.\s*|["']?log["']?\s*=\s*\{[^}\n]*?)"""
    r"""["']?format["']?\s*=\s*["'](\w+)["']""",
    re.MULTILINE,
)
# The header of a table, and the key of a line, in their usual spellings.
_HEADER: Final = re.compile(r"\s*\[{1,2}([^\[\]]+)\]")
_KEY: Final = re.compile(r"""\s*([\w."' -]+?)\s*=""")


class BadConfig(Exception):
    """Raised for a configuration that cannot be used. The text names the file, the key, the limit and the value.

    `table` and `key` are the place in the file, if it is known.
    """

    def __init__(self, text: str, table: str = "", key: str = "") -> None:
        super().__init__(text)
        self.table = table
        self.key = key


def check_name(where: str, name: str) -> None:
    """Check the name of a server or a token. Raises BadConfig."""
    try:
        msgspec.convert(name, Annotated[str, Meta(pattern=NAME)])
    except msgspec.ValidationError:
        raise BadConfig(
            f"{where}.{name[:40]!r}: a name is 1 to {LONGEST_NAME} letters, digits, dashes and underscores, "
            "and begins with a letter or a digit"
        ) from None
    if where == "tokens" and name.lower() in (PRINCIPAL, LOCAL):
        raise BadConfig(f"tokens.{name}: the name is reserved for the owner; choose another name")


def read(path: Path) -> File:
    """Return the tables of a file that only its owner can change. Raises BadConfig."""
    try:
        if not path.exists():
            raise BadConfig(
                f"{path}: there is no such file; mcp-bridge.toml(5) describes it, and `mcp-bridge config import FILE` writes one"
            )
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
    try:
        return parse(data)
    except BadConfig as fault:
        raise BadConfig(f"{path}: {fault}") from None


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
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise BadConfig(f"is not UTF-8 at byte {fault.start} (line {line})") from None
    if text.startswith("\ufeff"):
        raise BadConfig("begins with a byte order mark, which TOML does not allow (line 1)")
    try:
        return _read_tables(_parsed(text))
    except RecursionError:
        raise BadConfig("is nested too deeply") from None
    except BadConfig as fault:
        line = find_line(text, fault.table, fault.key) if fault.key else 0
        if line:
            raise BadConfig(f"{fault} (line {line})", fault.table, fault.key) from None
        raise


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise BadConfig(str(fault)) from None
    except ValueError:
        # Python limits the digits of a decimal number (sys.set_int_max_str_digits).
        number = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, number.start()) + 1 if number else 0
        raise BadConfig(f"holds a number that is too long (line {line})") from None


def located(path: Path, fault: BadConfig) -> BadConfig:
    """Return a fault with the file, and with the line of its key where that is known."""
    line = 0
    if fault.key:
        with suppress(OSError):
            line = find_line(path.read_text(encoding="utf-8", errors="replace"), fault.table, fault.key)
    return BadConfig(f"{path}: {fault} (line {line})" if line else f"{path}: {fault}", fault.table, fault.key)


def find_line(text: str, table: str, key: str) -> int:
    """Return the number of the line with this key of a table, or 0 where the spelling is not a usual one."""
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEADER.match(line):
            inside = head[1].replace('"', "").replace("'", "").replace(" ", "")
        whole = f"{table}.{key}" if table else key
        begun = f"{inside}." if inside else ""
        named = _KEY.match(line)
        if inside == whole or inside.startswith(f"{whole}."):
            return number
        if named:
            written = begun + named[1].replace('"', "").replace("'", "").replace(" ", "")
            if written == whole or written.startswith(f"{whole}."):
                return number
    return 0


def _read_tables(table: dict[str, Any]) -> File:
    version = table.get("config_version", VERSION)
    if version != VERSION:
        raise BadConfig(f"config_version: version {VERSION} is supported, not {shown(version)}")
    if len(_sub(table, "servers")) > _MOST_SERVERS:
        raise BadConfig(f"servers: there are {len(table['servers'])}, and the limit is {_MOST_SERVERS}")
    parts: dict[str, Any] = {
        "listen": _convert(Listen, table.pop("listen", {}), "listen"),
        "log": _convert(Log, table.pop("log", {}), "log"),
        "servers": _servers(table),
        "tokens": _named(Token, table, "tokens"),
    }
    if "aggregate" in table:
        parts["aggregate"] = _convert(Aggregate, table.pop("aggregate"), "aggregate")
    rest = _convert(File, {key: value for key, value in table.items() if key not in parts}, "")
    return attrs.evolve(rest, **parts)


def _servers(table: dict[str, Any]) -> dict[str, Server]:
    """Return the servers, each of which is either a process or a remote server."""
    oauth: dict[str, OAuth] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for name, value in _sub(table, "servers").items():
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            keys[name] = tuple(given)
            if "oauth" in given:
                # Converted by itself, because unknown keys of an inner table would be ignored.
                oauth[name] = _convert(OAuth, given.pop("oauth"), f"servers.{name}.oauth")
    servers = _named(Server, table, "servers")
    if collision := find_collision(servers):
        name, reason = collision
        raise BadConfig(f"servers.{name}: {reason}", "servers", name)
    for name, server in servers.items():
        try:
            check_kind(keys[name])
            servers[name] = attrs.evolve(server, oauth=oauth.get(name))
            if "url" in keys[name]:
                check_remote(servers[name])
        except BadRemote as fault:
            raise BadConfig(f"servers.{name}: {fault}", f"servers.{name}", fault.key) from None
    return servers


def _sub(table: dict[str, Any], key: str) -> dict[str, Any]:
    sub = table.get(key, {})
    if not isinstance(sub, dict):
        raise BadConfig(f"{key} must be a table, not {type(sub).__name__}", "", key)
    return cast("dict[str, Any]", sub)


def _named(cls: type[T], table: dict[str, Any], key: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in _sub(table, key).items():
        check_name(key, name)
        found[name] = _convert(cls, value, f"{key}.{name}")
    table.pop(key, None)
    return found


def _convert(cls: type[T], value: object, where: str) -> T:
    at = f"{where}: " if where else ""
    if not isinstance(value, dict):
        parent, _, last = where.rpartition(".")
        raise BadConfig(f"{at}must be a table, not {type(value).__name__}", parent, last)
    fields_of: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)  # type: ignore[arg-type]  # a class of `schema`
    known = [field.name for field in fields_of]
    table = cast("dict[str, object]", value)
    for key in table:
        if key not in known:
            raise BadConfig(f"{at}there is no key {shown(key)}; there are {', '.join(known)}", where, key)
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for key, given in table.items():
        try:
            fields[key] = msgspec.convert(given, hints[key], strict=True)
        except msgspec.ValidationError as fault:
            if unknown := re.match(r"Invalid enum value ('.*?')(?: - at |$)", str(fault)):
                choices = ", ".join(map(repr, _choices(hints[key])))
                wrong = shown(unknown[1][1:-1])
                raise BadConfig(f"{at}{key}: there is no {wrong}; there are {choices}", where, key) from None
            reason = str(fault).replace(" - at `$", f" - at `{key}")
            instead = "" if key in _NEVER_SHOWN else f", not {shown(given)}"
            raise BadConfig(f"{at}{key}: {reason}{instead}", where, key) from None
        if _holds_zero(given):
            raise BadConfig(f"{at}{key}: holds a zero byte", where, key)
    try:
        return cls(**fields)
    except TypeError:
        missing = [
            field.name for field in fields_of if field.default is attrs.NOTHING and field.name not in fields
        ]
        raise BadConfig(f"{at}{', '.join(missing)} is missing") from None


def _choices(hint: object) -> list[str]:
    """Return the literal strings of a type, at any depth."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for inner in get_args(hint) for word in _choices(inner)]


def _holds_zero(value: object) -> bool:
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return any(map(_holds_zero, table)) or any(map(_holds_zero, table.values()))
    if isinstance(value, list):
        return any(map(_holds_zero, cast("list[object]", value)))
    return isinstance(value, str) and "\0" in value
