"""Read the code of a document: blocks and spans of Markdown, and blocks of a manual page.

Pure: text in, values out. A line number is that of the first line of the code, beginning with 1.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", ".github/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
MANUALS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "man").iterdir())
UNITS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "systemd").iterdir())


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its text without indentation, and where it stands."""

    document: str
    line: int
    # The word after the fence; "" for an indented block and a manual page.
    language: str
    text: str
    # The heading above.
    section: str
    # The last line of text above, such as a comment that names a configuration.
    before: str

    @property
    def first(self) -> str:
        """Return the first line, which names the block in the table of uses."""
        return self.text.split("\n", 1)[0]


@dataclass(frozen=True, slots=True)
class Span:
    """Code inside of a sentence, with the paragraph, list item or row of a table that has it."""

    document: str
    line: int
    text: str
    section: str
    paragraph: str


_FENCE = re.compile(r"^( *)(```+|~~~+)\s*(\w*)\s*$")
_HEADING = re.compile(r"^#{1,6} (.*)$")
_ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def blocks_of(document: str, text: str) -> list[Block]:
    """Return the blocks of a Markdown document. Raises ValueError for a fence without an end."""
    return _read(document, text)[0]


def spans_of(document: str, text: str) -> list[Span]:
    """Return the spans of code of a Markdown document, none of them from a block."""
    return [
        Span(document, line + paragraph[: found.start()].count("\n"), _joined(found[2]), section, paragraph)
        for line, section, paragraph in _read(document, text)[1]
        for found in _CODE.finditer(paragraph)
    ]


def paragraphs_of(document: str, text: str) -> list[tuple[int, str, str]]:
    """Return line, heading and text of each paragraph, list item and row of a table, without blocks of code."""
    return _read(document, text)[1]


def _joined(code: str) -> str:
    return " ".join(code.split())


def _read(document: str, text: str) -> tuple[list[Block], list[tuple[int, str, str]]]:
    lines = text.split("\n")
    blocks: list[Block] = []
    paragraphs: list[tuple[int, str, str]] = []
    section, before, in_list, at = "", "", False, 0
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line):
            end = _end_of_fence(document, lines, at, fence[2])
            inside = textwrap.dedent("\n".join(lines[at + 1 : end]))
            blocks.append(Block(document, at + 2, fence[3], inside, section, before))
            at = end + 1
        elif line.startswith("    ") and not in_list and (at == 0 or not lines[at - 1].strip()):
            end = _end_of_indented(lines, at)
            inside = textwrap.dedent("\n".join(lines[at:end]))
            blocks.append(Block(document, at + 1, "", inside, section, before))
            at = end
        elif heading := _HEADING.match(line):
            section, before, in_list = heading[1], line, False
            at += 1
        elif line.strip():
            end = _end_of_paragraph(lines, at)
            in_list = bool(_ITEM.match(line)) or (in_list and line.startswith(" "))
            paragraphs.append((at + 1, section, "\n".join(lines[at:end])))
            before = lines[end - 1]
            at = end
        else:
            at += 1
    return blocks, paragraphs


def _end_of_fence(document: str, lines: list[str], at: int, fence: str) -> int:
    for number in range(at + 1, len(lines)):
        if lines[number].strip() == fence:
            return number
    raise ValueError(f"{document}:{at + 1}: a block has no end")


def _end_of_indented(lines: list[str], at: int) -> int:
    """Return the number of the line after an indented block, whose empty lines belong to it."""
    end = at
    for number in range(at, len(lines)):
        if lines[number].startswith("    "):
            end = number + 1
        elif lines[number].strip():
            break
    return end


def _end_of_paragraph(lines: list[str], at: int) -> int:
    for number in range(at + 1, len(lines)):
        line = lines[number]
        if not line.strip() or _FENCE.match(line) or _HEADING.match(line) or _ITEM.match(line):
            return number
        # A row of a table is a text of its own.
        if line.startswith("|"):
            return number
    return len(lines)


# ---- manual pages


def plain(text: str) -> str:
    """Return the text of a manual page without fonts and with the characters that its escapes stand for."""
    return (
        re.sub(r"\\f[A-Z]", "", text)
        .replace("\\-", "-")
        .replace("\\(dq", '"')
        .replace("\\(aq", "'")
        .replace("\\e", "\\")
        .replace("\\~", " ")
        .replace("\\&", "")
    )


def blocks_of_manual(document: str, text: str) -> list[Block]:
    """Return the blocks between .nf and .fi, and between .EX and .EE, as a reader sees them."""
    blocks: list[Block] = []
    section, before, start = "", "", 0
    inside: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line in {".nf", ".EX"}:
            start, inside = number + 1, []
        elif line in {".fi", ".EE"}:
            if not start:
                raise ValueError(f"{document}:{number}: {line} ends no block")
            blocks.append(Block(document, start, "", plain("\n".join(inside)), section, before))
            start = 0
        elif start:
            # .RS and .RE set the margin.
            if line not in {".RS", ".RE"}:
                inside.append(line)
        elif heading := re.match(r"^\.S[HS] (.*)$", line):
            section = heading[1]
        elif not line.startswith((".PP", ".RS", ".RE")):
            before = line
    if start:
        raise ValueError(f"{document}:{start}: a block has no end")
    return blocks


# ---- the documents of this checkout


def read(document: str) -> str:
    """Return the text of a document of this checkout."""
    return (ROOT / document).read_text()


def all_blocks() -> list[Block]:
    """Return the blocks of all documents and manual pages."""
    found = [block for document in MARKDOWN for block in blocks_of(document, read(document))]
    return found + [block for page in MANUALS for block in blocks_of_manual(page, read(page))]


def all_spans() -> list[Span]:
    """Return the spans of code of all Markdown documents."""
    return [span for document in MARKDOWN for span in spans_of(document, read(document))]
