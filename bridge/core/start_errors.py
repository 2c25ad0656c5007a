"""Explain why a server could not be started: a line of its output, and the usual cause of such a line. Pure.

A server that fails at its start prints the reason on its standard streams, which its client does not get.
"""

import re
from functools import partial
from typing import Final, NamedTuple

from ...transports.options import Sandbox
from .sandbox_hints import sandbox_hint

# The longest part of a line that stands in an error message, (characters).
_SHOWN: Final = 200
# A line with a word for a credential, and a word for a missing value.
_CREDENTIAL: Final = re.compile(
    r"api[ _-]?key|\btokens?\b|_token\b|password|passphrase|\bsecret|credential|environment variable|\benv var",
    re.IGNORECASE,
)
_MISSING: Final = re.compile(
    r"required|requires|missing|not (?:been )?(?:set|found|provided|defined|configured)|must|need|please|enter"
    r"|provide|invalid|undefined|unset|\bno\b|[:?]\s*\Z",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(
    r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b.*(?:required|missing|not set|not defined|must be|undefined|unset)"
)
_USAGE: Final = re.compile(
    r"^\s*usage\b|(?:unrecognized|unknown|unexpected|invalid) (?:argument|option|command)"
    r"|missing (?:required )?(?:positional )?argument|arguments? (?:is|are) required",
    re.IGNORECASE,
)
_TERMINAL: Final = re.compile(
    r"\bnot (?:a|from a) (?:tty|terminal)\b|terminal is required|no tty present|/dev/tty|inappropriate ioctl for device"
    r"|(?:requires?|needs?|must be run in) an? (?:interactive )?(?:tty|terminal)\b|raw mode is not supported",
    re.IGNORECASE,
)
_HINTS: Final = (
    (_TERMINAL, "it needs a terminal, which an MCP server does not have: docker run needs -i, without -t"),
    (
        re.compile(r"press (?:any key|enter|return)\b|[(\[](?:yes|y)/(?:no|n)[)\]]", re.IGNORECASE),
        "it waits for input from a terminal, which no client can send",
    ),
    (
        re.compile(r"^Content-(?:Length|Type):", re.IGNORECASE),
        "it writes headers before its messages, as the Language Server Protocol does; MCP has one message per line",
    ),
    (
        re.compile(r"""^\s+"\w+"\s*:\s"""),
        "it writes a message on several lines; MCP has one message per line",
    ),
    (
        re.compile(
            r"\bE404\b|npm (?:ERR!|error) (?:code )?(?:404|ETARGET)\b|no solution found when resolving|no matching (?:version|distribution) found"
            r"|could not find a version that satisfies",
            re.IGNORECASE,
        ),
        "the package registry does not have the package or its version: is its name right?",
    ),
    (
        re.compile(
            r"\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH)\b|getaddrinfo|name resolution|could not resolve host"
            r"|connection refused|network is unreachable|cannot connect to the docker daemon",
            re.IGNORECASE,
        ),
        "it cannot reach a service or the network: is the service running, and does the server get its address and the proxy (pass_env)?",
    ),
    (
        re.compile(r"need to install the following packages|ok to proceed\?", re.IGNORECASE),
        "npx waits for a confirmation, which no client can send: add -y to its arguments",
    ),
    (
        re.compile(r"EADDRINUSE|address (?:is )?already in use", re.IGNORECASE),
        "another process uses its port, perhaps because it was started in HTTP mode",
    ),
    (
        re.compile(
            r"\b(?:listening|running|started|serving|available|ready)\b.*(?:https?://|\bport\b|:\d{2,5}\b)"
            r"|https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])|\buvicorn\b|\bSSE (?:server|endpoint)",
            re.IGNORECASE,
        ),
        (
            "was it started in HTTP mode? It must speak MCP on stdin and stdout, which many servers do with "
            "--transport stdio, or without --port"
        ),
    ),
    (_USAGE, "it printed its usage: are its arguments right?"),
    (
        re.compile(
            r"[Cc]annot find (?:module|package)|ModuleNotFoundError|No module named|ERR_MODULE_NOT_FOUND"
            r"|command not found|No such file or directory|ENOENT|can't open file"
        ),
        "a file or module that it needs is missing",
    ),
    (
        re.compile(r"permission denied|operation not permitted|\bEACCES\b|\bEPERM\b", re.IGNORECASE),
        "the user of the bridge may not use a file or a device that it needs",
    ),
)
# A control sequence (ECMA-48 section 5.4), as `log.escaped` writes it.
_CONTROL: Final = re.compile(r"\\x1b\[[0-9:;<=>?]*[ -/]*[@-~]")
_NO_CREDENTIAL: Final = "does it lack a credential or a setting? Variables of a server are set with env, env_file, secrets and pass_env"
_ENDED: Final = "an MCP server must run until its stdin ends: is the command right?"


class Output(NamedTuple):
    """The last lines of the output of a process, oldest first."""

    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()


class StartFault(NamedTuple):
    """The reason why a process could not be used. `reason` ends a sentence that begins with "the server"."""

    reason: str
    output: Output = Output()
    # Whether the process runs without a response, and whether it has exited by itself.
    hangs: bool = False
    ended: bool = False
    # What the process was confined to.
    sandbox: Sandbox = Sandbox()

    @property
    def hint(self) -> str:
        """The usual cause of the output, an empty string where that is unknown."""
        return self._found[1]

    @property
    def summary(self) -> str:
        """The reason, a line of the output, and the hint."""
        line, hint = self._found
        parts = [self.reason]
        if line:
            parts.append(f"it printed {line[:_SHOWN]!r}")
        elif self.hangs:
            parts.append("it has printed nothing")
        return "; ".join([*parts, *([hint] if hint else [])])

    @property
    def _found(self) -> tuple[str, str]:
        shown = Output(_as_displayed(self.output.stdout), _as_displayed(self.output.stderr))
        lines = [*shown.stderr, *shown.stdout]
        # A refusal of the sandbox is the more certain cause, also in a line after others.
        for explain in (partial(sandbox_hint, sandbox=self.sandbox), _hint):
            for line in lines:
                if hint := explain(line):
                    return line, hint
        own = (shown.stderr or lines or [""])[-1]
        return own, _ENDED if self.ended and not lines and not self._killed else ""

    @property
    def _killed(self) -> bool:
        return self.reason.startswith("was killed")


def _as_displayed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return escaped lines (`log.escaped`) as a terminal displays them: without colours, with the last state of a progress bar."""
    parts = [[part for part in _CONTROL.sub("", line).split(r"\r") if part.strip()] for line in lines]
    return tuple(states[-1] for states in parts if states)


def _hint(line: str) -> str:
    lacks = (_CREDENTIAL.search(line) and _MISSING.search(line)) or _VARIABLE.search(line)
    if lacks and not _USAGE.search(line) and not _TERMINAL.search(line):
        return _NO_CREDENTIAL
    return next((hint for pattern, hint in _HINTS if pattern.search(line)), "")
