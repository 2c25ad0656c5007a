"""What a child gets to see of our environment: an allow-list, and what the operator names (attacks V28, V29)."""

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

_KEPT: Final = frozenset({"HOME", "PATH", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
_KEPT_PREFIXES: Final = ("LC_", "XDG_")
# It names our own runtime directory, where the token lives.
_KEPT_NOT: Final = frozenset({"XDG_RUNTIME_DIR"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# These make another program, or other code, run inside the child.
LOADERS: Final = frozenset(
    {
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "NODE_OPTIONS",
        "BASH_ENV",
        "ENV",
        "PYTHONSTARTUP",
        "PYTHONPATH",
    }
    | {"PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND"}
)
# Not even where the operator names them does a client choose these: where programs, code, packages and settings come from.
STEERING: Final = (
    "BASH",
    "BUN_",
    "CORECLR_",
    "COREHOST_",
    "COREPACK_",
    "CREDENTIALS_",
    "DENO_",
    "DOTNET_",
    "DYLD_",
    "ELECTRON_",
    "GIT_CONFIG",
    "JAVA_",
    "JDK_",
    "LD_",
    "LISTEN_",
    "LUA_",
    "MCP_BRIDGE_",
    "NODE_",
    "NOTIFY_",
    "NPM_CONFIG_",
    "OPENSSL_",
    "PERL",
    "PHP_",
    "PIP_",
    "PYTHON",
    "RUBY",
    "SSL_",
    "SYSTEMD_",
    "UV_",
    "WATCHDOG_",
    "YARN_",
)
# What a client may bring where the operator has chosen no patterns: a name of one word, or one that ends like a credential
# or an address.
FROM_CLIENT: Final = (
    "*_ACCOUNT",
    "*_AUTH",
    "*_CREDENTIAL",
    "*_CREDENTIALS",
    "*_DOMAIN",
    "*_EMAIL",
    "*_ID",
    "*_KEY",
    "*_ORG",
    "*_ORGANIZATION",
    "*_PASSWORD",
    "*_PAT",
    "*_PROJECT",
    "*_REGION",
    "*_SECRET",
    "*_SITE",
    "*_TEAM",
    "*_TENANT",
    "*_TOKEN",
    "*_URL",
    "*_USER",
    "*_USERNAME",
    "*_WORKSPACE",
)
# Besides those: how programs find a browser, an editor, a display or a terminal, and what systemd sets for us.
_NEVER: Final = (
    _KEPT
    | LOADERS
    | {"BROWSER", "DISPLAY", "ENV", "EXINIT", "HOSTALIASES", "IFS", "INVOCATION_ID", "JOURNAL_STREAM"}
) | {"PROMPT", "TERM", "TERMCAP", "TERMINFO", "VISUAL", "WAYLAND_DISPLAY", "CC", "CXX", "AR", "LD", "RUSTC"}
# Those of Git choose programs, apart from credentials for its hosts; words by which programs find others, or settings.
_NEVER_LIKE: Final = re.compile(
    r"(?:GIT_(?!(?:.*_)?(?:TOKEN|KEY|PASSWORD|SECRET|USERNAME|EMAIL)\Z).*"
    r"|.*_(?:OPTS|OPTIONS|FLAGS|PRELOAD|HOOKS|ASKPASS)|_JAVA.*|PS[0-4]|GO(?:BIN|TOOLCHAIN|SUMDB|NOSUMDB|PRIVATE|VCS)"
    r"|[A-Z0-9]*(?:PATH|FLAGS|OPTIONS?|OPTS?|LIBS?|RC|INIT|HOME|ROOT|SHELL|OPEN|CLOSE|PAGER|EDITOR|PRELOAD|HOOKS?|CONFIG)"
    r"|(?:.*_)?PROXY|GOPROXY|GONOPROXY)\Z"
)
# The wish for all variables that name a proxy, of those that there are.
PROXIES: Final = "*_PROXY"
_PROXY: Final = re.compile(r"(?:https?|ftp|all|no)_proxy\Z", re.IGNORECASE)
# With or without a scheme, as curl has it; a password may hold anything.
_USERINFO: Final = re.compile(r"\A((?:[a-z0-9+.-]+:)?//)?.*@", re.IGNORECASE | re.DOTALL)
SECRET_KEY: Final = re.compile(
    r"TOKEN|KEY|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|CONNECTION_?STRING"
    r"|(?<![A-Z])(?:AUTH|AUTHORIZATION|DSN|JWT|PASS|PAT|PWD)(?![A-Z])",
    re.IGNORECASE,
)
# A password in a URL, a private key, an Authorization header, and the prefixes that well-known issuers use.
SECRET_VALUE: Final = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN |\bBearer \S"
    r"|\b(?:sk-|gh[opsu]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|eyJ)\w"
)
_LARGEST_FILE: Final = 64 * 1024
# A word of so many characters may be a token; one with small and capital letters and digits is taken for one.
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9+_=-]{20,}")
_LONGEST_SHOWN: Final = 60


class BadEnvironment(Exception):
    """A wish for a variable that cannot be granted; the text says which and why."""


def shown(value: object) -> str:
    """Return a value of a configuration as an error may show it: short, and without what may be a secret."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "a value that is too long to show"
    if SECRET_VALUE.search(text) or any(map(looks_random, _LONG_WORD.findall(text))):
        return "a value that may be a secret"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def looks_random(word: str) -> bool:
    """Return whether a word has small and capital letters and digits, as a token has."""
    return all(any(map(kind, word)) for kind in (str.islower, str.isupper, str.isdecimal))


def child_environment(
    ours: Mapping[str, str], wishes: Iterable[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """The environment of a child, and the names of the variables in it that are secrets.

    A wish is `KEY` (pass ours on) or `KEY=FILE` (the value is the file's content). Raises BadEnvironment.
    """
    kept = inherited(ours)
    secret: set[str] = set()
    for wish in wishes:
        key, equals, file = wish.partition("=")
        try:
            if equals:
                check_variable(key)
                kept[key] = content_of(key, Path(file))
                secret.add(key)
            else:
                passed = passed_on(key, ours)
                kept |= passed
                secret |= secrets_of(passed)
        except BadEnvironment as fault:
            raise BadEnvironment(f"--env {fault}") from None
    return kept, frozenset(secret)


def inherited(ours: Mapping[str, str]) -> dict[str, str]:
    """What every child gets of ours."""
    kept = {key: value for key, value in ours.items() if _is_kept(key)}
    kept["TERM"] = "dumb"
    return kept


def _is_kept(key: str) -> bool:
    return (key in _KEPT or key.startswith(_KEPT_PREFIXES)) and key not in _KEPT_NOT


def check_variable(key: str, value: str = "") -> None:
    """Raise BadEnvironment for a variable that no child gets."""
    if not _NAME.match(key):
        # A value may stand behind it by mistake.
        raise BadEnvironment(
            f"{shown(key.partition('=')[0])} is not a name of 1 to 64 letters, digits and underscores"
        )
    if key in LOADERS:
        raise BadEnvironment(f"{key} is refused: it makes the server load other code")
    if "\0" in value:
        raise BadEnvironment(f"{key}: the value holds a zero byte")


def looks_secret(key: str, value: str) -> bool:
    """Whether a variable seems to hold a secret, by its name or by its value."""
    return bool(SECRET_KEY.search(key) or SECRET_VALUE.search(value))


def secrets_of(variables: Mapping[str, str]) -> set[str]:
    """The names of those that seem to hold a secret."""
    return {key for key, value in variables.items() if looks_secret(key, value)}


def check_from_client(key: str, patterns: Iterable[str] = ()) -> None:
    """Raise BadEnvironment for a variable whose value no client may bring (env_from_header).

    It is one that a pattern of the operator's matches, or of FROM_CLIENT without any; but never one that chooses what is run.
    """
    check_variable(key)
    upper = key.upper()
    if upper in _NEVER or upper.startswith((*_KEPT_PREFIXES, *STEERING)) or _NEVER_LIKE.match(upper):
        raise BadEnvironment(f"{key} is refused: it decides which programs, code or settings the server uses")
    chosen = tuple(patterns)
    if not chosen and "_" not in upper.strip("_"):
        return
    if not any(fnmatchcase(upper, pattern.upper()) for pattern in chosen or FROM_CLIENT):
        named = ", ".join(chosen or FROM_CLIENT)
        raise BadEnvironment(
            f"{key} is refused: no pattern matches it; there are {named}; env_from_header_allow chooses others"
        )


def passed_on(wish: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Our own variable of this name, or with PROXIES those that name proxies. Raises BadEnvironment.

    The user and the password in the URL of a proxy stay here (attacks V29).
    """
    if wish == PROXIES:
        return {key: _without_user(key, value) for key, value in ours.items() if _PROXY.match(key)}
    check_variable(wish)
    if wish not in ours:
        raise BadEnvironment(f"{wish}: there is no such variable to pass on; a value can be kept in a file")
    return {wish: _without_user(wish, ours[wish]) if _PROXY.match(wish) else ours[wish]}


def _without_user(key: str, proxy: str) -> str:
    if key.lower() == "no_proxy":  # a list of hosts
        return proxy
    return _USERINFO.sub(lambda match: match[1] or "", proxy)


def content_of(key: str, file: Path) -> str:
    """The value of a variable that is kept in a file. Raises BadEnvironment."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
        text = content.decode().removesuffix("\n")
    except OSError as fault:
        raise BadEnvironment(f"{key}: cannot read {file}: {os.strerror(fault.errno or 0)}") from None
    except UnicodeDecodeError:
        raise BadEnvironment(f"{key}: {file} is not UTF-8") from None
    if len(content) > _LARGEST_FILE or "\0" in text:
        raise BadEnvironment(f"{key}: {file} is longer than {_LARGEST_FILE} bytes or holds a zero byte")
    return text


def read_variables(text: str) -> dict[str, str]:
    """The variables of an environment file: `KEY=VALUE` lines, empty ones and comments. Raises BadEnvironment.

    A value is all that stands behind the first `=`, without the quotes around it if there are any; nothing is expanded.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        if not equals:
            raise BadEnvironment(f"line {number} is not KEY=VALUE")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        check_variable(key, value)
        found[key] = value
    return found
