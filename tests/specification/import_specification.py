"""Copy the schemas and the examples of MCP from a checkout of its specification into this folder.

    python -m tests.specification.import_specification CHECKOUT

The checkout is https://github.com/modelcontextprotocol/modelcontextprotocol. Descriptions are left out of the schemas, because
they are six sevenths of the text. Examples are the JSON texts of `schema/REVISION/examples`, and the code blocks of
`docs/specification/REVISION` that are JSON-RPC messages. Blocks with comments or omissions are no JSON and are left out.
"""

import json
import re
import sys
from pathlib import Path

from mcpbridged.validators.revisions import LEGACY_REVISIONS, MODERN_REVISIONS

FOLDER = Path(__file__).parent
REVISIONS = (*LEGACY_REVISIONS, *MODERN_REVISIONS)
BLOCK = re.compile(r"^[ \t]*```json\b[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


def without_descriptions(value, *, names=False):
    """Return a schema without descriptions. With `names` the keys of the value are those of properties or definitions."""
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_descriptions(item, names=not names and key in ("properties", "definitions", "$defs"))
        for key, item in value.items()
        if names or key != "description"
    }


def schema_lines(schema):
    """Return a schema as a JSON text with a line for each definition."""
    schema = without_descriptions(schema)
    key = "$defs" if "$defs" in schema else "definitions"
    lines = [
        f"{json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}"
        for name, one in sorted(schema[key].items())
    ]
    return f'{{"$schema": {json.dumps(schema["$schema"])}, "{key}": {{\n' + ",\n".join(lines) + "\n}}\n"


def examples(checkout, revision):
    """Yield the source, the name of a definition or an empty string for a message, and the value of each example."""
    for file in sorted((checkout / "schema" / revision / "examples").glob("*/*.json")):
        yield str(file.relative_to(checkout)), file.parent.name, json.loads(file.read_text())
    for file in sorted((checkout / "docs/specification" / revision).rglob("*.mdx")):
        for block in BLOCK.finditer(file.read_text()):
            try:
                value = json.loads(block[1])
            except ValueError:
                continue
            if isinstance(value, dict) and "jsonrpc" in value:
                yield str(file.relative_to(checkout)), "", value


def main():
    checkout = Path(sys.argv[1])
    for revision in REVISIONS:
        schema = json.loads((checkout / "schema" / revision / "schema.json").read_text())
        (FOLDER / f"schema-{revision}.json").write_text(schema_lines(schema))
        lines = [
            json.dumps({"source": source, "definition": name, "value": value}, separators=(",", ":"))
            for source, name, value in examples(checkout, revision)
        ]
        (FOLDER / f"examples-{revision}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
