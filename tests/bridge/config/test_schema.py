"""The JSON Schema of the configuration file."""

import json
from typing import get_args, get_type_hints

import attrs

from mcpbridged.bridge.config import schema
from mcpbridged.bridge.config.schema import File, json_schema


def test_the_schema_has_every_key_and_allows_no_other():
    found = json_schema()
    assert r"\Z" not in str(found)  # not in the regular expressions of ECMA 262, which editors use
    definitions = found["$defs"]
    for cls in (File, schema.Listen, schema.Log, schema.Server, schema.OAuth, schema.Token, schema.Aggregate):
        definition = definitions[cls.__name__]
        names = {field.name for field in attrs.fields(cls)}
        assert set(definition["properties"]) == names
        assert definition["additionalProperties"] is False
        assert all("description" in json.dumps(value) for value in definition["properties"].values())
    assert definitions["Server"]["oneOf"] == [{"required": ["command"]}, {"required": ["url"]}]
    assert "default" not in definitions["Server"]["properties"]["command"]


# Every key that may be true or false, and its default. A new key is added after a review: the default is the value that permits
# less, and a key that is true by default protects, or was named by the operator.
BOOLEANS = {
    "File.approval": False,
    "Listen.http": "127.0.0.1:8808",  # false is no TCP
    "Listen.unix": True,  # the socket has mode 0600
    "Listen.authenticate": True,
    "Listen.basic": False,
    "Log.calls": False,
    "Audit.enabled": True,
    "Audit.calls": False,
    "Metrics.enabled": False,
    "Admin.enabled": False,
    "Admin.actions": False,
    "Server.plain_http": False,
    "Server.enabled": True,  # of a server that the file names
    "Server.cwd_trust": False,
    "Server.private_tmp": False,
    "Server.network": None,  # as the sandbox and the preset say
    "Token.metrics": False,
    # A token may write unless it is limited, as before there was the key.
    "Token.read_only": False,
    "Scope.read_only": False,
}


def may_be_boolean(hint):
    return isinstance(hint, bool) or hint is bool or any(map(may_be_boolean, get_args(hint)))


def test_the_defaults_of_booleans_are_those_of_the_reviewed_list():
    tables = {name: cls for name, cls in vars(schema).items() if isinstance(cls, type) and attrs.has(cls)}
    assert {"File", "Listen", "Server", "Token", "Admin"} <= set(tables)
    found = {}
    for name, cls in tables.items():
        hints = get_type_hints(cls, include_extras=False)
        for field in attrs.fields(cls):
            if may_be_boolean(hints[field.name]):
                found[f"{name}.{field.name}"] = field.default
    assert found == BOOLEANS
