/** The screen as a whole. The style sheets place its parts: a grid, two columns or phone tabs. */

import { computed, signal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { FIRST_BOOK_MS_MAX } from "../limits.ts";
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

/** Whether the first book was painted, or did not come in time. */
function bookWasPainted({ slow }: View): ReadonlySignal<boolean> {
  const isOver = signal(false);
  const end = (): void => {
    stop();
    isOver.value = true;
  };
  setTimeout(end, FIRST_BOOK_MS_MAX);
  const stop = slow.ladder.subscribe((book) => {
    if (book !== null) {
      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(end)));
    }
  });
  return isOver;
}

/** All parts. The book comes first: drawing the other parts takes longer than waiting for it. */
function Screen() {
  const view = useView();
  const isBookPainted = useMemo(() => bookWasPainted(view), [view]).value;
  return (
    <div class="screen" data-tab={view.phoneTab.value}>
      <Header />
      <ConnectionBar />
      <main class="areas">
        {isBookPainted ? <Chart /> : <div class="panel chart" />}
        <Ladder />
        {isBookPainted ? <Others /> : null}
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

function Others() {
  return (
    <>
      <Tape />
      <div class="aside">
        <Ticket />
        <Markets />
      </div>
      <Panels />
    </>
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
