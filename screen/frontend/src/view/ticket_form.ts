/** What the ticket's fields hold, and whether the exchange would take it. */

import { Grid, formatDecimal, notional, parseDecimal } from "../exact.ts";
import type {
  Decimal,
  Instrument,
  OrderRequest,
  OrderType,
  SelfTradePrevention,
  Side,
  TimeInForce,
} from "../model.ts";
import { compareDecimals, isNegative, isZero } from "./decimals.ts";
import { hasLimit, hasTrigger } from "./estimate.ts";
import { TYPE_WORDS } from "./words.ts";

export interface Form {
  readonly side: Side;
  readonly type: OrderType;
  readonly price: string;
  readonly triggerPrice: string;
  readonly quantity: string;
  readonly timeInForce: TimeInForce;
  /** A local time as `<input type="datetime-local">` has it. */
  readonly expiresAt: string;
  readonly postOnly: boolean;
  /** Null: the instrument's default. */
  readonly selfTradePrevention: SelfTradePrevention | null;
}

export const EMPTY_FORM: Form = {
  side: "buy",
  type: "limit",
  price: "",
  triggerPrice: "",
  quantity: "",
  timeInForce: "gtc",
  expiresAt: "",
  postOnly: false,
  selfTradePrevention: null,
};

/** The request's fields at which the ticket shows errors. */
export const TICKET_FIELDS = [
  "price",
  "trigger_price",
  "quantity",
  "time_in_force",
  "expires_at",
  "post_only",
  "self_trade_prevention",
] as const;

/** Messages by the name of the request's field. */
export type FieldErrors = Readonly<Partial<Record<(typeof TICKET_FIELDS)[number], string>>>;

export interface Checked {
  readonly errors: FieldErrors;
  /** Null if there are errors. */
  readonly request: OrderRequest | null;
}

const EXPIRY_DAYS_MAX = 400;

/** Return the times in force that a type takes and the instrument supports. */
export function timesInForceOf(type: OrderType, instrument: Instrument): readonly TimeInForce[] {
  const fitting: readonly TimeInForce[] = hasLimit(type) ? ["gtc", "ioc", "fok", "gtd"] : ["ioc", "fok"];
  return fitting.filter((each) => instrument.timesInForce.includes(each));
}

/** Return the form with the instructions that its type and instrument do not take changed. */
export function fitForm(form: Form, instrument: Instrument): Form {
  const type = instrument.orderTypes.includes(form.type) ? form.type : (instrument.orderTypes[0] ?? "limit");
  const times = timesInForceOf(type, instrument);
  const timeInForce = times.includes(form.timeInForce) ? form.timeInForce : (times[0] ?? "gtc");
  const postOnly = form.postOnly && takesPostOnly(type, timeInForce);
  const prevention = form.selfTradePrevention;
  const isKnown = prevention !== null && instrument.selfTradePrevention.includes(prevention);
  return { ...form, type, timeInForce, postOnly, selfTradePrevention: isKnown ? prevention : null };
}

export function takesPostOnly(type: OrderType, timeInForce: TimeInForce): boolean {
  return hasLimit(type) && (timeInForce === "gtc" || timeInForce === "gtd");
}

/** Check a form as the exchange would. `now` is in milliseconds since 1970. */
export function checkForm(form: Form, instrument: Instrument, now: number): Checked {
  const errors: Record<string, string> = {};
  const words = TYPE_WORDS[form.type].toLowerCase();
  const price = hasLimit(form.type)
    ? readField(form.price, errors, "price", `A ${words} order needs a price.`, (value) =>
        priceError(value, instrument),
      )
    : null;
  const triggerPrice = hasTrigger(form.type)
    ? readField(
        form.triggerPrice,
        errors,
        "trigger_price",
        `A ${words} order needs a trigger price.`,
        (value) => priceError(value, instrument),
      )
    : null;
  const quantity = readField(form.quantity, errors, "quantity", "Enter a quantity.", (value) =>
    quantityError(value, instrument),
  );
  const tooSmall = price && quantity ? notionalError(price, quantity, instrument) : null;
  if (tooSmall) {
    errors.quantity = tooSmall;
  }
  const expiresAt = form.timeInForce === "gtd" ? readExpiry(form.expiresAt, now, errors) : null;
  if (form.postOnly && !takesPostOnly(form.type, form.timeInForce)) {
    errors.post_only = "Only a limit order that may rest, with GTC or GTD, can be post-only.";
  }
  if (Object.keys(errors).length > 0 || quantity === null) {
    return { errors, request: null };
  }
  return { errors, request: requestOf(form, instrument, { price, triggerPrice, quantity, expiresAt }) };
}

