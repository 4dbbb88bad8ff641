"""Logins: wrong passwords are counted by name and address, then refused for a while; each is told of at a pace.

django-axes decides and counts, in the cache in Redis: see AXES_ in the settings. A lock is of one name at one
address (an IPv6 /64 is one), so that nobody can lock out an operator who sits elsewhere. Without Redis nothing is
counted.
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

NAME_CHARACTERS_SHOWN = 40


class FailureCounter(AxesCacheHandler):  # type: ignore[misc]
    """django-axes' counter in the cache, which may be away: then nothing is counted, and nobody is locked."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        try:
            return int(super().get_failures(request, credentials))
        except (RedisError, OSError, TypeError, ValueError):
            return 0

    def user_login_failed(
        self, sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        try:
            super().user_login_failed(sender, credentials, request, **kwargs)
        except (
            RedisError,
            OSError,
            TypeError,
            ValueError,
        ):  # the cache is away, or its answer is not a number
            return

    def user_logged_in(self, sender: object, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        try:
            super().user_logged_in(sender, request, user, **kwargs)
        except (RedisError, OSError, TypeError, ValueError):
            return


def client_address(request: HttpRequest) -> str:
    """The address that the request came from. `exchange_site.pages` has applied the headers of trusted proxies."""
    return str(request.META.get("REMOTE_ADDR") or "unknown")


def client_party(address: str) -> str:
    """All addresses that one client can take have one count of failures, and one place in the queue."""
    parsed = parse_address(address)
    return address if parsed is None else party_of(parsed)


def counted_address(request: HttpRequest) -> str:
    """What django-axes counts failures by."""
    return client_party(client_address(request))


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """The answer to a login with a name that is locked at this address."""
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
    """The names with which a login can succeed, OPERATOR_NAMES_MAX at most."""
    users = get_user_model().objects.filter(is_active=True, is_staff=True)
    return frozenset(users.values_list("username", flat=True)[: settings.OPERATOR_NAMES_MAX])


@receiver(user_login_failed)
def _tell_of_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: object
) -> None:
    if request is None:
        return
    name = str(credentials.get("username", ""))[:NAME_CHARACTERS_SHOWN]
    locked = getattr(request, "axes_locked_out", False)
    logger.warning(
        "%s at %s: %s", "login locked" if locked else "login failed", client_address(request), ascii(name)
    )


@receiver(user_logged_in)
def _tell_of_login(sender: object, request: HttpRequest | None, user: Any, **kwargs: object) -> None:
    """And clear away the sessions that have ended: there is one for each login, so never many."""
    if request is None:
        return
    logger.info("login: %s at %s", user.get_username(), client_address(request))
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
