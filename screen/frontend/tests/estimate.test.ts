import assert from "node:assert/strict";
import { test } from "node:test";
import type { Level } from "../src/model.ts";
import { estimateFill, triggersAbove, type Question } from "../src/view/estimate.ts";

const ASKS: readonly Level[] = [
  { priceTicks: 100n, quantityLots: 5n, orders: 1, cumulativeLots: 5n },
  { priceTicks: 101n, quantityLots: 5n, orders: 2, cumulativeLots: 10n },
  { priceTicks: 105n, quantityLots: 10n, orders: 1, cumulativeLots: 20n },
];

function buy(changes: Partial<Question>): Question {
  return { side: "buy", quantityLots: 8n, limitTicks: null, timeInForce: "ioc", postOnly: false, ...changes };
}

test("a market order walks through the levels", () => {
  const estimate = estimateFill(buy({}), ASKS);
  assert.equal(estimate.filledLots, 8n);
  assert.equal(estimate.costTickLots, 803n);
  assert.equal(estimate.averageTicks, 101n, "803 / 8, rounded against the buyer");
  assert.equal(estimate.worstTicks, 101n);
  assert.equal(estimate.levels, 2);
  assert.equal(estimate.outcome, "fills");
});

test("the average of a sell is rounded down", () => {
  const bids: readonly Level[] = [
    { priceTicks: 100n, quantityLots: 1n, orders: 1, cumulativeLots: 1n },
    { priceTicks: 97n, quantityLots: 1n, orders: 1, cumulativeLots: 2n },
  ];
  assert.equal(estimateFill({ ...buy({ quantityLots: 2n }), side: "sell" }, bids).averageTicks, 98n);
});

test("a limit order stops at its price, and its remainder rests", () => {
  const estimate = estimateFill(buy({ limitTicks: 100n, timeInForce: "gtc" }), ASKS);
  assert.equal(estimate.filledLots, 5n);
  assert.equal(estimate.remainingLots, 3n);
  assert.equal(estimate.outcome, "rests");
});

test("what is not filled at once of an immediate order is cancelled", () => {
  assert.equal(estimateFill(buy({ limitTicks: 100n }), ASKS).outcome, "cancels_rest");
  assert.equal(estimateFill(buy({ limitTicks: 99n }), ASKS).outcome, "cancels_all");
  assert.equal(estimateFill(buy({}), []).outcome, "cancels_all");
  assert.equal(estimateFill(buy({ quantityLots: 21n }), ASKS).outcome, "cancels_rest");
});

test("fill or kill is all or nothing", () => {
  const killed = estimateFill(buy({ quantityLots: 21n, timeInForce: "fok" }), ASKS);
  assert.equal(killed.outcome, "cancels_all");
  assert.equal(killed.filledLots, 0n);
  assert.equal(killed.costTickLots, 0n);
  assert.equal(estimateFill(buy({ quantityLots: 20n, timeInForce: "fok" }), ASKS).outcome, "fills");
});

test("a post-only order that would trade does nothing", () => {
  const postOnly = { postOnly: true, timeInForce: "gtc" } as const;
  const crossing = estimateFill(buy({ ...postOnly, limitTicks: 100n }), ASKS);
  assert.equal(crossing.outcome, "would_cross");
  assert.equal(crossing.filledLots, 0n);
  assert.equal(estimateFill(buy({ ...postOnly, limitTicks: 99n }), ASKS).outcome, "rests");
});

test("stops trigger against the position, take-profits with it", () => {
  assert.equal(triggersAbove("stop", "buy"), true);
  assert.equal(triggersAbove("stop_limit", "sell"), false);
  assert.equal(triggersAbove("take_profit", "buy"), false);
  assert.equal(triggersAbove("take_profit_limit", "sell"), true);
});
