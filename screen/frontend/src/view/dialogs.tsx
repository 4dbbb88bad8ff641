/** The dialogs: who one is, the keyboard shortcuts, and the question before all is cancelled. */

import { useSignal } from "@preact/signals";
import { useView } from "./context.ts";
import { SHORTCUTS } from "./shortcuts.ts";
import { Dialog } from "./widgets.tsx";

export function Dialogs() {
  const view = useView();
  const close = (): void => {
    view.dialog.value = null;
  };
  switch (view.dialog.value) {
    case "client":
      return <ClientDialog onClose={close} />;
    case "shortcuts":
      return <ShortcutsDialog onClose={close} />;
    case "cancel_all":
      return <CancelAllDialog onClose={close} />;
    default:
      return null;
  }
}

interface CloseProps {
  readonly onClose: () => void;
}

const NAME_PATTERN = /^[A-Za-z0-9._:-]{1,64}$/;

function ClientDialog({ onClose }: CloseProps) {
  const { store } = useView();
  const name = useSignal(store.client.peek());
  const error = useSignal<string | null>(null);
  const submit = (event: Event): void => {
    event.preventDefault();
    const chosen = name.value.trim();
    if (!NAME_PATTERN.test(chosen)) {
      error.value = "Use 1 to 64 letters, digits or any of . _ : - without spaces.";
      return;
    }
    store.become(chosen);
    onClose();
  };
  return (
    <Dialog title="Who trades here?" onClose={onClose}>
      <form onSubmit={submit} noValidate>
        <div class={`field ${error.value ? "invalid" : ""}`}>
          <label class="field-box">
            <span class="field-label">Name</span>
            <input
              type="text"
              class="text-input"
              value={name.value}
              autoComplete="username"
              spellcheck={false}
              data-autofocus
              maxLength={64}
              aria-invalid={error.value !== null}
              aria-describedby={error.value ? "client-error" : "client-hint"}
              onInput={(event) => {
                name.value = event.currentTarget.value;
                error.value = null;
              }}
            />
          </label>
          {error.value ? (
            <p class="field-error" id="client-error">
              {error.value}
            </p>
          ) : (
            <p class="field-hint" id="client-hint">
              Orders carry this name (the client_id). This browser remembers it. Whoever uses the same name
              sees and changes the same orders.
            </p>
          )}
        </div>
        <div class="dialog-actions">
          <button type="submit" class="button button-accent">
            Trade as {name.value.trim() || "…"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function ShortcutsDialog({ onClose }: CloseProps) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl class="shortcuts">
        {SHORTCUTS.map(({ keys, words }) => (
          <div key={words}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
      <p class="field-hint">
        Letters do nothing while you type in a field. Shift+Escape works everywhere and asks nothing.
      </p>
    </Dialog>
  );
}

function CancelAllDialog({ onClose }: CloseProps) {
  const { store, cancelScope } = useView();
  const symbol = cancelScope.value;
  const orders = store.openOrders.value.filter((order) => symbol === null || order.symbol === symbol);
  const cancel = (): void => {
    void store.cancelAll(symbol ?? undefined);
    onClose();
  };
  return (
    <Dialog title={symbol === null ? "Cancel everything?" : `Cancel all in ${symbol}?`} onClose={onClose}>
      <p>
        {orders.length === 1 ? "1 open or waiting order" : `${orders.length} open and waiting orders`} of{" "}
        {store.client.value}
        {symbol === null ? " in all instruments" : ""} will be cancelled. What is filled stays filled.
      </p>
      <div class="dialog-actions">
        <button type="button" class="button" onClick={onClose}>
          Keep them
        </button>
        <button type="button" class="button button-danger" data-autofocus onClick={cancel}>
          Cancel {orders.length === 1 ? "the order" : `${orders.length} orders`}
        </button>
      </div>
    </Dialog>
  );
}
