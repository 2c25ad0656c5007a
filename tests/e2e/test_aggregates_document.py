"""docs/AGGREGATES.md: its configurations are valid, and its figures are those of the program."""

import json
import re
import textwrap
import tomllib

import pytest

from mcpbridged.bridge.aggregate import search_surface
from mcpbridged.bridge.config import load, tables

from ..support.bridge_process import EXAMPLE, REPOSITORY
from ..support.config_file import HERE
from ..support.daemon_process import daemon

TEXT = (REPOSITORY / "docs/AGGREGATES.md").read_text()
BLOCKS = [
    textwrap.dedent(block).strip()
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", TEXT, re.MULTILINE)
    if block.lstrip().startswith("[")
]
SERVERS = {f"server{number}": {"command": EXAMPLE} for number in range(1, 8)}
AGGREGATES = {
    "one server, all tools": {"servers": ["server1"]},
    "seven servers, all tools": {"servers": ["*"]},
    'seven servers, `surface = "search"`': {"servers": ["*"], "surface": "search"},
}


def test_each_configuration_is_valid(tmp_path):
    first, *others = BLOCKS
    assert [next(iter(tomllib.loads(block))) for block in BLOCKS] == [
        "servers",
        "aggregates",
        "tokens",
        "aggregates",
    ]
    load.plan_text(first, tmp_path / "config.toml", HERE)
    servers = first.partition("[aggregates.dev]")[0]
    for block in others:
        whole = (f"{first}\n" if block.startswith("[tokens") else servers) + block
        load.plan_text(whole, tmp_path / "config.toml", HERE)


def test_the_limits_are_right():
    assert f"There may be {tables._MOST_AGGREGATES} aggregates." in TEXT
    assert f"`limit` (20, at most {search_surface.MOST_FOUND})" in TEXT
    assert f"`names` (at most {search_surface.MOST_DESCRIBED})" in TEXT
    for name in (search_surface.SEARCH, search_surface.DESCRIBE, search_surface.CALL):
        assert f"| `{name}` |" in TEXT


@pytest.mark.parametrize(
    ("servers", "aggregates", "found"),
    re.findall(r"^\| (–|`\[.*?\]`) \| (–|`\[.*?\]`) \| (.* \| .*) \|$", TEXT, re.MULTILINE),
)
def test_the_scope_of_each_token_is_right(tmp_path, servers, aggregates, found):
    keys = {"servers": servers, "aggregates": aggregates}
    lines = [f"{key} = {value.strip('`')}" for key, value in keys.items() if value != "–"]
    text = "\n".join([BLOCKS[0], "[tokens.t]", f"sha256 = '{'0' * 64}'", *lines])
    [token] = load.plan_text(text, tmp_path / "config.toml", HERE).tokens
    shown = [", ".join(sorted(names)) or "none" for names in (token.servers, token.aggregates)]
    assert " | ".join(shown).replace("*", "all") == found


def test_the_sizes_of_the_lists_are_right(tmp_path):
    names = {f"a{number}": title for number, title in enumerate(AGGREGATES)}
    given = {f"aggregates.{name}": AGGREGATES[title] for name, title in names.items()}
    with daemon(tmp_path, SERVERS, **given) as running:
        for name, title in names.items():
            printed = running.do("tools", name, "--json").stdout
            assert f"| {title} | {len(json.loads(printed))} | {len(printed.encode())} |" in TEXT
