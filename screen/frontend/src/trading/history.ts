/** The client's orders that ended, newest first: REST pages and the stream, merged.
 *
 * Invariants: each order is there once; between the first and the last row none is missing but those
 * that were asked for by `refresh` and are on their way. At most HISTORY_MAX rows are kept.
 */

import { signal } from "@preact/signals";
import type { Frames } from "../feed/frames.ts";
import { problemOfError, ReadError, type Http } from "../http.ts";
import { HISTORY_MAX, ROWS_PAGE, VANISHED_ORDERS_MAX } from "../limits.ts";
import type { Order, Pages, Problem } from "../model.ts";
import { list, orderOf, type JsonObject } from "../wire.ts";
import { byCreation, hasEnded } from "./merging.ts";

const EMPTY: Pages<Order> = { rows: [], isLoading: false, hasMore: false, problem: null };

export class History {
  readonly pages = signal<Pages<Order>>(EMPTY);
  readonly #http: Http;
  readonly #frames: Frames;
  readonly #seen: (order: Order) => void;
  #client = "";
  #generation = 0; // counts clients, so that an old answer is recognized
  #rows = new Map<string, Order>();
  #cursor: string | null = null;
  #oldest: Order | null = null; // the last row of the pages; older ones come with the cursor
  #isLoading = false;
  #isRefreshWanted = false;
  #problem: Problem | null = null;
  /** The newest row before messages may have been lost; rows from here on are without a gap. */
  #topBeforeGap: Order | null = null;

  /** `seen` is called with each order of a page. */
  constructor(http: Http, frames: Frames, seen: (order: Order) => void) {
    this.#http = http;
    this.#frames = frames;
    this.#seen = seen;
  }

  reset(client: string): void {
    this.#client = client;
    this.#generation += 1;
    this.#rows = new Map();
    this.#cursor = this.#oldest = null;
    this.#isLoading = this.#isRefreshWanted = false;
    this.#problem = null;
    this.#topBeforeGap = null;
    this.pages.value = EMPTY;
  }

  /** Messages may be lost from now on. */
  markGap(): void {
    this.#topBeforeGap ??= this.#sorted()[0] ?? null;
  }

  /** Take an order that ended. */
  take(order: Order): void {
    if (!hasEnded(order) || this.#client === "") {
      return;
    }
    if (this.#cursor === null || this.#oldest === null || byCreation(order, this.#oldest) < 0) {
      this.#rows.set(order.id, order);
      this.#frames.schedule(this.#publish);
    }
  }

  /** Read the first page, because orders may have ended unseen. */
  async refresh(): Promise<void> {
    if (this.#isLoading) {
      this.#isRefreshWanted = true;
      return;
    }
    this.markGap();
    await this.#load(null, (orders, cursor) => {
      const last = orders.at(-1);
      const top = this.#topBeforeGap;
      const isJoined = top !== null && last !== undefined && byCreation(last, top) >= 0;
      if (!isJoined) {
        const first = orders[0];
        const newer = this.#sorted().filter((order) => first === undefined || byCreation(order, first) < 0);
        this.#rows = new Map(newer.map((order) => [order.id, order]));
        this.#cursor = cursor;
        this.#oldest = last ?? null;
      }
      this.#topBeforeGap = null;
    });
  }

  async loadMore(): Promise<void> {
    if (!this.#isLoading && this.#cursor !== null && this.#rows.size < HISTORY_MAX) {
      await this.#load(this.#cursor, (orders, cursor) => {
        this.#cursor = cursor;
        this.#oldest = orders.at(-1) ?? this.#oldest;
      });
    }
  }

  /** Read orders that are not open any more, to learn how they ended. */
  async readEnded(ids: readonly string[], use: (row: JsonObject) => void): Promise<void> {
    const generation = this.#generation;
    for (const id of ids.slice(0, VANISHED_ORDERS_MAX)) {
      try {
        const row = await this.#http.read(`/orders/${id}`, {}, () => generation === this.#generation);
        if (generation !== this.#generation) {
          return;
        }
        use(row);
      } catch (error) {
        if (!(error instanceof ReadError && error.status === 404)) {
          return;
        }
      }
    }
  }

  async #load(
    cursor: string | null,
    use: (orders: readonly Order[], cursor: string | null) => void,
  ): Promise<void> {
    if (this.#client === "") {
      return;
    }
    const generation = this.#generation;
    const isWanted = () => generation === this.#generation;
    this.#isLoading = true;
    this.#problem = null;
    this.#frames.schedule(this.#publish);
    const first = { client_id: this.#client, status: "finished", limit: ROWS_PAGE };
    const query = cursor === null ? first : { ...first, cursor };
    try {
      const page = await this.#http.read("/orders", query, isWanted);
      if (isWanted()) {
        const orders = list(page["orders"]).map(orderOf);
        use(orders, (page["next_cursor"] ?? null) as string | null);
        for (const order of orders) {
          this.#rows.set(order.id, order);
          this.#seen(order);
        }
      }
    } catch (error) {
      if (isWanted()) {
        this.#problem = problemOfError(error);
      }
    } finally {
      if (isWanted()) {
        this.#isLoading = false;
        this.#frames.schedule(this.#publish);
        if (this.#isRefreshWanted) {
          this.#isRefreshWanted = false;
          void this.refresh();
        }
      }
    }
  }

  #sorted(): Order[] {
    return [...this.#rows.values()].sort(byCreation);
  }

  readonly #publish = (): void => {
    const rows = this.#sorted();
    for (const order of rows.splice(HISTORY_MAX)) {
      this.#rows.delete(order.id);
    }
    this.pages.value = {
      rows,
      isLoading: this.#isLoading,
      hasMore: this.#cursor !== null && rows.length < HISTORY_MAX,
      problem: this.#problem,
    };
  };
}
