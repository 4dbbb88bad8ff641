/** Rows as the exchange sends them, for tests. */

import type { JsonObject } from "../src/wire.ts";
import { instrumentOf } from "../src/wire.ts";

export const INSTRUMENT = instrumentOf({
  symbol: "BTC-USD",
  base_asset: "BTC",
  quote_asset: "USD",
  tick_size: 0.01,
  lot_size: 0.00000001,
  min_quantity: 0.00000001,
  max_quantity: 10000,
  min_price: 0.01,
  max_price: 10000000,
  min_notional: null,
  order_types: ["limit", "market"],
  times_in_force: ["gtc"],
  self_trade_prevention: "none",
  status: "active",
});

export function orderRow(changes: JsonObject = {}): JsonObject {
  return {
    order_id: "o1",
    client_id: "a",
    instrument: "BTC-USD",
    side: "buy",
    type: "limit",
    price: 70000,
    quantity: 0.1,
    filled_quantity: 0,
    remaining_quantity: 0.1,
    average_price: null,
    status: "open",
    reason: null,
    idempotency_key: null,
    time_in_force: "gtc",
    expires_at: null,
    post_only: false,
    trigger_price: null,
    created_at: "2026-01-01T00:00:00.000Z",
    updated_at: "2026-01-01T00:00:00.000Z",
    trades: [],
    ...changes,
  };
}

/** A time so many milliseconds into the day. */
export function at(milliseconds: number): string {
  return new Date(Date.UTC(2026, 0, 1) + milliseconds).toISOString();
}

export function jsonResponse(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers });
}

/** Let all promises that can go on do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
