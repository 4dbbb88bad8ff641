/** Open and waiting orders of all instruments. */

import { useSignal } from "@preact/signals";
import { useView } from "./context.ts";
import { OrderRow } from "./order_row.tsx";
import { Empty } from "./widgets.tsx";

const ROWS_STEP = 100;

export function OpenOrders() {
  const { store } = useView();
  const limit = useSignal(ROWS_STEP);
  const orders = store.openOrders.value;
  if (orders.length === 0) {
    return (
      <Empty>No open orders. Orders that rest in the book or wait for their trigger are shown here.</Empty>
    );
  }
  return (
    <>
      <table class="table">
        <Head />
        <tbody>
          {orders.slice(0, limit.value).map((order) => (
            <OrderRow key={order.id} order={order} />
          ))}
        </tbody>
      </table>
      {orders.length > limit.value ? (
        <button type="button" class="button more" onClick={() => (limit.value += ROWS_STEP)}>
          Show more of {orders.length} orders
        </button>
      ) : null}
      {store.areOpenOrdersCut.value ? (
        <p class="note">You have more open orders than the screen keeps. "Cancel all" cancels those too.</p>
      ) : null}
    </>
  );
}

function Head() {
  return (
    <thead>
      <tr>
        <th scope="col">Instrument</th>
        <th scope="col">Side</th>
        <th scope="col">Type</th>
        <th scope="col" class="number">
          Price
        </th>
        <th scope="col" class="number">
          Trigger
        </th>
        <th scope="col" class="number">
          Quantity
        </th>
        <th scope="col" class="number">
          Filled
        </th>
        <th scope="col">State</th>
        <th scope="col" class="wide">
          Placed
        </th>
        <th scope="col">
          <span class="hidden-text">Actions</span>
        </th>
      </tr>
    </thead>
  );
}
