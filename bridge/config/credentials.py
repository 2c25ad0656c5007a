"""Where the bearer token comes from: a file of the operator's, or one that was minted here and is kept.

No secret is taken from the command line or from the environment (invariant I5). Files that others could read or
replace are refused (StrictModes); an error names the path and the reason, never the content.
"""

import errno
import os
import re
import secrets
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...transports.options import Launch
from ...validators.bearer import TokenSet
from .child_environment import looks_random
from .command_files import files_of
from .helper_programs import HelperFailed, Helpers
from .xdg import runtime_directory, state_directory

PRINCIPAL: Final = "owner"
# As many links as Linux follows in a path (path_resolution(7)).
_MOST_LINKS: Final = 40
# The value of listen.token with which a token is minted for each boot.
BOOT: Final = "boot"
_PREFIX: Final = "mcpb_"
_LARGEST: Final = 4096
_DIRECTORY_MODE: Final = 0o700
# How the text begins that says where a secret is kept, if it is no file.
_KINDS: Final = ("exec", "credential")
_PLACES: Final = (
    "; the value says where a secret is kept (FILE, credential:NAME or exec:CMD) and is no secret itself"
)
# An absolute path of two parts at least, or one that begins with a dot or a tilde.
_FILE_NAME: Final = re.compile(r"(?:(?:/[\w.,@ -]+)|~[\w.-]*|\.\.?)(?:/[\w.,@ -]+)+")
# A part of a path of so many characters, with capital and small letters and digits, may be a secret.
_RANDOM: Final = 16


class BadCredential(Exception):
    """A token file that we will not use; the text names the path and the reason."""


def read_token(path: Path) -> str:
    """The token in a file. Raises BadCredential."""
    return _check_content(path, read_private(path, "token file"))


def read_private(path: Path, what: str, shown: str | None = None) -> bytes:
    """The content of a small file that nobody else can read. Raises BadCredential, which calls it `what`.

    With `shown` the file has this name in the text if it cannot be found, or none if that is empty.
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
    try:  # everything by descriptor, so that what is checked is what is read
        _check_file(path, os.fstat(descriptor), what)
        return os.read(descriptor, _LARGEST + 1)
    finally:
        os.close(descriptor)


def _check_file(path: Path, found: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadCredential(f"the {what} {path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise BadCredential(f"the {what} {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if found.st_mode & 0o077:
        raise BadCredential(
            f"the {what} {path} has mode {found.st_mode & 0o777:04o}; others must have no access (0600)"
        )
    if found.st_size > _LARGEST:
        raise BadCredential(f"the {what} {path} has {found.st_size} bytes; the limit is {_LARGEST}")


def expanded(text: str) -> Path:
    """The path, with ~ and ~USER as their homes. Raises BadCredential for a user that there is not."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise BadCredential(f"{text!r}: there is no such user, or it has no home") from None


def read_secret(
    source: str, environment: Mapping[str, str], base: Path, helpers: Helpers | None = None
) -> str:
    """A secret by where it is kept: `credential:NAME` (systemd), `exec:CMD ARG...`, or a file. Raises BadCredential.

    A credential is `$CREDENTIALS_DIRECTORY/NAME` (systemd.exec(5)). A command is run without a shell and says the secret
    on its standard output. A relative path begins at `base`. A file name that may be the secret itself is not shown.
    """
    kind, colon, rest = source.partition(":")
    shown = repr(kind if colon and kind in _KINDS else _shown_name(source))
    if colon and kind == "exec":
        content = _said_by(rest, environment, helpers or Helpers())
    elif colon and kind == "credential":
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if not directory or "/" in rest:
            raise BadCredential(f"there is no credential {rest!r}: systemd has passed none (LoadCredential=)")
        content = read_private(Path(directory) / rest, "credential")
    else:
        content = read_private(base / expanded(source), "secret file", _shown_name(source))
    try:
        text = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise BadCredential(f"the secret from {shown} is not UTF-8") from None
    if not text or "\0" in text:
        raise BadCredential(f"the secret from {shown} is empty or holds a zero byte")
    return text


def check_source(source: str) -> None:
    """Raise BadCredential for a place of a secret that no machine could have."""
    kind, colon, rest = source.partition(":")
    if colon and kind == "exec":
        _words(rest)
    elif not source:
        raise BadCredential("an empty text names no place of a secret")
    elif names_file(source):
        try:
            expanded(source)
        except BadCredential:
            if _shown_name(source):
                raise
            raise BadCredential(f"the file that it names is of a user that there is not{_PLACES}") from None


def names_file(source: str) -> bool:
    """Return whether the place of a secret is a file."""
    kind, colon, _ = source.partition(":")
    return not (colon and kind in _KINDS)


def _shown_name(source: str) -> str:
    """Return the name of a file as it may be shown: a text that does not look like one may be a secret by mistake."""
    looks_like_one = _FILE_NAME.fullmatch(source) and not any(
        len(word) >= _RANDOM and looks_random(word) for word in source.split("/")
    )
    return source if looks_like_one else ""


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as fault:
        raise BadCredential(f"the helper cannot be split into words: {fault}") from None
    if not words:
        raise BadCredential("the helper exec: names no program")
    return words


