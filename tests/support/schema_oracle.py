"""Decide with the jsonschema library whether the params or the result of a message fit the official JSON Schema."""

from functools import cache

from jsonschema import Draft7Validator, Draft202012Validator

from tests.specification.schemas import corrected, definitions

LISTS = {
    ("client", True): "ClientRequest",
    ("client", False): "ClientNotification",
    ("server", True): "ServerRequest",
    ("server", False): "ServerNotification",
}


def _reference(revision, name):
    key = "$defs" if "$defs" in corrected(revision) else "definitions"
    return {"$ref": f"#/{key}/{name}"}


@cache
def messages(revision, sender, request):
    """Return the requests or notifications of a side by method: the name of the definition and the schema."""
    defs = definitions(corrected(revision))
    listed = defs.get(LISTS[sender, request], {})
    found = {}
    for one in listed.get("anyOf", [listed] if listed else []):
        name = one["$ref"].rpartition("/")[2] if "$ref" in one else ""
        schema = defs[name] if name else one
        found[schema["properties"]["method"]["const"]] = name, schema
    return found


def _validator(revision, schema):
    whole = corrected(revision)
    kind = Draft202012Validator if "$defs" in whole else Draft7Validator
    return kind({**{key: value for key, value in whole.items() if key != "$schema"}, **schema})


@cache
def params_validator(revision, sender, method, request):
    """Return the validator of the params of a message; None for an unknown method."""
    found = messages(revision, sender, request).get(method)
    return None if found is None else _validator(revision, found[1]["properties"].get("params", {}))


@cache
def _result_validator(revision, name):
    return _validator(revision, _reference(revision, name))


def result_fits(revision, sender, method, value):
    """Return whether a result fits. `sender` is that of the result, `method` that of the request."""
    defs = definitions(corrected(revision))
    name, schema = messages(revision, "client" if sender == "server" else "server", True)[method]
    own = name.removesuffix("Request") + "Result"
    own = own if own in defs else "EmptyResult"
    if revision >= "2026-07-28":
        kind = value.get("resultType", "complete") if isinstance(value, dict) else "complete"
        response = str(defs.get(f"{own}Response", {}))
        if kind == "input_required" and "InputRequiredResult" in response:
            own = "InputRequiredResult"
        elif isinstance(kind, str) and kind not in ("complete", "input_required"):
            own = "Result"
        return _result_validator(revision, own).is_valid(value)
    task = "TaskMetadata" in str(schema) + str([defs[one] for one in _named(schema, defs)])
    return _result_validator(revision, own).is_valid(value) or (
        task and _result_validator(revision, "CreateTaskResult").is_valid(value)
    )


def _named(schema, defs):
    """Return the definitions of the params of a request."""
    name = schema["properties"].get("params", {}).get("$ref", "").rpartition("/")[2]
    if not name:
        return []
    return [name, *(one["$ref"].rpartition("/")[2] for one in defs[name].get("anyOf", ()))]
