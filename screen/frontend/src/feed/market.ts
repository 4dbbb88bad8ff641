/** The market: instruments with their halts, tickers, and the selected instrument's data.
 *
 * Invariants: `selected` is the symbol of a known instrument or null. All subscriptions together
 * are at most SUBSCRIPTIONS_MAX: tickers of further instruments are read over REST.
 *
 * The stream does not tell of halts, so the instruments are read every INSTRUMENTS_POLL_MS.
 */

import { signal } from "@preact/signals";
import type { Http } from "../http.ts";
import { INSTRUMENTS_MAX, INSTRUMENTS_POLL_MS, TICKERS_POLL_MS } from "../limits.ts";
import { recall, remember } from "../memory.ts";
import { INTERVALS, type Instrument, type Interval, type Ticker } from "../model.ts";
import { instrumentOf, list, text, tickerOf, whole, type JsonObject } from "../wire.ts";
import { BookFeed } from "./book_feed.ts";
import { CandleFeed } from "./candle_feed.ts";
import type { Frames } from "./frames.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { Tape } from "./tape.ts";

export interface MarketOptions {
  readonly http: Http;
  readonly frames: Frames;
  readonly subscriptions: Subscriptions;
  readonly isConnected: () => boolean;
  /** Which instruments' tickers may be followed on the stream. */
  readonly tickersFollowed: (symbols: readonly string[]) => readonly string[];
  readonly instrumentsChanged: () => void;
  /** The market's messages may have had a gap. `isOlder`: a backup was restored. */
  readonly recovered: (isOlder: boolean) => void;
}

export class Market {
  readonly instruments = signal<readonly Instrument[]>([]);
  readonly tickers = signal<ReadonlyMap<string, Ticker>>(new Map());
  readonly selected = signal<string | null>(null);
  readonly interval = signal<Interval>("1m");
  readonly bookFeed: BookFeed;
  readonly tape: Tape;
  readonly candleFeed: CandleFeed;

  readonly #options: MarketOptions;
  readonly #latest = new Map<string, { readonly ticker: Ticker; readonly sequence: number }>();
  #isReading = { instruments: false, tickers: false };
  #readAt = { instruments: -Infinity, tickers: -Infinity };

  constructor(options: MarketOptions) {
    this.#options = options;
    const { http, frames, subscriptions } = options;
    const remembered = recall("interval") as Interval;
    this.interval.value = INTERVALS.includes(remembered) ? remembered : "1m";
    this.tape = new Tape(http, frames);
    this.candleFeed = new CandleFeed(http, frames);
    this.bookFeed = new BookFeed({
      frames,
      renew: () => subscriptions.renew("market"),
      recovered: (isOlder) => this.#onRecovered(isOlder),
    });
  }

  start(): void {
    void this.readInstruments();
  }

  select(symbol: string): void {
    const instrument = this.instruments.peek().find((each) => each.symbol === symbol);
    if (instrument === undefined || symbol === this.selected.peek()) {
      return;
    }
    remember("instrument", symbol);
    this.selected.value = symbol;
    this.bookFeed.select(instrument, this.#options.isConnected());
    const channels = ["orderbook_deltas", "trades"];
    this.#options.subscriptions.set("market", { channels, instrument: [symbol] });
    this.tape.select(symbol);
    this.#selectCandles();
    this.#options.instrumentsChanged();
  }

  chooseInterval(interval: Interval): void {
    if (interval !== this.interval.peek()) {
      remember("interval", interval);
      this.interval.value = interval;
      this.#selectCandles();
    }
  }

  received(message: JsonObject): void {
    switch (message["type"]) {
      case "orderbook_snapshot":
      case "orderbook_delta":
        return this.bookFeed.received(message);
      case "trade":
        return this.tape.received(message);
      case "candle":
        return this.candleFeed.received(message);
      case "ticker":
        return this.#keepTicker(message);
      case "error":
        if (message["code"] === "stale" && message["instrument"] === this.selected.peek()) {
          this.bookFeed.markStale();
        }
    }
  }

  opened(): void {
    this.bookFeed.opened();
    this.#readAt = { instruments: -Infinity, tickers: -Infinity };
  }

  lost(): void {
    this.bookFeed.lost();
  }

  tick(now: number): void {
    this.bookFeed.tick(now);
    if (now - this.#readAt.instruments > INSTRUMENTS_POLL_MS) {
      void this.readInstruments();
    }
    const symbols = this.instruments.peek().map((each) => each.symbol);
    const followed = this.#options.isConnected() ? this.#options.tickersFollowed(symbols).length : 0;
    const isComplete = followed === symbols.length;
    if (!isComplete && now - this.#readAt.tickers > TICKERS_POLL_MS) {
      void this.#readTickers();
    }
  }

  /** Read the instruments. If it fails, the next poll reads them. */
  async readInstruments(): Promise<void> {
    if (this.#isReading.instruments) {
      return;
    }
    this.#isReading.instruments = true;
    try {
      const page = await this.#options.http.read("/instruments", {}, () => false);
      this.#keepInstruments(list(page["instruments"]).slice(0, INSTRUMENTS_MAX).map(instrumentOf));
    } catch {
      // The connection's state tells that the exchange can't be reached.
    } finally {
      this.#readAt.instruments = performance.now();
      this.#isReading.instruments = false;
    }
  }

  #keepInstruments(found: readonly Instrument[]): void {
    if (JSON.stringify(found) === JSON.stringify(this.instruments.peek())) {
      return;
    }
    this.instruments.value = found;
    // The exchange serves subscriptions in turn, so the selected instrument comes first.
    if (this.selected.peek() === null) {
      const wanted = recall("instrument");
      const first = found.find((each) => each.symbol === wanted) ?? found[0];
      if (first !== undefined) {
        this.select(first.symbol);
      }
    }
    this.#options.instrumentsChanged();
  }

  async #readTickers(): Promise<void> {
    if (this.#isReading.tickers) {
      return;
    }
    this.#isReading.tickers = true;
    try {
      const page = await this.#options.http.read("/tickers", {}, () => false);
      for (const row of list(page["tickers"]).slice(0, INSTRUMENTS_MAX)) {
        // The stream may have been faster than this answer.
        const known = this.#latest.get(text(row["instrument"]));
        if (known === undefined || whole(row["sequence"]) >= known.sequence) {
          this.#keepTicker(row);
        }
      }
    } catch {
      // The next poll, or the stream, has them.
    } finally {
      this.#readAt.tickers = performance.now();
      this.#isReading.tickers = false;
    }
  }

  #keepTicker(row: JsonObject): void {
    const ticker = tickerOf(row);
    this.#latest.set(ticker.symbol, { ticker, sequence: whole(row["sequence"]) });
    this.#options.frames.schedule(this.#publishTickers);
  }

  readonly #publishTickers = (): void => {
    this.tickers.value = new Map([...this.#latest].map(([symbol, { ticker }]) => [symbol, ticker]));
  };

  #selectCandles(): void {
    const symbol = this.selected.peek();
    const interval = this.interval.peek();
    if (symbol !== null) {
      this.#options.subscriptions.set("candles", { channels: ["candles"], instrument: [symbol], interval });
      this.candleFeed.select(symbol, interval);
    }
  }

  #onRecovered(isOlder: boolean): void {
    if (isOlder) {
      this.tape.select(this.selected.peek());
      this.candleFeed.select(this.selected.peek(), this.interval.peek());
    } else {
      this.tape.load();
      this.candleFeed.catchUp();
    }
    this.#options.recovered(isOlder);
  }
}
