/** Orders, amends and cancels on their way: one click is one order, however the network behaves.
 *
 * Invariants:
 * - A click has one idempotency key. It is sent again with the same key and the same terms only,
 *   which the exchange answers with the first order.
 * - Nothing is sent later than RESEND_MS_MAX after the click (cancels: OUTCOME_MS_MAX), on whichever
 *   clock has gone further: an order must not start after a laptop slept.
 * - `refused` means that the exchange has not taken it. If that is not known, the state stays
 *   `unknown`, with a problem that says so, until the stream shows the order.
 */

import { signal } from "@preact/signals";
import type { Http } from "../http.ts";
import { IN_FLIGHT_MAX, OUTCOME_MS_MAX, READ_MS_MAX, RESEND_MS_MAX, SUBMISSIONS_MAX } from "../limits.ts";
import type { AmendRequest, Order, OrderRequest, Problem, Submission } from "../model.ts";
import { list, orderOf, problem, type JsonObject } from "../wire.ts";
import { findOutcome, rowOf, type Outcome, type Task } from "./attempts.ts";
import { newKey } from "./keys.ts";
import { hasEnded, mayReplace } from "./merging.ts";
import { amendTitle, cancelAllTitle, cancelTitle, currentTitle, placeTitle } from "./titles.ts";

export interface EntryOptions {
  readonly http: Http;
  readonly client: () => string;
  /** Called with the order of each answer. */
  readonly orderSeen: (row: JsonObject) => void;
  /** The exchange refused an order because of a halt. */
  readonly haltSeen: () => void;
}

interface Start {
  readonly monotonic: number;
  readonly wall: number;
}

/** An amend or a cancel on its way. `overtake` ends its repeats. */
interface Change {
  readonly end: Promise<unknown>;
  readonly overtake: () => void;
}

const NO_CLIENT = problem("no_client", "Enter a name first.");
const TOO_MANY = problem("too_many_requests", "Too many requests are on their way.");

type Description = Pick<Submission, "key" | "kind" | "title" | "request" | "orderId">;

export class Entry {
  readonly submissions = signal<readonly Submission[]>([]);
  readonly #options: EntryOptions;
  readonly #starts = new Map<string, Start>(); // of the submissions in the list
  readonly #running = new Set<string>();
  readonly #changes = new Map<string, Change>(); // the last one of each order that has one on its way
  readonly #wakers = new Set<() => void>();

  constructor(options: EntryOptions) {
    this.#options = options;
  }

