import assert from "node:assert/strict";
import { test } from "node:test";
import { Grid } from "../src/exact.ts";
import { mergeCandles, candleOf } from "../src/feed/candle_feed.ts";
import { Frames } from "../src/feed/frames.ts";
import { mergeTrades } from "../src/feed/tape.ts";
import { Http } from "../src/http.ts";
import type { Fill, Order } from "../src/model.ts";
import { Fills } from "../src/trading/fills.ts";
import { History } from "../src/trading/history.ts";
import { OpenOrders } from "../src/trading/orders.ts";
import { applyFill, EMPTY_ACCOUNT, positionOf, sum } from "../src/trading/positions.ts";
import { fillOf, fillsOf, orderOf, tradeOf, type JsonObject } from "../src/wire.ts";
import { at, INSTRUMENT, jsonResponse, orderRow, settle } from "./rows.ts";

const GRID = new Grid(INSTRUMENT.tickSize, INSTRUMENT.lotSize);
const updated = (milliseconds: number, changes: JsonObject = {}) =>
  orderOf(orderRow({ updated_at: at(milliseconds), ...changes }));
const fill = (
  id: number,
  side: string,
  price: number | string,
  quantity: number | string,
  order = "o1",
): Fill =>
  fillOf({
    trade_id: `t${String(id).padStart(6, "0")}`,
    order_id: order,
    instrument: "BTC-USD",
    side,
    price,
    quantity,
    liquidity: "taker",
    timestamp: at(id),
  });
const account = (...fills: Fill[]) =>
  fills.reduce((each, next) => applyFill(each, next, GRID), EMPTY_ACCOUNT);
const position = (...fills: Fill[]) => positionOf("BTC-USD", account(...fills), GRID, "110" as never, null);

function openOrders() {
  const frames = new Frames();
  const vanished: string[] = [];
  const orders = new OpenOrders({
    http: new Http(),
    frames,
    seen: () => undefined,
    vanished: (ids) => vanished.push(...ids),
  });
  orders.reset("a");
  const shown = () => {
    frames.flush();
    return orders.orders.value.map((order) => `${order.id} ${order.filledQuantity}`);
  };
  const snapshot = (sequence: number, rows: JsonObject[], time = 0) =>
    orders.snapshot({
      instrument: "BTC-USD",
      client_id: "a",
      sequence,
      orders: rows as never,
      complete: true,
      timestamp: at(time),
    });
  return { orders, vanished, shown, snapshot };
}

test("an order never goes back in time, whichever way its states come", () => {
  const { orders, shown } = openOrders();
  orders.take(updated(20, { filled_quantity: 0.05, status: "partially_filled" }), null);
  orders.take(updated(10), 4); // the stream is behind the answer
  assert.deepEqual(shown(), ["o1 0.05"]);
  orders.take(updated(20, { filled_quantity: 0.05, status: "partially_filled" }), 6);
  orders.take(updated(30, { filled_quantity: 0.06, status: "partially_filled" }), 7);
  orders.take(updated(40, { filled_quantity: 0.05 }), 6);
  assert.deepEqual(shown(), ["o1 0.06"]);
  orders.take(updated(50, { status: "filled", filled_quantity: 0.1 }), 8);
  orders.take(updated(60), null);
  orders.take(updated(60), 9);
  assert.deepEqual(shown(), [], "what ended stays ended");
});

test("a snapshot ends what it does not have, but not what is later", () => {
  const { orders, shown, snapshot, vanished } = openOrders();
  snapshot(5, [orderRow(), orderRow({ order_id: "o2" })]);
  orders.take(updated(0, { order_id: "o3" }), 9);
  orders.take(updated(0, { order_id: "o4", instrument: "ETH-USD" }), 1);
  snapshot(8, [orderRow({ order_id: "o2" })], 100);
  assert.deepEqual(shown().sort(), ["o2 0", "o3 0", "o4 0"]);
  assert.deepEqual(vanished, ["o1"]);
  orders.take(updated(50), null);
  assert.equal(shown().length, 3, "an old answer does not bring it back");
  orders.take(updated(150), 10);
  assert.equal(shown().length, 4, "but the stream does");
  orders.snapshot({ client_id: "b" });
});

test("history merges pages and the stream, and closes a gap", async () => {
  const rows = (from: number, to: number) => {
    const found: JsonObject[] = [];
    for (let n = from; n >= to; n -= 1) {
      found.push(
        orderRow({ order_id: `o${1000 + n}`, created_at: at(n), updated_at: at(n), status: "filled" }),
      );
    }
    return found;
  };
  let top = 150;
  const http = new Http(async (url) => {
    const cursor = new URL(url, "http://x").searchParams.get("cursor");
    const first = cursor === null ? top : Number(cursor);
    const last = Math.max(1, first - 99);
    return jsonResponse(200, { orders: rows(first, last), next_cursor: last > 1 ? String(last - 1) : null });
  });
  const frames = new Frames();
  const history = new History(http, frames, () => undefined);
  const ids = () => {
    frames.flush();
    return history.pages.value.rows.map((row) => Number(row.id.slice(1)) - 1000);
  };
  const counting = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, n) => from - n);
  history.reset("a");
  await history.refresh();
  history.take(orderOf(rows(151, 151)[0] as JsonObject));
  history.take(orderOf(rows(151, 151)[0] as JsonObject));
  assert.deepEqual(ids(), counting(151, 51));
  await history.loadMore();
  assert.deepEqual(ids(), counting(151, 1));
  assert.equal(history.pages.value.hasMore, false);
  history.markGap();
  top = 200;
  history.take(orderOf(rows(200, 200)[0] as JsonObject)); // live, before the page of the refresh
  await history.refresh();
  assert.deepEqual(ids(), counting(200, 1), "the page reaches the old rows");
  history.markGap();
  top = 500;
  await history.refresh();
  assert.deepEqual(ids(), counting(500, 401), "it does not: the old rows would hide a gap");
  assert.equal(history.pages.value.hasMore, true);
});

