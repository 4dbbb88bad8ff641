/** Puts the labels of lines that are close to each other side by side. */

const LABEL_HEIGHT = 22;
/** Further labels overlap, as there is no room for them. */
const LANES_MAX = 4;

/** Return a lane for each height in pixels, counted from 0. A null is not shown: its lane is 0. */
export function lanesOf(heights: readonly (number | null)[]): number[] {
  const lanes = heights.map(() => 0);
  const lowest = new Array<number>(LANES_MAX).fill(Number.NEGATIVE_INFINITY); // by lane
  const shown = heights.flatMap((y, index) => (y === null ? [] : [{ y, index }]));
  for (const { y, index } of shown.sort((one, other) => one.y - other.y)) {
    const lane = Math.max(
      0,
      lowest.findIndex((last) => y - last >= LABEL_HEIGHT),
    );
    lowest[lane] = y;
    lanes[index] = lane;
  }
  return lanes;
}
