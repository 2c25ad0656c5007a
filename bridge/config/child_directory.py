"""Check the keys of a server that let a client choose the working directory: `cwd = "client"` with its conditions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .child_environment import BadEnvironment, shown
from .credentials import expand_home
from .directory_code import TRUST, why_directory_chooses, why_program_chooses
from .schema import Server
from .tables import BadConfig, Fault

# The value of `cwd` for the directory of each client.
CLIENT: Final = "client"


def client_directories(where: str, server: Server) -> tuple[str, ...]:
    """Return the allowed directories of a server with `cwd = "client"`, none for another server.

    `where` is the table of the server. Raises BadConfig, and BadCredential for an unknown user after ~.
    """
    faults = [
        Fault(f"{where}: {key}: {reason}", (*where.split("."), key))
        for key, reason in _faults_of_directory(server)
    ]
    if faults:
        raise BadConfig(faults=faults)
    return tuple(str(expand_home(directory)) for directory in server.cwd_allowed)


def _faults_of_directory(server: Server) -> Iterator[tuple[str, str]]:
    """Yield the keys that have errors, with the reasons."""
    if server.cwd != CLIENT:
        for key, given in (("cwd_allowed", server.cwd_allowed), ("cwd_trust", server.cwd_trust)):
            if given:
                yield key, 'means something with cwd = "client" only'
        return
    if not server.cwd_allowed:
        yield (
            "cwd",
            (
                '"client" needs cwd_allowed, the directories that clients may choose,'
                ' such as cwd_allowed = ["~/src"]'
            ),
        )
    for directory in server.cwd_allowed:
        if not expand_home(directory).is_absolute():
            yield "cwd_allowed", f"must hold absolute paths, not {shown(directory)}"
    if server.share == "server":
        yield (
            "cwd",
            'with share = "server" all clients have one process, which cannot run in the directory of each',
        )
    for key, is_given in (("spare", server.spare > 0), ("start", server.start == "eager")):
        if is_given:
            yield (
                key,
                'with cwd = "client" no process can start before its client has named a directory',
            )
    if server.words and not server.cwd_trust and (reason := why_directory_chooses(server.words, {})):
        yield "cwd", _refusal(reason)


def check_directory_code(command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Check that the directory of a client chooses no code, as far as variables and files show. Blocks. Raises BadEnvironment."""
    reason = why_directory_chooses(command, variables) or why_program_chooses(command, variables)
    if reason:
        raise BadEnvironment(f"cwd: {_refusal(reason)}")


def _refusal(reason: str) -> str:
    return f'with cwd = "client" the directory of a client would choose the program: {reason}; {TRUST}'
