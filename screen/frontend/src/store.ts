/** The screen's data: connects the stream, REST and what the view reads.
 *
 * `createStore` is called once. It follows the exchange that served the page, for as long as the page
 * lives. Nothing here draws.
 */

import { effect, signal } from "@preact/signals";
import { ClockReader, ExchangeClock } from "./feed/clock.ts";
import { StreamConnection } from "./feed/connection.ts";
import { Frames } from "./feed/frames.ts";
import { Market } from "./feed/market.ts";
import { Subscriptions } from "./feed/subscriptions.ts";
import { Http } from "./http.ts";
import { CLIENT_PATTERN, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_OF_SELECTED } from "./limits.ts";
import { recall, remember } from "./memory.ts";
import type { Diagnostics, Store } from "./model.ts";
import { Entry } from "./trading/entry.ts";
import { Fills } from "./trading/fills.ts";
import { History } from "./trading/history.ts";
import { hasEnded } from "./trading/merging.ts";
import { OpenOrders } from "./trading/orders.ts";
import { fillsOf, orderOf, text, whole, type JsonObject } from "./wire.ts";

export function createStore(): Store {
  const screen = new Screen();
  screen.start();
  return screen.store();
}

/** The parts, and what passes between them. */
class Screen {
  readonly #http = new Http();
  readonly #frames = new Frames();
  readonly #clock = new ExchangeClock();
  readonly #clockReader = new ClockReader(this.#http, this.#clock);
  readonly #client = signal(validClient(recall("client")));
  readonly #diagnostics = signal<Diagnostics>(NO_DIAGNOSTICS);
  #subscriptionsRefused = 0;

