/** The number fields of the ticket, with steps by the arrow keys and presets of quantities. */

import { useComputed } from "@preact/signals";
import { formatDecimal, notional, parseDecimal } from "../exact.ts";
import type { Decimal } from "../model.ts";
import {
  absolute,
  compareDecimals,
  decimalsOf,
  divideDown,
  isNegative,
  isZero,
  sumDecimals,
} from "./decimals.ts";
import { hasLimit, hasTrigger } from "./estimate.ts";
import type { TicketProps } from "./ticket.tsx";
import type { Form } from "./ticket_form.ts";
import type { FieldName, TicketState } from "./ticket_state.ts";
import { fieldProblem } from "./words.ts";

interface NumberFieldProps {
  readonly state: TicketState;
  /** The request's name of the field. */
  readonly field: FieldName;
  readonly name: "price" | "triggerPrice" | "quantity";
  readonly label: string;
  readonly unit: string;
  readonly step: Decimal;
  readonly hint?: string;
}

export function NumberField({ state, field, name, label, unit, step, hint }: NumberFieldProps) {
  const error = useFieldError(state, field);
  const value = state.form.value[name];
  const describedBy = error ? `${field}-error` : hint ? `${field}-hint` : undefined;
  const onKey = (event: KeyboardEvent): void => {
    const direction = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
    if (direction !== 0) {
      event.preventDefault();
      const size = event.shiftKey ? stepTimesTen(step) : step;
      state.change({ [name]: stepped(value, size, direction) } as Partial<Form>);
    }
  };
  return (
    <div class={`field ${error ? "invalid" : ""}`}>
      <label class="field-box">
        <span class="field-label">{label}</span>
        <input
          type="text"
          inputMode="decimal"
          autoComplete="off"
          spellcheck={false}
          data-field={field}
          value={value}
          placeholder="0"
          aria-invalid={error !== null}
          aria-describedby={describedBy}
          title={`The arrow keys change it by ${step}, with Shift by ten times as much`}
          onInput={(event) => state.change({ [name]: event.currentTarget.value } as Partial<Form>)}
          onBlur={() => {
            if (value !== "") state.touch(field);
          }}
          onKeyDown={onKey}
        />
        <span class="field-unit">{unit}</span>
      </label>
      {error ? (
        <p class="field-error" id={`${field}-error`}>
          {error}
        </p>
      ) : hint ? (
        <p class="field-hint" id={`${field}-hint`}>
          {hint}
        </p>
      ) : null}
    </div>
  );
}

/** Return the server's error for a field, or ours once the field was left. */
export function useFieldError(state: TicketState, field: FieldName): string | null {
  const ours = state.touched.value.has(field) ? (state.checked.value?.errors[field] ?? null) : null;
  return fieldProblem(state.problem.value, field) ?? ours;
}

function stepTimesTen(step: Decimal): Decimal {
  return notional(step, "10" as Decimal);
}

function stepped(text: string, step: Decimal, direction: number): string {
  const now = parseDecimal(text.trim() === "" ? "0" : text.trim());
  if (now === null) {
    return text;
  }
  const next = sumDecimals(now, (direction < 0 ? `-${step}` : step) as Decimal);
  return isNegative(next) ? "0" : trimZeros(next, decimalsOf(now));
}

/** Remove trailing zeros, but keep as many decimals as there were. */
function trimZeros(value: Decimal, decimals: number): string {
  let text: string = value;
  while (text.includes(".") && text.endsWith("0") && decimalsOf(text as Decimal) > decimals) {
    text = text.slice(0, -1);
  }
  return text.endsWith(".") ? text.slice(0, -1) : text;
}

const AMOUNTS = [
  { label: "100", amount: "100" as Decimal },
  { label: "1K", amount: "1000" as Decimal },
  { label: "10K", amount: "10000" as Decimal },
  { label: "100K", amount: "100000" as Decimal },
] as const;

/** Quantities for round amounts of the quote asset, and for closing the position. */
export function Presets({ state, instrument }: TicketProps) {
  const { view } = state;
  const position = useComputed(
    () =>
      view.store.positions.value.find((each) => each.symbol === view.store.selected.value)?.quantity ?? null,
  ).value;
  const useAmount = (amount: Decimal): void => {
    const price = priceNow(state);
    const grid = view.grid.peek();
    if (price !== null && grid && !isZero(price)) {
      const lots = divideDown(amount, notional(price, grid.quantity(1n)));
      const quantity = grid.quantity(lots);
      state.change({
        quantity: compareDecimals(quantity, instrument.maxQuantity) > 0 ? instrument.maxQuantity : quantity,
      });
      state.touch("quantity");
    }
  };
  const close = (quantity: Decimal): void => {
    view.side.value = isNegative(quantity) ? "buy" : "sell";
    state.change({ quantity: absolute(quantity) });
  };
  return (
    <div class="presets" role="group" aria-label="Presets of the quantity">
      <button
        type="button"
        title={`The smallest quantity: ${formatDecimal(instrument.minQuantity)}`}
        onClick={() => state.change({ quantity: instrument.minQuantity })}
      >
        Min
      </button>
      {AMOUNTS.map(({ label, amount }) => (
        <button
          key={label}
          type="button"
          title={`As much as ${label} ${instrument.quoteAsset} is worth`}
          onClick={() => useAmount(amount)}
        >
          {label}
        </button>
      ))}
      {position !== null && !isZero(position) ? (
        <button type="button" title="The quantity that closes your position" onClick={() => close(position)}>
          Close
        </button>
      ) : null}
    </div>
  );
}

/** Return the price that an amount is divided by: that of the order, or the best or last one. */
function priceNow(state: TicketState): Decimal | null {
  const form = state.form.peek();
  const ticker = state.view.ticker.peek();
  const typed = hasLimit(form.type)
    ? parseDecimal(form.price)
    : hasTrigger(form.type)
      ? parseDecimal(form.triggerPrice)
      : null;
  const best = form.side === "buy" ? ticker?.bestAsk : ticker?.bestBid;
  return typed ?? best ?? ticker?.last ?? null;
}
