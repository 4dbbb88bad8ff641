/** The exchange's JSON: read without losing a digit, and turned into the model's types.
 *
 * Invariant: a decimal keeps the digits that the exchange wrote. `JSON.parse` turns a number into a
 * double, which holds every decimal of at most 15 digits (see `textOfNumber`). Longer numbers, which
 * one regular expression finds, are put in quotes before. So no browser needs to support
 * `context.source` of revivers, and a snapshot of 100,000 levels is parsed by native code alone.
 *
 * Functions raise WireError if a field is not what docs/api.md says.
 */

import { textOfNumber } from "./exact.ts";
import { EXACT_NUMBER_CHARACTERS_MAX } from "./limits.ts";
import type {
  Decimal,
  Fill,
  Instrument,
  Milliseconds,
  Order,
  OrderStatus,
  OrderType,
  Problem,
  SelfTradePrevention,
  Side,
  Ticker,
  TimeInForce,
  Trade,
} from "./model.ts";

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json | undefined;
}

export class WireError extends Error {}

// The look behind lets the search skip the rest of a short number at once.
const LONG_NUMBER = new RegExp(`(?<![\\d.])[\\d.]{${EXACT_NUMBER_CHARACTERS_MAX + 1},}`);
const STRING_OR_LONG_NUMBER = new RegExp(
  `"(?:[^"\\\\]|\\\\.)*"|-?[\\d.]{${EXACT_NUMBER_CHARACTERS_MAX + 1},}(?:[eE][+-]?\\d+)?`,
  "g",
);

/** Return the value of a JSON text, with long numbers as strings. Raises SyntaxError. */
export function parseJson(text: string): Json {
  if (!LONG_NUMBER.test(text)) {
    return JSON.parse(text) as Json;
  }
  const quoted = text.replace(STRING_OR_LONG_NUMBER, (token) =>
    token.startsWith('"') ? token : `"${token}"`,
  );
  return JSON.parse(quoted) as Json;
}

export function object(value: Json | undefined): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WireError(`not an object: ${describe(value)}`);
  }
  return value as JsonObject;
}

export function list(value: Json | undefined): readonly JsonObject[] {
  if (!Array.isArray(value)) {
    throw new WireError(`not a list: ${describe(value)}`);
  }
  return value as readonly JsonObject[];
}

export function text(value: Json | undefined): string {
  if (typeof value !== "string") {
    throw new WireError(`not a text: ${describe(value)}`);
  }
  return value;
}

function textOrNull(value: Json | undefined): string | null {
  return value == null ? null : text(value);
}

/** Return a number as the exchange wrote it. */
export function decimal(value: Json | undefined): Decimal {
  if (typeof value === "number") {
    return textOfNumber(value);
  }
  return text(value) as Decimal;
}

export function decimalOrNull(value: Json | undefined): Decimal | null {
  return value == null ? null : decimal(value);
}

/** Return a sequence, a checksum or a count. */
export function whole(value: Json | undefined): number {
  const found = Number(value);
  if (!Number.isSafeInteger(found)) {
    throw new WireError(`not a whole number: ${describe(value)}`);
  }
  return found;
}

export function time(value: Json | undefined): Milliseconds {
  const found = Date.parse(text(value));
  if (Number.isNaN(found)) {
    throw new WireError(`not a time: ${describe(value)}`);
  }
  return found;
}

function timeOrNull(value: Json | undefined): Milliseconds | null {
  return value == null ? null : time(value);
}

const PREVENTIONS: readonly SelfTradePrevention[] = [
  "none",
  "cancel_taker",
  "cancel_maker",
  "cancel_both",
  "decrement",
];

export function instrumentOf(row: JsonObject): Instrument {
  const preferred = text(row["self_trade_prevention"]) as SelfTradePrevention;
  return {
    symbol: text(row["symbol"]),
    baseAsset: text(row["base_asset"]),
    quoteAsset: text(row["quote_asset"]),
    tickSize: decimal(row["tick_size"]),
    lotSize: decimal(row["lot_size"]),
    minPrice: decimal(row["min_price"]),
    maxPrice: decimal(row["max_price"]),
    minQuantity: decimal(row["min_quantity"]),
    maxQuantity: decimal(row["max_quantity"]),
    minNotional: decimalOrNull(row["min_notional"]),
    isHalted: row["status"] === "halted",
    orderTypes: row["order_types"] as unknown as readonly OrderType[],
    timesInForce: row["times_in_force"] as unknown as readonly TimeInForce[],
    selfTradePrevention: [preferred, ...PREVENTIONS.filter((each) => each !== preferred)],
  };
}

