"""The one place that gives errors their shape: {"error": {"code", "message", "fields"}}."""

import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from rest.content import JSON
from rest.encoding import encode_json
from rest.exceptions import InvalidRequest, Refusal

logger = logging.getLogger(__name__)

# What DRF raises by itself, by status.
_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


_MESSAGES = {
    400: "The request is not valid.",
    401: "Say who you are: the credentials are missing or wrong.",
    403: "This is not allowed.",
    404: "There is nothing here. GET /docs lists the endpoints.",
    413: "The request is too large.",
    415: "The body must be JSON: Content-Type must be application/json.",
}


class ErrorResponse(HttpResponse):
    """An answer in the error shape, of the API and of Django's pages; `code` is there for whoever counts them."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        error: dict[str, Any] = {"code": code, "message": message}
        if fields:
            error["fields"] = fields
        body = encode_json({"error": error})
        described = {"Content-Type": JSON, "Content-Length": str(len(body)), **(headers or {})}
        super().__init__(body, status=status, headers=described)
        self.code = code


def exception_handler(error: Exception, context: dict[str, Any]) -> ErrorResponse | None:
    """DRF's EXCEPTION_HANDLER. What it does not know is logged and becomes a plain 500."""
    if isinstance(error, Refusal):
        headers = dict(error.headers)
        if error.status_code == 503:
            headers.setdefault("Retry-After", str(settings.RETRY_AFTER_SECONDS))
        fields = error.fields if isinstance(error, InvalidRequest) else None
        code = str(error.get_codes())
        return ErrorResponse(error.status_code, code, str(error.detail), fields=fields, headers=headers)
    if isinstance(error, exceptions.ValidationError):
        return ErrorResponse(
            400, "invalid_request", InvalidRequest.default_detail, fields=_fields(error.detail)
        )
    if isinstance(error, SuspiciousOperation):  # for example more parameters than anybody needs
        error = exceptions.ParseError(InvalidRequest.default_detail)
    elif isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.MethodNotAllowed):
        return method_not_allowed(_allowed(context))
    if isinstance(error, exceptions.APIException):
        code = _CODES.get(error.status_code, "error")
        message = _MESSAGES.get(error.status_code, Refusal.default_detail)
        return ErrorResponse(error.status_code, code, message)
    request = context.get("request")
    logger.error("unhandled error in %s", getattr(request, "path", "?"), exc_info=error)
    return internal_error()


def internal_error() -> ErrorResponse:
    return ErrorResponse(
        500, "internal_error", "Something went wrong here; what was asked for may or may not have been done."
    )


def malformed_request(problem: str = "") -> ErrorResponse:
    return ErrorResponse(400, "invalid_request", f"This is not a valid HTTP/1.1 request. {problem}".rstrip())


def request_timeout() -> ErrorResponse:
    return ErrorResponse(
        408, "request_timeout", "The request did not come in time, and was not taken. Send it in one go."
    )


def uri_too_long() -> ErrorResponse:
    return ErrorResponse(
        414, "uri_too_long", f"A URL may have {settings.REQUEST_URL_BYTES_MAX} bytes. Send less in the query."
    )


def head_too_large() -> ErrorResponse:
    return _header_fields_too_large(
        f"Request line and headers may have {settings.REQUEST_HEAD_BYTES_MAX} bytes together."
    )


def too_many_headers() -> ErrorResponse:
    return _header_fields_too_large(f"A request may have {settings.REQUEST_HEADERS_MAX} header lines.")


def chunk_overhead() -> ErrorResponse:
    return _header_fields_too_large(
        "Sizes, extensions and trailers of chunks may have "
        f"{settings.REQUEST_CHUNK_OVERHEAD_BYTES_MAX} bytes, and {settings.REQUEST_HEADERS_MAX} trailers may come. "
        "Send larger chunks, or a Content-Length."
    )


def _header_fields_too_large(message: str) -> ErrorResponse:
    return ErrorResponse(431, "request_header_fields_too_large", message)


