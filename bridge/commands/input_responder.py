"""Answer the requests of a server in the course of a call: questions are put to the user at the terminal.

Only elicitation is offered. Without a terminal every question is declined. No program is started for a link, and nothing that
the server has sent reaches the terminal unescaped.
"""

from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from ..log import escaped
from .control_client import ErrorResponse
from .elicitation_form import BadAnswer, Field, fields_of
from .printable import printable

_ELICITATION: Final = "elicitation/create"
_DECLINE: Final = {"action": "decline"}
CANCEL: Final = {"action": "cancel"}
_WORDS: Final = ":decline, :cancel and :skip decline the request, cancel it, and leave a field out"
# Of a title or a description of a field (characters).
_LONGEST: Final = 500


class Terminal(Protocol):
    """A user at a terminal."""

    def show(self, text: str) -> None:
        """Write a line. Its control characters are escaped already."""
        ...

    def ask(self, prompt: str) -> str | None:
        """Return the line that the user types after a prompt, None at the end of the input."""
        ...


class _Declined(Exception):
    pass


class _Cancelled(Exception):
    pass


class InputResponder:
    """Answers the input requests of a server. `terminal` is None where there is no user; then `notice` gets a line."""

    def __init__(self, server: str, terminal: Terminal | None, notice: "Notice") -> None:
        self._server = server
        self._terminal = terminal
        self._notice = notice

    def respond(self, request: object) -> dict[str, Any]:
        """Return the result for an input request. Raises ErrorResponse for one that a command cannot answer."""
        found: dict[str, Any] = cast("dict[str, Any]", request) if isinstance(request, dict) else {}
        method = str(found.get("method", ""))
        if method != _ELICITATION:
            raise ErrorResponse(why_not_offered(self._server, method))
        params: object = found.get("params")
        about = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        message = str(about.get("message", ""))
        if self._terminal is None:
            self._notice(
                f"{self._server} has requested input, which was declined, because stdin or stderr is not a terminal: {message}"
            )
            return dict(_DECLINE)
        self._terminal.show(f"{escaped(self._server)} requests input:")
        self._terminal.show(_indented(message))
        try:
            if about.get("mode") == "url":
                return self._open(self._terminal, str(about.get("url", "")))
            return self._fill_in(self._terminal, fields_of(about.get("requestedSchema")))
        except _Declined:
            return dict(_DECLINE)
        except _Cancelled:
            return dict(CANCEL)

    # ---- modes

    def _open(self, terminal: Terminal, url: str) -> dict[str, Any]:
        """Show a link, and ask whether the user agrees to open it."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not host:
            terminal.show(f"  declined: the link is not an HTTP URL: {escaped(url)}")
            raise _Declined
        terminal.show(f"  link to {escaped(host)}: {escaped(url)}")
        if not host.isascii() or "xn--" in host:
            terminal.show("  warning: the name of this host has letters that can look like others")
        _confirm(terminal, "  Open it in a browser, and then accept?")
        return {"action": "accept"}

    def _fill_in(self, terminal: Terminal, fields: tuple[Field, ...]) -> dict[str, Any]:
        if fields:
            terminal.show(f"  ({_WORDS}. The server gets what you type.)")
        content: dict[str, object] = {}
        for field in fields:
            _show_field(terminal, field)
            _fill_in_field(terminal, field, content)
        _confirm(terminal, "  Send these answers?" if fields else "  Accept?")
        return {"action": "accept", "content": content}


class Notice(Protocol):
    """Writes a notice of this program to the user."""

    def __call__(self, text: str, /) -> None: ...


def why_not_offered(server: str, method: str) -> str:
    """Return the error text for a request of a server, or a capability, that commands do not offer."""
    wanted = {
        "sampling/createMessage": "the answer of a language model (sampling)",
        "sampling": "the answer of a language model (sampling)",
        "roots/list": "the directories of a client (roots)",
        "roots": "the directories of a client (roots)",
    }.get(method, f"{method!r}")
    return f"{server} requests {wanted}, which this command does not offer; use an MCP client that does"


def _show_field(terminal: Terminal, field: Field) -> None:
    for text in (field.title, field.description):
        if text and text != field.name:
            terminal.show(_indented(text[:_LONGEST], "    "))
    for at, (value, title) in enumerate(field.choices, start=1):
        named = f": {escaped(title[:_LONGEST])}" if title and title != value else ""
        terminal.show(f"    {at}) {escaped(value[:_LONGEST])}{named}")


def _fill_in_field(terminal: Terminal, field: Field, content: dict[str, object]) -> None:
    """Ask until the answer is valid, and add it to the content."""
    prompt = f"  {escaped(field.name[:_LONGEST])} ({escaped(field.hint[:_LONGEST])}): "
    while True:
        text = _typed(terminal, prompt)
        if text == ":skip":
            if not field.required:
                return
            terminal.show("    this field is required")
            continue
        if not text:
            if field.default is not None:
                content[field.name] = field.default
                return
            if not field.required:
                return
            terminal.show("    this field is required")
            continue
        try:
            content[field.name] = field.answer(text.removeprefix(":") if text.startswith("::") else text)
        except BadAnswer as fault:
            terminal.show(f"    {escaped(str(fault))}")
        else:
            return


def _typed(terminal: Terminal, prompt: str) -> str:
    """Return the next line. The end of the input declines."""
    line = terminal.ask(prompt)
    if line is None or line.strip() == ":decline":
        raise _Declined
    text = line.strip()
    if text == ":cancel":
        raise _Cancelled
    return text


def _confirm(terminal: Terminal, question: str) -> None:
    """Return if the user accepts."""
    while True:
        word = _typed(terminal, f"{question} (y)es, (n)o to decline, (c)ancel: ").casefold()
        if word in ("y", "yes"):
            return
        if word in ("n", "no", "d", "decline"):
            raise _Declined
        if word in ("c", "cancel"):
            raise _Cancelled


def _indented(text: str, indent: str = "  ") -> str:
    return "\n".join(f"{indent}{line}" for line in printable(text).split("\n"))
