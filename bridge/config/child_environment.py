"""Choose the environment variables of a server: an allow-list, groups of variables, and those of the configuration.

The value of a variable that is not passed never leaves this module, only its name.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, cast

from ...validators.counted import counted

_KEPT: Final = frozenset({"HOME", "PATH", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
_KEPT_PREFIXES: Final = ("LC_", "XDG_")
# The sockets of other programs of the user, and of the daemon, are in this directory.
_KEPT_NOT: Final = frozenset({"XDG_RUNTIME_DIR"})
# Names of variables, and patterns of fnmatch(3), by their group. Names in upper case also match in lower case.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "certificates": (
        "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO",
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
        "CURL_CA_BUNDLE",
        "DENO_CERT",
        "DENO_TLS_CA_STORE",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "HTTPLIB2_CA_CERTS",
        "NIX_SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "NODE_USE_SYSTEM_CA",
        "NPM_CONFIG_CAFILE",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "UV_NATIVE_TLS",
        "UV_SYSTEM_CERTS",
    ),
    "locale": ("LANG", "LANGUAGE", "LC_*", "LOCALE_ARCHIVE", "TZ", "TZDIR"),
    "proxies": ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    # The places of installed programs. PATH, which selects the same programs, is passed as well.
    "toolchains": (
        "ANDROID_HOME",
        "ANDROID_SDK_ROOT",
        "ASDF_DATA_DIR",
        "ASDF_DIR",
        "BUN_INSTALL",
        "CARGO_HOME",
        "DENO_DIR",
        "DENO_INSTALL",
        "DOTNET_ROOT",
        "FNM_DIR",
        "GOPATH",
        "GOROOT",
        "GRADLE_USER_HOME",
        "JAVA_HOME",
        "MAVEN_HOME",
        "MISE_DATA_DIR",
        "NPM_CONFIG_CACHE",
        "NPM_CONFIG_PREFIX",
        "NVM_BIN",
        "NVM_DIR",
        "PIPX_BIN_DIR",
        "PIPX_HOME",
        "PLAYWRIGHT_BROWSERS_PATH",
        "PNPM_HOME",
        "PYENV_ROOT",
        "RBENV_ROOT",
        "RUSTUP_HOME",
        "SDKMAN_DIR",
        "UV_CACHE_DIR",
        "UV_PYTHON_INSTALL_DIR",
        "UV_TOOL_BIN_DIR",
        "UV_TOOL_DIR",
        "VOLTA_HOME",
    ),
    # The groups from here on give the server access to other programs and accounts of the user.
    "agents": ("GPG_AGENT_INFO", "SSH_AGENT_PID", "SSH_AUTH_SOCK"),
    "bus": ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "XDG_RUNTIME_DIR"),
    "clouds": (
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AZURE_CONFIG_DIR",
        "CLOUDSDK_CONFIG",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
    ),
    "containers": (
        "CONTAINERS_CONF",
        "CONTAINERS_STORAGE_CONF",
        "CONTAINER_HOST",
        "DOCKER_CERT_PATH",
        "DOCKER_CONFIG",
        "DOCKER_CONTEXT",
        "DOCKER_HOST",
        "DOCKER_TLS_VERIFY",
        "XDG_RUNTIME_DIR",
    ),
    "desktop": (
        "DESKTOP_SESSION",
        "DISPLAY",
        "PULSE_SERVER",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "XDG_RUNTIME_DIR",
    ),
    "kubernetes": ("HELM_KUBECONTEXT", "HELM_NAMESPACE", "KUBECONFIG"),
}
# The groups that every server gets.
USUAL_GROUPS: Final = ("certificates", "locale", "proxies", "toolchains")
# The prefix of a group in pass_env.
_GROUP: Final = "@"
# Variables that a shell, a terminal or a service manager sets for its own use. No server needs them.
_BOOKKEEPING: Final = re.compile(
    r"_|SHLVL|PWD|OLDPWD|PS[0-4]|PROMPT.*|TERM|TERM_.*|TERMCAP|TERMINFO|COLORTERM|COLUMNS|LINES|LS_?COLORS|LESS.*"
    r"|HIST.*|MAIL|MAILCHECK|WINDOWID|VTE_VERSION|TMUX.*|STY|SSH_(?:CLIENT|CONNECTION|TTY)|SUDO_.*|DEBUGINFOD_URLS"
    r"|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*|MANAGERPID.*|SYSTEMD_.*|MEMORY_PRESSURE_.*"
    r"|(?:CREDENTIALS|RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MCP_BRIDGE_.*"
)
# A list of variables that are not passed shows so many names.
_MOST_NAMED: Final = 40
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# These make the child load other code, or execute another program.
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
# Prefixes of variables that select programs, code, packages or settings. No request header may set them.
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
    "GCONV_",
    "GETCONF_",
    "GIT_CONFIG",
    "GLIBC_",
    "JAVA_",
    "JDK_",
    "LD_",
    "LISTEN_",
    "LUA_",
    "MALLOC_",
    "MCP_BRIDGE_",
    "NODE_",
    "NOTIFY_",
    "NPM_CONFIG_",
    "OPENSSL_",
    "PERL",
    "PHP_",
    "PIP_",
    "PROMPT_",
    "PYTHON",
    "RUBY",
    "SSL_",
    "SYSTEMD_",
    "UV_",
    "WATCHDOG_",
    "YARN_",
)
# The default of env_from_header_allow. A name without an underscore is allowed as well.
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
# Further variables that no request header may set: browser, editor, display, terminal, compilers, and those of systemd.
_NEVER: Final = (
    _KEPT
    | LOADERS
    | {"BROWSER", "DISPLAY", "ENV", "EXINIT", "HOSTALIASES", "IFS", "INVOCATION_ID", "JOURNAL_STREAM"}
) | {"PROMPT", "TERM", "TERMCAP", "TERMINFO", "VISUAL", "WAYLAND_DISPLAY", "CC", "CXX", "AR", "LD", "RUSTC"}
# Variables of Git, except credentials, and names by which programs find other programs or their settings.
_NEVER_LIKE: Final = re.compile(
    r"(?:GIT_(?!(?:.*_)?(?:TOKEN|KEY|PASSWORD|SECRET|USERNAME|EMAIL)\Z).*"
    r"|.*_(?:OPTS|OPTIONS|FLAGS|PRELOAD|HOOKS|ASKPASS)|_JAVA.*|PS[0-4]|GO(?:BIN|TOOLCHAIN|SUMDB|NOSUMDB|PRIVATE|VCS)"
    r"|[A-Z0-9]*(?:PATH|FLAGS|OPTIONS?|OPTS?|LIBS?|RC|INIT|HOME|ROOT|SHELL|OPEN|CLOSE|PAGER|EDITOR|PRELOAD|HOOKS?|CONFIG)"
    r"|(?:.*_)?PROXY|GOPROXY|GONOPROXY)\Z"
)
# The entry of pass_env for all variables that name a proxy.
PROXIES: Final = "*_PROXY"
_PROXY: Final = re.compile(r"(?:https?|ftp|all|no)_proxy\Z", re.IGNORECASE)
# With or without a scheme, as curl accepts it. A password may contain any character.
_USERINFO: Final = re.compile(r"\A((?:[a-z0-9+.-]+:)?//)?.*@", re.IGNORECASE | re.DOTALL)
SECRET_KEY: Final = re.compile(
    r"TOKEN|KEY|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|CONNECTION_?STRING"
    r"|(?<![A-Z])(?:AUTH|AUTHORIZATION|DSN|JWT|PASS|PAT|PWD)(?![A-Z])",
    re.IGNORECASE,
)
# A password in a URL, a private key, an Authorization header, and the token prefixes of well-known services.
SECRET_VALUE: Final = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN |\bBearer \S"
    r"|\b(?:sk-|gh[opsu]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|eyJ)\w"
)
# The largest value of a variable that is read from a file (bytes).
# A word of this length may be a token. With small letters, capital letters and digits it is treated as a token.
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9+_=-]{20,}")
# The longest value in an error (characters).
_LONGEST_SHOWN: Final = 60


class BadEnvironment(Exception):
    """Raised for a variable that a server cannot get. The text names the variable and the reason."""


def shown(value: object) -> str:
    """Return a value of the configuration for an error: short, and without a possible secret."""
    try:
        text = _written(value)
    except (ValueError, RecursionError):
        return "a value that is too long to show"
    if SECRET_VALUE.search(text) or any(map(looks_random, _LONG_WORD.findall(text))):
        return "a value that may be a secret"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _written(value: object) -> str:
    """Return a value as TOML has it; a string as a literal string where that is possible."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(_written, cast('list[object]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return f"{{{', '.join(f'{key} = {_written(one)}' for key, one in pairs)}}}"
    return repr(value)


