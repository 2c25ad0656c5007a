"""Guards of definitions with a record."""

from mcpbridged.bridge.core.definition_guard import DefinitionGuard, KindRecord
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.limits import Limits


def guard_of(**pending: str) -> DefinitionGuard:
    """Return a guard that blocks. The tool `a` is approved, and the named definition of each kind is pending."""
    record = {kind: KindRecord() for kind in pending}
    guard = DefinitionGuard(lambda: record, lambda *_: None, lambda _: None, blocks=True, limits=Limits())
    guard.on_list("tools/list", Response(b"1", b'{"tools":[{"name":"a"}]}', b""))
    guard.on_list("prompts/list", Response(b"1", b'{"prompts":[]}', b""))
    for kind, name in pending.items():
        method, member = {"tool": ("tools/list", "tools"), "prompt": ("prompts/list", "prompts")}[kind]
        guard.on_list(
            method, Response(b"1", b'{"%b":[{"name":"%b"}]}' % (member.encode(), name.encode()), b"")
        )
    return guard
