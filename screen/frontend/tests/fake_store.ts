/** A store with a made market that moves, to look at the view without an exchange. */

import { signal } from "@preact/signals";
import { Grid } from "../src/exact.ts";
import type {
  AmendRequest, Book, Candle, Candles, Connection, Decimal, Fill, Instrument, Interval, Level, Order,
  OrderRequest, Pages, Position, Store, Submission, Ticker, Trade,
} from "../src/model.ts";

const decimal = (text: string | number): Decimal => String(text) as Decimal;
const SECONDS: Record<Interval, number> = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400 };

interface Made {
  readonly instrument: Instrument;
  readonly start: number;
  last: number;
}

function made(symbol: string, start: number, tick: string, lot: string, least: string): Made {
  const [baseAsset = "", quoteAsset = ""] = symbol.split("-");
  const instrument: Instrument = {
    symbol, baseAsset, quoteAsset,
    tickSize: decimal(tick), lotSize: decimal(lot), minPrice: decimal(tick), maxPrice: decimal("10000000"),
    minQuantity: decimal(least), maxQuantity: decimal("1000"), minNotional: decimal("1"),
    isHalted: symbol === "DOGE-USD",
    orderTypes: ["limit", "market", "stop", "stop_limit", "take_profit", "take_profit_limit"],
    timesInForce: ["gtc", "ioc", "fok", "gtd"],
    selfTradePrevention: ["none", "cancel_taker", "cancel_maker", "cancel_both", "decrement"],
  };
  return { instrument, start, last: start };
}

const MARKETS = [
  made("BTC-USD", 70150.5, "0.01", "0.00000001", "0.0001"),
  made("ETH-USD", 3521.4, "0.01", "0.0001", "0.001"),
  made("SOL-USD", 172.31, "0.01", "0.001", "0.01"),
  made("ADA-USD", 0.4821, "0.0001", "0.1", "1"),
  made("DOGE-USD", 0.1234, "0.00001", "1", "10"),
];

let seed = 7;
function random(): number {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return seed / 2147483648;
}

/** Make a past of candles that ends at `last`, oldest first. */
function past(last: number, seconds: number, end: number, count: number): Candle[] {
  const candles: Candle[] = [];
  let close = last;
  for (let index = 0; index < count; index++) {
    const wave = Math.sin(index / 17) * 0.0006;
    const open = close * (1 + (random() - 0.5) * 0.003 + wave);
    const reach = close * 0.0012;
    candles.push({
      time: end - index * seconds, open, close,
      high: Math.max(open, close) + random() * reach, low: Math.min(open, close) - random() * reach,
      volume: 2 + random() * random() * 30,
    });
    close = open;
  }
  return candles.reverse();
}

function sideOfBook(grid: Grid, touch: bigint, direction: bigint, unit: number): Level[] {
  const levels: Level[] = [];
  let cumulativeLots = 0n;
  let priceTicks = touch;
  for (let index = 0; index < 300; index++) {
    const text = ((0.05 + random() * random() * 2) * unit).toFixed(4);
    const quantityLots = grid.lots(decimal(text)) ?? BigInt(Math.ceil(Number(text)));
    cumulativeLots += quantityLots;
    levels.push({ priceTicks, quantityLots, orders: 1 + Math.floor(random() * 6), cumulativeLots });
    priceTicks += direction * BigInt(1 + Math.floor(random() * 60));
  }
  return levels;
}

