/** Exact decimals: text to whole ticks and lots and back, sums, products, and how they are shown.
 *
 * Invariant: no function converts a price, quantity or amount to a float. A value is a `Decimal`
 * (text), a bigint of ticks or lots, or an `Exact` (a bigint and its number of decimals).
 *
 * Costs are linear in the number of digits, which DECIMAL_DIGITS_MAX bounds.
 */

import { DECIMAL_DIGITS_MAX } from "./limits.ts";
import type { Decimal } from "./model.ts";

/** units / 10 ** decimals. */
export interface Exact {
  readonly units: bigint;
  readonly decimals: number;
}

/** A tick or lot size: step / 10 ** decimals. Prices and quantities are its multiples. */
export interface Size {
  readonly step: bigint; // in units of the last decimal
  readonly decimals: number;
}

const PATTERN = new RegExp(`^-?\\d{1,${DECIMAL_DIGITS_MAX}}(?:\\.\\d{1,${DECIMAL_DIGITS_MAX}})?$`);
const POWERS = Array.from({ length: 2 * DECIMAL_DIGITS_MAX }, (_, exponent) => 10n ** BigInt(exponent));

/** Return the value of a decimal text, or null if it is not one or has too many digits.
 *
 * Spaces, separators, exponents, a plus sign and a missing digit beside the point are not accepted.
 */
export function parseExact(text: string): Exact | null {
  if (!PATTERN.test(text)) {
    return null;
  }
  const point = text.indexOf(".");
  const units = point < 0 ? text : text.slice(0, point) + text.slice(point + 1);
  return { units: BigInt(units), decimals: point < 0 ? 0 : text.length - point - 1 };
}

/** Return the value of a text from the exchange. Raises RangeError if it is not a decimal. */
export function exact(text: string): Exact {
  const value = parseExact(text);
  if (value === null) {
    throw new RangeError(`not a decimal: ${text.slice(0, 80)}`);
  }
  return value;
}

/** Return a tick or lot size. Raises RangeError if it is not a positive decimal. */
export function sizeOf(text: Decimal): Size {
  const { units, decimals } = trim(exact(text));
  if (units <= 0n) {
    throw new RangeError(`not a size: ${text}`);
  }
  return { step: units, decimals };
}

/** Return how many steps of a size a text is, or null if it is no decimal or off the grid. */
export function toSteps(text: string, size: Size): bigint | null {
  const parsed = parseExact(text);
  if (parsed === null) {
    return null;
  }
  const value = parsed.decimals > size.decimals ? trim(parsed) : parsed;
  if (value.decimals > size.decimals) {
    return null;
  }
  const isScaled = value.decimals === size.decimals;
  const units = isScaled ? value.units : value.units * tenTo(size.decimals - value.decimals);
  if (size.step === 1n) {
    return units;
  }
  return units % size.step === 0n ? units / size.step : null;
}

/** Return steps as text, with all decimals of the size: 7015050 ticks of 0.01 are "70150.50". */
export function fromSteps(steps: bigint, size: Size): Decimal {
  return toText({ units: steps * size.step, decimals: size.decimals });
}

/** Return the text with all of its decimals, trailing zeros included. */
export function toText({ units, decimals }: Exact): Decimal {
  const sign = units < 0n ? "-" : "";
  const digits = String(units < 0n ? -units : units).padStart(decimals + 1, "0");
  const point = digits.length - decimals;
  const tail = decimals ? `.${digits.slice(point)}` : "";
  return (sign + digits.slice(0, point) + tail) as Decimal;
}

/** Return the same value without trailing zeros after the point. */
export function trim({ units, decimals }: Exact): Exact {
  while (decimals > 0 && units % 10n === 0n) {
    units /= 10n;
    decimals -= 1;
  }
  return { units, decimals };
}

export function add(a: Exact, b: Exact): Exact {
  const decimals = Math.max(a.decimals, b.decimals);
  return { units: unitsAt(a, decimals) + unitsAt(b, decimals), decimals };
}

export function subtract(a: Exact, b: Exact): Exact {
  return add(a, { units: -b.units, decimals: b.decimals });
}

export function multiply(a: Exact, b: Exact): Exact {
  return { units: a.units * b.units, decimals: a.decimals + b.decimals };
}

/** Return a number below, equal to or above 0, as a is below, equal to or above b. */
export function compare(a: Exact, b: Exact): number {
  const { units } = subtract(a, b);
  return units < 0n ? -1 : units > 0n ? 1 : 0;
}

