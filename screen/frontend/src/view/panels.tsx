/** The tabs below the chart: orders, fills, history, positions, activity. */

import { useComputed } from "@preact/signals";
import { Activity } from "./activity.tsx";
import { useView } from "./context.ts";
import { Fills, History } from "./history.tsx";
import { OpenOrders } from "./open_orders.tsx";
import { Positions } from "./positions.tsx";
import { Tabs } from "./widgets.tsx";

export function Panels() {
  const view = useView();
  const open = useComputed(() => view.store.openOrders.value.length).value;
  const held = useComputed(
    () => view.store.positions.value.filter((each) => /[1-9]/.test(each.quantity)).length,
  ).value;
  const items = [
    {
      key: "open",
      label: (
        <>
          Open orders
          <Count value={open} />
        </>
      ),
    },
    {
      key: "positions",
      label: (
        <>
          Positions
          <Count value={held} />
        </>
      ),
    },
    { key: "fills", label: "Fills" },
    { key: "history", label: "History" },
    { key: "activity", label: "Activity" },
  ];
  const chosen = view.panel.value;
  return (
    <section class="panel panels" aria-label="Your orders">
      <header class="panel-head">
        <Tabs
          label="Your orders"
          prefix="panels"
          items={items}
          chosen={chosen}
          onChoose={(key) => {
            view.panel.value = key;
          }}
        />
        {chosen === "open" && open > 0 ? <CancelHere /> : null}
      </header>
      <div
        class="panel-body"
        role="tabpanel"
        id="panels-panel"
        aria-labelledby={`panels-tab-${chosen}`}
        tabIndex={0}
      >
        <Panel chosen={chosen} />
      </div>
    </section>
  );
}

function Panel({ chosen }: { readonly chosen: string }) {
  const { store } = useView();
  if (store.client.value === "" && chosen !== "activity") {
    return <NobodyYet />;
  }
  switch (chosen) {
    case "positions":
      return <Positions />;
    case "fills":
      return <Fills />;
    case "history":
      return <History />;
    case "activity":
      return <Activity />;
    default:
      return <OpenOrders />;
  }
}

function NobodyYet() {
  const view = useView();
  return (
    <div class="empty">
      <p>Your orders, fills and positions are shown here once you have a name.</p>
      <button
        type="button"
        class="button button-accent"
        onClick={() => {
          view.dialog.value = "client";
        }}
      >
        Choose a name
      </button>
    </div>
  );
}

function Count({ value }: { readonly value: number }) {
  return value === 0 ? null : <span class="count">{value}</span>;
}

function CancelHere() {
  const view = useView();
  const symbol = view.store.selected.value;
  const here = view.store.openOrders.value.filter((order) => order.symbol === symbol).length;
  return here === 0 ? null : (
    <button
      type="button"
      class="button small cancel-here"
      onClick={() => {
        view.cancelScope.value = symbol;
        view.dialog.value = "cancel_all";
      }}
    >
      Cancel {here} in {symbol}
    </button>
  );
}
