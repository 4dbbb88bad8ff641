/** The client's fills, newest first, and the positions that they make.
 *
 * Fills come from `GET /fills`, from `order_update` and from answers to orders. Invariants: each fill
 * counts once (a trade of a client with itself is two fills, of two orders); positions are those of
 * all fills in the order of their trades, or of the latest POSITION_FILLS_MAX when the client was
 * chosen: then `since` says from when. More fills that come later are added to the positions, and
 * only the latest are kept as rows.
 */

import { signal } from "@preact/signals";
import { Grid } from "../exact.ts";
import type { Frames } from "../feed/frames.ts";
import { problemOfError, type Http } from "../http.ts";
import { FILLS_OVERLAP_MS, FILLS_PAGE, FILLS_SHOWN_MAX, POSITION_FILLS_MAX, ROWS_PAGE } from "../limits.ts";
import type { Decimal, Fill, Instrument, Milliseconds, Pages, Position, Problem } from "../model.ts";
import { fillOf, list } from "../wire.ts";
import { applyFill, EMPTY_ACCOUNT, positionOf, type Account } from "./positions.ts";

const EMPTY: Pages<Fill> = { rows: [], isLoading: false, hasMore: false, problem: null };

export interface FillsOptions {
  readonly http: Http;
  readonly frames: Frames;
  readonly instruments: () => readonly Instrument[];
  readonly lastPrice: (symbol: string) => Decimal | null;
}

export class Fills {
  readonly pages = signal<Pages<Fill>>(EMPTY);
  readonly positions = signal<readonly Position[]>([]);
  readonly #options: FillsOptions;
  #client = "";
  #generation = 0; // counts clients, so that an old answer is recognized
  #fills: Fill[] = []; // oldest first, unless `#isSorted` is false
  #keys = new Set<string>();
  #isSorted = true;
  #foldedLast: Fill | null = null; // fills up to this one are in `#folded`, and not kept
  #folded = new Map<string, Account>();
  #accounts = new Map<string, Account>();
  #gridsOf: readonly Instrument[] = [];
  #grids: ReadonlyMap<string, Grid> = new Map();
  #applied = 0; // fills that are in `#accounts`
  #oldest: Milliseconds | null = null; // the time of the first fill that was folded
  #gapFrom: Milliseconds | null = null; // the time of the last fill before messages may have been lost
  #isLoaded = false; // all fills are here, or as many as count
  #isLoading = false;
  #isRefreshWanted = false;
  #isCut = false;
  #shown = ROWS_PAGE;
  #problem: Problem | null = null;

  constructor(options: FillsOptions) {
    this.#options = options;
  }

  /** Forget everything, and read another client's fills. */
  reset(client: string): void {
    this.#client = client;
    this.#generation += 1;
    this.#fills = [];
    this.#keys = new Set();
    this.#isSorted = true;
    this.#foldedLast = this.#oldest = this.#gapFrom = null;
    this.#folded = new Map();
    this.#accounts = new Map();
    this.#applied = 0;
    this.#isLoaded = this.#isLoading = this.#isCut = this.#isRefreshWanted = false;
    this.#shown = ROWS_PAGE;
    this.#problem = null;
    this.pages.value = EMPTY;
    this.positions.value = [];
    void this.refresh();
  }

  take(fills: readonly Fill[]): void {
    let hasNew = false;
    for (const fill of fills) {
      const key = `${fill.tradeId} ${fill.orderId}`;
      const isFolded = this.#foldedLast !== null && inOrder(fill, this.#foldedLast) <= 0;
      if (isFolded || this.#keys.has(key)) {
        continue;
      }
      const last = this.#fills.at(-1);
      this.#isSorted &&= last === undefined || inOrder(last, fill) <= 0;
      this.#keys.add(key);
      this.#fills.push(fill);
      hasNew = true;
    }
    if (hasNew) {
      this.#publishSoon();
    }
  }

  /** Read all fills, unless that was done or is being done. */
  async load(): Promise<void> {
    if (!this.#isLoaded && !this.#isLoading) {
      await this.refresh();
    }
  }

  /** Read fills that may be missing: all at first, later those since the newest known one. */
  async refresh(): Promise<void> {
    if (this.#client === "") {
      return;
    }
    if (this.#isLoading) {
      this.#isRefreshWanted = true;
      return;
    }
    const generation = this.#generation;
    const isWanted = () => generation === this.#generation;
    this.#isLoading = true;
    this.#publishSoon();
    try {
      await (this.#isLoaded ? this.#readMissed(isWanted) : this.#readAll(isWanted));
      this.#problem = null;
    } catch (error) {
      if (isWanted()) {
        this.#problem = problemOfError(error);
      }
    }
    if (isWanted()) {
      this.#isLoading = false;
      this.#publishSoon();
      if (this.#isRefreshWanted) {
        this.#isRefreshWanted = false;
        void this.refresh();
      }
    }
  }

  loadMore(): void {
    this.#shown = Math.min(FILLS_SHOWN_MAX, this.#shown + ROWS_PAGE);
    this.#publishSoon();
  }

  /** Publish the positions in the next frame, because last prices or instruments changed. */
  publishPositionsSoon(): void {
    this.#options.frames.schedule(this.#publishPositions);
  }

  #publishSoon(): void {
    this.#options.frames.schedule(this.#publish);
    this.#options.frames.schedule(this.#publishPositions);
  }

