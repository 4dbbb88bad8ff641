/** The screen as a whole. The style sheets place its parts: a grid, two columns or phone tabs. */

import { computed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Chart } from "./chart.tsx";
import { useView, ViewProvider, type PhoneTab, type View } from "./context.ts";
import { Dialogs } from "./dialogs.tsx";
import { Header } from "./header.tsx";
import { Ladder } from "./ladder.tsx";
import { Markets } from "./market_list.tsx";
import { Notices } from "./notices.tsx";
import { Panels } from "./panels.tsx";
import { startShortcuts } from "./shortcuts.ts";
import { slowly } from "./slow.ts";
import { Tape } from "./tape.tsx";
import { Ticket } from "./ticket.tsx";
import { Icon } from "./widgets.tsx";

export function App({ view }: { readonly view: View }) {
  useEffect(() => startShortcuts(view), [view]);
  useEffect(() => startTitle(view), [view]);
  useEffect(() => startDiagnostics(view), [view]);
  return (
    <ViewProvider value={view}>
      <Screen />
    </ViewProvider>
  );
}

/** Keep the price in the title of the page. Returns what stops it. */
function startTitle(view: View): () => void {
  const title = computed(() =>
    [view.ticker.value?.last, view.store.selected.value, "Tradepost"].filter(Boolean).join(" · "),
  );
  return slowly(title, 1000).subscribe((text) => {
    document.title = text;
  });
}

/** Write the counts on the root element, where tests read them. Returns what stops it. */
function startDiagnostics({ store }: View): () => void {
  return store.diagnostics.subscribe((counts) => {
    document.documentElement.dataset.diagnostics = JSON.stringify(counts);
  });
}

function Screen() {
  const view = useView();
  return (
    <div class="screen" data-tab={view.phoneTab.value}>
      <Header />
      <ConnectionBar />
      <main class="areas">
        <Chart />
        <Ladder />
        <Tape />
        <div class="aside">
          <Ticket />
          <Markets />
        </div>
        <Panels />
      </main>
      <footer class="footer">
        <span>
          Charts: TradingView Lightweight Charts™, © TradingView, Inc.,{" "}
          <a href="https://www.tradingview.com/" rel="noreferrer">
            https://www.tradingview.com/
          </a>
        </span>
        <span class="footer-links">
          <a href="/docs">API</a>
          <span class="footer-panic">
            <kbd>Shift</kbd> <kbd>Esc</kbd> cancels everything
          </span>
        </span>
      </footer>
      <PhoneTabs />
      <Notices />
      <Dialogs />
    </div>
  );
}

/** Says why nothing is live, while it is not. */
function ConnectionBar() {
  const { store } = useView();
  const { state, message } = store.connection.value;
  if (state === "open") {
    return null;
  }
  const words =
    message ??
    (state === "connecting" ? "Connecting to the exchange." : "No connection to the exchange. Trying again.");
  return (
    <p class={`connection-bar ${state === "connecting" ? "" : "warn"}`} role="status">
      {words}
    </p>
  );
}

const PHONE_TABS: readonly { readonly key: PhoneTab; readonly label: string }[] = [
  { key: "market", label: "Market" },
  { key: "trade", label: "Trade" },
  { key: "orders", label: "Orders" },
];

function PhoneTabs() {
  const view = useView();
  const count = view.store.openOrders.value.length;
  return (
    <nav class="phone-tabs" aria-label="Parts of the screen">
      {PHONE_TABS.map(({ key, label }) => (
        <button
          key={key}
          type="button"
          aria-current={view.phoneTab.value === key ? "page" : undefined}
          onClick={() => {
            view.phoneTab.value = key;
          }}
        >
          <Icon name={key} />
          <span>
            {label}
            {key === "orders" && count > 0 ? <span class="count">{count}</span> : null}
          </span>
        </button>
      ))}
    </nav>
  );
}
