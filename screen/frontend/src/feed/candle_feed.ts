/** The candles of the selected instrument and interval: REST pages and the stream, merged.
 *
 * Invariant: `candles` is sorted by time and has each time once, at most CANDLES_MAX. Of two states
 * of one candle, the one with more trades is the later one. A candle that did not change is the same
 * object as before, so the view can tell what changed.
 *
 * Prices are floats here, because the chart draws with floats. They are never sent or compared.
 */

import { signal } from "@preact/signals";
import type { Http } from "../http.ts";
import { CANDLES_CATCH_UP, CANDLES_MAX, CANDLES_PAGE } from "../limits.ts";
import type { Candle, Candles, Interval } from "../model.ts";
import { list, time, whole, type JsonObject } from "../wire.ts";
import type { Frames } from "./frames.ts";

/** A candle with its number of trades. */
export interface CountedCandle extends Candle {
  readonly tradeCount: number;
}

export class CandleFeed {
  readonly candles = signal<Candles | null>(null);
  /** Older candles may exist, and there is room for them. */
  readonly hasOlder = signal(false);
  readonly #http: Http;
  readonly #frames: Frames;
  #symbol: string | null = null;
  #interval: Interval = "1m";
  #rows: readonly CountedCandle[] = [];
  #selection = 0; // counts selections, so that an old answer is recognized
  #isLoadingOlder = false;

  constructor(http: Http, frames: Frames) {
    this.#http = http;
    this.#frames = frames;
  }

  select(symbol: string | null, interval: Interval): void {
    this.#symbol = symbol;
    this.#interval = interval;
    this.#selection += 1;
    this.#rows = [];
    this.#isLoadingOlder = false;
    this.candles.value = null;
    this.hasOlder.value = false;
    void this.#load({ limit: CANDLES_PAGE }, (rows) => {
      this.hasOlder.value = rows.length >= CANDLES_PAGE;
      this.#merge(rows);
    });
  }

  /** Read the candles that may be missing since the last one. */
  catchUp(): void {
    const last = this.#rows.at(-1);
    if (last === undefined) {
      this.select(this.#symbol, this.#interval);
      return;
    }
    const start = new Date(last.time * 1_000).toISOString();
    void this.#load({ start, limit: CANDLES_CATCH_UP }, (rows) => {
      if (rows.length < CANDLES_CATCH_UP) {
        this.#merge(rows);
      } else {
        this.select(this.#symbol, this.#interval); // Too many are missing for one page.
      }
    });
  }

  loadOlder(): void {
    const first = this.#rows[0];
    if (first === undefined || this.#isLoadingOlder || !this.hasOlder.peek()) {
      return;
    }
    this.#isLoadingOlder = true;
    const end = new Date(first.time * 1_000).toISOString();
    const room = CANDLES_MAX - this.#rows.length;
    void this.#load({ end, limit: Math.min(CANDLES_PAGE, room) }, (rows) => {
      this.hasOlder.value = rows.length >= CANDLES_PAGE && rows.length < room;
      this.#merge(rows);
    });
  }

  received(message: JsonObject): void {
    if (message["instrument"] === this.#symbol && message["interval"] === this.#interval) {
      this.#merge([candleOf(message)]);
    }
  }

  async #load(
    query: { start?: string; end?: string; limit: number },
    use: (rows: readonly CountedCandle[]) => void,
  ): Promise<void> {
    const [symbol, interval, selection] = [this.#symbol, this.#interval, this.#selection];
    if (symbol === null) {
      return;
    }
    const isWanted = () => selection === this.#selection;
    try {
      const page = await this.#http.read("/candles", { instrument: symbol, interval, ...query }, isWanted);
      if (isWanted()) {
        use(list(page["candles"]).map(candleOf));
      }
    } catch {
      // A new connection, or the next wish for older candles, reads again.
    } finally {
      if (isWanted()) {
        this.#isLoadingOlder = false;
      }
    }
  }

  #merge(more: readonly CountedCandle[]): void {
    this.#rows = mergeCandles(this.#rows, more);
    this.#frames.schedule(this.#publish);
  }

  readonly #publish = (): void => {
    if (this.#symbol !== null) {
      this.candles.value = { symbol: this.#symbol, interval: this.#interval, candles: this.#rows };
    }
  };
}

export function candleOf(row: JsonObject): CountedCandle {
  return {
    time: time(row["time"]) / 1_000,
    open: Number(row["open"]),
    high: Number(row["high"]),
    low: Number(row["low"]),
    close: Number(row["close"]),
    volume: Number(row["volume"]),
    tradeCount: whole(row["trade_count"]),
  };
}

/** Return all candles once, oldest first, the latest CANDLES_MAX of them. */
export function mergeCandles(
  rows: readonly CountedCandle[],
  more: readonly CountedCandle[],
): readonly CountedCandle[] {
  const [only] = more;
  const last = rows.at(-1);
  if (more.length === 1 && only !== undefined && last !== undefined && only.time >= last.time) {
    const kept = only.time === last.time ? rows.slice(0, -1) : rows;
    const newer = only.time === last.time ? later(last, only) : only;
    return newer === last ? rows : [...kept, newer].slice(-CANDLES_MAX);
  }
  const byTime = new Map(rows.map((candle) => [candle.time, candle]));
  for (const candle of more) {
    const known = byTime.get(candle.time);
    byTime.set(candle.time, known === undefined ? candle : later(known, candle));
  }
  return [...byTime.values()].sort((a, b) => a.time - b.time).slice(-CANDLES_MAX);
}

function later(known: CountedCandle, other: CountedCandle): CountedCandle {
  return other.tradeCount > known.tradeCount ? other : known;
}
