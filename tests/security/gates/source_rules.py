"""Rules for the sources that no linter has: each is a function that yields the places that break it.

An exception has a comment on its line or the line above: `# allowed: RULE - the reason`.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ..plants import new_file
from ..result import Result, checked
from ..tools import OWN, files

CLASS: Final = "insecure code"
TOOL: Final = "rules of this project"
SPEED: Final = "fast"

_SOURCES: Final = (
    "bridge/*.py",
    "entry/*.py",
    "transports/*.py",
    "validators/*.py",
    "examples/*.py",
    "setup.py",
)
_ALLOWED: Final = re.compile(r"# allowed: ([a-z-]+) - \S.*")
# Functions that wait for a process.
_WAITS: Final = {"run", "call", "check_call", "check_output"}
# An exemption from a check, up to the reason.
_EXEMPTION: Final = re.compile(
    r"# ?(?:noqa(?::\s*[A-Z0-9]+(?:,\s*[A-Z0-9]+)*)?|(?:type|pyright): ?ignore(?:\[[^\]]*\])?|pragma: no (?:cover|branch))(.*)"
)
_REASON: Final = re.compile(r"\s+(?:-|#)\s*[\w`]+")
_SECRET_NAME: Final = re.compile(r"(?:.*_)?(?:digest|hmac|mac|signature)\Z")

Nodes = list[ast.AST]
Place = tuple[int, str]


def _calls(nodes: Nodes) -> Iterator[tuple[ast.Call, str]]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node, _dotted(node.func)


def _dotted(node: ast.expr) -> str:
    """Return the name of a function as it is written; empty for the result of a call."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _keywords(call: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in call.keywords}


def dollar_at_the_end(nodes: Nodes) -> Iterator[Place]:
    """`$` also matches before a newline at the end, so that a checked value may have one. `\\Z` does not."""
    for call, name in _calls(nodes):
        if not name.startswith("re.") or not call.args or "MULTILINE" in ast.unparse(call):
            continue
        for part in ast.walk(call.args[0]):
            if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                text = part.value if isinstance(part.value, str) else part.value.decode("latin-1")
                if _has_dollar(text):
                    yield part.lineno, f"{text!r} ends with $, which also matches before a newline; use \\Z"


def _has_dollar(pattern: str) -> bool:
    """Return whether a pattern has a `$` that is neither escaped nor in a set of characters."""
    in_set = False
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            next(letters, None)
        elif letter in "[]":
            in_set = letter == "["
        elif letter == "$" and not in_set:
            return True
    return False


def wait_without_limit(nodes: Nodes) -> Iterator[Place]:
    """A process or a peer that never ends holds its caller for ever."""
    for call, name in _calls(nodes):
        keywords = _keywords(call)
        if name.startswith("subprocess.") and name.rpartition(".")[2] in _WAITS and "timeout" not in keywords:
            yield call.lineno, f"{name} without a timeout"
        if name == "socket.create_connection" and len(call.args) < 2 and "timeout" not in keywords:
            yield call.lineno, f"{name} without a timeout"


def shield_without_limit(nodes: Nodes) -> Iterator[Place]:
    """A shielded wait without a deadline cannot be ended by anything."""
    for call, name in _calls(nodes):
        keywords = _keywords(call)
        if (
            name.endswith("CancelScope")
            and "shield" in keywords
            and not {"deadline", "relative_deadline"} & keywords
        ):
            yield (
                call.lineno,
                "a shielded CancelScope without a deadline; use move_on_after(..., shield=True)",
            )


def cancellation_dropped(nodes: Nodes) -> Iterator[Place]:
    """Trio needs every cancellation that it raised."""
    for node in nodes:
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            names = {
                ast.unparse(part)
                for part in ast.walk(node.type)
                if isinstance(part, ast.Attribute | ast.Name)
            }
            raises = any(isinstance(part, ast.Raise) for part in ast.walk(node))
            if names & {"trio.Cancelled", "Cancelled", "BaseException", "BaseExceptionGroup"} and not raises:
                yield node.lineno, f"except {ast.unparse(node.type)} without a raise drops cancellations"


