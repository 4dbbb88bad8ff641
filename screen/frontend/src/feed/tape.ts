/** The latest trades of the selected instrument: pages of REST and the stream, merged.
 *
 * Invariant: `trades` has each trade once, newest first by sequence, at most TRADES_MAX.
 */

import { signal } from "@preact/signals";
import type { Http } from "../http.ts";
import { TRADES_MAX } from "../limits.ts";
import type { Trade } from "../model.ts";
import { list, tradeOf, type JsonObject, type SequencedTrade } from "../wire.ts";
import type { Frames } from "./frames.ts";

export class Tape {
  readonly trades = signal<readonly Trade[]>([]);
  readonly #http: Http;
  readonly #frames: Frames;
  #symbol: string | null = null;
  #selection = 0; // counts selections, so that an old answer is recognized
  #rows: SequencedTrade[] = [];

  constructor(http: Http, frames: Frames) {
    this.#http = http;
    this.#frames = frames;
  }

  /** Show another instrument's trades. The same symbol: forget all, and read them again. */
  select(symbol: string | null): void {
    this.#symbol = symbol;
    this.#selection += 1;
    this.#rows = [];
    this.trades.value = [];
    this.load();
  }

  /** Read the latest trades, because some may be missing. */
  load(): void {
    const symbol = this.#symbol;
    if (symbol === null) {
      return;
    }
    const selection = this.#selection;
    const isWanted = () => selection === this.#selection;
    this.#http.read("/trades", { instrument: symbol, limit: TRADES_MAX }, isWanted).then(
      (page) => {
        if (isWanted()) {
          this.#merge(list(page["trades"]).map(tradeOf));
        }
      },
      () => undefined, // The next snapshot or connection reads again.
    );
  }

  received(message: JsonObject): void {
    if (message["instrument"] === this.#symbol) {
      this.#merge([tradeOf(message)]);
    }
  }

  #merge(more: readonly SequencedTrade[]): void {
    this.#rows = mergeTrades(this.#rows, more);
    this.#frames.schedule(this.#publish);
  }

  readonly #publish = (): void => {
    this.trades.value = this.#rows;
  };
}

/** Return all trades once, newest first, at most TRADES_MAX. */
export function mergeTrades(
  rows: readonly SequencedTrade[],
  more: readonly SequencedTrade[],
): SequencedTrade[] {
  const [first] = more;
  if (more.length === 1 && first !== undefined && (rows[0]?.sequence ?? -1) < first.sequence) {
    return [first, ...rows.slice(0, TRADES_MAX - 1)];
  }
  const bySequence = new Map([...more, ...rows].map((trade) => [trade.sequence, trade]));
  return [...bySequence.values()].sort((a, b) => b.sequence - a.sequence).slice(0, TRADES_MAX);
}
