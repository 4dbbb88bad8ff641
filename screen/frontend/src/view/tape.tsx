/** The trades, newest first. New rows are put on top, and the oldest row is used again for them. */

import { effect, useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { formatDecimal } from "../exact.ts";
import type { Instrument, Trade } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals, shownQuantityDecimals } from "./decimals.ts";
import { formatTime } from "./format.ts";

const ROWS_MAX = 100;

export function Tape() {
  const view = useView();
  const body = useRef<HTMLDivElement>(null);
  const { store } = view;
  useEffect(() => {
    if (!body.current) {
      return;
    }
    const rows = new TapeRows(body.current);
    return effect(() => {
      const instrument = view.instrument.value;
      const trades = view.slow.trades.value;
      if (instrument) {
        rows.paint(trades, instrument);
      }
    });
  }, [view]);
  const instrument = view.instrument.value;
  const isEmpty = useComputed(() => store.trades.value.length === 0).value;
  return (
    <section class="panel tape" aria-label="Trades">
      <header class="panel-head">
        <h2>Trades</h2>
      </header>
      <div
        class={`tape-table ${store.isStale.value ? "dimmed" : ""}`}
        role="table"
        aria-label="Latest trades"
      >
        <div role="rowgroup">
          <div class="tape-row tape-names" role="row">
            <span role="columnheader">
              Price<span class="unit"> {instrument?.quoteAsset}</span>
            </span>
            <span role="columnheader">
              Size<span class="unit"> {instrument?.baseAsset}</span>
            </span>
            <span role="columnheader">Time</span>
          </div>
        </div>
        <div class="tape-body" role="rowgroup" ref={body} tabIndex={0} aria-label="Rows of trades" />
      </div>
      {isEmpty ? (
        <p class="empty tape-empty">
          {view.ticker.value?.last === null
            ? "No trade yet. Each trade is shown here as it happens."
            : "Loading trades."}
        </p>
      ) : null}
    </section>
  );
}

class TapeRows {
  readonly #body: HTMLElement;
  #newest: string | null = null;
  #symbol = "";

  constructor(body: HTMLElement) {
    this.#body = body;
  }

  paint(trades: readonly Trade[], instrument: Instrument): void {
    const known = trades.findIndex((trade) => trade.id === this.#newest);
    if (known < 0 || this.#symbol !== instrument.symbol) {
      this.#body.replaceChildren();
    }
    const fresh = trades.slice(
      0,
      known < 0 || this.#symbol !== instrument.symbol ? ROWS_MAX : Math.min(known, ROWS_MAX),
    );
    this.#symbol = instrument.symbol;
    this.#newest = trades[0]?.id ?? null;
    for (const trade of fresh.reverse()) {
      const isFull = this.#body.childElementCount >= ROWS_MAX;
      const row = isFull ? (this.#body.lastElementChild as HTMLElement) : newRow();
      fillRow(row, trade, instrument);
      this.#body.prepend(row);
    }
  }
}

function newRow(): HTMLElement {
  const row = document.createElement("div");
  row.setAttribute("role", "row");
  for (let index = 0; index < 3; index++) {
    const cell = document.createElement("span");
    cell.setAttribute("role", "cell");
    row.append(cell);
  }
  return row;
}

function fillRow(row: HTMLElement, trade: Trade, instrument: Instrument): void {
  const [price, quantity, time] = row.children;
  row.className = `tape-row ${trade.side}`;
  if (price && quantity && time) {
    price.textContent = formatDecimal(trade.price, priceDecimals(instrument));
    price.setAttribute("aria-description", trade.side === "buy" ? "a buyer took it" : "a seller took it");
    quantity.textContent = formatDecimal(trade.quantity, shownQuantityDecimals(instrument));
    time.textContent = formatTime(trade.time);
  }
}
