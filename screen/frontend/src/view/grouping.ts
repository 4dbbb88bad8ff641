/** Groups the levels of a book into steps of several ticks. */

import type { Level, Side } from "../model.ts";

export interface Row {
  readonly priceTicks: bigint;
  readonly quantityLots: bigint;
  readonly cumulativeLots: bigint;
}

/** Return the group of a price: bids are rounded down and asks up, so a group is never better
 * than its prices. */
export function groupOf(priceTicks: bigint, step: bigint, side: Side): bigint {
  if (step === 1n) {
    return priceTicks;
  }
  const down = (priceTicks / step) * step;
  return side === "buy" || down === priceTicks ? down : down + step;
}

/** Return at most `rows` groups of the levels of one side, best first. */
export function groupLevels(levels: readonly Level[], step: bigint, side: Side, rows: number): Row[] {
  const grouped: Row[] = [];
  let price = 0n;
  let quantity = 0n;
  let cumulative = 0n;
  for (const level of levels) {
    const group = groupOf(level.priceTicks, step, side);
    if (quantity > 0n && group !== price) {
      grouped.push({ priceTicks: price, quantityLots: quantity, cumulativeLots: cumulative });
      if (grouped.length === rows) {
        return grouped;
      }
      quantity = 0n;
    }
    price = group;
    quantity += level.quantityLots;
    cumulative = level.cumulativeLots;
  }
  if (quantity > 0n) {
    grouped.push({ priceTicks: price, quantityLots: quantity, cumulativeLots: cumulative });
  }
  return grouped;
}

/** The steps that a person can choose from, in ticks. */
export function groupingSteps(bestTicks: bigint | null): readonly bigint[] {
  const steps: bigint[] = [1n];
  // A step of more than a hundredth of the price would leave a handful of rows.
  for (
    let power = 10n;
    steps.length < 6 && (bestTicks === null ? power <= 1000n : power * 100n <= bestTicks);
    power *= 10n
  ) {
    steps.push(power);
    if (power * 500n <= (bestTicks ?? 0n)) {
      steps.push(power * 5n);
    }
  }
  return steps;
}

/** Return how much of `whole` a part is, as a number from 0 to 1 that is exact enough to draw. */
export function share(part: bigint, whole: bigint): number {
  return whole === 0n ? 0 : Number((part * 4096n) / whole) / 4096;
}
