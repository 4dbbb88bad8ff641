/** What the order would do and cost if it reached the book as it is now. */

import { formatDecimal, notional, type Grid } from "../exact.ts";
import type { Decimal, OrderRequest, OrderType, Side } from "../model.ts";
import { compareDecimals, priceDecimals } from "./decimals.ts";
import {
  allowsSelfTrade,
  estimateFill,
  hasLimit,
  hasTrigger,
  triggersAbove,
  type Estimate,
} from "./estimate.ts";
import { NOTHING } from "./format.ts";
import type { TicketProps } from "./ticket.tsx";

export function EstimateBox({ state, instrument }: TicketProps) {
  const isWaiting = hasTrigger(state.form.value.type);
  return (
    <div class="estimate">
      {isWaiting ? (
        <WhenTriggered state={state} instrument={instrument} />
      ) : (
        <InTheBook state={state} instrument={instrument} />
      )}
    </div>
  );
}

/** What an order does that meets the book at once. */
function InTheBook({ state, instrument }: TicketProps) {
  const { view } = state;
  const book = view.slow.book.value;
  const request = state.checked.value?.request ?? null;
  const grid = view.grid.value;
  const isKnown = grid !== null && book?.symbol === instrument.symbol;
  const estimate =
    request && isKnown ? estimateOf(request, grid, request.side === "buy" ? book.asks : book.bids) : null;
  const decimals = priceDecimals(instrument);
  const price = (ticks: bigint | null | undefined): string =>
    ticks == null || !grid ? NOTHING : formatDecimal(grid.price(ticks), decimals);
  const rest = estimate && grid ? formatDecimal(grid.quantity(estimate.remainingLots)) : NOTHING;
  return (
    <>
      <p class="estimate-title">
        {view.store.isStale.value ? "In the last known book, which may be old" : "In the book as it is now"}
      </p>
      <dl>
        <Line name="Fills at once" value={estimate && grid ? fillWords(estimate, grid) : NOTHING} />
        <Line name="Average price" value={price(estimate?.averageTicks)} />
        <Line name="Worst price" value={price(estimate?.worstTicks)} />
        <Line name={remainderName(estimate)} value={rest} />
        <Line
          name={valueName(state.form.value.side)}
          value={valueOf(request, estimate, grid, instrument.quoteAsset, decimals)}
          isStrong
        />
      </dl>
      {request && grid && estimate ? <Notes notes={notesOf(state, request, estimate, grid)} /> : null}
    </>
  );
}

/** What an order does that waits. Nobody knows the book at that time, so its own prices count. */
function WhenTriggered({ state, instrument }: TicketProps) {
  const { type, side } = state.form.value;
  const request = state.checked.value?.request ?? null;
  const last = state.view.ticker.value?.last;
  const decimals = priceDecimals(instrument);
  const trigger = request?.trigger_price;
  const price = request?.price ?? trigger;
  const isMet = trigger && last ? meetsTrigger(type, side, last, trigger) : false;
  return (
    <>
      <p class="estimate-title">Waits outside of the book, then trades as it is then</p>
      <dl>
        <Line
          name={triggersAbove(type, side) ? "Triggered at or above" : "Triggered at or below"}
          value={trigger ? formatDecimal(trigger, decimals) : NOTHING}
        />
        <Line
          name="Then"
          value={request?.price ? `Limit at ${formatDecimal(request.price, decimals)}` : "At market"}
        />
        <Line
          name={`${valueName(side)} at ${hasLimit(type) ? "the limit" : "the trigger"}`}
          value={
            request && price
              ? `${formatDecimal(notional(price, request.quantity), Math.max(2, decimals))} ${instrument.quoteAsset}`
              : NOTHING
          }
          isStrong
        />
      </dl>
      {isMet ? (
        <Notes
          notes={["The last price meets this trigger already, so the exchange would reject the order."]}
        />
      ) : null}
    </>
  );
}

function meetsTrigger(type: OrderType, side: Side, last: Decimal, trigger: Decimal): boolean {
  const order = compareDecimals(last, trigger);
  return triggersAbove(type, side) ? order >= 0 : order <= 0;
}

