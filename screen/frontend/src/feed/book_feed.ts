/** Follows the selected instrument's book: recovers from gaps and wrong checksums, and publishes.
 *
 * Invariant: while `isStale` is false and `book` is not null, the book is the exchange's at its
 * sequence. A book that lost a delta is never shown with later changes.
 */

import { signal } from "@preact/signals";
import { BOOK_LEVELS_SHOWN_MAX, SNAPSHOT_MS_MAX } from "../limits.ts";
import type { Book, Instrument } from "../model.ts";
import { whole, type JsonObject } from "../wire.ts";
import { BookError, LocalBook } from "./book.ts";
import type { Frames } from "./frames.ts";

export interface BookCounts {
  readonly snapshots: number;
  readonly deltas: number;
  readonly checksumsVerified: number;
  readonly checksumMismatches: number;
  readonly gaps: number;
}

export interface BookFeedOptions {
  readonly frames: Frames;
  /** Subscribe to the book again. */
  readonly renew: () => void;
  /** A snapshot ended a time in which messages may have been lost. `isOlder`: a backup was restored. */
  readonly recovered: (isOlder: boolean) => void;
}

export class BookFeed {
  readonly book = signal<Book | null>(null);
  readonly isStale = signal(false);
  readonly #options: BookFeedOptions;
  #instrument: Instrument | null = null;
  #local: LocalBook | null = null;
  #sequence = -1; // of the last snapshot or delta
  #isVouched = false; // by the exchange, since the last snapshot
  #waitingSince: number | null = null; // monotonic: for a snapshot
  #counts = { snapshots: 0, deltas: 0, checksumsVerified: 0, checksumMismatches: 0, gaps: 0 };

  constructor(options: BookFeedOptions) {
    this.#options = options;
  }

  get counts(): BookCounts {
    return { ...this.#counts };
  }

  /** Follow another instrument. The book is null until its snapshot comes. */
  select(instrument: Instrument | null, isConnected: boolean): void {
    this.#instrument = instrument;
    this.#local = null;
    this.#sequence = -1;
    this.#waitingSince = isConnected ? performance.now() : null;
    this.book.value = null;
    this.isStale.value = false; // Nothing is shown that could be old.
  }

  /** The connection is open, and the subscription was sent. */
  opened(): void {
    this.#waitingSince = performance.now();
  }

  /** The connection is lost. */
  lost(): void {
    this.#local = null;
    this.#waitingSince = null;
    this.markStale();
  }

  /** The exchange does not vouch for the book at the moment. */
  markStale(): void {
    this.#isVouched = false;
    this.isStale.value = true;
  }

  received(message: JsonObject): void {
    const instrument = this.#instrument;
    if (instrument === null || message["instrument"] !== instrument.symbol) {
      return;
    }
    const verifiedBefore = this.#local?.verified ?? 0;
    try {
      if (message["type"] === "orderbook_snapshot") {
        this.#replace(message, instrument);
      } else if (this.#local !== null) {
        this.#counts.deltas += 1;
        this.#local.apply(message);
        this.#sequence = this.#local.sequence;
        this.#counts.checksumsVerified += this.#local.verified - verifiedBefore;
        this.#options.frames.schedule(this.#publish);
      }
    } catch (error) {
      // Any error may have left a delta half applied.
      this.#distrust(error instanceof BookError && error.kind === "gap" ? "gaps" : "checksumMismatches");
      if (!(error instanceof BookError)) {
        throw error;
      }
    }
  }

  /** Every second: ask again for a snapshot that does not come. */
  tick(now: number): void {
    if (this.#waitingSince !== null && now - this.#waitingSince > SNAPSHOT_MS_MAX) {
      this.#waitingSince = now;
      this.#options.renew();
    }
  }

  #replace(snapshot: JsonObject, instrument: Instrument): void {
    const isFirst = this.#sequence < 0;
    const isOlder = whole(snapshot["sequence"]) < this.#sequence;
    this.#counts.snapshots += 1;
    this.#local = new LocalBook(snapshot, instrument);
    this.#counts.checksumsVerified += this.#local.verified;
    this.#sequence = this.#local.sequence;
    this.#isVouched = true;
    this.#waitingSince = null;
    this.#options.frames.schedule(this.#publish);
    if (!isFirst) {
      this.#options.recovered(isOlder);
    }
  }

  #distrust(reason: "gaps" | "checksumMismatches"): void {
    this.#counts[reason] += 1;
    this.#local = null;
    this.#waitingSince = performance.now();
    this.markStale();
    this.#options.renew();
  }

  readonly #publish = (): void => {
    const local = this.#local;
    if (local === null) {
      return;
    }
    this.isStale.value = !this.#isVouched;
    const before = this.book.peek();
    const isSame = before?.symbol === local.symbol;
    this.book.value = {
      symbol: local.symbol,
      sequence: local.sequence,
      bids: local.bids(BOOK_LEVELS_SHOWN_MAX, isSame ? before.bids : []),
      asks: local.asks(BOOK_LEVELS_SHOWN_MAX, isSame ? before.asks : []),
    };
  };
}
