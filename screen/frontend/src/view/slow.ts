/** Signals that follow others at a readable pace, and so spare the browser most of the drawing. */

import { signal, type ReadonlySignal } from "@preact/signals";

/** Return a signal that follows `source`, at most once in `milliseconds`. It lives as long as the
 * page. */
export function slowly<Value>(source: ReadonlySignal<Value>, milliseconds: number): ReadonlySignal<Value> {
  const target = signal(source.peek());
  let timer: ReturnType<typeof setTimeout> | null = null;
  let last = Number.NEGATIVE_INFINITY;
  const take = (): void => {
    timer = null;
    last = performance.now();
    target.value = source.peek();
  };
  source.subscribe(() => {
    const wait = last + milliseconds - performance.now();
    if (timer === null && wait <= 0) {
      take();
    } else {
      timer ??= setTimeout(take, wait);
    }
  });
  return target;
}
