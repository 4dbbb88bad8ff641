/** The client's open and pending orders of all instruments.
 *
 * An `orders_snapshot` replaces an instrument's orders, `order_update` and answers of REST change
 * them. Invariants: an order that ended does not come back, and no state goes back in time. Orders
 * that a snapshot no longer has have ended while the screen was not connected: `vanished` gets them.
 *
 * At most OPEN_ORDERS_MAX are kept, the newest; `isCut` says that there are more.
 */

import { signal } from "@preact/signals";
import type { Frames } from "../feed/frames.ts";
import type { Http } from "../http.ts";
import { ENDED_ORDERS_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PAGES_MAX, ORDERS_PAGE_MAX } from "../limits.ts";
import type { Milliseconds, Order } from "../model.ts";
import { list, orderOf, text, time, whole, type Json, type JsonObject } from "../wire.ts";
import { byCreation, hasEnded, mayReplace, RecentIds, type PlacedOrder } from "./merging.ts";

export interface OpenOrdersOptions {
  readonly http: Http;
  readonly frames: Frames;
  readonly vanished: (ids: readonly string[]) => void;
  /** Called with each order of a snapshot. */
  readonly seen: (order: Order) => void;
}

/** Why an order is not open any more. */
interface Ending {
  /** The exchange said so. Otherwise a snapshot at `sequence` did not have the order. */
  readonly isFinal: boolean;
  readonly sequence: number;
  readonly at: Milliseconds;
}

export class OpenOrders {
  readonly orders = signal<readonly Order[]>([]);
  readonly isCut = signal(false);
  readonly #options: OpenOrdersOptions;
  readonly #placed = new Map<string, PlacedOrder>();
  readonly #ended = new RecentIds<Ending>(ENDED_ORDERS_MAX);
  #client = "";

  constructor(options: OpenOrdersOptions) {
    this.#options = options;
  }

  /** Forget everything, and follow another client's orders. */
  reset(client: string): void {
    this.#client = client;
    this.#placed.clear();
    this.#ended.clear();
    this.orders.value = [];
    this.isCut.value = false;
  }

  snapshot(message: JsonObject): void {
    if (message["client_id"] !== this.#client) {
      return;
    }
    const symbol = text(message["instrument"]);
    const sequence = whole(message["sequence"]);
    const at = time(message["timestamp"]);
    const orders = list(message["orders"]).map(orderOf);
    const ids = new Set(orders.map((order) => order.id));
    for (const order of orders) {
      this.#put({ order, sequence });
      this.#options.seen(order);
    }
    if (message["complete"] === false) {
      void this.#readOthers(symbol, sequence, at, ids);
    } else {
      this.#endOthers(symbol, sequence, at, ids);
    }
  }

  /** Take an order of an `order_update`, or of an answer: then `sequence` is null. */
  take(order: Order, sequence: number | null): void {
    this.#put({ order, sequence });
  }

  /** Read the orders that a snapshot had no room for. */
  async #readOthers(symbol: string, sequence: number, at: Milliseconds, ids: Set<string>): Promise<void> {
    const client = this.#client;
    let cursor: Json | undefined;
    for (let page = 0; page < OPEN_ORDERS_PAGES_MAX && cursor !== null; page += 1) {
      const query = {
        client_id: client,
        instrument: symbol,
        status: ["resting", "pending"],
        limit: ORDERS_PAGE_MAX,
        ...(typeof cursor === "string" ? { cursor } : {}),
      };
      try {
        const found = await this.#options.http.read("/orders", query, () => client === this.#client);
        if (client !== this.#client) {
          return;
        }
        for (const row of list(found["orders"])) {
          const order = orderOf(row);
          ids.add(order.id);
          this.#put({ order, sequence: null });
        }
        cursor = found["next_cursor"];
      } catch {
        return; // The next snapshot reads again.
      }
    }
    if (cursor === null) {
      this.#endOthers(symbol, sequence, at, ids);
    } else {
      this.isCut.value = true;
    }
  }

  /** End the orders of an instrument that a state at `sequence` does not have. */
  #endOthers(symbol: string, sequence: number, at: Milliseconds, ids: ReadonlySet<string>): void {
    const vanished: string[] = [];
    for (const [id, placed] of this.#placed) {
      const isLater = placed.sequence === null ? placed.order.updatedAt > at : placed.sequence > sequence;
      if (placed.order.symbol === symbol && !ids.has(id) && !isLater) {
        this.#placed.delete(id);
        this.#ended.set(id, { isFinal: false, sequence, at });
        vanished.push(id);
      }
    }
    if (vanished.length > 0) {
      this.#options.frames.schedule(this.#publish);
      this.#options.vanished(vanished);
    }
  }

  #put(next: PlacedOrder): void {
    const { order, sequence } = next;
    const ending = this.#ended.get(order.id);
    if (ending !== undefined && !hasEnded(order)) {
      const isLater = sequence === null ? order.updatedAt > ending.at : sequence > ending.sequence;
      if (ending.isFinal || !isLater) {
        return;
      }
      this.#ended.delete(order.id);
    }
    const known = this.#placed.get(order.id);
    if (known !== undefined && !mayReplace(known, next)) {
      return;
    }
    if (hasEnded(order)) {
      this.#placed.delete(order.id);
      this.#ended.set(order.id, { isFinal: true, sequence: sequence ?? 0, at: order.updatedAt });
    } else {
      this.#placed.set(order.id, next);
    }
    this.#options.frames.schedule(this.#publish);
  }

  readonly #publish = (): void => {
    const orders = [...this.#placed.values()].map(({ order }) => order).sort(byCreation);
    for (const order of orders.slice(OPEN_ORDERS_MAX)) {
      this.#placed.delete(order.id);
      this.isCut.value = true;
    }
    this.orders.value = orders.slice(0, OPEN_ORDERS_MAX);
  };
}
