/** Comparisons and scales of decimals. They use whole numbers, never floats. */

import type { Decimal, Instrument } from "../model.ts";

/** Return how many decimals a number is written with: 2 for "0.01". */
export function decimalsOf(value: Decimal): number {
  const point = value.indexOf(".");
  return point < 0 ? 0 : value.length - point - 1;
}

function units(value: Decimal, decimals: number): bigint {
  const isNegative = value.startsWith("-");
  const [whole = "", fraction = ""] = value.replace(/^[+-]/, "").split(".");
  const size = BigInt(whole + fraction.padEnd(decimals, "0"));
  return isNegative ? -size : size;
}

/** Return a negative number if a < b, 0 if they are equal and a positive number if a > b. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const decimals = Math.max(decimalsOf(a), decimalsOf(b));
  const first = units(a, decimals);
  const second = units(b, decimals);
  return first < second ? -1 : first > second ? 1 : 0;
}

export function sumDecimals(a: Decimal, b: Decimal): Decimal {
  const decimals = Math.max(decimalsOf(a), decimalsOf(b));
  return textOfUnits(units(a, decimals) + units(b, decimals), decimals);
}

/** Return how much more `a` is than `b`, in millionths of `b`, rounded towards 0. */
export function partsPerMillion(a: Decimal, b: Decimal): bigint | null {
  const decimals = Math.max(decimalsOf(a), decimalsOf(b));
  const base = units(b, decimals);
  return base === 0n ? null : ((units(a, decimals) - base) * 1_000_000n) / base;
}

function textOfUnits(value: bigint, decimals: number): Decimal {
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, "0");
  const text = decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits;
  return (value < 0n ? `-${text}` : text) as Decimal;
}

export function isNegative(value: Decimal): boolean {
  return value.startsWith("-") && !isZero(value);
}

export function isZero(value: Decimal): boolean {
  return !/[1-9]/.test(value);
}

export function priceDecimals(instrument: Instrument): number {
  return decimalsOf(instrument.tickSize);
}

/** Return how many decimals of a quantity the screen shows where space is scarce. */
export function shownQuantityDecimals(instrument: Instrument): number {
  return Math.min(decimalsOf(instrument.lotSize), 4);
}

/** Return how many times `b` > 0 goes into `a` >= 0. */
export function divideDown(a: Decimal, b: Decimal): bigint {
  const decimals = Math.max(decimalsOf(a), decimalsOf(b));
  return units(a, decimals) / units(b, decimals);
}

/** Return the number without its sign. */
export function absolute(value: Decimal): Decimal {
  return value.replace(/^[+-]/, "") as Decimal;
}
