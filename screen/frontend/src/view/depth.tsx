/** The depth chart, with the price and the quantity up to it under the pointer. */

import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { formatDecimal } from "../exact.ts";
import { useView } from "./context.ts";
import { priceDecimals, shownQuantityDecimals } from "./decimals.ts";
import { DepthCanvas, type DepthPoint } from "./depth_canvas.ts";
import { paintedTheme } from "./theme.ts";

export function DepthChart() {
  const view = useView();
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useRef<DepthCanvas | null>(null);
  const point = useSignal<DepthPoint | null>(null);
  const size = useSignal(0);
  useEffect(() => {
    if (!canvas.current) {
      return;
    }
    const chart = new DepthCanvas(canvas.current);
    drawing.current = chart;
    const observer = new ResizeObserver(() => {
      size.value += 1;
    });
    observer.observe(canvas.current);
    const forget = paintedTheme.subscribe(() => chart.readTheme());
    const stop = effect(() => {
      const book = view.slow.book.value;
      const grid = view.grid.value;
      const instrument = view.instrument.value;
      paintedTheme.value;
      size.value;
      if (book && grid && instrument && book.symbol === instrument.symbol) {
        chart.draw(book, {
          price: (ticks) => formatDecimal(grid.price(ticks), priceDecimals(instrument)),
          quantity: (lots) =>
            formatDecimal(grid.quantity(lots), Math.min(2, shownQuantityDecimals(instrument))),
        });
      }
    });
    return () => {
      observer.disconnect();
      forget();
      stop();
    };
  }, [view]);
  const hover = (event: PointerEvent): void => {
    const book = view.store.book.peek();
    point.value = book ? (drawing.current?.pointAt(book, event.offsetX) ?? null) : null;
  };
  const pick = (): void => {
    const grid = view.grid.peek();
    if (point.value && grid) {
      view.pick(grid.price(point.value.ticks), point.value.side);
    }
  };
  return (
    <div class={`depth ${view.store.isStale.value ? "dimmed" : ""}`}>
      <canvas
        ref={canvas}
        role="img"
        aria-label="Depth of the book. The same numbers are in the order book"
        onPointerMove={hover}
        onPointerLeave={() => {
          point.value = null;
        }}
        onClick={pick}
      />
      {point.value ? <DepthLabel point={point.value} /> : null}
    </div>
  );
}

function DepthLabel({ point }: { readonly point: DepthPoint }) {
  const view = useView();
  const grid = view.grid.value;
  const instrument = view.instrument.value;
  if (!grid || !instrument) {
    return null;
  }
  return (
    <>
      <i class="depth-line" style={{ transform: `translateX(${point.x}px)` }} />
      <i class={`depth-dot ${point.side}`} style={{ transform: `translate(${point.x}px, ${point.y}px)` }} />
      <div class="depth-label">
        <span>
          {point.side === "buy" ? "Bids down to" : "Asks up to"}{" "}
          <b>{formatDecimal(grid.price(point.ticks), priceDecimals(instrument))}</b>
        </span>
        <span>
          <b>{formatDecimal(grid.quantity(point.cumulativeLots), shownQuantityDecimals(instrument))}</b>{" "}
          {instrument.baseAsset}
        </span>
      </div>
    </>
  );
}
