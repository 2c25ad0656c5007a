"""Figures in sentences of the documents are those of the program."""

import re
import tomllib

import pytest

from mcpbridged.bridge.admin import api
from mcpbridged.bridge.commands import server_lists
from mcpbridged.bridge.commands.pump import session_setup, settings
from mcpbridged.bridge.config import import_sources, tables
from mcpbridged.bridge.config.addresses import DEFAULT_PORT
from mcpbridged.bridge.core import (
    browser_sessions,
    call_metrics,
    content_reader,
    definition_lint,
    definition_texts,
    hidden_json,
    schema_checks,
    server_check,
    span_queue,
)
from mcpbridged.bridge.daemon import metrics, span_export
from mcpbridged.bridge.events import catalog
from mcpbridged.transports import counted_events
from mcpbridged.transports.client import http_client
from mcpbridged.validators import json_object, json_schema, schema_cost
from mcpbridged.validators.limits import Limits

from ..support.documents import plain, read

KIB, MIB = 1024, 1024 * 1024
WORDS = {
    "a minute": 60,
    "an hour": 3600,
    "two": 2,
    "four": 4,
    "five": 5,
    "ten": 10,
    "ten minutes": 600,
    "fifteen": 15,
    "two million": 2_000_000,
}
LIMITS = Limits()
CLAIMS = len(tomllib.loads(read("tests/posture/claims.toml"))["claim"])
PLANTS = sum(line.startswith("| ") for line in read("docs/PLANTED-FAULTS.md").splitlines()) - 1
[CELLS] = map(int, re.findall(r"(\d+) cells:", read("docs/COMPATIBILITY.md")))
# Methods and tools have `(other)` each.
MOST_PAIRS = call_metrics.MOST_TOOLS + 1 + len(call_metrics.METHODS) + 1
NAP = settings.NapTimes()
# A document, a sentence with {} in place of each figure, and the figures of the program.
FIGURES = [
    ("README.md", "http://127.0.0.1:{}/mcp", [DEFAULT_PORT]),
    ("README.md", "`--help` lists the {} clients", [len(import_sources.CLIENTS)]),
    ("CHANGELOG.md", "`config import` reads {} clients", [len(import_sources.CLIENTS)]),
    ("CHANGELOG.md", "docs/POSTURE.md lists {} security claims", [CLAIMS]),
    ("CHANGELOG.md", "breaks the code in {} places", [PLANTS]),
    ("CHANGELOG.md", "a scripted server in {} cells", [CELLS]),
    ("docs/ADMIN.md", "The link is valid once, and for {}.", [browser_sessions.LINK_SECONDS]),
    (
        "docs/ADMIN.md",
        "ends after {} hours, after {} minutes without an open page",
        [browser_sessions.SESSION_SECONDS / 3600, browser_sessions.IDLE_SECONDS / 60],
    ),
    ("docs/ADMIN.md", "At most {} event streams are open at once", [api.MOST_STREAMS]),
    ("docs/ADMIN.md", "`state` every {} seconds", [api.STATE_SECONDS]),
    (
        "docs/CHECK.md",
        "A request may take {} seconds, and all requests to one server {} seconds.",
        [server_lists._REQUEST_SECONDS, server_lists._SECONDS],
    ),
    (
        "docs/CHECK.md",
        "at most {} pages and {} items are read, and of a server at most {} findings",
        [server_lists._MOST_PAGES, server_lists._MOST_ITEMS, server_check.MOST],
    ),
    ("docs/CHECK.md", "nested deeper than {} levels", [definition_lint._DEEPEST]),
    ("docs/CHECK.md", "A text is longer than {} characters", [definition_texts.LONG]),
    ("docs/CHECK.md", "an error from {} on", [definition_texts._MANY]),
    (
        "docs/CONTENT.md",
        "of more than {} KiB, {} subschemas or {} regular expressions",
        [json_schema.MOST_BYTES / KIB, schema_cost.MOST_NODES, schema_cost.MOST_PATTERNS],
    ),
    ("docs/CONTENT.md", "- more than {} MiB,", [json_schema.MOST_VALUE_BYTES / MIB]),
    ("docs/CONTENT.md", "may need more than {} steps", [json_schema.MOST_EVALUATIONS]),
    ("docs/CONTENT.md", "regular expressions exceed {}, the regular", [json_schema.MOST_MATCHED]),
    ("docs/CONTENT.md", "is named if at most {} steps are needed", [json_schema._MOST_EXPLAINED]),
    (
        "docs/CONTENT.md",
        "At most {} tools with {} MiB of schemas",
        [schema_checks.MOST_TOOLS, schema_checks.MOST_BYTES / MIB],
    ),
    (
        "docs/CONTENT.md",
        (
            "an array of more than {} items, more than {} values with a meaning, more than {} levels, and members without a "
            "meaning of more than {} KiB"
        ),
        [
            json_object.MOST_ITEMS,
            content_reader._MOST_VALUES,
            content_reader._DEEPEST,
            json_object.MOST_UNNAMED / KIB,
        ],
    ),
    (
        "docs/CONTENT.md",
        "More than {} strings with hidden characters in one message, or {} such characters",
        [hidden_json.MOST_STRINGS, hidden_json.MOST_CHARACTERS],
    ),
    ("docs/EVENTS.md", "is cut after {} characters", [catalog.LONGEST]),
    ("docs/EVENTS.md", "Of suppressed refusals the last {} ids", [counted_events._IDS - 1]),
    ("docs/METRICS.md", "for at most {} tools", [call_metrics.MOST_TOOLS]),
    ("docs/METRICS.md", "only while there are fewer than {}.", [call_metrics._MOST_DOUBTFUL]),
    ("docs/METRICS.md", "Each has {} lines of latency", [len(call_metrics.BOUNDS) + 3]),
    ("docs/METRICS.md", "At most {} scrapes run at once", [metrics.MOST_SCRAPES]),
    (
        "docs/METRICS.md",
        "sent every {} seconds by a thread, {} at once. At most {} wait",
        [span_export._PAUSE, span_export._BATCH, span_queue.MOST_SPANS],
    ),
    ("docs/REMOTE.md", "after {} seconds without a message", [NAP.quiet]),
    (
        "docs/REMOTE.md",
        "At most {} KiB are read, for at most {} seconds",
        [http_client.DISCOVERY_BYTES / KIB, http_client.DISCOVERY_SECONDS],
    ),
    ("docs/METRICS.md", "has at most {} pairs of method and tool", [MOST_PAIRS]),
    ("docs/proxies.md", "a heartbeat every {} seconds", [LIMITS.heartbeat_seconds]),
    ("docs/AGGREGATES.md", "There may be {} aggregates", [tables._MOST_AGGREGATES]),
    ("man/mcp-bridge-connect.1", "and after the loss of a connection ({}).", [settings.WAIT]),
    ("man/mcp-bridge-connect.1", "After {} s without a line the command leaves memory", [NAP.quiet]),
    ("man/mcp-bridge-connect.1", "after which the command leaves memory ({})", [NAP.quiet]),
    ("man/mcp-bridge-connect.1", "that it stays after it was needed ({})", [NAP.awake]),
    ("man/mcp-bridge-connect.1", "below which it stays for ten minutes ({})", [NAP.apart]),
    ("man/mcp-bridge-connect.1", "at most {} subscribed resources", [session_setup._MOST]),
]


