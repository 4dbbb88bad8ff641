/** What the screen follows on the stream, so that a new connection can ask for it again.
 *
 * Invariant: each group of channels has at most one selection. While the connection is open, the
 * exchange was told of each selection; a changed selection is unsubscribed from first.
 */

import { RESUBSCRIBE_CALM_MS, RESUBSCRIBE_MS_MAX, RESUBSCRIBE_MS_MIN } from "../limits.ts";
import { backoff } from "../http.ts";

/** Fields of a `subscribe` message. */
export interface Selection {
  readonly channels: readonly string[];
  readonly instrument: readonly string[];
  readonly client_id?: string;
  readonly interval?: string;
}

export type Group = "market" | "candles" | "orders" | "tickers";

export class Subscriptions {
  readonly #send: (message: object) => void;
  readonly #groups = new Map<Group, Selection>();
  readonly #timers = new Map<Group, ReturnType<typeof setTimeout>>();
  readonly #renewals = new Map<Group, { readonly at: number; readonly number: number }>();

  constructor(send: (message: object) => void) {
    this.#send = send;
  }

  /** Follow a selection in place of the group's former one; null: nothing. */
  set(group: Group, selection: Selection | null): void {
    const before = this.#groups.get(group) ?? null;
    if (JSON.stringify(before) === JSON.stringify(selection)) {
      return;
    }
    if (before !== null) {
      this.#send({ type: "unsubscribe", ...before });
      this.#groups.delete(group);
    }
    this.#renewals.delete(group);
    if (selection !== null && selection.instrument.length > 0) {
      this.#groups.set(group, selection);
      this.#send({ type: "subscribe", ...selection });
    }
  }

  /** Subscribe to everything, because the connection is new. */
  sendAll(): void {
    for (const selection of this.#groups.values()) {
      this.#send({ type: "subscribe", ...selection });
    }
  }

  /** Ask for the group's state again. The wait grows until RESUBSCRIBE_CALM_MS pass without it. */
  renew(group: Group): void {
    if (this.#timers.has(group)) {
      return;
    }
    const now = performance.now();
    const last = this.#renewals.get(group);
    const number = last && now - last.at < RESUBSCRIBE_CALM_MS ? last.number + 1 : 0;
    this.#renewals.set(group, { at: now, number });
    const wait = number === 0 ? 0 : backoff(number, RESUBSCRIBE_MS_MIN, RESUBSCRIBE_MS_MAX);
    this.#timers.set(
      group,
      setTimeout(() => {
        this.#timers.delete(group);
        const selection = this.#groups.get(group);
        if (selection !== undefined) {
          this.#send({ type: "subscribe", ...selection });
        }
      }, wait),
    );
  }

  renewAll(): void {
    for (const group of this.#groups.keys()) {
      this.renew(group);
    }
  }
}
