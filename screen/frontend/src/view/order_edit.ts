/** Editing an open order in its row: what was typed, and the amend that it makes. */

import { signal, type Signal } from "@preact/signals";
import { parseDecimal } from "../exact.ts";
import type { AmendRequest, Instrument, Order, Store, Submission } from "../model.ts";
import { priceError, quantityError } from "./ticket_form.ts";
import { problemWords } from "./words.ts";

export interface Draft {
  readonly price: string;
  readonly triggerPrice: string;
  readonly quantity: string;
}

export class OrderEdit {
  /** Null: the order is not edited. */
  readonly draft: Signal<Draft | null> = signal(null);
  readonly message: Signal<string | null> = signal(null);
  readonly isAmending = signal(false);
  readonly isCancelling = signal(false);
  readonly #store: Store;
  /** The order when editing began: only what differs from it was typed. */
  #base: Order | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  start(order: Order): void {
    this.#base = order;
    this.draft.value = {
      price: order.price ?? "",
      triggerPrice: order.triggerPrice ?? "",
      quantity: order.quantity,
    };
    this.message.value = null;
  }

  type(name: keyof Draft, text: string): void {
    if (this.draft.value) {
      this.draft.value = { ...this.draft.value, [name]: text };
    }
  }

  stop(): void {
    this.draft.value = null;
    this.message.value = null;
  }

  async amend(order: Order, instrument: Instrument | null): Promise<void> {
    const draft = this.draft.peek();
    const base = this.#base;
    if (!draft || !base || !instrument) {
      return;
    }
    const { changes, error } = changesOf(draft, base, instrument);
    this.message.value = error;
    if (error === null && Object.keys(changes).length === 0) {
      this.stop();
    } else if (error === null) {
      await this.#send(this.isAmending, () => this.#store.amend(order, changes));
    }
  }

  cancel(order: Order): Promise<void> {
    return this.#send(this.isCancelling, () => this.#store.cancel(order));
  }

  async #send(isSending: Signal<boolean>, send: () => Promise<Submission>): Promise<void> {
    if (isSending.peek()) {
      return;
    }
    isSending.value = true;
    try {
      const { problem } = await send();
      this.message.value = problem ? problemWords(problem) : null;
      if (!problem) {
        this.draft.value = null;
      }
    } finally {
      isSending.value = false;
    }
    if (document.activeElement === document.body) {
      document.getElementById("panels-panel")?.focus({ preventScroll: true }); // The row is gone.
    }
  }
}

/** Return the fields that were typed as an amend has them, or why one of them is refused.
 *
 * `base` is the order when editing began. What others changed meanwhile is left as it is.
 */
function changesOf(
  draft: Draft,
  base: Order,
  instrument: Instrument,
): { readonly changes: AmendRequest; readonly error: string | null } {
  const changes: { -readonly [Key in keyof AmendRequest]: AmendRequest[Key] } = {};
  const fields = [
    { name: "price", label: "Price", text: draft.price, before: base.price, check: priceError },
    {
      name: "trigger_price",
      label: "Trigger",
      text: draft.triggerPrice,
      before: base.triggerPrice,
      check: priceError,
    },
    {
      name: "quantity",
      label: "Quantity",
      text: draft.quantity,
      before: base.quantity,
      check: quantityError,
    },
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
