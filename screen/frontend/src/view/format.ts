/** Text for people: numbers with aligned decimals, local times. */

import { formatDecimal } from "../exact.ts";
import type { Decimal, Milliseconds } from "../model.ts";
import { isNegative, isZero } from "./decimals.ts";

export const NOTHING = "–";

export function formatOrNothing(value: Decimal | null | undefined, decimals?: number): string {
  return value == null ? NOTHING : formatDecimal(value, decimals);
}

/** Format with an explicit sign, which says what colour says too. */
export function formatSigned(value: Decimal, decimals?: number): string {
  const text = formatDecimal(value, decimals);
  if (isZero(value)) {
    return text.replace("-", "");
  }
  return isNegative(value) ? text.replace("-", "−") : `+${text}`;
}

/** Return the class that colours a gain or a loss. */
export function toneOf(value: Decimal | null | undefined): string {
  if (value == null || isZero(value)) {
    return "";
  }
  return isNegative(value) ? "down" : "up";
}

/** Shorten a large volume: "1.23M". Only for display, so the digits left out do not matter. */
export function formatVolume(value: Decimal): string {
  const [whole = "0", fraction = ""] = value.split(".");
  for (const [digits, unit] of [
    [9, "B"],
    [6, "M"],
  ] as const) {
    if (whole.length > digits) {
      return `${formatDecimal(whole.slice(0, -digits) as Decimal)}.${whole.slice(-digits).slice(0, 2)}${unit}`;
    }
  }
  const decimals = Math.max(0, 5 - whole.length);
  return formatDecimal(`${whole}.${fraction.slice(0, decimals) || "0"}` as Decimal, decimals);
}

const floats = new Map<number, Intl.NumberFormat>();

/** Format a number of the chart. */
export function formatFloat(value: number, decimals: number): string {
  let format = floats.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    floats.set(decimals, format);
  }
  return format.format(value);
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

/** Return a local time with seconds. */
export function formatTime(time: Milliseconds): string {
  return clock.format(time);
}

/** Return a local time with seconds, and the day if it is not today. */
export function formatWhen(time: Milliseconds): string {
  const isToday = new Date(time).toDateString() === new Date().toDateString();
  return isToday ? clock.format(time) : dayAndClock.format(time);
}

/** Return a duration: "0.8 ms", "12 ms", "3.4 s". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds >= 10000) {
    return `${Math.round(milliseconds / 1000)} s`;
  }
  if (milliseconds >= 1000) {
    return `${(milliseconds / 1000).toFixed(1)} s`;
  }
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}
