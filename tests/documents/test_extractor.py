"""The reader of blocks and spans, and each check of a block with a planted fault."""

import pytest

from ..support import documents
from ..support.command_lines import commands_in, logical_lines, usage_fault
from ..support.documents import Block, blocks_of, blocks_of_manual, spans_of
from . import checks, test_blocks, uses

TEXT = """\
# Title

A paragraph with `code` and ``a `tick` ``.

    indented one

    still the same block

- an item

    not a block, but the rest of the item

## Second

   ```toml
   key = 1

     [table]
   ```

| `cell` | x |
| `row` | y |

<!-- run: name -->
```
plain `no span`
```
"""


def test_blocks_have_their_text_line_language_heading_and_marker():
    assert blocks_of("x.md", TEXT) == [
        Block(
            "x.md",
            5,
            "",
            "indented one\n\nstill the same block",
            "Title",
            "A paragraph with `code` and ``a `tick` ``.",
        ),
        Block("x.md", 16, "toml", "key = 1\n\n  [table]", "Second", "## Second"),
        Block("x.md", 26, "", "plain `no span`", "Second", "<!-- run: name -->"),
    ]


def test_spans_are_those_of_sentences_and_rows():
    found = [(span.line, span.text, span.section) for span in spans_of("x.md", TEXT)]
    assert found == [
        (3, "code", "Title"),
        (3, "a `tick`", "Title"),
        (21, "cell", "Second"),
        (22, "row", "Second"),
    ]


def test_a_block_without_an_end_is_an_error():
    with pytest.raises(ValueError, match=r"x\.md:1: a block has no end"):
        blocks_of("x.md", "```toml\nkey = 1\n")
    with pytest.raises(ValueError, match=r"x\.1:2: a block has no end"):
        blocks_of_manual("x.1", ".nf\ntext")
    with pytest.raises(ValueError, match=r"x\.1:1: \.fi ends no block"):
        blocks_of_manual("x.1", ".fi\n")


def test_a_block_of_a_manual_is_as_a_reader_sees_it():
    page = ".SH EXAMPLES\nRun it:\n.PP\n.nf\n.RS\nmcp\\-bridge \\(aqa b\\(aq\n.RE\n.fi\n.EX\nkey = 1\n.EE\n"
    first, second = blocks_of_manual("x.1", page)
    assert (first.text, first.section, first.before) == ("mcp-bridge 'a b'", "EXAMPLES", "Run it:")
    assert second.text == "key = 1"


def test_each_fence_and_each_block_of_a_manual_is_found():
    blocks = documents.all_blocks()
    for document in documents.MARKDOWN:
        fences = sum(line.lstrip().startswith("```") for line in documents.read(document).split("\n"))
        assert sum(block.document == document and bool(block.language) for block in blocks) == fences // 2, (
            document
        )
    for page in documents.MANUALS:
        starts = documents.read(page).count("\n.nf\n") + documents.read(page).count("\n.EX\n")
        assert sum(block.document == page for block in blocks) == starts > 0


def test_lines_of_shell_are_joined_and_commands_found():
    text = "# a comment\ncurl \\\n  -d '{\n}'\nmcp-bridge ps  # shows\n\nx | mcp-bridge logs a > b && mcp-bridge ps\n"
    lines = logical_lines(text)
    assert lines == [
        "curl \\\n  -d '{\n}'",
        "mcp-bridge ps  # shows",
        "x | mcp-bridge logs a > b && mcp-bridge ps",
    ]
    assert [commands_in(line) for line in lines] == [
        [],
        ["mcp-bridge ps"],
        ["mcp-bridge logs a", "mcp-bridge ps"],
    ]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("mcp-bridge stauts", "stauts"),
        ("mcp-bridge status --jsn", "--jsn"),
        ("mcp-bridge ps --write", "--write"),
        ("mcp-bridge --prot 1 --stdio x", "--prot"),
        ("mcp-bridge token neu editor", "neu"),
        ("mcp-bridge call 'a", "quotation"),
    ],
)
def test_a_wrong_command_line_is_found(line, word):
    assert word in usage_fault(line)


def test_a_new_block_has_no_use():
    blocks = [
        *blocks_of("README.md", documents.read("README.md")),
        Block("README.md", 999, "sh", "mcp-bridge x", "", ""),
    ]
    assert test_blocks.paired(blocks)[-1][1] is None


