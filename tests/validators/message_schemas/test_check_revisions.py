"""The generated modules: one for each revision, made from the schemas in `tests/specification`."""

import subprocess
import sys

import pytest

from mcpbridged.validators.message_schemas import check
from mcpbridged.validators.revisions import LEGACY_REVISIONS, MODERN_REVISIONS
from tests.specification import generate
from tests.specification.schemas import REVISIONS
from tests.support import schema_oracle


@pytest.mark.parametrize(
    ("path", "text"), generate.modules().items(), ids=lambda value: getattr(value, "name", "")
)
def test_a_module_is_what_make_schemas_writes(path, text):
    assert path.read_text() == text, f"{path.name} is not current: make schemas"


def test_there_is_a_module_for_each_revision():
    assert REVISIONS == (*LEGACY_REVISIONS, *MODERN_REVISIONS)
    names = {path.name for path in generate.TARGET.glob("revision_*.py")}
    assert names == {path.name for path in generate.modules()}


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_has_every_method_of_its_schema(revision):
    found = check._revision(revision)
    tables = {
        ("client", True): found.client_requests,
        ("client", False): found.client_notifications,
        ("server", True): found.server_requests,
        ("server", False): found.server_notifications,
    }
    for (sender, request), table in tables.items():
        assert set(table) == set(schema_oracle.messages(revision, sender, request))
    assert set(found.server_results) == set(found.client_requests)
    assert set(found.client_results) == set(found.server_requests)


def test_no_module_of_a_revision_is_imported_before_it_is_needed():
    text = (
        "import sys; import mcpbridged.bridge.commands.serve, mcpbridged.bridge.daemon.app;"
        "assert not [name for name in sys.modules if 'message_schemas.revision' in name];"
        "from mcpbridged.validators.message_schemas.check import params_fault;"
        "params_fault('2025-11-25', 'client', 'ping', b'', request=True);"
        "assert len([name for name in sys.modules if 'message_schemas.revision' in name]) == 1"
    )
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)
