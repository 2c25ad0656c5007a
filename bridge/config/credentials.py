"""Read secrets from files, systemd credentials and helper programs, and keep the default bearer token.

No secret comes from the command line or the environment. Files that others could read or replace are refused, as by
StrictModes of sshd_config(5). An error names the path and the reason, never the content.
"""

import errno
import os
import re
import secrets
import shlex
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ...transports.options import Launch
from ...validators.bearer import TokenSet
from ..core.exit_codes import EX_CONFIG, ReportedError
from .child_environment import looks_random
from .command_files import find_command_files
from .helper_programs import HelperFailed, Helpers
from .private_group import others_can_read, others_can_write
from .xdg import runtime_directory, state_directory

PRINCIPAL: Final = "owner"
# Linux follows so many links in a path (path_resolution(7)).
_MOST_LINKS: Final = 40
# The value of listen.token for a token that is generated for each boot.
BOOT: Final = "boot"
_PREFIX: Final = "mcpb_"
# The largest secret (bytes).
_LARGEST: Final = 4096
_DIRECTORY_MODE: Final = 0o700
# The prefixes of the places of secrets, other than files.
_KINDS: Final = ("exec", "credential")
_PLACES: Final = (
    "; the value must be the place of a secret (FILE, credential:NAME or exec:CMD), not the secret"
)
# An absolute path of at least two parts, or a path that begins with a dot or a tilde.
_FILE_NAME: Final = re.compile(r"(?:(?:/[\w.,@ -]+)|~[\w.-]*|\.\.?)(?:/[\w.,@ -]+)+")
# A part of a path may be a secret if it has this length, capital letters, small letters and digits.
_RANDOM: Final = 16


class BadCredential(ReportedError):
    """Raised for a secret, or another trusted file, that cannot be used. The text names the path and the reason."""

    exit_code = EX_CONFIG


def read_token(path: Path, *, is_credential: bool = False) -> str:
    """Return the token in a file. Raises BadCredential."""
    content = read_credential(path) if is_credential else read_private(path, "token file")
    return _check_content(path, content)


def read_private(path: Path, what: str, shown: str | None = None, *, roots: bool = False) -> bytes:
    """Return the content of a small file that only its owner can read. Raises BadCredential.

    With `roots` it may belong to root, and a group may read it whose only member is this user. `what` is the kind of file in an error. `shown` replaces the path of a missing file there; empty hides the path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        reason = (
            "is a symbolic link"
            if fault.errno == errno.ELOOP
            else f"cannot be read: {os.strerror(fault.errno or 0)}"
        )
        name = str(path) if shown is None or shown else "that it names"
        raise BadCredential(f"the {what} {name} {reason}{_PLACES if name != str(path) else ''}") from None
    # Checked and read by descriptor, so that both are the same file.
    try:
        _check_file(path, os.fstat(descriptor), what, roots=roots)
        return os.read(descriptor, _LARGEST + 1)
    finally:
        os.close(descriptor)


def read_credential(path: Path) -> bytes:
    """Return the content of a credential that the service manager has passed. Raises BadCredential.

    Unlike another secret it may be root's file, and a link in a directory that only root and this user can change: the kubelet
    passes a Secret as links to files of root that a group of the pod can read.
    """
    if path.is_symlink():
        check_trusted(path)
        path = _way_to(path)[-1]
    return read_private(path, "credential", roots=True)


def _check_file(path: Path, found: os.stat_result, what: str, *, roots: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadCredential(f"the {what} {path} is not a regular file")
    if found.st_uid != os.geteuid() and not (roots and found.st_uid == 0):
        raise BadCredential(f"the {what} {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if others_can_read(path, found) if roots else found.st_mode & 0o077:
        raise BadCredential(
            f"the {what} {path} has mode {found.st_mode & 0o777:04o}; others must have no access: "
            f"chmod 600 {shlex.quote(str(path))}"
        )
    if found.st_size > _LARGEST:
        raise BadCredential(f"the {what} {path} has {found.st_size} bytes; the limit is {_LARGEST}")


def expand_home(text: str) -> Path:
    """Return a path with ~ and ~USER expanded. Raises BadCredential for an unknown user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise BadCredential(f"{text!r}: there is no such user, or the user has no home directory") from None


def read_secret(
    source: str, environment: Mapping[str, str], base: Path, helpers: Helpers | None = None
) -> str:
    """Return a secret from `credential:NAME`, `exec:CMD ARG...` or a file. Blocks. Raises BadCredential.

    A credential is `$CREDENTIALS_DIRECTORY/NAME` (systemd.exec(5)). A command runs without a shell and prints the secret
    on its standard output. A relative path begins at `base`. An error does not show a file name that may be the secret.
    """
    kind, colon, rest = source.partition(":")
    shown = repr(kind if colon and kind in _KINDS else _shown_name(source))
    if colon and kind == "exec":
        content = _output_of_helper(rest, environment, helpers or Helpers())
    elif colon and kind == "credential":
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if not directory or "/" in rest:
            raise BadCredential(f"there is no credential {rest!r}: systemd has passed none (LoadCredential=)")
        content = read_credential(Path(directory) / rest)
    else:
        content = read_private(base / expand_home(source), "secret file", _shown_name(source))
    try:
        text = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise BadCredential(f"the secret from {shown} is not UTF-8") from None
    if not text or "\0" in text:
        raise BadCredential(f"the secret from {shown} is empty or holds a zero byte")
    return text


