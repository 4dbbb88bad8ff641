/** Open and waiting orders. Price and quantity can be changed in the row, which amends the order. */

import { useComputed, useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { formatDecimal, parseDecimal } from "../exact.ts";
import type { AmendRequest, Decimal, Instrument, Order } from "../model.ts";
import { useView, type View } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { formatOrNothing, formatWhen } from "./format.ts";
import { priceError, quantityError } from "./ticket_form.ts";
import { orderWords, problemWords, SIDE_WORDS, STATUS_WORDS, TYPE_WORDS } from "./words.ts";
import { Empty, Icon } from "./widgets.tsx";

const ROWS_STEP = 100;

export function OpenOrders() {
  const { store } = useView();
  const limit = useSignal(ROWS_STEP);
  const orders = store.openOrders.value;
  if (orders.length === 0) {
    return <Empty>No open orders. Orders that rest in the book or wait for their trigger are shown here.</Empty>;
  }
  return (
    <>
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Instrument</th><th scope="col">Side</th><th scope="col">Type</th><th scope="col" class="number">Price</th>
            <th scope="col" class="number">Trigger</th><th scope="col" class="number">Quantity</th><th scope="col" class="number">Filled</th>
            <th scope="col">State</th><th scope="col" class="wide">Placed</th><th scope="col"><span class="hidden-text">Actions</span></th>
          </tr>
        </thead>
        <tbody>{orders.slice(0, limit.value).map((order) => <OrderRow key={order.id} order={order} />)}</tbody>
      </table>
      {orders.length > limit.value ? (
        <button type="button" class="button more" onClick={() => { limit.value += ROWS_STEP; }}>Show more of {orders.length} orders</button>
      ) : null}
    </>
  );
}

/** What is typed in a row that is edited. */
interface Draft {
  readonly price: string;
  readonly triggerPrice: string;
  readonly quantity: string;
}

function OrderRow({ order }: { readonly order: Order }) {
  const view = useView();
  const draft = useSignal<Draft | null>(null);
  const message = useSignal<string | null>(null);
  const isSending = useSignal(false);
  const instrument = useComputed(() => view.store.instruments.value.find((each) => each.symbol === order.symbol) ?? null).value;
  const decimals = instrument ? priceDecimals(instrument) : undefined;
  const edit = (): void => {
    draft.value = { price: order.price ?? "", triggerPrice: order.triggerPrice ?? "", quantity: order.quantity };
    message.value = null;
  };
  const actions = useRowActions(view, order, instrument, { draft, message, isSending });
  const cell = (name: keyof Draft, value: Decimal | null, label: string, autoFocus = false) =>
    draft.value !== null && value !== null
      ? <EditCell draft={draft} name={name} label={`${label} of ${orderWords(order)}`} autoFocus={autoFocus} onSend={actions.amend} />
      : <>{formatOrNothing(value, name === "quantity" ? undefined : decimals)}</>;
  const isPending = order.status === "pending";
  return (
    <tr class={`${isSending.value ? "sending" : ""} ${draft.value ? "editing" : ""}`}>
      <th scope="row">
        <button type="button" class="link" onClick={() => view.store.select(order.symbol)}>{order.symbol}</button>
      </th>
      <td class={order.side === "buy" ? "up" : "down"}>{SIDE_WORDS[order.side]}</td>
      <td>{TYPE_WORDS[order.type]}<Marks order={order} /></td>
      <td class="number" data-name="Price">{cell("price", order.price, "Price", order.price !== null)}</td>
      <td class="number" data-name="Trigger">{isPending ? cell("triggerPrice", order.triggerPrice, "Trigger price", order.price === null) : formatOrNothing(order.triggerPrice, decimals)}</td>
      <td class="number" data-name="Quantity">{cell("quantity", order.quantity, "Quantity")}</td>
      <td class="number" data-name="Filled">{formatDecimal(order.filledQuantity)}</td>
      <td><span class={`state state-${order.status}`}>{STATUS_WORDS[order.status]}</span></td>
      <td class="wide faint">{formatWhen(order.createdAt)}</td>
      <td class="actions">
        {message.value ? <span class="row-message" role="alert">{message.value}</span> : null}
        {draft.value ? (
          <>
            <button type="button" class="button small button-accent" disabled={isSending.value} onClick={() => void actions.amend()}>Amend</button>
            <button type="button" class="button small" onClick={() => { draft.value = null; message.value = null; }}>Keep</button>
          </>
        ) : (
          <>
            <button type="button" class="icon-button" aria-label={`Change: ${orderWords(order)}`} title="Change price or quantity" disabled={isSending.value} onClick={edit}><Icon name="edit" /></button>
            <button type="button" class="icon-button danger" aria-label={`Cancel: ${orderWords(order)}`} title="Cancel" disabled={isSending.value} onClick={() => void actions.cancel()}><Icon name="close" /></button>
          </>
        )}
      </td>
    </tr>
  );
}

function Marks({ order }: { readonly order: Order }) {
  const marks = [order.postOnly ? "Post-only" : null, order.timeInForce === "gtc" ? null : order.timeInForce.toUpperCase()].filter((each) => each !== null);
  const expiry = order.expiresAt === null ? undefined : `Expires ${formatWhen(order.expiresAt)}`;
  return marks.length === 0 ? null : <span class="marks" title={expiry}>{marks.map((mark) => <span key={mark} class="badge">{mark}</span>)}</span>;
}

interface EditCellProps {
  readonly draft: Signal<Draft | null>;
  readonly name: keyof Draft;
  readonly label: string;
  readonly autoFocus: boolean;
  readonly onSend: () => Promise<void>;
}

function EditCell({ draft, name, label, autoFocus, onSend }: EditCellProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (autoFocus) {
      input.current?.select();
    }
  }, []);
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Enter") {
      event.preventDefault();
      void onSend();
    } else if (event.key === "Escape" && !event.shiftKey) {
      draft.value = null;
    }
  };
  return (
    <input
      ref={input} type="text" inputMode="decimal" class="cell-input" aria-label={label} value={draft.value?.[name] ?? ""} onKeyDown={onKey}
      onInput={(event) => { if (draft.value) draft.value = { ...draft.value, [name]: event.currentTarget.value }; }}
    />
  );
}

