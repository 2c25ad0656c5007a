"""`mcp-bridge service`: install, uninstall and show the systemd service of the user."""

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from ....validators.counted import counted
from ...config import load, xdg
from ...config.credentials import BadCredential, check_executed
from ...config.settings import Settings
from ...config.tables import BadConfig
from ...core.exit_codes import EX_CONFIG, EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE
from ...log import escaped
from ..control_client import Unreachable
from ..init import write_template
from ..invocation import BadUsage, Invocation
from ..output import notice, print_line
from ..own_program import EPHEMERAL, own_program
from .packaged_files import NotPackaged, documents, unit_template
from .systemctl import SystemctlFailed, UserManager
from .unit_files import (
    CHECK,
    SERVICE,
    SOCKET,
    TIMER,
    addresses_of,
    command_of,
    service_unit,
    socket_unit,
    timer_unit,
)

_UNITS: Final = (SERVICE, SOCKET)
# They are installed with `--check-timer` only.
_CHECK_UNITS: Final = (CHECK, TIMER)
# The variables of this shell that decide where the daemon finds its files, with their defaults below the home directory.
_PLACES: Final = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
}
# The exit statuses of systemd for restrictions that it cannot apply (systemd.exec(5)): CGROUP, CAPABILITIES, NAMESPACE, SECCOMP.
_SANDBOX: Final = ("218", "219", "226", "228")

_AS_ROOT: Final = (
    "a service of root would run each server as root (uid 0); install it as an ordinary user, use the unit mcp-bridge@.service, "
    "or pass --allow-root"
)


def service(invocation: Invocation) -> int:
    """Carry out one of the actions of `service`. Raises BadUsage, BadConfig and Unreachable."""
    options = invocation.options
    if options.json and options.action != "status":
        raise BadUsage("--json is for service status only")
    for option in ("check_timer", "allow_root"):
        if getattr(options, option) and options.action != "install":
            raise BadUsage(f"--{option.replace('_', '-')} is for service install only")
    try:
        match options.action:
            case "install":
                return _install(invocation)
            case "uninstall":
                return _uninstall(invocation)
            case _:
                return _status(invocation)
    except NotPackaged as fault:
        raise BadConfig(str(fault)) from None
    except SystemctlFailed as fault:
        raise Unreachable(str(fault)) from None
    except OSError as fault:
        raise BadConfig(f"{fault.filename or 'a file'} cannot be written: {fault.strerror}") from None


def _install(invocation: Invocation) -> int:
    environment = invocation.environment
    if os.geteuid() == 0 and not invocation.options.allow_root:
        raise BadConfig(_AS_ROOT)
    manager = UserManager(environment)
    manager.check()
    program = _program()
    active = manager.state(SERVICE).get("ActiveState") == "active"
    if not active and (invocation.source.daemon or invocation.source.other):
        notice(
            "a daemon of your user is running already; stop it, and run `mcp-bridge service install` again"
        )
        return EX_TEMPFAIL
    file = invocation.file.absolute()
    if not file.is_symlink() and not file.exists():
        write_template(file)
        notice(f"wrote {file}, which has no server yet; add one with `mcp-bridge add NAME -- COMMAND`")
    settings = load.plan(file, environment)
    variables = _variables(environment)
    is_usual = file == xdg.default_path({"HOME": environment.get("HOME", ""), **variables})
    named = [] if is_usual else ["--config", str(file)]
    root = ["--allow-root"] if invocation.options.allow_root else []
    words = [*program, "serve", *root, *named]
    addresses = _addresses(settings, environment)
    texts = {SERVICE: service_unit(unit_template(SERVICE), words, variables)}
    if addresses:
        texts[SOCKET] = socket_unit(unit_template(SOCKET), addresses)
    present = [name for name in _UNITS if (manager.units / name).exists()]
    if present:
        # A socket that listens has the addresses of the former unit, and a service the former program.
        manager.do("stop", *present)
    for name, text in texts.items():
        _put(manager.units / name, text.encode())
    if invocation.options.check_timer:
        check = service_unit(unit_template(CHECK), [*program, "check", "--all", *named], variables, CHECK)
        _put(manager.units / CHECK, check.encode())
        _put(manager.units / TIMER, timer_unit(unit_template(TIMER)).encode())
    for source, target in documents(environment):
        _put(target, source.read_bytes())
    manager.do("daemon-reload")
    manager.do("enable", *texts)
    # The socket first, because it cannot be started while its service runs.
    for name in reversed(texts):
        try:
            manager.do("start", name)
        except SystemctlFailed as fault:
            _explain_failure(manager, name)
            raise Unreachable(str(fault).splitlines()[0]) from None
    if invocation.options.check_timer:
        manager.do("enable", "--now", TIMER)
        notice(f"the servers are checked once a day: journalctl --user --unit {CHECK}")
    print_line(f"the service runs: {command_of(texts[SERVICE])}")
    notice(f"configuration: {file}")
    notice(f"PATH of the servers: {variables['PATH']}; run this command again when it has changed")
    notice("manual pages and completions are installed; a new shell finds them")
    notice("state: mcp-bridge service status; log: journalctl --user --unit mcp-bridge --follow")
    _explain_linger(manager)
    return EX_OK


