"""Logins: wrong passwords are counted by name and address, then refused for a while; each is told of at a pace.

django-axes decides and counts, in the cache in Redis: see AXES_ in the settings. A lock is of one name at one
address, so that nobody can lock an operator out who sits elsewhere. Without Redis nothing is counted.
"""

import logging
import time
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
        except (RedisError, OSError, TypeError, ValueError):  # what the cache answers is none of its numbers
            return

    def user_logged_in(self, sender: object, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        try:
            super().user_logged_in(sender, request, user, **kwargs)
        except (RedisError, OSError, TypeError, ValueError):
            return


def client_address(request: HttpRequest) -> str:
    """The address that the request came from. `exchange_site.pages` has applied the headers of trusted proxies."""
    return str(request.META.get("REMOTE_ADDR") or "unknown")


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


class PacedWarnings:
    """LOGIN_LOG_LINES_MAX lines in LOGIN_LOG_SECONDS, and then one that says how many more there were."""

    def __init__(self) -> None:
        self._period_ends = 0.0
        self._lines = 0
        self._more = 0

    def warn(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now >= self._period_ends:
            if self._more:
                logger.warning("and %d more failed logins since then", self._more)
            self._period_ends, self._lines, self._more = now + settings.LOGIN_LOG_SECONDS, 0, 0
        if self._lines < settings.LOGIN_LOG_LINES_MAX:
            self._lines += 1
            logger.warning(message, *args)
        else:
            self._more += 1


_warnings = PacedWarnings()


@receiver(user_login_failed)
def _tell_of_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: object
) -> None:
    if request is None:
        return
    name = str(credentials.get("username", ""))[:NAME_CHARACTERS_SHOWN]
    locked = getattr(request, "axes_locked_out", False)
    _warnings.warn(
        "%s at %s: %s", "login locked" if locked else "login failed", client_address(request), ascii(name)
    )


@receiver(user_logged_in)
def _tell_of_login(sender: object, request: HttpRequest | None, user: Any, **kwargs: object) -> None:
    """And clear away the sessions that have ended: there is one for each login, so never many."""
    if request is None:
        return
    logger.info("login: %s at %s", user.get_username(), client_address(request))
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
