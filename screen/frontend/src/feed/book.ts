/** A local copy of an order book: a snapshot, and the deltas that continue it.
 *
 * Invariant: after each `apply` without a BookError, the book is the exchange's at `sequence`; its
 * checksum proves the best levels. After a BookError the book must be replaced by a new one.
 *
 * Each side is a sorted array with the best level last, because most changes are near the best
 * price: a change costs a binary search and moves the better levels. A book of 100,000 levels has
 * some 10 MB. Not for use by two callers at the same time.
 */

import { toSteps, sizeOf, type Size } from "../exact.ts";
import type { Instrument, Level } from "../model.ts";
import { decimal, list, whole, type Json, type JsonObject } from "../wire.ts";
import { CHECKSUM_LEVELS, crc32 } from "./checksum.ts";

/** The local book differs from the exchange's. */
export class BookError extends Error {
  readonly kind: "gap" | "checksum" | "grid";
  constructor(kind: "gap" | "checksum" | "grid", message: string) {
    super(message);
    this.kind = kind;
  }
}

interface Entry {
  readonly priceTicks: bigint;
  quantityLots: bigint;
  orders: number;
}

export class LocalBook {
  readonly symbol: string;
  /** Of the exchange, to tell whether a later book is older: then a backup was restored. */
  sequence: number;
  /** Checksums that were compared and found equal. */
  verified = 0;
  readonly #tick: Size;
  readonly #lot: Size;
  readonly #bids: BookSide;
  readonly #asks: BookSide;

  /** Build the book of an `orderbook_snapshot`. Raises BookError. */
  constructor(snapshot: JsonObject, instrument: Instrument) {
    this.symbol = instrument.symbol;
    this.#tick = sizeOf(instrument.tickSize);
    this.#lot = sizeOf(instrument.lotSize);
    this.#bids = new BookSide(1n, this.#entries(snapshot["bids"]));
    this.#asks = new BookSide(-1n, this.#entries(snapshot["asks"]));
    this.sequence = whole(snapshot["sequence"]);
    this.#verify(snapshot["checksum"]);
  }

  /** Apply an `orderbook_delta`. Raises BookError if a new snapshot is needed. */
  apply(delta: JsonObject): void {
    const previous = whole(delta["previous_sequence"]);
    if (previous !== this.sequence) {
      throw new BookError("gap", `${this.symbol}: ${previous} does not continue ${this.sequence}`);
    }
    for (const change of list(delta["changes"])) {
      const side = change["side"] === "buy" ? this.#bids : this.#asks;
      side.set(this.#entry(change));
    }
    this.sequence = whole(delta["sequence"]);
    this.#verify(delta["checksum"]);
  }

  checksum(): number {
    return crc32(this.#digits(this.#asks) + this.#digits(this.#bids));
  }

  /** Return the best levels, best first. Levels that `before` has at the same place are reused. */
  bids(levelsMax: number, before: readonly Level[]): readonly Level[] {
    return this.#bids.best(levelsMax, before);
  }

  asks(levelsMax: number, before: readonly Level[]): readonly Level[] {
    return this.#asks.best(levelsMax, before);
  }

  #verify(expected: Json | undefined): void {
    if (expected === undefined) {
      return;
    }
    if (this.checksum() !== expected) {
      throw new BookError("checksum", `${this.symbol}: a wrong checksum at ${this.sequence}`);
    }
    this.verified += 1;
  }

  #digits(side: BookSide): string {
    return side
      .last(CHECKSUM_LEVELS)
      .map(
        ({ priceTicks, quantityLots }) => `${priceTicks * this.#tick.step}${quantityLots * this.#lot.step}`,
      )
      .join("");
  }

  /** Return the levels of a snapshot, best last. */
  #entries(levels: Json | undefined): Entry[] {
    return list(levels)
      .map((level) => this.#entry(level))
      .reverse();
  }

  #entry(level: JsonObject): Entry {
    const priceTicks = toSteps(decimal(level["price"]), this.#tick);
    const quantityLots = toSteps(decimal(level["quantity"]), this.#lot);
    if (priceTicks === null || quantityLots === null) {
      throw new BookError("grid", `${this.symbol}: a level is off the grid`);
    }
    return { priceTicks, quantityLots, orders: whole(level["orders"]) };
  }
}

class BookSide {
  readonly #direction: bigint; // 1: the best price is the highest
  readonly #entries: Entry[];

  constructor(direction: bigint, entries: Entry[]) {
    this.#direction = direction;
    this.#entries = entries;
  }

  /** Replace a level, or remove it if its quantity is 0. */
  set(entry: Entry): void {
    const at = this.#find(entry.priceTicks);
    const found = this.#entries[at];
    const isKnown = found?.priceTicks === entry.priceTicks;
    if (entry.quantityLots === 0n) {
      if (isKnown) {
        this.#entries.splice(at, 1);
      }
    } else if (isKnown) {
      found.quantityLots = entry.quantityLots;
      found.orders = entry.orders;
    } else {
      this.#entries.splice(at, 0, entry);
    }
  }

  /** Return the best levels, best first. */
  last(levelsMax: number): Entry[] {
    return levelsMax < this.#entries.length
      ? this.#entries.slice(-levelsMax).reverse()
      : [...this.#entries].reverse();
  }

  best(levelsMax: number, before: readonly Level[]): readonly Level[] {
    const levels: Level[] = [];
    let cumulativeLots = 0n;
    for (const { priceTicks, quantityLots, orders } of this.last(levelsMax)) {
      cumulativeLots += quantityLots;
      const old = before[levels.length];
      const isSame =
        old !== undefined &&
        old.priceTicks === priceTicks &&
        old.orders === orders &&
        old.quantityLots === quantityLots &&
        old.cumulativeLots === cumulativeLots;
      levels.push(isSame ? old : { priceTicks, quantityLots, orders, cumulativeLots });
    }
    return levels;
  }

  /** Return where a price is, or would be. */
  #find(priceTicks: bigint): number {
    const wanted = priceTicks * this.#direction;
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as Entry).priceTicks * this.#direction < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
