/** Own orders on the chart: a line each, which can be dragged (amend) and closed (cancel).
 *
 * Nothing is sent before it is confirmed. The arrow keys move a line, too.
 */

import { useSignal, type Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatDecimal, type Grid } from "../exact.ts";
import type { AmendRequest, Decimal, Order } from "../model.ts";
import type { ChartCanvas } from "./chart_canvas.ts";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { orderWords, SIDE_WORDS, TYPE_WORDS } from "./words.ts";
import { Icon } from "./widgets.tsx";

const LINES_MAX = 50;

type PriceField = "price" | "trigger_price";
type Phase = "idle" | "moved" | "closing" | "sending";

interface Line {
  readonly key: string;
  readonly order: Order;
  readonly field: PriceField;
  readonly price: Decimal;
}

export function ChartOrders({ canvas }: { readonly canvas: ChartCanvas }) {
  const view = useView();
  const symbol = view.store.selected.value;
  const grid = view.grid.value;
  if (!grid) {
    return null;
  }
  const lines = view.store.openOrders.value
    .filter((order) => order.symbol === symbol)
    .flatMap(linesOf)
    .slice(0, LINES_MAX);
  return (
    <div class="order-lines">
      {lines.map((line) => (
        <OrderLine key={line.key} line={line} canvas={canvas} grid={grid} />
      ))}
    </div>
  );
}

/** A waiting stop-limit order has two prices: that of its trigger and its limit. */
function linesOf(order: Order): Line[] {
  const lines: Line[] = [];
  if (order.price !== null) {
    lines.push({ key: `${order.id} price`, order, field: "price", price: order.price });
  }
  if (order.triggerPrice !== null && order.status === "pending") {
    lines.push({ key: `${order.id} trigger`, order, field: "trigger_price", price: order.triggerPrice });
  }
  return lines;
}

interface LineProps {
  readonly line: Line;
  readonly canvas: ChartCanvas;
  readonly grid: Grid;
}

function OrderLine({ line, canvas, grid }: LineProps) {
  const view = useView();
  const element = useRef<HTMLDivElement>(null);
  const draft = useSignal<bigint | null>(null);
  const phase = useSignal<Phase>("idle");
  const price = draft.value === null ? line.price : grid.price(draft.value);
  const position = useRef(price);
  position.current = price;
  useEffect(() => {
    if (element.current) {
      return canvas.follow({
        element: element.current,
        price: () => Number(position.current),
        isKept: () => phase.peek() !== "idle",
      });
    }
    return undefined;
  }, [canvas]);
  const keep = (): void => {
    draft.value = null;
    phase.value = "idle";
  };
  const send = async (): Promise<void> => {
    const isClosing = phase.value === "closing";
    phase.value = "sending";
    const changes: AmendRequest = line.field === "price" ? { price } : { trigger_price: price };
    await (isClosing ? view.store.cancel(line.order) : view.store.amend(line.order, changes));
    keep();
  };
  const keepOnEscape = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && !event.shiftKey && phase.value !== "sending") {
      keep();
    }
  };
  const { order } = line;
  const decimals = view.instrument.value ? priceDecimals(view.instrument.value) : undefined;
  const what = line.field === "trigger_price" ? `${TYPE_WORDS[order.type]}, trigger` : TYPE_WORDS[order.type];
  return (
    <div
      ref={element}
      data-order={order.id}
      data-line={line.field}
      class={`order-line ${order.side} ${phase.value === "idle" ? "" : "busy"}`}
      onKeyDown={keepOnEscape}
    >
      <Handle line={line} canvas={canvas} grid={grid} draft={draft} phase={phase} onSend={() => void send()}>
        <span class="order-line-what">
          {SIDE_WORDS[order.side]} {what.toLowerCase()}
        </span>
        <span>{formatDecimal(order.remainingQuantity)}</span>
      </Handle>
      <button
        type="button"
        class="order-line-close"
        aria-label={`Cancel: ${orderWords(order)}`}
        title="Cancel this order"
        onClick={() => {
          phase.value = "closing";
        }}
      >
        <Icon name="close" />
      </button>
      <span class="order-line-price" aria-hidden="true">
        {formatDecimal(price, decimals)}
      </span>
      {phase.value === "moved" || phase.value === "closing" ? (
        <Confirm
          line={line}
          price={price}
          isClosing={phase.value === "closing"}
          onSend={() => void send()}
          onKeep={keep}
        />
      ) : null}
    </div>
  );
}