def test_a_block_in_the_place_of_another_has_no_use():
    first, *rest = blocks_of("README.md", documents.read("README.md"))
    new = Block("README.md", 1, "sh", "mcp-bridge ps", "", "")
    assert [use for _, use in test_blocks.paired([new, first, *rest])][:2] == [None, None]


PLANTED = [
    (uses.Config(), "[servers.a]\ncomand = 'x'", "comand"),
    (uses.Config(("git",)), "[tokens.a]\nsha256 = 'ab'", "sha256"),
    (uses.Config(), "[aggregate]\nservers = ['git']", "git"),
    (uses.Config(("git",)), "[listen]\nhttp = 8808", "http"),
    (uses.Config(), "[log\n", "] is missing"),
    (uses.Commands("remote"), "mcp-bridge login", "NAME"),
    (uses.Commands("remote"), "mcpbridge login a", "there is no command"),
    (uses.Commands("because"), "mcp-bridge ps", "no reason"),
    (uses.Targets(), "make tset", "no target tset"),
    (uses.Targets(), "make fuzz FUZZ_SECOND=6", "no variable FUZZ_SECOND"),
    (uses.Targets(), ".venv/bin/python -m pytest tests/nowhere", "tests/nowhere"),
    (uses.Targets(), ".venv/bin/python -m tests.fuzz.repaly A", "repaly"),
    (uses.Targets(), ".venv/bin/python benchmarks/connect.py --client", "no option --client"),
    (uses.Targets(), "pip install x", "no program of the repository"),
    (uses.Json(), '{"mcpServers": {"a": {"command": "mcp-bridge", "args": ["conect", "a"]}}}', "conect"),
    (uses.Json(), '{"mcpServers": {"a": {"url": "http://127.0.0.1:8808/mpc"}}}', "no path"),
    (uses.Json(), '{"mcpServers": {"a": {"url": "http://127.0.0.1:8808/mcp"}}}', "Bearer"),
    (uses.Json(), '{"mcpServers": {}}', "no server"),
    (uses.Json(), '{"mcpServers": }', "Expecting value"),
    (uses.Jobs(), "scrape_configs:\n- job: x\n  authorization: {}", "no key job"),
    (uses.Jobs(), "scrape_configs:\n- metrics_path: /metric\n  authorization: {token: x}", "/metric"),
    (uses.Unit("mcp-bridge.service"), "[Service]\nSystemCallFilters=x", "SystemCallFilters"),
    (uses.Text("arguments"), "Invalid argument for the tool read_file", "the program prints"),
    (uses.Text("scheme"), "refused", "the program prints"),
    (uses.Text("message"), "it does not fit", "the program prints"),
    (uses.Map(), "transports/htp", "no transports/htp"),
    (uses.Map(), "nothing", "no path"),
    (uses.Default("refused_schemes"), 'refused_schemes = ["javascript"]', "by default"),
    (uses.Proof("make nothing"), "x", "no target"),
    (uses.Proof("tests/test_documents.py::test_nothing"), "x", "no test"),
    (uses.Proof("tests/nowhere.py::test_nothing"), "x", "no test"),
    (uses.Proof("make proxies", "proxi"), "x", "no reason"),
    (uses.Proof("make proxies", "proxy", "tests/proxies/proxies.py"), "x", "no marker"),
    (
        uses.Proof("make container", "container", "tests/container"),
        "podman run --privilegd",
        "--privilegd",
    ),
]


@pytest.mark.parametrize(("use", "text", "word"), PLANTED)
def test_a_planted_fault_of_a_block_is_found(use, text, word, tmp_path):
    faults = checks.faults_of(Block("x.md", 1, "", text, "", ""), use, tmp_path)
    assert word in "\n".join(faults)


def test_a_marker_that_no_program_names_is_found(tmp_path):
    block = Block("x.md", 1, "nginx", "server {}", "", "<!-- run: ngnix -->")
    assert checks.faults_of(block, uses.PROXIES, tmp_path) == ["tests/proxies/proxies.py has no ngnix"]


def test_each_kind_of_use_has_a_planted_fault():
    # The lines of `Run` are run: a wrong one fails its test.
    kinds = {type(use) for use, _, _ in PLANTED} | {uses.Run}
    assert kinds == set(uses.Use.__args__)
