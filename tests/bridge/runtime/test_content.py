"""What the checks of content of one server report."""

import io

import pytest

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.core.content_policy import ContentModes
from mcpbridged.bridge.core.schema_checks import Finding
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.content import ContentReports, content_of
from mcpbridged.bridge.runtime.server_log import ServerLog


@pytest.fixture
def reported():
    out = io.StringIO()
    log = ServerLog("one", LineLog(out=out))
    return log, lambda: out.getvalue().splitlines()


def test_without_a_check_there_is_nothing(reported):
    log, _ = reported
    assert content_of(ServerConfig("one"), log) is None


@pytest.mark.parametrize("modes", [ContentModes("warn"), ContentModes(output="refuse")])
def test_with_a_check_there_is_a_policy(reported, modes):
    log, _ = reported
    assert content_of(ServerConfig("one", content=modes), log) is not None


def test_a_finding_is_an_event_of_its_action_and_counted(reported):
    log, lines = reported
    reports = ContentReports(log)
    reports.report(Finding("arguments", "t", "/a", "type", refused=True))
    reports.report(Finding("output", "t", "", "unchecked", refused=False))
    reports.report(Finding("characters", "", "", "tag", refused=False, rewritten=True))
    assert [line.split(": ", 2)[2] for line in lines()] == [
        "content_refused server=one reason=arguments count=1 tool=t path=/a keyword=type",
        "content_warning server=one reason=output count=1 tool=t keyword=unchecked",
        "content_rewritten server=one reason=characters count=1 keyword=tag",
    ]
    assert log.content_findings == {
        ("arguments", "refused"): 1,
        ("output", "warned"): 1,
        ("characters", "rewritten"): 1,
    }


def test_many_findings_of_one_tool_are_one_line_a_second(reported):
    log, lines = reported
    reports = ContentReports(log)
    for _ in range(100):
        reports.report(Finding("arguments", "t" * 300, "/a", "type", refused=True))
    log.counted.flush()
    assert ["count=1 " in line for line in lines()] == [True, False]
    assert "count=99" in lines()[1]
    assert f"tool={'t' * 128} " in lines()[0]
    assert log.content_findings == {("arguments", "refused"): 100}
