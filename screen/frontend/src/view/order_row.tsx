/** A row of an open order. Price and quantity can be changed in it, which amends the order. */

import { useComputed } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { formatDecimal } from "../exact.ts";
import type { Decimal, Instrument, Order } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { formatOrNothing, formatWhen } from "./format.ts";
import { OrderEdit, type Draft } from "./order_edit.ts";
import { Icon } from "./widgets.tsx";
import { orderWords, SIDE_WORDS, STATUS_WORDS, TYPE_WORDS } from "./words.ts";

export function OrderRow({ order }: { readonly order: Order }) {
  const { store } = useView();
  const edit = useMemo(() => new OrderEdit(store), [store]);
  const instrument = useComputed(
    () => store.instruments.value.find((each) => each.symbol === order.symbol) ?? null,
  ).value;
  const parts = { order, edit, instrument };
  const isPending = order.status === "pending";
  return (
    <tr
      data-order={order.id}
      class={`${edit.isAmending.value || edit.isCancelling.value ? "sending" : ""} ${edit.draft.value ? "editing" : ""}`}
    >
      <th scope="row">
        <button type="button" class="link" onClick={() => store.select(order.symbol)}>
          {order.symbol}
        </button>
      </th>
      <td class={order.side === "buy" ? "up" : "down"}>{SIDE_WORDS[order.side]}</td>
      <td>
        {TYPE_WORDS[order.type]}
        <Marks order={order} />
      </td>
      <NumberCell {...parts} name="price" label="Price" value={order.price} isFirst={order.price !== null} />
      <NumberCell
        {...parts}
        name="triggerPrice"
        label="Trigger"
        value={order.triggerPrice}
        isFixed={!isPending}
        isFirst={order.price === null}
      />
      <NumberCell {...parts} name="quantity" label="Quantity" value={order.quantity} />
      <td class="number" data-name="Filled">
        {formatDecimal(order.filledQuantity)}
      </td>
      <td>
        <span class={`state state-${order.status}`}>{STATUS_WORDS[order.status]}</span>
      </td>
      <td class="wide faint">{formatWhen(order.createdAt)}</td>
      <Actions {...parts} />
    </tr>
  );
}

interface PartProps {
  readonly order: Order;
  readonly edit: OrderEdit;
  readonly instrument: Instrument | null;
}

function Marks({ order }: { readonly order: Order }) {
  const marks = [
    order.postOnly ? "Post-only" : null,
    order.timeInForce === "gtc" ? null : order.timeInForce.toUpperCase(),
  ].filter((each) => each !== null);
  const expiry = order.expiresAt === null ? undefined : `Expires ${formatWhen(order.expiresAt)}`;
  return marks.length === 0 ? null : (
    <span class="marks" title={expiry}>
      {marks.map((mark) => (
        <span key={mark} class="badge">
          {mark}
        </span>
      ))}
    </span>
  );
}

interface NumberCellProps extends PartProps {
  readonly name: keyof Draft;
  readonly label: string;
  readonly value: Decimal | null;
  /** The cell that gets the focus when editing begins. */
  readonly isFirst?: boolean;
  readonly isFixed?: boolean;
}

function NumberCell({ order, edit, instrument, name, label, value, isFirst, isFixed }: NumberCellProps) {
  const decimals = instrument && name !== "quantity" ? priceDecimals(instrument) : undefined;
  const input = useRef<HTMLInputElement>(null);
  const draft = edit.draft.value;
  const isEdited = draft !== null && value !== null && !isFixed;
  useEffect(() => {
    if (isEdited && isFirst) {
      input.current?.select();
    }
  }, [isEdited]);
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Enter") {
      event.preventDefault();
      void edit.amend(order, instrument);
    } else if (event.key === "Escape" && !event.shiftKey) {
      edit.stop();
    }
  };
  return (
    <td class="number" data-name={label}>
      {isEdited ? (
        <input
          ref={input}
          type="text"
          inputMode="decimal"
          class="cell-input"
          aria-label={`${label} of ${orderWords(order)}`}
          value={draft[name]}
          onKeyDown={onKey}
          onInput={(event) => edit.type(name, event.currentTarget.value)}
        />
      ) : (
        formatOrNothing(value, decimals)
      )}
    </td>
  );
}

function Actions({ order, edit, instrument }: PartProps) {
  const isEditing = edit.draft.value !== null;
  const isAmending = edit.isAmending.value;
  const editButton = useFocusAfterEdit(isEditing);
  return (
    <td class="actions">
      {edit.message.value ? (
        <span class="row-message" role="alert">
          {edit.message.value}
        </span>
      ) : null}
      {isEditing ? (
        <>
          <button
            type="button"
            class="button small button-accent"
            disabled={isAmending}
            onClick={() => void edit.amend(order, instrument)}
          >
            Amend
          </button>
          <button type="button" class="button small" onClick={() => edit.stop()}>
            Keep
          </button>
        </>
      ) : (
        <>
          <button
            ref={editButton}
            type="button"
            class="icon-button"
            aria-label={`Change: ${orderWords(order)}`}
            title="Change price or quantity"
            disabled={isAmending}
            onClick={() => edit.start(order)}
          >
            <Icon name="edit" />
          </button>
          <button
            type="button"
            class="icon-button danger"
            aria-label={`Cancel: ${orderWords(order)}`}
            title="Cancel"
            disabled={edit.isCancelling.value}
            onClick={() => void edit.cancel(order)}
          >
            <Icon name="close" />
          </button>
        </>
      )}
    </td>
  );
}

/** Return a ref for the button that gets the focus when editing ends. */
function useFocusAfterEdit(isEditing: boolean) {
  const button = useRef<HTMLButtonElement>(null);
  const wasEditing = useRef(false);
  useEffect(() => {
    if (wasEditing.current && !isEditing) {
      button.current?.focus();
    }
    wasEditing.current = isEditing;
  }, [isEditing]);
  return button;
}