interface HandleProps extends LineProps {
  readonly draft: Signal<bigint | null>;
  readonly phase: Signal<Phase>;
  readonly onSend: () => void;
  readonly children: ComponentChildren;
}

/** The part of a line that can be taken hold of. */
function Handle({ line, canvas, grid, draft, phase, onSend, children }: HandleProps) {
  const ticks = draft.value ?? grid.ticks(line.price);
  const moveTo = (next: bigint): void => {
    draft.value = next > 0n ? next : 1n;
    phase.value = draft.value === grid.ticks(line.price) ? "idle" : "moved";
  };
  const onKey = (event: KeyboardEvent): void => {
    const up = event.key === "ArrowUp" ? 1n : event.key === "ArrowDown" ? -1n : 0n;
    if (up !== 0n && ticks !== null) {
      moveTo(ticks + up * (event.shiftKey ? 100n : 1n));
    } else if (event.key === "Enter" && phase.value !== "idle" && phase.value !== "sending") {
      onSend();
    } else if (event.key === "Delete") {
      phase.value = "closing";
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const onPointer = (event: PointerEvent & { readonly currentTarget: HTMLElement }): void => {
    if (phase.value === "sending" || event.button !== 0) {
      return;
    }
    startDrag(event, (y) => {
      const next = canvas.ticksAt(y);
      if (next !== null) {
        moveTo(next);
      }
    });
  };
  return (
    <div
      class="order-line-handle"
      role="slider"
      tabIndex={0}
      aria-orientation="vertical"
      aria-valuenow={Number(grid.price(ticks ?? 1n))}
      aria-valuetext={`${orderWords(line.order)}, now at ${formatDecimal(grid.price(ticks ?? 1n))}`}
      aria-label={`${orderWords(line.order)}: move with the arrow keys, Delete cancels`}
      onKeyDown={onKey}
      onPointerDown={onPointer}
    >
      {children}
    </div>
  );
}

/** Call `move` with heights in the chart until the pointer is released. */
function startDrag(
  event: PointerEvent & { readonly currentTarget: HTMLElement },
  move: (y: number) => void,
): void {
  const handle = event.currentTarget;
  const chart = handle.closest(".candles");
  if (!chart) {
    return;
  }
  const start = event.clientY;
  let isMoving = false;
  const onMove = (next: PointerEvent): void => {
    isMoving ||= Math.abs(next.clientY - start) > 2;
    if (isMoving) {
      move(next.clientY - chart.getBoundingClientRect().top);
    }
  };
  const stop = (): void => {
    handle.removeEventListener("pointermove", onMove);
    handle.removeEventListener("pointerup", stop);
    handle.removeEventListener("pointercancel", stop);
  };
  handle.setPointerCapture(event.pointerId);
  handle.addEventListener("pointermove", onMove);
  handle.addEventListener("pointerup", stop);
  handle.addEventListener("pointercancel", stop);
}

interface ConfirmProps {
  readonly line: Line;
  readonly price: Decimal;
  readonly isClosing: boolean;
  readonly onSend: () => void;
  readonly onKeep: () => void;
}

function Confirm({ line, price, isClosing, onSend, onKeep }: ConfirmProps) {
  const name = line.field === "price" ? "price" : "trigger price";
  const text = isClosing
    ? `Cancel: ${orderWords(line.order)}?`
    : `Move the ${name} from ${formatDecimal(line.price)} to ${formatDecimal(price)}?`;
  return (
    <div class="order-line-confirm" role="group" aria-label={text}>
      <span>{text}</span>
      <button
        type="button"
        class={`button small ${isClosing ? "button-danger" : "button-accent"}`}
        onClick={onSend}
      >
        {isClosing ? "Cancel order" : "Amend"}
      </button>
      <button type="button" class="button small" onClick={onKeep}>
        Keep
      </button>
    </div>
  );
}
