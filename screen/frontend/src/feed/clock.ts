/** An estimate of the exchange's clock, and how late its messages arrive.
 *
 * Invariant: only the monotonic clock (`performance.now()`) is used, so a change of the computer's
 * clock has no effect. The monotonic clock may stand still while a computer sleeps: `reset` then
 * forgets the estimate. A message from the future shows the same, and resets it too.
 *
 * The estimate is wrong by at most half of the fastest round trip, if clocks do not drift.
 */

import {
  CLOCK_BURST,
  CLOCK_BURST_PAUSE_MS,
  CLOCK_ERROR_MS_MAX,
  CLOCK_INTERVAL_MS,
  CLOCK_PAUSE_MS,
  CLOCK_SAMPLE_AGE_MS_MAX,
  CLOCK_SAMPLES_MAX,
  CLOCK_SETTLED_SAMPLES,
  CLOCK_SETTLING_MS,
  READ_MS_MAX,
} from "../limits.ts";
import type { Milliseconds } from "../model.ts";
import { pause, type Http } from "../http.ts";
import { object, whole } from "../wire.ts";

interface Sample {
  readonly offsetMs: number; // the exchange's time - monotonic time
  readonly roundTripMs: number;
  readonly takenAt: number; // monotonic
}

export class ExchangeClock {
  #samples: Sample[] = [];

  /** Add an answer of the exchange's clock. The other times are monotonic, in ms. */
  add(exchangeTime: Milliseconds, sentAt: number, receivedAt: number): void {
    const offsetMs = exchangeTime - (sentAt + receivedAt) / 2;
    this.#samples.push({ offsetMs, roundTripMs: receivedAt - sentAt, takenAt: receivedAt });
    this.#samples = this.#samples
      .filter((sample) => receivedAt - sample.takenAt <= CLOCK_SAMPLE_AGE_MS_MAX)
      .slice(-CLOCK_SAMPLES_MAX);
  }

  reset(): void {
    this.#samples = [];
  }

  /** There are enough samples that one of them was fast. */
  get isSettled(): boolean {
    return this.#samples.length >= CLOCK_SETTLED_SAMPLES;
  }

  /** Return the exchange's time at a monotonic time, or null if it is unknown. */
  timeAt(monotonic: number): Milliseconds | null {
    const best = this.#best();
    return best && monotonic + best.offsetMs;
  }

  /** Return how late a message is, in ms. Null if it is unknown.
   *
   * A message before its time disproves the estimate: it is forgotten, and the result is null.
   */
  lateness(sentAt: Milliseconds, receivedAt: number): number | null {
    const best = this.#best();
    if (best === null) {
      return null;
    }
    const late = receivedAt + best.offsetMs - sentAt;
    if (late < -(best.roundTripMs / 2 + CLOCK_ERROR_MS_MAX)) {
      this.reset();
      return null;
    }
    return Math.max(0, late);
  }

  #best(): Sample | null {
    return this.#samples.reduce<Sample | null>(
      (best, sample) => (best === null || sample.roundTripMs < best.roundTripMs ? sample : best),
      null,
    );
  }
}

/** Asks for the exchange's time: some times after `renew`, then every CLOCK_SETTLING_MS until there
 * are enough samples, then every CLOCK_INTERVAL_MS. */
export class ClockReader {
  readonly #http: Http;
  readonly #clock: ExchangeClock;
  #isReading = false;
  #lastAt = -Infinity;

  constructor(http: Http, clock: ExchangeClock) {
    this.#http = http;
    this.#clock = clock;
  }

  /** Read the clock if it is time to. Called every second. */
  tick(now: number): void {
    const wait =
      this.#clock.timeAt(now) === null
        ? CLOCK_PAUSE_MS
        : this.#clock.isSettled
          ? CLOCK_INTERVAL_MS
          : CLOCK_SETTLING_MS;
    if (now - this.#lastAt >= wait) {
      void this.#read(1);
    }
  }

  /** Read the clock several times, because a connection has opened. */
  renew(): void {
    void this.#read(CLOCK_BURST);
  }

  async #read(times: number): Promise<void> {
    if (this.#isReading) {
      return;
    }
    this.#isReading = true;
    try {
      for (let number = 0; number < times; number += 1) {
        const sentAt = performance.now();
        const answer = await this.#http.send("GET", "/time", null, READ_MS_MAX);
        this.#lastAt = performance.now();
        if (answer.status !== 200) {
          return;
        }
        this.#clock.add(whole(object(answer.body)["milliseconds"]), sentAt, this.#lastAt);
        await pause(CLOCK_BURST_PAUSE_MS);
      }
    } catch {
      // Not the exchange's answer. The next tick asks again.
    } finally {
      this.#isReading = false;
    }
  }
}