/** Return numerator / denominator as a whole number, rounded half to even. */
export function divideRounded(numerator: bigint, denominator: bigint): bigint {
  if (denominator < 0n) {
    return divideRounded(-numerator, -denominator);
  }
  let quotient = numerator / denominator;
  let rest = numerator % denominator;
  if (rest < 0n) {
    quotient -= 1n;
    rest += denominator;
  }
  const twice = 2n * rest;
  const up = twice > denominator || (twice === denominator && quotient % 2n !== 0n);
  return up ? quotient + 1n : quotient;
}

/** Return the value with so many decimals, rounded half to even. */
export function round(value: Exact, decimals: number): Exact {
  if (value.decimals <= decimals) {
    return { units: unitsAt(value, decimals), decimals };
  }
  return { units: divideRounded(value.units, tenTo(value.decimals - decimals)), decimals };
}

/** The steps of one instrument: whole ticks and lots inside, decimals outside. */
export class Grid {
  readonly tick: Size;
  readonly lot: Size;

  constructor(tickSize: Decimal, lotSize: Decimal) {
    this.tick = sizeOf(tickSize);
    this.lot = sizeOf(lotSize);
  }

  /** Return the ticks of a price, or null if it is no decimal or off the grid. */
  ticks(price: string): bigint | null {
    return toSteps(price, this.tick);
  }

  /** Return the lots of a quantity, or null if it is no decimal or off the grid. */
  lots(quantity: string): bigint | null {
    return toSteps(quantity, this.lot);
  }

  /** Return the price without trailing zeros. */
  price(ticks: bigint): Decimal {
    return toText(trim(this.#value(ticks, this.tick)));
  }

  /** Return the quantity without trailing zeros. */
  quantity(lots: bigint): Decimal {
    return toText(trim(this.#value(lots, this.lot)));
  }

  #value(steps: bigint, size: Size): Exact {
    return { units: steps * size.step, decimals: size.decimals };
  }
}

/** Return the exact product of a price and a quantity, without trailing zeros. Raises RangeError. */
export function notional(price: Decimal, quantity: Decimal): Decimal {
  return toText(trim(multiply(exact(price), exact(quantity))));
}

/** Return the plain decimal of what a person typed, or null: " +.50 " is "0.5". */
export function parseDecimal(typed: string): Decimal | null {
  const [, sign = "", whole = "", tail = ""] = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(typed.trim()) ?? [];
  if (whole + tail === "") {
    return null;
  }
  const value = parseExact(`${sign === "-" ? "-" : ""}${whole || "0"}${tail === "" ? "" : `.${tail}`}`);
  return value && toText(trim(value));
}

/** Return the number with separators, for people: "1,234,567.80".
 *
 * With `decimals`, it is rounded or extended to so many. Text that is no decimal stays as it is.
 */
export function formatDecimal(text: string, decimals?: number): string {
  const parsed = parseExact(text);
  if (parsed === null) {
    return text;
  }
  const plain = toText(decimals === undefined ? parsed : round(parsed, decimals));
  const unsigned = plain.startsWith("-") ? plain.slice(1) : plain;
  const [whole = "", tail] = unsigned.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return (plain === unsigned ? "" : "-") + grouped + (tail === undefined ? "" : `.${tail}`);
}

/** Return the decimal text of a number whose source had at most 15 digits, without an exponent.
 *
 * Such a source is the only decimal of at most 15 digits that rounds to this double, and
 * JavaScript writes the shortest decimal that does. So the text is the source's value exactly.
 */
export function textOfNumber(value: number): Decimal {
  const text = String(value);
  const mark = text.indexOf("e");
  if (mark < 0) {
    return text as Decimal;
  }
  const [whole = "", tail = ""] = text.slice(0, mark).split(".");
  const exponent = Number(text.slice(mark + 1));
  const sign = whole.startsWith("-") ? "-" : "";
  const digits = (sign ? whole.slice(1) : whole) + tail;
  const point = digits.length - tail.length + exponent;
  if (point <= 0) {
    return `${sign}0.${"0".repeat(-point)}${digits}` as Decimal;
  }
  return (sign +
    digits.padEnd(point, "0").slice(0, point) +
    (digits.length > point ? `.${digits.slice(point)}` : "")) as Decimal;
}

function unitsAt(value: Exact, decimals: number): bigint {
  return value.units * tenTo(decimals - value.decimals);
}

function tenTo(exponent: number): bigint {
  return POWERS[exponent] ?? 10n ** BigInt(exponent);
}
