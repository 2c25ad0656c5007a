"""Connect the checks of the content of one server with its log."""

from ..config.settings import ServerConfig
from ..core.content_policy import ContentPolicy
from ..core.schema_checks import Finding
from .server_log import ServerLog


def content_of(config: ServerConfig, log: ServerLog) -> ContentPolicy | None:
    """Return the checks of a server, None if no check is on."""

    def report(finding: Finding) -> None:
        event = "content_refused" if finding.refused else "content_warning"
        fields = {"tool": finding.tool, "path": finding.path, "keyword": finding.keyword}
        log.counted.add(
            event,
            (event, finding.kind, finding.tool),
            reason=finding.kind,
            **{key: value for key, value in fields.items() if value},
        )

    return ContentPolicy(config.content, report) if config.content.on else None
