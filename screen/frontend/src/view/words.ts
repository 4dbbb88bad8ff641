/** The words of the screen for what the exchange says, and what a person can do next. */

import { formatDecimal } from "../exact.ts";
import type {
  Order,
  OrderStatus,
  OrderType,
  Problem,
  SelfTradePrevention,
  Side,
  TimeInForce,
} from "../model.ts";

export const SIDE_WORDS: Record<Side, string> = { buy: "Buy", sell: "Sell" };

export const TYPE_WORDS: Record<OrderType, string> = {
  limit: "Limit",
  market: "Market",
  stop: "Stop",
  stop_limit: "Stop limit",
  take_profit: "Take profit",
  take_profit_limit: "Take profit limit",
};

export const TIME_IN_FORCE_WORDS: Record<TimeInForce, string> = {
  gtc: "Until cancelled (GTC)",
  ioc: "Now or not at all, in part (IOC)",
  fok: "Now and whole, or not at all (FOK)",
  gtd: "Until a time (GTD)",
};

export const SELF_TRADE_WORDS: Record<SelfTradePrevention, string> = {
  none: "Allowed",
  cancel_taker: "Cancel the new order",
  cancel_maker: "Cancel the resting order",
  cancel_both: "Cancel both",
  decrement: "Take off both (decrement)",
};

export const STATUS_WORDS: Record<OrderStatus, string> = {
  pending: "Waiting",
  open: "Open",
  partially_filled: "Partly filled",
  filled: "Filled",
  cancelled: "Cancelled",
  rejected: "Rejected",
};

const REASON_WORDS: Record<string, string> = {
  client_request: "by you",
  operator: "by an operator of the exchange",
  no_liquidity: "the other side of the book was empty",
  too_many_trades: "it met more resting orders than one order may; send another for the rest",
  too_many_orders: "you have as many open orders as are allowed; cancel some first",
  too_many_levels: "the book has too many prices; use a price at which orders rest",
  unfilled_ioc: "what could not be filled at once",
  unfilled_fok: "it could not be filled whole",
  expired: "its time has come",
  self_trade: "it met your own order",
  cancel_after: "your dead man's switch ran out",
  disconnected: "its connection ended",
  instrument_halted: "trading was halted; try again when it resumes",
  would_cross: "post-only, but it would have traded; use a price further away",
  would_trigger: "the last price meets the trigger already; use another trigger price",
};

/** Return why an order ended, or null. */
export function reasonWords(reason: string | null): string | null {
  return reason === null ? null : (REASON_WORDS[reason] ?? reason.replaceAll("_", " "));
}

/** Return the status with its reason: "Cancelled: by you". */
export function statusWords(order: Order): string {
  const reason = reasonWords(order.reason);
  return reason === null ? STATUS_WORDS[order.status] : `${STATUS_WORDS[order.status]}: ${reason}`;
}

const NEXT_STEPS: Record<string, string> = {
  invalid_request: "Correct it and send it again.",
  order_not_open: "It is filled or cancelled already: see History.",
  order_not_found: "It does not exist for this name: check who you are.",
  instrument_halted: "Trading is halted. You can cancel orders; try again when it resumes.",
  rate_limited: "You have sent too many orders. Wait a moment and try again.",
  unavailable: "The exchange is not taking orders at the moment. Try again in a few seconds.",
  outcome_unknown: "Nobody knows yet whether it was done. Look at your open orders before you send another.",
  internal_error: "The exchange had an error. Look at your open orders before you try again.",
  idempotency_key_reused: "This click was already used for another order. Send it again.",
  amend_refused: "The order stays as it was. Try another price or quantity, or cancel it.",
};

/** Return what happened and what to do next. Messages of fields in `shown` are left out, because
 * they stand at these fields. */
export function problemWords(problem: Problem, shown: readonly string[] = []): string {
  const next = NEXT_STEPS[problem.code] ?? sentence(REASON_WORDS[problem.code] ?? "try again");
  const message = problem.message.trim().replace(/([^.!?])$/, "$1.");
  const others = Object.entries(problem.fields).filter(
    ([field, messages]) => !shown.includes(field) && messages.length > 0,
  );
  const details = others.map(([field, messages]) => `${FIELD_WORDS[field] ?? field}: ${messages.join(" ")}`);
  return [message, ...details, next].filter((each) => each !== "").join(" ");
}

function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

const FIELD_WORDS: Record<string, string> = {
  price: "Price",
  trigger_price: "Trigger price",
  quantity: "Quantity",
  time_in_force: "Time in force",
  expires_at: "Expiry",
  post_only: "Post-only",
  self_trade_prevention: "Self-trade",
  client_id: "Name",
  instrument: "Instrument",
  body: "Order",
};

/** Return the server's message for a field, or null. */
export function fieldProblem(problem: Problem | null, field: string): string | null {
  const messages = problem?.fields[field];
  return messages?.length ? messages.join(" ") : null;
}

/** Return an order in a few words: "Buy 0.5 at 70,000". */
export function orderWords(order: Order): string {
  const price = order.price ?? order.triggerPrice;
  const at = price === null ? "" : ` ${order.price === null ? "from" : "at"} ${formatDecimal(price)}`;
  return `${SIDE_WORDS[order.side]} ${formatDecimal(order.remainingQuantity)}${at}`;
}
