/** What an order would do if it reached the book as it is now. All arithmetic is exact. */

import type { Level, OrderType, SelfTradePrevention, Side, TimeInForce } from "../model.ts";

export interface Question {
  readonly side: Side;
  readonly quantityLots: bigint;
  /** Null: at any price. */
  readonly limitTicks: bigint | null;
  readonly timeInForce: TimeInForce;
  readonly postOnly: boolean;
}

export interface Estimate {
  readonly filledLots: bigint;
  readonly remainingLots: bigint;
  /** The sum of ticks * lots of the fills. */
  readonly costTickLots: bigint;
  /** Rounded against the client: up for a buy, down for a sell. Null without a fill. */
  readonly averageTicks: bigint | null;
  readonly worstTicks: bigint | null;
  readonly levels: number;
  /** What becomes of the remainder, or of the whole order. */
  readonly outcome: "fills" | "rests" | "cancels_rest" | "cancels_all" | "would_cross";
}

/** Walk through the other side of the book, best first. */
export function estimateFill(question: Question, otherSide: readonly Level[]): Estimate {
  let remaining = question.quantityLots;
  let cost = 0n;
  let levels = 0;
  let worst: bigint | null = null;
  for (const level of otherSide) {
    if (remaining === 0n || !reaches(question, level.priceTicks)) {
      break;
    }
    const lots = level.quantityLots < remaining ? level.quantityLots : remaining;
    remaining -= lots;
    cost += lots * level.priceTicks;
    worst = level.priceTicks;
    levels += 1;
  }
  const filled = question.quantityLots - remaining;
  const estimate: Estimate = {
    filledLots: filled,
    remainingLots: remaining,
    costTickLots: cost,
    averageTicks: filled === 0n ? null : average(cost, filled, question.side),
    worstTicks: worst,
    levels,
    outcome: outcomeOf(question, filled, remaining),
  };
  const isNothing = estimate.outcome === "would_cross" || estimate.outcome === "cancels_all";
  return isNothing
    ? {
        ...estimate,
        filledLots: 0n,
        remainingLots: question.quantityLots,
        costTickLots: 0n,
        averageTicks: null,
        worstTicks: null,
        levels: 0,
      }
    : estimate;
}

function reaches(question: Question, priceTicks: bigint): boolean {
  const limit = question.limitTicks;
  if (limit === null) {
    return true;
  }
  return question.side === "buy" ? priceTicks <= limit : priceTicks >= limit;
}

function average(cost: bigint, lots: bigint, side: Side): bigint {
  const down = cost / lots;
  return side === "buy" && cost % lots !== 0n ? down + 1n : down;
}

function outcomeOf(question: Question, filled: bigint, remaining: bigint): Estimate["outcome"] {
  if (question.postOnly && filled > 0n) {
    return "would_cross";
  }
  if (remaining === 0n) {
    return "fills";
  }
  if (question.timeInForce === "fok") {
    return "cancels_all";
  }
  const rests = question.limitTicks !== null && question.timeInForce !== "ioc";
  return rests ? "rests" : filled === 0n ? "cancels_all" : "cancels_rest";
}

export function hasLimit(type: OrderType): boolean {
  return type === "limit" || type === "stop_limit" || type === "take_profit_limit";
}

export function hasTrigger(type: OrderType): boolean {
  return type !== "limit" && type !== "market";
}

/** Return whether an order waits for a trade at or above its trigger price (else: at or below). */
export function triggersAbove(type: OrderType, side: Side): boolean {
  const isStop = type === "stop" || type === "stop_limit";
  return isStop === (side === "buy");
}

/** Return whether the client's own orders may be traded with. */
export function allowsSelfTrade(prevention: SelfTradePrevention): boolean {
  return prevention === "none";
}
