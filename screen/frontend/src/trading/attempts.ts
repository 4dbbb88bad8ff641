/** Sends a request until its outcome is known, or time is up.
 *
 * Only requests that may be repeated without harm are sent: an order with its idempotency key, an
 * amend, a cancel. Invariant: the outcome `refused` means that no attempt was taken.
 */

import { backoff, type Answer, type Http } from "../http.ts";
import {
  ORDER_MS_MAX,
  ORDER_RETRY_MS_MAX,
  ORDER_RETRY_MS_MIN,
  OUTCOME_MS_MAX,
  RETRY_AFTER_MS_MAX,
} from "../limits.ts";
import type { Problem } from "../model.ts";
import { object, problem, problemOf, type Json, type JsonObject } from "../wire.ts";

/** What to send, and how to learn what became of it. */
export interface Task {
  readonly path: string;
  /** Decimals are texts. */
  readonly body: object;
  /** The last attempt starts so long after the click at most. */
  readonly resendMsMax: number;
  /** Return the order without changing anything; null: there is none, undefined: no answer. */
  readonly ask: () => Promise<JsonObject | null | undefined>;
  /** A later request has taken the place of this one, so it must not be repeated. */
  readonly isOvertaken: () => boolean;
  /** What it means if the order is not open any more, and `ask` shows the order. */
  readonly isDone: (row: JsonObject) => boolean;
  /** Whether a refusal also means that no earlier attempt was taken. */
  readonly isRefusalCertain: boolean;
}

export interface Watch {
  /** Milliseconds since the click. */
  readonly elapsedMs: () => number;
  /** The stream has told the outcome. */
  readonly isSettled: () => boolean;
  /** The outcome is not known, or the exchange is not available: the person should see it. */
  readonly doubt: (why: Problem) => void;
  readonly wait: (ms: number) => Promise<void>;
}

export type Outcome =
  | { readonly kind: "answer"; readonly body: Json } // the answer to a request
  | { readonly kind: "found"; readonly row: JsonObject } // by asking
  | { readonly kind: "refused"; readonly problem: Problem }
  | { readonly kind: "unknown"; readonly problem: Problem }
  | { readonly kind: "settled" };

const OVERTAKEN = problem("overtaken", "A later change of the same order took its place.");

/** Return what became of a request. It takes some OUTCOME_MS_MAX at most. */
export async function findOutcome(task: Task, http: Http, watch: Watch): Promise<Outcome> {
  let isTakenPerhaps = false;
  let sendFromMs = 0; // after the click: the rate limit asks for a pause
  let last = problem("not_sent", "The request was not sent.");
  for (let attempt = 1; ; attempt += 1) {
    let waitMs = backoff(attempt, ORDER_RETRY_MS_MIN, ORDER_RETRY_MS_MAX);
    const elapsedMs = watch.elapsedMs();
    if (elapsedMs >= sendFromMs && elapsedMs <= task.resendMsMax && !task.isOvertaken()) {
      const answer = await http.send("POST", task.path, task.body, ORDER_MS_MAX);
      if (watch.isSettled()) {
        return { kind: "settled" };
      }
      const found = judge(answer);
      if (found.kind === "answer") {
        return found;
      }
      last = found.problem;
      if (found.kind === "refused") {
        return await explainRefusal(task, found.problem, isTakenPerhaps);
      }
      isTakenPerhaps ||= found.kind === "lost";
      waitMs = found.retryAfterMs ?? waitMs;
      sendFromMs = found.kind === "limited" ? watch.elapsedMs() + waitMs : 0;
      if (found.kind === "limited" && waitMs > RETRY_AFTER_MS_MAX && !isTakenPerhaps) {
        return { kind: "refused", problem: last };
      }
      watch.doubt(last);
    }
    const isTooLate = watch.elapsedMs() + waitMs > task.resendMsMax || task.isOvertaken();
    if (isTooLate && !isTakenPerhaps) {
      return { kind: "refused", problem: task.isOvertaken() ? OVERTAKEN : last };
    }
    const row = isTakenPerhaps ? await task.ask() : null;
    if (watch.isSettled()) {
      return { kind: "settled" };
    }
    if (row != null && task.isDone(row)) {
      return { kind: "found", row };
    }
    if (watch.elapsedMs() + waitMs > OUTCOME_MS_MAX || (isTooLate && task.isOvertaken())) {
      return { kind: "unknown", problem: unknown(last) };
    }
    await watch.wait(Math.min(waitMs, RETRY_AFTER_MS_MAX));
    if (watch.isSettled()) {
      return { kind: "settled" };
    }
  }
}

type Judgement =
  | { readonly kind: "answer"; readonly body: Json }
  | {
      readonly kind: "refused" | "limited" | "absent" | "lost";
      readonly problem: Problem;
      readonly retryAfterMs: number | null;
    };

/** Return what an answer says, as docs/api.md defines it. */
function judge(answer: Answer): Judgement {
  if (answer.status === "lost") {
    return { kind: "lost", problem: problem("unreachable", answer.message), retryAfterMs: null };
  }
  const { status, body, retryAfterMs } = answer;
  if (status === 200 || status === 201) {
    return { kind: "answer", body };
  }
  const found = problemOf(body, status);
  if (status === 429) {
    return { kind: "limited", problem: found, retryAfterMs };
  }
  if (status === 503) {
    return { kind: "absent", problem: found, retryAfterMs }; // not done
  }
  if (status >= 400 && status < 500 && found.code !== "unexpected_answer") {
    return { kind: "refused", problem: found, retryAfterMs };
  }
  return { kind: "lost", problem: found, retryAfterMs };
}

/** An amend or a cancel of an order that has ended may be the echo of its own first attempt. */
async function explainRefusal(task: Task, why: Problem, isTakenPerhaps: boolean): Promise<Outcome> {
  if (why.code === "order_not_open") {
    const row = await task.ask();
    if (row != null && task.isDone(row)) {
      return { kind: "found", row };
    }
  }
  if (isTakenPerhaps && !task.isRefusalCertain) {
    return { kind: "unknown", problem: unknown(why) };
  }
  return { kind: "refused", problem: why };
}

function unknown(last: Problem): Problem {
  return problem(
    "outcome_unknown",
    "It is not known whether the exchange has taken this. Look at your orders before you send it" +
      ` again. (${last.message})`,
  );
}

/** Return the object of an answer, or null if it is none. */
export function rowOf(body: Json): JsonObject | null {
  try {
    return object(body);
  } catch {
    return null;
  }
}
