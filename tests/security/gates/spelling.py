"""Words that are misspelled often."""

from pathlib import Path
from typing import Final

from ..plants import appended
from ..result import Result, checked
from ..tools import files, lines, version

CLASS: Final = "spelling"
TOOL: Final = "codespell"
SPEED: Final = "fast"

# Mistakes are written on purpose in tests of suggestions; lists of dependencies and inputs of the fuzzer are no prose.
_NOT: Final = (
    ":!tests/*/test_*.py",
    ":!tests/bridge",
    ":!tests/fuzz/corpus",
    ":!tests/*/package-lock.json",
    ":!tests/security/gates/spelling.py",
)
# `te` is a field of HTTP, `bu` a macro of mandoc, `ontext` the class OnText; `disabl` the stem of a word;
# `ans` is a name, and the rest are parts of JSON in a test.
_IGNORED: Final = "te,bu,ontext,disabl,ans,fals,tru,ser"
# A word that a program has cut.
_CUT: Final = r"\w+…"


def run(root: Path) -> Result:
    """Check documents, manuals, sources and what tests share."""
    paths = files(root, ".", *_NOT)
    options = ["--disable-colors", "--ignore-words-list", _IGNORED, "--ignore-regex", _CUT]
    printed = lines(["codespell", *options, *paths], root, found=(65,))
    return checked((line.removeprefix("./") for line in printed), version("codespell"))


PLANTS: Final = (
    appended("a misspelled word in a document", "docs/ACCESS.md", "\nThe recieved token.\n", "docs/ACCESS.md", "recieved"),
    appended("a misspelled word in a manual", "man/mcp-bridge.1", '.\\\\" seperate\n', "man/mcp-bridge.1", "seperate"),
    appended("a misspelled word in a comment", "validators/names.py", "\n# An adress.\n", "validators/names.py", "adress"),
)  # fmt: skip
