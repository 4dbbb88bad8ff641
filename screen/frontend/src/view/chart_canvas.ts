/** The candles, drawn by lightweight-charts. This is the one module that knows the library.
 *
 * Prices are floats here, for drawing only. A price that leaves this module is a whole number of
 * ticks.
 */

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  createChart,
  type IChartApi,
  type ISeriesApi,
  type MouseEventParams,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
  type CandlestickData,
  type HistogramData,
  TickMarkType,
} from "lightweight-charts";
import type { Candle, Candles } from "../model.ts";
import { lanesOf } from "./lanes.ts";
import { readColours } from "./theme.ts";

const COLOURS = [
  "panel",
  "text-2",
  "line",
  "candle-up",
  "candle-down",
  "volume-up",
  "volume-down",
  "grid-line",
  "crosshair",
  "label",
] as const;
type Colours = Record<(typeof COLOURS)[number], string>;

/** Ask for older candles if fewer than this are left of the visible ones. */
const OLDER_CANDLES_AT = 20;
/** Candles that have room to the right of the last one, where the tags of own orders are. */
const ROOM_RIGHT = 16;
const ROOM_RIGHT_NARROW = 6;
const NARROW_PX = 600;

export interface ChartEvents {
  readonly onPick: (ticks: bigint) => void;
  readonly onHover: (candle: Candle | null) => void;
  readonly onNeedOlder: () => void;
}

/** Something laid over the chart at a price. Its style hides it until it is placed. */
export interface Marker {
  readonly element: HTMLElement;
  readonly price: () => number;
  /** Whether it stays at the edge of the chart instead of leaving it. */
  readonly isKept: () => boolean;
}

export class ChartCanvas {
  readonly #chart: IChartApi;
  readonly #candles: ISeriesApi<"Candlestick">;
  readonly #volumes: ISeriesApi<"Histogram">;
  readonly #frame: HTMLElement;
  readonly #markers = new Set<Marker>();
  #animation: number | null = null;
  #shown: Candles | null = null;
  #tick = 0.01;
  #colours: Colours;

