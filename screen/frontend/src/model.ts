/** What the screen knows and what it can do: the interface between the feed and the view.
 *
 * The feed (src/feed, src/trading) writes the signals, and the view (src/view) reads them. Each
 * signal holds an immutable value that is replaced as a whole, at most once a frame.
 *
 * No price, quantity or amount is a float. A `Decimal` is the exact text that the server sent or a
 * person typed. Calculations use whole ticks and lots, as bigint.
 */

import type { ReadonlySignal, Signal } from "@preact/signals";

/** A plain decimal number as text: digits, perhaps a sign and a point, and no exponent. */
export type Decimal = string & { readonly decimal: unique symbol };

/** Milliseconds since 1970, UTC. */
export type Milliseconds = number;

export type Side = "buy" | "sell";

export type OrderType = "limit" | "market" | "stop" | "stop_limit" | "take_profit" | "take_profit_limit";

export type TimeInForce = "gtc" | "ioc" | "fok" | "gtd";

export type SelfTradePrevention = "none" | "cancel_taker" | "cancel_maker" | "cancel_both" | "decrement";

export interface Instrument {
  readonly symbol: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  readonly tickSize: Decimal;
  readonly lotSize: Decimal;
  readonly minPrice: Decimal;
  readonly maxPrice: Decimal;
  readonly minQuantity: Decimal;
  readonly maxQuantity: Decimal;
  readonly minNotional: Decimal | null;
  readonly isHalted: boolean;
  readonly orderTypes: readonly OrderType[];
  readonly timesInForce: readonly TimeInForce[];
  /** The instrument's default comes first. */
  readonly selfTradePrevention: readonly SelfTradePrevention[];
}

export interface Ticker {
  readonly symbol: string;
  readonly last: Decimal | null;
  readonly bestBid: Decimal | null;
  readonly bestAsk: Decimal | null;
  readonly high: Decimal | null;
  readonly low: Decimal | null;
  readonly volume: Decimal;
  readonly change: Decimal | null;
  readonly changePercent: Decimal | null;
}

/** One price of the book. `cumulativeLots` includes this level and all better ones. */
export interface Level {
  readonly priceTicks: bigint;
  readonly quantityLots: bigint;
  readonly orders: number;
  readonly cumulativeLots: bigint;
}

export interface Book {
  readonly symbol: string;
  readonly sequence: number;
  /** Best first. All levels of the book, or as many as the screen can show. */
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
}

export interface Trade {
  readonly id: string;
  readonly price: Decimal;
  readonly quantity: Decimal;
  /** The taker's side. */
  readonly side: Side;
  readonly time: Milliseconds;
}

export const INTERVALS = ["1m", "5m", "15m", "1h", "4h", "1d"] as const;
export type Interval = (typeof INTERVALS)[number];

/** One candle. The chart library draws with floats, so this is the one place that has them. */
export interface Candle {
  /** Seconds since 1970, UTC: the start of the candle. */
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
}

/** The candles of one instrument and interval, oldest first. */
export interface Candles {
  readonly symbol: string;
  readonly interval: Interval;
  readonly candles: readonly Candle[];
}

export type OrderStatus = "pending" | "open" | "partially_filled" | "filled" | "cancelled" | "rejected";

/** An order as the exchange shows it. */
export interface Order {
  readonly id: string;
  readonly key: string | null;
  readonly symbol: string;
  readonly side: Side;
  readonly type: OrderType;
  readonly price: Decimal | null;
  readonly triggerPrice: Decimal | null;
  readonly quantity: Decimal;
  readonly filledQuantity: Decimal;
  readonly remainingQuantity: Decimal;
  readonly averagePrice: Decimal | null;
  readonly status: OrderStatus;
  readonly reason: string | null;
  readonly timeInForce: TimeInForce;
  readonly expiresAt: Milliseconds | null;
  readonly postOnly: boolean;
  readonly createdAt: Milliseconds;
  readonly updatedAt: Milliseconds;
}

export interface Fill {
  readonly tradeId: string;
  readonly orderId: string;
  readonly symbol: string;
  readonly side: Side;
  readonly price: Decimal;
  readonly quantity: Decimal;
  readonly liquidity: "maker" | "taker";
  readonly time: Milliseconds;
}

/** A position from the client's fills: average cost. Amounts are in the quote asset. */
export interface Position {
  readonly symbol: string;
  /** Negative: sold more than bought. */
  readonly quantity: Decimal;
  /** Null if the quantity is zero. Rounded to the tick. */
  readonly averagePrice: Decimal | null;
  readonly realizedProfit: Decimal;
  /** At the last price; null if there is none. */
  readonly unrealizedProfit: Decimal | null;
  /** The time of the oldest fill that counts, if older ones were left out. */
  readonly since: Milliseconds | null;
}

