"""A signed cookie that identifies an operator's browser without any look-up.

It gives no rights: sessions and permissions decide what a page shows. It only gives access to the
operators' threads, so that other clients can't take all of them. Checking it needs no thread, no
database and no Redis.
"""

from collections.abc import Callable, Iterable

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core import signing
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

COOKIE = "operator_ticket"
_TICKET_CHARACTERS_MAX = 200

_signer = signing.TimestampSigner(salt="operators.tickets")


def ticket_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the valid ticket in a request's ASGI headers, or None."""
    ticket = cookie_of(headers, COOKIE)
    return ticket if ticket is not None and is_valid(ticket) else None


def cookie_of(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return the last value of a cookie, or None."""
    value = None
    for header, text in headers:
        if header != b"cookie":
            continue
        for pair in text.decode("latin-1").split(";"):
            key, _, content = pair.strip().partition("=")
            if key == name:
                value = content
    return value


def is_valid(ticket: str) -> bool:
    """Return whether the ticket is genuine and at most OPERATOR_SESSION_HOURS_MAX old."""
    if len(ticket) > _TICKET_CHARACTERS_MAX:
        return False
    try:
        _signer.unsign(ticket, max_age=settings.SESSION_COOKIE_AGE)
    except signing.BadSignature:
        return False
    return True


@receiver(user_logged_in)
def _issue_ticket(sender: object, request: HttpRequest | None, user: object, **kwargs: object) -> None:
    if request is not None and getattr(user, "is_staff", False):
        request.operator_ticket = _signer.sign(str(getattr(user, "pk", "")))  # type: ignore[attr-defined]


@receiver(user_logged_out)
def _withdraw_ticket(sender: object, request: HttpRequest | None, **kwargs: object) -> None:
    if request is not None:
        request.operator_ticket = ""  # type: ignore[attr-defined]


class TicketMiddleware:
    """Sets the cookie with the answer to a login, and removes it with the answer to a logout."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        ticket = getattr(request, "operator_ticket", None)
        if ticket:
            response.set_cookie(
                COOKIE,
                ticket,
                max_age=settings.SESSION_COOKIE_AGE,
                httponly=True,
                secure=settings.SESSION_COOKIE_SECURE,
                samesite="Lax",
            )
        elif ticket is not None:
            response.delete_cookie(COOKIE, samesite="Lax")
        return response
