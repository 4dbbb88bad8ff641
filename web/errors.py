"""Creates every error response. The body is {"error": {"code", "message", "fields"}}."""

import logging
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from base.encoding import encode_json
from base.refusals import Allowance, InvalidRequest, RateLimited, Refusal, RefusalKind
from web.content import JSON, UnsupportedMediaType

logger = logging.getLogger(__name__)

# Codes of the exceptions that DRF itself raises, by status.
_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
}
_STATUSES = {
    RefusalKind.INVALID: 400,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.UNSUPPORTED: 415,
    RefusalKind.KEY_REUSED: 422,
    RefusalKind.RATE_LIMITED: 429,
    RefusalKind.FAILED: 500,
    RefusalKind.UNAVAILABLE: 503,
    RefusalKind.OUTCOME_UNKNOWN: 504,
}
_MESSAGES = {
    400: "The request is not valid.",
    401: "The credentials are missing or wrong.",
    403: "This is not allowed.",
    404: "This URL does not exist. GET /docs lists the endpoints.",
}


class ErrorResponse(HttpResponse):
    """An error response of the API or of Django's pages. Request metrics read its `code`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: dict[str, list[str]] | None = None,
        details: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        body = encode_json({"error": error_body(code, message, fields, details)})
        described = {"Content-Type": JSON, "Content-Length": str(len(body)), **(headers or {})}
        super().__init__(body, status=status, headers=described)
        self.code = code


def exception_handler(error: Exception, context: dict[str, Any]) -> ErrorResponse | None:
    """Return the response for an exception (DRF's EXCEPTION_HANDLER). Logs unknown exceptions."""
    if isinstance(error, Refusal):
        return refusal_response(error)
    if isinstance(error, SuspiciousOperation):  # for example too many parameters
        error = exceptions.ParseError(InvalidRequest.default_message)
    elif isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.MethodNotAllowed):
        return method_not_allowed(", ".join(context["view"].allowed_methods))
    if isinstance(error, exceptions.APIException):
        code = _CODES.get(error.status_code, "error")
        message = _MESSAGES.get(error.status_code, Refusal.default_message)
        return ErrorResponse(error.status_code, code, message)
    request = context.get("request")
    logger.error("unhandled error in %s", getattr(request, "path", "?"), exc_info=error)
    return internal_error()


def retry_headers(refusals: Iterable[Refusal]) -> dict[str, str]:
    """Return the header Retry-After for a request's refusals, or {} if waiting helps none of them."""
    seconds = [
        refusal.retry_after_seconds if isinstance(refusal, RateLimited) else settings.RETRY_AFTER_SECONDS
        for refusal in refusals
        if refusal.kind in (RefusalKind.RATE_LIMITED, RefusalKind.UNAVAILABLE)
    ]
    return {"Retry-After": str(max(seconds))} if seconds else {}


def refusal_response(refusal: Refusal) -> ErrorResponse:
    """Return the HTTP response for a refusal."""
    headers = allowance_headers(refusal.allowance) | retry_headers([refusal])
    if isinstance(refusal, UnsupportedMediaType):
        headers.update(refusal.headers)
    return ErrorResponse(
        _STATUSES[refusal.kind],
        refusal.code,
        refusal.message,
        fields=_fields_of(refusal),
        details=refusal.details,
        headers=headers,
    )


def refusal_result(refusal: Refusal) -> tuple[int, dict[str, Any]]:
    """Return the status and the error of a refusal, as one result of several in an answer."""
    error = error_body(refusal.code, refusal.message, _fields_of(refusal), refusal.details)
    return _STATUSES[refusal.kind], error


def status_of(refusal: type[Refusal]) -> int:
    """Return the status with which a kind of refusal is answered."""
    return _STATUSES[refusal.kind]


def _fields_of(refusal: Refusal) -> dict[str, list[str]] | None:
    return refusal.fields if isinstance(refusal, InvalidRequest) else None