def _said_by(command: str, environment: Mapping[str, str], helpers: Helpers) -> bytes:
    words = _words(command)
    for file in files_of(Launch(tuple(words), environment)).files:
        try:
            check_executed(Path(file))
        except BadCredential as fault:
            raise BadCredential(
                f"the helper {words[0]!r} is not run, since others could replace it: {fault}"
            ) from None
    try:
        return helpers.run(words, environment, _LARGEST)
    except HelperFailed as fault:
        raise BadCredential(str(fault)) from None


def check_key(path: Path) -> None:
    """Raise BadCredential for the key of a certificate that anybody may read, or that others could replace.

    A group may read it: some systems have one for those who need such keys.
    """
    check_trusted(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o007:
        raise BadCredential(
            f"the key {path} has mode {mode:04o}; everybody could read it; chmod o-rwx {path}"
        )


def is_unmapped_root(uid: int, uid_map: str, overflow: str) -> bool:
    """Whether a file of this uid may be root's, who has no uid in our user namespace (user_namespaces(7)).

    Every other user without a uid there looks the same, so it is not enough for what an operator has written.
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
    """Raise BadCredential unless only we, or root, can change this file and the way to it (StrictModes of sshd).

    The way is that of the name and, where it leads through links, that of each link. A directory that others may write to
    is accepted where its sticky bit keeps them from replacing what is ours.
    """
    way = _way_to(path)
    real = way[-1]
    for place in way:
        # In a user namespace (PrivateUsers= of a user's unit) root's directories seem to be of a uid that nobody has.
        _check_place(place, real, roots=place not in (real, real.parent))


def check_executed(path: Path) -> None:
    """Raise BadCredential where others than we and root could replace what is executed, or listened on, under this name.

    It is as `check_trusted`, but root may have no uid here, and others may not write into its own directory at all.
    """
    way = _way_to(path)
    real = way[-1]
    for place in way:
        _check_place(place, real, roots=True)
    _check_closed(real.parent)


def check_directory(path: Path) -> None:
    """Raise BadCredential where others could replace what is in this directory, or the nearest that there is above it."""
    # os.path takes a place that we may not look at for one that is not there.
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110
        path = path.parent
    check_trusted(path)
    _check_closed(path)


def _check_closed(directory: Path) -> None:
    try:
        mode = directory.stat().st_mode
    except OSError as fault:
        raise BadCredential(f"{directory} cannot be looked at: {os.strerror(fault.errno or 0)}") from None
    if mode & 0o022:
        raise _writable(directory, mode)


def _way_to(path: Path) -> list[Path]:
    """Return every directory and link that leads to a file, and the file itself as the last. Raises BadCredential."""
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
            raise BadCredential(f"{here} cannot be looked at: {os.strerror(fault.errno or 0)}") from None
        # The last place is where the way ends, also if it was passed before.
        way.pop(here, None)
        way[here] = None
        if target is not None:
            links += 1
            if links > _MOST_LINKS:
                raise BadCredential(f"{path} cannot be looked at: it has more than {_MOST_LINKS} links")
            parts = [part for part in target.parts if part != "/"] + parts
            here = Path("/") if target.is_absolute() else here.parent
    return [place for place in way if place != here] + [here]


def _check_place(place: Path, real: Path, *, roots: bool) -> None:
    try:
        found = place.lstat()
    except OSError as fault:
        raise BadCredential(f"{place} cannot be looked at: {os.strerror(fault.errno or 0)}") from None
    if found.st_uid not in (0, os.geteuid()):
        if roots and is_unmapped_root(found.st_uid, *_namespace()):
            return
        raise BadCredential(f"{place} belongs to uid {found.st_uid}, neither to you nor to root")
    sticky = place != real and stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    # A link has no mode of its own: who may replace it is a matter of its directory.
    if found.st_mode & 0o022 and not (sticky or stat.S_ISLNK(found.st_mode)):
        raise _writable(place, found.st_mode)


def _writable(place: Path, mode: int) -> BadCredential:
    return BadCredential(
        f"{place} has mode {stat.S_IMODE(mode):04o}: others could change it; chmod go-w {place}"
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
    """Return the file of the default token, and the token: kept until it is rotated, or with the source BOOT of each boot.

    It is minted where there is none, and shared by all bridges of one user. Raises BadCredential.
    """
    return _token_in(default_token_directory(source, environment))


def boot_token(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return the file of the token of this boot, and the token. Raises BadCredential."""
    return default_token(BOOT, environment)


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
            # A file that could not be used is a sign that something is wrong with the directory.
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
            # Unlike rename(2), link(2) never replaces the token that another bridge has just minted.
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
    if found.st_uid != os.geteuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise BadCredential(f"the directory {directory} must be yours and writable by nobody else")


def _check_owner(path: Path) -> None:
    found = path.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        raise BadCredential(f"the token file {path} is not a regular file of uid {os.geteuid()}")


def _write_token(directory: Path) -> Path:
    """Write a new token into a file of its own, and return its path."""
    draft = directory / f".token.{secrets.token_hex(8)}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:  # noqa: PTH123
        file.write(new_token() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft


def new_token() -> str:
    """Return a random token of 256 bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def sync_directory(directory: Path) -> None:
    """Write the entries of a directory to the disk, so that a rename in it survives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as fault:
        # Some file systems do not implement it for directories.
        if fault.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _not_kept(directory: Path, fault: OSError) -> BadCredential:
    return BadCredential(
        f"cannot keep a token in {directory}: {os.strerror(fault.errno or 0)}; "
        f'listen.token = "{BOOT}" keeps it in the runtime directory, and --token-file FILE names a file of yours'
    )