def check_source(source: str) -> None:
    """Check the syntax of the place of a secret. Raises BadCredential."""
    kind, colon, rest = source.partition(":")
    if colon and kind == "exec":
        split_helper(rest)
    elif not source:
        raise BadCredential("the place of a secret is empty")
    elif is_file_source(source):
        try:
            expand_home(source)
        except BadCredential:
            if _shown_name(source):
                raise
            raise BadCredential(f"the path is that of an unknown user{_PLACES}") from None


def is_file_source(source: str) -> bool:
    """Return whether a secret is kept in a file."""
    kind, colon, _ = source.partition(":")
    return not (colon and kind in _KINDS)


def _shown_name(source: str) -> str:
    """Return the name of a file, or an empty string where it may be a secret by mistake."""
    looks_like_a_path = _FILE_NAME.fullmatch(source) and not any(
        len(word) >= _RANDOM and looks_random(word) for word in source.split("/")
    )
    return source if looks_like_a_path else ""


def split_helper(command: str) -> list[str]:
    """Return the words of the command of a helper. Raises BadCredential."""
    try:
        words = shlex.split(command)
    except ValueError as fault:
        raise BadCredential(f"the helper cannot be split into words: {fault}") from None
    if not words:
        raise BadCredential("the helper names no program")
    return words


def _output_of_helper(command: str, environment: Mapping[str, str], helpers: Helpers) -> bytes:
    words = split_helper(command)
    check_helper(words, environment)
    try:
        return helpers.run(words, environment, _LARGEST)
    except HelperFailed as fault:
        raise BadCredential(str(fault)) from None