  constructor(frame: HTMLElement, events: ChartEvents) {
    this.#frame = frame;
    this.#colours = readColours(COLOURS);
    this.#chart = createChart(frame, {
      autoSize: true,
      layout: { attributionLogo: false }, // It would inject a style, which the page's policy forbids.
      localization: { timeFormatter: (time: Time) => fullTime.format(Number(time) * 1000) },
      timeScale: {
        timeVisible: true,
        rightOffset: frame.clientWidth < NARROW_PX ? ROOM_RIGHT_NARROW : ROOM_RIGHT,
        barSpacing: 7,
        minBarSpacing: 1,
        allowBoldLabels: false,
        tickMarkFormatter: tickMark,
      },
      rightPriceScale: { scaleMargins: { top: 0.08, bottom: 0.24 }, entireTextOnly: true },
      crosshair: { mode: CrosshairMode.Normal },
      handleScroll: { vertTouchDrag: false }, // So that a phone can scroll the page.
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { priceLineWidth: 1, borderVisible: false });
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.readTheme();
    this.#listen(events);
  }

  #listen(events: ChartEvents): void {
    this.#chart.subscribeClick((param) => {
      const ticks = param.point ? this.ticksAt(param.point.y) : null;
      if (ticks !== null) {
        events.onPick(ticks);
      }
    });
    this.#chart.subscribeCrosshairMove((param) => events.onHover(this.#candleOf(param)));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < OLDER_CANDLES_AT && this.#shown?.candles.length) {
        events.onNeedOlder();
      }
    });
  }

  #candleOf(param: MouseEventParams<Time>): Candle | null {
    const candles = this.#shown?.candles;
    return candles && param.logical !== undefined ? (candles[Math.round(param.logical)] ?? null) : null;
  }

  /** Draw in the colours of the theme as it is now. */
  readTheme(): void {
    const colours = readColours(COLOURS);
    this.#colours = colours;
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colours.panel },
        textColor: colours["text-2"],
        fontSize: 11,
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { color: colours["grid-line"] }, horzLines: { color: colours["grid-line"] } },
      rightPriceScale: { borderColor: colours.line },
      timeScale: { borderColor: colours.line },
      crosshair: {
        vertLine: { color: colours.crosshair, labelBackgroundColor: colours.label },
        horzLine: { color: colours.crosshair, labelBackgroundColor: colours.label },
      },
    });
    this.#candles.applyOptions({
      upColor: colours["candle-up"],
      downColor: colours["candle-down"],
      wickUpColor: colours["candle-up"],
      wickDownColor: colours["candle-down"],
    });
    if (this.#shown) {
      this.#volumes.setData(this.#shown.candles.map((candle) => this.#volumeOf(candle)));
    }
  }

  /** Use another price grid. `tick` is a float, for drawing. */
  setGrid(tick: number, decimals: number): void {
    this.#tick = tick;
    const format = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    this.#candles.applyOptions({
      priceFormat: { type: "custom", minMove: tick, formatter: (price: number) => format.format(price) },
    });
  }

  /** Show candles. Only what changed since the last call is drawn again. */
  show(next: Candles | null): void {
    const before = this.#shown;
    this.#shown = next;
    const candles = next?.candles ?? [];
    const isSame =
      before !== null && next !== null && before.symbol === next.symbol && before.interval === next.interval;
    const isContinued =
      isSame &&
      before.candles.length > 0 &&
      before.candles[0]?.time === candles[0]?.time &&
      candles.length >= before.candles.length &&
      candles.length - before.candles.length < 10;
    if (isContinued) {
      for (const candle of candles.slice(before.candles.length - 1)) {
        this.#candles.update(barOf(candle));
        this.#volumes.update(this.#volumeOf(candle));
      }
      return;
    }
    this.#candles.setData(candles.map(barOf));
    this.#volumes.setData(candles.map((candle) => this.#volumeOf(candle)));
    if (!isSame && candles.length > 0) {
      this.#chart.priceScale("right").applyOptions({ autoScale: true });
      this.#chart.timeScale().scrollToRealTime();
    }
  }

  #volumeOf(candle: Candle): HistogramData<Time> | WhitespaceData<Time> {
    const colour = candle.close >= candle.open ? this.#colours["volume-up"] : this.#colours["volume-down"];
    return { time: candle.time as UTCTimestamp, value: candle.volume, color: colour };
  }

  /** Return the tick nearest to a height in the chart, or to its edge. Null without a price scale. */
  ticksAt(y: number): bigint | null {
    const price = this.#candles.coordinateToPrice(Math.max(0, Math.min(this.#chart.paneSize().height, y)));
    const ticks = price === null ? Number.NaN : Math.round(price / this.#tick);
    return Number.isSafeInteger(ticks) && ticks > 0 ? BigInt(ticks) : null;
  }

  /** Keep an element at its price until the returned function is called. */
  follow(marker: Marker): () => void {
    this.#markers.add(marker);
    this.#animation ??= requestAnimationFrame(this.#place);
    return () => this.#markers.delete(marker);
  }

  /** Move the markers. The library has no event for a moved price scale, so this looks each frame
   * while there are markers. */
  readonly #place = (): void => {
    this.#animation = this.#markers.size > 0 ? requestAnimationFrame(this.#place) : null;
    const { height } = this.#chart.paneSize();
    const around = this.#frame.parentElement ?? this.#frame;
    setIfChanged(around, "--price-scale", `${this.#chart.priceScale("right").width()}px`);
    setIfChanged(around, "--time-scale", `${this.#chart.timeScale().height()}px`);
    const heights = [...this.#markers].map(({ element, price, isKept }) => {
      const exact = this.#candles.priceToCoordinate(price());
      const y = exact !== null && isKept() ? Math.max(14, Math.min(height - 14, exact)) : exact;
      return { element, y: y !== null && y >= 0 && y <= height ? y : null };
    });
    const lanes = lanesOf(heights.map(({ y }) => y));
    heights.forEach(({ element, y }, index) => {
      setIfChanged(element, "transform", y === null ? "" : `translateY(${Math.round(y)}px)`);
      setIfChanged(element, "visibility", y === null ? "" : "visible");
      setIfChanged(element, "--lane", String(lanes[index]));
    });
  };

  remove(): void {
    this.#markers.clear();
    if (this.#animation !== null) {
      cancelAnimationFrame(this.#animation);
    }
    this.#chart.remove();
  }
}

function setIfChanged(element: HTMLElement, name: string, value: string): void {
  if (element.style.getPropertyValue(name) !== value) {
    element.style.setProperty(name, value);
  }
}

function barOf(candle: Candle): CandlestickData<Time> {
  return {
    time: candle.time as UTCTimestamp,
    open: candle.open,
    high: candle.high,
    low: candle.low,
    close: candle.close,
  };
}

const fullTime = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const clockMark = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const dayMark = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const monthMark = new Intl.DateTimeFormat(undefined, { month: "short" });
const yearMark = new Intl.DateTimeFormat(undefined, { year: "numeric" });

/** Return a local time for the time scale. */
function tickMark(time: Time, type: TickMarkType): string {
  const marks = {
    [TickMarkType.Year]: yearMark,
    [TickMarkType.Month]: monthMark,
    [TickMarkType.DayOfMonth]: dayMark,
  };
  const format = (marks as Partial<Record<TickMarkType, Intl.DateTimeFormat>>)[type] ?? clockMark;
  return format.format(Number(time) * 1000);
}