/** Change the quantities of a few levels. */
function changed(levels: readonly Level[]): Level[] {
  const picked = new Set([0, 1, 2].map(() => Math.floor(random() * random() * levels.length)));
  let cumulativeLots = 0n;
  return levels.map((level, index) => {
    const quantityLots = picked.has(index) ? level.quantityLots + level.quantityLots / 3n + 1n : level.quantityLots;
    cumulativeLots += quantityLots;
    return { ...level, quantityLots, cumulativeLots };
  });
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

let ids = 0;
let ticks = 0;
const newId = (): string => `019aa000-0000-7000-8000-${String(++ids).padStart(12, "0")}`;

function newOrder(request: OrderRequest, minutesAgo = 0): Order {
  const now = Date.now() - minutesAgo * 60000;
  const waits = request.trigger_price !== undefined;
  return {
    id: newId(), key: newId(), symbol: request.instrument, side: request.side, type: request.type,
    price: request.price ?? null, triggerPrice: request.trigger_price ?? null, quantity: request.quantity,
    filledQuantity: decimal("0"), remainingQuantity: request.quantity, averagePrice: null,
    status: waits ? "pending" : "open", reason: null, timeInForce: request.time_in_force ?? "gtc",
    expiresAt: request.expires_at ? Date.parse(request.expires_at) : null, postOnly: request.post_only ?? false,
    createdAt: now, updatedAt: now,
  };
}

export interface FakeStore extends Store {
  /** For tests: the connection, staleness and the next answer can be set. */
  readonly fake: { connection(value: Connection): void; stale(value: boolean): void; refuse: boolean; idle: boolean; tick(): void };
}

export function createFakeStore(): FakeStore {
  const selected = signal<string | null>("BTC-USD");
  const interval = signal<Interval>("5m");
  const connection = signal<Connection>({ state: "open", message: null, roundTripMs: 3.2, latenessMs: 4 });
  const isStale = signal(false);
  const book = signal<Book | null>(null);
  const trades = signal<readonly Trade[]>([]);
  const candles = signal<Candles | null>(null);
  const tickers = signal<ReadonlyMap<string, Ticker>>(new Map());
  const client = signal("alice");
  const openOrders = signal<readonly Order[]>([]);
  const submissions = signal<readonly Submission[]>([]);
  const history = signal<Pages<Order>>({ rows: [], isLoading: false, hasMore: true, problem: null });
  const fills = signal<Pages<Fill>>({ rows: [], isLoading: false, hasMore: false, problem: null });
  const positions = signal<readonly Position[]>([]);
  const fake = {
    connection: (value: Connection) => { connection.value = value; },
    stale: (value: boolean) => { isStale.value = value; },
    refuse: false,
    idle: false,
    tick: (): void => tick(),
  };
  const market = (): Made => MARKETS.find((each) => each.instrument.symbol === selected.value) ?? MARKETS[0]!;

  function tick(): void {
    if (fake.idle) return;
    const { instrument } = market();
    const grid = new Grid(instrument.tickSize, instrument.lotSize);
    const places = (instrument.tickSize.split(".")[1] ?? "").length;
    for (const each of MARKETS) each.last *= 1 + (random() - 0.5) * 0.0001;
    const now = market().last;
    const touch = grid.ticks(decimal(now.toFixed(places))) ?? 1n;
    const unit = 30000 / now / 20;
    const before = book.peek();
    const isNew = before?.symbol !== instrument.symbol || ticks++ % 20 === 0;
    book.value = {
      symbol: instrument.symbol, sequence: ids++,
      bids: isNew || !before ? sideOfBook(grid, touch - 2n, -1n, unit) : changed(before.bids),
      asks: isNew || !before ? sideOfBook(grid, touch + 5n, 1n, unit) : changed(before.asks),
    };
    const quantity = decimal((random() * unit + 0.0001).toFixed(4));
    const trade: Trade = { id: newId(), price: decimal(now.toFixed(places)), quantity, side: random() > 0.5 ? "buy" : "sell", time: Date.now() };
    trades.value = [trade, ...trades.value].slice(0, 200);
    tickers.value = new Map(MARKETS.map((each) => [each.instrument.symbol, tickerOf(each)]));
    moveCandle(now);
  }

  function tickerOf(each: Made): Ticker {
    const places = (each.instrument.tickSize.split(".")[1] ?? "").length;
    const text = (value: number): Decimal => decimal(value.toFixed(places));
    const change = each.last - each.start * (each.instrument.symbol < "D" ? 0.98 : 1.01);
    return {
      symbol: each.instrument.symbol, last: text(each.last), bestBid: text(each.last * 0.9999), bestAsk: text(each.last * 1.0001),
      high: text(each.start * 1.02), low: text(each.start * 0.97), volume: decimal((1234.5678 * 1000 / each.start).toFixed(4)),
      change: text(change), changePercent: decimal(((change / each.start) * 100).toFixed(2)),
    };
  }

  function moveCandle(price: number): void {
    const known = candles.value;
    if (!known) return;
    const seconds = SECONDS[known.interval];
    const time = Math.floor(Date.now() / 1000 / seconds) * seconds;
    const last = known.candles.at(-1);
    if (!last) return;
    const next: Candle = last.time === time
      ? { ...last, close: price, high: Math.max(last.high, price), low: Math.min(last.low, price), volume: last.volume + 0.05 }
      : { time, open: price, high: price, low: price, close: price, volume: 0.1 };
    candles.value = { ...known, candles: last.time === time ? [...known.candles.slice(0, -1), next] : [...known.candles, next] };
  }

  function loadCandles(): void {
    const seconds = SECONDS[interval.value];
    const end = Math.floor(Date.now() / 1000 / seconds) * seconds;
    candles.value = { symbol: market().instrument.symbol, interval: interval.value, candles: past(market().last, seconds, end, 300) };
  }

  function change(key: string, changes: Partial<Submission>): Submission {
    submissions.value = submissions.value.map((each) => (each.key === key ? { ...each, ...changes } : each));
    return submissions.value.find((each) => each.key === key)!;
  }

  async function submit(kind: Submission["kind"], title: string, request: OrderRequest | null, order: Order | null, done: () => Order | null): Promise<Submission> {
    const key = newId();
    const refuse = fake.refuse;
    const sent: Submission = {
      key, kind, title, request, orderId: order?.id ?? null, state: "sent", problem: null,
      acceptedAfterMs: null, filledAfterMs: null, order,
    };
    submissions.value = [sent, ...submissions.value].slice(0, 50);
    await after(120);
    if (refuse) {
      const problem = { code: "invalid_request", message: "The request is not valid.", fields: { price: ["Must be a multiple of 0.05."], body: [] } };
      return change(key, { state: "refused", problem });
    }
    const result = done();
    const isFilled = result?.status === "filled";
    return change(key, {
      state: isFilled ? "filled" : kind === "place" ? "accepted" : "done", acceptedAfterMs: 12.4,
      filledAfterMs: isFilled ? 12.4 : null, order: result, orderId: result?.id ?? null,
    });
  }

  function fill(order: Order, price: Decimal): Order {
    const filled: Order = { ...order, status: "filled", filledQuantity: order.quantity, remainingQuantity: decimal("0"), averagePrice: price };
    fills.value = {
      ...fills.value,
      rows: [{ tradeId: newId(), orderId: order.id, symbol: order.symbol, side: order.side, price, quantity: order.quantity, liquidity: "taker", time: Date.now() }, ...fills.value.rows],
    };
    history.value = { ...history.value, rows: [filled, ...history.value.rows] };
    return filled;
  }

  const place = (request: OrderRequest): Promise<Submission> => {
    const title = `${request.side === "buy" ? "Buy" : "Sell"} ${request.quantity} ${request.instrument}${request.price ? ` at ${request.price}` : ""}`;
    return submit("place", title, request, null, () => {
      const order = newOrder(request);
      if (request.type === "market") return fill(order, tickers.value.get(request.instrument)?.last ?? decimal("1"));
      openOrders.value = [order, ...openOrders.value];
      return order;
    });
  };
  const amend = (order: Order, changes: AmendRequest): Promise<Submission> =>
    submit("amend", `Amend ${order.side} ${order.symbol}`, null, order, () => {
      const next = { ...order, price: changes.price ?? order.price, quantity: changes.quantity ?? order.quantity, triggerPrice: changes.trigger_price ?? order.triggerPrice };
      openOrders.value = openOrders.value.map((each) => (each.id === order.id ? next : each));
      return next;
    });
  const end = (orders: readonly Order[]): void => {
    const gone = new Set(orders.map((each) => each.id));
    openOrders.value = openOrders.value.filter((each) => !gone.has(each.id));
    const ended = orders.map((each): Order => ({ ...each, status: "cancelled", reason: "client_request" }));
    history.value = { ...history.value, rows: [...ended, ...history.value.rows] };
  };

  const first = market().last;
  const limit = (side: "buy" | "sell", away: number, quantity: string, minutes: number): Order =>
    newOrder({ instrument: "BTC-USD", side, type: "limit", price: decimal((first + away).toFixed(2)), quantity: decimal(quantity) }, minutes);
  openOrders.value = [
    limit("buy", -420, "0.25", 3),
    { ...limit("sell", 610, "0.4", 12), filledQuantity: decimal("0.15"), remainingQuantity: decimal("0.25"), status: "partially_filled" },
    newOrder({ instrument: "BTC-USD", side: "sell", type: "stop", trigger_price: decimal((first - 900).toFixed(2)), quantity: decimal("0.5"), time_in_force: "ioc" }, 40),
    newOrder({ instrument: "ETH-USD", side: "buy", type: "limit", price: decimal("3480.25"), quantity: decimal("4.2"), post_only: true }, 65),
  ];
  positions.value = [
    { symbol: "BTC-USD", quantity: decimal("0.75"), averagePrice: decimal("69840.12"), realizedProfit: decimal("182.4"), unrealizedProfit: decimal("232.78"), since: null },
    { symbol: "SOL-USD", quantity: decimal("-12.5"), averagePrice: decimal("171.02"), realizedProfit: decimal("-14.05"), unrealizedProfit: decimal("-16.12"), since: Date.now() - 8e7 },
  ];
  for (let index = 0; index < 12; index++) fill(limit(index % 3 ? "buy" : "sell", index * 3, "0.05", index), decimal((first + index * 3).toFixed(2)));
  tick();
  loadCandles();
  setInterval(tick, 100);

  return {
    connection, instruments: signal(MARKETS.map((each) => each.instrument)), tickers, selected, interval, book, isStale, trades, candles,
    select(symbol) {
      selected.value = symbol;
      trades.value = [];
      tick();
      loadCandles();
    },
    chooseInterval(next) {
      interval.value = next;
      loadCandles();
    },
    loadOlderCandles() {
      const known = candles.value;
      const oldest = known?.candles[0];
      if (!known || !oldest || known.candles.length > 2000) return;
      const seconds = SECONDS[known.interval];
      candles.value = { ...known, candles: [...past(oldest.open, seconds, oldest.time - seconds, 300), ...known.candles] };
    },
    client,
    become(name) {
      client.value = name;
      if (name !== "alice") openOrders.value = [];
    },
    openOrders, history, fills, positions,
    loadMoreHistory() { history.value = { ...history.value, hasMore: false }; },
    loadMoreFills() {},
    submissions, place, amend,
    cancel: (order) => submit("cancel", `Cancel ${order.side} ${order.symbol}`, null, order, () => { end([order]); return null; }),
    cancelAll: (symbol) => submit("cancel", symbol ? `Cancel all in ${symbol}` : "Cancel everything", null, null, () => {
      end(openOrders.value.filter((each) => !symbol || each.symbol === symbol));
      return null;
    }),
    fake,
  };
}
