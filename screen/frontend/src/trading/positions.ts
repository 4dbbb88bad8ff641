/** Positions and profit from fills, by average cost, in exact arithmetic.
 *
 * Invariant: what a position has cost and what it has realized sum to what was paid and received,
 * exactly. The cost of a part that is closed is rounded half to even to the smallest unit (the last
 * decimal of the tick times that of the lot), and the rest stays with the position.
 *
 * Fills of one instrument must come in the order of their trades.
 */

import { add, divideRounded, exact, fromSteps, round, toText, trim, type Grid } from "../exact.ts";
import type { Decimal, Fill, Milliseconds, Position } from "../model.ts";

/** The state after some fills. Units are the last decimals of tick and lot, and their product. */
export interface Account {
  readonly quantity: bigint; // negative: short
  readonly cost: bigint; // of the quantity: negative if short
  readonly realized: bigint;
}

export const EMPTY_ACCOUNT: Account = { quantity: 0n, cost: 0n, realized: 0n };

/** Return the account after one more fill. */
export function applyFill(account: Account, fill: Fill, { tick, lot }: Grid): Account {
  const price = round(exact(fill.price), tick.decimals).units;
  const unsigned = round(exact(fill.quantity), lot.decimals).units;
  const quantity = fill.side === "buy" ? unsigned : -unsigned;
  const before = account.quantity;
  if (before === 0n || before > 0n === quantity > 0n) {
    return { ...account, quantity: before + quantity, cost: account.cost + price * quantity };
  }
  const closed = magnitude(quantity) <= magnitude(before) ? -quantity : before;
  const closedCost = divideRounded(account.cost * closed, before);
  const opened = quantity + closed; // what goes beyond zero
  return {
    quantity: before + quantity,
    cost: account.cost - closedCost + price * opened,
    realized: account.realized + price * closed - closedCost,
  };
}

/** Return the position of an account. `last` is the last price, if there is one. */
export function positionOf(
  symbol: string,
  account: Account,
  { tick, lot }: Grid,
  last: Decimal | null,
  since: Milliseconds | null,
): Position {
  const decimals = tick.decimals + lot.decimals;
  const { quantity, cost, realized } = account;
  const value = last === null ? null : round(exact(last), tick.decimals).units * quantity;
  return {
    symbol,
    quantity: toText(trim({ units: quantity, decimals: lot.decimals })),
    averagePrice: quantity === 0n ? null : fromSteps(divideRounded(cost, quantity * tick.step), tick),
    realizedProfit: money(realized, decimals),
    unrealizedProfit: value === null ? null : money(value - cost, decimals),
    since,
  };
}

/** Return the sum of decimals as text. */
export function sum(values: readonly Decimal[]): Decimal {
  return toText(values.reduce((total, value) => add(total, exact(value)), { units: 0n, decimals: 0 }));
}

function money(units: bigint, decimals: number): Decimal {
  return toText(trim({ units, decimals }));
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value;
}