def expectation_failed() -> ErrorResponse:
    return ErrorResponse(417, "expectation_failed", "Only 100-continue can be expected. Leave Expect out.")


def unknown_coding() -> ErrorResponse:
    return ErrorResponse(
        501, "not_implemented", "Transfer-Encoding can only be chunked. Send the body as it is."
    )


def upgrade_required() -> ErrorResponse:
    return ErrorResponse(
        426,
        "upgrade_required",
        "A WebSocket opens with GET, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes.",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    )


def method_not_allowed(allowed: str) -> ErrorResponse:
    return ErrorResponse(
        405, "method_not_allowed", f"This endpoint takes {allowed}.", headers={"Allow": allowed}
    )


def repeated_header(name: str) -> ErrorResponse:
    return ErrorResponse(
        400, "invalid_request", "The request is not valid.", fields={name[:64]: ["Sent more than once."]}
    )


def incomplete_request() -> ErrorResponse:
    return ErrorResponse(
        400, "invalid_request", "The request ended before it was complete, or its chunks are not valid."
    )


def page_too_slow() -> ErrorResponse:
    return ErrorResponse(
        504,
        "outcome_unknown",
        "The page was not ready in time; what was asked for may have been done. Look first.",
    )


def too_busy() -> ErrorResponse:
    return ErrorResponse(
        503,
        "unavailable",
        "Too many requests at a time; this one was not taken. Try again after Retry-After.",
        headers={"Retry-After": str(settings.RETRY_AFTER_SECONDS)},
    )


def payload_too_large(bytes_max: int) -> ErrorResponse:
    return ErrorResponse(413, "payload_too_large", f"At most {bytes_max} bytes are taken.")


def handshake_refused() -> ErrorResponse:
    return ErrorResponse(
        403,
        "forbidden",
        "No WebSocket opens here: the path is not /stream, or web pages of this origin may not open it "
        "(see EXCHANGE_ALLOWED_HOSTS).",
    )


def foreign_origin() -> ErrorResponse:
    return ErrorResponse(
        403,
        "forbidden",
        "Web pages of this origin may not use the exchange: its operator names those that may in"
        " EXCHANGE_CORS_ORIGINS, and its own in EXCHANGE_ALLOWED_HOSTS.",
    )


def _allowed(context: dict[str, Any]) -> str:
    view = context.get("view")
    return ", ".join(view.allowed_methods) if view is not None else ""


def _fields(detail: Any) -> dict[str, list[str]]:
    """DRF's nested details as one list of messages a field."""
    if not isinstance(detail, dict):
        return {"body": [str(item) for item in detail]}
    fields: dict[str, list[str]] = {}
    for name, messages in detail.items():
        key = "body" if name == "non_field_errors" else str(name)
        fields[key] = [str(message) for message in (messages if isinstance(messages, list) else [messages])]
    return fields


# Django's own handlers, for what never reaches a view.


def bad_request(request: HttpRequest, exception: Exception) -> ErrorResponse:
    if isinstance(exception, DisallowedHost):
        return ErrorResponse(
            400,
            "invalid_request",
            "The exchange is not served under this host name. Use one of EXCHANGE_ALLOWED_HOSTS; an operator "
            "can add the name there.",
        )
    return ErrorResponse(400, "invalid_request", "The request is not valid.")


def permission_denied(request: HttpRequest, exception: Exception) -> ErrorResponse:
    return ErrorResponse(403, "forbidden", "This is not allowed.")


def page_not_found(request: HttpRequest, exception: Exception) -> ErrorResponse:
    return ErrorResponse(404, "not_found", "There is nothing here. GET /docs lists the endpoints.")


def server_error(request: HttpRequest) -> ErrorResponse:
    return internal_error()


def csrf_failure(request: HttpRequest, reason: str = "") -> ErrorResponse:
    return ErrorResponse(403, "forbidden", f"The form's security token is missing or wrong: {reason}")
