import assert from "node:assert/strict";
import { test } from "node:test";
import type { Level } from "../src/model.ts";
import { groupingSteps, groupLevels, groupOf, share } from "../src/view/grouping.ts";

/** Levels from pairs of price and quantity, best first. */
function levels(...pairs: readonly (readonly [number, number])[]): Level[] {
  let cumulativeLots = 0n;
  return pairs.map(([price, quantity]) => {
    cumulativeLots += BigInt(quantity);
    return { priceTicks: BigInt(price), quantityLots: BigInt(quantity), orders: 1, cumulativeLots };
  });
}

test("a group is never better than its prices", () => {
  assert.equal(groupOf(1009n, 10n, "buy"), 1000n);
  assert.equal(groupOf(1001n, 10n, "sell"), 1010n);
  assert.equal(groupOf(1000n, 10n, "sell"), 1000n);
  assert.equal(groupOf(1009n, 1n, "sell"), 1009n);
});

test("levels of one group are added up", () => {
  const bids = levels([1009, 1], [1001, 2], [1000, 4], [999, 8]);
  assert.deepEqual(groupLevels(bids, 10n, "buy", 5), [
    { priceTicks: 1000n, quantityLots: 7n, cumulativeLots: 7n },
    { priceTicks: 990n, quantityLots: 8n, cumulativeLots: 15n },
  ]);
});

test("the last row is a whole group, too", () => {
  const asks = levels([1001, 1], [1010, 2], [1011, 4], [1020, 8], [1021, 16]);
  assert.deepEqual(groupLevels(asks, 10n, "sell", 2), [
    { priceTicks: 1010n, quantityLots: 3n, cumulativeLots: 3n },
    { priceTicks: 1020n, quantityLots: 12n, cumulativeLots: 15n },
  ]);
  assert.deepEqual(groupLevels([], 10n, "sell", 2), []);
});

test("the steps fit the price", () => {
  assert.equal(groupingSteps(null)[0], 1n);
  assert.ok(groupingSteps(7_000_000n).every((step) => step * 100n <= 7_000_000n));
  assert.deepEqual(groupingSteps(50n), [1n]);
});

test("a share is exact at its ends, also of huge numbers", () => {
  assert.equal(share(0n, 0n), 0);
  assert.equal(share(10n ** 30n, 10n ** 30n), 1);
  assert.equal(share(10n ** 30n, 2n * 10n ** 30n), 0.5);
});
