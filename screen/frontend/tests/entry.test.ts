import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Http } from "../src/http.ts";
import type { OrderRequest, Submission } from "../src/model.ts";
import { Entry } from "../src/trading/entry.ts";
import { newKey } from "../src/trading/keys.ts";
import { orderOf, type JsonObject } from "../src/wire.ts";
import { at, jsonResponse, orderRow, settle } from "./rows.ts";

const REQUEST = {
  instrument: "BTC-USD",
  side: "buy",
  type: "limit",
  quantity: "0.10",
  price: "70000.00",
} as OrderRequest;

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly body: JsonObject | null;
}
type Step = (sent: Sent) => Response | Promise<Response>;

/** An entry whose requests are answered by the steps, the last of which is repeated. */
function scripted(...steps: Step[]) {
  const sent: Sent[] = [];
  const seen: JsonObject[] = [];
  let halts = 0;
  const http = new Http(async (url, init) => {
    const request = {
      method: String(init.method),
      url,
      body: init.body ? JSON.parse(String(init.body)) : null,
    };
    sent.push(request);
    const step = steps.length > 1 ? steps.shift() : steps[0];
    return (step as Step)(request);
  });
  const entry = new Entry({
    http,
    client: () => "a",
    orderSeen: (row) => seen.push(row),
    haltSeen: () => {
      halts += 1;
    },
  });
  return {
    entry,
    sent,
    seen,
    halts: () => halts,
    posts: () => sent.filter(({ method }) => method === "POST"),
  };
}

const lost: Step = () => {
  throw new TypeError("network");
};
const error =
  (status: number, code: string, headers = {}): Step =>
  () =>
    jsonResponse(status, { error: { code, message: `It is ${code}.` } }, headers);
const placed =
  (changes: JsonObject = {}): Step =>
  ({ body, url }) => {
    const key =
      body?.["idempotency_key"] ?? new URL(url, "http://x").searchParams.get("idempotency_key") ?? null;
    return jsonResponse(201, orderRow({ idempotency_key: key, ...changes }));
  };
const found =
  (changes: JsonObject = {}): Step =>
  async (sent) =>
    jsonResponse(200, { orders: [await (await placed(changes)(sent)).json()], next_cursor: null });
const shown =
  (changes: JsonObject): Step =>
  () =>
    jsonResponse(200, orderRow(changes));
const none: Step = () => jsonResponse(200, { orders: [], next_cursor: null });

/** Let time pass until the promise is fulfilled. */
async function end(promise: Promise<Submission>, secondsMax = 200): Promise<Submission> {
  let result: Submission | null = null;
  void promise.then((value) => {
    result = value;
  });
  for (let step = 0; step < secondsMax * 10 && result === null; step += 1) {
    await settle();
    mock.timers.tick(100);
    monotonic += 100;
  }
  await settle();
  assert.ok(result, "it does not end");
  return result;
}