def suppressed_without_a_name(nodes: Nodes) -> Iterator[Place]:
    """An exception that is dropped has a name."""
    for call, name in _calls(nodes):
        dropped = {ast.unparse(argument) for argument in call.args}
        if name.endswith("suppress") and dropped & {"Exception", "BaseException"}:
            yield call.lineno, f"{name} of exceptions of any kind"


def file_without_mode(nodes: Nodes) -> Iterator[Place]:
    """A file that os.open creates without a mode has the mode 0777 less the umask."""
    for call, name in _calls(nodes):
        if (
            name == "os.open"
            and "O_CREAT" in ast.unparse(call)
            and len(call.args) < 3
            and "mode" not in _keywords(call)
        ):
            yield call.lineno, "os.open creates a file without a mode"


def digest_compared_with_equals(nodes: Nodes) -> Iterator[Place]:
    """The time of `==` shows how many bytes of a secret are right. hmac.compare_digest does not."""
    for node in nodes:
        if isinstance(node, ast.Compare) and any(isinstance(how, ast.Eq | ast.NotEq) for how in node.ops):
            for side in (node.left, *node.comparators):
                name = ast.unparse(side).rpartition(".")[2]
                if isinstance(side, ast.Name | ast.Attribute) and _SECRET_NAME.match(name):
                    yield node.lineno, f"{name} is compared with ==; use hmac.compare_digest"


RULES: Final[tuple[Callable[[Nodes], Iterator[Place]], ...]] = (
    dollar_at_the_end,
    wait_without_limit,
    shield_without_limit,
    cancellation_dropped,
    suppressed_without_a_name,
    file_without_mode,
    digest_compared_with_equals,
)


def run(root: Path) -> Result:
    """Apply all rules to the sources of the program."""
    return checked(
        (finding for path in files(root, *_SOURCES) for finding in check((root / path).read_text(), path)),
        OWN,
    )


def check(text: str, path: str) -> Iterator[str]:
    """Yield a line for each place of a source that breaks a rule."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: no Python: {error.msg}"
        return
    comments = _comments(text)
    for rule in RULES:
        name = rule.__name__.replace("_", "-")
        for line, what in rule(nodes):
            if name not in {
                allowed for at in (line, line - 1) for allowed in _ALLOWED.findall(comments.get(at, ""))
            }:
                yield f"{path}:{line}: {name}: {what}"
    for line, comment in comments.items():
        for rest in _EXEMPTION.findall(comment):
            if not _REASON.match(rest) and not _is_text(comments.get(line - 1, "")):
                yield f"{path}:{line}: exemption-without-reason: {comment}"


def _is_text(comment: str) -> bool:
    return bool(comment) and not _EXEMPTION.search(comment)


def _comments(text: str) -> dict[int, str]:
    """Return the comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


_PLANTED: Final = (
    ("dollar-at-the-end", "a pattern that ends with $", "import re\n\nNAME = re.compile(r'[a-z]+$')"),
    ("wait-without-limit", "a process that is waited for without a limit", "import subprocess\n\nsubprocess.run(['ls'], check=True)"),
    ("shield-without-limit", "a shielded wait without a limit", "import trio\n\nSCOPE = trio.CancelScope(shield=True)"),
    ("cancellation-dropped", "a cancellation that is dropped", "import trio\n\ntry:\n    x()\nexcept trio.Cancelled:\n    x = 1"),
    ("suppressed-without-a-name", "suppress(Exception)", "from contextlib import suppress\n\nwith suppress(Exception):\n    x()"),
    ("file-without-mode", "a file created without a mode", "import os\n\nos.open('x', os.O_WRONLY | os.O_CREAT)"),
    ("digest-compared-with-equals", "a signature compared with ==", "def f(signature, other):\n    return signature == other"),
    ("exemption-without-reason", "an exemption without a reason", "X = eval('1')  # noqa: S307"),
)  # fmt: skip

PLANTS: Final = tuple(
    new_file(what, path, f'"""Planted."""\n\n{text}\n', path, f" {rule}: ")
    for rule, what, text in _PLANTED
    for path in [f"transports/planted_{rule.replace('-', '_')}.py"]
)
