/** Publishes changes of signals at most once a frame, all of them together.
 *
 * Invariant: a task that was scheduled runs once, in the next frame, or after HIDDEN_FRAME_MS if the
 * browser paints nothing (a hidden page, or one in the background).
 */

import { batch } from "@preact/signals";
import { HIDDEN_FRAME_MS } from "../limits.ts";

export class Frames {
  readonly #tasks = new Set<() => void>();
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** Run the task in the next frame. Scheduling it again before then changes nothing. */
  schedule(task: () => void): void {
    this.#tasks.add(task);
    if (this.#timer === null) {
      const run = () => this.flush();
      this.#timer = setTimeout(run, HIDDEN_FRAME_MS);
      if (typeof requestAnimationFrame === "function") {
        this.#frame = requestAnimationFrame(run);
      }
    }
  }

  /** Run what is scheduled now. */
  flush(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (typeof cancelAnimationFrame === "function") {
      cancelAnimationFrame(this.#frame);
    }
    const tasks = [...this.#tasks];
    this.#tasks.clear();
    batch(() => {
      for (const task of tasks) {
        try {
          task();
        } catch (error) {
          console.error("can't publish:", error); // The other tasks still run.
        }
      }
    });
  }
}