def figures_in(text, sentence):
    """Return the figures of a sentence, which may be broken into lines, or None if the text has no such sentence."""
    parts = [re.escape(part) for part in " ".join(sentence.split()).split("{}")]
    number = rf"({'|'.join(sorted(WORDS, key=len, reverse=True))}|\d[\d,]*)"
    found = re.search(number.join(parts), " ".join(text.split()))
    return (
        None if found is None else [WORDS.get(word) or int(word.replace(",", "")) for word in found.groups()]
    )


@pytest.mark.parametrize(("document", "sentence", "figures"), FIGURES)
def test_each_figure_is_that_of_the_program(document, sentence, figures):
    assert figures_in(plain(read(document)), sentence) == figures


def test_the_time_that_the_tests_take_is_the_same_everywhere():
    form = r"make test +# (?:run )?all tests[;,] about (\w+) minutes"
    assert len(set(re.findall(form, read("README.md") + read("CONTRIBUTING.md")))) == 1
    assert re.search(form, read("README.md"))
    assert re.search(form, read("CONTRIBUTING.md"))


def test_another_figure_and_a_missing_sentence_are_found():
    assert figures_in("At most 17 event\nstreams are open at once.", "At most {} event streams") == [17]
    assert figures_in("for four seconds", "for {} seconds") == [4]
    assert figures_in("At most 16 streams", "At most {} event streams") is None
