/** Draws the rows of the ladder. Rows are made once and updated in place, so nothing jumps.
 *
 * A row's texts are only written if they changed, and its bar is moved by a transform alone.
 */

import { formatDecimal, type Grid } from "../exact.ts";
import type { Side } from "../model.ts";
import { share, type Row } from "./grouping.ts";

export interface LadderFormat {
  readonly grid: Grid;
  readonly priceDecimals: number;
  readonly quantityDecimals: number;
}

/** One line of the ladder in the page. */
class LadderRow {
  readonly element: HTMLElement;
  row: Row | null = null;
  readonly #price = cell("ladder-price");
  readonly #quantity = cell("ladder-quantity");
  readonly #total = cell("ladder-total");
  readonly #bar = document.createElement("i");
  #share = -1;
  #isOwn = false;

  constructor(id: string) {
    this.element = document.createElement("div");
    this.element.id = id;
    this.element.className = "ladder-row";
    this.element.setAttribute("role", "row");
    this.#bar.className = "ladder-bar";
    this.element.append(this.#bar, this.#price, this.#quantity, this.#total);
    this.element.style.visibility = "hidden";
  }

  show(row: Row | null, whole: bigint, isOwn: boolean, format: LadderFormat): void {
    const before = this.row;
    this.row = row;
    if (row === null) {
      if (before !== null) {
        this.element.style.visibility = "hidden";
      }
      return;
    }
    if (before === null) {
      this.element.style.visibility = "";
    }
    const { grid } = format;
    if (before?.priceTicks !== row.priceTicks) {
      this.#price.textContent = formatDecimal(grid.price(row.priceTicks), format.priceDecimals);
    }
    if (before?.quantityLots !== row.quantityLots) {
      this.#quantity.textContent = formatDecimal(grid.quantity(row.quantityLots), format.quantityDecimals);
    }
    if (before?.cumulativeLots !== row.cumulativeLots) {
      this.#total.textContent = formatDecimal(grid.quantity(row.cumulativeLots), format.quantityDecimals);
    }
    this.#showBar(share(row.cumulativeLots, whole));
    if (isOwn !== this.#isOwn) {
      this.#isOwn = isOwn;
      this.element.classList.toggle("own", isOwn);
      this.#price.setAttribute("aria-description", isOwn ? "you have an order here" : "");
    }
  }

  /** Forget what is shown, so that all of it is written again in another format. */
  reset(): void {
    this.row = null;
    this.#share = -1;
    this.element.style.visibility = "hidden";
  }

  #showBar(next: number): void {
    if (next !== this.#share) {
      this.#share = next;
      this.#bar.style.transform = `scaleX(${next})`;
    }
  }
}

function cell(name: string): HTMLElement {
  const element = document.createElement("span");
  element.className = name;
  element.setAttribute("role", "gridcell");
  return element;
}

/** The rows of one side. */
export class LadderSide {
  readonly #rows: LadderRow[] = [];
  readonly #body: HTMLElement;
  readonly #side: Side;

  constructor(body: HTMLElement, side: Side) {
    this.#body = body;
    this.#side = side;
  }

  /** Make or remove rows. Index 0 is the best price, next to the spread. */
  resize(count: number): void {
    while (this.#rows.length > count) {
      this.#rows.pop()?.element.remove();
    }
    while (this.#rows.length < count) {
      const row = new LadderRow(`ladder-${this.#side}-${this.#rows.length}`);
      this.#rows.push(row);
      if (this.#side === "sell") {
        this.#body.prepend(row.element);
      } else {
        this.#body.append(row.element);
      }
    }
  }

  paint(rows: readonly Row[], whole: bigint, own: ReadonlySet<bigint>, format: LadderFormat): void {
    this.#rows.forEach((line, index) => {
      const row = rows[index] ?? null;
      line.show(row, whole, row !== null && own.has(row.priceTicks), format);
    });
  }

  reset(): void {
    this.#rows.forEach((line) => line.reset());
  }

  /** Return the row that an element belongs to. */
  rowOf(element: Element): Row | null {
    const line = this.#rows.find((each) => each.element.contains(element));
    return line?.row ?? null;
  }

  rowAt(index: number): { readonly row: Row; readonly element: HTMLElement } | null {
    const line = this.#rows[index];
    return line?.row ? { row: line.row, element: line.element } : null;
  }
}
