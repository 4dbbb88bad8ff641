/** The order book as a ladder: asks above bids, with bars for the cumulative quantity. */

import { computed, effect, signal, useComputed } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { formatDecimal } from "../exact.ts";
import type { Side } from "../model.ts";
import { useView, type View } from "./context.ts";
import { partsPerMillion, priceDecimals, shownQuantityDecimals } from "./decimals.ts";
import { NOTHING } from "./format.ts";
import { groupLevels, groupOf, groupingSteps } from "./grouping.ts";
import { LadderSide } from "./ladder_rows.ts";

const ROW_HEIGHT = 20;
const NO_GROUPS: ReadonlySet<bigint> = new Set();

export function Ladder() {
  const view = useView();
  const model = useMemo(() => new LadderModel(view), [view]);
  return (
    <section class="panel ladder" aria-label="Order book">
      <header class="panel-head">
        <h2>
          <span class="long">Order book</span>
          <span class="short">Book</span>
        </h2>
        <Grouping model={model} />
      </header>
      <LadderBody model={model} />
      <MarketState />
    </section>
  );
}

/** The state of the ladder that its parts share. */
class LadderModel {
  readonly step = signal(1n);
  readonly rowsPerSide = signal(0);
  readonly view: View;
  readonly steps;
  /** The groups with own orders, by side. */
  readonly own;
  frame: HTMLElement | null = null;
  asks: LadderSide | null = null;
  bids: LadderSide | null = null;
  /** The row that the keyboard is at: negative for asks (-1 is the best), positive for bids. */
  cursor = 1;

  constructor(view: View) {
    this.view = view;
    // The steps depend on the size of the price alone, so that the choice does not flicker.
    const size = computed(() => {
      const best = view.store.book.value?.bids[0]?.priceTicks;
      return best === undefined ? 0n : 10n ** BigInt(best.toString().length - 1);
    });
    this.steps = computed(() => groupingSteps(size.value === 0n ? null : size.value));
    this.own = computed(() => ownGroups(view, this.step.value));
    view.store.selected.subscribe(() => {
      this.step.value = 1n;
    });
  }

  pick(row: { readonly priceTicks: bigint }, side: Side): void {
    const grid = this.view.grid.peek();
    if (grid) {
      this.view.pick(grid.price(row.priceTicks), side);
      this.view.phoneTab.value = "trade";
    }
  }

  /** Paint the book. Called by an effect, for each book that is drawn. */
  paint(): void {
    const { slow, grid, instrument } = this.view;
    const count = this.rowsPerSide.value;
    const step = this.step.value;
    const book = slow.ladder.value;
    const own = this.own.value;
    if (!this.asks || !this.bids || !grid.value || !instrument.value) {
      return;
    }
    this.asks.resize(count);
    this.bids.resize(count);
    const isOurs = book?.symbol === instrument.value.symbol;
    const asks = isOurs ? groupLevels(book.asks, step, "sell", count) : [];
    const bids = isOurs ? groupLevels(book.bids, step, "buy", count) : [];
    const deepestAsk = asks.at(-1)?.cumulativeLots ?? 0n;
    const deepestBid = bids.at(-1)?.cumulativeLots ?? 0n;
    const whole = deepestAsk > deepestBid ? deepestAsk : deepestBid;
    const format = {
      grid: grid.value,
      priceDecimals: priceDecimals(instrument.value),
      quantityDecimals: shownQuantityDecimals(instrument.value),
    };
    this.asks.paint(asks, whole, own.get("sell") ?? NO_GROUPS, format);
    this.bids.paint(bids, whole, own.get("buy") ?? NO_GROUPS, format);
    if (this.frame && isOurs) {
      this.frame.dataset.symbol = book.symbol; // For tests: which state of the book this is.
      this.frame.dataset.sequence = String(book.sequence);
    }
  }
}

function ownGroups(view: View, step: bigint): ReadonlyMap<Side, ReadonlySet<bigint>> {
  const grid = view.grid.value;
  const symbol = view.store.selected.value;
  const groups = new Map<Side, Set<bigint>>([
    ["buy", new Set()],
    ["sell", new Set()],
  ]);
  for (const order of view.store.openOrders.value) {
    const ticks =
      order.symbol === symbol && order.status !== "pending" && order.price ? grid?.ticks(order.price) : null;
    if (ticks != null) {
      groups.get(order.side)?.add(groupOf(ticks, step, order.side));
    }
  }
  return groups;
}

function Grouping({ model }: { readonly model: LadderModel }) {
  const grid = model.view.grid.value;
  if (!grid) {
    return null;
  }
  return (
    <label class="small-select">
      <span class="hidden-text">Group prices by</span>
      <select
        value={model.step.value.toString()}
        onChange={(event) => {
          model.step.value = BigInt(event.currentTarget.value);
        }}
      >
        {model.steps.value.map((step) => (
          <option key={step.toString()} value={step.toString()}>
            {formatDecimal(grid.price(step))}
          </option>
        ))}
      </select>
    </label>
  );
}

