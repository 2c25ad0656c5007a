"""`mcp-bridge add`: add a server to the configuration file."""

import os
import re
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..config.addresses import shown_address
from ..config.child_directory import CLIENT
from ..config.child_environment import looks_secret
from ..config.credentials import is_file_source
from ..config.edit import ConfigText
from ..config.settings import Settings
from ..config.tables import BadConfig, check_name
from ..core.exit_codes import EX_OK
from .config_change import change, take_effect
from .invocation import BadUsage, Invocation
from .output import notice, print_line

_URL: Final = re.compile(r"(?:https?|wss?)://")
# The options of a remote server, and those of a process, by their attribute.
_REMOTE_ONLY: Final = {"transport": "--transport", "header": "--header", "secret_header": "--secret-header"}
_PROCESS_ONLY: Final = {
    "env": "--env",
    "env_file": "--env-file",
    "pass_env": "--pass-env",
    "secret": "--secret",
    "cwd": "--cwd",
    "sandbox": "--sandbox",
    "read": "--read",
    "write": "--write",
    "connect": "--connect",
    "no_network": "--no-network",
}
# Stands for the working directory of the server in --read and --write.
_WORKING_DIRECTORY: Final = "cwd"


def add(invocation: Invocation) -> int:
    """Write the table of a server, and let a running daemon start it. Raises BadUsage and BadConfig."""
    options, file = invocation.options, invocation.file
    name, keys = options.name, table_of(options)
    check_name("servers", name)

    def added(config: ConfigText) -> None:
        if config.get(("servers", name)) is not None:
            raise BadConfig(
                f"{file}: servers.{name} exists already; `mcp-bridge edit` changes it, "
                f"and `mcp-bridge remove {name}` removes it"
            )
        config.add_server(name, keys)

    settings = change(invocation, added, create=True)
    print_line(f"added {name} to {file}")
    _note_doubts(name, keys, settings)
    take_effect(invocation)
    if settings.port:
        url = shown_address(settings.scheme, (settings.host, settings.port))
        notice(
            f"clients find it at {url}/servers/{name}/mcp; `mcp-bridge client-config CLIENT {name}` prints their configuration"
        )
    return EX_OK


def table_of(options: Namespace) -> dict[str, Any]:
    """Return the keys of a server for the options of `add`. Raises BadUsage."""
    words = list(options.words)
    url = options.url or ""
    if not url and len(words) == 1 and _URL.match(words[0]):
        url, words = words[0], []
    if url and words:
        raise BadUsage("add takes a command or --url, not both")
    if not url and not words:
        raise BadUsage(
            f"add needs the command of the server: mcp-bridge add {options.name} -- COMMAND ARGS..., or --url URL"
        )
    wrong, kind = (_PROCESS_ONLY, "a command") if url else (_REMOTE_ONLY, "--url")
    if given := [option for attribute, option in wrong.items() if getattr(options, attribute)]:
        raise BadUsage(f"{', '.join(given)}: only with {kind}")
    keys = _remote(options, url) if url else _process(options, words)
    if options.share:
        keys["share"] = options.share
    return keys


def _remote(options: Namespace, url: str) -> dict[str, Any]:
    keys: dict[str, Any] = {"url": url}
    if options.transport:
        keys["transport"] = options.transport
    if options.header:
        keys["headers"] = _pairs("--header", options.header, ":")
    if options.secret_header:
        keys["secret_headers"] = _places("--secret-header", options.secret_header)
    return keys


def _process(options: Namespace, words: list[str]) -> dict[str, Any]:
    program, *arguments = words
    # The daemon runs in another directory.
    keys: dict[str, Any] = {"command": _absolute(program) if "/" in program else program}
    if arguments:
        keys["args"] = arguments
    if options.cwd:
        keys["cwd"] = options.cwd if options.cwd == CLIENT else _absolute(options.cwd)
    if options.env:
        keys["env"] = _pairs("--env", options.env, "=")
    if options.env_file:
        keys["env_file"] = _absolute(options.env_file)
    if options.pass_env:
        keys["pass_env"] = options.pass_env
    if options.secret:
        keys["secrets"] = _places("--secret", options.secret)
    return keys | _sandbox(options)


def _sandbox(options: Namespace) -> dict[str, Any]:
    """Return the keys of the sandbox. The configuration is checked as a whole before it is written."""
    keys: dict[str, Any] = {}
    if options.sandbox:
        keys["sandbox"] = options.sandbox
    for key in ("read", "write"):
        if paths := getattr(options, key):
            keys[key] = [path if path == _WORKING_DIRECTORY else _absolute(path) for path in paths]
    if options.connect:
        keys["connect"] = options.connect
    if options.no_network:
        keys["network"] = False
    return keys


def _pairs(option: str, given: Iterable[str], separator: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, found, value = text.partition(separator)
        if not found or not name:
            # The text may be a secret.
            raise BadUsage(f"{option} needs NAME{separator}VALUE")
        pairs[name] = value.strip() if separator == ":" else value
    return pairs


def _places(option: str, given: Iterable[str]) -> dict[str, str]:
    pairs = _pairs(option, given, "=")
    return {name: _absolute(place) if is_file_source(place) else place for name, place in pairs.items()}


def _absolute(path: str) -> str:
    """Return a path that does not depend on this shell's directory. References of the configuration stay."""
    return path if path.startswith(("~", "$")) else os.path.normpath(Path.cwd() / path)


def _note_doubts(name: str, keys: dict[str, Any], settings: Settings) -> None:
    for variable, value in keys.get("env", {}).items():
        if looks_secret(variable, value):
            notice(
                f"warning: {variable} looks like a secret, and stands in the file and in the history of your shell; "
                f"use --secret {variable}=FILE, or --secret '{variable}=exec:COMMAND'"
            )
    here = [word for word in keys.get("args", ()) if _is_relative_file(word)]
    if here and "cwd" not in keys:
        notice(
            f"warning: {', '.join(here)}: a relative path is resolved in the directory of the daemon; "
            "use an absolute path, or --cwd DIRECTORY"
        )
    for server in settings.servers:
        if server.name == name and server.fault:
            notice(f"warning: {server.fault}")


def _is_relative_file(word: str) -> bool:
    return "/" in word and not word.startswith(("/", "~", "$", "-")) and os.path.exists(word)  # noqa: PTH110 - False for too long a text