def looks_random(word: str) -> bool:
    """Return whether a word has small letters, capital letters and digits, as a random token has."""
    return all(any(map(kind, word)) for kind in (str.islower, str.isupper, str.isdecimal))


def child_environment(
    ours: Mapping[str, str], entries: Iterable[str], secrets: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, str], frozenset[str]]:
    """Return the environment of a child, and the names of the variables that hold secrets. Raises BadEnvironment.

    An entry of `--env` is `KEY` or `@GROUP`, which passes variables of the bridge, or `KEY=VALUE`. `secrets` are further
    variables.
    """
    kept = inherited(ours)
    given: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        try:
            if equals:
                check_variable(key, value)
                given[key] = value
            else:
                given |= passed_variables(key, ours)
        except BadEnvironment as fault:
            raise BadEnvironment(f"--env {fault}") from None
    return {**kept, **given, **secrets}, frozenset(secret_names(given) | secrets.keys())


def inherited(ours: Mapping[str, str], without: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that every child gets, without those that the entries of withhold_env name."""
    kept = {key: value for key, value in ours.items() if _is_kept(key)}
    for group in USUAL_GROUPS:
        kept |= _group(group, ours)
    for entry in without:
        for key in [key for key in kept if _is_meant(key, entry)]:
            del kept[key]
    kept["TERM"] = "dumb"
    return kept


def _is_kept(key: str) -> bool:
    return (key in _KEPT or key.startswith(_KEPT_PREFIXES)) and key not in _KEPT_NOT


def _is_meant(key: str, entry: str) -> bool:
    if entry == PROXIES:
        return bool(_PROXY.match(key))
    if entry.startswith(_GROUP):
        return _is_in(key, entry.removeprefix(_GROUP))
    return key == entry


def _is_in(key: str, group: str) -> bool:
    if group == "proxies":
        return bool(_PROXY.match(key))
    # npm reads its settings in lower case as well, and passes them to its children in that form.
    return any(fnmatchcase(key, name) or key == name.lower() for name in GROUPS[group])


def _group(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a group. User and password of a proxy are removed."""
    found = {key: value for key, value in ours.items() if _is_in(key, group)}
    return {key: _without_user(key, value) if _PROXY.match(key) else value for key, value in found.items()}


def withheld(ours: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the variables that a server does not get unchanged, those of groups first.

    A proxy whose user and password were removed is included. Variables of shells and service managers are not.
    """
    missing = [
        key
        for key, value in ours.items()
        if _NAME.match(key)
        and not _BOOKKEEPING.fullmatch(key)
        and (key not in given or (_PROXY.match(key) and given[key] == _without_user(key, value) != value))
    ]
    return tuple(sorted(missing, key=lambda key: (not groups_with(key), key)))


def groups_with(key: str) -> tuple[str, ...]:
    """Return the groups of a variable."""
    return tuple(group for group in GROUPS if _is_in(key, group))


def named(names: Iterable[str]) -> str:
    """Return a list of names as text, with their groups, cut after some."""
    shown_names = [*names]
    text = ", ".join(_with_group(name) for name in shown_names[:_MOST_NAMED])
    rest = len(shown_names) - _MOST_NAMED
    return f"{text} and {counted(rest, 'other')}" if rest > 0 else text


def _with_group(name: str) -> str:
    if _PROXY.match(name):
        return f"{name} (its user and password)"
    if name in LOADERS:
        return f"{name} (refused)"
    groups = [group for group in groups_with(name) if name != "XDG_RUNTIME_DIR"]
    return f"{name} ({', '.join(_GROUP + group for group in groups)})" if groups else name


def check_entry(entry: str) -> None:
    """Check an entry of pass_env or withhold_env. Raises BadEnvironment."""
    if entry.startswith(_GROUP):
        if entry.removeprefix(_GROUP) not in GROUPS:
            raise BadEnvironment(
                f"{shown(entry)}: there is no such group; there are {', '.join(_GROUP + group for group in GROUPS)}"
            )
    elif entry != PROXIES:
        check_variable(entry)


def check_variable(key: str, value: str = "") -> None:
    """Check that a child may get a variable. Raises BadEnvironment."""
    if not _NAME.match(key):
        # KEY=VALUE may be there by mistake, so the value is not shown.
        raise BadEnvironment(
            f"{shown(key.partition('=')[0])} is not a name of 1 to 64 letters, digits and underscores"
        )
    if key in LOADERS:
        raise BadEnvironment(f"{key} is refused: it makes the server load other code")
    if "\0" in value:
        raise BadEnvironment(f"{key}: the value holds a zero byte")


def looks_secret(key: str, value: str) -> bool:
    """Return whether a variable seems to hold a secret, by its name or by its value."""
    return bool(SECRET_KEY.search(key) or SECRET_VALUE.search(value))


def secret_names(variables: Mapping[str, str]) -> set[str]:
    """Return the names of the variables that seem to hold a secret.

    Variables of groups hold names of files and sockets, so only their values are examined.
    """
    return {
        key
        for key, value in variables.items()
        if SECRET_VALUE.search(value) or (SECRET_KEY.search(key) and not groups_with(key))
    }


def check_from_client(key: str, patterns: Iterable[str] = ()) -> None:
    """Check that a request header may set a variable (env_from_header). Raises BadEnvironment.

    The name must match one of `patterns`, or of FROM_CLIENT without any. Variables that select programs, code or settings
    are always refused.
    """
    check_variable(key)
    upper = key.upper()
    if upper in _NEVER or upper.startswith((*_KEPT_PREFIXES, *STEERING)) or _NEVER_LIKE.match(upper):
        raise BadEnvironment(
            f"{key} is refused: it selects the programs, code or settings that the server uses"
        )
    chosen = tuple(patterns)
    if not chosen and "_" not in upper.strip("_"):
        return
    if not any(fnmatchcase(upper, pattern.upper()) for pattern in chosen or FROM_CLIENT):
        named = ", ".join(chosen or FROM_CLIENT)
        raise BadEnvironment(
            f"{key} is refused: no pattern matches it; there are {named}; env_from_header_allow sets others"
        )


def passed_variables(entry: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an entry of pass_env names. Raises BadEnvironment for a missing variable.

    User and password in the URL of a proxy are removed.
    """
    check_entry(entry)
    if entry == PROXIES:
        return _group("proxies", ours)
    if entry.startswith(_GROUP):
        return _group(entry.removeprefix(_GROUP), ours)
    if entry not in ours:
        group = f"; the group is {_GROUP}{entry}" if entry in GROUPS else ""
        raise BadEnvironment(
            f"{entry}: there is no such variable in the environment{group}; a value can be kept in a file"
        )
    return {entry: _without_user(entry, ours[entry]) if _PROXY.match(entry) else ours[entry]}


def _without_user(key: str, proxy: str) -> str:
    # NO_PROXY is a list of hosts.
    if key.lower() == "no_proxy":
        return proxy
    return _USERINFO.sub(lambda match: match[1] or "", proxy)


def read_variables(text: str) -> dict[str, str]:
    """Return the variables of an environment file, as `read_lines`. Raises BadEnvironment with all lines that are wrong."""
    found, bad_lines = read_lines(text)
    if bad_lines:
        raise BadEnvironment("; ".join(f"line {number}: {reason}" for number, reason in bad_lines))
    return found


def read_lines(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Return the variables of an environment file, and the numbers of the wrong lines with the reasons.

    A file has `KEY=VALUE` lines, empty lines and comments. The value is the text after the first `=`, without surrounding
    quotes. Nothing is expanded.
    """
    found: dict[str, str] = {}
    bad_lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        if not equals:
            bad_lines.append((number, "is not KEY=VALUE"))
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        try:
            check_variable(key, value)
        except BadEnvironment as fault:
            bad_lines.append((number, str(fault)))
            continue
        found[key] = value
    return found, bad_lines
