/** The ticket: what to buy or sell, and how. */

import { useEffect, useMemo } from "preact/hooks";
import { formatDecimal } from "../exact.ts";
import type { Instrument, OrderType, Side } from "../model.ts";
import { useView } from "./context.ts";
import { hasLimit, hasTrigger, triggersAbove } from "./estimate.ts";
import { EstimateBox } from "./ticket_estimate.tsx";
import { NumberField, Presets } from "./ticket_fields.tsx";
import { Instructions } from "./ticket_instructions.tsx";
import { TICKET_FIELDS } from "./ticket_form.ts";
import { buttonWords, TicketState } from "./ticket_state.ts";
import { problemWords, TYPE_WORDS } from "./words.ts";
import { Choice } from "./widgets.tsx";

const SIDES = [
  { key: "buy", label: "Buy" },
  { key: "sell", label: "Sell" },
] as const;

export function Ticket() {
  const view = useView();
  const state = useMemo(() => new TicketState(view), [view]);
  useEffect(() => state.start(), [state]);
  const instrument = view.instrument.value;
  return (
    <section class="panel ticket" aria-label="New order">
      <header class="panel-head hidden-text">
        <h2>New order</h2>
      </header>
      {instrument ? (
        <TicketForm state={state} instrument={instrument} />
      ) : (
        <p class="empty">Waiting for the instruments.</p>
      )}
    </section>
  );
}

export interface TicketProps {
  readonly state: TicketState;
  readonly instrument: Instrument;
}

function TicketForm({ state, instrument }: TicketProps) {
  const { view } = state;
  const submit = (event: Event): void => {
    event.preventDefault();
    void state.send();
  };
  return (
    <form class="ticket-form" noValidate onSubmit={submit} onKeyDown={ignoreHeldEnter}>
      <Choice
        label="Side"
        name="side"
        class="sides"
        items={SIDES}
        chosen={view.side.value}
        onChoose={(side: Side) => {
          view.side.value = side;
        }}
      />
      <Types state={state} instrument={instrument} />
      <PriceFields state={state} instrument={instrument} />
      <NumberField
        state={state}
        field="quantity"
        name="quantity"
        label="Quantity"
        unit={instrument.baseAsset}
        step={instrument.lotSize}
      />
      <Presets state={state} instrument={instrument} />
      <Instructions state={state} instrument={instrument} />
      <EstimateBox state={state} instrument={instrument} />
      <SendButton state={state} instrument={instrument} />
    </form>
  );
}

function PriceFields({ state, instrument }: TicketProps) {
  const { type, side } = state.form.value;
  return (
    <>
      {hasTrigger(type) ? (
        <NumberField
          state={state}
          field="trigger_price"
          name="triggerPrice"
          label="Trigger price"
          unit={instrument.quoteAsset}
          step={instrument.tickSize}
          hint={
            triggersAbove(type, side)
              ? "Waits for a trade at or above this price."
              : "Waits for a trade at or below this price."
          }
        />
      ) : null}
      {hasLimit(type) ? (
        <NumberField
          state={state}
          field="price"
          name="price"
          label="Price"
          unit={instrument.quoteAsset}
          step={instrument.tickSize}
        />
      ) : (
        <p class="at-market">
          <span>Price</span>
          <span>Best in the book</span>
        </p>
      )}
    </>
  );
}

/** A held key repeats, but it was pressed once. */
function ignoreHeldEnter(event: KeyboardEvent): void {
  if (event.key === "Enter" && event.repeat) {
    event.preventDefault();
  }
}

/** The second click of a double click is not another order, even if the first one is done. */
function ignoreDoubleClick(event: MouseEvent): void {
  if (event.detail > 1) {
    event.preventDefault();
  }
}

/** Limit, market, and a list for those with a trigger. */
function Types({ state, instrument }: TicketProps) {
  const { type } = state.form.value;
  const plain = instrument.orderTypes.filter((each) => !hasTrigger(each));
  const waiting = instrument.orderTypes.filter(hasTrigger);
  const isWaiting = hasTrigger(type);
  const choose = (next: string): void => state.change({ type: next as OrderType });
  return (
    <div class="types" role="group" aria-label="Order type">
      {plain.map((each) => (
        <button
          key={each}
          type="button"
          class="type"
          aria-pressed={each === type}
          onClick={() => choose(each)}
        >
          {TYPE_WORDS[each]}
        </button>
      ))}
      {waiting.length > 0 ? (
        <label class={`type type-select ${isWaiting ? "chosen" : ""}`}>
          <span class="hidden-text">Types with a trigger</span>
          <select
            value={isWaiting ? type : ""}
            onChange={(event) => {
              if (event.currentTarget.value) choose(event.currentTarget.value);
            }}
          >
            <option value="" disabled hidden>
              Stop, profit
            </option>
            {waiting.map((each) => (
              <option key={each} value={each}>
                {TYPE_WORDS[each]}
              </option>
            ))}
          </select>
        </label>
      ) : null}
    </div>
  );
}

function SendButton({ state, instrument }: TicketProps) {
  const { view } = state;
  const checked = state.checked.value;
  const form = state.form.value;
  const problem = state.problem.value;
  const isSending = state.isSending.value;
  if (checked === null) {
    return null;
  }
  const isHalted = instrument.isHalted;
  const words = isHalted
    ? "Trading is halted"
    : view.store.client.value === ""
      ? "Choose a name to trade"
      : buttonWords(form, instrument, checked);
  return (
    <div class="send">
      {problem ? (
        <p class="problem" role="alert">
          {problemWords(problem, TICKET_FIELDS)}
        </p>
      ) : null}
      <button
        type="submit"
        id="send"
        class={`send-button ${view.side.value}`}
        disabled={isSending || isHalted}
        aria-busy={isSending}
        onClick={ignoreDoubleClick}
      >
        {isSending ? "Sending …" : words}
      </button>
      {checked.request && form.type !== "market" ? (
        <p class="send-note faint">
          {TYPE_WORDS[form.type]}
          {checked.request.price ? ` at ${formatDecimal(checked.request.price)}` : ""}
          {checked.request.trigger_price ? `, trigger ${formatDecimal(checked.request.trigger_price)}` : ""}
        </p>
      ) : null}
    </div>
  );
}