  readonly #connection = new StreamConnection(
    streamUrl(),
    {
      opened: () => this.#onOpened(),
      received: (message) => this.#receive(message),
      lost: () => this.#onLost(),
      tick: (now) => this.#tick(now),
    },
    this.#clock,
  );
  readonly #subscriptions = new Subscriptions((message) => this.#connection.send(message));
  readonly #entry: Entry = new Entry({
    http: this.#http,
    client: () => this.#client.peek(),
    orderSeen: (row) => this.#takeRow(row, null),
    haltSeen: () => void this.#market.readInstruments(),
  });
  readonly #market: Market = new Market({
    http: this.#http,
    frames: this.#frames,
    subscriptions: this.#subscriptions,
    isConnected: () => this.#connection.isOpen,
    tickersFollowed: (symbols) => symbols.slice(0, this.#roomForTickers(symbols.length)),
    instrumentsChanged: () => this.#followAll(),
    recovered: (isOlder) => this.#onRecovered(isOlder),
  });
  readonly #history = new History(this.#http, this.#frames, (order) => this.#entry.observe(order));
  readonly #openOrders = new OpenOrders({
    http: this.#http,
    frames: this.#frames,
    seen: (order) => this.#entry.observe(order),
    vanished: (ids) => void this.#history.readEnded(ids, (row) => this.#takeRow(row, null)),
  });
  #hasGaps = false; // messages may have been lost since the page was opened
  readonly #fills = new Fills({
    http: this.#http,
    frames: this.#frames,
    instruments: () => this.#market.instruments.peek(),
    lastPrice: (symbol) => this.#market.tickers.peek().get(symbol)?.last ?? null,
  });

  start(): void {
    effect(() => {
      void this.#market.tickers.value; // Profit moves with the last price.
      this.#fills.publishPositionsSoon();
    });
    // What the first book needs comes first.
    this.#connection.start();
    this.#market.start();
    this.#openOrders.reset(this.#client.peek());
    this.#history.reset(this.#client.peek());
    this.#fills.reset(this.#client.peek());
  }

  /** Return what the view reads and does. */
  store(): Store {
    const [market, entry] = [this.#market, this.#entry];
    return {
      connection: this.#connection.state,
      diagnostics: this.#diagnostics,
      instruments: market.instruments,
      tickers: market.tickers,
      selected: market.selected,
      interval: market.interval,
      book: market.bookFeed.book,
      isStale: market.bookFeed.isStale,
      trades: market.tape.trades,
      candles: market.candleFeed.candles,
      select: (symbol) => market.select(symbol),
      chooseInterval: (interval) => market.chooseInterval(interval),
      loadOlderCandles: () => market.candleFeed.loadOlder(),
      client: this.#client,
      become: (name) => this.#become(name.trim()),
      openOrders: this.#openOrders.orders,
      areOpenOrdersCut: this.#openOrders.isCut,
      history: this.#history.pages,
      fills: this.#fills.pages,
      positions: this.#fills.positions,
      loadMoreHistory: () => void this.#history.loadMore(),
      loadMoreFills: () => this.#fills.loadMore(),
      submissions: entry.submissions,
      place: (request) => entry.place(request),
      amend: (order, changes) => entry.amend(order, changes),
      cancel: (order) => entry.cancel(order),
      cancelAll: (symbol) => entry.cancelAll(symbol),
    };
  }

  #become(name: string): void {
    if (name === this.#client.peek() || validClient(name) !== name) {
      return;
    }
    remember("client", name);
    this.#client.value = name;
    this.#entry.clear();
    this.#followAll();
    this.#resetClient();
  }

  /** Orders come first; tickers get what is left of the bound of subscriptions. */
  #roomForTickers(count: number): number {
    const left = SUBSCRIPTIONS_MAX - SUBSCRIPTIONS_OF_SELECTED;
    return this.#client.peek() === "" ? left : Math.max(0, left - count);
  }

  #followAll(): void {
    const symbols = this.#market.instruments.peek().map((each) => each.symbol);
    const selected = this.#market.selected.peek();
    const client = this.#client.peek();
    const first = symbols.filter((each) => each === selected);
    const ordered = [...first, ...symbols.filter((each) => each !== selected)];
    // A stable order, so that selecting another instrument does not subscribe to all again.
    const tickers = ordered.slice(0, this.#roomForTickers(symbols.length)).sort();
    const orders = ordered.slice(0, SUBSCRIPTIONS_MAX - SUBSCRIPTIONS_OF_SELECTED).sort();
    if (client === "") {
      this.#subscriptions.set("orders", null); // first, so that there is room for the tickers
    }
    this.#subscriptions.set("tickers", { channels: ["ticker"], instrument: tickers });
    if (client !== "") {
      this.#subscriptions.set("orders", { channels: ["orders"], instrument: orders, client_id: client });
    }
    this.#fills.publishPositionsSoon();
  }

  #onOpened(): void {
    this.#subscriptions.sendAll();
    this.#market.opened();
    this.#clockReader.renew();
    this.#entry.wake();
    void this.#history.refresh();
    void (this.#connection.losses > 0 ? this.#fills.refresh() : this.#fills.load());
  }

  #onLost(): void {
    this.#market.lost();
    this.#markGap();
  }

  /** `isOlder`: a backup of the exchange was restored. */
  #onRecovered(isOlder: boolean): void {
    if (isOlder) {
      this.#resetClient();
      this.#subscriptions.renew("orders");
    } else {
      this.#recoverClient();
    }
  }

  #receive(message: JsonObject): void {
    switch (message["type"]) {
      case "orders_snapshot":
        this.#openOrders.snapshot(message);
        // Updates up to the snapshot's sequence may be lost: read after it, not only after the book's.
        return this.#hasGaps ? this.#recoverClient() : undefined;
      case "order_update":
        return this.#takeRow(message, whole(message["sequence"]));
      case "resumed":
        return this.#recoverClient();
      case "error":
        return this.#receiveError(message);
      default:
        return this.#market.received(message);
    }
  }

  #receiveError(message: JsonObject): void {
    const code = text(message["code"]);
    if (code === "stale") {
      this.#markGap();
      this.#market.received(message);
    } else if (code === "unavailable") {
      this.#subscriptions.renewAll();
    } else if (code === "instrument_not_found" || code === "invalid_message") {
      this.#subscriptionsRefused += 1;
      void this.#market.readInstruments();
    }
  }

  /** Take an order with its fills. `sequence` is null if it came over REST. */
  #takeRow(row: JsonObject, sequence: number | null): void {
    if (row["client_id"] !== this.#client.peek()) {
      return; // of a former client
    }
    const order = orderOf(row);
    this.#openOrders.take(order, sequence);
    if (hasEnded(order)) {
      this.#history.take(order);
    }
    this.#fills.take(fillsOf(row));
    this.#entry.observe(order);
  }

  /** Messages may be lost from now on. */
  #markGap(): void {
    this.#hasGaps = true;
    this.#history.markGap();
    this.#fills.markGap();
  }

  #recoverClient(): void {
    void this.#history.refresh();
    void this.#fills.refresh();
  }

  /** Forget what the client has, and read it again. */
  #resetClient(): void {
    const client = this.#client.peek();
    this.#openOrders.reset(client);
    this.#history.reset(client);
    this.#fills.reset(client);
    void this.#history.refresh();
  }

  #tick(now: number): void {
    this.#clockReader.tick(now);
    this.#market.tick(now);
    const next: Diagnostics = {
      ...this.#market.bookFeed.counts,
      connectionsLost: this.#connection.losses,
      messagesUnreadable: this.#connection.unreadable,
      subscriptionsRefused: this.#subscriptionsRefused,
    };
    if (JSON.stringify(next) !== JSON.stringify(this.#diagnostics.peek())) {
      this.#diagnostics.value = next;
    }
  }
}

const NO_DIAGNOSTICS: Diagnostics = {
  snapshots: 0,
  deltas: 0,
  checksumsVerified: 0,
  checksumMismatches: 0,
  gaps: 0,
  connectionsLost: 0,
  messagesUnreadable: 0,
  subscriptionsRefused: 0,
};

function validClient(name: string): string {
  return CLIENT_PATTERN.test(name) ? name : "";
}

function streamUrl(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`;
}
