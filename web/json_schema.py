"""Turns schemas in the notation of OpenAPI 3.0 into plain JSON schemas (draft 7)."""

from typing import Any

from web.schema import Schema


def json_schema(schema: Schema) -> Schema:
    """Return a JSON schema. Its references are to documents without `Document` in their names."""
    plain: Schema = {}
    for keyword, value in schema.items():
        if keyword == "properties":
            plain[keyword] = {name: json_schema(field) for name, field in value.items()}
        elif keyword == "$ref":
            plain[keyword] = value.removesuffix("Document")
        elif keyword == "example":
            plain["examples"] = [value]
        elif keyword == "exclusiveMinimum" and value is True:
            plain[keyword] = schema["minimum"]
        elif keyword not in ("title", "nullable"):
            plain[keyword] = _converted(value)
    if plain.get("exclusiveMinimum") == plain.get("minimum"):
        plain.pop("minimum", None)
    if not schema.get("nullable"):
        return plain
    if "enum" in plain:
        plain["enum"] = [value for value in plain["enum"] if value is not None]
    return {"anyOf": [plain, {"type": "null"}]}


def _converted(value: Any) -> Any:
    """Return the value of a keyword. It may be a schema, or a list with schemas."""
    if isinstance(value, list):
        return [_converted(part) for part in value]
    return json_schema(value) if isinstance(value, dict) else value
