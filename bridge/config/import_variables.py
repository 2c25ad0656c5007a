"""Find the variables in a text of another client's configuration, and replace those whose values are known. Pure.

The clients have different forms: `${env:X}` and `${input:x}` (VS Code, Cursor, Windsurf), `${X}` and `${X:-default}`
(Claude Code, Gemini CLI, Goose), `$X` (Gemini CLI, Goose, Crush), `$(command)` (Crush), `{env:X}` and `{file:PATH}` (opencode), and
`${{ secrets.X }}` (Continue). The forms in braces with a dollar sign are accepted for each client.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from .child_environment import looks_secret

Kind = Literal["text", "variable", "input", "file", "unknown"]
# The folder that is open in the client, or that has the file of the plugin.
_PROJECT: Final = frozenset(
    {"workspaceFolder", "workspaceRoot", "cwd", "CLAUDE_PROJECT_DIR", "CLAUDE_PLUGIN_ROOT", "__dirname"}
)
_BRACES: Final = (
    r"\$\{\{\s*(?P<secret>[^{}]{1,200}?)\s*\}\}"
    r"|\$\{(?P<kind>env|input|file):(?P<named>[^{}]{1,200}?)(?::-(?P<fallback>[^{}]{0,1000}))?\}"
    r"|\$\{user_config\.(?P<option>[\w.-]{1,200})\}"
    r"|\$\{(?P<plain>[A-Za-z_]\w{0,199})(?::-(?P<default>[^{}]{0,1000}))?\}"
    r"|\$\{(?P<other>[^{}]{0,200})\}"
)
_FORMS: Final = {
    "": re.compile(_BRACES),
    "dollar": re.compile(_BRACES + r"|\$(?P<bare>[A-Za-z_]\w{0,199})"),
    "shell": re.compile(_BRACES + r"|\$(?P<bare>[A-Za-z_]\w{0,199})|\$\((?P<run>[^()]{0,200})\)"),
    "opencode": re.compile(_BRACES + r"|\{(?P<curly>env|file):(?P<within>[^{}]{1,200})\}"),
}


@attrs.frozen
class Piece:
    """A part of a text: a literal text, or a variable with its name and its default."""

    kind: Kind
    text: str = attrs.field(repr=False)
    default: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Surroundings:
    """What the variables of a file stand for.

    `form` selects the forms of variables beside those in braces: empty, "dollar", "shell" or "opencode". `project` is the directory
    of the project, empty if unknown. `inputs` are the defaults of inputs that are no passwords.
    """

    environment: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    home: str = "/"
    project: str = ""
    form: str = ""
    inputs: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


@attrs.frozen
class Expanded:
    """A text whose known variables are replaced. Adjacent literal texts are one piece.

    `replaced` are the names of variables whose values were inserted. `secret` is whether one of them looks like a secret.
    """

    pieces: tuple[Piece, ...]
    replaced: tuple[str, ...] = ()
    secret: bool = False

    @property
    def text(self) -> str | None:
        """Return the whole text, or None if it has an unknown part."""
        return None if self.missing else "".join(piece.text for piece in self.pieces)

    @property
    def missing(self) -> tuple[Piece, ...]:
        """Return the parts that are unknown."""
        return tuple(piece for piece in self.pieces if piece.kind != "text")

    @property
    def alone(self) -> Piece | None:
        """Return the unknown part that is the whole text, or None."""
        return self.pieces[0] if len(self.pieces) == 1 and self.missing else None


def shown_piece(piece: Piece) -> str:
    """Return the name of an unknown part for a note."""
    what = {"variable": "the variable", "input": "the input", "file": "the file"}.get(
        piece.kind, "the value of"
    )
    return f"{what} {piece.text}"


def expand(text: str, around: Surroundings, *, keep: bool = False) -> Expanded:
    """Return a text with the values of its variables.

    With `keep` a variable of the environment is left in place, other than HOME, because the caller has a reference for it.
    """
    pieces: list[Piece] = []
    replaced: list[str] = []
    secret = False
    end = 0
    for found in _FORMS[around.form].finditer(text):
        pieces.append(Piece("text", text[end : found.start()]))
        end = found.end()
        piece = _piece(found, around)
        name, value = piece.text, around.environment.get(piece.text)
        if piece.kind == "variable" and name == "HOME":
            piece = Piece("text", around.home)
        elif piece.kind == "variable" and not keep:
            if value is not None:
                replaced.append(name)
                secret = secret or looks_secret(name, value)
                piece = Piece("text", value)
            elif piece.default is not None:
                piece = Piece("text", piece.default)
        elif piece.kind == "input" and name in around.inputs:
            piece = Piece("text", around.inputs[name])
        pieces.append(piece)
    pieces.append(Piece("text", text[end:]))
    return Expanded(_joined(pieces), tuple(replaced), secret)


def _piece(found: re.Match[str], around: Surroundings) -> Piece:
    parts = found.groupdict()
    if parts["secret"] is not None:
        return Piece("input", parts["secret"].rpartition(".")[2])
    kind: str | None = parts["kind"] or parts.get("curly")
    if kind is not None:
        name: str = parts["named"] or parts["within"]
        kinds: dict[str, Kind] = {"env": "variable", "input": "input", "file": "file"}
        return Piece(kinds[kind], name.strip(), parts["fallback"])
    if parts["option"] is not None:
        return Piece("input", parts["option"])
    plain: str | None = parts["plain"] or parts.get("bare")
    if plain is None:
        return Piece("text", "/") if parts["other"] == "/" else Piece("unknown", found[0])
    return _named(plain, parts["default"], around)


def _named(name: str, default: str | None, around: Surroundings) -> Piece:
    if name in _PROJECT:
        return Piece("text", around.project) if around.project else Piece("unknown", f"${{{name}}}")
    if name == "workspaceFolderBasename" and around.project:
        return Piece("text", around.project.rpartition("/")[2])
    if name == "userHome":
        return Piece("text", around.home)
    return Piece("text", "/") if name == "pathSeparator" else Piece("variable", name, default)


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    joined: list[Piece] = []
    for piece in pieces:
        if joined and piece.kind == joined[-1].kind == "text":
            joined[-1] = Piece("text", joined[-1].text + piece.text)
        elif piece.kind != "text" or piece.text:
            joined.append(piece)
    # The text that comes first may be empty, and is then replaced by what follows.
    return tuple(joined)
