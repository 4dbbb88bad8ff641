"""At least one way to cause each fault that the audit of the database knows."""

from tests.matching.operations.tampering import (
    BTC,
    ETH,
    MAKER,
    MARKET,
    NO_LIQUIDITY,
    OPEN,
    PARTIAL,
    REJECTED,
    TAKEN_OFF,
    TAKER,
    UNKNOWN,
    Tampering,
    book,
    candle,
    event,
    hand_over_priority,
    named,
    one,
    order,
    scene,
    swap_priorities,
    swap_with_event,
    trade,
)

_TERMS = (
    Tampering("terms", "its instrument is not there", order(REJECTED, f"instrument_id = {UNKNOWN}")),
    Tampering("terms", "its side is neither buy nor sell", order(REJECTED, "side = 'hold'")),
    Tampering("terms", "its type is not known", order(REJECTED, "type = 'iceberg'")),
    Tampering("terms", "a limit kind without a price", order(REJECTED, "price = NULL")),
    Tampering("terms", "a market kind with a price", order(NO_LIQUIDITY, "price = 9")),
    Tampering("terms", "it waits without a trigger price", scene("met already", "trigger_price = NULL")),
    Tampering("terms", "it does not wait and has a trigger price", order(REJECTED, "trigger_price = 9")),
    Tampering("terms", "its price is not above zero", order(REJECTED, "price = -price")),
    Tampering("terms", "its trigger price is not above zero", scene("met already", "trigger_price = 0")),
    Tampering("terms", "its quantity is not above zero", order(REJECTED, "quantity = 0")),
    Tampering("terms", "its price is off the grid", order(REJECTED, "price = price + 0.001")),
    Tampering(
        "terms",
        "its trigger price is off the grid",
        scene("met already", "trigger_price = trigger_price + 0.0001"),
    ),
    Tampering("terms", "its quantity is off the grid", order(REJECTED, "quantity = quantity + 0.000000001")),
    Tampering("terms", "its time in force is not known", order(REJECTED, "time_in_force = 'day'")),
    Tampering("terms", "a market kind that is neither ioc nor fok", order(MARKET, "time_in_force = 'gtc'")),
    Tampering("terms", "gtd without a time", scene("gtd", "expires_at = NULL")),
    Tampering("terms", "it expires and is not gtd", order(REJECTED, "expires_at = now()")),
    Tampering("terms", "post-only and may not rest", scene("no ioc", "post_only = true")),
    Tampering(
        "terms", "its self-trade prevention is not known", order(REJECTED, "self_trade_prevention = 'ask'")
    ),
)

