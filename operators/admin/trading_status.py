"""Halt and resume in the admin: actions of the list of instruments, and pages that ask first.

The list's actions take effect at once. The front page links to the pages, because its buttons are
easily hit by mistake. A GET only shows what would happen. A POST that is sent twice changes nothing
more: an instrument that has the status already is left alone, and gets no record in the trail.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from instruments.models import SYMBOL_PATTERN, Instrument
from operators.admin.audited import Audited
from operators.announcements import unconfirmed_text
from operators.audit import NOTE_CHARACTERS_MAX, actor_of, note_of
from operators.instruments import InstrumentError, bound_statements, failure_text, set_status
from operators.markets import count_text, live_orders
from orders.operations import announce_instruments

_PERMISSION = "change"


class TradingStatus(Audited):
    """A mixin for the admin class of instruments."""

    actions = ("halt", "resume")

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(
                f"{act}/",
                self.admin_site.admin_view(partial(self.status_view, status=status)),
                name=f"instruments_instrument_{act}",
            )
            for act, status in (("halt", Instrument.Status.HALTED), ("resume", Instrument.Status.ACTIVE))
        ]
        return [*pages, *super().get_urls()]

    def status_view(self, request: HttpRequest, *, status: Instrument.Status) -> HttpResponse:
        """Show what a change of status would do, or make the change if the form was sent."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        chosen = _chosen(request.POST if request.method == "POST" else request.GET)
        if not chosen.exists():
            self.message_user(request, "No such instrument.", messages.WARNING)
        elif request.method == "POST":
            self.set_status_of(request, chosen, status, note=note_of(request))
        else:
            changing = list(chosen.exclude(status=status))
            if changing:
                return self._ask_to_confirm(request, changing, status)
            self.message_user(request, f"Nothing to do: {status.label.lower()} already.", messages.INFO)
        return HttpResponseRedirect(reverse("admin:index"))

    def _ask_to_confirm(
        self, request: HttpRequest, instruments: Sequence[Instrument], status: Instrument.Status
    ) -> HttpResponse:
        """Show the page that asks, with the numbers of orders if the user may see orders."""
        shown = instruments[: settings.DASHBOARD_INSTRUMENTS_MAX]
        halts = status == Instrument.Status.HALTED
        verb = "halt" if halts else "resume"
        counts = _count_orders(shown) if request.user.has_perm("orders.view_order") else {}
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} trading",
            "verb": verb,
            "halts": halts,
            "instruments": [(row, *counts.get(row.pk, (None, None))) for row in shown],
            "counted": bool(counts),
            "count": len(instruments),
            "more": len(instruments) - len(shown),
            # All instruments are halted, also one that is new. Only those that the page asked about
            # are resumed: one that is halted while the page is open stays halted.
            "all": halts and request.GET.get("all") == "yes",
            "symbols": ",".join(row.symbol for row in instruments),
            "note_characters_max": NOTE_CHARACTERS_MAX,
        }
        return TemplateResponse(request, "operators/confirm_status.html", context)

    @admin.action(description="Halt: accept cancels, but no new orders", permissions=[_PERMISSION])
    def halt(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        self.set_status_of(request, queryset, Instrument.Status.HALTED)

    @admin.action(description="Resume: accept orders again", permissions=[_PERMISSION])
    def resume(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        self.set_status_of(request, queryset, Instrument.Status.ACTIVE)

    def set_status_of(
        self,
        request: HttpRequest,
        queryset: QuerySet[Instrument],
        status: Instrument.Status,
        *,
        note: str = "",
    ) -> None:
        """Halt or resume instruments, and say what was done."""
        symbols = list(queryset.values_list("symbol", flat=True))
        try:
            with transaction.atomic():
                changed = set_status(symbols, status, actor_of(request), note=note).changed
                for instrument in changed:
                    super(Audited, self).log_change(request, instrument, f"Set to {status.label.lower()}.")
                self.announce_on_commit(request, [instrument.partition for instrument in changed])
        except (InstrumentError, DatabaseError) as error:
            self.message_user(request, failure_text(error), messages.ERROR)
            return
        if changed:
            names = ", ".join(instrument.symbol for instrument in changed)
            self.message_user(request, f"{names}: {status.label.lower()}.", messages.SUCCESS)
        else:
            self.message_user(request, f"Nothing to do: {status.label.lower()} already.", messages.INFO)

    def announce_on_commit(self, request: HttpRequest, numbers: Sequence[int]) -> None:
        """Tell the workers after the commit. Before it they would read the old values."""
        transaction.on_commit(partial(self._announce, request, numbers))

    def _announce(self, request: HttpRequest, numbers: Sequence[int]) -> None:
        for number, reason in async_to_sync(announce_instruments)(numbers).items():
            self.message_user(request, unconfirmed_text(number, reason), messages.WARNING)


def _chosen(parameters: QueryDict) -> QuerySet[Instrument]:
    """Return the instruments that a request names: `symbols`, separated by commas, or `all=yes`."""
    if parameters.get("all") == "yes":
        return Instrument.objects.all()
    named = parameters.get("symbols", "").split(",")
    return Instrument.objects.filter(symbol__in=filter(re.compile(SYMBOL_PATTERN).match, named))


def _count_orders(instruments: Sequence[Instrument]) -> dict[int, tuple[str, str]]:
    """Return the numbers of open and pending orders by instrument. None if they can't be read in time."""
    try:
        with transaction.atomic():
            bound_statements(settings.DASHBOARD_SECONDS_MAX)
            counts: Any = live_orders([row.pk for row in instruments])
    except DatabaseError:
        return {}
    return {key: (count_text(found.resting), count_text(found.waiting)) for key, found in counts.items()}
