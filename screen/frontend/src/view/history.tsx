/** Fills, and orders that have ended. Older pages are loaded on demand. */

import { formatDecimal, notional } from "../exact.ts";
import type { Fill, Order, Pages } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { formatOrNothing, formatWhen } from "./format.ts";
import { problemWords, SIDE_WORDS, statusWords, TYPE_WORDS } from "./words.ts";
import { Empty } from "./widgets.tsx";

export function Fills() {
  const { store } = useView();
  const pages = store.fills.value;
  return (
    <>
      {pages.rows.length === 0 ? (
        <Empty>
          {pages.isLoading ? "Loading fills." : "No fills yet. Each trade of your orders is shown here."}
        </Empty>
      ) : (
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Instrument</th>
              <th scope="col">Side</th>
              <th scope="col" class="number">
                Price
              </th>
              <th scope="col" class="number">
                Quantity
              </th>
              <th scope="col" class="number">
                Value
              </th>
              <th scope="col">Part</th>
            </tr>
          </thead>
          <tbody>
            {pages.rows.map((fill) => (
              <FillRow key={`${fill.tradeId} ${fill.orderId}`} fill={fill} />
            ))}
          </tbody>
        </table>
      )}
      <More pages={pages} onMore={() => store.loadMoreFills()} />
    </>
  );
}

function FillRow({ fill }: { readonly fill: Fill }) {
  const decimals = useDecimals(fill.symbol);
  return (
    <tr>
      <td class="faint">{formatWhen(fill.time)}</td>
      <th scope="row">{fill.symbol}</th>
      <td class={fill.side === "buy" ? "up" : "down"}>{SIDE_WORDS[fill.side]}</td>
      <td class="number" data-name="Price">
        {formatDecimal(fill.price, decimals)}
      </td>
      <td class="number" data-name="Quantity">
        {formatDecimal(fill.quantity)}
      </td>
      <td class="number" data-name="Value">
        {formatDecimal(notional(fill.price, fill.quantity), Math.max(2, decimals ?? 2))}
      </td>
      <td class="faint">{fill.liquidity === "maker" ? "Maker" : "Taker"}</td>
    </tr>
  );
}

export function History() {
  const { store } = useView();
  const pages = store.history.value;
  return (
    <>
      {pages.rows.length === 0 ? (
        <Empty>
          {pages.isLoading
            ? "Loading the history."
            : "No ended orders yet. Filled, cancelled and rejected orders are shown here, with the reason."}
        </Empty>
      ) : (
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Instrument</th>
              <th scope="col">Side</th>
              <th scope="col">Type</th>
              <th scope="col" class="number">
                Price
              </th>
              <th scope="col" class="number">
                Average
              </th>
              <th scope="col" class="number">
                Filled of quantity
              </th>
              <th scope="col">End</th>
            </tr>
          </thead>
          <tbody>
            {pages.rows.map((order) => (
              <HistoryRow key={order.id} order={order} />
            ))}
          </tbody>
        </table>
      )}
      <More pages={pages} onMore={() => store.loadMoreHistory()} />
    </>
  );
}

function HistoryRow({ order }: { readonly order: Order }) {
  const decimals = useDecimals(order.symbol);
  return (
    <tr>
      <td class="faint">{formatWhen(order.updatedAt)}</td>
      <th scope="row">{order.symbol}</th>
      <td class={order.side === "buy" ? "up" : "down"}>{SIDE_WORDS[order.side]}</td>
      <td>{TYPE_WORDS[order.type]}</td>
      <td class="number" data-name="Price">
        {formatOrNothing(order.price ?? order.triggerPrice, decimals)}
      </td>
      <td class="number" data-name="Average">
        {formatOrNothing(order.averagePrice)}
      </td>
      <td class="number" data-name="Filled">
        {formatDecimal(order.filledQuantity)} <span class="faint">/ {formatDecimal(order.quantity)}</span>
      </td>
      <td class="end">{statusWords(order)}</td>
    </tr>
  );
}

function useDecimals(symbol: string): number | undefined {
  const { store } = useView();
  const instrument = store.instruments.value.find((each) => each.symbol === symbol);
  return instrument ? priceDecimals(instrument) : undefined;
}

function More<Row>({ pages, onMore }: { readonly pages: Pages<Row>; readonly onMore: () => void }) {
  if (pages.problem) {
    return (
      <p class="problem">
        {problemWords(pages.problem)}{" "}
        <button type="button" class="button small" onClick={onMore}>
          Load again
        </button>
      </p>
    );
  }
  return pages.hasMore && pages.rows.length > 0 ? (
    <button type="button" class="button more" disabled={pages.isLoading} onClick={onMore}>
      {pages.isLoading ? "Loading" : "Load older ones"}
    </button>
  ) : null;
}
