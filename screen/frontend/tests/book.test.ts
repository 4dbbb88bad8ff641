import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import { LocalBook } from "../src/feed/book.ts";
import { BookFeed } from "../src/feed/book_feed.ts";
import { crc32 } from "../src/feed/checksum.ts";
import { Frames } from "../src/feed/frames.ts";
import { parseJson, object, type JsonObject } from "../src/wire.ts";
import { INSTRUMENT } from "./rows.ts";

const DOCUMENTED = crc32("7015100500000007015050" + "10000001");
const level = (price: number, quantity: number, orders = 1) => ({ price, quantity, orders });

function snapshot(changes: JsonObject = {}): JsonObject {
  return {
    type: "orderbook_snapshot",
    instrument: "BTC-USD",
    sequence: 5,
    asks: [level(70151, 0.5)],
    bids: [level(70150.5, 0.10000001)],
    checksum: DOCUMENTED,
    ...changes,
  };
}

function delta(sequence: number, previous: number, changes: JsonObject[], checksum?: number): JsonObject {
  return {
    type: "orderbook_delta",
    instrument: "BTC-USD",
    sequence,
    previous_sequence: previous,
    changes,
    ...(checksum === undefined ? {} : { checksum }),
  };
}

test("the CRC-32 is zlib's", () => {
  for (const text of ["", "a", "701510050000000701505010000001", "0123456789".repeat(30)]) {
    assert.equal(crc32(text), zlibCrc32(text));
  }
});

test("the documented example has the documented checksum", () => {
  const book = new LocalBook(snapshot(), INSTRUMENT);
  assert.equal(book.checksum(), DOCUMENTED);
  assert.equal(book.verified, 1);
});

test("sizes without decimals, and of several last units, count as documented", () => {
  const five = { ...INSTRUMENT, tickSize: "5", lotSize: "0.5" } as typeof INSTRUMENT;
  const book = new LocalBook(snapshot({ asks: [level(15, 1.5)], bids: [], checksum: crc32("1515") }), five);
  assert.equal(book.asks(10, [])[0]?.priceTicks, 3n);
});

test("deltas insert, change and remove levels, and the result is that of a plain map", () => {
  const book = new LocalBook(snapshot({ asks: [], bids: [], checksum: 0 }), INSTRUMENT);
  const plain = { buy: new Map<number, number>(), sell: new Map<number, number>() };
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let sequence = 6; sequence < 3_000; sequence += 1) {
    const side = random(2) ? "buy" : "sell";
    const price = side === "buy" ? 100 - random(40) : 101 + random(40);
    const quantity = random(3);
    plain[side].delete(price);
    if (quantity) {
      plain[side].set(price, quantity);
    }
    const best = (which: Map<number, number>, sign: number) =>
      [...which]
        .sort(([a], [b]) => sign * (a - b))
        .slice(0, 10)
        .map(([p, q]) => `${p * 100}${q}00000000`)
        .join("");
    const expected = zlibCrc32(best(plain.sell, 1) + best(plain.buy, -1));
    book.apply(
      delta(sequence, sequence - 1, [{ side, ...level(price, quantity, quantity ? 1 : 0) }], expected),
    );
  }
  assert.equal(book.bids(1_000, []).length, plain.buy.size);
  const total = [...plain.sell.values()].reduce((a, b) => a + b, 0);
  assert.equal(book.asks(1_000, []).at(-1)?.cumulativeLots, BigInt(total) * 100_000_000n);
});

test("a gap, a wrong checksum and a level off the grid are told apart", () => {
  const book = () => new LocalBook(snapshot(), INSTRUMENT);
  assert.throws(() => book().apply(delta(9, 8, [])), { kind: "gap" });
  assert.throws(() => book().apply(delta(6, 5, [], DOCUMENTED + 1)), { kind: "checksum" });
  assert.throws(() => new LocalBook(snapshot({ checksum: 1 }), INSTRUMENT), { kind: "checksum" });
  assert.throws(() => book().apply(delta(6, 5, [{ side: "buy", ...level(1.001, 1) }])), { kind: "grid" });
});

test("levels that did not change are the same objects", () => {
  const bids = [level(3, 1), level(2, 1), level(1, 1)];
  const book = new LocalBook({ ...snapshot({ bids, asks: [] }), checksum: undefined }, INSTRUMENT);
  const before = book.bids(10, []);
  book.apply(delta(6, 5, [{ side: "buy", ...level(1, 2) }]));
  const after = book.bids(10, before);
  assert.equal(after[0], before[0]);
  assert.notEqual(after[2], before[2]);
  assert.equal(book.bids(1, []).length, 1);
});

test("after a gap the book is stale, asks once, drops deltas, and recovers with a snapshot", () => {
  let renewals = 0;
  const recovered: boolean[] = [];
  const frames = new Frames();
  const feed = new BookFeed({
    frames,
    renew: () => {
      renewals += 1;
    },
    recovered: (isOlder) => recovered.push(isOlder),
  });
  feed.select(INSTRUMENT, true);
  feed.received(snapshot());
  frames.flush();
  assert.equal(feed.isStale.value, false);
  assert.deepEqual(recovered, []);
  feed.received(delta(9, 8, [{ side: "buy", ...level(1, 1) }]));
  feed.received(delta(10, 9, []));
  frames.flush();
  assert.equal(feed.isStale.value, true);
  assert.equal(feed.book.value?.sequence, 5, "the last good book stays");
  assert.equal(renewals, 1);
  feed.received(snapshot({ sequence: 10 }));
  frames.flush();
  assert.equal(feed.isStale.value, false);
  feed.received(snapshot({ sequence: 3 }));
  assert.deepEqual(recovered, [false, true]);
  assert.deepEqual(feed.counts, {
    snapshots: 3,
    deltas: 1,
    checksumsVerified: 3,
    checksumMismatches: 0,
    gaps: 1,
  });
});

test("what the exchange does not vouch for is stale until the next snapshot", () => {
  const frames = new Frames();
  const feed = new BookFeed({ frames, renew: () => undefined, recovered: () => undefined });
  feed.select(INSTRUMENT, true);
  feed.received(snapshot());
  feed.markStale(); // in the same frame
  frames.flush();
  assert.equal(feed.isStale.value, true);
  feed.received(snapshot());
  frames.flush();
  assert.equal(feed.isStale.value, false);
  feed.lost();
  assert.equal(feed.isStale.value, true);
});

test("signals change once a frame, and also if nothing is painted", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const frames = new Frames();
  let runs = 0;
  const task = () => {
    runs += 1;
  };
  frames.schedule(task);
  frames.schedule(task);
  assert.equal(runs, 0);
  mock.timers.tick(1_000);
  assert.equal(runs, 1);
  mock.timers.reset();
});

test("a snapshot of 100,000 levels a side is read within seconds", () => {
  const side = (first: number, step: number) =>
    JSON.stringify(
      Array.from({ length: 100_000 }, (_, n) => ({
        price: (first + n * step) / 100,
        quantity: 0.12345678,
        orders: 3,
      })),
    );
  const text = `{"sequence":1,"bids":${side(20_000_000, -1)},"asks":${side(20_000_001, 1)}}`;
  const start = performance.now();
  const book = new LocalBook(object(parseJson(text)), INSTRUMENT);
  const spent = performance.now() - start;
  assert.equal(book.bids(500, []).length, 500);
  assert.ok(spent < 5_000, `${spent} ms`);
  console.log(`  200,000 levels, ${(text.length / 1e6).toFixed(1)} MB: ${spent.toFixed(0)} ms`);
});
