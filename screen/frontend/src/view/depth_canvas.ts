/** Draws the depth of a book on a canvas: the cumulative quantity at each price. */

import type { Book, Level } from "../model.ts";
import { readColours } from "./theme.ts";

const COLOURS = [
  "candle-up",
  "candle-down",
  "volume-up",
  "volume-down",
  "grid-line",
  "text-2",
  "crosshair",
] as const;
const AXIS_HEIGHT = 24;
/** Half of the room that a price has on the axis, in pixels. */
const LABEL_HALF = 32;
/** The shown part of the book: the price and this share of it, in thousandths, on both sides. */
const REACH_THOUSANDTHS = 6n;

export interface DepthText {
  readonly price: (ticks: bigint) => string;
  readonly quantity: (lots: bigint) => string;
}

/** What is under the pointer. */
export interface DepthPoint {
  readonly side: "buy" | "sell";
  readonly ticks: bigint;
  readonly cumulativeLots: bigint;
  readonly x: number;
  readonly y: number;
}

export class DepthCanvas {
  readonly #canvas: HTMLCanvasElement;
  #colours = readColours(COLOURS);
  #left = 0n;
  #right = 1n;
  #top = 1n;
  #width = 0;
  #height = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  readTheme(): void {
    this.#colours = readColours(COLOURS);
  }

  draw(book: Book, text: DepthText): void {
    const context = this.#prepare();
    if (!context) {
      return;
    }
    this.#chooseRange(book);
    this.#drawAxis(context, text);
    this.#drawSide(context, book.bids, this.#colours["candle-up"], this.#colours["volume-up"]);
    this.#drawSide(context, book.asks, this.#colours["candle-down"], this.#colours["volume-down"]);
  }

  /** Return the level of the book at a place in the canvas. */
  pointAt(book: Book, x: number): DepthPoint | null {
    if (this.#width === 0) {
      return null;
    }
    const ticks = this.#left + BigInt(Math.round((x / this.#width) * Number(this.#right - this.#left)));
    const bid = book.bids[0]?.priceTicks;
    const side = bid !== undefined && ticks <= bid ? "buy" : "sell";
    const levels = side === "buy" ? book.bids : book.asks;
    let found: Level | null = null;
    for (const level of levels) {
      if (side === "buy" ? level.priceTicks < ticks : level.priceTicks > ticks) {
        break;
      }
      found = level;
    }
    return found === null
      ? null
      : { side, ticks, cumulativeLots: found.cumulativeLots, x, y: this.#yOf(found.cumulativeLots) };
  }

  #prepare(): CanvasRenderingContext2D | null {
    const ratio = devicePixelRatio;
    this.#width = this.#canvas.clientWidth;
    this.#height = this.#canvas.clientHeight;
    const width = Math.round(this.#width * ratio);
    const height = Math.round(this.#height * ratio);
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    const context = this.#canvas.getContext("2d");
    context?.setTransform(ratio, 0, 0, ratio, 0, 0);
    context?.clearRect(0, 0, this.#width, this.#height);
    return context;
  }

  #chooseRange(book: Book): void {
    const bid = book.bids[0]?.priceTicks;
    const ask = book.asks[0]?.priceTicks;
    const middle = bid !== undefined && ask !== undefined ? (bid + ask) / 2n : (bid ?? ask ?? 1n);
    const furthest = [
      middle - (book.bids.at(-1)?.priceTicks ?? middle),
      (book.asks.at(-1)?.priceTicks ?? middle) - middle,
    ];
    const known = furthest.reduce((most, each) => (each > most ? each : most), 1n);
    const wanted = (middle * REACH_THOUSANDTHS) / 1000n;
    const reach = wanted > 0n && wanted < known ? wanted : known;
    this.#left = middle - reach;
    this.#right = middle + reach;
    const most = [deepest(book.bids, this.#left, true), deepest(book.asks, this.#right, false)];
    const top = most.reduce((whole, each) => (each > whole ? each : whole), 1n);
    this.#top = top + top / 8n + 1n;
  }

  #xOf(ticks: bigint): number {
    return (Number(ticks - this.#left) / Number(this.#right - this.#left)) * this.#width;
  }

  #yOf(lots: bigint): number {
    const height = this.#height - AXIS_HEIGHT;
    return height - (Number((lots * 4096n) / this.#top) / 4096) * height;
  }

  #drawSide(context: CanvasRenderingContext2D, levels: readonly Level[], line: string, area: string): void {
    const first = levels[0];
    if (!first) {
      return;
    }
    const bottom = this.#height - AXIS_HEIGHT;
    const path = new Path2D();
    let x = this.#xOf(first.priceTicks);
    let y = bottom;
    const start = x;
    path.moveTo(x, y);
    for (const level of levels) {
      x = this.#xOf(level.priceTicks);
      path.lineTo(x, y);
      y = this.#yOf(level.cumulativeLots);
      path.lineTo(x, y);
      if (x < 0 || x > this.#width) {
        break;
      }
    }
    const edge = start < this.#width / 2 ? Math.min(0, x) : Math.max(this.#width, x);
    path.lineTo(edge, y);
    context.strokeStyle = line;
    context.lineWidth = 1.5;
    context.stroke(path);
    path.lineTo(edge, bottom);
    path.lineTo(start, bottom);
    context.fillStyle = area;
    context.fill(path);
  }

  #drawAxis(context: CanvasRenderingContext2D, text: DepthText): void {
    const bottom = this.#height - AXIS_HEIGHT;
    context.font = `11px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.fillStyle = this.#colours["text-2"];
    context.strokeStyle = this.#colours["grid-line"];
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const marks = Math.max(2, Math.floor(this.#width / 110));
    const priceStep = roundStep((this.#right - this.#left) / BigInt(marks));
    for (let ticks = (this.#left / priceStep + 1n) * priceStep; ticks < this.#right; ticks += priceStep) {
      const x = Math.round(this.#xOf(ticks)) + 0.5;
      line(context, x, 0, x, bottom);
      if (x > LABEL_HALF && x < this.#width - LABEL_HALF) {
        context.fillText(text.price(ticks), x, bottom + AXIS_HEIGHT / 2);
      }
    }
    context.textAlign = "right";
    const quantityStep = roundStep(this.#top / 6n);
    for (let lots = quantityStep; lots < this.#top; lots += quantityStep) {
      const y = Math.round(this.#yOf(lots)) + 0.5;
      line(context, 0, y, this.#width, y);
      context.fillText(text.quantity(lots), this.#width - 8, y - 8);
    }
    line(context, 0, bottom + 0.5, this.#width, bottom + 0.5);
  }
}

/** Return the least step of 1, 2 or 5 with zeros that is at least `least`. */
function roundStep(least: bigint): bigint {
  let power = 1n;
  while (power * 5n < least) {
    power *= 10n;
  }
  return [1n, 2n].map((each) => each * power).find((each) => each >= least) ?? 5n * power;
}

function line(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

function deepest(levels: readonly Level[], edge: bigint, isBid: boolean): bigint {
  let cumulative = 0n;
  for (const level of levels) {
    if (isBid ? level.priceTicks < edge : level.priceTicks > edge) {
      break;
    }
    cumulative = level.cumulativeLots;
  }
  return cumulative;
}
