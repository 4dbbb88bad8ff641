import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { ExchangeClock } from "../src/feed/clock.ts";
import { StreamConnection } from "../src/feed/connection.ts";
import { Subscriptions } from "../src/feed/subscriptions.ts";
import { object, parseJson, type JsonObject } from "../src/wire.ts";

/** A WebSocket whose other end is the test. */
class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: JsonObject[] = [];
  isClosed = false;
  answersPings = true;

  send(text: string): void {
    const message = object(parseJson(text));
    this.sent.push(message);
    if (message["type"] === "ping" && this.answersPings) {
      queueMicrotask(() => this.say({ type: "pong", id: message["id"] as number }));
    }
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  close(): void {
    this.isClosed = true;
  }
}

let monotonic = 0;
let wallShift = 0; // of this computer's clock
let sockets: FakeSocket[] = [];
let events: string[] = [];
let connection: StreamConnection;
let clock: ExchangeClock;

const last = () => sockets.at(-1) as FakeSocket;

async function pass(seconds: number): Promise<void> {
  for (let step = 0; step < seconds * 10; step += 1) {
    monotonic += 100;
    mock.timers.tick(100);
    await Promise.resolve();
    await Promise.resolve();
  }
}

beforeEach(() => {
  monotonic = 1_000;
  wallShift = 0;
  sockets = [];
  events = [];
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  mock.method(performance, "now", () => monotonic);
  mock.method(Date, "now", () => 1_000_000 + monotonic + wallShift);
  clock = new ExchangeClock();
  connection = new StreamConnection(
    "ws://x/stream",
    {
      opened: () => events.push("opened"),
      received: (message) => events.push(String(message["type"])),
      lost: () => events.push("lost"),
      tick: () => undefined,
    },
    clock,
    () => {
      sockets.push(new FakeSocket());
      return last() as unknown as WebSocket;
    },
  );
  connection.start();
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test("a connection that ends is opened again, with waits that grow and stay bounded", async () => {
  last().onopen?.();
  await pass(1);
  assert.equal(connection.state.value.state, "open");
  last().onclose?.({ code: 1012 });
  assert.equal(connection.state.value.message, "The exchange is restarting.");
  assert.deepEqual(
    events.filter((event) => event !== "pong"),
    ["opened", "lost"],
  );
  await pass(0.4);
  assert.equal(sockets.length, 2, "the first wait is short");
  for (let failure = 0; failure < 60; failure += 1) {
    last().onclose?.({ code: 1006 });
    await pass(1);
  }
  assert.ok(sockets.length > 10 && sockets.length < 40, String(sockets.length));
  assert.equal(events.filter((event) => event === "lost").length, 1, "only what was open is lost");
});

test("a silent connection is replaced without its close", async () => {
  last().onopen?.();
  await pass(30);
  assert.equal(sockets.length, 1, "pongs keep it");
  assert.notEqual(connection.state.value.roundTripMs, null);
  const dead = last();
  dead.answersPings = false;
  await pass(15);
  assert.equal(sockets.length, 2);
  assert.equal(dead.isClosed, true);
  dead.say({ type: "trade" });
  assert.equal(events.includes("trade"), false, "the old one is not heard any more");
});

test("other messages keep a connection whose pongs are late", async () => {
  last().onopen?.();
  last().answersPings = false;
  for (let second = 0; second < 30; second += 1) {
    await pass(1);
    last().say({ type: "ticker" });
  }
  assert.equal(sockets.length, 1);
});

test("after sleep the clock's estimate is forgotten, and a dead connection is replaced soon", async () => {
  last().onopen?.();
  await pass(2);
  clock.add(5_000_000, monotonic, monotonic);
  last().answersPings = false;
  wallShift = 3_600_000; // The monotonic clock stood still.
  await pass(5);
  assert.equal(clock.timeAt(monotonic), null);
  assert.equal(sockets.length, 2);
});

test("a change of this computer's clock replaces nothing, and lateness is right after it", async () => {
  last().onopen?.();
  await pass(2);
  wallShift = -500_000_000;
  await pass(10);
  assert.equal(sockets.length, 1);
  clock.add(1_767_225_600_000, monotonic, monotonic);
  await pass(1);
  last().say({ type: "trade", timestamp: new Date(1_767_225_600_000 + 980).toISOString() });
  await pass(1);
  assert.equal(connection.state.value.latenessMs, 20);
});

test("a connection that the exchange refuses waits longer", async () => {
  last().onopen?.();
  last().onclose?.({ code: 4008 }); // Daphne's 1008
  await pass(4);
  assert.equal(sockets.length, 1);
  await pass(2);
  assert.equal(sockets.length, 2);
});

test("messages are sent at a bounded pace, and none on a closed connection", async () => {
  connection.send({ type: "early" });
  last().onopen?.();
  for (let count = 0; count < 100; count += 1) {
    connection.send({ type: "subscribe", number: count });
  }
  assert.ok(last().sent.length <= 20);
  await pass(7);
  const numbers = last()
    .sent.map(({ number }) => number)
    .filter((number) => number !== undefined);
  assert.deepEqual(
    numbers,
    Array.from({ length: 100 }, (_, n) => n),
    "in order, none lost",
  );
  assert.equal(
    last().sent.some(({ type }) => type === "early"),
    false,
  );
});

test("subscriptions replace one another, and come again with a new connection", async () => {
  const sent: JsonObject[] = [];
  const subscriptions = new Subscriptions((message) => sent.push(message as JsonObject));
  const market = (symbol: string) => ({ channels: ["trades"], instrument: [symbol] });
  subscriptions.set("market", market("A"));
  subscriptions.set("market", market("A"));
  subscriptions.set("market", market("B"));
  assert.deepEqual(
    sent.map(({ type, instrument }) => `${type} ${instrument}`),
    ["subscribe A", "unsubscribe A", "subscribe B"],
  );
  sent.length = 0;
  subscriptions.sendAll();
  assert.equal(sent.length, 1);
  sent.length = 0;
  for (let second = 0; second < 60; second += 1) {
    subscriptions.renew("market");
    await pass(1);
  }
  assert.ok(sent.length >= 4 && sent.length <= 15, `${sent.length}: repeated renewals wait longer`);
});