test("average cost: buy, add, reduce, close and turn", () => {
  const one = position(fill(1, "buy", 100, 1), fill(2, "buy", 103, 2));
  assert.deepEqual(
    [one.quantity, one.averagePrice, one.realizedProfit, one.unrealizedProfit],
    ["3", "102.00", "0", "24"],
  );
  const two = position(fill(1, "buy", 100, 1), fill(2, "sell", 105, 3));
  assert.deepEqual(
    [two.quantity, two.averagePrice, two.realizedProfit, two.unrealizedProfit],
    ["-2", "105.00", "5", "-10"],
  );
  const flat = position(fill(1, "sell", 100, 0.00000001), fill(2, "buy", 99.99, 0.00000001));
  assert.deepEqual([flat.quantity, flat.averagePrice, flat.realizedProfit], ["0", null, "0.0000000001"]);
});

test("profit is exact: realized and unrealized sum to what was paid and received", () => {
  const fills = [
    fill(1, "buy", 100, "0.00000001"),
    fill(2, "buy", 100.01, "0.00000002"),
    fill(3, "sell", 100.07, "0.00000001"),
  ];
  const found = positionOf("BTC-USD", account(...fills), GRID, "100.05" as never, null);
  // -100 - 200.02 + 100.07 + 2 * 100.05 = 0.15, times 0.00000001
  assert.equal(sum([found.realizedProfit, found.unrealizedProfit as never]), "0.0000000015");
});

test("fills count once, in the order of trades, and a trade with oneself is two", async () => {
  const pages: Record<string, JsonObject[]> = {};
  const http = new Http(async () => jsonResponse(200, { fills: pages["now"] ?? [], next_cursor: null }));
  const row = (f: Fill) => ({
    trade_id: f.tradeId,
    order_id: f.orderId,
    instrument: f.symbol,
    side: f.side,
    price: Number(f.price),
    quantity: Number(f.quantity),
    liquidity: f.liquidity,
    timestamp: new Date(f.time).toISOString(),
  });
  pages["now"] = [fill(1, "buy", 100, 1), fill(2, "sell", 105, 3)].map(row).reverse();
  const frames = new Frames();
  const fills = new Fills({ http, frames, instruments: () => [INSTRUMENT], lastPrice: () => null });
  fills.reset("a");
  await settle();
  fills.take([fill(4, "buy", 100, 2), fill(4, "buy", 100, 2)]);
  fills.take([fill(3, "sell", 100, 1), fill(5, "buy", 100, 1, "o1"), fill(5, "sell", 100, 1, "o2")]);
  frames.flush();
  assert.deepEqual(
    fills.pages.value.rows.map((each) => each.tradeId.slice(-1) + each.side[0]),
    ["5s", "5b", "4b", "3s", "2s", "1b"],
  );
  const [found] = fills.positions.value;
  assert.equal(found?.quantity, "-1");
  assert.equal(found?.since, null);
  pages["now"] = [fill(5, "buy", 100, 1, "o1"), fill(6, "buy", 90, 1)].map(row);
  await fills.refresh();
  frames.flush();
  assert.equal(fills.positions.value[0]?.quantity, "0");
});

test("an update's fills have the order's side, not the taker's", () => {
  const [found] = fillsOf(
    orderRow({
      fills: [
        { trade_id: "t", price: 1, quantity: 2, side: "sell", liquidity: "maker", timestamp: at(1) },
      ] as never,
    }),
  );
  assert.equal(found?.side, "buy");
});

test("trades and candles are there once, in order, the later state of each", () => {
  const trade = (sequence: number) =>
    tradeOf({
      trade_id: `t${sequence}`,
      sequence,
      price: 1,
      quantity: 1,
      side: "buy",
      timestamp: at(sequence),
    });
  const merged = mergeTrades(mergeTrades([trade(5)], [trade(7)]), [6, 5, 4].map(trade));
  assert.deepEqual(
    merged.map((each) => each.sequence),
    [7, 6, 5, 4],
  );
  assert.equal(
    mergeTrades(
      merged,
      Array.from({ length: 500 }, (_, n) => trade(n + 10)),
    ).length,
    200,
  );

  const candle = (minute: number, tradeCount: number) =>
    candleOf({
      time: at(minute * 60_000),
      open: 1,
      high: 1,
      low: 1,
      close: tradeCount,
      volume: 1,
      trade_count: tradeCount,
    });
  const rows = mergeCandles([candle(1, 1), candle(3, 5)], [candle(3, 4)]);
  assert.equal(rows.at(-1)?.close, 5, "an old page does not undo the stream");
  const all = mergeCandles(mergeCandles(rows, [candle(3, 6)]), [candle(2, 1), candle(3, 5)]);
  assert.deepEqual(
    all.map((each) => each.close),
    [1, 1, 6],
  );
  assert.equal(all[0], rows[0]);
});

test("an update has its order's type as order_type", () => {
  const order: Order = orderOf(orderRow({ order_type: "stop", type: "order_update" }));
  assert.equal(order.type, "stop");
});
