"""The parameters of a query: each action names the ones that it takes, and everything else is refused.

A parameter that is ignored answers another question than the client asked, and one that comes twice, or without a
value, has no plain meaning. `web.schema.operation` takes the names from the action's OpenAPI description, so what
is documented and what is accepted are the same.
"""

from django.http import HttpRequest

from base.refusals import InvalidRequest

NAMED_PARAMETERS_MAX = 10  # in one answer
NAMED_CHARACTERS_MAX = 64  # of each


def check_query(request: HttpRequest, allowed: frozenset[str]) -> None:
    """Raises InvalidRequest, which names each parameter that is unknown, empty or repeated."""
    fields: dict[str, list[str]] = {}
    for name, values in request.GET.lists():
        if name not in allowed:
            message = _unknown(allowed)
        elif len(values) > 1:
            message = "Given more than once."
        elif not values[0]:
            message = "Has no value: give it one, or leave it out."
        else:
            continue
        fields[name[:NAMED_CHARACTERS_MAX] or "query"] = [message]
        if len(fields) == NAMED_PARAMETERS_MAX:
            break
    if fields:
        raise InvalidRequest(fields=fields)


def _unknown(allowed: frozenset[str]) -> str:
    if not allowed:
        return "Unknown parameter: there are none here."
    return f"Unknown parameter. Known here: {', '.join(sorted(allowed))}."
