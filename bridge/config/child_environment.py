"""Decide which variables of the daemon a server gets: an allow-list, groups of variables, and what the operator names.

No value of a variable that was not passed leaves this module, only its name.
"""

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

_KEPT: Final = frozenset({"HOME", "PATH", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
_KEPT_PREFIXES: Final = ("LC_", "XDG_")
# The sockets of the person's other programs, and of the daemon, are below it.
_KEPT_NOT: Final = frozenset({"XDG_RUNTIME_DIR"})
# Names of variables, and patterns of fnmatch(3), by the name of their group. Those in upper case hold in lower case too.
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
    # Where programs are installed. PATH, which chooses the same programs, is passed as well.
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
    # From here on: sockets and contexts that give the server the power of the person's other programs.
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
# What a server gets without being named.
USUAL_GROUPS: Final = ("certificates", "locale", "proxies", "toolchains")
# How a wish names a group.
_GROUP: Final = "@"
# What a shell, a terminal or a service manager notes for itself, and no server needs.
_BOOKKEEPING: Final = re.compile(
    r"_|SHLVL|PWD|OLDPWD|PS[0-4]|PROMPT.*|TERM|TERM_.*|TERMCAP|TERMINFO|COLORTERM|COLUMNS|LINES|LS_?COLORS|LESS.*"
    r"|HIST.*|MAIL|MAILCHECK|WINDOWID|VTE_VERSION|TMUX.*|STY|SSH_(?:CLIENT|CONNECTION|TTY)|SUDO_.*|DEBUGINFOD_URLS"
    r"|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*|MANAGERPID.*|SYSTEMD_.*|MEMORY_PRESSURE_.*"
    r"|(?:CREDENTIALS|RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MCP_BRIDGE_.*"
)
# Of those that were not passed so many are named.
_MOST_NAMED: Final = 40
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

    A wish is `KEY` or `@GROUP` (pass ours on) or `KEY=FILE` (the value is the file's content). Raises BadEnvironment.
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


def inherited(ours: Mapping[str, str], without: Iterable[str] = ()) -> dict[str, str]:
    """Return what every child gets of ours, without what these wishes name."""
    kept = {key: value for key, value in ours.items() if _is_kept(key)}
    for group in USUAL_GROUPS:
        kept |= _group(group, ours)
    for wish in without:
        for key in [key for key in kept if _is_meant(key, wish)]:
            del kept[key]
    kept["TERM"] = "dumb"
    return kept


def _is_kept(key: str) -> bool:
    return (key in _KEPT or key.startswith(_KEPT_PREFIXES)) and key not in _KEPT_NOT


def _is_meant(key: str, wish: str) -> bool:
    if wish == PROXIES:
        return bool(_PROXY.match(key))
    if wish.startswith(_GROUP):
        return _is_in(key, wish.removeprefix(_GROUP))
    return key == wish


def _is_in(key: str, group: str) -> bool:
    if group == "proxies":
        return bool(_PROXY.match(key))
    # npm takes its settings in lower case as well, which is how it hands them on.
    return any(fnmatchcase(key, name) or key == name.lower() for name in GROUPS[group])


def _group(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return those of our variables that are in this group; a proxy without its user and password."""
    found = {key: value for key, value in ours.items() if _is_in(key, group)}
    return {key: _without_user(key, value) if _PROXY.match(key) else value for key, value in found.items()}


def withheld(ours: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of our variables that a server was not given as they are: those of groups first.

    A proxy whose user and password were left out is among them. What shells and managers note for themselves is not.
    """
    missing = [
        key
        for key, value in ours.items()
        if _NAME.match(key)
        and not _BOOKKEEPING.fullmatch(key)
        and (key not in given or (_PROXY.match(key) and given[key] == _without_user(key, value) != value))
    ]
    return tuple(sorted(missing, key=lambda key: (not groups_of(key), key)))


def groups_of(key: str) -> tuple[str, ...]:
    """Return the names of the groups that a variable is in."""
    return tuple(group for group in GROUPS if _is_in(key, group))


def named(names: Iterable[str]) -> str:
    """Return a list of names for a person: with their groups, and cut after some."""
    shown_names = [*names]
    told = ", ".join(_with_group(name) for name in shown_names[:_MOST_NAMED])
    rest = len(shown_names) - _MOST_NAMED
    return f"{told} and {rest} others" if rest > 0 else told


def _with_group(name: str) -> str:
    if _PROXY.match(name):
        return f"{name} (its user and password)"
    if name in LOADERS:
        return f"{name} (refused)"
    groups = [group for group in groups_of(name) if name != "XDG_RUNTIME_DIR"]
    return f"{name} ({', '.join(_GROUP + group for group in groups)})" if groups else name


def check_wish(wish: str) -> None:
    """Raise BadEnvironment for what names neither a variable, nor a group, nor the proxies."""
    if wish.startswith(_GROUP):
        if wish.removeprefix(_GROUP) not in GROUPS:
            raise BadEnvironment(
                f"{shown(wish)}: there is no such group; there are {', '.join(_GROUP + group for group in GROUPS)}"
            )
    elif wish != PROXIES:
        check_variable(wish)


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
    """The names of those that seem to hold a secret. Those of groups name files and sockets, whatever they are called."""
    return {
        key
        for key, value in variables.items()
        if SECRET_VALUE.search(value) or (SECRET_KEY.search(key) and not groups_of(key))
    }


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
    """Return our own variable of this name, or those of a group that there are. Raises BadEnvironment.

    The user and the password in the URL of a proxy are left out.
    """
    check_wish(wish)
    if wish == PROXIES:
        return _group("proxies", ours)
    if wish.startswith(_GROUP):
        return _group(wish.removeprefix(_GROUP), ours)
    if wish not in ours:
        group = f"; the group is {_GROUP}{wish}" if wish in GROUPS else ""
        raise BadEnvironment(
            f"{wish}: there is no such variable to pass on{group}; a value can be kept in a file"
        )
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
