"""Check the text of a running daemon and the alert rules with promtool (`make metrics`).

Each check is also made with a planted fault, which it must find.
"""

import http.client
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import trio

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.daemon_clients import example, stateless_request  # noqa: E402 - here
from tests.support.daemon_process import daemon  # noqa: E402 - here
from tests.support.stateless_requests import tool  # noqa: E402 - here

PROMTOOL = ROOT / ".deps/prometheus/promtool"
RULES = ROOT / "examples/alerts.yml"
UNIT_TESTS = ROOT / "tests/prometheus/alerts_test.yml"


def promtool(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROMTOOL, *words], input=text, capture_output=True, text=True, check=False, timeout=60
    )


def scrape() -> str:
    """Return the text of a daemon whose servers have succeeded and failed."""
    servers = {"one": example(), "broken": {"command": ["false"]}}
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(Path(folder), servers, metrics={"enabled": True}) as running,
    ):
        for server in servers:
            trio.run(stateless_request, running, server, "tools/call", tool("echo", text="x"))
        with closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:
            connection.request("GET", "/metrics", headers=running.headers)
            return connection.getresponse().read().decode()


def with_rules(text: str) -> subprocess.CompletedProcess[str]:
    """Return the result of the unit tests with other rules."""
    with tempfile.TemporaryDirectory() as folder:
        rules, tests = Path(folder, "rules.yml"), Path(folder, "tests.yml")
        rules.write_text(text)
        tests.write_text(UNIT_TESTS.read_text().replace("../../examples/alerts.yml", str(rules)))
        return promtool("test", "rules", str(tests))


def checked_rules(text: str) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        return promtool("check", "rules", file.name)


def main() -> int:
    text, rules = scrape(), RULES.read_text()
    outcomes = [
        ("check metrics", promtool("check", "metrics", text=text), True),
        ("check rules", promtool("check", "rules", str(RULES)), True),
        ("test rules", promtool("test", "rules", str(UNIT_TESTS)), True),
        # Planted faults.
        (
            "a counter without _total",
            promtool(
                "check", "metrics", text=text.replace("mcp_bridge_requests_total", "mcp_bridge_requests")
            ),
            False,
        ),
        (
            "a label value without its end",
            promtool("check", "metrics", text=text.replace('outcome="ok"}', 'outcome="ok}')),
            False,
        ),
        ("a type that occurs twice", promtool("check", "metrics", text=text + text), False),
        ("a rule without an expression", checked_rules(rules.replace("expr: up", "expr: up{")), False),
        ("another threshold", with_rules(rules.replace("> 0.05", "> 0.95")), False),
        ("another outcome", with_rules(rules.replace("ok|cancelled|tool_error", "ok|cancelled")), False),
        ("the same rules", with_rules(rules), True),
    ]
    wrong = 0
    for name, done, succeeds in outcomes:
        is_right = (done.returncode == 0) == succeeds
        wrong += not is_right
        print(
            f"{'ok' if is_right else 'WRONG':5} {name}: exit {done.returncode}, {'' if succeeds else 'not '}0 expected"
        )
        if not is_right:
            print(done.stdout, done.stderr)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
