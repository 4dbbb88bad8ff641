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
  const http = new Http();
  const frames = new Frames();
  const clock = new ExchangeClock();
  const clockReader = new ClockReader(http, clock);
  const client = signal(validClient(recall("client")));
  const diagnostics = signal<Diagnostics>(NO_DIAGNOSTICS);
  let refused = 0;

  const connection = new StreamConnection(streamUrl(), {
    opened: () => {
      subscriptions.sendAll();
      market.opened();
      clockReader.renew();
      entry.wake();
      void history.refresh();
      void (connection.losses > 0 ? fills.refresh() : fills.load());
    },
    received: (message) => receive(message),
    lost: () => {
      market.lost();
      markGap();
    },
    tick: (now) => {
      clockReader.tick(now);
      market.tick(now);
      diagnose();
    },
  }, clock);
  const subscriptions = new Subscriptions((message) => connection.send(message));
  const market: Market = new Market({
    http, frames, subscriptions,
    isConnected: () => connection.isOpen,
    tickersFollowed: (symbols) => symbols.slice(0, room(symbols.length)),
    instrumentsChanged: () => followAll(),
    recovered: (isOlder) => (isOlder ? resetClient() : recoverClient()),
  });
  const history = new History(http, frames, (order) => entry.observe(order));
  const openOrders = new OpenOrders({
    http, frames,
    seen: (order) => entry.observe(order),
    vanished: (ids) => void history.readEnded(ids, (row) => takeRow(row, null)),
  });
  const fills: Fills = new Fills({
    http, frames,
    instruments: () => market.instruments.peek(),
    lastPrice: (symbol) => market.tickers.peek().get(symbol)?.last ?? null,
  });
  const entry: Entry = new Entry({
    http,
    client: () => client.peek(),
    orderSeen: (row) => takeRow(row, null),
    haltSeen: () => void market.readInstruments(),
  });

  /** Orders come first; tickers get what is left of the bound of subscriptions. */
  function room(count: number): number {
    const left = SUBSCRIPTIONS_MAX - SUBSCRIPTIONS_OF_SELECTED;
    return client.peek() === "" ? left : Math.max(0, left - count);
  }

  function followAll(): void {
    const symbols = market.instruments.peek().map((each) => each.symbol);
    const selected = market.selected.peek();
    const ordered = selected === null ? symbols : [selected, ...symbols.filter((each) => each !== selected)];
    // A stable order, so that selecting another instrument does not subscribe to all again.
    const tickers = ordered.slice(0, room(symbols.length)).sort();
    const orders = ordered.slice(0, SUBSCRIPTIONS_MAX - SUBSCRIPTIONS_OF_SELECTED).sort();
    if (client.peek() === "") {
      subscriptions.set("orders", null); // first, so that there is room for the tickers
    }
    subscriptions.set("tickers", { channels: ["ticker"], instrument: tickers });
    if (client.peek() !== "") {
      subscriptions.set("orders", { channels: ["orders"], instrument: orders, client_id: client.peek() });
    }
    fills.publishPositionsSoon();
  }

  function receive(message: JsonObject): void {
    switch (message["type"]) {
      case "orders_snapshot":
        return openOrders.snapshot(message);
      case "order_update":
        return takeRow(message, whole(message["sequence"]));
      case "resumed":
        return recoverClient();
      case "error":
        return receiveError(message);
      default:
        return market.received(message);
    }
  }

  function receiveError(message: JsonObject): void {
    const code = text(message["code"]);
    if (code === "stale") {
      markGap();
      market.received(message);
    } else if (code === "unavailable") {
      subscriptions.renewAll();
    } else if (code === "instrument_not_found" || code === "invalid_message") {
      refused += 1;
      void market.readInstruments();
    }
  }

  /** Take an order with its fills. `sequence` is null if it came over REST. */
  function takeRow(row: JsonObject, sequence: number | null): void {
    if (row["client_id"] !== client.peek()) {
      return; // of a former client
    }
    const order = orderOf(row);
    openOrders.take(order, sequence);
    if (hasEnded(order)) {
      history.take(order);
    }
    fills.take(fillsOf(row));
    entry.observe(order);
  }

  function markGap(): void {
    history.markGap();
    fills.markGap();
  }

  function recoverClient(): void {
    void history.refresh();
    void fills.refresh();
  }

  function resetClient(): void {
    openOrders.reset(client.peek());
    history.reset(client.peek());
    fills.reset(client.peek());
    void history.refresh();
    subscriptions.renew("orders");
  }

  function diagnose(): void {
    const next: Diagnostics = {
      ...market.bookFeed.counts,
      connectionsLost: connection.losses,
      messagesUnreadable: connection.unreadable,
      subscriptionsRefused: refused,
    };
    if (JSON.stringify(next) !== JSON.stringify(diagnostics.peek())) {
      diagnostics.value = next;
    }
  }

  effect(() => {
    void market.tickers.value; // Profit moves with the last price.
    fills.publishPositionsSoon();
  });
  // What the first book needs comes first.
  connection.start();
  market.start();
  openOrders.reset(client.peek());
  history.reset(client.peek());
  fills.reset(client.peek());

  return {
    connection: connection.state,
    diagnostics,
    instruments: market.instruments,
    tickers: market.tickers,
    selected: market.selected,
    interval: market.interval,
    book: market.bookFeed.book,
    isStale: market.bookFeed.isStale,
    trades: market.tape.trades,
    candles: market.candleFeed.candles,
    hasOlderCandles: market.candleFeed.hasOlder,
    select: (symbol) => market.select(symbol),
    chooseInterval: (interval) => market.chooseInterval(interval),
    loadOlderCandles: () => market.candleFeed.loadOlder(),
    client,
    become: (name) => {
      const next = validClient(name.trim());
      if (next !== client.peek() && (next !== "" || name.trim() === "")) {
        remember("client", next);
        client.value = next;
        entry.clear();
        followAll();
        resetClient();
      }
    },
    openOrders: openOrders.orders,
    areOpenOrdersCut: openOrders.isCut,
    history: history.pages,
    fills: fills.pages,
    positions: fills.positions,
    loadMoreHistory: () => void history.loadMore(),
    loadMoreFills: () => fills.loadMore(),
    submissions: entry.submissions,
    place: (request) => entry.place(request),
    amend: (order, changes) => entry.amend(order, changes),
    cancel: (order) => entry.cancel(order),
    cancelAll: (symbol) => entry.cancelAll(symbol),
  };
}

const NO_DIAGNOSTICS: Diagnostics = {
  snapshots: 0, deltas: 0, checksumsVerified: 0, checksumMismatches: 0, gaps: 0,
  connectionsLost: 0, messagesUnreadable: 0, subscriptionsRefused: 0,
};

function validClient(name: string): string {
  return CLIENT_PATTERN.test(name) ? name : "";
}

function streamUrl(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`;
}