def error_body(
    code: str,
    message: str,
    fields: dict[str, list[str]] | None = None,
    details: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the error of an answer."""
    error: dict[str, Any] = {"code": code, "message": message, **(details or {})}
    if fields:
        error["fields"] = fields
    return error


def allowance_headers(allowance: Allowance | None) -> dict[str, str]:
    """Return the RateLimit-* headers of draft-ietf-httpapi-ratelimit-headers-05, or {} for None."""
    if allowance is None:
        return {}
    return {
        "RateLimit-Limit": str(allowance.limit),
        "RateLimit-Remaining": str(allowance.remaining),
        "RateLimit-Reset": str(allowance.reset_seconds),
    }


def internal_error() -> ErrorResponse:
    return ErrorResponse(
        500, "internal_error", "An internal error occurred. The request may or may not have been processed."
    )


def malformed_request(problem: str = "") -> ErrorResponse:
    return ErrorResponse(400, "invalid_request", f"This is not a valid HTTP/1.1 request. {problem}".rstrip())


def request_timeout() -> ErrorResponse:
    return ErrorResponse(
        408,
        "request_timeout",
        "The request did not arrive in time and was not processed. Send it without pauses.",
    )


def uri_too_long() -> ErrorResponse:
    return ErrorResponse(
        414,
        "uri_too_long",
        f"A URL may have at most {settings.REQUEST_URL_BYTES_MAX} bytes. Shorten the query.",
    )


def head_too_large() -> ErrorResponse:
    return _header_fields_too_large(
        f"The request line and headers together may have at most {settings.REQUEST_HEAD_BYTES_MAX} bytes."
    )


def too_many_headers() -> ErrorResponse:
    return _header_fields_too_large(
        f"A request may have at most {settings.REQUEST_HEADERS_MAX} header lines."
    )


def chunk_overhead() -> ErrorResponse:
    return _header_fields_too_large(
        "The sizes, extensions and trailers of chunks may have at most "
        f"{settings.REQUEST_CHUNK_OVERHEAD_BYTES_MAX} bytes, and there may be at most "
        f"{settings.REQUEST_HEADERS_MAX} trailers. Send larger chunks, or a Content-Length."
    )


def _header_fields_too_large(message: str) -> ErrorResponse:
    return ErrorResponse(431, "request_header_fields_too_large", message)


def expectation_failed() -> ErrorResponse:
    return ErrorResponse(417, "expectation_failed", "Expect may only be 100-continue. Leave this header out.")


def unknown_coding() -> ErrorResponse:
    return ErrorResponse(
        501, "not_implemented", "Transfer-Encoding may only be chunked. Send the body without another coding."
    )


def upgrade_required() -> ErrorResponse:
    return ErrorResponse(
        426,
        "upgrade_required",
        "A WebSocket handshake needs GET, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes.",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    )


def method_not_allowed(allowed: str) -> ErrorResponse:
    return ErrorResponse(
        405, "method_not_allowed", f"This endpoint allows {allowed}.", headers={"Allow": allowed}
    )


def repeated_header(name: str) -> ErrorResponse:
    return ErrorResponse(
        400, "invalid_request", "The request is not valid.", fields={name[:64]: ["Sent more than once."]}
    )


def incomplete_request() -> ErrorResponse:
    return ErrorResponse(
        400, "invalid_request", "The request ended before it was complete, or its chunks are invalid."
    )


def page_too_slow() -> ErrorResponse:
    return ErrorResponse(
        504,
        "outcome_unknown",
        "The page was not ready in time. A change may have been made: check before you try again.",
    )


def too_busy() -> ErrorResponse:
    return ErrorResponse(
        503,
        "unavailable",
        "Too many requests at the same time. This request was not processed. Try again after Retry-After.",
        headers={"Retry-After": str(settings.RETRY_AFTER_SECONDS)},
    )


def payload_too_large(bytes_max: int) -> ErrorResponse:
    return ErrorResponse(413, "payload_too_large", f"The body may have at most {bytes_max} bytes.")


def handshake_refused() -> ErrorResponse:
    return ErrorResponse(
        403,
        "forbidden",
        "The WebSocket was refused: the path is not /stream, or web pages of this origin may not open "
        "the stream (see EXCHANGE_ALLOWED_HOSTS).",
    )


def foreign_origin() -> ErrorResponse:
    return ErrorResponse(
        403,
        "forbidden",
        "Web pages of this origin may not use the exchange. The operator can allow the origin in"
        " EXCHANGE_CORS_ORIGINS, or its host in EXCHANGE_ALLOWED_HOSTS.",
    )


# The functions below replace Django's own error views. Django calls them for errors that no view
# handles.


def bad_request(request: HttpRequest, exception: Exception) -> ErrorResponse:
    if isinstance(exception, DisallowedHost):
        return ErrorResponse(
            400,
            "invalid_request",
            "This host name is not allowed. Use one of EXCHANGE_ALLOWED_HOSTS. The operator can add the "
            "name there.",
        )
    return ErrorResponse(400, "invalid_request", "The request is not valid.")


def permission_denied(request: HttpRequest, exception: Exception) -> ErrorResponse:
    return ErrorResponse(403, "forbidden", "This is not allowed.")


def page_not_found(request: HttpRequest, exception: Exception) -> ErrorResponse:
    return ErrorResponse(404, "not_found", "This URL does not exist. GET /docs lists the endpoints.")


def server_error(request: HttpRequest) -> ErrorResponse:
    return internal_error()


def csrf_failure(request: HttpRequest, reason: str = "") -> ErrorResponse:
    return ErrorResponse(403, "forbidden", f"The form's security token is missing or invalid: {reason}")
