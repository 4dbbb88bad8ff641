"""The promises that can be checked by one SQL statement each, in the order of their output."""

from matching.operations.audit.history_checks import EVENTS, SEQUENCES, TRADES
from matching.operations.audit.market_checks import CANDLES, CHECKPOINTS, CROSSED, TRIGGERS
from matching.operations.audit.order_checks import FILLS, IDEMPOTENCY, STATUS, TERMS

DATABASE_CHECKS = (
    TERMS,
    STATUS,
    FILLS,
    TRADES,
    EVENTS,
    SEQUENCES,
    CANDLES,
    IDEMPOTENCY,
    CROSSED,
    TRIGGERS,
    CHECKPOINTS,
)