_STATUS = (
    Tampering("status", "its status is not known", order(REJECTED, "status = 'lost'")),
    Tampering("status", "pending without a trigger", order(OPEN, "status = 'pending'")),
    Tampering("status", "open and something is filled", order(PARTIAL, "status = 'open'")),
    Tampering("status", "partially filled and nothing is filled", order(OPEN, "status = 'partially_filled'")),
    Tampering(
        "status",
        "rests without a remainder",
        scene("decremented in part", "prevented_quantity = quantity"),
        also=("fills",),
    ),
    Tampering("status", "filled and not all is filled", order(PARTIAL, "status = 'filled'")),
    Tampering(
        "status",
        "cancelled and all is filled",
        order(MARKET, "status = 'cancelled', reason = 'no_liquidity'"),
    ),
    Tampering(
        "status",
        "rejected and something is filled",
        order(TAKER, "status = 'rejected', reason = 'instrument_halted'"),
    ),
    Tampering("status", "rejected after it rested or waited", hand_over_priority(OPEN, REJECTED)),
    Tampering("status", "rests or waits without a priority", hand_over_priority(OPEN, REJECTED)),
    Tampering(
        "status",
        "rests, but has not come to rest since it left its place",
        swap_with_event("moved", "withdrawn"),
    ),
    Tampering(
        "status",
        "pending, but it has entered the book",
        scene(
            "triggered",
            f"priority = (SELECT priority FROM orders_orderevent WHERE order_id = {named('triggered')})",
        ),
    ),
    Tampering("status", "it may not rest, but it did", order(OPEN, "time_in_force = 'ioc'")),
    Tampering("status", "fok and filled in part", scene("ioc in part", "time_in_force = 'fok'")),
    Tampering("status", "filled before it was triggered", scene("stop", "triggered_at = NULL")),
    Tampering("status", "its trigger is not among its events", scene("gtd", "triggered_at = now()")),
    Tampering("status", "cancelled without one of a cancel's reasons", order(NO_LIQUIDITY, "reason = NULL")),
    Tampering(
        "status",
        "rejected without one of a rejection's reasons",
        order(REJECTED, "reason = 'no_liquidity'"),
    ),
    Tampering(
        "status", "a reason, but neither cancelled nor rejected", order(OPEN, "reason = 'instrument_halted'")
    ),
    Tampering(
        "status",
        "cancelled by request, but neither resting nor waiting",
        hand_over_priority(TAKEN_OFF, REJECTED),
    ),
    Tampering("status", "expired and not gtd", scene("expired", "time_in_force = 'gtc', expires_at = NULL")),
    Tampering(
        "status", "expired before its time", scene("expired", "expires_at = updated_at + interval '1 ms'")
    ),
    Tampering(
        "status",
        "expired on arrival, and something is filled",
        scene("ioc in part", "reason = 'expired', time_in_force = 'gtd', expires_at = updated_at"),
    ),
    Tampering(
        "status",
        "cancelled on entry, but resting or waiting",
        order(TAKEN_OFF, "reason = 'too_many_trades'"),
        also=("sequences",),
    ),
    Tampering(
        "status",
        "cancelled on entry, but never triggered",
        order(NO_LIQUIDITY, "reason = 'too_many_orders'"),
    ),
    Tampering(
        "status",
        "cancelled for no liquidity, but not an ioc market kind",
        order(NO_LIQUIDITY, "type = 'limit', price = 9"),
    ),
    Tampering(
        "status",
        "cancelled as an unfilled ioc, but not an ioc limit kind",
        order(NO_LIQUIDITY, "reason = 'unfilled_ioc'"),
    ),
    Tampering(
        "status",
        "cancelled as an unfilled fok, but not fok",
        order(NO_LIQUIDITY, "reason = 'unfilled_fok'"),
    ),
    Tampering(
        "status",
        "cancelled for too many trades, and has not traded",
        order(NO_LIQUIDITY, "reason = 'too_many_trades'"),
    ),
    Tampering(
        "status", "refused because it would cross, but not post-only", scene("crossing", "post_only = false")
    ),
    Tampering(
        "status",
        "refused because it would be triggered, but has no trigger",
        order(REJECTED, "reason = 'would_trigger'"),
    ),
    Tampering(
        "status",
        "no remainder is left, and not cancelled for a self-trade",
        scene("decrementing", "reason = 'too_many_trades'"),
    ),
)

_FILLS = (
    Tampering(
        "fills",
        "more is filled and prevented than its quantity",
        order(TAKER, "quantity = 0.00000001"),
        also=("status",),
    ),
    Tampering(
        "fills",
        "its filled quantity is not the sum of its trades",
        order(TAKEN_OFF, "filled_quantity = quantity / 2"),
    ),
    Tampering(
        "fills",
        "its notional is not the sum of its trades",
        order(TAKER, "filled_notional = filled_notional + 1"),
    ),
    Tampering(
        "fills",
        "its prevented quantity is not the sum of its events",
        scene("gtd", "prevented_quantity = quantity / 2"),
    ),
    Tampering(
        "fills", "its sequence is not that of its last change", order(TAKER, "sequence = sequence - 1")
    ),
    Tampering(
        "fills", "its sequence is not that of its last change", scene("gtd", "sequence = priority - 1")
    ),
    Tampering(
        "fills", "its sequence is not that of its last change", scene("moved", "sequence = sequence + 1")
    ),
)