interface RowSignals {
  readonly draft: Signal<Draft | null>;
  readonly message: Signal<string | null>;
  readonly isSending: Signal<boolean>;
}

function useRowActions(view: View, order: Order, instrument: Instrument | null, signals: RowSignals) {
  const { draft, message, isSending } = signals;
  const run = async (send: () => ReturnType<View["store"]["cancel"]>): Promise<void> => {
    if (isSending.peek()) {
      return;
    }
    isSending.value = true;
    try {
      const { problem } = await send();
      message.value = problem ? problemWords(problem) : null;
      if (!problem) {
        draft.value = null;
      }
    } finally {
      isSending.value = false;
    }
  };
  const amend = async (): Promise<void> => {
    if (!draft.peek() || !instrument) {
      return;
    }
    const { changes, error } = changesOf(draft.peek()!, order, instrument);
    message.value = error;
    if (error === null && Object.keys(changes).length === 0) {
      draft.value = null;
    } else if (error === null) {
      await run(() => view.store.amend(order, changes));
    }
  };
  return { amend, cancel: () => run(() => view.store.cancel(order)) };
}

/** Return the changed fields as an amend has them, or why one of them is refused. */
function changesOf(draft: Draft, order: Order, instrument: Instrument): { changes: AmendRequest; error: string | null } {
  const changes: { -readonly [Key in keyof AmendRequest]: AmendRequest[Key] } = {};
  const fields = [
    { name: "price", label: "Price", text: draft.price, before: order.price, check: priceError },
    { name: "trigger_price", label: "Trigger", text: draft.triggerPrice, before: order.triggerPrice, check: priceError },
    { name: "quantity", label: "Quantity", text: draft.quantity, before: order.quantity, check: quantityError },
  ] as const;
  for (const { name, label, text, before, check } of fields) {
    if (before === null || text.trim() === before) {
      continue;
    }
    const value = parseDecimal(text.trim());
    const error = value === null ? "enter a number such as 1234.5." : check(value, instrument);
    if (value === null || error !== null) {
      return { changes: {}, error: `${label}: ${error}` };
    }
    changes[name] = value;
  }
  return { changes, error: null };
}