def _uninstall(invocation: Invocation) -> int:
    environment = invocation.environment
    manager = UserManager(environment)
    try:
        manager.check()
    except Unreachable as fault:
        # The files are removed all the same.
        notice(f"warning: {fault}")
        reachable = False
    else:
        reachable = True
    units = (*_UNITS, *_CHECK_UNITS)
    present = [name for name in units if (manager.units / name).exists()]
    if present and reachable:
        manager.do("disable", "--now", *present)
    own = [*(manager.units / name for name in units), *(target for _, target in documents(environment))]
    removed = [path for path in own if path.is_file()]
    for path in removed:
        path.unlink()
    if present and reachable:
        manager.do("daemon-reload")
        # A unit without a file that has failed would be listed until the next boot.
        with suppress(SystemctlFailed):
            manager.do("reset-failed", *present)
    print_line(f"removed {counted(len(removed), 'file')}" if removed else "the service is not installed")
    for path in removed:
        notice(f"removed {path}")
    if removed:
        notice(
            f"the configuration and the tokens stay: {invocation.file}, {xdg.state_directory(environment)}"
        )
    return EX_OK


def _status(invocation: Invocation) -> int:
    manager = UserManager(invocation.environment)
    state = _described(manager)
    if invocation.options.json:
        print_line(json.dumps(state, indent=2))
    else:
        for name, value in state.items():
            if shown := _shown(value):
                print_line(escaped(f"{name:<10}{shown}"))
    if not state["installed"]:
        notice("the service is not installed; `mcp-bridge service install` installs it")
    elif state["active"] != "active":
        notice(
            "the service does not run; journalctl --user --unit mcp-bridge shows why, and `mcp-bridge doctor` what to do"
        )
    if state["installed"]:
        _explain_linger(manager)
    return EX_OK if state["active"] == "active" else EX_UNAVAILABLE


def _shown(value: object) -> str:
    """Return a value of the state in words; empty for one that is unknown or does not apply."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value or "")


def _described(manager: UserManager) -> dict[str, Any]:
    try:
        manager.check()
        found = manager.state(SERVICE)
    except Unreachable as fault:
        found = {}
        notice(str(fault))
    unit, socket = (_text(manager.units / name) for name in _UNITS)
    return {
        "installed": bool(unit),
        "active": found.get("ActiveState", "unknown"),
        "enabled": found.get("UnitFileState", "") or "no",
        "pid": int(found.get("MainPID", "0") or 0),
        "status": found.get("StatusText", ""),
        "command": command_of(unit),
        "addresses": addresses_of(socket),
        "unit": found.get("FragmentPath", "") or (str(manager.units / SERVICE) if unit else ""),
        "linger": {True: "yes", False: "no", None: "unknown"}[manager.lingers()],
    }


def _explain_failure(manager: UserManager, name: str) -> None:
    found = manager.state(name)
    status = found.get("ExecMainStatus", "")
    if status in _SANDBOX:
        notice(
            "this machine does not allow the restrictions of the unit; the first lines of "
            f"{manager.units / SERVICE} name the settings for `systemctl --user edit {SERVICE.removesuffix('.service')}`"
        )
    elif status == str(EX_CONFIG):
        notice("the configuration is invalid: `mcp-bridge config check` shows why")
    elif status == str(EX_TEMPFAIL):
        notice("an address is in use: `mcp-bridge serve` shows which one")
    notice(f"{name} has failed: result {found.get('Result', 'unknown')}, status {status or 'unknown'}")


def _explain_linger(manager: UserManager) -> None:
    if manager.lingers() is False:
        notice(
            "the service starts when you log in and ends after your last session; to start it at boot and to keep it, run: "
            "loginctl enable-linger"
        )


def _program() -> list[str]:
    """Return the words that start this program, as absolute paths. Raises BadConfig for a program that may vanish."""
    words = own_program()
    try:
        check_executed(Path(words[0]))
    except BadCredential as fault:
        notice(f"warning: others could replace the program of the service: {fault}")
    return words


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the service needs, because the user manager has others."""
    home = xdg.home_in(environment)
    variables = {"PATH": _path(environment)}
    for name, usual in _PLACES.items():
        place = xdg.directory_in(environment, name)
        if place is not None and place != home / usual:
            variables[name] = str(place)
    return variables


def _path(environment: Mapping[str, str]) -> str:
    """Return the PATH of this shell without directories that do not exist, are relative, or are those of other users."""
    kept: list[str] = []
    for directory in environment.get("PATH", os.defpath).split(os.pathsep):
        if (
            not directory.startswith("/")
            or directory in kept
            or any(place in directory for place in EPHEMERAL)
        ):
            continue
        try:
            mode = Path(directory).stat().st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode) and not mode & stat.S_IWOTH:
            kept.append(directory)
    return os.pathsep.join(kept) or os.defpath


def _addresses(settings: Settings, environment: Mapping[str, str]) -> list[str]:
    """Return the addresses of the configuration, as systemd writes them. The port 0 is left to the daemon."""
    addresses: list[str] = []
    if settings.port:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        addresses.append(f"{host}:{settings.port}")
    if settings.unix is not None:
        usual = settings.unix == xdg.default_socket(environment)
        addresses.append("%t/mcp-bridge/mcp-bridge.sock" if usual else str(settings.unix).replace("%", "%%"))
    return addresses


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.chmod(0o644)
    draft.replace(path)