interface Values {
  readonly price: Decimal | null;
  readonly triggerPrice: Decimal | null;
  readonly quantity: Decimal;
  readonly expiresAt: string | null;
}

function requestOf(form: Form, instrument: Instrument, values: Values): OrderRequest {
  return {
    instrument: instrument.symbol,
    side: form.side,
    type: form.type,
    quantity: values.quantity,
    time_in_force: form.timeInForce,
    ...(values.price === null ? {} : { price: values.price }),
    ...(values.triggerPrice === null ? {} : { trigger_price: values.triggerPrice }),
    ...(values.expiresAt === null ? {} : { expires_at: values.expiresAt }),
    ...(form.postOnly ? { post_only: true } : {}),
    ...(form.selfTradePrevention === null ? {} : { self_trade_prevention: form.selfTradePrevention }),
  };
}

function readField(
  text: string,
  errors: Record<string, string>,
  name: string,
  missing: string,
  check: (value: Decimal) => string | null,
): Decimal | null {
  if (text.trim() === "") {
    errors[name] = missing;
    return null;
  }
  const value = parseDecimal(text.trim());
  const error = value === null ? "Enter a number such as 1234.5, without commas." : check(value);
  if (error !== null) {
    errors[name] = error;
    return null;
  }
  return value;
}

/** Return why a price is refused, or null. */
export function priceError(value: Decimal, instrument: Instrument): string | null {
  const grid = new Grid(instrument.tickSize, instrument.lotSize);
  return (
    rangeError(value, instrument.minPrice, instrument.maxPrice) ??
    (grid.ticks(value) === null ? `Must be a multiple of ${instrument.tickSize}.` : null)
  );
}

/** Return why a quantity is refused, or null. */
export function quantityError(value: Decimal, instrument: Instrument): string | null {
  const grid = new Grid(instrument.tickSize, instrument.lotSize);
  return (
    rangeError(value, instrument.minQuantity, instrument.maxQuantity) ??
    (grid.lots(value) === null ? `Must be a multiple of ${instrument.lotSize}.` : null)
  );
}

/** Return why price times quantity is refused, or null. */
export function notionalError(price: Decimal, quantity: Decimal, instrument: Instrument): string | null {
  const least = instrument.minNotional;
  const value = notional(price, quantity);
  if (least === null || compareDecimals(value, least) >= 0) {
    return null;
  }
  const words = `at least ${formatDecimal(least)} ${instrument.quoteAsset}, but is ${formatDecimal(value)}`;
  return `Price × quantity must be ${words}.`;
}

function rangeError(value: Decimal, least: Decimal, most: Decimal): string | null {
  if (isZero(value) || isNegative(value)) {
    return "Must be above zero.";
  }
  if (compareDecimals(value, least) < 0) {
    return `Must be at least ${formatDecimal(least)}.`;
  }
  return compareDecimals(value, most) > 0 ? `Must be at most ${formatDecimal(most)}.` : null;
}

function readExpiry(text: string, now: number, errors: Record<string, string>): string | null {
  const time = text === "" ? Number.NaN : new Date(text).getTime();
  if (Number.isNaN(time)) {
    errors.expires_at = "Choose when the order expires.";
  } else if (time <= now) {
    errors.expires_at = "Must be in the future.";
  } else if (time > now + EXPIRY_DAYS_MAX * 86_400_000) {
    errors.expires_at = `Must be at most ${EXPIRY_DAYS_MAX} days ahead.`;
  } else {
    return new Date(time).toISOString();
  }
  return null;
}

/** Return the text of a local time for `<input type="datetime-local">`. */
export function localInputTime(time: number): string {
  const date = new Date(time);
  return new Date(time - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
