import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decimal, Instrument } from "../src/model.ts";
import { checkForm, EMPTY_FORM, fitForm, localInputTime, type Form } from "../src/view/ticket_form.ts";

const NOW = Date.UTC(2026, 0, 31, 12);
const decimal = (text: string): Decimal => text as Decimal;

const INSTRUMENT: Instrument = {
  symbol: "BTC-USD",
  baseAsset: "BTC",
  quoteAsset: "USD",
  tickSize: decimal("0.05"),
  lotSize: decimal("0.001"),
  minPrice: decimal("1"),
  maxPrice: decimal("1000000"),
  minQuantity: decimal("0.002"),
  maxQuantity: decimal("100"),
  minNotional: decimal("10"),
  isHalted: false,
  orderTypes: ["limit", "market", "stop", "stop_limit", "take_profit", "take_profit_limit"],
  timesInForce: ["gtc", "ioc", "fok", "gtd"],
  selfTradePrevention: ["none", "decrement"],
};

function check(changes: Partial<Form>) {
  const form = fitForm({ ...EMPTY_FORM, price: "70150.05", quantity: "0.5", ...changes }, INSTRUMENT);
  return checkForm(form, INSTRUMENT, NOW);
}

test("a limit order is sent as it was typed", () => {
  assert.deepEqual(check({ price: " 70150.050 " }).request, {
    instrument: "BTC-USD",
    side: "buy",
    type: "limit",
    quantity: "0.5",
    time_in_force: "gtc",
    price: "70150.05",
  });
});

test("a market order has no price, and is immediate", () => {
  const { request } = check({ type: "market", price: "nonsense" });
  assert.equal(request?.time_in_force, "ioc");
  assert.equal(request && "price" in request, false);
});

test("missing fields are named", () => {
  const { errors, request } = check({ type: "stop_limit", price: "", quantity: "", timeInForce: "gtd" });
  assert.equal(request, null);
  assert.deepEqual(Object.keys(errors).sort(), ["expires_at", "price", "quantity", "trigger_price"]);
});

test("prices and quantities must be on the grid and within the limits", () => {
  for (const price of ["70150.01", "0", "-5", "0.95", "1000000.05", "1e5", "70,150", "NaN"]) {
    assert.ok(check({ price }).errors.price, price);
  }
  for (const quantity of ["0.0005", "0.001", "0.0025", "0", "-1", "100.001", "1e1", "∞"]) {
    assert.ok(check({ quantity }).errors.quantity, quantity);
  }
});

test("limits are compared exactly, not as floats", () => {
  const instrument = { ...INSTRUMENT, minNotional: decimal("30.0000000000000001") };
  const form = { ...EMPTY_FORM, price: "300", quantity: "0.1" };
  assert.match(checkForm(form, instrument, NOW).errors.quantity ?? "", /at least 30\.0000000000000001 USD/);
  assert.deepEqual(checkForm(form, { ...INSTRUMENT, minNotional: decimal("30") }, NOW).errors, {});
});

test("an expiry is in the future, at most 400 days ahead, and sent in UTC", () => {
  const at = (time: number) => check({ timeInForce: "gtd", expiresAt: localInputTime(time) });
  assert.equal(at(NOW + 3_600_000).request?.expires_at, "2026-01-31T13:00:00.000Z");
  assert.ok(at(NOW - 60_000).errors.expires_at);
  assert.ok(at(NOW + 401 * 86_400_000).errors.expires_at);
});

test("instructions that a type does not take are not sent", () => {
  assert.equal(check({ postOnly: true }).request?.post_only, true);
  assert.equal(check({ postOnly: true, timeInForce: "ioc" }).request?.post_only, undefined);
  assert.equal(check({ postOnly: true, type: "market" }).request?.post_only, undefined);
  assert.equal(check({ selfTradePrevention: "cancel_both" }).request?.self_trade_prevention, undefined);
  assert.equal(check({ selfTradePrevention: "decrement" }).request?.self_trade_prevention, "decrement");
});

test("only what the instrument supports is chosen", () => {
  const limitOnly: Instrument = { ...INSTRUMENT, orderTypes: ["limit"], timesInForce: ["gtc"] };
  const fitted = fitForm({ ...EMPTY_FORM, type: "stop", timeInForce: "fok" }, limitOnly);
  assert.equal(fitted.type, "limit");
  assert.equal(fitted.timeInForce, "gtc");
});
