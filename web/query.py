"""Checks query parameters. Each action names the parameters that it accepts.

All other parameters are refused. If one were ignored, the answer would not match the client's
question. Empty parameters are ambiguous and refused too, and so are repeated ones, unless the action
accepts a list of values. `web.schema.operation` reads the names from the action's OpenAPI
description, so an action accepts exactly its documented parameters.
"""

from collections.abc import Mapping

from django.http import HttpRequest

from base.refusals import FIELD_NAME_CHARACTERS_MAX, FIELDS_NAMED_MAX, InvalidRequest


def check_query(request: HttpRequest, allowed: Mapping[str, bool]) -> None:
    """Raises InvalidRequest that names the unknown, empty and repeated parameters.

    `allowed` says for each known parameter whether it may be repeated.
    """
    fields: dict[str, list[str]] = {}
    for name, values in request.GET.lists():
        if name not in allowed:
            message = _unknown_parameter_message(allowed)
        elif len(values) > 1 and not allowed[name]:
            message = "Given more than once."
        elif not all(values):
            message = "Has no value. Add a value, or leave the parameter out."
        else:
            continue
        fields[name[:FIELD_NAME_CHARACTERS_MAX] or "query"] = [message]
        if len(fields) == FIELDS_NAMED_MAX:
            break
    if fields:
        raise InvalidRequest(fields=fields)


def _unknown_parameter_message(allowed: Mapping[str, bool]) -> str:
    if not allowed:
        return "Unknown parameter. This endpoint has no parameters."
    return f"Unknown parameter. Known parameters: {', '.join(sorted(allowed))}."
