"""Find the paths that a program needs to start: the system, its installation, its interpreter, and the caches of runners.

No home directory is among them as a whole, and no directory that several programs share for their data.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ...transports.options import Launch
from .child_environment import GROUPS
from .command_files import PYTHON, find_command_files
from .executable import find_program, interpreter_line
from .package_spec import program_name, program_names

_ETC: Final = (
    *(
        "alternatives",
        "ca-certificates",
        "ca-certificates.conf",
        "crypto-policies",
        "debian_version",
        "fonts",
    ),
    *(
        "gai.conf",
        "gitconfig",
        "group",
        "host.conf",
        "hosts",
        "java",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
    ),
    *(
        "ld.so.preload",
        "locale.alias",
        "locale.conf",
        "localtime",
        "magic",
        "mime.types",
        "netconfig",
        "node",
    ),
    *(
        "nsswitch.conf",
        "openssl",
        "os-release",
        "passwd",
        "perl",
        "pki",
        "protocols",
        "python3",
        "resolv.conf",
    ),
    *("services", "shells", "ssl", "static", "terminfo", "timezone"),
)
# Read by nearly every program: the system, the C library, name resolution, certificates, facts of the machine.
SYSTEM: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/nix/store", "/gnu/store", "/run/current-system", "/home/linuxbrew/.linuxbrew", "/snap"),
    *(f"/etc/{name}" for name in _ETC),
    # Where resolv.conf(5) is a link. The directories also hold sockets.
    *("/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/resolv.conf"),
    *("/run/NetworkManager/resolv.conf", "/run/resolvconf/resolv.conf"),
    *("/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"),
)
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Directories whose parent is an installation.
_PROGRAMS: Final = frozenset({"bin", "sbin", "shims"})
_LIBRARIES: Final = frozenset({"node_modules", "site-packages", "dist-packages"})
# The files that mark the directory of a project.
_PROJECTS: Final = ("package.json", "pyproject.toml", "setup.py", "deno.json", "Gemfile", "composer.json")
_SCRIPTS: Final = frozenset(
    {".cjs", ".jar", ".js", ".mjs", ".mts", ".php", ".pl", ".py", ".pyz", ".rb", ".sh", ".ts"}
)
# Directories that many programs share.
_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 - compared
_SHARED: Final = frozenset((*_TEMPORARY, "/", "/etc", "/home", "/mnt", "/opt", "/root", "/srv", "/var"))
_SHARED_OF_USER: Final = (".cache", ".config", ".local", ".local/share", ".local/state", "bin")
# The way from a file to the directory of its project has at most so many steps, and a chain of links as well.
_MOST_STEPS: Final = 6
_MOST_LINKS: Final = 16
# Key: a program that installs or downloads packages. Value: variables that name its directory, and the directory below the
# home directory without any of them. It writes there. The shell variables of XDG directories are replaced before.
_CACHES: Final[Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]] = {
    "npx": ((("npm_config_cache", "NPM_CONFIG_CACHE"), ".npm"),),
    "npm": ((("npm_config_cache", "NPM_CONFIG_CACHE"), ".npm"),),
    "pnpm": (((), ".local/share/pnpm"), ((), ".cache/pnpm")),
    "pnpx": (((), ".local/share/pnpm"), ((), ".cache/pnpm")),
    "bunx": ((("BUN_INSTALL_CACHE_DIR",), ".bun/install/cache"),),
    "uvx": ((("UV_CACHE_DIR",), ".cache/uv"), (("UV_TOOL_DIR",), ".local/share/uv")),
    "uv": ((("UV_CACHE_DIR",), ".cache/uv"), (("UV_TOOL_DIR",), ".local/share/uv")),
    "pipx": ((("PIPX_HOME",), ".local/share/pipx"), ((), ".local/state/pipx")),
    "deno": ((("DENO_DIR",), ".cache/deno"),),
}
# The settings of these programs, below the home directory.
_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "npx": (".npmrc",),
    "npm": (".npmrc",),
    "pnpm": (".npmrc", ".config/pnpm"),
    "pnpx": (".npmrc", ".config/pnpm"),
    "uvx": (".config/uv",),
    "uv": (".config/uv",),
}


def base_paths(launch: Launch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths that the command needs to read and to write to start. Blocks."""
    home = launch.env.get("HOME", "")
    found = dict.fromkeys(SYSTEM)
    found |= dict.fromkeys(_python_of_system())
    executed = [*_executed(launch)]
    for file in executed:
        for place in _installation(file, home):
            found[place] = None
    if home and any(PYTHON.match(program_name(path)) for path in executed):
        found[f"{home}/.local/lib"] = None
    found |= dict.fromkeys(_named_by_variables(launch.env))
    names = {*program_names(launch.argv[:1]), *map(program_name, launch.argv)}
    write = [*DEVICES]
    for runner in sorted(names & _CACHES.keys()):
        write += _caches(runner, launch.env, home)
        found |= dict.fromkeys(f"{home}/{name}" for name in _SETTINGS.get(runner, ()) if home)
    return tuple(found), tuple(dict.fromkeys(write))


