import assert from "node:assert/strict";
import { test } from "node:test";
import { ExchangeClock } from "../src/feed/clock.ts";

test("lateness is counted on the exchange's clock, whatever this computer's clock says", () => {
  const clock = new ExchangeClock();
  assert.equal(clock.lateness(1_000_000, 50), null);
  clock.add(1_000_000, 100, 120); // 1,000,000 at 110
  assert.equal(clock.timeAt(210), 1_000_100);
  const before = Date.now;
  Date.now = () => 0; // The clock is changed by decades.
  assert.equal(clock.lateness(1_000_060, 210), 40);
  Date.now = before;
});

test("the fastest answer counts", () => {
  const clock = new ExchangeClock();
  clock.add(1_000_000, 0, 10); // at 5
  clock.add(1_000_500, 100, 900); // a slow answer
  assert.equal(clock.timeAt(5), 1_000_000);
  clock.add(2_000_000, 700_000, 700_100); // the others are too old
  assert.equal(clock.timeAt(700_050), 2_000_000);
});

test("a message from the future disproves the estimate", () => {
  const clock = new ExchangeClock();
  clock.add(1_000_000, 0, 10);
  assert.equal(clock.lateness(1_000_020, 10), 0, "within the error");
  // The monotonic clock stood still while the computer slept for an hour.
  assert.equal(clock.lateness(4_600_000, 20), null);
  assert.equal(clock.timeAt(20), null, "until the next answer");
  clock.add(4_600_000, 20, 30);
  assert.equal(clock.lateness(4_600_000, 75), 50);
});
