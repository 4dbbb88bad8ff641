/** The keyboard shortcuts. Letters do not act while a person types in a field or a dialog is open. */

import type { PhoneTab, View } from "./context.ts";

export const SHORTCUTS = [
  { keys: ["Shift", "Esc"], words: "Cancel everything in all instruments, at once" },
  { keys: ["B"], words: "Buy: go to the ticket" },
  { keys: ["S"], words: "Sell: go to the ticket" },
  { keys: ["Q"], words: "Quantity" },
  { keys: ["P"], words: "Price" },
  { keys: ["L"], words: "Order book: ↑ ↓ choose a price, Enter takes it" },
  { keys: ["O"], words: "Open orders" },
  { keys: ["/"], words: "Choose an instrument" },
  { keys: ["↑", "↓"], words: "In a number field: one step up or down, with Shift ten" },
  { keys: ["Enter"], words: "In the ticket: send the order. In a row: amend" },
  { keys: ["Esc"], words: "Leave a field, close what is open" },
  { keys: ["?"], words: "This list" },
] as const;

/** Listen for shortcuts on the whole page. Returns what stops it. */
export function startShortcuts(view: View): () => void {
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && event.shiftKey) {
      event.preventDefault();
      if (!event.repeat && view.store.client.peek() !== "") {
        void view.store.cancelAll();
      }
      return;
    }
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;
    if (event.key === "Escape" && isPlain && isTyping(event.target)) {
      (event.target as HTMLElement).blur();
    } else if (isPlain && !isTyping(event.target) && view.dialog.peek() === null && act(view, event.key)) {
      event.preventDefault();
    }
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.matches("input:not([type=radio], [type=checkbox]), select, textarea, [contenteditable]")
  );
}

/** Do what a key stands for. Returns whether it stands for something. */
function act(view: View, key: string): boolean {
  switch (key.toLowerCase()) {
    case "b":
      return chooseSide(view, "buy");
    case "s":
      return chooseSide(view, "sell");
    case "q":
      return focus(view, "trade", '[data-field="quantity"]');
    case "p":
      return focus(view, "trade", '[data-field="price"], [data-field="trigger_price"]');
    case "l":
      return focus(view, "trade", "#ladder");
    case "o":
      view.panel.value = "open";
      return focus(view, "orders", "#panels-tab-open");
    case "/":
      view.isMarketListOpen.value = true;
      return true;
    case "?":
      view.dialog.value = "shortcuts";
      return true;
    default:
      return false;
  }
}

function chooseSide(view: View, side: "buy" | "sell"): boolean {
  view.side.value = side;
  return focus(view, "trade", '[data-field="quantity"]');
}

/** Show a part of the screen and move the focus to it, once it is drawn. */
function focus(view: View, tab: PhoneTab, selector: string): boolean {
  view.phoneTab.value = tab;
  requestAnimationFrame(() => document.querySelector<HTMLElement>(selector)?.focus());
  return true;
}
