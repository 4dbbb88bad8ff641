"""The checks of instruments and partitions: candles, best prices, triggers and checkpoints."""

from matching.operations.audit.check import SYMBOL, DatabaseCheck

CANDLES = DatabaseCheck(
    name="candles",
    promise="A minute with trades has the candle of these trades. Other minutes have none.",
    # Only minutes with all their trades are checked. The first and the last trade are found by
    # arrays of (sequence, price), which PostgreSQL compares element by element.
    rows="""(
            SELECT instrument_id, date_trunc('minute', timestamp) AS time,
                (min(ARRAY[sequence, price]))[2] AS open, max(price) AS high, min(price) AS low,
                (max(ARRAY[sequence, price]))[2] AS close, sum(quantity) AS volume,
                sum(price * quantity) AS notional, count(*) AS trade_count
            FROM orders_trade
            GROUP BY 1, 2
        ) AS traded
        FULL JOIN marketdata_candle AS candle
            ON candle.instrument_id = traded.instrument_id AND candle.time = traded.time
        LEFT JOIN instruments_instrument AS instrument
            ON instrument.id = coalesce(traded.instrument_id, candle.instrument_id)
        LEFT JOIN matching_prunedhistory AS pruned
            ON pruned.instrument_id = coalesce(traded.instrument_id, candle.instrument_id)
            AND coalesce(traded.time, candle.time) <= pruned.time""",
    subject="""concat('candle ', instrument.symbol, ' ',
        to_char(coalesce(traded.time, candle.time) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'))""",
    order="instrument.symbol, coalesce(traded.time, candle.time)",
    details="""concat_ws(' ', 'candle', trim_scale(candle.open), trim_scale(candle.high), trim_scale(candle.low),
        trim_scale(candle.close), trim_scale(candle.volume), trim_scale(candle.notional), candle.trade_count,
        'trades', trim_scale(traded.open), trim_scale(traded.high), trim_scale(traded.low),
        trim_scale(traded.close), trim_scale(traded.volume), trim_scale(traded.notional), traded.trade_count)""",
    faults={
        fault: f"pruned.instrument_id IS NULL AND {condition}"
        for fault, condition in {
            "it is not there": "candle.id IS NULL",
            "there are no trades": "traded.instrument_id IS NULL",
            "open is not the first trade's price": "candle.open <> traded.open",
            "high is not the highest price": "candle.high <> traded.high",
            "low is not the lowest price": "candle.low <> traded.low",
            "close is not the last trade's price": "candle.close <> traded.close",
            "volume is not the trades'": "candle.volume <> traded.volume",
            "notional is not the trades'": "candle.notional <> traded.notional",
            "trade_count is not the trades'": "candle.trade_count <> traded.trade_count",
        }.items()
    },
)

CROSSED = DatabaseCheck(
    name="crossed",
    promise="A book's best bid is below its best ask.",
    rows="""(
            SELECT instrument_id, max(price) FILTER (WHERE side = 'buy') AS bid,
                min(price) FILTER (WHERE side = 'sell') AS ask
            FROM orders_order
            WHERE status IN ('open', 'partially_filled')
            GROUP BY 1
        ) AS best
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = best.instrument_id""",
    subject=SYMBOL.format(table="best"),
    order="best.instrument_id",
    details="concat_ws(' ', 'bid', trim_scale(best.bid), 'ask', trim_scale(best.ask))",
    faults={"crossed": "best.bid >= best.ask"},
)

# The command prune may have deleted the last trade. Then the last candle, which stays, has its
# price.
TRIGGERS = DatabaseCheck(
    name="triggers",
    promise="No order waits for a price that the last trade has met.",
    rows="""orders_order AS placed
        JOIN (
            SELECT id, symbol, coalesce(
                (SELECT price FROM orders_trade WHERE instrument_id = instrument.id ORDER BY sequence DESC LIMIT 1),
                (SELECT close FROM marketdata_candle WHERE instrument_id = instrument.id ORDER BY time DESC LIMIT 1)
            ) AS last_price
            FROM instruments_instrument AS instrument
        ) AS instrument ON instrument.id = placed.instrument_id""",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', placed.side, placed.type, instrument.symbol, 'from', trim_scale(placed.trigger_price),
        'last price', trim_scale(instrument.last_price))""",
    faults={
        "it should have been triggered": (
            "placed.status = 'pending' AND placed.triggered_at IS NULL "
            "AND CASE WHEN (placed.type IN ('stop', 'stop_limit')) = (placed.side = 'buy') "
            "THEN instrument.last_price >= placed.trigger_price "
            "ELSE instrument.last_price <= placed.trigger_price END"
        ),
    },
)

# A partition that no worker has ever matched has no checkpoint, but its books have not moved
# either.
CHECKPOINTS = DatabaseCheck(
    name="checkpoints",
    promise="A partition whose books have moved has a checkpoint.",
    rows="""(
            SELECT instrument.partition, string_agg(instrument.symbol, ' ' ORDER BY instrument.symbol) AS symbols
            FROM marketdata_booksequence AS book
            JOIN instruments_instrument AS instrument ON instrument.id = book.instrument_id
            GROUP BY 1
        ) AS moved
        LEFT JOIN matching_checkpoint AS checkpoint ON checkpoint.partition = moved.partition""",
    subject="'partition ' || moved.partition",
    order="moved.partition",
    details="moved.symbols",
    faults={"its checkpoint is not there": "checkpoint.partition IS NULL"},
)
