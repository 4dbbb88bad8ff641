"""Random requests that Schemathesis makes from the OpenAPI schema, and its checks of the answers."""

from typing import Any

import schemathesis
from hypothesis import Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS_OF_ANSWERS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CHECKS = [*CHECKS_OF_ANSWERS, negative_data_rejection, unsupported_method]

read_schema = schemathesis.openapi.from_url


def check_random_requests(operation: Any, *, count: int, are_valid: bool) -> None:
    """Send `count` random requests of an operation, and fail if an answer does not conform to the schema."""
    mode = GenerationMode.POSITIVE if are_valid else GenerationMode.NEGATIVE

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    check()