def _python_of_system() -> Iterator[str]:
    # The sitecustomize of Debian is there.
    yield from (str(path) for path in sorted(Path("/etc").glob("python3.*")))


def _executed(launch: Launch) -> Iterator[str]:
    """Yield the files that the command executes, with the interpreters of scripts."""
    pending = [*find_command_files(launch).files]
    seen: set[str] = set()
    while pending:
        file = pending.pop()
        if file in seen:
            continue
        seen.add(file)
        yield file
        words = interpreter_line(file)
        if words and words[0].endswith("/env"):
            names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            words = [found for name in names[:1] if (found := find_program((name,), launch.env))]
        pending += words[:1]


def _installation(file: str, home: str) -> Iterator[str]:
    """Yield the directories of a program or script, at its path and where its links lead."""
    hop = os.path.abspath(file)  # noqa: PTH100 - keeps links
    for _ in range(_MOST_LINKS):
        yield from _places(hop, home)
        try:
            target = os.readlink(hop)  # noqa: PTH115 - a text
        except OSError:
            break
        hop = os.path.normpath(os.path.join(os.path.dirname(hop), target))  # noqa: PTH118, PTH120 - texts
    yield from _places(os.path.realpath(file), home)


def _places(file: str, home: str) -> Iterator[str]:
    path = Path(file)
    parts = path.parts
    libraries = [at for at, part in enumerate(parts) if part in _LIBRARIES]
    if libraries:
        # The outermost, because packages find others there.
        yield str(Path(*parts[: libraries[0] + 1]))
        return
    folder = path.parent
    if folder.name in _PROGRAMS:
        yield str(folder.parent if _is_own(folder.parent, home) else folder)
        return
    is_code = path.suffix in _SCRIPTS or os.access(path, os.X_OK)
    if not is_code:
        yield file
        return
    for place in [folder, *folder.parents][:_MOST_STEPS]:
        if not _is_own(place, home):
            break
        if any((place / name).is_file() for name in _PROJECTS):
            yield str(place)
            return
    yield str(folder) if _is_own(folder, home) else file


def _is_own(directory: Path, home: str) -> bool:
    """Return whether a directory can be that of one program: not the home directory, and not one that programs share."""
    text = str(directory)
    if text in _SHARED:
        return False
    if not home:
        return True
    at_home = Path(home)
    return (
        directory != at_home
        and directory not in at_home.parents
        and text not in {f"{home}/{name}" for name in _SHARED_OF_USER}
    )


def _named_by_variables(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the files of certificates that variables name."""
    for name in GROUPS["certificates"]:
        value = variables.get(name, "")
        if value.startswith("/"):
            yield value


def _caches(runner: str, variables: Mapping[str, str], home: str) -> Iterable[str]:
    for names, below in _CACHES[runner]:
        named = next((variables[name] for name in names if variables.get(name, "").startswith("/")), "")
        if named:
            yield named
        elif home:
            yield _in_home(below, variables, home)


def _in_home(below: str, variables: Mapping[str, str], home: str) -> str:
    for default, name in (
        (".cache/", "XDG_CACHE_HOME"),
        (".local/share/", "XDG_DATA_HOME"),
        (".local/state/", "XDG_STATE_HOME"),
    ):
        if below.startswith(default) and variables.get(name, "").startswith("/"):
            return f"{variables[name]}/{below.removeprefix(default)}"
    return f"{home}/{below}"
