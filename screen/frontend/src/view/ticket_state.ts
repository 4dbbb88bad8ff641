/** The state of the ticket, and what happens when its button is pressed. */

import { batch, computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { formatDecimal } from "../exact.ts";
import type { Instrument, Problem } from "../model.ts";
import type { View } from "./context.ts";
import { hasLimit, hasTrigger } from "./estimate.ts";
import { checkForm, EMPTY_FORM, fitForm, type Checked, type FieldErrors, type Form } from "./ticket_form.ts";
import { SIDE_WORDS } from "./words.ts";

export type FieldName = keyof FieldErrors;

export class TicketState {
  readonly view: View;
  /** What was typed. Its side is the view's. */
  readonly #typed: Signal<Form> = signal(EMPTY_FORM);
  readonly form: ReadonlySignal<Form>;
  readonly checked: ReadonlySignal<Checked | null>;
  /** Fields whose errors are shown: those that were left, or all once the button was pressed. */
  readonly touched: Signal<ReadonlySet<string>> = signal(new Set());
  /** Instruments with an order on its way. */
  readonly #sending: Signal<ReadonlySet<string>> = signal(new Set());
  readonly isSending: ReadonlySignal<boolean>;
  /** The last refusal, until something is changed. */
  readonly problem: Signal<Problem | null> = signal(null);

  constructor(view: View) {
    this.view = view;
    this.isSending = computed(() => this.#sending.value.has(view.store.selected.value ?? ""));
    this.form = computed(() => {
      const form = { ...this.#typed.value, side: view.side.value };
      const instrument = view.instrument.value;
      return instrument === null ? form : fitForm(form, instrument);
    });
    this.checked = computed(() => {
      const instrument = view.instrument.value;
      return instrument === null ? null : checkForm(this.form.value, instrument, Date.now());
    });
  }

  /** Follow the instrument and picked prices. Returns what stops it. */
  start(): () => void {
    const stops = [
      this.view.store.selected.subscribe(() => this.clear()),
      this.view.picked.subscribe((picked) => {
        if (picked !== null) {
          this.#takePrice(picked.price);
        }
      }),
    ];
    return () => stops.forEach((stop) => stop());
  }

  #takePrice(price: string): void {
    const form = this.form.peek();
    if (hasLimit(form.type)) {
      this.change({ price });
    } else if (hasTrigger(form.type)) {
      this.change({ triggerPrice: price });
    } else {
      this.change({ type: "limit", price });
    }
  }

  change(changes: Partial<Form>): void {
    const typed = this.#typed.peek();
    // What was chosen for a market kind must not silently hold for a limit order, or the reverse.
    const isOtherKind =
      changes.type !== undefined && hasLimit(changes.type) !== hasLimit(this.form.peek().type);
    batch(() => {
      this.#typed.value = {
        ...typed,
        ...(isOtherKind ? { timeInForce: EMPTY_FORM.timeInForce, postOnly: false } : {}),
        ...changes,
      };
      this.problem.value = null;
    });
  }

  touch(field: FieldName): void {
    if (!this.touched.peek().has(field)) {
      this.touched.value = new Set([...this.touched.peek(), field]);
    }
  }

  clear(): void {
    batch(() => {
      this.#typed.value = { ...this.#typed.peek(), price: "", triggerPrice: "", quantity: "" };
      this.touched.value = new Set();
      this.problem.value = null;
    });
  }

  /** Send the order. A second press while it is on its way does nothing. */
  async send(): Promise<void> {
    const checked = this.checked.peek();
    if (this.isSending.peek() || checked === null) {
      return;
    }
    // Times pass while nothing is typed, so an expiry is checked again.
    const instrument = this.view.instrument.peek();
    const { request, errors } = instrument ? checkForm(this.form.peek(), instrument, Date.now()) : checked;
    if (request === null) {
      this.touched.value = new Set(Object.keys(errors));
      const fields = Object.keys(errors)
        .map((field) => `[data-field="${field}"]`)
        .join(", ");
      document.querySelector<HTMLElement>(fields)?.focus();
      return;
    }
    if (this.view.store.client.peek() === "") {
      this.view.dialog.value = "client";
      return;
    }
    const symbol = request.instrument;
    this.#sending.value = new Set([...this.#sending.peek(), symbol]);
    try {
      const submission = await this.view.store.place(request);
      if (this.view.store.selected.peek() === symbol) {
        batch(() => {
          this.problem.value = submission.problem;
          if (submission.state !== "refused") {
            this.touched.value = new Set();
          }
        });
      }
    } finally {
      this.#sending.value = new Set([...this.#sending.peek()].filter((each) => each !== symbol));
    }
  }
}

/** Return what the button does: "Buy 0.5 BTC". */
export function buttonWords(form: Form, instrument: Instrument, checked: Checked): string {
  const quantity = checked.request ? `${formatDecimal(checked.request.quantity)} ` : "";
  return `${SIDE_WORDS[form.side]} ${quantity}${instrument.baseAsset}`;
}