function valueName(side: Side): string {
  return side === "sell" ? "Proceeds" : "Cost";
}

function Notes({ notes }: { readonly notes: readonly string[] }) {
  return (
    <>
      {notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
    </>
  );
}

function fillWords({ filledLots, levels }: Estimate, grid: Grid): string {
  const quantity = formatDecimal(grid.quantity(filledLots));
  return levels === 0 ? quantity : `${quantity} in ${levels} ${levels === 1 ? "level" : "levels"}`;
}

function Line({
  name,
  value,
  isStrong = false,
}: {
  readonly name: string;
  readonly value: string;
  readonly isStrong?: boolean;
}) {
  return (
    <div class={isStrong ? "strong" : ""}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function remainderName(estimate: Estimate | null): string {
  return estimate === null || estimate.outcome === "fills" || estimate.outcome === "rests"
    ? "Rests"
    : estimate.outcome === "would_cross"
      ? "Refused"
      : "Cancelled";
}

function estimateOf(
  request: OrderRequest,
  grid: Grid,
  otherSide: Parameters<typeof estimateFill>[1],
): Estimate | null {
  const quantityLots = grid.lots(request.quantity);
  const limitTicks = request.price === undefined ? null : grid.ticks(request.price);
  if (quantityLots === null) {
    return null;
  }
  const question = {
    side: request.side,
    quantityLots,
    limitTicks,
    timeInForce: request.time_in_force ?? "gtc",
    postOnly: request.post_only ?? false,
  };
  return estimateFill(question, otherSide);
}

/** The fills at their prices, and what rests at its own. */
function valueOf(
  request: OrderRequest | null,
  estimate: Estimate | null,
  grid: Grid | null,
  quote: string,
  decimals: number,
): string {
  if (!request || !estimate || !grid) {
    return NOTHING;
  }
  const limit = request.price === undefined ? null : grid.ticks(request.price);
  const resting = estimate.outcome === "rests" && limit !== null ? estimate.remainingLots * limit : 0n;
  const value: Decimal = notional(grid.price(estimate.costTickLots + resting), grid.quantity(1n));
  return `${formatDecimal(value, Math.max(2, decimals))} ${quote}`;
}

/** Return what a person may not expect of this order. */
function notesOf(
  state: TicketProps["state"],
  request: OrderRequest,
  estimate: Estimate,
  grid: Grid,
): string[] {
  const notes: string[] = [];
  const { view } = state;
  if (estimate.outcome === "would_cross") {
    notes.push(
      "It would trade at once, so the exchange would reject it as post-only. Use a price further away.",
    );
  } else if (estimate.outcome === "cancels_all") {
    notes.push(
      request.time_in_force === "fok"
        ? "It can't be filled whole, so it would be cancelled."
        : "Nothing would fill, so it would be cancelled.",
    );
  } else if (estimate.outcome === "cancels_rest") {
    notes.push("The book does not hold enough: the remainder would be cancelled.");
  }
  if (estimate.worstTicks !== null && meetsOwnOrders(view, request, estimate.worstTicks, grid)) {
    const prevention =
      request.self_trade_prevention ?? view.instrument.peek()?.selfTradePrevention[0] ?? "none";
    notes.push(
      allowsSelfTrade(prevention)
        ? "It would trade with your own order."
        : "It would meet your own order: self-trade prevention changes what fills.",
    );
  }
  return notes;
}

function meetsOwnOrders(
  view: TicketProps["state"]["view"],
  request: OrderRequest,
  worst: bigint,
  grid: Grid,
): boolean {
  return view.store.openOrders.peek().some((order) => {
    const isOther =
      order.symbol === request.instrument &&
      order.side !== request.side &&
      order.status !== "pending" &&
      hasLimit(order.type);
    const ticks = isOther && order.price ? grid.ticks(order.price) : null;
    return ticks !== null && (request.side === "buy" ? ticks <= worst : ticks >= worst);
  });
}
