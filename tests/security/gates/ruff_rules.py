"""Insecure calls, banned modules and complexity, as configured for ruff in pyproject.toml."""

from pathlib import Path
from typing import Final

from ..plants import new_file
from ..result import Result, checked
from ..tools import lines, version

CLASS: Final = "insecure code"
TOOL: Final = "ruff"
SPEED: Final = "fast"


def run(root: Path) -> Result:
    """Run all rules; a finding is a line `path:line:column: code text`."""
    printed = lines(["ruff", "check", "--no-cache", "--output-format=concise", "."], root)
    return checked((line for line in printed if line.count(":") >= 3), version("ruff"))


def fix(root: Path) -> None:
    """Apply ruff's safe fixes and its formatter."""
    lines(["ruff", "check", "--quiet", "--fix", "."], root)
    lines(["ruff", "format", "--quiet", "."], root)


_FAULTS: Final = (
    ("S602", "a command run by a shell", "import subprocess\n\nsubprocess.run('ls ' + __name__, shell=True, check=True)"),
    ("S605", "os.system", "import os\n\nos.system('ls ' + __name__)"),
    ("S301", "pickle.loads", "import pickle\n\npickle.loads(__name__.encode())"),
    ("S307", "eval", "eval(__name__)"),
    ("S102", "exec", "exec(__name__)"),
    ("S506", "yaml.load without a safe loader", "import yaml\n\nyaml.load(__name__, Loader=yaml.Loader)"),
    ("S306", "tempfile.mktemp", "import tempfile\n\ntempfile.mktemp()"),
    ("S324", "MD5", "import hashlib\n\nhashlib.md5(__name__.encode())"),
    ("S311", "a random number that can be predicted", "import random\n\nTOKEN = random.randbytes(32)"),
    ("S105", "a password in the source", 'PASSWORD = "hunter2hunter2"'),
    ("S104", "a listener on all interfaces", 'HOST = "0.0.0.0"'),
    ("S103", "a file that all may write", "import os\n\nos.chmod(__name__, 0o777)"),
    ("S501", "a certificate that is not verified", "import requests\n\nrequests.get('https://x', timeout=1, verify=False)"),
    ("S113", "a request without a time limit", "import requests\n\nrequests.get('https://x')"),
    ("S202", "an archive that is unpacked unchecked", "import tarfile\n\ntarfile.open(__name__).extractall()"),
    ("S314", "XML of a foreign source", "import xml.etree.ElementTree\n\nxml.etree.ElementTree.fromstring(__name__)"),
    ("S608", "SQL made of texts", "QUERY = 'SELECT x FROM y WHERE z = ' + __name__"),
    ("BLE001", "an exception of any kind that is dropped", "try:\n    import x\nexcept Exception:\n    x = None"),
    ("TID251", "asyncio, which the bridge does not use", "import asyncio\n\nasyncio.run(main())"),
    ("F401", "an import that is not used", "import json"),
    (
        "C901",
        "a function of complexity over 12",
        "def f(x: int) -> int:\n    '''Return.'''\n" + "".join(f"    if x == {n}:\n        x += {n}\n" for n in range(13)) + "    return x",
    ),
    ("UP006", "syntax of an old Python", "from typing import List\n\nX: List[int] = []"),
)  # fmt: skip

PLANTS: Final = tuple(
    new_file(name, path, f'"""Planted."""\n\n{text}\n', path, f" {code} ")
    for code, name, text in _FAULTS
    for path in [f"bridge/planted_{code.lower()}.py"]
)