_TRADES = (
    Tampering(
        "trades",
        "its instrument is not there",
        trade(f"instrument_id = {UNKNOWN}"),
        also=("sequences", "candles"),
    ),
    Tampering(
        "trades", "its maker is not there", order(MAKER, "order_id = gen_random_uuid()"), also=("fills",)
    ),
    Tampering(
        "trades", "its taker is not there", (f"DELETE FROM orders_order WHERE order_id = {one(TAKER)}",)
    ),
    Tampering(
        "trades",
        "its orders are on one side",
        order(MARKET, "side = CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END"),
    ),
    Tampering(
        "trades",
        "its taker_side is not the taker's",
        trade("taker_side = CASE taker_side WHEN 'buy' THEN 'sell' ELSE 'buy' END"),
    ),
    Tampering(
        "trades",
        "its maker is of another instrument",
        order(MAKER, f"instrument_id = {ETH}"),
        also=("sequences",),
    ),
    Tampering("trades", "its taker is of another instrument", order(TAKER, f"instrument_id = {ETH}")),
    Tampering("trades", "its maker's client is another", trade("maker_client_id = 'nobody'")),
    Tampering("trades", "its taker's client is another", trade("taker_client_id = 'nobody'")),
    Tampering(
        "trades",
        "its taker prevents self-trades",
        (
            "UPDATE orders_order SET self_trade_prevention = 'cancel_maker' WHERE order_id = "
            "(SELECT taker_order_id FROM orders_trade WHERE maker_client_id = taker_client_id "
            "ORDER BY instrument_id, sequence LIMIT 1)",
        ),
    ),
    Tampering("trades", "its taker is post-only", order(TAKER, "post_only = true")),
    Tampering("trades", "its price is not the maker's", order(MAKER, "price = price + 1")),
    Tampering(
        "trades", "its price is not the maker's", event("amended maker", "withdrawn", "price = price + 0.001")
    ),
    Tampering("trades", "its price is not the maker's", scene("amended maker", "price = price + 0.001")),
    Tampering(
        "trades",
        "its price is worse than the taker's limit",
        order(TAKER, "price = CASE side WHEN 'buy' THEN 0.01 ELSE 1000 END"),
    ),
    Tampering(
        "trades",
        "its price is worse than the taker's limit",
        scene("amended taker", "price = price - 0.001"),
    ),
    Tampering(
        "trades",
        "its maker did not rest before it",
        swap_priorities(one(MAKER), one(OPEN, "priority DESC")),
    ),
    Tampering(
        "trades",
        "its maker did not rest before it",
        swap_with_event("amended maker", "withdrawn"),
    ),
    Tampering(
        "trades",
        "its taker rested before it",
        swap_priorities(
            one(f"{PARTIAL} AND order_id IN (SELECT taker_order_id FROM orders_trade)"),
            one(OPEN, "priority"),
        ),
    ),
    Tampering("trades", "its price is not above zero", trade("price = 0"), also=("fills", "candles")),
    Tampering("trades", "its quantity is not above zero", trade("quantity = 0"), also=("fills", "candles")),
    Tampering(
        "trades", "its price is off the grid", trade("price = price + 0.001"), also=("fills", "candles")
    ),
    Tampering(
        "trades",
        "its quantity is off the grid",
        trade("quantity = quantity + 0.000000001"),
        also=("fills", "candles"),
    ),
)