def check_helper(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Check that only this user and root can replace what a helper executes. Raises BadCredential."""
    for file in find_command_files(Launch(tuple(words), environment)).files:
        try:
            check_executed(Path(file))
        except BadCredential as fault:
            raise BadCredential(
                f"the helper {words[0]!r} is refused, because others could replace it: {fault}"
            ) from None


def check_key(path: Path) -> None:
    """Check that only the owner can change the key of a certificate, and only owner and group can read it.

    Some systems have a group for the readers of TLS keys. Raises BadCredential.
    """
    check_trusted(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o007:
        raise BadCredential(
            f"the key {path} has mode {mode:04o}: other users have access; chmod o-rwx {path}"
        )


def is_unmapped_root(uid: int, uid_map: str, overflow: str) -> bool:
    """Return whether a file of this uid may be root's, where the user namespace does not map root (user_namespaces(7)).

    The files of every other unmapped user have the same uid, so this is not sufficient for files of the configuration.
    """
    if str(uid) != overflow.strip():
        return False
    ranges = [[int(word) for word in line.split()] for line in uid_map.splitlines()]
    return not any(inside == 0 for inside, _, _ in ranges)


def _namespace() -> tuple[str, str]:
    try:
        return (
            Path("/proc/self/uid_map").read_text(encoding="ascii"),
            Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"),
        )
    except OSError:
        return "", ""


def check_trusted(path: Path) -> None:
    """Check that only this user and root can change a file and every directory and link of its path. Raises BadCredential.

    A directory that others can write to is accepted with the sticky bit, which keeps others from replacing the file. A group
    may write if this user is its only member.
    """
    way = _way_to(path)
    real = way[-1]
    for place in way:
        # In a user namespace (PrivateUsers= of a user's unit) root's directories have the overflow uid.
        _check_place(place, real, roots=place not in (real, real.parent))


def check_executed(path: Path) -> None:
    """Check that only this user and root can replace a program. Raises BadCredential.

    As `check_trusted`, but for an unmapped root, and with no write access of others to the directory of the program.
    """
    way = _way_to(path)
    real = way[-1]
    for place in way:
        _check_place(place, real, roots=True)
    _check_closed(real.parent)


def check_directory(path: Path) -> None:
    """Check that only this user and root can replace files of a directory, or of its nearest existing parent.

    Raises BadCredential.
    """
    # os.path.exists returns False without permission.
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110 - see above
        path = path.parent
    check_trusted(path)
    _check_closed(path)


def _check_closed(directory: Path) -> None:
    try:
        found = directory.stat()
    except OSError as fault:
        raise BadCredential(f"{directory} cannot be checked: {os.strerror(fault.errno or 0)}") from None
    if others_can_write(directory, found):
        raise _writable(directory, found.st_mode)


def _way_to(path: Path) -> list[Path]:
    """Return every directory and link of the path of a file, and the file itself at the end. Raises BadCredential."""
    way: dict[Path, None] = {}
    here, parts = Path("/"), [*path.absolute().parts[1:]]
    way[here] = None
    links = 0
    while parts:
        here = here.parent if parts[0] == ".." else here / parts[0]
        parts = parts[1:]
        try:
            target = here.readlink() if here.is_symlink() else None
        except OSError as fault:
            raise BadCredential(f"{here} cannot be checked: {os.strerror(fault.errno or 0)}") from None
        # A place that occurs twice moves to the end.
        way.pop(here, None)
        way[here] = None
        if target is not None:
            links += 1
            if links > _MOST_LINKS:
                raise BadCredential(f"{path} cannot be checked: it has more than {_MOST_LINKS} links")
            parts = [part for part in target.parts if part != "/"] + parts
            here = Path("/") if target.is_absolute() else here.parent
    return [place for place in way if place != here] + [here]


def _check_place(place: Path, real: Path, *, roots: bool) -> None:
    try:
        found = place.lstat()
    except OSError as fault:
        raise BadCredential(f"{place} cannot be checked: {os.strerror(fault.errno or 0)}") from None
    if found.st_uid not in (0, os.geteuid()):
        if roots and is_unmapped_root(found.st_uid, *_namespace()):
            return
        raise BadCredential(f"{place} belongs to uid {found.st_uid}, neither to you nor to root")
    sticky = place != real and stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    # A link has no mode of its own. The mode of its directory decides who can replace it.
    if not (sticky or stat.S_ISLNK(found.st_mode)) and others_can_write(place, found):
        raise _writable(place, found.st_mode)


def _writable(place: Path, mode: int) -> BadCredential:
    return BadCredential(
        f"{place} has mode {stat.S_IMODE(mode):04o}: others could change it; chmod go-w {shlex.quote(str(place))}"
    )


def _check_content(path: Path, content: bytes) -> str:
    try:
        token = content.decode("ascii").removesuffix("\n")
        TokenSet({token: PRINCIPAL})
    except UnicodeDecodeError:
        raise BadCredential(
            f"the token file {path} holds bytes that are not ASCII (a byte order mark?)"
        ) from None
    except ValueError as fault:
        raise BadCredential(f"the token file {path} holds no usable token: {fault}") from None
    return token


def default_token(source: str, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return the file of the default token, and the token. Raises BadCredential.

    The token is generated if there is none. All bridges of a user share it, until it is rotated or, with BOOT, until the
    next boot.
    """
    return _token_in(default_token_directory(source, environment))


def default_token_directory(source: str, environment: Mapping[str, str]) -> Path:
    """Return the directory of the file `token` that holds the default token."""
    return runtime_directory(environment) if source == BOOT else state_directory(environment)


def rotate_token(source: str, environment: Mapping[str, str]) -> Path:
    """Replace the default token by a new one, and return the file that holds it. Raises BadCredential."""
    directory = default_token_directory(source, environment)
    path = directory / "token"
    try:
        _prepare(directory)
        if path.is_symlink() or path.exists():
            # A file of another kind or owner shows that the directory is not as expected.
            _check_owner(path)
        _write_token(directory).replace(path)
        sync_directory(directory)
    except OSError as fault:
        raise _not_kept(directory, fault) from None
    return path


def _token_in(directory: Path) -> tuple[Path, str]:
    path = directory / "token"
    try:
        _prepare(directory)
        if path.is_symlink() or path.exists():
            return path, read_token(path)
        draft = _write_token(directory)
        try:
            # Unlike rename(2), link(2) never replaces the token that another bridge has just generated.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_directory(directory)
        return path, read_token(path)
    except OSError as fault:
        raise _not_kept(directory, fault) from None


def _prepare(directory: Path) -> None:
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise BadCredential(f"{directory} must be a directory that belongs to you")
    if others_can_write(directory, found):
        raise _writable(directory, found.st_mode)


def _check_owner(path: Path) -> None:
    found = path.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        raise BadCredential(f"the token file {path} is not a regular file of uid {os.geteuid()}")


def _write_token(directory: Path) -> Path:
    """Write a new token into a temporary file, and return its path."""
    draft = directory / f".token.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor
            file.write(new_token() + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def new_token() -> str:
    """Return a random token of 256 bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def sync_directory(directory: Path) -> None:
    """Flush the entries of a directory to disk, so that a rename survives a power failure (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as fault:
        # Some file systems do not support fsync of directories.
        if fault.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _not_kept(directory: Path, fault: OSError) -> BadCredential:
    return BadCredential(
        f"cannot keep a token in {directory}: {os.strerror(fault.errno or 0)}; "
        f'listen.token = "{BOOT}" keeps it in the runtime directory, and --token-file FILE uses a file of yours'
    )