/** What a person asks for. Field names are those of `POST /orders`. */
export interface OrderRequest {
  readonly instrument: string;
  readonly side: Side;
  readonly type: OrderType;
  readonly quantity: Decimal;
  readonly price?: Decimal;
  readonly trigger_price?: Decimal;
  readonly time_in_force?: TimeInForce;
  /** RFC 3339, UTC. */
  readonly expires_at?: string;
  readonly post_only?: boolean;
  readonly self_trade_prevention?: SelfTradePrevention;
}

export interface AmendRequest {
  readonly price?: Decimal;
  readonly quantity?: Decimal;
  readonly trigger_price?: Decimal;
}

/** An error answer of the exchange, or of the connection to it. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  /** By the name of the request's field. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
}

/** The way of one click: an order, amend or cancel, from the click to its end. */
export interface Submission {
  /** The idempotency key of an order; a number of its own for amends and cancels. */
  readonly key: string;
  readonly kind: "place" | "amend" | "cancel";
  /** For a person: "Buy 0.5 BTC-USD at 70,000". */
  readonly title: string;
  readonly request: OrderRequest | null;
  readonly orderId: string | null;
  /** `unknown`: the answer was lost, and the screen is asking by the key what became of it. */
  readonly state: "sent" | "unknown" | "accepted" | "filled" | "refused" | "done";
  readonly problem: Problem | null;
  /** From the click. Null until it happened. On the monotonic clock. */
  readonly acceptedAfterMs: number | null;
  readonly filledAfterMs: number | null;
  readonly order: Order | null;
}

export interface Connection {
  readonly state: "connecting" | "open" | "waiting" | "offline";
  /** What to tell a person, if it is not open. */
  readonly message: string | null;
  /** Of the last ping, in milliseconds. */
  readonly roundTripMs: number | null;
  /** How late market data arrives: the server's time of the last message against our estimate of
   * the server's clock. Null if unknown. */
  readonly latenessMs: number | null;
}

/** Counts since the page was opened, for tests and for a panel that shows them. */
export interface Diagnostics {
  readonly snapshots: number;
  readonly deltas: number;
  /** Checksums of the exchange that the local book had, too. */
  readonly checksumsVerified: number;
  readonly checksumMismatches: number;
  /** Deltas that did not continue the local book. */
  readonly gaps: number;
  readonly connectionsLost: number;
  readonly messagesUnreadable: number;
  readonly subscriptionsRefused: number;
}

/** A list of which older pages can be loaded. */
export interface Pages<Row> {
  readonly rows: readonly Row[];
  readonly isLoading: boolean;
  readonly hasMore: boolean;
  readonly problem: Problem | null;
}

export interface Store {
  // The market
  readonly connection: ReadonlySignal<Connection>;
  /** Changes at most once a second. */
  readonly diagnostics: ReadonlySignal<Diagnostics>;
  readonly instruments: ReadonlySignal<readonly Instrument[]>;
  readonly tickers: ReadonlySignal<ReadonlyMap<string, Ticker>>;
  /** The symbol that is shown; null until the instruments are known. */
  readonly selected: ReadonlySignal<string | null>;
  readonly interval: ReadonlySignal<Interval>;
  /** Null until the first snapshot. */
  readonly book: ReadonlySignal<Book | null>;
  /** Market data of the selected instrument is not vouched for at the moment. */
  readonly isStale: ReadonlySignal<boolean>;
  /** Newest first, at most 200. */
  readonly trades: ReadonlySignal<readonly Trade[]>;
  readonly candles: ReadonlySignal<Candles | null>;
  select(symbol: string): void;
  chooseInterval(interval: Interval): void;
  /** Load candles before the oldest one. */
  loadOlderCandles(): void;

  // The client. Empty: nobody yet.
  readonly client: ReadonlySignal<string>;
  /** Trade as this client. A name that the exchange would refuse changes nothing. */
  become(client: string): void;
  /** Open and pending orders of all instruments, newest first. */
  readonly openOrders: ReadonlySignal<readonly Order[]>;
  /** There are more open orders than the screen keeps. */
  readonly areOpenOrdersCut: ReadonlySignal<boolean>;
  readonly history: ReadonlySignal<Pages<Order>>;
  readonly fills: ReadonlySignal<Pages<Fill>>;
  readonly positions: ReadonlySignal<readonly Position[]>;
  loadMoreHistory(): void;
  loadMoreFills(): void;

  // Trading. Promises are fulfilled at the end of the way, also if it was refused.
  /** Newest first, at most 50. */
  readonly submissions: ReadonlySignal<readonly Submission[]>;
  place(request: OrderRequest): Promise<Submission>;
  amend(order: Order, changes: AmendRequest): Promise<Submission>;
  cancel(order: Order): Promise<Submission>;
  /** Cancel everything of the client, in one instrument or in all. */
  cancelAll(symbol?: string): Promise<Submission>;
}

/** What the view draws between frames: a price that was clicked, for the ticket. */
export interface PickedPrice {
  readonly price: Decimal;
  readonly side: Side;
}
export type Picked = Signal<PickedPrice | null>;