export function tickerOf(row: JsonObject): Ticker {
  return {
    symbol: text(row["instrument"]),
    last: decimalOrNull(row["last"]),
    bestBid: decimalOrNull(row["bid"]),
    bestAsk: decimalOrNull(row["ask"]),
    high: decimalOrNull(row["high"]),
    low: decimalOrNull(row["low"]),
    volume: decimal(row["volume"]),
    change: decimalOrNull(row["change"]),
    changePercent: decimalOrNull(row["change_percent"]),
  };
}

/** A public trade with the place in its instrument's sequence. */
export interface SequencedTrade extends Trade {
  readonly sequence: number;
}

export function tradeOf(row: JsonObject): SequencedTrade {
  return {
    id: text(row["trade_id"]),
    price: decimal(row["price"]),
    quantity: decimal(row["quantity"]),
    side: text(row["side"]) as Side,
    time: time(row["timestamp"]),
    sequence: whole(row["sequence"]),
  };
}

/** Return an order of a REST answer, or of an `order_update`, which has the type as `order_type`. */
export function orderOf(row: JsonObject): Order {
  return {
    id: text(row["order_id"]),
    key: textOrNull(row["idempotency_key"]),
    symbol: text(row["instrument"]),
    side: text(row["side"]) as Side,
    type: text(row["order_type"] ?? row["type"]) as OrderType,
    price: decimalOrNull(row["price"]),
    triggerPrice: decimalOrNull(row["trigger_price"]),
    quantity: decimal(row["quantity"]),
    filledQuantity: decimal(row["filled_quantity"]),
    remainingQuantity: decimal(row["remaining_quantity"]),
    averagePrice: decimalOrNull(row["average_price"]),
    status: text(row["status"]) as OrderStatus,
    reason: textOrNull(row["reason"]),
    timeInForce: text(row["time_in_force"]) as TimeInForce,
    expiresAt: timeOrNull(row["expires_at"]),
    postOnly: row["post_only"] === true,
    createdAt: time(row["created_at"]),
    updatedAt: time(row["updated_at"]),
  };
}

/** Return a fill of `GET /fills`. */
export function fillOf(row: JsonObject): Fill {
  return {
    tradeId: text(row["trade_id"]),
    orderId: text(row["order_id"]),
    symbol: text(row["instrument"]),
    side: text(row["side"]) as Side,
    price: decimal(row["price"]),
    quantity: decimal(row["quantity"]),
    liquidity: text(row["liquidity"]) as "maker" | "taker",
    time: time(row["timestamp"]),
  };
}

/** Return the fills of an `order_update`, or of an order of REST, which has them as `trades`.
 *
 * There, `side` is the taker's. A fill's is its order's.
 */
export function fillsOf(order: JsonObject): Fill[] {
  const { id, symbol, side } = orderOf(order);
  return list(order["fills"] ?? order["trades"]).map((row) =>
    fillOf({ ...row, order_id: id, instrument: symbol, side }),
  );
}

/** Return the problem of an error answer, or one that says that there was no proper answer. */
export function problemOf(body: Json | undefined, status: number): Problem {
  const error = (body as JsonObject | null)?.["error"] as JsonObject | undefined;
  if (error && typeof error["code"] === "string" && typeof error["message"] === "string") {
    const reason = typeof error["reason"] === "string" ? ` (${error["reason"]})` : "";
    return {
      code: error["code"],
      message: error["message"] + reason,
      fields: (error["fields"] ?? {}) as unknown as Problem["fields"],
    };
  }
  return problem("unexpected_answer", `The exchange answered with status ${status}.`);
}

export function problem(code: string, message: string): Problem {
  return { code, message, fields: {} };
}

function describe(value: Json | undefined): string {
  return String(JSON.stringify(value)).slice(0, 80);
}
