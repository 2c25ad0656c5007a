"""The JSON Schema of the configuration file."""

import json

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