_EVENTS = (
    Tampering(
        "events",
        "its instrument is not there",
        event("reduced", "reduced", f"instrument_id = {UNKNOWN}"),
        also=("sequences",),
    ),
    Tampering(
        "events", "its order is not there", event("reduced", "reduced", "order_id = gen_random_uuid()")
    ),
    Tampering(
        "events",
        "its order is of another instrument",
        event("reduced", "reduced", f"instrument_id = {ETH}"),
        also=("sequences",),
    ),
    Tampering("events", "its kind is not known", event("reduced", "reduced", "kind = 'lost'")),
    Tampering("events", "its order may not rest", event("waiting", "amended", "kind = 'reduced'")),
    Tampering("events", "its order has no trigger", event("reduced", "reduced", "kind = 'amended'")),
    Tampering(
        "events",
        "its order had no place before it",
        event("moved", "withdrawn", "priority = NULL"),
        also=("sequences",),
    ),
    Tampering(
        "events",
        "it kept its place, and has another one",
        event(
            "reduced",
            "reduced",
            f"priority = (SELECT priority FROM orders_order WHERE order_id = {named('reduced')})",
        ),
    ),
    Tampering("events", "it was reduced to no less", event("reduced", "reduced", "quantity = quantity / 3")),
    Tampering(
        "events",
        "it was withdrawn without need",
        event("moved", "withdrawn", "price = price + 0.001"),
    ),
    Tampering(
        "events",
        "its order's numbers changed with it",
        event("reduced", "reduced", "price = price + 0.001"),
    ),
    Tampering(
        "events",
        "its order's numbers changed with it",
        event("decremented", "prevented", "quantity = quantity * 2"),
    ),
    Tampering(
        "events", "its order's numbers changed with it", event("moved", "withdrawn", "trigger_price = 1")
    ),
    Tampering(
        "events",
        "a number of it is off the grid",
        event("reduced", "reduced", "quantity = quantity + 0.0000001"),
    ),
    Tampering(
        "events",
        "no trade triggered it",
        (*scene("stop", "trigger_price = 0.001"), *event("stop", "triggered", "trigger_price = 0.001")),
    ),
    Tampering(
        "events",
        "a prevented match without its taker or quantity",
        event("decremented", "prevented", "taker_order_id = NULL"),
        also=("fills",),
    ),
    Tampering(
        "events",
        "a taker or a quantity, but no prevented match",
        event("reduced", "reduced", "taker_order_id = gen_random_uuid()"),
    ),
    Tampering(
        "events",
        "its taker is not there",
        event("decremented", "prevented", "taker_order_id = gen_random_uuid()"),
        also=("fills",),
    ),
    Tampering("events", "its taker could not meet it", scene("decremented in part", "client_id = 'another'")),
    Tampering(
        "events", "its taker does not decrement", scene("prevented", "self_trade_prevention = 'cancel_both'")
    ),
)

_SEQUENCES = (
    Tampering("sequences", "used twice", order(OPEN, "priority = priority - 1, sequence = sequence - 1")),
    Tampering(
        "sequences",
        "used twice",
        event("reduced", "reduced", "sequence = sequence + 1"),
    ),
    Tampering("sequences", "above the book's", book("- 1")),
    Tampering("sequences", "a gap before the next", book("+ 1")),
    Tampering(
        "sequences",
        "a gap before the next",
        (f"DELETE FROM orders_order WHERE order_id = {one(TAKEN_OFF)}",),
    ),
    Tampering(
        "sequences",
        "a gap before the next",
        (f"DELETE FROM orders_orderevent WHERE order_id = {named('reduced')}",),
    ),
    Tampering(
        "sequences",
        "a gap before the next",
        scene(
            "cancelled maker", "reason = 'no_liquidity', type = 'market', price = NULL, time_in_force = 'ioc'"
        ),
        also=("status",),
    ),
    Tampering("sequences", "a gap before the next", scene("expired", "priority = NULL")),
)

_MARKETS = (
    Tampering("candles", "it is not there", ("DELETE FROM marketdata_candle WHERE instrument_id = " + ETH,)),
    Tampering("candles", "there are no trades", candle("time = time - interval '1 day'")),
    Tampering("candles", "open is not the first trade's price", candle("open = open + 0.01")),
    Tampering("candles", "high is not the highest price", candle("high = high + 0.01")),
    Tampering("candles", "low is not the lowest price", candle("low = low - 0.01")),
    Tampering("candles", "close is not the last trade's price", candle("close = close + 0.01")),
    Tampering("candles", "volume is not the trades'", candle("volume = volume + 1")),
    Tampering("candles", "notional is not the trades'", candle("notional = notional - 1")),
    Tampering("candles", "trade_count is not the trades'", candle("trade_count = trade_count + 1")),
    Tampering(
        "idempotency",
        "used more than once",
        (
            f"UPDATE orders_order SET idempotency_key = 'key' WHERE status = 'rejected' AND instrument_id = {BTC}",
        ),
    ),
    Tampering("crossed", "crossed", order(f"{OPEN} AND side = 'buy'", "price = 1000")),
    Tampering("triggers", "it should have been triggered", scene("take profit", "trigger_price = 0.001")),
    Tampering("checkpoints", "its checkpoint is not there", ("DELETE FROM matching_checkpoint",)),
)

TAMPERINGS = (*_TERMS, *_STATUS, *_FILLS, *_TRADES, *_EVENTS, *_SEQUENCES, *_MARKETS)
