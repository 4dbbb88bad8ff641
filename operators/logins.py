"""Counts failed logins and logs them. After too many, a name is locked for a while.

django-axes counts in Redis and decides about locks: see AXES_ in the settings. A lock holds for
one name at one address, and an IPv6 /64 is one address. So nobody can lock out an operator at
another address. Without Redis nothing is counted.
"""

import logging
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from redis.exceptions import RedisError

from base.addresses import parse_address, party_of

logger = logging.getLogger(__name__)

_NAME_CHARACTERS_SHOWN = 40
# The cache is unavailable, or its answer is not a number.
_CACHE_ERRORS = (RedisError, OSError, TypeError, ValueError)


class FailureCounter(AxesCacheHandler):  # type: ignore[misc]
    """django-axes' counter in the cache.

    If the cache is unavailable, it counts and locks nothing.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        try:
            return int(super().get_failures(request, credentials))
        except _CACHE_ERRORS:
            return 0

    def user_login_failed(
        self, sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        try:
            super().user_login_failed(sender, credentials, request, **kwargs)
        except _CACHE_ERRORS:
            return

    def user_logged_in(self, sender: object, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        try:
            super().user_logged_in(sender, request, user, **kwargs)
        except _CACHE_ERRORS:
            return


def _client_address(request: HttpRequest) -> str:
    """Return the client's address. The headers of trusted proxies have been applied to it."""
    return str(request.META.get("REMOTE_ADDR") or "unknown")


def client_party(address: str) -> str:
    """Return the party that an address belongs to: all addresses that one client can use.

    A party has one count of failures, and one turn in the queue of logins.
    """
    parsed = parse_address(address)
    return address if parsed is None else party_of(parsed)


def counted_address(request: HttpRequest) -> str:
    """Return the address by which django-axes counts failures."""
    return client_party(_client_address(request))


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer a login with a name that is locked at this address."""
    seconds = round(settings.LOGIN_LOCK_SECONDS)
    minutes = max(1, round(seconds / 60))
    page = render(
        request,
        "operators/locked_out.html",
        {"title": "Locked", "minutes": minutes, "failures": settings.LOGIN_FAILURES_MAX},
        status=429,
    )
    page["Retry-After"] = str(seconds)
    return page


def operator_names() -> frozenset[str]:
    """Return the names with which a login can succeed, at most OPERATOR_NAMES_MAX."""
    users = get_user_model().objects.filter(is_active=True, is_staff=True)
    return frozenset(users.values_list("username", flat=True)[: settings.OPERATOR_NAMES_MAX])


@receiver(user_login_failed)
def _log_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: object
) -> None:
    if request is None:
        return
    name = str(credentials.get("username", ""))[:_NAME_CHARACTERS_SHOWN]
    locked = getattr(request, "axes_locked_out", False)
    logger.warning(
        "%s at %s: %s", "login locked" if locked else "login failed", _client_address(request), ascii(name)
    )


@receiver(user_logged_in)
def _log_login(sender: object, request: HttpRequest | None, user: Any, **kwargs: object) -> None:
    """Log the login, and delete expired sessions. Each login makes only one session."""
    if request is None:
        return
    logger.info("login: %s at %s", user.get_username(), _client_address(request))
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
