"""The statement that commits a batch with its position: one transaction, one round trip.

The rows of each table are sent as one JSON array, which PostgreSQL expands. This is faster than
COPY, which needs extra round trips, and takes half the processor time in this process
(docs/adr/0010-commit-statement.md has the figures). All parts of the statement see the database as
it was before the statement, so no part may touch a row that another part writes. An order that is
placed in a batch is therefore inserted in its last state, and not also updated.

The checkpoint's compare-and-set is a part of the statement, so a worker that has lost its lease
changes nothing.
"""

from typing import NamedTuple

import msgspec
from psycopg.pq.abc import PGresult

from marketdata.messages import Minute
from matching.batch.batch import Batch
from matching.commit import (
    candles,
    checkpoint,
    deferred,
    events,
    guards,
    orders,
    sequences,
    switches,
    trades,
)
from matching.commit.checkpoint import Lease
from matching.commit.orders import ChangedOrder
from matching.commit.prepared import PreparedStatement, text_array
from matching.commit.rows import encode_rows


class CommitResult(NamedTuple):
    """The stored state of rows that a batch changed, which the books in memory don't have."""

    changed: list[ChangedOrder]
    minutes: dict[int, Minute]  # stored candle of the batch's minute, by instrument id


_PARAMETERS = (
    *("partition", "epoch", "position", "next", "lease", "now"),
    *("orders", "trades", "candles", "books", "changes", "changes_count"),
)
_RARE_PARAMETERS = ("events", "armed", "disarmed", "guards", "ended")
_DEFERRED_PARAMETERS = ("deferred", "resumed")


# The statement divides by zero, so that nothing is written, if the lease was lost or a resting
# order is missing. The checkpoint comes first, so that a worker without a lease holds no other
# row's lock while it waits for the checkpoint's. The new orders come next, so that a taken
# idempotency key ends the statement early.
def _statement(insert: str, update: str, rare_parts: str = "") -> str:
    return f"""
WITH advanced AS ({checkpoint.ADVANCE} RETURNING position
), placed AS ({insert}), traded AS ({trades.INSERT}), minutes AS ({candles.UPSERT}
), sequences AS ({sequences.UPSERT}){rare_parts}, changed AS ({update})
SELECT 1 / (SELECT count(*) FROM advanced), (SELECT count(*) FROM placed),
  (SELECT json_agg({orders.CHANGED}) FROM changed)::text,
  (SELECT json_object_agg(instrument_id, {candles.MINUTE}) FROM minutes)::text,
  1 / ((SELECT count(*) FROM changed) = %(changes_count)s)::integer
"""  # noqa: S608 - joined from constants only


# Most batches have only plain orders and cancels. They do not pay for the parts that write
# instructions, amends, triggers, switches and guards.
COMMIT_PLAIN = PreparedStatement(
    "commit_plain", _statement(orders.INSERT_PLAIN, orders.UPDATE_PLAIN), *_PARAMETERS
)
_RARE_PARTS = (
    f", events AS ({events.INSERT}), armed AS ({switches.UPSERT}), disarmed AS ({switches.DELETE})"
    f", kept AS ({guards.UPSERT}), ended AS ({guards.DELETE})"
)
COMMIT_ANY = PreparedStatement(
    "commit_any",
    _statement(orders.INSERT, orders.UPDATE, _RARE_PARTS),
    *_PARAMETERS,
    *_RARE_PARAMETERS,
)
# While a long chain of triggered orders goes on.
COMMIT_DEFERRING = PreparedStatement(
    "commit_deferring",
    _statement(
        orders.INSERT,
        orders.UPDATE,
        f"{_RARE_PARTS}, deferred AS ({deferred.INSERT}), resumed AS ({deferred.DELETE})",
    ),
    *_PARAMETERS,
    *_RARE_PARAMETERS,
    *_DEFERRED_PARAMETERS,
)
STATEMENTS = (COMMIT_PLAIN, COMMIT_ANY, COMMIT_DEFERRING)


_decode_changed = msgspec.json.Decoder(list[ChangedOrder]).decode
_decode_minutes = msgspec.json.Decoder(dict[int, Minute]).decode


def statement_of(batch: Batch, lease: Lease, position: str) -> tuple[PreparedStatement, dict[str, bytes]]:
    """Return the statement that commits the batch, and its parameters if it ends at the position."""
    advance = checkpoint.advance_parameters(lease, position)
    new, changed = orders.new_rows(batch), orders.change_rows(batch)
    values = {
        **{name: str(value).encode() for name, value in advance.items()},
        "now": batch.now.isoformat().encode(),
        "orders": encode_rows(new),
        "trades": encode_rows(trades.rows(batch)),
        "candles": encode_rows(candles.rows(batch)),
        "books": encode_rows(sequences.rows(batch)),
        "changes": encode_rows(changed),
        "changes_count": b"%d" % len(changed),
    }
    is_deferring = batch.deferred or batch.resumed
    has_rare_rows = batch.event_rows or batch.switches or batch.guards or is_deferring
    if not has_rare_rows and orders.are_plain(new, changed):
        return COMMIT_PLAIN, values
    values["events"] = encode_rows(events.rows(batch))
    values["armed"] = encode_rows(switches.armed_rows(batch))
    values["disarmed"] = text_array(switches.disarmed(batch))
    values["guards"] = encode_rows(guards.kept_rows(batch))
    values["ended"] = text_array(guards.ended(batch))
    if not is_deferring:
        return COMMIT_ANY, values
    values["deferred"] = encode_rows(deferred.rows(batch))
    values["resumed"] = text_array(deferred.resumed(batch))
    return COMMIT_DEFERRING, values


def read_result(row: PGresult) -> CommitResult:
    """Decode the row that the statement returns."""
    changed, minutes = row.get_value(0, 2), row.get_value(0, 3)
    return CommitResult(
        _decode_changed(changed) if changed else [], _decode_minutes(minutes) if minutes else {}
    )
