/** The chart: candles with own orders, or the depth of the book. */

import { effect, signal, useSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { INTERVALS, type Candle, type Instrument } from "../model.ts";
import { ChartCanvas, type ChartEvents } from "./chart_canvas.ts";
import { ChartOrders } from "./chart_orders.tsx";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { DepthChart } from "./depth.tsx";
import { formatFloat } from "./format.ts";
import { paintedTheme } from "./theme.ts";
import { Choice, Tabs } from "./widgets.tsx";

const KINDS = [
  { key: "candles", label: "Chart" },
  { key: "depth", label: "Depth" },
] as const;
type Kind = (typeof KINDS)[number]["key"];
const INTERVAL_ITEMS = INTERVALS.map((each) => ({ key: each, label: each }));

export function Chart() {
  const view = useView();
  const kind = useSignal<Kind>("candles");
  return (
    <section class="panel chart" aria-label="Chart">
      <header class="panel-head">
        <Tabs
          label="Kind of chart"
          prefix="chart"
          items={KINDS}
          chosen={kind.value}
          onChoose={(key) => {
            kind.value = key;
          }}
        />
        {kind.value === "candles" ? (
          <Choice
            label="Length of a candle"
            name="interval"
            class="intervals"
            items={INTERVAL_ITEMS}
            chosen={view.store.interval.value}
            onChoose={(key) => view.store.chooseInterval(key)}
          />
        ) : null}
      </header>
      <div class="chart-body" role="tabpanel" id="chart-panel" aria-labelledby={`chart-tab-${kind.value}`}>
        {kind.value === "candles" ? <Candlesticks /> : <DepthChart />}
      </div>
    </section>
  );
}

function Candlesticks() {
  const view = useView();
  const { store } = view;
  const frame = useRef<HTMLDivElement>(null);
  const [hovered] = useState(() => signal<Candle | null>(null));
  const [isBroken, setBroken] = useState(false);
  const [canvas, setCanvas] = useState<ChartCanvas | null>(null);
  useEffect(() => {
    if (!frame.current) {
      return;
    }
    const chart = tryToDraw(frame.current, {
      onPick: (ticks) => {
        const grid = view.grid.peek();
        if (grid) {
          view.pick(grid.price(ticks), view.side.peek());
        }
      },
      onHover: (candle) => {
        hovered.value = candle;
      },
      onNeedOlder: () => store.loadOlderCandles(),
    });
    if (chart === null) {
      setBroken(true);
      return;
    }
    const stops = [
      effect(() => {
        const instrument = view.instrument.value;
        if (instrument) {
          chart.setGrid(Number(instrument.tickSize), priceDecimals(instrument));
        }
      }),
      effect(() => chart.show(view.slow.candles.value)),
      paintedTheme.subscribe(() => chart.readTheme()),
    ];
    setCanvas(chart);
    return () => {
      stops.forEach((stop) => stop());
      chart.remove();
    };
  }, [view]);
  return (
    <div class={`candles ${store.isStale.value ? "dimmed" : ""}`}>
      <div
        ref={frame}
        class="chart-frame"
        role="img"
        aria-label="Candles and volume. Prices are also in the order book and in the list of trades"
      />
      <Legend hovered={hovered} />
      {canvas ? <ChartOrders canvas={canvas} /> : null}
      {isBroken ? (
        <p class="empty chart-empty">
          This browser can't draw the chart. Prices are in the order book and the list of trades.
        </p>
      ) : (
        <ChartMessage />
      )}
    </div>
  );
}

/** Return the chart, or null if the browser can't draw it: the other parts must still work. */
function tryToDraw(frame: HTMLElement, events: ChartEvents): ChartCanvas | null {
  try {
    return new ChartCanvas(frame, events);
  } catch (error) {
    console.error(error);
    return null;
  }
}

/** The numbers of the candle under the cross hair, or of the last one. */
function Legend({ hovered }: { readonly hovered: ReadonlySignal<Candle | null> }) {
  const view = useView();
  const candles = view.slow.candles.value;
  const instrument = view.instrument.value;
  const candle = hovered.value ?? candles?.candles.at(-1);
  if (!candle || !instrument || !candles) {
    return null;
  }
  const tone = candle.close >= candle.open ? "up" : "down";
  const percent = candle.open === 0 ? 0 : (candle.close / candle.open - 1) * 100;
  return (
    <div class="legend" aria-hidden="true">
      <b>{candles.symbol}</b>
      <span class="faint">{candles.interval}</span>
      <LegendFigure name="O" value={candle.open} instrument={instrument} tone={tone} />
      <LegendFigure name="H" value={candle.high} instrument={instrument} tone={tone} />
      <LegendFigure name="L" value={candle.low} instrument={instrument} tone={tone} />
      <LegendFigure name="C" value={candle.close} instrument={instrument} tone={tone} />
      <span class={tone}>
        {percent >= 0 ? "+" : "−"}
        {Math.abs(percent).toFixed(2)} %
      </span>
      <span class="legend-figure">
        <span class="faint">Vol</span> {formatFloat(candle.volume, 2)}
      </span>
    </div>
  );
}

interface FigureProps {
  readonly name: string;
  readonly value: number;
  readonly instrument: Instrument;
  readonly tone: string;
}

function LegendFigure({ name, value, instrument, tone }: FigureProps) {
  const decimals = priceDecimals(instrument);
  const text = formatFloat(value, decimals);
  return (
    <span class="legend-figure">
      <span class="faint">{name}</span> <span class={tone}>{text}</span>
    </span>
  );
}

function ChartMessage() {
  const candles = useView().slow.candles.value;
  if (candles === null) {
    return <p class="empty chart-empty">Loading candles.</p>;
  }
  return candles.candles.length === 0 ? (
    <p class="empty chart-empty">No trade yet, so there is no candle. The first trade draws one.</p>
  ) : null;
}
