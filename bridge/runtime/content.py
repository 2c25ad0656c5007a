"""Connect the checks of the content of one server with its log."""

from typing import Final

from ...validators import json_schema
from ..config.settings import ServerConfig
from ..core.content_policy import ContentPolicy
from ..core.schema_checks import Finding
from .server_log import ServerLog

# The longest name of a tool in an event (characters).
_LONGEST_NAME: Final = 128


class ContentReports:
    """Logs what the checks of one server find."""

    def __init__(self, log: ServerLog) -> None:
        self._log = log

    def report(self, finding: Finding) -> None:
        """Log and count a finding."""
        kind, tool = finding.kind, finding.tool[:_LONGEST_NAME]
        about = {"tool": tool, "path": finding.path, "keyword": finding.keyword}
        action = "rewritten" if finding.rewritten else "refused" if finding.refused else "warned"
        key = (kind, action)
        self._log.content_findings[key] = self._log.content_findings.get(key, 0) + 1
        fields = {name: value for name, value in about.items() if value}
        if finding.rewritten:
            self._log.counted.add("content_rewritten", (action, kind, tool), reason=kind, **fields)
        elif finding.refused:
            self._log.counted.add("content_refused", ("refused", kind, tool), reason=kind, **fields)
        else:
            self._log.counted.add("content_warning", ("warning", kind, tool), reason=kind, **fields)


def content_of(config: ServerConfig, log: ServerLog) -> ContentPolicy | None:
    """Return the checks of a server, None if no check is on."""
    if not config.content.on:
        return None
    if config.content.reads_schemas:
        # The first call should not wait for the import.
        json_schema.prepare()
    return ContentPolicy(config.content, ContentReports(log).report, config.name)
