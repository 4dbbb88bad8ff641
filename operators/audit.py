"""Writes the audit trail, and a log line for each act.

A record is written in the same transaction as the change that it describes, so neither exists
without the other. The log line is written after the commit.
"""

import json
import logging
import os
import pwd
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from base.numbers import decimal_text
from operators.models import TEXT_CHARACTERS_MAX, Act, AuditRecord

logger = logging.getLogger(__name__)

NOTE_CHARACTERS_MAX = 500  # Of a note that a form sends.

State = Mapping[str, Any]

_HIDDEN = frozenset({"password", "last_login"})


class Actor(NamedTuple):
    """The user who acts, and the user's address, which is empty at the command line."""

    name: str
    address: str = ""


class Change(NamedTuple):
    """An object with its state before and after an act. A state is None if it did not exist."""

    object_type: str
    object: str
    before: State | None
    after: State | None


def actor_of(request: HttpRequest) -> Actor:
    """Return the user who sent the request."""
    return Actor(request.user.get_username(), request.META.get("REMOTE_ADDR", ""))


def note_of(request: HttpRequest) -> str:
    """Return the note that the request's form sends for the audit trail."""
    # PostgreSQL stores no NUL.
    return str(request.POST.get("note", "")).replace("\0", "").strip()[:NOTE_CHARACTERS_MAX]


def command_line_actor() -> Actor:
    """Return the operating system's user that runs the command, with the user that called sudo."""
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:  # A container's user may have no name.
        name = str(user_id)
    caller = os.environ.get("SUDO_USER", "") if user_id == 0 else ""
    return Actor(f"command line: {name}" + (f" (sudo by {caller})" if caller else ""))


def record(actor: Actor, act: Act, changes: Sequence[Change], *, note: str = "") -> None:
    """Write one record for each object.

    Raises DatabaseError. In that case the caller must not make the changes.
    """
    AuditRecord.objects.bulk_create(
        AuditRecord(
            actor=_shortened(actor.name),
            address=_shortened(actor.address),
            act=act,
            object_type=change.object_type,
            object=_shortened(change.object),
            before=change.before,
            after=change.after,
            note=note,
        )
        for change in changes
    )
    transaction.on_commit(partial(_log_act, actor, act, changes, note))


def state_of(row: Model) -> dict[str, Any]:
    """Return a row's fields and many-to-many relations as JSON values, without secrets."""
    state: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        value = field.value_from_object(row)
        if field.name in _HIDDEN:
            continue
        state[field.name] = decimal_text(value) if isinstance(value, Decimal) else value
    for many in row._meta.many_to_many:
        state[many.name] = sorted(str(other) for other in getattr(row, many.name).all()) if row.pk else []
    return state


def differences(before: State, after: State) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that differ: their values before, and their values after."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def _shortened(text: str) -> str:
    return text[:TEXT_CHARACTERS_MAX]


def _log_act(actor: Actor, act: Act, changes: Sequence[Change], note: str) -> None:
    """Log one line for each change. JSON escapes line breaks in its values."""
    for change in changes:
        logger.info(
            "%s%s: %s %s %s: %s -> %s%s",
            actor.name,
            f" at {actor.address}" if actor.address else "",
            act.value,
            change.object_type,
            change.object,
            _json(change.before),
            _json(change.after),
            f" ({_json(note)})" if note else "",
        )


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
