/** Which of two states of one order is the later one.
 *
 * The same order comes from the stream, which has sequences, and from REST, which has none, in any
 * order. Invariants: an order that ended stays as it is, and nothing goes back in time.
 */

import { compare, exact } from "../exact.ts";
import type { Order } from "../model.ts";

/** An order with its place in the instrument's sequence, which is null if it came over REST. */
export interface PlacedOrder {
  readonly order: Order;
  readonly sequence: number | null;
}

export function hasEnded(order: Order): boolean {
  return order.status === "filled" || order.status === "cancelled" || order.status === "rejected";
}

/** Return whether `next` may replace `known`: it is later, or the same state. */
export function mayReplace(known: PlacedOrder, next: PlacedOrder): boolean {
  if (hasEnded(known.order) !== hasEnded(next.order)) {
    return hasEnded(next.order);
  }
  if (known.sequence !== null && next.sequence !== null) {
    return next.sequence >= known.sequence;
  }
  if (known.order.updatedAt !== next.order.updatedAt) {
    return next.order.updatedAt > known.order.updatedAt;
  }
  return compare(exact(next.order.filledQuantity), exact(known.order.filledQuantity)) >= 0;
}

/** Newest first. Ids are UUIDs of version 7, which sort by time. */
export function byCreation(a: Order, b: Order): number {
  return b.createdAt - a.createdAt || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

/** A set of at most `sizeMax` ids. The oldest ones are forgotten first. */
export class RecentIds<Value> {
  readonly #sizeMax: number;
  readonly #values = new Map<string, Value>();

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  get(id: string): Value | undefined {
    return this.#values.get(id);
  }

  set(id: string, value: Value): void {
    this.#values.delete(id);
    this.#values.set(id, value);
    if (this.#values.size > this.#sizeMax) {
      this.#values.delete(this.#values.keys().next().value as string);
    }
  }

  delete(id: string): void {
    this.#values.delete(id);
  }

  clear(): void {
    this.#values.clear();
  }
}
