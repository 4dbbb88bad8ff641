/** Requests to the REST API.
 *
 * Each request has a time limit. `send` never repeats a request. `read` repeats a GET that failed
 * for a passing reason, at most READ_ATTEMPTS_MAX times.
 */

import { READ_ATTEMPTS_MAX, READ_MS_MAX, READ_RETRY_MS_MAX, READ_RETRY_MS_MIN } from "./limits.ts";
import type { Problem } from "./model.ts";
import { type Json, type JsonObject, object, parseJson, problem, problemOf } from "./wire.ts";

/** An answer of the exchange, or the lack of one: then the request may have been done. */
export type Answer =
  | { readonly status: number; readonly body: Json; readonly retryAfterMs: number | null }
  | { readonly status: "lost"; readonly message: string };

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Sends requests. Tests replace `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** A read that did not succeed. */
export class ReadError extends Error {
  readonly problem: Problem;
  readonly status: number | "lost";
  constructor(found: Problem, status: number | "lost") {
    super(found.message);
    this.problem = found;
    this.status = status;
  }
}

export class Http {
  readonly #fetch: Fetch;

  constructor(fetch: Fetch = (url, init) => globalThis.fetch(url, init)) {
    this.#fetch = fetch;
  }

  /** Send a request once. `body` has no numbers but small whole ones: decimals are texts. */
  async send(method: string, url: string, body: object | null, msMax: number): Promise<Answer> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(msMax), cache: "no-store" };
    if (body !== null) {
      init.headers = { "Content-Type": "application/json" };
      init.body = JSON.stringify(body);
    }
    try {
      const response = await this.#fetch(url, init);
      const content = await response.text();
      const seconds = Number(response.headers.get("Retry-After") ?? NaN);
      const retryAfterMs = Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null;
      return { status: response.status, body: parseJson(content), retryAfterMs };
    } catch (error) {
      const isLate = error instanceof DOMException && error.name === "TimeoutError";
      const message = isLate ? "The exchange did not answer in time." : "The exchange can't be reached.";
      return { status: "lost", message };
    }
  }

  /** Return the object at a path. Raises ReadError after the last attempt.
   *
   * `isWanted` is asked before each attempt after the first: a read is given up if it is not.
   */
  async read(path: string, query: Query = {}, isWanted: () => boolean = () => true): Promise<JsonObject> {
    const url = path + queryText(query);
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.send("GET", url, null, READ_MS_MAX);
      if (answer.status === 200) {
        return object(answer.body);
      }
      const found =
        answer.status === "lost"
          ? problem("unreachable", answer.message)
          : problemOf(answer.body, answer.status);
      const mayPass = answer.status === "lost" || answer.status >= 500 || answer.status === 429;
      if (!mayPass || attempt >= READ_ATTEMPTS_MAX || !isWanted()) {
        throw new ReadError(found, answer.status);
      }
      const asked = answer.status === "lost" ? null : answer.retryAfterMs;
      await pause(
        Math.min(READ_RETRY_MS_MAX, asked ?? backoff(attempt, READ_RETRY_MS_MIN, READ_RETRY_MS_MAX)),
      );
      if (!isWanted()) {
        throw new ReadError(found, answer.status);
      }
    }
  }
}

/** Return the problem of a read that failed, or of an answer that could not be read. */
export function problemOfError(error: unknown): Problem {
  return error instanceof ReadError ? error.problem : problem("unexpected_answer", String(error));
}

/** Return the wait before an attempt in ms: doubling, with jitter of up to a half. */
export function backoff(attempt: number, msMin: number, msMax: number): number {
  const ms = Math.min(msMax, msMin * 2 ** Math.min(attempt - 1, 30));
  return ms * (0.5 + Math.random() / 2);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function queryText(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : value === undefined ? [] : [value]) {
      parameters.append(name, String(each));
    }
  }
  const found = parameters.toString();
  return found ? `?${found}` : "";
}
