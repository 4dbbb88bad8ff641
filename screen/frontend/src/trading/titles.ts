/** What a request is called where a person sees it: "Buy 0.5 BTC-USD at 70,000". */

import { formatDecimal } from "../exact.ts";
import type { AmendRequest, Order, OrderRequest } from "../model.ts";

export function placeTitle(request: OrderRequest): string {
  const price = request.trigger_price;
  const trigger = price === undefined ? "" : `, trigger ${formatDecimal(price)}`;
  return `${terms(request.side, request.quantity, request.instrument, request.price ?? null)}${trigger}`;
}

/** The title of a placed order as it is now: it may have been amended. */
export function currentTitle(request: OrderRequest, order: Order): string {
  const { price, triggerPrice, quantity } = order;
  return placeTitle({
    ...request,
    quantity,
    ...(price === null ? {} : { price }),
    ...(triggerPrice === null ? {} : { trigger_price: triggerPrice }),
  });
}

export function amendTitle(order: Order, changes: AmendRequest): string {
  const changed = [
    changes.price === undefined ? "" : `price ${formatDecimal(changes.price)}`,
    changes.quantity === undefined ? "" : `quantity ${formatDecimal(changes.quantity)}`,
    changes.trigger_price === undefined ? "" : `trigger ${formatDecimal(changes.trigger_price)}`,
  ].filter((text) => text !== "");
  return `Change ${orderTerms(order)}: ${changed.join(", ")}`;
}

export function cancelTitle(order: Order): string {
  return `Cancel ${orderTerms(order)}`;
}

export function cancelAllTitle(symbol?: string): string {
  return symbol === undefined ? "Cancel all orders" : `Cancel all orders in ${symbol}`;
}

function orderTerms(order: Order): string {
  const found = terms(order.side, order.quantity, order.symbol, order.price);
  return found.charAt(0).toLowerCase() + found.slice(1);
}

function terms(side: string, quantity: string, symbol: string, price: string | null): string {
  const at = price === null ? "at market" : `at ${formatDecimal(price)}`;
  return `${side === "buy" ? "Buy" : "Sell"} ${formatDecimal(quantity)} ${symbol} ${at}`;
}