let monotonic = 0;
beforeEach(() => {
  monotonic = 1_000;
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(performance, "now", () => monotonic);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test("an order that rests is accepted, and filled when the stream says so", async () => {
  const { entry, sent } = scripted(placed());
  const way = entry.place(REQUEST);
  assert.equal(entry.submissions.value[0]?.state, "sent");
  assert.equal(entry.submissions.value[0]?.title, "Buy 0.10 BTC-USD at 70,000.00");
  const submission = await end(way);
  assert.equal(submission.state, "accepted");
  assert.deepEqual(sent[0]?.body, { ...REQUEST, client_id: "a", idempotency_key: submission.key });
  monotonic += 5_000;
  entry.observe(
    orderOf(
      orderRow({
        idempotency_key: submission.key,
        status: "filled",
        updated_at: at(9),
        filled_quantity: 0.1,
      }),
    ),
  );
  const filled = entry.submissions.value[0] as Submission;
  assert.equal(filled.state, "filled");
  assert.ok((filled.filledAfterMs ?? 0) >= 5_000 && (filled.acceptedAfterMs ?? 0) < 1_000);
  entry.observe(orderOf(orderRow({ idempotency_key: submission.key, updated_at: at(5) })));
  assert.equal(entry.submissions.value[0]?.state, "filled", "it does not go back");
});

test("after a lost answer the order is found by its key, and not sent again", async () => {
  const { entry, posts, sent } = scripted(lost, found({ status: "filled", filled_quantity: 0.1 }));
  const submission = await end(entry.place(REQUEST));
  assert.equal(submission.state, "filled");
  assert.equal(posts().length, 1);
  assert.match(sent[1]?.url ?? "", new RegExp(`^/orders\\?client_id=a&idempotency_key=${submission.key}$`));
});

test("if it is not found, the same terms are sent again with the same key", async () => {
  for (const first of [
    lost,
    error(504, "outcome_unknown"),
    error(500, "internal_error"),
    () => new Response("<html>", { status: 502 }),
  ]) {
    const { entry, posts } = scripted(first, none, placed());
    const way = entry.place(REQUEST);
    await settle();
    assert.equal(entry.submissions.value[0]?.state, "unknown");
    const submission = await end(way);
    assert.equal(submission.state, "accepted");
    assert.equal(submission.problem, null);
    const [one, two, three] = posts();
    assert.deepEqual(one, two);
    assert.equal(three, undefined);
  }
});

test("503 is repeated with the key, and refused at the end, because nothing was taken", async () => {
  const { entry, posts, sent } = scripted(error(503, "unavailable", { "Retry-After": "1" }));
  const submission = await end(entry.place(REQUEST));
  assert.equal(submission.state, "refused");
  assert.equal(submission.problem?.code, "unavailable");
  assert.ok(posts().length > 5 && posts().length < 30, String(posts().length));
  assert.equal(new Set(sent.map(({ body }) => body?.["idempotency_key"])).size, 1);
});

test("if nothing is ever answered, the screen says that it does not know, and the stream may tell later", async () => {
  const { entry, posts } = scripted(lost);
  const submission = await end(entry.place(REQUEST));
  assert.equal(submission.state, "unknown");
  assert.equal(submission.problem?.code, "outcome_unknown");
  const count = posts().length;
  mock.timers.tick(300_000);
  await settle();
  assert.equal(posts().length, count, "nothing is sent after that");
  entry.observe(orderOf(orderRow({ idempotency_key: submission.key })));
  assert.equal(entry.submissions.value[0]?.state, "accepted");
  assert.equal(entry.submissions.value[0]?.problem, null);
});

test("an order is not sent again late, on whichever clock: after sleep it is only asked for", async () => {
  for (const sleep of [
    () => {
      monotonic += 3_000_000;
    },
    () => mock.timers.setTime(90_000_000),
  ]) {
    const { entry, posts } = scripted(() => {
      sleep();
      throw new TypeError("network");
    }, none);
    const submission = await end(entry.place(REQUEST));
    assert.equal(submission.state, "unknown");
    assert.equal(posts().length, 1);
    mock.timers.setTime(1_000_000);
  }
});

test("a refusal is an end at once, with the fields of the exchange", async () => {
  const { entry, sent } = scripted(() =>
    jsonResponse(400, {
      error: { code: "invalid_request", message: "No.", fields: { price: ["Must be a multiple of 0.01."] } },
    }),
  );
  const submission = await end(entry.place(REQUEST));
  assert.equal(submission.state, "refused");
  assert.deepEqual(submission.problem?.fields["price"], ["Must be a multiple of 0.01."]);
  assert.equal(sent.length, 1);
  const halted = scripted(error(409, "instrument_halted"));
  assert.equal((await end(halted.entry.place(REQUEST))).state, "refused");
  assert.equal(halted.halts(), 1);
  const rejected = await end(
    scripted(placed({ status: "rejected", reason: "would_cross" })).entry.place(REQUEST),
  );
  assert.deepEqual(
    [rejected.state, rejected.problem?.code, rejected.acceptedAfterMs],
    ["refused", "would_cross", null],
  );
});

test("429 waits for Retry-After, if it is short", async () => {
  const { entry, posts } = scripted(error(429, "rate_limited", { "Retry-After": "3" }), placed());
  const submission = await end(entry.place(REQUEST));
  assert.equal(submission.state, "accepted");
  assert.ok((submission.acceptedAfterMs ?? 0) >= 3_000);
  assert.equal(posts().length, 2);
  const long = scripted(error(429, "rate_limited", { "Retry-After": "40" }));
  assert.equal((await end(long.entry.place(REQUEST))).problem?.code, "rate_limited");
  assert.equal(long.posts().length, 1);
});

test("an order that was amended before it was filled has its new price in the title", async () => {
  const { entry } = scripted(placed());
  const { key, title } = await end(entry.place(REQUEST));
  assert.equal(title, "Buy 0.1 BTC-USD at 70,000");
  const filled = { idempotency_key: key, status: "filled", filled_quantity: 0.1, price: 69000 };
  entry.observe(orderOf(orderRow({ ...filled, updated_at: "2026-01-31T12:00:09.000Z" })));
  assert.equal(entry.submissions.value[0]?.title, "Buy 0.1 BTC-USD at 69,000");
});

test("the stream may tell the outcome before the answer comes", async () => {
  const { entry, posts } = scripted(async () => {
    const key = entry.submissions.value[0]?.key ?? "";
    entry.observe(orderOf(orderRow({ idempotency_key: key, status: "filled", filled_quantity: 0.1 })));
    throw new TypeError("network");
  });
  assert.equal((await end(entry.place(REQUEST))).state, "filled");
  assert.equal(posts().length, 1);
});

test("a cancel is repeated, and its echo is its success", async () => {
  const order = orderOf(orderRow());
  const { entry } = scripted(
    lost,
    shown({}),
    error(409, "order_not_open"),
    shown({ status: "cancelled", reason: "client_request" }),
  );
  assert.equal((await end(entry.cancel(order))).state, "done");
  const late = scripted(error(409, "order_not_open"), shown({ status: "filled" }));
  assert.equal((await end(late.entry.cancel(order))).state, "refused");
  const all = scripted(error(504, "outcome_unknown"), () =>
    jsonResponse(200, { cancelled: [], cancelled_count: 3 }),
  );
  assert.equal((await end(all.entry.cancelAll("BTC-USD"))).state, "done");
  assert.deepEqual(all.posts()[0]?.body, { client_id: "a", instrument: "BTC-USD" });
});

test("amends of one order are sent in turn, and a later one ends the repeats of an earlier one", async () => {
  const order = orderOf(orderRow());
  const { entry, posts } = scripted(lost, placed({ price: 3 }));
  const first = entry.amend(order, { price: "2" as never });
  await settle();
  const skipped = entry.amend(order, { price: "2.5" as never });
  const second = entry.amend(order, { price: "3" as never });
  assert.equal(entry.submissions.value.length, 3, "all are shown at once");
  assert.equal((await end(first)).state, "unknown");
  assert.equal((await end(second)).state, "done");
  assert.equal((await skipped).problem?.code, "overtaken");
  assert.deepEqual(
    posts().map(({ body }) => body?.["price"]),
    ["2", "3"],
  );
});

test("a cancel waits for no amend, and ends the amend's repeats", async () => {
  const order = orderOf(orderRow());
  const { entry, posts } = scripted(lost, placed({ status: "cancelled" }));
  const amend = entry.amend(order, { price: "2" as never });
  await settle();
  assert.equal((await end(entry.cancel(order))).state, "done");
  assert.equal((await end(amend)).state, "unknown");
  assert.deepEqual(
    posts().map(({ url }) => url.slice(url.lastIndexOf("/"))),
    ["/amend", "/cancel"],
  );
});

test("an amend that is refused after a lost answer may have been taken", async () => {
  const order = orderOf(orderRow());
  const { entry } = scripted(lost, shown({}), error(409, "order_not_open"), shown({ status: "filled" }));
  assert.equal((await end(entry.amend(order, { price: "2" as never }))).state, "unknown");
  const certain = scripted(error(409, "order_not_open"), shown({ status: "filled" }));
  assert.equal((await end(certain.entry.amend(order, { price: "2" as never }))).state, "refused");
});

test("without a name nothing is sent, and submissions are bounded", async () => {
  const { entry, sent } = scripted(placed());
  const nobody = new Entry({
    http: new Http(),
    client: () => "",
    orderSeen: () => undefined,
    haltSeen: () => undefined,
  });
  assert.equal((await nobody.place(REQUEST)).problem?.code, "no_client");
  for (let count = 0; count < 60; count += 1) {
    await end(entry.place(REQUEST));
  }
  assert.equal(sent.length, 60);
  assert.equal(entry.submissions.value.length, 50);
});

test("keys are UUIDs also where randomUUID is missing", () => {
  const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(newKey(), pattern);
  mock.method(crypto, "randomUUID");
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  assert.match(newKey(), pattern);
  Reflect.deleteProperty(crypto, "randomUUID");
});