function LadderBody({ model }: { readonly model: LadderModel }) {
  const { view } = model;
  const frame = useRef<HTMLDivElement>(null);
  const asks = useRef<HTMLDivElement>(null);
  const bids = useRef<HTMLDivElement>(null);
  const instrument = view.instrument.value;
  useEffect(() => {
    if (!frame.current || !asks.current || !bids.current) {
      return;
    }
    model.frame = frame.current;
    model.asks = new LadderSide(asks.current, "sell");
    model.bids = new LadderSide(bids.current, "buy");
    const observer = new ResizeObserver(() => {
      const height = asks.current?.clientHeight ?? 0;
      model.rowsPerSide.value = Math.max(1, Math.min(60, Math.floor(height / ROW_HEIGHT)));
    });
    observer.observe(asks.current);
    const forget = view.grid.subscribe(() => {
      model.asks?.reset();
      model.bids?.reset();
    });
    const stop = effect(() => model.paint());
    return () => {
      observer.disconnect();
      forget();
      stop();
    };
  }, [model]);
  const isDimmed = view.store.isStale.value;
  return (
    <div
      ref={frame}
      id="ladder"
      class={`ladder-grid ${isDimmed ? "dimmed" : ""}`}
      role="grid"
      tabIndex={0}
      aria-label="Order book. The arrow keys choose a price, Enter takes it over into the ticket"
      onClick={(event) => pickAt(model, event.target)}
      onKeyDown={(event) => moveCursor(model, frame.current, event)}
    >
      <div class="ladder-row ladder-names" role="row">
        <span role="columnheader">
          Price<span class="unit"> {instrument?.quoteAsset}</span>
        </span>
        <span role="columnheader" class="ladder-quantity">
          Size<span class="unit"> {instrument?.baseAsset}</span>
        </span>
        <span role="columnheader" class="ladder-total">
          Total
        </span>
      </div>
      <div ref={asks} class="ladder-side asks" role="rowgroup" />
      <div class="ladder-spread" role="row">
        <Spread />
      </div>
      <div ref={bids} class="ladder-side bids" role="rowgroup" />
    </div>
  );
}

function pickAt(model: LadderModel, target: EventTarget | null): void {
  if (!(target instanceof Element)) {
    return;
  }
  const ask = model.asks?.rowOf(target);
  const bid = model.bids?.rowOf(target);
  if (ask) {
    model.pick(ask, "sell");
  } else if (bid) {
    model.pick(bid, "buy");
  }
}

function moveCursor(model: LadderModel, frame: HTMLElement | null, event: KeyboardEvent): void {
  const rowAt = (cursor: number) =>
    cursor < 0 ? model.asks?.rowAt(-cursor - 1) : model.bids?.rowAt(cursor - 1);
  if (event.key === "Enter" || event.key === " ") {
    const chosen = rowAt(model.cursor);
    if (chosen) {
      model.pick(chosen.row, model.cursor < 0 ? "sell" : "buy");
    }
    event.preventDefault();
    return;
  }
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0) {
    return;
  }
  event.preventDefault();
  const next = model.cursor + step === 0 ? model.cursor + 2 * step : model.cursor + step;
  const chosen = rowAt(next);
  if (chosen) {
    frame?.querySelector(".ladder-row.active")?.classList.remove("active");
    chosen.element.classList.add("active");
    frame?.setAttribute("aria-activedescendant", chosen.element.id);
    model.cursor = next;
  }
}

function Spread() {
  const view = useView();
  const book = view.slow.book.value;
  const grid = view.grid.value;
  const instrument = view.instrument.value;
  const ticker = view.ticker.value;
  const last = view.slow.trades.value[0];
  const ask = book?.asks[0]?.priceTicks;
  const bid = book?.bids[0]?.priceTicks;
  const isKnown = grid && instrument && book?.symbol === instrument.symbol;
  const points =
    isKnown && ask !== undefined && bid !== undefined
      ? partsPerMillion(grid.price(ask), grid.price(bid))
      : null;
  const decimals = instrument ? priceDecimals(instrument) : undefined;
  return (
    <>
      <span role="gridcell" class={`spread-last ${last ? (last.side === "buy" ? "up" : "down") : ""}`}>
        {ticker?.last ? formatDecimal(ticker.last, decimals) : NOTHING}
      </span>
      <span role="gridcell" class="spread-size">
        Spread{" "}
        {isKnown && ask !== undefined && bid !== undefined
          ? formatDecimal(grid.price(ask - bid), decimals)
          : NOTHING}
        <span class="faint spread-share">
          {" "}
          {points === null ? "" : `${(Number(points) / 10000).toFixed(3)} %`}
        </span>
      </span>
    </>
  );
}

/** Says in words why the book can't be relied on or traded with. */
function MarketState() {
  const view = useView();
  const text = useComputed(() => stateWords(view)).value;
  return (
    <div class={`market-state ${text === null ? "" : "shown"}`} role="status">
      {text}
    </div>
  );
}

function stateWords({ store, instrument }: View): string | null {
  const book = store.book.value;
  if (book === null) {
    return "Waiting for the book.";
  }
  if (store.connection.value.state !== "open") {
    return "Not live. The book is as it was.";
  }
  if (store.isStale.value) {
    return "The book may be old. It comes back by itself.";
  }
  if (instrument.value?.isHalted) {
    return "Trading is halted. Orders can be cancelled.";
  }
  return book.asks.length + book.bids.length === 0
    ? "The book is empty. A limit order would be the first."
    : null;
}