  async #readAll(isWanted: () => boolean): Promise<void> {
    const count = await this.#readPages({ sort: "desc" }, isWanted);
    if (isWanted()) {
      this.#isCut = count === "cut";
      this.#isLoaded = true;
    }
  }

  async #readMissed(isWanted: () => boolean): Promise<void> {
    this.#sort();
    // Fills that came since the gap are newer than missed ones, so the last one before it counts.
    const from = this.#gapFrom ?? this.#fills.at(-1)?.time ?? this.#foldedLast?.time ?? null;
    const start = from === null ? {} : { start: new Date(from - FILLS_OVERLAP_MS).toISOString() };
    const count = await this.#readPages({ sort: "asc", ...start }, isWanted);
    if (isWanted()) {
      this.#gapFrom = null;
      if (count === "cut") {
        this.reset(this.#client); // Too many were missed. Count from the newest ones.
      }
    }
  }

  /** Messages may be lost from now on. */
  markGap(): void {
    this.#sort();
    this.#gapFrom ??= this.#fills.at(-1)?.time ?? null;
  }

  /** Take the fills of all pages; "cut" if there are more than POSITION_FILLS_MAX. */
  async #readPages(query: Record<string, string>, isWanted: () => boolean): Promise<"all" | "cut"> {
    let cursor: string | null = null;
    for (let count = 0; count < POSITION_FILLS_MAX;) {
      const page = await this.#options.http.read(
        "/fills",
        { client_id: this.#client, limit: FILLS_PAGE, ...query, ...(cursor ? { cursor } : {}) },
        isWanted,
      );
      if (!isWanted()) {
        return "all";
      }
      const fills = list(page["fills"]).map(fillOf);
      this.take(query["sort"] === "desc" ? fills.reverse() : fills);
      count += fills.length;
      cursor = (page["next_cursor"] ?? null) as string | null;
      if (cursor === null) {
        return "all";
      }
    }
    return "cut";
  }

  #sort(): void {
    if (!this.#isSorted) {
      this.#fills.sort(inOrder);
      this.#isSorted = true;
      this.#accounts = new Map(this.#folded);
      this.#applied = 0;
    }
  }

  readonly #publish = (): void => {
    this.#sort();
    const rows = this.#fills.slice(-this.#shown).reverse();
    this.pages.value = {
      rows,
      isLoading: this.#isLoading,
      hasMore: rows.length < Math.min(this.#fills.length, FILLS_SHOWN_MAX),
      problem: this.#problem,
    };
  };

  readonly #publishPositions = (): void => {
    const instruments = this.#options.instruments();
    if (!this.#isLoaded || instruments.length === 0) {
      return;
    }
    if (instruments !== this.#gridsOf) {
      this.#gridsOf = instruments;
      this.#grids = new Map(instruments.map((each) => [each.symbol, new Grid(each.tickSize, each.lotSize)]));
      this.#applied = 0; // Fills of an instrument that was not known count now.
      this.#accounts = new Map(this.#folded);
    }
    this.#sort();
    this.#apply(this.#grids);
    const positions = this.#positions(this.#grids);
    if (JSON.stringify(positions) !== JSON.stringify(this.positions.peek())) {
      this.positions.value = positions;
    }
  };

  /** Apply the fills that are not in the accounts yet, and drop the oldest if there are too many. */
  #apply(grids: ReadonlyMap<string, Grid>): void {
    addFills(this.#accounts, this.#fills.slice(this.#applied), grids);
    this.#applied = this.#fills.length;
    if (this.#fills.length >= 2 * POSITION_FILLS_MAX) {
      const dropped = this.#fills.splice(0, POSITION_FILLS_MAX);
      addFills(this.#folded, dropped, grids);
      this.#foldedLast = dropped.at(-1) ?? null;
      this.#applied = this.#fills.length;
      this.#keys = new Set(this.#fills.map((fill) => `${fill.tradeId} ${fill.orderId}`));
      this.#oldest ??= dropped[0]?.time ?? null;
    }
  }

  #positions(grids: ReadonlyMap<string, Grid>): Position[] {
    const since = this.#isCut ? (this.#oldest ?? this.#fills[0]?.time ?? null) : null;
    return [...this.#accounts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([symbol, account]) =>
        positionOf(symbol, account, grids.get(symbol) as Grid, this.#options.lastPrice(symbol), since),
      );
  }
}

/** The order of trades. Ids are UUIDs of version 7, which sort by time. */
function inOrder(a: Fill, b: Fill): number {
  return a.time - b.time || compareText(a.tradeId, b.tradeId) || compareText(a.orderId, b.orderId);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Fills of instruments that are not known do not count. */
function addFills(
  accounts: Map<string, Account>,
  fills: readonly Fill[],
  grids: ReadonlyMap<string, Grid>,
): void {
  for (const fill of fills) {
    const found = grids.get(fill.symbol);
    if (found !== undefined) {
      accounts.set(fill.symbol, applyFill(accounts.get(fill.symbol) ?? EMPTY_ACCOUNT, fill, found));
    }
  }
}