  place(request: OrderRequest): Promise<Submission> {
    const key = newKey();
    const client = this.#options.client();
    const description: Description = {
      key,
      kind: "place",
      title: placeTitle(request),
      request,
      orderId: null,
    };
    return this.#submit(description, {
      path: "/orders",
      body: { ...request, client_id: client, idempotency_key: key },
      resendMsMax: RESEND_MS_MAX,
      ask: () => this.#findByKey(client, key),
      isDone: () => true,
      isRefusalCertain: true, // The key would have found the order.
      isOvertaken: () => false,
    });
  }

  /** Amends of one order are sent one after another. A later amend or cancel ends their repeats. */
  amend(order: Order, changes: AmendRequest): Promise<Submission> {
    const key = newKey();
    const before = this.#changes.get(order.id)?.end;
    let isOvertaken = false;
    const description: Description = {
      key,
      kind: "amend",
      title: amendTitle(order, changes),
      request: null,
      orderId: order.id,
    };
    const end = this.#submit(
      description,
      {
        path: `/orders/${order.id}/amend`,
        body: { ...changes, client_id: this.#options.client() },
        resendMsMax: RESEND_MS_MAX,
        ask: () => this.#findById(order.id),
        isDone: () => false, // The order does not tell which amend it had.
        isRefusalCertain: false,
        isOvertaken: () => isOvertaken,
      },
      before,
    );
    const overtake = () => {
      isOvertaken = true;
    };
    this.#takePlace(order.id, { end, overtake });
    return end;
  }

  /** A cancel waits for no amend. */
  cancel(order: Order): Promise<Submission> {
    const key = newKey();
    const description: Description = {
      key,
      kind: "cancel",
      title: cancelTitle(order),
      request: null,
      orderId: order.id,
    };
    const end = this.#submit(description, {
      path: `/orders/${order.id}/cancel`,
      body: { client_id: this.#options.client() },
      resendMsMax: OUTCOME_MS_MAX,
      ask: () => this.#findById(order.id),
      isDone: (row) => row["status"] === "cancelled",
      isRefusalCertain: true,
      isOvertaken: () => false,
    });
    this.#takePlace(order.id, { end, overtake: () => undefined });
    return end;
  }

  /** Overtake the last change of an order, and remember this one until it has ended. */
  #takePlace(orderId: string, change: Change): void {
    this.#changes.get(orderId)?.overtake();
    this.#changes.set(orderId, change);
    void change.end.then(() => {
      if (this.#changes.get(orderId) === change) {
        this.#changes.delete(orderId);
      }
    });
  }

  cancelAll(symbol?: string): Promise<Submission> {
    const description: Description = {
      key: newKey(),
      kind: "cancel",
      title: cancelAllTitle(symbol),
      request: null,
      orderId: null,
    };
    return this.#submit(description, {
      path: "/orders/cancel",
      body: { client_id: this.#options.client(), ...(symbol === undefined ? {} : { instrument: symbol }) },
      resendMsMax: OUTCOME_MS_MAX,
      ask: async () => null,
      isDone: () => false,
      isRefusalCertain: true,
      isOvertaken: () => false,
    });
  }

  /** Take an order from the stream: it may be the outcome of a click. */
  observe(order: Order): void {
    const found = order.key === null ? undefined : this.#get(order.key);
    if (found?.kind === "place") {
      this.#settle(found, order);
    }
  }

  /** The exchange can be reached again: requests that wait for their next attempt go on at once. */
  wake(): void {
    for (const waker of [...this.#wakers]) {
      waker();
    }
  }

  /** Forget the requests of a former client that have ended. */
  clear(): void {
    this.submissions.value = this.submissions.peek().filter(({ key }) => this.#running.has(key));
  }

  async #submit(description: Description, task: Task, turn?: Promise<unknown>): Promise<Submission> {
    const { key } = description;
    const submission: Submission = {
      ...description,
      state: "sent",
      problem: null,
      acceptedAfterMs: null,
      filledAfterMs: null,
      order: null,
    };
    const isFull = this.#running.size >= IN_FLIGHT_MAX;
    this.#starts.set(key, { monotonic: performance.now(), wall: Date.now() });
    this.submissions.value = this.#cut([submission, ...this.submissions.peek()]);
    if (this.#options.client() === "") {
      this.#change(key, { state: "refused", problem: NO_CLIENT });
    } else if (isFull) {
      this.#change(key, { state: "refused", problem: TOO_MANY });
    } else {
      this.#running.add(key);
      await turn;
      await this.#run(key, task);
      this.#running.delete(key);
    }
    return this.#get(key) ?? submission;
  }

  async #run(key: string, task: Task): Promise<void> {
    const outcome = await findOutcome(task, this.#options.http, {
      elapsedMs: () => this.#elapsed(key).whichever,
      isSettled: () => ["accepted", "filled", "done"].includes(this.#get(key)?.state ?? ""),
      doubt: (why) => this.#doubt(key, why),
      wait: (ms) => this.#wait(ms),
    });
    const submission = this.#get(key);
    if (submission !== undefined) {
      this.#conclude(submission, outcome);
    }
  }

  #conclude(submission: Submission, outcome: Outcome): void {
    const { key } = submission;
    if (outcome.kind === "settled") {
      return;
    }
    if (outcome.kind === "refused" || outcome.kind === "unknown") {
      // The stream may have shown the order between the last answer and now.
      if (submission.order === null) {
        this.#change(key, { state: outcome.kind, problem: outcome.problem });
      }
      if (outcome.problem.code === "instrument_halted") {
        this.#options.haltSeen();
      }
      return;
    }
    const row = outcome.kind === "found" ? outcome.row : rowOf(outcome.body);
    if (row !== null && "order_id" in row) {
      this.#options.orderSeen(row);
      this.#settle(this.#get(key) ?? submission, orderOf(row));
    } else {
      this.#change(key, { state: "done", problem: null, acceptedAfterMs: this.#elapsed(key).ms });
    }
  }

  /** Record the order of a request. What is known already does not go back in time. */
  #settle(submission: Submission, order: Order): void {
    const known = submission.order;
    if (known !== null && !mayReplace({ order: known, sequence: null }, { order, sequence: null })) {
      return;
    }
    const { ms } = this.#elapsed(submission.key);
    const isRejected = order.status === "rejected";
    const isFilled = order.status === "filled";
    const state = isRejected
      ? "refused"
      : isFilled
        ? "filled"
        : hasEnded(order) || submission.kind !== "place"
          ? "done"
          : "accepted";
    this.#change(submission.key, {
      state,
      order,
      title: submission.request === null ? submission.title : currentTitle(submission.request, order),
      orderId: order.id,
      problem: isRejected ? rejection(order.reason ?? "rejected") : null,
      acceptedAfterMs: submission.acceptedAfterMs ?? (isRejected ? null : ms),
      filledAfterMs: submission.filledAfterMs ?? (isFilled ? ms : null),
    });
  }

  async #findByKey(client: string, key: string): Promise<JsonObject | null | undefined> {
    const query = new URLSearchParams({ client_id: client, idempotency_key: key });
    const answer = await this.#options.http.send("GET", `/orders?${query}`, null, READ_MS_MAX);
    const page = answer.status === 200 ? rowOf(answer.body) : null;
    return page === null ? undefined : (list(page["orders"])[0] ?? null);
  }

  async #findById(id: string): Promise<JsonObject | null | undefined> {
    const answer = await this.#options.http.send("GET", `/orders/${id}`, null, READ_MS_MAX);
    return answer.status === 200 ? rowOf(answer.body) : answer.status === 404 ? null : undefined;
  }

  #doubt(key: string, why: Problem): void {
    if (this.#get(key)?.state === "sent") {
      this.#change(key, { state: "unknown", problem: why });
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wakers.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#wakers.add(end);
    });
  }

  /** Return the time since the click: `ms` is monotonic, `whichever` that of the faster clock. */
  #elapsed(key: string): { ms: number; whichever: number } {
    const start = this.#starts.get(key) ?? { monotonic: -Infinity, wall: -Infinity };
    const ms = performance.now() - start.monotonic;
    return { ms, whichever: Math.max(ms, Date.now() - start.wall) };
  }

  #get(key: string): Submission | undefined {
    return this.submissions.peek().find((each) => each.key === key);
  }

  #change(key: string, changes: Partial<Submission>): void {
    this.submissions.value = this.submissions
      .peek()
      .map((each) => (each.key === key ? { ...each, ...changes } : each));
  }

  /** Drop the oldest submissions that are not on their way. */
  #cut(submissions: readonly Submission[]): readonly Submission[] {
    let excess = submissions.length - SUBMISSIONS_MAX;
    const kept = submissions.toReversed().filter(({ key }) => {
      const isDropped = excess > 0 && !this.#running.has(key);
      if (isDropped) {
        excess -= 1;
        this.#starts.delete(key);
      }
      return !isDropped;
    });
    return kept.reverse();
  }
}

function rejection(reason: string): Problem {
  return problem(reason, "The exchange rejected the order.");
}
