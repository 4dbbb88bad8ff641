/** What all parts of the view share: the store, what is picked, and which parts are open. */

import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { Grid } from "../exact.ts";
import type { Decimal, Instrument, Picked, PickedPrice, Side, Store, Ticker } from "../model.ts";
import { slowly } from "./slow.ts";

export type PhoneTab = "market" | "trade" | "orders";
export type DialogName = "client" | "shortcuts" | "cancel_all";

/** A message that goes away by itself. */
export interface Notice {
  readonly id: string;
  readonly tone: "good" | "bad" | "plain";
  readonly text: string;
}

/** What is drawn at a pace at which people can read it. A frame in which nothing is drawn leaves the
 * processor to the pointer and the keyboard. */
export interface SlowSignals {
  readonly tickers: Store["tickers"];
  readonly ladder: Store["book"];
  readonly book: Store["book"];
  readonly trades: Store["trades"];
  readonly candles: Store["candles"];
  readonly connection: Store["connection"];
  readonly positions: Store["positions"];
}

export interface View {
  readonly store: Store;
  readonly slow: SlowSignals;
  readonly instrument: ReadonlySignal<Instrument | null>;
  readonly grid: ReadonlySignal<Grid | null>;
  readonly ticker: ReadonlySignal<Ticker | null>;
  readonly picked: Picked;
  readonly side: Signal<Side>;
  readonly phoneTab: Signal<PhoneTab>;
  readonly panel: Signal<string>;
  readonly dialog: Signal<DialogName | null>;
  readonly isMarketListOpen: Signal<boolean>;
  /** Cancel everything in this instrument; null: in all. For the dialog. */
  readonly cancelScope: Signal<string | null>;
  pick(price: Decimal, side: Side): void;
}

export function createView(store: Store): View {
  const instrument = computed(() => {
    const symbol = store.selected.value;
    return store.instruments.value.find((each) => each.symbol === symbol) ?? null;
  });
  const grid = computed(() => {
    const known = instrument.value;
    return known === null ? null : new Grid(known.tickSize, known.lotSize);
  });
  const slow: SlowSignals = {
    tickers: slowly(store.tickers, 150),
    ladder: slowly(store.book, 50),
    book: slowly(store.book, 100),
    trades: slowly(store.trades, 100),
    candles: slowly(store.candles, 80),
    connection: slowly(store.connection, 250),
    positions: slowly(store.positions, 250),
  };
  const ticker = computed(() => slow.tickers.value.get(store.selected.value ?? "") ?? null);
  const picked: Picked = signal<PickedPrice | null>(null);
  const side = signal<Side>("buy");
  const phoneTab = signal<PhoneTab>("market");
  return {
    store,
    slow,
    instrument,
    grid,
    ticker,
    picked,
    side,
    phoneTab,
    panel: signal("open"),
    dialog: signal<DialogName | null>(null),
    isMarketListOpen: signal(false),
    cancelScope: signal<string | null>(null),
    pick(price, sideOfClick) {
      picked.value = { price, side: sideOfClick };
    },
  };
}

const ViewContext = createContext<View | null>(null);
export const ViewProvider = ViewContext.Provider;

export function useView(): View {
  const view = useContext(ViewContext);
  if (view === null) {
    throw new Error("useView is used outside of ViewProvider");
  }
  return view;
}
